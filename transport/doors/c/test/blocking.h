/* A procedure that says when it runs and waits to be told to go on, and callers in threads of their own. */
#ifndef DOORS_TEST_BLOCKING_H
#define DOORS_TEST_BLOCKING_H

#include "harness.h"

extern int entered[2], leave[2], ran[2]; /* pipes: the procedure says it runs, is told to go on, and counts */

struct caller {
    pthread_t thread;
    int door;
    int error; /* 0 or errno */
    atomic_int thread_id;
    int done[2];
    door_desc_t *descriptors;
    uint_t count;
};

void make_pipes(void);
void blocking_procedure(void *cookie, char *data, size_t size, door_desc_t *descriptors, uint_t count);
void no_threads(door_info_t *info); /* creation functions */
void one_thread(door_info_t *info);
void *server_thread(void *unused); /* parks with all signals blocked */
void start_caller(struct caller *caller, int door);
int caller_error(struct caller *caller); /* waits for the call to end */
int interrupted_error(struct caller *caller, int number); /* ends the call by a signal, whenever it begins to wait */
void until_it_waits(struct caller *caller);               /* in its call, for what another thread will do */
void handle(int number, int flags);      /* a signal, by doing nothing */
void settle(void); /* gives other threads time to come further; nothing may depend on whether they have */

#endif
