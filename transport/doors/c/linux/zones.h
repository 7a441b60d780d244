/* The zone of another process. */
#ifndef DOORS_ZONES_H
#define DOORS_ZONES_H

#include "internal.h"

#pragma GCC visibility push(hidden)
zoneid_t zone_of_process(pid_t pid); /* -1: it may not be looked at */
#pragma GCC visibility pop

#endif
