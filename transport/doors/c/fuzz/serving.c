/* See serving.h. */
#include "serving.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum { IDLE = 1000, HOLDS = 1000, REFERENCES = 1000 };

static const uint64_t sizes[] = {0, 1, 4096, 65535, 65536, 65537, 131072, 262144, 1ull << 31, 1ull << 46, INT64_MAX, UINT64_MAX};
struct status serving_page;
struct pool serving_pool = {.epoll = 0, .bell = -1};
struct door serving_door = {.id = 1, .status = &serving_page, .pool = &serving_pool};
static const uint8_t *script, *script_end;
static serving_step *do_step;
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
    check(size >= serving_page.data_min && size <= serving_page.data_max && count <= serving_page.descriptors_max);
    door_return((char *)&size, sizeof size, NULL, 0);
    door_return(NULL, 0, NULL, 0);
    abort();
}

uint64_t serving_size(uint8_t byte) {
    return byte < 200 ? byte * 40u : sizes[byte % 12];
}

void serving_write_request(struct channel *channel, const uint8_t *step) {
    struct session *session = channel->session;
    session->request.size = serving_size(step[1]);
    session->request.room = serving_size(step[2]);
    session->request.count = step[3] < 200 ? step[3] % 8u : UINT32_MAX - step[3];
    session->request.flags = step[4];
    atomic_store(&session->sequence, step[5] < 250 ? atomic_load(&session->sequence) + 1 : step[5]);
    atomic_store(&session->state, step[6] < 240 ? (uint32_t)CALL_QUEUED : step[6] % 9u);
    atomic_store(&session->request_flow.filled, step[7] < 128 ? step[7] % 4u : UINT32_MAX - step[7]);
}

void serving_queue(const struct channel *channel, const uint8_t *step, unsigned type) {
    struct message message = {.magic = WIRE_MAGIC, .abi = WIRE_ABI, .type = (uint16_t)type};
    message.sequence = atomic_load(&channel->session->sequence) + (step[8] > 240);
    message.size = serving_size(step[1]);
    message.count = step[9] < 240 ? step[9] % 8u : step[9] < 254 ? step[9] : UINT32_MAX - step[9];
    kernel_queue(&message, sizeof message - (step[10] == 255), step[11] < 224 ? message.count : step[11], 0, step[10] > 250);
}

void serving_change_limits(const uint8_t *step) {
    kernel_mood = step[1];
    serving_door.revoked = step[2] == 255;
    serving_page.data_max = step[3] < 128 ? UINT64_MAX : step[3];
    serving_page.data_min = step[4] < 128 || serving_page.data_max < 9 ? 0 : 9;
    serving_page.descriptors_max = step[5] < 128 ? INT32_MAX : step[5] % 8u;
    serving_page.attributes = step[6] & DOOR_REFUSE_DESC;
}

void serving_poke(struct channel *channel, const uint8_t *step) {
    ((volatile uint32_t *)channel->session)[step[1] % 80] = (uint32_t)step[2] << 24 | (uint32_t)step[3] << 8 | step[4];
}

bool serving_take_event(struct server_thread *thread, handle channel) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = channel};
    return take_event(thread, &event);
}

bool serving_take_claim(struct server_thread *thread, handle handle) {
    enum kind kind;
    server_lock();
    struct channel *channel = handle_lookup(handle, &kind);
    bool taken = false;
    if (channel != NULL) {
        channel_hold_locked(channel);
        taken = take_claimed_locked(thread, channel);
        if (!taken) {
            channel_release_locked(channel);
        }
    }
    server_unlock();
    return taken;
}

/* In the place of the function of take.c, which waits for events. */
void __wrap_take(struct server_thread *thread);
void __wrap_take(struct server_thread *thread) {
    serving_pool.idle = IDLE; /* there are others: none is made */
    thread->parked = true;
    while (script + STEP <= script_end) {
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

void serving_begin(void) {
    struct server_thread *thread = server_thread_enter();
    kernel_begin();
    serving_page = (struct status){.data_max = UINT64_MAX, .descriptors_max = INT32_MAX};
    serving_door.procedure = procedure;
    serving_door.holds = HOLDS;
    serving_door.references = REFERENCES;
    serving_door.revoked = false;
    thread->bound = &serving_door;
    thread->pool = &serving_pool;
    thread->looping = false;
}

void serving_run(const uint8_t *data, size_t size, serving_step *step) {
    script = data;
    script_end = data + (size < STEP * MOST_STEPS ? size : STEP * MOST_STEPS);
    do_step = step;
    if (setjmp(end) == 0) {
        server_thread_park(this_server_thread);
    }
}

void serving_end(void) {
    check(serving_door.holds == HOLDS && serving_door.active == 0 && serving_door.attended == 0);
    check(serving_door.references == REFERENCES && serving_door.channels == NULL);
    check(kernel_open_count() == 0);
}
