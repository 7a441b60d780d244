/* The module: how the compiled ways are told where fields are, and how their functions become methods. See core.h. */

#include "core.h"

#include <string.h>

#define DEFINE(type, name) Py_ssize_t type##_##name;
FIELDS(DEFINE)

struct field {
    const char *name;
    Py_ssize_t *place;
};

#define ENTER(type, name) {#type "." #name, &type##_##name},
static const struct field fields[] = {FIELDS(ENTER)};

#define OBJECT(name) PyObject *the_##name;
OBJECTS(OBJECT)

struct object {
    const char *name;
    PyObject **object;
};

#define KEEP(name) {#name, &the_##name},
static const struct object objects[] = {OBJECTS(KEEP)};

#define WORD(word) PyObject *s_##word;
NAMES(WORD)

#define NUMBER(table) (sizeof(table) / sizeof *(table))

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

/* Take the places of the fields, and the objects, each by name. What is bound serves one interpreter of a program: another one
 * of the same program uses the twins. */
static PyObject *core_bind(PyObject *module, PyObject *args)
{
    static int64_t bound_in = -1;
    int64_t present = PyInterpreterState_GetID(PyInterpreterState_Get());
    PyObject *places, *given;
    (void)module;
    if (present < 0 || !PyArg_ParseTuple(args, "O!O!:bind", &PyDict_Type, &places, &PyDict_Type, &given))
        return NULL;
    if (bound_in >= 0 && bound_in != present)
        return PyErr_Format(PyExc_LookupError, "expected one interpreter in the program, got a second");
    bound_in = present;
    for (size_t i = 0; i < NUMBER(fields); i++) {
        PyObject *place = PyDict_GetItemString(places, fields[i].name);
        Py_ssize_t at = place == NULL ? -1 : PyLong_AsSsize_t(place);
        if (at < (Py_ssize_t)sizeof(PyObject)) {
            PyErr_Clear();
            return PyErr_Format(PyExc_LookupError, "expected the place of %s", fields[i].name);
        }
        *fields[i].place = at;
    }
    for (size_t i = 0; i < NUMBER(objects); i++) {
        PyObject *object = PyDict_GetItemString(given, objects[i].name), *former = *objects[i].object;
        if (object == NULL)
            return PyErr_Format(PyExc_LookupError, "expected an object as %s", objects[i].name);
        Py_INCREF(object);
        *objects[i].object = object;
        Py_XDECREF(former);
    }
    Py_RETURN_NONE;
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
};

/* Make one of them a method of a class. */
static PyObject *core_method(PyObject *module, PyObject *args)
{
    (void)module;
    PyTypeObject *owner;
    const char *name;
    if (!PyArg_ParseTuple(args, "O!s:method", &PyType_Type, &owner, &name))
        return NULL;
    for (size_t i = 0; i < NUMBER(of_classes); i++)
        if (strcmp(of_classes[i].ml_name, name) == 0)
            return PyDescr_NewMethod(owner, &of_classes[i]);
    return PyErr_Format(PyExc_LookupError, "expected the name of a function of the core, got %s", name);
}

static PyObject *core_fields(PyObject *module, PyObject *nothing)
{
    (void)module;
    (void)nothing;
    PyObject *names = PyList_New(0);
    for (size_t i = 0; names != NULL && i < NUMBER(fields); i++) {
        PyObject *name = PyUnicode_FromString(fields[i].name);
        if (name == NULL || PyList_Append(names, name) < 0)
            Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
}

static PyMethodDef of_module[] = {
    {"fields", core_fields, METH_NOARGS, "The names of the fields whose places `bind` wants."},
    {"place", core_place, METH_VARARGS, "Find where an object holds a value."},
    {"bind", core_bind, METH_VARARGS, "Take the places of the fields, and the objects, each by name."},
    {"method", core_method, METH_VARARGS, "Make a function of the core a method of a class."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "compiled", "The compiled ways of a frame; see core.h.", -1, of_module, NULL, NULL, NULL, NULL,
};

#define INTERN(word)                                                                                        \
    if ((s_##word = PyUnicode_InternFromString(#word)) == NULL)                                             \
        return NULL;

PyMODINIT_FUNC PyInit_compiled(void)
{
    NAMES(INTERN)
    return PyModule_Create(&definition);
}
