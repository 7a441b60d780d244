/* How a compiled module finds the fields of objects in Python, and how its functions take the places of their twins.
 * `twins.py` beside this file is the other side of it. Both packages that have such a module include this file, and
 * compile `twins.c` into theirs.
 *
 * What C gains is in reading and writing the fields of these objects: they are slots, and a slot is a pointer
 * at a fixed distance from the beginning of its object. `place` finds the distance of a slot by looking for
 * the value of one that was just set. That is done once for each field that a module lists, and the module is
 * used only if each is found. An interpreter that keeps slots in another way costs speed, and nothing else.
 *
 * Everything else is the stable interface of Python 3.11: one compiled file serves all later versions.
 *
 * Rules: a function that returns an object returns a new reference. A field is read with `get`,
 * which takes a reference, as soon as anything may run before it is used: the code of an actor may change any
 * field meanwhile. The GIL is held throughout.
 */

#ifndef ENFILADE_TWINS_H
#define ENFILADE_TWINS_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stddef.h>
#include <stdint.h>

/* Part of the stable interface of 3.12, and the same function in 3.11. The headers of no version declare it to
 * whoever asks for the interface of 3.11. */
PyAPI_FUNC(PyObject *) PyObject_Vectorcall(PyObject *, PyObject *const *, size_t, PyObject *);

/* A module lists its fields as `FIELDS(field) field(Class, name) ...`, its objects and its names as
 * `OBJECTS(object) object(name) ...`. Each list is declared, defined, and entered into a table by one of these. */
#define DECLARE_FIELD(type, name) extern Py_ssize_t type##_##name;
#define DEFINE_FIELD(type, name) Py_ssize_t type##_##name;
#define ENTER_FIELD(type, name) {#type "." #name, &type##_##name},

#define DECLARE_OBJECT(name) extern PyObject *the_##name;
#define DEFINE_OBJECT(name) PyObject *the_##name;
#define ENTER_OBJECT(name) {#name, &the_##name},

#define DECLARE_NAME(word) extern PyObject *s_##word;
#define DEFINE_NAME(word) PyObject *s_##word;
#define INTERN_NAME(word)                                                                                   \
    if ((s_##word = PyUnicode_InternFromString(#word)) == NULL)                                             \
        return NULL;

/* A field whose place `bind` is told, and an object that it is given. A table ends with an entry without a name. */
struct field {
    const char *name;
    Py_ssize_t *place;
};

struct object {
    const char *name;
    PyObject **object;
};

#define SLOT(object, field) (*(PyObject **)((char *)(object) + (field)))

/* The value of a field, with a reference. A slot that was never set is an error, as it is in Python. */
static inline PyObject *get(PyObject *object, Py_ssize_t field)
{
    PyObject *value = SLOT(object, field);
    if (value == NULL)
        PyErr_SetString(PyExc_AttributeError, "expected a field of the runtime to be set, got an empty slot");
    else
        Py_INCREF(value);
    return value;
}

static inline void set(PyObject *object, Py_ssize_t field, PyObject *value)
{
    PyObject *former = SLOT(object, field);
    Py_INCREF(value);
    SLOT(object, field) = value;
    Py_XDECREF(former);
}

/* Call the twin in Python: `twin(self, *args, **keywords)`, where the values of the keywords follow the args. */
PyObject *call_twin(PyObject *twin, PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);

/* `place(object, value)`: find the place of a slot, the only one in `object` that holds `value`; -1 if it is not the
 * only one. */
PyObject *find_place(PyObject *module, PyObject *args);

/* Take the places of the fields, and the objects, each by name: `args` are the two mappings. */
PyObject *bind_to(PyObject *args, const struct field *fields, const struct object *objects);

/* The same, for the first interpreter of a program. Another one of the same program is refused: what is taken serves
 * one. */
PyObject *bind_once(PyObject *args, const struct field *fields, const struct object *objects);

/* The names of the fields, as a list. */
PyObject *names_of(const struct field *fields);

/* Make one of the functions a method of a class: `args` are the class and the function's name. The table ends with
 * an entry without a name. */
PyObject *method_of(PyObject *args, PyMethodDef *functions);

#endif
