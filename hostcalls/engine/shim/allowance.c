#include "allowance.h"

void allowance_open(allowance *a, uint64_t nanoseconds, double renewal) {
    a->nanoseconds = nanoseconds;
    a->renewal = renewal;
    atomic_store(&a->until, 0);
}

/* The time that it takes to renew `nanoseconds`; themselves, if they are never renewed. */
static double renewing(const allowance *a, uint64_t nanoseconds) {
    return a->renewal > 0 ? (double)nanoseconds / a->renewal : (double)nanoseconds;
}

static uint64_t after(const allowance *a, uint64_t until, uint64_t start, uint64_t now) {
    uint64_t begin = a->renewal > 0 && until < start ? start : until;
    return begin + (uint64_t)renewing(a, now - start);
}

bool allowance_exceeded(const allowance *a, uint64_t start, uint64_t now) {
    if (a->nanoseconds == UINT64_MAX) {
        return false;
    }
    uint64_t until = after(a, atomic_load_explicit(&a->until, memory_order_relaxed), start, now);
    uint64_t clock = a->renewal > 0 ? now : 0;
    return until > clock && (double)(until - clock) > renewing(a, a->nanoseconds);
}

void allowance_spend(allowance *a, uint64_t start, uint64_t now) {
    if (a->nanoseconds == UINT64_MAX) {
        return;
    }
    uint64_t until = atomic_load_explicit(&a->until, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&a->until, &until, after(a, until, start, now),
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}
