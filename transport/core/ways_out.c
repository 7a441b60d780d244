/* The way out: `NodeLink.send_at_once`, `Outward.send_encoded`, `Outward.flush`. See core.h. */

#include "core.h"

#include <string.h>

static void put_number(unsigned char *at, int64_t number, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--, number >>= 8)
        at[i] = (unsigned char)number;
}

/* Tell whether so many bytes may leave, as `NodeLink._may_leave` does. */
static int may_leave(PyObject *link, int64_t size, int64_t *sent)
{
    int64_t taken_in, window;
    if (!count_in(link, NodeLink__sent, sent) || !count_in(link, NodeLink__taken_in, &taken_in) ||
        !count_in(link, NodeLink__peer_window, &window))
        return 0;
    int64_t under_way = *sent - taken_in;
    return under_way + size <= window || 2 * under_way < window;
}

/* Make a batch of `frames`, a list of bytes, or of one frame, and have it be under way: the twin's `_give_out`.
 *
 * Returns it, with a reference; NULL without an error if there is something that the twin has to deal with, and nothing was done. */
static PyObject *give_out(PyObject *link, PyObject *frames, PyObject *frame, int64_t sent)
{
    Py_ssize_t count = frame != NULL ? 1 : PyList_Size(frames), size = 0;
    int64_t sequence, consumed, frames_out;
    if (count < 0 || SLOT(link, NodeLink__seal) != Py_None || !count_in(link, NodeLink__sequence, &sequence) ||
        !count_in(link, NodeLink__consumed, &consumed) || !count_in(link, NodeLink_frames_out, &frames_out))
        return NULL;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *each = frame != NULL ? frame : PyList_GetItem(frames, i);
        if (!PyBytes_CheckExact(each))
            return NULL;
        size += PyBytes_Size(each);
    }
    PyObject *data = PyBytes_FromStringAndSize(NULL, OVERHEAD + size);
    if (data == NULL)
        return NULL;
    unsigned char *at = (unsigned char *)PyBytes_AsString(data);
    memcpy(at, "ENF\x01\x93\xcf", 6);
    put_number(at + 6, sequence, 8);
    at[14] = 0xcf;
    put_number(at + 15, consumed, 8);
    at[23] = 0xdd;
    put_number(at + 24, count, 4);
    at += OVERHEAD;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *each = frame != NULL ? frame : PyList_GetItem(frames, i);
        Py_ssize_t length = PyBytes_Size(each);
        memcpy(at, PyBytes_AsString(each), (size_t)length);
        at += length;
    }
    PyObject *nothing = PyTuple_New(0), *batch = NULL;
    if (nothing != NULL) {
        PyObject *given[] = {data, nothing};
        batch = PyObject_Vectorcall(the_Outgoing, given, 2, NULL);
        Py_DECREF(nothing);
    }
    Py_DECREF(data);
    if (batch == NULL)
        return NULL;
    if (set_count(link, NodeLink__sent, sent + size) < 0 || set_count(link, NodeLink_frames_out, frames_out + count) < 0) {
        Py_DECREF(batch);
        return NULL;
    }
    set(link, NodeLink__granted, SLOT(link, NodeLink__consumed));
    set(link, NodeLink__has_sent, Py_True);
    set(link, NodeLink__is_sign_due, Py_False);
    set(link, NodeLink__under_way, batch);
    return batch;
}

/* Make the batch of a frame that may leave at once; NULL without an error if it may not. */
static PyObject *at_once(PyObject *link, PyObject *frame)
{
    int64_t queued, backlog, sent;
    Py_ssize_t size = PyBytes_Size(frame);
    if (!count_in(link, NodeLink__queued, &queued) || queued > 0 || SLOT(link, NodeLink__under_way) != Py_None ||
        !count_in(link, NodeLink__backlog, &backlog) || size > backlog || !may_leave(link, size, &sent))
        return NULL;
    return give_out(link, NULL, frame, sent);
}

PyObject *core_send_at_once(PyObject *self, PyObject *frame)
{
    PyObject *batch = PyBytes_CheckExact(frame) ? at_once(self, frame) : NULL;
    if (batch != NULL || PyErr_Occurred())
        return batch;
    return call_twin(the_send_at_once, self, &frame, 1, NULL);
}

/* Make the batch of the only frames that have gathered, with nothing beside them; NULL without an error if there is more to it. */
static PyObject *all_gathered(PyObject *link)
{
    PyObject *waiting = SLOT(link, NodeLink__gathered), *batch = NULL;
    int64_t size, queued, sent;
    if (SLOT(link, NodeLink__under_way) != Py_None || !is_empty(SLOT(link, NodeLink__aside)) || PyObject_Size(waiting) != 1)
        return NULL;
    PyObject *gathered = PySequence_GetItem(waiting, 0);
    if (gathered == NULL)
        return NULL;
    PyObject *frames = (PyObject *)Py_TYPE(gathered) == the_Gathered ? SLOT(gathered, Gathered_frames) : NULL;
    if (frames != NULL && PyList_CheckExact(frames) && SLOT(gathered, Gathered_pieces) == Py_None &&
        is_empty(SLOT(gathered, Gathered_handles)) && count_in(gathered, Gathered_size, &size) &&
        count_in(link, NodeLink__queued, &queued) && queued == size && may_leave(link, size, &sent) &&
        (batch = give_out(link, frames, NULL, sent)) != NULL) {
        PyObject *taken = PyObject_CallMethodObjArgs(waiting, s_popleft, NULL);
        if (taken == NULL || set_count(link, NodeLink__queued, 0) < 0)
            Py_CLEAR(batch);
        Py_XDECREF(taken);
    }
    Py_DECREF(gathered);
    return batch;
}

/* Call `_answered`, which goes on after the answer to a batch; -1 for an error. */
static int answered(PyObject *self, PyObject *link, PyObject *status)
{
    int64_t sequence;
    PyObject *batch = SLOT(link, NodeLink__under_way);
    if (status == the_accepted && SLOT(self, Outward_is_crowded) == Py_False && (PyObject *)Py_TYPE(batch) == the_Outgoing &&
        is_empty(SLOT(batch, Outgoing_handles)) && count_in(link, NodeLink__sequence, &sequence)) {
        /* As it and `NodeLink.accepted` do. */
        if (set_count(link, NodeLink__sequence, sequence + 1) < 0)
            return -1;
        set(link, NodeLink__under_way, Py_None);
        set(self, Outward__pause, the_first_pause);
        return 0;
    }
    PyObject *done = PyObject_CallMethodObjArgs(self, s__answered, status, NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Look at the answer to the last batch. 1 if the next one may follow, 0 if not, or if it has yet to be looked at, -1 for an error. */
static int is_ready(PyObject *self, PyObject *link)
{
    if (SLOT(self, Outward_handover) == the_calling) {
        PyObject *status = PyObject_CallMethodObjArgs(SLOT(self, Outward__outlet), s_answer, NULL);
        if (status == NULL)
            return -1;
        if (status == Py_None) {
            Py_DECREF(status);
            return 0;
        }
        set(self, Outward_handover, the_ready);
        int result = answered(self, link, status);
        Py_DECREF(status);
        if (result < 0)
            return -1;
    }
    return SLOT(self, Outward_handover) == the_ready;
}

/* Hand a batch over. 1 if that is all, 0 if it was answered at once, and the twin is to go on; -1 for an error. Takes the reference. */
static int hand_over(PyObject *self, PyObject *link, PyObject *batch)
{
    static PyObject *keywords = NULL;
    PyObject *outlet = SLOT(self, Outward__outlet);
    if (SLOT(self, Outward_pace) == the_prompt)
        set(self, Outward_pace, the_spoken);
    if (keywords == NULL && (keywords = PyTuple_Pack(1, s_repeatable)) == NULL) {
        Py_DECREF(batch);
        return -1;
    }
    PyObject *start = PyObject_GetAttr(outlet, s_start), *status = NULL;
    if (start != NULL) {
        PyObject *given[] = {SLOT(batch, Outgoing_data), SLOT(batch, Outgoing_handles), Py_True};
        status = PyObject_Vectorcall(start, given, 2, keywords);
        Py_DECREF(start);
    }
    Py_DECREF(batch);
    if (status == NULL)
        return -1;
    int result = 1;
    if (status == Py_None)
        set(self, Outward_handover, the_calling);
    else
        result = answered(self, link, status);
    Py_DECREF(status);
    return result;
}

/* End the node link if its way out is broken; otherwise leave the error as it is, and return NULL. */
static PyObject *broken(PyObject *self)
{
    if (!PyErr_ExceptionMatches(the_CarrierError))
        return NULL;
    PyObject *type, *error, *traceback, *done = NULL;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    done = PyObject_CallMethodObjArgs(self, s__broke, error, NULL);
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    return done;
}

static PyObject *flushed(PyObject *self)
{
    return call_twin(the_flush, self, NULL, 0, NULL);
}

PyObject *core_flush(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    PyObject *link = SLOT(self, Outward__link), *result = NULL;
    if (count > 0 || (keywords != NULL && PyTuple_Size(keywords) > 0) || link == NULL ||
        (PyObject *)Py_TYPE(link) != the_NodeLink)
        return call_twin(the_flush, self, args, count, keywords);
    Py_INCREF(link);
    int state = is_ready(self, link);
    if (state > 0) {
        PyObject *batch = all_gathered(link);
        state = batch != NULL ? hand_over(self, link, batch) : PyErr_Occurred() ? -1 : 0;
    }
    if (state < 0)
        result = broken(self);
    else if (state == 0)
        result = flushed(self);
    else {
        Py_INCREF(Py_None);
        result = Py_None;
    }
    Py_DECREF(link);
    return result;
}

/* Make the record of frames that leave together, with the first of them. It may collect garbage. */
static PyObject *begin_gathering(PyObject *frame, int64_t length)
{
    PyObject *number = PyLong_FromLongLong(length), *none = PyLong_FromLong(0);
    PyObject *frames = PyList_New(0), *handles = PyList_New(0), *gathered = NULL;
    if (number != NULL && none != NULL && frames != NULL && handles != NULL && PyList_Append(frames, frame) == 0) {
        PyObject *given[] = {frames, handles, number, none};
        gathered = PyObject_Vectorcall(the_Gathered, given, 4, NULL);
    }
    Py_XDECREF(number);
    Py_XDECREF(none);
    Py_XDECREF(frames);
    Py_XDECREF(handles);
    return gathered;
}

/* Let a frame wait with those that have gathered; false, and nothing was done, if the twin has to. */
static int gather(PyObject *link, PyObject *frame)
{
    int64_t queued, backlog, size, largest, length = PyBytes_Size(frame);
    PyObject *waiting = SLOT(link, NodeLink__gathered);
    Py_ssize_t count = waiting == NULL ? -1 : PyObject_Size(waiting);
    if (count < 0 || !count_in(link, NodeLink__queued, &queued) || !count_in(link, NodeLink__backlog, &backlog) ||
        !count_in(link, NodeLink__largest, &largest) || queued + length > backlog)
        return 0;
    if (count == 0) {
        PyObject *gathered = begin_gathering(frame, length), *done = NULL;
        /* A finalizer may have sent something meanwhile: then the twin goes on. */
        if (gathered != NULL && is_empty(waiting) && count_in(link, NodeLink__queued, &queued) && queued + length <= backlog &&
            set_count(link, NodeLink__queued, queued + length) == 0)
            done = PyObject_CallMethodObjArgs(waiting, s_append, gathered, NULL);
        Py_XDECREF(gathered);
        Py_XDECREF(done);
        return done != NULL;
    }
    PyObject *last = PySequence_GetItem(waiting, count - 1);
    int is_done = 0;
    if (last != NULL && (PyObject *)Py_TYPE(last) == the_Gathered && count_in(last, Gathered_size, &size) &&
        size + length <= largest && PyList_CheckExact(SLOT(last, Gathered_frames)) &&
        set_count(link, NodeLink__queued, queued + length) == 0 && set_count(last, Gathered_size, size + length) == 0)
        is_done = PyList_Append(SLOT(last, Gathered_frames), frame) == 0;
    Py_XDECREF(last);
    return is_done;
}

PyObject *core_send_encoded(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    PyObject *link = SLOT(self, Outward__link), *frame = count == 1 ? args[0] : NULL, *handover = SLOT(self, Outward_handover);
    int state = 0;
    if (frame == NULL || (keywords != NULL && PyTuple_Size(keywords) > 0) || !PyBytes_CheckExact(frame) || link == NULL ||
        handover == the_over || (PyObject *)Py_TYPE(link) != the_NodeLink)
        return call_twin(the_send_encoded, self, args, count, keywords);
    Py_INCREF(link);
    if (SLOT(self, Outward_pace) == the_gathering || handover == the_awaited)
        state = gather(link, frame) ? 1 : PyErr_Occurred() ? -1 : 0;
    else if (SLOT(self, Outward_pace) == the_prompt && (state = is_ready(self, link)) > 0) {
        PyObject *batch = at_once(link, frame);
        if (batch == NULL)
            state = PyErr_Occurred() ? -1 : 0;
        else if ((state = hand_over(self, link, batch)) == 0) {
            PyObject *result = flushed(self);
            Py_DECREF(link);
            return result;
        }
    }
    Py_DECREF(link);
    if (state < 0)
        return broken(self);
    if (state == 0)
        return call_twin(the_send_encoded, self, args, count, keywords);
    Py_RETURN_NONE;
}
