/* A guest that naps for as many milliseconds as it is told, and traps unless the clock agrees. It makes both hostcalls
 * by the macro, as one does with hostcalls of an application, which the header does not know. */

#include "enfilade.h"

ENFILADE_HOSTCALL(time_now, "selium::time::now")
ENFILADE_HOSTCALL(time_sleep, "selium::time::sleep")

static union {
    struct {
        uint64_t unix_ms, monotonic_ms;
    } time;
    uint8_t bytes[ENFILADE_RESULT_MIN];
} result;

static uint64_t now(void) {
    if (time_now(&result, 0, &result, sizeof result) < 0) {
        __builtin_trap();
    }
    return result.time.monotonic_ms;
}

ENFILADE_EXPORT("start") void start(uint32_t milliseconds) {
    const uint64_t duration = milliseconds;
    const uint64_t before = now();
    if (time_sleep(&duration, sizeof duration, &result, sizeof result) < 0) {
        __builtin_trap();
    }
    if (now() - before < duration) {
        __builtin_trap();
    }
}
