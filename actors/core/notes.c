/* What is noted of the children of supervisors: `keep` of observation.py, `child_terminated` and `child_restarted` of
 * events/listeners.py. See core.h.
 *
 * Every restart is noted twice, and few notes are ever read. A supervisor or child of another node, a reason that
 * holds something, and events that somebody has subscribed to are the twins' own. */

#include "core.h"

/* As `RESTARTING` of listeners.py: how many children may be between two incarnations for their ends to be kept. */
#define KEPT_ENDS 1024

/* The note of a process: two places, borrowed from it. */
struct noted {
    PyObject *serial, *shown;
};

/* As `noted`; -1 for an error. */
static int note_process(PyObject *process, struct noted *note)
{
    PyObject *name = SLOT(process, Process_name), *label = SLOT(process, Process_label);
    int is_named = name == NULL ? 0 : is_true(name);
    note->serial = SLOT(process, Process_serial);
    note->shown = is_named ? name : label;
    if (is_named >= 0 && note->serial != NULL && note->shown != NULL)
        return 0;
    if (is_named >= 0)
        PyErr_SetString(PyExc_AttributeError, "expected a process with a number and a label, got one without");
    return -1;
}

static int is_local(PyObject *ref)
{
    PyObject *process = (PyObject *)Py_TYPE(ref) == the_LocalRef ? SLOT(ref, LocalRef__process) : NULL;
    return process != NULL && is_record(process);
}

/* As `note_of`, of a ref that is local, or None. */
static int note_ref(PyObject *ref, struct noted *note)
{
    if (ref != Py_None)
        return note_process(SLOT(ref, LocalRef__process), note);
    note->serial = note->shown = Py_None;
    return 0;
}

/* Who asked for an end whose reason holds nothing else: None or a local ref. Otherwise NULL, without an error but for one
 * that was raised. */
static PyObject *asker_of(PyObject *reason)
{
    PyObject *kind = (PyObject *)Py_TYPE(reason), *asker;
    if (Py_TYPE(kind) != &PyType_Type || PyDict_Contains(the_EMPTY, kind) != 1 ||
        (asker = PyObject_GetAttr(reason, s_by)) == NULL)
        return NULL;
    if (asker != Py_None && !is_local(asker))
        Py_CLEAR(asker);
    return asker;
}

/* `self._now()` */
static PyObject *now(PyObject *self)
{
    PyObject *clock = PyObject_GetAttr(self, s__now), *time = clock == NULL ? NULL : PyObject_CallNoArgs(clock);
    Py_XDECREF(clock);
    return time;
}

/* `self._keep(kind, time, fields)` */
static PyObject *keep(PyObject *self, PyObject *kind, PyObject *time, PyObject *fields)
{
    PyObject *keeper = PyObject_GetAttr(self, s__keep);
    PyObject *done = keeper == NULL ? NULL : call_with_3(keeper, kind, time, fields);
    Py_XDECREF(keeper);
    return done;
}

/* Tell whether somebody may have subscribed to events of that kind; -1 for an error. */
static int is_wanted(PyObject *observation, PyObject *kind)
{
    PyObject *sinks = PyObject_GetAttr(observation, s__sinks), *name = NULL;
    int wanted = sinks == NULL ? -1 : !PyDict_CheckExact(sinks) || PyDict_Size(sinks) != 0;
    if (wanted > 0 && PyDict_CheckExact(sinks))
        wanted = (name = PyObject_GetAttr(kind, s_kind)) == NULL ? -1 : PyDict_Contains(sinks, name);
    Py_XDECREF(sinks);
    Py_XDECREF(name);
    return wanted;
}

PyObject *core_keep(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    int wanted = count == 3 ? is_wanted(self, args[0]) : 1;
    if (wanted)
        return wanted < 0 ? NULL : call_twin(the_keep, self, args, count, NULL);
    PyObject *former = PyObject_GetAttr(self, s_number), *one = PyLong_FromLong(1), *kept = NULL, *note = NULL;
    PyObject *number = former == NULL || one == NULL ? NULL : PyNumber_Add(former, one);
    int failed = number == NULL || PyObject_SetAttr(self, s_number, number) < 0 ||
                 (note = PyTuple_Pack(4, args[0], number, args[1], args[2])) == NULL ||
                 (kept = PyObject_GetAttr(self, s__kept)) == NULL || append(kept, note) < 0;
    Py_XDECREF(former);
    Py_XDECREF(one);
    Py_XDECREF(number);
    Py_XDECREF(note);
    Py_XDECREF(kept);
    if (failed)
        return NULL;
    Py_RETURN_NONE;
}

/* Have the restart find when its child has ended, and how; -1 for an error. */
static int remember_end(PyObject *ended, PyObject *ref, PyObject *time, PyObject *fields)
{
    PyObject *end = PyTuple_Pack(2, time, fields);
    int failed = end == NULL || PyDict_SetItem(ended, ref, end) < 0;
    Py_XDECREF(end);
    return failed ? -1 : 0;
}

/* (supervisor, child_id, ref, reason, will_restart) */
PyObject *core_child_terminated(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    struct noted by, former, asked;
    PyObject *ended = PyObject_GetAttr(self, s__ended), *asker = NULL, *time = NULL, *fields = NULL, *done = NULL;
    if (ended == NULL)
        return NULL;
    int frequent = count == 5 && is_process(args[0]) && is_local(args[2]) && PyBool_Check(args[4]) &&
                   PyDict_CheckExact(ended) && PyDict_Size(ended) < KEPT_ENDS &&
                   (asker = asker_of(args[3])) != NULL;
    if (frequent && (time = now(self)) != NULL && note_process(args[0], &by) == 0 &&
        note_ref(args[2], &former) == 0 && note_ref(asker, &asked) == 0 &&
        (fields = PyTuple_Pack(9, by.serial, by.shown, args[1], former.serial, former.shown,
                               (PyObject *)Py_TYPE(args[3]), asked.serial, asked.shown, args[4])) != NULL &&
        (args[4] == Py_False || remember_end(ended, args[2], time, fields) == 0))
        done = keep(self, the_ChildTerminated, time, fields);
    Py_XDECREF(fields);
    Py_XDECREF(time);
    Py_XDECREF(asker);
    Py_DECREF(ended);
    return frequent || PyErr_Occurred() ? done : call_twin(the_child_terminated, self, args, count, NULL);
}

/* How many restarts the supervisor may make: `supervisor.body.strategy.children.flags.intensity`. */
static PyObject *intensity_of(PyObject *supervisor)
{
    PyObject *const way[] = {s_strategy, s_children, s_flags, s_intensity};
    PyObject *found = get(supervisor, Process_body), *next;
    for (size_t i = 0; found != NULL && i < sizeof way / sizeof *way; i++) {
        next = PyObject_GetAttr(found, way[i]);
        Py_DECREF(found);
        found = next;
    }
    return found;
}

/* What `child_terminated` has remembered of an end; NULL, without an error but for one of a comparison, if nothing. */
static PyObject *remembered(PyObject *ended, PyObject *ref)
{
    PyObject *end = PyDict_CheckExact(ended) ? PyDict_GetItemWithError(ended, ref) : NULL;
    Py_XINCREF(end);
    return end;
}

/* (supervisor, child_id, old, ref, reason, in_period) */
PyObject *core_child_restarted(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    struct noted by, new;
    PyObject *ended = PyObject_GetAttr(self, s__ended), *end = NULL, *time = NULL, *seconds = NULL, *done = NULL;
    PyObject *intensity = NULL, *fields = NULL;
    if (ended == NULL)
        return NULL;
    int frequent = count == 6 && is_process(args[0]) && is_local(args[2]) && is_local(args[3]) &&
                   (end = remembered(ended, args[2])) != NULL;
    if (frequent && (time = now(self)) != NULL && PyDict_DelItem(ended, args[2]) == 0 &&
        (seconds = PyNumber_Subtract(time, PyTuple_GetItem(end, 0))) != NULL &&
        (intensity = intensity_of(args[0])) != NULL && note_process(args[0], &by) == 0 &&
        note_ref(args[3], &new) == 0) {
        PyObject *was = PyTuple_GetItem(end, 1);
        fields = PyTuple_Pack(13, by.serial, by.shown, args[1], PyTuple_GetItem(was, 3), PyTuple_GetItem(was, 4),
                              new.serial, new.shown, PyTuple_GetItem(was, 5), PyTuple_GetItem(was, 6),
                              PyTuple_GetItem(was, 7), seconds, args[5], intensity);
        if (fields != NULL)
            done = keep(self, the_ChildRestarted, time, fields);
    }
    Py_XDECREF(fields);
    Py_XDECREF(intensity);
    Py_XDECREF(seconds);
    Py_XDECREF(time);
    Py_XDECREF(end);
    Py_DECREF(ended);
    return frequent || PyErr_Occurred() ? done : call_twin(the_child_restarted, self, args, count, NULL);
}
