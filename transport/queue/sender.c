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

#ifdef DOOR_EVENT_LOOPS
#include <sys/epoll.h>
#endif

/*
 * A call is posted where that is possible: the request lies where the server finds it, and nobody waits for the answer,
 * which is collected when there is more to say, or somebody wants it. Only then is it worth a moment's wait, because a call to an
 * idle queue is over in some ten microseconds; after a peer that took longer, a number of calls are not waited for. What
 * cannot be posted, such as a call with descriptors, the first call by a name, or any on illumos, is made by a thread.
 */
#define PATIENCE_MICROSECONDS 1000
#define CALLS_AFTER_IMPATIENCE 64

/* Shorter data are laid on the stack before they are passed on: there the doors of Linux need not ask the kernel
 * whether they can be read. */
#define SMALL 4096

/* An answer has four bytes. The peer decides what it sends, and no memory is made for more than this. */
#define LARGEST_ANSWER 64

enum state { IDLE, POSTED, STARTED, CALLING, ANSWERED, ENDED };

struct sender {
    int door;   /* -1 until the thread has opened `path` */
    char *path; /* NULL when there is a door from the beginning */
    int event;  /* the eventfd, or what becomes readable with it and with the answer to a posted call */
    int told;   /* the eventfd, or -1 before there is a thread */
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    int has_thread; /* only from the first call that needs one */
    enum state state;
    int closing;
    int wanted; /* somebody waits for the answer, whatever it is */
#ifdef DOOR_EVENT_LOOPS
    door_posted_t posted;
    int listened;  /* the descriptor that tells of its answer, or -1 */
    int impatient; /* answers to come that are not waited for */
#endif
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

static int call_door(int door, door_arg_t *argument) {
#ifdef DOOR_EVENT_LOOPS
    return door_call_limited(door, argument, &(door_call_limits_t){0, LARGEST_ANSWER});
#else
    return door_call(door, argument);
#endif
}

/* What the server has sent, in `buffer` unless it is too long: 0 and the status, or EPROTO. */
static int read_answer(struct sender *sender, const door_arg_t *argument, const char *buffer) {
    int error = 0;
    const door_desc_t *returned = argument->desc_ptr;
    if (argument->desc_num > 0) {
        door_info_t info = {.di_target = -1};
        door_info(sender->door, &info);
        for (uint_t i = 0; i < argument->desc_num; i++) {
            closing_close(returned[i].d_data.d_desc.d_descriptor, &(struct closing_payer){-1, 0, info.di_target});
        }
    }
    if (argument->data_size == sizeof sender->status) {
        memcpy(&sender->status, argument->data_ptr, sizeof sender->status);
    }
    if (argument->data_size != sizeof sender->status || argument->desc_num != 0 ||
        sender->status > QUEUE_MALFORMED) {
        error = EPROTO;
    }
    if (argument->rbuf != buffer) {
        munmap(argument->rbuf, argument->rsize);
    }
    return error;
}

static int error_of(int error) {
    return error == EOVERFLOW ? EPROTO : error;
}

/* Make the call, however long it takes: 0 and the status, or an errno. */
static int call(struct sender *sender) {
    char small[SMALL], answer[LARGEST_ANSWER];
    int failed = sender->door < 0 ? open_door(sender) : 0;
    if (failed != 0) {
        return failed;
    }
    door_arg_t argument = {
        .data_ptr = sender->size <= SMALL ? memcpy(small, sender->data, sender->size) : sender->data,
        .data_size = sender->size,
        .desc_ptr = sender->descriptors,
        .desc_num = sender->count,
        .rbuf = answer,
        .rsize = sizeof answer,
    };
    return call_door(sender->door, &argument) < 0 ? error_of(errno) : read_answer(sender, &argument, answer);
}

#ifdef DOOR_EVENT_LOOPS
/* Post the call: whether it is under way, or is over with an error. */
static int post(struct sender *sender, const char *data, size_t size) {
    sender->error = 0;
    if (sender->door < 0) {
        return 0;
    }
    if (door_post(sender->door, data, size, LARGEST_ANSWER, &sender->posted) == 0) {
        sender->state = POSTED;
        return 1;
    }
    sender->error = error_of(errno);
    return errno != EAGAIN;
}

static void stop_listening(struct sender *sender) {
    if (sender->listened >= 0) {
        epoll_ctl(sender->event, EPOLL_CTL_DEL, sender->listened, NULL);
        sender->listened = -1;
    }
}

/* Have the event tell of the answer, which may be there. A socket can always be written to. */
static void listen_for_answer(struct sender *sender) {
    int is_there = 0;
    if (sender->listened < 0) {
        sender->listened = door_listen(&sender->posted, &is_there);
        struct epoll_event event = {.events = is_there ? EPOLLIN | EPOLLOUT : EPOLLIN};
        epoll_ctl(sender->event, EPOLL_CTL_ADD, sender->listened, &event);
    }
}

/* The answer to the call that was posted, for which this may wait a moment. */
static int collect(struct sender *sender) {
    char answer[LARGEST_ANSWER];
    door_arg_t argument = {.rbuf = answer, .rsize = sizeof answer};
    door_call_limits_t limits = {.largest = LARGEST_ANSWER};
    if (sender->impatient > 0) {
        sender->impatient--;
    } else if (sender->listened < 0) {
        limits.microseconds = PATIENCE_MICROSECONDS;
    }
    if (door_collect(&sender->posted, &argument, &limits) == 0) {
        sender->error = read_answer(sender, &argument, answer);
    } else if (errno == EAGAIN) {
        sender->impatient = limits.microseconds > 0 ? CALLS_AFTER_IMPATIENCE : sender->impatient;
        return 0;
    } else if (errno == ECANCELED) {
        sender->status = QUEUE_FULL; /* for a moment: the channel was closed, and a new one will be made */
    } else {
        sender->error = error_of(errno);
    }
    return 1;
}
#endif

static void tell(struct sender *sender) {
    eventfd_write(sender->told, 1);
}

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
        int error = call(sender);
        pthread_mutex_lock(&sender->lock);
        sender->error = error;
        sender->state = ANSWERED;
        if (sender->wanted || error != 0 || sender->status != QUEUE_ACCEPTED) {
            tell(sender);
        }
    }
    sender->state = ENDED;
    tell(sender);
    pthread_mutex_unlock(&sender->lock);
    return NULL;
}

/* Make what the thread tells of its calls by: 0 or an errno. */
static int make_told(struct sender *sender) {
    if (sender->told < 0) {
        sender->told = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
#ifdef DOOR_EVENT_LOOPS
        struct epoll_event event = {.events = EPOLLIN};
        if (sender->told >= 0 && epoll_ctl(sender->event, EPOLL_CTL_ADD, sender->told, &event) < 0) {
            int error = errno;
            close(sender->told);
            sender->told = -1;
            return error;
        }
#endif
    }
    return sender->told < 0 ? errno : 0;
}

/* Start the thread, unless there is one: 0 or an errno. */
static int start_thread(struct sender *sender) {
    sigset_t mask, before;
    if (sender->has_thread) {
        return 0;
    }
    int failed = make_told(sender);
    if (failed != 0) {
        return failed;
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
    if (sender->told >= 0 && sender->told != sender->event) {
        close(sender->told);
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
#ifdef DOOR_EVENT_LOOPS
    sender->told = sender->listened = -1;
    sender->event = epoll_create1(EPOLL_CLOEXEC);
#else
    sender->told = sender->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
#endif
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

/* Have the thread make the call: SENDER_UNDER_WAY, or SENDER_FAILED with errno. */
static int pass_on(struct sender *sender, const char *data, size_t size, const int *descriptors, unsigned count) {
    if (reserve(sender, size) < 0) {
        return SENDER_FAILED;
    }
    memcpy(sender->data, data, size);
    sender->size = size;
    sender->count = count;
    for (unsigned i = 0; i < count; i++) {
        memset(&sender->descriptors[i], 0, sizeof sender->descriptors[i]);
        sender->descriptors[i].d_attributes = DOOR_DESCRIPTOR;
        sender->descriptors[i].d_data.d_desc.d_descriptor = descriptors[i];
    }
    if ((errno = start_thread(sender)) != 0) {
        return SENDER_FAILED;
    }
    sender->state = STARTED;
    pthread_cond_signal(&sender->changed);
    return SENDER_UNDER_WAY;
}

int sender_call(struct sender *sender, const char *data, size_t size, const int *descriptors, unsigned count,
                int repeatable) {
    int result = SENDER_FAILED;
    pthread_mutex_lock(&sender->lock);
    if (sender->state != IDLE) {
        errno = EBUSY;
    } else if (count > QUEUE_DESCRIPTORS_MAX) {
        errno = E2BIG;
#ifdef DOOR_EVENT_LOOPS
    } else if (repeatable && count == 0 && post(sender, data, size)) {
        result = sender->error == 0 ? SENDER_UNDER_WAY : outcome(sender);
#endif
    } else {
        (void)repeatable;
        result = pass_on(sender, data, size, descriptors, count);
    }
    pthread_mutex_unlock(&sender->lock);
    return result;
}

void sender_want(struct sender *sender) {
    pthread_mutex_lock(&sender->lock);
    sender->wanted = 1;
    if (sender->state == ANSWERED) {
        tell(sender);
    }
#ifdef DOOR_EVENT_LOOPS
    if (sender->state == POSTED) {
        listen_for_answer(sender);
    }
#endif
    pthread_mutex_unlock(&sender->lock);
}

int sender_finish(struct sender *sender) {
    int result = SENDER_UNDER_WAY;
    eventfd_t ignored;
    pthread_mutex_lock(&sender->lock);
    int is_over = sender->state == ANSWERED;
    if (is_over) {
        eventfd_read(sender->told, &ignored);
    }
#ifdef DOOR_EVENT_LOOPS
    if (sender->state == POSTED && collect(sender)) {
        is_over = 1;
        stop_listening(sender);
    }
#endif
    if (is_over) {
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
#ifdef DOOR_EVENT_LOOPS
    int is_posted = sender->state == POSTED; /* asked before the thread says that it has ended */
#endif
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
#ifdef DOOR_EVENT_LOOPS
    if (is_posted) {
        door_withdraw(&sender->posted);
    }
    door_hang_up(sender->door);
#endif
    *door = sender->door;
    sender->door = -1;
    release(sender);
    return 1;
}
