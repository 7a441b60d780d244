#include "ticker.h"

#include <time.h>

/* Ticks without a run after which the thread goes to sleep. */
enum { PATIENCE = 64 };

/* Waits for a tick, or for the stop. Returns whether to go on. */
static bool pause_for_a_tick(ticker *t) {
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    uint64_t nanoseconds = (uint64_t)end.tv_nsec + t->tick;
    end.tv_sec += (time_t)(nanoseconds / 1000000000);
    end.tv_nsec = (long)(nanoseconds % 1000000000);
    pthread_mutex_lock(&t->mutex);
    while (!t->stopping && pthread_cond_timedwait(&t->awake, &t->mutex, &end) == 0)
        ;
    bool go_on = !t->stopping;
    pthread_mutex_unlock(&t->mutex);
    return go_on;
}

/* Waits for a run or the stop. The order of `dormant` and `begun` here mirrors ticker_begin(): whichever of
 * the two threads comes second sees what the first has written. Returns whether to go on. */
static bool sleep_until_run(ticker *t, unsigned long seen) {
    pthread_mutex_lock(&t->mutex);
    atomic_store(&t->dormant, true);
    while (!t->stopping && atomic_load(&t->begun) == seen) {
        pthread_cond_wait(&t->awake, &t->mutex);
    }
    atomic_store(&t->dormant, false);
    bool go_on = !t->stopping;
    pthread_mutex_unlock(&t->mutex);
    return go_on;
}

static void *run(void *argument) {
    ticker *t = argument;
    unsigned long seen = 0;
    int quiet = 0;
    while (pause_for_a_tick(t)) {
        wasmtime_engine_increment_epoch(t->wasm);
        unsigned long ended = atomic_load(&t->ended);
        unsigned long begun = atomic_load(&t->begun);
        quiet = begun == ended && begun == seen ? quiet + 1 : 0;
        seen = begun;
        if (quiet >= PATIENCE) {
            quiet = 0;
            if (!sleep_until_run(t, seen)) {
                break;
            }
        }
    }
    return NULL;
}

int ticker_start(ticker *t, wasm_engine_t *wasm, uint64_t tick) {
    t->wasm = wasm;
    t->tick = tick;
    pthread_mutex_init(&t->mutex, NULL);
    pthread_condattr_t by_monotonic_clock;
    pthread_condattr_init(&by_monotonic_clock);
    pthread_condattr_setclock(&by_monotonic_clock, CLOCK_MONOTONIC);
    pthread_cond_init(&t->awake, &by_monotonic_clock);
    pthread_condattr_destroy(&by_monotonic_clock);
    int failure = pthread_create(&t->thread, NULL, run, t);
    if (failure != 0) {
        pthread_cond_destroy(&t->awake);
        pthread_mutex_destroy(&t->mutex);
    }
    return failure;
}

void ticker_stop(ticker *t) {
    pthread_mutex_lock(&t->mutex);
    t->stopping = true;
    pthread_cond_signal(&t->awake);
    pthread_mutex_unlock(&t->mutex);
    pthread_join(t->thread, NULL);
    pthread_cond_destroy(&t->awake);
    pthread_mutex_destroy(&t->mutex);
}

void ticker_begin(ticker *t) {
    atomic_fetch_add(&t->begun, 1);
    if (atomic_load(&t->dormant)) {
        pthread_mutex_lock(&t->mutex);
        pthread_cond_signal(&t->awake);
        pthread_mutex_unlock(&t->mutex);
    }
}

void ticker_end(ticker *t) {
    atomic_fetch_add(&t->ended, 1);
}
