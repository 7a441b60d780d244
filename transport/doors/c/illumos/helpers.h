/*
 * The functions that this project adds to <door.h>, for illumos, where the system's own calls do what they do.
 *
 * They exist so that one Python layer serves both systems; the header for Linux declares the same names.
 */
#ifndef ENFILADE_ILLUMOS_HELPERS_H
#define ENFILADE_ILLUMOS_HELPERS_H

#include <door.h>
#include <stdint.h>

int door_open(const char *path, int oflag); /* open(2) */
int door_dup(int d);                        /* dup(2), close-on-exec */
int door_replace(int fildes, const char *path); /* fattach(3C), after detaching the door that is there */
int is_door(int fd);                        /* 1: a door, 0: some other descriptor; -1 with EBADF: not open */

/* The system does not count: ENOTSUP. */
typedef struct door_counters {
    uint64_t calls;
    uint64_t failures;
    uint_t active;
    uint_t references;
} door_counters_t;
int door_counters(int d, door_counters_t *counters);

#define DOOR_CAPABILITY_FSTAT       0x01
#define DOOR_CAPABILITY_OPEN        0x02
#define DOOR_CAPABILITY_COUNTED_DUP 0x04
#define DOOR_CAPABILITY_HANDOFF     0x08
#define DOOR_CAPABILITY_LIVE_CRED   0x10
#define DOOR_CAPABILITY_FAULT       0x20
#define DOOR_CAPABILITY_PEER_PIDFD  0x40
#define DOOR_CAPABILITY_VFORK       0x80
#define DOOR_CAPABILITY_COUNTERS    0x100
uint_t door_capabilities(void);

#endif
