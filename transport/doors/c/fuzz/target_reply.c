/*
 * A target for libFuzzer, and for driver.c where there is none: what a hostile server does to a call, without a kernel (kernel.h).
 *
 * The first bytes of an input choose the call; the rest is a script of steps of twelve bytes, which change the memory that the two
 * share, send datagrams, and at some time say that the reply is there. Whatever comes, a call that fails leaves its arguments as they were
 * and no descriptor; one that does not has results that lie where they say, and exactly their descriptors.
 */
#include "../linux/call.h"
#include "kernel.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CHOICES = 8, STEP = 12, MOST_STEPS = 40, GIVEN = 3 };

static const uint64_t sizes[] = {0, 1, 4096, 65535, 65536, 65537, 131072, 262144, 1ull << 31, 1ull << 46, INT64_MAX, UINT64_MAX};

static uint64_t size_of(uint8_t byte) {
    return byte < 200 ? byte * 40u : sizes[byte % 12];
}

static void queue(const struct line *line, const uint8_t *step, unsigned type) {
    struct message message = {.magic = WIRE_MAGIC, .abi = WIRE_ABI, .type = (uint16_t)type};
    message.sequence = line->sequence + (step[8] > 240);
    message.size = size_of(step[1]);
    message.count = step[9] < 240 ? step[9] % 8u : step[9] < 254 ? step[9] : UINT32_MAX - step[9];
    unsigned files = step[11] > 200 ? message.count : step[11] % 3u;
    kernel_queue(&message, sizeof message - (step[10] == 255), files, 0, step[10] > 250);
}

static void write_reply(struct session *session, const uint8_t *step) {
    session->reply.size = size_of(step[1]);
    session->reply.count = step[2] < 240 ? step[2] % 8u : UINT32_MAX - step[2];
    session->reply.flags = step[3];
    session->reply.error = step[4] < 160 ? 0 : step[4] < 200 ? step[4] - 160 : step[4] == 255 ? INT32_MIN : E2BIG;
    atomic_store(&session->reply_flow.filled, step[5] < 128 ? step[5] % 4u : UINT32_MAX - step[5]);
}

/* As await_reply() of call.c does, without waiting. */
static bool attend(struct call *call, int *error) {
    struct line *line = call->line;
    if (call_is_coming(call) && (*error = call_take_along(call)) != 0) {
        return true;
    }
    if (call_has_outcome(line)) {
        *error = *(volatile uint32_t *)&line->session->reply.flags & ON_SOCKET ? call_collect(call) : 0;
        return true;
    }
    struct message message;
    struct receipt receipt;
    int result = line_receive(line, &message, &receipt);
    bool outcome = false;
    if (result == 0) {
        outcome = call_hear(call, &message, &receipt, error);
        receipt_close(&receipt);
    } else if (result != EAGAIN) {
        *error = EINTR;
        outcome = true;
    }
    return outcome;
}

static bool do_step(struct call *call, const uint8_t *step, int *error) {
    struct session *session = call->line->session;
    switch (step[0] % 6) {
    case 0: /* a reply, as it should be announced */
        write_reply(session, step);
        atomic_store(&session->state, step[6] < 240 ? (uint32_t)CALL_DONE : step[6] % 9u);
        break;
    case 1:
        queue(call->line, step, step[2] % 16u);
        break;
    case 2: {
        static const uint8_t frequent[] = {MESSAGE_FDS, MESSAGE_GROW, MESSAGE_RESULTS, MESSAGE_FDQUERY};
        queue(call->line, step, frequent[step[2] % 4]);
        break;
    }
    case 3: /* it begins to come */
        write_reply(session, step);
        atomic_store(&session->coming, call->line->sequence);
        break;
    case 4:
        ((volatile uint32_t *)session)[step[1] % 80] = (uint32_t)step[2] << 24 | (uint32_t)step[3] << 8 | step[4];
        break;
    default:
        kernel_mood = step[1];
    }
    return attend(call, error);
}

static void check_results(const door_arg_t *results, const door_arg_t *asked) {
    check(results->data_size + results->desc_num * sizeof(door_desc_t) <= results->rsize);
    check(results->rbuf == asked->rbuf ? results->rsize == asked->rsize : results->rsize % 4096 == 0);
    volatile char sum = 0;
    if (results->data_size > 0) {
        check(results->data_ptr == results->rbuf);
        sum = (char)(sum + results->data_ptr[0] + results->data_ptr[results->data_size - 1]);
    }
    for (uint_t i = 0; i < results->desc_num; i++) {
        door_desc_t entry;
        memcpy(&entry, results->desc_ptr + i, sizeof entry);
        kernel_close(entry.d_data.d_desc.d_descriptor);
    }
    if (results->rbuf != asked->rbuf) {
        free(results->rbuf);
    }
}

/* Descriptors that the caller gives away; or no array, where the call says that it cannot be read. */
static void give(struct call *call, door_desc_t *entries) {
    call->arguments.desc_ptr = call->fault == 0 || call->fault == EINVAL ? entries : (door_desc_t *)8;
    call->arguments.desc_num = call->fault == E2BIG ? 2000 : GIVEN;
    for (unsigned i = 0; i < GIVEN; i++) {
        memset(&entries[i], 0, sizeof entries[i]);
        entries[i].d_attributes = DOOR_DESCRIPTOR | DOOR_RELEASE;
        entries[i].d_data.d_desc.d_descriptor = kernel_descriptor();
    }
}

/*
 * They are closed, or still the caller's, as the error says (docs/doors.md, "Owners of released descriptors after a failure"). What
 * make_call() closes at the end is closed here.
 */
static void check_given(struct call *call, const door_desc_t *entries, int error) {
    bool gone = error == 0 || error == EINTR || error == EINVAL || error == EMFILE || error == EOVERFLOW;
    if (error > 0 && gone) {
        call_release(call);
    }
    gone = gone || (error == EFAULT && call->released); /* of the caller's own buffer */
    gone = gone && (call->fault == 0 || call->fault == EINVAL);
    for (unsigned i = 0; i < GIVEN; i++) {
        int fd = entries[i].d_data.d_desc.d_descriptor;
        check(kernel_is_open(fd) == !gone);
        if (!gone) {
            kernel_close(fd);
        }
    }
}

static struct line *kept; /* the line, unless the call has abandoned it */

static struct line *make_line(const uint8_t *data) {
    struct line *line = calloc(1, sizeof *line);
    check(line != NULL);
    *line = (struct line){.fd = kernel_descriptor(), .out = -1, .place = -1, .offer = -1, .first = -1, .trunk = 3, .server = 1000};
    line->out = data[2] < 200 ? kernel_descriptor() : -1;
    line->place = data[2] > 220 ? kernel_descriptor() : -1;
    line->status = calloc(1, STATUS_SIZE);
    line->session = kernel_session();
    line->sequence = 7;
    line->all_link = &kept;
    kept = line;
    check(line->status != NULL);
    return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct call call; /* its tables are not cleared each time */
    door_desc_t given[GIVEN];
    if (size < CHOICES) {
        return 0;
    }
    kernel_begin();
    size_t room = data[0] * 40u, request = data[1];
    char *buffer = malloc(room > 0 ? room : 1), *asked_data = malloc(request > 0 ? request : 1);
    check(buffer != NULL && asked_data != NULL);
    memset(&call, 0, offsetof(struct call, reserved));
    call.reserved_count = call.received_count = 0;
    memset((char *)&call + offsetof(struct call, truncated), 0, sizeof call - offsetof(struct call, truncated));
    struct line *line = call.line = make_line(data);
    call.arguments = (door_arg_t){.data_ptr = data[3] & 1 ? buffer : asked_data, .data_size = request, .rbuf = buffer, .rsize = room};
    call.arguments.data_size = data[3] & 1 && request > room ? room : request;
    call.no_results = data[4] > 240;
    call.read_only = data[5] > 240;
    call.fault = data[6] > 240 ? E2BIG : data[6] > 230 ? EINVAL : data[6] > 220 ? EFAULT : 0;
    call.largest = data[7] < 200 ? SIZE_MAX / 2 : data[7] * 10u;
    if (data[3] & 2) {
        give(&call, given);
    }
    door_arg_t asked = call.arguments;
    int error = EINTR; /* no reply came */
    atomic_store(&line->session->state, CALL_ACTIVE);
    const uint8_t *end = data + CHOICES + (size - CHOICES < STEP * MOST_STEPS ? size - CHOICES : STEP * MOST_STEPS);
    const uint8_t *step = data + CHOICES;
    for (bool over = false; !over && step + STEP <= end; step += STEP) {
        over = do_step(&call, step, &error);
    }
    error = call_end(&call, error);
    check(error >= 0 || (error == AGAIN_ON_NEW_LINE && !call.released));
    if (data[3] & 2) {
        check_given(&call, given, error);
    }
    if (error == 0) {
        check(!call.no_results || (call.arguments.data_size == 0 && call.arguments.desc_num == 0));
        check(call.arguments.data_size <= call.largest);
        check_results(&call.arguments, &asked);
    } else {
        check(memcmp(&call.arguments, &asked, sizeof asked) == 0);
    }
    if (kept != NULL) {
        line_abandon(kept);
    }
    check(kernel_open_count() == 0);
    free(buffer);
    free(asked_data);
    return 0;
}
