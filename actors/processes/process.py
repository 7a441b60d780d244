"""The process, as its own code sees it: what an actor's `self.process` or a function's `me` can do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, overload

from enfilade.actors.messages import signals
from enfilade.actors.messages.errors import StashOverflow
from enfilade.actors.messages.reasons import KILL, KILLED, NORMAL, Kill, Reason, asked_by, checked
from enfilade.actors.messages.ref import Ref, checked_ref
from enfilade.actors.messages.request import Deferred, Request
from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.processes import links
from enfilade.actors.processes.control_lane import Continuation, StopRequest
from enfilade.actors.processes.keyed_timers import IdleTimer, KeyedTimers
from enfilade.actors.processes.local_ref import LocalRef
from enfilade.actors.processes.record import Record

if TYPE_CHECKING:
    from enfilade.actors.processes.links import Alias, AliasMode, Monitor
    from enfilade.actors.processes.spawn import Spawn, SpawnSoon
    from enfilade.actors.processes.timers import Timer

__all__ = ["Process"]

A = TypeVar("A")
P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M")


class Process(Record):
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

    __slots__ = ()

    # Global names.

    def holds(self, name: str) -> bool:
        """Tell whether the process holds the global name `name` at this moment. Not a checkpoint.

        Raises:
            NotConnected: the node is in no mesh.
        """
        return self.node.mesh.names.holds(self, name)  # type: ignore[no-any-return]

    @property
    def fence(self) -> Any:
        """A number that grows with each claim of a global name, of the first that the process holds now; or
        with each claim of the part of a kind that the process, a keyed actor, belongs to.

        Systems outside can remember the greatest that they have seen, and reject whoever comes with a smaller
        one. A tuple `(epoch, revision)`; None when the process holds no name, and may not run as a keyed
        actor.

        Raises:
            NotConnected: the node is in no mesh.
        """
        return self.node.mesh.fence(self)

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
        While the process waits, messages that do not match do not wake it; a predicate is then called where
        they are sent, so it must be quick, and depend on the message alone.

        Args:
            match: a type, a tuple of types, a `Like`, a predicate; None for any message. A predicate is
                called for each message, so the others are found sooner where many messages wait.
            timeout: seconds; 0 polls.

        Raises:
            ReceiveTimeout: nothing came in time.
            TypeError: `match` is none of these.
            RuntimeError: the process is a sync actor, which has no task to wait in.
        """
        if self.reader is None:
            raise RuntimeError(f"{self.ref} is a sync actor, which cannot receive; implement `on_message`")
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
        """Call `method(*args, **kwargs)` of `ref` without waiting. Not a checkpoint.

        Returns:
            The request: `await request.receive()`, or `request.then(fn)`, has the reply.

        Raises:
            TypeError: `ref` is not a ref.
            NotPublic: `method` is not a public method.
        """
        node = self.node
        if type(ref) is not LocalRef:
            checked_ref(ref)
        request = node.request_type(node, ref, ref.name_of(method), args, kwargs, self)
        ref.deliver(request)
        return request

    def defer(self) -> Deferred[Any]:
        """Answer the call at hand later: return what this returns. Not a checkpoint.

        A call whose caller waits no longer is deferred like any other: see `Deferred.given_up_by`.

        Raises:
            RuntimeError: no call is being handled, or it is answered already.
        """
        deferred = self.defer_if_called()
        if deferred is None:
            raise RuntimeError(
                "no unanswered call to defer: call `defer` in the handler of a call, before it returns"
            )
        return deferred

    def defer_if_called(self) -> Deferred[Any] | None:
        """As `defer`, but None where that raises: when a cast is being handled, say. Not a checkpoint."""
        request = self.at_hand
        if request is signals.HANDED_OFF:
            request = self.body.handed_off()
        if request is None or (request.settled and request.given_up_by is None):
            return None
        deferred = (self.extras_or_none or self.extras()).deferred
        if request in deferred:
            return None
        deferred[request] = False
        return Deferred(self, request)

    def refuse(self, error: Exception) -> Deferred[Any] | None:
        """Answer the call at hand with `error` and live on: return what this returns. Not a checkpoint.

        The caller's `call` raises `error`. Nobody waits for the outcome of a cast: its refusal is logged.
        """
        deferred = self.defer_if_called()
        if deferred is None:
            self.node.reports.refused(self.ref, error)
        else:
            deferred.fail(error)
        return deferred

    def continue_with(self, fn: Callable[..., Any], *args: Any) -> None:
        """Run `fn(*args)` in this process before its next message. Not a checkpoint.

        From `on_start`: the start is acknowledged first, so a long initialisation need not hold up the
        starter, and nothing that was queued meanwhile overtakes it. Source: `gen_server`'s `{continue,
        Term}`.

        Raises:
            TypeError: `fn` cannot be called.
        """
        if not callable(fn):
            raise TypeError(f"expected a function to continue with, got {safe_repr(fn)}")
        self.control_put(Continuation(fn, args))

    def started(self, info: Any = None) -> None:
        """Acknowledge the start of this process: the code that spawned it, or its supervisor, goes on now.

        For async functions that are decorated with `acknowledges_start`, which call it once. Not a
        checkpoint. Source: `proc_lib:init_ack/1`.

        Args:
            info: what the starter is told (`spawn_started`, `Supervisor.start_child`); on another node it
                must be able to travel.

        Raises:
            RuntimeError: the start is acknowledged already, or is none that the process acknowledges itself.
        """
        self.body.acknowledge(info)

    def stop(self, reason: Reason = NORMAL, *, drain: bool = False) -> None:
        """End this actor with `reason` after the message at hand: `on_stop` runs first, then its reply is
        sent. Not a checkpoint.

        Args:
            reason: what to end with.
            drain: whether to handle first what is queued now; what comes later becomes a dead letter.
        """
        if drain and self.body.drains:
            self.put(StopRequest(checked(reason)))
        elif self.stopping is None:
            self.stopping = checked(reason)
            self.attention = True

    def stash(self, message: Any, capacity: int | None = None) -> None:
        """Put a message aside until `unstash`. Not a checkpoint.

        Args:
            message: what was received.
            capacity: how many the stash holds; None for any number.

        Raises:
            StashOverflow: it holds that many.
            ValueError: `capacity` is neither None nor an int of at least 1.
        """
        if capacity is not None and (type(capacity) is not int or capacity < 1):
            raise ValueError(
                f"the capacity of a stash must be an int of at least 1, got {safe_repr(capacity)}"
            )
        extras = self.extras()
        if capacity is not None and len(extras.stash) >= capacity:
            raise StashOverflow(capacity)
        extras.stash.append(message)

    def unstash(self) -> int:
        """Put the stashed messages at the front of the mailbox; return their number. Not a checkpoint."""
        extras = self.extras_or_none
        if extras is None or not extras.stash:
            return 0
        if self.reader is not None:
            self.reader.restore()
        stash, extras.stash = extras.stash, deque()
        self.open_queue().extendleft(reversed(stash))
        return len(stash)

    # Links and monitors.

    def link(self, ref: Ref[Any]) -> None:
        """Link this process and `ref`, once. Not a checkpoint. Source: `erlang:link/1`.

        Raises:
            NoProcess: the other has ended, and this one does not trap exits; if it does, it gets `Exited`.
        """
        links.link(self, ref)

    def unlink(self, ref: Ref[Any]) -> None:
        """Remove the link with `ref`: no exit signal arrives over it any more; a queued `Exited` stays.

        Not a checkpoint. Source: `erlang:unlink/1`.
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
        """Remove `monitor`; return true if it was still up. Not a checkpoint.

        A `Down` that is queued already stays, unless `flush` removes that too.

        Raises:
            NotOwner: another process set it up.
            TypeError: `monitor` is not a `Monitor`.
        """
        return links.demonitor(self, monitor, flush)

    def alias(self, mode: AliasMode = "explicit") -> Alias[Any]:
        """Make another handle for this process, which can be taken back. Not a checkpoint.

        Source: `erlang:alias/1`.

        Args:
            mode: until when it works; see `Alias`.
        """
        return links.alias(self, mode)

    def unalias(self, alias: Alias[Any]) -> bool:
        """Take `alias` back: what is sent to it from now on vanishes. Not a checkpoint.

        Source: `erlang:unalias/1`.

        Returns:
            True if it still worked.

        Raises:
            NotOwner: another process made it.
        """
        return links.unalias(self, alias)

    def exit(self, ref: Ref[Any], reason: Reason) -> None:
        """Send an exit signal with `reason` to `ref`; `KILL` cannot be trapped. Not a checkpoint.

        Source: `erlang:exit/2`.

        Raises:
            TypeError: `ref` is not a ref, or `reason` is not a `Reason`.
        """
        if type(ref) is not LocalRef:
            checked_ref(ref).deliver(signals.Exit(self.ref, checked(reason), linked=False))
            return
        process = ref._process
        is_kill = type(reason) is Kill
        if not is_kill:
            checked(reason)
        if process.ended is None:
            try:
                if is_kill:  # what `exit_arrived` does with it, who trap exits included
                    process.interrupt(asked_by(KILLED, self.ref))
                else:
                    process.exit_arrived(self.ref, reason, linked=False)
            except BaseException as error:
                process.signal_failed(error)

    # Timers.

    @property
    def timers(self) -> KeyedTimers:
        """This process's timers by key."""
        extras = self.extras()
        if extras.keyed is None:
            extras.keyed = KeyedTimers(self)
        return extras.keyed

    def send_after(self, seconds: float, destination: Ref[Any], message: Any) -> Timer:
        """Send `message` to `destination` in `seconds`, unless cancelled or this process ends first.

        A name is looked up when the timer fires. What cannot be sent by then becomes a dead letter. Not a
        checkpoint.
        """
        return self.node.timers.send_after(seconds, destination, message, owner=self)

    def exit_after(self, seconds: float, destination: Ref[Any], reason: Reason) -> Timer:
        """Send an exit signal to `destination` in `seconds`, unless cancelled or this process ends first.

        A name is looked up when the timer fires. To oneself, `self.ref`, it is a limit of one's own life.
        Not a checkpoint. Source: `timer:exit_after/3`.

        Raises:
            TypeError: `destination` is not a ref, or `reason` is not a `Reason`.
            ValueError: `seconds` is negative or NaN.
        """
        signal = signals.Exit(self.ref, checked(reason), linked=False)
        return self.node.timers.deliver_after(seconds, destination, signal, owner=self)

    def kill_after(self, seconds: float, destination: Ref[Any]) -> Timer:
        """Kill `destination` in `seconds`, as `exit_after` with `KILL`, which cannot be trapped. Not a
        checkpoint. Source: `timer:kill_after/2`.
        """
        return self.exit_after(seconds, destination, KILL)

    def timeout_after(self, seconds: float) -> None:
        """Have `on_message` called with `IdleTimeout` if no message is handled within `seconds`.

        Not a checkpoint. Any message cancels it. Source: `gen_server`'s timeout in a return value.
        """
        extras = self.extras()
        extras.idle = IdleTimer(self) if extras.idle is None else extras.idle
        extras.idle.start(None, seconds, links.IdleTimeout(seconds))
        self.attention = True

    # Children.

    if TYPE_CHECKING:
        spawn: Spawn
    else:

        async def spawn(self, target: Any, /, *args: Any, **options: Any) -> Ref[Any]:
            """Spawn a child of this process; everything else as `Node.spawn`. A checkpoint."""
            return await self.node.spawn(target, *args, spawner=self, **options)

    if TYPE_CHECKING:
        spawn_soon: SpawnSoon
    else:

        def spawn_soon(self, target: Any, /, *args: Any, **options: Any) -> Ref[Any]:
            """Spawn a child without waiting for its start. Not a checkpoint.

            For sync actors, which cannot wait. A failing start is told over the link and to monitors, and
            logged. Options as of `Node.spawn`.
            """
            return self.node.spawn_soon(target, *args, spawner=self, **options)

    def open_arena(self) -> None:
        """Make this process responsible for what it, and those below it, spawn: none of them outlives it.

        What supervisors do at their start. Not a checkpoint.
        """
        extras = self.extras()
        if extras.arena is None:
            extras.arena = {}
