/* A guest that counts: a request for "add" adds one, any other stops it; both are answered with the count in decimal. */

#include "enfilade.h"

static union {
    uint64_t aligned;
    uint8_t bytes[ENFILADE_RESULT_MIN + 64];
} buffer;

static uint32_t decimal(uint32_t number, char *text) {
    char reversed[10];
    uint32_t length = 0;
    do {
        reversed[length++] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    for (uint32_t at = 0; at < length; at++) {
        text[at] = reversed[length - 1 - at];
    }
    return length;
}

ENFILADE_EXPORT("start") void start(uint32_t count) {
    struct enfilade_message message;
    char text[10];
    int more = 1;
    while (more) {
        if (enfilade_receive(&message, buffer.bytes, sizeof buffer.bytes, ENFILADE_FOREVER) != 0) {
            __builtin_trap();
        }
        if (message.kind != ENFILADE_REQUEST) {
            continue;
        }
        more = message.size == 3 && message.data[0] == 'a';
        count += (uint32_t)more;
        if (enfilade_reply(message.request, text, decimal(count, text)) != 0) {
            __builtin_trap();
        }
    }
}
