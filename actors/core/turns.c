/* Turns of the run queue: `Dispatcher.run_group`. See core.h. */

#include "core.h"

PyObject *call_handler(PyObject *fn, PyObject *actor, PyObject *args, PyObject *kwargs)
{
    Py_ssize_t count = PyTuple_Size(args), extra = 0;
    if (count < 0 || (kwargs != NULL && kwargs != the_no_kwargs && (extra = PyObject_Size(kwargs)) < 0))
        return NULL;
    if (extra == 0 && count == 0)
        return PyObject_Vectorcall(fn, &actor, 1, NULL);
    if (extra == 0 && count == 1)
        return call(fn, actor, PyTuple_GetItem(args, 0));
    PyObject *own = PyTuple_New(count + 1);
    if (own == NULL)
        return NULL;
    Py_INCREF(actor);
    PyTuple_SetItem(own, 0, actor);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *arg = PyTuple_GetItem(args, i);
        Py_INCREF(arg);
        PyTuple_SetItem(own, i + 1, arg);
    }
    PyObject *result = PyObject_Call(fn, own, extra ? kwargs : NULL);
    Py_DECREF(own);
    return result;
}

/* The result of `fn`, the handler of `method`, which is an error if there is none. */
static PyObject *call_method(PyObject *process, PyObject *actor, PyObject *message, Py_ssize_t at_method,
                             Py_ssize_t at_args, Py_ssize_t at_kwargs)
{
    PyObject *result = NULL, *handlers = NULL, *method = NULL, *args = NULL, *kwargs = NULL, *fn = NULL;
    if ((handlers = get(process, Process_handlers)) != NULL && (method = get(message, at_method)) != NULL &&
        (args = get(message, at_args)) != NULL && (kwargs = get(message, at_kwargs)) != NULL &&
        (fn = PyObject_GetItem(handlers, method)) != NULL)
        result = call_handler(fn, actor, args, kwargs);
    Py_XDECREF(handlers);
    Py_XDECREF(method);
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    Py_XDECREF(fn);
    return result;
}

/* Call a method of the process's body. */
static PyObject *call_body(PyObject *process, PyObject *name, PyObject *one, PyObject *other)
{
    PyObject *body = get(process, Process_body);
    if (body == NULL)
        return NULL;
    PyObject *result = PyObject_CallMethodObjArgs(body, name, one, other, NULL);
    Py_DECREF(body);
    return result;
}

/* Tell whether the answer to a call was deferred, or may have been; -1 for an error. */
static int may_be_deferred(PyObject *process, PyObject *request)
{
    PyObject *extras = SLOT(process, Process_extras_or_none), *deferred;
    if (extras == Py_None)
        return 0;
    deferred = extras == NULL ? NULL : SLOT(extras, Extras_deferred);
    return deferred == NULL || !PyDict_CheckExact(deferred) ? 1 : PyDict_Contains(deferred, request);
}

/* `SyncBody.answer`, where nothing is unusual. Gives 1 when that is done, 0 when the method is to do it, -1 for an
 * error. */
static int answer_plainly(PyObject *process, PyObject *request, PyObject *result)
{
    PyObject *body = SLOT(process, Process_body);
    if (body == NULL || (PyObject *)Py_TYPE(body) != the_SyncBody)
        return 0;
    if ((PyObject *)Py_TYPE(result) == the_Deferred)
        return SLOT(result, Deferred_request) == request;
    int plain = is_plain(result), deferred = plain > 0 ? may_be_deferred(process, request) : 0;
    if (plain <= 0 || deferred != 0 || SLOT(process, Process_stopping) != Py_None)
        return plain < 0 || deferred < 0 ? -1 : 0;
    PyObject *replied = (PyObject *)Py_TYPE(request) == the_Request
                            ? core_reply(request, result)
                            : PyObject_CallMethodObjArgs(request, s_reply, result, NULL);
    if (replied == NULL)
        return -1;
    Py_DECREF(replied);
    set(process, Process_at_hand, Py_None);
    return 1;
}

/* Handle a call; the fields of all kinds of calls are those of their base, so they are where a request has them. */
static PyObject *handle_request(PyObject *process, PyObject *actor, PyObject *message)
{
    set(process, Process_at_hand, message);
    PyObject *result = call_method(process, actor, message, Request_method, Request_args, Request_kwargs);
    if (result == NULL)
        return NULL;
    int done = answer_plainly(process, message, result);
    PyObject *answered = done == 0 ? call_body(process, s_answer, message, result) : done < 0 ? NULL : Py_None;
    if (done > 0)
        Py_INCREF(answered);
    Py_DECREF(result);
    return answered;
}

/* Tell whether a message is a call from another node that belongs to no trace. */
static int is_remote_call(PyObject *message)
{
    return (PyObject *)Py_TYPE(message) == the_RemoteCall && SLOT(message, RemoteCall_trace) == Py_None;
}

static PyObject *handle_down(PyObject *process, PyObject *actor, PyObject *message)
{
    PyObject *body = get(process, Process_body), *protocol = NULL, *fn = NULL, *result = NULL;
    if (body != NULL && (protocol = PyObject_GetAttr(body, s_protocol)) != NULL &&
        (fn = PyObject_GetAttr(protocol, s_on_down)) != NULL)
        result = call(fn, actor, message);
    Py_XDECREF(body);
    Py_XDECREF(protocol);
    Py_XDECREF(fn);
    return result;
}

static PyObject *handle(PyObject *process, PyObject *actor, PyObject *on_message, PyObject *message)
{
    PyObject *kind = (PyObject *)Py_TYPE(message);
    if (kind == the_Cast)
        return call_method(process, actor, message, Cast_method, Cast_args, Cast_kwargs);
    if (kind == the_Request || is_remote_call(message))
        return handle_request(process, actor, message);
    int is_envelope = is_builtin(message) ? 0 : is_listed(the_envelopes, Py_TYPE(message));
    if (is_envelope < 0)
        return NULL;
    if (!is_envelope)
        return call(on_message, actor, message);
    if (kind == the_Down)
        return handle_down(process, actor, message);
    return call_body(process, s_handle, message, NULL);
}

/* Handle one message; -1 for an error. */
static int handle_one(PyObject *process, PyObject *actor, PyObject *on_message, PyObject *message)
{
    PyObject *result = handle(process, actor, on_message, message);
    if (result == NULL)
        return -1;
    int plain = is_plain(result);
    if (plain == 0) {
        PyObject *done = call_body(process, s_not_used, message, result);
        plain = done == NULL ? -1 : 1;
        Py_XDECREF(done);
    }
    Py_DECREF(result);
    return plain < 0 ? -1 : 0;
}

/* Turns. */

enum turn { FAILED = -1, DONE, INTERRUPTED, USED_UP };

/* Handle up to `budget` messages of a sync actor. Adds to `handled` and leaves the last message in `message`. */
static enum turn handle_messages(PyObject *process, PyObject *actor, long budget, PyObject **message,
                                 long *handled)
{
    enum turn outcome = USED_UP;
    PyObject *on_message = NULL, *queue = get(process, Process_queue);
    if (queue == NULL || (on_message = get(process, Process_on_message)) == NULL) {
        Py_XDECREF(queue);
        return FAILED;
    }
    for (; budget > 0 && outcome == USED_UP; budget--) {
        PyObject *former = *message;
        *message = popleft(queue);
        Py_XDECREF(former);
        if (*message == NULL) {
            outcome = FAILED;
            break;
        }
        ++*handled;
        PyObject *attention;
        if (handle_one(process, actor, on_message, *message) < 0 ||
            (attention = get(process, Process_attention)) == NULL) {
            outcome = FAILED;
            break;
        }
        int attended = is_true(attention);
        Py_DECREF(attention);
        Py_ssize_t left = attended ? 0 : PyObject_Size(queue);
        if (attended < 0 || left < 0)
            outcome = FAILED;
        else if (attended)
            outcome = INTERRUPTED;
        else if (left == 0) {
            set(process, Process_idle, Py_True);
            outcome = DONE;
        }
    }
    Py_DECREF(on_message);
    Py_DECREF(queue);
    return outcome;
}

/* Add the messages of a turn to those that are counted, if they are; keeps an error that is on its way. */
static int add_count(PyObject *dispatcher, PyObject *process, long handled)
{
    PyObject *counted = SLOT(dispatcher, Dispatcher_counted);
    if (counted == Py_None || counted == NULL || handled == 0)
        return 0;
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    Py_INCREF(counted);
    PyObject *before = PyDict_GetItemWithError(counted, process);
    PyObject *sum = PyErr_Occurred() ? NULL : PyLong_FromLong(handled);
    if (sum != NULL && before != NULL) {
        PyObject *all = PyNumber_Add(before, sum);
        Py_DECREF(sum);
        sum = all;
    }
    int failed = sum == NULL || PyDict_SetItem(counted, process, sum) < 0;
    Py_XDECREF(sum);
    Py_DECREF(counted);
    if (type != NULL) {
        PyErr_Clear();
        PyErr_Restore(type, error, traceback);
    }
    return failed ? -1 : 0;
}

/* `Record.turn`, or that of a task that waits. */
static PyObject *turn_of(PyObject *entry, PyObject *budget)
{
    PyObject *extras = is_process(entry) ? SLOT(entry, Process_extras_or_none) : NULL;
    if (extras == NULL || (extras != Py_None && SLOT(extras, Extras_context) != Py_None))
        return PyObject_CallMethodObjArgs(entry, s_turn, budget, NULL);
    return call_body(entry, s_turn, budget, NULL);
}

/* Tell whether a sync actor is ended by an exit signal, and has nothing else to attend to. */
static int is_killed(PyObject *process)
{
    PyObject *body = SLOT(process, Process_body);
    return SLOT(process, Process_exit_signal) != Py_None && SLOT(process, Process_ended) == Py_None &&
           SLOT(process, Process_extras_or_none) == Py_None && body != NULL &&
           (PyObject *)Py_TYPE(body) == the_SyncBody;
}

/* What `attend` does with that. */
static enum turn end_killed(PyObject *process)
{
    PyObject *signal = get(process, Process_exit_signal), *done = NULL;
    if (signal != NULL)
        done = call_part(s_finish, process, signal, NULL);
    Py_XDECREF(signal);
    Py_XDECREF(done);
    return done == NULL ? FAILED : DONE;
}

/* Tell whether a sync actor has decided to stop, and has nothing else to attend to. */
static int is_stopped(PyObject *process)
{
    PyObject *body = SLOT(process, Process_body);
    return SLOT(process, Process_stopping) != Py_None && SLOT(process, Process_ended) == Py_None &&
           SLOT(process, Process_exit_signal) == Py_None && SLOT(process, Process_extras_or_none) == Py_None &&
           body != NULL && (PyObject *)Py_TYPE(body) == the_SyncBody;
}

/* What `attend` does with that; after `on_stop` if the actor has one. */
static enum turn end_stopped(PyObject *process)
{
    PyObject *protocol = NULL, *on_stop = NULL, *done = NULL, *reason = get(process, Process_stopping);
    PyObject *body = get(process, Process_body);
    if (reason != NULL && body != NULL && (protocol = get(body, SyncBody_protocol)) != NULL &&
        (on_stop = PyObject_GetAttr(protocol, s_on_stop)) != NULL)
        done = on_stop == the_nothing_at_stop ? call_part(s_finish, process, reason, NULL)
                                              : call_body(process, s_stop, reason, NULL);
    Py_XDECREF(reason);
    Py_XDECREF(body);
    Py_XDECREF(protocol);
    Py_XDECREF(on_stop);
    Py_XDECREF(done);
    return done == NULL ? FAILED : DONE;
}

/* Tell whether a sync actor is to serve its control lane, and has nothing else to attend to. */
static int is_called_back(PyObject *process)
{
    PyObject *body = SLOT(process, Process_body), *lane = SLOT(process, Process_control), *extras, *observers;
    if (body == NULL || (PyObject *)Py_TYPE(body) != the_SyncBody || lane == NULL || Py_TYPE(lane) != deque_type ||
        SLOT(process, Process_ended) != Py_None || SLOT(process, Process_exit_signal) != Py_None ||
        SLOT(process, Process_stopping) != Py_None || SLOT(process, Process_suspended) != Py_False)
        return 0;
    if ((extras = SLOT(process, Process_extras_or_none)) == Py_None)
        return 1;
    return extras != NULL && SLOT(extras, Extras_context) == Py_None && SLOT(extras, Extras_guard) == Py_None &&
           SLOT(extras, Extras_idle) == Py_None && SLOT(extras, Extras_room) == Py_None &&
           (observers = SLOT(extras, Extras_observers)) != NULL && PyList_CheckExact(observers) &&
           PyList_Size(observers) == 0;
}

/* Serve an item of the control lane; what comes most often is a continuation. */
static PyObject *serve(PyObject *process, PyObject *item)
{
    PyObject *fn = NULL, *args = NULL, *result = NULL, *checked;
    if ((PyObject *)Py_TYPE(item) != the_Continuation)
        return PyObject_CallMethodObjArgs(item, s_serve, process, NULL);
    if ((fn = get(item, Continuation_fn)) != NULL && (args = get(item, Continuation_args)) != NULL)
        result = PyObject_Call(fn, args, NULL);
    int plain = result == NULL ? 1 : is_plain(result);
    if (plain <= 0) {
        checked = plain < 0 ? NULL : call(the_check_result, fn, result);
        if (checked == NULL)
            Py_CLEAR(result);
        Py_XDECREF(checked);
    }
    Py_XDECREF(fn);
    Py_XDECREF(args);
    return result;
}

/* Serve the control lane, as `attend` does. Gives 1 when nothing is left to attend to, 0 when there is, -1 for an
 * error. */
static int serve_control(PyObject *process)
{
    while (is_called_back(process)) {
        PyObject *lane = get(process, Process_control), *item, *served;
        Py_ssize_t left = lane == NULL ? -1 : PyObject_Size(lane);
        if (left <= 0) {
            Py_XDECREF(lane);
            if (left == 0)
                set(process, Process_attention, Py_False);
            return left < 0 ? -1 : 1;
        }
        item = popleft(lane);
        Py_DECREF(lane);
        served = item == NULL ? NULL : serve(process, item);
        Py_XDECREF(item);
        Py_XDECREF(served);
        if (served == NULL)
            return -1;
    }
    return 0;
}

static enum turn take_turn(PyObject *dispatcher, PyObject *entry, PyObject *budget, PyObject **message)
{
    if (is_process(entry)) {
        PyObject *actor, *attention = SLOT(entry, Process_attention);
        int attended = attention == NULL ? 1 : is_true(attention);
        if (attended < 0)
            return FAILED;
        if (attended && is_called_back(entry)) {
            Py_CLEAR(*message);
            int served = serve_control(entry);
            if (served < 0)
                return FAILED;
            attended = !served;
            Py_ssize_t waiting = attended ? -1 : PyObject_Size(SLOT(entry, Process_queue));
            if (waiting == 0) {
                set(entry, Process_idle, Py_True);
                return DONE;
            }
        }
        actor = SLOT(entry, Process_actor);
        if (actor != NULL && actor != Py_None && !attended) {
            long handled = 0;
            Py_INCREF(actor);
            enum turn outcome = handle_messages(entry, actor, PyLong_AsLong(budget), message, &handled);
            Py_DECREF(actor);
            return add_count(dispatcher, entry, handled) < 0 ? FAILED : outcome;
        }
        if (attended && is_killed(entry)) {
            Py_CLEAR(*message);
            return end_killed(entry);
        }
        if (attended && is_stopped(entry)) {
            Py_CLEAR(*message);
            return end_stopped(entry);
        }
    }
    PyObject *former = *message;
    *message = NULL;
    Py_XDECREF(former);
    if (is_task_turn(entry))
        return resume_task(entry) < 0 ? FAILED : DONE;
    PyObject *wants_another = turn_of(entry, budget);
    int again = wants_another == NULL ? -1 : is_true(wants_another);
    Py_XDECREF(wants_another);
    return again < 0 ? FAILED : again ? USED_UP : DONE;
}

/* Tell whether a handler has set a context variable; -1 for an error. */
static int is_changed(PyObject *context, PyObject *base)
{
    Py_ssize_t size = PyObject_Size(context);
    return size > 0 ? PyObject_RichCompareBool(context, base, Py_NE) : (int)size;
}

PyObject *core_run_group(PyObject *self, PyObject *const *args, Py_ssize_t count_of_args)
{
    if (count_of_args != 2) {
        PyErr_SetString(PyExc_TypeError, "run_group takes two arguments, the size of the group and the budget");
        return NULL;
    }
    long size = PyLong_AsLong(args[0]);
    if (size == -1 && PyErr_Occurred())
        return NULL;
    PyObject *queue = NULL, *own = NULL, *context = NULL, *base = NULL, *entry = NULL, *message = NULL;
    PyObject *result = NULL, *verdict = Py_False;
    if ((queue = get(self, Dispatcher_queue)) == NULL || (own = get(self, Dispatcher_own)) == NULL ||
        (context = get(own, HandlerContext_context)) == NULL || (base = get(own, HandlerContext_base)) == NULL)
        goto over;
    for (; size > 0; size--) {
        int changed = is_changed(context, base);
        if (changed < 0)
            goto over;
        if (changed)
            break;
        Py_ssize_t waiting = PyObject_Size(queue);
        if (waiting < 0)
            goto over;
        if (waiting == 0) {
            verdict = Py_None;
            break;
        }
        PyObject *former = entry;
        entry = popleft(queue);
        Py_XDECREF(former);
        if (entry == NULL)
            goto over;
        set(self, Dispatcher_running, entry);
        enum turn outcome = take_turn(self, entry, args[1], &message);
        if (outcome == FAILED || (outcome != DONE && append(queue, entry) < 0))
            goto over;
        if (outcome == USED_UP) {
            verdict = Py_True;
            break;
        }
    }
    Py_INCREF(verdict);
    result = verdict;
over:
    set(self, Dispatcher_entry, entry != NULL ? entry : Py_None);
    if (result == NULL)
        set(self, Dispatcher_message, message != NULL ? message : Py_None);
    Py_XDECREF(queue);
    Py_XDECREF(own);
    Py_XDECREF(context);
    Py_XDECREF(base);
    Py_XDECREF(entry);
    Py_XDECREF(message);
    return result;
}
