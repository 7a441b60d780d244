/* Descriptors that travel with calls and replies. */
#include "internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Closes the entries that the sender gives away. Entries that are not open are passed over. */
void descriptors_release(const door_desc_t *descriptors, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        door_desc_t entry;
        memcpy(&entry, descriptors + i, sizeof entry);
        if ((entry.d_attributes & DOOR_DESCRIPTOR) && (entry.d_attributes & DOOR_RELEASE)) {
            close(entry.d_data.d_desc.d_descriptor);
        }
    }
}

void descriptors_discard(struct outgoing *outgoing) {
    for (unsigned i = 0; i < outgoing->count; i++) {
        if (outgoing->made[i]) {
            close(outgoing->fds[i]);
        }
    }
    outgoing->count = 0;
}

/* A door of ours travels as a new trunk of its own, which makes its end visible to us. */
static int hand_out(int fd, int *sent, bool *made) {
    struct identity identity;
    int error;
    *sent = fd;
    *made = false;
    if (identify(fd, &identity) != 0) {
        return 0;
    }
    bool local = identity.local;
    identity_drop(&identity);
    if (!local) {
        return 0;
    }
    struct door *door = door_of(fd, &error);
    if (door == NULL) {
        return 0;
    }
    *made = trunk_create_locked(door, TRUNK_EXPORT, sent, &error) != NULL;
    server_unlock();
    return *made ? 0 : error;
}

/* No socket carries the descriptor of an io_uring: sendmsg fails, and the whole call would. */
static bool can_travel(int fd) {
    static const char staying[] = "anon_inode:[io_uring]";
    char path[32], name[sizeof staying];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return readlink(path, name, sizeof name) != sizeof staying - 1 || memcmp(name, staying, sizeof staying - 1) != 0;
}

/*
 * Checks the entries in order and works out what to send. A bad entry is EINVAL, which costs the sender every
 * released entry when it is told so; an entry whose number an earlier entry has released counts as bad, because in the kernel it
 * would be closed by then.
 */
int descriptors_prepare(const door_desc_t *descriptors, unsigned count, struct outgoing *outgoing) {
    int error = 0;
    outgoing->count = 0;
    outgoing->releases = false;
    for (unsigned i = 0; i < count && error == 0; i++) {
        door_desc_t entry;
        memcpy(&entry, descriptors + i, sizeof entry);
        int fd = entry.d_data.d_desc.d_descriptor;
        if (!(entry.d_attributes & DOOR_DESCRIPTOR) || fcntl(fd, F_GETFD) < 0 || !can_travel(fd)) {
            error = EINVAL;
        }
        for (unsigned j = 0; j < i && outgoing->releases && error == 0; j++) {
            if ((descriptors[j].d_attributes & DOOR_RELEASE) && descriptors[j].d_data.d_desc.d_descriptor == fd) {
                error = EINVAL;
            }
        }
        if (error == 0) {
            error = hand_out(fd, &outgoing->fds[i], &outgoing->made[i]);
        }
        if (error == 0) {
            outgoing->count++;
            outgoing->releases = outgoing->releases || (entry.d_attributes & DOOR_RELEASE);
        }
    }
    if (error != 0) {
        descriptors_discard(outgoing);
    }
    return error;
}

int descriptors_send(int channel, uint64_t sequence, const struct outgoing *outgoing) {
    for (unsigned at = 0; at < outgoing->count; at += DESCRIPTORS_A_DATAGRAM) {
        unsigned left = outgoing->count - at;
        unsigned count = left < DESCRIPTORS_A_DATAGRAM ? left : DESCRIPTORS_A_DATAGRAM;
        struct message message = {.type = MESSAGE_FDS, .sequence = sequence, .count = count};
        int error = message_send(channel, &message, outgoing->fds + at, count);
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

/* The entries that the receiver sees. What a door is gets asked of the door, not of the sender. */
void descriptors_describe(const int *fds, unsigned count, door_desc_t *descriptors) {
    for (unsigned i = 0; i < count; i++) {
        struct identity identity;
        door_desc_t entry;
        memset(&entry, 0, sizeof entry);
        entry.d_attributes = DOOR_DESCRIPTOR;
        entry.d_data.d_desc.d_descriptor = fds[i];
        if (identify(fds[i], &identity) == 0) {
            /* That a single reference remains is door_info's to say: here it would be about a moment long past. */
            entry.d_attributes |= identity_attributes(&identity) & ~(door_attr_t)DOOR_IS_UNREF;
            entry.d_data.d_desc.d_id = identity.status->id;
            identity_drop(&identity);
        }
        memcpy(descriptors + i, &entry, sizeof entry);
    }
}

/* Occupies `count` slots of the descriptor table: 0, or EMFILE with none occupied. */
int descriptors_reserve(int fd, unsigned count, int *reserved) {
    for (unsigned i = 0; i < count; i++) {
        reserved[i] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (reserved[i] < 0) {
            close_all(reserved, i);
            return EMFILE;
        }
    }
    return 0;
}
