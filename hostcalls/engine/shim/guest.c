/* Running a guest, and what the host tells it meanwhile. */
#include "guest.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pace.h"
#include "text.h"

/* Bytes by which a guest that runs can grow, if its tree has so many left. */
enum { LEAST_LENT = 4 * 1024 * 1024 };

uint64_t monotonic_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t guest_used(const guest *g) {
    return guest_cpu_time(g) + (pace_now(g) - g->run_start);
}

void guest_spend(guest *g) {
    uint64_t now = pace_now(g);
    atomic_fetch_add_explicit(&g->used, now - g->run_start, memory_order_relaxed);
    allowance_spend(&g->time, g->run_start, now);
    if (g->tree != NULL) {
        purse_spend(g->tree, g->run_start, now);
    }
    pace_spent(g, now);
}

bool guest_overdue(const guest *g, uint64_t now) {
    return allowance_exceeded(&g->time, g->run_start, now) ||
           (g->tree != NULL && allowance_exceeded(&g->tree->time, g->run_start, now));
}

/* --- memory of the tree --- */

static int64_t clamp(uint64_t value) {
    return value > INT64_MAX ? INT64_MAX : (int64_t)value;
}

void guest_borrow(guest *g, uint64_t least) {
    uint64_t ceiling = g->limits.memory;
    if (g->tree != NULL) {
        g->lent = ceiling > g->counted ? purse_lend(g->tree, ceiling - g->counted, least) : 0;
        ceiling = g->counted + g->lent;
    }
    if (ceiling != g->ceiling) {
        wasmtime_store_limiter(g->store, clamp(ceiling), clamp(g->limits.table_elements), 1, -1, 1);
        g->ceiling = ceiling;
    }
}

void guest_settle(guest *g, uint64_t size) {
    if (g->tree != NULL) {
        purse_return(g->tree, g->counted + g->lent - size);
        g->counted = size;
        g->lent = 0;
    }
}

/* --- faults and orders --- */

const char *guest_fault(guest *g, int fault, const char *format, ...) {
    if (g->fault == FAULT_NONE) {
        char line[160];
        va_list values;
        va_start(values, format);
        vsnprintf(line, sizeof line, format, values);
        va_end(values);
        g->fault = fault;
        g->fault_text = text_copy(line);
    }
    return g->fault_text != NULL ? g->fault_text : "no memory";
}

const char *guest_obey(guest *g, int order) {
    switch (order) {
    case FAULT_CPU_TIME:
        if (g->limits.cpu_renewal > 0) {
            return guest_fault(g, order,
                               "more than %.3f seconds of cpu time, with %g more each second (limits cpu_time, cpu_renewal)",
                               (double)g->limits.cpu_time * 1e-9, g->limits.cpu_renewal);
        }
        return guest_fault(g, order, "more than %.3f seconds of cpu time (limit cpu_time)",
                           (double)g->limits.cpu_time * 1e-9);
    case FAULT_START_TIME:
        return guest_fault(g, order, "start function ran for more than %.3f seconds (limit start_time)",
                           (double)g->limits.start_time * 1e-9);
    case FAULT_LIMIT:
        return guest_fault(g, order, "more than %llu bytes queued (limit queued_bytes), or no memory for them",
                           (unsigned long long)g->limits.queued_bytes);
    default:
        return guest_fault(g, order, "stopped by the host");
    }
}

void guest_order(guest *g, int order) {
    int none = FAULT_NONE;
    atomic_compare_exchange_strong(&g->order, &none, order);
}

/* --- running --- */

bool guest_can_go_on(const guest *g) {
    if (g->call == NULL) {
        return false;
    }
    return g->step == STEP_PREEMPTED || mailbox_signalled(g->base) || atomic_load(&g->order) != FAULT_NONE ||
           atomic_load(&g->released);
}

uint64_t guest_word(const guest *g) {
    return g->step | (g->submitted.size > 0 ? HAS_SUBMISSIONS : 0) |
           (g->refused.size / sizeof(uint32_t) > g->refused_taken ? HAS_REFUSALS : 0) |
           (guest_can_go_on(g) ? RUNNABLE : 0) | (uint64_t)g->submitted.size << SIZE_SHIFT;
}

uint64_t guest_run(guest *g) {
    if (g->call == NULL) {
        return guest_word(g);
    }
    pace_begin(g);
    guest_borrow(g, LEAST_LENT);
    bool done = wasmtime_call_future_poll(g->call);
    guest_spend(g);
    guest_settle(g, wasmtime_memory_data_size(g->context, &g->memory));
    pace_end(g);
    if (!done) {
        g->step = g->parked ? STEP_PARKED : STEP_PREEMPTED;
    } else {
        wasmtime_call_future_delete(g->call);
        g->call = NULL;
        g->step = g->trap != NULL || g->error != NULL ? STEP_TRAPPED : STEP_FINISHED;
        if (g->step == STEP_TRAPPED) {
            trap_describe(g);
        }
    }
    return guest_word(g);
}

uint64_t guest_resume(guest *g) {
    return guest_run(g);
}

bool guest_interrupt(guest *g) {
    guest_order(g, FAULT_STOPPED);
    return !g->offloaded && guest_can_go_on(g);
}

bool guest_ending(const guest *g) {
    return atomic_load_explicit(&g->order, memory_order_relaxed) != FAULT_NONE;
}

bool guest_release(guest *g) {
    atomic_store(&g->released, true);
    return !g->offloaded && guest_can_go_on(g);
}

/* --- calls --- */

bool guest_start(guest *g, const char *name, size_t name_size, const uint8_t *kinds, const void *values,
                 size_t count, size_t results) {
    wasmtime_extern_t export;
    if (!wasmtime_instance_export_get(g->context, &g->instance, name, name_size, &export) ||
        export.kind != EXTERN_FUNC) {
        return false;
    }
    if (count + results > 0 && (g->values = calloc(count + results, sizeof *g->values)) == NULL) {
        return false;
    }
    g->entry = export.of.func;
    g->parameters = count;
    g->results = results;
    for (size_t i = 0; i < count; i++) {
        g->values[i].kind = kinds[i];
        memcpy(&g->values[i].of.bits, (const uint8_t *)values + 8 * i, 8);
    }
    workers_order(&g->engine->workers);
    g->call = wasmtime_func_call_async(g->context, &g->entry, g->values, count,
                                       results > 0 ? g->values + count : NULL, results, &g->trap, &g->error);
    g->step = STEP_PREEMPTED;
    return true;
}

size_t guest_result_count(const guest *g) {
    return g->step == STEP_FINISHED ? g->results : 0;
}

uint8_t guest_result(const guest *g, size_t index, uint64_t *bits) {
    const wasmtime_val_t *value = &g->values[g->parameters + index];
    *bits = value->of.bits;
    return value->kind;
}

uint64_t guest_cpu_time(const guest *g) {
    return atomic_load_explicit(&g->used, memory_order_relaxed);
}

uint8_t *guest_memory(guest *g, size_t *size) {
    *size = g->size = wasmtime_memory_data_size(g->context, &g->memory);
    return g->base;
}

void guest_destroy(guest *g) {
    /* Deleting a suspended call unwinds its fiber; what the call points to must still be there. */
    if (g->call != NULL) {
        wasmtime_call_future_delete(g->call);
    }
    wasmtime_store_delete(g->store);
    if (g->tree != NULL) {
        guest_settle(g, 0);
        purse_leave(g->tree);
    }
    if (g->trap != NULL) {
        wasm_trap_delete(g->trap);
    }
    if (g->error != NULL) {
        wasmtime_error_delete(g->error);
    }
    trap_free(g->report);
    futures_free(&g->futures);
    mailbox_free(&g->mailbox);
    buffer_free(&g->submitted);
    buffer_free(&g->submitted_taken);
    buffer_free(&g->refused);
    buffer_free(&g->mail);
    free(g->fault_text);
    free(g->values);
    atomic_fetch_sub(&g->engine->guests, 1);
    free(g);
}
