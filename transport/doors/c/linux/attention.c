/*
 * Attention: after a reply, a server thread waits for that client's next call in the channel's own memory.
 *
 * The thread still counts as idle. At least one idle thread always stays in the pool to hear all other clients. When
 * that one takes a call, another is recalled from its attention to replace it. So attention needs no
 * time limit but one against clients that interfere with the recall. A thread for which there is no substitute only
 * spins briefly, and first checks whether another client is waiting. A channel whose attendant had to be recalled is
 * attended to ever more rarely, until its client proves quick again.
 */
#include "internal.h"

#include <sys/epoll.h>

enum { BACKOFF_MAX = 64, RECALL_NANOSECONDS = 500000000 };

static void enlist_locked(struct server_thread *thread, struct channel *channel) {
    struct pool *pool = thread->pool;
    thread->attended = channel;
    thread->attendant_next = pool->attendants;
    thread->attendant_link = &pool->attendants;
    if (pool->attendants != NULL) {
        pool->attendants->attendant_link = &thread->attendant_next;
    }
    pool->attendants = thread;
    pool->attending++;
    channel->attendant = thread;
}

void attention_end_locked(struct server_thread *thread) {
    if (thread->attended == NULL) {
        return;
    }
    *thread->attendant_link = thread->attendant_next;
    if (thread->attendant_next != NULL) {
        thread->attendant_next->attendant_link = thread->attendant_link;
    }
    thread->attended->attendant = NULL;
    thread->attended = NULL;
    thread->pool->attending--;
}

/* Sends the thread back to its pool, unless its client is quicker. */
void attention_recall_locked(struct server_thread *thread) {
    struct channel *channel = thread->attended;
    attention_end_locked(thread);
    atomic_store(&thread->recalled, true);
    channel->backoff = channel->backoff < BACKOFF_MAX ? channel->backoff * 2 + 1 : BACKOFF_MAX;
    channel->unattended = channel->backoff;
    /* A client can write the word, so the wake-up does not depend on what is in it. */
    atomic_exchange(&channel->session->attending, ATTENDING_NOT);
    word_wake(&channel->session->attending);
}

/* The pool may just have lost the last idle thread that listens to everybody. */
void attention_balance_locked(struct pool *pool) {
    if (pool->attending > 0 && pool->idle == pool->attending) {
        attention_recall_locked(pool->attendants);
    }
}

/*
 * Whether the client has claimed the thread. The client can write the word at any time, so that a thread which has just been
 * recalled goes to sleep all the same: it looks again after a while. A thread that may leave its pool does not wait longer than
 * it would there.
 */
static bool sleep_until_claimed(struct server_thread *thread, struct channel *channel) {
    uint32_t asleep = ATTENDING_ASLEEP;
    uint64_t end = thread->patience < 0 ? UINT64_MAX : word_clock() + (uint64_t)thread->patience * 1000000;
    while (!atomic_load(&thread->recalled) &&
           atomic_load(&channel->session->attending) == ATTENDING_ASLEEP) {
        uint64_t now = word_clock();
        if (now >= end) {
            return !atomic_compare_exchange_strong(&channel->session->attending, &asleep, ATTENDING_NOT);
        }
        word_nap(&channel->session->attending, ATTENDING_ASLEEP,
                 end - now < RECALL_NANOSECONDS ? end - now : RECALL_NANOSECONDS);
        pthread_setcancelstate(thread->cancellation, NULL);
        pthread_testcancel();
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
    }
    return true;
}

/* Whether the client seems to have claimed the thread; the call itself decides. */
static bool wait_for_claim(struct server_thread *thread, struct channel *channel, bool may_sleep) {
    struct session *session = channel->session;
    uint32_t processor = atomic_load_explicit(&session->client_processor, memory_order_relaxed);
    uint32_t spinning = ATTENDING_SPINNING;
    if (word_spin(&channel->spinner, &SHORT_SPIN, processor, &session->attending, ATTENDING_SPINNING)) {
        return true;
    }
    if (!may_sleep) {
        return !atomic_compare_exchange_strong(&session->attending, &spinning, ATTENDING_NOT);
    }
    if (atomic_compare_exchange_strong(&session->attending, &spinning, ATTENDING_ASLEEP)) {
        return sleep_until_claimed(thread, channel);
    }
    return true;
}

/*
 * Begins before the client is answered, so that a quick client finds the thread attending. The thread keeps its
 * hold on the channel as thread->recent.
 */
void attention_begin_locked(struct server_thread *thread, struct channel *channel) {
    if (channel->dead || channel->orphan || channel->attendant != NULL ||
        channel->door->pool != thread->pool) { /* it has been bound or unbound */
        return;
    }
    if (channel->unattended > 0) {
        channel->unattended--;
        return;
    }
    thread->substituted = thread->pool->idle >= thread->pool->attending + 2;
    if (thread->substituted) {
        atomic_store(&thread->recalled, false);
        enlist_locked(thread, channel);
    }
    atomic_store(&channel->session->attending, ATTENDING_SPINNING);
    thread->recent = channel;
}

static bool attend(struct server_thread *thread, struct channel *channel, bool *other) {
    struct epoll_event event;
    if (!thread->substituted && epoll_wait(thread->pool->epoll, &event, 1, 0) == 1) {
        uint32_t spinning = ATTENDING_SPINNING;
        if (atomic_compare_exchange_strong(&channel->session->attending, &spinning, ATTENDING_NOT)) {
            *other = take_event(thread, &event);
            return false;
        }
        take_return_event(thread, &event);
        return true;
    }
    return wait_for_claim(thread, channel, thread->substituted);
}

/* Attends to the channel last served. True: the thread has taken an invocation. */
bool attend_recent(struct server_thread *thread) {
    struct channel *channel = thread->recent;
    bool taken = false, claimed = attend(thread, channel, &taken);
    server_lock();
    attention_end_locked(thread);
    if (claimed) {
        taken = take_claimed_locked(thread, channel);
        if (taken) {
            channel->backoff = 0;
        }
    }
    thread->recent = NULL;
    if (!claimed || !taken) {
        if (channel->orphan && !channel->busy) {
            channel_close_locked(channel);
        }
        channel_release_locked(channel);
    }
    server_unlock();
    return taken;
}
