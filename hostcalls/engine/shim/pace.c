#include "pace.h"

#include <time.h>

/* Fuel that a slice begins with: more than any uses. */
static const uint64_t FULL = (uint64_t)1 << 62;

static bool by_fuel(const guest *g) {
    return g->engine->fuel != 0;
}

/* Refusals would be mistakes of the shim: the engine has fuel, and the interval is none of zero. */
static void ignore(wasmtime_error_t *error) {
    if (error != NULL) {
        wasmtime_error_delete(error);
    }
}

static void set_fuel(guest *g, uint64_t fuel) {
    g->fuel = fuel;
    ignore(wasmtime_context_set_fuel(g->context, fuel));
}

static void give_way_after(guest *g, uint64_t fuel) {
    ignore(wasmtime_context_fuel_async_yield_interval(g->context, fuel));
}

static uint64_t used_fuel(const guest *g) {
    uint64_t left = g->fuel;
    ignore(wasmtime_context_get_fuel(g->context, &left));
    return g->used_fuel + (g->fuel - left);
}

/* Nanoseconds that this thread has had the processor. What a guest may use for its start function is little,
 * and that others had the processor meanwhile must not count. */
static uint64_t thread_time(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t start_now(const guest *g) {
    return by_fuel(g) ? pace_now(g) : thread_time();
}

/* What the guest must end with, by the host's order or by its limits, if it must. */
static int due_order(const guest *g) {
    int order = atomic_load(&g->order);
    if (order == FAULT_NONE && guest_overdue(g, pace_now(g))) {
        order = FAULT_CPU_TIME;
    }
    if (order == FAULT_NONE && g->starting && start_now(g) - g->start_begun > g->limits.start_time) {
        order = FAULT_START_TIME;
    }
    return order;
}

/* Called on the fiber when the epoch has moved on: the guest gives way, or ends. */
static wasmtime_error_t *on_deadline(wasmtime_context_t *context, void *env, uint64_t *delta, uint8_t *kind) {
    (void)context;
    guest *g = env;
    int order = due_order(g);
    if (order != FAULT_NONE) {
        return wasmtime_error_new(guest_obey(g, order));
    }
    *delta = 1;
    *kind = DEADLINE_YIELD;
    return NULL;
}

/* Lets the guest go on, or, without fuel, end. */
static void obey_or_go_on(guest *g) {
    int order = due_order(g);
    if (order != FAULT_NONE) {
        guest_obey(g, order);
        g->used_fuel = used_fuel(g);
        set_fuel(g, 0);
    }
}

static void begin_clocks(guest *g) {
    g->run_start = pace_now(g);
    if (g->starting) {
        g->start_begun = start_now(g);
    }
}

void pace_open(guest *g) {
    if (!by_fuel(g)) {
        wasmtime_store_epoch_deadline_callback(g->store, on_deadline, g, NULL);
    }
}

void pace_begin(guest *g) {
    g->giving_way = false;
    if (by_fuel(g)) {
        g->used_fuel = 0;
        set_fuel(g, FULL);
        give_way_after(g, g->engine->fuel);
        begin_clocks(g);
        obey_or_go_on(g);
    } else {
        begin_clocks(g);
        ticker_begin(&g->engine->ticker);
        if (guest_overdue(g, g->run_start)) {
            guest_order(g, FAULT_CPU_TIME);
        }
        wasmtime_context_set_epoch_deadline(g->context, atomic_load(&g->order) == FAULT_NONE ? 1 : 0);
    }
}

void pace_go_on(guest *g) {
    if (by_fuel(g)) {
        obey_or_go_on(g);
    } else {
        wasmtime_context_set_epoch_deadline(g->context, 1);
    }
}

void pace_end(guest *g) {
    if (!by_fuel(g)) {
        ticker_end(&g->engine->ticker);
    }
}

/* Compiled code keeps the epoch's deadline in a register and looks only at the epoch, so it is the epoch that must
 * move; a guest on another worker may lose the rest of its slice too. */
void pace_give_way(guest *g) {
    if (!g->giving_way) {
        if (by_fuel(g)) {
            give_way_after(g, 1);
        } else {
            wasmtime_engine_increment_epoch(g->engine->wasm);
        }
    }
    g->giving_way = true;
}

uint64_t pace_now(const guest *g) {
    return by_fuel(g) ? g->engine->clock + used_fuel(g) : monotonic_now();
}

void pace_spent(guest *g, uint64_t now) {
    if (by_fuel(g)) {
        g->engine->spent += now - g->engine->clock;
        g->engine->clock = now;
    }
}
