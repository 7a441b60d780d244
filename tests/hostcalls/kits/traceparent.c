/* A guest that answers each request with the traceparent of it, or with "no". */

#include "enfilade.h"

static union {
    uint64_t aligned;
    uint8_t bytes[ENFILADE_RESULT_MIN + 64];
} buffer;

ENFILADE_EXPORT("start") void start(void) {
    struct enfilade_message message;
    char text[ENFILADE_TRACEPARENT];
    for (;;) {
        if (enfilade_receive(&message, buffer.bytes, sizeof buffer.bytes, ENFILADE_FOREVER) != 0) {
            __builtin_trap();
        }
        const int length = enfilade_traceparent(text);
        enfilade_reply(message.request, length < 0 ? "no" : text, length < 0 ? 2 : (uint32_t)length);
    }
}
