/* Finding Wasmtime: the functions of wasmtime.h, resolved from the shared library at run time. */
#include "wasmtime.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

#define DEFINE(result, name, parameters) result(*name) parameters;
WASMTIME_FUNCTIONS(DEFINE)
#undef DEFINE

/* The library stays open for the life of the process: its code is on every guest's stack. */
static void *library;

bool library_load(const char *path, char **error) {
    if (library != NULL) {
        return true;
    }
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        *error = text_copy(dlerror());
        return false;
    }
    const char *missing = NULL;
#define RESOLVE(result, name, parameters)      \
    {                                          \
        void *symbol = dlsym(handle, #name);   \
        memcpy(&name, &symbol, sizeof symbol); \
        if (symbol == NULL)                    \
            missing = #name;                   \
    }
    WASMTIME_FUNCTIONS(RESOLVE)
#undef RESOLVE
    if (missing != NULL) {
        *error = text_format("%s lacks the function %s", path, missing);
        dlclose(handle);
        return false;
    }
    library = handle;
    return true;
}
