/* Frames that have come from another node: `Inbound.take_in`. See core.h.
 *
 * Plain messages to processes, calls of their methods, and replies are carried out here, if nothing is unusual about
 * them: the peer holds the ref, the process lives and has no bound, no trace and nothing beside the frame. At the
 * first frame of another kind the twin goes on with the rest. */

#include "core.h"

/* Values of a payload that is decoded here, containers among them. */
#define MOST_VALUES 512

/* Bytes of a payload that may cost what they like: `SMALL` of transport/budget.py. A longer one is decoded here if it has few values
 * and the twin's reckoning (transport/queue/measure.h) grants the peer more time than they can take: sixteen are some 700 units
 * of work of 10 ns, and so are the bytes of the longest frame. */
#define SMALL         4096
#define FEW_VALUES    16
#define ENOUGH_SECONDS 100e-6

/* Read a number of so many bytes that stands in front of content; -1 if it is not there. */
static int64_t number_at(const unsigned char **at, const unsigned char *end, int bytes)
{
    int64_t number = 0;
    if (end - *at < bytes)
        return -1;
    for (int i = 0; i < bytes; i++)
        number = number << 8 | *(*at)++;
    return number;
}

/* Tell whether a payload has so many values at most, and no extension of MessagePack among them, which may run code of registered
 * types. What is in strings and bytes does not matter. */
static int is_plain_data(const unsigned char *at, Py_ssize_t size, int64_t most)
{
    const unsigned char *end = at + size;
    for (int64_t left = 1; left > 0; left--) {
        int64_t items = 0, content = 0;
        if (at == end || most-- == 0)
            return 0;
        unsigned char mark = *at++;
        if (mark >= 0x80 && mark < 0x90)
            items = 2 * (mark & 0x0f);
        else if (mark >= 0x90 && mark < 0xa0)
            items = mark & 0x0f;
        else if (mark >= 0xa0 && mark < 0xc0)
            content = mark & 0x1f;
        else if (mark >= 0xc4 && mark <= 0xc6)
            content = number_at(&at, end, 1 << (mark - 0xc4));
        else if ((mark >= 0xc7 && mark <= 0xc9) || (mark >= 0xd4 && mark <= 0xd8))
            return 0; /* an extension */
        else if (mark == 0xca || mark == 0xcb)
            content = mark == 0xca ? 4 : 8;
        else if (mark >= 0xcc && mark <= 0xd3)
            content = 1 << ((mark - 0xcc) & 3);
        else if (mark >= 0xd9 && mark <= 0xdb)
            content = number_at(&at, end, 1 << (mark - 0xd9));
        else if (mark == 0xdc || mark == 0xdd)
            items = number_at(&at, end, mark == 0xdc ? 2 : 4);
        else if (mark == 0xde || mark == 0xdf)
            items = 2 * number_at(&at, end, mark == 0xde ? 2 : 4);
        if (items < 0 || content < 0 || content > end - at)
            return 0;
        at += content;
        left += items;
    }
    return at == end;
}

/* Tell whether decoding a payload of the peer may take as long as one with few values can take. */
static int has_seconds(PyObject *self)
{
    PyObject *codec = PyObject_GetAttr(self, s__codec), *limits = NULL, *seconds = NULL;
    int result = codec != NULL && (limits = PyObject_GetAttr(codec, s_limits)) != NULL &&
                 (seconds = PyObject_GetAttr(limits, s_decoding)) != NULL && PyFloat_CheckExact(seconds) &&
                 PyFloat_AsDouble(seconds) >= ENOUGH_SECONDS;
    Py_XDECREF(codec);
    Py_XDECREF(limits);
    Py_XDECREF(seconds);
    PyErr_Clear();
    return result;
}

/* Decode a payload of nothing but what MessagePack itself has, and tell its size; NULL, without an error, if the twin is to do it. */
static PyObject *decode(PyObject *self, PyObject *payload, Py_ssize_t *size)
{
    Py_buffer buffer;
    if (payload == NULL || PyObject_GetBuffer(payload, &buffer, PyBUF_SIMPLE) < 0) {
        PyErr_Clear();
        return NULL;
    }
    *size = buffer.len;
    int is_small = buffer.len <= SMALL, is_plain = is_plain_data(buffer.buf, buffer.len, is_small ? MOST_VALUES : FEW_VALUES);
    PyBuffer_Release(&buffer);
    if (!is_plain || (!is_small && !has_seconds(self)))
        return NULL;
    PyObject *value = PyObject_Vectorcall(the_decode_plain, &payload, 1, NULL);
    if (value == NULL)
        PyErr_Clear(); /* the twin says what is wrong with it */
    return value;
}

static int is_zero(PyObject *number)
{
    return number != NULL && PyLong_CheckExact(number) && PyObject_IsTrue(number) == 0;
}

/* Read a number; -1 without an error if there is none. */
static int64_t number_in(PyObject *object, PyObject *name)
{
    PyObject *value = PyObject_GetAttr(object, name);
    int64_t number = value != NULL && PyLong_CheckExact(value) ? PyLong_AsLongLong(value) : -1;
    Py_XDECREF(value);
    PyErr_Clear();
    return number;
}

/* The ref that the peer holds to a living process without a bound, with a reference; NULL, without an error, for any other. */
static PyObject *granted_ref(PyObject *self, PyObject *to)
{
    PyObject *passing = SLOT(self, Inbound__passing), *granted, *refs, *ref, *process;
    if (to == NULL || !PyLong_CheckExact(to) || passing == NULL || (PyObject *)Py_TYPE(passing) != the_RefPassing ||
        (granted = SLOT(passing, RefPassing_granted)) == NULL || (refs = SLOT(granted, Granted_refs)) == NULL ||
        !PyDict_CheckExact(refs) || (ref = PyDict_GetItemWithError(refs, to)) == NULL) {
        PyErr_Clear();
        return NULL;
    }
    if ((PyObject *)Py_TYPE(ref) != the_LocalRef || (process = SLOT(ref, LocalRef__process)) == NULL ||
        !is_process(process) || SLOT(process, Process_ended) != Py_None || SLOT(process, Process_limit) != the_LIMITLESS)
        return NULL;
    Py_INCREF(ref);
    return ref;
}

/* Each of these gives 1 when the frame is carried out, 0 when the twin is to do that, -1 for an error. */

static int receive_send(PyObject *self, PyObject *frame)
{
    Py_ssize_t size;
    PyObject *ref, *value, *sent = NULL;
    if (!is_zero(SLOT(frame, TracedSend_files)) || SLOT(frame, TracedSend_trace) != the_NIL ||
        (ref = granted_ref(self, SLOT(frame, TracedSend_to))) == NULL)
        return 0;
    if ((value = decode(self, SLOT(frame, TracedSend_payload), &size)) != NULL)
        sent = PyObject_CallMethodObjArgs(ref, s_send, value, NULL);
    int result = sent != NULL ? 1 : value != NULL ? -1 : 0;
    Py_XDECREF(sent);
    Py_XDECREF(value);
    Py_DECREF(ref);
    return result;
}

/* Tell whether one more call, of so many bytes, may be open. */
static int has_room(PyObject *self, PyObject *answering, Py_ssize_t size)
{
    PyObject *peer = PyObject_GetAttr(SLOT(self, Inbound__outward), s_peer), *rights = NULL, *limits = NULL;
    int64_t open, most;
    int result = 0;
    if (peer != NULL && (rights = PyObject_GetAttr(peer, s_rights)) != NULL &&
        (limits = PyObject_GetAttr(rights, s_limits)) != NULL && (open = PyDict_Size(answering)) >= 0 &&
        open < number_in(limits, s_pending) && (most = number_in(limits, s_pending_bytes)) >= 0)
        result = number_in(SLOT(self, Inbound__ledger), s_answering_bytes) + size <= most;
    Py_XDECREF(peer);
    Py_XDECREF(rights);
    Py_XDECREF(limits);
    PyErr_Clear();
    return result;
}

/* Tell whether the node has no tracer. */
static int is_untraced(PyObject *node)
{
    PyObject *traces = PyObject_GetAttr(node, s_traces), *tracer = NULL;
    int result = traces != NULL && (tracer = PyObject_GetAttr(traces, s_tracer)) == Py_None;
    Py_XDECREF(traces);
    Py_XDECREF(tracer);
    PyErr_Clear();
    return result;
}

/* Make a `RemoteCall`; its arguments are the list in the first place of `value`. */
static PyObject *make_call(PyObject *self, PyObject *frame, PyObject *value, Py_ssize_t size)
{
    PyObject *outward = SLOT(self, Inbound__outward), *number = SLOT(frame, TracedCall_caller);
    PyObject *call = make(the_RemoteCall), *args = PyList_AsTuple(PyList_GetItem(value, 0)), *caller = Py_None;
    PyObject *answer = PyObject_GetAttr(outward, s_reply), *bytes = PyLong_FromSsize_t(size);
    if (is_zero(number))
        Py_INCREF(caller);
    else
        caller = PyObject_CallMethodObjArgs(outward, s_ref, number, NULL);
    if (call != NULL && args != NULL && answer != NULL && bytes != NULL && caller != NULL) {
        set(call, RemoteCall_method, SLOT(frame, TracedCall_method));
        set(call, RemoteCall_args, args);
        set(call, RemoteCall_kwargs, PyList_GetItem(value, 1));
        set(call, RemoteCall_caller, caller);
        set(call, RemoteCall_settled, Py_False);
        set(call, RemoteCall_given_up_by, Py_None);
        set(call, RemoteCall__to_tell, Py_None);
        set(call, RemoteCall__answer, answer);
        set(call, RemoteCall_number, SLOT(frame, TracedCall_id));
        set(call, RemoteCall_size, bytes);
        set(call, RemoteCall_trace, Py_None);
        set(call, RemoteCall_peer, SLOT(self, Inbound__peer_name));
    } else
        Py_CLEAR(call);
    Py_XDECREF(args);
    Py_XDECREF(answer);
    Py_XDECREF(bytes);
    Py_XDECREF(caller);
    return call;
}

/* Tell whether `value` is a list of positional arguments and no others. */
static int are_positional(PyObject *value)
{
    return PyList_CheckExact(value) && PyList_Size(value) == 2 && PyList_CheckExact(PyList_GetItem(value, 0)) &&
           PyDict_CheckExact(PyList_GetItem(value, 1)) && PyDict_Size(PyList_GetItem(value, 1)) == 0;
}

/* Enter a call in the ledger, and have it reach the process; -1 for an error. */
static int answer_later(PyObject *self, PyObject *process, PyObject *call)
{
    PyObject *done = PyObject_CallMethodObjArgs(SLOT(self, Inbound__ledger), s_begin_answer, call, NULL);
    Py_XDECREF(done);
    if (done == NULL)
        return -1;
    if (deliver_call(process, call) == 0)
        return 0;
    PyObject *error = caught(); /* as `Inbound._receive_call` does with a `RuntimeFault` */
    if (!PyType_IsSubtype(Py_TYPE(error), (PyTypeObject *)the_RuntimeFault)) {
        raise_again(error);
        return -1;
    }
    done = PyObject_CallMethodObjArgs(call, s_fail, error, NULL);
    Py_DECREF(error);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int receive_call(PyObject *self, PyObject *frame)
{
    PyObject *ledger = SLOT(self, Inbound__ledger), *answering, *handlers, *ref, *value = NULL, *call = NULL;
    Py_ssize_t size;
    int result = 0;
    if (!is_zero(SLOT(frame, TracedCall_files)) || SLOT(frame, TracedCall_trace) != the_NIL ||
        (PyObject *)Py_TYPE(ledger) != the_Ledger || (answering = SLOT(ledger, Ledger_answering)) == NULL ||
        !PyDict_CheckExact(answering) || PyDict_Contains(answering, SLOT(frame, TracedCall_id)) != 0 ||
        (ref = granted_ref(self, SLOT(frame, TracedCall_to))) == NULL) {
        PyErr_Clear();
        return 0;
    }
    PyObject *process = get(ref, LocalRef__process);
    if (process != NULL && (handlers = SLOT(process, Process_handlers)) != NULL && PyDict_CheckExact(handlers) &&
        PyDict_Contains(handlers, SLOT(frame, TracedCall_method)) == 1 && is_untraced(SLOT(self, Inbound__node)) &&
        (value = decode(self, SLOT(frame, TracedCall_payload), &size)) != NULL && are_positional(value) &&
        has_room(self, answering, size)) {
        call = make_call(self, frame, value, size);
        result = call == NULL || answer_later(self, process, call) < 0 ? -1 : 1;
    }
    if (result == 0)
        PyErr_Clear();
    Py_XDECREF(call);
    Py_XDECREF(value);
    Py_XDECREF(process);
    Py_DECREF(ref);
    return result;
}

static int receive_reply(PyObject *self, PyObject *frame)
{
    PyObject *ledger = SLOT(self, Inbound__ledger), *calls, *number = SLOT(frame, Reply_id), *request, *value;
    Py_ssize_t size;
    if (!is_zero(SLOT(frame, Reply_files)) || SLOT(frame, Reply_succeeded) != Py_True ||
        (PyObject *)Py_TYPE(ledger) != the_Ledger || (calls = SLOT(ledger, Ledger_calls)) == NULL ||
        !PyDict_CheckExact(calls) || (request = PyDict_GetItemWithError(calls, number)) == NULL ||
        (PyObject *)Py_TYPE(request) != the_Request || (value = decode(self, SLOT(frame, Reply_payload), &size)) == NULL) {
        PyErr_Clear();
        return 0;
    }
    PyObject *done = NULL;
    Py_INCREF(request);
    if (PyDict_DelItem(calls, number) == 0)
        done = PyObject_CallMethodObjArgs(request, s_reply, value, NULL);
    Py_DECREF(request);
    Py_DECREF(value);
    Py_XDECREF(done);
    return done == NULL ? -1 : 1;
}

static int receive(PyObject *self, PyObject *frame)
{
    PyObject *kind = (PyObject *)Py_TYPE(frame);
    return kind == the_TracedSend   ? receive_send(self, frame)
           : kind == the_TracedCall ? receive_call(self, frame)
           : kind == the_Reply      ? receive_reply(self, frame)
                                    : 0;
}

/* Tell whether frames wait for long payloads: then those that come may have to wait behind them. */
static int must_queue(PyObject *self)
{
    PyObject *queues = PyObject_GetAttr(SLOT(self, Inbound_arrivals), s_queues);
    int result = queues == NULL || !PyDict_CheckExact(queues) || PyDict_Size(queues) > 0;
    Py_XDECREF(queues);
    PyErr_Clear();
    return result;
}

/* Have the twin carry out the frames from a place on. */
static PyObject *take_in_rest(PyObject *self, PyObject *const *args, Py_ssize_t from)
{
    PyObject *rest = from == 0 ? args[0] : PyList_GetSlice(args[0], from, PyList_Size(args[0]));
    if (rest == NULL)
        return NULL;
    PyObject *given[] = {rest, args[1]}, *done = call_twin(the_take_in, self, given, 2, NULL);
    if (from > 0)
        Py_DECREF(rest);
    return done;
}

/* Report a mistake in carrying out a frame, unless it is one that others are to see; -1 then. */
static int went_wrong(PyObject *self, PyObject *frame)
{
    PyObject *error = caught(), *done = PyObject_CallMethodObjArgs(self, s__went_wrong, frame, error, NULL);
    Py_XDECREF(error);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

PyObject *core_take_in(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords)
{
    if (count != 2 || keywords != NULL || !PyList_CheckExact(args[0]) || PyObject_Size(args[1]) != 0) {
        PyErr_Clear();
        return call_twin(the_take_in, self, args, count, keywords);
    }
    PyObject *outward = get(self, Inbound__outward);
    PyObject *peer = outward == NULL ? NULL : PyObject_GetAttr(outward, s_peer), *result = NULL;
    int goes_on = peer != NULL;
    for (Py_ssize_t i = 0; goes_on && i < PyList_Size(args[0]); i++) {
        PyObject *frame = PyList_GetItem(args[0], i), *present = NULL;
        Py_INCREF(frame);
        int done = must_queue(self) ? 0 : receive(self, frame);
        if (done == 0) {
            result = take_in_rest(self, args, i);
            goes_on = 0;
        } else if ((done < 0 && went_wrong(self, frame) < 0) || (present = PyObject_GetAttr(outward, s_peer)) == NULL)
            goes_on = 0;
        else if (present != peer) { /* what stands behind belongs to a node link that is over */
            result = Py_None;
            Py_INCREF(result);
            goes_on = 0;
        }
        Py_XDECREF(present);
        Py_DECREF(frame);
    }
    if (goes_on) {
        result = Py_None;
        Py_INCREF(result);
    }
    Py_XDECREF(peer);
    Py_XDECREF(outward);
    return result;
}
