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

/* Make the batch of the frames that gathered first, with nothing beside them, if they need not wait for more; NULL without an error if
 * there is none, or more to it. */
static PyObject *next_gathered(PyObject *link, int last)
{
    PyObject *waiting = SLOT(link, NodeLink__gathered), *batch = NULL;
    int64_t size, queued, sent;
    if (SLOT(link, NodeLink__under_way) != Py_None || !is_empty(SLOT(link, NodeLink__aside)) || PyObject_Size(waiting) < (last ? 1 : 2))
        return NULL;
    PyObject *gathered = PySequence_GetItem(waiting, 0);
    if (gathered == NULL)
        return NULL;
    PyObject *frames = (PyObject *)Py_TYPE(gathered) == the_Gathered ? SLOT(gathered, Gathered_frames) : NULL;
    if (frames != NULL && PyList_CheckExact(frames) && SLOT(gathered, Gathered_pieces) == Py_None &&
        is_empty(SLOT(gathered, Gathered_handles)) && count_in(gathered, Gathered_size, &size) &&
        count_in(link, NodeLink__queued, &queued) && queued >= size && may_leave(link, size, &sent) &&
        (batch = give_out(link, frames, NULL, sent)) != NULL) {
        PyObject *taken = PyObject_CallMethodObjArgs(waiting, s_popleft, NULL);
        if (taken == NULL || set_count(link, NodeLink__queued, queued - size) < 0)
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

/* Go on after the answer to the batch that is under way. 1 if it has come, 0 if not: then somebody is told of it if that matters, and
 * all is done; -1 for an error. */
static int has_answer(PyObject *self, PyObject *link)
{
    PyObject *done, *status = PyObject_CallMethodObjArgs(SLOT(self, Outward__outlet), s_answer, NULL);
    int result = -1;
    if (status == NULL)
        return -1;
    if (status != Py_None) {
        set(self, Outward_handover, the_ready);
        result = answered(self, link, status) < 0 ? -1 : 1;
    } else if (!has_to_speak(link))
        result = 0;
    else if ((done = PyObject_CallMethodObjArgs(self, s__await_answer, NULL)) != NULL) {
        Py_DECREF(done);
        result = 0;
    }
    Py_DECREF(status);
    return result;
}

/* Hand over what has gathered, as far as the peer takes it. 1 if that is all, 0 if the twin is to go on, -1 for an error. */
static int flush_gathered(PyObject *self, PyObject *link, int last)
{
    for (;;) {
        PyObject *handover = SLOT(self, Outward_handover), *batch;
        int state;
        if (handover == the_calling || handover == the_awaited) {
            if ((state = has_answer(self, link)) <= 0)
                return state < 0 ? -1 : 1;
            continue;
        }
        if (handover != the_ready || (batch = next_gathered(link, last)) == NULL)
            return PyErr_Occurred() ? -1 : 0;
        if ((state = hand_over(self, link, batch)) < 0)
            return -1;
        /* The batch has told what was taken in. If more waits, its answer may come within a moment. */
        if (state > 0 && !(last && has_to_speak(link)))
            return 1;
    }
}

/* Read the only argument that there may be, `last`; false if it is not that. */
static int read_last(PyObject *const *args, Py_ssize_t count, PyObject *keywords, int *last)
{
    *last = 1;
    if (count > 0)
        return 0;
    if (keywords == NULL || PyTuple_Size(keywords) == 0)
        return 1;
    PyObject *name = PyTuple_GetItem(keywords, 0);
    *last = args[0] == Py_True;
    return PyTuple_Size(keywords) == 1 && PyUnicode_CompareWithASCIIString(name, "last") == 0 && PyBool_Check(args[0]);
}

/* Hand over what has gathered; what is not frequent about that is done by the twin. */
static PyObject *flush(PyObject *self, PyObject *link, int last)
{
    int state = flush_gathered(self, link, last);
    if (state < 0)
        return broken(self);
    if (state == 0) {
        PyObject *names = PyTuple_Pack(1, s_last), *given[] = {last ? Py_True : Py_False};
        PyObject *done = names == NULL ? NULL : call_twin(the_flush, self, given, 0, names);
        Py_XDECREF(names);
        return done;
    }
    Py_RETURN_NONE;
}

PyObject *core_flush(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    PyObject *link = SLOT(self, Outward__link), *done;
    int last;
    if (!read_last(args, count, keywords, &last) || link == NULL || (PyObject *)Py_TYPE(link) != the_NodeLink)
        return call_twin(the_flush, self, args, count, keywords);
    Py_INCREF(link);
    done = flush(self, link, last);
    Py_DECREF(link);
    return done;
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

/* Let a frame wait with those that have gathered, as `NodeLink.send` does. 1 if it does, 2 if a batch has become as full as it will be
 * besides; 0, and nothing was done, if the twin has to. */
static int gather(PyObject *link, PyObject *frame)
{
    int64_t queued, queued_now, backlog, size, largest, length = PyBytes_Size(frame);
    PyObject *waiting = SLOT(link, NodeLink__gathered), *last = NULL, *gathered, *done = NULL;
    Py_ssize_t count = waiting == NULL ? -1 : PyObject_Size(waiting);
    if (count < 0 || !count_in(link, NodeLink__queued, &queued) || !count_in(link, NodeLink__backlog, &backlog) ||
        !count_in(link, NodeLink__largest, &largest) || queued + length > backlog)
        return 0;
    if (count > 0) {
        int is_done = 0;
        if ((last = PySequence_GetItem(waiting, count - 1)) == NULL || (PyObject *)Py_TYPE(last) != the_Gathered ||
            !count_in(last, Gathered_size, &size) || !PyList_CheckExact(SLOT(last, Gathered_frames))) {
            Py_XDECREF(last);
            return 0;
        }
        if (size + length <= largest) {
            is_done = set_count(link, NodeLink__queued, queued + length) == 0 && set_count(last, Gathered_size, size + length) == 0 &&
                      PyList_Append(SLOT(last, Gathered_frames), frame) == 0;
            Py_DECREF(last);
            return is_done;
        }
        Py_DECREF(last);
    }
    gathered = begin_gathering(frame, length);
    /* A finalizer may have sent something meanwhile: then the twin goes on. */
    if (gathered != NULL && PyObject_Size(waiting) == count && count_in(link, NodeLink__queued, &queued_now) && queued_now == queued &&
        set_count(link, NodeLink__queued, queued + length) == 0)
        done = PyObject_CallMethodObjArgs(waiting, s_append, gathered, NULL);
    Py_XDECREF(gathered);
    Py_XDECREF(done);
    return done == NULL ? 0 : count > 0 ? 2 : 1;
}

/* Note whether so much waits that senders should; -1 for an error. */
static int note_crowd(PyObject *self, PyObject *link)
{
    int64_t queued, bulk;
    PyObject *high_water = PyObject_GetAttr(link, s_high_water);
    int64_t most = high_water == NULL ? -1 : PyLong_AsLongLong(high_water);
    Py_XDECREF(high_water);
    if (PyErr_Occurred())
        return -1;
    if (count_in(link, NodeLink__queued, &queued) && count_in(link, NodeLink__bulk, &bulk))
        set(self, Outward_is_crowded, queued + bulk > most ? Py_True : Py_False);
    return 0;
}

/* Queue a frame, as `Outward._enqueue` does. 1 if that is all, 0, and nothing was done, if that is to do it, -1 for an error. */
static int enqueue(PyObject *self, PyObject *link, PyObject *frame)
{
    PyObject *handover = SLOT(self, Outward_handover), *pace, *done;
    int state = gather(link, frame);
    if (state == 0)
        return PyErr_Occurred() ? -1 : 0;
    if (state == 2 && note_crowd(self, link) < 0)
        return -1;
    pace = SLOT(self, Outward_pace);
    if (handover == the_awaited || (pace == the_gathering && state == 1))
        return 1;
    done = pace == the_spoken ? PyObject_CallMethodObjArgs(self, s__gather, NULL) : flush(self, link, pace != the_gathering);
    Py_XDECREF(done);
    return done == NULL ? -1 : 1;
}

PyObject *core_send_encoded(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    PyObject *link = SLOT(self, Outward__link), *frame = count == 1 ? args[0] : NULL, *pace = SLOT(self, Outward_pace), *batch = NULL;
    if (frame == NULL || (keywords != NULL && PyTuple_Size(keywords) > 0) || !PyBytes_CheckExact(frame) || link == NULL ||
        SLOT(self, Outward_handover) == the_over || (PyObject *)Py_TYPE(link) != the_NodeLink)
        return call_twin(the_send_encoded, self, args, count, keywords);
    Py_INCREF(link);
    int state = pace != the_prompt ? 0 : is_ready(self, link);
    if (state > 0 && (batch = at_once(link, frame)) == NULL)
        state = PyErr_Occurred() ? -1 : 0;
    if (batch != NULL) {
        state = hand_over(self, link, batch);
        if (state == 0) {
            PyObject *done = flush(self, link, 1);
            Py_DECREF(link);
            return done;
        }
    } else if (state == 0)
        state = SLOT(self, Outward_handover) == the_over ? 0 : enqueue(self, link, frame);
    Py_DECREF(link);
    if (state < 0)
        return broken(self);
    if (state == 0)
        return PyObject_CallMethodObjArgs(self, s__enqueue, frame, NULL);
    Py_RETURN_NONE;
}
