/* The error payload that a guest reads: a length and an rkyv string (docs/guests.md, "Result words and errors"). */
#ifndef ENFILADE_FAILURE_H
#define ENFILADE_FAILURE_H

#include <stddef.h>
#include <stdint.h>

/* The smallest buffer that holds any error payload. */
enum { FAILURE_SMALLEST = 12 };

/* Encodes `message` (UTF-8) into `out`, cut at a character's end to fit `room`, which is at least
 * FAILURE_SMALLEST. */
void failure_encode(uint8_t *out, size_t room, const uint8_t *message, size_t size);

#endif
