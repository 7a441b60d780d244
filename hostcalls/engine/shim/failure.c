#include "failure.h"

#include <string.h>

/* rkyv keeps strings of up to 8 bytes inside the 8 bytes of the root, filled up with 0xff. Longer ones lie
 * before the root, which then holds a tagged length and the offset back to them. */
enum { INLINE = 8, ROOT = 8, PREFIX = 4 };

static void put32(uint8_t *out, uint32_t value) {
    memcpy(out, &value, sizeof value);
}

static size_t cut(const uint8_t *message, size_t size, size_t most) {
    if (size <= most) {
        return size;
    }
    while (most > 0 && (message[most] & 0xc0) == 0x80) {
        most--;
    }
    return most;
}

void failure_encode(uint8_t *out, size_t room, const uint8_t *message, size_t size) {
    size_t outline = (room - PREFIX - ROOT) & ~(size_t)3;
    if (outline > 0x3fffffff) {
        outline = 0x3fffffff;
    }
    size = cut(message, size, outline > INLINE ? outline : INLINE);
    if (size <= INLINE) {
        put32(out, ROOT);
        memset(out + PREFIX, 0xff, ROOT);
        if (size > 0) {
            memcpy(out + PREFIX, message, size);
        }
        return;
    }
    size_t padded = (size + 3) & ~(size_t)3;
    put32(out, (uint32_t)(padded + ROOT));
    memcpy(out + PREFIX, message, size);
    memset(out + PREFIX + size, 0, padded - size);
    uint32_t length = (uint32_t)size;
    put32(out + PREFIX + padded, (length & 0x3f) | 0x80 | (length & ~0x3fu) << 2);
    put32(out + PREFIX + padded + 4, (uint32_t)-(int32_t)padded);
}
