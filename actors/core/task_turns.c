/* Steps of tasks beside trio's loop: `step` of loop_bypass.py, and its callers `TaskTurn.turn` and
 * `Dispatcher.step_with`. See core.h.
 *
 * What is known here of trio is what loop_bypass.py knows; choice.py has the step in C tried out as that file
 * tries its own. Until then, and with another trio, nothing here is used but the twins. */

#include "core.h"

static int is_bound; /* trio's fields are found, and its objects are there */

PyObject *core_bind_trio(PyObject *module, PyObject *args)
{
    PyObject *done = bind_trio(args);
    (void)module;
    is_bound = done != NULL;
    return done;
}

PyObject *core_unbind_trio(PyObject *module, PyObject *nothing)
{
    (void)module;
    (void)nothing;
    is_bound = 0;
    Py_RETURN_NONE;
}

int can_step(void)
{
    return is_bound;
}

PyObject *present_task(void)
{
    PyObject *present = is_bound ? PyObject_GetAttr(the_run_context, s___dict__) : NULL, *task = NULL;
    if (present == NULL) {
        PyErr_Clear();
        return NULL;
    }
    task = PyDict_GetItemWithError(present, s_task);
    if (task != NULL && (PyObject *)Py_TYPE(task) != the_Task)
        task = NULL;
    PyErr_Clear();
    Py_XINCREF(task);
    Py_DECREF(present);
    return task;
}

/* Send the coroutine of a task what resumes it, in the context that is entered. */
static PyObject *send_on(PyObject *module, PyObject *coroutine)
{
    PyObject *value, *end;
    (void)module;
    PySendResult outcome = PyIter_Send(coroutine, the_resumed, &value);
    if (outcome != PYGEN_RETURN)
        return value; /* NULL for an error */
    end = PyObject_CallFunctionObjArgs(PyExc_StopIteration, value, NULL);
    Py_DECREF(value);
    if (end != NULL)
        PyErr_SetObject(PyExc_StopIteration, end);
    Py_XDECREF(end);
    return NULL;
}

static PyMethodDef sending = {"send_on", send_on, METH_O, "Resume a coroutine."};
static PyObject *sender;

static PyObject *enter_and_send(PyObject *task)
{
    PyObject *context = get(task, Task_context), *coroutine = NULL, *trap = NULL, *run = NULL;
    if (context != NULL && (coroutine = get(task, Task_coro)) != NULL &&
        (sender != NULL || (sender = PyCFunction_New(&sending, NULL)) != NULL) &&
        (run = PyObject_GetAttr(context, s_run)) != NULL)
        trap = call(run, sender, coroutine);
    Py_XDECREF(context);
    Py_XDECREF(coroutine);
    Py_XDECREF(run);
    return trap;
}

static int add_one(PyObject *task, Py_ssize_t field)
{
    PyObject *former = SLOT(task, field);
    long count = former == NULL ? -1 : PyLong_AsLong(former);
    PyObject *sum = PyErr_Occurred() ? NULL : PyLong_FromLong(count + 1);
    if (sum == NULL)
        return -1;
    set(task, field, sum);
    Py_DECREF(sum);
    return 0;
}

static int call_method(PyObject *object, PyObject *name)
{
    PyObject *done = PyObject_CallMethodObjArgs(object, name, NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* The task waits to be rescheduled: by far the most frequent end of a step. */
static int note_wait(PyObject *task, PyObject *runner, PyObject *trap)
{
    PyObject *abort = PyObject_GetAttr(trap, s_abort_func);
    if (abort == NULL || add_one(task, Task__schedule_points) < 0 || add_one(task, Task__cancel_points) < 0) {
        Py_XDECREF(abort);
        return -1;
    }
    set(task, Task__abort_func, abort);
    Py_DECREF(abort);
    int is_interrupted = SLOT(runner, Runner_ki_pending) == Py_True && SLOT(runner, Runner_main_task) == task;
    if (is_interrupted && call_method(task, s__attempt_delivery_of_pending_ki) < 0)
        return -1;
    PyObject *status = SLOT(task, Task__cancel_status);
    if (status != NULL && SLOT(status, CancelStatus_effectively_cancelled) == Py_True)
        return call_method(task, s__attempt_delivery_of_any_pending_cancel);
    return 0;
}

/* The code of the task has raised, or could not be entered: the twin's helper does the rest. */
static int end_step(PyObject *task)
{
    PyObject *error = caught(), *done = call(the_end_step, task, error);
    Py_XDECREF(error);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int resume(PyObject *task, PyObject *runner)
{
    PyObject *present = PyObject_GetAttr(the_run_context, s___dict__), *outer, *trap, *done;
    if (present == NULL)
        return -1;
    outer = PyDict_GetItemWithError(present, s_task);
    Py_XINCREF(outer);
    int failed = -1;
    if (outer == NULL || PyDict_SetItem(present, s_task, task) < 0)
        goto over;
    set(task, Task__abort_func, Py_None);
    set(task, Task_custom_sleep_data, Py_None);
    trap = enter_and_send(task);
    if (trap == NULL)
        failed = end_step(task);
    else if ((PyObject *)Py_TYPE(trap) == the_Wait)
        failed = note_wait(task, runner, trap);
    else {
        done = call(the_leave_step, task, trap);
        failed = done == NULL ? -1 : 0;
        Py_XDECREF(done);
    }
    Py_XDECREF(trap);
    if (failed) {
        PyObject *type, *error, *traceback;
        PyErr_Fetch(&type, &error, &traceback);
        PyDict_SetItem(present, s_task, outer);
        PyErr_Restore(type, error, traceback);
    } else
        failed = PyDict_SetItem(present, s_task, outer);
over:
    if (outer == NULL && !PyErr_Occurred())
        PyErr_SetString(PyExc_RuntimeError, "expected a task to be running, got none: steps are for tasks");
    Py_XDECREF(outer);
    Py_DECREF(present);
    return failed;
}

/* Tell whether nobody watches the steps of tasks; -1 for an error. */
static int is_unwatched(PyObject *runner)
{
    PyObject *instruments = get(runner, Runner_instruments), *data;
    if (instruments == NULL)
        return -1;
    data = PyObject_GetAttr(instruments, s_data);
    Py_ssize_t number = data == NULL ? -1 : PyObject_Size(data);
    Py_DECREF(instruments);
    Py_XDECREF(data);
    return number < 0 ? -1 : number <= 1;
}

static int step(PyObject *task)
{
    if ((PyObject *)Py_TYPE(task) != the_Task) {
        PyErr_SetString(PyExc_TypeError, "expected a task of trio to resume, got something else");
        return -1;
    }
    if (SLOT(task, Task__next_send_fn) != Py_None)
        return 0; /* trio has scheduled it already */
    PyObject *runner = get(task, Task__runner), *done;
    int unwatched = runner == NULL ? -1 : is_unwatched(runner), failed = -1;
    if (unwatched > 0)
        failed = resume(task, runner);
    else if (unwatched == 0) {
        done = PyObject_CallFunctionObjArgs(the_step, task, NULL);
        failed = done == NULL ? -1 : 0;
        Py_XDECREF(done);
    }
    Py_XDECREF(runner);
    return failed;
}

PyObject *core_step(PyObject *module, PyObject *task)
{
    (void)module;
    if (!is_bound) {
        PyErr_SetString(PyExc_RuntimeError, "expected `bind_trio` before a step, got none");
        return NULL;
    }
    if (step(task) < 0)
        return NULL;
    Py_RETURN_NONE;
}

int resume_task(PyObject *entry)
{
    PyObject *task = SLOT(entry, TaskTurn_task), *dispatcher = SLOT(entry, TaskTurn_dispatcher);
    if (!is_bound || SLOT(entry, TaskTurn_error) != Py_None || task == NULL || dispatcher == NULL) {
        PyObject *done = call(the_turn, entry, Py_None);
        Py_XDECREF(done);
        return done == NULL ? -1 : 0;
    }
    if (task == Py_None)
        return 0;
    Py_INCREF(task);
    set(entry, TaskTurn_task, Py_None);
    set(dispatcher, Dispatcher_running, Py_None);
    int failed = step(task);
    Py_DECREF(task);
    return failed;
}

PyObject *core_turn(PyObject *self, PyObject *budget)
{
    (void)budget;
    if (resume_task(self) < 0)
        return NULL;
    Py_RETURN_FALSE;
}

static int add_to_depth(PyObject *dispatcher, long number)
{
    PyObject *former = SLOT(dispatcher, Dispatcher_depth);
    long depth = former == NULL ? -1 : PyLong_AsLong(former);
    PyObject *sum = PyErr_Occurred() ? NULL : PyLong_FromLong(depth + number);
    if (sum == NULL)
        return -1;
    set(dispatcher, Dispatcher_depth, sum);
    Py_DECREF(sum);
    return 0;
}

/* Have the next call be a checkpoint if the slice has taken its time. */
static int note_time(PyObject *dispatcher)
{
    PyObject *clock = get(dispatcher, Dispatcher__clock), *begun = NULL, *now = NULL;
    double seconds = -1.0;
    if (clock != NULL && (begun = get(dispatcher, Dispatcher__renewed)) != NULL &&
        (now = PyObject_CallNoArgs(clock)) != NULL)
        seconds = PyFloat_AsDouble(now) - PyFloat_AsDouble(begun);
    Py_XDECREF(clock);
    Py_XDECREF(begun);
    Py_XDECREF(now);
    if (PyErr_Occurred())
        return -1;
    if (seconds > PyFloat_AsDouble(the_slice_seconds)) {
        PyObject *one = PyLong_FromLong(1);
        if (one == NULL)
            return -1;
        set(dispatcher, Dispatcher_handoffs, one);
        Py_DECREF(one);
    }
    return 0;
}

/* Queue the message and resume the task, within the present step. */
static int step_deeper(PyObject *dispatcher, PyObject *process, PyObject *waiter, PyObject *message)
{
    PyObject *queue = get(process, Process_queue);
    if (queue == NULL)
        return -1;
    Py_INCREF(waiter);
    set(process, Process_waiter, Py_None);
    set(process, Process_idle, Py_False);
    int failed = append(queue, message) < 0 || add_to_depth(dispatcher, 1) < 0;
    Py_DECREF(queue);
    if (!failed) {
        failed = step(waiter) < 0;
        PyObject *type, *error, *traceback;
        PyErr_Fetch(&type, &error, &traceback);
        int left = add_to_depth(dispatcher, -1);
        if (type != NULL)
            PyErr_Restore(type, error, traceback);
        failed = failed || left < 0;
    }
    Py_DECREF(waiter);
    return failed ? -1 : note_time(dispatcher);
}

#define ROOM 64 /* as `has_headroom` looks for */

/* Tell whether the stack has room for a step of another task: `has_headroom`. Later versions count calls in C
 * apart. */
static int has_room(void)
{
    if (Py_Version >= 0x030C0000) {
        PyObject *room = PyObject_CallNoArgs(the_has_headroom);
        int answer = room == NULL ? -1 : is_true(room);
        Py_XDECREF(room);
        return answer;
    }
    int limit = Py_GetRecursionLimit();
    if (limit <= ROOM)
        return 0;
    Py_SetRecursionLimit(limit - ROOM); /* is one more call below that? to make so many calls would take a tenth */
    int is_roomy = Py_EnterRecursiveCall(" while a task was resumed") == 0;
    if (is_roomy)
        Py_LeaveRecursiveCall();
    Py_SetRecursionLimit(limit);
    PyErr_Clear();
    return is_roomy;
}

/* Whether `step_with` is for the twin: -1 for an error. */
static int is_for_twin(PyObject *process)
{
    PyObject *waiter = SLOT(process, Process_waiter);
    if (!is_bound || waiter == NULL || waiter == Py_None || SLOT(process, Process_wanted) != Py_None)
        return 1;
    int is_roomy = has_room();
    if (is_roomy <= 0)
        return is_roomy < 0 ? -1 : 1;
    waiter = SLOT(process, Process_waiter); /* a finalizer may have woken it meanwhile */
    return waiter == NULL || waiter == Py_None;
}

int step_with(PyObject *dispatcher, PyObject *process, PyObject *message)
{
    int for_twin = is_for_twin(process);
    if (for_twin == 0)
        return step_deeper(dispatcher, process, SLOT(process, Process_waiter), message);
    PyObject *args[] = {process, message};
    PyObject *done = for_twin < 0 ? NULL : call_twin(the_step_with, dispatcher, args, 2, NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

PyObject *core_step_with(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2 || !is_process(args[0]))
        return call_twin(the_step_with, self, args, count, NULL);
    if (step_with(self, args[0], args[1]) < 0)
        return NULL;
    Py_RETURN_NONE;
}
