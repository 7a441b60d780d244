/* Channels, the server's end of one client thread's private socket: attach, hang-up, eviction. */
#include "internal.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef PIDFS_MAGIC
#define PIDFS_MAGIC 0x50494446
#endif

enum { CHANNELS_A_PROCESS = 1024, DESCRIPTORS_OF_A_STRANGER = 4096, REGIONS_OF_A_STRANGER = 512 << 20 };

void close_all(const int *fds, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        close(fds[i]);
    }
}

void close_foreign(const int *fds, unsigned count, const struct closing_payer *payer) {
    for (unsigned i = 0; i < count; i++) {
        closing_close(fds[i], payer);
    }
}

/* Descriptors that strangers have sent ahead of calls, which they need never make. */
static atomic_uint strangers_sent;

/* Whether so many more may come. If so they are counted, if they are a stranger's. */
bool channel_may_receive(const struct channel *channel, unsigned count) {
    unsigned share = channel->stranger ? stranger_share(channel->euid) : UINT_MAX;
    if (share == UINT_MAX || atomic_fetch_add(&strangers_sent, count) + count <= share) {
        return true;
    }
    atomic_fetch_sub(&strangers_sent, count);
    return false;
}

/* They are the procedure's now. */
void channel_hand_over_received(struct channel *channel) {
    if (channel->stranger) {
        atomic_fetch_sub(&strangers_sent, channel->received_count);
    }
    channel->received_count = 0;
}

void channel_drop_received(struct channel *channel) {
    close_foreign(channel->received, channel->received_count, &channel->payer);
    channel_hand_over_received(channel);
    channel->received_truncated = false;
}

void channel_hold_locked(struct channel *channel) {
    channel->holds++;
}

/* Whether nobody who keeps to the protocol still reads a reply. */
static bool is_read_out(const struct channel *channel) {
    uint32_t state = atomic_load(&channel->session->state);
    return state == CALL_IDLE || state == CALL_EVICTED || socket_hung_up(channel->fd);
}

void channel_release_locked(struct channel *channel) {
    if (--channel->holds > 0) {
        return;
    }
    channel_drop_received(channel);
    free(channel->received);
    region_drop(&channel->request);
    if (channel->stranger && is_read_out(channel)) {
        region_empty(&channel->reply);
    }
    region_drop(&channel->reply);
    munmap(channel->session, SESSION_SIZE);
    socket_drop(channel->out, &channel->payer);
    socket_let_go(channel->fd, &channel->payer);
    struct door *door = channel->door;
    free(channel);
    door_release_locked(door);
}

/* Tells the pool once more of what there is to be heard. */
void channel_announce_locked(const struct channel *channel) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = channel->handle};
    epoll_ctl(channel->door->pool->epoll, EPOLL_CTL_MOD, channel->fd, &event);
}

/* Takes the channel out of every table; its socket closes when no thread uses it any more. */
void channel_close_locked(struct channel *channel) {
    if (channel->dead) {
        return;
    }
    channel->dead = true;
    if (channel->attendant != NULL) {
        attention_recall_locked(channel->attendant);
    }
    *channel->link = channel->next;
    if (channel->next != NULL) {
        channel->next->link = channel->link;
    }
    channel->account->granted -= channel->granted;
    account_delist_locked(channel);
    account_close_locked(channel->account);
    channel->account = NULL;
    handle_free(channel->handle);
    epoll_ctl(server.epoll, EPOLL_CTL_DEL, channel->fd, NULL);
    epoll_ctl(channel->door->pool->epoll, EPOLL_CTL_DEL, channel->fd, NULL);
    server.channels--;
    client_leave_locked(channel->client);
    channel_release_locked(channel);
}

/* The client has gone. A thread that serves it goes on, unless the door lets clients cancel. */
void channel_hang_up(struct channel *channel) {
    struct server_thread *thread = channel->thread;
    if (thread != NULL) {
        thread->caller_gone = true;
        door_abandon_locked(&thread->invocation);
        if (!(atomic_load(&channel->door->status->attributes) & DOOR_NO_CANCEL)) {
            pthread_cancel(thread->self);
        }
    }
    channel_close_locked(channel);
}

static bool is_idle(const struct channel *channel) {
    return !channel->busy && channel->thread == NULL && atomic_load(&channel->session->state) == CALL_IDLE;
}

static struct channel *oldest_idle(const struct account *account) {
    struct channel *channel = account->oldest;
    while (channel != NULL && !is_idle(channel)) {
        channel = channel->newer;
    }
    return channel;
}

/* The client attaches again when it calls again. False: there is none, or it calls now. */
static bool evict_locked(struct channel *channel) {
    uint32_t idle = CALL_IDLE;
    if (channel == NULL || !atomic_compare_exchange_strong(&channel->session->state, &idle, CALL_EVICTED)) {
        return false;
    }
    channel_close_locked(channel);
    return true;
}

/*
 * A client can keep the memory in which its replies came, and the kernel counts it for us, who have written there. So what strangers
 * are sent in regions is given back when it has been read, and one user has so many bytes of them; idle channels make room for others.
 */
bool channel_may_reply(struct channel *channel, size_t size) {
    bool may = !channel->stranger;
    server_lock();
    struct account *account = channel->account; /* NULL: it has been closed, and its client waits no more */
    if (account != NULL) {
        account->granted -= channel->granted;
        channel->granted = 0;
        while (!may) {
            may = account->granted == 0 || account->granted + size <= REGIONS_OF_A_STRANGER;
            if (!may && !evict_locked(oldest_idle(account))) {
                break;
            }
        }
        channel->granted = may && channel->stranger ? size : 0;
        account->granted += channel->granted;
    }
    server_unlock();
    return may;
}

/* Closes the idle channel that was used longest ago. */
bool channel_evict_locked(void) {
    return evict_locked(accounts_oldest_locked(oldest_idle));
}

/*
 * Five descriptors kept in reserve, so that a client can still attach, and be told EMFILE where it matters, when
 * the program has used up its table.
 */
static int reserve[5] = {-1, -1, -1, -1, -1};

void channel_reserve_locked(bool keep) {
    for (unsigned i = 0; i < sizeof reserve / sizeof *reserve; i++) {
        if (!keep && reserve[i] >= 0) {
            close(reserve[i]);
            reserve[i] = -1;
        } else if (keep && reserve[i] < 0) {
            reserve[i] = fcntl(server.epoll, F_DUPFD_CLOEXEC, 0);
        }
    }
}

/*
 * How many of our descriptors one user may occupy. Whether a channel is idle is written where its client can write,
 * so eviction alone would not keep a user from taking them all. For ourselves and root there is no such limit.
 */
unsigned stranger_share(uid_t user) {
    struct rlimit limit;
    if (user == 0 || user == geteuid()) {
        return UINT_MAX;
    }
    /* A quarter of the table may be hundreds of thousands, and to count so many takes long. */
    bool is_small = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / 4 < DESCRIPTORS_OF_A_STRANGER;
    return is_small ? (unsigned)limit.rlim_cur / 4 : DESCRIPTORS_OF_A_STRANGER;
}

/* How many channels a process has at a door, and the idle one that was used longest ago. */
static unsigned count_of_process(const struct account *account, const struct door *door, pid_t pid, struct channel **oldest) {
    unsigned count = 0;
    *oldest = NULL;
    for (struct channel *channel = account->oldest; channel != NULL; channel = channel->newer) {
        if (channel->door == door && channel->pid == pid) {
            count++;
            *oldest = *oldest == NULL && is_idle(channel) ? channel : *oldest;
        }
    }
    return count;
}

static bool admit_locked(struct door *door, const struct ucred *peer) {
    struct rlimit limit;
    struct channel *oldest;
    const struct account *account = account_of_locked(peer->uid);
    unsigned share = stranger_share(peer->uid);
    if (account != NULL && account->channels >= CHANNELS_A_PROCESS &&
        count_of_process(account, door, peer->pid, &oldest) >= CHANNELS_A_PROCESS && !evict_locked(oldest)) {
        return false;
    }
    if (account != NULL && share < UINT_MAX && 2 * account->channels + account->processes >= share &&
        !evict_locked(oldest_idle(account))) {
        return false;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && 2 * (rlim_t)server.channels >= limit.rlim_cur - limit.rlim_cur / 4) {
        channel_evict_locked();
    }
    return true;
}

/*
 * Whether two pidfds are of one process, and its number among all that the kernel has had. Before Linux 6.9 all have the same
 * inode, which tells nothing: -1.
 */
static int same_process(int one, int other, uint64_t *number) {
    struct statfs filesystem;
    struct stat first, second;
    if (one < 0 || other < 0 || fstatfs(one, &filesystem) < 0 || filesystem.f_type != PIDFS_MAGIC ||
        fstat(one, &first) < 0 || fstat(other, &second) < 0) {
        return -1;
    }
    *number = first.st_ino;
    return first.st_ino == second.st_ino && first.st_dev == second.st_dev;
}

/*
 * Whether who sent the message is who made the socket. Numbers of processes say so only of processes that we see: all others
 * have the number 0. With numbers alone the user must fit, too: a number can have gone to another process.
 */
static bool is_private_socket(int fd, const struct receipt *receipt, struct ucred *peer, uint64_t *number) {
    const struct ucred *sender = &receipt->credentials;
    if (!socket_is_ours(fd) || !socket_peer(fd, peer) || peer->pid != sender->pid) {
        return false;
    }
    int maker = receipt->pidfd < 0 ? -1 : socket_peer_pidfd(fd, peer->pid);
    int same = same_process(receipt->pidfd, maker, number);
    if (maker >= 0) {
        close(maker);
    }
    return same >= 0 ? same == 1 : peer->pid > 0 && (sender->uid == peer->uid || sender->uid == 0);
}

/*
 * The other half of a channel: a socket that is ours alone to receive from, whose other end the client gets to send on. A call
 * that waits in the memory already, and a region for it, are told of there, too, as the client would if it had that end. It has it
 * last: from then on it can fill the socket, and only socket_let_go() may close it.
 */
static int answer_attach(const struct session *session, int out, int region, uint64_t size) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        return -1;
    }
    struct message attached = {.type = MESSAGE_ATTACHED};
    struct message call = {.type = MESSAGE_CALL, .sequence = atomic_load(&session->sequence)};
    struct message grow = {.type = MESSAGE_GROW, .sequence = call.sequence, .size = size};
    bool calls = atomic_load(&session->state) == CALL_QUEUED;
    if ((region >= 0 && message_send(pair[1], &grow, &region, 1) != 0) ||
        (calls && message_send(pair[1], &call, NULL, 0) != 0) ||
        message_send(out, &attached, &pair[1], 1) != 0) {
        close(pair[0]);
        pair[0] = -1;
    }
    close(pair[1]);
    return pair[0];
}

/* One that has not come into any table. */
static void forget(struct channel *channel) {
    if (channel != NULL) {
        handle_free(channel->handle);
        if (channel->account != NULL) {
            account_close_locked(channel->account);
        }
        free(channel);
    }
}

/*
 * A client thread brings its channel. The kernel's word on who sent the message must agree with its word on who
 * made the socket: nobody can present somebody else's socket as their own identity. On success the receipt's
 * descriptors are ours; otherwise the caller closes them and the client sees the channel hang up.
 */
void channel_attach_locked(struct trunk *trunk, struct receipt *receipt, uint64_t size) {
    struct ucred peer;
    struct door *door = trunk->door;
    void *session = NULL;
    uint64_t number = 0;
    if (receipt->truncated) {
        channel_reserve_locked(false);
        channel_evict_locked();
        return;
    }
    if (receipt->count < 2 || receipt->count > 3 || !receipt->credentialed || door->revoked ||
        !is_private_socket(receipt->fds[0], receipt, &peer, &number) || !admit_locked(door, &peer) ||
        memory_adopt(receipt->fds[1], SESSION_SIZE, PROT_READ | PROT_WRITE, &session) != 0) {
        return;
    }
    close(receipt->fds[1]); /* memory, as memory_adopt() has found */
    int region = --receipt->count == 2 ? receipt->fds[2] : -1;
    receipt->fds[1] = region; /* anybody's file: it is closed with the receipt, after the socket that it is put into */
    struct channel *channel = calloc(1, sizeof *channel);
    bool named = channel != NULL && (channel->account = account_open_locked(peer.uid)) != NULL &&
                 (channel->handle = handle_new(KIND_CHANNEL, channel)) != 0;
    int fd = named ? answer_attach(session, receipt->fds[0], region, size) : -1;
    if (fd < 0) {
        forget(channel);
        munmap(session, SESSION_SIZE);
        return;
    }
    channel->fd = fd;
    channel->out = receipt->fds[0];
    channel->session = session;
    channel->door = door;
    channel->trunk = trunk->handle;
    channel->holds = 1;
    channel->pid = peer.pid;
    channel->process = number;
    channel->euid = peer.uid;
    channel->egid = peer.gid;
    channel->ruid = receipt->credentials.uid;
    channel->rgid = receipt->credentials.gid;
    channel->payer = (struct closing_payer){peer.uid, 0, peer.pid};
    channel->stranger = stranger_share(peer.uid) < UINT_MAX;
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = channel->handle};
    if (control_watch_locked(channel->fd, EPOLLRDHUP | EPOLLET, channel->handle) != 0 ||
        epoll_ctl(door->pool->epoll, EPOLL_CTL_ADD, channel->fd, &event) < 0) {
        epoll_ctl(server.epoll, EPOLL_CTL_DEL, channel->fd, NULL);
        socket_let_go(fd, &channel->payer);
        forget(channel);
        munmap(session, SESSION_SIZE);
        return;
    }
    if (peer.pid != getpid()) {
        channel->client = client_join_locked(number, channel->account, &receipt->pidfd);
    }
    receipt->fds[0] = region;
    receipt->count--;
    receipt_close(receipt); /* before the reserve is filled up: the pidfd takes a descriptor, too */
    channel->next = door->channels;
    channel->link = &door->channels;
    if (channel->next != NULL) {
        channel->next->link = &channel->next;
    }
    door->channels = channel;
    account_enlist_locked(channel);
    trunk->attaches = true;
    door->holds++;
    server.channels++;
    channel_reserve_locked(true);
}

/* Tells the client that there is a datagram, which it may not be waiting for. */
void channel_ring(struct channel *channel) {
    atomic_fetch_add(&channel->session->bell, 1);
    if (atomic_load(&channel->session->listening) == LISTENING_TO_BELL) {
        word_wake(&channel->session->bell);
    }
}

/* Wakes the client of a call whose outcome is in the session memory. */
void channel_answer(struct channel *channel, uint64_t sequence) {
    atomic_fetch_add(&channel->session->bell, 1);
    uint32_t listening = atomic_load(&channel->session->listening);
    if (listening == LISTENING_TO_BELL) {
        word_wake(&channel->session->bell);
    } else if (listening != LISTENING_NOWHERE) {
        struct message message = {.type = MESSAGE_REPLY, .sequence = sequence};
        message_send(channel->out, &message, NULL, 0);
    }
}

/* Calls that no thread has taken yet end here; those in progress go on. */
void channel_revoke_locked(struct door *door) {
    for (struct channel *channel = door->channels; channel != NULL; channel = channel->next) {
        uint32_t queued = CALL_QUEUED;
        if (atomic_compare_exchange_strong(&channel->session->state, &queued, CALL_REFUSED)) {
            channel_answer(channel, atomic_load(&channel->session->sequence));
        }
    }
}
