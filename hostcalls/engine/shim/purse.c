#include "purse.h"

#include <stdlib.h>

/* Guests of a tree that may run at the same time, at most: those on workers, and the caller's. More of them
 * would be lent less and less of what is left. */
enum { AT_ONCE = 4 };

purse *purse_open(uint64_t memory, uint64_t cpu_time, double cpu_renewal) {
    purse *p = calloc(1, sizeof *p);
    if (p != NULL) {
        p->memory = memory;
        allowance_open(&p->time, cpu_time, cpu_renewal);
        atomic_store(&p->holders, 1);
    }
    return p;
}

void purse_close(purse *p) {
    if (atomic_fetch_sub(&p->holders, 1) == 1) {
        free(p);
    }
}

void purse_enter(purse *p) {
    atomic_fetch_add(&p->holders, 1);
    atomic_fetch_add(&p->guests, 1);
}

void purse_leave(purse *p) {
    atomic_fetch_sub(&p->guests, 1);
    purse_close(p);
}

static uint64_t smaller(uint64_t one, uint64_t other) {
    return one < other ? one : other;
}

uint64_t purse_lend(purse *p, uint64_t wanted, uint64_t least) {
    unsigned guests = atomic_load(&p->guests);
    uint64_t share = guests < 2 ? 1 : guests < AT_ONCE ? guests : AT_ONCE;
    uint64_t lent = atomic_load(&p->lent);
    uint64_t granted;
    do {
        uint64_t left = p->memory > lent ? p->memory - lent : 0;
        uint64_t part = left / share > least ? left / share : smaller(least, left);
        granted = smaller(wanted, part);
    } while (!atomic_compare_exchange_weak(&p->lent, &lent, lent + granted));
    return granted;
}

void purse_return(purse *p, uint64_t bytes) {
    atomic_fetch_sub(&p->lent, bytes);
}

void purse_spend(purse *p, uint64_t start, uint64_t now) {
    atomic_fetch_add_explicit(&p->used, now - start, memory_order_relaxed);
    allowance_spend(&p->time, start, now);
}

uint64_t purse_memory(const purse *p) {
    return atomic_load(&p->lent);
}

uint64_t purse_cpu_time(const purse *p) {
    return atomic_load_explicit(&p->used, memory_order_relaxed);
}
