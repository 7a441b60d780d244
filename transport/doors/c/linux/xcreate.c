/*
 * door_xcreate: a private door whose creator says how its threads are made.
 *
 * The bookkeeping of the threads that are being started is shared by the creator and the threads. They know it by
 * a handle, so a creation function that misreports what it did cannot leave either with a dangling pointer.
 */
#include "internal.h"

#include <stdlib.h>
#include <unistd.h>

_Static_assert(sizeof(void *) >= sizeof(handle), "the argument of a thread holds a handle");

enum { DEPLETION_PATIENCE = 10 }; /* seconds */

/* Bytes of the creator's stack that illumos needs for each thread that it starts. */
enum { STACK_A_THREAD = 64 };

struct start {
    handle handle;     /* valid as long as threads are expected; these three are under server.lock */
    unsigned expected; /* threads that may yet begin: each has a hold */
    unsigned holds;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned arrived; /* threads that have bound, or failed to */
    bool failed;
    bool decided, proceed; /* the creator's verdict, which threads await before they park */
    bool depletion;        /* nobody decides */
    struct creation creation;
    uint64_t id; /* of the door */
};

static void start_release(struct start *start) {
    server_lock();
    unsigned left = --start->holds;
    server_unlock();
    if (left == 0) {
        pthread_cond_destroy(&start->changed);
        pthread_mutex_destroy(&start->lock);
        free(start);
    }
}

/* The creator has one hold, and every thread that is expected another. */
static struct start *start_new(const struct creation *creation, unsigned expected) {
    struct start *start = calloc(1, sizeof *start);
    if (start == NULL) {
        return NULL;
    }
    server_lock();
    start->handle = handle_new(KIND_START, start);
    server_unlock();
    if (start->handle == 0) {
        free(start);
        return NULL;
    }
    pthread_mutex_init(&start->lock, NULL);
    pthread_cond_init(&start->changed, NULL);
    start->creation = *creation;
    start->expected = expected;
    start->holds = 1 + expected;
    return start;
}

static void *start_argument(const struct start *start) {
    return (void *)(uintptr_t)start->handle;
}

/* A thread begins: the hold that was kept for it, or NULL if none was, or no longer. */
static struct start *start_enter(void *argument) {
    enum kind kind;
    server_lock();
    struct start *start = handle_lookup((uintptr_t)argument, &kind);
    if (kind != KIND_START) {
        start = NULL;
    } else if (--start->expected == 0) {
        handle_free(start->handle);
    }
    server_unlock();
    return start;
}

/* No further thread is expected. */
static void start_withdraw(struct start *start) {
    server_lock();
    if (start->expected > 0) {
        start->holds -= start->expected;
        start->expected = 0;
        handle_free(start->handle);
    }
    server_unlock();
}

/* Binds the calling thread, which has not served yet, and counts it as parked. */
static int bind_by_id(uint64_t id) {
    struct server_thread *thread = server_thread_enter();
    server_lock();
    struct door *door = thread ? door_by_id_locked(id) : NULL;
    if (door != NULL) {
        door->holds++;
        if (thread->bound != NULL) {
            door_release_locked(thread->bound);
        }
        thread->bound = door;
        server_thread_rest_locked(thread); /* idle from now on, so that the door begins with its full pool */
    }
    server_unlock();
    return door ? 0 : -1;
}

/* The set-up function has ended its thread: the creator hears that one did not bind. */
static void abandon(void *argument) {
    struct start *start = argument;
    pthread_mutex_lock(&start->lock);
    start->arrived++;
    start->failed = true;
    pthread_cond_broadcast(&start->changed);
    pthread_mutex_unlock(&start->lock);
    start_release(start);
}

/* On its own, because what is in registers while the clean-up is in place may be lost to it. */
static __attribute__((noinline)) void set_up(struct start *start) {
    if (start->creation.setup == NULL) {
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
        pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, NULL);
        return;
    }
    pthread_cleanup_push(abandon, start);
    start->creation.setup(start->creation.cookie);
    pthread_cleanup_pop(0);
}

/* The function that creation functions run in the thread they make. */
void *creation_start(void *argument) {
    struct start *start = start_enter(argument);
    if (start == NULL) {
        return NULL;
    }
    set_up(start);
    int bound = bind_by_id(start->id);
    bool proceed = bound == 0;
    pthread_mutex_lock(&start->lock);
    start->arrived++;
    start->failed = start->failed || bound != 0;
    pthread_cond_broadcast(&start->changed);
    if (!start->depletion) {
        while (!start->decided) {
            pthread_cond_wait(&start->changed, &start->lock);
        }
        proceed = start->proceed;
    }
    pthread_mutex_unlock(&start->lock);
    start_release(start);
    if (proceed) {
        door_return(NULL, 0, NULL, 0);
    }
    return NULL;
}

static _Noreturn void bad_verdict(void) {
    static const char text[] = "door_xcreate: the thread creation function must return 1, 0 or -1\n";
    ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
    (void)ignored;
    abort();
}

/* The procedure does not start before the new thread is ready; but a thread that was never made is not awaited for ever. */
static void await_arrival(struct start *start) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += DEPLETION_PATIENCE;
    pthread_mutex_lock(&start->lock);
    for (int error = 0; start->arrived == 0 && error == 0;) {
        error = pthread_cond_timedwait(&start->changed, &start->lock, &end);
    }
    pthread_mutex_unlock(&start->lock);
}

void creation_deplete(const struct creation *creation, door_info_t *info) {
    struct start *start = start_new(creation, 1);
    if (start == NULL) {
        return;
    }
    start->depletion = true;
    start->id = info->di_uniquifier;
    int made = creation->create(info, creation_start, start_argument(start), creation->cookie);
    if (made != 1 && made != 0 && made != -1) {
        bad_verdict();
    }
    if (made == 1) {
        await_arrival(start);
    } else {
        start_withdraw(start);
    }
    start_release(start);
}

static int start_threads(const struct creation *creation, door_info_t *info, int count) {
    struct start *start = start_new(creation, (unsigned)count);
    if (start == NULL) {
        return ENOMEM;
    }
    start->id = info->di_uniquifier;
    int error = 0, made = 0;
    for (int i = 0; i < count && error == 0; i++) {
        door_info_t copy = *info;
        int verdict = creation->create(&copy, creation_start, start_argument(start), creation->cookie);
        if (verdict == 1) {
            made++;
        } else if (verdict == 0) {
            error = EINVAL;
        } else if (verdict == -1) {
            error = EPIPE;
        } else {
            bad_verdict();
        }
    }
    pthread_mutex_lock(&start->lock);
    while (start->arrived < (unsigned)made) {
        pthread_cond_wait(&start->changed, &start->lock);
    }
    if (error == 0 && start->failed) {
        error = EBADF;
    }
    start->decided = true;
    start->proceed = error == 0;
    pthread_cond_broadcast(&start->changed);
    pthread_mutex_unlock(&start->lock);
    start_withdraw(start);
    start_release(start);
    return error;
}

int door_xcreate(door_server_procedure_t *procedure, void *cookie, uint_t attributes,
                 door_xcreate_server_func_t *thr_create_func, door_xcreate_thrsetup_func_t *thr_setup_func,
                 void *crcookie, int nthread) {
    struct creation creation = {thr_create_func, thr_setup_func, crcookie};
    door_info_t info;
    if ((attributes & DOOR_PRIVCREATE) || nthread < 1 || thr_create_func == NULL) {
        errno = EINVAL;
        return -1;
    }
    if ((size_t)nthread > stack_left() / STACK_A_THREAD) {
        errno = E2BIG;
        return -1;
    }
    int fd = door_make(procedure, cookie, attributes | DOOR_PRIVATE | DOOR_PRIVCREATE, &creation, &info);
    if (fd < 0) {
        return -1;
    }
    int error = start_threads(&creation, &info, nthread);
    if (error != 0) {
        door_revoke(fd);
        errno = error;
        return -1;
    }
    return fd;
}
