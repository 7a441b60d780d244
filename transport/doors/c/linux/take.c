/*
 * Taking an invocation out of a pool, by an idle thread.
 *
 * Channels are watched edge-triggered and without one-shot, which saves a system call for every invocation. The
 * price is that a message for a channel that some thread is busy with can wake another one; that one only leaves a
 * note. epoll wakes the thread that parked last, which is the order that doors promise.
 *
 * A thread counts as idle until it has won the call by moving it from QUEUED to ACTIVE. That moment decides, under
 * the lock, whether it took the last idle thread of the pool, and it decides between EAGAIN and EINTR.
 */
#include "internal.h"

#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>

static bool take_unreferenced_locked(struct server_thread *thread, struct pool *pool) {
    struct door *door = pool->unreferenced;
    if (door == NULL) {
        return false;
    }
    pool->unreferenced = NULL;
    door->unreferenced_queued = false;
    door->unreferenced_running = true;
    thread->parked = false;
    thread->last_idle = --pool->idle == 0;
    thread->caller_gone = false;
    thread->invocation = (struct invocation){.active = true, .unreferenced = true, .door = door};
    door_begin_locked(&thread->invocation);
    memset(&thread->request, 0, sizeof thread->request);
    attention_balance_locked(pool);
    return true;
}

static void snapshot(struct server_thread *thread, struct channel *channel) {
    struct session *session = channel->session;
    thread->request.size = *(volatile uint64_t *)&session->request.size;
    thread->request.room = *(volatile uint64_t *)&session->request.room;
    thread->request.count = *(volatile uint32_t *)&session->request.count;
    thread->request.flags = *(volatile uint32_t *)&session->request.flags;
    size_t capacity = SESSION_CAPACITY;
    thread->request.data = (const char *)session + SESSION_REQUEST;
    if (thread->request.flags & IN_REGION) {
        thread->request.data = channel->request.base;
        capacity = channel->request.size;
    } else if (thread->request.flags & REGION_DROPPED) {
        region_drop(&channel->request);
    }
    if (thread->request.size > capacity) {
        thread->request.data = NULL;
    }
    thread->request.fds = channel->received;
    thread->request.truncated = channel->received_truncated;
}

/* Tries to win the call that the client says is queued. */
static bool win_locked(struct server_thread *thread, struct channel *channel, uint64_t sequence) {
    struct session *session = channel->session;
    uint32_t queued = CALL_QUEUED;
    struct door *door = channel->door;
    bool won = !channel->dead && atomic_load(&session->sequence) == sequence &&
               atomic_compare_exchange_strong(&session->state, &queued,
                                              door->revoked ? CALL_REFUSED : CALL_ACTIVE);
    if (won && door->revoked) {
        won = false;
        channel_answer(channel, sequence);
    }
    if (won) {
        thread->last_idle = thread->parked && --thread->pool->idle == 0; /* one that visits was not counted */
        thread->parked = false;
        thread->caller_gone = false;
        snapshot(thread, channel);
        thread->invocation = (struct invocation){
            .active = true,
            .no_results = (thread->request.flags & REQUEST_NO_RESULTS) != 0,
            .door = door,
            .channel = channel,
            .sequence = sequence,
        };
        channel->thread = thread;
        account_use_locked(channel);
        door_begin_locked(&thread->invocation);
        atomic_fetch_add_explicit(&door->status->calls, 1, memory_order_relaxed);
        attention_balance_locked(thread->pool);
    }
    return won;
}

static bool win(struct server_thread *thread, struct channel *channel, uint64_t sequence) {
    server_lock();
    bool won = win_locked(thread, channel, sequence);
    server_unlock();
    if (!won) {
        channel_drop_received(channel);
    }
    return won;
}

/*
 * Descriptors come ahead of their call, and nobody makes who sends them call. So many as the door takes may come, and of
 * strangers all together so many as one of them may hold; of a call with more nothing is kept, and it is refused.
 */
static bool keep_descriptors(struct channel *channel, struct receipt *receipt, uint32_t announced) {
    unsigned count = receipt->count, before = channel->received_count;
    if (!receipt->truncated && (count != announced || count + before > DESCRIPTORS_MAX)) {
        return false;
    }
    if (channel->received == NULL &&
        (channel->received = malloc(sizeof(int) * DESCRIPTORS_MAX)) == NULL) {
        return false;
    }
    if (receipt->truncated || count + before > atomic_load(&channel->door->status->descriptors_max) ||
        (!channel->received_truncated && !channel_may_receive(channel, count))) {
        channel_drop_received(channel);
        channel->received_truncated = true;
    } else if (!channel->received_truncated) {
        memcpy(channel->received + before, receipt->fds, sizeof(int) * count);
        channel->received_count += count;
        receipt->count = 0;
    }
    return true;
}

/* A region too large for any request that the thread could take is not mapped: a client must not be able to use up
 * our addresses. The call in it is too big. */
static bool keep_region(struct server_thread *thread, struct channel *channel, struct receipt *receipt,
                        uint64_t size) {
    void *base;
    region_drop(&channel->request);
    if (receipt->count == 1 && size > REGION_LARGE && size > memory_round(thread->stack_limit)) {
        return true;
    }
    if (receipt->count != 1 || size == 0 || memory_adopt(receipt->fds[0], size, PROT_READ, &base) != 0) {
        return false;
    }
    channel->request = (struct region){base, size};
    return true;
}

enum outcome { OUTCOME_NOTHING, OUTCOME_WON, OUTCOME_LATER, OUTCOME_BROKEN };

/* More datagrams than these before a call can be taken are a flood, which would keep the thread from others. */
enum { DATAGRAMS_A_CALL = 128 };

static enum outcome hear(struct server_thread *thread, struct channel *channel, unsigned *datagrams) {
    while (++*datagrams <= DATAGRAMS_A_CALL) {
        struct message message;
        struct receipt receipt;
        /* Of a client that has sent so many files that cannot be closed, nothing more is heard, for they would be more. One whose
         * files are being closed waits for that; the thread does not. */
        int behind = closing_is_behind(&channel->payer);
        if (behind != 0) {
            return behind == CLOSING_BUSY ? OUTCOME_LATER : OUTCOME_BROKEN;
        }
        int error = message_receive(channel->fd, &channel->payer, &message, &receipt, 0);
        if (error != 0) {
            return error == EAGAIN ? OUTCOME_NOTHING : OUTCOME_BROKEN;
        }
        bool good = true;
        if (message.type == MESSAGE_CALL) {
            receipt_close(&receipt);
            if (win(thread, channel, message.sequence)) {
                return OUTCOME_WON;
            }
        } else if (message.type == MESSAGE_FDS) {
            good = keep_descriptors(channel, &receipt, message.count);
        } else if (message.type == MESSAGE_GROW) {
            good = keep_region(thread, channel, &receipt, message.size);
        }
        receipt_close(&receipt);
        if (!good) {
            return OUTCOME_BROKEN;
        }
    }
    return OUTCOME_BROKEN;
}

/* Called with server.lock, which it releases. */
static bool take_call(struct server_thread *thread, struct channel *channel) {
    if (channel->busy) {
        channel->pending = true;
        server_unlock();
        return false;
    }
    channel->busy = true;
    channel->pending = false;
    channel_hold_locked(channel);
    server_unlock();
    for (unsigned datagrams = 0;;) {
        enum outcome outcome = hear(thread, channel, &datagrams);
        if (outcome == OUTCOME_WON) {
            return true;
        }
        server_lock();
        if (outcome == OUTCOME_NOTHING && channel->pending) {
            channel->pending = false;
            server_unlock();
            continue;
        }
        channel->busy = false;
        channel->paused = outcome == OUTCOME_LATER && control_pause_locked();
        if (outcome == OUTCOME_BROKEN || (outcome == OUTCOME_LATER && !channel->paused)) {
            channel_close_locked(channel);
        } else if (channel->orphan && atomic_load(&channel->session->state) != CALL_QUEUED) {
            channel_close_locked(channel);
        }
        channel_release_locked(channel);
        server_unlock();
        return false;
    }
}

/* Whether the door that the thread is bound to can be called no more. */
static bool is_dismissed(const struct server_thread *thread) {
    return thread->bound != NULL && (thread->bound->revoked || thread->bound->references == 0);
}

/* Whether the thread, which has been idle for its time, is one too many. It counts as idle no more then, from the moment that
 * decides: another one might take a call and think that there is still somebody for the next. */
static bool leaves_pool(struct server_thread *thread) {
    server_lock();
    struct pool *pool = thread->pool;
    bool spare = is_dismissed(thread) || pool->idle > pool->attending + 1;
    if (spare) {
        thread->parked = false;
        pool->idle--;
    }
    server_unlock();
    return spare;
}

bool take_event(struct server_thread *thread, const struct epoll_event *event) {
    enum kind kind;
    server_lock();
    void *object = handle_lookup(event->data.u64, &kind);
    if (kind == KIND_CHANNEL) {
        return take_call(thread, object);
    }
    bool taken = kind == KIND_POOL && take_unreferenced_locked(thread, object);
    bool dismissed = kind == KIND_POOL && !taken && is_dismissed(thread);
    if (dismissed) {
        pool_dismiss_locked(object);
    }
    server_unlock();
    if (dismissed) {
        pthread_exit(NULL);
    }
    return taken;
}

/* How often a thread looks again whether another one has done with a channel. */
enum { TURNS = 100 };

/*
 * The client has claimed the thread's attention: the call is in the session memory, with no datagram. Keeps the
 * caller's hold on the channel if it wins the call.
 */
bool take_claimed_locked(struct server_thread *thread, struct channel *channel) {
    struct session *session = channel->session;
    for (int i = 0; i < TURNS && channel->busy && channel->thread == NULL &&
                    atomic_load(&session->state) == CALL_QUEUED; i++) {
        /* Another thread is reading a late datagram of an earlier call; it does not block. A client that sends one
         * after the other is left to that thread. */
        server_unlock();
        sched_yield();
        server_lock();
    }
    if (channel->busy || channel->dead || (*(volatile uint32_t *)&session->request.flags & ON_SOCKET)) {
        return false;
    }
    channel->pending = false;
    channel->busy = win_locked(thread, channel, atomic_load(&session->sequence));
    return channel->busy;
}

/* Puts an event back that the thread has taken from the pool but cannot deal with. */
void take_return_event(struct server_thread *thread, const struct epoll_event *event) {
    enum kind kind;
    server_lock();
    void *object = handle_lookup(event->data.u64, &kind);
    struct epoll_event again = {.events = EPOLLIN | EPOLLET, .data.u64 = event->data.u64};
    if (kind == KIND_CHANNEL || kind == KIND_POOL) {
        int fd = kind == KIND_CHANNEL ? ((struct channel *)object)->fd : ((struct pool *)object)->bell;
        epoll_ctl(thread->pool->epoll, EPOLL_CTL_MOD, fd, &again);
    }
    server_unlock();
}

void take(struct server_thread *thread) {
    if (thread->recent != NULL && attend_recent(thread)) {
        return;
    }
    for (;;) {
        struct epoll_event event;
        pthread_setcancelstate(thread->cancellation, NULL);
        int count = epoll_wait(thread->pool->epoll, &event, 1, thread->patience);
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
        if (count == 0 && leaves_pool(thread)) {
            pthread_exit(NULL);
        }
        if (count == 1 && take_event(thread, &event)) {
            return;
        }
        if (count < 0 && errno == EBADF) { /* there was no descriptor left for the public pool */
            struct timespec pause = {.tv_nsec = 10000000};
            nanosleep(&pause, NULL);
            server_lock();
            pool_open(thread->pool);
            server_unlock();
        }
    }
}

static int milliseconds_since(const struct timespec *start) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int)((now.tv_sec - start->tv_sec) * 1000 + (now.tv_nsec - start->tv_nsec) / 1000000);
}

/* Waits for a client's answer within a call. 0, ETIMEDOUT, or EPIPE when the client has gone, or says too much else. */
int channel_await(struct channel *channel, uint64_t sequence, enum message_type type, int milliseconds, int *error) {
    struct timespec start;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (unsigned others = 0;;) {
        struct message message;
        struct receipt receipt;
        int result = message_receive(channel->fd, &channel->payer, &message, &receipt, 0);
        if (result == 0) {
            receipt_close(&receipt);
            if (message.type == type && message.sequence == sequence) {
                *error = message.error;
                return 0;
            }
            if (++others > DATAGRAMS_A_CALL) {
                return EPIPE;
            }
            continue;
        }
        if (result != EAGAIN) {
            return EPIPE;
        }
        int left = milliseconds - milliseconds_since(&start);
        struct pollfd entry = {.fd = channel->fd, .events = POLLIN | POLLRDHUP};
        if (left <= 0) {
            return ETIMEDOUT;
        }
        poll(&entry, 1, left);
    }
}
