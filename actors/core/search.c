/* Search of a mailbox for what is data: `MailboxSearch.count_misfits`. See core.h.
 *
 * A message is passed by only if it certainly does not fit. Whatever is not clear (a class that says itself what
 * belongs to it, an error of a comparison, a queue that has changed) ends the count: the test in Python goes on. */

#include "core.h"

#define KINDS 8

/* What is known of the messages so far. The objects are held: a comparison may run any code. */
struct search {
    PyObject *self, *kinds, *shape, *names, *values; /* as in Python; NULL: none */
    PyObject *seen[KINDS];                           /* classes of messages */
    int may_fit[KINDS];
    int number, next;         /* of classes: how many, and the one whose place is used next */
    PyObject *first, *unlike; /* the first item of the shape, borrowed, if it is a text; a text that it is not */
};

static int is_misfit(PyObject *shape, PyObject *value);

/* Tell whether one of the items does not fit; -1 for an error. */
static int has_misfit(PyObject *shape, PyObject *value)
{
    Py_ssize_t size = PyTuple_Size(shape);
    if (!PyTuple_CheckExact(value))
        return !PyTuple_Check(value);
    if (PyTuple_Size(value) != size)
        return 1;
    for (Py_ssize_t i = 0; i < size; i++) {
        PyObject *item = PyTuple_GetItem(value, i);
        Py_INCREF(item);
        int misfit = is_misfit(PyTuple_GetItem(shape, i), item);
        Py_DECREF(item);
        if (misfit)
            return misfit;
    }
    return 0;
}

/* The same for the shape of the search. In most mailboxes the first item tells one message from another, and is
 * one of a few texts: so the last one that did not fit is known without a comparison. */
static int is_unlike(struct search *search, PyObject *message)
{
    PyObject *first = search->first == NULL || !PyTuple_CheckExact(message) ? NULL : PyTuple_GetItem(message, 0);
    if (first == NULL)
        PyErr_Clear(); /* it is empty */
    else if (first == search->unlike)
        return 1;
    int misfit = has_misfit(search->shape, message);
    if (misfit > 0 && first != NULL && PyUnicode_CheckExact(first) &&
        PyObject_RichCompareBool(first, search->first, Py_NE) > 0) {
        Py_INCREF(first);
        Py_XDECREF(search->unlike);
        search->unlike = first;
    }
    return misfit;
}

/* Tell whether `value` is certainly not like `shape`; -1 for an error. */
static int is_misfit(PyObject *shape, PyObject *value)
{
    if (value == shape)
        return 0;
    if (PyType_Check(shape)) {
        int is_instance = PyObject_IsInstance(value, shape);
        return is_instance < 0 ? -1 : !is_instance;
    }
    if (PyTuple_CheckExact(shape)) {
        if (Py_EnterRecursiveCall(" in a search of a mailbox"))
            return -1;
        int misfit = has_misfit(shape, value);
        Py_LeaveRecursiveCall();
        return misfit;
    }
    int is_equal = PyObject_RichCompareBool(value, shape, Py_EQ);
    return is_equal < 0 ? -1 : !is_equal;
}

static int lacks_attributes(struct search *search, PyObject *message)
{
    Py_ssize_t size = PyTuple_Size(search->names);
    for (Py_ssize_t i = 0; i < size; i++) {
        PyObject *value = PyObject_GetAttr(message, PyTuple_GetItem(search->names, i));
        if (value == NULL)
            return -1;
        int misfit = is_misfit(PyTuple_GetItem(search->values, i), value);
        Py_DECREF(value);
        if (misfit)
            return misfit;
    }
    return 0;
}

/* Tell whether messages of the class of this one may fit, as far as the class goes; -1 for an error. */
static int may_fit(struct search *search, PyObject *message)
{
    PyObject *kind = (PyObject *)Py_TYPE(message);
    for (int i = 0; i < search->number; i++)
        if (search->seen[i] == kind)
            return search->may_fit[i];
    Py_INCREF(kind);
    PyObject *answer = PyObject_CallMethodObjArgs(search->self, s_may_fit, message, NULL);
    int may = answer == NULL ? -1 : is_true(answer);
    Py_XDECREF(answer);
    if (may < 0) {
        Py_DECREF(kind);
        return -1;
    }
    int place = search->next;
    PyObject *former = search->seen[place];
    search->seen[place] = kind;
    search->may_fit[place] = may;
    search->next = (place + 1) % KINDS;
    if (search->number < KINDS)
        search->number++;
    Py_XDECREF(former);
    return may;
}

/* Tell whether a message certainly does not fit; -1 for an error. */
static int is_passed_by(struct search *search, PyObject *message)
{
    int may = search->kinds == NULL ? 1 : may_fit(search, message);
    if (may <= 0)
        return may < 0 ? -1 : 1;
    if (search->shape == NULL)
        return 0;
    int misfit = 0;
    if (PyTuple_CheckExact(search->shape))
        misfit = is_unlike(search, message);
    else if (search->kinds == NULL)
        misfit = is_misfit(search->shape, message);
    return misfit ? misfit : lacks_attributes(search, message);
}

/* The value of a field, or of an attribute of it, with a reference; NULL if it is None, or for an error. */
static PyObject *unless_none(PyObject *value)
{
    if (value == Py_None)
        Py_CLEAR(value);
    return value;
}

static Py_ssize_t count(struct search *search, PyObject *messages)
{
    PyObject *iterator = PyObject_GetIter(messages);
    if (iterator == NULL)
        return -1;
    iternextfunc next = (iternextfunc)PyType_GetSlot(Py_TYPE(iterator), Py_tp_iternext);
    Py_ssize_t passed = 0;
    PyObject *message;
    int is_passed = 1;
    while (is_passed > 0 && (message = next(iterator)) != NULL) {
        is_passed = is_passed_by(search, message);
        passed += is_passed > 0;
        Py_DECREF(message);
    }
    Py_DECREF(iterator);
    if (PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_Exception))
            return -1;
        PyErr_Clear(); /* the test in Python is to raise it, or the queue has changed */
    }
    return passed;
}

PyObject *core_count_misfits(PyObject *self, PyObject *messages)
{
    struct search search = {.self = self};
    PyObject *likeness = NULL;
    Py_ssize_t passed = -1;
    search.kinds = unless_none(get(self, MailboxSearch_kinds));
    likeness = unless_none(get(self, MailboxSearch_likeness));
    if (PyErr_Occurred())
        goto over;
    if (likeness != NULL &&
        ((search.shape = get(likeness, Like_shape)) == NULL || (search.names = get(likeness, Like_names)) == NULL ||
         (search.values = get(likeness, Like_values)) == NULL))
        goto over;
    if (search.shape != NULL && PyTuple_CheckExact(search.shape) && PyTuple_Size(search.shape) > 0 &&
        PyUnicode_CheckExact(PyTuple_GetItem(search.shape, 0)))
        search.first = PyTuple_GetItem(search.shape, 0);
    passed = count(&search, messages);
over:
    Py_XDECREF(search.kinds);
    Py_XDECREF(likeness);
    Py_XDECREF(search.shape);
    Py_XDECREF(search.names);
    Py_XDECREF(search.values);
    Py_XDECREF(search.unlike);
    for (int i = 0; i < search.number; i++)
        Py_XDECREF(search.seen[i]);
    return passed < 0 ? NULL : PyLong_FromSsize_t(passed);
}
