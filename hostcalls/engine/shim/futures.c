#include "futures.h"

#include <stdlib.h>
#include <string.h>

void futures_init(future_table *t) {
    *t = (future_table){.free = NO_FUTURE};
}

void futures_free(future_table *t) {
    for (uint32_t id = 0; id < t->count; id++) {
        free(t->slots[id].payload);
    }
    free(t->slots);
    futures_init(t);
}

uint32_t futures_add(future_table *t, future_state state, uint32_t limit) {
    if (t->live >= limit) {
        return NO_FUTURE;
    }
    uint32_t id = t->free;
    if (id != NO_FUTURE) {
        t->free = t->slots[id].task;
    } else {
        if (t->count == t->capacity) {
            uint32_t capacity = t->capacity == 0 ? 4 : t->capacity * 2;
            future *slots = realloc(t->slots, capacity * sizeof *slots);
            if (slots == NULL) {
                return NO_FUTURE;
            }
            t->slots = slots;
            t->capacity = capacity;
        }
        id = t->count++;
    }
    t->slots[id] = (future){.state = (uint8_t)state, .serial = t->serial++};
    t->live++;
    return id;
}

future *futures_find(future_table *t, uint32_t id) {
    return id < t->count && t->slots[id].state != FUTURE_FREE ? &t->slots[id] : NULL;
}

uint64_t futures_key(const future_table *t, uint32_t id) {
    return (uint64_t)t->slots[id].serial << 32 | id;
}

void futures_remove(future_table *t, uint32_t id) {
    future *f = &t->slots[id];
    t->held -= f->size;
    free(f->payload);
    *f = (future){.state = FUTURE_FREE, .task = t->free};
    t->free = id;
    t->live--;
}

resolve_outcome futures_resolve(future_table *t, uint64_t key, future_state state, const uint8_t *payload,
                                size_t size, size_t room, bool *woken, uint32_t *task) {
    *woken = false;
    future *f = futures_find(t, (uint32_t)key);
    if (f == NULL || f->state != FUTURE_PENDING || f->serial != (uint32_t)(key >> 32)) {
        return RESOLVE_IGNORED;
    }
    uint8_t *copy = NULL;
    if (size > 0) {
        if (size > room || size > INT32_MAX || (copy = malloc(size)) == NULL) {
            return RESOLVE_NO_ROOM;
        }
        memcpy(copy, payload, size);
    }
    f->state = (uint8_t)state;
    f->payload = copy;
    f->size = (uint32_t)size;
    t->held += size;
    *woken = f->waited;
    *task = f->task;
    f->waited = false;
    return RESOLVE_STORED;
}
