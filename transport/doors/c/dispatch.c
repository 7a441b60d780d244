/* See dispatch.h for the purpose of this file and the reason that it is in C. */
#include "dispatch.h"

#include "thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* A reply larger than this is not kept for reuse: its buffer is given back at the thread's next invocation. */
#define KEPT_BUFFER (1024u * 1024)

/* Shorter data are laid on the stack before they are passed on. There the library for Linux need not ask the kernel
 * whether they can be read, which costs more than to copy them. */
#define SMALL 4096

struct server_thread {
    struct dispatch_invocation invocation;
    char *data;
    size_t data_capacity;
    door_desc_t *descriptors;
    uint_t descriptor_capacity;
    int in_place; /* the last reply was not copied */
    char *small;  /* SMALL bytes on the stack, during an invocation */
};

static pthread_key_t thread_key;
static pthread_once_t thread_once = PTHREAD_ONCE_INIT;
static int thread_key_error;

static atomic_int closing;
static atomic_int in_python;

/* A fork child has only the thread that forked. */
static void forget_threads(void) {
    atomic_store(&in_python, 0);
}

static void free_thread(void *memory) {
    struct server_thread *thread = memory;
    free(thread->data);
    free(thread->descriptors);
    free(thread);
}

static void make_key(void) {
    thread_key_error = pthread_key_create(&thread_key, free_thread);
    if (thread_key_error == 0) {
        thread_key_error = pthread_atfork(NULL, NULL, forget_threads);
    }
}

static struct server_thread *this_thread(void) {
    pthread_once(&thread_once, make_key);
    if (thread_key_error != 0) {
        errno = thread_key_error;
        return NULL;
    }
    struct server_thread *thread = pthread_getspecific(thread_key);
    if (thread == NULL) {
        thread = calloc(1, sizeof *thread);
        if (thread != NULL && pthread_setspecific(thread_key, thread) != 0) {
            free(thread);
            errno = ENOMEM;
            return NULL;
        }
    }
    return thread;
}

/* The count goes up before the flag is read, and dispatch_close() sets the flag before it reads the count: whichever
 * comes first, a thread is either refused or counted. */
static int enter_python(void) {
    atomic_fetch_add(&in_python, 1);
    if (atomic_load(&closing) == 0) {
        return 1;
    }
    atomic_fetch_sub(&in_python, 1);
    return 0;
}

static void leave_python(void) {
    atomic_fetch_sub(&in_python, 1);
}

void dispatch_close(void) {
    atomic_store(&closing, 1);
}

int dispatch_in_python(void) {
    return atomic_load(&in_python);
}

static void close_descriptors(const door_desc_t *dp, uint_t n_desc) {
    for (uint_t i = 0; i < n_desc; i++) {
        if ((dp[i].d_attributes & DOOR_DESCRIPTOR) != 0) {
            close(dp[i].d_data.d_desc.d_descriptor);
        }
    }
}

void dispatch_procedure(void *cookie, char *argp, size_t arg_size, door_desc_t *dp, uint_t n_desc) {
    struct server_thread *thread = this_thread();
    if (thread == NULL) { /* no memory for 100 bytes: the reply can only be empty */
        close_descriptors(dp, n_desc);
        door_return(NULL, 0, NULL, 0);
        return;
    }
    if (thread->data_capacity > KEPT_BUFFER) {
        free(thread->data);
        thread->data = NULL;
        thread->data_capacity = 0;
    }
    char small[SMALL];
    thread->small = small;
    struct dispatch_invocation *invocation = &thread->invocation;
    *invocation = (struct dispatch_invocation){
        .cookie = (uintptr_t)cookie,
        .argp = argp,
        .arg_size = arg_size,
        .dp = dp,
        .n_desc = n_desc,
        .is_unreferenced = argp == (char *)DOOR_UNREF_DATA};

    if (!enter_python()) {
        close_descriptors(dp, n_desc);
        return; /* ends the thread: the client gets EINTR, as it does from a server that has died */
    }
    dispatch_python_invoke(invocation, (uintptr_t)cookie);
    leave_python();

    /* door_return() comes back only to say that the client is still waiting, with the thread still its server. */
    while (invocation->action == DISPATCH_RETURN) {
        door_return(invocation->data_ptr, invocation->data_size, invocation->desc_ptr, invocation->num_desc);
        invocation->error = errno;
        invocation->failures++;
        invocation->action = DISPATCH_EMPTY;
        if (enter_python()) {
            dispatch_python_failed(invocation);
            leave_python();
        }
    }
    if (invocation->action == DISPATCH_EMPTY) {
        door_return(NULL, 0, NULL, 0);
    }
}

static char *copy(struct server_thread *thread, const char *data, size_t size) {
    if (size == 0) {
        return thread->small;
    }
    if (size <= SMALL) {
        return memcpy(thread->small, data, size);
    }
    if (size > thread->data_capacity) {
        /* Nothing in the old buffer is wanted, so do not let realloc() copy it. */
        free(thread->data);
        thread->data_capacity = 0;
        thread->data = malloc(size);
        if (thread->data == NULL) {
            return NULL;
        }
        thread->data_capacity = size;
    }
    return memcpy(thread->data, data, size);
}

char *dispatch_copy(const char *data, size_t size) {
    struct server_thread *thread = this_thread();
    return thread == NULL ? NULL : copy(thread, data, size);
}

static int reply(struct server_thread *thread, char *data, size_t size, int in_place) {
    int before = thread->in_place;
    thread->in_place = in_place;
    thread->invocation.data_ptr = data;
    thread->invocation.data_size = size;
    thread->invocation.num_desc = 0;
    thread->invocation.action = DISPATCH_RETURN;
    return before;
}

/* An invocation is the first member of its thread. */
int dispatch_reply(struct dispatch_invocation *invocation, const char *data, size_t size) {
    struct server_thread *thread = (struct server_thread *)invocation;
    char *place = copy(thread, data, size);
    return place == NULL ? -1 : reply(thread, place, size, 0);
}

int dispatch_reply_in_place(struct dispatch_invocation *invocation, const char *data, size_t size) {
    return reply((struct server_thread *)invocation, (char *)(uintptr_t)data, size, 1);
}

door_desc_t *dispatch_copy_descriptors(const door_desc_t *descriptors, uint_t count) {
    struct server_thread *thread = this_thread();
    if (thread == NULL) {
        return NULL;
    }
    if (count > thread->descriptor_capacity) {
        door_desc_t *larger = realloc(thread->descriptors, count * sizeof *larger);
        if (larger == NULL) {
            return NULL;
        }
        thread->descriptors = larger;
        thread->descriptor_capacity = count;
    }
    if (count > 0) {
        memcpy(thread->descriptors, descriptors, count * sizeof *descriptors);
    }
    return thread->descriptors;
}

/*
 * Server threads. What is relied on of libc's doors (docs/illumos.md has it point by point):
 *
 * - a detached thread that calls door_return() becomes a server thread, and what door_return() returns, if it does, is for nobody;
 * - cancellation is disabled in it: on illumos a procedure with cancellation enabled that meets no cancellation point before its
 *   door_return() makes the thread spin when its client has gone, because door_return() itself is none;
 * - a create function may be called on a server thread, before the procedure, when the pool is depleted; door_xcreate() calls
 *   its function for each thread, and waits until each has been set up and bound, then as at depletion;
 * - a thread that ends within a procedure tells its client so (EINTR).
 */

struct start {
    void *(*function)(void *);
    void *argument;
    size_t stack_size;
    unsigned idle_milliseconds;
};

/* How long a thread of the public pool stays when another one is idle, too. On illumos it stays for good. */
#define IDLE_MILLISECONDS 5000

/* A stack is larger than what is said of it by what the library for Linux needs, so that the limit of a request is the same
 * as on illumos. */
#ifdef DOOR_EVENT_LOOPS
#define STACK_MARGIN (1024u * 1024)
static void declare(const struct start *start) {
    door_thread(start->stack_size, start->idle_milliseconds);
}
#else
#define STACK_MARGIN 0
static void declare(const struct start *start) {
    (void)start;
}
#endif

static void *run_start(void *memory) {
    struct start start = *(struct start *)memory;
    int previous;
    free(memory);
    declare(&start);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &previous);
    return start.function(start.argument);
}

static int start_thread(void *(*function)(void *), void *argument, size_t stack_size, unsigned idle_milliseconds) {
    struct start *start = malloc(sizeof *start);
    if (start == NULL) {
        return ENOMEM;
    }
    stack_size = stack_size != 0 ? stack_size : DISPATCH_STACK_SIZE;
    *start = (struct start){
        .function = function, .argument = argument, .stack_size = stack_size, .idle_milliseconds = idle_milliseconds};
    int error = thread_start(run_start, start, stack_size + STACK_MARGIN);
    if (error != 0) {
        free(start);
    }
    return error;
}

int dispatch_thread(void *(*function)(void *), void *argument, size_t stack_size) {
    return start_thread(function, argument, stack_size, 0);
}

static void *park(void *unused) {
    (void)unused;
    door_return(NULL, 0, NULL, 0);
    return NULL;
}

static void *run_python_then_park(void *handle) {
    int parks = 0;
    if (enter_python()) {
        parks = dispatch_python_thread(handle);
        leave_python();
    }
    if (parks) {
        door_return(NULL, 0, NULL, 0);
    }
    return NULL;
}

int dispatch_thread_in_python(void *handle, size_t stack_size) {
    return dispatch_thread(run_python_then_park, handle, stack_size);
}

void dispatch_default_create(door_info_t *info) {
    (void)info; /* libc's own default looks no more: the program has to bind a private door's threads */
    (void)start_thread(park, NULL, 0, IDLE_MILLISECONDS);
}

void dispatch_create(door_info_t *info) {
    if (enter_python()) {
        dispatch_python_create(info);
        leave_python();
    }
}

int dispatch_xcreate(door_info_t *info, void *(*start)(void *), void *argument, void *cookie) {
    int made = 0;
    if (enter_python()) {
        made = dispatch_python_xcreate(info, start, argument, cookie);
        leave_python();
    }
    return made;
}

void dispatch_setup(void *cookie) {
    if (enter_python()) {
        dispatch_python_setup(cookie);
        leave_python();
    }
}

/* Calls. door_call() always gets arguments here: a call without any that fails with EBADF makes illumos take the thread's next
 * one for a call that wants no results. */

#ifdef DOOR_EVENT_LOOPS
static int call(int d, door_arg_t *params, size_t largest) {
    return door_call_limited(d, params, &(door_call_limits_t){.largest = largest});
}
#else
/* Here the reply has been mapped before anybody can say that it is too large. */
static int call(int d, door_arg_t *params, size_t largest) {
    const char *buffer = params->rbuf;
    if (door_call(d, params) < 0) {
        return -1;
    }
    if (largest == 0 || params->data_size <= largest) {
        return 0;
    }
    close_descriptors(params->desc_ptr, params->desc_num);
    if (params->rbuf != buffer) {
        munmap(params->rbuf, params->rsize);
    }
    errno = EOVERFLOW;
    return -1;
}
#endif

static int call_masked(int d, door_arg_t *params, size_t largest) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = call(d, params, largest);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return result;
}

long dispatch_exchange(int d, const char *data, size_t size, door_desc_t *descriptors, uint_t count, char *buffer,
                       size_t room, size_t largest, door_arg_t *params, int masked) {
    char small[SMALL];
    door_arg_t arguments = {.data_ptr = (char *)(uintptr_t)data,
                            .data_size = size,
                            .desc_ptr = descriptors,
                            .desc_num = count,
                            .rbuf = buffer,
                            .rsize = room};
    if (size > 0 && size <= SMALL) {
        arguments.data_ptr = memcpy(small, data, size);
    }
    if ((masked ? call_masked(d, &arguments, largest) : call(d, &arguments, largest)) < 0) {
        return DISPATCH_FAILED;
    }
    if (arguments.rbuf == buffer && arguments.desc_num == 0) {
        return (long)arguments.data_size;
    }
    *params = arguments;
    return DISPATCH_ELSEWHERE;
}
