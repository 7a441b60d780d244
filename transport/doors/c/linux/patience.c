/*
 * How long a call may wait: until its time is over, if it has any, or a signal comes. Every wait of a caller goes through
 * here, so none is deaf or without an end that its caller has set.
 */
#include "internal.h"

#include <poll.h>
#include <signal.h>
#include <time.h>

enum { SECOND = 1000000000 };

static int64_t nanoseconds(const struct timespec *time) {
    return (int64_t)time->tv_sec * SECOND + time->tv_nsec;
}

void patience_limit(struct patience *patience, unsigned microseconds) {
    patience->limited = true;
    clock_gettime(CLOCK_MONOTONIC, &patience->end);
    patience->end.tv_sec += microseconds / 1000000;
    patience->end.tv_nsec += (long)(microseconds % 1000000) * 1000;
    patience->end.tv_sec += patience->end.tv_nsec / SECOND;
    patience->end.tv_nsec %= SECOND;
}

/* What is left, but no more than *time: false when there is nothing left. */
static bool time_left(const struct patience *patience, struct timespec *time) {
    struct timespec now;
    if (!patience->limited) {
        return true;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t left = nanoseconds(&patience->end) - nanoseconds(&now);
    if (left < nanoseconds(time)) {
        left = left > 0 ? left : 0;
        *time = (struct timespec){.tv_sec = left / SECOND, .tv_nsec = left % SECOND};
    }
    return left > 0;
}

unsigned patience_left(const struct patience *patience, unsigned microseconds) {
    struct timespec time = {.tv_sec = microseconds / 1000000, .tv_nsec = (long)(microseconds % 1000000) * 1000};
    return time_left(patience, &time) ? (unsigned)(nanoseconds(&time) / 1000) : 0;
}

int patience_wait(const struct patience *patience, struct pollfd *entries, unsigned count, unsigned milliseconds) {
    struct timespec time = {.tv_sec = milliseconds / 1000, .tv_nsec = (long)(milliseconds % 1000) * 1000000};
    if (!time_left(patience, &time)) {
        errno = EINTR;
        return -1;
    }
    return ppoll(entries, count, &time, &patience->signals);
}
