/*
 * A parent and its child, in one module. The parent starts the child with arguments of several kinds and a channel,
 * reads what the child writes, sees it end, and tells Python how far it came by the detail of its own exit.
 */

#include "enfilade.h"

#define MUST(truth)                                                             \
    do {                                                                        \
        if (!(truth)) {                                                         \
            enfilade_exit(NULL, ENFILADE_OTHER, #truth, sizeof #truth - 1);     \
        }                                                                       \
    } while (0)

static union {
    uint64_t aligned;
    uint8_t bytes[ENFILADE_RESULT_MIN + 64];
} buffer;

ENFILADE_EXPORT("child") void child(const char *text, uint32_t size, uint32_t channel, uint32_t low, uint32_t high) {
    MUST(size == 9 && enfilade_same(text, "greetings", 9));
    MUST(low == 0x55667788 && high == 0x11223344);
    const int32_t writer = enfilade_strong_writer(channel);
    MUST(writer >= 0);
    MUST(enfilade_strong_write((uint32_t)writer, text, size) == 0);
    MUST(enfilade_self() >= 0);
    enfilade_exit(NULL, ENFILADE_OTHER, "the child has done its part", 27);
}

ENFILADE_EXPORT("start") void start(const char *module, uint32_t module_size) {
    static const uint8_t capabilities[] = {2, 3, 64, 66};
    struct enfilade_message message;
    struct enfilade_spawned spawned;
    const uint8_t *data;
    uint32_t size;
    uint64_t handle;

    const int32_t channel = enfilade_channel(4096, ENFILADE_PARK);
    MUST(channel >= 0);
    const int32_t reader = enfilade_strong_reader((uint32_t)channel);
    MUST(reader >= 0);
    MUST(enfilade_share((uint32_t)channel, &handle) == 0);
    const int32_t again = enfilade_attach(handle);
    MUST(again >= 0 && again != channel);
    MUST(enfilade_detach((uint32_t)again) == 0);
    MUST(enfilade_detach((uint32_t)again) == -1);
    const char *refusal = enfilade_refusal(&size);
    MUST(size == 18 && enfilade_same(refusal, "resource not found", 18));

    const struct enfilade_argument arguments[] = {
        {ENFILADE_BUFFER, 0, "greetings", 9},
        {ENFILADE_RESOURCE, (uint64_t)channel, NULL, 0},
        {ENFILADE_U64, 0x1122334455667788, NULL, 0},
    };
    const struct enfilade_child wanted = {module, module_size, "child", 5, capabilities, 4, arguments, 3, 1, 1};
    MUST(enfilade_trap_exits(1) == 0);
    MUST(enfilade_spawn(&wanted, &spawned) == 0);
    MUST(spawned.monitor != 0);
    MUST(enfilade_strong_read((uint32_t)reader, buffer.bytes, sizeof buffer.bytes, &data, &size) == 0);
    MUST(size == 9 && enfilade_same(data, "greetings", 9));
    int seen = 0;
    while (seen != 3) {
        MUST(enfilade_receive(&message, buffer.bytes, sizeof buffer.bytes, ENFILADE_FOREVER) == 0);
        MUST(message.reason == ENFILADE_OTHER);
        MUST(message.kind == ENFILADE_EXITED || (message.kind == ENFILADE_DOWN && message.monitor == spawned.monitor));
        seen |= message.kind == ENFILADE_EXITED ? 1 : 2;
    }
    MUST(enfilade_monitor(spawned.actor) != 0); /* a notice follows at once, since the child has ended */
    MUST(enfilade_receive(&message, buffer.bytes, sizeof buffer.bytes, ENFILADE_FOREVER) == 0);
    MUST(message.kind == ENFILADE_DOWN);
    MUST(enfilade_demonitor(message.monitor) == -1);
    const int32_t self = enfilade_self();
    MUST(enfilade_register("the parent", 10, (uint32_t)self) == 0);
    MUST(enfilade_whereis("the parent", 10) >= 0);
    struct enfilade_time now;
    for (int i = 0; i < 20000; i++) { /* each has its answer when it is polled */
        MUST(enfilade_now(&now) == 0);
    }
    MUST(enfilade_sleep(1) == 0);
    const int32_t weak = enfilade_weak_reader((uint32_t)channel), writer = enfilade_weak_writer((uint32_t)channel);
    MUST(weak >= 0 && writer >= 0);
    MUST(enfilade_weak_write((uint32_t)writer, "once more", 9) == 0);
    MUST(enfilade_weak_read((uint32_t)weak, buffer.bytes, sizeof buffer.bytes, &data, &size) == 0);
    MUST(size == 9);
    MUST(enfilade_drain((uint32_t)channel) == 0);
    MUST(enfilade_log(ENFILADE_WARNING, "family::parent", "all is well") == 0);
    enfilade_exit(NULL, ENFILADE_OTHER, "done", 4);
}
