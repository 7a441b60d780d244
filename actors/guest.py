"""WebAssembly guests as processes.

A `Guest` describes a module, an entrypoint and what the guest may do; spawned, it is a process like any
other. It has no task: the dispatcher resumes it in its turn, and a guest that keeps computing goes on on a
worker thread beside the loop. Its exit reason is `NORMAL` when the entrypoint returns, `Trapped` when the
guest was cut short.

Messages stay in the process's own queue until the guest asks for them, so that the bound of the mailbox,
dead letters and failed calls work as for every process. What is not meant for guests is taken out as it is
seen.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import attrs

from actors import signals
from actors.body import Spawnable
from actors.calls import Request
from actors.errors import (
    NameTaken,
    NodeStopped,
    NoProcess,
    ProcessDied,
    RuntimeFault,
    SenderDropped,
    StartError,
    UnknownMethod,
)
from actors.links import Down, Exited, Monitor
from actors.node import Node
from actors.process import Process
from actors.reasons import (
    KILL,
    KILLED,
    NO_CONNECTION,
    NO_PROCESS,
    NORMAL,
    SHUTDOWN,
    TIMEOUT,
    Crashed,
    Custom,
    Exit,
    Reason,
    Shutdown,
    Trapped,
)
from actors.ref import LocalRef, Ref
from actors.timers import Tick, Timer
from hostcalls.abi import AbiParam
from hostcalls.actor_abi import ActorReason, ReasonKind
from hostcalls.arguments import argument
from hostcalls.capability import Capability, capabilities
from hostcalls.channel import Channel
from hostcalls.engine import EngineError, StartTrapped, Trap
from hostcalls.errors import AlreadyExists, InvalidArgument, NotFound, SubsystemError
from hostcalls.errors import StartError as GuestStartError
from hostcalls.execution import Returned
from hostcalls.futures import Future
from hostcalls.host import ActorHost, Ended, Incoming
from hostcalls.host import Request as GuestRequest
from hostcalls.inbox import Inbox
from hostcalls.launch import Launch
from hostcalls.limits import Limits
from hostcalls.message import Held, Message, message_of
from hostcalls.modulespec import ModuleSpec
from hostcalls.registry import Kind
from hostcalls.runtime import Runtime

__all__ = ["Guest", "guests_of", "hold", "open_guests", "run_guest"]

T = TypeVar("T")


_RUNTIMES: WeakKeyDictionary[Node, Runtime] = WeakKeyDictionary()


def open_guests(node: Node, **settings: Any) -> Runtime:
    """Prepare `node` for guests, with other settings than the default ones. Not a checkpoint.

    Without it a node is prepared when its first guest is spawned. What is made here ends with the node.

    Args:
        node: a running node.
        modules: the directory of the modules that are named by a text, by default `modules` in the current
            directory; or a `hostcalls.modules.ModuleStore`.
        engine: sizes of the engine, `hostcalls.engine.EngineConfig`.
        operations: hostcalls of the application's own, `hostcalls.operation.Operation`.
        policy: rules between guests, `hostcalls.kernel.Policy`.

    What it returns can compile a module ahead of time: `await runtime.load(...)`.

    Raises:
        RuntimeError: the node is prepared already.
        hostcalls.engine.EngineError: no engine can be made here, or not with these sizes.
    """
    if node in _RUNTIMES:
        raise RuntimeError(f"{node} is prepared for guests already; call open_guests before the first spawn")
    runtime = _RUNTIMES[node] = Runtime(_NodeClock(node), **settings)
    node.start_task(runtime.run, "guests")
    return runtime


def guests_of(node: Node) -> Runtime:
    """What the guests of `node` share, made now if need be. Not a checkpoint. Raises as `open_guests`."""
    return _RUNTIMES.get(node) or open_guests(node)


def hold(node: Node, thing: Channel | Ref[Any]) -> Held:
    """A channel, or a ref, as a resource that can be sent to guests in a `Message`. Not a checkpoint."""
    registry = guests_of(node).kernel.registry
    return Held(registry, registry.add(Kind.ACTOR if isinstance(thing, Ref) else Kind.CHANNEL, thing))


class _NodeClock:
    """Time as the node has it."""

    def __init__(self, node: Node) -> None:
        self.unix_time = time.time
        self.monotonic = node.timers.now
        self.call_later = node.timers.call_after


@attrs.frozen(eq=False)
class Guest(Spawnable["Guest"]):
    """A WebAssembly process, to be spawned.

    Attributes:
        module: a name in the node's module directory (`open_guests`), a path, or the module itself; files
            that end in `.wat` may be in the text format.
        capabilities: what the guest may do, `hostcalls.capability.Capability` or their names in any case. A
            hostcall whose capability is missing fails with "permission denied".
        entrypoint: the exported function to call.
        arguments: what to call it with: `bytes` and `str` (a pointer and a length), `int` (an i32), `float`
            (an f64), `hostcalls.abi.ScalarValue` for the other kinds of number, and channels, which become
            slots. Further ones may be given to `spawn`.
        results: what the entrypoint is declared to return.
        limits: what the guest, and each of its children, may use.
        label: for people; by default module and entrypoint.
    """

    module: str | Path | bytes
    capabilities: frozenset[Capability] = attrs.field(
        default=frozenset(), converter=capabilities, kw_only=True
    )
    entrypoint: str = attrs.field(default="start", kw_only=True)
    arguments: Sequence[Any] = attrs.field(default=(), kw_only=True)
    results: tuple[AbiParam, ...] = attrs.field(default=(), kw_only=True)
    limits: Limits = attrs.field(factory=Limits, kw_only=True)
    label: str | None = attrs.field(default=None, kw_only=True)

    def body(self, process: Process, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> GuestBody:
        """Instantiate the guest; what `node.spawn` calls."""
        if kwargs:
            raise TypeError(f"a guest takes no keyword arguments, and was given {', '.join(kwargs)}")
        runtime = guests_of(process.node)
        given = [
            hold(process.node, value) if isinstance(value, Ref) else value
            for value in (*self.arguments, *args)
        ]
        return GuestBody(runtime, process, self._launch(runtime, given), None)

    @classmethod
    def from_spec(cls, spec: ModuleSpec, **options: Any) -> Guest:
        """The guest that a module specification (`hostcalls.modulespec.parse`) describes.

        `options` are further attributes: `limits`, `label`.
        """
        return cls(
            spec.path,
            capabilities=spec.capabilities,
            entrypoint=spec.entrypoint,
            arguments=spec.arguments,
            results=spec.invocation.signature.results,
            **options,
        )

    def request(self, data: bytes) -> bytes:
        """Ask the guest: `await ref.call(Guest.request, data)`. The guest receives a request and replies.

        For the resources that a message can carry see `exchange`.
        """
        raise TypeError("a Guest is a description: spawn it, and call Guest.request through the ref")

    def exchange(self, message: Message) -> Message:
        """As `request`, with messages: `await ref.call(Guest.exchange, Message(b"...", resources=...))`."""
        raise TypeError("a Guest is a description: spawn it, and call Guest.exchange through the ref")

    def _launch(self, runtime: Runtime, values: Sequence[Any]) -> Launch:
        name = "module" if isinstance(self.module, bytes) else str(self.module)
        return Launch(
            module=runtime.compile(self.module),
            entrypoint=self.entrypoint,
            grants=self.capabilities,
            arguments=tuple(argument(runtime.kernel.registry, value) for value in values),
            results=self.results,
            limits=self.limits,
            label=self.label or f"{name}:{self.entrypoint}",
        )


async def run_guest(node: Node, guest: Guest) -> Reason:
    """Run a guest to its end; the exit reason.

    A checkpoint. The module is compiled in a worker thread; cancelled, the guest is stopped.

    Raises:
        StartError: it could not be started.
    """
    async with node.mailbox(label="run") as me:
        me.trap_exits = True
        try:
            await guests_of(node).load(guest.module)
        except (GuestStartError, EngineError) as error:
            raise StartError(Crashed(error)) from error
        ref = await me.spawn(guest, link=True)
        exited = await me.receive(Exited)
        while exited.ref != ref:
            exited = await me.receive(Exited)
        return exited.reason


@attrs.frozen(eq=False)
class _Child(Spawnable[Guest]):
    """A guest that a guest starts."""

    launch: Launch
    parent: GuestBody
    linked: bool = False
    monitored: bool = False
    started: list[tuple[GuestBody, int]] = attrs.field(factory=list)

    def body(self, process: Process, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> GuestBody:
        parent = self.parent
        body = GuestBody(parent.runtime, process, self.launch, parent)
        if self.linked:
            parent.process.link(process.ref)
        self.started.append((body, parent.actors.monitor(process.ref) if self.monitored else 0))
        return body


class GuestBody:
    """Runs a guest in the dispatcher."""

    __slots__ = ("actors", "children", "execution", "parent", "process", "reason", "runtime")

    def __init__(self, runtime: Runtime, process: Process, launch: Launch, parent: GuestBody | None) -> None:
        self.runtime = runtime
        self.process = process
        self.parent = parent
        self.reason: Reason = SHUTDOWN
        self.children: dict[Process, None] = {}
        if process.mailbox.capacity is None:
            process.bound(attrs.evolve(process.mailbox, capacity=launch.limits.mailbox))
        try:
            prepared = runtime.kernel.prepare(launch)
            self.actors = _Actors(self, receives=prepared.receives)
            self.execution = runtime.kernel.begin(prepared, self.actors, self._wake)
        except GuestStartError as error:
            cause = error.__cause__
            if isinstance(cause, StartTrapped):
                raise Exit(_trapped(cause.trap)) from error
            raise
        if parent is not None:
            parent.children[process] = None
        process.label = process.label or launch.label
        process.attention = True  # so that it gets its first turn

    def turn(self, budget: int) -> bool:
        """Give the guest its messages, and let it run for a while; the budget is in time."""
        process = self.process
        if process.attention and not process.attend():
            return False
        execution, inbox, queue = self.execution, self.actors.inbox, process.queue
        if process.mailbox.overflow == "drop_oldest":
            inbox.look_again()
        if queue:
            inbox.look()
        more = execution.turn()
        if execution.ended:
            self._ended()
            return False
        if more or (queue and inbox.look()):
            return True
        process.idle = True
        return False

    def stop(self, reason: Reason) -> None:
        """Somebody asked the process to stop, and may want to know when it has."""
        self.exit(reason)
        self.process.node.finish(self.process, reason)

    def _wake(self) -> None:
        if self.process.idle:
            self.process.wake()

    def _ended(self) -> None:
        outcome = self.execution.outcome
        reason = self.reason
        if isinstance(outcome, Returned):
            reason = NORMAL
        elif isinstance(outcome, Trap):
            reason = _trapped(outcome)
        self.exit(reason)
        self.process.node.finish(self.process, reason)

    def exit(self, reason: Reason) -> None:
        """An exit signal: the guest stops where it is, gives up what it holds, and its children end."""
        self.execution.stop()
        if self.parent is not None:
            self.parent.children.pop(self.process, None)
        if not self.runtime.kernel.policy.upstream:
            children, self.children = self.children, {}
            for child in reversed(children):
                child.deliver(signals.Exit(self.process.ref, SHUTDOWN, linked=False))


class _Actors:
    """The node, as one guest sees it: `hostcalls.host.Host` and `hostcalls.host.ActorHost` in one."""

    __slots__ = ("_body", "_monitors", "_process", "_receives", "actors", "inbox")

    def __init__(self, body: GuestBody, *, receives: bool) -> None:
        self.actors: ActorHost | None = self
        self._body = body
        self._process = body.process
        self._receives = receives
        self._monitors: dict[int, Monitor] = {}
        self.inbox = Inbox(body.process.queue, body.runtime.kernel.clock, self)

    # Processes.

    def start_soon(self, function: Callable[[], Awaitable[None]]) -> None:
        self._process.node.start_task(function, f"hostcall of {self._process.label}")

    def stop(self) -> None:
        self._process.exit_arrived(self._process.node.ref, SHUTDOWN, linked=False)

    async def start_child(self, launch: Launch) -> int:
        _, process, _ = await self.spawn(launch, link=False, monitor=False)
        return process

    async def spawn(self, launch: Launch, link: bool, monitor: bool) -> tuple[Any, int, int]:
        process = self._process
        if monitor:
            self._check_monitors()
        child = _Child(launch, self._body, link, monitor)
        if self._body.execution.ended:
            raise GuestStartError("the process that starts it has ended")
        try:
            ref = await process.node.spawn(child, spawner=process, label=launch.label)
        except (StartError, NodeStopped) as error:
            raise GuestStartError(_why(error)) from error
        body, number = child.started[0]
        if process.ended is not None and not self._body.runtime.kernel.policy.upstream:
            ref.deliver(signals.Exit(process.ref, SHUTDOWN, linked=False))
        return ref, body.execution.caller.id, number

    # Receiving.

    def receive(
        self,
        select: Callable[[Incoming], bool],
        timeout: float | None,
        convert: Callable[[Incoming | None], T],
    ) -> Future[T]:
        return self.inbox.receive(select, timeout, convert)

    def admit(self, message: Any) -> Any:
        process = self._process
        if type(message) is Tick:
            counts, message = message.unwrap()
            if not counts:
                return None
        if isinstance(message, Exited):
            if message.ref == process.parent:
                # As for every actor: who traps exits still ends with its parent.
                self._body.reason = message.reason
                self._body.execution.stop()
            return message
        if isinstance(message, Down):
            return message
        call = isinstance(message, signals.Call)
        content = _content(message) if call or isinstance(message, signals.Cast) else message_of(message)
        if content is not None and self._receives:
            return message if call else content
        if call:
            message.fail(UnknownMethod(message.method, Guest))
        else:
            process.node.dead_letters.publish(message, process.ref, _NOT_BYTES)
        return None

    def translate(self, message: Any) -> Incoming:
        match message:
            case Exited(ref, reason):
                return Ended(None, ref, _abi_reason(reason))
            case Down(monitor, ref, reason):
                return Ended(monitor.number, ref, _abi_reason(reason))
            case signals.Call():
                content = _content(message)
                assert content is not None
                return GuestRequest(
                    content, lambda answer: self._reply(message, answer), lambda: self._abandon(message)
                )
        assert isinstance(message, Message)
        return message

    def taken(self, message: Any, incoming: Incoming) -> None:
        process = self._process
        if isinstance(incoming, Ended) and incoming.monitor is not None:
            self._monitors.pop(incoming.monitor, None)
        if isinstance(message, signals.Call):
            process.needs().deferred[message] = None
        if process.attention:
            process.observe(message)
            process.observed(message)
            process.settle()

    def _reply(self, call: signals.Call, answer: Message) -> None:
        self._process.undefer(call)
        call.reply(answer.data if call.method == "request" else answer)

    def _abandon(self, call: signals.Call) -> None:
        """The guest has let go of a request; when that is because it ended, the process answers for it."""
        if not self._body.execution.ended and not call.settled and self._process.undefer(call):
            call.fail(SenderDropped(self._process.ref))

    # Sending.

    def me(self) -> Ref[Any]:
        return self._process.ref

    def send(self, to: Ref[Any], message: Message) -> None:
        _check_place(to, message, "send")
        try:
            to.send(message if isinstance(to, LocalRef) else message.data)
        except RuntimeFault as error:
            raise SubsystemError(f"send failed: {error}") from error

    def call(self, to: Ref[Any], message: Message, timeout: float | None) -> Future[Message]:
        process = self._process
        if to == process.ref:
            raise InvalidArgument
        _check_place(to, message, "call")
        method, content = ("exchange", message) if message.resources else ("request", message.data)
        request: Request[Any] = Request(process.node, to, method, (content,), {}, process)
        timer: Timer | None = None
        future: Future[Message] = Future(request.cancel)

        def answered(_: Request[Any]) -> None:
            if timer is not None:
                timer.cancel()
            answer = None if request.error is not None else message_of(request.value)
            if answer is not None:
                future.resolve(answer)
            else:
                why = "the reply is not bytes" if request.error is None else _why(request.error)
                future.fail(SubsystemError(f"call failed: {why}"))

        def late() -> None:
            if not request.settled:
                request.cancel()
                future.fail(SubsystemError("call failed: timeout"))

        request.observer = answered
        to.deliver(request)
        if timeout is not None and not request.settled:
            timer = process.node.timers.call_after(timeout, late)
        return future

    # Links, monitors, names.

    def link(self, actor: Ref[Any]) -> None:
        self._check_mailbox()
        try:
            self._process.link(actor)
        except NoProcess:
            raise NotFound from None

    def unlink(self, actor: Ref[Any]) -> None:
        self._process.unlink(actor)

    def monitor(self, actor: Ref[Any]) -> int:
        self._check_monitors()
        monitor = self._process.monitor(actor)
        self._monitors[monitor.number] = monitor
        return monitor.number

    def _check_monitors(self) -> None:
        """Raise unless the guest may have another monitor, with the notice that may come of it."""
        self._check_mailbox()
        if len(self._monitors) >= self._body.execution.caller.limits.resources:
            raise InvalidArgument

    def _check_mailbox(self) -> None:
        """Raise unless the mailbox has room: what a guest causes itself is bounded as messages are."""
        if len(self._process.queue) >= self._body.execution.caller.limits.mailbox:
            raise InvalidArgument

    def demonitor(self, monitor: int, flush: bool) -> None:
        found = self._monitors.pop(monitor, None)
        if found is None:
            raise NotFound
        self._process.demonitor(found, flush)
        self.inbox.look_again()

    def exit(self, actor: Ref[Any] | None, reason: ActorReason) -> None:
        if actor is not None:
            self._check_mailbox()
            self._process.exit(actor, _reason(reason))
        else:
            self._body.reason = _reason(reason)
            self._body.execution.stop()

    def trap(self, trap: bool) -> bool:
        before, self._process.trap_exits = self._process.trap_exits, trap
        return before

    def register(self, name: str, actor: Ref[Any]) -> None:
        try:
            self._process.node.register(name, actor)
        except NameTaken:
            raise AlreadyExists from None
        except NoProcess:
            raise NotFound from None
        except (TypeError, ValueError):
            raise InvalidArgument from None

    def whereis(self, name: str) -> Ref[Any]:
        found = self._process.node.whereis(name)
        if found is None:
            raise NotFound
        return found


_NOT_BYTES = Custom("guests receive bytes and hostcalls.message.Message")

_KINDS: dict[Reason, ReasonKind] = {
    KILL: ReasonKind.KILL,
    KILLED: ReasonKind.KILLED,
    NO_PROCESS: ReasonKind.NO_PROCESS,
    NO_CONNECTION: ReasonKind.NO_CONNECTION,
    TIMEOUT: ReasonKind.TIMEOUT,
    NORMAL: ReasonKind.NORMAL,
}
_REASONS = {kind: reason for reason, kind in _KINDS.items()}


def _abi_reason(reason: Reason) -> ActorReason:
    """An exit reason as guests see it."""
    match reason:
        case Shutdown(detail):
            return ActorReason(ReasonKind.SHUTDOWN, "" if detail is None else str(detail))
        case Trapped(kind, message):
            return ActorReason(ReasonKind.TRAPPED, f"{kind}: {message}")
        case Crashed(error):
            return ActorReason(ReasonKind.CRASHED, repr(error))
        case Custom(value):
            return ActorReason(ReasonKind.OTHER, str(value))
    return ActorReason(_KINDS.get(reason, ReasonKind.OTHER))


def _reason(reason: ActorReason) -> Reason:
    """The exit reason that a guest gives."""
    if reason.kind is ReasonKind.SHUTDOWN:
        return Shutdown(reason.detail or None)
    return _REASONS.get(reason.kind) or Custom(reason.detail)


def _trapped(trap: Trap) -> Trapped:
    frames: Any = [str(frame) for frame in trap.backtrace]
    return Trapped(str(trap.kind), trap.message, frames)


def _why(error: BaseException) -> str:
    """One line for a guest."""
    match error:
        case ProcessDied(reason=reason):
            return f"the process ended: {reason}"
        case NoProcess():
            return "no process"
        case StartError(reason=Crashed(error=GuestStartError() as cause)):
            return str(cause)
        case StartError(reason=reason):
            return f"the start failed: {reason}"
    return str(error)


def _check_place(to: Ref[Any], message: Message, operation: str) -> None:
    """Raise unless the message can go where `to` is."""
    if message.resources and not isinstance(to, LocalRef):
        raise SubsystemError(f"{operation} failed: resources stay on their node")


def _content(request: signals.Call | signals.Cast) -> Message | None:
    """What a call or cast of `Guest.request` or `Guest.exchange` carries."""
    if request.method not in ("request", "exchange") or len(request.args) != 1 or request.kwargs:
        return None
    return message_of(request.args[0])
