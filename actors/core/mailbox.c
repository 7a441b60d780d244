/* Sending: `LocalRef.send`, `LocalRef.cast`, `Record.put`, `Record.control_put` and `Record.interrupt`. See core.h. */

#include "core.h"

/* Have the run queue resume the task of an idle process, which waits for any message; as `make_runnable`. */
static int make_resumed(PyObject *process, PyObject *waiter, PyObject *run_queue)
{
    PyObject *reader = SLOT(process, Process_reader);
    if (the_is_stepped != Py_True || reader == NULL || (PyObject *)Py_TYPE(reader) != the_Reader ||
        SLOT(reader, TaskTurn_task) != Py_None || SLOT(process, Process_wanted) != Py_None)
        return 0;
    Py_INCREF(reader);
    set(process, Process_idle, Py_False);
    set(reader, TaskTurn_task, waiter);
    set(process, Process_waiter, Py_None);
    int failed = append(run_queue, reader);
    Py_DECREF(reader);
    return failed ? -1 : 1;
}

/* Put an idle process on the run queue, or what resumes its task. Gives 1 when a message may be queued now, 0
 * when the twin is to do it, because the dispatcher waits, say; -1 for an error. */
static int make_runnable(PyObject *process)
{
    PyObject *idle = SLOT(process, Process_idle);
    if (idle == Py_False)
        return 1;
    PyObject *dispatcher = SLOT(process, Process_dispatcher), *waiter = SLOT(process, Process_waiter);
    if (idle != Py_True || waiter == NULL || dispatcher == NULL ||
        SLOT(dispatcher, Dispatcher_parked) != Py_None)
        return 0;
    PyObject *run_queue = get(dispatcher, Dispatcher_queue);
    if (run_queue == NULL)
        return -1;
    int done = 1;
    if (waiter != Py_None)
        done = make_resumed(process, waiter, run_queue);
    else if (append(run_queue, process) < 0)
        done = -1;
    else
        set(process, Process_idle, Py_False);
    Py_DECREF(run_queue);
    return done;
}

/* Queue a message for the process; as `make_runnable`. */
static int put(PyObject *process, PyObject *message)
{
    int ready = make_runnable(process);
    if (ready <= 0)
        return ready;
    PyObject *queue = get(process, Process_queue);
    if (queue == NULL)
        return -1;
    int failed = append(queue, message);
    Py_DECREF(queue);
    return failed ? -1 : 1;
}

/* What the runtime sends is never refused: a queue that refuses some messages is left to the twin. */
int put_always(PyObject *process, PyObject *message)
{
    PyObject *queue = NULL;
    if (!is_process(process) || SLOT(process, Process_ended) != Py_None ||
        SLOT(process, Process_wanted) != Py_None || (queue = SLOT(process, Process_queue)) == NULL ||
        (Py_TYPE(queue) != deque_type && (PyObject *)Py_TYPE(queue) != the_UnusedQueue))
        return 0;
    return put(process, message);
}

PyObject *core_put(PyObject *self, PyObject *message)
{
    int done = put_always(self, message);
    if (done == 0)
        return call(the_put, self, message);
    if (done < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* Have an idle process take a turn, as `Record.wake` does; NULL for an error. */
static PyObject *rouse(PyObject *process)
{
    int done = make_runnable(process);
    if (done == 0)
        return PyObject_CallMethodObjArgs(process, s_wake, NULL);
    if (done < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* The first exit signal of a sync actor, whose body has nothing to do about it. */
PyObject *core_interrupt(PyObject *self, PyObject *reason)
{
    PyObject *body = NULL;
    if (!is_process(self) || SLOT(self, Process_ended) != Py_None || (body = SLOT(self, Process_body)) == NULL ||
        (PyObject *)Py_TYPE(body) != the_SyncBody || SLOT(self, Process_exit_signal) != Py_None)
        return call(the_interrupt, self, reason);
    set(self, Process_exit_signal, reason);
    set(self, Process_attention, Py_True);
    PyObject *done = rouse(self);
    if (done == NULL)
        set(self, Process_exit_signal, Py_None); /* the stack of the sender is full, who is told so */
    return done;
}

/* The lane is there from the first item on; a process whose task waits is left to the twin. */
PyObject *core_control_put(PyObject *self, PyObject *item)
{
    PyObject *lane = NULL;
    if (!is_process(self) || SLOT(self, Process_ended) != Py_None ||
        (lane = SLOT(self, Process_control)) == NULL || Py_TYPE(lane) != deque_type ||
        SLOT(self, Process_waiter) != Py_None)
        return call(the_control_put, self, item);
    Py_INCREF(lane);
    set(self, Process_attention, Py_True);
    PyObject *roused = rouse(self);
    if (roused != NULL && append(lane, item) < 0)
        Py_CLEAR(roused);
    Py_DECREF(lane);
    return roused;
}

PyObject *core_send(PyObject *self, PyObject *message)
{
    PyObject *process = SLOT(self, LocalRef__process);
    if (process == NULL || !is_process(process))
        return call(the_send, self, message);
    Py_INCREF(process);
    int done = put(process, message);
    Py_DECREF(process);
    if (done == 0)
        return call(the_send, self, message);
    if (done < 0)
        return NULL;
    Py_RETURN_NONE;
}

PyObject *pack(PyObject *const *args, Py_ssize_t count)
{
    PyObject *packed = PyTuple_New(count);
    for (Py_ssize_t i = 0; packed != NULL && i < count; i++) {
        Py_INCREF(args[i]);
        PyTuple_SetItem(packed, i, args[i]);
    }
    return packed;
}

/* A `Cast`, as its class makes it, which checks nothing. */
static PyObject *new_cast(PyObject *name, PyObject *args)
{
    PyObject *made = PyType_GenericAlloc((PyTypeObject *)the_Cast, 0);
    if (made != NULL) {
        set(made, Cast_method, name);
        set(made, Cast_args, args);
        set(made, Cast_kwargs, the_no_kwargs);
    }
    return made;
}

/* The message of a cast, or NULL; without an error if the twin is to make it. */
static PyObject *make_cast(PyObject *process, PyObject *const *args, Py_ssize_t count)
{
    PyObject *name = known_name(process, args[0]);
    if (name == NULL)
        return NULL;
    PyObject *message = NULL, *rest = pack(args + 1, count - 1);
    if (rest != NULL) {
        message = new_cast(name, rest);
        Py_DECREF(rest);
    }
    Py_DECREF(name);
    return message;
}

PyObject *core_cast(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    PyObject *process = SLOT(self, LocalRef__process);
    if (count < 1 || keywords != NULL || process == NULL || !is_process(process))
        return call_twin(the_cast, self, args, count, keywords);
    Py_INCREF(process);
    PyObject *message = make_cast(process, args, count);
    int done = message != NULL ? put(process, message) : PyErr_Occurred() != NULL ? -1 : 0;
    Py_XDECREF(message);
    Py_DECREF(process);
    if (done == 0)
        return call_twin(the_cast, self, args, count, keywords);
    if (done < 0)
        return NULL;
    Py_RETURN_NONE;
}
