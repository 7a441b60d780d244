/* The server's side of names: listening, and noticing when the name is changed or removed. */
#include "internal.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 512, NAMES_BY_OTHERS = 64 };

void name_free(struct name *name) {
    if (name->directory >= 0) {
        close(name->directory);
    }
    free(name->name);
    free(name);
}

/* Takes over the listener and the O_PATH descriptor of its inode, unless it fails. */
int name_listen_locked(struct door *door, int listener, int inode, const struct place *place, struct name **made) {
    char link[64];
    struct stat status;
    struct name *name = calloc(1, sizeof *name);
    if (name == NULL || (place != NULL && (name->name = strdup(place->name)) == NULL)) {
        free(name);
        return ENOMEM;
    }
    name->directory = place == NULL ? -1 : openat(place->directory, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int error = place != NULL && name->directory < 0 ? errno : 0;
    error = error ? error : fcntl(listener, F_SETFL, O_NONBLOCK) < 0 || fstat(inode, &status) < 0 ? errno : 0;
    if (error == 0 && listen(listener, BACKLOG) < 0) {
        error = errno;
    }
    if (error == 0 && (name->handle = handle_new(KIND_NAME, name)) == 0) {
        error = ENOMEM;
    }
    if (error == 0) {
        error = control_watch_locked(listener, EPOLLIN, name->handle);
    }
    if (error != 0) {
        handle_free(name->handle);
        name_free(name);
        return error;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", inode);
    name->watch = control_inotify_locked(link);
    name->listener = listener;
    name->inode = inode;
    name->mode = status.st_mode & 07777;
    name->door = door;
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

void name_close_locked(struct name *name) {
    struct door *door = name->door;
    name_accept(name); /* who opened the name before it went holds the door */
    struct name **link = &door->names;
    while (*link != name) {
        link = &(*link)->next;
    }
    *link = name->next;
    if (name->watch >= 0) {
        inotify_rm_watch(server.notify, name->watch);
    }
    handle_free(name->handle);
    let_go_of_listener(name->listener);
    close(name->inode);
    name_free(name);
    door_dereference_locked(door, false);
}

/* Whether who has just connected holds as many connections as one user may. */
static bool is_greedy(int fd) {
    struct ucred peer;
    unsigned count = 0;
    if (!socket_peer(fd, &peer) || stranger_share(peer.uid) == UINT_MAX) {
        return false;
    }
    for (struct door *door = server.doors; door != NULL; door = door->next) {
        for (struct trunk *trunk = door->trunks; trunk != NULL; trunk = trunk->next) {
            count += trunk->kind == TRUNK_CONNECTION && trunk->user == peer.uid;
        }
    }
    return count >= stranger_share(peer.uid);
}

static void turn_away(int fd) {
    struct ucred peer = {0, 0, 0};
    struct closing_payer payer = {-1, 0, -1};
    if (socket_peer(fd, &peer)) {
        payer = (struct closing_payer){peer.uid, 0, peer.pid};
    }
    socket_let_go(fd, &payer);
}

void name_accept(struct name *name) {
    for (int i = 0; i < BACKLOG; i++) {
        int error, fd = accept4(name->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE) {
                /* The client must not wait for a table that may stay full: let it see a door that is gone. */
                channel_reserve_locked(false);
                channel_evict_locked();
                fd = accept4(name->listener, NULL, NULL, SOCK_CLOEXEC);
                if (fd >= 0) {
                    turn_away(fd);
                    continue;
                }
            }
            return;
        }
        if (is_greedy(fd) || trunk_adopt_locked(name->door, TRUNK_CONNECTION, fd, &error) == NULL) {
            turn_away(fd);
        }
    }
}

/* The inode's links or mode may have changed. Returns whether the name is gone, and perhaps its door with it. */
static bool examine(struct name *name) {
    struct stat status, other;
    char link[64];
    if (fstat(name->inode, &status) < 0) {
        return false;
    }
    if (status.st_nlink == 0) {
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
    if ((status.st_mode & 07777) != name->mode) {
        name->mode = mode_connectable(status.st_mode);
        snprintf(link, sizeof link, "/proc/self/fd/%d", name->inode);
        if (name->mode != (status.st_mode & 07777)) {
            chmod(link, name->mode);
        }
    }
    return false;
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
    struct stat status;
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_PATH) && fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode) &&
           status.st_nlink > 0;
}

/* Another process attaches our door: it brings a bound socket, the socket's inode, and a socket to answer on. */
void name_take_over(struct door *door, struct receipt *receipt, const struct message *message) {
    struct message answer = {.type = MESSAGE_NAMED, .sequence = message->sequence, .error = EINVAL};
    unsigned names = 0;
    if (receipt->count != 3) {
        return;
    }
    for (struct name *name = door->names; name != NULL; name = name->next) {
        names += name->name == NULL;
    }
    if (names >= NAMES_BY_OTHERS) {
        answer.error = EAGAIN;
    } else if (is_bound(receipt->fds[0]) && is_name_inode(receipt->fds[1])) {
        struct name *name;
        answer.error = name_listen_locked(door, receipt->fds[0], receipt->fds[1], NULL, &name);
    }
    message_send(receipt->fds[2], &answer, NULL, 0);
    if (answer.error == 0) {
        closing_close(receipt->fds[2], &receipt->payer);
        receipt->count = 0;
    }
}
