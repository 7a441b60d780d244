/* Channels: bounded rings of frames. A channel, its readers and its writers are slots of the guest. */
#ifndef ENFILADE_CHANNEL_H
#define ENFILADE_CHANNEL_H

#include "archive.h"

ENFILADE_HOSTCALL(enfilade_channel_create, "selium::channel::create")
ENFILADE_HOSTCALL(enfilade_channel_delete, "selium::channel::delete")
ENFILADE_HOSTCALL(enfilade_channel_drain, "selium::channel::drain")
ENFILADE_HOSTCALL(enfilade_channel_share, "selium::channel::share")
ENFILADE_HOSTCALL(enfilade_channel_attach, "selium::channel::attach")
ENFILADE_HOSTCALL(enfilade_channel_detach, "selium::channel::detach")
ENFILADE_HOSTCALL(enfilade_channel_strong_reader_create, "selium::channel::strong_reader_create")
ENFILADE_HOSTCALL(enfilade_channel_weak_reader_create, "selium::channel::weak_reader_create")
ENFILADE_HOSTCALL(enfilade_channel_strong_read, "selium::channel::strong_read")
ENFILADE_HOSTCALL(enfilade_channel_weak_read, "selium::channel::weak_read")
ENFILADE_HOSTCALL(enfilade_channel_strong_writer_create, "selium::channel::strong_writer_create")
ENFILADE_HOSTCALL(enfilade_channel_weak_writer_create, "selium::channel::weak_writer_create")
ENFILADE_HOSTCALL(enfilade_channel_strong_write, "selium::channel::strong_write")
ENFILADE_HOSTCALL(enfilade_channel_weak_write, "selium::channel::weak_write")

/* What a write to a full channel does: wait, or drop the frame. */
enum enfilade_backpressure { ENFILADE_PARK, ENFILADE_DROP };

/* A new channel of `capacity` bytes: its slot, or -1. */
static inline int32_t enfilade_channel(uint32_t capacity, enum enfilade_backpressure backpressure) {
    int32_t slot;
    const struct {
        uint32_t capacity;
        uint8_t backpressure;
    } arguments = {capacity, (uint8_t)backpressure};
    if (enfilade_channel_create(&arguments, sizeof arguments, enfilade_outcome.bytes, ENFILADE_RESULT_MIN) < 0) {
        return -1;
    }
    enfilade_copy(&slot, enfilade_outcome.bytes, sizeof slot);
    return slot;
}

/* A reader or writer of the channel in a slot: its slot, or -1. Writers wait for strong readers, not for weak ones. */
ENFILADE_SLOT(enfilade_strong_reader, enfilade_channel_strong_reader_create)
ENFILADE_SLOT(enfilade_weak_reader, enfilade_channel_weak_reader_create)
ENFILADE_SLOT(enfilade_strong_writer, enfilade_channel_strong_writer_create)
ENFILADE_SLOT(enfilade_weak_writer, enfilade_channel_weak_writer_create)

/* End a channel at once, or once its readers have read what it has; free the slot of anything. Returns 0, or -1. */
ENFILADE_ON_SLOT(enfilade_delete, enfilade_channel_delete)
ENFILADE_ON_SLOT(enfilade_drain, enfilade_channel_drain)
ENFILADE_ON_SLOT(enfilade_detach, enfilade_channel_detach)

/* A handle by which other guests attach what is in the slot. Returns 0, or -1. */
static inline int enfilade_share(uint32_t slot, uint64_t *handle) {
    if (enfilade_channel_share(&slot, sizeof slot, enfilade_outcome.bytes, ENFILADE_RESULT_MIN) < 0) {
        return -1;
    }
    enfilade_copy(handle, enfilade_outcome.bytes, sizeof *handle);
    return 0;
}

/* A slot for what another guest has shared, or -1. */
static inline int32_t enfilade_attach(uint64_t handle) {
    int32_t slot;
    if (enfilade_channel_attach(&handle, sizeof handle, enfilade_outcome.bytes, ENFILADE_RESULT_MIN) < 0) {
        return -1;
    }
    enfilade_copy(&slot, enfilade_outcome.bytes, sizeof slot);
    return slot;
}

typedef int32_t enfilade_read_function(const void *arguments, uint32_t size, void *result, uint32_t capacity);

/* Read into a buffer that is aligned to 4 and has 24 bytes more than `longest`, and 256 at least. */
static inline int enfilade_read_by(enfilade_read_function *read, uint32_t slot, void *buffer, uint32_t capacity,
                                   const uint8_t **data, uint32_t *size) {
    if (capacity < ENFILADE_RESULT_MIN) {
        return -1;
    }
    const uint32_t arguments[] = {slot, capacity - 24};
    const int32_t written = read(arguments, sizeof arguments, buffer, capacity);
    if (written < 0) {
        return -1;
    }
    const struct enfilade_bytes *payload = (const struct enfilade_bytes *)((const uint8_t *)buffer + written - 8);
    *data = (const uint8_t *)enfilade_data(payload);
    *size = payload->size;
    return 0;
}

/* Put the arguments of a write into the scratch space. Returns 0, or -1 if they do not fit. */
static inline int enfilade_put_write(uint32_t slot, const void *data, uint32_t size) {
    struct write {
        uint32_t slot;
        struct enfilade_bytes payload;
    } *write;
    enfilade_begin();
    const struct enfilade_piece payload = enfilade_put(data, size, 1);
    write = (struct write *)enfilade_root(sizeof *write, 4);
    if (write == NULL) {
        return -1;
    }
    write->slot = slot;
    enfilade_point(&write->payload, payload);
    return 0;
}

/*
 * The next frame of a strong or a weak reader: `*size` bytes at `*data`, in the buffer, which is aligned to 4 and has
 * 24 bytes more than the longest frame, at least 256. Returns 0, or -1 with an error text in the buffer.
 */
static inline int enfilade_strong_read(uint32_t reader, void *buffer, uint32_t capacity, const uint8_t **data,
                                       uint32_t *size) {
    return enfilade_read_by(enfilade_channel_strong_read, reader, buffer, capacity, data, size);
}

static inline int enfilade_weak_read(uint32_t reader, void *buffer, uint32_t capacity, const uint8_t **data,
                                     uint32_t *size) {
    return enfilade_read_by(enfilade_channel_weak_read, reader, buffer, capacity, data, size);
}

/* Write a frame. Returns 0, or -1. */
static inline int enfilade_strong_write(uint32_t writer, const void *data, uint32_t size) {
    return enfilade_put_write(writer, data, size) < 0 || ENFILADE_MAKE(enfilade_channel_strong_write) < 0 ? -1 : 0;
}

static inline int enfilade_weak_write(uint32_t writer, const void *data, uint32_t size) {
    return enfilade_put_write(writer, data, size) < 0 || ENFILADE_MAKE(enfilade_channel_weak_write) < 0 ? -1 : 0;
}

#endif
