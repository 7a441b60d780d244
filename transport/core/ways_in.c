/* The way in: `NodeLink.received` and `Inward._take_in_turn`. See core.h. */

#include "core.h"

#include <string.h>

/* A number of 8 bytes; -1 if it has no sign bit free. */
static int64_t number_at(const unsigned char *at)
{
    uint64_t number = 0;
    for (int i = 0; i < 8; i++)
        number = number << 8 | at[i];
    return number > INT64_MAX ? -1 : (int64_t)number;
}

/* How many frames a batch says that it has. */
static int64_t frames_in(PyObject *data)
{
    if (PyBytes_Size(data) < OVERHEAD)
        return 0;
    const unsigned char *at = (const unsigned char *)PyBytes_AsString(data) + OVERHEAD - 4;
    return (int64_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
}

/* Tell whether a batch is larger than a batch may be: a single frame may. */
static int is_too_large(PyObject *data)
{
    return PyBytes_Size(data) > PyLong_AsLongLong(the_batch_limit) && frames_in(data) != 1;
}

PyObject *take_in(PyObject *link, PyObject *data)
{
    int64_t expected, consumed, taken_in, sent, frames_before;
    Py_ssize_t size = PyBytes_CheckExact(data) ? PyBytes_Size(data) : 0;
    if (size < OVERHEAD || is_too_large(data) || SLOT(link, NodeLink__seal) != Py_None || SLOT(link, NodeLink__rate) != Py_None)
        return NULL;
    const unsigned char *at = (const unsigned char *)PyBytes_AsString(data);
    if (memcmp(at, "ENF\x01\x93\xcf", 6) != 0 || at[14] != 0xcf || at[23] != 0xdd)
        return NULL;
    int64_t sequence = number_at(at + 6), account = number_at(at + 15);
    if (!count_in(link, NodeLink__expected, &expected) || sequence != expected || !count_in(link, NodeLink__taken_in, &taken_in) ||
        !count_in(link, NodeLink__sent, &sent) || account < taken_in || account > sent ||
        !count_in(link, NodeLink__consumed, &consumed) || !count_in(link, NodeLink_frames_in, &frames_before))
        return NULL;
    PyObject *view = PyMemoryView_FromObject(data), *rest = NULL, *frames = NULL;
    if (view != NULL && (rest = PySequence_GetSlice(view, OVERHEAD - 5, size)) != NULL)
        frames = PyObject_Vectorcall(the_decode_frames, &rest, 1, NULL);
    Py_XDECREF(view);
    Py_XDECREF(rest);
    if (frames == NULL || !PyList_CheckExact(frames)) {
        PyErr_Clear(); /* the twin says what is wrong with it */
        Py_XDECREF(frames);
        return NULL;
    }
    PyObject *silent = PyLong_FromLong(0);
    if (silent == NULL || set_count(link, NodeLink__taken_in, account) < 0 || set_count(link, NodeLink__expected, expected + 1) < 0 ||
        set_count(link, NodeLink_frames_in, frames_before + PyList_Size(frames)) < 0 ||
        set_count(link, NodeLink__consumed, consumed + size - OVERHEAD) < 0) {
        Py_XDECREF(silent);
        Py_DECREF(frames);
        return NULL;
    }
    set(link, NodeLink__silent, silent);
    Py_DECREF(silent);
    return frames;
}

PyObject *core_received(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    if (count >= 1 && (keywords == NULL || PyTuple_Size(keywords) == 0) && (count == 1 || (count == 2 && is_empty(args[1])))) {
        PyObject *frames = take_in(self, args[0]);
        if (frames != NULL || PyErr_Occurred())
            return frames;
    }
    return call_twin(the_received, self, args, count, keywords);
}

/* The only arrival, if it is a batch of the peer with nothing beside it; NULL without an error if the twin is to look. */
static PyObject *plain_arrival(PyObject *self)
{
    PyObject *arrived = SLOT(self, Inward__arrived), *link = SLOT(self, Inward__link);
    if (SLOT(link, NodeLink__seal) != Py_None || SLOT(self, Inward__assembly) != Py_None || SLOT(self, Inward__is_limited) != Py_False ||
        !is_empty(SLOT(self, Inward__parts)) || PyObject_Size(arrived) != 1)
        return NULL;
    PyObject *arrival = PySequence_GetItem(arrived, 0);
    if (arrival == NULL)
        return NULL;
    PyObject *data = (PyObject *)Py_TYPE(arrival) == the_Arrival ? SLOT(arrival, Arrival_data) : NULL;
    if (data != NULL && PyBytes_CheckExact(data) && SLOT(arrival, Arrival_credentials) == SLOT(self, Inward__peer) &&
        is_empty(SLOT(arrival, Arrival_handles)) && PySequence_Contains(SLOT(self, Inward__heard), data) == 0)
        return arrival;
    Py_DECREF(arrival);
    return NULL;
}

/* Learn from the time that so many frames took, as `Turn.end` does; -1 for an error. */
static int end_turn(PyObject *turn, PyObject *clock, Py_ssize_t count, PyObject *began)
{
    int64_t frames, most = PyLong_AsLongLong(the_most);
    PyObject *now = PyObject_CallNoArgs(clock), *number = NULL, *done = NULL;
    if (now == NULL)
        return -1;
    double seconds = PyFloat_AsDouble(now) - PyFloat_AsDouble(began);
    Py_DECREF(now);
    if (PyErr_Occurred())
        return -1;
    if (seconds <= PyFloat_AsDouble(the_seconds) && count_in(turn, Turn_frames, &frames) && frames >= most)
        return 0;
    number = PyLong_FromSsize_t(count);
    if (number != NULL)
        done = PyObject_CallMethodObjArgs(turn, s_end, number, began, NULL);
    Py_XDECREF(number);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Tell whether the peer should hear something: `NodeLink.has_to_speak`. 1 also if that cannot be told. */
static int has_to_speak(PyObject *link)
{
    int64_t queued, bulk, consumed, granted, window;
    return !count_in(link, NodeLink__queued, &queued) || !count_in(link, NodeLink__bulk, &bulk) ||
           !count_in(link, NodeLink__consumed, &consumed) || !count_in(link, NodeLink__granted, &granted) ||
           !count_in(link, NodeLink__window, &window) || queued > 0 || bulk > 0 || 2 * (consumed - granted) >= window;
}

/* Carry out the frames of a batch; -1 for an error. */
static int carry_out(PyObject *self, PyObject *turn, PyObject *frames, PyObject *began)
{
    Py_ssize_t count = PyList_Size(frames);
    if (count > 0) {
        PyObject *nothing = PyTuple_New(0), *hand_on = SLOT(self, Inward__hand_on), *done = NULL;
        if (nothing == NULL)
            return -1;
        PyObject *given[] = {frames, nothing};
        set(self, Inward__is_handing_on, Py_True);
        Py_INCREF(hand_on);
        done = PyObject_Vectorcall(hand_on, given, 2, NULL);
        Py_DECREF(hand_on);
        set(self, Inward__is_handing_on, Py_False);
        Py_DECREF(nothing);
        Py_XDECREF(done);
        if (done == NULL)
            return -1;
    }
    return end_turn(turn, SLOT(self, Inward__clock), count > 0 ? count : 1, began);
}

PyObject *core_take_in_turn(PyObject *self, PyObject *nothing)
{
    PyObject *link = SLOT(self, Inward__link), *outward = SLOT(self, Inward__outward), *turn = SLOT(self, Inward__turn);
    PyObject *arrival = NULL, *frames = NULL, *began = NULL, *pace = NULL, *taken;
    (void)nothing;
    int64_t most;
    if (link == NULL || (PyObject *)Py_TYPE(link) != the_NodeLink || outward == NULL ||
        (PyObject *)Py_TYPE(outward) != the_Outward || turn == NULL || !count_in(turn, Turn_frames, &most) ||
        (arrival = plain_arrival(self)) == NULL) {
        PyErr_Clear();
        return call_twin(the__take_in_turn, self, NULL, 0, NULL);
    }
    Py_INCREF(link);
    Py_INCREF(outward);
    Py_INCREF(turn);
    int result = -1;
    PyObject *clock = SLOT(self, Inward__clock);
    if ((began = PyObject_CallNoArgs(clock)) == NULL)
        goto over;
    if (frames_in(SLOT(arrival, Arrival_data)) > most)
        goto twin;
    frames = take_in(link, SLOT(arrival, Arrival_data));
    if (frames == NULL && PyErr_Occurred())
        goto over;
    if (frames == NULL)
        goto twin;
    if ((taken = PyObject_CallMethodObjArgs(SLOT(self, Inward__arrived), s_popleft, NULL)) == NULL)
        goto over;
    Py_DECREF(taken);
    pace = SLOT(outward, Outward_pace);
    Py_INCREF(pace);
    set(outward, Outward_pace, the_gathering);
    if (carry_out(self, turn, frames, began) < 0)
        goto over;
    if (pace != the_gathering)
        set(outward, Outward_pace, SLOT(self, Inward__gathers) == Py_True && PyList_Size(frames) > 1 ? the_spoken : the_prompt);
    result = 0;
    if (has_to_speak(link)) {
        PyObject *done = core_flush(outward, NULL, 0, NULL);
        Py_XDECREF(done);
        result = done == NULL ? -1 : 0;
    }
    goto over;
twin:
    Py_DECREF(link);
    Py_DECREF(outward);
    Py_DECREF(turn);
    Py_DECREF(arrival);
    Py_DECREF(began);
    return call_twin(the__take_in_turn, self, NULL, 0, NULL);
over:
    Py_DECREF(link);
    Py_DECREF(outward);
    Py_DECREF(turn);
    Py_DECREF(arrival);
    Py_XDECREF(began);
    Py_XDECREF(frames);
    Py_XDECREF(pace);
    if (result < 0)
        return NULL;
    Py_RETURN_NONE;
}
