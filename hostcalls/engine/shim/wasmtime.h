/* The part of Wasmtime's C API that the shim uses, declared by us because the wasmtime package ships no
 * headers.
 *
 * The functions are pointers, filled by library_load() from the package's shared library, so the extension
 * links against nothing. Every name is listed once, in WASMTIME_FUNCTIONS. Layouts are those of major
 * version 50. */
#ifndef ENFILADE_WASMTIME_H
#define ENFILADE_WASMTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct wasm_config_t wasm_config_t;
typedef struct wasm_engine_t wasm_engine_t;
typedef struct wasm_trap_t wasm_trap_t;
typedef struct wasm_frame_t wasm_frame_t;
typedef struct wasm_valtype_t wasm_valtype_t;
typedef struct wasm_functype_t wasm_functype_t;
typedef struct wasm_externtype_t wasm_externtype_t;
typedef struct wasm_importtype_t wasm_importtype_t;
typedef struct wasm_exporttype_t wasm_exporttype_t;
typedef struct wasmtime_error wasmtime_error_t;
typedef struct wasmtime_module wasmtime_module_t;
typedef struct wasmtime_store wasmtime_store_t;
typedef struct wasmtime_context wasmtime_context_t;
typedef struct wasmtime_linker wasmtime_linker_t;
typedef struct wasmtime_caller wasmtime_caller_t;
typedef struct wasmtime_instance_pre wasmtime_instance_pre_t;
typedef struct wasmtime_call_future wasmtime_call_future_t;
typedef struct wasmtime_pooling_allocation_config_t pool_config;

typedef struct {
    size_t size;
    char *data;
} wasm_byte_vec_t;
typedef wasm_byte_vec_t wasm_name_t;
typedef struct {
    size_t size;
    wasm_frame_t **data;
} wasm_frame_vec_t;
typedef struct {
    size_t size;
    wasm_valtype_t **data;
} wasm_valtype_vec_t;
typedef struct {
    size_t size;
    wasm_importtype_t **data;
} wasm_importtype_vec_t;
typedef struct {
    size_t size;
    wasm_exporttype_t **data;
} wasm_exporttype_vec_t;

typedef struct {
    uint64_t store_id;
    void *opaque;
} wasmtime_func_t;
typedef struct {
    uint64_t store_id;
    size_t opaque;
} wasmtime_instance_t;
typedef struct {
    struct {
        uint64_t store_id;
        uint32_t opaque1;
    } owner;
    uint32_t opaque2;
} wasmtime_memory_t;

typedef struct {
    uint8_t kind;
    union {
        wasmtime_func_t func;
        wasmtime_memory_t memory;
        uint64_t room[3];
    } of;
} wasmtime_extern_t;

enum { EXTERN_FUNC = 0, EXTERN_GLOBAL = 1, EXTERN_TABLE = 2, EXTERN_MEMORY = 3 };

typedef union {
    int32_t i32;
    int64_t i64;
    uint64_t bits;
    uint8_t v128[16];
} wasmtime_val_raw_t;

typedef struct {
    uint8_t kind;
    union {
        int32_t i32;
        uint64_t bits;
        uint64_t room[3];
    } of;
} wasmtime_val_t;

enum { VALUE_I32 = 0, VALUE_I64 = 1, VALUE_F32 = 2, VALUE_F64 = 3, VALUE_V128 = 4 };

enum { OPTIMISE_SPEED = 1 };

enum { DEADLINE_CONTINUE = 0, DEADLINE_YIELD = 1 };

_Static_assert(sizeof(wasmtime_func_t) == 16 && sizeof(wasmtime_instance_t) == 16, "as in version 50");
_Static_assert(sizeof(wasmtime_memory_t) == 24 && sizeof(wasmtime_extern_t) == 32, "as in version 50");
_Static_assert(sizeof(wasmtime_val_t) == 32 && sizeof(wasmtime_val_raw_t) == 16, "as in version 50");

typedef struct {
    bool (*callback)(void *env);
    void *env;
    void (*finalizer)(void *env);
} wasmtime_async_continuation_t;

typedef wasm_trap_t *(*wasmtime_func_unchecked_callback_t)(void *env, wasmtime_caller_t *caller,
                                                           wasmtime_val_raw_t *values, size_t count);
typedef void (*wasmtime_func_async_callback_t)(void *env, wasmtime_caller_t *caller,
                                               const wasmtime_val_t *args, size_t arg_count,
                                               wasmtime_val_t *results, size_t result_count,
                                               wasm_trap_t **trap,
                                               wasmtime_async_continuation_t *continuation);
typedef wasmtime_error_t *(*wasmtime_epoch_callback_t)(wasmtime_context_t *context, void *env,
                                                       uint64_t *delta, uint8_t *kind);

/* F(result, name, (parameters)) */
#define WASMTIME_FUNCTIONS(F)                                                                             \
    F(void, wasm_byte_vec_delete, (wasm_byte_vec_t *))                                                    \
    F(wasm_config_t *, wasm_config_new, (void))                                                           \
    F(wasm_engine_t *, wasm_engine_new_with_config, (wasm_config_t *))                                    \
    F(void, wasm_engine_delete, (wasm_engine_t *))                                                        \
    F(wasm_engine_t *, wasmtime_engine_clone, (wasm_engine_t *))                                          \
    F(wasm_valtype_t *, wasm_valtype_new, (uint8_t))                                                      \
    F(uint8_t, wasm_valtype_kind, (const wasm_valtype_t *))                                               \
    F(void, wasm_valtype_delete, (wasm_valtype_t *))                                                      \
    F(wasm_valtype_t *, wasmtime_wasm_valtype_v128, (void))                                               \
    F(bool, wasmtime_wasm_valtype_equal, (const wasm_valtype_t *, const wasm_valtype_t *))                \
    F(void, wasm_valtype_vec_new, (wasm_valtype_vec_t *, size_t, wasm_valtype_t *const *))                \
    F(wasm_functype_t *, wasm_functype_new, (wasm_valtype_vec_t *, wasm_valtype_vec_t *))                 \
    F(void, wasm_functype_delete, (wasm_functype_t *))                                                    \
    F(const wasm_valtype_vec_t *, wasm_functype_params, (const wasm_functype_t *))                        \
    F(const wasm_valtype_vec_t *, wasm_functype_results, (const wasm_functype_t *))                       \
    F(uint8_t, wasm_externtype_kind, (const wasm_externtype_t *))                                         \
    F(const wasm_functype_t *, wasm_externtype_as_functype_const, (const wasm_externtype_t *))            \
    F(const wasm_name_t *, wasm_importtype_module, (const wasm_importtype_t *))                           \
    F(const wasm_name_t *, wasm_importtype_name, (const wasm_importtype_t *))                             \
    F(const wasm_externtype_t *, wasm_importtype_type, (const wasm_importtype_t *))                       \
    F(void, wasm_importtype_vec_delete, (wasm_importtype_vec_t *))                                        \
    F(const wasm_name_t *, wasm_exporttype_name, (const wasm_exporttype_t *))                             \
    F(const wasm_externtype_t *, wasm_exporttype_type, (const wasm_exporttype_t *))                       \
    F(void, wasm_exporttype_vec_delete, (wasm_exporttype_vec_t *))                                        \
    F(void, wasm_trap_delete, (wasm_trap_t *))                                                            \
    F(void, wasm_trap_message, (const wasm_trap_t *, wasm_byte_vec_t *))                                  \
    F(void, wasm_trap_trace, (const wasm_trap_t *, wasm_frame_vec_t *))                                   \
    F(void, wasm_frame_vec_delete, (wasm_frame_vec_t *))                                                  \
    F(uint32_t, wasm_frame_func_index, (const wasm_frame_t *))                                            \
    F(size_t, wasm_frame_module_offset, (const wasm_frame_t *))                                           \
    F(const wasm_name_t *, wasmtime_frame_func_name, (const wasm_frame_t *))                              \
    F(const wasm_name_t *, wasmtime_frame_module_name, (const wasm_frame_t *))                            \
    F(wasm_trap_t *, wasmtime_trap_new, (const char *, size_t))                                           \
    F(bool, wasmtime_trap_code, (const wasm_trap_t *, uint8_t *))                                         \
    F(wasmtime_error_t *, wasmtime_error_new, (const char *))                                             \
    F(void, wasmtime_error_delete, (wasmtime_error_t *))                                                  \
    F(void, wasmtime_error_message, (const wasmtime_error_t *, wasm_name_t *))                            \
    F(void, wasmtime_error_wasm_trace, (const wasmtime_error_t *, wasm_frame_vec_t *))                    \
    F(void, wasmtime_config_async_stack_size_set, (wasm_config_t *, size_t))                              \
    F(void, wasmtime_config_max_wasm_stack_set, (wasm_config_t *, size_t))                                \
    F(void, wasmtime_config_epoch_interruption_set, (wasm_config_t *, bool))                              \
    F(void, wasmtime_config_consume_fuel_set, (wasm_config_t *, bool))                                    \
    F(void, wasmtime_config_cranelift_nan_canonicalization_set, (wasm_config_t *, bool))                  \
    F(void, wasmtime_config_wasm_relaxed_simd_deterministic_set, (wasm_config_t *, bool))                 \
    F(void, wasmtime_config_cranelift_opt_level_set, (wasm_config_t *, uint8_t))                          \
    F(void, wasmtime_config_parallel_compilation_set, (wasm_config_t *, bool))                            \
    F(void, wasmtime_config_memory_reservation_set, (wasm_config_t *, uint64_t))                          \
    F(void, wasmtime_config_memory_guard_size_set, (wasm_config_t *, uint64_t))                           \
    F(void, wasmtime_config_memory_may_move_set, (wasm_config_t *, bool))                                 \
    F(void, wasmtime_config_wasm_threads_set, (wasm_config_t *, bool))                                    \
    F(void, wasmtime_config_wasm_memory64_set, (wasm_config_t *, bool))                                   \
    F(void, wasmtime_config_wasm_multi_memory_set, (wasm_config_t *, bool))                               \
    F(void, wasmtime_config_wasm_gc_set, (wasm_config_t *, bool))                                         \
    F(void, wasmtime_config_wasm_function_references_set, (wasm_config_t *, bool))                        \
    F(void, wasmtime_config_wasm_exceptions_set, (wasm_config_t *, bool))                                 \
    F(void, wasmtime_config_wasm_stack_switching_set, (wasm_config_t *, bool))                            \
    F(pool_config *, wasmtime_pooling_allocation_config_new, (void))                                      \
    F(void, wasmtime_pooling_allocation_config_delete, (pool_config *))                                   \
    F(void, wasmtime_pooling_allocation_config_total_core_instances_set, (pool_config *, uint32_t))       \
    F(void, wasmtime_pooling_allocation_config_total_memories_set, (pool_config *, uint32_t))             \
    F(void, wasmtime_pooling_allocation_config_total_tables_set, (pool_config *, uint32_t))               \
    F(void, wasmtime_pooling_allocation_config_total_stacks_set, (pool_config *, uint32_t))               \
    F(void, wasmtime_pooling_allocation_config_total_gc_heaps_set, (pool_config *, uint32_t))             \
    F(void, wasmtime_pooling_allocation_config_max_tables_per_module_set, (pool_config *, uint32_t))      \
    F(void, wasmtime_pooling_allocation_config_max_memory_size_set, (pool_config *, size_t))              \
    F(void, wasmtime_pooling_allocation_config_table_elements_set, (pool_config *, size_t))               \
    F(void, wasmtime_pooling_allocation_config_linear_memory_keep_resident_set, (pool_config *, size_t))  \
    F(void, wasmtime_pooling_allocation_config_table_keep_resident_set, (pool_config *, size_t))          \
    F(void, wasmtime_pooling_allocation_strategy_set, (wasm_config_t *, const pool_config *))             \
    F(void, wasmtime_engine_increment_epoch, (wasm_engine_t *))                                           \
    F(wasmtime_error_t *, wasmtime_module_new,                                                            \
      (wasm_engine_t *, const uint8_t *, size_t, wasmtime_module_t **))                                   \
    F(void, wasmtime_module_delete, (wasmtime_module_t *))                                                \
    F(void, wasmtime_module_imports, (const wasmtime_module_t *, wasm_importtype_vec_t *))                \
    F(void, wasmtime_module_exports, (const wasmtime_module_t *, wasm_exporttype_vec_t *))                \
    F(wasmtime_error_t *, wasmtime_module_serialize, (wasmtime_module_t *, wasm_byte_vec_t *))            \
    F(wasmtime_error_t *, wasmtime_module_deserialize,                                                    \
      (wasm_engine_t *, const uint8_t *, size_t, wasmtime_module_t **))                                   \
    F(wasmtime_linker_t *, wasmtime_linker_new, (wasm_engine_t *))                                        \
    F(void, wasmtime_linker_delete, (wasmtime_linker_t *))                                                \
    F(wasmtime_error_t *, wasmtime_linker_define_func_unchecked,                                          \
      (wasmtime_linker_t *, const char *, size_t, const char *, size_t, const wasm_functype_t *,          \
       wasmtime_func_unchecked_callback_t, void *, void (*)(void *)))                                     \
    F(wasmtime_error_t *, wasmtime_linker_define_async_func,                                              \
      (wasmtime_linker_t *, const char *, size_t, const char *, size_t, const wasm_functype_t *,          \
       wasmtime_func_async_callback_t, void *, void (*)(void *)))                                         \
    F(wasmtime_error_t *, wasmtime_linker_instantiate_pre,                                                \
      (const wasmtime_linker_t *, const wasmtime_module_t *, wasmtime_instance_pre_t **))                 \
    F(void, wasmtime_instance_pre_delete, (wasmtime_instance_pre_t *))                                    \
    F(wasmtime_call_future_t *, wasmtime_instance_pre_instantiate_async,                                  \
      (const wasmtime_instance_pre_t *, wasmtime_context_t *, wasmtime_instance_t *, wasm_trap_t **,      \
       wasmtime_error_t **))                                                                              \
    F(wasmtime_store_t *, wasmtime_store_new, (wasm_engine_t *, void *, void (*)(void *)))                \
    F(void, wasmtime_store_delete, (wasmtime_store_t *))                                                  \
    F(wasmtime_context_t *, wasmtime_store_context, (wasmtime_store_t *))                                 \
    F(void, wasmtime_store_limiter, (wasmtime_store_t *, int64_t, int64_t, int64_t, int64_t, int64_t))    \
    F(void, wasmtime_store_epoch_deadline_callback,                                                       \
      (wasmtime_store_t *, wasmtime_epoch_callback_t, void *, void (*)(void *)))                          \
    F(void *, wasmtime_context_get_data, (const wasmtime_context_t *))                                    \
    F(void, wasmtime_context_set_epoch_deadline, (wasmtime_context_t *, uint64_t))                        \
    F(wasmtime_error_t *, wasmtime_context_set_fuel, (wasmtime_context_t *, uint64_t))                    \
    F(wasmtime_error_t *, wasmtime_context_get_fuel, (const wasmtime_context_t *, uint64_t *))            \
    F(wasmtime_error_t *, wasmtime_context_fuel_async_yield_interval, (wasmtime_context_t *, uint64_t))   \
    F(wasmtime_context_t *, wasmtime_caller_context, (wasmtime_caller_t *))                               \
    F(bool, wasmtime_caller_export_get, (wasmtime_caller_t *, const char *, size_t, wasmtime_extern_t *)) \
    F(bool, wasmtime_instance_export_get,                                                                 \
      (wasmtime_context_t *, const wasmtime_instance_t *, const char *, size_t, wasmtime_extern_t *))     \
    F(uint8_t *, wasmtime_memory_data, (const wasmtime_context_t *, const wasmtime_memory_t *))           \
    F(size_t, wasmtime_memory_data_size, (const wasmtime_context_t *, const wasmtime_memory_t *))         \
    F(wasmtime_error_t *, wasmtime_memory_grow,                                                           \
      (wasmtime_context_t *, const wasmtime_memory_t *, uint64_t, uint64_t *))                            \
    F(wasm_functype_t *, wasmtime_func_type, (const wasmtime_context_t *, const wasmtime_func_t *))       \
    F(wasmtime_call_future_t *, wasmtime_func_call_async,                                                 \
      (wasmtime_context_t *, const wasmtime_func_t *, const wasmtime_val_t *, size_t, wasmtime_val_t *,   \
       size_t, wasm_trap_t **, wasmtime_error_t **))                                                      \
    F(bool, wasmtime_call_future_poll, (wasmtime_call_future_t *))                                        \
    F(void, wasmtime_call_future_delete, (wasmtime_call_future_t *))

#define DECLARE(result, name, parameters) extern result(*name) parameters;
WASMTIME_FUNCTIONS(DECLARE)
#undef DECLARE

#endif
