/*
 * The server's side of names: listening, and noticing when the name is changed or removed.
 *
 * A name that another process has attached is that process's socket and inode. Whether accept(2) waits is for it to say, at any
 * moment: the socket's flags are those of whoever holds it. And to ask for an inode's mode, or to watch it, may be to ask a file
 * system that does not answer. So each such name has a thread of its own, which nobody waits for.
 */
#include "internal.h"

#include "../look.h"
#include "../thread.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Names of one door, of all doors, and of a user who is neither root nor our own, that other processes have attached. */
enum { BACKLOG = 512, NAMES_BY_OTHERS = 64, NAMES_BY_OTHERS_IN_ALL = 256, NAMES_OF_A_STRANGER = 16 };

enum { ROOM_MILLISECONDS = 10 };

/* A name of our own is known by where it lies; only who attached another one knows that. */
static bool is_of_another(const struct name *name) {
    return name->name == NULL;
}

void name_free(struct name *name) {
    if (name->directory >= 0) {
        close(name->directory);
    }
    free(name->name);
    free(name);
}

static void *attend(void *name);

/* Takes over the listener and the O_PATH descriptor of its inode, unless it fails. Without a place another process, of this user,
 * attached the door: then the inode may be anybody's. */
int name_listen_locked(struct door *door, int listener, int inode, const struct place *place, uid_t user,
                       struct name **made) {
    char link[64];
    struct look look;
    struct name *name = calloc(1, sizeof *name);
    if (name == NULL || (place != NULL && (name->name = strdup(place->name)) == NULL)) {
        free(name);
        return ENOMEM;
    }
    name->directory = place == NULL ? -1 : openat(place->directory, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int error = place != NULL && name->directory < 0 ? errno : 0;
    error = error ? error : fcntl(listener, F_SETFL, O_NONBLOCK) < 0 || look_at(inode, &look) < 0 ? errno : 0;
    if (error == 0 && listen(listener, BACKLOG) < 0) {
        error = errno;
    }
    if (error == 0 && (name->handle = handle_new(KIND_NAME, name)) == 0) {
        error = ENOMEM;
    }
    if (error == 0 && place != NULL) {
        error = control_watch_locked(listener, EPOLLIN, name->handle);
    }
    if (error == 0) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", inode);
        name->watch = place == NULL ? -1 : control_inotify_locked(link);
        name->listener = listener;
        name->inode = inode;
        name->mode = look.mode & 07777;
        name->unowned = place == NULL && user != 0 && look.user != user;
        name->user = user;
        name->door = door;
        if (place == NULL) {
            error = thread_start(attend, name, THREAD_STACK); /* it waits for the lock, which is ours */
        }
    }
    if (error != 0) {
        handle_free(name->handle);
        name_free(name);
        return error;
    }
    name->next = door->names;
    door->names = name;
    door_reference_locked(door, false);
    *made = name;
    return 0;
}

/* Whoever is not accepted yet may have sent something already. */
static void let_go_of_listener(int listener) {
    const struct closing_payer unknown = {-1, 0, -1};
    int fd = -1;
    shutdown(listener, SHUT_RDWR);
    for (int i = 0; i < BACKLOG && (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0; i++) {
        socket_let_go(fd, &unknown);
    }
    if (fd >= 0) { /* there are more */
        closing_close(listener, &unknown);
    } else {
        close(listener);
    }
}

static void remove_locked(struct name *name) {
    struct door *door = name->door;
    struct name **link = &door->names;
    while (*link != name) {
        link = &(*link)->next;
    }
    *link = name->next;
    if (name->watch >= 0) {
        inotify_rm_watch(server.notify, name->watch);
    }
    handle_free(name->handle);
    close(name->inode);
    name_free(name);
    door_dereference_locked(door, false);
}

/* Whether who has just connected holds as many connections as one user may. */
static bool is_greedy(int fd) {
    struct ucred peer;
    if (!socket_peer(fd, &peer) || stranger_share(peer.uid) == UINT_MAX) {
        return false;
    }
    const struct account *account = account_of_locked(peer.uid);
    return account != NULL && account->connections >= stranger_share(peer.uid);
}

/* Somebody has connected. */
static void welcome_locked(struct door *door, int fd) {
    int error;
    if (is_greedy(fd) || trunk_adopt_locked(door, TRUNK_CONNECTION, fd, &error) == NULL) {
        socket_turn_away(fd);
    }
}

static void accept_locked(struct name *name, unsigned most) {
    for (unsigned i = 0; i < most; i++) {
        int fd = accept4(name->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE) {
                /* The client must not wait for a table that may stay full: let it see a door that is gone. */
                channel_reserve_locked(false);
                channel_evict_locked();
                fd = accept4(name->listener, NULL, NULL, SOCK_CLOEXEC);
                if (fd >= 0) {
                    socket_turn_away(fd);
                    continue;
                }
            }
            return;
        }
        welcome_locked(name->door, fd);
    }
}

/* More at a time would keep others from the lock; the rest has its turn later. */
enum { WELCOMES_A_TURN = 32 };

void name_accept(struct name *name) {
    accept_locked(name, WELCOMES_A_TURN);
}

/* Who opened the name before it went holds the door. */
void name_close_locked(struct name *name) {
    if (is_of_another(name)) {
        name->gone = true;
        shutdown(name->listener, SHUT_RDWR); /* its thread accepts who is there, and removes it */
        return;
    }
    accept_locked(name, BACKLOG);
    let_go_of_listener(name->listener);
    remove_locked(name);
}

/* What has to be done to an inode, which may lie in a file system that does not answer. */
struct mode_change {
    handle name;
    int inode;
    mode_t mode;
};

static bool examine(struct name *name);

static void *run_change(void *argument) {
    struct mode_change *change = argument;
    char link[64];
    enum kind kind;
    snprintf(link, sizeof link, "/proc/self/fd/%d", change->inode);
    chmod(link, change->mode);
    close(change->inode);
    server_lock();
    struct name *name = handle_lookup(change->name, &kind);
    if (kind == KIND_NAME) {
        name->changing = false;
        examine(name); /* it may have been changed meanwhile */
    }
    server_unlock();
    free(change);
    return NULL;
}

/* Has a thread change the mode. If there is no room for it, the next change of the inode tries again. */
static void change_mode_locked(struct name *name, mode_t mode) {
    struct mode_change *change = malloc(sizeof *change);
    int inode = fcntl(name->inode, F_DUPFD_CLOEXEC, 0);
    if (change != NULL && inode >= 0) {
        *change = (struct mode_change){name->handle, inode, mode};
        name->changing = thread_start(run_change, change, THREAD_STACK) == 0;
    }
    if (!name->changing) {
        free(change);
        if (inode >= 0) {
            close(inode);
        }
    }
}

/* The inode's links or mode may have changed. Returns whether the name is gone, and perhaps its door with it. */
static bool examine(struct name *name) {
    struct stat other;
    struct look look;
    if (name->gone || look_at(name->inode, &look) < 0) {
        return false;
    }
    if (look.links == 0) {
        if (name->name != NULL && fstatat(name->directory, name->name, &other, AT_SYMLINK_NOFOLLOW) < 0 &&
            errno == ENOENT) {
            /* unlink(2) of the name: what it covered goes with it */
            char covered[256 + 16];
            path_covered(name->name, covered);
            unlinkat(name->directory, covered, 0);
        }
        name_close_locked(name);
        return true;
    }
    if ((look.mode & 07777) != name->mode && !name->changing && !name->unowned) {
        name->mode = mode_connectable(look.mode);
        if (name->mode != (look.mode & 07777)) {
            change_mode_locked(name, name->mode);
        }
    }
    return false;
}

/* The thread of a name that another process has attached, until the name has gone. */
static void *attend(void *argument) {
    struct name *name = argument;
    char link[64];
    server_lock();
    int notify = control_notify_locked(), watch = -1;
    server_unlock();
    snprintf(link, sizeof link, "/proc/self/fd/%d", name->inode);
    if (notify >= 0) {
        watch = inotify_add_watch(notify, link, IN_ATTRIB);
    }
    server_lock();
    name->watch = watch;
    if (watch < 0) {
        control_timer_locked();
    }
    examine(name); /* what has happened before */
    server_unlock();
    for (;;) {
        struct pollfd entry = {.fd = name->listener, .events = POLLIN};
        poll(&entry, 1, -1);
        int fd = accept4(name->listener, NULL, NULL, SOCK_CLOEXEC), error = errno;
        if (fd >= 0) {
            server_lock();
            welcome_locked(name->door, fd);
            server_unlock();
        } else if (error == EINVAL || (entry.revents & POLLHUP)) {
            break; /* it has been shut down */
        } else if (error != EAGAIN) {
            struct timespec pause = {.tv_nsec = ROOM_MILLISECONDS * 1000000L};
            server_lock();
            channel_reserve_locked(false);
            channel_evict_locked();
            server_unlock();
            nanosleep(&pause, NULL);
        }
    }
    int listener = name->listener;
    server_lock();
    remove_locked(name);
    server_unlock();
    closing_close(listener, &(struct closing_payer){-1, 0, -1});
    return NULL;
}

void name_changed(int watch) {
    for (struct door *door = server.doors; door != NULL; door = door->next) {
        for (struct name *name = door->names; name != NULL; name = name->next) {
            if (name->watch == watch) {
                examine(name);
                return;
            }
        }
    }
}

static bool look_once_locked(void) {
    for (struct door *door = server.doors; door != NULL; door = door->next) {
        for (struct name *name = door->names; name != NULL; name = name->next) {
            if (examine(name)) {
                return true;
            }
        }
    }
    return false;
}

/* For names that are not watched, and for events that were lost. */
void names_look_locked(void) {
    while (look_once_locked()) {
    }
}

/* A socket like those that fattach binds, and not yet listening. */
static bool is_bound(int fd) {
    struct sockaddr_un address;
    int accepting = 1;
    socklen_t length = sizeof accepting;
    if (!socket_is_ours(fd) || getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepting, &length) < 0 || accepting) {
        return false;
    }
    length = sizeof address;
    return getsockname(fd, (struct sockaddr *)&address, &length) == 0 &&
           length > offsetof(struct sockaddr_un, sun_path) && address.sun_path[0] == '/';
}

static bool is_name_inode(int fd) {
    struct look look;
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_PATH) && look_at(fd, &look) == 0 && S_ISSOCK(look.mode) && look.links > 0;
}

/* Whether there is room for one more name by another process, which belongs to this user. */
static bool has_room_for_name(const struct door *door, uid_t user) {
    unsigned here = 0, all = 0, theirs = 0;
    for (const struct door *other = server.doors; other != NULL; other = other->next) {
        for (const struct name *name = other->names; name != NULL; name = name->next) {
            here += is_of_another(name) && other == door;
            all += is_of_another(name);
            theirs += is_of_another(name) && name->user == user;
        }
    }
    return here < NAMES_BY_OTHERS && all < NAMES_BY_OTHERS_IN_ALL &&
           (theirs < NAMES_OF_A_STRANGER || stranger_share(user) == UINT_MAX);
}

/*
 * Another process attaches our door: it brings a bound socket, the socket's inode, and a socket to answer on. That may be
 * anybody's: nothing is said to one that is not of the kind that doors are made of.
 */
void name_take_over(struct door *door, struct receipt *receipt, const struct message *message) {
    struct message answer = {.type = MESSAGE_NAMED, .sequence = message->sequence, .error = EINVAL};
    uid_t user = (uid_t)receipt->payer.user;
    if (receipt->count != 3 || !socket_is_ours(receipt->fds[2])) {
        return;
    }
    if (!has_room_for_name(door, user)) {
        answer.error = EAGAIN;
    } else if (is_bound(receipt->fds[0]) && is_name_inode(receipt->fds[1])) {
        struct name *name;
        answer.error = name_listen_locked(door, receipt->fds[0], receipt->fds[1], NULL, user, &name);
    }
    message_send(receipt->fds[2], &answer, NULL, 0);
    if (answer.error == 0) {
        closing_close(receipt->fds[2], &receipt->payer);
        receipt->count = 0;
    }
}
