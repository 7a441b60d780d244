/* door_open: opens a name, as open(2) does on illumos. */
#include "internal.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* The modes of a name are those it had before connect(2)'s needs were added, unless they were changed since. */
static mode_t effective_mode(const struct place *place) {
    struct stat covered;
    if (fstatat(place->directory, place->covered, &covered, AT_SYMLINK_NOFOLLOW) == 0 &&
        mode_connectable(covered.st_mode) == (place->status.st_mode & 07777)) {
        return covered.st_mode;
    }
    return place->status.st_mode;
}

static bool in_group(gid_t group) {
    gid_t groups[1024];
    int count = getgroups(1024, groups);
    for (int i = 0; i < count; i++) {
        if (groups[i] == group) {
            return true;
        }
    }
    return getegid() == group;
}

static bool may_open(const struct place *place, int oflag) {
    static const mode_t wanted[] = {[O_RDONLY] = 04, [O_WRONLY] = 02, [O_RDWR] = 06};
    mode_t mode = effective_mode(place), want = wanted[(oflag & O_ACCMODE) % 3];
    if (geteuid() == 0) {
        return true;
    }
    if (place->status.st_uid == geteuid()) {
        mode >>= 6;
    } else if (in_group(place->status.st_gid)) {
        mode >>= 3;
    }
    return (mode & want) == want;
}

/* A trunk without a server: the name is there, but calls find nobody. */
static int dead_trunk(int *fd) {
    struct door door = {.id = 0};
    int pair[2], error;
    door.status = status_create(&door.status_fd);
    if (door.status == NULL) {
        return errno;
    }
    atomic_store(&door.status->dead, 1);
    atomic_store(&door.status->revoked, 1);
    atomic_store(&door.status->data_max, SIZE_MAX);
    error = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0 ? errno : 0;
    if (error == 0) {
        error = hello_send(pair[1], &door);
        close(pair[1]);
        if (error != 0) {
            close(pair[0]);
        }
        *fd = pair[0];
    }
    munmap(door.status, STATUS_SIZE);
    close(door.status_fd);
    return error;
}

/* How long an open waits for a server that does not answer. */
enum { PATIENCE_SECONDS = 30 };

/* Waits, as an open may, until the server has said hello. ECONNREFUSED: it has gone. */
static int await_hello(int fd) {
    struct identity identity;
    struct pollfd entry = {.fd = fd, .events = POLLIN | POLLRDHUP};
    int ready = poll(&entry, 1, PATIENCE_SECONDS * 1000);
    if (ready <= 0) {
        return ready == 0 ? ETIMEDOUT : errno;
    }
    int error = identify(fd, &identity);
    if (error == 0) {
        identity_drop(&identity);
        return 0;
    }
    return error == EBADF ? ECONNREFUSED : error;
}

static int connect_to(const struct place *place, int *result) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return errno;
    }
    const struct timeval patience = {.tv_sec = PATIENCE_SECONDS}, none = {0};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience); /* for a backlog that stays full */
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", place->inode);
    int error = EACCES;
    for (int i = 0; i < 50 && error == EACCES; i++) {
        if (i > 0) { /* the mode lets us in: somebody has just changed it, and the server will make it connectable */
            struct timespec pause = {.tv_nsec = 2000000};
            nanosleep(&pause, NULL);
        }
        error = connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ? errno : 0;
    }
    if (error != 0) {
        error = error == EAGAIN ? ETIMEDOUT : error;
        close(fd);
    } else if ((error = await_hello(fd)) == 0) {
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none);
        *result = fd;
        return 0;
    } else {
        socket_turn_away(fd); /* whoever listens there may have filled it */
    }
    return error == ECONNREFUSED ? dead_trunk(result) : error == EPROTOTYPE ? ENXIO : error;
}

static int open_name(struct place *place, int oflag) {
    int fd = -1, error = 0;
    if ((oflag & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) {
        error = EEXIST;
    } else if (oflag & O_DIRECTORY) {
        error = ENOTDIR;
    } else if (!may_open(place, oflag)) {
        error = EACCES;
    } else {
        error = connect_to(place, &fd);
    }
    if (error != 0) {
        errno = error;
        return -1;
    }
    /* The lowest free number is held by the place's inode. */
    int number = dup3(fd, place->inode, oflag & O_CLOEXEC);
    error = errno;
    close(fd);
    if (number >= 0) {
        place->inode = -1;
    }
    errno = error;
    return number;
}

/* Whether the name leads elsewhere by now; then it was replaced while it was being opened. */
static bool moved_on(const char *path, const struct place *place) {
    struct stat now;
    return stat(path, &now) == 0 &&
           (now.st_ino != place->status.st_ino || now.st_dev != place->status.st_dev);
}

static int open_once(const char *path, int oflag) {
    struct place place;
    int error = place_find(path, oflag & O_NOFOLLOW, &place);
    if (error == 0 && place.attached) {
        int fd = open_name(&place, oflag);
        error = errno;
        if (fd >= 0 && socket_hung_up(fd) && moved_on(path, &place)) {
            socket_turn_away(fd);
            fd = -1;
            error = ENXIO;
        }
        place_drop(&place);
        errno = error;
        return fd;
    }
    if (error == 0) {
        place_drop(&place);
    }
    if (error != 0 && error != ENOENT && error != ELOOP) {
        errno = error;
        return -1;
    }
    return open(path, oflag, 0666);
}

int door_open(const char *path, int oflag) {
    int fd = open_once(path, oflag);
    for (int i = 0; i < 100 && fd < 0 && errno == ENXIO; i++) { /* a socket has come into a file's place */
        struct timespec pause = {.tv_nsec = i < 10 ? 1000 : 100000};
        nanosleep(&pause, NULL);
        fd = open_once(path, oflag);
    }
    return fd;
}
