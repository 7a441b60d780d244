"""The body of a supervisor: performs what its `Strategy` decides.

A supervisor runs in the dispatcher and never waits. Starting and stopping take time, so the body performs a
step, goes back to its mailbox, and reports the outcome to the strategy when it arrives. While the strategy is
busy, only messages about the children are handled; requests are postponed, as in OTP. A request to stop is
always served.

A child that has no task of its own is restarted within the supervisor's turn: no task, no queue, no switch.
The start of the supervisor is acknowledged once its children are up. The supervisor ends after the last
process of its tree.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from enfilade.actors.messages.attempt import is_interrupt
from enfilade.actors.messages.crash import reason_in, reason_of
from enfilade.actors.messages.errors import Ignore, NotConnected, ProcessDied, StartError, StartTimeout
from enfilade.actors.messages.kinds import is_a, is_among
from enfilade.actors.messages.reasons import KILLED, NO_CONNECTION, SHUTDOWN, Crashed, Reason, asked_by
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.request import Deferred, Request
from enfilade.actors.messages.safe_text import shown_name
from enfilade.actors.messages.signals import Call, Cast
from enfilade.actors.messages.traced import Traced
from enfilade.actors.peers.events import NodeDown, NodeUp, SiteFound
from enfilade.actors.processes.actor import Actor, construct
from enfilade.actors.processes.body import DispatchedBody
from enfilade.actors.processes.handlers import refuse_unknown, refused, run_sync
from enfilade.actors.processes.links import Down, Exited
from enfilade.actors.processes.local_ref import LocalRef
from enfilade.actors.processes.protocol import NO_NAMES, ActorProtocol, protocol_of
from enfilade.actors.processes.start import begin, give_back, inherit, take_info
from enfilade.actors.supervision.actions import (
    Action,
    Answer,
    Exit,
    Ready,
    Refuse,
    Report,
    Retry,
    Start,
    Stop,
)
from enfilade.actors.supervision.awaited_children import AwaitedChildren
from enfilade.actors.supervision.child_spec import Child
from enfilade.actors.supervision.child_starts import Acknowledged, NextStep, StartDue, begun, made_for
from enfilade.actors.supervision.child_stops import Stops, TimeUp
from enfilade.actors.supervision.children import ChildRecord
from enfilade.actors.supervision.held_children import HeldStart
from enfilade.actors.supervision.incarnations import Incarnations
from enfilade.actors.supervision.refusals import refused_with
from enfilade.actors.supervision.remote_children import RemoteStart
from enfilade.actors.supervision.strategy import Strategy

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["SupervisorBody"]


AnyRef = Ref[Any]
Outcome = Callable[[Answer | Refuse], None]


class SupervisorBody(DispatchedBody):
    """Runs one supervisor.

    Attributes:
        actor: the `Supervisor` object, which turns calls into requests.
        strategy: what decides.
    """

    __slots__ = (
        "_asked",
        "_asking",
        "_awaited",
        "_error",
        "_exit_reason",
        "_incarnations",
        "_late",
        "_performing",
        "_postponed",
        "_starts",
        "_stops",
        "_work",
        "actor",
        "at_hand",
        "hears",
        "protocol",
        "strategy",
        "supervises",
    )

    kind: ClassVar[str] = "supervisor"

    strategy: Strategy[AnyRef]

    def __init__(self, process: Process, protocol: ActorProtocol) -> None:
        super().__init__(process)
        self.protocol: ActorProtocol = protocol
        self.actor: Any = None
        self.hears: bool = getattr(protocol.actor, "hears_", False)
        self.at_hand: Any = None
        self._asked: Call | None = None
        self._asking: Outcome | None = None
        self._incarnations = Incarnations(self)
        self._late: set[Process] = set()  # killed, because their start took too long
        self._awaited = AwaitedChildren(process)
        self._error: BaseException | None = None
        self._exit_reason: Reason | None = None
        self._postponed: deque[Any] = deque()
        self._starts: dict[ChildRecord[AnyRef], Process | RemoteStart] = {}
        self._stops = Stops(process)
        self._performing = False
        self._work: deque[Action[AnyRef]] = deque()
        self.supervises: bool = False

    @property
    def awaited_ends(self) -> Collection[AnyRef]:
        """See `Body.awaited_ends`."""
        return self._stops.by_ref

    @property
    def awaited_start(self) -> Request[Any] | None:
        return next((start for start, _ in begun(self._starts, self.process.node.starting)), None)

    def has_put_off(self, request: Request[Any]) -> bool:
        return request is self._asked or any(message is request for message in self._postponed)

    def limits(self, start: Request[Any]) -> bool:
        found = begun(self._starts, self.process.node.starting)
        return any(seconds != math.inf for known, seconds in found if known is start)

    @classmethod
    def start(
        cls, actor: type[Actor], process: Process, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> SupervisorBody:
        """Make the supervisor; raises what its `__init__` and `on_start` raise."""
        protocol = actor.protocol_
        if protocol.is_async:
            raise TypeError(f"{shown_name(actor)} has async methods; a supervisor has no task to run them in")
        body = cls(process, protocol)
        process.body = body
        process.trap_exits = True
        process.open_arena()
        process.ref.limit = math.inf  # a child may take any time to start
        body.actor = construct(actor, process, args, kwargs)
        if not body.supervises:
            raise TypeError(f"{shown_name(actor)}.__init__ must call super().__init__(children, ...)")
        info = run_sync(protocol.on_start, body.actor)
        if info is not None:
            process.extras().start_info = info
        # The children are started in a turn of its own, so that a deep tree is no deep recursion.
        process.node.starting[process] = Request(process.node, process.ref, "start", (), {}, None)
        body.continue_with(body._boot)
        return body

    def _boot(self) -> None:
        self._perform(self.strategy.boot())

    def rebind(self, actor: type[Actor]) -> None:
        former, self.protocol = self.protocol, protocol_of(actor)
        self.protocol.take_over_from(former)

    # The mailbox.

    def turn(self, budget: int) -> bool:
        process = self.process
        queue = process.queue
        message: Any = None
        try:
            while budget:
                message = None
                if process.attention and not self.attend():
                    return False
                if self._postponed and not self.strategy.busy:
                    message = self._postponed.popleft()
                elif queue:
                    message = queue.popleft()
                else:
                    self._idle()
                    return False
                if process.attention:
                    process.observe(message)
                if type(message) is Exited:  # by far the most frequent one
                    self._exit_arrived(message)
                else:
                    self._take(message)
                if process.attention:
                    process.observed(message)
                budget -= 1
        except BaseException as error:
            self.crash(error, message)
            return False
        return True

    def _idle(self) -> None:
        """Become idle; callers may run a request themselves, unless the strategy is busy."""
        process = self.process
        if self.strategy.busy:
            process.handlers, process.names = None, NO_NAMES
        else:
            process.handlers, process.names = self.protocol.handlers, self.protocol.names
        process.idle = True

    def rest(self) -> None:
        super().rest()
        if self.process.idle:
            self._idle()

    def _take(self, message: Any) -> None:
        event = EVENTS[type(message)] if is_among(message, EVENTS) else None
        if event is not None:
            event(self, message)
        elif not self.strategy.busy:
            self._request(message)
        elif not self.strategy.stopping:
            self._postponed.append(message)
        elif is_a(message, Call):
            # Nothing is postponed any more: it is too late for this request.
            message.abandon(SHUTDOWN)

    def _request(self, message: Any) -> None:
        process = self.process
        if is_a(message, Retry):
            self._perform(self.strategy.retry(message))
        elif is_a(message, NextStep):
            message.fn()
        elif issubclass(type(message), Call | Cast):
            handler = self.protocol.handlers.get(message.method)
            if handler is None:
                refuse_unknown(process, message, self.protocol)
                return
            process.at_hand = message if is_a(message, Call) else None
            try:
                result = run_sync(handler, self.actor, *message.args, **message.kwargs)
            except TypeError as error:
                if not refused(process, message, handler, error):
                    raise
                result = None
            process.at_hand = None
            if is_a(message, Call) and not isinstance(result, Deferred):
                message.reply(result)
        else:
            process.node.dead_letters.publish(message, process.ref, SHUTDOWN)

    # The end.

    def stop(self, reason: Reason) -> bool:
        """Stop the children in order, then end; true while there are children to wait for."""
        if self._exit_reason is None and not self.strategy.stopping:
            self.process.suspended = False  # it has to hear how its children end
            self._perform(self.strategy.shut_down(reason))
        if self._exit_reason is None:
            return True
        self._end(self._exit_reason)
        return False

    def _end(self, reason: Reason) -> None:
        """Run `on_stop` and end: no child is left."""
        process = self.process
        error = self._error
        try:
            run_sync(self.protocol.on_stop, self.actor, reason)
        except BaseException as raised:
            reason, error = reason_of(raised), raised
        process.queue.extend(self._postponed)
        process.node.finish(process, reason, error)

    def crash(self, error: BaseException, message: Any) -> None:
        """Stop the children in order, then end with `error`, which a method of a subclass raised."""
        process = self.process
        if process.ended is not None:
            return
        reason = reason_of(error)
        process.at_hand = None
        if is_a(message, Call):
            message.abandon(reason)
        if self.strategy.stopping:
            process.node.finish(process, reason, error)
            return
        self._error = error
        self.at_hand = message
        process.handlers, process.names = None, NO_NAMES
        process.stop(reason)
        process.wake()

    # Requests.

    def ask(
        self, outcome: Outcome, call: Call | None, request: Callable[..., list[Action[AnyRef]]], *args: Any
    ) -> None:
        """Make a request of the strategy, for `call`; `outcome` is told the answer, at once or later."""
        try:
            actions = request(*args)
        except BaseException as error:  # an id, say, whose comparison fails: that is the fault of who asked
            if is_interrupt(error):
                raise
            outcome(Refuse(refused_with(error)))
            return
        self._asking, self._asked = outcome, call
        self._perform(actions)

    def continue_with(self, fn: Callable[[], None]) -> None:
        """Call `fn` once the strategy is free: the next step of a request that takes several."""
        self.process.put(NextStep(fn))

    # Events.

    def _exit_arrived(self, event: Exited | Down) -> None:
        ref = event.ref
        child = self.strategy.children.running(ref)
        if child is not None:
            if self._stops.by_ref:
                self._stops.ended(ref)
            self._incarnations.ended(child, ref, event.reason)
            if not isinstance(ref, LocalRef) and not event.reason.is_normal:
                self._report(Report("child_terminated", child, ref, event.reason))
            if self.strategy.restarts_alone(child, event.reason):
                self._start_child(child)
                return
            self._perform(self.strategy.exited(child, event.reason))
            if child.predecessor is not None and self.strategy.restarts(child):
                self._incarnations.restarting(child)
        elif isinstance(event, Exited) and self.process.is_parent(ref):
            self._perform(self.strategy.shut_down(event.reason))

    def _acknowledged(self, event: Acknowledged) -> None:
        made, request = event.made, event.request
        del self._starts[event.child]
        is_late = made in self._late
        self._late.discard(made)
        if request.error is None:
            self._started(event.child, made, request.value)
        else:
            self._stops.ended(made.ref)
            error = StartTimeout(event.child.spec.start_timeout) if is_late else request.error
            self._not_started(event.child, error, made)

    def _remote_start_ended(self, start: RemoteStart) -> None:
        if self._starts.get(start.child) is not start:
            return  # it was given up
        del self._starts[start.child]
        if start.ref is not None:
            self._incarnations.started(start.child, start.ref)
            self._perform(self.strategy.started(start.child, start.ref, start.info))
        else:
            self._not_started(start.child, start.error)

    def _name_held(self, start: HeldStart) -> None:
        child, retry = start.child, start.retry
        is_wanted = self._starts.get(child) is start if retry is None else child.retry is retry
        if is_wanted and retry is None:
            del self._starts[child]
        if self._awaited.name_held(start, is_wanted=is_wanted):
            self._perform([Start(child)] if retry is None else self.strategy.retry(retry))
            if not self.strategy.busy:
                self._awaited.let_go()  # of a name that no child is started for after all
        elif is_wanted and retry is None:
            self._not_started(child, start.error)

    def _node_up(self, event: NodeUp | SiteFound) -> None:
        for retry in self._awaited.node_up(event):
            self._perform(self.strategy.retry(retry))

    def _node_down(self, event: NodeDown) -> None:
        self._awaited.node_down(event)

    def _time_up(self, event: TimeUp) -> None:
        for child in self._stops.time_up(event):
            if child.ref is not None:
                self._incarnations.ended(child, child.ref, KILLED)
            self._perform(self.strategy.unkillable(child))

    # Actions.

    def _perform(self, actions: list[Action[AnyRef]]) -> None:
        """Perform these actions, and those that follow from them, one after another."""
        work = self._work
        if self._performing:
            if actions:
                work.extend(actions)
            return
        self._performing = True
        try:
            for action in actions:
                PERFORMERS[type(action)](self, action)
            while work:
                action = work.popleft()
                PERFORMERS[type(action)](self, action)
        finally:
            work.clear()
            self._performing = False
        if self._incarnations.between:
            self._incarnations.settle()

    def _start(self, start: Start[AnyRef]) -> None:
        self._start_child(start.child)

    def _start_child(self, child: ChildRecord[AnyRef]) -> None:
        spec = child.spec
        process = self.process
        self._incarnations.attempt(child)
        made: Process | None = None
        serial: int | None = None
        try:
            if spec.is_awaited:
                awaited = self._awaited.start(child)
                if awaited is not None:
                    self._starts[child] = awaited
                    self._limit_start(child, awaited)
                    return
                serial = self._awaited.serial(spec)
            made = made_for(process, child, serial)
            if serial is not None:
                self._awaited.made(spec, made)
            request = begin(made, spec.target, child.args, child.kwargs)
        except Exception as error:
            self._not_started(child, error, made)
            return
        if request is None:
            self._started(child, made, None if made.extras_or_none is None else take_info(made))
            return
        self._starts[child] = made
        self._incarnations.restarting(child)
        self._limit_start(child, made)
        request.observer = lambda request: process.put(Acknowledged(child, made, request))

    def _started(self, child: ChildRecord[AnyRef], made: Process, info: Any) -> None:
        if child.predecessor is not None and child.spec.mailbox.inherit:
            inherit(made, child.predecessor)
        self._incarnations.started(child, made.ref)
        actions = self.strategy.started(child, made.ref, info)
        if actions:
            self._perform(actions)
        elif self._incarnations.between and not self._performing:
            self._incarnations.settle()

    def _limit_start(self, child: ChildRecord[AnyRef], start: Process | RemoteStart) -> None:
        """Have the start fail when its time has passed."""
        if child.spec.start_timeout != math.inf:
            self.process.send_after(child.spec.start_timeout, self.process.ref, StartDue(child, start))

    def _start_due(self, event: StartDue) -> None:
        child, start = event.child, event.start
        if self._starts.get(child) is not start or self.strategy.stopping:
            return
        if isinstance(start, RemoteStart):
            del self._starts[child]
            if start.abandon is not None:
                start.abandon()
            self._not_started(child, StartTimeout(child.spec.start_timeout))
        else:
            self._late.add(start)
            start.interrupt(asked_by(KILLED, self.process.ref))  # whose end is the answer to its start

    def _not_started(
        self, child: ChildRecord[AnyRef], error: BaseException | Reason, made: Process | None = None
    ) -> None:
        if made is not None and child.spec.mailbox.inherit:
            give_back(made, child.predecessor)
        if is_a(error, Ignore):
            self._perform(self.strategy.ignored(child))
            return
        if is_a(error, StartError):
            reason = reason_in(error)
        elif is_a(error, NotConnected) and self._awaited.are_elsewhere:
            reason = NO_CONNECTION
        else:
            reason = error if is_a(error, Reason) else Crashed(error)  # type: ignore[arg-type]
        actions = self.strategy.start_failed(child, reason)
        delays = (action.delay for action in actions if is_a(action, Retry) and action.child is child)
        self._incarnations.failed(child, reason, next(delays, None))
        self._perform(actions)

    def present(self, spec: Child) -> bool:
        """Return true if the start of this child need not wait; see `Strategy`."""
        return self._awaited.present(spec)

    def _stop(self, stop: Stop[AnyRef]) -> None:
        there = []
        for child in stop.children:
            ref = self._starts[child].ref if child.ref is None else child.ref
            if ref is None:
                self._give_up(child)
            else:
                there.append((ref, child))
        self._stops.begin(there)

    def _give_up(self, child: ChildRecord[AnyRef]) -> None:
        """Tell the child's node, which has not answered yet, to end what it starts; do not wait for it."""
        start = self._starts.pop(child)
        if isinstance(start, RemoteStart) and start.abandon is not None:
            start.abandon()
        self._perform(self.strategy.start_failed(child, SHUTDOWN))

    def _retry(self, retry: Retry[AnyRef]) -> None:
        self._incarnations.waits(retry.child, retry.delay)
        if retry.delay == 0:
            self.process.put(retry)
        elif retry.delay == math.inf:
            self._awaited.wait(retry)
        else:
            self.process.send_after(retry.delay, self.process.ref, retry)

    def _answered(self, answer: Answer | Refuse) -> None:
        outcome, self._asking, self._asked = self._asking, None, None
        if outcome is not None:
            outcome(answer)

    def _ready(self, _ready: Ready) -> None:
        """Acknowledge the start."""
        start = self.process.node.starting.pop(self.process, None)
        if start is not None:
            start.reply(take_info(self.process))

    def _exit(self, end: Exit) -> None:
        self._exit_reason = end.reason
        self.process.stop(end.reason)  # so that the turn goes to `stop`, which ends the process
        if self._asking is not None:
            self._answered(Refuse(ProcessDied(self.process.ref, end.reason)))

    def _report(self, report: Report[AnyRef]) -> None:
        why = None
        if report.kind == "reached_max_restart_intensity":
            self._incarnations.gave_up(report.child, report.reason)
            flags = self.strategy.children.flags
            why = f"restarts exceed intensity={flags.intensity} within period={flags.period} s"
        self.process.node.reports.supervisor(
            self.process.ref, report.kind, report.child.spec.id, report.ref, report.reason, why
        )

    # What others meet between two incarnations.

    def replace_target(self, ref: AnyRef, target: Any) -> None:
        """Start `target` at later restarts of the child that runs as `ref`."""
        record = self.strategy.children.running(ref)
        if record is not None:
            record.spec = record.spec.retargeted(target)

    def child_ending(self, child: Process) -> None:
        if self.supervises:
            self._incarnations.ending(child)

    def place_of(self, ref: AnyRef) -> tuple[Hashable, int]:
        record = self.strategy.children.running(ref) if self.supervises else None
        return (None, 0) if record is None else (record.id, record.restarts)

    def child_removed(self, child: ChildRecord[AnyRef]) -> None:
        """The child is no longer listed."""
        self._incarnations.removed(child)

    def linked_ended(self, ref: AnyRef, reason: Reason) -> None:
        if self.supervises:
            self._incarnations.foresee(ref, reason)

    def abandon_restarts(self) -> None:
        self._incarnations.abandon()

    def arena_emptied(self, reason: Reason) -> None:
        self._awaited.let_go()
        if self.supervises:
            self._incarnations.outlived(reason)
        self._incarnations.let_go()
        self.process.node.child_events.forget(self.process.ref)


# What is taken at any time, busy or not.
EVENTS: dict[type, Callable[[SupervisorBody, Any], None]] = {
    Exited: SupervisorBody._exit_arrived,
    Down: SupervisorBody._exit_arrived,
    Acknowledged: SupervisorBody._acknowledged,
    HeldStart: SupervisorBody._name_held,
    RemoteStart: SupervisorBody._remote_start_ended,
    StartDue: SupervisorBody._start_due,
    NodeUp: SupervisorBody._node_up,
    SiteFound: SupervisorBody._node_up,
    NodeDown: SupervisorBody._node_down,
    TimeUp: SupervisorBody._time_up,
    Traced: lambda body, traced: body._take(traced.message),
}

PERFORMERS: dict[type, Callable[[SupervisorBody, Any], None]] = {
    Start: SupervisorBody._start,
    Stop: SupervisorBody._stop,
    Retry: SupervisorBody._retry,
    Ready: SupervisorBody._ready,
    Answer: SupervisorBody._answered,
    Refuse: SupervisorBody._answered,
    Exit: SupervisorBody._exit,
    Report: SupervisorBody._report,
}
