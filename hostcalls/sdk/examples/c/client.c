/* A guest that speaks to another: it finds the counter by its name, has it add as often as it is told, traps unless the
 * last answer is the one that it expects, and stops it. */

#include "enfilade.h"

static union {
    uint64_t aligned;
    uint8_t bytes[ENFILADE_RESULT_MIN + 64];
} buffer;

static const uint8_t *answer;
static uint32_t answer_size;

static void ask(uint32_t counter, const char *request, uint32_t size) {
    if (enfilade_call(counter, request, size, buffer.bytes, sizeof buffer.bytes, 5000, &answer, &answer_size) != 0) {
        __builtin_trap();
    }
}

ENFILADE_EXPORT("start") void start(const char *name, uint32_t name_size, uint32_t times,
                                    const char *expected, uint32_t size) {
    int32_t counter = enfilade_whereis(name, name_size);
    if (counter < 0) {
        __builtin_trap();
    }
    while (times-- > 0) {
        ask((uint32_t)counter, "add", 3);
    }
    if (answer_size != size) {
        __builtin_trap();
    }
    for (uint32_t at = 0; at < size; at++) {
        if (answer[at] != (uint8_t)expected[at]) {
            __builtin_trap();
        }
    }
    ask((uint32_t)counter, "stop", 4);
}
