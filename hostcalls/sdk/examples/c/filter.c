/*
 * A rate-limiting filter. A request is a key of at most 32 bytes; the answer is "pass", or "wait MILLISECONDS" when the
 * key has been asked for more than `rate` times a second, after `burst` times at once. A longer key is a fault.
 *
 * The state is one instant for each key: when its bucket will be empty. It is gone when a supervisor starts the filter
 * again, and handed over when the filter is moved to another module.
 */

#include "enfilade.h"

enum { LONGEST = 32, KEYS = 64 };

static union {
    uint64_t aligned;
    uint8_t bytes[ENFILADE_LONGEST];
} buffer;

static struct bucket {
    uint64_t empty_at; /* milliseconds */
    uint32_t size;
    uint8_t key[LONGEST];
} buckets[KEYS];

/* The bucket of a key; a new key takes the place of the one that was empty first. */
static struct bucket *find(const uint8_t *key, uint32_t size) {
    struct bucket *oldest = buckets;
    for (struct bucket *bucket = buckets; bucket < buckets + KEYS; bucket++) {
        if (bucket->empty_at != 0 && bucket->size == size && enfilade_same(bucket->key, key, size)) {
            return bucket;
        }
        if (bucket->empty_at < oldest->empty_at) {
            oldest = bucket;
        }
    }
    oldest->empty_at = 0;
    oldest->size = size;
    enfilade_copy(oldest->key, key, size);
    return oldest;
}

/* Milliseconds to wait, or 0 if the key may pass now. */
static uint64_t admit(struct bucket *bucket, uint64_t now, uint64_t interval, uint64_t burst) {
    const uint64_t empty_at = bucket->empty_at > now ? bucket->empty_at : now;
    const uint64_t ahead = empty_at - now, allowed = (burst - 1) * interval;
    if (ahead > allowed) {
        return ahead - allowed;
    }
    bucket->empty_at = empty_at + interval;
    return 0;
}

static uint32_t answer_wait(char *text, uint64_t milliseconds) {
    char digits[20];
    uint32_t count = 0, length = 5;
    enfilade_copy(text, "wait ", length);
    do {
        digits[count++] = (char)('0' + milliseconds % 10);
        milliseconds /= 10;
    } while (milliseconds != 0);
    while (count > 0) {
        text[length++] = digits[--count];
    }
    return length;
}

ENFILADE_EXPORT("start") void start(uint32_t rate, uint32_t burst) {
    struct enfilade_message message;
    struct enfilade_time now;
    char text[32];
    if (rate == 0 || rate > 1000 || burst == 0) {
        enfilade_log(ENFILADE_ERROR, "filter", "expected 1 to 1000 a second and a burst of at least 1");
        __builtin_trap();
    }
    const uint8_t *state;
    uint32_t size;
    const int imported = enfilade_import_state(buffer.bytes, sizeof buffer.bytes, &state, &size);
    if (imported < 0 || (imported == 1 && size != sizeof buckets)) {
        __builtin_trap(); /* nobody may lose the state: the module before goes on */
    }
    if (imported == 1) {
        enfilade_copy(buckets, state, size);
    }
    enfilade_takes_upgrades = 1;
    enfilade_log(ENFILADE_INFO, "filter", "ready");
    for (;;) {
        if (enfilade_receive(&message, buffer.bytes, sizeof buffer.bytes, ENFILADE_FOREVER) != 0) {
            __builtin_trap();
        }
        if (message.kind == ENFILADE_UPGRADE) {
            enfilade_export_state(buckets, sizeof buckets);
        }
        if (message.kind != ENFILADE_REQUEST) {
            continue;
        }
        if (message.size > LONGEST || enfilade_now(&now) != 0) {
            __builtin_trap();
        }
        const uint64_t wait = admit(find(message.data, message.size), now.monotonic_ms + 1, 1000 / rate, burst);
        if (wait != 0) {
            enfilade_log(ENFILADE_DEBUG, "filter", "held back");
        }
        enfilade_reply(message.request, wait == 0 ? "pass" : text, wait == 0 ? 4 : answer_wait(text, wait));
    }
}
