/*
 * The inbound queue of a node link: a door whose server procedure is C.
 *
 * The procedure puts what it was called with (data, descriptors, the caller's credentials) into a bounded
 * queue, signals an eventfd and answers a small status. It never runs Python and never waits for the
 * program, so a peer's call costs it a hand-off however busy this program is, and no peer can occupy
 * anything but its own queue.
 */
#ifndef ENFILADE_QUEUE_H
#define ENFILADE_QUEUE_H

#include <door.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What the procedure answers: one uint32_t in the byte order of the machine. */
#define QUEUE_ACCEPTED  0
#define QUEUE_FULL      1 /* no room now; nothing was kept */
#define QUEUE_CLOSED    2 /* never again */
#define QUEUE_MALFORMED 3 /* does not begin with the prefix, or is too large */

#define QUEUE_PREFIX_MAX 16
#define QUEUE_DESCRIPTORS_MAX 253
/* Descriptors of all calls that are held take places in this process's table: one for so many bytes of the
 * queue's capacity, within these bounds. One call always fits. */
#define QUEUE_BYTES_A_DESCRIPTOR   4096
#define QUEUE_HELD_DESCRIPTORS_MIN 16
#define QUEUE_HELD_DESCRIPTORS_MAX 256

struct queue;

/* One call that was accepted; or a notice: of size 0, that a call was malformed; with is_unreferenced,
 * that nobody else holds the door any more. */
struct queue_item {
    struct queue_item *next;
    int is_unreferenced;
    unsigned long caller; /* changes when it is another one than that of the item before */
    pid_t pid;            /* the caller, as door_ucred() tells */
    uint64_t process;     /* its number among all processes that the kernel has had, or 0 */
    uid_t uid;
    gid_t gid;
    int zone;
    unsigned n_groups;
    unsigned n_descriptors;
    size_t size;
    const gid_t *groups;
    const int *descriptors; /* the receiver's own, close-on-exec */
    const char *data;
};

/* Make a queue and its door. Batches begin with the prefix and have at most `largest` bytes; the queue
 * holds `capacity` bytes and `calls` calls; beside them memory files of `capacity` bytes, or one call's. NULL with errno when there is no memory, no thread or no
 * descriptor. */
struct queue *queue_create(const char *prefix, size_t prefix_size, size_t largest, size_t capacity,
                           unsigned calls);

/* Let calls have so many descriptors each, and those that wait to be taken so many in all. Descriptors are ours as soon as a
 * call has come, whoever made it: a queue that strangers may call should take few. -1 with errno. */
int queue_limit_descriptors(struct queue *queue, unsigned each, unsigned held);

int queue_door(const struct queue *queue);  /* the door: the queue's own descriptor */
int queue_event(const struct queue *queue); /* an eventfd, readable while there is something to take */

/* Take all that is there, oldest first; NULL when there is nothing. Free each item; its descriptors are
 * the caller's. */
struct queue_item *queue_take(struct queue *queue);
void queue_item_free(struct queue_item *item);

/* As queue_take(), but wait until there is something: for `microseconds` at most, and no longer than until something
 * comes to another queue of the process. One thread of a process lingers at a time; another one does not wait. */
struct queue_item *queue_linger(struct queue *queue, unsigned microseconds);

/* How many calls were answered with `status` since the beginning. */
unsigned long queue_count(struct queue *queue, unsigned status);

/* Revoke the door, drop what is queued, and free the queue as soon as no call is in it. */
void queue_close(struct queue *queue);

#endif
