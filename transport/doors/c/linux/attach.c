/*
 * fattach, fdetach, isastream: a door's socket takes a file's place by an atomic rename, and gives it back.
 *
 * Unlike a mount, a rename needs write permission for the directory; where that is missing, the error is EACCES.
 */
#include "internal.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* A descriptor that came from opening a name has a peer with a path; abstract addresses are the kernel's. */
static bool opened_by_name(int fd) {
    struct sockaddr_un address;
    socklen_t length = sizeof address;
    return getpeername(fd, (struct sockaddr *)&address, &length) == 0 &&
           length > offsetof(struct sockaddr_un, sun_path) && address.sun_path[0] == '/';
}

/* The new socket lies in the directory under a temporary name, with mode 0 until it is ready. */
static int bind_beside(const struct place *place, char temporary[64], int *listener, int *inode) {
    static atomic_uint counter;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int error;
    snprintf(temporary, 64, ".door-%d-%u", (int)getpid(), atomic_fetch_add(&counter, 1));
    *listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (*listener < 0) {
        return errno;
    }
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", place->directory, temporary);
    if (fchmod(*listener, 0) < 0 || bind(*listener, (struct sockaddr *)&address, sizeof address) < 0) {
        error = errno;
        close(*listener);
        return error;
    }
    *inode = openat(place->directory, temporary, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (*inode < 0) {
        error = errno;
        unlinkat(place->directory, temporary, 0);
        close(*listener);
        return error;
    }
    return 0;
}

/*
 * Keeps apart two that attach here at once. Anybody who can read the directory could hold the lock, so patience is
 * limited; without it the worst is that one of the two gets EBUSY. The close of the directory unlocks.
 */
static void lock_directory(int directory) {
    struct timespec pause = {.tv_nsec = 5000000};
    for (int i = 0; i < 100 && flock(directory, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK; i++) {
        nanosleep(&pause, NULL);
    }
}

/* Gives the socket the file's owner and mode, keeps the file under its hidden name, and takes its place. */
static int swap(const struct place *place, const char *temporary) {
    struct stat now;
    mode_t mode = mode_connectable(place->status.st_mode);
    if (fstatat(place->directory, temporary, &now, AT_SYMLINK_NOFOLLOW) < 0) {
        return errno;
    }
    if (geteuid() == 0 && (now.st_uid != place->status.st_uid || now.st_gid != place->status.st_gid) &&
        fchownat(place->directory, temporary, place->status.st_uid, place->status.st_gid, AT_SYMLINK_NOFOLLOW) < 0) {
        return errno;
    }
    if (fchmodat(place->directory, temporary, mode, 0) < 0) {
        return errno;
    }
    lock_directory(place->directory);
    if (fstatat(place->directory, place->name, &now, AT_SYMLINK_NOFOLLOW) < 0) {
        return errno;
    }
    if (now.st_ino != place->status.st_ino) {
        return EBUSY;
    }
    if (place->attached) { /* one door instead of another; what is covered stays covered */
        return renameat(place->directory, temporary, place->directory, place->name) < 0 ? errno : 0;
    }
    int linked = linkat(place->directory, place->name, place->directory, place->covered, 0);
    if (linked < 0 && errno == EEXIST) { /* left over from a name that was removed and made again */
        unlinkat(place->directory, place->covered, 0);
        linked = linkat(place->directory, place->name, place->directory, place->covered, 0);
    }
    if (linked < 0) {
        return errno;
    }
    if (renameat(place->directory, temporary, place->directory, place->name) < 0) {
        int error = errno;
        unlinkat(place->directory, place->covered, 0);
        return error;
    }
    return 0;
}

static int attach_own(int fildes, const struct place *place) {
    char temporary[64];
    int listener, inode;
    struct name *name = NULL;
    int error = bind_beside(place, temporary, &listener, &inode);
    if (error != 0) {
        return error;
    }
    handle attached = 0;
    struct door *door = door_of(fildes, &error);
    if (door != NULL) {
        error = name_listen_locked(door, listener, inode, place->path, &name);
        attached = error == 0 ? name->handle : 0;
        server_unlock();
    }
    if (error != 0) {
        close(listener);
        close(inode);
    } else if ((error = swap(place, temporary)) != 0) {
        enum kind kind;
        server_lock();
        name = handle_lookup(attached, &kind);
        if (kind == KIND_NAME) {
            name_close_locked(name);
        }
        server_unlock();
    }
    if (error != 0) {
        unlinkat(place->directory, temporary, 0);
    }
    return error;
}

static int await_named(int answer) {
    struct message message;
    struct receipt receipt;
    for (;;) {
        struct pollfd entry = {.fd = answer, .events = POLLIN};
        if (poll(&entry, 1, -1) < 0) {
            return errno;
        }
        int error = message_receive(answer, &message, &receipt, 0);
        if (error != 0) {
            return error == EAGAIN ? EINTR : EBADF;
        }
        receipt_close(&receipt);
        if (message.type == MESSAGE_NAMED) {
            return message.error;
        }
    }
}

/* A door of another process: that process has to listen. One that is gone leaves a name that nobody answers. */
static int attach_other(int fildes, const struct place *place) {
    char temporary[64];
    int listener, inode, pair[2];
    int error = bind_beside(place, temporary, &listener, &inode);
    if (error != 0) {
        return error;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        error = errno;
    } else {
        struct message request = {.type = MESSAGE_NAME};
        int fds[3] = {listener, inode, pair[1]};
        bool gone = socket_hung_up(fildes);
        error = gone ? 0 : message_send(fildes, &request, fds, 3);
        close(pair[1]);
        error = error || gone ? error : await_named(pair[0]);
        close(pair[0]);
    }
    error = error ? error : swap(place, temporary);
    if (error != 0) {
        unlinkat(place->directory, temporary, 0);
    }
    close(listener);
    close(inode);
    return error;
}

/* If the name was this process's own, its reference goes now rather than when the kernel tells us. */
static void close_own(const struct stat *status) {
    server_lock();
    for (struct door *door = server.doors; door != NULL; door = door->next) {
        for (struct name *name = door->names; name != NULL; name = name->next) {
            struct stat own;
            if (fstat(name->inode, &own) == 0 && own.st_ino == status->st_ino && own.st_dev == status->st_dev) {
                name_close_locked(name);
                server_unlock();
                return;
            }
        }
    }
    server_unlock();
}

/* Terminals are no place for doors. */
static bool is_terminal(const struct place *place) {
    return strncmp(place->path, "/dev/pts/", 9) == 0 || strncmp(place->path, "/dev/vt/", 8) == 0;
}

static int attach(int fildes, const char *path, bool replace) {
    struct identity identity;
    struct place place;
    if (fcntl(fildes, F_GETFD) < 0) {
        return EBADF;
    }
    int error = identify(fildes, &identity);
    if (error != 0) {
        return error == EBADF ? EINVAL : error;
    }
    bool local = identity.local;
    identity_drop(&identity);
    error = place_find(path, 0, &place);
    if (error != 0) {
        return error;
    }
    const struct stat *status = &place.status;
    bool root = geteuid() == 0;
    if ((place.attached && !replace) || opened_by_name(fildes)) {
        error = EBUSY;
    } else if (is_terminal(&place)) {
        error = ENOTSUP;
    } else if (!root && status->st_uid != geteuid()) {
        error = EPERM;
    } else if (!root && !(status->st_mode & S_IWUSR)) {
        error = EACCES;
    } else if (S_ISDIR(status->st_mode)) {
        error = EINVAL; /* a directory cannot be covered by a socket and come back by rename */
    } else if (local) {
        error = attach_own(fildes, &place);
    } else {
        error = attach_other(fildes, &place);
    }
    if (error == 0 && place.attached) {
        close_own(status);
    }
    place_drop(&place);
    return error;
}

int fattach(int fildes, const char *path) {
    int error = attach(fildes, path, false);
    if (error != 0) {
        errno = error;
        return -1;
    }
    return 0;
}

/* fattach where nothing is attached; otherwise the new door takes the old one's place in one step. */
int door_replace(int fildes, const char *path) {
    int error = EBUSY;
    for (int i = 0; i < 100 && error == EBUSY && !opened_by_name(fildes); i++) {
        error = attach(fildes, path, true); /* EBUSY: somebody else was quicker, and is replaced in turn */
    }
    if (error != 0) {
        errno = error;
        return -1;
    }
    return 0;
}

int fdetach(const char *path) {
    struct place place;
    int error = place_find(path, 0, &place);
    if (error == 0) {
        if (!place.attached) {
            error = EINVAL;
        } else if (geteuid() != 0 && place.status.st_uid != geteuid()) {
            error = EPERM;
        } else if (renameat(place.directory, place.covered, place.directory, place.name) < 0) {
            error = errno == ENOENT ? EINVAL : errno;
        } else {
            close_own(&place.status);
        }
        place_drop(&place);
    }
    if (error != 0) {
        errno = error;
        return -1;
    }
    return 0;
}

int isastream(int fildes) {
    return fcntl(fildes, F_GETFD) < 0 ? -1 : 0; /* nothing on Linux is a STREAM */
}
