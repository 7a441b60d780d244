/* Texts on the heap, for error messages. */
#ifndef ENFILADE_TEXT_H
#define ENFILADE_TEXT_H

#include "wasmtime.h"

char *text_copy(const char *text);
char *text_copy_bytes(const char *data, size_t size);
char *text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Returns the message of `error`, and deletes it. */
char *text_of_error(wasmtime_error_t *error);

#endif
