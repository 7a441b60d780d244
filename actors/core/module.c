/* The module: how the core is told where fields are, and how its functions become methods. See core.h. */

#include "core.h"

FIELDS(DEFINE_FIELD)
TRIO_FIELDS(DEFINE_FIELD)
PEER_FIELDS(DEFINE_FIELD)
OBJECTS(DEFINE_OBJECT)
TRIO_OBJECTS(DEFINE_OBJECT)
PEER_OBJECTS(DEFINE_OBJECT)
EVENT_OBJECTS(DEFINE_OBJECT)
NAMES(DEFINE_NAME)

static const struct field own_fields[] = {FIELDS(ENTER_FIELD){NULL, NULL}};
static const struct field trio_fields[] = {TRIO_FIELDS(ENTER_FIELD){NULL, NULL}};
static const struct field peer_fields[] = {PEER_FIELDS(ENTER_FIELD){NULL, NULL}};
static const struct object own_objects[] = {OBJECTS(ENTER_OBJECT){NULL, NULL}};
static const struct object trio_objects[] = {TRIO_OBJECTS(ENTER_OBJECT){NULL, NULL}};
static const struct field event_fields[] = {{NULL, NULL}};
static const struct object event_objects[] = {EVENT_OBJECTS(ENTER_OBJECT){NULL, NULL}};
static const struct object peer_objects[] = {PEER_OBJECTS(ENTER_OBJECT){NULL, NULL}};

PyTypeObject *deque_type;
PyCFunction deque_append, deque_popleft;

PyObject *caught(void)
{
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL)
        PyException_SetTraceback(error, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return error;
}

void raise_again(PyObject *error)
{
    PyObject *type = (PyObject *)Py_TYPE(error);
    Py_INCREF(type);
    PyErr_Restore(type, error, PyException_GetTraceback(error));
}

static PyObject *core_bind(PyObject *module, PyObject *args)
{
    (void)module;
    return bind_once(args, own_fields, own_objects);
}

PyObject *bind_trio(PyObject *args)
{
    return bind_to(args, trio_fields, trio_objects);
}

/* Bind what others than the core itself have: after the core. */
static PyObject *bind_more(PyObject *args, const struct field *fields, const struct object *objects)
{
    if (the_present == NULL) /* the last that `bind` takes */
        return PyErr_Format(PyExc_ImportError, "expected the rest of the core to be bound before, found it is not");
    return bind_once(args, fields, objects);
}

static PyObject *core_bind_peers(PyObject *module, PyObject *args)
{
    (void)module;
    return bind_more(args, peer_fields, peer_objects);
}

static PyObject *core_bind_events(PyObject *module, PyObject *args)
{
    (void)module;
    return bind_more(args, event_fields, event_objects);
}

static PyMethodDef of_classes[] = {
    {"record_init", (PyCFunction)(void (*)(void))core_init, METH_FASTCALL, "Make a record; see Record.__init__."},
    {"request_init", (PyCFunction)(void (*)(void))core_request_init, METH_FASTCALL | METH_KEYWORDS,
     "Make a call; see Request.__init__."},
    {"reply", core_reply, METH_O, "Settle a call with its reply; see Request.reply."},
    {"request", (PyCFunction)(void (*)(void))core_request, METH_FASTCALL | METH_KEYWORDS,
     "Make a call without waiting for it; see Process.request."},
    {"defer", core_defer, METH_NOARGS, "Answer the call at hand later; see Process.defer."},
    {"continue_with", (PyCFunction)(void (*)(void))core_continue_with, METH_FASTCALL | METH_KEYWORDS,
     "Run a function before the next message; see Process.continue_with."},
    {"interrupt", core_interrupt, METH_O, "End a process by an exit signal; see Record.interrupt."},
    {"control_put", core_control_put, METH_O, "Put an item on the control lane; see Record.control_put."},
    {"send", core_send, METH_O, "Put a message into the mailbox; see LocalRef.send."},
    {"cast", (PyCFunction)(void (*)(void))core_cast, METH_FASTCALL | METH_KEYWORDS,
     "Have a method called, without a reply; see LocalRef.cast."},
    {"put", core_put, METH_O, "Put a message into the mailbox whether there is room or not; see Record.put."},
    {"__hash__", core_hash, METH_NOARGS, "The number of the process; see LocalRef.__hash__."},
    {"__eq__", core_eq, METH_O, "Tell whether two refs lead to the same process; see LocalRef.__eq__."},
    {"ask", (PyCFunction)(void (*)(void))core_ask, METH_FASTCALL,
     "Make a call that can be answered on the spot; see LocalRef.ask."},
    {"hand_off", (PyCFunction)(void (*)(void))core_hand_off, METH_FASTCALL,
     "Run a call's handler in the caller's task; see DispatchedBody.hand_off."},
    {"run_group", (PyCFunction)(void (*)(void))core_run_group, METH_FASTCALL,
     "Give a group of entries a turn each; see Dispatcher.run_group."},
    {"turn", core_turn, METH_O, "Resume a task; see TaskTurn.turn."},
    {"step_with", (PyCFunction)(void (*)(void))core_step_with, METH_FASTCALL,
     "Resume a task, with a message; see Dispatcher.step_with."},
    {"main", core_main, METH_NOARGS, "Handle one message after another; see AsyncBody.main."},
    {"count_misfits", core_count_misfits, METH_O,
     "Count the first messages that do not fit; see MailboxSearch.count_misfits."},
    {"send_after", (PyCFunction)(void (*)(void))core_send_after, METH_FASTCALL | METH_KEYWORDS,
     "Send a message in so many seconds; see Process.send_after."},
    {"cancel", core_cancel, METH_NOARGS, "Keep a timer from firing; see Timer.cancel."},
    {"fire_due", core_fire_due, METH_NOARGS, "Fire the timers that are due; see Timers.fire_due."},
    {"take_in", (PyCFunction)(void (*)(void))core_take_in, METH_FASTCALL | METH_KEYWORDS,
     "Carry out frames of another node; see Inbound.take_in."},
    {"keep", (PyCFunction)(void (*)(void))core_keep, METH_FASTCALL, "Keep an event; see Observation.keep."},
    {"child_terminated", (PyCFunction)(void (*)(void))core_child_terminated, METH_FASTCALL,
     "Note the end of a child; see Rare.child_terminated."},
    {"child_restarted", (PyCFunction)(void (*)(void))core_child_restarted, METH_FASTCALL,
     "Note the restart of a child; see Rare.child_restarted."},
    {NULL, NULL, 0, NULL},
};

static PyObject *core_method(PyObject *module, PyObject *args)
{
    (void)module;
    return method_of(args, of_classes);
}

static PyObject *core_fields(PyObject *module, PyObject *nothing)
{
    (void)module;
    (void)nothing;
    return names_of(own_fields);
}

static PyObject *core_trio_fields(PyObject *module, PyObject *nothing)
{
    (void)module;
    (void)nothing;
    return names_of(trio_fields);
}

static PyObject *core_peer_fields(PyObject *module, PyObject *nothing)
{
    (void)module;
    (void)nothing;
    return names_of(peer_fields);
}

static PyMethodDef of_module[] = {
    {"fields", core_fields, METH_NOARGS, "The names of the fields whose places `bind` wants."},
    {"trio_fields", core_trio_fields, METH_NOARGS, "The names of the fields whose places `bind_trio` wants."},
    {"place", find_place, METH_VARARGS, "Find where an object holds a value."},
    {"bind", core_bind, METH_VARARGS, "Take the places of the fields, and the objects, each by name."},
    {"bind_trio", core_bind_trio, METH_VARARGS, "The same, of trio's own classes."},
    {"peer_fields", core_peer_fields, METH_NOARGS, "The names of the fields whose places `bind_peers` wants."},
    {"bind_peers", core_bind_peers, METH_VARARGS, "The same, of the classes of node links."},
    {"bind_events", core_bind_events, METH_VARARGS, "Take what events are made of: no places, and the objects."},
    {"unbind_trio", core_unbind_trio, METH_NOARGS, "Leave the steps of tasks to the twins."},
    {"step", core_step, METH_O, "Resume a task beside trio's loop; see loop_bypass.py."},
    {"conclude", (PyCFunction)(void (*)(void))core_conclude, METH_FASTCALL,
     "End a process, part by part; see end.py."},
    {"make_body", (PyCFunction)(void (*)(void))core_make_body, METH_FASTCALL, "Start a sync actor; see start.py."},
    {"notify_end", (PyCFunction)(void (*)(void))core_notify_end, METH_FASTCALL,
     "Tell those that a process was linked to, and its watchers; see links.py."},
    {"tell_watchers", (PyCFunction)(void (*)(void))core_tell_watchers, METH_FASTCALL,
     "Fire the monitors of a process that has ended; see links.py."},
    {"method", core_method, METH_VARARGS, "Make a function of the core a method of a class."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "compiled", "The compiled core; see core.h.", -1, of_module, NULL, NULL, NULL, NULL,
};

/* The function behind a built-in method that is called as `flags` say; borrowed from the type, which stays. */
static PyCFunction function_of(PyObject *object, PyObject *name, int flags)
{
    PyObject *method = PyObject_GetAttr(object, name);
    PyCFunction function = NULL;
    if (method != NULL && PyCFunction_Check(method) && PyCFunction_GetFlags(method) == flags)
        function = PyCFunction_GetFunction(method);
    else if (method != NULL)
        PyErr_SetString(PyExc_ImportError, "expected deque to have its methods in C");
    Py_XDECREF(method);
    return function;
}

PyMODINIT_FUNC PyInit_compiled(void)
{
    NAMES(INTERN_NAME)
    PyObject *deque = NULL, *collections = PyImport_ImportModule("collections");
    if (collections == NULL)
        return NULL;
    deque_type = (PyTypeObject *)PyObject_GetAttrString(collections, "deque");
    Py_DECREF(collections);
    if (deque_type == NULL || (deque = PyObject_CallNoArgs((PyObject *)deque_type)) == NULL ||
        (deque_append = function_of(deque, s_append, METH_O)) == NULL ||
        (deque_popleft = function_of(deque, s_popleft, METH_NOARGS)) == NULL) {
        Py_XDECREF(deque);
        return NULL;
    }
    Py_DECREF(deque);
    return PyModule_Create(&definition);
}
