/* The module: how the compiled ways are told where fields are, and how their functions become methods. See core.h. */

#include "core.h"

FIELDS(DEFINE_FIELD)
OBJECTS(DEFINE_OBJECT)
NAMES(DEFINE_NAME)

static const struct field fields[] = {FIELDS(ENTER_FIELD){NULL, NULL}};
static const struct object objects[] = {OBJECTS(ENTER_OBJECT){NULL, NULL}};

static PyObject *core_bind(PyObject *module, PyObject *args)
{
    (void)module;
    return bind_once(args, fields, objects);
}

static PyMethodDef of_classes[] = {
    {"send_at_once", core_send_at_once, METH_O, "Make the batch of a frame; see NodeLink.send_at_once."},
    {"received", (PyCFunction)(void (*)(void))core_received, METH_FASTCALL | METH_KEYWORDS,
     "Take in a batch; see NodeLink.received."},
    {"send_encoded", (PyCFunction)(void (*)(void))core_send_encoded, METH_FASTCALL | METH_KEYWORDS,
     "Send a frame that is encoded; see Outward.send_encoded."},
    {"flush", (PyCFunction)(void (*)(void))core_flush, METH_FASTCALL | METH_KEYWORDS,
     "Hand over what is queued; see Outward.flush."},
    {"_take_in_turn", core_take_in_turn, METH_NOARGS, "Take in what has arrived; see Inward._take_in_turn."},
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
    return names_of(fields);
}

static PyMethodDef of_module[] = {
    {"fields", core_fields, METH_NOARGS, "The names of the fields whose places `bind` wants."},
    {"place", find_place, METH_VARARGS, "Find where an object holds a value."},
    {"bind", core_bind, METH_VARARGS, "Take the places of the fields, and the objects, each by name."},
    {"method", core_method, METH_VARARGS, "Make a function of the core a method of a class."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "compiled", "The compiled ways of a frame; see core.h.", -1, of_module, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit_compiled(void)
{
    NAMES(INTERN_NAME)
    return PyModule_Create(&definition);
}
