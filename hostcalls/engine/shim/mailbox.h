/* The guest's mailbox: a ring of task ids in its linear memory (docs/guests.md, "The guest's mailbox").
 *
 * The guest frees a task id when it takes it, so an id must never be seen twice. Two rules keep that: the
 * ring never holds more than its 256 cells, and what does not fit waits in a queue of the host; and cells are
 * written only while the guest stands in a hostcall. A guest that is preempted may be in the middle of
 * draining the ring, where a new entry would be lost between its reading of the tail and its clearing of the
 * flag. */
#ifndef ENFILADE_MAILBOX_H
#define ENFILADE_MAILBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MAILBOX_FLAG = 4,
    MAILBOX_HEAD = 8,
    MAILBOX_TAIL = 12,
    MAILBOX_RING = 16,
    MAILBOX_CELLS = 256,
    MAILBOX_END = MAILBOX_RING + 4 * MAILBOX_CELLS,
};

typedef struct {
    uint32_t tail;  /* the host's own copy; the cell in guest memory is for the guest to read */
    uint32_t first; /* the waiting ids: a circular queue */
    uint32_t waiting;
    uint32_t capacity;
    uint32_t *ids;
} mailbox;

/* Queues `task`. Returns false if more than `limit` ids wait or there is no memory. */
bool mailbox_enqueue(mailbox *m, uint32_t task, uint32_t limit);

/* Moves waiting ids into the ring at `base`, as many as fit, and raises the flag if any did. */
void mailbox_deliver(mailbox *m, uint8_t *base);

/* Whether the flag is up. */
bool mailbox_signalled(const uint8_t *base);

void mailbox_free(mailbox *m);

#endif
