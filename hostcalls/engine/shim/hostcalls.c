/* The functions that guests import: create, poll and drop of every hostcall, and yield_now (guest ABI,
 * sections 1, 2).
 *
 * They run on the guest's fiber, so they touch the guest's record and its memory and nothing else; no Python
 * is ever called from here. */
#include <stdlib.h>
#include <string.h>

#include "failure.h"
#include "guest.h"

static const uint32_t WORD_PENDING = 0x80000000u;
static const uint32_t WORD_FAILED = 0x80000001u;

/* So much waiting for the host makes the guest give way at its next loop or call. */
enum { GIVE_WAY_BYTES = 1 << 20, GIVE_WAY_COUNT = 1024 };

/* Which hostcall a `create` belongs to. */
typedef struct {
    uint32_t index;
    bool denied;
} operation;

static const char NOT_FOUND[] = "resource not found";
static const char DENIED[] = "permission denied";

/* Ends the guest's time slice at its next loop or call. Compiled code keeps the deadline in a register and
 * looks only at the epoch, so it is the epoch that must move; a guest on another worker may lose the rest of
 * its slice too. */
static void give_way(guest *g)
{
    if (!g->giving_way)
        wasmtime_engine_increment_epoch(g->engine->wasm);
    g->giving_way = true;
}

static wasm_trap_t *trap_with(const char *text)
{
    return wasmtime_trap_new(text, strlen(text));
}

static guest *enter(wasmtime_caller_t *caller, wasmtime_context_t **context)
{
    *context = wasmtime_caller_context(caller);
    guest *g = wasmtime_context_get_data(*context);
    g->in_hostcall = true;
    if (atomic_load_explicit(&g->has_mail, memory_order_acquire))
        guest_check_mail(g);
    if (g->open)
        mailbox_deliver(&g->mailbox, g->base);
    return g;
}

static wasm_trap_t *leave(guest *g, wasm_trap_t *trap)
{
    g->in_hostcall = false;
    return trap;
}

/* Returns the place of `size` bytes at the guest's `pointer`, or NULL with a trap. */
static uint8_t *locate(guest *g, wasmtime_caller_t *caller, wasmtime_context_t *context, int32_t pointer,
                       uint32_t size, wasm_trap_t **trap)
{
    uint8_t *base = g->base;
    size_t limit = g->size;
    if (base == NULL) {
        /* In the start function the instance is not known yet; its export is. */
        wasmtime_extern_t export;
        if (!wasmtime_caller_export_get(caller, "memory", 6, &export) || export.kind != EXTERN_MEMORY) {
            *trap = trap_with(guest_fault(g, FAULT_HOSTCALL, "hostcall of a module that exports no memory"));
            return NULL;
        }
        base = wasmtime_memory_data(context, &export.of.memory);
        limit = wasmtime_memory_data_size(context, &export.of.memory);
    } else if (pointer < 0 || (uint64_t)pointer + size > limit) {
        limit = g->size = wasmtime_memory_data_size(context, &g->memory);
    }
    if (pointer < 0 || (uint64_t)pointer + size > limit) {
        *trap = trap_with(guest_fault(g, FAULT_HOSTCALL,
                                      "hostcall with %u bytes at %d, outside a memory of %zu bytes", size,
                                      pointer, limit));
        return NULL;
    }
    return base + pointer;
}

/* Writes an error payload, cut to the guest's buffer, and sets the result word. */
static wasm_trap_t *answer_failure(guest *g, wasmtime_caller_t *caller, wasmtime_context_t *context,
                                   int32_t pointer, uint32_t room, const void *message, size_t size,
                                   wasmtime_val_raw_t *word)
{
    if (room < FAILURE_SMALLEST)
        return trap_with(guest_fault(g, FAULT_HOSTCALL, "result buffer of %u bytes, where an error needs %d",
                                     room, FAILURE_SMALLEST));
    /* The payload may be shorter than the buffer, and only what is written must lie in memory. */
    size_t longest = 4 + 8 + ((size + 3) & ~(size_t)3);
    if (room > longest)
        room = (uint32_t)longest;
    wasm_trap_t *trap = NULL;
    uint8_t *out = locate(g, caller, context, pointer, room, &trap);
    if (out != NULL) {
        failure_encode(out, room, message, size);
        word->i32 = (int32_t)WORD_FAILED;
    }
    return trap;
}

/* Leaves the operation in the queue for the host. Returns false if there is no memory. */
static bool submit(guest *g, uint64_t key, uint32_t index, const uint8_t *arguments, uint32_t size)
{
    size_t padded = ((size_t)size + 7) & ~(size_t)7;
    uint8_t *record = buffer_extend(&g->submitted, 16 + padded);
    if (record == NULL)
        return false;
    memcpy(record, &key, 8);
    memcpy(record + 8, &index, 4);
    memcpy(record + 12, &size, 4);
    memcpy(record + 16, arguments, size);
    memset(record + 16 + size, 0, padded - size);
    g->submitted_count++;
    return true;
}

static wasm_trap_t *create(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values, size_t count)
{
    (void)count;
    const operation *op = env;
    wasmtime_context_t *context;
    guest *g = enter(caller, &context);
    const uint8_t *arguments = NULL;
    uint32_t size = 0;
    if (!op->denied) {
        wasm_trap_t *trap = NULL;
        size = (uint32_t)values[1].i32;
        arguments = locate(g, caller, context, values[0].i32, size, &trap);
        if (arguments == NULL)
            return leave(g, trap);
        if (g->submitted.size + g->futures.held + size > g->limits.queued_bytes)
            return leave(g, trap_with(guest_fault(g, FAULT_LIMIT, "more than %llu bytes queued",
                                                  (unsigned long long)g->limits.queued_bytes)));
    }
    uint32_t id = futures_add(&g->futures, op->denied ? FUTURE_DENIED : FUTURE_PENDING, g->limits.futures);
    if (id == NO_FUTURE)
        return leave(g, trap_with(guest_fault(g, FAULT_LIMIT, "more than %u futures", g->limits.futures)));
    if (!op->denied && !submit(g, futures_key(&g->futures, id), op->index, arguments, size))
        return leave(g,
                     trap_with(guest_fault(g, FAULT_LIMIT, "no memory for a submission of %u bytes", size)));
    if (g->submitted.size > GIVE_WAY_BYTES || g->submitted_count > GIVE_WAY_COUNT)
        give_way(g);
    values[0].i32 = (int32_t)id;
    return leave(g, NULL);
}

static wasm_trap_t *poll(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values, size_t count)
{
    (void)env;
    (void)count;
    wasmtime_context_t *context;
    guest *g = enter(caller, &context);
    uint32_t id = (uint32_t)values[0].i32;
    uint32_t task = (uint32_t)values[1].i32;
    int32_t pointer = values[2].i32;
    uint32_t room = (uint32_t)values[3].i32;
    future *f = futures_find(&g->futures, id);
    wasm_trap_t *trap = NULL;
    if (f == NULL)
        return leave(g, answer_failure(g, caller, context, pointer, room, NOT_FOUND, sizeof NOT_FOUND - 1,
                                       &values[0]));
    if (!g->open)
        return leave(g, trap_with(guest_fault(g, FAULT_HOSTCALL, "poll before the mailbox exists")));
    if (f->state == FUTURE_DENIED) {
        futures_remove(&g->futures, id);
        return leave(
            g, answer_failure(g, caller, context, pointer, room, DENIED, sizeof DENIED - 1, &values[0]));
    }
    if (f->state == FUTURE_PENDING) {
        f->waited = true;
        f->task = task;
        values[0].i32 = (int32_t)WORD_PENDING;
        return leave(g, NULL);
    }
    /* Ready: the task is woken all the same, since its guest frees what the id stands for when it takes it.
     */
    if (!mailbox_enqueue(&g->mailbox, task, g->limits.futures))
        trap = trap_with(
            guest_fault(g, FAULT_LIMIT, "more than %u task ids wait for the mailbox", g->limits.futures));
    mailbox_deliver(&g->mailbox, g->base);
    if (trap == NULL && f->state == FUTURE_FAILED) {
        trap = answer_failure(g, caller, context, pointer, room, f->payload, f->size, &values[0]);
    } else if (trap == NULL && f->size > room) {
        trap = trap_with(guest_fault(g, FAULT_HOSTCALL, "result of %u bytes, larger than the buffer of %u",
                                     f->size, room));
    } else if (trap == NULL) {
        uint8_t *out = locate(g, caller, context, pointer, f->size, &trap);
        if (out != NULL) {
            if (f->size > 0)
                memcpy(out, f->payload, f->size);
            values[0].i32 = (int32_t)f->size;
        }
    }
    futures_remove(&g->futures, id);
    return leave(g, trap);
}

static wasm_trap_t *drop(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values, size_t count)
{
    (void)env;
    (void)count;
    wasmtime_context_t *context;
    guest *g = enter(caller, &context);
    uint32_t id = (uint32_t)values[0].i32;
    future *f = futures_find(&g->futures, id);
    if (f == NULL)
        return leave(g, answer_failure(g, caller, context, values[1].i32, (uint32_t)values[2].i32, NOT_FOUND,
                                       sizeof NOT_FOUND - 1, &values[0]));
    if (f->state == FUTURE_PENDING) {
        uint64_t key = futures_key(&g->futures, id);
        uint8_t *place = buffer_extend(&g->dropped, sizeof key);
        if (place == NULL || g->dropped.size > g->limits.queued_bytes)
            return leave(g, trap_with(guest_fault(g, FAULT_LIMIT, "too many dropped futures")));
        memcpy(place, &key, sizeof key);
        if (g->dropped.size > GIVE_WAY_BYTES)
            give_way(g);
    }
    futures_remove(&g->futures, id);
    values[0].i32 = 0;
    return leave(g, NULL);
}

/* Whether yield_now is over. Called when the guest enters it and at each resumption. */
static bool unpark(void *env)
{
    guest *g = env;
    if (atomic_load_explicit(&g->has_mail, memory_order_acquire))
        guest_check_mail(g);
    int order = atomic_load(&g->order);
    if (order != FAULT_NONE) {
        *g->park_trap = trap_with(guest_obey(g, order));
    } else {
        mailbox_deliver(&g->mailbox, g->base);
        if (!mailbox_signalled(g->base) && !atomic_exchange(&g->released, false))
            return false;
    }
    g->parked = g->in_hostcall = false;
    return true;
}

static bool at_once(void *env)
{
    (void)env;
    return true;
}

static void yield_now(void *env, wasmtime_caller_t *caller, const wasmtime_val_t *arguments,
                      size_t argument_count, wasmtime_val_t *results, size_t result_count, wasm_trap_t **trap,
                      wasmtime_async_continuation_t *continuation)
{
    (void)env;
    (void)arguments;
    (void)argument_count;
    (void)results;
    (void)result_count;
    wasmtime_context_t *context;
    guest *g = enter(caller, &context);
    if (!g->open) {
        *trap = leave(g, trap_with(guest_fault(g, FAULT_HOSTCALL, "yield_now before the mailbox exists")));
        continuation->callback = at_once;
        return;
    }
    g->parked = true;
    g->park_trap = trap;
    continuation->callback = unpark;
    continuation->env = g;
}

static wasm_functype_t *function_type(size_t parameters, size_t results)
{
    wasm_valtype_t *kinds[4];
    wasm_valtype_vec_t in, out;
    for (size_t i = 0; i < parameters; i++)
        kinds[i] = wasm_valtype_new(VALUE_I32);
    wasm_valtype_vec_new(&in, parameters, kinds);
    for (size_t i = 0; i < results; i++)
        kinds[i] = wasm_valtype_new(VALUE_I32);
    wasm_valtype_vec_new(&out, results, kinds);
    return wasm_functype_new(&in, &out);
}

static wasmtime_error_t *define(wasmtime_linker_t *linker, const char *module, const char *name,
                                size_t parameters, wasmtime_func_unchecked_callback_t callback, void *env)
{
    wasm_functype_t *type = function_type(parameters, 1);
    wasmtime_error_t *error = wasmtime_linker_define_func_unchecked(
        linker, module, strlen(module), name, strlen(name), type, callback, env, env == NULL ? NULL : free);
    wasm_functype_delete(type);
    return error;
}

wasmtime_error_t *hostcalls_define(wasmtime_linker_t *linker, const hostcall_import *imports, size_t count)
{
    wasm_functype_t *type = function_type(0, 0);
    wasmtime_error_t *error = wasmtime_linker_define_async_func(linker, "selium::async", 13, "yield_now", 9,
                                                                type, yield_now, NULL, NULL);
    wasm_functype_delete(type);
    for (size_t i = 0; i < count && error == NULL; i++) {
        operation *op = malloc(sizeof *op);
        if (op == NULL)
            return wasmtime_error_new("no memory for a hostcall");
        *op = (operation){.index = imports[i].index, .denied = imports[i].denied};
        error = define(linker, imports[i].module_name, "create", 2, create, op);
        if (error == NULL)
            error = define(linker, imports[i].module_name, "poll", 4, poll, NULL);
        if (error == NULL)
            error = define(linker, imports[i].module_name, "drop", 3, drop, NULL);
    }
    return error;
}
