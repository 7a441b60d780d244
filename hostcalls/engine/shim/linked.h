#ifndef ENFILADE_LINKED_H
#define ENFILADE_LINKED_H

#include "shim.h"
#include "wasmtime.h"

/* A module whose imports are resolved once for all its guests. */
struct linked {
    wasmtime_instance_pre_t *pre;
};

#endif
