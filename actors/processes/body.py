"""Bodies: the code that runs a process.

Every process has a body. A *dispatched body* has no task: the dispatcher gives it turns. A *task body*
(`task_bodies.py`) has a trio task of its own. `Body` is the interface of both towards the runtime, with
defaults.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Hashable, Mapping
from inspect import CO_COROUTINE
from types import FrameType, FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Protocol, TypeGuard, TypeVar

import trio

from enfilade.actors.messages import signals
from enfilade.actors.messages.attempt import attempt
from enfilade.actors.messages.crash import reason_of
from enfilade.actors.messages.errors import LiveResult, ProcessDied
from enfilade.actors.messages.kinds import is_among, unlisted
from enfilade.actors.messages.live import PLAIN
from enfilade.actors.messages.reasons import Crashed, Reason
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.request import Deferred, Request
from enfilade.actors.messages.safe_text import shown_name
from enfilade.actors.messages.tracebacks import hide_frame
from enfilade.actors.messages.traced import Within
from enfilade.actors.processes.current import CURRENT
from enfilade.actors.processes.handlers import bad_arguments, check_deferred, check_result
from enfilade.actors.processes.steps import is_deep, step_failed, with_headroom

if TYPE_CHECKING:
    from enfilade.actors.processes.actor import Actor
    from enfilade.actors.processes.process import Process
    from enfilade.actors.processes.protocol import ActorProtocol

__all__ = [
    "UNSTARTED",
    "AbsentBody",
    "Body",
    "DispatchedBody",
    "Observer",
    "Spawnable",
    "is_plain_function",
    "is_spawnable",
]

A_co = TypeVar("A_co", covariant=True)


class Body:
    """The base of all bodies.

    Attributes:
        kind: the kind of process, for people: "actor", "function", ...
        is_plain: true if the process runs plain code: the runtime stops it by interrupting it.
        drains: true if the process can handle the queued messages before it stops.
        hears: true if the process wants to be told when one of its arena is about to end (`child_ending`),
            though nobody else has subscribed to child events.
        supervises: true for a supervisor that has been given its children.
    """

    __slots__ = ()

    kind: ClassVar[str] = "process"
    is_plain: ClassVar[bool] = False
    drains: ClassVar[bool] = False

    @property
    def hears(self) -> bool:
        return False

    @property
    def supervises(self) -> bool:
        return False

    @property
    def actor(self) -> Any:
        """The actor object; None if there is none (yet)."""
        return None

    @property
    def protocol(self) -> ActorProtocol | None:
        """The protocol of the actor's class; None for a process that is not an actor."""
        return None

    @property
    def at_hand(self) -> Any:
        """The message whose handler crashed, or was running when the process ended; None."""
        return None

    @property
    def awaited_ends(self) -> Collection[Ref[Any]]:
        """The children that the process is stopping, and whose ends it waits for."""
        return ()

    @property
    def awaited_start(self) -> Request[Any] | None:
        """The start of another process that this one waits for, besides what its handlers wait for; None."""
        return None

    def has_put_off(self, request: Request[Any]) -> bool:
        """Tell whether the call `request` waits until something else that this process waits for is over."""
        return False

    def limits(self, start: Request[Any]) -> bool:
        """Tell whether this process waits for `start`, its `awaited_start`, for a limited time."""
        return False

    @property
    def task(self) -> trio.lowlevel.Task | None:
        """The task of a task body, once it runs; None."""
        return None

    def signs(self) -> dict[str, Any] | None:
        """The fields of a guest that observers are shown beside the record; None for other processes."""
        return None

    @property
    def service(self) -> Any:
        """The exchanges of a guest with others (`enfilade.actors.guests.guest_service`); None otherwise."""
        return None

    def log_tail(self) -> list[dict[str, Any]] | None:
        """The last lines of a guest's own log, oldest first: level, target, message, and milliseconds since
        the Unix epoch, by the guest's clock. None for another process.
        """
        return None

    def count_hostcalls(self, on: bool) -> None:
        """Begin to count a guest's hostcalls, or stop it if `on` is false; other processes do nothing."""

    def exit(self, reason: Reason) -> None:
        """Hasten the end: an exit signal ends the process with `reason`. Must not raise.

        The default does nothing, because a dispatched body is given a turn next, in which `attend` ends the
        process.
        """

    def end_at_once(self) -> None:
        """Carry out a pending exit signal now, unless a task has to be unwound first."""

    def replace_target(self, ref: Ref[Any], target: Any) -> None:
        """Note that the child `ref` has moved to `target`, for later restarts. Only supervisors restart."""

    def child_ending(self, child: Process) -> None:
        """Note that `child`, which is in this process's arena, is about to end; its state is still there."""

    def place_of(self, ref: Ref[Any]) -> tuple[Hashable, int]:
        """The id of the child that runs as `ref`, None if it has none or is not a child of this process; and
        how often it was restarted.
        """
        return None, 0

    def linked_ended(self, ref: Ref[Any], reason: Reason) -> None:
        """Note that the linked process `ref` has ended with `reason`; its exit signal is about to arrive."""

    def abandon_restarts(self) -> None:
        """The process has ended: start none of its children again. Called for the owner of an arena."""

    def arena_emptied(self, reason: Reason) -> None:
        """The process has ended with `reason`, and its arena is empty: say what became of its children."""

    def acknowledge(self, info: Any) -> None:
        """Acknowledge the start of the process: its code has called `started(info)`.

        Raises:
            RuntimeError: the code does not do that itself.
        """
        raise RuntimeError(
            "only a function process calls `started`; the start of an actor is acknowledged when its "
            "`on_start` returns, and the starter gets what that returns"
        )

    def rebind(self, actor: type[Actor]) -> None:
        """Use the protocol of `actor` from the next message on.

        Raises:
            TypeError: the body cannot run `actor`.
        """
        raise TypeError(f"{type(self).__name__} cannot run the actor class {shown_name(actor)}")


class AbsentBody(Body):
    """The body of a process that has no body yet, or has none any more."""

    __slots__ = ()

    kind: ClassVar[str] = "starting"

    def turn(self, budget: int) -> bool:
        """Do nothing: the process may still be on the run queue."""
        return False


UNSTARTED = AbsentBody()


class EmptyingBody(AbsentBody):
    """The body of a process that ends as soon as its arena is empty.

    Attributes:
        former: its body until now, which is still told of what happens in the arena.
    """

    __slots__ = ("former",)

    kind: ClassVar[str] = "ending"

    def __init__(self, former: Body) -> None:
        self.former = former

    @property
    def at_hand(self) -> Any:
        return self.former.at_hand

    @property
    def task(self) -> trio.lowlevel.Task | None:
        return self.former.task

    @property
    def hears(self) -> bool:
        return self.former.hears

    def child_ending(self, child: Process) -> None:
        self.former.child_ending(child)

    def place_of(self, ref: Ref[Any]) -> tuple[Hashable, int]:
        return self.former.place_of(ref)

    def arena_emptied(self, reason: Reason) -> None:
        self.former.arena_emptied(reason)


class DispatchedBody(Body):
    """A body that the dispatcher gives turns.

    It is on the run queue whenever `process.idle` is false. When nothing is left to do, `turn` sets `idle`
    and returns false.
    """

    __slots__ = ("process",)

    def __init__(self, process: Process) -> None:
        self.process = process
        process.open_queue()  # which a turn may hold

    def turn(self, budget: int) -> bool:
        """Handle at most `budget` messages; true when more is waiting. Must not raise, must not block.

        Before each message: `if process.attention and not self.attend(): return False`. The default serves
        the control lane, and leaves the messages where they are.
        """
        process = self.process
        if not process.attention or self.attend():
            process.idle = True
        return False

    def stop(self, reason: Reason) -> bool:
        """Carry out a request to stop with `reason`, between two messages; true if the process must go on.

        The default ends the process at once.
        """
        self.process.node.finish(self.process, reason)
        return False

    def crash(self, error: BaseException, message: Any) -> None:
        """End the process, because the handler of `message` raised `error`."""
        reason = reason_of(error)
        self.exit(reason)
        self.process.node.finish(self.process, reason, error)

    def resume(self, error: BaseException, message: Any) -> bool:
        """Tell whether the process goes on, though the handler of `message` has raised `error`."""
        return False

    def end_with(self, error: BaseException, message: Any) -> None:
        """End the process, because the handler of `message` raised `error`, and nothing excuses that."""
        self.crash(error, message)

    def end_at_once(self) -> None:
        process = self.process
        if process.exit_signal is not None and process.ended is None:
            process.node.finish(process, process.exit_signal)

    def attend(self) -> bool:
        """Serve exit signal, request to stop and control lane; false when the turn is over."""
        process = self.process
        while True:
            if process.ended is not None:
                return False
            if process.extras_or_none is not None:
                process.check_guard()
            if process.exit_signal is not None:
                process.node.finish(process, process.exit_signal)
                return False
            if process.stopping is not None and not self.stop(process.stopping):
                return False
            if not process.control:
                break
            process.control.popleft().serve(process)
        if process.suspended:
            process.idle = True
            return False
        process.settle()
        return True

    def hand_off(self, handler: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run a call's handler, `handler(*args, **kwargs)`, in the caller's task: the process is idle, its
        mailbox is empty, and no other process is running.

        Raises:
            BadArguments: the handler takes no such arguments.
            ProcessDied: the handler crashed, and the process with it.
        """
        process = self.process
        dispatcher = process.dispatcher
        dispatcher.running = process
        process.idle = False
        process.at_hand = signals.HANDED_OFF
        actor = process.actor
        if actor is None:  # a supervisor, whose messages only its body may handle
            actor = self.actor
        try:
            context = dispatcher.callers
            if kwargs or len(args) != 1:
                result = context.run(handler, actor, *args, **kwargs)
            else:  # by far the cheapest kind of call there is
                result = context.run(handler, actor, args[0])
            try:
                is_plain = type(result) in PLAIN
            except BaseException as error:
                is_plain = unlisted(error)
            if (
                not is_plain
                or process.at_hand is not signals.HANDED_OFF
                or process.attention
                or context.context
            ):
                result = self.concluded(handler, result)
        except RecursionError as error:
            process.idle = True  # in case that there is no room on the stack for anything else
            with_headroom(self.overflowed, error, sys._getframe())
        except BaseException as error:
            actor = None  # the caller may keep the traceback of what it is told, and this frame with it
            process.idle = True  # as above
            hide_frame(error)  # as where this is compiled
            with_headroom(self.raised, error, handler, args, kwargs)
        finally:
            dispatcher.running = None
            process.at_hand = None
        self.rest()
        return result

    # The parts of a hand-off that are rare, for both of its twins.

    def concluded(self, handler: Callable[..., Any], result: Any) -> Any:
        """Return the `result` of `handler`, after an unusual one, or the process's attention, is served."""
        process = self.process
        context = process.dispatcher.callers
        if not is_among(result, PLAIN):
            check_result(handler, result, is_reply=True)
        if process.at_hand is not signals.HANDED_OFF:
            result = self._deferred(handler, result)
        elif type(result) is Deferred:
            check_deferred(handler, result, None)
        if process.attention and process.stopping is not None and process.ended is None:
            with_headroom(context.run, self.stop, process.stopping)
        if context.context and context.context != context.base:
            context.changed(process)
        return result

    def _deferred(self, handler: Callable[..., Any], result: Any) -> Any:
        """The result of a handler that has deferred its reply: a deferred one, also if that was dropped."""
        request = self.process.at_hand
        if request is None:  # it is another's to answer now
            return result
        if type(result) is Deferred:
            check_deferred(handler, result, request)
            return result
        if not self.process.was_dropped(request):
            return result
        return Deferred(self.process, request)

    def raised(
        self,
        error: BaseException,
        handler: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> NoReturn:
        """Raise in the caller what becomes of `error`, which `handler(*args, **kwargs)` of its call raised.

        Raises:
            ProcessDied: the process crashed.
            BadArguments, LiveResult: as of `hand_off`; or `error` itself, if the process resumes.
        """
        process = self.process
        process.idle = False
        context = process.dispatcher.callers
        run = context.run
        try:
            misfit: BaseException | None
            misfit = error if type(error) is LiveResult else bad_arguments(error, handler, args, kwargs)
            message = None if misfit is not None else self._at_hand_as_sent(handler, args, kwargs)
            if misfit is None and run(self.resume, error, message):
                misfit = error
            if misfit is None:
                run(self.end_with, error, message)
            message = None
            context.settle(process)
        except BaseException as fault:
            misfit = None
            step_failed(process, "hand-off", fault)
        if misfit is not None:
            self.rest()
            try:
                raise misfit from None
            finally:
                del misfit, error  # whose traceback holds this frame
        reason = process.ended or reason_of(error)
        raise ProcessDied(process.ref, reason) from (reason.error if isinstance(reason, Crashed) else error)

    def overflowed(self, error: RecursionError, frame: FrameType | None) -> NoReturn:
        """Raise in the caller what becomes of `error`: the stack was full in a hand-off, from `frame`.

        The process would have had a stack of its own in the dispatcher. So a caller that has filled a good
        part of it is told, as by any function that it calls so deep, and the process goes on. Otherwise it is
        the process's own crash.
        """
        self.process.idle = False
        if is_deep(frame):
            self.rest()
            try:
                raise error
            finally:
                del error, frame  # the traceback of the error holds this frame
        self.raised(error, _nothing, (), {})

    def rest(self) -> None:
        """Go on after a handler, or become idle if nothing is left to do."""
        process = self.process
        if not process.queue and not process.attention:
            process.idle = True
        elif process.ended is None:
            process.wake()

    def _at_hand_as_sent(
        self, handler: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> signals.Call:
        """The call that was handed off, and has failed, as reports are to show it."""
        process = self.process
        request = process.at_hand
        if request is None or request is signals.HANDED_OFF:
            request = self.handed_off()
            request.settled = True  # the caller is told otherwise
        if type(handler) is Within:  # the method, in the context of the call
            handler = handler.__wrapped__
        known = process.handlers or {}
        request.method = next((name for name in known if known[name] is handler), shown_name(handler))
        request.args, request.kwargs = args, kwargs
        return request

    def handed_off(self) -> signals.Call:
        """Make the request of the call that was handed off: only a handler that defers its reply needs it."""
        process = self.process
        caller = trio.lowlevel.current_task().context.get(CURRENT)
        request: Request[Any] = Request(process.node, process.ref, "", (), {}, caller)
        process.at_hand = request
        return request


def _nothing() -> None:
    return None


class Spawnable(Protocol[A_co]):
    """Anything that `spawn` can make a process of."""

    def body(self, process: Process, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Body:
        """Make the body of `process`, a `DispatchedBody`, from the `args` and `kwargs` of `spawn`.

        It runs inside the new process; if it raises, the start fails.
        """


def is_spawnable(target: object) -> TypeGuard[Spawnable[Any]]:
    """Tell whether `target` is `Spawnable`; a class that describes spawnable objects is not."""
    return _has_body(target)


def is_plain_function(target: Any) -> bool:
    """Tell whether `target` is an `async def` itself, as nearly always: it needs no closer look."""
    is_async = type(target) is FunctionType and target.__code__.co_flags & CO_COROUTINE != 0
    return is_async and "body" not in target.__dict__


@attempt(False)
def _has_body(target: object) -> bool:
    return not isinstance(target, type) and hasattr(target, "body")


class Observer(Protocol):
    """An observer sees every message of one process: tracing and statistics are built on it."""

    def received(self, process: Process, message: Any) -> None:
        """Note that `message` was taken out of the mailbox of `process` and is about to be handled."""

    def handled(self, process: Process, message: Any) -> None:
        """Note that the handler of `message` in `process` has returned."""
