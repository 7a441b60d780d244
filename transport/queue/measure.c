/*
 * What it would cost to decode a payload; see measure.h.
 *
 * An extension's content is read in place, without a look at where it should end: where the two disagree,
 * decoding fails, and costs nothing from there on.
 */
#include "measure.h"

#define SET_CODE       2
#define FROZENSET_CODE 3
#define INTEGER_CODE   4
#define RECORD_CODE    5
#define ERROR_CODE     6
#define BYTEARRAY_CODE 8
#define DICT_CODE      10
#define EXTERNAL_CODE  16 /* the first of those that belong to a node link */

/* The hashes of strings and bytes are keyed, so nobody can make them collide. Those of all else can be chosen. */
enum kind {
    ITEMS, /* an array */
    MAP,   /* keys and values in turn */
    SET,   /* an array of keys */
    PAIRS, /* an array of pairs, of a key and a value */
    PAIR,
};

struct level {
    uint64_t left; /* values to come */
    uint64_t keys; /* that may collide */
    enum kind kind;
    int is_in_key; /* of a set, a dict or a map further out */
};

struct reader {
    const uint8_t *next;
    const uint8_t *end;
};

/* Read a big-endian number of so many bytes; 0 if they are not there, and then nothing more is. */
static uint64_t number(struct reader *reader, unsigned bytes) {
    uint64_t value = 0;
    if ((size_t)(reader->end - reader->next) < bytes) {
        reader->next = reader->end;
        return 0;
    }
    for (unsigned i = 0; i < bytes; i++) {
        value = value << 8 | *reader->next++;
    }
    return value;
}

/* Pass over so many bytes, or all that are there; return how many. */
static uint64_t skip(struct reader *reader, uint64_t bytes) {
    size_t rest = (size_t)(reader->end - reader->next);
    uint64_t passed = bytes < rest ? bytes : rest;
    reader->next += passed;
    return passed;
}

/* One value: its work, whether its hash is keyed, and what is in it. */
struct value {
    int64_t work;
    int is_keyed;
    int is_container;
    int is_extension; /* its content follows */
    int is_plain;     /* a number, nil, a boolean, a string or bytes */
    uint64_t integer; /* bytes of a long integer */
    uint64_t items;
    enum kind kind; /* of the array that follows or is meant */
};

static void array(struct value *value, uint64_t items, enum kind kind) {
    value->work = MEASURE_CONTAINER;
    value->is_container = 1;
    value->is_plain = 0;
    value->items = kind == MAP ? 2 * items : items;
    value->kind = kind;
}

static void string(struct reader *reader, struct value *value, uint64_t bytes) {
    value->work = MEASURE_STRING + (int64_t)(bytes >> 8);
    value->is_keyed = 1;
    skip(reader, bytes);
}

static void extension(struct reader *reader, struct value *value, uint64_t bytes) {
    uint8_t code = (uint8_t)number(reader, 1);
    value->is_plain = 0;
    int is_object = code == RECORD_CODE || code == ERROR_CODE || code >= EXTERNAL_CODE;
    value->work = is_object ? MEASURE_OBJECT : MEASURE_EXTENSION;
    if (code == INTEGER_CODE || code == BYTEARRAY_CODE) {
        value->work += (int64_t)(bytes >> 8);
        uint64_t passed = skip(reader, bytes);
        value->integer = code == INTEGER_CODE ? passed : 0;
        return;
    }
    value->is_extension = 1;
    value->kind = code == SET_CODE || code == FROZENSET_CODE ? SET : code == DICT_CODE ? PAIRS : ITEMS;
}

static struct value read_value(struct reader *reader, enum kind kind) {
    struct value value = {.work = MEASURE_NUMBER, .is_plain = 1};
    uint8_t mark = *reader->next++;
    if (mark < 0x80 || mark >= 0xe0) { /* small numbers */
    } else if (mark < 0x90) {
        array(&value, mark & 0x0f, MAP);
    } else if (mark < 0xa0) {
        array(&value, mark & 0x0f, kind);
    } else if (mark < 0xc0) {
        string(reader, &value, mark & 0x1f);
    } else if (mark >= 0xc4 && mark <= 0xc6) {
        string(reader, &value, number(reader, 1u << (mark - 0xc4)));
    } else if (mark >= 0xc7 && mark <= 0xc9) {
        extension(reader, &value, number(reader, 1u << (mark - 0xc7)));
    } else if (mark == 0xca || mark == 0xcb) { /* floats */
        skip(reader, mark == 0xca ? 4 : 8);
    } else if (mark >= 0xcc && mark <= 0xd3) { /* integers */
        skip(reader, 1u << ((mark - 0xcc) & 3));
    } else if (mark >= 0xd4 && mark <= 0xd8) {
        extension(reader, &value, 1u << (mark - 0xd4));
    } else if (mark >= 0xd9 && mark <= 0xdb) {
        string(reader, &value, number(reader, 1u << (mark - 0xd9)));
    } else if (mark == 0xdc || mark == 0xdd) {
        array(&value, number(reader, mark == 0xdc ? 2 : 4), kind);
    } else if (mark == 0xde || mark == 0xdf) {
        array(&value, number(reader, mark == 0xde ? 2 : 4), MAP);
    }
    return value;
}

static int is_key(const struct level *level) {
    return level->kind == SET || (level->kind == MAP && level->left % 2 == 1) ||
           (level->kind == PAIR && level->left == 1);
}

int64_t measure_payload(const uint8_t *data, size_t size, int64_t most) {
    struct reader reader = {data, data + size};
    struct level levels[MEASURE_DEPTH];
    unsigned depth = 0;
    int64_t work = 0;
    levels[0] = (struct level){.left = 1, .kind = ITEMS};
    for (;;) {
        struct level *level = &levels[depth];
        if (level->left == 0 || reader.next >= reader.end) {
            /* Below 2^32 each, or their square would not be: work is above any limit long before. */
            work += (int64_t)(level->keys * level->keys / MEASURE_COLLIDING);
            if (depth == 0 || work > most) {
                return work;
            }
            depth--;
            continue;
        }
        level->left--;
        int is_own_key = is_key(level), is_in_key = level->is_in_key || is_own_key;
        enum kind kind = level->kind == PAIRS ? PAIR : ITEMS;
        struct value value = read_value(&reader, kind);
        work += value.work;
        unsigned nested = 0;
        if (is_own_key && !value.is_keyed) {
            uint64_t count = level->kind == MAP && !value.is_plain ? MEASURE_STRANGE : 1;
            (level->kind == PAIR ? level - 1 : level)->keys += count;
        }
        while (value.is_extension && reader.next < reader.end) {
            if (++nested > MEASURE_DEPTH) {
                return MEASURE_TOO_DEEP;
            }
            value = read_value(&reader, value.kind);
            work += value.work;
        }
        if (is_in_key) {
            work += (int64_t)(value.integer * value.integer / MEASURE_LONG_KEY);
        }
        if (work > most) {
            return work;
        }
        if (value.is_container && value.items > 0) {
            if (++depth == MEASURE_DEPTH) {
                return MEASURE_TOO_DEEP;
            }
            levels[depth] = (struct level){.left = value.items, .kind = value.kind, .is_in_key = is_in_key};
        }
    }
}
