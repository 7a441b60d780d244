/* Hand-off of calls: `DispatchedBody.hand_off`. See core.h. */

#include "core.h"

/* Conclude a hand-off whose handler has raised: the body raises what the caller is to be told. */
static void conclude_failure(PyObject *self, PyObject *process, PyObject *handler, PyObject *args,
                             PyObject *kwargs)
{
    PyObject *type, *error, *traceback, *told;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL)
        PyException_SetTraceback(error, traceback);
    set(process, Process_idle, Py_True); /* in case that there is no room on the stack for anything else */
    if (PyErr_GivenExceptionMatches(error, PyExc_RecursionError)) {
        PyObject *overflowed = PyObject_GetAttr(self, s_overflowed);
        PyObject *frame = overflowed == NULL ? NULL : PyObject_CallNoArgs(the_getframe);
        told = frame == NULL ? NULL
                             : PyObject_CallFunctionObjArgs(the_with_headroom, overflowed, error, frame, NULL);
        Py_XDECREF(overflowed);
        Py_XDECREF(frame);
    } else {
        PyObject *raised = PyObject_GetAttr(self, s_raised);
        told = raised == NULL ? NULL
                              : PyObject_CallFunctionObjArgs(the_with_headroom, raised, error, handler, args,
                                                             kwargs, NULL);
        Py_XDECREF(raised);
    }
    Py_XDECREF(told); /* NULL: both raise */
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
}

/* Run the handler, and conclude what is not as usual. */
static PyObject *run_handed_off(PyObject *self, PyObject *process, PyObject *callers, PyObject *actor,
                                PyObject *handler, PyObject *args)
{
    PyObject *run = get(callers, HandlerContext_run), *result = NULL;
    if (run == NULL)
        return NULL;
    Py_ssize_t count_of_args = PyTuple_Size(args);
    if (count_of_args == 0)
        result = call(run, handler, actor);
    else if (count_of_args == 1)
        result = call_with_3(run, handler, actor, PyTuple_GetItem(args, 0));
    Py_DECREF(run);
    if (result == NULL)
        return NULL;
    PyObject *context = SLOT(callers, HandlerContext_context), *concluded = NULL;
    int has_variables = context == NULL ? 1 : PyObject_Size(context) != 0, plain = is_plain(result);
    if (plain > 0 && !has_variables && SLOT(process, Process_at_hand) == the_handed_off &&
        SLOT(process, Process_attention) == Py_False)
        return result;
    if (plain >= 0)
        concluded = PyObject_CallMethodObjArgs(self, s_concluded, handler, result, NULL);
    Py_DECREF(result);
    return concluded;
}

PyObject *core_hand_off(PyObject *self, PyObject *const *args, Py_ssize_t count_of_args)
{
    PyObject *process = SLOT(self, DispatchedBody_process), *actor = NULL, *dispatcher = NULL, *callers = NULL;
    if (count_of_args != 3 || process == NULL || !is_process(process) ||
        (actor = SLOT(process, Process_actor)) == NULL || actor == Py_None || !PyTuple_Check(args[1]) ||
        PyTuple_Size(args[1]) > 1 || !PyDict_CheckExact(args[2]) || PyDict_Size(args[2]) != 0 ||
        (dispatcher = SLOT(process, Process_dispatcher)) == NULL ||
        (callers = SLOT(dispatcher, Dispatcher_callers)) == NULL)
        return call_twin(the_hand_off, self, args, count_of_args, NULL);
    Py_INCREF(process);
    Py_INCREF(actor);
    Py_INCREF(dispatcher);
    Py_INCREF(callers);
    set(dispatcher, Dispatcher_running, process);
    set(process, Process_idle, Py_False);
    set(process, Process_at_hand, the_handed_off);
    PyObject *result = run_handed_off(self, process, callers, actor, args[0], args[1]);
    Py_DECREF(actor);
    if (result == NULL)
        conclude_failure(self, process, args[0], args[1], args[2]);
    set(dispatcher, Dispatcher_running, Py_None);
    set(process, Process_at_hand, Py_None);
    if (result != NULL) {
        PyObject *queue = SLOT(process, Process_queue);
        Py_ssize_t waiting = -1;
        if (is_process(process) && queue != NULL && SLOT(process, Process_attention) == Py_False)
            waiting = PyObject_Size(queue);
        if (waiting == 0)
            set(process, Process_idle, Py_True);
        else {
            PyErr_Clear();
            PyObject *rested = PyObject_CallMethodObjArgs(self, s_rest, NULL);
            if (rested == NULL) {
                Py_DECREF(result);
                result = NULL;
            }
            Py_XDECREF(rested);
        }
    }
    Py_DECREF(callers);
    Py_DECREF(dispatcher);
    Py_DECREF(process);
    return result;
}
