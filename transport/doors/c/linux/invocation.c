/* The end of an invocation: a reply to a waiting client, or to a client that has gone. */
#include "internal.h"

/* Counts the thread as idle again, in the pool of the door it is bound to, or the public one. */
void server_thread_rest_locked(struct server_thread *thread) {
    if (thread->visiting) {
        return;
    }
    thread->pool = thread->bound ? thread->bound->pool : &server.public_pool;
    pool_open(thread->pool); /* the public one may not be in use yet */
    thread->pool->idle++;
    thread->parked = true;
}

/* The channel stays held; the caller lets go when it has answered. */
void invocation_end_locked(struct server_thread *thread) {
    struct invocation *invocation = &thread->invocation;
    struct channel *channel = invocation->channel;
    struct door *door = invocation->door;
    invocation->active = false;
    door_end_locked(invocation);
    if (channel != NULL) {
        channel->thread = NULL;
        channel->busy = false;
        channel_drop_received(channel);
        if (channel->request.size > REGION_KEEP && !invocation->postponed) {
            region_drop(&channel->request);
        }
        if (channel->pending && !channel->dead) {
            channel_announce_locked(channel);
        }
    }
    if (invocation->unreferenced) {
        unreferenced_done_locked(door);
    }
}

/* Publishes the outcome; the thread is idle before its client can know. */
void invocation_reply(struct server_thread *thread, int error, uint64_t size, unsigned count, unsigned flags) {
    struct channel *channel = thread->invocation.channel;
    struct session *session = channel->session;
    uint64_t sequence = thread->invocation.sequence;
    session->reply.error = error;
    session->reply.size = size;
    session->reply.count = count;
    session->reply.flags = flags;
    server_lock();
    if (error != 0) {
        atomic_fetch_add_explicit(&channel->door->status->failures, 1, memory_order_relaxed);
    }
    invocation_end_locked(thread);
    if (error != EINTR) {
        server_thread_rest_locked(thread);
    }
    if (error == 0 && !thread->visiting) {
        attention_begin_locked(thread, channel); /* its next call is likely to be ours */
    }
    atomic_store(&session->state, CALL_DONE);
    server_unlock();
    atomic_store_explicit(&session->server_processor, this_processor(), memory_order_relaxed);
    channel_answer(channel, sequence);
    if (thread->recent == channel) {
        return;
    }
    server_lock();
    if (channel->orphan && !channel->busy) {
        channel_close_locked(channel);
    }
    channel_release_locked(channel);
    server_unlock();
}

/* Nobody waits for the outcome: just become idle. */
void invocation_discard(struct server_thread *thread) {
    struct channel *channel = thread->invocation.channel;
    server_lock();
    invocation_end_locked(thread);
    server_thread_rest_locked(thread);
    if (channel != NULL) {
        atomic_fetch_add_explicit(&channel->door->status->failures, 1, memory_order_relaxed);
        channel_close_locked(channel);
        channel_release_locked(channel);
    }
    server_unlock();
}

/*
 * The request has not come in time. The call waits for a thread again, which it gets when its client says that all is there. False:
 * all is there now.
 */
bool invocation_postpone(struct server_thread *thread) {
    struct invocation *invocation = &thread->invocation;
    struct channel *channel = invocation->channel;
    struct session *session = channel->session;
    uint32_t queued = CALL_QUEUED, state = CALL_ACTIVE;
    server_lock();
    bool waits = atomic_compare_exchange_strong(&session->state, &state, CALL_QUEUED);
    atomic_store(&session->postponed, 1);
    if (waits && flow_there(&session->request_flow, thread->request.size) == thread->request.size &&
        atomic_exchange(&session->postponed, 0) != 0 &&
        atomic_compare_exchange_strong(&session->state, &queued, CALL_ACTIVE)) {
        server_unlock();
        return false;
    }
    if (invocation->door->revoked) {
        queued = CALL_QUEUED;
        if (atomic_compare_exchange_strong(&session->state, &queued, CALL_REFUSED)) {
            channel_answer(channel, invocation->sequence);
        }
    }
    invocation->postponed = true;
    invocation_end_locked(thread);
    atomic_fetch_sub_explicit(&channel->door->status->calls, 1, memory_order_relaxed);
    server_thread_rest_locked(thread);
    channel_release_locked(channel);
    server_unlock();
    return true;
}
