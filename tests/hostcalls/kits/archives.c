/* Answers each request, one digit, with the archive that the kit writes for one hostcall. */

#include "enfilade.h"

static union {
    uint64_t aligned;
    uint8_t bytes[ENFILADE_RESULT_MIN + 64];
} buffer;

static uint8_t answer[sizeof enfilade_scratch];

static void archive(uint8_t which) {
    static const uint8_t capabilities[] = {19, 64};
    static const struct enfilade_argument arguments[] = {
        {ENFILADE_U8, 200, NULL, 0},          {ENFILADE_BUFFER, 0, "first of two", 12},
        {ENFILADE_I16, 0xfffe, NULL, 0},      {ENFILADE_F64, 0x3ff8000000000000, NULL, 0},
        {ENFILADE_RESOURCE, 5, NULL, 0},      {ENFILADE_BUFFER, 0, "", 0},
        {ENFILADE_U64, 0x1122334455667788, NULL, 0},
    };
    const struct enfilade_child child = {"guests/worker.wasm", 18, "start", 5, capabilities, 2, arguments, 7, 1, 0};
    struct enfilade_spawned spawned;
    const uint32_t actor = 3;
    switch (which) {
    case '0':
        enfilade_put_endpoint(ENFILADE_QUIC, "localhost", 9, 7000, 2);
        break;
    case '1':
        enfilade_put_endpoint(ENFILADE_HTTP, "::1", 3, 8080, ENFILADE_NO_TLS);
        break;
    case '2':
        enfilade_put_write(7, "payload", 7);
        break;
    case '3':
        enfilade_spawn(&child, &spawned); /* refused: there is no such module */
        break;
    case '4':
        enfilade_tls_server("chain", 5, "the key", 7);
        break;
    case '5':
        enfilade_tls_client("roots", 5);
        break;
    case '6':
        enfilade_exit(&actor, ENFILADE_OTHER, "out of patience", 15); /* refused: the slot is empty */
        break;
    case '7':
        enfilade_register("a longer name", 13, 3);
        break;
    case '8':
        enfilade_put_endpoint(ENFILADE_HTTPS, (const char *)answer, sizeof answer, 443, ENFILADE_NO_TLS); /* too long */
        break;
    default:
        __builtin_trap();
    }
}

ENFILADE_EXPORT("start") void start(void) {
    struct enfilade_message message;
    for (;;) {
        if (enfilade_receive(&message, buffer.bytes, sizeof buffer.bytes, ENFILADE_FOREVER) != 0) {
            __builtin_trap();
        }
        archive(message.data[0]);
        const uint32_t size = enfilade_used <= sizeof answer ? enfilade_used : 0;
        enfilade_copy(answer, enfilade_scratch.bytes, size);
        enfilade_reply(message.request, answer, size);
    }
}
