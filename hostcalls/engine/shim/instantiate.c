/* The beginning and the end of a guest. */
#include <stdlib.h>
#include <string.h>

#include "guest.h"
#include "linked.h"
#include "pace.h"
#include "text.h"

/* Guests are given at least 16 MiB before they run, as their runtime expects (docs/guests.md, "Limits"). */
static const uint64_t PAGE = 65536;
static const uint64_t FIRST_PAGES = 256;

static void instantiate(guest *g, const linked *l) {
    g->starting = true;
    pace_begin(g);
    workers_order(&g->engine->workers);
    wasmtime_call_future_t *call =
        wasmtime_instance_pre_instantiate_async(l->pre, g->context, &g->instance, &g->trap, &g->error);
    while (!wasmtime_call_future_poll(call)) {
        pace_go_on(g);
    }
    wasmtime_call_future_delete(call);
    guest_spend(g);
    g->starting = false;
    pace_end(g);
}

static bool find_memory(guest *g) {
    wasmtime_extern_t export;
    if (!wasmtime_instance_export_get(g->context, &g->instance, "memory", 6, &export) ||
        export.kind != EXTERN_MEMORY) {
        return false;
    }
    g->memory = export.of.memory;
    g->size = wasmtime_memory_data_size(g->context, &g->memory);
    return true;
}

/* A guest whose limits forbid it goes on with the memory it has. */
static void grow_memory(guest *g) {
    uint64_t pages = g->size / PAGE;
    if (pages < FIRST_PAGES) {
        uint64_t before;
        wasmtime_error_t *error = wasmtime_memory_grow(g->context, &g->memory, FIRST_PAGES - pages, &before);
        if (error != NULL) {
            wasmtime_error_delete(error);
        }
    }
    g->size = wasmtime_memory_data_size(g->context, &g->memory);
    g->base = wasmtime_memory_data(g->context, &g->memory);
}

/* Returns an OPEN_ value; for OPEN_TRAPPED the report is made, for OPEN_FAILED `*error` is set. */
static int bring_up(guest *g, const linked *l, char **error) {
    g->ceiling = UINT64_MAX; /* so that the store is told of whatever it may have */
    guest_borrow(g, FIRST_PAGES * PAGE);
    pace_open(g);
    instantiate(g, l);
    if (g->trap != NULL || g->error != NULL) {
        trap_describe(g);
        const trap_view *view = guest_trap(g);
        if (view == NULL || view->fault != FAULT_NONE || view->code >= 0) {
            return OPEN_TRAPPED;
        }
        *error = text_copy_bytes(view->message, view->message_size);
        return OPEN_FAILED;
    }
    if (!find_memory(g)) {
        return OPEN_NO_MEMORY;
    }
    grow_memory(g);
    guest_settle(g, g->size);
    if (g->size < MAILBOX_END) {
        *error = text_format("a memory of %zu bytes has no room for the mailbox of %d", g->size, MAILBOX_END);
        return OPEN_FAILED;
    }
    g->open = true;
    return OPEN_READY;
}

guest *guest_open(engine *e, const linked *l, const guest_limits *limits, purse *tree, uint64_t key,
                  int *outcome, char **error) {
    *outcome = OPEN_EXHAUSTED;
    if (atomic_fetch_add(&e->guests, 1) >= e->max_guests) {
        atomic_fetch_sub(&e->guests, 1);
        return NULL;
    }
    guest *g = calloc(1, sizeof *g);
    if (g == NULL) {
        atomic_fetch_sub(&e->guests, 1);
        return NULL;
    }
    g->engine = e;
    g->key = key;
    g->limits = *limits;
    allowance_open(&g->time, limits->cpu_time, limits->cpu_renewal);
    g->tree = tree;
    if (tree != NULL) {
        purse_enter(tree);
    }
    futures_init(&g->futures);
    g->store = wasmtime_store_new(e->wasm, g, NULL);
    g->context = wasmtime_store_context(g->store);
    *outcome = bring_up(g, l, error);
    if (*outcome != OPEN_READY && *outcome != OPEN_TRAPPED) {
        guest_destroy(g);
        return NULL;
    }
    return g;
}

void guest_close(guest *g) {
    if (g->offloaded) {
        guest_interrupt(g);
        if (!workers_abandon(&g->engine->workers, g)) {
            return;
        }
    }
    guest_destroy(g);
}
