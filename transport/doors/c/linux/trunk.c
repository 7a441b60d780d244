/*
 * Trunks: one socket pair (or accepted connection) for every hand-out of a door.
 *
 * Holding the client end is the capability to call. The server end hears ATTACH and the end of the last copy of
 * the client end, wherever the copies have gone; calls never travel here, because a trunk may be shared by many
 * threads and processes and replies could not be routed.
 */
#include "internal.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif

int hello_send(int fd, const struct door *door) {
    struct message hello = {.type = MESSAGE_HELLO, .sequence = door->id};
    return message_send(fd, &hello, &door->status_fd, 1);
}

/* From now on what comes through it is heard in its account's turn. */
static int watch_locked(struct trunk *trunk) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = trunk->handle};
    int epoll = account_epoll_locked(trunk->account);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, trunk->fd, &event) < 0) {
        return errno;
    }
    trunk->epoll = epoll;
    return 0;
}

/* Until it is closed, which may take its time, an end would be told again and again. */
static void unwatch_locked(struct trunk *trunk) {
    if (trunk->epoll >= 0) {
        epoll_ctl(trunk->epoll, EPOLL_CTL_DEL, trunk->fd, NULL);
        trunk->epoll = -1;
    }
}

/* Takes over the server end `fd`; on failure it is left to the caller. */
struct trunk *trunk_adopt_locked(struct door *door, enum trunk_kind kind, int fd, int *error) {
    int on = 1;
    struct trunk *trunk = calloc(1, sizeof *trunk);
    if (trunk == NULL || (trunk->handle = handle_new(KIND_TRUNK, trunk)) == 0) {
        free(trunk);
        *error = ENOMEM;
        return NULL;
    }
    trunk->door = door;
    trunk->kind = kind;
    trunk->fd = fd;
    trunk->home = trunk->inherited = trunk->epoll = -1;
    struct ucred peer;
    bool known = kind == TRUNK_CONNECTION && socket_peer(fd, &peer);
    trunk->payer = known ? (struct closing_payer){peer.uid, 0, peer.pid} : (struct closing_payer){-1, 0, -1};
    setsockopt(fd, SOL_SOCKET, SO_PASSPIDFD, &on, sizeof on); /* from Linux 6.5 */
    if (known && (trunk->account = account_open_locked(peer.uid)) == NULL) {
        *error = ENOMEM;
    } else if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0) {
        *error = errno;
    } else if ((*error = hello_send(fd, door)) == 0) {
        *error = watch_locked(trunk);
    }
    if (*error != 0) {
        handle_free(trunk->handle);
        if (trunk->account != NULL) {
            account_close_locked(trunk->account);
        }
        free(trunk);
        return NULL;
    }
    if (trunk->account != NULL) {
        trunk->account->connections++;
    }
    trunk->next = door->trunks;
    trunk->link = &door->trunks;
    if (trunk->next != NULL) {
        trunk->next->link = &trunk->next;
    }
    door->trunks = trunk;
    door_reference_locked(door, kind == TRUNK_CONNECTION);
    return trunk;
}

struct trunk *trunk_create_locked(struct door *door, enum trunk_kind kind, int *client, int *error) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        *error = errno;
        return NULL;
    }
    struct trunk *trunk = trunk_adopt_locked(door, kind, pair[1], error);
    if (trunk == NULL) {
        close(pair[0]);
        close(pair[1]);
        return NULL;
    }
    trunk->client_cookie = socket_cookie(pair[0]);
    *client = pair[0];
    return trunk;
}

void trunk_close_locked(struct trunk *trunk) {
    struct door *door = trunk->door;
    *trunk->link = trunk->next;
    if (trunk->next != NULL) {
        trunk->next->link = trunk->link;
    }
    unwatch_locked(trunk);
    if (trunk->account != NULL) {
        trunk->account->connections -= trunk->kind == TRUNK_CONNECTION;
        account_close_locked(trunk->account);
    }
    handle_free(trunk->handle);
    socket_let_go(trunk->fd, &trunk->payer);
    /* Channels made through it serve nobody any more, except for calls that are in progress. */
    struct channel *following;
    for (struct channel *channel = trunk->attaches ? door->channels : NULL; channel != NULL; channel = following) {
        following = channel->next;
        if (channel->trunk == trunk->handle) {
            channel->orphan = true;
            if (channel->thread == NULL && !channel->busy &&
                atomic_load(&channel->session->state) != CALL_QUEUED) {
                channel_close_locked(channel);
            }
        }
    }
    bool opened = trunk->kind == TRUNK_CONNECTION;
    door->home = door->home && trunk->kind != TRUNK_HOME;
    free(trunk);
    door_dereference_locked(door, opened);
}

/* Who sends through a door that has been handed to them pays for it from then on. Threads of our own flood nobody. */
static void charge_locked(struct trunk *trunk, const struct closing_payer *payer) {
    uid_t user = (uid_t)payer->user;
    trunk->payer = *payer;
    if (trunk->kind == TRUNK_CONNECTION || payer->process == getpid() ||
        (trunk->account != NULL && trunk->account->user == user)) {
        return;
    }
    struct account *before = trunk->account;
    trunk->account = account_open_locked(user);
    if (trunk->account == NULL) {
        trunk->account = before;
        return;
    }
    unwatch_locked(trunk);
    if (watch_locked(trunk) != 0) {
        trunk->paused = control_pause_locked();
    }
    if (before != NULL) {
        account_close_locked(before);
    }
}

/* The files that have come through it are being closed, and meanwhile it would be told again and again. */
static void pause_locked(struct trunk *trunk) {
    if (control_pause_locked()) {
        unwatch_locked(trunk);
        trunk->paused = true;
    }
}

void trunk_resume_locked(struct trunk *trunk) {
    trunk->paused = watch_locked(trunk) != 0 && control_pause_locked();
}

/* More messages than these at a time would keep others from the lock; what is left is heard at the next turn. */
enum { MESSAGES_A_TURN = 16 };

/* Reads what has arrived, up to the end of the stream. Messages sent before the end still count. */
void trunk_event(struct trunk *trunk) {
    for (int i = 0; i < MESSAGES_A_TURN; i++) {
        struct message message;
        struct receipt receipt;
        int behind = closing_is_behind(&trunk->payer);
        if (behind == CLOSING_STUCK) {
            trunk_close_locked(trunk);
        }
        if (behind == CLOSING_BUSY) { /* it is heard later: what it has sent is still there */
            pause_locked(trunk);
        }
        if (behind != 0) {
            return;
        }
        int error = message_receive_identified(trunk->fd, &message, &receipt);
        if (error == EAGAIN) {
            return;
        }
        if (receipt.payer.process >= 0) {
            charge_locked(trunk, &receipt.payer);
        }
        if (error == EBADMSG) {
            continue;
        }
        if (error != 0) {
            trunk_close_locked(trunk);
            return;
        }
        if (message.type == MESSAGE_ATTACH) {
            channel_attach_locked(trunk, &receipt, message.size);
        } else if (message.type == MESSAGE_NAME) {
            name_take_over(trunk->door, &receipt, &message);
        }
        receipt_close(&receipt);
    }
}

int door_dup(int d) {
    struct identity identity;
    int error = identify(d, &identity), client = -1;
    if (error == 0) {
        bool local = identity.local;
        identity_drop(&identity);
        if (!local) {
            return dup(d);
        }
        struct door *door = door_of(d, &error);
        if (door != NULL) {
            trunk_create_locked(door, TRUNK_EXPORT, &client, &error);
            server_unlock();
        }
    }
    if (client < 0) {
        errno = error;
    }
    return client;
}
