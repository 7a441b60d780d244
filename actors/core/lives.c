/* The beginning and the end of a process's record: `Record.__init__`, and `conclude` of end.py. See core.h.
 *
 * Both write most fields of a record, and that is what C gains. The parts of an end that few processes need
 * (names, extras, calls that have not been answered, a starter that waits) are the twin's own. */

#include "core.h"

/* Making. */

PyObject *make(PyObject *kind)
{
    newfunc make_new = (newfunc)PyType_GetSlot((PyTypeObject *)kind, Py_tp_new);
    PyObject *nothing = PyTuple_New(0);
    if (nothing == NULL)
        return NULL;
    PyObject *made = make_new((PyTypeObject *)kind, nothing, NULL);
    Py_DECREF(nothing);
    return made;
}

/* A new object of `kind`, whose `field` is `value`. */
PyObject *make_with(PyObject *kind, Py_ssize_t field, PyObject *value)
{
    PyObject *made = make(kind);
    if (made != NULL)
        set(made, field, value);
    return made;
}

static PyObject *make_ref(PyObject *process, PyObject *node)
{
    PyObject *kind = PyObject_GetAttr(node, s_ref_type), *made = NULL;
    if (kind == NULL)
        return NULL;
    if (kind != the_LocalRef)
        made = PyObject_CallFunctionObjArgs(kind, process, NULL);
    else if ((made = make_with(kind, LocalRef__process, process)) != NULL)
        set(made, LocalRef_limit, Py_None);
    Py_DECREF(kind);
    return made;
}

/* Put a new reference into a field; -1 if there is none. */
static int put_new(PyObject *object, Py_ssize_t field, PyObject *value)
{
    if (value == NULL)
        return -1;
    set(object, field, value);
    Py_DECREF(value);
    return 0;
}

#define KEPT_CALLERS 15 /* of the parent's, besides the parent */

static int descend(PyObject *process, PyObject *parent)
{
    PyObject *former = SLOT(parent, Process_callers), *ref = SLOT(parent, Process_ref);
    PyObject *extras = SLOT(parent, Process_extras_or_none), *owner = SLOT(parent, Process_owner);
    if (former == NULL || ref == NULL || extras == NULL || owner == NULL || !PyTuple_Check(former)) {
        PyErr_SetString(PyExc_AttributeError, "expected a parent with all its fields, got one without");
        return -1;
    }
    Py_ssize_t count = PyTuple_Size(former);
    count = count > KEPT_CALLERS ? KEPT_CALLERS : count;
    if (extras != Py_None && SLOT(extras, Extras_arena) != Py_None)
        owner = parent;
    set(process, Process_owner, owner);
    Py_INCREF(former);
    Py_INCREF(ref);
    PyObject *callers = PyTuple_New(count + 1);
    if (callers != NULL) {
        Py_INCREF(ref);
        PyTuple_SetItem(callers, 0, ref);
    }
    for (Py_ssize_t i = 0; callers != NULL && i < count; i++) {
        PyObject *caller = PyTuple_GetItem(former, i);
        Py_INCREF(caller);
        PyTuple_SetItem(callers, i + 1, caller);
    }
    Py_DECREF(ref);
    Py_DECREF(former);
    return put_new(process, Process_callers, callers);
}

#define ROOM 4 /* as `need_room` checks by default */

/* Check that the stack has room for some calls; -1 for an error. Later versions count calls in C apart. */
static int need_room(void)
{
    if (Py_Version >= 0x030C0000) {
        PyObject *has_room = PyObject_CallNoArgs(the_need_room);
        Py_XDECREF(has_room);
        return has_room == NULL ? -1 : 0;
    }
    return enter_and_leave(ROOM, " while a process was made");
}

PyObject *core_init(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    if (!is_process(self) || count != 4 || args[3] != the_UNBOUNDED || (args[2] != Py_None && !is_process(args[2])))
        return call_twin(the_record_init, self, args, count, NULL);
    PyObject *node = args[0], *parent = args[2];
    if (need_room() < 0)
        return NULL; /* the twin's calls, which are deeper than those that follow, would have raised, too */
    const Py_ssize_t false_at_first[] = {Process_idle,      Process_attention,  Process_suspended,
                                         Process_restarting, Process_trap_exits};
    const Py_ssize_t none_at_first[] = {
        Process_target,  Process_actor,       Process_on_message, Process_handlers, Process_control,
        Process_reader,  Process_waiter,      Process_wanted,     Process_at_hand,  Process_awaited,
        Process_exit_signal, Process_stopping, Process_ended,      Process_links,    Process_monitors,
        Process_watchers, Process_extras_or_none, Process_name,    Process_label,    Process_owner};
    for (size_t i = 0; i < sizeof none_at_first / sizeof *none_at_first; i++)
        set(self, none_at_first[i], Py_None);
    for (size_t i = 0; i < sizeof false_at_first / sizeof *false_at_first; i++)
        set(self, false_at_first[i], Py_False);
    set(self, Process_node, node);
    set(self, Process_serial, args[1]);
    set(self, Process_mailbox, args[3]);
    set(self, Process_limit, the_LIMITLESS);
    set(self, Process_names, the_NO_NAMES);
    set(self, Process_body, the_UNSTARTED);
    if (put_new(self, Process_dispatcher, PyObject_GetAttr(node, s_dispatcher)) < 0 ||
        put_new(self, Process_ref, make_ref(self, node)) < 0 ||
        put_new(self, Process_queue, make_with(the_UnusedQueue, UnusedQueue__process, self)) < 0 ||
        (parent == Py_None ? put_new(self, Process_callers, PyTuple_New(0)) : descend(self, parent)) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* Ending. */

PyObject *call_part(PyObject *name, PyObject *one, PyObject *two, PyObject *three)
{
    PyObject *part = PyDict_GetItemWithError(the_parts, name), *done;
    if (part == NULL)
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_NameError, "expected %U in end.py", name);
    Py_INCREF(part);
    done = PyObject_CallFunctionObjArgs(part, one, two, three, NULL);
    Py_DECREF(part);
    return done;
}

/* Conclude a part before anybody has been told: an error of it is the reason of the end from now on. */
static int released(PyObject *process, PyObject *done, PyObject **reason)
{
    if (done != NULL) {
        Py_DECREF(done);
        return 0;
    }
    PyObject *error = caught(), *other = call_part(s__release_failed, process, error, NULL);
    Py_XDECREF(error);
    if (other == NULL)
        return -1;
    Py_DECREF(*reason);
    *reason = other;
    return 0;
}

/* Conclude a part after that: an error of it is reported. */
static int told(PyObject *process, PyObject *done, const char *step)
{
    if (done != NULL) {
        Py_DECREF(done);
        return 0;
    }
    PyObject *error = caught(), *name = PyUnicode_FromString(step), *reported = NULL;
    if (name != NULL)
        reported = call_part(s_step_failed, process, name, error);
    Py_XDECREF(error);
    Py_XDECREF(name);
    Py_XDECREF(reported);
    return reported == NULL ? -1 : 0;
}

static int is_set(PyObject *process, Py_ssize_t field)
{
    PyObject *value = SLOT(process, field);
    return value != NULL && value != Py_None;
}

/* Tell whether an attribute's attribute is a table with something in it; -1 for an error. */
static int has_some(PyObject *object, PyObject *name, PyObject *other)
{
    PyObject *one = PyObject_GetAttr(object, name), *table = NULL;
    if (one != NULL)
        table = other == NULL ? one : PyObject_GetAttr(one, other);
    if (one != table)
        Py_XDECREF(one);
    Py_ssize_t size = table == NULL ? -1 : PyObject_Size(table);
    Py_XDECREF(table);
    return size < 0 ? -1 : size > 0;
}

/* Leave the table of the node, and forget what was run: a ref may keep the record for long. */
static int leave_table(PyObject *process, PyObject *node)
{
    PyObject *target = get(process, Process_target), *table, *serial;
    if (target == NULL)
        return -1;
    int failed = 0;
    if (target != Py_None && !PyType_Check(target))
        failed = put_new(process, Process_target, call_part(s_target_name, target, NULL, NULL));
    Py_DECREF(target);
    if (failed || (table = PyObject_GetAttr(node, s_processes)) == NULL)
        return -1;
    serial = get(process, Process_serial);
    failed = serial == NULL || PyObject_DelItem(table, serial) < 0;
    Py_XDECREF(serial);
    Py_DECREF(table);
    return failed ? -1 : 0;
}

/* Release what the process holds, and fail the calls that it has not answered. */
static int release(PyObject *process, PyObject *node, PyObject *body, PyObject **reason)
{
    PyObject *extras = get(process, Process_extras_or_none), *queue = NULL;
    int failed = -1, has_groups = has_some(node, s_groups, s_by_name);
    if (extras == NULL || has_groups < 0)
        goto over;
    if ((has_groups || is_set(process, Process_name) || is_set(process, Process_reader)) &&
        released(process, call_part(s__release_names, process, body, NULL), reason) < 0)
        goto over;
    if (extras != Py_None && released(process, call_part(s__release_extras, process, extras, NULL), reason) < 0)
        goto over;
    if ((queue = get(process, Process_queue)) == NULL)
        goto over;
    Py_ssize_t waiting = PyObject_Size(queue);
    if (waiting < 0)
        goto over;
    if (extras != Py_None || is_set(process, Process_reader) || waiting)
        failed = released(process, call_part(s__fail_calls, process, body, *reason), reason);
    else if ((failed = put_new(process, Process_queue,
                               make_with(the_ClosedQueue, ClosedQueue__process, process))) == 0)
        set(process, Process_at_hand, Py_None);
over:
    Py_XDECREF(queue);
    Py_XDECREF(extras);
    return failed;
}

/* Leave the arena of `owner`: the frequent case of the part of that name. */
static PyObject *leave_arena(PyObject *process, PyObject *owner)
{
    PyObject *extras = NULL, *body = NULL, *arena = NULL;
    if (!is_process(owner) || (extras = SLOT(owner, Process_extras_or_none)) == NULL || extras == Py_None ||
        (body = SLOT(owner, Process_body)) == NULL || (PyObject *)Py_TYPE(body) == the_EmptyingBody ||
        SLOT(extras, Extras_emptied) != Py_None || (arena = SLOT(extras, Extras_arena)) == NULL ||
        !PyDict_CheckExact(arena))
        return call_part(s__leave_arena, process, owner, NULL);
    Py_INCREF(arena);
    set(process, Process_owner, Py_None);
    int failed = 0, is_there = PyDict_Contains(arena, process);
    if (is_there > 0)
        failed = PyDict_DelItem(arena, process);
    Py_DECREF(arena);
    if (is_there < 0 || failed)
        return NULL;
    Py_RETURN_NONE;
}

/* Tell everybody who has to know. */
static int tell(PyObject *process, PyObject *node, PyObject *reason, PyObject *error, int *quietly)
{
    int starting = has_some(node, s_starting, NULL);
    if (starting < 0)
        return -1;
    if (starting) {
        PyObject *table = PyObject_GetAttr(node, s_starting);
        starting = table == NULL ? -1 : PySequence_Contains(table, process);
        Py_XDECREF(table);
        if (starting < 0)
            return -1;
    }
    *quietly = *quietly || starting;
    if (starting && told(process, call_part(s__tell_starter, process, reason, error), "end") < 0)
        return -1;
    int is_watched = is_set(process, Process_links) || is_set(process, Process_watchers) ||
                     is_set(process, Process_monitors);
    PyObject *with[] = {process, reason};
    if (is_watched && told(process, core_notify_end(NULL, with, 2), "end") < 0)
        return -1;
    PyObject *owner = get(process, Process_owner);
    int failed = owner == NULL ? -1 : 0;
    if (owner != NULL && owner != Py_None)
        failed = told(process, leave_arena(process, owner), "end");
    Py_XDECREF(owner);
    if (!failed && is_set(process, Process_extras_or_none))
        failed = told(process, call_part(s__answer_stops, process, reason, NULL), "end");
    return failed;
}

/* Let go of what only a living process needs. */
static int let_go(PyObject *process)
{
    PyObject *reader = get(process, Process_reader), *extras = NULL, *done = NULL;
    if (reader == NULL)
        return -1;
    if (reader != Py_None && (done = PyObject_CallMethodObjArgs(reader, s_forget_trap, NULL)) == NULL) {
        Py_DECREF(reader);
        return -1;
    }
    Py_XDECREF(done);
    set(process, Process_reader, Py_None);
    set(process, Process_control, Py_None);
    Py_DECREF(reader);
    if ((extras = get(process, Process_extras_or_none)) == NULL)
        return -1;
    if (extras != Py_None && SLOT(extras, Extras_heir) == Py_None)
        set(process, Process_extras_or_none, Py_None);
    Py_DECREF(extras);
    return 0;
}

/* Let go of itself, as `let_go_of_itself`. */
static int let_go_of_itself(PyObject *process)
{
    PyObject *lane = get(process, Process_queue);
    if (lane == NULL)
        return -1;
    int failed = PyObject_SetAttr(process, s___class__, the_EndedProcess);
    if (!failed && (PyObject *)Py_TYPE(lane) == the_ClosedQueue)
        set(process, Process_queue, Py_None);
    Py_DECREF(lane);
    if (!failed) {
        PyObject *ref = SLOT(process, Process_ref);
        SLOT(process, Process_ref) = NULL;
        Py_XDECREF(ref); /* last: a finalizer may run */
    }
    return failed;
}

/* Everything from the first change on. */
static int conclude(PyObject *process, PyObject *node, PyObject *body, PyObject **reason, PyObject *error,
                    int quietly)
{
    PyObject *actor = get(process, Process_actor);
    if (actor == NULL)
        return -1;
    set(process, Process_actor, Py_None); /* it may hold deferred replies, and must not drop them yet */
    set(process, Process_on_message, Py_None);
    set(process, Process_handlers, Py_None);
    set(process, Process_names, the_NO_NAMES);
    set(process, Process_body, the_ENDED);
    int failed = leave_table(process, node) < 0 || release(process, node, body, reason) < 0;
    Py_DECREF(actor);
    if (failed || tell(process, node, *reason, error, &quietly) < 0 || let_go(process) < 0)
        return -1;
    PyObject *done = PyObject_CallMethodObjArgs(node, s_ended, process, *reason, error,
                                                quietly ? Py_True : Py_False, NULL);
    if (told(process, done, "report") < 0)
        return -1;
    int is_heard = body == the_ENDED ? 0 : has_some(node, s_hooks, s_process_ended);
    if (is_heard > 0) {
        PyObject *hooks = PyObject_GetAttr(node, s_hooks), *listeners = NULL, *called = NULL;
        if (hooks != NULL && (listeners = PyObject_GetAttr(hooks, s_process_ended)) != NULL)
            called = call_part(s_call, listeners, process, *reason);
        Py_XDECREF(hooks);
        Py_XDECREF(listeners);
        Py_XDECREF(called);
        is_heard = called == NULL ? -1 : 1;
    }
    return is_heard < 0 ? -1 : let_go_of_itself(process);
}

PyObject *core_conclude(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    PyObject *extras = NULL, *node, *body, *reason, *zero;
    if (count != 4 || !is_process(args[0]) || (extras = SLOT(args[0], Process_extras_or_none)) == NULL ||
        (extras != Py_None && SLOT(extras, Extras_arena) != Py_None))
        return count > 0 ? call_twin(the_conclude, args[0], args + 1, count - 1, NULL)
                         : PyObject_CallNoArgs(the_conclude);
    int quietly = is_true(args[3]);
    if (quietly < 0 || (zero = PyLong_FromLong(0)) == NULL)
        return NULL;
    set(args[0], Process_limit, zero);
    Py_DECREF(zero);
    set(args[0], Process_ended, args[1]);
    set(args[0], Process_idle, Py_False);
    set(args[0], Process_attention, Py_True);
    if ((node = get(args[0], Process_node)) == NULL)
        return NULL;
    if ((body = get(args[0], Process_body)) == NULL) {
        Py_DECREF(node);
        return NULL;
    }
    reason = args[1];
    Py_INCREF(reason);
    int failed = conclude(args[0], node, body, &reason, args[2], quietly);
    Py_DECREF(reason);
    Py_DECREF(body);
    Py_DECREF(node);
    if (failed)
        return NULL;
    Py_RETURN_NONE;
}
