/*
 * door_xcreate: a private door whose creator says how its threads are made.
 *
 * The bookkeeping of a thread that is being started lives on the heap and is shared by the creator and the
 * thread, so a creation function that misreports what it did cannot leave either with a dangling pointer.
 */
#include "internal.h"

#include <stdlib.h>
#include <unistd.h>

struct start {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned holds;
    unsigned arrived; /* threads that have bound, or failed to */
    bool failed;
    bool decided, proceed; /* the creator's verdict, which threads await before they park */
    bool depletion;        /* nobody waits, nobody decides */
    struct creation creation;
    uint64_t id; /* of the door */
};

static void start_release(struct start *start) {
    pthread_mutex_lock(&start->lock);
    unsigned left = --start->holds;
    pthread_mutex_unlock(&start->lock);
    if (left == 0) {
        pthread_cond_destroy(&start->changed);
        pthread_mutex_destroy(&start->lock);
        free(start);
    }
}

static struct start *start_new(const struct creation *creation, unsigned holds) {
    struct start *start = calloc(1, sizeof *start);
    if (start != NULL) {
        pthread_mutex_init(&start->lock, NULL);
        pthread_cond_init(&start->changed, NULL);
        start->creation = *creation;
        start->holds = holds;
    }
    return start;
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

/* The function that creation functions run in the thread they make. */
void *creation_start(void *argument) {
    struct start *start = argument;
    if (start->creation.setup != NULL) {
        start->creation.setup(start->creation.cookie);
    } else {
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
        pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, NULL);
    }
    int bound = bind_by_id(start->id);
    bool proceed = bound == 0;
    pthread_mutex_lock(&start->lock);
    if (!start->depletion) {
        start->arrived++;
        start->failed = start->failed || bound != 0;
        pthread_cond_broadcast(&start->changed);
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

void creation_deplete(const struct creation *creation, door_info_t *info) {
    struct start *start = start_new(creation, 2);
    if (start == NULL) {
        return;
    }
    start->depletion = true;
    start->id = info->di_uniquifier;
    int made = creation->create(info, creation_start, start, creation->cookie);
    if (made != 1) {
        if (made != 0 && made != -1) {
            bad_verdict();
        }
        start_release(start);
    }
    start_release(start);
}

static int start_threads(const struct creation *creation, door_info_t *info, int count) {
    struct start *start = start_new(creation, 1 + (unsigned)count);
    if (start == NULL) {
        return ENOMEM;
    }
    start->id = info->di_uniquifier;
    int error = 0, made = 0;
    for (int i = 0; i < count && error == 0; i++) {
        door_info_t copy = *info;
        int verdict = creation->create(&copy, creation_start, start, creation->cookie);
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
    for (int i = made; i < count; i++) {
        start_release(start);
    }
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
