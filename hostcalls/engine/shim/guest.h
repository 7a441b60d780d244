/* One guest: a store with one instance, one call on its fiber, and what passes between it and the host.
 *
 * A guest is touched by one thread at a time: the caller's, or, between workers_offload() and workers_take(),
 * a worker's. Only these may be used across threads meanwhile: `order`, `released` and `used`, which are
 * atomic, and the mail, under the workers' mutex. */
#ifndef ENFILADE_GUEST_H
#define ENFILADE_GUEST_H

#include <stdatomic.h>

#include "buffer.h"
#include "engine.h"
#include "futures.h"
#include "mailbox.h"
#include "purse.h"
#include "shim.h"
#include "wasmtime.h"

typedef struct trap_report trap_report;

struct guest {
    engine *engine;
    uint64_t key;
    guest_limits limits;

    purse *tree;      /* or NULL */
    uint64_t counted; /* bytes of linear memory that the tree has lent for good, and */
    uint64_t lent;    /* until the guest stops */
    uint64_t ceiling; /* that the store knows */

    wasmtime_store_t *store;
    wasmtime_context_t *context;
    wasmtime_instance_t instance;
    wasmtime_memory_t memory;
    uint8_t *base; /* of linear memory; NULL until the instance exists. It never moves */
    size_t size;   /* as last seen; memory only grows */
    bool open;     /* the mailbox exists */

    /* The call borrows everything down to `error` until it is deleted. */
    wasmtime_call_future_t *call;
    wasmtime_func_t entry;
    wasmtime_val_t *values; /* of the call: parameters, then results */
    size_t parameters;
    size_t results;
    wasm_trap_t *trap;
    wasmtime_error_t *error;
    trap_report *report;
    int fault; /* why the shim itself ended the guest; FAULT_NONE if it did not */
    char *fault_text;

    uint8_t step;
    bool giving_way;         /* has ended its own slice, because much waits for the host */
    bool starting;           /* inside instantiation */
    bool in_hostcall;        /* the guest stands where the ring may be written */
    bool parked;             /* in yield_now */
    wasm_trap_t **park_trap; /* where yield_now puts a trap while parked */
    atomic_int order;        /* a FAULT_ value that the host wants the guest to end with */
    atomic_bool released;    /* let out of yield_now once */

    allowance time;
    _Atomic uint64_t used; /* nanoseconds run, before the current run; the caller reads it at any time */
    uint64_t run_start;
    uint64_t fuel;      /* that the guest was given in this slice, and */
    uint64_t used_fuel; /* what it had used of it when it was taken away */
    uint64_t start_begun; /* on the thread's own clock, while `starting` */

    future_table futures;
    mailbox mailbox;
    buffer submitted; /* records of the guest's operations, as guest_submissions() gives them, and of the ends of
                       * its futures, all in the order in which they came about */
    buffer submitted_taken;
    size_t submitted_count;
    buffer refused; /* indices of denied hostcalls that were made; the first `refused_taken` are known to the host */
    size_t refused_taken;

    guest_place place; /* this and the rest: see workers.h */
    bool offloaded;    /* as the caller sees it */
    bool abandoned;
    atomic_bool has_mail;
    buffer mail; /* outcomes that the caller stored while a worker had the guest */
    guest *next;
    guest *previous;
};

/* Around everything in which linear memory may grow. */
void guest_borrow(guest *g, uint64_t least);
void guest_settle(guest *g, uint64_t size);

/* Runs until the guest stops; returns guest_word(). */
uint64_t guest_run(guest *g);

/* The word that cdef.h describes. */
uint64_t guest_word(const guest *g);

/* Whether another guest_run() would get it further. */
bool guest_can_go_on(const guest *g);

/* Leaves an operation for the host to take, or, without arguments, a RECORD_. Returns false if there is no
 * memory. */
bool guest_submit(guest *g, uint64_t key, uint32_t index, const uint8_t *arguments, uint32_t size);

/* Leaves the result of the future `id`, which is READY and returns, for the host to take back. Returns false if there
 * is no memory. */
bool guest_return(guest *g, uint32_t id);

/* A record of `submitted`; its arguments are there until something more is submitted, or taken. */
typedef struct {
    uint64_t key;
    uint32_t index;
    uint32_t size;
    const uint8_t *arguments;
} record;

/* The oldest record; false if there is none. */
bool guest_first_record(const guest *g, record *found);

/* Removes the oldest record, if there is one. */
void guest_drop_record(guest *g);

/* Gives the future of `key` its outcome, for a guest that no worker has; it ends if it may not have so much waiting. */
void guest_store(guest *g, uint64_t key, future_state state, const uint8_t *payload, size_t size);

/* Notes that the guest has made the denied hostcall `index`. */
void guest_report_refusal(guest *g, uint32_t index);

/* Applies the mail; the caller holds the workers' mutex. */
void guest_take_mail(guest *g);

/* Applies the mail from inside a hostcall. */
void guest_check_mail(guest *g);

void guest_destroy(guest *g);

/* Notes that the shim ends the guest with `fault`, and why; the first one counts. Returns the text. */
const char *guest_fault(guest *g, int fault, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Tells the guest to end with a FAULT_ value as the fault; the first order counts. From any thread. */
void guest_order(guest *g, int order);

/* The text for an order, noted as the fault. */
const char *guest_obey(guest *g, int order);

/* Nanoseconds that the guest has run, the current run included; to be called on its thread. */
uint64_t guest_used(const guest *g);

/* Adds the time since `run_start` to what the guest and its tree have used. */
void guest_spend(guest *g);

/* Whether the guest, or its tree, has used more than its time, with the run from `run_start` to `now`. */
bool guest_overdue(const guest *g, uint64_t now);

uint64_t monotonic_now(void);

/* Defines the hostcall's functions that `imports` names and yield_now. Returns NULL or an error. */
wasmtime_error_t *hostcalls_define(wasmtime_linker_t *linker, const hostcall_import *imports, size_t count);

/* trap.c: takes the ownership of g->trap and g->error and makes g->report. */
void trap_describe(guest *g);
void trap_free(trap_report *report);

#endif
