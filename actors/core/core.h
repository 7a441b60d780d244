/* The compiled core: the functions that every message goes through, in C.
 *
 *   record_init     Record.__init__           make the record of a process
 *   make_body   make_body of start.py     start a sync actor
 *   conclude    conclude of end.py        end a process, part by part
 *   notify_end  notify_end of links.py    tell those that a process was linked to, and its watchers
 *   send        LocalRef.send             put a message into a mailbox
 *   put         Record.put                the same, of a message that is never refused
 *   cast        LocalRef.cast             the same, of a method and its arguments
 *   __hash__    LocalRef.__hash__         find a ref in a table
 *   __eq__      LocalRef.__eq__           tell whether two refs lead to the same process
 *   request_init    Request.__init__      make a call
 *   reply       Request.reply             settle a call
 *   request     Process.request           make a call without waiting for it
 *   defer       Process.defer             answer the call at hand later
 *   continue_with   Process.continue_with     run a function before the next message
 *   control_put     Record.control_put    have a process serve something between two messages
 *   interrupt   Record.interrupt          end a process by an exit signal
 *   ask         LocalRef.ask              make a call that can be answered on the spot
 *   hand_off    DispatchedBody.hand_off   run the handler of a call in the task of its caller
 *   run_group   Dispatcher.run_group      give up to 32 processes of the run queue a turn each
 *   turn        TaskTurn.turn             resume a task beside trio's loop
 *   step_with   Dispatcher.step_with      the same, of a task that waits for a message, and with one
 *   main        AsyncBody.main            handle the messages of an async actor
 *   count_misfits   MailboxSearch.count_misfits   pass by the messages that a receive does not want
 *   send_after  Process.send_after        set a timer that sends a message
 *   tell_watchers   tell_watchers of links.py   fire the monitors of a process that has ended
 *   cancel      Timer.cancel              cancel a timer
 *   fire_due    Timers.fire_due           fire the timers that are due
 *   take_in     Inbound.take_in           carry out frames of another node; `peers/choice.py` chooses it
 *   keep        Observation.keep          keep an event; `observing/choice.py` chooses it and these two
 *   child_terminated    Rare.child_terminated     note the end of a supervisor's child
 *   child_restarted     Rare.child_restarted      note that it was started again
 *
 * Each has a twin of the same name in Python, at the place that is named above. The twin says what the
 * function does; the C here does the frequent case of it, in the same order, on the same objects. Whatever is
 * not frequent (a mailbox with a bound, a task that waits for messages of some kind, keyword arguments) is left
 * to the twin, before anything has been done. So there is one set of classes, and either function may be used at any time.
 *
 * What C gains is in reading and writing the fields of these objects. `.packaging/enfilade/twins.h` says how it finds them,
 * and which rules hold about references. There is one node to a thread.
 */

#ifndef ENFILADE_CORE_H
#define ENFILADE_CORE_H

#include "twins.h"

/* What a class keeps in an object, and where: `bind` is told. */

#define FIELDS(field)                                                                                       \
    field(Process, actor) field(Process, at_hand) field(Process, attention) field(Process, awaited)         \
    field(Process, body) field(Process, callers) field(Process, control) field(Process, dispatcher)         \
    field(Process, ended) field(Process, exit_signal) field(Process, extras_or_none)                        \
    field(Process, handlers) field(Process, idle) field(Process, label) field(Process, limit)               \
    field(Process, links) field(Process, mailbox) field(Process, monitors) field(Process, name)             \
    field(Process, names) field(Process, node) field(Process, on_message) field(Process, owner)             \
    field(Process, queue) field(Process, reader) field(Process, ref) field(Process, restarting)             \
    field(Process, serial) field(Process, stopping) field(Process, suspended) field(Process, target)        \
    field(Process, trap_exits) field(Process, waiter) field(Process, wanted) field(Process, watchers)       \
    field(UnusedQueue, _process) field(ClosedQueue, _process) field(LocalRef, limit)                        \
    field(Extras, arena) field(Extras, context) field(Extras, emptied) field(Extras, heir)                                         \
    field(TaskTurn, dispatcher) field(TaskTurn, error) field(TaskTurn, task)                                \
    field(Dispatcher, _clock) field(Dispatcher, _renewed) field(Dispatcher, callers)                        \
    field(Dispatcher, counted) field(Dispatcher, depth) field(Dispatcher, entry) field(Dispatcher, handoffs) \
    field(Dispatcher, message) field(Dispatcher, own) field(Dispatcher, parked) field(Dispatcher, queue)    \
    field(Dispatcher, running)                                                                              \
    field(HandlerContext, base) field(HandlerContext, context) field(HandlerContext, run)                   \
    field(LocalRef, _process) field(DispatchedBody, process)                                                \
    field(Cast, args) field(Cast, kwargs) field(Cast, method)                                               \
    field(Request, args) field(Request, caller) field(Request, error) field(Request, kwargs)                \
    field(Request, method) field(Request, node) field(Request, observer) field(Request, settled)            \
    field(Request, target) field(Request, value) field(Request, waiter)                                     \
    field(Monitor, active) field(Monitor, alias) field(Monitor, number) field(Monitor, owner)              \
    field(Monitor, ref)                                                                                     \
    field(AsyncBody, _message) field(AsyncBody, actor) field(AsyncBody, process) field(AsyncBody, protocol) \
    field(AsyncBody, task) field(Extras, deferred) field(Extras, guard) field(Extras, idle) field(Extras, observers)               \
    field(Extras, room) field(Continuation, args) field(Continuation, fn) field(Deferred, _process) field(Deferred, request)          \
    field(Reader, _trap) field(Reader, skipped)              \
    field(SyncBody, at_hand) field(SyncBody, protocol)                                                      \
    field(MailboxSearch, kinds) field(MailboxSearch, likeness)                                              \
    field(Like, shape) field(Like, names) field(Like, values) field(Extras, timers)                         \
    field(Timer, active) field(Timer, after) field(Timer, args) field(Timer, before)                        \
    field(Timer, deadline) field(Timer, fn) field(Timer, owner) field(Timer, timers) field(Timer, to)       \
    field(Timers, dead) field(Timers, due) field(Timers, fired) field(Timers, heap) field(Timers, new)      \
    field(Timers, now) field(Timers, number) field(Timers, sorted) field(Timer, number)

/* The fields of trio's own classes, which `bind_trio` is told: only if it is as loop_bypass.py expects. */
#define TRIO_FIELDS(field)                                                                                  \
    field(Task, coro) field(Task, context) field(Task, custom_sleep_data) field(Task, _abort_func)          \
    field(Task, _cancel_points) field(Task, _cancel_status) field(Task, _child_nurseries)                   \
    field(Task, _next_send_fn) field(Task, _runner) \
    field(Task, _schedule_points) field(CancelStatus, effectively_cancelled) field(Runner, instruments)     \
    field(Runner, ki_pending) field(Runner, main_task)

/* The fields of the classes that node links have to do with, which `bind_peers` is told. */
#define PEER_FIELDS(field)                                                                                  \
    field(Inbound, _ledger) field(Inbound, _node) field(Inbound, _outward) field(Inbound, _passing)         \
    field(Inbound, _peer_name) field(Inbound, arrivals) field(RefPassing, granted) field(Granted, refs)     \
    field(Ledger, answering) field(Ledger, calls)                                                           \
    field(RemoteCall, _answer) field(RemoteCall, _to_tell) field(RemoteCall, args) field(RemoteCall, caller) \
    field(RemoteCall, given_up_by) field(RemoteCall, kwargs) field(RemoteCall, method)                      \
    field(RemoteCall, number) field(RemoteCall, peer) field(RemoteCall, settled) field(RemoteCall, size)    \
    field(RemoteCall, trace)                                                                                \
    field(TracedSend, files) field(TracedSend, payload) field(TracedSend, to) field(TracedSend, trace)      \
    field(TracedCall, caller) field(TracedCall, files) field(TracedCall, id) field(TracedCall, method)      \
    field(TracedCall, payload) field(TracedCall, to) field(TracedCall, trace)                               \
    field(Reply, files) field(Reply, id) field(Reply, payload) field(Reply, succeeded)

FIELDS(DECLARE_FIELD)
TRIO_FIELDS(DECLARE_FIELD)
PEER_FIELDS(DECLARE_FIELD)

/* Objects: what else `bind` is told, the classes, the twins, and the sets that they test. */

#define OBJECTS(object)                                                                                     \
    object(Process) object(Cast) object(Request) object(Down) object(LocalRef) object(Timer) object(Timers) \
    object(send) object(cast) object(put) object(__hash__) object(__eq__) object(hand_off) object(send_after) object(cancel)                            \
    object(with_headroom) object(getframe) object(heappop)                                                  \
    object(envelopes) object(plain) object(no_kwargs) object(handed_off) object(Reader)                     \
    object(TaskTurn) object(turn) object(step_with) object(slice_seconds) object(is_stepped) \
    object(record_init) object(request_init) object(reply) object(request) object(control_put) object(defer) object(continue_with) object(interrupt) \
    object(observer_failed) object(Deferred) object(Continuation) object(check_result)                       \
    object(Actor) object(Exited) object(SyncBody) object(leave_scopes) object(make_body)  \
    object(nothing_at_start) object(nothing_at_stop) object(protocol_of) object(refuse_replaced) object(refuse_shared) object(run_on_start) object(tell_linked) object(conclude) object(parts) object(need_room) object(notify_end) object(tell_watcher) object(telling_failed) object(watcher_failed) object(Monitor) object(UnusedQueue)                  \
    object(ClosedQueue) object(EmptyingBody) object(EndedProcess) object(ENDED) object(UNSTARTED)           \
    object(NO_NAMES) object(UNBOUNDED) object(LIMITLESS) object(CoroutineType) object(AsyncGeneratorType)   \
    object(NurseryLeft)                                                                                     \
    object(checkpoint) object(main) object(run_out) object(work) object(ask) object(Asked) object(AsyncBody) object(deepest) object(present)

#define TRIO_OBJECTS(object)                                                                                \
    object(Task) object(Wait) object(run_context) object(resumed) object(step) object(end_step) object(leave_step)       \
    object(has_headroom)

#define PEER_OBJECTS(object)                                                                                \
    object(take_in) object(RefPassing) object(Ledger) object(RemoteCall) object(TracedSend) object(TracedCall) \
    object(Reply) object(NIL) object(RuntimeFault) object(decode_plain)

#define EVENT_OBJECTS(object)                                                                               \
    object(keep) object(child_terminated) object(child_restarted) object(EMPTY) object(ChildTerminated)     \
    object(ChildRestarted)

OBJECTS(DECLARE_OBJECT)
TRIO_OBJECTS(DECLARE_OBJECT)
PEER_OBJECTS(DECLARE_OBJECT)
EVENT_OBJECTS(DECLARE_OBJECT)

/* Names of methods and attributes that are looked up as Python does. */

#define NAMES(name)                                                                                         \
    name(_decimal_context) name(_read) name(_size) name(_spaces) name(_was) name(actor) name(copy) name(__class__) name(__dict__) name(__init__) name(__new__) name(base) name(body_) name(contexts) name(exit_arrived) name(finish) name(handlers)  \
    name(is_async) name(keep_context) name(linked_ended) name(names) name(new) name(on_message) name(on_start) name(on_stop) name(stop) name(process) name(protocol_) name(wake) name(_attempt_delivery_of_any_pending_cancel) name(_attempt_delivery_of_pending_ki)      \
    name(_answer_stops) name(_fail_calls) name(_leave_arena) name(_release_extras) name(_release_failed)    \
    name(_release_names) name(_tell_starter) name(abort_func) name(answer) name(append) name(attend) name(begin) name(checked) name(close)    \
    name(count) name(observe) name(observed) name(survives) name(throw) name(trap) name(unwrap) name(value) \
    name(body) name(by_name) name(dispatcher) name(ended) name(call) name(concluded) name(data) name(deliver) name(fire) name(handle) name(forget_trap) name(groups) name(hooks) name(may_fit)              \
    name(not_used) name(on_down) name(overflowed) name(popleft) name(protocol) name(raised) name(ref)                 \
    name(_codec) name(_went_wrong) name(answering_bytes) name(begin_answer) name(decoding) name(fail) name(limits) name(peer) name(pending)  \
    name(pending_bytes) name(queues) name(reply) name(rights) name(send) name(tracer) name(traces)          \
    name(request_type) name(result) name(serve) name(signal_failed) name(process_ended) name(processes) name(put) name(ref_type) name(remove_dead) name(rest) name(run) name(sort_in) name(starting) name(step_failed) name(target_name) name(task) name(timers) name(turn) name(wake_at) \
    name(_ended) name(_keep) name(_kept) name(_now) name(_sinks) name(by) name(children) name(flags) name(intensity)     \
    name(kind) name(number) name(strategy)

NAMES(DECLARE_NAME)

/* What a deque does when it is asked to: its methods' own functions, which spares looking them up and calling
 * them as objects. Nearly every queue is a deque. */
extern PyTypeObject *deque_type;
extern PyCFunction deque_append, deque_popleft;

static inline int is_process(PyObject *object)
{
    return (PyObject *)Py_TYPE(object) == the_Process; /* not one that has ended: that is of another class */
}

static inline int is_record(PyObject *object)
{
    return PyType_IsSubtype(Py_TYPE(object), (PyTypeObject *)the_Process); /* also one that has ended */
}

static inline int is_task_turn(PyObject *object)
{
    PyTypeObject *kind = Py_TYPE(object);
    return (PyObject *)kind == the_Reader || PyType_IsSubtype(kind, (PyTypeObject *)the_TaskTurn);
}

static inline int is_true(PyObject *value)
{
    if (value == Py_False || value == Py_None)
        return 0;
    return value == Py_True ? 1 : PyObject_IsTrue(value);
}

static inline int append(PyObject *queue, PyObject *item)
{
    PyObject *done = Py_TYPE(queue) == deque_type ? deque_append(queue, item)
                                                  : PyObject_CallMethodObjArgs(queue, s_append, item, NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static inline PyObject *popleft(PyObject *queue)
{
    return Py_TYPE(queue) == deque_type ? deque_popleft(queue, NULL)
                                        : PyObject_CallMethodObjArgs(queue, s_popleft, NULL);
}

static inline PyObject *call(PyObject *fn, PyObject *one, PyObject *two)
{
    PyObject *args[] = {one, two};
    return PyObject_Vectorcall(fn, args, 2, NULL);
}

static inline PyObject *call_with_3(PyObject *fn, PyObject *one, PyObject *two, PyObject *three)
{
    PyObject *args[] = {one, two, three};
    return PyObject_Vectorcall(fn, args, 3, NULL);
}

/* Tell whether a class is in a table of classes. One whose metaclass has a hash of its own is in none, and its
 * code does not run. */
static inline int is_listed(PyObject *table, PyTypeObject *kind)
{
    PyTypeObject *meta = Py_TYPE((PyObject *)kind);
    if (meta != &PyType_Type && PyType_GetSlot(meta, Py_tp_hash) != PyType_GetSlot(&PyType_Type, Py_tp_hash))
        return 0;
    return PySet_Contains(table, (PyObject *)kind);
}

/* Tell whether a message is of one of Python's own types, which are no envelopes: the most frequent of them. */
static inline int is_builtin(PyObject *message)
{
    return message == Py_None || PyLong_CheckExact(message) || PyUnicode_CheckExact(message) ||
           PyTuple_CheckExact(message) || PyBytes_CheckExact(message);
}

static inline int is_plain(PyObject *result)
{
    return result == Py_None ? 1 : is_listed(the_plain, Py_TYPE(result));
}

/* A new object of a class of ours that takes nothing to be made of, without its `__init__`. */
PyObject *make(PyObject *kind);

/* A new object of a class of ours, without its `__init__`, whose `field` is `value`. */
PyObject *make_with(PyObject *kind, Py_ssize_t field, PyObject *value);

/* The task that is running, if the fields of tasks are known; NULL, without an error, if not. */
PyObject *present_task(void);

/* Take the error that is on its way, as an object with its traceback. */
PyObject *caught(void);

/* Send it on its way again, with the traceback that it has; takes the reference. */
void raise_again(PyObject *error);

/* Check that the stack has room for so many calls; -1 for an error, a RecursionError if it has not. */
static inline int enter_and_leave(int calls, const char *where)
{
    int entered = 0;
    while (entered < calls && Py_EnterRecursiveCall(where) == 0)
        entered++;
    for (int left = entered; left > 0; left--)
        Py_LeaveRecursiveCall();
    return entered == calls ? 0 : -1;
}

/* Resume the task of a `TaskTurn`; -1 for an error. */
int resume_task(PyObject *entry);

/* Tell whether tasks can be stepped: trio's fields are found, and its objects are there. */
int can_step(void);

/* Call `fn(actor, *args, **kwargs)`. */
PyObject *call_handler(PyObject *fn, PyObject *actor, PyObject *args, PyObject *kwargs);

/* A new call. */
PyObject *make_request(PyObject *node, PyObject *target, PyObject *method, PyObject *args, PyObject *kwargs,
                       PyObject *caller);

/* Arguments by position, as a tuple. */
PyObject *pack(PyObject *const *args, Py_ssize_t count);

/* The name by which the process is asked for a method, with a reference; NULL for an error, or without one if the twin
 * is to find it. */
PyObject *known_name(PyObject *process, PyObject *method);

/* Queue a message for the process, which no bound and no wish of its own keeps out: gives 1 when that is done, 0 when
 * the twin is to do it, -1 for an error. */
int put_always(PyObject *process, PyObject *message);

/* Queue a message for a process whose task waits, and resume that: `Dispatcher.step_with`; -1 for an error. */
int step_with(PyObject *dispatcher, PyObject *process, PyObject *message);

/* Call a function of end.py: an end, or a part of one. */
PyObject *call_part(PyObject *name, PyObject *one, PyObject *two, PyObject *three);

/* Have a call reach a living process without a bound, as `Record.deliver` does; -1 for an error. */
int deliver_call(PyObject *process, PyObject *call);

/* The functions. */
PyObject *core_keep(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *core_child_terminated(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *core_child_restarted(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *core_take_in(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *core_ask(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *core_main(PyObject *self, PyObject *nothing);
PyObject *core_send(PyObject *self, PyObject *message);
PyObject *core_cast(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *core_put(PyObject *self, PyObject *message);
PyObject *core_hash(PyObject *self, PyObject *nothing);
PyObject *core_eq(PyObject *self, PyObject *other);
PyObject *core_hand_off(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *core_run_group(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *core_request_init(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *core_reply(PyObject *self, PyObject *value);
PyObject *core_request(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *core_control_put(PyObject *self, PyObject *item);
PyObject *core_interrupt(PyObject *self, PyObject *reason);
PyObject *core_defer(PyObject *self, PyObject *nothing);
PyObject *core_continue_with(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *core_init(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *core_conclude(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *core_tell_watchers(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *core_notify_end(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *core_make_body(PyObject *module, PyObject *const *args, Py_ssize_t count);
PyObject *core_turn(PyObject *self, PyObject *budget);
PyObject *core_step_with(PyObject *self, PyObject *const *args, Py_ssize_t count);
PyObject *core_unbind_trio(PyObject *module, PyObject *nothing);
PyObject *bind_trio(PyObject *args);
PyObject *core_step(PyObject *module, PyObject *task);
PyObject *core_bind_trio(PyObject *module, PyObject *args);
PyObject *core_count_misfits(PyObject *self, PyObject *messages);
PyObject *core_send_after(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords);
PyObject *core_cancel(PyObject *self, PyObject *nothing);
PyObject *core_fire_due(PyObject *self, PyObject *nothing);

#endif
