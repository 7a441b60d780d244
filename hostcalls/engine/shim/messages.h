/* The encodings of what passes between a guest that serves and whom it serves, as rkyv has them: data and no
 * resources (docs/guests.md). */
#ifndef ENFILADE_MESSAGES_H
#define ENFILADE_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that an encoding has at most beyond its data; and the most data that there are encodings for. */
enum { MESSAGE_FRAME = 48, MESSAGE_LARGEST = INT32_MAX - MESSAGE_FRAME };

/* Each writes at most `size` + MESSAGE_FRAME bytes and returns how many. The data may lie at `out` already. */
size_t message_write_plain(uint8_t *out, const uint8_t *data, size_t size);
size_t message_write_request(uint8_t *out, uint32_t request, const uint8_t *data, size_t size);
size_t message_write_body(uint8_t *out, const uint8_t *data, size_t size);

typedef struct {
    uint32_t request;
    const uint8_t *data; /* within the arguments */
    uint32_t size;
} message_reply;

/* Reads the arguments of a reply. False for one with resources, and for all that does not decode. */
bool message_read_reply(const uint8_t *arguments, size_t size, message_reply *reply);

#endif
