"""The process record: what the runtime knows of a process, and what it does with it.

`Process` adds what a process's own code may do. A process is run by a *body*. A dispatched body (sync
actors, guests) is given turns by the dispatcher; a task body (async actors, async functions, ephemeral
mailboxes) has a trio task. The record is the same for both. It is small, because there may be a hundred
thousand of them: the fields that few processes use lie in `Extras`, which is allocated on first use.

Three fields carry the hot path. `queue` is the data lane, which decides itself what it lets in. `idle` says
that the body waits for something to do, so that the code that brings something must `wake` it. `attention`
says that a plain look at the data lane is not enough: the control lane holds something, an exit signal came,
a sender waits for room, or an observer wants to see every message. A body tests it before each message and
calls `DispatchedBody.attend`. A process that waits in `receive` for messages of some kind has in `wanted` the
test of those, and is woken by no others.

The control lane carries system messages (get the state, suspend, change code, stop): an item has
`serve(process)`, runs inside the process between two messages, and is never refused for lack of room.

The lanes and the extras are made for their first use. While one is made, the garbage collector may call a
finalizer that uses the same: so whether it is still missing is asked again before it is put in its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any, cast

import trio

from enfilade.actors.messages import signals
from enfilade.actors.messages.crash import reason_of
from enfilade.actors.messages.errors import RuntimeFault, SenderDropped
from enfilade.actors.messages.handle import Handle
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.loop_bypass import IS_AVAILABLE, check_headroom, has_headroom
from enfilade.actors.messages.reasons import KILLED, Kill, Killed, Normal, Reason, asked_by
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.request import Request
from enfilade.actors.messages.traced import bare, trace_of, using
from enfilade.actors.messages.wake import resume
from enfilade.actors.processes.body import UNSTARTED
from enfilade.actors.processes.control_lane import Control, StopRequest
from enfilade.actors.processes.links import Exited
from enfilade.actors.processes.mailbox import (
    LIMITLESS,
    NOTHING,
    BoundedQueue,
    Mailbox,
    UnusedQueue,
    is_kept,
    mailbox_full,
    oldest_droppable,
    put,
)
from enfilade.actors.processes.protocol import NO_NAMES
from enfilade.actors.processes.signal_arrivals import arrivals
from enfilade.actors.processes.steps import Step, step_failed

if TYPE_CHECKING:
    from enfilade.actors.messages.global_name import Global
    from enfilade.actors.node.node import Node
    from enfilade.actors.processes.body import Observer
    from enfilade.actors.processes.dispatcher import Dispatcher
    from enfilade.actors.processes.keyed_timers import IdleTimer, KeyedTimers
    from enfilade.actors.processes.links import Alias, Monitor, Watcher
    from enfilade.actors.processes.process import Process
    from enfilade.actors.processes.reader import Reader
    from enfilade.actors.processes.resumption import Failures
    from enfilade.actors.processes.timers import Timer

__all__ = ["Extras", "Record"]


class Extras:
    """Fields that few processes use; allocated on first use."""

    __slots__ = (
        "aliases",
        "arena",
        "context",
        "continuing",
        "deferred",
        "emptied",
        "exposed",
        "failures",
        "global_name",
        "groups",
        "guard",
        "heir",
        "idle",
        "is_traced",
        "keyed",
        "observers",
        "places",
        "room",
        "start_info",
        "stash",
        "stop_requests",
        "timers",
        "unhandled",
    )

    def __init__(self) -> None:
        self.aliases: dict[Alias[Any], None] = {}
        self.arena: dict[Process, None] | None = None
        self.context: Context | None = None
        self.deferred: dict[signals.Call, bool] = {}  # true: its deferred reply was dropped
        self.emptied: trio.Event | None = None
        self.exposed: tuple[Callable[[], Mapping[str, Any]], Callable[[Any], None]] | None = None
        self.failures: Failures | None = None
        self.global_name: Global | None = None
        self.groups: dict[tuple[str, Any], int] = {}
        self.guard: Callable[[], Reason | None] | None = None
        self.heir: deque[Any] | None = None
        self.idle: IdleTimer | None = None
        self.is_traced = False  # a message with the context of a trace may have come
        self.keyed: KeyedTimers | None = None
        self.observers: list[Observer] = []
        self.places = 0
        self.room: trio.lowlevel.ParkingLot | None = None
        self.stash: deque[Any] = deque()
        self.start_info: Any = None
        self.stop_requests: list[signals.Call] = []
        self.timers: Timer | None = None  # the latest of those that it owns; see there
        self.unhandled: Callable[[], list[Any]] | None = None


class Record(Handle):
    """The state of a process of this node, and the runtime's part in it.

    Every record is a `Process`: the two classes only keep apart what the runtime calls and what users call.
    A type checker cannot know that, so it is overruled wherever a method passes `self` on as a `Process`.
    """

    __slots__ = (
        "actor",
        "at_hand",
        "attention",
        "awaited",
        "body",
        "born",
        "callers",
        "control",
        "dispatcher",
        "ended",
        "exit_signal",
        "extras_or_none",
        "handlers",
        "idle",
        "label",
        "limit",
        "links",
        "mailbox",
        "monitors",
        "name",
        "names",
        "node",
        "on_message",
        "owner",
        "queue",
        "reader",
        "ref",
        "restarting",
        "serial",
        "stopping",
        "suspended",
        "target",
        "trap_exits",
        "waiter",
        "wanted",
        "watchers",
    )

    born: float  # on the clock of the node's trio run: set by `Node.new_process`, for both makers

    def __init__(self, node: Node, serial: int, parent: Process | None, mailbox: Mailbox) -> None:
        self.node = node
        self.dispatcher: Dispatcher = node.dispatcher
        self.serial = serial
        self.ref: Ref[Any] = node.ref_type(self)  # type: ignore[arg-type]
        self.queue: deque[Any] = UnusedQueue(self)  # type: ignore[assignment]
        self.mailbox = mailbox
        self.limit = LIMITLESS
        if mailbox.capacity is not None:
            self.bound(mailbox)
        self.idle = False
        self.attention: Any = False  # a bool; mypy must not take it for constant between two tests
        self.suspended = False
        self.restarting = False
        self.trap_exits = False
        self.target: Any = None
        self.actor: Any = None
        self.on_message: Any = None
        self.handlers: Any = None
        self.names = NO_NAMES
        self.body: Any = UNSTARTED
        self.control: deque[Control] | None = None
        self.reader: Reader | None = None
        self.waiter: trio.lowlevel.Task | None = None
        self.wanted: Callable[[Any], bool] | None = None
        self.at_hand: signals.Call | None = None
        self.awaited: Request[Any] | None = None
        self.exit_signal: Reason | None = None
        self.stopping: Reason | None = None
        self.ended: Reason | None = None
        self.links: dict[Ref[Any], int] | None = None
        self.monitors: dict[int, Monitor] | None = None
        self.watchers: dict[Watcher, None] | None = None
        self.extras_or_none: Extras | None = None
        self.name: str | None = None
        self.label: str | None = None
        self.callers: tuple[Ref[Any], ...] = ()
        self.owner: Process | None = None
        if parent is not None:
            self.callers = (parent.ref, *parent.callers[:15])
            extras = parent.extras_or_none
            self.owner = parent.owner if extras is None or extras.arena is None else parent

    def __repr__(self) -> str:
        return f"<Process {self.ref}>"

    @property
    def parent(self) -> Ref[Any]:
        return self.callers[0] if self.callers else self.node.ref

    def is_parent(self, sender: Ref[Any]) -> bool:
        """Return true when an exit signal of `sender` is the parent's, or the node's on its behalf."""
        return sender is self.node.ref or sender == self.parent

    def extras(self) -> Extras:
        """Return the extras, allocated now on first use."""
        if self.extras_or_none is None:
            made = Extras()
            if self.extras_or_none is None:
                self.extras_or_none = made
        return self.extras_or_none

    def bound(self, mailbox: Mailbox) -> None:
        """Give the mailbox its bound: `mailbox` has a capacity."""
        assert mailbox.capacity is not None
        made = BoundedQueue(self)
        waiting, self.queue = self.queue, made
        if waiting:
            self.queue.extend(waiting)
        self.mailbox = mailbox
        self.limit = mailbox.capacity

    def open_queue(self) -> deque[Any]:
        """Return the data lane, which is about to be used: a deque from now on."""
        queue: Any = self.queue
        if type(queue) is UnusedQueue:
            made: deque[Any] = deque()
            now: Any = self.queue
            if now is queue:
                now = self.queue = made
            queue = now
        return queue  # type: ignore[no-any-return]

    def reckon_limit(self) -> None:
        """Reckon how many messages the queue may hold: the capacity, less what is put aside or kept free."""
        capacity, extras = self.mailbox.capacity, self.extras_or_none
        if capacity is not None:
            aside = 0 if self.reader is None else len(self.reader.aside)
            self.limit = max(0, capacity - aside - (0 if extras is None else extras.places))

    def has_unseen(self) -> bool:
        """Tell whether the queue holds a message that its reader has not looked at."""
        reader = self.reader
        if reader is None:
            return bool(self.queue)
        return len(self.queue) > reader.skipped - len(reader.aside)

    # Arrivals.

    def wake(self) -> None:
        """Have the idle process run: something to do is about to be queued. A failure changes nothing."""
        waiter, reader = self.waiter, self.reader
        if waiter is None or (IS_AVAILABLE and reader is not None and reader.task is None):
            dispatcher = self.dispatcher
            if dispatcher.parked is not None:
                self.idle = True
                dispatcher.unpark()
                if not self.idle:  # a finalizer has sent something meanwhile
                    return
            self.idle = False
            if waiter is None:
                dispatcher.queue.append(self)
            else:
                assert reader is not None
                reader.task, self.waiter = waiter, None
                dispatcher.queue.append(reader)
            return
        self.waiter = None
        self.idle = False
        try:
            resume(waiter)
        except BaseException:
            self.waiter = waiter
            self.idle = True
            raise

    def turn(self, budget: int) -> bool:
        """Have the body take a turn, in the context of the process if it has one of its own."""
        extras = self.extras_or_none
        if extras is None or extras.context is None:
            return self.body.turn(budget)  # type: ignore[no-any-return]
        return extras.context.run(self.body.turn, budget)  # type: ignore[no-any-return]

    def release(self) -> None:
        """Leave the run queue of a dispatcher that is over: the process is, too."""

    def turn_failed(self, error: BaseException) -> None:
        """End, because a turn has raised `error`."""
        self.body.exit(reason_of(error))
        self.node.finish(self, reason_of(error), error)  # type: ignore[arg-type]

    def put(self, message: Any) -> None:
        """Queue `message` whether there is room or not: replies and runtime messages are never refused."""
        if self.ended is not None and not is_kept(self):
            self.queue.append(message)
            return
        if self.idle and (self.wanted is None or self.wanted(message)):
            self.wake()
        queue: Any = self.queue
        put(self.open_queue() if type(queue) is UnusedQueue else queue, message)

    def control_put(self, item: Control) -> None:
        """Put `item` on the control lane, to inspect or steer the process. Not a checkpoint."""
        if self.ended is not None:
            return
        if self.control is None:
            made: deque[Control] = deque()
            if self.control is None:
                self.control = made
        self.attention = True
        if self.idle:
            self.wake()
        self.control.append(item)

    def deliver(self, signal: signals.Signal) -> None:
        """Do what `signal`, which has reached this process, asks for."""
        arrived = arrivals[type(signal)]
        try:
            arrived(self, signal)
        except BaseException as error:
            self.signal_failed(error, signal)

    def take_call(self, call: signals.Call) -> None:
        """Queue a call that is no order, as `deliver` does when there is room."""
        try:
            self.put(call)
        except BaseException as error:
            self.signal_failed(error, call)

    def signal_failed(self, error: BaseException, signal: object = None) -> None:
        """End, because `signal`, which has reached this process, raised `error`; if it is a call, it fails.

        Raises:
            RuntimeFault: `error` itself, the sender's affair: it uses another thread than that of the node.
            RecursionError: as well, of a sender that has filled the stack.
        """
        if is_a(error, RuntimeFault) or (is_a(error, RecursionError) and not has_headroom()):
            raise error
        step_failed(self, "signal", error)
        if is_a(signal, signals.Call) and not signal.settled:
            signal.abandon(self.ended or self.exit_signal or reason_of(error))

    def exit_arrived(self, sender: Ref[Any], reason: Reason, linked: bool) -> None:
        """Turn an exit signal into a message, an order to stop, or the end, or ignore it."""
        if not linked:
            if type(reason) is Kill:
                self.interrupt(asked_by(KILLED, sender))
                return
            reason = asked_by(reason, sender)
        if self.trap_exits:
            if self.suspended and self.is_parent(sender) and not self.body.is_plain:
                self.control_put(StopRequest(reason))  # a suspended process still ends with its parent
            else:
                self.put(Exited(sender, reason))
        elif type(reason) is Normal and sender != self.ref:
            return
        else:
            self.interrupt(reason)

    def interrupt(self, reason: Reason) -> None:
        """End with `reason`, of an exit signal that is not trapped, between messages or in a wait.

        Raises:
            RecursionError: the stack of the sender has no room for that; nothing has been done.
        """
        if self.ended is not None:
            return
        check_headroom()
        # A body with a task may linger in its cleanup: a kill ends that too. Others die of the first signal.
        if self.exit_signal is None or (
            self.reader is not None and type(reason) is Killed and type(self.exit_signal) is not Killed
        ):
            self.exit_signal = reason
            self.attention = True
            self.body.exit(reason)
            if self.idle:
                self.wake()

    def guard_by(self, guard: Callable[[], Reason | None]) -> None:
        """Have the process end before its next turn when `guard` returns a reason."""
        self.extras().guard = guard
        self.attention = True

    def unhandled_by(self, fn: Callable[[], list[Any]]) -> None:
        """Have `fn` return, at the end of the process, the messages that it has taken and not handled, oldest
        first: what becomes of them is what becomes of those that are in the mailbox then.
        """
        self.extras().unhandled = fn

    def check_guard(self) -> None:
        """End, if the guard of the process says so. Called where a turn begins that needs attention."""
        extras = self.extras_or_none
        if extras is not None and extras.guard is not None and self.ended is None:
            reason = extras.guard()
            if reason is not None:
                self.interrupt(reason)

    def passes_guard(self) -> bool:
        """Tell whether nothing but the guard wants attention, and it lets the process go on."""
        extras = self.extras_or_none
        return (
            extras is not None
            and extras.guard is not None
            and extras.context is None
            and extras.room is None
            and not (extras.observers or extras.idle or self.control or self.suspended)
            and not (self.exit_signal or self.stopping or self.ended)
            and extras.guard() is None
        )

    def hand_off(self, handler: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Have the body run a call's handler in the caller's task, after the guard has been asked."""
        self.attention = False
        try:
            return self.body.hand_off(handler, args, kwargs)
        finally:
            self.attention = True

    def fail_in(self, step: Step, error: BaseException) -> None:
        """End, because `step`, which was taken for this process, raised `error`."""
        step_failed(self, step, error)

    def keep_context(self, context: Context) -> None:
        """Run in `context` from now on, which this process has changed.

        The handlers of other processes share a copy of the node's context, as long as none of them sets a
        variable in it. A process with a context of its own always needs attention.
        """
        extras = self.extras()
        if extras.context is None:
            extras.context = context
            self.attention = True
            if self.idle:
                self.wake()

    # What the body does between messages.

    def settle(self) -> None:
        """Note that the control lane was served: let senders in, and decide if attention is still needed."""
        extras = self.extras_or_none
        watched = False
        if extras is not None:
            watched = bool(extras.observers or extras.idle or extras.guard) or extras.context is not None
            if extras.room is not None:
                if extras.room:
                    watched = True
                    extras.room.unpark(count=max(0, self.limit - len(self.queue)))
                else:
                    extras.room = None
        ending = self.exit_signal is not None or self.stopping is not None
        self.attention = watched or bool(self.control) or self.suspended or ending

    def observe(self, message: Any) -> None:
        """Show `message`, taken while attention is needed, to the observers, disarm the idle timer, and count
        the message, if messages are counted.
        """
        if self.dispatcher.counted is not None:
            self.dispatcher.count(self, 1)  # type: ignore[arg-type]
        extras = self.extras_or_none
        if extras is not None:
            shown = bare(message)
            if extras.idle:
                extras.idle.taken(shown)
            if shown is message:
                for observer in extras.observers:
                    observer.received(self, shown)  # type: ignore[arg-type]
            elif extras.observers:
                with using(trace_of(message)):
                    for observer in extras.observers:
                        observer.received(self, shown)  # type: ignore[arg-type]

    def observed(self, message: Any) -> None:
        """Tell the observers that `message` was handled."""
        if self.extras_or_none is not None:
            message = bare(message)
            for observer in self.extras_or_none.observers:
                observer.handled(self, message)  # type: ignore[arg-type]

    # The mailbox.

    def room(self) -> trio.lowlevel.ParkingLot:
        """Return the place where senders wait for room."""
        extras = self.extras()
        if extras.room is None:
            extras.room = trio.lowlevel.ParkingLot()
        self.attention = True
        return extras.room

    def drop_oldest(self) -> Any:
        """Drop the oldest message that may be dropped, and return it; `NOTHING` if there is none."""
        if self.reader is not None:
            oldest = self.reader.drop_oldest()
        else:
            position = oldest_droppable(self.queue)
            oldest = NOTHING if position < 0 else cast(BoundedQueue, self.queue).drop(position)
        if issubclass(type(oldest), signals.Call):
            oldest.fail(mailbox_full(self))
        return oldest

    def put_first(self, message: Any) -> None:
        """Put `message` before all others, in the place of one that was dropped."""
        self.queue.appendleft(message) if self.reader is None else self.reader.put_first(message)

    def remove_message(self, unwanted: Callable[[Any], bool]) -> None:
        """Remove the messages that match `unwanted` from the mailbox."""
        if self.ended is not None:
            return
        if self.reader is not None:
            self.reader.restore()
        kept = [message for message in self.queue if not unwanted(message)]
        self.queue.clear()
        self.queue.extend(kept)

    # Deferred replies, and aliases.

    def take_over(self, call: signals.Call) -> None:
        """Answer for `call`, which the process's own code took out of the mailbox: it fails at the end."""
        deferred = self.extras().deferred
        if len(deferred) > 16:
            self.forget_settled()
        deferred[call] = False

    def forget_settled(self) -> None:
        """Forget the calls that were taken over and are answered."""
        deferred = self.extras().deferred
        for settled in [owed for owed in deferred if owed.settled]:
            del deferred[settled]

    def settle_deferred(self, request: signals.Call) -> bool:
        """Note that `request` is being answered; return false when its answer was not outstanding."""
        extras = self.extras_or_none
        if extras is None or request not in extras.deferred:
            return False
        del extras.deferred[request]
        return True

    def note_dropped(self, request: signals.Call) -> None:
        """Note that nobody holds the deferred reply to `request` any more.

        May be called in any thread, and by Python's garbage collector at any line.
        """
        extras = self.extras_or_none
        if extras is None or request not in extras.deferred:
            return
        extras.deferred[request] = True
        with suppress(trio.RunFinishedError):
            self.node.token.run_sync_soon(self._dropped, request)

    def _dropped(self, request: signals.Call) -> None:
        try:
            if self.settle_deferred(request) and not request.settled:
                request.fail(SenderDropped(self.ref))
        except BaseException as error:
            step_failed(self, "finalizer", error)

    def was_dropped(self, request: signals.Call) -> bool:
        """Return true when the answer to `request` was deferred, and the deferred reply dropped."""
        extras = self.extras_or_none
        return extras is not None and extras.deferred.get(request, False)

    def has_deferred(self, request: signals.Call) -> bool:
        """Return true when the answer to `request` was deferred and is outstanding."""
        extras = self.extras_or_none
        return extras is not None and request in extras.deferred

    def forget_alias(self, alias: Alias[Any]) -> None:
        """Deactivate `alias`."""
        alias.active = False
        alias.monitor = None  # which holds the alias, too
        if self.extras_or_none is not None:
            self.extras_or_none.aliases.pop(alias, None)
