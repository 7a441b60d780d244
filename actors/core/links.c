/* Links that are over: `notify_end` of links.py. See core.h. */

#include "core.h"

/* Tell whether a link is up: its state is `UP`, which is 0; -1 for an error. */
static int is_up(PyObject *state)
{
    long number = PyLong_AsLong(state);
    return number == -1 && PyErr_Occurred() ? -1 : number == 0;
}

/* Tell the body of `other`, then turn the signal into a message: the end of `link_ended`. */
static int tell_linked(PyObject *other, PyObject *sender, PyObject *reason)
{
    PyObject *body = get(other, Process_body), *done = NULL, *exited = NULL;
    if (body == NULL || (done = PyObject_CallMethodObjArgs(body, s_linked_ended, sender, reason, NULL)) == NULL)
        goto over;
    Py_DECREF(done);
    if (SLOT(other, Process_trap_exits) == Py_True && SLOT(other, Process_suspended) == Py_False) {
        exited = call(the_Exited, sender, reason);
        done = exited == NULL ? NULL : PyObject_CallMethodObjArgs(other, s_put, exited, NULL);
    } else
        done = PyObject_CallMethodObjArgs(other, s_exit_arrived, sender, reason, Py_True, NULL);
over:
    Py_XDECREF(body);
    Py_XDECREF(exited);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* `link_ended`, of a process of this node. */
static int link_ended(PyObject *other, PyObject *sender, PyObject *reason)
{
    PyObject *linked, *state;
    if (!is_process(other) || SLOT(other, Process_ended) != Py_None ||
        (linked = SLOT(other, Process_links)) == Py_None)
        return 0;
    if (linked == NULL || !PyDict_CheckExact(linked)) {
        PyErr_SetString(PyExc_AttributeError, "expected the links of a process to be a dict");
        return -1;
    }
    Py_INCREF(linked);
    int failed = -1;
    if ((state = PyDict_GetItemWithError(linked, sender)) != NULL) {
        int up = is_up(state);
        failed = up < 0 ? -1 : 0;
        if (up > 0)
            failed = PyDict_DelItem(linked, sender) < 0 || tell_linked(other, sender, reason) < 0;
    } else if (!PyErr_Occurred())
        failed = 0;
    Py_DECREF(linked);
    return failed ? -1 : 0;
}

/* Tell one that the process was linked to. */
static int tell(PyObject *process, PyObject *ref, PyObject *state, PyObject *reason)
{
    int up = is_up(state);
    if (up <= 0)
        return up;
    if ((PyObject *)Py_TYPE(ref) != the_LocalRef) {
        PyObject *done = call_with_3(the_tell_linked, process, ref, reason);
        Py_XDECREF(done);
        return done == NULL ? -1 : 0;
    }
    PyObject *sender = get(process, Process_ref), *other = get(ref, LocalRef__process);
    int failed = sender == NULL || other == NULL ? -1 : 0;
    if (!failed && link_ended(other, sender, reason) < 0) {
        PyObject *error = caught(), *done = call(the_telling_failed, other, error);
        failed = done == NULL ? -1 : 0;
        Py_XDECREF(error);
        Py_XDECREF(done);
    }
    Py_XDECREF(sender);
    Py_XDECREF(other);
    return failed;
}

PyObject *core_notify_end(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    PyObject *ref, *state, *monitors = NULL, *linked, *watchers, *done;
    Py_ssize_t at = 0;
    (void)module;
    if (count != 2 || !is_process(args[0]) || (monitors = SLOT(args[0], Process_monitors)) == NULL ||
        (monitors != Py_None && (!PyDict_CheckExact(monitors) || PyDict_Size(monitors) != 0)))
        return count > 0 ? call_twin(the_notify_end, args[0], args + 1, count - 1, NULL)
                         : PyObject_CallNoArgs(the_notify_end);
    if ((linked = get(args[0], Process_links)) == NULL)
        return NULL;
    if ((watchers = get(args[0], Process_watchers)) == NULL) {
        Py_DECREF(linked);
        return NULL;
    }
    set(args[0], Process_links, Py_None);
    set(args[0], Process_watchers, Py_None);
    set(args[0], Process_monitors, Py_None);
    int failed = 0;
    while (!failed && linked != Py_None && PyDict_Next(linked, &at, &ref, &state)) { /* nobody else has it now */
        Py_INCREF(ref);
        Py_INCREF(state);
        failed = tell(args[0], ref, state, args[1]) < 0;
        Py_DECREF(ref);
        Py_DECREF(state);
    }
    if (!failed && watchers != Py_None) {
        PyObject *with[] = {watchers, args[1]};
        done = core_tell_watchers(NULL, with, 2);
        failed = done == NULL;
        Py_XDECREF(done);
    }
    Py_DECREF(linked);
    Py_DECREF(watchers);
    if (failed)
        return NULL;
    Py_RETURN_NONE;
}
