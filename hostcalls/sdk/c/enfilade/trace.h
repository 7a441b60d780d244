/* Traces: to which one the message at hand belongs. */
#ifndef ENFILADE_TRACE_H
#define ENFILADE_TRACE_H

#include "archive.h"

ENFILADE_HOSTCALL(enfilade_trace_context, "enfilade::trace::context")

/* The length of a traceparent. */
#define ENFILADE_TRACEPARENT 55

/* Write the traceparent of the message at hand to `text`, which has room for ENFILADE_TRACEPARENT characters, without a
 * terminator. Returns its length: 0 if the message belongs to no trace; -1 without the capability TraceRead. */
static inline int enfilade_traceparent(char *text) {
    const int32_t size = enfilade_trace_context(NULL, 0, enfilade_outcome.bytes, ENFILADE_RESULT_MIN);
    if (size < (int32_t)sizeof(union enfilade_text)) {
        return -1;
    }
    uint32_t length;
    const char *found = enfilade_read_text(enfilade_outcome.bytes + size - sizeof(union enfilade_text), &length);
    if (length > ENFILADE_TRACEPARENT) {
        return -1;
    }
    enfilade_copy(text, found, length);
    return (int)length;
}

#endif
