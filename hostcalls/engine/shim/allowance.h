/* An allowance of processor time: so much at a stretch, and renewed at a steady rate up to that.
 *
 * It is kept as the moment at which everything that was spent will have been renewed. Spending moves that moment;
 * it is too late when it lies further ahead than the whole allowance takes to be renewed. An allowance that is
 * never renewed is the same with a clock that stands still. Several threads may spend at the same time. */
#ifndef ENFILADE_ALLOWANCE_H
#define ENFILADE_ALLOWANCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint64_t nanoseconds;   /* at a stretch; UINT64_MAX without end */
    double renewal;         /* nanoseconds in each nanosecond; 0 for never */
    _Atomic uint64_t until; /* everything is renewed by then */
} allowance;

void allowance_open(allowance *a, uint64_t nanoseconds, double renewal);

/* Whether it would be exceeded by a run that has begun at `start` and goes on at `now`. */
bool allowance_exceeded(const allowance *a, uint64_t start, uint64_t now);

/* Counts a run from `start` to `now`. */
void allowance_spend(allowance *a, uint64_t start, uint64_t now);

#endif
