#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *text_copy(const char *text) {
    return strdup(text);
}

char *text_copy_bytes(const char *data, size_t size) {
    return strndup(data, size);
}

char *text_format(const char *format, ...) {
    char line[512];
    va_list values;
    va_start(values, format);
    vsnprintf(line, sizeof line, format, values);
    va_end(values);
    return strdup(line);
}

char *text_of_error(wasmtime_error_t *error) {
    wasm_name_t message;
    wasmtime_error_message(error, &message);
    char *text = text_copy_bytes(message.data, message.size);
    wasm_byte_vec_delete(&message);
    wasmtime_error_delete(error);
    return text;
}
