/* Refs as keys of tables: `LocalRef.__hash__` and `LocalRef.__eq__`. See core.h. */

#include "core.h"

PyObject *core_hash(PyObject *self, PyObject *nothing)
{
    PyObject *process = SLOT(self, LocalRef__process), *serial;
    (void)nothing;
    if (process == NULL || !is_record(process) || (serial = SLOT(process, Process_serial)) == NULL)
        return PyObject_CallFunctionObjArgs(the___hash__, self, NULL);
    Py_INCREF(serial);
    return serial;
}

PyObject *core_eq(PyObject *self, PyObject *other)
{
    PyObject *process = SLOT(self, LocalRef__process);
    int is_same = self == other;
    if (!is_same && (process == NULL || (PyObject *)Py_TYPE(other) != the_LocalRef))
        return call(the___eq__, self, other);
    return PyBool_FromLong(is_same || process == SLOT(other, LocalRef__process));
}
