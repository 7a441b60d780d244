/*
 * Notifications that a single reference remains.
 *
 * They are delivered one at a time in the whole process, as ordinary invocations in the door's pool, because
 * that is how the one daemon thread of illumos does it: a slow handler delays those of other doors, and of those that
 * wait behind it the last one comes first.
 *
 * A call whose client waits holds the door. On illumos a transition meanwhile is lost, as is one while the handler runs;
 * here it is remembered, and delivered when nothing holds the door any more.
 */
#include "internal.h"

#include <sys/eventfd.h>
#include <unistd.h>

static void deliver_next_locked(void) {
    while (!server.unreferenced_running && server.unreferenced_first != NULL) {
        struct door *door = server.unreferenced_first;
        server.unreferenced_first = door->unreferenced_next;
        if (door->revoked) {
            door_release_locked(door);
            continue;
        }
        server.unreferenced_running = true;
        door->pool->unreferenced = door;
        eventfd_write(door->pool->bell, 1);
    }
}

static void enqueue_locked(struct door *door) {
    door->unreferenced_queued = true;
    door->holds++;
    atomic_fetch_and(&door->status->attributes, ~(uint32_t)DOOR_UNREF);
    door->unreferenced_next = server.unreferenced_first;
    server.unreferenced_first = door;
    deliver_next_locked();
}

void unreferenced_notify_locked(struct door *door) {
    door_attr_t attributes = atomic_load(&door->status->attributes);
    if (!(attributes & (DOOR_UNREF | DOOR_UNREF_MULTI)) || door->unreferenced_queued) {
        return;
    }
    if (door->revoked) { /* the notification is spent on nobody */
        atomic_fetch_and(&door->status->attributes, ~(uint32_t)DOOR_UNREF);
    } else if (door->attended > 0 || door->unreferenced_running) {
        door->unreferenced_delayed = true; /* delivered without asking again */
    } else {
        enqueue_locked(door);
    }
}

/* Perhaps no call holds the door any more. */
void unreferenced_unattended_locked(struct door *door) {
    if (door->attended == 0 && !door->unreferenced_running && door->unreferenced_delayed) {
        door->unreferenced_delayed = false;
        if (!door->revoked && !door->unreferenced_queued) {
            enqueue_locked(door);
        }
    }
}

/* The handler has returned, or its thread has died. */
void unreferenced_done_locked(struct door *door) {
    server.unreferenced_running = door->unreferenced_running = false;
    deliver_next_locked();
    unreferenced_unattended_locked(door);
    door_release_locked(door);
}

/* The door was revoked: what no thread has taken yet is dropped. */
void unreferenced_cancel_locked(struct door *door) {
    door->unreferenced_delayed = false;
    if (door->pool->unreferenced == door) {
        door->pool->unreferenced = NULL;
        unreferenced_done_locked(door);
    }
}
