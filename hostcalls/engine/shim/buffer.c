#include "buffer.h"

#include <stdlib.h>

enum { SMALLEST = 128, KEPT = 1024 };

uint8_t *buffer_extend(buffer *b, size_t size) {
    if (b->data == NULL || size > b->capacity - b->size) {
        size_t capacity = b->capacity < SMALLEST ? SMALLEST : b->capacity;
        while (capacity - b->size < size) {
            if (capacity > SIZE_MAX / 2) {
                return NULL;
            }
            capacity *= 2;
        }
        uint8_t *data = realloc(b->data, capacity);
        if (data == NULL) {
            return NULL;
        }
        b->data = data;
        b->capacity = capacity;
    }
    uint8_t *place = b->data + b->size;
    b->size += size;
    return place;
}

void buffer_clear(buffer *b) {
    b->size = 0;
    if (b->capacity > KEPT) {
        buffer_free(b);
    }
}

void buffer_free(buffer *b) {
    free(b->data);
    *b = (buffer){0};
}
