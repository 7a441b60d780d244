#include "module.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

uint8_t value_kind(const wasm_valtype_t *type) {
    wasm_valtype_t *v128 = wasmtime_wasm_valtype_v128();
    bool is_v128 = wasmtime_wasm_valtype_equal(type, v128);
    wasm_valtype_delete(v128);
    return is_v128 ? VALUE_V128 : wasm_valtype_kind(type);
}

static size_t count_types(const wasm_externtype_t *type) {
    const wasm_functype_t *function = wasm_externtype_as_functype_const(type);
    return function == NULL ? 0
                            : wasm_functype_params(function)->size + wasm_functype_results(function)->size;
}

static uint8_t *put_kinds(uint8_t *out, const wasm_valtype_vec_t *types) {
    for (size_t i = 0; i < types->size; i++) {
        *out++ = value_kind(types->data[i]);
    }
    return out;
}

/* Fills in what an import and an export have in common; returns the place after the types used. */
static uint8_t *describe(extern_view *view, const wasm_name_t *name, const wasm_externtype_t *type,
                         uint8_t *types) {
    view->name = name->data;
    view->name_size = name->size;
    view->kind = wasm_externtype_kind(type);
    view->types = types;
    const wasm_functype_t *function = wasm_externtype_as_functype_const(type);
    if (function == NULL) {
        return types;
    }
    view->parameters = wasm_functype_params(function)->size;
    view->results = wasm_functype_results(function)->size;
    return put_kinds(put_kinds(types, wasm_functype_params(function)), wasm_functype_results(function));
}

static bool describe_all(module *m) {
    size_t types = 0;
    for (size_t i = 0; i < m->imports.size; i++) {
        types += count_types(wasm_importtype_type(m->imports.data[i]));
    }
    for (size_t i = 0; i < m->exports.size; i++) {
        types += count_types(wasm_exporttype_type(m->exports.data[i]));
    }
    m->views = calloc(m->imports.size + m->exports.size + 1, sizeof *m->views);
    m->types = malloc(types + 1);
    if (m->views == NULL || m->types == NULL) {
        return false;
    }
    uint8_t *next = m->types;
    for (size_t i = 0; i < m->imports.size; i++) {
        const wasm_name_t *origin = wasm_importtype_module(m->imports.data[i]);
        m->views[i].module = origin->data;
        m->views[i].module_size = origin->size;
        next = describe(&m->views[i], wasm_importtype_name(m->imports.data[i]),
                        wasm_importtype_type(m->imports.data[i]), next);
    }
    for (size_t i = 0; i < m->exports.size; i++) {
        next = describe(&m->views[m->imports.size + i], wasm_exporttype_name(m->exports.data[i]),
                        wasm_exporttype_type(m->exports.data[i]), next);
    }
    return true;
}

static module *own(wasmtime_error_t *failure, wasmtime_module_t *wasm, char **error) {
    if (failure != NULL) {
        *error = text_of_error(failure);
        return NULL;
    }
    module *m = calloc(1, sizeof *m);
    if (m == NULL) {
        wasmtime_module_delete(wasm);
        *error = text_copy("no memory");
        return NULL;
    }
    m->wasm = wasm;
    wasmtime_module_imports(wasm, &m->imports);
    wasmtime_module_exports(wasm, &m->exports);
    if (!describe_all(m)) {
        module_free(m);
        *error = text_copy("no memory");
        return NULL;
    }
    return m;
}

module *module_compile(wasm_engine_t *compiler, const uint8_t *source, size_t size, char **error) {
    wasmtime_module_t *wasm = NULL;
    wasmtime_error_t *failure = wasmtime_module_new(compiler, source, size, &wasm);
    return own(failure, wasm, error);
}

module *module_load(wasm_engine_t *compiler, const uint8_t *artifact, size_t size, char **error) {
    wasmtime_module_t *wasm = NULL;
    wasmtime_error_t *failure = wasmtime_module_deserialize(compiler, artifact, size, &wasm);
    return own(failure, wasm, error);
}

uint8_t *module_save(const module *m, size_t *size) {
    wasm_byte_vec_t artifact;
    wasmtime_error_t *failure = wasmtime_module_serialize(m->wasm, &artifact);
    if (failure != NULL) {
        wasmtime_error_delete(failure);
        return NULL;
    }
    uint8_t *copy = malloc(artifact.size);
    if (copy != NULL) {
        memcpy(copy, artifact.data, artifact.size);
    }
    *size = artifact.size;
    wasm_byte_vec_delete(&artifact);
    return copy;
}

void module_free(module *m) {
    wasm_importtype_vec_delete(&m->imports);
    wasm_exporttype_vec_delete(&m->exports);
    wasmtime_module_delete(m->wasm);
    free(m->views);
    free(m->types);
    free(m);
}

size_t module_import_count(const module *m) {
    return m->imports.size;
}

size_t module_export_count(const module *m) {
    return m->exports.size;
}

extern_view module_import_at(const module *m, size_t index) {
    return m->views[index];
}

extern_view module_export_at(const module *m, size_t index) {
    return m->views[m->imports.size + index];
}
