"""Supervisors: processes that start, watch, restart and stop other processes.

A supervisor is an actor around a `Strategy`, which makes every decision. The actor performs: it starts
children, sends them exit signals, sets timers, and tells the strategy how that went. While the strategy is
busy the actor takes only what concerns its children out of its mailbox, so requests wait their turn, as in
OTP; but it never waits for a child alone, and so it also hears its parent then.

A child that has no task of its own is restarted within the supervisor's own turn: no task, no queue, no
switch.

Source: stdlib's `supervisor`. Deviations are listed in docs/semantics-supervision.md.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Any, ClassVar

import attrs
import trio

from actors import starting
from actors.actions import Action, Answer, Exit, Ready, Refuse, Report, Retry, Start, Stop
from actors.actor import Actor
from actors.calls import Request
from actors.children import ChildCounts, ChildInfo, Record, Status
from actors.errors import Ignore, ProcessDied, RuntimeFault, StartError, UnknownMethod
from actors.links import Down, Exited
from actors.reasons import KILL, SHUTDOWN, Crashed, Reason
from actors.reasons import Exit as ExitProcess
from actors.ref import LocalRef, Ref
from actors.signals import Call, Cast
from actors.spec import AutoShutdown, Child, ChildType, Flags, StrategyName
from actors.strategy import Strategy
from actors.tasked import TaskBody
from actors.timers import Timer

__all__ = ["Supervisor"]

AnyRef = Ref[Any]


@attrs.frozen(eq=False)
class Acknowledged:
    """The start of a child that has a task came to its end, good or bad."""

    child: Record[AnyRef]
    request: Request[Any]


@attrs.define(eq=False)
class Stopping:
    """A stop in progress: who is still there, and the timer that makes it harder.

    Attributes:
        left: the children whose end is awaited, by ref.
        timer: what limits the patience; None for ever.
        killed: whether the time for an orderly end is over.
    """

    left: dict[AnyRef, Record[AnyRef]] = attrs.Factory(dict)
    timer: Timer | None = None
    killed: bool = False


@attrs.frozen(eq=False)
class TimeUp:
    """The patience with `stopping` is over."""

    stopping: Stopping


EVENTS = (Exited, Down, Acknowledged, TimeUp)


class Supervisor(Actor):
    """A process that keeps other processes alive.

    Spawned like any actor, `await node.spawn(Supervisor, [Child(...), ...], strategy="rest_for_one")`; the
    spawn returns when all children have started, and raises `StartError` with the reason
    `Shutdown(FailedToStart(id, reason))` when one has not, after those before it were stopped again.
    Subclasses may call `super().__init__` with children of their own. Supervisors are children of supervisors
    like any other process.

    Requests are calls: `await ref.call(Supervisor.start_child, Child(...))`. They are served one after
    another, and none while children are being started, stopped or restarted; give the ref patience with
    `ref.within(...)` where a child takes long to start.

    Args:
        children: specifications, classes with a `child_spec()`, or plain targets, in start order.
        strategy: "one_for_one" restarts the child that ended, "one_for_all" all, "rest_for_one" that one and
            those that were started after it.
        intensity: how many restarts within `period` are borne; one more, and the supervisor stops everything
            and exits with `SHUTDOWN`.
        period: seconds.
        auto_shutdown: whether the end of significant children ends the supervisor: "never",
            "any_significant", "all_significant".

    Raises:
        InvalidChild, DuplicateChild, BadCombination, InvalidFlag: what is wrong with the arguments; as the
        cause of the
            spawn's `StartError`.
    """

    __slots__ = ("_answer", "_between", "_exit_reason", "_starts", "_stops", "_strategy", "_work")

    child_type: ClassVar[ChildType] = "supervisor"

    _strategy: Strategy[AnyRef]

    def __init__(
        self,
        children: Iterable[Any] = (),
        *,
        strategy: StrategyName = "one_for_one",
        intensity: int = 1,
        period: float = 5.0,
        auto_shutdown: AutoShutdown = "never",
    ) -> None:
        flags = Flags(strategy=strategy, intensity=intensity, period=period, auto_shutdown=auto_shutdown)
        self._supervise(Strategy(flags, children, clock=trio.current_time))

    def _supervise(self, strategy: Strategy[AnyRef]) -> None:
        self._strategy = strategy
        self._answer: Answer | Refuse | None = None
        self._exit_reason: Reason | None = None
        self._starts: dict[Record[AnyRef], AnyRef] = {}
        self._stops: dict[AnyRef, Stopping] = {}
        self._between: dict[Record[AnyRef], AnyRef] = {}
        self._work: deque[Action[AnyRef]] | None = None
        self.process.trap_exits = True
        self.process.open_arena()

    # Requests.

    async def start_child(self, child: Any) -> AnyRef | None:
        """Add a child at the end and start it.

        Args:
            child: as an entry of the list of children.

        Returns:
            Its ref; None when it declined to start (`Ignore`), in which case a temporary child is not kept.

        Raises:
            ChildRunning: a child with that id runs; the error has its ref.
            AlreadyPresent: there is one with that id, stopped or restarting.
            StartFailed: it did not start; the specification is discarded.
            InvalidChild, BadCombination: the specification is bad.
        """
        answer: AnyRef | None = await self._request(self._strategy.start_child, child)
        return answer

    async def restart_child(self, id: Hashable) -> AnyRef | None:  # noqa: A002 (the field's name)
        """Start a child that is stopped.

        Returns:
            Its ref; None when it declined to start.

        Raises:
            ChildNotFound, ChildRunning, ChildRestarting: there is no stopped child of that id.
            StartFailed: it did not start; the specification stays.
        """
        answer: AnyRef | None = await self._request(self._strategy.restart_child, id)
        return answer

    async def terminate_child(self, id: Hashable) -> None:  # noqa: A002 (the field's name)
        """Stop a child, by its shutdown rule, and do not restart it.

        The specification stays unless the child is temporary. A child that is stopped already is left alone.

        Raises:
            ChildNotFound: there is none of that id.
        """
        answer: None = await self._request(self._strategy.terminate_child, id)
        return answer

    async def delete_child(self, id: Hashable) -> None:  # noqa: A002 (the field's name)
        """Remove a child that is stopped.

        Raises:
            ChildNotFound, ChildRunning, ChildRestarting: there is no stopped child of that id.
        """
        answer: None = self._lookup(self._strategy.delete_child, id)
        return answer

    def children(self) -> tuple[ChildInfo[AnyRef], ...]:
        """All children, in start order."""
        return self._strategy.children()

    def which_children(self) -> tuple[ChildInfo[AnyRef], ...]:
        """All children, newest first: OTP's order."""
        return self._strategy.which_children()

    def count_children(self) -> ChildCounts:
        """How many children there are: specifications, running ones, supervisors, workers."""
        return self._strategy.count_children()

    def get_childspec(self, key: Hashable) -> Child:
        """The specification of a child, with all defaults filled in.

        Args:
            key: its id, or the ref of its process.

        Raises:
            ChildNotFound: there is none.
        """
        spec: Child = self._lookup(self._strategy.get_childspec, key)
        return spec

    async def change(
        self,
        children: Iterable[Any],
        *,
        strategy: StrategyName | None = None,
        intensity: int | None = None,
        period: float | None = None,
        auto_shutdown: AutoShutdown | None = None,
    ) -> None:
        """Replace the specifications, and the flags that are given: what a code upgrade does.

        Children are matched by id. Those that run keep running, under their new specification; new ones are
        listed but not started; those that are no longer specified stay, at the end. Source:
        `supervisor:code_change`.

        Raises:
            InvalidChild, DuplicateChild, BadCombination, InvalidFlag: what is wrong; nothing has changed
            then.
        """
        given = {
            "strategy": strategy,
            "intensity": intensity,
            "period": period,
            "auto_shutdown": auto_shutdown,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        answer: None = self._lookup(self._change, children, changes)
        return answer

    def _change(self, children: Iterable[Any], changes: dict[str, Any]) -> None:
        self._strategy.change(attrs.evolve(self._strategy.flags, **changes), children)

    async def _request(self, request: Any, *args: Any) -> Any:
        """Carry out a request that takes steps; its refusals go to the caller."""
        try:
            actions = request(*args)
        except RuntimeFault as error:
            return self._refuse(error)
        self._perform(actions)
        await self._settle()
        return self._take_answer()

    def _take_answer(self) -> Any:
        answer, self._answer = self._answer, None
        if isinstance(answer, Answer):
            return answer.value
        if isinstance(answer, Refuse):
            return self._refuse(answer.error)
        # The request was given up because the supervisor has to go.
        return self._refuse(ProcessDied(self.process.ref, self._exit_reason or SHUTDOWN))

    def _lookup(self, request: Any, *args: Any) -> Any:
        """Carry out a request that is answered at once."""
        try:
            return request(*args)
        except RuntimeFault as error:
            return self._refuse(error)

    def _refuse(self, error: Exception) -> Any:
        deferred = self.process.defer()
        deferred.fail(error)
        return deferred

    # The life of the supervisor.

    async def on_start(self) -> None:
        """Start the first children."""
        self._perform(self._strategy.boot())
        await self._settle()
        if self._exit_reason is not None:
            raise ExitProcess(self._exit_reason)

    async def on_exit(self, exited: Exited) -> None:
        """A child ended, or somebody who is none: that means nothing, unless it is the node."""
        self._event(exited)
        if self._strategy.busy:
            await self._settle()

    async def on_down(self, down: Down) -> None:
        """A child that unlinked itself ended."""
        self._event(down)
        if self._strategy.busy:
            await self._settle()

    async def on_message(self, message: Any) -> None:
        """What the supervisor tells itself; anything else is dropped, and noted."""
        if isinstance(message, Retry):
            self._perform(self._strategy.retry(message))
        elif isinstance(message, EVENTS):
            self._event(message)
        else:
            self.process.node.dead_letters.publish(message, self.process.ref, SHUTDOWN)
        if self._strategy.busy:
            await self._settle()

    def _unknown(self, request: Call | Cast) -> None:
        """Nobody's mistake ends a supervisor: what it does not know it refuses, or drops and notes."""
        if isinstance(request, Call):
            request.fail(UnknownMethod(request.method, type(self)))
        else:
            self.process.node.dead_letters.publish(request, self.process.ref, SHUTDOWN)

    async def on_stop(self, reason: Reason) -> None:
        """Stop all children, last first."""
        self._perform(self._strategy.shut_down(reason))
        await self._settle()
        reader = self.process.reader
        assert reader is not None
        while reader.take(EVENTS)[0]:
            # A child's end is told over its link and by its monitor; the second is no dead letter.
            pass

    # Events.

    async def _settle(self) -> None:
        """Carry the plan out: take what concerns the children, and the order to stop; leave the rest.

        On the way out nothing is left for later: whoever asks for something now is told that it is too late.
        """
        process, strategy = self.process, self._strategy
        reader = process.reader
        assert reader is not None
        while strategy.busy:
            if process.control:
                await reader.serve()
            if process.stopping is not None and not strategy.stopping:
                self._perform(strategy.shut_down(process.stopping))
                continue
            found, message = reader.take(None if strategy.stopping else EVENTS)
            if not found:
                await reader.park()
            elif isinstance(message, EVENTS):
                self._event(message)
            elif isinstance(message, Call):
                message.abandon(SHUTDOWN)

    def _event(self, event: Any) -> None:
        if isinstance(event, Exited | Down):
            child = self._strategy.child(event.ref)
            if child is not None:
                if self._stops:
                    self._ended(event.ref)
                if child.spec.mailbox.inherit:
                    self._between[child] = event.ref
                self._perform(self._strategy.exited(child, event.reason))
            elif isinstance(event, Exited) and event.ref in (self.process.parent, self.process.node.ref):
                self._perform(self._strategy.shut_down(event.reason))
        elif isinstance(event, Acknowledged):
            self._acknowledged(event.child, event.request)
        elif isinstance(event, TimeUp):
            self._time_up(event.stopping)

    def _ended(self, ref: AnyRef) -> None:
        """A child has ended: it is no longer waited for."""
        stopping = self._stops.pop(ref, None)
        if stopping is not None:
            del stopping.left[ref]
            if not stopping.left and stopping.timer is not None:
                stopping.timer.cancel()

    def _acknowledged(self, child: Record[AnyRef], request: Request[Any]) -> None:
        ref = self._starts.pop(child)
        if request.error is None:
            self._perform(self._strategy.started(child, ref))
        else:
            self._ended(ref)
            self._not_started(child, request.error)

    def _time_up(self, stopping: Stopping) -> None:
        """Kill what is left; and what a kill does not end either is left behind."""
        if not stopping.killed:
            self._kill(stopping)
            return
        for ref, child in list(stopping.left.items()):
            self._ended(ref)
            self._perform(self._strategy.unkillable(child))

    # Actions.

    def _perform(self, actions: list[Action[AnyRef]]) -> None:
        """Perform these actions, and those that follow from them, one after another."""
        if self._work is not None:
            self._work.extend(actions)
            return
        if not actions:
            return
        work = self._work = deque(actions)
        try:
            while work:
                action = work.popleft()
                PERFORMERS[type(action)](self, action)
        finally:
            self._work = None
        if self._between:
            self._resolve()

    def _start(self, start: Start[AnyRef]) -> None:
        child = start.child
        spec = child.spec
        process = self.process
        heir_of = child.predecessor if spec.mailbox.inherit else None
        try:
            made = starting.create(
                process.node, process, spec.name, True, False, spec.mailbox, spec.label, "supervisor", heir_of
            )
            request = starting.begin(made, spec.target, child.args, child.kwargs)
        except Exception as error:
            self._not_started(child, error)
            return
        if request is None:
            self._perform(self._strategy.started(child, made.ref))
            return
        self._starts[child] = made.ref
        self._restarting(child)
        request.observer = lambda request: process.put(Acknowledged(child, request))

    def _not_started(self, child: Record[AnyRef], error: BaseException) -> None:
        if isinstance(error, Ignore):
            self._perform(self._strategy.ignored(child))
        else:
            reason = error.reason if isinstance(error, StartError) else Crashed(error)
            self._perform(self._strategy.start_failed(child, reason))

    def _stop(self, stop: Stop[AnyRef]) -> None:
        stopping = Stopping()
        patience = 0.0
        for child in stop.children:
            ref = self._starts[child] if child.ref is None else child.ref
            stopping.left[ref] = child
            self._stops[ref] = stopping
            # The end is awaited by a monitor: a child that unlinked itself holds nobody up.
            self.process.monitor(ref)
            limit = child.spec.shutdown
            if limit == "brutal_kill":
                self._send_exit(ref, KILL)
            else:
                patience = max(patience, limit)
                self._send_exit(ref, SHUTDOWN)
        if all(child.spec.shutdown == "brutal_kill" for child in stop.children):
            self._expect_the_killed(stopping)
        elif patience < math.inf:
            self._limit(stopping, patience)

    def _kill(self, stopping: Stopping) -> None:
        for ref in list(stopping.left):
            self._send_exit(ref, KILL)
        self._expect_the_killed(stopping)

    def _expect_the_killed(self, stopping: Stopping) -> None:
        """The runtime gives up a task that does not end within its grace; this bounds every other body."""
        stopping.killed = True
        self._limit(stopping, 2 * self.process.node.config.kill_grace)

    def _limit(self, stopping: Stopping, seconds: float) -> None:
        if stopping.left:
            stopping.timer = self.process.send_after(seconds, self.process.ref, TimeUp(stopping))

    def _send_exit(self, ref: AnyRef, reason: Reason) -> None:
        self.process.exit(ref, reason)
        if isinstance(ref, LocalRef):
            ended = ref._process
            if ended.exit_signal is not None and ended.ended is None and not isinstance(ended.body, TaskBody):
                # Nothing of it is on the stack, so it need not wait for its turn to die.
                ended.attend()

    def _retry(self, retry: Retry[AnyRef]) -> None:
        self._restarting(retry.child)
        if retry.delay == 0:
            self.process.put(retry)
        else:
            self.process.send_after(retry.delay, self.process.ref, retry)

    def _answered(self, answer: Answer | Refuse) -> None:
        self._answer = answer

    def _ready(self, ready: Ready) -> None:
        """The start is acknowledged when `on_start` returns."""

    def _exit(self, end: Exit) -> None:
        self._exit_reason = end.reason
        self.process.stop(end.reason)

    def _report(self, report: Report[AnyRef]) -> None:
        if report.kind != "child_terminated" or report.reason.is_normal:
            self.process.node.reports.supervisor(
                self.process, report.kind, report.child.spec.id, report.ref, report.reason
            )
        # Otherwise the node has noted the abnormal exit itself.

    # Between two incarnations: calls are told that the child is restarting, and its mailbox may be kept.

    def _restarting(self, child: Record[AnyRef]) -> None:
        ref = child.predecessor
        if ref is not None:
            self._between[child] = ref
            self.process.node.mark_restarting(ref, child.spec.name)

    def _resolve(self) -> None:
        """Look after the children that were between two incarnations and no longer are."""
        busy = self._strategy.busy
        for child, ref in list(self._between.items()):
            status = child.status
            if status is Status.RUNNING or (status is Status.STOPPED and not busy):
                del self._between[child]
                self.process.node.mark_restarting(ref, child.spec.name, restarting=False)
                starting.disinherit(ref)


PERFORMERS: dict[type, Callable[[Supervisor, Any], None]] = {
    Start: Supervisor._start,
    Stop: Supervisor._stop,
    Retry: Supervisor._retry,
    Ready: Supervisor._ready,
    Answer: Supervisor._answered,
    Refuse: Supervisor._answered,
    Exit: Supervisor._exit,
    Report: Supervisor._report,
}
