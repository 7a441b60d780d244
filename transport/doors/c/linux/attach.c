/*
 * fattach, fdetach, isastream: a door's socket takes a file's place by an atomic rename, and gives it back.
 *
 * Unlike a mount, a rename needs write permission for the directory; where that is missing, or where others have it,
 * the error is EACCES.
 */
#include "internal.h"

#include "../look.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { NAMED_PATIENCE = 10000 }; /* milliseconds */

/* A descriptor that came from opening a name has a peer with a path; abstract addresses are the kernel's. */
static bool opened_by_name(int fd) {
    struct sockaddr_un address;
    socklen_t length = sizeof address;
    return getpeername(fd, (struct sockaddr *)&address, &length) == 0 &&
           length > offsetof(struct sockaddr_un, sun_path) && address.sun_path[0] == '/';
}

/*
 * Others who may write to the directory could put whatever they like in the place of the socket or of the file, at any
 * moment. In a directory with the sticky bit they cannot touch what is not theirs. A group of one's own is oneself.
 */
static bool is_shared(int directory) {
    struct stat status;
    if (fstat(directory, &status) < 0) {
        return true;
    }
    bool own_group = status.st_uid == geteuid() && status.st_gid == getegid();
    mode_t others = S_IWOTH | (own_group ? 0 : S_IWGRP);
    return (status.st_mode & others) != 0 && !(status.st_mode & S_ISVTX);
}

/* The new socket: what fattach works on is its inode, never its name. */
struct fresh {
    char name[64];
    int listener, inode;
};

/* Nobody else has this name: the number of a process would tell nothing, because each pid namespace has all of them. */
static int draw_name(struct fresh *fresh) {
    uint64_t drawn;
    if (getrandom(&drawn, sizeof drawn, 0) != sizeof drawn) {
        return errno;
    }
    snprintf(fresh->name, sizeof fresh->name, ".door-%016llx", (unsigned long long)drawn);
    return 0;
}

/* It lies in the directory under a temporary name, with mode 0 until it is ready. */
static int bind_beside(const struct place *place, struct fresh *fresh) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;
    int unnamed = draw_name(fresh);
    if (unnamed != 0) {
        return unnamed;
    }
    fresh->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fresh->listener < 0) {
        return errno;
    }
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", place->directory, fresh->name);
    if (fchmod(fresh->listener, 0) < 0 || bind(fresh->listener, (struct sockaddr *)&address, sizeof address) < 0) {
        int error = errno;
        close(fresh->listener);
        return error;
    }
    fresh->inode = openat(place->directory, fresh->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    int error = fresh->inode < 0 || fstat(fresh->inode, &status) < 0 ? errno : 0;
    if (error == 0 && (!S_ISSOCK(status.st_mode) || status.st_uid != geteuid() || status.st_nlink != 1 ||
                       (status.st_mode & 07777) != 0)) {
        error = EBUSY; /* it is no longer what was bound */
    }
    if (error != 0) {
        unlinkat(place->directory, fresh->name, 0);
        close(fresh->listener);
        if (fresh->inode >= 0) {
            close(fresh->inode);
        }
    }
    return error;
}

static void drop_fresh(const struct place *place, const struct fresh *fresh) {
    unlinkat(place->directory, fresh->name, 0);
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

/* The path of an inode that a descriptor holds: what is done to it is done to that inode. */
static const char *path_of(int inode, char link[32]) {
    snprintf(link, 32, "/proc/self/fd/%d", inode);
    return link;
}

/* Keeps the file under its hidden name beside the socket. */
static int keep_covered(const struct place *place) {
    char link[32];
    path_of(place->inode, link);
    int linked = linkat(AT_FDCWD, link, place->directory, place->covered, AT_SYMLINK_FOLLOW);
    if (linked < 0 && errno == EEXIST) { /* left over from a name that was removed and made again */
        unlinkat(place->directory, place->covered, 0);
        linked = linkat(AT_FDCWD, link, place->directory, place->covered, AT_SYMLINK_FOLLOW);
    }
    return linked < 0 ? errno : 0;
}

/* Gives the socket the file's owner and mode, keeps the file under its hidden name, and takes its place. */
static int swap(const struct place *place, const struct fresh *fresh) {
    struct stat now;
    char link[32];
    uid_t owner = place->status.st_uid;
    gid_t group = place->status.st_gid;
    if (fstat(fresh->inode, &now) < 0) {
        return errno;
    }
    if (geteuid() == 0 && (now.st_uid != owner || now.st_gid != group) &&
        fchownat(fresh->inode, "", owner, group, AT_EMPTY_PATH) < 0) {
        return errno;
    }
    if (chmod(path_of(fresh->inode, link), mode_connectable(place->status.st_mode)) < 0) {
        return errno;
    }
    lock_directory(place->directory);
    if (fstatat(place->directory, place->name, &now, AT_SYMLINK_NOFOLLOW) < 0) {
        return errno;
    }
    if (now.st_ino != place->status.st_ino || now.st_dev != place->status.st_dev) {
        return EBUSY;
    }
    int error = place->attached ? 0 : keep_covered(place); /* one door instead of another: it stays covered */
    if (error == 0 && renameat(place->directory, fresh->name, place->directory, place->name) < 0) {
        error = errno;
        if (!place->attached) {
            unlinkat(place->directory, place->covered, 0);
        }
    }
    return error;
}

static int attach_own(int fildes, const struct place *place) {
    struct fresh fresh;
    struct name *name = NULL;
    int error = bind_beside(place, &fresh);
    if (error != 0) {
        return error;
    }
    handle attached = 0;
    /* The name's copy is closed when the file goes, which may be before we have done with it. */
    int inode = fcntl(fresh.inode, F_DUPFD_CLOEXEC, 0);
    error = inode < 0 ? errno : 0;
    struct door *door = error == 0 ? door_of(fildes, &error) : NULL;
    if (door != NULL) {
        error = name_listen_locked(door, fresh.listener, inode, place, geteuid(), &name);
        attached = error == 0 ? name->handle : 0;
        server_unlock();
    }
    if (error != 0) {
        close(fresh.listener);
        if (inode >= 0) {
            close(inode);
        }
    } else if ((error = swap(place, &fresh)) != 0) {
        enum kind kind;
        server_lock();
        name = handle_lookup(attached, &kind);
        if (kind == KIND_NAME) {
            name_close_locked(name);
        }
        server_unlock();
    }
    close(fresh.inode);
    if (error != 0) {
        drop_fresh(place, &fresh);
    }
    return error;
}

/* Waits for the door's own process, for so long and no longer. */
static int await_named(int answer) {
    struct message message;
    struct receipt receipt;
    struct pollfd entry = {.fd = answer, .events = POLLIN};
    int ready = poll(&entry, 1, NAMED_PATIENCE);
    if (ready <= 0) {
        return ready == 0 ? ETIMEDOUT : errno;
    }
    const struct closing_payer unknown = {-1, 0, -1};
    int error = message_receive(answer, &unknown, &message, &receipt, 0);
    if (error != 0) {
        return error == EAGAIN ? EINTR : EBADF;
    }
    receipt_close(&receipt);
    return message.type == MESSAGE_NAMED ? message.error : EBADF;
}

/* A door of another process: that process has to listen. One that is gone leaves a name that nobody answers. */
static int attach_other(int fildes, const struct place *place, const struct closing_payer *server) {
    struct fresh fresh;
    int pair[2];
    int error = bind_beside(place, &fresh);
    if (error != 0) {
        return error;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        error = errno;
    } else {
        struct message request = {.type = MESSAGE_NAME};
        int fds[3] = {fresh.listener, fresh.inode, pair[1]};
        bool gone = socket_hung_up(fildes);
        error = gone ? 0 : message_send(fildes, &request, fds, 3);
        close(pair[1]);
        error = error || gone ? error : await_named(pair[0]);
        socket_let_go(pair[0], server); /* it may have been filled */
    }
    error = error ? error : swap(place, &fresh);
    if (error != 0) {
        drop_fresh(place, &fresh);
    }
    close(fresh.listener);
    close(fresh.inode);
    return error;
}

/* If the name was this process's own, its reference goes now rather than when the kernel tells us. */
static void close_own(const struct stat *status) {
    server_lock();
    for (struct door *door = server.doors; door != NULL; door = door->next) {
        for (struct name *name = door->names; name != NULL; name = name->next) {
            struct look own;
            if (look_at(name->inode, &own) == 0 && own.inode == status->st_ino && own.device == status->st_dev) {
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
    const struct closing_payer server = identity.payer;
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
    } else if (is_shared(place.directory)) {
        error = EACCES;
    } else if (local) {
        error = attach_own(fildes, &place);
    } else {
        error = attach_other(fildes, &place, &server);
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
