/* Descriptors in a call, and what a door says of itself. */
#ifndef DOORS_TEST_ENTRIES_H
#define DOORS_TEST_ENTRIES_H

#include "harness.h"

door_desc_t entry(int fd, uint_t attributes);
int null_file(void); /* a descriptor that anything may happen to */
bool is_open(int fd);
int call_with(int door, door_desc_t *entries, uint_t count); /* without data: 0 or the errno */
uint_t attributes_of(int door);
door_id_t id_of(int door);

/* A server procedure that closes what it is sent, and answers with nothing. */
void closing_procedure(void *cookie, char *data, size_t size, door_desc_t *entries, uint_t count);

#endif
