/* The coroutine that `AsyncBody.main` returns: what Python and trio may do with it. See work.c. */

#include "work.h"

static PyTypeObject *work_type;

int work_clear(PyObject *self)
{
    Work *work = (Work *)self;
    work->stage = OVER;
    Py_CLEAR(work->awaited);
    Py_CLEAR(work->message);
    Py_CLEAR(work->handler);
    Py_CLEAR(work->body);
    Py_CLEAR(work->process);
    Py_CLEAR(work->task);
    return 0;
}

/* Tell whether it is no time to enter the work, as with any coroutine: an error is set then. */
static int is_running(Work *work)
{
    if (work->is_running)
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
    return work->is_running;
}

static int cannot_go_on(Work *work)
{
    if (is_running(work))
        return 1;
    if (work->stage == OVER)
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
    return work->stage == OVER;
}

static PySendResult work_am_send(PyObject *self, PyObject *sent, PyObject **yielded)
{
    Work *work = (Work *)self;
    PyObject *value = NULL;
    PySendResult outcome;
    *yielded = NULL;
    if (cannot_go_on(work))
        return PYGEN_ERROR;
    work->is_running = 1;
    if (work->awaited != NULL)
        outcome = PyIter_Send(work->awaited, sent, &value);
    else if (sent == Py_None || sent == the_resumed) {
        Py_INCREF(Py_None);
        value = Py_None;
        outcome = PYGEN_RETURN;
    } else {
        value = PyObject_CallMethodObjArgs(sent, s_unwrap, NULL);
        outcome = value == NULL ? PYGEN_ERROR : PYGEN_RETURN;
    }
    outcome = drive(work, outcome, value, yielded);
    work->is_running = 0;
    return outcome;
}

/* The methods of a coroutine. */

/* What a method of a coroutine gives: what was yielded, or an error, which a `StopIteration` is at the end. */
static PyObject *given(PySendResult outcome, PyObject *yielded)
{
    if (outcome != PYGEN_RETURN)
        return yielded;
    Py_DECREF(yielded);
    PyErr_SetNone(PyExc_StopIteration);
    return NULL;
}

static PyObject *work_send(PyObject *self, PyObject *sent)
{
    PyObject *yielded;
    PySendResult outcome = work_am_send(self, sent, &yielded);
    return given(outcome, yielded);
}

static PyObject *work_next(PyObject *self)
{
    return work_send(self, Py_None);
}

/* Raise what `throw` was given, a class or an error, and perhaps more; always NULL. */
static PyObject *raise_given(PyObject *const *args, Py_ssize_t count)
{
    PyObject *error = args[count > 1 && args[1] != Py_None ? 1 : 0];
    if (PyExceptionInstance_Check(error))
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    else
        PyErr_SetObject(args[0], count > 1 ? args[1] : NULL);
    return NULL;
}

static PyObject *work_throw(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    Work *work = (Work *)self;
    PyObject *value, *yielded, *stop;
    if (count < 1 || count > 3) {
        PyErr_SetString(PyExc_TypeError, "throw takes from one to three arguments");
        return NULL;
    }
    if (cannot_go_on(work))
        return NULL;
    work->is_running = 1;
    if (work->awaited == NULL)
        value = raise_given(args, count);
    else {
        PyObject *throw = PyObject_GetAttr(work->awaited, s_throw);
        value = throw == NULL ? NULL : PyObject_Vectorcall(throw, args, count, NULL);
        Py_XDECREF(throw);
    }
    PySendResult outcome = value == NULL ? PYGEN_ERROR : PYGEN_NEXT;
    if (value == NULL && work->awaited != NULL && PyErr_ExceptionMatches(PyExc_StopIteration)) {
        stop = caught();
        value = PyObject_GetAttr(stop, s_value);
        outcome = value == NULL ? PYGEN_ERROR : PYGEN_RETURN;
        Py_DECREF(stop);
    }
    outcome = drive(work, outcome, value, &yielded);
    work->is_running = 0;
    return given(outcome, yielded);
}

static PyObject *work_close(PyObject *self, PyObject *nothing)
{
    Work *work = (Work *)self;
    PyObject *closed = Py_None;
    (void)nothing;
    if (is_running(work))
        return NULL;
    work->is_running = 1;
    if (work->awaited == NULL)
        Py_INCREF(closed);
    else
        closed = PyObject_CallMethodObjArgs(work->awaited, s_close, NULL);
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    work_clear(self);
    work->is_running = 0;
    PyErr_Restore(type, error, traceback);
    return closed;
}

static PyObject *work_await(PyObject *self)
{
    Py_INCREF(self);
    return self;
}

/* What trio looks for to show where a task waits. */

static PyObject *get_awaited(PyObject *self, void *nothing)
{
    PyObject *awaited = ((Work *)self)->awaited;
    (void)nothing;
    awaited = awaited == NULL ? Py_None : awaited;
    Py_INCREF(awaited);
    return awaited;
}

/* A frame of the twin, which has not run and will not: made only for who asks. */
static PyObject *get_frame(PyObject *self, void *nothing)
{
    PyObject *body = ((Work *)self)->body, *twin, *frame, *closed = NULL;
    (void)nothing;
    if (body == NULL)
        Py_RETURN_NONE;
    if ((twin = PyObject_CallFunctionObjArgs(the_main, body, NULL)) == NULL)
        return NULL;
    if ((frame = PyObject_GetAttrString(twin, "cr_frame")) != NULL &&
        (closed = PyObject_CallMethodObjArgs(twin, s_close, NULL)) == NULL)
        Py_CLEAR(frame);
    Py_XDECREF(closed);
    Py_DECREF(twin);
    return frame;
}

static int work_traverse(PyObject *self, visitproc visit, void *arg)
{
    Work *work = (Work *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(work->body);
    Py_VISIT(work->process);
    Py_VISIT(work->task);
    Py_VISIT(work->awaited);
    Py_VISIT(work->message);
    Py_VISIT(work->handler);
    return 0;
}

static void work_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    work_clear(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMethodDef work_methods[] = {
    {"send", work_send, METH_O, "Go on with what trio sends."},
    {"throw", (PyCFunction)(void (*)(void))work_throw, METH_FASTCALL, "Go on with an error."},
    {"close", work_close, METH_NOARGS, "Close what it awaits, and end."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef work_getset[] = {
    {"cr_await", get_awaited, NULL, "What it awaits; None.", NULL},
    {"cr_frame", get_frame, NULL, "A frame that says what it is; None when it is over.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot work_slots[] = {
    {Py_tp_doc, "The work of an async actor: see AsyncBody.main."},
    {Py_am_await, work_await},
    {Py_am_send, work_am_send},
    {Py_tp_iter, work_await},
    {Py_tp_iternext, work_next},
    {Py_tp_methods, work_methods},
    {Py_tp_getset, work_getset},
    {Py_tp_traverse, work_traverse},
    {Py_tp_clear, work_clear},
    {Py_tp_dealloc, work_dealloc},
    {0, NULL},
};

static PyType_Spec work_spec = {
    "enfilade.actors.core.compiled.Work", sizeof(Work), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, work_slots,
};

PyObject *core_main(PyObject *self, PyObject *nothing)
{
    PyObject *process = NULL, *task = get(self, AsyncBody_task);
    Work *work = NULL;
    (void)nothing;
    if (task == NULL || (process = get(self, AsyncBody_process)) == NULL)
        goto over;
    if (!can_step() || (PyObject *)Py_TYPE(task) != the_Task) {
        work = (Work *)PyObject_CallFunctionObjArgs(the_main, self, NULL);
        goto over;
    }
    if (work_type == NULL && (work_type = (PyTypeObject *)PyType_FromSpec(&work_spec)) == NULL)
        goto over;
    work = (Work *)PyType_GenericAlloc(work_type, 0);
    if (work == NULL)
        goto over;
    Py_INCREF(self);
    work->body = self;
    Py_INCREF(process);
    work->process = process;
    Py_INCREF(task);
    work->task = task;
    work->budget = BUDGET;
over:
    Py_XDECREF(process);
    Py_XDECREF(task);
    return (PyObject *)work;
}
