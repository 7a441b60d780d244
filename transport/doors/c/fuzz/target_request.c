/*
 * A target for libFuzzer, and for driver.c where there is none: what a hostile client does to a server thread, without a kernel
 * (kernel.h). target_channel.c does the same through real sockets, with real threads.
 *
 * An input is a script of steps of twelve bytes. The thread is the real one as far as it is no system call: it takes datagrams and
 * calls out of the channel, checks the request in the memory, copies it, runs a procedure that reads all of it, and returns.
 */
#include "kernel.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEP = 12, MOST_STEPS = 40, IDLE = 1000 };

static const uint64_t sizes[] = {0, 1, 4096, 65535, 65536, 65537, 131072, 262144, 1ull << 31, 1ull << 46, INT64_MAX, UINT64_MAX};
static struct status page;
static struct pool pool = {.epoll = 0, .bell = -1};
static struct door door = {.id = 1, .status = &page, .pool = &pool};
static struct channel *channel;
static handle channel_handle;
static const uint8_t *script, *script_end;
static jmp_buf end;

static void procedure(void *cookie, char *data, size_t size, door_desc_t *entries, uint_t count) {
    volatile char sum = 0;
    for (size_t i = 0; i < size; i += i + 512 < size ? 512 : 1) {
        sum = (char)(sum + data[i]);
    }
    for (uint_t i = 0; i < count; i++) {
        kernel_close(entries[i].d_data.d_desc.d_descriptor);
    }
    (void)cookie;
    check(size <= this_server_thread->stack_limit && count <= DESCRIPTORS_MAX);
    check(size >= page.data_min && size <= page.data_max && count <= page.descriptors_max);
    door_return((char *)&size, sizeof size, NULL, 0);
    door_return(NULL, 0, NULL, 0);
    abort();
}

static uint64_t size_of(uint8_t byte) {
    return byte < 200 ? byte * 40u : sizes[byte % 12];
}

/* Writes the request that the script says; its flags and its state are any. */
static void write_request(const uint8_t *step) {
    struct session *session = channel->session;
    session->request.size = size_of(step[1]);
    session->request.room = size_of(step[2]);
    session->request.count = step[3] < 200 ? step[3] % 8u : UINT32_MAX - step[3];
    session->request.flags = step[4];
    atomic_store(&session->sequence, step[5] < 250 ? atomic_load(&session->sequence) + 1 : step[5]);
    atomic_store(&session->state, step[6] < 240 ? (uint32_t)CALL_QUEUED : step[6] % 9u);
    atomic_store(&session->request_flow.filled, step[7] < 128 ? step[7] % 4u : UINT32_MAX - step[7]);
}

static void queue(const uint8_t *step, unsigned type) {
    struct message message = {.magic = WIRE_MAGIC, .abi = WIRE_ABI, .type = (uint16_t)type};
    message.sequence = atomic_load(&channel->session->sequence) + (step[8] > 240);
    message.size = size_of(step[1]);
    message.count = step[9] < 240 ? step[9] % 8u : step[9] < 254 ? step[9] : UINT32_MAX - step[9];
    kernel_queue(&message, sizeof message - (step[10] == 255), step[11] < 224 ? message.count : step[11], 0, step[10] > 250);
}

/* Whether the thread has a call now. */
static bool take_by_event(struct server_thread *thread) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = channel_handle};
    return take_event(thread, &event);
}

static bool take_by_claim(struct server_thread *thread) {
    enum kind kind;
    server_lock();
    bool taken = handle_lookup(channel_handle, &kind) != NULL;
    if (taken) {
        channel_hold_locked(channel);
        taken = take_claimed_locked(thread, channel);
        if (!taken) {
            channel_release_locked(channel);
        }
    }
    server_unlock();
    return taken;
}

static bool do_step(struct server_thread *thread, const uint8_t *step) {
    switch (step[0] % 6) {
    case 0: /* a call, as it should be announced */
        write_request(step);
        queue(step, MESSAGE_CALL);
        return take_by_event(thread);
    case 1:
        queue(step, MESSAGE_FDS + step[2] % 2 * (MESSAGE_GROW - MESSAGE_FDS));
        return take_by_event(thread);
    case 2:
        queue(step, step[2] % 16u);
        return take_by_event(thread);
    case 3:
        write_request(step);
        return take_by_claim(thread);
    case 4:
        ((volatile uint32_t *)channel->session)[step[1] % 80] = (uint32_t)step[2] << 24 | (uint32_t)step[3] << 8 | step[4];
        return false;
    default:
        kernel_mood = step[1];
        door.revoked = step[2] == 255;
        page.data_max = step[3] < 128 ? UINT64_MAX : step[3];
        page.data_min = step[4] < 128 || page.data_max < 9 ? 0 : 9;
        page.descriptors_max = step[5] < 128 ? INT32_MAX : step[5] % 8u;
        page.attributes = step[6] & DOOR_REFUSE_DESC;
        return false;
    }
}

/* In the place of the function of take.c, which waits for events. */
void __wrap_take(struct server_thread *thread);
void __wrap_take(struct server_thread *thread) {
    enum kind kind;
    pool.idle = IDLE; /* there are others: none is made */
    thread->parked = true;
    while (script + STEP <= script_end && handle_lookup(channel_handle, &kind) != NULL) {
        const uint8_t *step = script;
        script += STEP;
        if (do_step(thread, step)) {
            return;
        }
    }
    longjmp(end, 1);
}

/* A thread would wait in the memory for the client's next call, which the script makes in its own way. */
void __wrap_attention_begin_locked(struct server_thread *thread, struct channel *channel);
void __wrap_attention_begin_locked(struct server_thread *thread, struct channel *one) {
    (void)thread, (void)one;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct server_thread *thread = server_thread_enter();
    static int sockets[2];
    enum kind kind;
    kernel_begin();
    door.procedure = procedure;
    door.holds = 100;
    door.revoked = false;
    page = (struct status){.data_max = UINT64_MAX, .descriptors_max = INT32_MAX};
    thread->bound = &door;
    thread->pool = &pool;
    thread->looping = false;
    sockets[0] = kernel_descriptor();
    sockets[1] = kernel_descriptor();
    channel = calloc(1, sizeof *channel);
    *channel = (struct channel){.door = &door, .fd = sockets[0], .out = sockets[1], .holds = 2, .stranger = true, .euid = 1000};
    channel->session = kernel_session();
    channel->handle = channel_handle = handle_new(KIND_CHANNEL, channel);
    door.channels = channel;
    script = data;
    script_end = data + (size < STEP * MOST_STEPS ? size : STEP * MOST_STEPS);
    if (setjmp(end) == 0) {
        server_thread_park(thread);
    }
    server_lock();
    if (handle_lookup(channel_handle, &kind) != NULL) {
        channel_close_locked(channel);
    }
    check(channel->holds == 1 && channel->thread == NULL && !channel->busy);
    channel_release_locked(channel);
    server_unlock();
    check(door.holds == 99 && door.active == 0 && door.attended == 0 && door.channels == NULL);
    check(kernel_open_count() == 0);
    return 0;
}
