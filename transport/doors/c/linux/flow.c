/*
 * Flows: a large payload is copied out of a region while it is still being copied in.
 *
 * On two processors the two copies take the time of one, which is what makes a pipe or a socket fast. The region has room for
 * the whole payload, so the writer never waits for the reader. The reader waits for the writer, a stranger: always
 * with a clock, and never for anything but the number of chunks, of which it believes no more than there is room for.
 */
#include "internal.h"

#include <string.h>

/* A reader that had to sleep lets the writer get ahead a little, so it sleeps once and not for every chunk. */
enum { FLOW_AHEAD = 4 };

/* Whether the peer seems to run on another processor: only then do two copies at once save time. */
bool flow_pays(uint32_t peer_processor) {
    return peer_processor != 0 && peer_processor != this_processor();
}

void flow_start(struct flow *flow) {
    atomic_store(&flow->filled, 0);
}

/* Copies the payload in and tells the reader, until the reader has lost interest: `state` is then neither of the two. */
void flow_fill(struct flow *flow, char *region, const char *data, size_t size, const _Atomic uint32_t *state) {
    uint32_t filled = 0;
    for (size_t done = 0; done < size;) {
        size_t count = size - done < FLOW_CHUNK ? size - done : FLOW_CHUNK;
        uint32_t now = atomic_load_explicit(state, memory_order_relaxed);
        if (now != CALL_QUEUED && now != CALL_ACTIVE) {
            return;
        }
        memcpy(region + done, data + done, count);
        done += count;
        atomic_store(&flow->filled, ++filled);
        uint32_t wanted = atomic_load(&flow->wanted);
        if (wanted != 0 && wanted <= filled) {
            word_wake(&flow->filled);
        }
    }
}

/* How many of so many bytes are there. */
size_t flow_there(const struct flow *flow, size_t size) {
    uint64_t there = (uint64_t)atomic_load(&flow->filled) * FLOW_CHUNK;
    return there < size ? (size_t)there : size;
}

/* Waits until more than `done` bytes of `size` are there, for so long at most: false when there are not. */
bool flow_await(struct flow *flow, size_t done, size_t size, uint32_t peer_processor, unsigned microseconds) {
    struct spinner spinner = {0, 0};
    uint32_t filled = (uint32_t)(done / FLOW_CHUNK), all = (uint32_t)((size + FLOW_CHUNK - 1) / FLOW_CHUNK);
    if (flow_there(flow, size) > done || word_spin(&spinner, &SHORT_SPIN, peer_processor, &flow->filled, filled)) {
        return flow_there(flow, size) > done;
    }
    atomic_store(&flow->wanted, filled + FLOW_AHEAD < all ? filled + FLOW_AHEAD : all);
    uint32_t seen = atomic_load(&flow->filled);
    if ((uint64_t)seen * FLOW_CHUNK <= done) {
        word_sleep(&flow->filled, seen, microseconds);
    }
    atomic_store(&flow->wanted, 0);
    return flow_there(flow, size) > done;
}
