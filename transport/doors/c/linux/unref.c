/*
 * Notifications that a single reference remains.
 *
 * They are delivered one at a time in the whole process, as ordinary invocations in the door's pool, because
 * that is how the one daemon thread of illumos does it: a slow handler delays those of other doors.
 */
#include "internal.h"

#include <sys/eventfd.h>
#include <unistd.h>

static void deliver_next_locked(void) {
    while (!server.unreferenced_running && server.unreferenced_first != NULL) {
        struct door *door = server.unreferenced_first;
        server.unreferenced_first = door->unreferenced_next;
        if (server.unreferenced_first == NULL) {
            server.unreferenced_last = NULL;
        }
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
    door->unreferenced_next = NULL;
    door->holds++;
    atomic_fetch_and(&door->status->attributes, ~(uint32_t)DOOR_UNREF);
    if (server.unreferenced_last != NULL) {
        server.unreferenced_last->unreferenced_next = door;
    } else {
        server.unreferenced_first = door;
    }
    server.unreferenced_last = door;
    deliver_next_locked();
}

void unreferenced_notify_locked(struct door *door) {
    door_attr_t attributes = atomic_load(&door->status->attributes);
    if (!(attributes & (DOOR_UNREF | DOOR_UNREF_MULTI)) || door->revoked || door->unreferenced_queued) {
        return;
    }
    if (door->active > 0) {
        door->unreferenced_delayed = true; /* delivered when the last invocation ends, without asking again */
    } else {
        enqueue_locked(door);
    }
}

/* An invocation of the door has ended. */
void unreferenced_idle_locked(struct door *door) {
    if (door->active == 0 && door->unreferenced_delayed) {
        door->unreferenced_delayed = false;
        if (!door->revoked && !door->unreferenced_queued) {
            enqueue_locked(door);
        }
    }
}

/* The handler has returned, or its thread has died. */
void unreferenced_done_locked(struct door *door) {
    server.unreferenced_running = false;
    door_release_locked(door);
    deliver_next_locked();
}

/* The door was revoked: what no thread has taken yet is dropped. */
void unreferenced_cancel_locked(struct door *door) {
    door->unreferenced_delayed = false;
    if (door->pool->unreferenced == door) {
        door->pool->unreferenced = NULL;
        unreferenced_done_locked(door);
    }
}
