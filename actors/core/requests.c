/* Calls: `Request.__init__`, `Request.reply`, `Process.request`, `Process.defer` and `Process.continue_with`. See core.h. */

#include "core.h"

/* Set all fields; -1 for an error. `given` is what `__init__` takes: node, target, method, args, kwargs, caller. */
static int fill(PyObject *self, PyObject *const *given)
{
    PyObject *caller = given[5], *ref = caller;
    if (caller == Py_None)
        Py_INCREF(ref);
    else
        ref = is_process(caller) ? get(caller, Process_ref) : PyObject_GetAttr(caller, s_ref);
    if (ref == NULL)
        return -1;
    set(self, Request_caller, ref);
    Py_DECREF(ref);
    set(self, Request_node, given[0]);
    set(self, Request_target, given[1]);
    set(self, Request_method, given[2]);
    set(self, Request_args, given[3]);
    set(self, Request_kwargs, given[4]);
    set(self, Request_settled, Py_False);
    set(self, Request_value, Py_None);
    set(self, Request_error, Py_None);
    set(self, Request_waiter, Py_None);
    set(self, Request_observer, Py_None);
    return 0;
}

PyObject *make_request(PyObject *node, PyObject *target, PyObject *method, PyObject *args, PyObject *kwargs,
                       PyObject *caller)
{
    PyObject *given[] = {node, target, method, args, kwargs, caller}, *request = make(the_Request);
    if (request != NULL && fill(request, given) < 0)
        Py_CLEAR(request);
    return request;
}

PyObject *core_request_init(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    if (count != 6 || (keywords != NULL && PyTuple_Size(keywords) != 0))
        return call_twin(the_request_init, self, args, count, keywords);
    if (fill(self, args) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* Have the run queue resume the task that waits, as `Request._resume`; -1 for an error. Whoever resumes it takes the
 * note that it waits before anything else. */
static int resume_waiter(PyObject *self, PyObject *dispatcher)
{
    PyObject *waiter = get(self, Request_waiter), *queue = get(dispatcher, Dispatcher_queue), *entry = NULL;
    int failed = -1;
    if (waiter == NULL || queue == NULL)
        goto over;
    set(self, Request_waiter, Py_None);
    if ((entry = make_with(the_TaskTurn, TaskTurn_dispatcher, dispatcher)) == NULL)
        goto over;
    set(entry, TaskTurn_task, waiter);
    set(entry, TaskTurn_error, Py_None);
    failed = append(queue, entry);
over:
    Py_XDECREF(waiter);
    Py_XDECREF(queue);
    Py_XDECREF(entry);
    return failed;
}

/* Tell whoever is to be told of the outcome; what that raises is the caller's affair. -1 for an error. */
static int tell_observer(PyObject *self)
{
    PyObject *observer = get(self, Request_observer), *told = NULL;
    if (observer == NULL || observer == Py_None) {
        Py_XDECREF(observer);
        return observer == NULL ? -1 : 0;
    }
    told = PyObject_Vectorcall(observer, &self, 1, NULL);
    Py_DECREF(observer);
    if (told == NULL) {
        PyObject *error = caught(), *process = PyObject_GetAttr(self, s_process);
        if (process != NULL)
            told = call(the_observer_failed, process, error);
        Py_XDECREF(process);
        Py_XDECREF(error);
    }
    Py_XDECREF(told);
    return told == NULL ? -1 : 0;
}

/* Tell whether the value may have yet to run: `live_kind` says whether it has. */
static int may_be_live(PyObject *value)
{
    PyObject *type = (PyObject *)Py_TYPE(value);
    return PyIter_Check(value) || type == the_CoroutineType || type == the_AsyncGeneratorType;
}

PyObject *core_reply(PyObject *self, PyObject *value)
{
    PyObject *settled = SLOT(self, Request_settled), *waiter = SLOT(self, Request_waiter), *dispatcher = NULL;
    if (settled == Py_True)
        Py_RETURN_NONE;
    if (may_be_live(value))
        return call_twin(the_reply, self, &value, 1, NULL);
    int waits = waiter != Py_None;
    if (waits && the_is_stepped == Py_True && waiter != NULL && SLOT(self, Request_node) != NULL &&
        (dispatcher = PyObject_GetAttr(SLOT(self, Request_node), s_dispatcher)) == NULL)
        return NULL;
    if (settled != Py_False || (waits && (dispatcher == NULL || SLOT(dispatcher, Dispatcher_parked) != Py_None))) {
        Py_XDECREF(dispatcher);
        return call_twin(the_reply, self, &value, 1, NULL); /* the dispatcher's task waits, too */
    }
    set(self, Request_value, value);
    int failed = waits && resume_waiter(self, dispatcher) < 0;
    Py_XDECREF(dispatcher);
    if (failed)
        return NULL;
    set(self, Request_settled, Py_True);
    if (tell_observer(self) < 0)
        return NULL;
    Py_RETURN_NONE;
}

PyObject *known_name(PyObject *process, PyObject *method)
{
    PyObject *names = SLOT(process, Process_names);
    if (names == NULL || !PyDict_CheckExact(names))
        return NULL;
    Py_INCREF(names); /* what is looked up may compare itself by code of its own */
    PyObject *name = PyDict_GetItemWithError(names, method);
    Py_XINCREF(name);
    Py_DECREF(names);
    if (name == NULL && PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_TypeError))
        PyErr_Clear(); /* it cannot be looked up: the twin says so */
    return name;
}

int deliver_call(PyObject *process, PyObject *request)
{
    int is_put = put_always(process, request);
    if (is_put > 0)
        return 0;
    PyObject *error = is_put < 0 ? caught() : NULL;
    PyObject *done = error != NULL ? PyObject_CallMethodObjArgs(process, s_signal_failed, error, request, NULL)
                                   : PyObject_CallMethodObjArgs(process, s_deliver, request, NULL);
    Py_XDECREF(error);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* The request to a process that lives, has no bound, and has such a method; NULL for an error, or without one if that
 * is to be left to the twin. */
static PyObject *request_of(PyObject *self, PyObject *process, PyObject *const *args, Py_ssize_t count)
{
    if (!is_process(process) || SLOT(process, Process_ended) != Py_None ||
        SLOT(process, Process_limit) != the_LIMITLESS)
        return NULL;
    PyObject *node = get(self, Process_node), *kind = NULL, *request = NULL, *rest = NULL, *kwargs = NULL;
    PyObject *name = node == NULL ? NULL : known_name(process, args[1]);
    if (name == NULL || (kind = PyObject_GetAttr(node, s_request_type)) == NULL || kind != the_Request ||
        (rest = pack(args + 2, count - 2)) == NULL || (kwargs = PyDict_New()) == NULL)
        goto over;
    request = make_request(node, args[0], name, rest, kwargs, self);
    if (request != NULL && deliver_call(process, request) < 0)
        Py_CLEAR(request);
over:
    Py_XDECREF(node);
    Py_XDECREF(name);
    Py_XDECREF(kind);
    Py_XDECREF(rest);
    Py_XDECREF(kwargs);
    return request;
}

PyObject *core_request(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    PyObject *request = NULL, *process = NULL;
    if (count >= 2 && keywords == NULL && is_process(self) && (PyObject *)Py_TYPE(args[0]) == the_LocalRef &&
        (process = get(args[0], LocalRef__process)) != NULL)
        request = request_of(self, process, args, count);
    Py_XDECREF(process);
    return request != NULL || PyErr_Occurred() ? request : call_twin(the_request, self, args, count, keywords);
}

PyObject *core_defer(PyObject *self, PyObject *nothing)
{
    PyObject *request = NULL, *extras = NULL, *deferred = NULL, *made = NULL;
    (void)nothing;
    if (is_process(self) && (request = SLOT(self, Process_at_hand)) != NULL &&
        (PyObject *)Py_TYPE(request) == the_Request && SLOT(request, Request_settled) == Py_False &&
        (extras = SLOT(self, Process_extras_or_none)) != NULL && extras != Py_None &&
        (deferred = SLOT(extras, Extras_deferred)) != NULL && PyDict_CheckExact(deferred)) {
        Py_INCREF(request);
        Py_INCREF(deferred);
        int is_there = PyDict_Contains(deferred, request);
        if (is_there == 0 && PyDict_SetItem(deferred, request, Py_False) == 0 &&
            (made = make_with(the_Deferred, Deferred__process, self)) != NULL)
            set(made, Deferred_request, request);
        Py_DECREF(request);
        Py_DECREF(deferred);
    }
    return made != NULL || PyErr_Occurred() ? made : PyObject_CallFunctionObjArgs(the_defer, self, NULL);
}

PyObject *core_continue_with(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    if (count < 1 || keywords != NULL || !is_process(self) || !PyCallable_Check(args[0]))
        return call_twin(the_continue_with, self, args, count, keywords);
    PyObject *item = make_with(the_Continuation, Continuation_fn, args[0]);
    PyObject *rest = item == NULL ? NULL : pack(args + 1, count - 1), *done = NULL;
    if (rest != NULL) {
        set(item, Continuation_args, rest);
        done = core_control_put(self, item);
    }
    Py_XDECREF(item);
    Py_XDECREF(rest);
    return done;
}
