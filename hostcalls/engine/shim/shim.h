#ifndef ENFILADE_SHIM_H
#define ENFILADE_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cdef.h"

#endif
