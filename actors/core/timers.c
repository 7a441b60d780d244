/* Timers: `Process.send_after`, `Timer.cancel` and `Timers.fire_due`. See core.h. */

#include "core.h"

static void clear(PyObject *object, Py_ssize_t field)
{
    set(object, field, Py_None);
}

/* Take a timer out of the list of its owner's. */
static void leave_owner(PyObject *timer, PyObject *owner)
{
    PyObject *before = SLOT(timer, Timer_before), *after = SLOT(timer, Timer_after);
    if (before == NULL || after == NULL)
        return;
    Py_INCREF(before);
    Py_INCREF(after);
    if (after != Py_None)
        set(after, Timer_before, before);
    PyObject *extras = SLOT(owner, Process_extras_or_none);
    if (before != Py_None)
        set(before, Timer_after, after);
    else if (extras != NULL && extras != Py_None && SLOT(extras, Extras_timers) == timer)
        set(extras, Extras_timers, after);
    clear(timer, Timer_before);
    clear(timer, Timer_after);
    Py_DECREF(before);
    Py_DECREF(after);
}

/* Let go of everything: `Timer.release`. */
static void release(PyObject *timer)
{
    set(timer, Timer_active, Py_False);
    PyObject *owner = get(timer, Timer_owner);
    if (owner != NULL && owner != Py_None)
        leave_owner(timer, owner);
    Py_XDECREF(owner);
    clear(timer, Timer_owner);
    clear(timer, Timer_timers);
    clear(timer, Timer_fn);
    clear(timer, Timer_to);
    clear(timer, Timer_args);
}

/* Setting. */

/* Add to a count of the node's; its new value, or -1 for an error. */
static long add(PyObject *timers, Py_ssize_t field, long more)
{
    PyObject *former = get(timers, field);
    long count = former == NULL ? -1 : PyLong_AsLong(former) + more;
    Py_XDECREF(former);
    PyObject *sum = PyErr_Occurred() ? NULL : PyLong_FromLong(count);
    if (sum == NULL)
        return -1;
    set(timers, field, sum);
    Py_DECREF(sum);
    return count;
}

/* The collector need not look at it: while it is active the node holds it, and afterwards it refers to nothing. So
 * a hundred thousand timers cost the collector no time. */

/* A new timer that sends `message` to `to` in so many seconds; NULL for an error. */
static PyObject *make_timer(PyObject *timers, PyObject *owner, double seconds, PyObject *to, PyObject *message)
{
    PyObject *clock = get(timers, Timers_now), *now = clock == NULL ? NULL : PyObject_CallNoArgs(clock);
    Py_XDECREF(clock);
    double present = now == NULL ? -1 : PyFloat_AsDouble(now);
    Py_XDECREF(now);
    if (present == -1 && PyErr_Occurred())
        return NULL;
    if (add(timers, Timers_number, 1) < 0)
        return NULL;
    PyObject *number = get(timers, Timers_number), *deadline = PyFloat_FromDouble(present + seconds);
    PyObject *timer = NULL;
    if (number != NULL && deadline != NULL)
        timer = PyType_GenericAlloc((PyTypeObject *)the_Timer, 0); /* a finalizer may set another one in it */
    if (timer != NULL) {
        PyObject_GC_UnTrack(timer);
        set(timer, Timer_timers, timers);
        set(timer, Timer_number, number);
        set(timer, Timer_owner, owner);
        set(timer, Timer_fn, Py_None);
        set(timer, Timer_args, message);
        set(timer, Timer_to, to);
        set(timer, Timer_deadline, deadline);
        set(timer, Timer_active, Py_True);
        set(timer, Timer_before, Py_None);
        set(timer, Timer_after, Py_None);
    }
    Py_XDECREF(number);
    Py_XDECREF(deadline);
    return timer;
}

/* Put a timer among those of its owner, and of the node. */
static int enter(PyObject *timers, PyObject *extras, PyObject *timer)
{
    PyObject *new = get(timers, Timers_new);
    int failed = new == NULL || PyList_Append(new, timer) < 0;
    Py_XDECREF(new);
    PyObject *first = failed ? NULL : get(extras, Extras_timers);
    if (first == NULL)
        return -1;
    set(timer, Timer_after, first);
    if (first != Py_None)
        set(first, Timer_before, timer);
    set(extras, Extras_timers, timer);
    Py_DECREF(first);
    PyObject *deadline = SLOT(timer, Timer_deadline), *due = SLOT(timers, Timers_due);
    if (due == NULL || PyFloat_AsDouble(deadline) >= PyFloat_AsDouble(due))
        return PyErr_Occurred() ? -1 : 0;
    PyObject *done = PyObject_CallMethodObjArgs(timers, s_wake_at, deadline, NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

PyObject *core_send_after(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    PyObject *extras = SLOT(self, Process_extras_or_none), *node = SLOT(self, Process_node), *to;
    double seconds = -1;
    if (count == 3 && keywords == NULL && (PyFloat_CheckExact(args[0]) || PyLong_CheckExact(args[0])))
        seconds = PyFloat_AsDouble(args[0]);
    PyErr_Clear(); /* an int that is too large: the twin says so */
    if (!(seconds >= 0) || (PyObject *)Py_TYPE(args[1]) != the_LocalRef || node == NULL || extras == NULL ||
        extras == Py_None || (to = SLOT(args[1], LocalRef__process)) == NULL)
        return call_twin(the_send_after, self, args, count, keywords);
    Py_INCREF(extras);
    PyObject *timers = PyObject_GetAttr(node, s_timers), *timer = NULL;
    if (timers != NULL && (PyObject *)Py_TYPE(timers) == the_Timers)
        timer = make_timer(timers, self, seconds, to, args[2]);
    else if (timers != NULL)
        PyErr_SetString(PyExc_TypeError, "expected the timers of a node");
    if (timer != NULL && enter(timers, extras, timer) < 0)
        Py_CLEAR(timer);
    Py_XDECREF(timers);
    Py_DECREF(extras);
    return timer;
}

/* Cancelling. */

static Py_ssize_t size_of(PyObject *timers, Py_ssize_t field)
{
    PyObject *list = SLOT(timers, field);
    return list == NULL ? 0 : PyList_Size(list);
}

/* `Timers.bury`. */
static int bury(PyObject *timers, PyObject *timer)
{
    PyObject *new = SLOT(timers, Timers_new);
    Py_ssize_t last = new == NULL ? -1 : PyList_Size(new) - 1;
    if (last >= 0 && PyList_GetItem(new, last) == timer)
        return PyList_SetSlice(new, last, last + 1, NULL);
    long dead = add(timers, Timers_dead, 1);
    if (dead < 0)
        return -1;
    Py_ssize_t places = last + 1 + size_of(timers, Timers_sorted) + size_of(timers, Timers_heap);
    if (PyErr_Occurred())
        return -1;
    if (dead * 2 <= places)
        return 0;
    PyObject *done = PyObject_CallMethodObjArgs(timers, s_remove_dead, NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

PyObject *core_cancel(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    PyObject *active = SLOT(self, Timer_active), *timers = SLOT(self, Timer_timers);
    if (active == NULL || timers == NULL)
        return call_twin(the_cancel, self, NULL, 0, NULL);
    if (active != Py_True)
        Py_RETURN_FALSE;
    Py_INCREF(timers);
    Py_INCREF(self);
    release(self);
    int failed = bury(timers, self);
    Py_DECREF(self);
    Py_DECREF(timers);
    if (failed)
        return NULL;
    Py_RETURN_TRUE;
}

/* Firing. */

/* Tell whether the first timer of the heap comes before that one, which is sorted. */
static int precedes(PyObject *entry, PyObject *timer)
{
    double deadline = PyFloat_AsDouble(PyTuple_GetItem(entry, 0));
    double other = PyFloat_AsDouble(SLOT(timer, Timer_deadline));
    if (deadline != other)
        return deadline < other;
    return PyLong_AsLong(PyTuple_GetItem(entry, 1)) < PyLong_AsLong(SLOT(timer, Timer_number));
}

/* Take the next timer out if it is due by `now`: NULL if it is not, or for an error. */
static PyObject *take_due(PyObject *timers, double now)
{
    PyObject *done = Py_None, *heap, *sorted, *timer = NULL;
    if (size_of(timers, Timers_new) > 0) {
        if ((done = PyObject_CallMethodObjArgs(timers, s_sort_in, NULL)) == NULL)
            return NULL;
        Py_DECREF(done);
    }
    if ((heap = SLOT(timers, Timers_heap)) == NULL || (sorted = SLOT(timers, Timers_sorted)) == NULL)
        return get(timers, heap == NULL ? Timers_heap : Timers_sorted); /* which raises */
    Py_ssize_t last = PyList_Size(sorted) - 1;
    PyObject *first = PyList_Size(heap) > 0 ? PyList_GetItem(heap, 0) : NULL;
    if (last >= 0)
        timer = PyList_GetItem(sorted, last);
    int is_of_heap = first != NULL && (timer == NULL || precedes(first, timer));
    if (is_of_heap)
        timer = PyTuple_GetItem(first, 2);
    if (timer == NULL || PyErr_Occurred() || PyFloat_AsDouble(SLOT(timer, Timer_deadline)) > now)
        return NULL;
    Py_INCREF(timer);
    Py_INCREF(heap);
    if (!is_of_heap)
        done = PyList_SetSlice(sorted, last, last + 1, NULL) < 0 ? NULL : Py_None;
    else if ((done = PyObject_CallFunctionObjArgs(the_heappop, heap, NULL)) != NULL)
        Py_DECREF(done);
    Py_DECREF(heap);
    if (done == NULL)
        Py_CLEAR(timer);
    return timer;
}

/* Fire a timer whose message only has to be queued: 1; 0 if the twin is to fire it, -1 for an error. */
static int fire_message(PyObject *timer)
{
    PyObject *to = SLOT(timer, Timer_to), *message, *queue;
    if (SLOT(timer, Timer_fn) != Py_None || to == NULL || !is_process(to) ||
        SLOT(to, Process_idle) != Py_False || (queue = SLOT(to, Process_queue)) == NULL ||
        Py_TYPE(queue) != deque_type || (message = get(timer, Timer_args)) == NULL)
        return PyErr_Occurred() ? -1 : 0;
    Py_INCREF(queue);
    release(timer);
    int failed = append(queue, message);
    Py_DECREF(queue);
    Py_DECREF(message);
    return failed ? -1 : 1;
}

PyObject *core_fire_due(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    PyObject *clock = get(self, Timers_now), *time = clock == NULL ? NULL : PyObject_CallNoArgs(clock);
    Py_XDECREF(clock);
    double now = time == NULL ? -1 : PyFloat_AsDouble(time);
    Py_XDECREF(time);
    if (now == -1 && PyErr_Occurred())
        return NULL;
    PyObject *timer;
    int failed = 0;
    while (!failed && (timer = take_due(self, now)) != NULL) {
        if (SLOT(timer, Timer_active) != Py_True)
            failed = add(self, Timers_dead, -1) < 0;
        else {
            int fired = fire_message(timer);
            failed = fired < 0 || (fired > 0 && add(self, Timers_fired, 1) < 0);
            if (fired == 0) {
                PyObject *done = PyObject_CallMethodObjArgs(self, s_fire, timer, NULL);
                Py_XDECREF(done);
                failed = done == NULL;
            }
        }
        Py_DECREF(timer);
    }
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}
