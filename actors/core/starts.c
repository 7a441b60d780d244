/* The start of a sync actor: `make_body` of start.py. See core.h.
 *
 * A supervisor restarts within microseconds, and a start is a third of that. What few starts need (keyword
 * arguments, an `on_start`, a context that was changed, a scope that was left open) is the twin's own, or a
 * function in Python. */

#include "core.h"

/* Set an actor up: an attribute of its protocol becomes a field of its process. */
static int take_over(PyObject *process, Py_ssize_t field, PyObject *protocol, PyObject *name)
{
    PyObject *value = PyObject_GetAttr(protocol, name);
    if (value == NULL)
        return -1;
    set(process, field, value);
    Py_DECREF(value);
    return 0;
}

/* The actor object, as `construct` of actor.py makes it. */
static PyObject *construct(PyObject *target, PyObject *process, PyObject *args)
{
    PyObject *init = NULL, *done = NULL, *back = NULL, *new = PyObject_GetAttr(target, s___new__);
    PyObject *made = new == NULL ? NULL : PyObject_CallFunctionObjArgs(new, target, NULL);
    if (made != NULL && Py_REFCNT(made) > 1) { /* its `__new__` may have given it to another process before */
        PyObject *own = PyObject_CallFunctionObjArgs(the_refuse_shared, made, NULL);
        if (own == NULL)
            Py_CLEAR(made);
        Py_XDECREF(own);
    }
    int failed = made == NULL || PyObject_SetAttr(made, s_process, process) < 0 ||
                 (init = PyObject_GetAttr(made, s___init__)) == NULL ||
                 (done = PyObject_Call(init, args, NULL)) == NULL ||
                 (back = PyObject_GetAttr(made, s_process)) == NULL;
    if (!failed && back != process) {
        PyObject *raised = PyObject_CallFunctionObjArgs(the_refuse_replaced, target, NULL);
        Py_XDECREF(raised); /* NULL: it raises */
        failed = 1;
    }
    Py_XDECREF(new);
    Py_XDECREF(init);
    Py_XDECREF(done);
    Py_XDECREF(back);
    if (failed)
        Py_CLEAR(made);
    return made;
}

/* `SyncBody.start`, in the context that is entered: (target, process, args). */
static PyObject *start_inside(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    PyObject *target = args[0], *process = args[1], *on_start = NULL, *made = NULL, *told = NULL;
    PyObject *protocol = PyObject_GetAttr(target, s_protocol_), *body = NULL;
    (void)module;
    (void)count;
    if (protocol == NULL || (body = make_with(the_SyncBody, DispatchedBody_process, process)) == NULL)
        goto over;
    set(body, SyncBody_protocol, protocol);
    set(body, SyncBody_at_hand, Py_None);
    set(process, Process_body, body);
    if ((made = construct(target, process, args[2])) == NULL ||
        (on_start = PyObject_GetAttr(protocol, s_on_start)) == NULL)
        goto failed;
    if (on_start != the_nothing_at_start && (told = call_with_3(the_run_on_start, process, on_start, made)) == NULL)
        goto failed;
    set(process, Process_actor, made);
    if (take_over(process, Process_on_message, protocol, s_on_message) == 0 &&
        take_over(process, Process_handlers, protocol, s_handlers) == 0 &&
        take_over(process, Process_names, protocol, s_names) == 0)
        goto over;
failed:
    Py_CLEAR(body);
over:
    Py_XDECREF(protocol);
    Py_XDECREF(made);
    Py_XDECREF(on_start);
    Py_XDECREF(told);
    return body;
}

static PyMethodDef starting = {"start_inside", (PyCFunction)(void (*)(void))start_inside, METH_FASTCALL,
                               "Start a sync actor in its context."};
static PyObject *starter;

/* A scope was left open by what has just run, which may have raised: the helper closes it, and raises. */
static void close_scope(PyObject *task, PyObject *scope)
{
    PyObject *before = PyErr_Occurred() ? caught() : NULL, *done = call(the_leave_scopes, task, scope), *after;
    if (done != NULL)
        PyErr_SetString(PyExc_SystemError, "expected an error for a scope that was left open, got none");
    Py_XDECREF(done);
    if (before != NULL) {
        after = caught();
        PyException_SetContext(after, before);
        Py_INCREF((PyObject *)Py_TYPE(after));
        PyErr_Restore((PyObject *)Py_TYPE(after), after, PyException_GetTraceback(after));
    }
}

/* Have the process keep the context if what ran in it has changed it; -1 for an error. */
static int keep_context(PyObject *process, PyObject *contexts, PyObject *context)
{
    PyObject *base = PyObject_GetAttr(contexts, s_base), *kept = NULL;
    int changed = base == NULL ? -1 : PyObject_RichCompareBool(context, base, Py_NE);
    if (changed > 0 && (kept = PyObject_CallMethodObjArgs(process, s_keep_context, context, NULL)) == NULL)
        changed = -1;
    Py_XDECREF(base);
    Py_XDECREF(kept);
    return changed < 0 ? -1 : 0;
}

/* A context for the process: `Contexts.new`. */
static PyObject *new_context(PyObject *contexts)
{
    PyObject *decimal = PyObject_GetAttr(contexts, s__decimal_context), *base = NULL, *made = NULL;
    if (decimal == Py_None && (base = PyObject_GetAttr(contexts, s_base)) != NULL)
        made = PyObject_CallMethodObjArgs(base, s_copy, NULL);
    else if (decimal != NULL && decimal != Py_None)
        made = PyObject_CallMethodObjArgs(contexts, s_new, NULL);
    Py_XDECREF(decimal);
    Py_XDECREF(base);
    return made;
}

/* Run it in a context of its own, as the process that is running. */
static PyObject *start_within(PyObject *process, PyObject *node, PyObject *dispatcher, PyObject *task,
                              PyObject *target, PyObject *args)
{
    PyObject *contexts = PyObject_GetAttr(node, s_contexts), *context = NULL, *run = NULL, *body = NULL;
    PyObject *outer = get(dispatcher, Dispatcher_running), *scope = get(task, Task__cancel_status);
    if (contexts == NULL || outer == NULL || scope == NULL)
        goto over;
    set(dispatcher, Dispatcher_running, process);
    if ((starter != NULL || (starter = PyCFunction_New(&starting, NULL)) != NULL) &&
        (context = new_context(contexts)) != NULL &&
        (run = PyObject_GetAttr(context, s_run)) != NULL) {
        PyObject *with[] = {starter, target, process, args};
        body = PyObject_Vectorcall(run, with, 4, NULL);
        if (body != NULL && keep_context(process, contexts, context) < 0)
            Py_CLEAR(body);
    }
    set(dispatcher, Dispatcher_running, outer);
    if (SLOT(task, Task__cancel_status) != scope) {
        Py_CLEAR(body);
        close_scope(task, scope);
    }
over:
    Py_XDECREF(contexts);
    Py_XDECREF(context);
    Py_XDECREF(run);
    Py_XDECREF(outer);
    Py_XDECREF(scope);
    return body;
}

/* Let the process go on, or become idle. */
static int settle(PyObject *process)
{
    if (!is_process(process) || SLOT(process, Process_ended) != Py_None)
        return 0;
    PyObject *queue = get(process, Process_queue), *woken;
    Py_ssize_t waiting = queue == NULL ? -1 : PyObject_Size(queue);
    Py_XDECREF(queue);
    if (waiting < 0)
        return -1;
    if (waiting == 0 && SLOT(process, Process_attention) == Py_False) {
        set(process, Process_idle, Py_True);
        return 0;
    }
    woken = PyObject_CallMethodObjArgs(process, s_wake, NULL);
    Py_XDECREF(woken);
    return woken == NULL ? -1 : 0;
}

/* Tell whether nothing was put into the class, or removed, since it was read: the test of `keep_current`. -1 for an
 * error. */
static int is_current(PyObject *protocol, PyObject *target)
{
    PyObject *spaces = PyObject_GetAttr(protocol, s__spaces), *size = NULL, *read = NULL, *was = NULL, *is = NULL;
    Py_ssize_t count = 0, some = 0;
    int answer = -1;
    if (spaces == NULL || !PyTuple_CheckExact(spaces) || (size = PyObject_GetAttr(protocol, s__size)) == NULL)
        goto over;
    for (Py_ssize_t i = PyTuple_Size(spaces); i-- > 0 && some >= 0; count += some)
        some = PyObject_Size(PyTuple_GetItem(spaces, i));
    if (some < 0)
        goto over;
    if (PyLong_AsSsize_t(size) != count)
        answer = 0;
    else if ((read = PyObject_GetAttr(protocol, s__read)) != NULL &&
             (was = PyObject_GetAttr(protocol, s__was)) != NULL &&
             (is = PyObject_Vectorcall(read, &target, 1, NULL)) != NULL)
        answer = PyObject_RichCompareBool(is, was, Py_EQ);
over:
    Py_XDECREF(spaces);
    Py_XDECREF(size);
    Py_XDECREF(read);
    Py_XDECREF(was);
    Py_XDECREF(is);
    return answer;
}

/* The protocol of a class as it is now: `protocol_of`. */
static PyObject *current_protocol(PyObject *target)
{
    PyObject *known = PyObject_GetAttr(target, s_protocol_), *actor = NULL;
    if (known != NULL && known != Py_None)
        actor = PyObject_GetAttr(known, s_actor);
    int current = actor == target && is_current(known, target) > 0; /* and not that of a base */
    Py_XDECREF(actor);
    if (current)
        return known;
    Py_XDECREF(known);
    if (PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError))
            return NULL;
        PyErr_Clear(); /* something was removed from the class */
    }
    return PyObject_CallFunctionObjArgs(the_protocol_of, target, NULL);
}

/* Tell whether it is the frequent case: a sync actor with nothing but arguments by position; -1 for an error. */
static int is_frequent(PyObject *const *args, Py_ssize_t count)
{
    if (count != 4 || !is_process(args[0]) || !PyType_Check(args[1]) || !PyTuple_CheckExact(args[2]) ||
        !PyDict_CheckExact(args[3]) || PyDict_Size(args[3]) != 0 ||
        !PyType_IsSubtype((PyTypeObject *)args[1], (PyTypeObject *)the_Actor))
        return 0;
    PyObject *kind = PyObject_GetAttr(args[1], s_body_), *protocol = NULL, *is_async = NULL;
    int answer = kind == NULL ? -1 : kind == Py_None;
    if (answer > 0 && ((protocol = current_protocol(args[1])) == NULL ||
                       (is_async = PyObject_GetAttr(protocol, s_is_async)) == NULL))
        answer = -1;
    if (answer > 0)
        answer = is_async == Py_False;
    Py_XDECREF(kind);
    Py_XDECREF(protocol);
    Py_XDECREF(is_async);
    return answer;
}

PyObject *core_make_body(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    PyObject *task = NULL, *node = NULL, *dispatcher = NULL, *body = NULL;
    int frequent = is_frequent(args, count);
    if (frequent < 0)
        return NULL;
    if (!frequent || (task = present_task()) == NULL)
        return PyErr_Occurred() ? NULL
               : count > 0      ? call_twin(the_make_body, args[0], args + 1, count - 1, NULL)
                                : PyObject_CallNoArgs(the_make_body);
    if ((node = get(args[0], Process_node)) != NULL && (dispatcher = get(args[0], Process_dispatcher)) != NULL &&
        (body = start_within(args[0], node, dispatcher, task, args[1], args[2])) != NULL && settle(args[0]) < 0)
        Py_CLEAR(body);
    Py_XDECREF(node);
    Py_XDECREF(dispatcher);
    Py_DECREF(task);
    return body;
}
