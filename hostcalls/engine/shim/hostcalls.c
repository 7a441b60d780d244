/* The functions that guests import: create, poll and drop of every hostcall, and yield_now
 * (docs/guests.md, "Create, poll, drop" and "The guest's mailbox").
 *
 * They run on the guest's fiber, so they touch the guest's record and its memory and nothing else; no Python
 * is ever called from here. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "failure.h"
#include "guest.h"
#include "pace.h"

static const uint32_t WORD_PENDING = 0x80000000u;
static const uint32_t WORD_FAILED = 0x80000001u;

/* So much waiting for the host makes the guest give way at its next loop or call. */
enum { GIVE_WAY_BYTES = 1 << 20, GIVE_WAY_COUNT = 1024 };

/* Which hostcall a `create` belongs to. */
typedef struct {
    uint32_t index;
    bool denied;
    bool clock;
    bool returns;
} operation;

static wasm_trap_t *trap_with(const char *text) {
    return wasmtime_trap_new(text, strlen(text));
}

/* A guest inside one of its imports. */
typedef struct {
    guest *guest;
    wasmtime_caller_t *caller;
    wasmtime_context_t *context;
    wasm_trap_t *trap; /* set if the import ends the guest; the answer then does not count */
} visit;

#define END_GUEST(v, fault, ...) ((v)->trap = trap_with(guest_fault((v)->guest, fault, __VA_ARGS__)))

static visit enter(wasmtime_caller_t *caller) {
    wasmtime_context_t *context = wasmtime_caller_context(caller);
    guest *g = wasmtime_context_get_data(context);
    g->in_hostcall = true;
    if (atomic_load_explicit(&g->has_mail, memory_order_acquire)) {
        guest_check_mail(g);
    }
    if (g->open) {
        mailbox_deliver(&g->mailbox, g->base);
    }
    return (visit){.guest = g, .caller = caller, .context = context};
}

static wasm_trap_t *leave(visit *v) {
    v->guest->in_hostcall = false;
    return v->trap;
}

/* Finds the guest's memory, and returns how much of it there is; 0 if it exports none. */
static size_t find_memory(visit *v, uint8_t **base) {
    guest *g = v->guest;
    *base = g->base;
    if (g->base != NULL) {
        return g->size = wasmtime_memory_data_size(v->context, &g->memory);
    }
    /* In the start function the instance is not known yet; its export is. */
    wasmtime_extern_t export;
    if (!wasmtime_caller_export_get(v->caller, "memory", 6, &export) || export.kind != EXTERN_MEMORY) {
        return 0;
    }
    *base = wasmtime_memory_data(v->context, &export.of.memory);
    return wasmtime_memory_data_size(v->context, &export.of.memory);
}

/* Returns the place of `size` bytes at the guest's `pointer`; ends the guest and returns NULL if there is
 * none. */
static uint8_t *locate(visit *v, int32_t pointer, uint32_t size) {
    uint64_t end = (uint64_t)(uint32_t)pointer + size;
    if (pointer >= 0 && end <= v->guest->size && v->guest->base != NULL) {
        return v->guest->base + pointer;
    }
    uint8_t *base;
    size_t limit = find_memory(v, &base);
    if (pointer >= 0 && end <= limit && base != NULL) {
        return base + pointer;
    }
    END_GUEST(v, FAULT_HOSTCALL, "hostcall with %u bytes at %d, outside a memory of %zu bytes", size, pointer,
              limit);
    return NULL;
}

/* Where the guest wants an answer. */
typedef struct {
    int32_t pointer;
    uint32_t room;
} destination;

/* Writes an error payload, cut to the guest's buffer, and returns the result word. */
static uint32_t answer_failure(visit *v, destination to, const void *message, size_t size) {
    if (to.room < FAILURE_SMALLEST) {
        END_GUEST(v, FAULT_HOSTCALL, "result buffer of %u bytes, where an error needs %d", to.room,
                  FAILURE_SMALLEST);
        return 0;
    }
    /* The payload may be shorter than the buffer, and only what is written must lie in memory. */
    size_t longest = FAILURE_SMALLEST + ((size + 3) & ~(size_t)3);
    uint32_t room = to.room < longest ? to.room : (uint32_t)longest;
    uint8_t *out = locate(v, to.pointer, room);
    if (out != NULL) {
        failure_encode(out, room, message, size);
    }
    return WORD_FAILED;
}

static uint32_t answer_result(visit *v, destination to, const future *f) {
    if (f->size > to.room) {
        END_GUEST(v, FAULT_HOSTCALL, "result of %u bytes, larger than the buffer of %u", f->size, to.room);
        return 0;
    }
    uint8_t *out = locate(v, to.pointer, f->size);
    if (out != NULL && f->size > 0) {
        memcpy(out, f->payload, f->size);
    }
    return f->size;
}

static uint32_t answer_unknown(visit *v, destination to) {
    static const char message[] = "resource not found";
    return answer_failure(v, to, message, sizeof message - 1);
}

static uint32_t answer_denied(visit *v, destination to) {
    static const char message[] = "permission denied";
    return answer_failure(v, to, message, sizeof message - 1);
}

static uint32_t add_future(visit *v, future_state state) {
    guest *g = v->guest;
    uint32_t id = futures_add(&g->futures, state, g->limits.futures);
    if (id == NO_FUTURE) {
        END_GUEST(v, FAULT_LIMIT, "more than %u futures (limit futures)", g->limits.futures);
    }
    return id;
}

/* Returns a new future for an operation that makes the host hold `size` bytes; NO_FUTURE if the guest may not. */
static uint32_t add_pending(visit *v, size_t size) {
    guest *g = v->guest;
    if (g->submitted.size + g->futures.held + size > g->limits.queued_bytes) {
        END_GUEST(v, FAULT_LIMIT, "more than %llu bytes queued (limit queued_bytes)",
                  (unsigned long long)g->limits.queued_bytes);
        return NO_FUTURE;
    }
    return add_future(v, FUTURE_PENDING);
}

/* Answers with the time of day and the time since somebody first asked, in milliseconds. */
static uint32_t read_clock(visit *v, int32_t pointer, uint32_t size) {
    guest *g = v->guest;
    uint64_t answer[2];
    if (locate(v, pointer, size) == NULL) {
        return 0;
    }
    uint32_t id = add_pending(v, sizeof answer);
    if (id == NO_FUTURE) {
        return 0;
    }
    struct timespec day;
    clock_gettime(CLOCK_REALTIME, &day);
    uint64_t now = monotonic_now(), first = 0;
    if (atomic_compare_exchange_strong(&g->engine->first_clock, &first, now)) {
        first = now;
    }
    answer[0] = (uint64_t)day.tv_sec * 1000 + (uint64_t)day.tv_nsec / 1000000;
    answer[1] = now > first ? (now - first) / 1000000 : 0;
    bool woken;
    uint32_t task;
    if (futures_resolve(&g->futures, futures_key(&g->futures, id), FUTURE_READY, (const uint8_t *)answer,
                        sizeof answer, SIZE_MAX, &woken, &task) != RESOLVE_STORED) {
        END_GUEST(v, FAULT_LIMIT, "no memory for a result of %zu bytes", sizeof answer);
    }
    return id;
}

static uint32_t refuse(visit *v, uint32_t index) {
    guest_report_refusal(v->guest, index);
    return add_future(v, FUTURE_DENIED);
}

static void submit(visit *v, uint32_t id, uint32_t index, const uint8_t *arguments, uint32_t size) {
    guest *g = v->guest;
    if (!guest_submit(g, futures_key(&g->futures, id), index, arguments, size)) {
        END_GUEST(v, FAULT_LIMIT, "no memory for a submission of %u bytes", size);
    }
    if (g->submitted.size > GIVE_WAY_BYTES || g->submitted_count > GIVE_WAY_COUNT) {
        pace_give_way(g);
    }
}

static uint32_t begin_operation(visit *v, const operation *op, int32_t pointer, uint32_t size) {
    const uint8_t *arguments = locate(v, pointer, size);
    if (arguments == NULL) {
        return 0;
    }
    uint32_t id = add_pending(v, size);
    if (id == NO_FUTURE) {
        return 0;
    }
    future *f = futures_find(&v->guest->futures, id);
    f->index = op->index;
    f->returns = op->returns;
    submit(v, id, op->index, arguments, size);
    return id;
}

/* Tells the host what has become of a future, in the order of what it was told before. Such records have no limit of
 * their own: there is at most one for each operation, and for each future that may live. */
static void report_end(visit *v, uint32_t id, uint32_t how) {
    submit(v, id, how, NULL, 0);
}

static uint32_t poll_future(visit *v, uint32_t id, uint32_t task, destination to) {
    guest *g = v->guest;
    future *f = futures_find(&g->futures, id);
    if (f == NULL) {
        return answer_unknown(v, to);
    }
    if (f->state == FUTURE_DENIED) {
        futures_remove(&g->futures, id);
        return answer_denied(v, to);
    }
    if (!g->open) {
        END_GUEST(v, FAULT_HOSTCALL, "poll before the mailbox exists");
        return 0;
    }
    if (f->state == FUTURE_PENDING) {
        f->waited = true;
        f->task = task;
        return WORD_PENDING;
    }
    /* Ready: the task is woken all the same, since the guest frees what the id stands for when it takes it.
     */
    uint32_t word = 0;
    if (!mailbox_enqueue(&g->mailbox, task, g->limits.futures)) {
        END_GUEST(v, FAULT_LIMIT, "more than %u task ids wait for the mailbox (limit futures)", g->limits.futures);
    } else if (f->state == FUTURE_FAILED) {
        word = answer_failure(v, to, f->payload, f->size);
    } else {
        word = answer_result(v, to, f);
    }
    mailbox_deliver(&g->mailbox, g->base);
    if (f->state == FUTURE_OFFERED) {
        report_end(v, id, RECORD_TAKEN);
    }
    futures_remove(&g->futures, id);
    return word;
}

static uint32_t drop_future(visit *v, uint32_t id, destination to) {
    guest *g = v->guest;
    future *f = futures_find(&g->futures, id);
    if (f == NULL) {
        return answer_unknown(v, to);
    }
    if (f->state == FUTURE_PENDING || f->state == FUTURE_OFFERED) {
        report_end(v, id, RECORD_DROPPED);
    } else if (f->state == FUTURE_READY && f->returns && !guest_return(g, id)) {
        END_GUEST(v, FAULT_LIMIT, "no memory for a result of %u bytes that returns", f->size);
    }
    futures_remove(&g->futures, id);
    return 0;
}

/* --- the imports as Wasmtime calls them --- */

static wasm_trap_t *create(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values, size_t count) {
    (void)count;
    const operation *op = env;
    visit v = enter(caller);
    int32_t pointer = values[0].i32;
    uint32_t size = (uint32_t)values[1].i32;
    uint32_t id = op->denied  ? refuse(&v, op->index)
                  : op->clock ? read_clock(&v, pointer, size)
                              : begin_operation(&v, op, pointer, size);
    values[0].i32 = (int32_t)id;
    return leave(&v);
}

static wasm_trap_t *poll(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values, size_t count) {
    (void)env;
    (void)count;
    visit v = enter(caller);
    destination to = {.pointer = values[2].i32, .room = (uint32_t)values[3].i32};
    values[0].i32 = (int32_t)poll_future(&v, (uint32_t)values[0].i32, (uint32_t)values[1].i32, to);
    return leave(&v);
}

static wasm_trap_t *drop(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values, size_t count) {
    (void)env;
    (void)count;
    visit v = enter(caller);
    destination to = {.pointer = values[1].i32, .room = (uint32_t)values[2].i32};
    values[0].i32 = (int32_t)drop_future(&v, (uint32_t)values[0].i32, to);
    return leave(&v);
}

/* Whether yield_now is over. Called when the guest enters it and at each resumption. */
static bool unpark(void *env) {
    guest *g = env;
    if (atomic_load_explicit(&g->has_mail, memory_order_acquire)) {
        guest_check_mail(g);
    }
    int order = atomic_load(&g->order);
    if (order != FAULT_NONE) {
        *g->park_trap = trap_with(guest_obey(g, order));
    } else {
        mailbox_deliver(&g->mailbox, g->base);
        if (!mailbox_signalled(g->base) && !atomic_exchange(&g->released, false)) {
            return false;
        }
    }
    g->parked = g->in_hostcall = false;
    return true;
}

static bool at_once(void *env) {
    (void)env;
    return true;
}

static void yield_now(void *env, wasmtime_caller_t *caller, const wasmtime_val_t *arguments,
                      size_t argument_count, wasmtime_val_t *results, size_t result_count, wasm_trap_t **trap,
                      wasmtime_async_continuation_t *continuation) {
    (void)env;
    (void)arguments;
    (void)argument_count;
    (void)results;
    (void)result_count;
    visit v = enter(caller);
    guest *g = v.guest;
    if (!g->open) {
        END_GUEST(&v, FAULT_HOSTCALL, "yield_now before the mailbox exists");
        *trap = leave(&v);
        continuation->callback = at_once;
        return;
    }
    g->parked = true;
    g->park_trap = trap;
    continuation->callback = unpark;
    continuation->env = g;
}

static wasm_functype_t *function_type(size_t parameters, size_t results) {
    wasm_valtype_t *kinds[4];
    wasm_valtype_vec_t in, out;
    for (size_t i = 0; i < parameters; i++) {
        kinds[i] = wasm_valtype_new(VALUE_I32);
    }
    wasm_valtype_vec_new(&in, parameters, kinds);
    for (size_t i = 0; i < results; i++) {
        kinds[i] = wasm_valtype_new(VALUE_I32);
    }
    wasm_valtype_vec_new(&out, results, kinds);
    return wasm_functype_new(&in, &out);
}

static wasmtime_error_t *define(wasmtime_linker_t *linker, const char *module, const char *name,
                                size_t parameters, wasmtime_func_unchecked_callback_t callback, void *env) {
    wasm_functype_t *type = function_type(parameters, 1);
    wasmtime_error_t *error = wasmtime_linker_define_func_unchecked(
        linker, module, strlen(module), name, strlen(name), type, callback, env, env == NULL ? NULL : free);
    wasm_functype_delete(type);
    return error;
}

wasmtime_error_t *hostcalls_define(wasmtime_linker_t *linker, const hostcall_import *imports, size_t count) {
    wasm_functype_t *type = function_type(0, 0);
    wasmtime_error_t *error = wasmtime_linker_define_async_func(linker, "selium::async", 13, "yield_now", 9,
                                                                type, yield_now, NULL, NULL);
    wasm_functype_delete(type);
    for (size_t i = 0; i < count && error == NULL; i++) {
        operation *op = malloc(sizeof *op);
        if (op == NULL) {
            return wasmtime_error_new("no memory for a hostcall");
        }
        *op = (operation){.index = imports[i].index,
                          .denied = imports[i].denied,
                          .clock = imports[i].clock,
                          .returns = imports[i].returns};
        error = define(linker, imports[i].module_name, "create", 2, create, op);
        if (error == NULL) {
            error = define(linker, imports[i].module_name, "poll", 4, poll, NULL);
        }
        if (error == NULL) {
            error = define(linker, imports[i].module_name, "drop", 3, drop, NULL);
        }
    }
    return error;
}
