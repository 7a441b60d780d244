/*
 * Posted calls: a call in two halves, for threads that must not stand still.
 *
 * The request is in the session memory when door_post() returns, so the caller's buffer is free. Nobody waits for the
 * reply, so the server wakes nobody with it, unless it was asked to.
 */
#include "call.h"

#include <stdlib.h>

enum { ATTEMPTS = 3 };

static int begin(struct call *call, int d) {
    int cancellation, error = AGAIN_ON_NEW_LINE;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancellation);
    for (int i = 0; i < ATTEMPTS && error == AGAIN_ON_NEW_LINE; i++) {
        error = call_begin(call, d);
    }
    pthread_setcancelstate(cancellation, NULL);
    return error == AGAIN_ON_NEW_LINE ? EAGAIN : error;
}

int door_post(int d, const char *data, size_t size, size_t room, door_posted_t *posted) {
    struct call *call = malloc(sizeof *call);
    int error = ENOMEM;
    if (call != NULL) {
        call_prepare(call, &(door_call_limits_t){.microseconds = 1});
        call->arguments = (door_arg_t){.data_ptr = (char *)data, .data_size = size, .rsize = room};
        call->is_posted = true;
        error = begin(call, d);
    }
    if (error != 0) {
        free(call);
        errno = error == ENOMEM ? EAGAIN : error;
        return -1;
    }
    *posted = (door_posted_t){.call = call};
    return 0;
}

/* Whether the reply is there, perhaps after a moment. One that is to be told of by the socket is not waited for. */
static bool is_answered(struct call *call, bool may_wait) {
    struct session *session = call->line->session;
    call->bell = atomic_load(&session->bell);
    if (!call_has_outcome(call->line) && may_wait && atomic_load(&session->listening) == LISTENING_NOWHERE) {
        call_listen(call);
        atomic_store(&session->listening, LISTENING_NOWHERE);
    }
    return call_has_outcome(call->line);
}

/* Takes what has come by the socket: 0 when there is a reply now, EAGAIN when there is none, or why the call fails. */
static int hear(struct call *call) {
    struct line *line = call->line;
    struct message message;
    struct receipt receipt;
    int error = 0;
    for (int i = 0; i < DATAGRAMS_A_REPLY; i++) {
        int result = line_receive(line, &message, &receipt);
        if (result == EAGAIN) {
            return call_has_outcome(line) ? 0 : EAGAIN;
        }
        if (result != 0) {
            pthread_sigmask(SIG_SETMASK, NULL, &call->patience.signals);
            return call_hung_up(call);
        }
        bool outcome = call_hear(call, &message, &receipt, &error);
        receipt_close(&receipt);
        if (outcome) {
            return error;
        }
    }
    return EAGAIN;
}

static int collect(struct call *call, bool may_wait) {
    int error = is_answered(call, may_wait) ? 0 : hear(call);
    if (error == 0 && (*(volatile uint32_t *)&call->line->session->reply.flags & ON_SOCKET ||
                       atomic_load(&call->line->session->listening) != LISTENING_NOWHERE)) {
        error = call_collect(call);
    }
    if (error != EAGAIN) {
        error = call_end(call, error);
        error = error == AGAIN_ON_NEW_LINE ? ECANCELED : error;
    }
    return error;
}

int door_collect(door_posted_t *posted, door_arg_t *reply, const door_call_limits_t *limits) {
    struct call *call = posted->call;
    int cancellation;
    call->arguments = *reply;
    call->largest = limits->largest > 0 ? limits->largest : SIZE_MAX;
    patience_limit(&call->patience, limits->microseconds > 0 ? limits->microseconds : 1);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancellation);
    int error = collect(call, limits->microseconds > 0);
    pthread_setcancelstate(cancellation, NULL);
    if (error == 0) {
        *reply = call->arguments;
    }
    if (error != EAGAIN) {
        free(call);
    }
    errno = error;
    return error == 0 ? 0 : -1;
}

int door_listen(const door_posted_t *posted, int *is_there) {
    const struct call *call = posted->call;
    atomic_store(&call->line->session->listening, LISTENING_TO_SOCKET);
    *is_there = call_has_outcome(call->line);
    return call->line->fd;
}

void door_hang_up(int d) {
    int error = errno;
    lines_end(d);
    errno = error;
}

void door_withdraw(door_posted_t *posted) {
    struct call *call = posted->call;
    call_interrupted(call);
    call_end(call, EINTR);
    free(call);
}
