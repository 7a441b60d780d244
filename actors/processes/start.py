"""The start of a process: record, name, link, body, acknowledgement.

A sync actor starts in the caller's task, as a call to an idle sync actor runs there. A process that has a
task acknowledges its start by answering a `Request`, as it answers a call.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Coroutine, Hashable, Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Literal, TypeVar

import attrs
import trio

from enfilade.actors.messages.attempt import attempt
from enfilade.actors.messages.crash import reason_of
from enfilade.actors.messages.errors import (
    AlreadyStarted,
    CallingSelf,
    CallTimeout,
    Ignore,
    LiveArgument,
    NameTaken,
    StartError,
    StartTimeout,
    StepFailed,
    raised_by_the_runtime,
)
from enfilade.actors.messages.global_name import Global
from enfilade.actors.messages.hooks import call
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.reasons import KILLED, NORMAL, Crashed, asked_by
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.request import Request
from enfilade.actors.messages.safe_text import safe_repr, safe_str, shown_name
from enfilade.actors.messages.seconds import check_seconds
from enfilade.actors.messages.traced import end_with
from enfilade.actors.processes import links
from enfilade.actors.processes.actor import Actor
from enfilade.actors.processes.body import Body, DispatchedBody, is_plain_function, is_spawnable
from enfilade.actors.processes.deadlock import begin_waiting
from enfilade.actors.processes.end import ENDED, finish
from enfilade.actors.processes.identity import target_name
from enfilade.actors.processes.local_ref import process_of
from enfilade.actors.processes.mailbox import UNBOUNDED, Mailbox, bury_left, checked_mailbox, keep, take_left
from enfilade.actors.processes.nested_starts import DEEPEST, check_depth
from enfilade.actors.processes.protocol import parameters_of, protocol_of
from enfilade.actors.processes.record import Record
from enfilade.actors.processes.resumption import Failures, Resume
from enfilade.actors.processes.scopes import leave_scopes, scope_of
from enfilade.actors.processes.steps import with_headroom
from enfilade.actors.processes.sync_body import SyncBody
from enfilade.actors.processes.targets import (
    NotSpawnable,
    check_arguments,
    check_target,
    is_async_function,
    misfit,
    refusal,
    unwrapped,
)
from enfilade.actors.processes.task_bodies import AsyncBody, FunctionBody, TaskBody

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.processes.process import Process

__all__ = [
    "OPTIONS",
    "Arena",
    "Started",
    "acknowledges_start",
    "begin",
    "check_resumable",
    "create",
    "give_back",
    "inherit",
    "is_resumable",
    "joined",
    "prepare",
    "spawn_started",
    "start",
    "start_soon",
    "take_info",
]

F = TypeVar("F", bound=Callable[..., Coroutine[Any, Any, Any]])
R = TypeVar("R", bound=Hashable)

Arena = Literal["supervisor", "node"]


@attrs.frozen
class Started(Generic[R]):
    """A process that has started, and what it had to tell about that: OTP's `{ok, Child, Info}`.

    Attributes:
        ref: its process.
        info: what its `on_start` returned, or a function process passed to `started`.
    """

    ref: R
    info: Any


_OWES_START: Final = "acknowledges_start_"


def acknowledges_start(fn: F) -> F:
    """Decorate an async function whose process acknowledges its start itself, by `me.started(info)`.

    `spawn` returns, and a supervisor starts the next child, when the function has called that. Until then its
    start can fail: if the function raises or returns, the starter gets `StartError`; if it raises `Ignore` or
    `StartError`, that; and a time limit (`spawn(timeout=...)`, `Child(start_timeout=...)`) applies. Without
    the decorator a function process has started before its first line. Source: `proc_lib:start_link`.

    Args:
        fn: an async function, `async def fn(me, ...)`.

    Raises:
        TypeError: `fn` is not an async function.
    """
    if not inspect.iscoroutinefunction(fn):
        raise TypeError(f"acknowledges_start is for async functions, got {safe_repr(fn)}")
    setattr(fn, _OWES_START, True)
    return fn


def create(
    node: Node,
    spawner: Process | None = None,
    *,
    name: str | Global | None = None,
    link: bool = False,
    monitor: bool = False,
    mailbox: Mailbox = UNBOUNDED,
    label: str | None = None,
    arena: Arena = "supervisor",
    heir_of: Ref[Any] | None = None,
    on_failure: Resume | None = None,
    serial: int | None = None,
) -> Process:
    """Make the process that is about to start, with its name, its link and what it inherits.

    The options are those of `Node.spawn`; and the number of the process, if it has been given out before.
    """
    link, monitor = bool(link), bool(monitor)
    if spawner is None and (link or monitor):
        raise TypeError("only a process can link to or monitor a child; in plain code, use node.mailbox()")
    if mailbox is not UNBOUNDED:
        checked_mailbox(mailbox)
    if arena not in ("supervisor", "node"):
        raise ValueError(f'arena must be "supervisor" or "node", got {safe_repr(arena)}')
    if on_failure is not None and not issubclass(type(on_failure), Resume):
        raise TypeError(f"on_failure must be a Resume or None, got {safe_repr(on_failure)}")
    process = node.new_process(spawner, mailbox, arena, serial or 0)
    process.label = label
    try:
        if on_failure is not None:
            process.extras().failures = Failures(on_failure)
        if isinstance(name, Global):
            process.extras().global_name = name  # which is held before the process begins
        elif name is not None:
            node.claim(name, process)
        if heir_of is not None:
            inherit(process, heir_of)
    except NameTaken as taken:
        _discard(process)
        is_kept = node.whereis(taken.name) is None
        raise AlreadyStarted(taken.name, taken.holder, safe_str(taken, 1_000) if is_kept else None) from None
    except BaseException:
        _discard(process)
        raise
    if spawner is not None:
        if link:
            links.link_newborn(spawner, process)
        if monitor:
            links.monitor(spawner, process.ref, None, None)
    return process


OPTIONS: Final = tuple(
    option.name
    for option in inspect.signature(create).parameters.values()
    if option.kind is option.KEYWORD_ONLY and option.name != "serial"
)
"""The options of `spawn` that say what process is made."""


def prepare(
    node: Node,
    spawner: Process | None,
    target: Any,
    kwargs: Mapping[str, Any] | None,
    named: dict[str, Any],
) -> tuple[Process, Mapping[str, Any]]:
    """Make a process that is about to start; return it, and the keyword arguments of `target`.

    `named` holds options of `spawn` and arguments of `target`, which were all given by name. Raises what
    `spawn` raises for them.
    """
    options = {option: named.pop(option) for option in OPTIONS if option in named}
    if options.get("on_failure") is not None:
        check_resumable(target)
    given = named if kwargs is None else joined(named, kwargs)
    return create(node, spawner, **options), given


def is_resumable(target: object) -> bool:
    """Return true for an actor class whose handlers are run in one of the usual two ways."""
    return isinstance(target, type) and issubclass(target, Actor) and target.body_ is None


def check_resumable(target: object) -> None:
    """Check that `on_failure` can be asked for.

    Raises:
        TypeError: only the handlers of an actor can be resumed, and not those of a supervisor.
    """
    if not is_resumable(target):
        raise TypeError(
            f"on_failure is for actors that are not supervisors, got {shown_name(target)}: "
            "only the handlers of such actors can be resumed"
        )


def joined(named: Mapping[str, Any], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Join the arguments of a target that were given by name with those in `kwargs`.

    Raises:
        TypeError: `kwargs` is not a mapping from names to values, or has a name that was given already.
    """
    if not isinstance(kwargs, Mapping) or not all(isinstance(name, str) for name in kwargs):
        raise TypeError(f"kwargs must be a mapping from argument names to values, got {safe_repr(kwargs)}")
    twice = named.keys() & kwargs.keys()
    if twice:
        raise TypeError(f"arguments {safe_repr(sorted(twice))} must be given once: by name or in kwargs")
    return {**named, **kwargs}


async def _hold_name(process: Process, name: Global, timeout: float | None) -> float | None:
    """Have a process that has yet to begin hold its global name; return what is left of the time limit."""
    limit = math.inf if timeout is None else timeout
    began = trio.current_time()
    try:
        with trio.move_on_after(limit) as scope:
            await process.node.mesh.names.hold_for_start(name, process)
    except BaseException:
        _discard(process)
        raise
    if scope.cancelled_caught:
        _discard(process)
        raise StartTimeout(limit)
    return None if timeout is None else max(0.0, limit - (trio.current_time() - began))


def _discard(process: Process) -> None:
    process.body = ENDED
    finish(process, NORMAL)


def inherit(process: Process, ancestor: Ref[Any]) -> None:
    """Take over the messages that `ancestor` left."""
    left_by = process_of(ancestor)
    if left_by is not None and left_by.ended is not None:
        for message in take_left(left_by):
            process.put(message)


def begin(
    process: Process, target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Request[Any] | None:
    """Start `process` as `target`: None when it has started, else a request that its acknowledgement settles.

    Not a checkpoint. Raises what `start` raises when the start fails at once.
    """
    node = process.node
    process.target = target
    if node.hooks.process_started:
        call(node.hooks.process_started, process)
    tracer = node.traces.tracer
    span = None if tracer is None else tracer.starting(process, target)
    try:
        if len(node.starting) >= DEEPEST:
            check_depth(process)
        if node.sharing is not None:
            _pass_arguments(process, target, args, kwargs)
        body = make_body(process, target, args, kwargs)
        request: Request[Any] | None = None
        if not isinstance(body, TaskBody):
            # A body that has not finished starting has left the request that its acknowledgement settles.
            request = node.starting.get(process) if node.starting else None
        else:
            if body.owes_start:
                request = node.starting[process] = Request(node, process.ref, "start", (), {}, None)
            run(process, body, target)
    except RecursionError as error:
        refusal = with_headroom(_refused, process, error)
    except BaseException as error:
        refusal = _refused(process, error)
    else:
        if span is not None:
            end_with(span, request)
        return request
    if span is not None:
        span.end(refusal)
    try:
        raise refusal from refusal.__cause__
    finally:
        del refusal  # whose traceback holds this frame, and the process with it


def give_back(process: Process, ancestor: Ref[Any] | None) -> None:
    """The start of `process` failed: what it took over, and got since, is again what `ancestor` left."""
    left_by = process_of(ancestor)
    if left_by is None:
        bury_left(process)
    else:
        keep(left_by)
        left_by.queue.extendleft(reversed(take_left(process)))


async def start(
    process: Process, target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], timeout: float | None
) -> Any:
    """Start `process` as `target` and wait for its acknowledgement; return what it has to tell."""
    if timeout is not None:
        try:
            check_seconds(timeout, "the time limit of a start")
        except BaseException:
            _discard(process)
            raise
    if process.extras_or_none is not None and process.extras_or_none.global_name is not None:
        timeout = await _hold_name(process, process.extras_or_none.global_name, timeout)
    request = begin(process, target, args, kwargs)
    dispatcher = process.node.dispatcher
    try:
        if request is not None:
            info = await _acknowledged(request, math.inf if timeout is None else timeout)
        else:
            info = None if process.extras_or_none is None else take_info(process)
            dispatcher.handoffs -= 1
            if dispatcher.handoffs <= 0:  # a checkpoint every so often
                dispatcher.renew_handoffs()
                await trio.lowlevel.checkpoint()
    except CallTimeout as late:
        await _kill(process)
        raise StartTimeout(late.seconds) from None
    except CallingSelf:
        await _kill(process)
        raise
    except trio.Cancelled:
        _abandon(process)
        raise
    finally:
        del request  # see `Request.receive`
    return info


async def spawn_started(
    spawner: Node | Process,
    target: Any,
    /,
    *args: Any,
    timeout: float | None = None,
    kwargs: Mapping[str, Any] | None = None,
    **named: Any,
) -> Started[Ref[Any]]:
    """Spawn a process as `spawner.spawn` does, and return also what it told about its start.

    That is what an actor's `on_start` returned, or a function process passed to `started`; None if it told
    nothing. A checkpoint, as `spawn` is. Source: the return value of `proc_lib:start_link/5`.

    Args:
        spawner: the process that spawns, or the node, for code that is not a process.
        target, args, timeout, kwargs, named: as of `Node.spawn`, options included; `timeout` in seconds.

    Raises:
        Everything that `Node.spawn` raises.
    """
    node, parent = (spawner.node, spawner) if isinstance(spawner, Record) else (spawner, spawner.current)
    process, given = prepare(node, parent, target, kwargs, named)
    info = await start(process, target, args, given, timeout)
    return Started(process.ref, info)


def take_info(process: Process) -> Any:
    """Take what the start of `process`, which has no task, returned."""
    extras = process.extras_or_none
    if extras is None:
        return None
    info, extras.start_info = extras.start_info, None
    return info


async def _acknowledged(request: Request[Any], seconds: float) -> Any:
    starter = request.node.current
    if starter is not None:
        begin_waiting(starter, request, seconds)
    try:
        return await request.receive(seconds)
    finally:
        del request  # see `Request.receive`
        if starter is not None:
            starter.awaited = None


def _abandon(process: Process) -> None:
    process.node.starting.pop(process, None)
    links.unlink_parent(process)
    if process.ended is None:
        process.node.registry.release(process)  # now, for the starter may try again
        process.name = None
    process.interrupt(asked_by(KILLED, process.parent))


async def _kill(process: Process) -> None:
    """Kill a process that does not finish starting, without an exit message, and wait for its end."""
    _abandon(process)
    if process.ended is None:
        request: Request[Any] = Request(process.node, process.ref, "stop", (), {}, None)
        process.extras().stop_requests.append(request)
        await request.receive(math.inf)


def _refused(process: Process, error: BaseException) -> BaseException:
    """End a process whose start failed with `error`; return what to raise in the starter."""
    if is_a(error, Ignore, StartError):
        links.unlink_parent(process)
        finish(process, NORMAL)
        return error
    reason = reason_of(error)
    fatal = error if is_a(error, SystemExit, KeyboardInterrupt) else None
    finish(process, reason, fatal, told=True)
    if is_a(error, LiveArgument):
        return error
    if is_a(error, NotSpawnable):
        return TypeError(safe_str(error, 1_000))
    return StartError(reason, parameters=parameters_of(process.target) if type(error) is TypeError else ())


def _pass_arguments(process: Process, target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Check in debug mode that `process` shares the arguments of its start with nobody.

    Raises:
        LiveArgument: one has yet to run.
    """
    sharing, parent = process.node.sharing, process.parent
    assert sharing is not None
    sharing.look()
    sender = None if parent is process.node.ref else parent
    sharing.pass_arguments(shown_name(target), args, kwargs, sender, process.ref)


def make_body(process: Process, target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Body:
    """Make the body of `process`, inside of it, and let it begin unless it has a task. Raises what the target
    raises. A twin in C (`actors/core/starts.c`) does that for sync actors.
    """
    node = process.node
    body: Body
    if isinstance(target, type) and issubclass(target, Actor):
        if protocol_of(target).is_async and target.body_ is None:
            body = process.body = AsyncBody(target, process, args, kwargs)
            return body
    elif (is_plain := type(target) is FunctionType and is_plain_function(target)) or not is_spawnable(target):
        if not is_plain and not is_async_function(target):
            raise refusal(target)
        coroutine = _called(target, process, args, kwargs)
        owes_start = hasattr(target, _OWES_START) if is_plain else _owes_start(target)
        body = process.body = FunctionBody(process, coroutine, owes_start=owes_start)
        return body
    dispatcher = node.dispatcher
    outer, dispatcher.running = dispatcher.running, process
    context = node.contexts.new()
    task = trio.lowlevel.current_task()
    scope = scope_of(task)
    try:
        if isinstance(target, type):
            kind = target.body_ or SyncBody  # type: ignore[attr-defined]
            body = context.run(kind.start, target, process, args, kwargs)
        else:
            made = context.run(target.body, process, args, kwargs)
            if not issubclass(type(made), Body):
                raise NotSpawnable(f"cannot spawn {safe_repr(target)}: it made the body {safe_repr(made)}")
            body = process.body = made
        if context != node.contexts.base:
            process.keep_context(context)
    finally:
        dispatcher.running = outer
        if scope_of(task) is not scope:
            leave_scopes(task, scope)
    if not isinstance(body, TaskBody) and process.ended is None:
        if process.queue or process.attention:
            process.wake()
        else:
            process.idle = True
    return body


def _called(fn: Any, process: Process, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return the coroutine of the async function `fn`, which has not begun to run."""
    try:
        return fn(process, *args, **kwargs)
    except TypeError as error:
        if not raised_by_the_runtime(error):
            raise
        raise misfit(fn, error) from None


@attempt(False)
def _owes_start(target: Any) -> bool:
    """Tell whether an async function, or its like, acknowledges its start itself."""
    target = unwrapped(target)
    fn = target if inspect.isroutine(target) else type(target).__call__
    return getattr(fn, _OWES_START, False) is True


def run(process: Process, body: TaskBody, target: Any) -> None:
    """Start the task, in the node's own context."""
    name = target.__qualname__ if type(target) is FunctionType else target_name(target)
    process.node.process_tasks.start(body, name)


class _Beginning(DispatchedBody):
    """The body of a process that was spawned without waiting: its first turn starts it."""

    __slots__ = ("args", "kwargs", "target")

    kind: ClassVar[str] = "starting"

    def __init__(
        self, process: Process, target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        super().__init__(process)
        self.target = target
        self.args = args
        self.kwargs = kwargs

    def turn(self, budget: int) -> bool:
        process = self.process
        process.check_guard()
        if process.exit_signal is not None:
            finish(process, process.exit_signal)
            return False
        try:
            body = make_body(process, self.target, self.args, self.kwargs)
        except BaseException as error:
            finish(process, NORMAL if is_a(error, Ignore, StartError) else reason_of(error), error)
            return False
        if isinstance(body, TaskBody):
            try:
                run(process, body, self.target)
            except BaseException as error:
                fault = StepFailed(process.ref, "start", error)
                finish(process, Crashed(fault), fault)
        return False


def start_soon(process: Process, target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Start `process` as `target` at its first turn in the dispatcher.

    Raises:
        TypeError: nothing can be started as `target`, or an async function does not take the arguments.
        LiveArgument: in debug mode, an argument has yet to run.
    """
    extras = process.extras_or_none
    if extras is not None and extras.global_name is not None:
        _discard(process)
        raise TypeError(f"{extras.global_name} must be waited for: start the process with `await spawn(...)`")
    if not (isinstance(target, type) and issubclass(target, Actor)):
        try:
            check_target(target)
            check_arguments(target, args, kwargs)
        except TypeError:
            _discard(process)
            raise
    if process.node.sharing is not None:
        try:
            _pass_arguments(process, target, args, kwargs)
        except BaseException:
            _discard(process)
            raise
    process.target = target
    process.body = _Beginning(process, target, args, kwargs)
    if process.node.hooks.process_started:
        call(process.node.hooks.process_started, process)
    process.wake()
