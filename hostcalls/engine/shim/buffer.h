/* A growable run of bytes. It takes no memory before its first use. */
#ifndef ENFILADE_BUFFER_H
#define ENFILADE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint8_t *data;
    size_t size;
    size_t capacity;
} buffer;

/* Returns the place of `size` more bytes, or NULL if there is no memory. */
uint8_t *buffer_extend(buffer *b, size_t size);

/* Makes it empty. Much memory is given back, little is kept for the next use. */
void buffer_clear(buffer *b);

void buffer_free(buffer *b);

#endif
