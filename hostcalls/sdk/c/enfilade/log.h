/*
 * The log. A guest has one log channel, which the host forwards to its logging tree. It needs the capabilities
 * ChannelLifecycle and ChannelWriter. A record is a FlatBuffers table: level, target, message, and a time.
 */
#ifndef ENFILADE_LOG_H
#define ENFILADE_LOG_H

#include "channel.h"

ENFILADE_HOSTCALL(enfilade_process_register_log_channel, "selium::process::register_log_channel")

enum enfilade_level { ENFILADE_TRACE, ENFILADE_DEBUG, ENFILADE_INFO, ENFILADE_WARNING, ENFILADE_ERROR };

/* Bytes of the channel; records beyond it are dropped and do not hold up the guest. */
#ifndef ENFILADE_LOG_CAPACITY
#define ENFILADE_LOG_CAPACITY 16384
#endif

/* The slot of the log's writer, -1 before the first record. */
static int32_t enfilade_log_writer = -1;

/* Make the log channel. Returns 0, or -1. */
static inline int enfilade_log_open(void) {
    uint64_t handle;
    const int32_t channel = enfilade_channel(ENFILADE_LOG_CAPACITY, ENFILADE_DROP);
    if (channel < 0 || enfilade_share((uint32_t)channel, &handle) != 0) {
        return -1;
    }
    if (enfilade_process_register_log_channel(&handle, sizeof handle, enfilade_outcome.bytes, ENFILADE_RESULT_MIN) < 0) {
        return -1;
    }
    enfilade_log_writer = enfilade_strong_writer((uint32_t)channel);
    return enfilade_log_writer < 0 ? -1 : 0;
}

static inline uint32_t enfilade_log_length(const char *text) {
    uint32_t length = 0;
    while (text[length] != '\0') {
        length++;
    }
    return length;
}

/*
 * Write a record. `target` names a place in the guest, such as "filter::table"; it becomes a logger below
 * enfilade.guest. Both texts end with a null byte. Returns 0, or -1.
 */
static inline int enfilade_log(enum enfilade_level level, const char *target, const char *message) {
    struct record {
        uint32_t root;         /* where the table is */
        uint16_t vtable[8];    /* its own size, the table's, then where in the table the six fields are; 0 if absent */
        int32_t back;          /* the table: how far back its vtable is */
        uint32_t target_at;    /* at 4 */
        uint32_t message_at;   /* at 8 */
        uint64_t timestamp_ms; /* at 12; a count, as the guest may have no clock */
        int8_t level;          /* at 20 */
    } *record;
    enum { TABLE = 20 };
    static uint64_t count;
    struct write {
        uint32_t slot;
        struct enfilade_bytes payload;
    } *write;
    if (enfilade_log_writer < 0 && enfilade_log_open() != 0) {
        return -1;
    }
    enfilade_begin();
    record = (struct record *)enfilade_root(sizeof *record, 8);
    const uint32_t sizes[] = {enfilade_log_length(target), enfilade_log_length(message)};
    uint8_t *texts[] = {enfilade_reserve(4 + sizes[0] + 1, 4), enfilade_reserve(4 + sizes[1] + 1, 4)};
    const uint32_t length = enfilade_used;
    write = (struct write *)enfilade_root(sizeof *write, 4);
    if (write == NULL) {
        return -1;
    }
    static const uint16_t vtable[] = {16, 24, 20, 4, 8, 0, 0, 12};
    enfilade_copy(record->vtable, vtable, sizeof vtable);
    record->root = TABLE;
    record->back = TABLE - 4;
    record->target_at = (uint32_t)(texts[0] - (uint8_t *)&record->target_at);
    record->message_at = (uint32_t)(texts[1] - (uint8_t *)&record->message_at);
    record->timestamp_ms = ++count;
    record->level = (int8_t)level;
    for (int at = 0; at < 2; at++) {
        enfilade_copy(texts[at], &sizes[at], 4);
        enfilade_copy(texts[at] + 4, at == 0 ? target : message, sizes[at] + 1);
    }
    write->slot = (uint32_t)enfilade_log_writer;
    enfilade_point(&write->payload, (struct enfilade_piece){record, length});
    return ENFILADE_MAKE(enfilade_channel_strong_write) < 0 ? -1 : 0;
}

#endif
