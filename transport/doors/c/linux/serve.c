/*
 * Server threads: the loop that runs procedures, and door_return, which ends one and never comes back.
 *
 * The first door_return of a thread enters a loop on the thread's stack, at whatever depth it was called. Every
 * later one, called somewhere below the procedure that the loop is running, jumps back to the loop with longjmp:
 * the frames between are dropped, as illumos drops them by resetting the stack. The loop's frame is an ancestor
 * of the caller, so the jump is a plain unwinding. Nothing that needs its frames unwound in order, such as an
 * interpreter, may lie between.
 *
 * A request is copied onto this stack before the procedure sees it. That is what gives the limit on its size, and
 * it makes the client unable to change it while it is being read.
 */
#include "internal.h"

#include <alloca.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

_Thread_local struct server_thread *this_server_thread;

static pthread_key_t key;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static int key_error;

enum { GO_PATIENCE = 1000, FDOK_PATIENCE = 10000 }; /* milliseconds */

/* The thread ends: in the middle of an invocation its client gets EINTR. */
static void forget(void *object) {
    struct server_thread *thread = object;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    if (thread->invocation.active && thread->invocation.channel != NULL) {
        invocation_reply(thread, EINTR, 0, 0, 0);
    }
    server_lock();
    if (thread->invocation.active) {
        invocation_end_locked(thread);
    }
    if (thread->parked) {
        thread->pool->idle--;
        attention_end_locked(thread);
        attention_balance_locked(thread->pool);
    }
    if (thread->recent != NULL) {
        channel_release_locked(thread->recent);
    }
    if (thread->bound != NULL) {
        door_release_locked(thread->bound);
    }
    server_unlock();
    this_server_thread = NULL;
    free(thread);
}

static void make_key(void) {
    key_error = pthread_key_create(&key, forget);
}

/* The largest request of a stack: what illumos would leave after its reserve, and never less than we need. */
static size_t stack_limit(void) {
    pthread_attr_t attributes;
    void *low;
    size_t size;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0) {
        return 64 << 10;
    }
    int error = pthread_attr_getstack(&attributes, &low, &size);
    pthread_attr_destroy(&attributes);
    if (error != 0) {
        return 64 << 10;
    }
    size_t left = (size_t)((char *)__builtin_frame_address(0) - (char *)low);
    size_t reserve = size / 32;
    reserve = reserve > 65536 ? 65536 : reserve < 20480 ? 20480 : reserve;
    return left > reserve + 512 ? left - reserve - 512 : 0;
}

struct server_thread *server_thread_enter(void) {
    struct server_thread *thread = this_server_thread;
    if (thread != NULL) {
        return thread;
    }
    pthread_once(&key_once, make_key);
    if (key_error != 0 || (thread = calloc(1, sizeof *thread)) == NULL) {
        return NULL;
    }
    if (pthread_setspecific(key, thread) != 0) {
        free(thread);
        return NULL;
    }
    thread->self = pthread_self();
    thread->stack_limit = stack_limit();
    this_server_thread = thread;
    return thread;
}

/* Counts the thread as idle again, in the pool of the door it is bound to, or the public one. */
void server_thread_rest_locked(struct server_thread *thread) {
    thread->pool = thread->bound ? thread->bound->pool : &server.public_pool;
    thread->pool->idle++;
    thread->parked = true;
}

/* The channel stays held; the caller lets go when it has answered. */
void invocation_end_locked(struct server_thread *thread) {
    struct invocation *invocation = &thread->invocation;
    struct channel *channel = invocation->channel;
    struct door *door = invocation->door;
    invocation->active = false;
    door->active--;
    if (channel != NULL) {
        channel->thread = NULL;
        channel->busy = false;
        channel_drop_received(channel);
        if (channel->request.size > REGION_KEEP) {
            region_drop(&channel->request);
        }
        if (channel->pending && !channel->dead) {
            struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = channel->handle};
            epoll_ctl(door->pool->epoll, EPOLL_CTL_MOD, channel->fd, &event);
        }
    }
    unreferenced_idle_locked(door);
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
    invocation_end_locked(thread);
    if (error != EINTR) {
        server_thread_rest_locked(thread);
    }
    if (error == 0) {
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
static void invocation_discard(struct server_thread *thread) {
    struct channel *channel = thread->invocation.channel;
    server_lock();
    invocation_end_locked(thread);
    server_thread_rest_locked(thread);
    if (channel != NULL) {
        channel_close_locked(channel);
        channel_release_locked(channel);
    }
    server_unlock();
}

static int check(struct server_thread *thread) {
    struct channel *channel = thread->invocation.channel;
    struct door *door = thread->invocation.door;
    struct limits limits;
    if (channel->spared && channel->spared_sequence == thread->invocation.sequence) {
        limits = channel->spared_limits;
    } else {
        status_limits(door->status, &limits);
    }
    uint64_t size = thread->request.size, count = thread->request.count;
    int error = limits_check(&limits, atomic_load(&door->status->attributes), size, count);
    if (error != 0) {
        return error;
    }
    uint64_t needed = 64 + (door->pool == &server.public_pool ? 0 : sizeof(door_info_t));
    if (count > DESCRIPTORS_MAX || size > thread->stack_limit) {
        return E2BIG;
    }
    needed += (size + 15) / 16 * 16 + (count * sizeof(door_desc_t) + 15) / 16 * 16;
    if (needed > thread->stack_limit) {
        return E2BIG;
    }
    if (thread->request.truncated) {
        return EMFILE;
    }
    if (channel->received_count != count) {
        return EINVAL;
    }
    return size > 0 && thread->request.data == NULL ? EFAULT : 0;
}

static __attribute__((noinline)) void run(struct server_thread *thread) {
    struct door *door = thread->invocation.door;
    struct channel *channel = thread->invocation.channel;
    size_t size = thread->request.size;
    unsigned count = thread->request.count;
    char *data = NULL;
    door_desc_t *descriptors = NULL;
    if (thread->invocation.unreferenced) {
        data = DOOR_UNREF_DATA;
    }
    if (size > 0) {
        data = (char *)(((uintptr_t)alloca(size + 16) + 15) & ~(uintptr_t)15);
        memcpy(data, thread->request.data, size);
    }
    if (count > 0) {
        descriptors = (door_desc_t *)(((uintptr_t)alloca(count * sizeof(door_desc_t) + 16) + 15) & ~(uintptr_t)15);
        descriptors_describe(thread->request.fds, count, descriptors);
        for (unsigned i = 0; i < count; i++) {
            fcntl(thread->request.fds[i], F_SETFD, 0);
        }
        channel->received_count = 0; /* they belong to the procedure now */
    }
    if (thread->last_idle) {
        thread->last_idle = false;
        pool_deplete(thread);
    }
    pthread_setcancelstate(thread->cancellation, NULL);
    door->procedure(door->cookie, data, size, descriptors, count);
}

static bool begin(struct server_thread *thread) {
    struct channel *channel = thread->invocation.channel;
    if (channel == NULL) {
        return true;
    }
    int error = check(thread);
    if (error != 0) {
        channel_drop_received(channel);
        invocation_reply(thread, error, 0, 0, 0);
        return false;
    }
    if (thread->request.flags & REQUEST_RELEASES) {
        /* The client closes its descriptors before the procedure runs. One that does not answer only harms
         * that order. */
        struct message message = {.type = MESSAGE_ACCEPTED, .sequence = thread->invocation.sequence};
        int ignored;
        message_send(channel->fd, &message, NULL, 0);
        channel_ring(channel);
        channel_await(channel, message.sequence, MESSAGE_GO, GO_PATIENCE, &ignored);
    }
    return true;
}

_Noreturn void server_thread_park(struct server_thread *thread) {
    if (thread->looping) {
        _longjmp(thread->base, 1);
    }
    thread->looping = true;
    (void)_setjmp(thread->base); /* every later door_return arrives here */
    for (;;) {
        take(this_server_thread);
        if (begin(this_server_thread)) {
            run(this_server_thread);
            pthread_exit(NULL); /* the procedure returned: the thread ends, its client gets EINTR */
        }
    }
}

/* The reply proper. EPIPE: nobody waits for it any more. */
static int reply(struct server_thread *thread, const char *data, size_t size, const door_desc_t *descriptors,
                 unsigned count) {
    struct channel *channel = thread->invocation.channel;
    uint64_t sequence = thread->invocation.sequence;
    struct outgoing outgoing = {.count = 0};
    int error, answer = 0;
    if ((thread->invocation.no_results && (size > 0 || count > 0)) || count > DESCRIPTORS_MAX) {
        return E2BIG;
    }
    if (!memory_readable(data, size) || !memory_readable(descriptors, count * sizeof *descriptors)) {
        return EFAULT;
    }
    if (count > 0) {
        struct message query = {.type = MESSAGE_FDQUERY, .sequence = sequence, .count = count};
        int sent = message_send(channel->fd, &query, NULL, 0);
        channel_ring(channel);
        if (sent != 0 ||
            channel_await(channel, sequence, MESSAGE_FDOK, FDOK_PATIENCE, &answer) != 0) {
            return EPIPE;
        }
        if (answer != 0) {
            return EMFILE;
        }
        if ((error = descriptors_prepare(descriptors, count, &outgoing)) != 0) {
            return error;
        }
    }
    char *target = (char *)channel->session + SESSION_REPLY;
    unsigned flags = 0;
    error = 0;
    if (size > SESSION_CAPACITY) {
        flags = IN_REGION;
        if (channel->reply.size < size) {
            int fd;
            if ((error = region_grow(&channel->reply, size, &fd)) == 0) {
                struct message grow = {.type = MESSAGE_GROW, .sequence = sequence, .size = channel->reply.size};
                error = message_send(channel->fd, &grow, &fd, 1);
                flags |= ON_SOCKET;
                close(fd);
            }
        }
        target = channel->reply.base;
    }
    if (error == 0) {
        if (size > 0) {
            memcpy(target, data, size);
        }
        if (count > 0) {
            flags |= ON_SOCKET;
            error = descriptors_send(channel->fd, sequence, &outgoing);
        }
    }
    descriptors_discard(&outgoing);
    descriptors_release(descriptors, count);
    if (channel->reply.size > REGION_KEEP) {
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

int door_bind(int did) {
    int error;
    struct door *door = door_of(did, &error);
    if (door == NULL) {
        errno = error == EPERM ? EINVAL : error;
        return -1;
    }
    struct server_thread *thread = server_thread_enter();
    if (thread == NULL || door->pool == &server.public_pool) {
        server_unlock();
        errno = thread ? EINVAL : ENOMEM;
        return -1;
    }
    door->holds++;
    if (thread->bound != NULL) {
        door_release_locked(thread->bound);
    }
    thread->bound = door;
    thread->bound_invalid = false;
    server_unlock();
    return 0;
}

int door_unbind(void) {
    struct server_thread *thread = this_server_thread;
    if (thread != NULL && thread->bound_invalid) {
        thread->bound_invalid = false;
        return 0;
    }
    if (thread == NULL || thread->bound == NULL) {
        errno = EBADF;
        return -1;
    }
    server_lock();
    door_release_locked(thread->bound);
    thread->bound = NULL;
    server_unlock();
    return 0;
}
