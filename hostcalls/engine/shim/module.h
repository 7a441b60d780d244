#ifndef ENFILADE_MODULE_H
#define ENFILADE_MODULE_H

#include "shim.h"
#include "wasmtime.h"

/* A compiled module with the types of its imports and exports. */
struct module {
    wasmtime_module_t *wasm;
    wasm_importtype_vec_t imports;
    wasm_exporttype_vec_t exports;
    extern_view *views; /* of the imports, then of the exports */
    uint8_t *types;     /* what the views point to */
};

/* Returns a VALUE_ number, or that of a reference. Wasmtime's own function for this aborts the process on a
 * v128. */
uint8_t value_kind(const wasm_valtype_t *type);

#endif
