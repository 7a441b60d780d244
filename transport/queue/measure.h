/*
 * What it would cost to decode a payload, found out without building any of it.
 *
 * A payload is MessagePack with extensions that have MessagePack inside them (docs/wire.md, "Payloads"). Some
 * bytes of it can be a hundred times as expensive as others: an empty list is one byte and some sixty in memory, and a
 * dict whose keys collide takes time with the square of their number. So a peer's payload is measured first.
 */
#ifndef ENFILADE_MEASURE_H
#define ENFILADE_MEASURE_H

#include <stddef.h>
#include <stdint.h>

/* One unit of work is some ten nanoseconds. */
#define MEASURE_NUMBER    4   /* a number, nil or a boolean */
#define MEASURE_STRING    8   /* a string or bytes */
#define MEASURE_CONTAINER 24  /* an array or a map */
#define MEASURE_EXTENSION 96  /* an extension: Python is asked what it is */
#define MEASURE_OBJECT    300 /* one that becomes an object of a class: a record, an error, a ref */
#define MEASURE_COLLIDING 50  /* n keys that may be chosen to collide cost n * n / MEASURE_COLLIDING */
#define MEASURE_STRANGE   8   /* a key of a plain map that no encoder writes there counts as so many keys: nobody looks whether they
                                 do collide */
#define MEASURE_LONG_KEY  64  /* an integer of n bytes in a key costs n * n / MEASURE_LONG_KEY: it may be compared with a decimal */

#define MEASURE_DEPTH 512
#define MEASURE_TOO_DEEP (-1)

/* The units of work that the payload costs, or more than `most` when it is that many, or MEASURE_TOO_DEEP. Of
 * bytes that are no payload, the work until the place where that becomes clear: decoding fails there, too. */
int64_t measure_payload(const uint8_t *data, size_t size, int64_t most);

#endif
