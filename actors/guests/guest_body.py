"""The bodies of WebAssembly guests.

A guest has no task: the dispatcher resumes it in its turn, and a guest that keeps computing goes on on a
worker thread beside the loop. Its exit reason is `NORMAL` when the entrypoint returns, `Trapped` when the
guest was cut short.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import attrs
import trio

from enfilade.actors.guests.guest_host import NodeHost
from enfilade.actors.guests.guest_reasons import trapped, why
from enfilade.actors.guests.guest_service import Service
from enfilade.actors.guests.guest_trace import UNTRACED
from enfilade.actors.messages import signals
from enfilade.actors.messages.crash import reason_of
from enfilade.actors.messages.errors import NodeStopped, StartError
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.reasons import NORMAL, SHUTDOWN, Custom, Exit, Reason
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.request import Request
from enfilade.actors.processes.body import DispatchedBody, Spawnable
from enfilade.actors.processes.mailbox import UNBOUNDED, BoundedQueue, Mailbox, Overflow
from enfilade.actors.processes.process import Process
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.abi.errors import StartError as GuestStartError
from enfilade.hostcalls.contracts.inbox import Inbox
from enfilade.hostcalls.contracts.launch import Launch
from enfilade.hostcalls.engine import EngineError, StartTrapped, Trap
from enfilade.hostcalls.kernel.execution import Returned
from enfilade.hostcalls.kernel.prepared import Prepared
from enfilade.hostcalls.kernel.runtime import Runtime, Source
from enfilade.hostcalls.resources.logs import LogRecord

__all__ = ["GuestBody", "LoadingBody", "refusal"]


def refusal(error: GuestStartError | EngineError) -> Exit:
    """Return the exception that fails the start of a guest's process for the reason in `error`."""
    cause = error.__cause__
    if isinstance(cause, StartTrapped):
        return Exit(trapped(cause.trap))
    return Exit(Custom(f"Wasmtime error: {error}" if is_a(error, EngineError) else str(error)))


@functools.lru_cache
def _bounded(capacity: int) -> Mailbox:
    return Mailbox(capacity)


class _DroppingQueue(BoundedQueue):
    """A data lane out of which others drop old messages: the guest's inbox hears of it."""

    __slots__ = ("_body",)

    def __init__(self, body: GuestBody) -> None:
        super().__init__(body.process)
        self.extend(body.process.queue)
        self._body = body

    def drop(self, position: int) -> Any:
        self._body.inbox.is_gone(position)
        return super().drop(position)


class GuestBody(DispatchedBody):
    """Runs a guest in the dispatcher.

    Attributes:
        description: what was spawned; None for a guest that a guest has started.
        args: the arguments that were given with it.
    """

    __slots__ = (
        "actors",
        "args",
        "children",
        "description",
        "execution",
        "inbox",
        "module",
        "parent",
        "runtime",
        "service",
    )

    kind: ClassVar[str] = "guest"
    service: Service

    def __init__(
        self, runtime: Runtime, process: Process, prepared: Prepared, parent: GuestBody | None = None
    ) -> None:
        self.process = process  # without super(), which opens a queue that has no bound
        launch = prepared.launch
        self.module = f"{launch.entrypoint} {launch.module.digest[:8]}"  # by which observers name it
        self.runtime = runtime
        self.parent = parent
        self.description: Spawnable[Any] | None = None
        self.args: tuple[Any, ...] = ()
        self.children: dict[Process, None] = {}
        mailbox = process.mailbox
        if mailbox is UNBOUNDED:
            process.bound(_bounded(launch.limits.mailbox))
        else:
            capacity = launch.limits.mailbox if mailbox.capacity is None else mailbox.capacity
            # A guest cannot be told that it lags.
            overflow: Overflow = "drop_oldest" if mailbox.overflow == "lag" else mailbox.overflow
            process.bound(attrs.evolve(mailbox, capacity=capacity, overflow=overflow))
            if overflow == "drop_oldest":
                process.queue = _DroppingQueue(self)
        self.actors = NodeHost(process, self, receives=prepared.receives)
        self.inbox = Inbox(process.queue, runtime.kernel.clock, self.actors)
        self.service = Service(self.actors, self.inbox, process)
        try:
            self.execution = runtime.kernel.begin(prepared, self.actors, self.wake)
        except GuestStartError as error:
            raise refusal(error) from error
        self.actors.execution = self.execution
        if process.dispatcher.counted is not None:
            self.execution.count()
        if parent is not None:
            parent.children[process] = None
        process.label = process.label or launch.label
        process.attention = True  # so that it gets its first turn

    def turn(self, budget: int) -> bool:
        """Give the guest its messages, and let it run for a time slice, whatever the budget."""
        process = self.process
        if process.attention and not self.attend():
            return False
        execution, inbox, queue = self.execution, self.inbox, process.queue
        if queue and self.service.look():
            more = False
        else:
            if queue:
                inbox.look()
            more = execution.turn()
        upgrade = self.actors.upgrade
        if (upgrade is not None and upgrade.step()) or execution is not self.execution:
            return True
        if execution.outcome is not None:
            self._ended()
            return False
        if more or (queue and inbox.look()):
            return True
        process.idle = True
        return False

    def signs(self) -> dict[str, Any] | None:
        """See `Body.signs`."""
        execution = self.execution
        if execution.ended:
            return None
        launch, caller, instance = execution.launch, execution.caller, execution.instance
        has_it = not instance.offloaded
        return {
            "module": self.module,
            "state": self._state(),
            "memory": instance.memory_size if has_it else None,
            "memory_limit": launch.limits.memory,
            "cpu": instance.cpu_time,
            "cpu_limit": launch.limits.cpu_time,
            "slices": execution.slices,
            "preemptions": execution.preemptions,
            "pending": execution.pending,
            "hostcalls_by_name": execution.counts,
            "capabilities": sorted(each.name for each in caller.grants),
            "children": len(self.children),
        }

    def log_tail(self) -> list[dict[str, Any]] | None:
        """See `Body.log_tail`."""
        log = self.execution.caller.log
        return [] if log is None else [_line_of(record) for record in log.tail]

    def count_hostcalls(self, on: bool) -> None:
        """See `Body.count_hostcalls`."""
        if on:
            self.execution.count()
        else:
            self.execution.count_no_more()

    def _state(self) -> str:
        """What the guest does, in a word or two."""
        waits_for = self.execution.waits_for
        return "running" if not self.process.idle or waits_for is None else f"waiting for {waits_for}"

    async def spawn(self, launch: Launch, link: bool, monitor: bool) -> tuple[Ref[Any], int, int]:
        """See `enfilade.hostcalls.contracts.host.ActorHost.spawn`."""
        process = self.process
        if self.execution.ended:
            raise GuestStartError("the parent process has ended")
        child = _Child(launch, self, link, monitor)
        try:
            ref = await process.node.spawn(child, spawner=process, label=launch.label)
        except (StartError, NodeStopped) as error:
            raise GuestStartError(why(error)) from error
        body, number = child.started[0]
        if process.ended is not None and not self.runtime.kernel.policy.upstream:
            ref.deliver(signals.Exit(process.ref, SHUTDOWN, linked=False))
        return ref, body.execution.caller.id, number

    def has_descendant(self, process: Process) -> bool:
        """Tell whether the guest, or a descendant of its, has started this process."""
        body = process.body
        while isinstance(body, GuestBody):
            body = body.parent
            if body is self:
                return True
        return False

    def stop(self, reason: Reason) -> bool:
        """Cut the guest short, and end the process."""
        self.exit(reason)
        return super().stop(reason)

    def wake(self) -> None:
        """Give the guest a turn, if it waits for one."""
        if self.process.idle:
            self.process.wake()

    def outcome(self) -> Reason:
        """The exit reason that follows from how the guest has ended."""
        outcome = self.execution.outcome
        if isinstance(outcome, Returned):
            return NORMAL
        return trapped(outcome) if isinstance(outcome, Trap) else self.actors.reason

    def _ended(self) -> None:
        reason = self.process.exit_signal or self.outcome()  # it may have sent itself a signal in its turn
        self.exit(reason)
        self.process.node.finish(self.process, reason)

    def exit(self, reason: Reason) -> None:
        """Stop the guest where it is, release its resources, and end its children."""
        if self.actors.upgrade is not None:
            self.actors.upgrade.roll_back("the process has ended")
        if self.actors.trace is not UNTRACED:
            self.actors.end_trace(reason)
        self.execution.stop()
        if self.parent is not None:
            self.parent.children.pop(self.process, None)
        if self.children and not self.runtime.kernel.policy.upstream:
            children, self.children = self.children, {}
            for child in reversed(children):
                child.deliver(signals.Exit(self.process.ref, SHUTDOWN, linked=False))
        self.actors.release()


def _line_of(record: LogRecord) -> dict[str, Any]:
    return {
        "level": LEVELS[record.level],
        "target": record.target,
        "message": record.message,
        "at_ms": record.timestamp_ms,
    }


LEVELS: Final = ("TRACE", "DEBUG", "INFO", "WARNING", "ERROR")
"""The names of the levels of guests' records."""


@attrs.frozen(eq=False)
class _Child(Spawnable[Any]):
    """Describes a guest that a guest starts."""

    launch: Launch
    parent: GuestBody
    linked: bool = False
    monitored: bool = False
    started: list[tuple[GuestBody, int]] = attrs.field(factory=list)

    def body(self, process: Process, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> GuestBody:
        parent = self.parent
        try:
            prepared = parent.runtime.kernel.prepare(self.launch)
        except GuestStartError as error:
            raise refusal(error) from error
        body = GuestBody(parent.runtime, process, prepared, parent)
        if self.linked:
            parent.actors.link_child(process.ref)
        self.started.append((body, parent.actors.monitor(process.ref) if self.monitored else 0))
        return body


class LoadingBody(DispatchedBody):
    """Stands in for a guest while a worker thread compiles its module; then starts the guest.

    If the process ends first, the module is compiled all the same, and kept for other guests.
    """

    __slots__ = ("_args", "_grants", "_runtime", "_source", "_target")

    kind: ClassVar[str] = "guest"

    def __init__(
        self,
        runtime: Runtime,
        process: Process,
        source: Source,
        grants: frozenset[Capability],
        target: Spawnable[Any],
        args: tuple[Any, ...],
    ) -> None:
        super().__init__(process)
        self._runtime = runtime
        self._source = source
        self._grants = grants
        self._target = target
        self._args = args
        node = process.node
        node.starting[process] = Request(node, process.ref, "start", (), {}, None)
        node.start_task(self._load, f"module of {process.ref}", process)

    async def _load(self) -> None:
        process = self.process
        problem: BaseException | None = None
        try:
            await self._runtime.load(self._source, self._grants)
        except (GuestStartError, EngineError) as error:
            problem = refusal(error)
        if process.ended is not None or process.exit_signal is not None:
            return
        if problem is None:
            problem = self._begin()
        if problem is not None:
            process.node.finish(process, reason_of(problem), problem)
            return
        request = process.node.starting.pop(process, None)
        if request is not None:
            request.reply(None)
        if process.idle:
            process.idle = False
            try:
                # The starter comes first: it may want to monitor the guest.
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()
            finally:
                process.wake()

    def _begin(self) -> BaseException | None:
        """Make the guest inside its process; return the exception that this raised, or None."""
        process = self.process
        dispatcher = process.dispatcher
        dispatcher.running = process
        try:
            process.body = self._target.body(process, self._args, {})
        except BaseException as error:
            return error
        finally:
            dispatcher.running = None
        return None
