#include "linked.h"

#include <stdlib.h>

#include "guest.h"
#include "module.h"
#include "text.h"

linked *linked_open(wasm_engine_t *compiler, const module *m, const hostcall_import *imports, size_t count,
                    char **error) {
    wasmtime_linker_t *linker = wasmtime_linker_new(compiler);
    wasmtime_instance_pre_t *pre = NULL;
    wasmtime_error_t *failure = hostcalls_define(linker, imports, count);
    if (failure == NULL) {
        failure = wasmtime_linker_instantiate_pre(linker, m->wasm, &pre);
    }
    wasmtime_linker_delete(linker);
    if (failure != NULL) {
        *error = text_of_error(failure);
        return NULL;
    }
    linked *l = malloc(sizeof *l);
    if (l == NULL) {
        wasmtime_instance_pre_delete(pre);
        *error = text_copy("no memory");
        return NULL;
    }
    l->pre = pre;
    return l;
}

void linked_free(linked *l) {
    wasmtime_instance_pre_delete(l->pre);
    free(l);
}
