"""Inspection and control of running processes, as OTP's `sys`, for every kind of process.

Each function sends a system message to one process of this node and waits until that has served it, between
two of its own messages. System messages travel in the control lane: a full mailbox does not keep them out,
and a suspended process serves nothing else.

The state of an actor is the dict of its attributes. A function process, which has no attributes, takes part
by `expose`.

Source: stdlib's `sys`.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs

from enfilade.actors.messages.attempt import is_interrupt
from enfilade.actors.messages.errors import CallingSelf, NoProcess, Restarting, RuntimeFault
from enfilade.actors.messages.guarded import log
from enfilade.actors.messages.reasons import NORMAL, Reason, asked_by
from enfilade.actors.messages.ref import NameRef, Ref
from enfilade.actors.messages.request import Request
from enfilade.actors.messages.safe_text import safe_record, safe_repr, shown_name
from enfilade.actors.messages.signals import described
from enfilade.actors.processes.actor import Actor, attributes_of, formatted_status, slots_of
from enfilade.actors.processes.body import Observer
from enfilade.actors.processes.handler_statistics import Counter, MethodStatistics, Statistics
from enfilade.actors.processes.handlers import run_sync
from enfilade.actors.processes.local_ref import the_process_of
from enfilade.actors.processes.process import Process

__all__ = [
    "MethodStatistics",
    "NoState",
    "Statistics",
    "Status",
    "change_code",
    "expose",
    "get_state",
    "get_status",
    "install",
    "install_soon",
    "known_statistics",
    "replace_state",
    "resume",
    "statistics",
    "suspend",
    "terminate",
    "trace",
    "uninstall",
    "uninstall_soon",
]

tracing = logging.getLogger("enfilade.trace")

THE_RUNTIMES = ("process", "__class__", "__dict__", "__weakref__")
"""Attributes that are no part of an actor's state."""

T = TypeVar("T")


class NoState(RuntimeFault):
    """The process `ref` exposes no state: it is a guest, or a function that has not called `expose`."""

    def __init__(self, ref: Ref[Any]) -> None:
        super().__init__(
            f"{ref} exposes no state; a function process can call enfilade.actors.system.expose(me, ...)"
        )
        self.ref = ref


@attrs.frozen
class Status:
    """The status of a process.

    Attributes:
        ref: the process.
        name: its registered name; None.
        label: its label; None.
        parent: the process that spawned it.
        suspended: true if it serves only system messages.
        trap_exits: true if it traps exit signals.
        queued: the number of messages in its mailbox.
        links: the processes that it is linked to.
        state: its state, as the actor's `format_status` shows it; None when it has none to show.
        seconds: how long `format_status` took.
    """

    ref: Ref[Any]
    name: str | None
    label: str | None
    parent: Ref[Any]
    suspended: bool
    trap_exits: bool
    queued: int
    links: tuple[Ref[Any], ...]
    state: Any
    seconds: float = attrs.field(default=0.0, eq=False)

    __repr__ = safe_record


class _SystemMessage:
    """An item of the control lane that answers a request."""

    __slots__ = ("act", "request")

    def __init__(self, request: Request[Any], act: Callable[[Process], Any]) -> None:
        self.request = request
        self.act = act

    def serve(self, process: Process) -> None:
        process.settle_deferred(self.request)
        if self.request.waiter is None:
            return  # the caller has given up, so nothing may change any more
        try:
            answer = self.act(process)
        except BaseException as error:
            if is_interrupt(error):
                raise
            self.request.fail(error)
        else:
            self.request.reply(answer)
        finally:
            del self  # see `Request.receive`


def _target(ref: Ref[Any]) -> Process:
    """Return the process of `ref`, of this node, which may have ended."""
    if isinstance(ref, NameRef):
        ref = ref.resolve_here()
    return the_process_of(ref, "system messages reach processes of this node")


async def _ask(ref: Ref[Any], act: Callable[[Process], T]) -> T:
    """Have `act(process)` run inside the process of `ref`, between two messages."""
    process = _target(ref)
    node = process.node
    if node.current is process:
        raise CallingSelf(process.ref)
    if process.ended is not None:
        raise Restarting(process.ref) if process.restarting else NoProcess(process.ref)
    request: Request[T] = Request(node, process.ref, "system", (), {}, node.current)
    process.extras().deferred[request] = False  # fails when the process ends
    process.control_put(_SystemMessage(request, act))
    try:
        return await request.receive(ref.limit)
    finally:
        del request  # see `Request.receive`


# State.


def expose(me: Process, get: Callable[[], Mapping[str, Any]], put: Callable[[Any], None]) -> None:
    """Let the function process `me` take part: `get()` returns its state, `put(state)` replaces it.

    Not a checkpoint.
    """
    me.extras().exposed = (get, put)


def _actor(process: Process) -> Actor | None:
    actor = process.body.actor
    return actor if isinstance(actor, Actor) else None


def _state(process: Process) -> dict[str, Any]:
    exposed = None if process.extras_or_none is None else process.extras_or_none.exposed
    if exposed is not None:
        return dict(exposed[0]())
    actor = _actor(process)
    if actor is None:
        raise NoState(process.ref)
    return dict(attributes_of(actor))


def _put_state(process: Process, state: Mapping[str, Any]) -> None:
    exposed = None if process.extras_or_none is None else process.extras_or_none.exposed
    if exposed is not None:
        exposed[1](state)
        return
    actor = _actor(process)
    if actor is None:
        raise NoState(process.ref)
    for name in state:
        if not isinstance(name, str) or name in THE_RUNTIMES:
            raise TypeError(
                f"a state's keys must be names of attributes of the actor's own, got {safe_repr(name)}"
            )
    before = dict(attributes_of(actor))
    try:
        for name in before.keys() - state.keys():
            delattr(actor, name)
        for name, value in state.items():
            setattr(actor, name, value)
    except BaseException:
        _restore(actor, before)
        raise


def _restore(actor: Actor, state: Mapping[str, Any]) -> None:
    """Give the actor these attributes and no others, past properties and `__setattr__` of its class."""
    for name, slot in slots_of(actor):
        if name in state:
            slot.__set__(actor, state[name])
        else:
            with contextlib.suppress(AttributeError):
                slot.__delete__(actor)
    slots = {name for name, _ in slots_of(actor)}
    attributes = getattr(actor, "__dict__", None)
    if attributes is not None:
        attributes.clear()
        attributes.update({name: value for name, value in state.items() if name not in slots})


async def get_state(ref: Ref[Any]) -> dict[str, Any]:
    """Return the state of the process `ref`: an actor's attributes by name, in a shallow copy.

    A checkpoint when it has to wait; cancelled, nothing has changed. Source: `sys:get_state/1`. All functions
    of this file that wait do so, and raise:

    Raises:
        NoProcess, Restarting: the process does not exist, or is being restarted.
        ProcessDied: it ended before it served the request.
        CallTimeout: it was busy with one message for longer than the ref's time limit.
        CallingSelf: a process cannot wait for itself.
        TypeError: the process lives on another node.

    and this one also:
        NoState: it exposes no state.
    """
    return await _ask(ref, _state)


async def replace_state(ref: Ref[Any], fn: Callable[[dict[str, Any]], Mapping[str, Any]]) -> dict[str, Any]:
    """Replace the state of `ref` by `fn(state)`, which runs inside the process; return the new state.

    If `fn` raises, or an attribute cannot be set to its value or deleted, the state stays as it was, and so
    does the process; the caller gets the error.

    Raises: as `get_state`, what `fn` raises, what setting or deleting an attribute raises, and
        TypeError: a key is not the name of an attribute of the actor's own.
    """

    def act(process: Process) -> dict[str, Any]:
        new = dict(fn(_state(process)))
        _put_state(process, new)
        return new

    return await _ask(ref, act)


async def get_status(ref: Ref[Any]) -> Status:
    """Return the status of the process `ref`. A checkpoint as `get_state`, and raises as that, but never
    `NoState`. Source: `sys:get_status/1`.
    """

    def act(process: Process) -> Status:
        actor = _actor(process)
        clock = process.node.runtime.monotonic
        began = clock()
        state: Any = None if actor is None else formatted_status(actor)
        if state is None:
            with contextlib.suppress(NoState):
                state = _state(process)
        return Status(
            ref=process.ref,
            name=process.name,
            label=process.label,
            parent=process.parent,
            suspended=process.suspended,
            trap_exits=process.trap_exits,
            queued=len(process.queue),
            links=tuple(process.links or ()),
            state=state,
            seconds=clock() - began,
        )

    return await _ask(ref, act)


# Suspending.


async def suspend(ref: Ref[Any]) -> None:
    """Let the process `ref` serve only system messages until `resume`; other messages wait.

    A process that is suspended already stays suspended. Source: `sys:suspend/1`.

    Raises: as `get_state`, but never `NoState`.
    """

    def act(process: Process) -> None:
        process.suspended = True
        process.attention = True

    await _ask(ref, act)


async def resume(ref: Ref[Any]) -> None:
    """Let the suspended process `ref` go on; no effect on others. Raises: as `suspend`."""

    def act(process: Process) -> None:
        process.suspended = False

    await _ask(ref, act)


async def terminate(ref: Ref[Any], reason: Reason = NORMAL) -> None:
    """Have `ref` stop with `reason`, even if it is suspended; return once the order is accepted.

    Raises: as `suspend`.
    """
    asked = asked_by(reason, _target(ref).node.asker)

    def act(process: Process) -> None:
        if process.body.is_plain:
            process.interrupt(asked)  # a function has no message at hand that it could finish first
        else:
            process.stop(asked)

    await _ask(ref, act)


async def change_code(ref: Ref[Any], actor: type[Actor], extra: Any = None) -> None:
    """Change the class of a running actor, and keep its state.

    The new class may have a method `on_code_change(self, old: type, extra)`, which adapts the state; it runs
    first. If it raises, the actor stays what it was, and the caller gets the error. Supervisors are changed
    by `Supervisor.change`.

    Args:
        ref: an actor's process.
        actor: the new class, sync if the process is a sync actor's, and laid out alike.
        extra: passed to `on_code_change`.

    Raises: as `get_state`, what `on_code_change` raises, and
        TypeError: the new class needs a task and there is none, their objects differ in layout, one is a
            supervisor and the other is not, or `on_code_change` is async.
    """

    def act(process: Process) -> None:
        made = _actor(process)
        if made is None:
            raise NoState(process.ref)
        old = type(made)
        if not (isinstance(actor, type) and issubclass(actor, Actor)) or actor.body_ is not old.body_:
            raise TypeError(
                f"expected an actor class of the kind of {shown_name(old)}, got {safe_repr(actor)}"
            )
        before = dict(attributes_of(made))
        try:
            made.__class__ = actor
            adapt = getattr(made, "on_code_change", None)
            if adapt is not None:
                run_sync(adapt, old, extra)
            process.body.rebind(actor)
        except BaseException:
            made.__class__ = old
            _restore(made, before)
            raise

    await _ask(ref, act)


# Watching.


class _Guarded:
    """An observer that is removed when it raises."""

    __slots__ = ("observer",)

    def __init__(self, observer: Observer) -> None:
        self.observer = observer

    def received(self, process: Process, message: Any) -> None:
        try:
            self.observer.received(process, message)
        except BaseException as error:
            self._remove(process, error)

    def handled(self, process: Process, message: Any) -> None:
        try:
            self.observer.handled(process, message)
        except BaseException as error:
            self._remove(process, error)

    def _remove(self, process: Process, error: BaseException) -> None:
        """Remove the observer, which has raised `error`; raise that again if it is an interrupt."""
        if is_interrupt(error):
            raise error
        text = "an observer of %s raised and was removed"
        process.node.reports.note("observers", logging.ERROR, text, about=process.ref, error=error)
        extras = process.extras_or_none
        if extras is not None:
            extras.observers = [other for other in extras.observers if other is not self]


def _install(process: Process, observer: Observer) -> None:
    process.extras().observers.append(_Guarded(observer))
    process.attention = True


def _uninstall(process: Process, unwanted: Callable[[Any], bool]) -> list[Any]:
    extras = process.extras()
    kept: list[Observer] = []
    removed: list[Observer] = []
    for entry in extras.observers:
        observer = entry.observer if isinstance(entry, _Guarded) else entry
        (removed if unwanted(observer) else kept).append(entry)
    extras.observers = kept
    return [entry.observer if isinstance(entry, _Guarded) else entry for entry in removed]


async def install(ref: Ref[Any], observer: Observer) -> None:
    """Show every message of the process `ref` to `observer`, before and after it is handled.

    It runs inside the process, must be quick, and is removed when it raises. Raises: as `suspend`.
    """
    await _ask(ref, lambda process: _install(process, observer))


async def uninstall(ref: Ref[Any], observer: Observer) -> bool:
    """Remove `observer` from `ref`; return true if it was installed. Raises: as `suspend`."""
    return bool(await _ask(ref, lambda process: _uninstall(process, lambda other: other is observer)))


@attrs.frozen
class _Installing:
    """An item of the control lane that installs an observer."""

    observer: Observer

    def serve(self, process: Process) -> None:
        _install(process, self.observer)


def install_soon(process: Process, observer: Observer) -> None:
    """Install `observer` in `process` from its next message on, without waiting. Not a checkpoint."""
    process.control_put(_Installing(observer))


def uninstall_soon(process: Process, observer: Observer) -> None:
    """Remove `observer` from `process` at once, even while a message is handled. Not a checkpoint."""
    _uninstall(process, lambda other: other is observer)


class _Trace:
    """Logs every message, and remembers the last ones."""

    def __init__(self, keep: int) -> None:
        self.lines: deque[str] = deque(maxlen=keep)

    def received(self, process: Process, message: Any) -> None:
        line = described(message)
        self.lines.append(line)
        log(logging.INFO, "%s got %s", process.ref, line, logger=tracing)

    def handled(self, process: Process, message: Any) -> None:
        log(logging.DEBUG, "%s has handled it", process.ref, logger=tracing)


async def trace(ref: Ref[Any], on: bool = True, *, keep: int = 10) -> list[str]:
    """Switch tracing of `ref` on or off: `enfilade.trace` logs each message; the last `keep` are remembered.

    Returns:
        The lines that the trace that was on before remembers, oldest first.

    Raises: as `suspend`.
    """

    def act(process: Process) -> list[str]:
        former = _uninstall(process, lambda observer: type(observer) is _Trace)
        if on:
            _install(process, _Trace(keep))
        return [line for observer in former for line in observer.lines]

    return await _ask(ref, act)


def known_statistics(process: Process) -> Statistics | None:
    """Return the statistics of `process`, without waiting; None when they are off. Not a checkpoint."""
    extras = process.extras_or_none
    for entry in () if extras is None else extras.observers:
        observer = entry.observer if isinstance(entry, _Guarded) else entry
        if type(observer) is Counter:
            return observer.read()
    return None


async def statistics(ref: Ref[Any], on: bool | None = None) -> Statistics | None:
    """Read the statistics of a process; switch them on (from zero) or off.

    Args:
        ref: the process.
        on: True switches them on, False off, None only reads.

    Returns:
        What was counted so far; None when they were off.

    Raises: as `suspend`.
    """

    def act(process: Process) -> Statistics | None:
        counters = _uninstall(process, lambda observer: type(observer) is Counter)
        if on or (on is None and counters):
            _install(process, Counter(process.node.runtime.monotonic) if on else counters[0])
        return counters[0].read() if counters else None

    return await _ask(ref, act)
