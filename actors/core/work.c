/* The work of an async actor: `AsyncBody.main`. See core.h.
 *
 * What it returns is awaited as the twin's coroutine is, and behaves like one: it takes what trio sends, and
 * yields what a handler yields, or the trap of the process's own wait. A coroutine that it drives itself, that of
 * a handler or of a part of the twin that is rare, is `awaited`, and `stage` says what it is. */

#include "work.h"

/* What is next. */
enum next { FAILED = -1, TAKE, AWAIT, WAIT, STOP };

/* Await a new reference to a coroutine; NULL for an error. */
static enum next await_next(Work *work, enum stage stage, PyObject *coroutine)
{
    PyObject *former = work->awaited;
    work->awaited = coroutine;
    work->stage = stage;
    Py_XDECREF(former);
    return coroutine == NULL ? FAILED : AWAIT;
}

/* The message is handled. */
static enum next after_message(Work *work)
{
    Py_ssize_t nurseries = PyObject_Size(SLOT(work->task, Task__child_nurseries));
    if (nurseries > 0)
        PyErr_SetNone(the_NurseryLeft);
    if (nurseries != 0)
        return FAILED;
    int attended = is_true(SLOT(work->process, Process_attention));
    if (attended > 0) {
        PyObject *observed = PyObject_CallMethodObjArgs(work->process, s_observed, work->message, NULL);
        attended = observed == NULL ? -1 : 0;
        Py_XDECREF(observed);
    }
    if (attended < 0)
        return FAILED;
    set(work->body, AsyncBody__message, Py_None);
    Py_CLEAR(work->handler);
    Py_CLEAR(work->message);
    if (--work->budget > 0)
        return TAKE;
    work->budget = BUDGET;
    return await_next(work, RESTING, PyObject_CallNoArgs(the_checkpoint));
}

static enum next conclude(Work *work, PyObject *result)
{
    PyObject *stops = PyObject_CallMethodObjArgs(work->body, s_concluded, work->message, result, NULL);
    int stop = stops == NULL ? -1 : is_true(stops);
    Py_XDECREF(stops);
    return stop < 0 ? FAILED : stop ? STOP : after_message(work);
}

/* Tell whether the process has deferred no reply. */
static int owes_nothing(PyObject *process)
{
    PyObject *extras = SLOT(process, Process_extras_or_none);
    if (extras == Py_None)
        return 1;
    PyObject *deferred = extras == NULL ? NULL : SLOT(extras, Extras_deferred);
    return deferred != NULL && PyDict_Check(deferred) && PyDict_Size(deferred) == 0;
}

/* The handler of a call or a cast has returned `result`. */
static enum next returned(Work *work, PyObject *result)
{
    int plain = is_plain(result);
    if (plain < 0)
        return FAILED;
    if (!plain)
        return await_next(work, CHECKING,
                          PyObject_CallMethodObjArgs(work->body, s_checked, result, work->handler, work->message, NULL));
    if (SLOT(work->process, Process_stopping) != Py_None)
        return conclude(work, result);
    if ((PyObject *)Py_TYPE(work->message) == the_Cast)
        return after_message(work);
    if (!owes_nothing(work->process))
        return conclude(work, result);
    PyObject *replied = core_reply(work->message, result);
    if (replied == NULL)
        return FAILED;
    Py_DECREF(replied);
    set(work->process, Process_at_hand, Py_None);
    return after_message(work);
}

/* `on_message` has returned `result`. */
static enum next run_out(Work *work, PyObject *result)
{
    if (result == Py_None)
        return after_message(work);
    return await_next(work, RUNNING_OUT, call(the_run_out, work->handler, result));
}

/* The handling of a message has raised. */
static enum next raised(Work *work)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return FAILED;
    int is_of_method = work->stage == IN_METHOD || work->stage == CHECKING;
    PyObject *handler = is_of_method ? work->handler : Py_None, *error = caught();
    PyObject *survived = PyObject_CallMethodObjArgs(work->body, s_survives, error, work->message, handler, NULL);
    int survives = survived == NULL ? -1 : is_true(survived);
    Py_XDECREF(survived);
    if (survives == 0) {
        raise_again(error);
        return FAILED;
    }
    Py_DECREF(error);
    return survives < 0 ? FAILED : conclude(work, Py_None);
}

/* A handler was called: go on with what it has returned, or await its coroutine. */
static enum next called(Work *work, enum stage stage, PyObject *result)
{
    work->stage = stage;
    if (result == NULL)
        return raised(work);
    if ((PyObject *)Py_TYPE(result) == the_CoroutineType)
        return await_next(work, stage, result);
    enum next next = stage == IN_METHOD ? returned(work, result) : run_out(work, result);
    Py_DECREF(result);
    return next;
}

static enum next handle_other(Work *work)
{
    return await_next(work, IN_OTHER, PyObject_CallMethodObjArgs(work->body, s_handle, work->message, NULL));
}

/* Handle a call or a cast. */
static enum next handle_method(Work *work, Py_ssize_t at_method, Py_ssize_t at_args, Py_ssize_t at_kwargs)
{
    PyObject *handlers = SLOT(work->process, Process_handlers), *method = SLOT(work->message, at_method), *handler;
    if (handlers == NULL || !PyDict_CheckExact(handlers) || method == NULL || !PyUnicode_CheckExact(method))
        return handle_other(work);
    handler = PyDict_GetItemWithError(handlers, method);
    if (handler == NULL)
        return PyErr_Occurred() ? FAILED : handle_other(work);
    Py_INCREF(handler);
    work->handler = handler;
    if ((PyObject *)Py_TYPE(work->message) == the_Request)
        set(work->process, Process_at_hand, work->message);
    PyObject *actor = get(work->body, AsyncBody_actor), *args = get(work->message, at_args);
    PyObject *kwargs = get(work->message, at_kwargs), *result = NULL;
    if (actor != NULL && args != NULL && kwargs != NULL)
        result = call_handler(handler, actor, args, kwargs);
    Py_XDECREF(actor);
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    return called(work, IN_METHOD, result);
}

/* Handle a plain message. */
static enum next handle_plain(Work *work)
{
    PyObject *protocol = get(work->body, AsyncBody_protocol), *actor = get(work->body, AsyncBody_actor), *result = NULL;
    if (protocol != NULL && actor != NULL && (work->handler = PyObject_GetAttr(protocol, s_on_message)) != NULL)
        result = call(work->handler, actor, work->message);
    Py_XDECREF(protocol);
    Py_XDECREF(actor);
    return called(work, IN_HOOK, result);
}

static enum next handle(Work *work)
{
    PyObject *kind = (PyObject *)Py_TYPE(work->message);
    if (kind == the_Request)
        return handle_method(work, Request_method, Request_args, Request_kwargs);
    if (kind == the_Cast)
        return handle_method(work, Cast_method, Cast_args, Cast_kwargs);
    int is_envelope = is_builtin(work->message) ? 0 : is_listed(the_envelopes, Py_TYPE(work->message));
    return is_envelope < 0 ? FAILED : is_envelope ? handle_other(work) : handle_plain(work);
}

/* Show a message to whoever observes the process, or counts. */
static int announce(Work *work)
{
    PyObject *dispatcher, *one, *done = NULL;
    int attended = is_true(SLOT(work->process, Process_attention));
    if (attended < 0)
        return -1;
    if (attended)
        done = PyObject_CallMethodObjArgs(work->process, s_observe, work->message, NULL);
    else {
        dispatcher = SLOT(work->process, Process_dispatcher);
        if (SLOT(dispatcher, Dispatcher_counted) == Py_None)
            return 0;
        if ((one = PyLong_FromLong(1)) != NULL)
            done = PyObject_CallMethodObjArgs(dispatcher, s_count, work->process, one, NULL);
        Py_XDECREF(one);
    }
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Take a message out of the mailbox, and handle it. */
static enum next take_message(Work *work)
{
    if (!is_process(work->process)) /* it was given up, and runs on */
        return await_next(work, IN_TWIN, PyObject_CallFunctionObjArgs(the_work, work->body, NULL));
    PyObject *queue = get(work->process, Process_queue);
    Py_ssize_t waiting = queue == NULL ? -1 : PyObject_Size(queue);
    if (waiting <= 0 || SLOT(work->process, Process_suspended) == Py_True) {
        Py_XDECREF(queue);
        return waiting < 0 ? FAILED : WAIT;
    }
    work->message = popleft(queue);
    Py_DECREF(queue);
    if (work->message == NULL)
        return FAILED;
    set(work->body, AsyncBody__message, work->message);
    return announce(work) < 0 ? FAILED : handle(work);
}

/* Begin with the next message, or with what comes before all messages. */
static enum next take(Work *work)
{
    PyObject *reader = SLOT(work->process, Process_reader);
    int due = is_true(SLOT(work->process, Process_attention));
    if (due == 0 && reader != NULL && reader != Py_None)
        due = is_true(SLOT(reader, Reader_skipped));
    if (due == 0)
        return take_message(work);
    return due < 0 ? FAILED : await_next(work, ATTENDING, PyObject_CallMethodObjArgs(work->body, s_attend, NULL));
}

/* What was awaited has returned `value`. */
static enum next go_on(Work *work, PyObject *value)
{
    int flag = 0;
    switch (work->stage) {
    case BEGINNING:
        return await_next(work, IN_START, PyObject_CallMethodObjArgs(work->body, s_begin, NULL));
    case ATTENDING:
        flag = is_true(value);
        return flag < 0 ? FAILED : flag ? take_message(work) : STOP;
    case IN_METHOD:
        return returned(work, value);
    case CHECKING:
        return conclude(work, value);
    case IN_HOOK:
        return run_out(work, value);
    case RUNNING_OUT:
        return after_message(work);
    case IN_OTHER:
        flag = is_true(value);
        return flag < 0 ? FAILED : flag ? STOP : after_message(work);
    case IN_TWIN:
        return STOP;
    default:
        return TAKE;
    }
}

static enum next go_on_with_error(Work *work)
{
    switch (work->stage) {
    case IN_METHOD:
    case CHECKING:
    case IN_HOOK:
    case RUNNING_OUT:
        return raised(work);
    default:
        return FAILED;
    }
}

/* The trap of the wait for a message, with everything prepared for it; NULL for an error, and NULL with `late` if
 * a message has come meanwhile. */
static PyObject *wait_for_message(Work *work, int *late)
{
    PyObject *reader = get(work->process, Process_reader), *trap = reader == NULL ? NULL : SLOT(reader, Reader__trap);
    if (trap != NULL && trap != Py_None)
        Py_INCREF(trap);
    else if (reader != NULL)
        trap = PyObject_GetAttr(reader, s_trap); /* it makes one */
    Py_XDECREF(reader);
    PyObject *queue = trap == NULL ? NULL : SLOT(work->process, Process_queue);
    Py_ssize_t waiting = queue == NULL ? -1 : PyObject_Size(queue);
    *late = waiting > 0 && SLOT(work->process, Process_suspended) != Py_True;
    if (waiting < 0 || *late)
        Py_CLEAR(trap);
    if (trap == NULL)
        return NULL;
    /* No call, and so no finalizer, comes between the look at the queue and here. */
    set(work->process, Process_waiter, work->task);
    set(work->process, Process_idle, Py_True);
    work->stage = WAITING;
    work->budget = BUDGET;
    return trap;
}

/* As a coroutine, the work can end with anything but a `StopIteration`, which would be its result. */
static void no_result(void)
{
    if (!PyErr_ExceptionMatches(PyExc_StopIteration))
        return;
    PyObject *cause = caught(), *error;
    PyErr_SetString(PyExc_RuntimeError, "coroutine raised StopIteration");
    error = caught();
    Py_INCREF(cause);
    PyException_SetContext(error, cause);
    PyException_SetCause(error, cause);
    raise_again(error);
}

/* Let go of what was awaited, which is over; keeps an error that is on its way. */
static void clear_awaited(Work *work)
{
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    Py_CLEAR(work->awaited);
    PyErr_Restore(type, error, traceback);
}

PySendResult drive(Work *work, PySendResult outcome, PyObject *value, PyObject **yielded)
{
    while (outcome != PYGEN_NEXT) {
        enum next next;
        int late = 0;
        clear_awaited(work);
        if (outcome == PYGEN_RETURN) {
            next = go_on(work, value);
            Py_DECREF(value);
        } else
            next = go_on_with_error(work);
        while (next == TAKE || next == WAIT) {
            if (next == TAKE) {
                next = take(work);
                continue;
            }
            *yielded = wait_for_message(work, &late);
            if (*yielded != NULL)
                return PYGEN_NEXT;
            next = late ? TAKE : FAILED;
        }
        if (next == FAILED) {
            no_result();
            PyObject *type, *error, *traceback;
            PyErr_Fetch(&type, &error, &traceback);
            work_clear((PyObject *)work);
            PyErr_Restore(type, error, traceback);
            *yielded = NULL;
            return PYGEN_ERROR;
        }
        if (next == STOP) {
            work_clear((PyObject *)work);
            Py_INCREF(Py_None);
            *yielded = Py_None;
            return PYGEN_RETURN;
        }
        outcome = PyIter_Send(work->awaited, Py_None, &value);
    }
    *yielded = value;
    return PYGEN_NEXT;
}
