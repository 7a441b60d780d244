/*
 * The outbound side of a node link; see sender.h.
 */
#include "sender.h"

#include <door.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "closing.h"
#include "interrupt.h"
#include "queue.h"

/*
 * A call to an idle queue is over in some ten microseconds, which is less than it takes to wake a thread.
 * So it is first tried by whoever wants it, for a moment: nobody is held up for longer than that. A call that
 * was given up may or may not have been carried out, and is made again by the thread; batches are numbered,
 * and the other end passes over one that it has. After that the thread makes the next calls, too, because the
 * peer is busy. Where a call cannot be given up after a moment, on illumos, the thread makes all calls.
 */
#define PATIENCE_MICROSECONDS 1000
#define CALLS_AFTER_IMPATIENCE 64

/* Shorter data are laid on the stack before they are passed on: there the doors of Linux need not ask the kernel
 * whether they can be read. */
#define SMALL 4096

/* An answer has four bytes. The peer decides what it sends, and no memory is made for more than this. */
#define LARGEST_ANSWER 64

enum state { IDLE, STARTED, CALLING, ANSWERED, ENDED };

struct sender {
    int door;   /* -1 until the thread has opened `path` */
    char *path; /* NULL when there is a door from the beginning */
    int event;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    int has_thread; /* only from the first call that needs one */
    enum state state;
    int closing;
    int wanted; /* somebody waits for the answer, whatever it is */
    int impatient; /* calls to come that are not tried first */
    char *data;
    size_t size;
    size_t capacity;
    door_desc_t descriptors[QUEUE_DESCRIPTORS_MAX];
    unsigned count;
    uint32_t status;
    int error;
};

/* Who made what is at the other end of a door is not known before somebody has looked. */
static const struct closing_payer nobody = {-1, 0, -1};

static int open_door(struct sender *sender) {
    int door = door_open(sender->path, O_RDONLY | O_CLOEXEC);
    if (door < 0) {
        return errno;
    }
    if (is_door(door) != 1) {
        closing_close(door, &nobody);
        return EBADF;
    }
    sender->door = door;
    return 0;
}

static int call_door(int door, door_arg_t *argument, unsigned microseconds) {
#ifdef DOOR_EVENT_LOOPS
    return door_call_limited(door, argument, &(door_call_limits_t){microseconds, LARGEST_ANSWER});
#else
    (void)microseconds;
    return door_call(door, argument);
#endif
}

/* Make the call, for so long or, if 0, without a limit: 0 and the status, or an errno. */
static int call(struct sender *sender, unsigned microseconds) {
    char small[SMALL];
    int failed = sender->door < 0 ? open_door(sender) : 0;
    if (failed != 0) {
        return failed;
    }
    char reply[64];
    door_arg_t argument = {
        .data_ptr = sender->size <= SMALL ? memcpy(small, sender->data, sender->size) : sender->data,
        .data_size = sender->size,
        .desc_ptr = sender->descriptors,
        .desc_num = sender->count,
        .rbuf = reply,
        .rsize = sizeof reply,
    };
    if (call_door(sender->door, &argument, microseconds) < 0) {
        return errno == EOVERFLOW ? EPROTO : errno;
    }
    int error = 0;
    const door_desc_t *returned = argument.desc_ptr;
    if (argument.desc_num > 0) {
        door_info_t info = {.di_target = -1};
        door_info(sender->door, &info);
        for (uint_t i = 0; i < argument.desc_num; i++) {
            closing_close(returned[i].d_data.d_desc.d_descriptor, &(struct closing_payer){-1, 0, info.di_target});
        }
    }
    if (argument.data_size == sizeof sender->status) {
        memcpy(&sender->status, argument.data_ptr, sizeof sender->status);
    }
    if (argument.data_size != sizeof sender->status || argument.desc_num != 0 ||
        sender->status > QUEUE_MALFORMED) {
        error = EPROTO;
    }
    if (argument.rbuf != reply) {
        munmap(argument.rbuf, argument.rsize);
    }
    return error;
}

#ifdef DOOR_EVENT_LOOPS
/* Try the call here. Whether it has an outcome; if not, the thread has to make it. */
static int try_call(struct sender *sender) {
    if (sender->door < 0) {
        return 0;
    }
    if (sender->impatient > 0) {
        sender->impatient--;
        return 0;
    }
    int error = call(sender, PATIENCE_MICROSECONDS);
    if (error == EAGAIN || error == EINTR) {
        sender->impatient = CALLS_AFTER_IMPATIENCE;
        return 0;
    }
    sender->error = error;
    return 1;
}

#else
static int try_call(struct sender *sender) {
    (void)sender;
    return 0;
}
#endif

static void *run(void *argument) {
    struct sender *sender = argument;
    pthread_mutex_lock(&sender->lock);
    while (!sender->closing) {
        if (sender->state != STARTED) {
            pthread_cond_wait(&sender->changed, &sender->lock);
            continue;
        }
        sender->state = CALLING;
        pthread_mutex_unlock(&sender->lock);
        int error = call(sender, 0);
        pthread_mutex_lock(&sender->lock);
        sender->error = error;
        sender->state = ANSWERED;
        if (sender->wanted || error != 0 || sender->status != QUEUE_ACCEPTED) {
            eventfd_write(sender->event, 1);
        }
    }
    sender->state = ENDED;
    eventfd_write(sender->event, 1);
    pthread_mutex_unlock(&sender->lock);
    return NULL;
}

/* Start the thread, unless there is one: 0 or an errno. */
static int start_thread(struct sender *sender) {
    sigset_t mask, before;
    if (sender->has_thread) {
        return 0;
    }
    sigfillset(&mask);
    sigdelset(&mask, interrupt_signal());
    pthread_sigmask(SIG_SETMASK, &mask, &before);
    int error = pthread_create(&sender->thread, NULL, run, sender);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    sender->has_thread = error == 0;
    return error;
}

static void release(struct sender *sender) {
    if (sender->door >= 0) {
        closing_close(sender->door, &nobody);
    }
    if (sender->event >= 0) {
        close(sender->event);
    }
    pthread_cond_destroy(&sender->changed);
    pthread_mutex_destroy(&sender->lock);
    free(sender->path);
    free(sender->data);
    free(sender);
}

static struct sender *create(int door, const char *path) {
    struct sender *sender = interrupt_prepare() < 0 ? NULL : calloc(1, sizeof *sender);
    if (sender == NULL) {
        int error = errno;
        if (door >= 0) {
            closing_close(door, &nobody);
        }
        errno = error;
        return NULL;
    }
    sender->door = door;
    sender->path = path == NULL ? NULL : strdup(path);
    sender->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&sender->lock, NULL);
    pthread_cond_init(&sender->changed, NULL);
    if (sender->event < 0) {
        int error = errno;
        release(sender);
        errno = error;
        return NULL;
    }
    return sender;
}

struct sender *sender_create(int door) {
    return create(door, NULL);
}

struct sender *sender_open(const char *path) {
    return create(-1, path);
}

int sender_event(const struct sender *sender) {
    return sender->event;
}

static int reserve(struct sender *sender, size_t size) {
    if (size <= sender->capacity) {
        return 0;
    }
    char *larger = realloc(sender->data, size);
    if (larger == NULL) {
        return -1;
    }
    sender->data = larger;
    sender->capacity = size;
    return 0;
}

static int outcome(const struct sender *sender) {
    errno = sender->error;
    return sender->error == 0 ? (int)sender->status : SENDER_FAILED;
}

int sender_call(struct sender *sender, const char *data, size_t size, const int *descriptors, unsigned count,
                int repeatable) {
    int result = SENDER_FAILED;
    pthread_mutex_lock(&sender->lock);
    if (sender->state != IDLE) {
        errno = EBUSY;
    } else if (count > QUEUE_DESCRIPTORS_MAX) {
        errno = E2BIG;
    } else if (reserve(sender, size) == 0) {
        memcpy(sender->data, data, size);
        sender->size = size;
        sender->count = count;
        for (unsigned i = 0; i < count; i++) {
            memset(&sender->descriptors[i], 0, sizeof sender->descriptors[i]);
            sender->descriptors[i].d_attributes = DOOR_DESCRIPTOR;
            sender->descriptors[i].d_data.d_desc.d_descriptor = descriptors[i];
        }
        /* The thread sleeps, and nobody else calls: the lock is held for the one that tries. */
        if (repeatable && count == 0 && try_call(sender)) {
            result = outcome(sender);
        } else if ((errno = start_thread(sender)) == 0) {
            sender->state = STARTED;
            pthread_cond_signal(&sender->changed);
            result = SENDER_UNDER_WAY;
        }
    }
    pthread_mutex_unlock(&sender->lock);
    return result;
}

void sender_want(struct sender *sender) {
    pthread_mutex_lock(&sender->lock);
    sender->wanted = 1;
    if (sender->state == ANSWERED) {
        eventfd_write(sender->event, 1);
    }
    pthread_mutex_unlock(&sender->lock);
}

int sender_finish(struct sender *sender) {
    int result = SENDER_UNDER_WAY;
    eventfd_t ignored;
    pthread_mutex_lock(&sender->lock);
    if (sender->state == ANSWERED) {
        eventfd_read(sender->event, &ignored);
        sender->state = IDLE;
        sender->wanted = 0;
        result = outcome(sender);
    }
    pthread_mutex_unlock(&sender->lock);
    return result;
}

int sender_close(struct sender *sender, int *door) {
    pthread_mutex_lock(&sender->lock);
    sender->closing = 1;
    pthread_cond_signal(&sender->changed);
    int is_calling = sender->state == CALLING, has_thread = sender->has_thread;
    if (is_calling) {
        pthread_kill(sender->thread, interrupt_signal());
    }
    pthread_mutex_unlock(&sender->lock);
    if (is_calling) {
        return 0;
    }
    if (has_thread) { /* it is at most a few instructions from its end: nothing that it may still do blocks */
        pthread_join(sender->thread, NULL);
    }
    *door = sender->door;
    sender->door = -1;
    release(sender);
    return 1;
}
