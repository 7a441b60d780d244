/* See closing.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "closing.h"

#include "thread.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/syscall.h>
#endif

struct item {
    struct item *next;
    int fd;
    struct errand *errand; /* what there is to do, if it is something else */
    bool dropped, over;    /* nobody waits for it; nobody does it any more */
    struct closing_payer payer;
    /* Since when it is being done, or waits for that if it is an errand; whether that is over; and by which thread. */
    struct timespec begun;
    atomic_bool done;
    pid_t thread;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static struct item *waiting, **last = &waiting;
static struct item *under_way; /* each has a thread */
static unsigned busy;          /* threads that close one */
static unsigned threads;       /* with those that are about to look for one, and those that rest */
static unsigned resting;       /* threads that wait for something to close */
static unsigned summoned;      /* of those, how many have been woken */
static pthread_cond_t summons = PTHREAD_COND_INITIALIZER;

static unsigned awaited; /* calls of closing_settle() and closing_errand() */
static pthread_cond_t settled = PTHREAD_COND_INITIALIZER;

static atomic_uint unclosed;

static int is_of_user(const struct closing_payer *one, const struct closing_payer *other) {
    return one->user == other->user && one->zone == other->zone;
}

static int is_of_process(const struct closing_payer *one, const struct closing_payer *other) {
    return is_of_user(one, other) && one->process == other->process;
}

/* How many of a list a payer, or its user, has to pay for. */
static void count(const struct item *items, const struct closing_payer *payer, unsigned *process, unsigned *user) {
    for (; items != NULL; items = items->next) {
        *user += is_of_user(&items->payer, payer) != 0;
        *process += is_of_process(&items->payer, payer) != 0;
    }
}

static bool is_stranger(const struct closing_payer *payer) {
    return payer->user != 0 && payer->user != (long)geteuid();
}

static unsigned threads_of_strangers(void) {
    unsigned strangers = 0;
    for (const struct item *item = under_way; item != NULL; item = item->next) {
        strangers += is_stranger(&item->payer);
    }
    return strangers;
}

/* The place of the oldest item whose payer may have one more thread, or NULL. */
static struct item **find_next(void) {
    const unsigned share = CLOSING_THREADS - CLOSING_THREADS_RESERVED;
    bool is_full = busy >= share && threads_of_strangers() >= share;
    for (struct item **place = &waiting; *place != NULL; place = &(*place)->next) {
        unsigned process = 0, user = 0;
        count(under_way, &(*place)->payer, &process, &user);
        if (process < CLOSING_THREADS_OF_PROCESS && user < CLOSING_THREADS_OF_USER &&
            !(is_full && is_stranger(&(*place)->payer))) {
            return place;
        }
    }
    return NULL;
}

static pid_t thread_number(void) {
#ifdef __linux__
    return (pid_t)syscall(SYS_gettid);
#else
    return 0;
#endif
}

/* Whether a thread of ours would run if it had a processor. Where nobody tells, it is taken to wait for something else. */
static bool wants_processor(pid_t thread) {
    bool wants = false;
#ifdef __linux__
    char path[64], text[256] = {0};
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)thread);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        const char *name_end = read(fd, text, sizeof text - 1) > 0 ? strrchr(text, ')') : NULL;
        wants = name_end != NULL && strncmp(name_end, ") R", 3) == 0;
        close(fd);
    }
#else
    (void)thread;
#endif
    return wants;
}

static struct timespec from_now(unsigned microseconds) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_nsec += (long)(microseconds % 1000000) * 1000;
    end.tv_sec += microseconds / 1000000 + end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    return end;
}

/*
 * Waits a moment for something more to close: descriptors come in bursts, and waking a thread costs less than making one. False
 * when nothing has come, or others rest already.
 */
static bool rest(void) {
    if (resting >= CLOSING_RESTING) {
        return false;
    }
    struct timespec end = from_now(CLOSING_REST_MILLISECONDS * 1000);
    resting++;
    int error = 0;
    while (summoned == 0 && error == 0) {
        error = pthread_cond_timedwait(&summons, &lock, &end);
    }
    bool called = summoned > 0;
    summoned -= called;
    resting--;
    return called;
}

static void start_thread(void);

static struct item *take_out(struct item **place) {
    struct item *item = *place;
    *place = item->next;
    last = last == &item->next ? place : last;
    return item;
}

/* Closes what waits, and does errands, until there is nothing that this thread may close. */
static void *work(void *unused) {
    struct item **place;
    (void)unused;
    pthread_mutex_lock(&lock);
    while ((place = find_next()) != NULL || rest()) {
        if (place == NULL) {
            continue;
        }
        struct item *item = take_out(place);
        clock_gettime(CLOCK_MONOTONIC, &item->begun);
        item->thread = thread_number();
        item->next = under_way;
        under_way = item;
        busy++;
        start_thread(); /* before this one gets stuck */
        pthread_mutex_unlock(&lock);
        if (item->errand != NULL) {
            item->errand->run(item->errand);
        } else {
            close(item->fd);
        }
        atomic_store(&item->done, true);
        pthread_mutex_lock(&lock);
        struct item **link = &under_way;
        while (*link != item) {
            link = &(*link)->next;
        }
        *link = item->next;
        busy--;
        if (item->errand == NULL) {
            free(item);
            atomic_fetch_sub(&unclosed, 1);
        } else if (item->dropped) {
            item->errand->drop(item->errand);
            free(item);
        } else {
            item->over = true;
        }
        if (awaited > 0) {
            pthread_cond_broadcast(&settled);
        }
    }
    threads--;
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* Wakes or starts a thread if there is something for it. If there is no room for one, the next descriptor tries again. */
static void start_thread(void) {
    if (threads + summoned > busy + resting || find_next() == NULL) {
        return;
    }
    if (resting > summoned) {
        summoned++;
        pthread_cond_signal(&summons);
        return;
    }
    if (threads < CLOSING_THREADS) {
        threads += thread_start(work, NULL, THREAD_STACK) == 0;
    }
}

static void take_lock(void) {
    pthread_mutex_lock(&lock);
}

static void release_lock(void) {
    pthread_mutex_unlock(&lock);
}

/* The child has none of the threads. What they were closing may be closed here, too, or its number another file's. */
static void start_afresh(void) {
    threads = busy = resting = summoned = awaited = 0;
    summons = settled = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    while (under_way != NULL) {
        struct item *item = under_way;
        under_way = item->next;
        atomic_fetch_sub(&unclosed, item->errand == NULL);
        free(item);
    }
    for (struct item **place = &waiting; *place != NULL;) {
        if ((*place)->errand != NULL) { /* of a thread of the parent's */
            free(take_out(place));
        } else {
            place = &(*place)->next;
        }
    }
    pthread_mutex_unlock(&lock);
}

static void register_with_fork(void) {
    pthread_atfork(take_lock, release_lock, start_afresh);
}

void closing_expect_forks(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_with_fork);
}

static int is_harmless(int fd) {
#ifdef F_GET_SEALS
    struct stat status;
    return fcntl(fd, F_GET_SEALS) >= 0 && fstat(fd, &status) == 0 && status.st_size <= CLOSING_VERY_LONG;
#else
    (void)fd;
    return 0;
#endif
}

void closing_close(int fd, const struct closing_payer *payer) {
    int error = errno;
    struct item *item = is_harmless(fd) ? NULL : malloc(sizeof *item);
    if (item == NULL) { /* or there is no memory, and a leak would never end */
        close(fd);
        errno = error;
        return;
    }
    closing_expect_forks();
    *item = (struct item){.fd = fd, .payer = *payer};
    pthread_mutex_lock(&lock);
    atomic_fetch_add(&unclosed, 1);
    *last = item;
    last = &item->next;
    start_thread();
    pthread_mutex_unlock(&lock);
    errno = error;
}

static long milliseconds_since(const struct timespec *begun) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - begun->tv_sec) * 1000 + (now.tv_nsec - begun->tv_nsec) / 1000000;
}

/* A close that takes long, and not because the machine has no time for it. */
static bool is_stuck(const struct item *item) {
    return milliseconds_since(&item->begun) >= CLOSING_STUCK_MILLISECONDS && !atomic_load(&item->done) &&
           !wants_processor(item->thread);
}

/* Whether what a payer wants done now would only wait for something else of the same payer's. */
static bool is_held_up(const struct closing_payer *payer) {
    unsigned stuck_user = 0;
    for (const struct item *item = under_way; item != NULL; item = item->next) {
        if (is_of_user(&item->payer, payer) && is_stuck(item)) {
            if (is_of_process(&item->payer, payer) || ++stuck_user == CLOSING_THREADS_OF_USER) {
                return true;
            }
        }
    }
    return false;
}

/* Without a thread for it, it is given up as well. */
enum { ERRAND_MILLISECONDS = 10000, ERRAND_SLICE = 20 };

/* Why nobody should wait any longer, or 0. */
static int is_hopeless(const struct item *item) {
    if (item->thread != 0 ? is_stuck(item) : is_held_up(&item->payer)) {
        return CLOSING_STUCK;
    }
    bool is_alone = item->thread == 0 && (threads == 0 || milliseconds_since(&item->begun) >= ERRAND_MILLISECONDS);
    return is_alone ? CLOSING_NO_THREAD : 0;
}

/* Takes an item that nobody has begun out of the queue. */
static void withdraw(struct item *item) {
    struct item **place = &waiting;
    while (*place != item) {
        place = &(*place)->next;
    }
    take_out(place);
}

int closing_errand(struct errand *errand, const struct closing_payer *payer) {
    int cancellation;
    struct item *item = malloc(sizeof *item);
    if (item == NULL) {
        errand->drop(errand);
        return CLOSING_NO_THREAD;
    }
    closing_expect_forks();
    *item = (struct item){.errand = errand, .payer = *payer};
    clock_gettime(CLOCK_MONOTONIC, &item->begun);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancellation);
    pthread_mutex_lock(&lock);
    *last = item;
    last = &item->next;
    int given_up = is_held_up(payer) ? CLOSING_STUCK : 0;
    if (given_up == 0) {
        start_thread();
        given_up = is_hopeless(item);
    }
    awaited++;
    while (given_up == 0 && !item->over) {
        struct timespec end = from_now(ERRAND_SLICE * 1000);
        pthread_cond_timedwait(&settled, &lock, &end);
        given_up = item->over ? 0 : is_hopeless(item);
    }
    awaited--;
    if (given_up != 0 && item->thread == 0) {
        withdraw(item);
    } else if (given_up != 0) {
        item->dropped = true; /* its thread sees to the rest */
        item = NULL;
    }
    pthread_mutex_unlock(&lock);
    if (given_up != 0 && item != NULL) {
        errand->drop(errand);
    }
    free(item);
    pthread_setcancelstate(cancellation, NULL);
    return given_up;
}

int closing_is_behind(const struct closing_payer *payer) {
    if (atomic_load(&unclosed) < CLOSING_SHARE_OF_PROCESS) {
        return 0;
    }
    unsigned process = 0, user = 0, stuck_process = 0, stuck_user = 0;
    pthread_mutex_lock(&lock);
    count(waiting, payer, &process, &user);
    count(under_way, payer, &process, &user);
    for (const struct item *item = under_way; item != NULL; item = item->next) {
        if (is_of_user(&item->payer, payer) && is_stuck(item)) {
            stuck_user++;
            stuck_process += is_of_process(&item->payer, payer) != 0;
        }
    }
    pthread_mutex_unlock(&lock);
    if ((stuck_process > 0 && process >= CLOSING_SHARE_OF_PROCESS) || (stuck_user > 0 && user >= CLOSING_SHARE_OF_USER)) {
        return CLOSING_STUCK;
    }
    return process >= CLOSING_MOST_OF_PROCESS || user >= CLOSING_MOST_OF_USER ? CLOSING_BUSY : 0;
}

void closing_settle(const struct closing_payer *payer, unsigned microseconds) {
    if (atomic_load(&unclosed) == 0 || payer->process < 0) {
        return;
    }
    struct timespec end = from_now(microseconds);
    pthread_mutex_lock(&lock);
    awaited++;
    for (int error = 0; error == 0;) {
        unsigned process = 0, user = 0;
        count(waiting, payer, &process, &user);
        count(under_way, payer, &process, &user);
        if (process == 0) {
            break;
        }
        error = pthread_cond_timedwait(&settled, &lock, &end);
    }
    awaited--;
    pthread_mutex_unlock(&lock);
}

unsigned closing_unclosed(void) {
    return atomic_load(&unclosed);
}
