/* A guest's futures (docs/guests.md, "Create, poll, drop"): a table with reused ids, the last freed first.
 *
 * The host names a future by a key, its id with a serial number above it, so that a late answer to a future
 * that is gone cannot reach the one that took its id. */
#ifndef ENFILADE_FUTURES_H
#define ENFILADE_FUTURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* OFFERED is READY, and the host wants to know whether the guest takes the result. */
typedef enum {
    FUTURE_FREE,
    FUTURE_PENDING,
    FUTURE_READY,
    FUTURE_OFFERED,
    FUTURE_FAILED,
    FUTURE_DENIED
} future_state;

typedef struct {
    uint8_t *payload; /* of a READY, OFFERED or FAILED one */
    uint32_t size;
    uint32_t serial;
    uint32_t task; /* the waker, if `waited`; the next free id, if FREE */
    uint32_t index; /* of the hostcall, if its result `returns` */
    uint8_t state;
    bool waited;
    bool returns;
} future;

typedef struct {
    future *slots;
    uint32_t count; /* slots ever used */
    uint32_t capacity;
    uint32_t live;
    uint32_t free; /* the id freed last, or NO_FUTURE */
    uint32_t serial;
    size_t held; /* bytes of payloads */
} future_table;

enum { NO_FUTURE = UINT32_MAX };

void futures_init(future_table *t);
void futures_free(future_table *t);

/* Returns a new future's id in `state` (PENDING or DENIED), or NO_FUTURE if `limit` live ones exist or there
 * is no memory. */
uint32_t futures_add(future_table *t, future_state state, uint32_t limit);

/* Returns the live future with this id, or NULL. */
future *futures_find(future_table *t, uint32_t id);

uint64_t futures_key(const future_table *t, uint32_t id);

/* Ends the future `id` and frees its id. */
void futures_remove(future_table *t, uint32_t id);

typedef enum { RESOLVE_IGNORED, RESOLVE_STORED, RESOLVE_NO_ROOM } resolve_outcome;

/* Gives the pending future of `key` its outcome, `state` being READY, OFFERED or FAILED. If a task waited for it, the
 * task is taken out into `*task` and `*woken` set. A payload of more than `room` bytes is not copied. */
resolve_outcome futures_resolve(future_table *t, uint64_t key, future_state state, const uint8_t *payload,
                                size_t size, size_t room, bool *woken, uint32_t *task);

#endif
