/* See helpers.h. */
#include "helpers.h"

#include <errno.h>
#include <fcntl.h>
#include <stropts.h>
#include <unistd.h>

/* How often another server may take the name in between. */
#define ATTEMPTS 100

int door_open(const char *path, int oflag) {
    return open(path, oflag, 0600);
}

int door_dup(int d) {
    int is = is_door(d);
    if (is == 1) {
        return fcntl(d, F_DUPFD_CLOEXEC, 0);
    }
    if (is == 0) {
        errno = EBADF;
    }
    return -1;
}

int is_door(int fd) {
    door_info_t info;
    if (fcntl(fd, F_GETFD) < 0) { /* before door_info(), for which DOOR_QUERY (-2) is no descriptor */
        return -1;
    }
    if (door_info(fd, &info) == 0) {
        return 1;
    }
    return errno == EBADF ? 0 : -1;
}

/* Detaches a door, and nothing but a door: fdetach(3C) would unmount any file system that is there. */
static int detach_door(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? 0 : -1;
    }
    int is = is_door(fd);
    close(fd);
    if (is != 1) {
        errno = EBUSY;
        return -1;
    }
    return fdetach(path) == 0 || errno == EINVAL ? 0 : -1;
}

int door_replace(int fildes, const char *path) {
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        if (fattach(fildes, path) == 0) {
            return 0;
        }
        if (errno != EBUSY || detach_door(path) < 0) {
            return -1;
        }
    }
    errno = EBUSY;
    return -1;
}

int door_counters(int d, door_counters_t *counters) {
    (void)counters;
    if (is_door(d) == 1) {
        errno = ENOTSUP;
    } else {
        errno = EBADF;
    }
    return -1;
}

/* Everything but what has no meaning here: illumos names the peer by a credential, not by a pidfd, and counts nothing. */
uint_t door_capabilities(void) {
    return DOOR_CAPABILITY_FSTAT | DOOR_CAPABILITY_OPEN | DOOR_CAPABILITY_COUNTED_DUP | DOOR_CAPABILITY_HANDOFF |
           DOOR_CAPABILITY_LIVE_CRED | DOOR_CAPABILITY_FAULT | DOOR_CAPABILITY_VFORK;
}
