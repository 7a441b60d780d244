/*
 * A kernel that is not there: what the parsers of the library ask of a real one, answered from an input.
 *
 * With real sockets and real memory files an input costs dozens of system calls, and a second has room for a few thousand. Targets that
 * are linked with this one (`-Wl,--wrap`, see the Makefile) get the same bytes without any. What is answered is what a real kernel
 * could: whole control messages, descriptors with numbers of its own, memory of the length that was asked for or none.
 *
 * Descriptors have numbers from FIRST_NUMBER on. Each is closed once, or the target ends; and at the end of an input none is left.
 */
#ifndef DOORS_FUZZ_KERNEL_H
#define DOORS_FUZZ_KERNEL_H

#include "../linux/internal.h"

#include <stdio.h>
#include <stdlib.h>

/* Ends the target with the place. */
#define check(good) ((good) ? (void)0 : (fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #good), abort()))

enum { FIRST_NUMBER = 1 << 20, NUMBERS = 1 << 14, LARGEST_MEMORY = 1 << 17 }; /* or a session */

void kernel_begin(void); /* before each input */
int kernel_descriptor(void);
bool kernel_is_open(int fd);
void kernel_close(int fd); /* as the code under test does */
unsigned kernel_open_count(void);
struct session *kernel_session(void); /* there is one, and its first page is cleared */

/* One datagram for the next recvmsg(): so many bytes, descriptors and, by the bits of `extra`, other control messages; cut when
 * there is no room for descriptors (`is_cut`). */
enum { EXTRA_CREDENTIALS = 1, EXTRA_PIDFD = 2, EXTRA_TIMESTAMP = 4, EXTRA_BEFORE = 8, EXTRA_SHORT = 16, EXTRA_NO_PIDFD = 32 };
void kernel_queue(const void *bytes, size_t length, unsigned files, unsigned extra, bool is_cut);
bool kernel_has_queued(void);

/* bit 0: sends fail; 1: no memory; 2: sockets are of another kind; 3: no table room; 4: no flow comes; 5: sockets are another
 * process's; 6: two pidfds are never of one process; 7: pidfds tell nothing */
extern uint8_t kernel_mood;

#endif
