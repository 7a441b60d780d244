/*
 * Arguments and results are rkyv archives: structs in C's layout, in which a text or an array is a relative offset to
 * bytes before the struct. An archive is written in the scratch space, its data first, in the order of the fields:
 *
 *   enfilade_begin();
 *   struct enfilade_piece data = enfilade_put(bytes, size, 1);
 *   struct send *send = enfilade_root(sizeof *send, 8);        NULL if it does not fit
 *   enfilade_point(&send->data, data);
 *   enfilade_actor_send(enfilade_scratch.bytes, enfilade_used, ...);
 */
#ifndef ENFILADE_ARCHIVE_H
#define ENFILADE_ARCHIVE_H

#include "hostcall.h"

/* Bytes elsewhere: the offset counts from this field. */
struct enfilade_bytes {
    int32_t offset;
    uint32_t size;
};

/* Text of up to 8 bytes lies in the field itself, filled up with 0xff; longer text elsewhere. */
union enfilade_text {
    uint8_t within[8];
    struct {
        uint32_t tagged;
        int32_t offset;
    } elsewhere;
};

/* A number, or none. */
struct enfilade_option {
    uint8_t present;
    uint64_t value;
};

static inline void enfilade_copy(void *to, const void *from, uint32_t size) {
    __builtin_memcpy(to, from, size);
}

/* Whether two runs of bytes are the same; there is no C library with memcmp. */
static inline int enfilade_same(const void *one, const void *other, uint32_t size) {
    uint32_t at = 0;
    while (at < size && ((const uint8_t *)one)[at] == ((const uint8_t *)other)[at]) {
        at++;
    }
    return at == size;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static inline const void *enfilade_data(const struct enfilade_bytes *field) {
    return (const uint8_t *)field + field->offset;
}

/* The text of a field, not terminated, `*size` bytes. The field itself need not be aligned. */
static inline const char *enfilade_read_text(const void *field, uint32_t *size) {
    const uint8_t *within = (const uint8_t *)field;
    if ((within[0] & 0xc0) == 0x80) {
        union enfilade_text text;
        enfilade_copy(&text, field, sizeof text);
        *size = (text.elsewhere.tagged & 0x3f) | ((text.elsewhere.tagged & ~0xffu) >> 2);
        return (const char *)field + text.elsewhere.offset;
    }
    uint32_t length = 0;
    while (length < sizeof(union enfilade_text) && within[length] != 0xff) {
        length++;
    }
    *size = length;
    return (const char *)within;
}

/* The text of an error that a hostcall left in `result`. */
static inline const char *enfilade_error(const void *result, uint32_t *size) {
    uint32_t encoded;
    enfilade_copy(&encoded, result, 4);
    return enfilade_read_text((const uint8_t *)result + 4 + encoded - sizeof(union enfilade_text), size);
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

/* Scratch space for outgoing archives; data that does not fit is refused. Define it before including, for more. */
#ifndef ENFILADE_LONGEST
#define ENFILADE_LONGEST 4096
#endif

static union {
    uint64_t aligned;
    uint8_t bytes[ENFILADE_LONGEST + 128];
} enfilade_scratch;

/* Results of calls that bring back only a number. */
static union {
    uint64_t aligned;
    uint8_t bytes[ENFILADE_RESULT_MIN];
} enfilade_outcome;

/* Bytes of the archive that is being written. */
static uint32_t enfilade_used;

/* Something in the scratch space that a field is to lead to. */
struct enfilade_piece {
    const void *data;
    uint32_t size;
};

static inline void enfilade_begin(void) {
    enfilade_used = 0;
}

/* Reserve bytes, or NULL if they do not fit; after that nothing fits until the next enfilade_begin. */
static inline void *enfilade_reserve(uint32_t size, uint32_t align) {
    const uint32_t start = (enfilade_used + align - 1) & ~(align - 1);
    if (start > sizeof enfilade_scratch.bytes || size > sizeof enfilade_scratch.bytes - start) {
        enfilade_used = sizeof enfilade_scratch.bytes + 1;
        return NULL;
    }
    __builtin_memset(enfilade_scratch.bytes + enfilade_used, 0, start - enfilade_used);
    enfilade_used = start + size;
    return enfilade_scratch.bytes + start;
}

static inline struct enfilade_piece enfilade_put(const void *data, uint32_t size, uint32_t align) {
    struct enfilade_piece piece = {enfilade_reserve(size, align), size};
    if (piece.data != NULL && size != 0) {
        enfilade_copy((void *)piece.data, data, size);
    }
    return piece;
}

/* A text that is too long for its field is put; a short one goes into the field, by enfilade_set_text. */
static inline struct enfilade_piece enfilade_put_text(const char *text, uint32_t size) {
    if (size > sizeof(union enfilade_text)) {
        return enfilade_put(text, size, 1);
    }
    return (struct enfilade_piece){text, size};
}

/* The root, all zero, or NULL if the archive does not fit. */
static inline void *enfilade_root(uint32_t size, uint32_t align) {
    void *root = enfilade_reserve(size, align);
    if (root != NULL) {
        __builtin_memset(root, 0, size);
    }
    return root;
}

static inline void enfilade_point(struct enfilade_bytes *field, struct enfilade_piece piece) {
    field->offset = (int32_t)((intptr_t)piece.data - (intptr_t)field);
    field->size = piece.size;
}

static inline void enfilade_set_text(union enfilade_text *field, struct enfilade_piece piece) {
    if (piece.size > sizeof field->within) {
        field->elsewhere.tagged = (piece.size & 0x3f) | 0x80 | ((piece.size & ~0x3fu) << 2);
        field->elsewhere.offset = (int32_t)((intptr_t)piece.data - (intptr_t)field);
    } else {
        __builtin_memset(field, 0xff, sizeof *field);
        enfilade_copy(field->within, piece.data, piece.size);
    }
}

/* A hostcall whose arguments are in the scratch space and whose result is at most a number. */
#define ENFILADE_MAKE(name) name(enfilade_scratch.bytes, enfilade_used, enfilade_outcome.bytes, ENFILADE_RESULT_MIN)

/* The text of the last refusal of a function that was given no buffer; not terminated, `*size` bytes. */
static inline const char *enfilade_refusal(uint32_t *size) {
    return enfilade_error(enfilade_outcome.bytes, size);
}

/* A hostcall that turns one slot into another: the new slot, or -1. */
#define ENFILADE_SLOT(function, hostcall)                                                                         \
    static inline int32_t function(uint32_t slot) {                                                               \
        int32_t made;                                                                                             \
        if (hostcall(&slot, sizeof slot, enfilade_outcome.bytes, ENFILADE_RESULT_MIN) != (int32_t)sizeof made) {  \
            return -1;                                                                                            \
        }                                                                                                         \
        enfilade_copy(&made, enfilade_outcome.bytes, sizeof made);                                                \
        return made;                                                                                              \
    }

/* A hostcall that takes one slot and brings nothing back: 0, or -1. */
#define ENFILADE_ON_SLOT(function, hostcall)                                                                      \
    static inline int function(uint32_t slot) {                                                                   \
        return hostcall(&slot, sizeof slot, enfilade_outcome.bytes, ENFILADE_RESULT_MIN) < 0 ? -1 : 0;            \
    }

#endif
