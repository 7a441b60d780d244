/* Calls: `Request.__init__` and `Request.reply`. See core.h. */

#include "core.h"

PyObject *core_request_init(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    PyObject *caller, *ref;
    if (count != 6 || (keywords != NULL && PyTuple_Size(keywords) != 0))
        return call_twin(the_request_init, self, args, count, keywords);
    caller = args[5];
    if (caller == Py_None)
        set(self, Request_caller, Py_None);
    else {
        ref = is_process(caller) ? get(caller, Process_ref) : PyObject_GetAttr(caller, s_ref);
        if (ref == NULL)
            return NULL;
        set(self, Request_caller, ref);
        Py_DECREF(ref);
    }
    set(self, Request_node, args[0]);
    set(self, Request_target, args[1]);
    set(self, Request_method, args[2]);
    set(self, Request_args, args[3]);
    set(self, Request_kwargs, args[4]);
    set(self, Request_settled, Py_False);
    set(self, Request_value, Py_None);
    set(self, Request_error, Py_None);
    set(self, Request_waiter, Py_None);
    set(self, Request_observer, Py_None);
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
