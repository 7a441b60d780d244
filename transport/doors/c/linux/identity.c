/*
 * The identity of a door behind a descriptor: whether it is a door, which one, and whose.
 *
 * A trunk holds an unread HELLO with the status page attached. Peeking gives every holder a copy of the page's
 * descriptor without the server's help, even after the server has died. The server's pid is taken from the
 * socket, where the kernel put it, never from the page.
 */
#include "internal.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif

uint64_t socket_cookie(int fd) {
    uint64_t cookie = 0;
    socklen_t length = sizeof cookie;
    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) == 0 ? cookie : 0;
}

bool socket_hung_up(int fd) {
    struct pollfd entry = {.fd = fd, .events = POLLRDHUP};
    return poll(&entry, 1, 0) == 1 && (entry.revents & (POLLHUP | POLLRDHUP | POLLNVAL)) != 0;
}

/* The one kind of socket that doors are made of. */
bool socket_is_ours(int fd) {
    int domain = 0, type = 0;
    socklen_t length = sizeof domain;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) < 0 || domain != AF_UNIX) {
        return false;
    }
    length = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_SEQPACKET;
}

/* Who made the socket at the other end, as the kernel recorded it. */
bool socket_peer(int fd, struct ucred *peer) {
    socklen_t length = sizeof *peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, peer, &length) < 0) {
        return false;
    }
    peer->uid = user_known(peer->uid);
    peer->gid = group_known(peer->gid);
    return true;
}

/*
 * Before Linux 6.5 the kernel names the peer by a number alone. That of a process in a namespace that we do not see is 0,
 * which names nobody.
 */
int socket_peer_pidfd(int fd, pid_t pid) {
    int pidfd = -1;
    socklen_t length = sizeof pidfd;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &length) == 0) {
        return pidfd;
    }
    if (errno == ENOPROTOOPT && pid > 0) {
        return (int)syscall(SYS_pidfd_open, pid, 0);
    }
    if (errno == EINVAL) { /* reaped, before Linux 6.16 */
        errno = ESRCH;
    }
    return -1;
}

/* Whether who made the socket has ended, although somebody, a raw clone of it, keeps it open. */
bool socket_peer_exited(int fd, pid_t pid) {
    int pidfd = socket_peer_pidfd(fd, pid);
    if (pidfd < 0) {
        return errno == ESRCH;
    }
    struct pollfd entry = {.fd = pidfd, .events = POLLIN};
    bool exited = poll(&entry, 1, 0) == 1;
    close(pidfd);
    return exited;
}

/* Whether somebody's files are in a socket that has been shut down, as far as the kernel tells. */
static bool may_carry_files(int fd) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    int info = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = info < 0 ? -1 : read(info, text, sizeof text - 1);
    if (info >= 0) {
        close(info);
    }
    text[length > 0 ? length : 0] = 0;
    const char *found = strstr(text, "scm_fds:");
    return found == NULL || strtoul(found + sizeof "scm_fds:" - 1, NULL, 10) != 0;
}

/* Closes a socket that a peer has made: one from which nothing is received, not even then. Waits for nobody. */
void socket_drop(int fd, const struct closing_payer *payer) {
    shutdown(fd, SHUT_RDWR); /* nothing more comes, and the peer sees the end at once */
    if (may_carry_files(fd)) {
        closing_close(fd, payer);
    } else {
        close(fd);
    }
}

/* Datagrams that are taken out of a socket before it is closed; a thread closes one with more. */
enum { LEFT_DATAGRAMS = 64 };

/*
 * The same for a socket of our own making. Closing it closes what is still in it, and that may be anybody's files. So it goes to a
 * thread if there are any; what has no files is taken out first. With SO_PASSCRED each datagram, an empty one too, brings
 * credentials, for which alone there is room here; the end brings none. Nothing more comes once the socket is shut down, and the peer
 * sees its end at once.
 */
void socket_let_go(int fd, const struct closing_payer *payer) {
    union {
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
        struct cmsghdr aligned;
    } control;
    int on = 1;
    shutdown(fd, SHUT_RDWR);
    setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    for (int i = 0; i < LEFT_DATAGRAMS; i++) {
        struct message message;
        struct receipt receipt;
        struct msghdr header = {.msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
        ssize_t length = recvmsg(fd, &header, MSG_PEEK | MSG_DONTWAIT);
        if (length < 0 && errno == ECONNRESET) {
            continue; /* the peer had something unread: said once */
        }
        if (length < 0 || (header.msg_flags & MSG_CTRUNC)) {
            break;
        }
        if (header.msg_controllen == 0) {
            close(fd);
            return;
        }
        message_receive(fd, payer, &message, &receipt, 0);
        receipt_close(&receipt);
    }
    closing_close(fd, payer);
}

/* The same for a connection, at either end. */
void socket_turn_away(int fd) {
    struct ucred peer = {0, 0, 0};
    struct closing_payer payer = {-1, 0, -1};
    if (socket_peer(fd, &peer)) {
        payer = (struct closing_payer){peer.uid, 0, peer.pid};
    }
    socket_let_go(fd, &payer);
}

/* Whether both are descriptors of one file. */
static bool is_same_file(int one, int other) {
    struct stat first, second;
    return fstat(one, &first) == 0 && fstat(other, &second) == 0 && first.st_ino == second.st_ino &&
           first.st_dev == second.st_dev;
}

/*
 * A door of this process, by its number and its page, which nobody has but who has held the door. That the socket was made by a
 * process of our number proves nothing: one that has ended may have had it before us, and somebody may hold its sockets. Without
 * room for the page's descriptor (-1), the socket's maker must at least have been our user.
 */
static struct status *local_status(uint64_t id, int page, uid_t maker) {
    server_lock();
    struct door *door = door_by_id_locked(id);
    bool is_own = door != NULL && (page < 0 ? maker == geteuid() : is_same_file(page, door->status_fd));
    struct status *status = is_own ? door->status : NULL;
    server_unlock();
    return status;
}

/*
 * A look at the first message of a socket that may be anybody's. While somebody else reads from it, into memory that never comes,
 * the kernel lets us wait, deaf to signals and to any time limit. So a thread looks, and is not waited for when it is stuck.
 */
struct look_inside {
    struct errand errand;
    int fd;
    struct closing_payer payer;
    int error;
    struct message message;
    struct receipt receipt;
};

static void look_inside(struct errand *errand) {
    struct look_inside *look = (struct look_inside *)errand;
    look->error = message_receive(look->fd, &look->payer, &look->message, &look->receipt, MSG_PEEK);
}

static void drop_look(struct errand *errand) {
    struct look_inside *look = (struct look_inside *)errand;
    if (look->error == 0) {
        receipt_close(&look->receipt);
    }
    free(look);
}

/* 0, EBADF when there is nothing to be seen, or ENOMEM when there is no thread to look. */
static int peek(int fd, const struct closing_payer *payer, struct message *message, struct receipt *receipt) {
    struct look_inside *look = calloc(1, sizeof *look);
    if (look == NULL) {
        return ENOMEM;
    }
    look->errand = (struct errand){look_inside, drop_look};
    look->fd = fd;
    look->payer = *payer;
    look->error = EAGAIN; /* it has not been done */
    int given_up = closing_errand(&look->errand, payer);
    if (given_up != 0) {
        return given_up == CLOSING_STUCK ? EBADF : ENOMEM;
    }
    int error = look->error == 0 ? 0 : EBADF;
    *message = look->message;
    *receipt = look->receipt;
    free(look);
    return error;
}

/* A door of this process that it has handed out itself: nothing needs to be received from the socket, and no descriptor is. */
static bool identify_own(uint64_t socket, struct identity *identity) {
    server_lock();
    struct door *door = door_by_socket_locked(socket);
    if (door != NULL) {
        identity->local = true;
        identity->status = memory_map(door->status_fd, STATUS_SIZE, PROT_READ);
        identity->mapped = identity->status != NULL;
        if (!identity->mapped) { /* there is no room for the page, nor need of it */
            identity->status = door->status;
            identity->lack = ENOMEM;
        }
    }
    server_unlock();
    return door != NULL;
}

static int map_status(struct receipt *receipt, struct identity *identity) {
    void *base = NULL;
    int error = receipt->count == 1 ? memory_adopt(receipt->fds[0], STATUS_SIZE, PROT_READ, &base) : EBADF;
    if (error != 0) {
        return error == ENOMEM ? ENOMEM : EBADF;
    }
    identity->status = base;
    identity->mapped = true;
    if (identity->status->magic != WIRE_MAGIC || identity->status->abi != WIRE_ABI) {
        identity_drop(identity);
        return EBADF;
    }
    return 0;
}

int identify(int fd, struct identity *identity) {
    struct message hello;
    struct receipt receipt;
    struct ucred peer = {0, 0, 0};
    *identity = (struct identity){.socket = socket_cookie(fd)};
    if (identity->socket == 0 || !socket_is_ours(fd) || !socket_peer(fd, &peer)) {
        return EBADF;
    }
    identity->payer = (struct closing_payer){peer.uid, 0, peer.pid};
    if (peer.pid == getpid() && identify_own(identity->socket, identity)) {
        identity->pid = peer.pid;
        identity->dead = atomic_load(&identity->status->dead);
        return 0;
    }
    int error = peek(fd, &identity->payer, &hello, &receipt);
    if (error != 0) {
        return error;
    }
    if (hello.type != MESSAGE_HELLO) {
        receipt_close(&receipt);
        return EBADF;
    }
    identity->pid = peer.pid;
    identity->dead = socket_hung_up(fd);
    int page = receipt.count == 1 ? receipt.fds[0] : -1;
    bool may_be_own = peer.pid == getpid() && !identity->dead && (page >= 0 || receipt.truncated);
    struct status *own = may_be_own ? local_status(hello.sequence, page, peer.uid) : NULL;
    identity->local = own != NULL;
    error = receipt.truncated ? EMFILE : map_status(&receipt, identity);
    if (own != NULL && (error == EMFILE || error == ENOMEM)) { /* no room for the page, nor need of it */
        identity->status = own;
        identity->lack = error;
        error = 0;
    }
    identity->dead = identity->dead || (error == 0 && atomic_load(&identity->status->dead));
    receipt_close(&receipt);
    return error;
}

void identity_drop(struct identity *identity) {
    if (identity->mapped) {
        munmap(identity->status, STATUS_SIZE);
    }
    identity->status = NULL;
    identity->mapped = false;
}

door_attr_t identity_attributes(const struct identity *identity) {
    door_attr_t attributes = atomic_load(&identity->status->attributes) & DOOR_ATTR_MASK;
    attributes &= ~(door_attr_t)(DOOR_LOCAL | DOOR_REVOKED | DOOR_IS_UNREF);
    if (identity->local) {
        attributes |= DOOR_LOCAL;
    }
    if (identity->dead || atomic_load(&identity->status->revoked)) {
        attributes |= DOOR_REVOKED;
    }
    const struct status *status = identity->status;
    if (identity->dead ? atomic_load(&status->orphaned)
                       : atomic_load(&status->unreferenced) && atomic_load(&status->attended) == 0) {
        attributes |= DOOR_IS_UNREF;
    }
    return attributes;
}

int is_door(int fd) {
    struct identity identity;
    if (fcntl(fd, F_GETFD) < 0) {
        return -1;
    }
    int error = identify(fd, &identity);
    if (error == EMFILE || error == ENOMEM) { /* it may be one */
        errno = error;
        return -1;
    }
    if (error != 0) {
        return 0;
    }
    identity_drop(&identity);
    return 1;
}
