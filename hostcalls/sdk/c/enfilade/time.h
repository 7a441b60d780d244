/* Time, in milliseconds of the host's clock. */
#ifndef ENFILADE_TIME_H
#define ENFILADE_TIME_H

#include "archive.h"

ENFILADE_HOSTCALL(enfilade_time_now, "selium::time::now")
ENFILADE_HOSTCALL(enfilade_time_sleep, "selium::time::sleep")

/* `unix_ms` counts from 1970, `monotonic_ms` from the first question and never goes back. */
struct enfilade_time {
    uint64_t unix_ms, monotonic_ms;
};

/* What time it is. Returns 0, or -1. */
static inline int enfilade_now(struct enfilade_time *now) {
    if (enfilade_time_now(NULL, 0, enfilade_outcome.bytes, ENFILADE_RESULT_MIN) != (int32_t)sizeof *now) {
        return -1;
    }
    enfilade_copy(now, enfilade_outcome.bytes, sizeof *now);
    return 0;
}

/* Wait. Returns 0, or -1. */
static inline int enfilade_sleep(uint64_t milliseconds) {
    return enfilade_time_sleep(&milliseconds, sizeof milliseconds, enfilade_outcome.bytes, ENFILADE_RESULT_MIN) < 0 ? -1
                                                                                                                  : 0;
}

#endif
