/* The compiled way of a plain frame: what nearly every frame of a node link goes through, in C.
 *
 *   send_at_once    NodeLink.send_at_once     put a frame into a batch of its own
 *   received        NodeLink.received         take a batch in, and return its frames
 *   send_encoded    Outward.send_encoded      have a frame leave, or gather
 *   flush           Outward.flush             have what has gathered leave
 *   _take_in_turn   Inward._take_in_turn      take in what has arrived, and answer
 *
 * Each has a twin of the same name in Python, at the place that is named above. As in the compiled core of actors
 * (actors/core/core.h), the twin says what the function does; the C does the frequent case of it, in the same order, on the
 * same objects. Whatever is not frequent is left to the twin, at a point from which the twin goes on as if it had
 * been called there: handles, chunks, a secret, a node link that makes up for losses, a rate, a full peer, and every batch with
 * something wrong in it. So this code refuses nothing by itself, and no error begins here.
 *
 * A batch comes from another program, which may be hostile. Its head is compared byte by byte, after its length. The frames in it
 * are decoded by the same decoder of msgspec as the twin's; no other byte of it is read here.
 *
 * The fields are slots, and are found as `.packaging/enfilade/twins.h` says, which also has the rules about references.
 */

#ifndef ENFILADE_TRANSPORT_CORE_H
#define ENFILADE_TRANSPORT_CORE_H

#include "twins.h"

#define FIELDS(field)                                                                                       \
    field(NodeLink, _aside) field(NodeLink, _bulk) field(NodeLink, _consumed) field(NodeLink, _expected)    \
    field(NodeLink, _gathered) field(NodeLink, _granted) field(NodeLink, _has_sent)                         \
    field(NodeLink, _is_sign_due) field(NodeLink, _largest) field(NodeLink, _peer_window)                   \
    field(NodeLink, _queued) field(NodeLink, _rate) field(NodeLink, _backlog) field(NodeLink, _seal)        \
    field(NodeLink, _sent) field(NodeLink, _sequence) field(NodeLink, _silent) field(NodeLink, _taken_in)   \
    field(NodeLink, _under_way) field(NodeLink, _window) field(NodeLink, frames_in)                         \
    field(NodeLink, frames_out)                                                                             \
    field(Outward, _link) field(Outward, _outlet) field(Outward, handover) field(Outward, is_crowded)       \
    field(Outward, _pause) field(Outward, pace)                                                                                  \
    field(Inward, _arrived) field(Inward, _assembly) field(Inward, _clock) field(Inward, _gathers)          \
    field(Inward, _hand_on) field(Inward, _heard) field(Inward, _is_handing_on)                             \
    field(Inward, _is_limited) field(Inward, _link) field(Inward, _outward) field(Inward, _parts)           \
    field(Inward, _peer) field(Inward, _turn)                                                               \
    field(Turn, frames)                                                                                     \
    field(Gathered, frames) field(Gathered, handles) field(Gathered, memory) field(Gathered, pieces)        \
    field(Gathered, size) field(Outgoing, data) field(Outgoing, handles)                                    \
    field(Arrival, credentials) field(Arrival, data) field(Arrival, handles)

FIELDS(DECLARE_FIELD)

#define OBJECTS(object)                                                                                     \
    object(NodeLink) object(Outward) object(Gathered) object(Outgoing) object(Arrival) object(CarrierError)           \
    object(send_at_once) object(received) object(send_encoded) object(flush) object(_take_in_turn)          \
    object(decode_frames) object(prompt) object(spoken) object(gathering) object(ready) object(calling)     \
    object(over) object(awaited) object(accepted) object(batch_limit) object(first_pause) object(most)        \
    object(seconds)

OBJECTS(DECLARE_OBJECT)

#define NAMES(name)                                                                                         \
    name(_answered) name(_await_answer) name(_broke) name(_enqueue) name(_gather) name(_take_in) name(answer) name(append) name(high_water) name(last) name(popleft) name(repeatable) name(start)

NAMES(DECLARE_NAME)

/* Read a count; false if the field has something else. */
static inline int count_in(PyObject *object, Py_ssize_t field, int64_t *count)
{
    PyObject *value = SLOT(object, field);
    if (value == NULL || !PyLong_CheckExact(value))
        return 0;
    *count = PyLong_AsLongLong(value);
    if (*count == -1 && PyErr_Occurred())
        PyErr_Clear();
    return *count >= 0;
}

/* Set a count; -1 for an error. */
static inline int set_count(PyObject *object, Py_ssize_t field, int64_t count)
{
    PyObject *value = PyLong_FromLongLong(count);
    if (value == NULL)
        return -1;
    set(object, field, value);
    Py_DECREF(value);
    return 0;
}

/* Tell whether a sequence has nothing in it; false for an error, which is dropped, too. */
static inline int is_empty(PyObject *sequence)
{
    Py_ssize_t size = sequence == NULL ? -1 : PyObject_Size(sequence);
    if (size < 0)
        PyErr_Clear();
    return size == 0;
}

/* Tell whether the peer should hear something: `NodeLink.has_to_speak`. 1 also if that cannot be told. */
static inline int has_to_speak(PyObject *link)
{
    int64_t queued, bulk, consumed, granted, window;
    return !count_in(link, NodeLink__queued, &queued) || !count_in(link, NodeLink__bulk, &bulk) ||
           !count_in(link, NodeLink__consumed, &consumed) || !count_in(link, NodeLink__granted, &granted) ||
           !count_in(link, NodeLink__window, &window) || queued > 0 || bulk > 0 || 2 * (consumed - granted) >= window;
}

/* The bytes of a batch that are not frames. */
#define OVERHEAD 28

PyObject *core_send_at_once(PyObject *self, PyObject *frame);
PyObject *core_received(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *core_send_encoded(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *core_flush(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *core_take_in_turn(PyObject *self, PyObject *nothing);

/* The frames of a batch that is the due one and has nothing beside it, and note that it was taken in. NULL without an error if the
 * twin is to look at it: then nothing was done. */
PyObject *take_in(PyObject *link, PyObject *data);

#endif
