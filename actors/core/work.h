/* The work of an async actor, as work.c does it, and as work_type.c shows it to Python. */

#ifndef ENFILADE_WORK_H
#define ENFILADE_WORK_H

#include "core.h"

enum stage {
    BEGINNING,      /* nothing is awaited yet */
    IN_START,       /* in `begin` */
    WAITING,        /* for a message */
    ATTENDING,      /* in `attend` */
    IN_METHOD,      /* in the handler of a call or a cast */
    CHECKING,       /* in `checked`, of what that has returned */
    IN_HOOK,        /* in `on_message` */
    RUNNING_OUT,    /* in `run_out`, of what that has returned */
    IN_OTHER,       /* in `handle`, of a message of another kind */
    RESTING,        /* at a checkpoint */
    IN_TWIN,        /* in the twin's `work`, which does all that is left */
    OVER
};

typedef struct {
    PyObject_HEAD
    PyObject *body, *process, *task, *awaited, *message, *handler;
    long budget;
    enum stage stage;
    int is_running; /* its code is on the stack */
} Work;

#define BUDGET 64 /* as in task_bodies.py */

/* Go on after what was awaited has yielded, returned or raised, until something is to be yielded. */
PySendResult drive(Work *work, PySendResult outcome, PyObject *value, PyObject **yielded);

/* Let go of everything: the work is over. */
int work_clear(PyObject *self);

#endif
