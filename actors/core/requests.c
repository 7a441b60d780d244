/* Calls: `Request.__init__` and `Request.reply`. See core.h. */

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

PyObject *core_reply(PyObject *self, PyObject *value)
{
    if (SLOT(self, Request_settled) != Py_False || SLOT(self, Request_waiter) != Py_None ||
        SLOT(self, Request_observer) != Py_None)
        return call_twin(the_reply, self, &value, 1, NULL); /* somebody waits, or is to be told */
    set(self, Request_value, value);
    set(self, Request_settled, Py_True);
    Py_RETURN_NONE;
}
