"""The process record: identity, mailbox, links, monitors, exit reason.

A process is run by a *body*. A dispatched body (sync actors, guests) is given turns by the dispatcher; a
task body (async actors, async functions, ephemeral mailboxes) has a trio task. The record is the same for
both, small because there may be a hundred thousand of it: what few processes need lies in `Rare`, made on
first use.

Three fields carry the hot path. `queue` is the data lane, which decides itself what it lets in. `idle` says
that the body waits for something to do, so that whoever brings something must `wake` it. `attention` says
that a plain look at the data lane is not enough: the control lane holds something, an exit signal came,
somebody waits for room, or an observer wants to see every message. A body tests it before each message and
calls `DispatchedBody.attend`.

The control lane is where system messages go (get the state, suspend, change code, stop): an item has
`serve(process)`, is run inside the process between two messages, and is never refused for want of room.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, overload

import trio

from enfilade.actors.messages import signals
from enfilade.actors.messages.errors import StashOverflow
from enfilade.actors.messages.methods import method_name
from enfilade.actors.messages.reasons import KILL, KILLED, NORMAL, Reason, checked
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.request import Deferred, Request
from enfilade.actors.messages.wake import resume
from enfilade.actors.processes import links
from enfilade.actors.processes.actor import Actor
from enfilade.actors.processes.arrivals import arrivals
from enfilade.actors.processes.body import UNSTARTED
from enfilade.actors.processes.control_lane import Continuation, Control, StopRequest
from enfilade.actors.processes.keyed_timers import IdleTimer, KeyedTimers
from enfilade.actors.processes.local_ref import LocalRef
from enfilade.actors.processes.mailbox import LIMITLESS, BoundedQueue, Mailbox, mailbox_full, put
from enfilade.actors.processes.record import Rare

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.node.timers import Timer
    from enfilade.actors.processes.dispatcher import Dispatcher
    from enfilade.actors.processes.links import Alias, AliasMode, Monitor
    from enfilade.actors.processes.reader import Reader

__all__ = ["Process"]

A = TypeVar("A")
P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M")
T = TypeVar("T", bound=Actor)


class Process:
    """A process of this node, as its own code sees it.

    The methods are for the process itself: an actor's `self.process`, the `me` of a function process or of
    `node.mailbox()`. Others hold its `ref`.

    Attributes:
        node: the node that it lives on.
        ref: its handle.
        serial: its number on the node.
        name: the name it is registered under; None.
        label: a free text for people who look at the system.
        parent: the process that spawned it; the node's own ref when plain code did.
        callers: the spawner, the spawner's spawner and so on, nearest first, at most 16.
        trap_exits: whether exit signals arrive as `Exited` messages instead of ending it.
        ended: the exit reason once it has ended.
    """

    __slots__ = (
        "actor",
        "at_hand",
        "attention",
        "awaited",
        "body",
        "callers",
        "control",
        "dispatcher",
        "ended",
        "exit_signal",
        "handlers",
        "idle",
        "label",
        "limit",
        "links",
        "mailbox",
        "monitors",
        "name",
        "node",
        "on_message",
        "owner",
        "queue",
        "rare",
        "reader",
        "ref",
        "restarting",
        "serial",
        "stopping",
        "suspended",
        "trap_exits",
        "waiter",
        "watchers",
    )

    def __init__(self, node: Node, serial: int, parent: Process | None, mailbox: Mailbox) -> None:
        self.node = node
        self.dispatcher: Dispatcher = node.dispatcher
        self.serial = serial
        self.ref: Ref[Any] = LocalRef(self)
        self.queue: deque[Any] = deque()
        self.mailbox = mailbox
        self.limit = LIMITLESS
        if mailbox.capacity is not None:
            self.bound(mailbox)
        self.idle = False
        self.attention: Any = False  # a bool; mypy must not take it for constant between two tests
        self.suspended = False
        self.restarting = False
        self.trap_exits = False
        self.actor: Any = None
        self.on_message: Any = None
        self.handlers: Any = None
        self.body: Any = UNSTARTED
        self.control: deque[Control] | None = None
        self.reader: Reader | None = None
        self.waiter: trio.lowlevel.Task | None = None
        self.at_hand: signals.Call | None = None
        self.awaited: Request[Any] | None = None
        self.exit_signal: Reason | None = None
        self.stopping: Reason | None = None
        self.ended: Reason | None = None
        self.links: dict[Ref[Any], int] | None = None
        self.monitors: dict[int, Monitor] | None = None
        self.watchers: dict[tuple[Ref[Any], int], None] | None = None
        self.rare: Rare | None = None
        self.name: str | None = None
        self.label: str | None = None
        self.callers: tuple[Ref[Any], ...] = ()
        self.owner: Process | None = None
        if parent is not None:
            self.callers = (parent.ref, *parent.callers[:15])
            self.owner = parent if parent.rare is not None and parent.rare.arena is not None else parent.owner

    def __repr__(self) -> str:
        return f"<Process {self.ref}>"

    @property
    def parent(self) -> Ref[Any]:
        return self.callers[0] if self.callers else self.node.ref

    def is_parent(self, sender: Ref[Any]) -> bool:
        """Whether an exit of `sender` is the parent's, or the node's on its behalf."""
        return sender is self.node.ref or sender == self.parent

    def needs(self) -> Rare:
        """The rare part, made now if need be."""
        if self.rare is None:
            self.rare = Rare()
        return self.rare

    def bound(self, mailbox: Mailbox) -> None:
        """Give the mailbox its bound: `mailbox` has a capacity."""
        assert mailbox.capacity is not None
        waiting, self.queue = self.queue, BoundedQueue(self)
        self.queue.extend(waiting)
        self.mailbox = mailbox
        self.limit = mailbox.capacity

    # What arrives.

    def wake(self) -> None:
        """The process is idle and is about to be given something to do. What fails here changes nothing."""
        waiter = self.waiter
        if waiter is None:
            dispatcher = self.dispatcher
            if dispatcher.parked is not None:
                dispatcher.unpark()
            dispatcher.queue.append(self)
        else:
            resume(waiter)
            self.waiter = None
        self.idle = False

    def put(self, message: Any) -> None:
        """Queue `message` whether there is room or not: replies and runtime messages are never refused."""
        if self.ended is not None:
            self.queue.append(message)
            return
        if self.idle:
            self.wake()
        put(self.queue, message)

    def control_put(self, item: Control) -> None:
        """Put `item` on the control lane. What others use to inspect and steer a process; not a
        checkpoint.
        """
        if self.ended is not None:
            return
        if self.control is None:
            self.control = deque()
        self.control.append(item)
        self.attention = True
        if self.idle:
            self.wake()

    def deliver(self, signal: signals.Signal) -> None:
        """A signal reached this process."""
        arrivals[type(signal)](self, signal)

    def interrupt(self, reason: Reason) -> None:
        """An exit signal that is not trapped: end with `reason`, between two messages or in the middle of a
        wait.
        """
        if self.ended is not None:
            return
        # What has a task may linger in its cleanup: a kill ends that too. All others die of the first signal.
        if self.exit_signal is None or (self.reader is not None and self.exit_signal != KILLED == reason):
            self.exit_signal = reason
            self.attention = True
            self.body.exit(reason)
            if self.idle:
                self.wake()

    # What the body does between messages.

    def settle(self) -> None:
        """Whether attention is still needed, now that everything was attended to; lets senders in."""
        rare = self.rare
        watched = False
        if rare is not None:
            watched = bool(rare.observers) or bool(rare.idle)
            if rare.room is not None:
                if rare.room:
                    watched = True
                    rare.room.unpark(count=max(0, self.limit - len(self.queue)))
                else:
                    rare.room = None
        ending = self.exit_signal is not None or self.stopping is not None
        self.attention = watched or bool(self.control) or self.suspended or ending

    def observe(self, message: Any) -> None:
        """A message was taken while attention is needed: tell the observers, disarm the idle timer."""
        rare = self.rare
        if rare is not None:
            if rare.idle:
                rare.idle.taken(message)
            for observer in rare.observers:
                observer.received(self, message)

    def observed(self, message: Any) -> None:
        """The message was handled: tell the observers."""
        if self.rare is not None:
            for observer in self.rare.observers:
                observer.handled(self, message)

    def room(self) -> trio.lowlevel.ParkingLot:
        """Where senders wait for room."""
        rare = self.needs()
        if rare.room is None:
            rare.room = trio.lowlevel.ParkingLot()
        self.attention = True
        return rare.room

    def drop_oldest(self) -> Any:
        """Make room for one message: drop the oldest, and return it."""
        oldest = self.reader.drop_oldest() if self.reader is not None else self.queue.popleft()
        if isinstance(oldest, signals.Call):
            oldest.fail(mailbox_full(self))
        return oldest

    def put_first(self, message: Any) -> None:
        """Put `message` before all others, into the place of one that was dropped."""
        self.queue.appendleft(message) if self.reader is None else self.reader.put_first(message)

    # Messages.

    @overload
    async def receive(self, match: type[M], timeout: float = ...) -> M: ...

    @overload
    async def receive(
        self, match: Callable[[Any], bool] | tuple[type, ...] | None = None, timeout: float = ...
    ) -> Any: ...

    def receive(self, match: Any = None, timeout: float = float("inf")) -> Coroutine[Any, Any, Any]:
        """Take the oldest message that matches; the others keep their places.

        A checkpoint when it has to wait, and every so often when not; cancelled, no message is lost. The
        runtime remembers what a `match` has rejected, so waiting again with the same one looks at new
        messages only: pass the same function object, not a new lambda each time, when many messages wait.

        Args:
            match: a type, a tuple of types, a predicate; None for any message.
            timeout: seconds; 0 polls.

        Raises:
            ReceiveTimeout: nothing came in time.
            TypeError: `match` is none of these.
            RuntimeError: the process is a sync actor, which has no task to wait in.
        """
        if self.reader is None:
            raise RuntimeError(f"{self.ref} is a sync actor: its messages come to on_message")
        return self.reader.receive(match, timeout)  # a coroutine of its own would cost an eighth more

    @overload
    def request(
        self,
        ref: Ref[A],
        method: Callable[Concatenate[A, P], Coroutine[Any, Any, Deferred[R]]],
        /,
        *a: P.args,
        **k: P.kwargs,
    ) -> Request[R]: ...

    @overload
    def request(
        self,
        ref: Ref[A],
        method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]],
        /,
        *a: P.args,
        **k: P.kwargs,
    ) -> Request[R]: ...

    @overload
    def request(
        self, ref: Ref[A], method: Callable[Concatenate[A, P], Deferred[R]], /, *a: P.args, **k: P.kwargs
    ) -> Request[R]: ...

    @overload
    def request(
        self, ref: Ref[A], method: Callable[Concatenate[A, P], R], /, *a: P.args, **k: P.kwargs
    ) -> Request[R]: ...

    def request(self, ref: Ref[Any], method: Any, /, *args: Any, **kwargs: Any) -> Request[Any]:
        """Call without waiting: `await request.receive()`, or `request.then(fn)`, has the reply. Not a
        checkpoint.

        Raises:
            NotPublic: `method` is not a public method.
        """
        request: Request[Any] = Request(self.node, ref, method_name(method), args, kwargs, self)
        ref.deliver(request)
        return request

    def defer(self) -> Deferred[Any]:
        """Answer the call at hand later: return what this returns. Not a checkpoint.

        Raises:
            RuntimeError: no call is being handled, or it is answered already.
        """
        deferred = self.defer_if_called()
        if deferred is None:
            raise RuntimeError("there is no unanswered call at hand to defer")
        return deferred

    def defer_if_called(self) -> Deferred[Any] | None:
        """As `defer`, but None where that raises: when a cast is being handled, say. Not a checkpoint."""
        request = self.at_hand
        if request is signals.HANDED_OFF:
            request = self.body.handed_off()
        if request is None or request.settled or (self.rare is not None and request in self.rare.deferred):
            return None
        self.needs().deferred[request] = None
        return Deferred(self, request)

    def refuse(self, error: Exception) -> Deferred[Any] | None:
        """Answer the call at hand with `error` and live on: return what this returns. Not a checkpoint.

        The caller's `call` raises `error`. Nobody waits for the outcome of a cast: its refusal is logged.
        """
        deferred = self.defer_if_called()
        if deferred is None:
            self.node.reports.refused(self, error)
        else:
            deferred.fail(error)
        return deferred

    def owe(self, call: signals.Call) -> None:
        """The process's own code took `call` out of the mailbox: should it end first, the call fails."""
        deferred = self.needs().deferred
        if len(deferred) > 16:
            for settled in [owed for owed in deferred if owed.settled]:
                del deferred[settled]
        deferred[call] = None

    def undefer(self, request: signals.Call) -> bool:
        """The deferred call is being answered; whether this process still owed the answer."""
        rare = self.rare
        if rare is None or request not in rare.deferred:
            return False
        del rare.deferred[request]
        return True

    def continue_with(self, fn: Callable[..., Any], *args: Any) -> None:
        """Run `fn(*args)` in this process before its next message. Not a checkpoint.

        From `on_start`: the start is acknowledged first, so a long initialisation need not hold up the
        starter, and nothing that was queued meanwhile overtakes it. Source: `gen_server`'s `{continue,
        Term}`.
        """
        self.control_put(Continuation(fn, args))

    def stop(self, reason: Reason = NORMAL) -> None:
        """End this actor with `reason` after the message at hand: `on_stop` runs first, then its reply is
        sent.
        """
        if self.stopping is None:
            self.stopping = checked(reason)
            self.attention = True

    def stash(self, message: Any, capacity: int | None = None) -> None:
        """Put a message aside until `unstash`. Not a checkpoint.

        Args:
            message: what was received.
            capacity: how many the stash holds; None for any number.

        Raises:
            StashOverflow: it holds that many.
        """
        rare = self.needs()
        if capacity is not None and len(rare.stash) >= capacity:
            raise StashOverflow(capacity)
        rare.stash.append(message)

    def unstash(self) -> int:
        """Put the stashed messages back to the front of the mailbox, in order; how many. Not a checkpoint."""
        rare = self.rare
        if rare is None or not rare.stash:
            return 0
        if self.reader is not None:
            self.reader.restore()
        stash, rare.stash = rare.stash, deque()
        self.queue.extendleft(reversed(stash))
        return len(stash)

    # Links and monitors.

    def link(self, ref: Ref[Any]) -> None:
        """Link this process and another, once. Not a checkpoint.

        Raises:
            NoProcess: the other has ended, and this one does not trap exits; if it does, it gets `Exited`.
        """
        links.link(self, ref)

    def unlink(self, ref: Ref[Any]) -> None:
        """Take the link down: no exit signal comes over it any more; a queued `Exited` stays. Not a
        checkpoint.
        """
        links.unlink(self, ref)

    def monitor(self, target: Ref[Any] | str, *, alias: AliasMode | None = None, tag: Any = None) -> Monitor:
        """Be sent `Down` once when `target` ends; at once, with `NO_PROCESS`, when it does not exist.

        Not a checkpoint. Source: `erlang:monitor/3`.

        Args:
            target: a ref; or a name, which is looked up now.
            alias: also make an alias of this mode, `monitor.alias`.
            tag: any value, found again as `down.monitor.tag`.
        """
        return links.monitor(self, target, alias, tag)

    def demonitor(self, monitor: Monitor, flush: bool = False) -> bool:
        """Take a monitor down; whether it was still up. Not a checkpoint.

        A `Down` that is queued already stays, unless `flush` removes that too.

        Raises:
            NotOwner: another process set it up.
        """
        return links.demonitor(self, monitor, flush)

    def forget_alias(self, alias: Alias[Any]) -> None:
        """`alias` works no more."""
        alias.active = False
        if self.rare is not None:
            self.rare.aliases.pop(alias, None)

    def remove_message(self, unwanted: Callable[[Any], bool]) -> None:
        """Take matching messages out of the mailbox."""
        if self.ended is not None:
            return
        if self.reader is not None:
            self.reader.restore()
        kept = [message for message in self.queue if not unwanted(message)]
        self.queue.clear()
        self.queue.extend(kept)

    def alias(self, mode: AliasMode = "explicit") -> Alias[Any]:
        """Make another handle for this process, which can be taken back. Not a checkpoint. Source:
        `erlang:alias/1`.
        """
        return links.alias(self, mode)

    def unalias(self, alias: Alias[Any]) -> bool:
        """Take `alias` back: what is sent to it from now on vanishes; whether it was still good.

        Raises:
            NotOwner: another process made it.
        """
        return links.unalias(self, alias)

    def exit(self, ref: Ref[Any], reason: Reason) -> None:
        """Send an exit signal; `KILL` cannot be trapped. Not a checkpoint. Source: `erlang:exit/2`."""
        ref.deliver(signals.Exit(self.ref, checked(reason), linked=False))

    def exit_arrived(self, sender: Ref[Any], reason: Reason, linked: bool) -> None:
        """Decide what an exit signal does."""
        if not linked and (reason is KILL or reason == KILL):
            self.interrupt(KILLED)
        elif self.trap_exits:
            if self.suspended and self.is_parent(sender) and not self.body.is_plain:
                self.control_put(StopRequest(reason))  # a suspended process still ends with its parent
            else:
                self.put(links.Exited(sender, reason))
        elif reason == NORMAL and sender != self.ref:
            return
        else:
            self.interrupt(reason)

    # Timers.

    @property
    def timers(self) -> KeyedTimers:
        """This process's timers by key."""
        rare = self.needs()
        if rare.keyed is None:
            rare.keyed = KeyedTimers(self)
        return rare.keyed

    def send_after(self, seconds: float, destination: Ref[Any], message: Any) -> Timer:
        """Send `message` to `destination` in `seconds`, unless cancelled or this process ends first.

        A name is looked up when the timer fires. Not a checkpoint.
        """
        return self.node.timers.send_after(seconds, destination, message, self)

    def timeout_after(self, seconds: float) -> None:
        """Have `on_message` called with `IdleTimeout` if no message is handled within `seconds`.

        Not a checkpoint. Any message cancels it. Source: `gen_server`'s timeout in a return value.
        """
        rare = self.needs()
        rare.idle = IdleTimer(self) if rare.idle is None else rare.idle
        rare.idle.start(None, seconds, links.IdleTimeout(seconds))
        self.attention = True

    # Children.

    @overload
    async def spawn(self, target: type[T], *args: Any, link: bool = ..., **options: Any) -> Ref[T]: ...

    @overload
    async def spawn(self, target: Any, *args: Any, link: bool = ..., **options: Any) -> Ref[Any]: ...

    async def spawn(self, target: Any, *args: Any, link: bool = False, **options: Any) -> Ref[Any]:
        """Spawn a child of this process; everything else as `Node.spawn`. A checkpoint."""
        return await self.node.spawn(target, *args, link=link, spawner=self, **options)

    def spawn_soon(self, target: Any, *args: Any, link: bool = False, **options: Any) -> Ref[Any]:
        """Spawn a child without waiting for its start. Not a checkpoint.

        For sync actors, which cannot wait. A failing start is told over the link and to monitors, and logged.
        Options as of `Node.spawn`.
        """
        return self.node.spawn_soon(target, *args, link=link, spawner=self, **options)

    def open_arena(self) -> None:
        """Make this process responsible for what it, and those below it, spawn: none of them outlives it.

        What supervisors do at their start. Not a checkpoint.
        """
        rare = self.needs()
        if rare.arena is None:
            rare.arena = {}
