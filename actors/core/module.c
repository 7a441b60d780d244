/* The module: how the core is told where fields are, and how its functions become methods. See core.h. */

#include "core.h"

#include <string.h>

#define DEFINE(type, name) Py_ssize_t type##_##name;
FIELDS(DEFINE)
TRIO_FIELDS(DEFINE)

/* A field whose place `bind` or `bind_trio` is told. Each table ends with an entry without a name. */
struct field {
    const char *name;
    Py_ssize_t *place;
};

#define ENTER(type, name) {#type "." #name, &type##_##name},
static const struct field own_fields[] = {FIELDS(ENTER){NULL, NULL}};
static const struct field trio_fields[] = {TRIO_FIELDS(ENTER){NULL, NULL}};

#define OBJECT(name) PyObject *the_##name;
OBJECTS(OBJECT)
TRIO_OBJECTS(OBJECT)

struct object {
    const char *name;
    PyObject **object;
};

#define KEEP(name) {#name, &the_##name},
static const struct object own_objects[] = {OBJECTS(KEEP){NULL, NULL}};
static const struct object trio_objects[] = {TRIO_OBJECTS(KEEP){NULL, NULL}};

#define WORD(word) PyObject *s_##word;
NAMES(WORD)

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

PyObject *call_twin(PyObject *twin, PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    Py_ssize_t named = keywords == NULL ? 0 : PyTuple_Size(keywords);
    PyObject *kwargs = NULL, *result = NULL, *all = PyTuple_New(count + 1);
    if (all == NULL || (named && (kwargs = PyDict_New()) == NULL))
        goto over;
    Py_INCREF(self);
    PyTuple_SetItem(all, 0, self);
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_INCREF(args[i]);
        PyTuple_SetItem(all, i + 1, args[i]);
    }
    for (Py_ssize_t i = 0; i < named; i++)
        if (PyDict_SetItem(kwargs, PyTuple_GetItem(keywords, i), args[count + i]) < 0)
            goto over;
    result = PyObject_Call(twin, all, kwargs);
over:
    Py_XDECREF(all);
    Py_XDECREF(kwargs);
    return result;
}

/* Find the place of a slot: the only one in `object` that holds `value`; -1 if it is not the only one. */
static PyObject *core_place(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *object, *value;
    if (!PyArg_ParseTuple(args, "OO:place", &object, &value))
        return NULL;
    PyObject *basic = PyObject_GetAttrString((PyObject *)Py_TYPE(object), "__basicsize__");
    if (basic == NULL)
        return NULL;
    Py_ssize_t size = PyLong_AsSsize_t(basic), found = -1, hits = 0;
    Py_DECREF(basic);
    if (size == -1 && PyErr_Occurred())
        return NULL;
    Py_ssize_t word = (Py_ssize_t)sizeof(PyObject *);
    for (Py_ssize_t at = (Py_ssize_t)sizeof(PyObject); at + word <= size; at += word)
        if (SLOT(object, at) == value) {
            found = at;
            hits++;
        }
    return PyLong_FromSsize_t(hits == 1 ? found : -1);
}

/* Take the places of the fields, and the objects, each by name. */
static PyObject *take(PyObject *args, const struct field *fields, const struct object *objects)
{
    PyObject *places, *given;
    if (!PyArg_ParseTuple(args, "O!O!:bind", &PyDict_Type, &places, &PyDict_Type, &given))
        return NULL;
    for (; fields->name != NULL; fields++) {
        PyObject *place = PyDict_GetItemString(places, fields->name);
        Py_ssize_t at = place == NULL ? -1 : PyLong_AsSsize_t(place);
        if (at < (Py_ssize_t)sizeof(PyObject)) {
            PyErr_Clear();
            return PyErr_Format(PyExc_LookupError, "expected the place of %s", fields->name);
        }
        *fields->place = at;
    }
    for (; objects->name != NULL; objects++) {
        PyObject *object = PyDict_GetItemString(given, objects->name);
        if (object == NULL)
            return PyErr_Format(PyExc_LookupError, "expected an object as %s", objects->name);
        PyObject *former = *objects->object;
        Py_INCREF(object);
        *objects->object = object;
        Py_XDECREF(former);
    }
    Py_RETURN_NONE;
}

/* What is bound serves one interpreter of a program: another one of the same program uses the twins. */
static PyObject *core_bind(PyObject *module, PyObject *args)
{
    static int64_t bound_in = -1;
    int64_t present = PyInterpreterState_GetID(PyInterpreterState_Get());
    (void)module;
    if (present < 0)
        return NULL;
    if (bound_in >= 0 && bound_in != present)
        return PyErr_Format(PyExc_LookupError, "expected one interpreter in the program, got a second");
    bound_in = present;
    return take(args, own_fields, own_objects);
}

PyObject *bind_trio(PyObject *args)
{
    return take(args, trio_fields, trio_objects);
}

static PyMethodDef of_classes[] = {
    {"__init__", (PyCFunction)(void (*)(void))core_init, METH_FASTCALL, "Make a record; see Record.__init__."},
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
};

/* Make one of them a method of a class. */
static PyObject *core_method(PyObject *module, PyObject *args)
{
    (void)module;
    PyTypeObject *owner;
    const char *name;
    if (!PyArg_ParseTuple(args, "O!s:method", &PyType_Type, &owner, &name))
        return NULL;
    for (size_t i = 0; i < sizeof of_classes / sizeof *of_classes; i++)
        if (strcmp(of_classes[i].ml_name, name) == 0)
            return PyDescr_NewMethod(owner, &of_classes[i]);
    return PyErr_Format(PyExc_LookupError, "expected the name of a function of the core, got %s", name);
}

static PyObject *names_of(const struct field *fields)
{
    PyObject *names = PyList_New(0);
    for (; names != NULL && fields->name != NULL; fields++) {
        PyObject *name = PyUnicode_FromString(fields->name);
        if (name == NULL || PyList_Append(names, name) < 0)
            Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
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

static PyMethodDef of_module[] = {
    {"fields", core_fields, METH_NOARGS, "The names of the fields whose places `bind` wants."},
    {"trio_fields", core_trio_fields, METH_NOARGS, "The names of the fields whose places `bind_trio` wants."},
    {"place", core_place, METH_VARARGS, "Find where an object holds a value."},
    {"bind", core_bind, METH_VARARGS, "Take the places of the fields, and the objects, each by name."},
    {"bind_trio", core_bind_trio, METH_VARARGS, "The same, of trio's own classes."},
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

#define INTERN(word)                                                                                        \
    if ((s_##word = PyUnicode_InternFromString(#word)) == NULL)                                             \
        return NULL;

PyMODINIT_FUNC PyInit_compiled(void)
{
    NAMES(INTERN)
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
