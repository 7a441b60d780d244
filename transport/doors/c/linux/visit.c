/*
 * door_visit: a thread of the program's own serves one client for a moment.
 *
 * An event loop that waits for the call of a certain peer can take that call itself. Otherwise a pool thread must be
 * woken for the call, and must then wake the loop. The visitor waits in the channel's memory, as a
 * pool thread does that attends to it, but does not belong to the pool: it does not count as idle, no call
 * depends on it, and it leaves when its time is over or something else wakes it. Requests that it would have to hear of
 * by socket are left to the pool.
 */
#include "internal.h"

enum { UNATTENDED = 64, REQUEST_NANOSECONDS = 1000000 };

static struct spinner spinner; /* of the visitor; there is one at a time */

/* The channel that was used last. */
static struct channel *favourite_locked(const struct door *door) {
    struct channel *favourite = NULL;
    for (struct channel *channel = door->channels; channel != NULL; channel = channel->next) {
        if (favourite == NULL || channel->used > favourite->used) {
            favourite = channel;
        }
    }
    return favourite == NULL || favourite->orphan || favourite->busy ? NULL : favourite;
}

static struct channel *arrive_locked(struct server_thread *thread, door_id_t id, int *error) {
    struct door *door = door_by_id_locked(id);
    if (door == NULL || !(atomic_load(&door->status->attributes) & DOOR_NO_CANCEL)) {
        *error = door == NULL ? EBADF : EINVAL;
        return NULL;
    }
    struct channel *channel = favourite_locked(door);
    if (channel == NULL || server.visited != NULL || thread->looping || thread->bound_invalid) {
        *error = EAGAIN;
        return NULL;
    }
    if (channel->attendant != NULL) {
        attention_recall_locked(channel->attendant);
    }
    channel->unattended = UNATTENDED; /* the visitor is likely to come again */
    channel_hold_locked(channel);
    thread->pool = door->pool;
    server.visited = channel;
    atomic_store(&channel->session->attending, ATTENDING_SPINNING);
    return channel;
}

/* Waits until the client has claimed the thread, or the thread is to go. */
static void await_claim(struct session *session, unsigned microseconds, const uint32_t *leave) {
    uint32_t processor = atomic_load_explicit(&session->client_processor, memory_order_relaxed);
    uint32_t spinning = ATTENDING_SPINNING;
    if (__atomic_load_n(leave, __ATOMIC_SEQ_CST) != 0 ||
        word_spin(&spinner, &LONG_SPIN, processor, &session->attending, ATTENDING_SPINNING)) {
        return;
    }
    if (atomic_compare_exchange_strong(&session->attending, &spinning, ATTENDING_ASLEEP)) {
        word_sleep(&session->attending, ATTENDING_ASLEEP, microseconds);
    }
}

/* A large request may still be coming. */
static void await_request(struct session *session) {
    size_t size = *(volatile uint64_t *)&session->request.size;
    uint32_t processor = atomic_load_explicit(&session->client_processor, memory_order_relaxed);
    uint64_t end = word_clock() + REQUEST_NANOSECONDS;
    if (*(volatile uint32_t *)&session->request.flags & REQUEST_FOLLOWS) {
        size_t there;
        while ((there = flow_there(&session->request_flow, size)) < size && word_clock() < end) {
            flow_await(&session->request_flow, there, size, processor, REQUEST_NANOSECONDS / 1000);
        }
    }
}

int door_visit(door_id_t id, unsigned microseconds, const uint32_t *leave) {
    struct server_thread *thread = server_thread_enter();
    int error = ENOMEM;
    if (thread == NULL || !server_thread_has_room()) {
        errno = error;
        return -1;
    }
    server_lock();
    struct channel *channel = arrive_locked(thread, id, &error);
    server_unlock();
    if (channel == NULL) {
        errno = error;
        return -1;
    }
    await_claim(channel->session, microseconds, leave);
    if (atomic_load(&channel->session->state) == CALL_QUEUED) {
        await_request(channel->session);
    }
    server_lock();
    server.visited = NULL;
    /* A call whose client found the word as it was has no other server. */
    atomic_exchange(&channel->session->attending, ATTENDING_NOT);
    bool taken = take_claimed_locked(thread, channel);
    if (!taken) {
        if (channel->orphan && !channel->busy) {
            channel_close_locked(channel);
        }
        channel_release_locked(channel);
    }
    server_unlock();
    return taken && server_thread_visit(thread);
}

void door_visit_end(void) {
    server_lock();
    if (server.visited != NULL) {
        atomic_exchange(&server.visited->session->attending, ATTENDING_NOT);
        word_wake(&server.visited->session->attending);
    }
    server_unlock();
}
