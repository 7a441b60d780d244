/* What the raw C API costs: the floor that the benchmarks compare the engine with.
 *
 *     raw LIBWASMTIME MODULE.wasm COUNT
 *
 * The module must export a function `park`, which calls yield_now for ever, and may import nothing else. It
 * is opened with the engine's own configuration, so that only the work around Wasmtime differs. Prints one
 * JSON object, in nanoseconds: `spawn` (store, limits, instance, memory grown to 16 MiB, call begun and
 * parked, all of it deleted), `instantiate` (store, limits, instance, deleted), `resume` (one poll of a
 * parked call). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../engine.h"
#include "../linked.h"
#include "../module.h"

static const uint64_t GROWN_PAGES = 256;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void fail(const char *text) {
    fprintf(stderr, "raw: %s\n", text);
    exit(1);
}

static uint8_t *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(1 << 24);
    if (file == NULL || data == NULL) {
        fail("cannot read the module");
    }
    *size = fread(data, 1, 1 << 24, file);
    fclose(file);
    return data;
}

/* Parks for ever: the benchmark's own yield_now, which needs no guest record. */
static bool never(void *env) {
    (void)env;
    return false;
}

static void park(void *env, wasmtime_caller_t *caller, const wasmtime_val_t *arguments, size_t argument_count,
                 wasmtime_val_t *results, size_t result_count, wasm_trap_t **trap,
                 wasmtime_async_continuation_t *continuation) {
    (void)env;
    (void)caller;
    (void)arguments;
    (void)argument_count;
    (void)results;
    (void)result_count;
    (void)trap;
    continuation->callback = never;
}

typedef struct {
    wasmtime_store_t *store;
    wasmtime_context_t *context;
    wasmtime_instance_t instance;
    wasm_trap_t *trap;
    wasmtime_error_t *error;
} raw_guest;

static void raw_instantiate(raw_guest *g, engine *e, wasmtime_instance_pre_t *pre) {
    *g = (raw_guest){0};
    g->store = wasmtime_store_new(e->wasm, NULL, NULL);
    g->context = wasmtime_store_context(g->store);
    wasmtime_store_limiter(g->store, 64 << 20, 10000, 1, -1, 1);
    wasmtime_context_set_epoch_deadline(g->context, 1000000);
    wasmtime_call_future_t *call =
        wasmtime_instance_pre_instantiate_async(pre, g->context, &g->instance, &g->trap, &g->error);
    while (!wasmtime_call_future_poll(call))
        ;
    wasmtime_call_future_delete(call);
    if (g->trap != NULL || g->error != NULL) {
        fail("cannot instantiate");
    }
}

static void raw_grow(raw_guest *g) {
    wasmtime_extern_t memory;
    uint64_t before;
    if (!wasmtime_instance_export_get(g->context, &g->instance, "memory", 6, &memory)) {
        fail("no memory");
    }
    uint64_t pages = wasmtime_memory_data_size(g->context, &memory.of.memory) / 65536;
    if (pages < GROWN_PAGES &&
        wasmtime_memory_grow(g->context, &memory.of.memory, GROWN_PAGES - pages, &before) != NULL) {
        fail("cannot grow");
    }
}

static wasmtime_call_future_t *raw_call(raw_guest *g, wasmtime_extern_t *export) {
    if (!wasmtime_instance_export_get(g->context, &g->instance, "park", 4, export)) {
        fail("no park");
    }
    wasmtime_call_future_t *call =
        wasmtime_func_call_async(g->context, &export->of.func, NULL, 0, NULL, 0, &g->trap, &g->error);
    if (wasmtime_call_future_poll(call)) {
        fail("park returned");
    }
    return call;
}

static double measure_instantiate(engine *e, wasmtime_instance_pre_t *pre, int count) {
    double start = now();
    for (int i = 0; i < count; i++) {
        raw_guest g;
        raw_instantiate(&g, e, pre);
        wasmtime_store_delete(g.store);
    }
    return (now() - start) / count;
}

/* Guests that are alive at a time: as many as in the other rows of the benchmark. */
enum { CROWD = 100 };

static double measure_spawn(engine *e, wasmtime_instance_pre_t *pre, int count) {
    static raw_guest crowd[CROWD];
    static wasmtime_extern_t exports[CROWD];
    static wasmtime_call_future_t *calls[CROWD];
    double start = now();
    for (int done = 0; done < count; done += CROWD) {
        for (int i = 0; i < CROWD; i++) {
            raw_instantiate(&crowd[i], e, pre);
            raw_grow(&crowd[i]);
            calls[i] = raw_call(&crowd[i], &exports[i]);
        }
        for (int i = 0; i < CROWD; i++) {
            wasmtime_call_future_delete(calls[i]);
            wasmtime_store_delete(crowd[i].store);
        }
    }
    return (now() - start) / ((count + CROWD - 1) / CROWD * CROWD);
}

static double measure_resume(engine *e, wasmtime_instance_pre_t *pre, int count) {
    raw_guest g;
    wasmtime_extern_t export;
    raw_instantiate(&g, e, pre);
    wasmtime_call_future_t *call = raw_call(&g, &export);
    double start = now();
    for (int i = 0; i < count; i++) {
        if (wasmtime_call_future_poll(call)) {
            fail("park returned");
        }
    }
    double each = (now() - start) / count;
    wasmtime_call_future_delete(call);
    wasmtime_store_delete(g.store);
    return each;
}

int main(int argc, char **argv) {
    char *error = NULL;
    if (argc != 4) {
        fail("usage: raw LIBWASMTIME MODULE.wasm COUNT");
    }
    int count = atoi(argv[3]);
    if (!library_load(argv[1], &error)) {
        fail(error);
    }
    engine_sizes sizes = {.max_guests = 1000,
                          .max_memory = 256 << 20,
                          .reservation = 4ull << 30,
                          .guard = 32 << 20,
                          .max_elements = 20000,
                          .wasm_stack = 512 << 10,
                          .tick = 1000000,
                          .workers = 0};
    engine *e = engine_open(&sizes, &error);
    if (e == NULL) {
        fail(error);
    }
    size_t size;
    uint8_t *source = read_file(argv[2], &size);
    module *m = module_compile(e->wasm, source, size, &error);
    if (m == NULL) {
        fail(error);
    }
    wasmtime_linker_t *linker = wasmtime_linker_new(e->wasm);
    wasm_valtype_vec_t none1 = {0}, none2 = {0};
    wasm_functype_t *type = wasm_functype_new(&none1, &none2);
    wasmtime_instance_pre_t *pre = NULL;
    if (wasmtime_linker_define_async_func(linker, "selium::async", 13, "yield_now", 9, type, park, NULL,
                                          NULL) != NULL ||
        wasmtime_linker_instantiate_pre(linker, m->wasm, &pre) != NULL) {
        fail("cannot link");
    }
    wasm_functype_delete(type);
    measure_spawn(e, pre, 2 * CROWD); /* every place for a guest is warm then */
    double spawn = measure_spawn(e, pre, count);
    double instantiate = measure_instantiate(e, pre, count);
    double resume = measure_resume(e, pre, count);
    printf("{\"spawn\": %.0f, \"instantiate\": %.0f, \"resume\": %.0f}\n", spawn, instantiate, resume);
    wasmtime_instance_pre_delete(pre);
    wasmtime_linker_delete(linker);
    module_free(m);
    engine_close(e);
    free(source);
    return 0;
}
