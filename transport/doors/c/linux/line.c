/*
 * Lines, the client's end of a channel: one for every door that a thread calls, kept between calls.
 *
 * A line is found by the trunk's socket, not by the descriptor's number, because the program may close and reuse
 * numbers unnoticed. It is used only by the thread, process and effective ids that made it: the kernel's record of
 * who made the socket is the caller's credential.
 */
#include "internal.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LINES_A_THREAD = 32, ROOM_MILLISECONDS = 10 };

static pthread_mutex_t client_lock = PTHREAD_MUTEX_INITIALIZER;
static struct line *all_lines;
static pthread_key_t key;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static bool key_made;
static _Thread_local struct line *lines;
static _Thread_local uint64_t line_clock;

void lines_lock(void) {
    pthread_mutex_lock(&client_lock);
}

void lines_unlock(void) {
    pthread_mutex_unlock(&client_lock);
}

static void free_line(struct line *line) {
    region_drop(&line->request);
    region_drop(&line->reply);
    if (line->session != NULL) {
        munmap(line->session, SESSION_SIZE);
    }
    munmap(line->status, STATUS_SIZE);
    free(line);
}

static void drop(int *fd) {
    if (*fd >= 0) {
        close(*fd);
    }
    *fd = -1;
}

/*
 * What the server has sent. Its first message brings a descriptor, for which a place has been kept since the line was made: the
 * program may have used up its table since.
 */
int line_receive(struct line *line, struct message *message, struct receipt *receipt) {
    if (line->place >= 0) {
        struct pollfd entry = {.fd = line->fd, .events = POLLIN};
        if (poll(&entry, 1, 0) == 0) {
            return EAGAIN;
        }
        drop(&line->place);
    }
    return message_receive(line->fd, &line->payer, message, receipt, 0);
}

/* Only a socket that the server itself has made: what is written there is written in our name. */
void line_take_out(struct line *line, struct receipt *receipt) {
    struct ucred maker;
    if (line->out < 0 && receipt->count == 1 && socket_is_ours(receipt->fds[0]) && socket_peer(receipt->fds[0], &maker) &&
        maker.pid == line->server) {
        line->out = receipt->fds[0];
        receipt->count = 0;
    }
}

/*
 * Where to send: 0, EAGAIN when the server has not said so yet, or EPIPE when it has said something else first. It says so before
 * it takes a call, so after a reply the message is there.
 */
int line_find_out(struct line *line) {
    struct message message;
    struct receipt receipt;
    if (line->out >= 0) {
        return 0;
    }
    if (line->fd < 0) {
        return EAGAIN;
    }
    int error = line_receive(line, &message, &receipt);
    if (error != 0) {
        return error == EAGAIN ? EAGAIN : EPIPE;
    }
    if (message.type == MESSAGE_ATTACHED) {
        line_take_out(line, &receipt);
    }
    receipt_close(&receipt);
    return line->out >= 0 ? 0 : EPIPE;
}

int line_send(struct line *line, const struct message *message, const int *fds, unsigned count) {
    return line_find_out(line) == 0 ? message_send(line->out, message, fds, count) : EPIPE;
}

void line_abandon(struct line *line) {
    struct line **link = &lines;
    while (*link != NULL && *link != line) {
        link = &(*link)->next;
    }
    if (*link != NULL) {
        *link = line->next;
    }
    lines_lock();
    *line->all_link = line->all;
    if (line->all != NULL) {
        line->all->all_link = line->all_link;
    }
    lines_unlock();
    if (line_find_out(line) == 0) {
        socket_drop(line->out, &line->payer);
    }
    drop(&line->offer);
    drop(&line->first);
    drop(&line->place);
    if (line->fd >= 0) {
        socket_let_go(line->fd, &line->payer);
    }
    free_line(line);
}

static void thread_ends(void *unused) {
    (void)unused;
    while (lines != NULL) {
        line_abandon(lines);
    }
}

static void make_key(void) {
    key_made = pthread_key_create(&key, thread_ends) == 0;
}

/* In a fork child: the lines are the parent's, and so are the calls that they carry. */
void lines_forget_all(void) {
    while (all_lines != NULL) {
        struct line *line = all_lines;
        all_lines = line->all;
        if (line->fd >= 0) {
            close(line->fd); /* and nothing more: the socket is the parent's, too */
        }
        if (line->out >= 0) {
            close(line->out);
        }
        drop(&line->offer);
        drop(&line->first);
        drop(&line->place);
        free_line(line);
    }
    lines = NULL;
}

/* Drops lines that have hung up, lines of a descriptor number that now means another socket, and the oldest. */
static void tidy(int fd, uint64_t socket) {
    unsigned count = 0;
    struct line *oldest = NULL, *following;
    for (struct line *line = lines; line != NULL; line = following) {
        following = line->next;
        if (line->in_use) {
            continue;
        }
        if ((line->trunk == fd && line->socket != socket) || socket_hung_up(line->fd)) {
            line_abandon(line);
            continue;
        }
        count++;
        oldest = oldest == NULL || line->used < oldest->used ? line : oldest;
    }
    if (count >= LINES_A_THREAD) {
        line_abandon(oldest);
    }
}

/*
 * A server that is slow to hear has a full socket, and one that never hears has it for ever. A call with a time limit is
 * made by somebody who must not stand still: it does not wait at all.
 */
static int send_attach(int trunk, const int fds[3], uint64_t size, const struct patience *patience) {
    struct message message = {.type = MESSAGE_ATTACH, .size = size};
    for (;;) {
        int error = message_send(trunk, &message, fds, fds[2] < 0 ? 2 : 3);
        if (error != EAGAIN) {
            return error == 0 || error == EMFILE ? error : EBADF;
        }
        struct pollfd entry = {.fd = trunk, .events = POLLOUT};
        if (patience->limited || patience_wait(patience, &entry, 1, ROOM_MILLISECONDS) < 0) {
            return EAGAIN;
        }
        if (socket_hung_up(trunk)) {
            return EBADF;
        }
    }
}

/* The server hears of the line together with its first call: that costs no message more, and nobody waits. */
int line_offer(struct line *line, const struct patience *patience) {
    int fds[3] = {line->offer, line->place, line->first};
    int error = send_attach(line->trunk, fds, line->request.size, patience);
    drop(&line->offer);
    drop(&line->first);
    return error;
}

/* What a server may take to answer, and how long we wait at a time. */
enum { OUT_PATIENCE = 1000 };

/*
 * A first call with descriptors can only be sent when the server has answered. EAGAIN when the call cannot
 * wait so long: the next one need not.
 */
int line_await_out(struct line *line, const struct patience *patience) {
    if (line->offer >= 0) {
        int error = line_offer(line, patience);
        if (error != 0) {
            return error;
        }
    }
    int error;
    while ((error = line_find_out(line)) == EAGAIN) {
        struct pollfd entry = {.fd = line->fd, .events = POLLIN};
        int count = patience_wait(patience, &entry, 1, OUT_PATIENCE);
        if (count < 0) {
            return EAGAIN;
        }
        if (count == 0 && (socket_hung_up(line->trunk) || socket_peer_exited(line->trunk, line->server))) {
            return EBADF;
        }
    }
    return error;
}

/* Makes the client's half, unless it is there: not before the descriptors of the call have been looked at, whose numbers must not be
 * ours by then. */
int line_connect(struct line *line) {
    int pair[2];
    if (line->fd >= 0) {
        return 0;
    }
    int memory = memory_create("door-session", SESSION_SIZE);
    if (memory < 0) {
        return errno;
    }
    line->session = memory_map(memory, SESSION_SIZE, PROT_READ | PROT_WRITE);
    if (line->session == NULL) {
        close(memory);
        return ENOMEM;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        int error = errno;
        munmap(line->session, SESSION_SIZE);
        line->session = NULL;
        close(memory);
        return error;
    }
    line->fd = pair[0];
    line->offer = pair[1];
    line->place = memory;
    return 0;
}

static int attach(int fd, struct line **result) {
    struct identity identity;
    int error = identify(fd, &identity);
    if (error != 0) {
        return error;
    }
    tidy(fd, identity.socket);
    struct line *line = calloc(1, sizeof *line);
    if (line == NULL || !identity.mapped) {
        error = line == NULL ? ENOMEM : identity.lack;
    } else if (identity.dead || atomic_load(&identity.status->revoked)) {
        error = EBADF;
    } else {
        line->trunk = fd;
        line->socket = identity.socket;
        line->status = identity.status;
        line->server = identity.pid;
        line->payer = identity.payer;
        line->euid = geteuid();
        line->egid = getegid();
        line->fd = line->out = line->offer = line->first = line->place = -1;
    }
    if (error != 0) {
        free(line);
        identity_drop(&identity);
        return error;
    }
    pthread_once(&key_once, make_key);
    if (key_made) {
        pthread_setspecific(key, &key);
    }
    line->next = lines;
    lines = line;
    lines_lock();
    line->all = all_lines;
    line->all_link = &all_lines;
    if (all_lines != NULL) {
        all_lines->all_link = &line->all;
    }
    all_lines = line;
    lines_unlock();
    *result = line;
    return 0;
}

/* The calling thread's line to the door behind `fd`: EBADF, EMFILE, ENOMEM or 0. The server may not know of it yet. */
int line_for(int fd, struct line **result) {
    uint64_t socket = socket_cookie(fd);
    if (socket == 0) {
        return EBADF;
    }
    struct line *line, *following;
    for (line = lines; line != NULL; line = following) {
        following = line->next;
        if (line->socket != socket || line->in_use) {
            continue;
        }
        if (line->euid == geteuid() && line->egid == getegid()) {
            break;
        }
        line_abandon(line);
    }
    if (line == NULL) {
        int error = attach(fd, &line);
        if (error != 0) {
            return error;
        }
    }
    line->in_use = true;
    line->trunk = fd;
    line->used = ++line_clock;
    *result = line;
    return 0;
}

/* Ends the calling thread's lines to the door behind `fd` that carry no call. */
void lines_end(int fd) {
    uint64_t socket = socket_cookie(fd);
    struct line *following;
    for (struct line *line = lines; line != NULL; line = following) {
        following = line->next;
        if (line->socket == socket && !line->in_use) {
            line_abandon(line);
        }
    }
}

void line_release(struct line *line) {
    line->in_use = false;
}
