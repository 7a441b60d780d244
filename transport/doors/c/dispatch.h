/*
 * The server side of the binding, between a door and a server procedure written in Python.
 *
 * door_return() abandons the stack of its thread and never comes back, so no Python frame may lie below it and
 * the interpreter's lock may not be held.  Therefore the procedure of every Python door is dispatch_procedure(),
 * which is C: it calls Python, Python fills in the reply and returns, and only then does C call door_return().
 *
 * The file is the same for illumos and for Linux.  It knows <door.h> and nothing else.
 */
#ifndef ENFILADE_DISPATCH_H
#define ENFILADE_DISPATCH_H

#include <door.h>
#include <stddef.h>
#include <stdint.h>

/* What Python asks for when it has returned. */
#define DISPATCH_RETURN 0 /* call door_return() with the reply in the invocation */
#define DISPATCH_EMPTY  1 /* call door_return() with nothing */
#define DISPATCH_EXIT   2 /* end the server thread, as falling off the end of a C procedure does: the client gets EINTR */

/* One invocation, as Python sees it.  There is one per server thread, reused, so its address names the thread. */
struct dispatch_invocation {
    uintptr_t cookie; /* the arguments of the server procedure; the cookie is Python's, a number */
    char *argp;
    size_t arg_size;
    door_desc_t *dp;
    uint_t n_desc;
    int is_unreferenced; /* not a call: the notification that a single reference remains */
    char *data_ptr; /* the arguments that door_return() is to have */
    size_t data_size;
    door_desc_t *desc_ptr;
    uint_t num_desc;
    int action;   /* DISPATCH_... */
    int error;    /* errno of the door_return() that failed */
    int failures; /* how many have failed in this invocation */
};

/* Written in Python (or, in the unit test of the binding, in C). */
void dispatch_python_invoke(struct dispatch_invocation *invocation, uintptr_t cookie); /* run the procedure */
void dispatch_python_failed(struct dispatch_invocation *invocation); /* its door_return() failed with `error` */
void dispatch_python_create(door_info_t *info);                      /* a server create function */
int dispatch_python_xcreate(door_info_t *info, void *(*start)(void *), void *argument, void *cookie);
void dispatch_python_setup(void *cookie);  /* a thread set-up function of door_xcreate() */
int dispatch_python_thread(void *handle); /* body of a new server thread; true: now park in door_return() */

/* The same, in C: what is given to door_create(), door_xcreate() and door_server_create(). */
void dispatch_procedure(void *cookie, char *argp, size_t arg_size, door_desc_t *dp, uint_t n_desc);
void dispatch_create(door_info_t *info);
int dispatch_xcreate(door_info_t *info, void *(*start)(void *), void *argument, void *cookie);
void dispatch_setup(void *cookie);

/* The create function in force until another is set: one thread for each request, as libc's own, but with all
 * signals blocked, so that no Python signal handler is ever asked for on a server thread. */
void dispatch_default_create(door_info_t *info);

/* Make data without descriptors the reply of an invocation.  The first copies them into the server thread's buffer; -1
 * with errno ENOMEM when there is no room.  The second leaves them where they are, and they must stay there until the
 * thread's next invocation.  Both return 1 when the reply before was left where it was, and may go now, else 0. */
int dispatch_reply(struct dispatch_invocation *invocation, const char *data, size_t size);
int dispatch_reply_in_place(struct dispatch_invocation *invocation, const char *data, size_t size);

/* Copy a reply into the buffer of the calling server thread, which lives until the thread's next reply.  Returns
 * NULL with errno ENOMEM when there is no room. */
char *dispatch_copy(const char *data, size_t size);
door_desc_t *dispatch_copy_descriptors(const door_desc_t *descriptors, uint_t count);

/* Start a detached server thread with all signals blocked and cancellation disabled.  stack_size 0 means
 * DISPATCH_STACK_SIZE.  Returns 0 or an error number.  The first form runs start(argument), which is expected to end in
 * door_return(); the second runs dispatch_python_thread(handle) and then parks. */
#define DISPATCH_STACK_SIZE (2u * 1024 * 1024)
int dispatch_thread(void *(*start)(void *), void *argument, size_t stack_size);
int dispatch_thread_in_python(void *handle, size_t stack_size);

/* A call in one step.  When it is masked, every signal is blocked for exactly its duration: EAGAIN and EINTR by signal
 * handlers cannot occur.  A reply of more than `largest` bytes is EOVERFLOW; 0: none is.  Returns the size of the reply, which is in `buffer`; DISPATCH_FAILED with errno;
 * or DISPATCH_ELSEWHERE when the reply did not fit, or has descriptors: then the results are those in `params`. */
#define DISPATCH_FAILED (-1)
#define DISPATCH_ELSEWHERE (-2)
long dispatch_exchange(int d, const char *data, size_t size, door_desc_t *descriptors, uint_t count, char *buffer,
                       size_t room, size_t largest, door_arg_t *params, int masked);

/* The interpreter is about to end: from now on no thread enters Python.  A call that arrives is answered by ending its
 * thread.  dispatch_in_python() says how many threads are still inside. */
void dispatch_close(void);
int dispatch_in_python(void);

#endif
