/* The state that the guests of one engine share. */
#ifndef ENFILADE_ENGINE_H
#define ENFILADE_ENGINE_H

#include <stdatomic.h>

#include "buffer.h"
#include "shim.h"
#include "ticker.h"
#include "wasmtime.h"
#include "workers.h"

struct engine {
    wasm_engine_t *wasm;
    uint32_t max_guests;
    uint64_t fuel;  /* after which a guest gives way; 0: it does so by time */
    uint64_t clock; /* nanoseconds, of an engine with fuel: as the host has set it, and guests have moved it on */
    uint64_t spent; /* by guests, since the host last asked */
    atomic_uint guests;
    ticker ticker;
    workers workers;
    _Atomic uint64_t first_clock; /* when a guest first asked for the time; 0 before */
    uint8_t stage[STAGE_SIZE]; /* what the caller's last guest_advance() has taken */
    buffer encoding;           /* of the message that is about to be given to a guest (serving.c) */
};

#endif
