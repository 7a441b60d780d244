/* Calls that are answered on the spot: `LocalRef.ask`. See core.h. */

#include "core.h"

/* The process that runs now: `Node.current`; borrowed, since it runs. NULL for an error. */
static PyObject *present_process(PyObject *dispatcher, PyObject *node)
{
    PyObject *running = SLOT(dispatcher, Dispatcher_running);
    if (running != NULL && is_record(running))
        return running;
    PyObject *present = PyObject_CallNoArgs(the_present);
    if (present == NULL)
        return NULL;
    Py_DECREF(present); /* the context holds it */
    return present != Py_None && SLOT(present, Process_node) == node ? present : Py_None;
}

/* The result of a call that is settled. */
static PyObject *result_of(PyObject *request)
{
    if (SLOT(request, Request_error) == Py_None)
        return get(request, Request_value);
    return PyObject_CallMethodObjArgs(request, s_result, NULL);
}

/* Resume the task of an async actor with the call; NULL without an error if that is to be left to the twin. */
static PyObject *ask_task(PyObject *self, PyObject *process, PyObject *name, PyObject *const *args)
{
    PyObject *body = SLOT(process, Process_body), *dispatcher = SLOT(process, Process_dispatcher);
    PyObject *node = SLOT(process, Process_node), *caller, *answer = NULL;
    if (body == NULL || (PyObject *)Py_TYPE(body) != the_AsyncBody || SLOT(process, Process_wanted) != Py_None ||
        SLOT(process, Process_limit) != the_LIMITLESS || !can_step())
        return NULL;
    long depth = PyLong_AsLong(SLOT(dispatcher, Dispatcher_depth)), deepest = PyLong_AsLong(the_deepest);
    if (PyErr_Occurred() || depth >= deepest)
        return NULL;
    caller = present_process(dispatcher, node);
    if (caller == NULL || caller == process)
        return NULL;
    PyObject *request = make_request(node, self, name, args[1], args[2], caller);
    if (request == NULL)
        return NULL;
    if (step_with(dispatcher, process, request) == 0)
        answer = SLOT(request, Request_settled) == Py_True ? result_of(request)
                                                           : PyObject_CallFunctionObjArgs(the_Asked, request, NULL);
    Py_DECREF(request);
    return answer;
}

/* Have the caller run the handler of a sync actor; NULL without an error if that is to be left to the twin. */
static PyObject *ask_idle(PyObject *process, PyObject *name, PyObject *const *args)
{
    PyObject *body = SLOT(process, Process_body), *handlers = SLOT(process, Process_handlers), *handler;
    if (body == NULL || (PyObject *)Py_TYPE(body) != the_SyncBody || handlers == NULL ||
        !PyDict_CheckExact(handlers) || (handler = PyDict_GetItemWithError(handlers, name)) == NULL)
        return NULL;
    PyObject *own[] = {handler, args[1], args[2]};
    Py_INCREF(body);
    Py_INCREF(handler);
    PyObject *answer = core_hand_off(body, own, 3);
    Py_DECREF(handler);
    Py_DECREF(body);
    return answer;
}

/* Tell whether nothing but its guard wants the attention of a process, and the guard lets it go on: see
 * `Process.passes_guard`. Gives -1 for an error. */
static int passes_guard(PyObject *process)
{
    PyObject *extras = SLOT(process, Process_extras_or_none), *lane = SLOT(process, Process_control), *observers;
    if (extras == NULL || extras == Py_None || lane == NULL || (lane != Py_None && PyObject_Size(lane) != 0) ||
        SLOT(process, Process_ended) != Py_None || SLOT(process, Process_exit_signal) != Py_None ||
        SLOT(process, Process_stopping) != Py_None || SLOT(process, Process_suspended) != Py_False ||
        SLOT(extras, Extras_context) != Py_None || SLOT(extras, Extras_idle) != Py_None ||
        SLOT(extras, Extras_room) != Py_None || (observers = SLOT(extras, Extras_observers)) == NULL ||
        !PyList_CheckExact(observers) || PyList_Size(observers) != 0)
        return 0;
    PyObject *guard = get(extras, Extras_guard), *reason = NULL;
    if (guard != NULL && guard != Py_None)
        reason = PyObject_CallNoArgs(guard);
    int passes = reason == NULL && PyErr_Occurred() ? -1 : reason == Py_None;
    Py_XDECREF(guard);
    Py_XDECREF(reason);
    return passes;
}

/* Ask a sync actor that has a guard, and has been let go on by it: see `Process.hand_off`. */
static PyObject *ask_guarded(PyObject *process, PyObject *name, PyObject *const *args)
{
    if (passes_guard(process) <= 0)
        return NULL;
    set(process, Process_attention, Py_False);
    PyObject *answer = ask_idle(process, name, args);
    set(process, Process_attention, Py_True);
    return answer;
}

PyObject *core_ask(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    PyObject *process = count == 3 ? get(self, LocalRef__process) : NULL, *answer = NULL;
    if (process != NULL && is_process(process) && SLOT(process, Process_idle) == Py_True &&
        SLOT(SLOT(process, Process_dispatcher), Dispatcher_running) == Py_None) {
        PyObject *name = known_name(process, args[0]);
        if (name != NULL && SLOT(process, Process_attention) != Py_False)
            answer = SLOT(process, Process_waiter) == Py_None ? ask_guarded(process, name, args) : NULL;
        else if (name != NULL)
            answer = SLOT(process, Process_waiter) == Py_None ? ask_idle(process, name, args)
                                                              : ask_task(self, process, name, args);
        Py_XDECREF(name);
    }
    Py_XDECREF(process);
    return answer != NULL || PyErr_Occurred() ? answer : call_twin(the_ask, self, args, count, NULL);
}
