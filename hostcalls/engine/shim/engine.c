#include "engine.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "text.h"

enum {
    /* Fiber stack beyond the wasm stack, for the hostcalls and for Wasmtime's own frames. */
    HOST_STACK = 128 * 1024,
    /* Bytes of a dead guest's memory that are zeroed for the next one rather than given back. */
    KEPT_MEMORY = 16 * 1024,
    TABLES_PER_MODULE = 4,
    GUARD_PAGE = 64 * 1024, /* below each stack, at most */
    /* Address space that must be left for the threads and for what Wasmtime notes down. */
    SPARE_SPACE = 128 * 1024 * 1024,
};

static void set_pool(wasm_config_t *config, const engine_sizes *sizes) {
    pool_config *pool = wasmtime_pooling_allocation_config_new();
    wasmtime_pooling_allocation_config_total_core_instances_set(pool, sizes->max_guests);
    wasmtime_pooling_allocation_config_total_memories_set(pool, sizes->max_guests);
    wasmtime_pooling_allocation_config_total_tables_set(pool, sizes->max_guests * TABLES_PER_MODULE);
    wasmtime_pooling_allocation_config_total_stacks_set(pool, sizes->max_guests);
    wasmtime_pooling_allocation_config_total_gc_heaps_set(pool, 0);
    wasmtime_pooling_allocation_config_max_tables_per_module_set(pool, TABLES_PER_MODULE);
    wasmtime_pooling_allocation_config_max_memory_size_set(pool, sizes->max_memory);
    wasmtime_pooling_allocation_config_table_elements_set(pool, sizes->max_elements);
    wasmtime_pooling_allocation_config_linear_memory_keep_resident_set(pool, KEPT_MEMORY);
    wasmtime_pooling_allocation_config_table_keep_resident_set(pool, KEPT_MEMORY);
    wasmtime_pooling_allocation_strategy_set(config, pool);
    wasmtime_pooling_allocation_config_delete(pool);
}

/* Everything that decides the machine code. */
static wasm_config_t *make_config(const engine_sizes *sizes) {
    wasm_config_t *config = wasm_config_new();
    wasmtime_config_cranelift_opt_level_set(config, OPTIMISE_SPEED);
    if (sizes->fuel == 0) {
        wasmtime_config_epoch_interruption_set(config, true);
    } else {
        wasmtime_config_consume_fuel_set(config, true);
        wasmtime_config_cranelift_nan_canonicalization_set(config, true);
        wasmtime_config_wasm_relaxed_simd_deterministic_set(config, true);
    }
    wasmtime_config_max_wasm_stack_set(config, sizes->wasm_stack);
    wasmtime_config_async_stack_size_set(config, sizes->wasm_stack + HOST_STACK);
    wasmtime_config_memory_reservation_set(config, sizes->reservation);
    wasmtime_config_memory_guard_size_set(config, sizes->guard);
    wasmtime_config_memory_may_move_set(config, false);
    /* One 32-bit memory of its own is all that the guest ABI knows. Each of these proposals would bring
     * memory that the limits of a guest do not see, or a second stack. */
    wasmtime_config_wasm_threads_set(config, false);
    wasmtime_config_wasm_memory64_set(config, false);
    wasmtime_config_wasm_multi_memory_set(config, false);
    wasmtime_config_wasm_gc_set(config, false);
    wasmtime_config_wasm_function_references_set(config, false);
    wasmtime_config_wasm_exceptions_set(config, false);
    wasmtime_config_wasm_stack_switching_set(config, false);
    return config;
}

/* Asks the kernel for what the pool will map, and gives it back. Wasmtime ends the process if it is refused
 * there. */
static bool pool_fits(const engine_sizes *sizes) {
    size_t guests = sizes->max_guests;
    size_t stack = sizes->wasm_stack + HOST_STACK + GUARD_PAGE;
    size_t reserved = guests * (sizes->reservation + sizes->guard) + sizes->guard;
    size_t used = guests * (stack + TABLES_PER_MODULE * sizes->max_elements * 8) + SPARE_SPACE;
    void *memories = mmap(NULL, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    void *others =
        mmap(NULL, used, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    bool fits = memories != MAP_FAILED && others != MAP_FAILED;
    if (memories != MAP_FAILED) {
        munmap(memories, reserved);
    }
    if (others != MAP_FAILED) {
        munmap(others, used);
    }
    return fits;
}

static void stop_ticker(engine *e) {
    if (e->fuel == 0) {
        ticker_stop(&e->ticker);
    }
}

engine *engine_open(const engine_sizes *sizes, char **error) {
    if (!pool_fits(sizes)) {
        *error = text_format("the kernel does not grant the address space for %u guests; lower max_guests, "
                             "max_memory or stack",
                             sizes->max_guests);
        return NULL;
    }
    engine *e = calloc(1, sizeof *e);
    if (e == NULL) {
        *error = text_copy("no memory");
        return NULL;
    }
    e->max_guests = sizes->max_guests;
    e->fuel = sizes->fuel;
    wasm_config_t *config = make_config(sizes);
    set_pool(config, sizes);
    e->wasm = wasm_engine_new_with_config(config);
    int failure = e->fuel == 0 ? ticker_start(&e->ticker, e->wasm, sizes->tick) : 0;
    if (failure == 0) {
        failure = workers_start(&e->workers, sizes->workers);
        if (failure != 0) {
            stop_ticker(e);
        }
    }
    if (failure != 0) {
        *error = text_format("the engine's threads cannot be started: %s", strerror(failure));
        wasm_engine_delete(e->wasm);
        free(e);
        return NULL;
    }
    return e;
}

void engine_close(engine *e) {
    /* The ticker runs while the workers end, so that an abandoned guest that computes is stopped. */
    workers_stop(&e->workers);
    stop_ticker(e);
    wasm_engine_delete(e->wasm);
    buffer_free(&e->encoding);
    free(e);
}

int engine_fileno(const engine *e) {
    return e->workers.event;
}

size_t engine_stopped(engine *e, stopped_guest *found, size_t room) {
    return workers_take(&e->workers, found, room);
}

uint32_t engine_guests(engine *e) {
    return atomic_load(&e->guests);
}

const uint8_t *engine_stage(const engine *e) {
    return e->stage;
}

void engine_set_clock(engine *e, uint64_t nanoseconds) {
    e->clock = nanoseconds;
}

uint64_t engine_take_spent(engine *e) {
    uint64_t spent = e->spent;
    e->spent = 0;
    return spent;
}

wasm_engine_t *compiler_open(engine *e) {
    return wasmtime_engine_clone(e->wasm);
}

wasm_engine_t *compiler_alone(const engine_sizes *sizes) {
    wasm_config_t *config = make_config(sizes);
    wasmtime_config_parallel_compilation_set(config, false);
    return wasm_engine_new_with_config(config);
}

void compiler_free(wasm_engine_t *compiler) {
    wasm_engine_delete(compiler);
}

void memory_free(void *data) {
    free(data);
}
