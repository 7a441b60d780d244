/*
 * door_return: checks the results, hands them over, and parks the thread. It comes back only to say that the
 * results were not accepted; then the client is still waiting.
 */
#include "internal.h"

#include <string.h>
#include <unistd.h>

/* Milliseconds that a client may take to say whether it has room: in all, and when no other thread is idle. */
enum { FDOK_PATIENCE = 10000, FDOK_SLICE = 100 };

/* The data as memory of its own: that saves the client a copy and costs fresh pages, so it pays for large ones alone. Whether the
 * client keeps them is for it to say, so no stranger gets any. */
static int send_alone(struct channel *channel, uint64_t sequence, const char *data, size_t size, size_t needed) {
    size_t total = memory_round(needed);
    int fd = memory_freeze("door-results", data, size, total);
    if (fd < 0) {
        return errno;
    }
    struct message results = {.type = MESSAGE_RESULTS, .sequence = sequence, .size = total};
    int error = message_send(channel->out, &results, &fd, 1);
    close(fd);
    return error;
}

/* Tells the client that the reply begins to come, so that it copies while we do. */
static void announce(struct channel *channel, uint64_t sequence, size_t size, unsigned flags) {
    struct session *session = channel->session;
    session->reply.error = 0;
    session->reply.size = size;
    session->reply.count = 0;
    session->reply.flags = flags;
    flow_start(&session->reply_flow);
    atomic_store_explicit(&session->server_processor, this_processor(), memory_order_relaxed);
    atomic_store(&session->coming, sequence);
    channel_answer(channel, sequence);
}

/* The client has made another call: it has read what was there. */
static void drop_reply(struct channel *channel) {
    if (channel->stranger) {
        region_empty(&channel->reply);
    }
    region_drop(&channel->reply);
}

/* The data into the region that the two sides share, which grows if it has to. Nothing else comes with them if they are `alone`. */
static int fill_region(struct channel *channel, uint64_t sequence, const char *data, size_t size, bool alone, unsigned *flags) {
    *flags |= IN_REGION;
    channel->small_replies = 0;
    if (channel->reply.size > REGION_KEEP) { /* its client has let go of it */
        drop_reply(channel);
    }
    if (channel->reply.size < size) {
        drop_reply(channel);
        if (!channel_may_reply(channel, size)) {
            return EOVERFLOW;
        }
        int fd, error = region_grow(&channel->reply, size, &fd);
        if (error != 0) {
            return error;
        }
        struct message grow = {.type = MESSAGE_GROW, .sequence = sequence, .size = channel->reply.size};
        error = message_send(channel->out, &grow, &fd, 1);
        *flags |= ON_SOCKET;
        close(fd);
        if (error != 0) {
            return error;
        }
    }
    struct session *session = channel->session;
    if (alone && flow_pays(atomic_load_explicit(&session->client_processor, memory_order_relaxed))) {
        announce(channel, sequence, size, *flags);
        flow_fill(&session->reply_flow, channel->reply.base, data, size, &session->state);
    } else {
        memcpy(channel->reply.base, data, size);
    }
    return 0;
}

/*
 * Whether the client has room for so many descriptors: 0, EMFILE, or EPIPE when it has gone. One that does not say so is sent them all
 * the same, and if it has no room that is its own EMFILE: it holds no thread that others need, nor the thread of an event loop.
 */
static int ask_for_room(struct server_thread *thread, unsigned count) {
    struct channel *channel = thread->invocation.channel;
    struct message query = {.type = MESSAGE_FDQUERY, .sequence = thread->invocation.sequence, .count = count};
    int answer = 0, result = ETIMEDOUT;
    if (thread->visiting) {
        return 0;
    }
    if (message_send(channel->out, &query, NULL, 0) != 0) {
        return EPIPE;
    }
    channel_ring(channel);
    for (int waited = 0; result == ETIMEDOUT && waited < FDOK_PATIENCE; waited += FDOK_SLICE) {
        if (waited > 0 && !server_thread_is_spare(thread)) {
            break;
        }
        result = channel_await(channel, query.sequence, MESSAGE_FDOK, FDOK_SLICE, &answer);
    }
    return result == 0 ? answer != 0 ? EMFILE : 0 : result == ETIMEDOUT ? 0 : EPIPE;
}

/* The reply proper. EPIPE: nobody waits for it any more. */
static int reply(struct server_thread *thread, const char *data, size_t size, const door_desc_t *descriptors,
                 unsigned count) {
    struct channel *channel = thread->invocation.channel;
    uint64_t sequence = thread->invocation.sequence;
    struct outgoing outgoing;
    int error;
    outgoing.count = 0;
    if ((thread->invocation.no_results && (size > 0 || count > 0)) || count > DESCRIPTORS_MAX) {
        return E2BIG;
    }
    /* The kernel looks at data that fit the client's buffer first, and at others when it knows where they go. */
    size_t offset, needed = 0;
    bool sized = results_size(size, count, &offset, &needed);
    bool fits = sized && needed <= thread->request.room;
    if (fits && !memory_readable(data, size)) {
        return EFAULT;
    }
    if (count > 0) {
        if ((error = ask_for_room(thread, count)) != 0) {
            return error;
        }
    }
    if ((!fits && !memory_readable(data, size)) || !memory_readable(descriptors, count * sizeof *descriptors)) {
        return EFAULT;
    }
    if (count > 0 && (error = descriptors_prepare(descriptors, count, &outgoing)) != 0) {
        if (error == EINVAL) {
            descriptors_release(descriptors, count);
        }
        return error;
    }
    unsigned flags = 0;
    error = sized ? 0 : EOVERFLOW;
    if (error == 0 && size > RESULTS_ALONE && needed > thread->request.room && !channel->stranger) {
        flags = IN_RESULTS | ON_SOCKET;
        error = send_alone(channel, sequence, data, size, needed);
    } else if (error == 0 && size > SESSION_CAPACITY) {
        error = fill_region(channel, sequence, data, size, count == 0, &flags);
    } else if (error == 0 && size > 0) {
        memcpy((char *)channel->session + SESSION_REPLY, data, size);
    }
    if (error == 0 && !(flags & IN_REGION) && channel->reply.base != NULL &&
        ++channel->small_replies > REGION_IDLE) {
        flags |= REGION_DROPPED;
        drop_reply(channel);
    }
    if (error == 0 && count > 0) {
        flags |= ON_SOCKET;
        error = descriptors_send(channel->out, sequence, &outgoing);
    }
    descriptors_discard(&outgoing);
    descriptors_release(descriptors, count);
    if (channel->reply.size > REGION_KEEP && !channel->stranger) {
        region_drop(&channel->reply);
    }
    if (error != 0) {
        error = error == EMFILE ? EMFILE : EOVERFLOW;
        invocation_reply(thread, error, 0, 0, 0);
    } else {
        invocation_reply(thread, 0, size, count, flags);
    }
    return 0;
}

int door_return(char *data_ptr, size_t data_size, door_desc_t *desc_ptr, uint_t num_desc) {
    struct server_thread *thread = server_thread_enter();
    if (thread == NULL || thread->bound_invalid) {
        errno = thread ? EINVAL : ENOMEM;
        return -1;
    }
    struct invocation *invocation = &thread->invocation;
    int error = 0;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &thread->cancellation);
    if (invocation->active && invocation->channel != NULL && !thread->caller_gone) {
        error = reply(thread, data_ptr, data_size, desc_ptr, num_desc);
        if (error != 0 && socket_hung_up(invocation->channel->fd)) {
            error = EPIPE;
        }
    } else if (invocation->active && invocation->unreferenced) {
        error = data_size > 0 || num_desc > 0 ? E2BIG : 0;
    } else {
        error = EPIPE;
    }
    if (error == EPIPE) {
        error = memory_readable(desc_ptr, num_desc * sizeof *desc_ptr) ? 0 : EFAULT;
        if (error == 0) {
            descriptors_release(desc_ptr, num_desc);
        }
    }
    if (error != 0) {
        pthread_setcancelstate(thread->cancellation, NULL);
        errno = error;
        return -1;
    }
    if (invocation->active) {
        invocation_discard(thread);
    } else if (!thread->parked) {
        server_lock();
        server_thread_rest_locked(thread);
        server_unlock();
    }
    server_thread_park(thread);
}
