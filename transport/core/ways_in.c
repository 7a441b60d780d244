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

/* The first arrival, if it is a batch of the peer with nothing beside it; NULL without an error if the twin is to look. */
static PyObject *plain_arrival(PyObject *self)
{
    PyObject *arrived = SLOT(self, Inward__arrived), *link = SLOT(self, Inward__link);
    if (SLOT(link, NodeLink__seal) != Py_None || SLOT(self, Inward__assembly) != Py_None || SLOT(self, Inward__is_limited) != Py_False ||
        !is_empty(SLOT(self, Inward__parts)) || PyObject_Size(arrived) < 1)
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

/* The seconds since then; below zero for an error. */
static double seconds_since(PyObject *self, PyObject *began)
{
    PyObject *now = PyObject_CallNoArgs(SLOT(self, Inward__clock));
    if (now == NULL)
        return -1;
    double seconds = PyFloat_AsDouble(now) - PyFloat_AsDouble(began);
    Py_DECREF(now);
    return PyErr_Occurred() ? -1 : seconds < 0 ? 0 : seconds;
}

/* Learn from the time that so many frames took, as `Turn.end` does; -1 for an error. */
static int end_turn(PyObject *self, PyObject *turn, int64_t count, PyObject *began)
{
    int64_t frames, most = PyLong_AsLongLong(the_most);
    double seconds = seconds_since(self, began);
    if (seconds < 0 || !count_in(turn, Turn_frames, &frames))
        return PyErr_Occurred() ? -1 : 0;
    if (seconds > PyFloat_AsDouble(the_seconds)) {
        count = count < frames ? count / 2 : frames / 2;
        return set_count(turn, Turn_frames, count > 1 ? count : 1);
    }
    return frames >= most ? 0 : set_count(turn, Turn_frames, 2 * frames < most ? 2 * frames : most);
}

/* Have frames carried out; -1 for an error. */
static int carry_out(PyObject *self, PyObject *frames)
{
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
    return done == NULL ? -1 : 0;
}

/* The frames of the first arrival, which is taken; NULL without an error if the twin is to look at it. */
static PyObject *take_arrival(PyObject *self, PyObject *link, PyObject *turn)
{
    int64_t most;
    PyObject *frames = NULL, *taken, *arrival = count_in(turn, Turn_frames, &most) ? plain_arrival(self) : NULL;
    if (arrival == NULL)
        return NULL;
    if (frames_in(SLOT(arrival, Arrival_data)) <= most && (frames = take_in(link, SLOT(arrival, Arrival_data))) != NULL) {
        if ((taken = PyObject_CallMethodObjArgs(SLOT(self, Inward__arrived), s_popleft, NULL)) == NULL)
            Py_CLEAR(frames);
        Py_XDECREF(taken);
    }
    Py_DECREF(arrival);
    return frames;
}

/* Take in the next part of what has arrived, as `Inward._take_in` does; how many frames it has, at least 1, or -1 for an error. */
static int64_t take_in_next(PyObject *self, PyObject *link, PyObject *turn)
{
    PyObject *frames = take_arrival(self, link, turn);
    int64_t count;
    if (frames == NULL) {
        PyObject *number = PyErr_Occurred() ? NULL : PyObject_CallMethodObjArgs(self, s__take_in, NULL);
        count = number == NULL ? -1 : PyLong_AsLongLong(number);
        Py_XDECREF(number);
        return count;
    }
    count = PyList_Size(frames);
    if (count > 0 && carry_out(self, frames) < 0)
        count = -1;
    Py_DECREF(frames);
    return count == 0 ? 1 : count;
}

/* Take in as much as a turn has; how many frames, or -1 for an error. */
static int64_t take_in_all(PyObject *self, PyObject *link, PyObject *turn, int64_t most, PyObject *began)
{
    double limit = PyFloat_AsDouble(the_seconds), seconds;
    for (int64_t count = 0, taken;;) {
        if ((taken = take_in_next(self, link, turn)) < 0)
            return -1;
        count += taken;
        if (count >= most || (is_empty(SLOT(self, Inward__parts)) && is_empty(SLOT(self, Inward__arrived))))
            return count;
        if ((seconds = seconds_since(self, began)) < 0)
            return -1;
        if (seconds > limit)
            return count;
    }
}

PyObject *core_take_in_turn(PyObject *self, PyObject *nothing)
{
    PyObject *link = SLOT(self, Inward__link), *outward = SLOT(self, Inward__outward), *turn = SLOT(self, Inward__turn);
    PyObject *arrival, *began = NULL, *pace = NULL, *result = NULL;
    (void)nothing;
    int64_t most, count;
    if (link == NULL || (PyObject *)Py_TYPE(link) != the_NodeLink || outward == NULL ||
        (PyObject *)Py_TYPE(outward) != the_Outward || turn == NULL || !count_in(turn, Turn_frames, &most) ||
        (arrival = plain_arrival(self)) == NULL) {
        PyErr_Clear();
        return call_twin(the__take_in_turn, self, NULL, 0, NULL);
    }
    Py_DECREF(arrival);
    Py_INCREF(link);
    Py_INCREF(outward);
    Py_INCREF(turn);
    pace = SLOT(outward, Outward_pace);
    Py_INCREF(pace);
    set(outward, Outward_pace, the_gathering);
    if ((began = PyObject_CallNoArgs(SLOT(self, Inward__clock))) != NULL &&
        (count = take_in_all(self, link, turn, most, began)) >= 0 && end_turn(self, turn, count, began) == 0) {
        if (pace != the_gathering)
            set(outward, Outward_pace, SLOT(self, Inward__gathers) == Py_True && count > 1 ? the_spoken : the_prompt);
        if (has_to_speak(link))
            result = core_flush(outward, NULL, 0, NULL);
        else {
            Py_INCREF(Py_None);
            result = Py_None;
        }
    }
    Py_DECREF(link);
    Py_DECREF(outward);
    Py_DECREF(turn);
    Py_DECREF(pace);
    Py_XDECREF(began);
    return result;
}
