/*
 * Server threads and the loop in which they run procedures.
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
#include <unistd.h>

_Thread_local struct server_thread *this_server_thread;

static pthread_key_t key;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static int key_error;

enum { GO_PATIENCE = 100 }; /* milliseconds */

/* Milliseconds that a thread waits in all for a request that follows, and in which it looks again whether it is needed. */
enum { REQUEST_PATIENCE = 100, REQUEST_SLICE = 1 };

/* Bytes of a stack that the library and a small procedure need beside the request. */
enum { OUR_OWN = 20480 };

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

/* What the thread has said of itself. */
static _Thread_local size_t declared_size;
static _Thread_local unsigned declared_patience;

void door_thread(size_t stack_size, unsigned idle_milliseconds) {
    declared_size = stack_size;
    declared_patience = idle_milliseconds;
}

/* What illumos leaves of a stack of so many bytes. */
static size_t limit_of(size_t size) {
    size_t reserve = size / 32;
    reserve = reserve > 65536 ? 65536 : reserve < 1024 ? 1024 : reserve;
    return size > reserve + 1536 ? size - reserve - 512 : 1024;
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
    if (declared_size > 0 && limit_of(declared_size) + OUR_OWN < left) {
        return limit_of(declared_size);
    }
    size_t reserve = size / 32;
    reserve = reserve > 65536 ? 65536 : reserve < 20480 ? 20480 : reserve;
    return left > reserve + 1536 ? left - reserve - 512 : 1024;
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
    thread->patience = declared_patience > 0 && declared_patience < INT_MAX ? (int)declared_patience : -1;
    this_server_thread = thread;
    return thread;
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
    if (thread->request.flags & REQUEST_FAULTY) {
        return EFAULT;
    }
    if (thread->request.truncated) {
        return EMFILE;
    }
    if (channel->received_count != count) {
        return EINVAL;
    }
    return size > 0 && thread->request.data == NULL ? E2BIG : 0;
}

bool server_thread_is_spare(const struct server_thread *thread) {
    server_lock();
    bool idle = thread->pool->idle > 0;
    server_unlock();
    return idle;
}

/* Copies the request, as it comes if it is still coming. False: it does not come, and the thread has no invocation any more. */
static bool receive(struct server_thread *thread, char *data) {
    struct session *session = thread->invocation.channel->session;
    size_t size = thread->request.size;
    size_t there = thread->request.flags & REQUEST_FOLLOWS ? flow_there(&session->request_flow, size) : size;
    uint32_t processor = atomic_load_explicit(&session->client_processor, memory_order_relaxed);
    uint64_t end = there < size ? word_clock() + REQUEST_PATIENCE * UINT64_C(1000000) : 0;
    for (size_t done = 0;;) {
        memcpy(data + done, thread->request.data + done, there - done);
        done = there;
        if (done == size) {
            return true;
        }
        if (thread->caller_gone) {
            invocation_discard(thread);
            return false;
        }
        if (!thread->visiting && !thread->last_idle && word_clock() < end &&
            (flow_await(&session->request_flow, done, size, processor, REQUEST_SLICE * 1000) || server_thread_is_spare(thread))) {
            there = flow_there(&session->request_flow, size);
            there = there > done ? there : done;
        } else if (invocation_postpone(thread)) {
            return false;
        } else {
            there = size;
        }
    }
}

/* Asks for another thread if this one was the last: before it waits for a client, or looks at what that has sent. */
static void replace(struct server_thread *thread) {
    if (thread->last_idle) {
        thread->last_idle = false;
        pool_deplete(thread);
    }
}

/* Runs the procedure, which returns only by mistake. False: it has not run, because the request did not come. */
static __attribute__((noinline)) bool run(struct server_thread *thread) {
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
        if (!receive(thread, data)) {
            return false;
        }
    }
    replace(thread);
    if (count > 0) {
        descriptors = (door_desc_t *)(((uintptr_t)alloca(count * sizeof(door_desc_t) + 16) + 15) & ~(uintptr_t)15);
        descriptors_describe(thread->request.fds, count, descriptors);
        for (unsigned i = 0; i < count; i++) {
            fcntl(thread->request.fds[i], F_SETFD, 0);
        }
        channel_hand_over_received(channel);
    }
    pthread_setcancelstate(thread->cancellation, NULL);
    door->procedure(door->cookie, data, size, descriptors, count);
    return true;
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
    if ((thread->request.flags & REQUEST_RELEASES) && !thread->visiting) { /* a visitor waits for nobody */
        /* The client closes its descriptors before the procedure runs. One that does not answer only harms
         * that order. */
        struct message message = {.type = MESSAGE_ACCEPTED, .sequence = thread->invocation.sequence};
        int ignored;
        replace(thread);
        message_send(channel->out, &message, NULL, 0);
        channel_ring(channel);
        channel_await(channel, message.sequence, MESSAGE_GO, GO_PATIENCE, &ignored);
    }
    return true;
}

/* What a visitor must have left of its stack, and how much of it a request may take. */
enum { VISIT_ROOM = 1 << 20, VISIT_LIMIT = 512 << 10 };

size_t stack_left(void) {
    static _Thread_local char *low;
    if (low == NULL) {
        pthread_attr_t attributes;
        void *address;
        size_t size;
        if (pthread_getattr_np(pthread_self(), &attributes) != 0) {
            return 0;
        }
        low = pthread_attr_getstack(&attributes, &address, &size) == 0 ? address : NULL;
        pthread_attr_destroy(&attributes);
    }
    const char *here = __builtin_frame_address(0);
    return low != NULL && here > low ? (size_t)(here - low) : 0;
}

bool server_thread_has_room(void) {
    return stack_left() > VISIT_ROOM;
}

/* Runs the procedure for the invocation that the thread has taken, and comes back. False: the request has not come. */
bool server_thread_visit(struct server_thread *thread) {
    size_t limit = thread->stack_limit;
    volatile bool served = true;
    thread->stack_limit = VISIT_LIMIT;
    thread->looping = thread->visiting = true;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &thread->cancellation);
    if (_setjmp(thread->base) == 0 && begin(this_server_thread)) {
        if (run(this_server_thread)) {
            invocation_reply(this_server_thread, EINTR, 0, 0, 0); /* the procedure returned: its client gets EINTR */
        } else {
            served = false;
        }
    }
    thread = this_server_thread;
    pthread_setcancelstate(thread->cancellation, NULL);
    thread->looping = thread->visiting = false;
    thread->stack_limit = limit;
    return served;
}

_Noreturn void server_thread_park(struct server_thread *thread) {
    if (thread->looping) {
        longjmp(thread->base, 1); /* not _longjmp, by which ThreadSanitizer keeps the frames that are dropped */
    }
    thread->looping = true;
    (void)_setjmp(thread->base); /* every later door_return arrives here */
    for (;;) {
        take(this_server_thread);
        if (begin(this_server_thread) && run(this_server_thread)) {
            pthread_exit(NULL); /* the procedure returned: the thread ends, its client gets EINTR */
        }
    }
}
