/* Monitors that fire: `tell_watchers` of links.py. See core.h. */

#include "core.h"

/* The process that is told, if it is one of this node that lives: borrowed; otherwise NULL. */
static PyObject *owner_of(PyObject *watcher)
{
    PyObject *ref = (PyObject *)Py_TYPE(watcher) == the_Monitor ? SLOT(watcher, Monitor_owner) : NULL;
    PyObject *process = ref == NULL || (PyObject *)Py_TYPE(ref) != the_LocalRef ? NULL : SLOT(ref, LocalRef__process);
    return process == NULL || !is_process(process) ? NULL : process;
}

/* The frequent case of `monitor_fired`: 1; 0, before anything is done, if it is another; -1 for an error. */
static int fire(PyObject *watcher, PyObject *reason)
{
    PyObject *owner = owner_of(watcher), *monitors, *number, *watched, *down, *done = NULL;
    if (owner == NULL || SLOT(watcher, Monitor_alias) != Py_None ||
        (number = SLOT(watcher, Monitor_number)) == NULL || (watched = SLOT(watcher, Monitor_ref)) == NULL ||
        watched == Py_None || (monitors = SLOT(owner, Process_monitors)) == NULL || !PyDict_CheckExact(monitors) ||
        PyDict_GetItemWithError(monitors, number) != watcher)
        return PyErr_Occurred() ? -1 : 0;
    Py_INCREF(owner);
    if (PyDict_DelItem(monitors, number) == 0) { /* first: a finalizer may run when the message is made */
        set(watcher, Monitor_active, Py_False);
        if ((down = call_with_3(the_Down, watcher, watched, reason)) != NULL)
            done = PyObject_CallMethodObjArgs(owner, s_put, down, NULL); /* there may be layers over it */
        Py_XDECREF(down);
        Py_XDECREF(done);
    }
    Py_DECREF(owner);
    return done == NULL ? -1 : 1;
}

PyObject *core_tell_watchers(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    PyObject *watcher, *nothing;
    Py_ssize_t at = 0;
    (void)module;
    if (count != 2 || !PyDict_CheckExact(args[0])) {
        PyErr_SetString(PyExc_TypeError, "tell_watchers takes two arguments, a dict of watchers and the reason");
        return NULL;
    }
    while (PyDict_Next(args[0], &at, &watcher, &nothing)) { /* only who calls this has that dict */
        Py_INCREF(watcher);
        int fired = fire(watcher, args[1]);
        PyObject *error = fired < 0 ? caught() : NULL, *done = NULL;
        if (fired == 0)
            done = call(the_tell_watcher, watcher, args[1]);
        else if (fired < 0)
            done = call(the_watcher_failed, watcher, error);
        Py_XDECREF(error);
        Py_DECREF(watcher);
        if (fired <= 0 && done == NULL)
            return NULL;
        Py_XDECREF(done);
    }
    Py_RETURN_NONE;
}
