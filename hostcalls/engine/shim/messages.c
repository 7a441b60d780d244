#include "messages.h"

#include <string.h>

static uint8_t *put(uint8_t *out, uint32_t value) {
    memcpy(out, &value, sizeof value);
    return out + sizeof value;
}

static uint8_t *put_zeros(uint8_t *out, size_t count) {
    memset(out, 0, count);
    return out + count;
}

static uint32_t get(const uint8_t *in) {
    uint32_t value;
    memcpy(&value, in, sizeof value);
    return value;
}

static size_t up(size_t size, size_t alignment) {
    return (size + alignment - 1) & ~(alignment - 1);
}

/* A vector's field, `at` bytes into the encoding: where its elements are, relative to the field, and how many. */
static uint8_t *put_vector(uint8_t *out, size_t at, size_t elements, size_t count) {
    return put(put(out, (uint32_t)elements - (uint32_t)at), (uint32_t)count);
}

static uint8_t *put_data(uint8_t *out, const uint8_t *data, size_t size, size_t root) {
    if (size > 0 && out != data) {
        memcpy(out, data, size);
    }
    return put_zeros(out + size, root - size);
}

size_t message_write_plain(uint8_t *out, const uint8_t *data, size_t size) {
    size_t resources = up(size, 4), root = up(resources, 8);
    uint8_t *end = put_data(out, data, size, root);
    end = put_zeros(put(end, 1), 4); /* there is a message */
    end = put_zeros(end, 8);         /* of the first kind, */
    end = put_zeros(end, 8);         /* without a tag */
    end = put_vector(end, root + 24, 0, size);
    end = put_vector(end, root + 32, resources, 0);
    return (size_t)(end - out);
}

size_t message_write_request(uint8_t *out, uint32_t request, const uint8_t *data, size_t size) {
    size_t resources = up(size, 4), root = up(resources, 8);
    uint8_t *end = put_data(out, data, size, root);
    end = put_zeros(put(end, 1), 4); /* there is a message */
    end = put(put(end, 1), request); /* of the second kind */
    end = put_vector(end, root + 16, 0, size);
    end = put_vector(end, root + 24, resources, 0);
    end = put_zeros(end, 8);
    return (size_t)(end - out);
}

size_t message_write_body(uint8_t *out, const uint8_t *data, size_t size) {
    size_t root = up(size, 4);
    uint8_t *end = put_data(out, data, size, root);
    end = put_vector(end, root, 0, size);
    end = put_vector(end, root + 8, root, 0);
    return (size_t)(end - out);
}

/* The root, at the end: the request; the data's place, relative to this field, and size; the same for the
 * resources. */
enum { REPLY_ROOT = 20, REPLY_DATA = 4, REPLY_RESOURCES = 12 };

bool message_read_reply(const uint8_t *arguments, size_t size, message_reply *reply) {
    if (size < REPLY_ROOT || (size - REPLY_ROOT) % 4 != 0) {
        return false;
    }
    int64_t root = (int64_t)size - REPLY_ROOT;
    const uint8_t *in = arguments + root;
    int64_t start = root + REPLY_DATA + (int32_t)get(in + REPLY_DATA);
    int64_t end = start + get(in + REPLY_DATA + 4);
    int64_t resources = root + REPLY_RESOURCES + (int32_t)get(in + REPLY_RESOURCES);
    uint32_t count = get(in + REPLY_RESOURCES + 4);
    if (start < 0 || end > root || count != 0 || resources < end || resources > root || resources % 4 != 0) {
        return false;
    }
    *reply = (message_reply){.request = get(in), .data = arguments + start, .size = (uint32_t)(end - start)};
    return true;
}
