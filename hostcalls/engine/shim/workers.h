/* The threads on which computing guests run beside the loop.
 *
 * A guest is at one place at a time: with the caller, in the queue, on a worker, or in the list of the
 * stopped, from which the caller takes it back. The mutex guards the places and the mail that the caller
 * leaves meanwhile. */
#ifndef ENFILADE_WORKERS_H
#define ENFILADE_WORKERS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "shim.h"

typedef enum { PLACE_CALLER, PLACE_QUEUED, PLACE_RUNNING, PLACE_STOPPED } guest_place;

typedef struct {
    guest *first;
    guest *last;
} guest_list;

typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t work;
    guest_list queue;
    guest_list stopped;
    bool stopping;
    int event; /* an eventfd, readable while `stopped` is not empty */
    uint32_t count;
    pthread_t *threads;
} workers;

/* Returns 0 or an errno value. */
int workers_start(workers *w, uint32_t count);

/* Every guest has been closed before. */
void workers_stop(workers *w);

/* Hands over a guest; the caller must not touch it, except as guest.h allows, until it takes it back. */
void workers_offload(workers *w, guest *g);

/* Takes back stopped guests, at most `room`. */
size_t workers_take(workers *w, stopped_guest *found, size_t room);

/* Takes a guest away from the workers for good. Returns whether the caller now owns it; otherwise the worker
 * that runs it destroys it. */
bool workers_abandon(workers *w, guest *g);

/* A guest gets a stack on which another may have run before, on a worker. Wasmtime hands it on under locks of its own;
 * that one ran before the other is told by ours, too, for whoever sees ours alone. */
void workers_order(workers *w);

#endif
