/* The thread that advances the epoch, so that running guests look up about every tick.
 *
 * When no guest has run for a while the thread sleeps until one does: an idle node costs nothing. */
#ifndef ENFILADE_TICKER_H
#define ENFILADE_TICKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "wasmtime.h"

typedef struct {
    wasm_engine_t *wasm;
    uint64_t tick;      /* nanoseconds */
    atomic_ulong begun; /* runs of guests */
    atomic_ulong ended;
    atomic_bool dormant;
    bool stopping; /* under mutex */
    pthread_mutex_t mutex;
    pthread_cond_t awake;
    pthread_t thread;
} ticker;

/* Returns 0 or an errno value. */
int ticker_start(ticker *t, wasm_engine_t *wasm, uint64_t tick);
void ticker_stop(ticker *t);

/* Around every run of a guest, on any thread. */
void ticker_begin(ticker *t);
void ticker_end(ticker *t);

#endif
