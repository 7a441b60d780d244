/*
 * door_call.
 *
 * All signals are blocked from before the request becomes visible until the client sleeps, and ppoll unblocks
 * them while it sleeps. So a signal that arrives anywhere within the call interrupts it, and what it means is
 * decided by one compare-and-swap: a call still QUEUED is retracted and was never started (EAGAIN), one that is
 * ACTIVE goes on without us (EINTR). After either, the channel is abandoned: a late reply has nowhere to go.
 */
#include "call.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { ATTEMPTS = 500, TICK = 1000 /* milliseconds */ };

/*
 * How long a caller sleeps in the session memory, deaf to signals. Longer than a tick of the kernel's clock on most machines: a
 * timer that ends before the next tick makes the kernel set the processor's own one, which costs as much as the rest of the call.
 */
enum { BELL_MICROSECONDS = 5000 };

/* Milliseconds that it takes, at most, from the end of one of a process's sockets to that of the next. */
enum { DEATH_PATIENCE = 1000 };

/* Copies the request into the region while a server thread copies it out. */
static void send_rest(struct call *call, uint64_t sequence) {
    struct line *line = call->line;
    struct session *session = line->session;
    flow_fill(&session->request_flow, line->request.base, call->arguments.data_ptr, call->arguments.data_size,
              &session->state);
    if (atomic_exchange(&session->postponed, 0) != 0) {
        struct message message = {.type = MESSAGE_CALL, .sequence = sequence};
        line_send(line, &message, NULL, 0); /* if there is no room for it, a tick says it again */
    }
}

static int send_request(struct call *call, uint64_t *sequence) {
    struct line *line = call->line;
    int error = line_connect(line);
    if (error != 0) {
        return error;
    }
    struct session *session = line->session;
    size_t size = call->arguments.data_size;
    char *target = (char *)session + SESSION_REQUEST;
    uint32_t idle = CALL_IDLE;
    unsigned flags = (call->no_results ? REQUEST_NO_RESULTS : 0) | (call->outgoing.releases ? REQUEST_RELEASES : 0);
    if (call->outgoing.count > 0) {
        flags |= ON_SOCKET;
    }
    *sequence = ++line->sequence;
    bool grows = call->fault == 0 && size > SESSION_CAPACITY && line->request.size < size;
    if ((call->outgoing.count > 0 || (grows && line->offer < 0)) && (error = line_await_out(line, &call->patience)) != 0) {
        return error == EPIPE ? AGAIN_ON_NEW_LINE : error == EAGAIN ? NOT_YET : error;
    }
    if (call->fault != 0) {
        flags = REQUEST_FAULTY;
    } else if (size > SESSION_CAPACITY) {
        flags |= IN_REGION;
        if (grows) {
            int fd;
            if ((error = region_grow(&line->request, size, &fd)) != 0) {
                return error == ENOMEM ? EAGAIN : error;
            }
            struct message grow = {.type = MESSAGE_GROW, .sequence = *sequence, .size = line->request.size};
            flags |= ON_SOCKET;
            if (line->offer >= 0) {
                line->first = fd;
            } else {
                error = line_send(line, &grow, &fd, 1);
                close(fd);
            }
        }
        target = line->request.base;
        line->small_requests = 0;
        if (call->outgoing.count == 0 && line->offer < 0 &&
            flow_pays(atomic_load_explicit(&session->server_processor, memory_order_relaxed))) {
            flags |= REQUEST_FOLLOWS;
            flow_start(&session->request_flow);
            atomic_store(&session->postponed, 0);
        }
    } else if (line->request.base != NULL && ++line->small_requests > REGION_IDLE) {
        flags |= REGION_DROPPED;
        region_drop(&line->request);
    }
    if (error == 0 && size > 0 && call->fault == 0 && !(flags & REQUEST_FOLLOWS)) {
        memcpy(target, call->arguments.data_ptr, size);
    }
    if (error == 0) {
        error = call->outgoing.count > 0 ? descriptors_send(line->out, *sequence, &call->outgoing) : 0;
    }
    if (error == 0) {
        session->request.size = size;
        session->request.room = call->arguments.rsize;
        session->request.count = call->fault == 0 ? call->outgoing.count : call->arguments.desc_num;
        session->request.flags = flags;
        atomic_store(&session->sequence, *sequence);
        atomic_store_explicit(&session->client_processor, this_processor(), memory_order_relaxed);
        call->bell = atomic_load(&session->bell);
        if (!atomic_compare_exchange_strong(&session->state, &idle, CALL_QUEUED)) {
            return AGAIN_ON_NEW_LINE; /* evicted */
        }
        uint32_t attending = atomic_exchange(&session->attending, ATTENDING_NOT);
        if (attending == ATTENDING_ASLEEP) {
            word_wake(&session->attending);
        }
        if (line->offer >= 0) {
            return line_offer(line, &call->patience);
        }
        if (attending == ATTENDING_NOT || (flags & ON_SOCKET)) {
            struct message message = {.type = MESSAGE_CALL, .sequence = *sequence};
            error = line_send(line, &message, NULL, 0);
        }
        if (error == 0 && (flags & REQUEST_FOLLOWS)) {
            send_rest(call, *sequence);
        }
    }
    return error == 0 || error == EMFILE ? error : AGAIN_ON_NEW_LINE;
}

/*
 * Nothing but its end makes a server close the channel of a call in progress. The sockets of a process that ends close one
 * after the other; who is told of the end may ask door_info at once, so the door itself must have hung up.
 */
static void await_death(const struct call *call) {
    struct pollfd entries[2] = {{.fd = call->line->trunk, .events = POLLRDHUP}, {.events = POLLIN}};
    entries[1].fd = socket_peer_pidfd(call->line->trunk, call->line->server);
    if (entries[1].fd < 0 && errno == ESRCH) {
        return;
    }
    patience_wait(&call->patience, entries, 2, DEATH_PATIENCE);
    if (entries[1].fd >= 0) {
        close(entries[1].fd);
    }
}

/* The channel has hung up: what that means depends on how far the call had come. */
int call_hung_up(struct call *call) {
    uint32_t queued = CALL_QUEUED;
    struct session *session = call->line->session;
    if (atomic_compare_exchange_strong(&session->state, &queued, CALL_RETRACTED)) {
        bool gone = atomic_load(&call->line->status->revoked) || socket_hung_up(call->line->trunk);
        return gone ? EBADF : AGAIN_ON_NEW_LINE;
    }
    if (queued == CALL_ACTIVE) {
        await_death(call);
    }
    return queued == CALL_REFUSED ? EBADF : queued == CALL_DONE ? 0 : EINTR;
}

/* A signal has come. 0: the outcome was quicker. */
int call_interrupted(struct call *call) {
    uint32_t queued = CALL_QUEUED;
    if (atomic_compare_exchange_strong(&call->line->session->state, &queued, CALL_RETRACTED)) {
        return EAGAIN;
    }
    if (queued == CALL_REFUSED || queued == CALL_DONE) {
        return 0;
    }
    call_release(call); /* the transfer has happened */
    return EINTR;
}

/*
 * Waits a moment in the session memory, where most replies arrive. Signals stay blocked that long; the moment is
 * shorter than anybody could tell from the signal having arrived later.
 */
void call_listen(struct call *call) {
    struct line *line = call->line;
    struct session *session = line->session;
    uint32_t processor = atomic_load_explicit(&session->server_processor, memory_order_relaxed);
    if (line->impatient > 0) {
        line->impatient--;
    } else if (!word_spin(&line->spinner, call->patience.limited ? &LONG_SPIN : &SHORT_SPIN, processor, &session->bell,
                          call->bell)) {
        atomic_store(&session->listening, LISTENING_TO_BELL);
        if (!word_sleep(&session->bell, call->bell, patience_left(&call->patience, BELL_MICROSECONDS))) {
            line->impatient = 64;
        }
    }
}

/* The thread is cancelled in the middle of its call. */
static void cancelled(void *argument) {
    struct call *call = argument;
    call_interrupted(call);
    descriptors_discard(&call->outgoing);
    call_unreserve(call);
    call_forget_reply(call);
    line_abandon(call->line);
    pthread_sigmask(SIG_SETMASK, &call->patience.signals, NULL);
}

/* Sleeps until the server has sent something, a signal has come, or a tick has passed: as ppoll(2). */
static int sleep_interruptibly(struct call *call) {
    struct pollfd entry = {.fd = call->line->fd, .events = POLLIN};
    volatile int count; /* the macros may use setjmp */
    pthread_cleanup_push(cancelled, call);
    pthread_setcancelstate(call->cancellation, NULL);
    count = patience_wait(&call->patience, &entry, 1, TICK);
    int failure = errno;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    errno = failure;
    pthread_cleanup_pop(0);
    return count;
}

/* Waits for the outcome, with all signals blocked except while asleep. */
static int await_reply(struct call *call) {
    struct line *line = call->line;
    int error;
    if (call->outgoing.count == 0) {
        call_listen(call);
    }
    if (call_is_coming(call)) {
        call->bell = atomic_load(&line->session->bell);
        if ((error = call_take_along(call)) != 0) {
            return error;
        }
        call_listen(call);
    }
    if (!call_has_outcome(line)) {
        atomic_store(&line->session->listening, LISTENING_TO_SOCKET);
    }
    for (unsigned ticks = 0, datagrams = 0;;) {
        if (call_is_coming(call)) {
            error = call_take_along(call);
            atomic_store(&line->session->listening, LISTENING_TO_SOCKET);
            if (error != 0) {
                return error;
            }
        }
        if (call_has_outcome(line)) {
            return *(volatile uint32_t *)&line->session->reply.flags & ON_SOCKET ? call_collect(call) : 0;
        }
        struct message message;
        struct receipt receipt;
        error = 0;
        if (call->reserved_count > 0) {
            struct pollfd entry = {.fd = line->fd, .events = POLLIN};
            if (poll(&entry, 1, 0) == 1) {
                call_unreserve(call); /* right before they are needed */
            }
        }
        int result = line_receive(line, &message, &receipt);
        if (result == 0) {
            bool outcome = call_hear(call, &message, &receipt, &error);
            receipt_close(&receipt);
            if (outcome) {
                return error;
            }
            if (++datagrams < DATAGRAMS_A_REPLY) {
                continue;
            }
        }
        if (result != EAGAIN) { /* gone, or a server that does not keep to the protocol */
            error = call_hung_up(call);
            if (error == EINTR) {
                call_release(call);
            }
            return error;
        }
        datagrams = 0;
        int count = sleep_interruptibly(call);
        if (count < 0 && errno == EINTR && (error = call_interrupted(call)) != 0) {
            return error;
        }
        if (count == 0 && socket_peer_exited(line->trunk, line->server)) {
            error = call_hung_up(call);
            return error == AGAIN_ON_NEW_LINE ? EBADF : error;
        }
        ticks += count == 0;
        if (count == 0 && (ticks & (ticks - 1)) == 0 &&
            atomic_load(&line->session->state) == CALL_QUEUED) {
            /* The thread that was told may have been cancelled before it could take the call. */
            struct message message = {.type = MESSAGE_CALL, .sequence = line->sequence};
            line_send(line, &message, NULL, 0);
        }
    }
}

static size_t array_size(const struct call *call) {
    return call->arguments.desc_num * sizeof(door_desc_t);
}

/*
 * What can be refused without a server thread, in the kernel's order. The kernel looks at the arguments themselves only when
 * it has a thread: until then a call waits, can be interrupted and revoked, and keeps its descriptors.
 */
static int check(struct call *call, int d) {
    struct limits limits;
    const struct status *status = call->line->status;
    const door_arg_t *arguments = &call->arguments;
    if (atomic_load(&status->revoked)) {
        return EBADF;
    }
    status_limits(status, &limits);
    int error = limits_check(&limits, atomic_load(&status->attributes), arguments->data_size, arguments->desc_num);
    if ((error != 0 || arguments->desc_num > 0) && socket_hung_up(d)) {
        return EBADF;
    }
    if (error != 0) {
        return error;
    }
    if (arguments->desc_num > DESCRIPTORS_MAX) {
        call->fault = E2BIG;
    } else if (!call->is_posted &&
               (!memory_readable(arguments->data_ptr, arguments->data_size) ||
                !memory_readable(arguments->desc_ptr, array_size(call)))) {
        call->fault = EFAULT;
    } else if (arguments->desc_num > 0) {
        error = descriptors_prepare(arguments->desc_ptr, arguments->desc_num, &call->outgoing);
        call->fault = error == EINVAL ? EINVAL : 0;
    }
    return call->fault == 0 ? error : 0;
}

/* Hands the request over on a line. On error the line is the call's no longer. */
int call_begin(struct call *call, int d) {
    uint64_t sequence;
    int error = line_for(d, &call->line);
    if (error != 0) {
        return error;
    }
    struct line *line = call->line;
    if (!call->checked && (error = check(call, d)) != 0) {
        line_release(line); /* nothing has been sent */
        return error;
    }
    call->checked = true;
    if (atomic_load(&line->status->revoked)) {
        error = EBADF;
    } else if ((error = send_request(call, &sequence)) == 0) {
        uint32_t queued = CALL_QUEUED;
        if (atomic_load(&line->status->revoked) &&
            atomic_compare_exchange_strong(&line->session->state, &queued, CALL_RETRACTED)) {
            error = EBADF; /* the sweep of a revocation may have missed it */
        }
    } else if (error == NOT_YET) {
        line_release(line); /* the server will have answered when it is used next */
        return EAGAIN;
    } else if (error == AGAIN_ON_NEW_LINE && socket_hung_up(d)) {
        error = EBADF;
    }
    return error == 0 ? 0 : call_end(call, error);
}

/* Whether the error tells the caller that the descriptors which it gives away are no longer its own. */
static bool tells_of_release(int error) {
    return error == EINTR || error == EINVAL || error == EMFILE || error == EOVERFLOW;
}

/* Takes the reply in, unless there is an error, and keeps the line if it can be used again. */
int call_end(struct call *call, int error) {
    struct line *line = call->line;
    bool keep = false;
    if (error == 0) {
        error = call_take_reply(call);
        keep = atomic_load(&line->session->state) == CALL_DONE;
    }
    if (call->released && error != 0 && error != EFAULT && !tells_of_release(error)) {
        error = EINTR; /* a server that does not keep to the protocol */
    }
    call_unreserve(call);
    call_forget_reply(call);
    if (keep) {
        if (line->request.size > REGION_KEEP) {
            region_drop(&line->request);
        }
        if (line->reply.size > REGION_KEEP) {
            region_drop(&line->reply);
        }
        atomic_store(&line->session->listening, LISTENING_NOWHERE);
        atomic_store(&line->session->state, CALL_IDLE);
        line_release(line);
    } else {
        line_abandon(line);
    }
    return error;
}

/* A call of nobody yet, without arguments. */
void call_prepare(struct call *call, const door_call_limits_t *limits) {
    call->patience.limited = false;
    if (limits->microseconds > 0) {
        patience_limit(&call->patience, limits->microseconds);
    }
    call->largest = limits->largest > 0 ? limits->largest : SIZE_MAX;
    call->is_posted = call->no_results = call->read_only = false;
    call->checked = call->released = call->truncated = call->hasty = false;
    call->fault = 0;
    call->reserved_count = call->received_count = call->outgoing.count = 0;
    call->outgoing.releases = false;
    call->results = (struct region){NULL, 0};
    call->landing = (struct landing){NULL, 0, {NULL, 0}};
    memset(&call->arguments, 0, sizeof call->arguments);
}

/* One attempt on one line. */
static int attempt(struct call *call, int d) {
    int error = call_begin(call, d);
    return error == 0 ? call_end(call, await_reply(call)) : error;
}

static int make_call(int d, door_arg_t *params, const door_call_limits_t *limits) {
    struct call call;
    sigset_t all;
    pthread_testcancel(); /* a call that is answered at once never waits, where it would be noticed */
    call_prepare(&call, limits);
    call.no_results = params == NULL;
    call.read_only = params != NULL && !memory_writable(params, sizeof *params);
    if (params != NULL) {
        if (call.read_only && !memory_readable(params, sizeof *params)) {
            errno = EFAULT;
            return -1;
        }
        memcpy(&call.arguments, params, sizeof *params);
    }
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &call.cancellation);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &call.patience.signals);
    int error = AGAIN_ON_NEW_LINE;
    for (int i = 0; i < ATTEMPTS && error == AGAIN_ON_NEW_LINE; i++) {
        /* Evicted, or no room for a channel in the server: come back later, and later still. */
        if (i > 1 && patience_wait(&call.patience, NULL, 0, i < 30 ? (unsigned)i : 30) < 0) {
            error = EAGAIN;
        } else {
            error = attempt(&call, d);
        }
    }
    descriptors_discard(&call.outgoing);
    if (tells_of_release(error) && (call.checked || memory_readable(call.arguments.desc_ptr, array_size(&call)))) {
        call_release(&call); /* whatever has become of the call: the caller counts on it */
    }
    pthread_sigmask(SIG_SETMASK, &call.patience.signals, NULL);
    pthread_setcancelstate(call.cancellation, NULL);
    if (error != 0) { /* no memory to call with: nothing has been sent, and it may work later */
        errno = error == AGAIN_ON_NEW_LINE || error == ENOMEM ? EAGAIN : error;
        return -1;
    }
    if (params != NULL) {
        memcpy(params, &call.arguments, sizeof *params);
    }
    return 0;
}

int door_call(int d, door_arg_t *params) {
    return make_call(d, params, &(door_call_limits_t){0, 0});
}

int door_call_within(int d, door_arg_t *params, unsigned microseconds) {
    return make_call(d, params, &(door_call_limits_t){.microseconds = microseconds > 0 ? microseconds : 1});
}

int door_call_limited(int d, door_arg_t *params, const door_call_limits_t *limits) {
    return make_call(d, params, limits);
}
