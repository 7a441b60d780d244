/* See closing.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "closing.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
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

enum { STACK = 256 << 10 };

struct item {
    struct item *next;
    int fd;
    struct closing_payer payer;
    /* Of one that is being closed: since when, whether that is over, and by which thread. */
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

static unsigned awaited; /* calls of closing_settle() */
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

/* The place of the oldest item whose payer may have one more thread, or NULL. */
static struct item **find_next(void) {
    for (struct item **place = &waiting; *place != NULL; place = &(*place)->next) {
        unsigned process = 0, user = 0;
        count(under_way, &(*place)->payer, &process, &user);
        if (process < CLOSING_THREADS_OF_PROCESS && user < CLOSING_THREADS_OF_USER) {
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

/*
 * Waits a moment for something more to close: descriptors come in bursts, and waking a thread costs less than making one. False
 * when nothing has come, or others rest already.
 */
static bool rest(void) {
    struct timespec end;
    if (resting >= CLOSING_RESTING) {
        return false;
    }
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_nsec += CLOSING_REST_MILLISECONDS * 1000000L;
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
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

/* Closes what waits, until there is nothing that this thread may close. */
static void *work(void *unused) {
    struct item **place;
    (void)unused;
    pthread_mutex_lock(&lock);
    while ((place = find_next()) != NULL || rest()) {
        if (place == NULL) {
            continue;
        }
        struct item *item = *place;
        *place = item->next;
        last = last == &item->next ? place : last;
        clock_gettime(CLOCK_MONOTONIC, &item->begun);
        item->thread = thread_number();
        item->next = under_way;
        under_way = item;
        busy++;
        start_thread(); /* before this one gets stuck */
        pthread_mutex_unlock(&lock);
        close(item->fd);
        atomic_store(&item->done, true);
        pthread_mutex_lock(&lock);
        struct item **link = &under_way;
        while (*link != item) {
            link = &(*link)->next;
        }
        *link = item->next;
        busy--;
        free(item);
        atomic_fetch_sub(&unclosed, 1);
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
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    if (threads + summoned > busy + resting || find_next() == NULL) {
        return;
    }
    if (resting > summoned) {
        summoned++;
        pthread_cond_signal(&summons);
        return;
    }
    if (threads >= CLOSING_THREADS || pthread_attr_init(&attributes) != 0) {
        return;
    }
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    threads += pthread_create(&thread, &attributes, work, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
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
        free(item);
        atomic_fetch_sub(&unclosed, 1);
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
    struct timespec end;
    if (atomic_load(&unclosed) == 0 || payer->process < 0) {
        return;
    }
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_nsec += (long)(microseconds % 1000000) * 1000;
    end.tv_sec += microseconds / 1000000 + end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
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
