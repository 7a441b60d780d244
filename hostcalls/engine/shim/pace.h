/* When a running guest gives way, and what its run is measured by.
 *
 * By time: the ticker moves the epoch on, and the guest's next loop or call sees that. By fuel: the guest counts what
 * it does, and gives way after the engine's `fuel`. One unit stands for a nanosecond, of a clock that the host sets
 * and that only guests move on: then a run depends on nothing but the guest and the host's answers. */
#ifndef ENFILADE_PACE_H
#define ENFILADE_PACE_H

#include <stdint.h>

#include "guest.h"

/* Readies a new guest's store. */
void pace_open(guest *g);

/* Begins a slice; an order that the guest has ends it at its next loop or call. */
void pace_begin(guest *g);

/* Between two polls of a slice that is to go on, in instantiation. */
void pace_go_on(guest *g);

/* Ends a slice, after guest_spend(). */
void pace_end(guest *g);

/* Ends the guest's slice at its next loop or call. */
void pace_give_way(guest *g);

/* Nanoseconds on the engine's clock; to be called on the guest's thread. */
uint64_t pace_now(const guest *g);

/* Moves the engine's clock on, to the end of the guest's slice. */
void pace_spent(guest *g, uint64_t now);

#endif
