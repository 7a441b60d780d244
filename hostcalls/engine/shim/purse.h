/* The purse of a tree: linear memory and time of the processor, which its guests use together.
 *
 * Linear memory is lent. A guest that begins to run is lent what it may grow by, and gives back what it has not
 * used when it stops, so that guests that run at the same time never exceed the limit together. */
#ifndef ENFILADE_PURSE_H
#define ENFILADE_PURSE_H

#include <stdatomic.h>

#include "allowance.h"
#include "shim.h"

struct purse {
    uint64_t memory; /* bytes */
    allowance time;
    atomic_uint holders;
    atomic_uint guests;
    _Atomic uint64_t lent; /* bytes that guests have or may grow by now */
    _Atomic uint64_t used; /* nanoseconds, in all */
};

/* A guest of the tree begins and ends to exist. */
void purse_enter(purse *p);
void purse_leave(purse *p);

/* Lends up to `wanted` bytes; returns how many. One of several guests gets a part of what is left, but `least`
 * bytes if they are there: others may want to grow while it runs. */
uint64_t purse_lend(purse *p, uint64_t wanted, uint64_t least);
void purse_return(purse *p, uint64_t bytes);

/* Counts a run from `start` to `now`. */
void purse_spend(purse *p, uint64_t start, uint64_t now);

#endif
