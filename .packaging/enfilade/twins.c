/* See twins.h. */

#include "twins.h"

#include <string.h>

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

PyObject *find_place(PyObject *module, PyObject *args)
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

PyObject *bind_to(PyObject *args, const struct field *fields, const struct object *objects)
{
    PyObject *places, *given;
    if (!PyArg_ParseTuple(args, "O!O!:bind", &PyDict_Type, &places, &PyDict_Type, &given))
        return NULL;
    for (; fields->name != NULL; fields++) {
        PyObject *place = PyDict_GetItemString(places, fields->name);
        if (place == NULL)
            return PyErr_Format(PyExc_LookupError, "expected the place of %s", fields->name);
        Py_ssize_t at = PyLong_AsSsize_t(place);
        if (at < (Py_ssize_t)sizeof(PyObject)) {
            PyErr_Clear();
            return PyErr_Format(PyExc_ImportError, "expected %s in a slot of its object, got no slot", fields->name);
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

PyObject *bind_once(PyObject *args, const struct field *fields, const struct object *objects)
{
    static int64_t bound_in = -1;
    int64_t present = PyInterpreterState_GetID(PyInterpreterState_Get());
    if (present < 0)
        return NULL;
    if (bound_in >= 0 && bound_in != present)
        return PyErr_Format(PyExc_ImportError, "expected one interpreter in the program, got a second");
    bound_in = present;
    return bind_to(args, fields, objects);
}

PyObject *names_of(const struct field *fields)
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

PyObject *method_of(PyObject *args, PyMethodDef *functions)
{
    PyTypeObject *owner;
    const char *name;
    if (!PyArg_ParseTuple(args, "O!s:method", &PyType_Type, &owner, &name))
        return NULL;
    for (; functions->ml_name != NULL; functions++)
        if (strcmp(functions->ml_name, name) == 0)
            return PyDescr_NewMethod(owner, functions);
    return PyErr_Format(PyExc_LookupError, "expected the name of a compiled function, got %s", name);
}
