/*
 * A target for libFuzzer, and for driver.c where there is none: what a hostile payload does to who measures it.
 *
 * Measuring reads nothing but the payload, ends, and cannot be talked into less: what stands behind in a payload adds to its
 * cost, and a limit changes nothing but where measuring stops.
 */
#include "../../../queue/measure.c"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const int64_t enough = INT64_C(100000000000000000); /* as much as any limit of a policy can be */

/* What measuring says of so many bytes, which are all that there is to read. */
static int64_t measured(const uint8_t *data, size_t size, int64_t most) {
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL) {
        abort();
    }
    memcpy(copy, data, size);
    int64_t work = measure_payload(copy, size, most);
    free(copy);
    return work;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int64_t whole = measured(data, size, enough);
    if (whole == MEASURE_TOO_DEEP) {
        return 0;
    }
    if (whole < 0 || (size > 0 && whole < MEASURE_NUMBER)) {
        abort();
    }
    int64_t part = measured(data, size / 2, enough);
    if (part > whole || part < 0) {
        abort();
    }
    int64_t limit = whole / 2, limited = measured(data, size, limit);
    if (limited > whole || (limited <= limit && limited != whole) || measured(data, size, whole) != whole) {
        abort();
    }
    return 0;
}
