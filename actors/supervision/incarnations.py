"""The incarnations of a supervisor's children: what others meet between two of them, and hear of them.

From the end of an incarnation until the next one is up, or the child is given up, calls to the last one fail
with `Restarting`, its name is kept, and its mailbox may be. Whoever listens is sent a `ChildEvent` for each
step. Nothing in here decides anything: that is the strategy's part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from enfilade.actors.messages.guarded import guarded
from enfilade.actors.messages.hooks import call
from enfilade.actors.messages.reasons import KILLED, NO_CONNECTION, Reason
from enfilade.actors.messages.ref import Ref
from enfilade.actors.node.child_events import ChildEvent, ChildEventKind
from enfilade.actors.processes.actor import Actor, shown_state
from enfilade.actors.processes.handlers import run_sync
from enfilade.actors.processes.local_ref import process_of
from enfilade.actors.supervision.children import RUNNING, STOPPED, ChildRecord

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process
    from enfilade.actors.supervision.strategy import Strategy

__all__ = ["Incarnations"]

AnyRef = Ref[Any]
LARGEST_STATE = 2_000  # characters of a child's last state


class Between(msgspec.Struct, eq=False):
    """The state of a child between two incarnations.

    Attributes:
        ref: the last one.
        reason: what it ended with, or why the last attempt to start the next one failed.
        name: the name that is kept, which a change of the specification may have replaced since.
        is_announced: whether listeners have been told of the attempt that comes next.
        failures: how many attempts to start the next one have failed.
    """

    ref: AnyRef
    reason: Reason
    name: str | None
    is_announced: bool = False
    failures: int = 0


class Parent(Protocol):
    """The body of a supervisor, as far as it matters here."""

    process: Process
    actor: Any
    strategy: Strategy[AnyRef]
    supervises: bool

    @property
    def hears(self) -> bool:
        """True if the supervisor's own class wants to be told."""


class Incarnations:
    """The lives of the children of one supervisor.

    Attributes:
        between: the children that are between two incarnations, and their state meanwhile.
    """

    __slots__ = ("_body", "_last_states", "_subscriptions", "between")

    def __init__(self, body: Parent) -> None:
        self._body = body
        self._subscriptions = body.process.node.child_events.subscriptions
        self.between: dict[ChildRecord[AnyRef], Between] = {}
        self._last_states: dict[AnyRef, str] = {}

    # Ends.

    def ending(self, process: Process) -> None:
        """A process, perhaps a child's, is about to end, and somebody listens: note its state."""
        if self._body.supervises and self._body.strategy.children.running(process.ref) is not None:
            actor = process.body.actor
            if isinstance(actor, Actor):
                self._last_states[process.ref] = shown_state(actor, LARGEST_STATE)

    def foresee(self, ref: AnyRef, reason: Reason) -> None:
        """The process `ref` has just ended: if it is a child that is to be restarted, it is from now on."""
        strategy = self._body.strategy
        child = strategy.children.running(ref)
        if child is None or not strategy.will_restart(child, reason):
            return
        before = self.between.get(child)
        if before is not None and before.ref != ref:
            self._leave(child)
        name = child.spec.local_name
        self.between[child] = Between(ref, reason, name)
        self._body.process.node.mark_restarting(ref, name)

    def ended(self, child: ChildRecord[AnyRef], ref: AnyRef, reason: Reason) -> None:
        """The child has ended, and the strategy is about to be told."""
        before = self.between.get(child)
        if before is None or before.ref is not ref:
            self.foresee(ref, reason)  # it has not been: it is remote, or had unlinked itself
        spec, body = child.spec, self._body
        if spec.mailbox.inherit:
            self.between.setdefault(child, Between(ref, reason, spec.local_name))
        if self._subscriptions or body.hears:
            self._tell("ended", child, ref, reason, state=self._last_states.pop(ref, None))
        heard = body.process.node.hooks.child_terminated
        if heard:
            will_restart = body.strategy.will_restart(child, reason)
            call(heard, body.process, child.id, ref, reason, will_restart)

    # Starts.

    def restarting(self, child: ChildRecord[AnyRef]) -> None:
        """The child is being restarted, as the strategy has it."""
        ref = child.predecessor
        if ref is not None:
            between = self.between.setdefault(child, Between(ref, KILLED, child.spec.local_name))
            self._body.process.node.mark_restarting(ref, between.name)

    def waits(self, child: ChildRecord[AnyRef], delay: float) -> None:
        """An attempt to start the child follows in `delay` seconds."""
        self.restarting(child)
        between = self.between.get(child)
        if between is None:  # it waits for its node, and has never run
            self._tell("restarting", child, None, NO_CONNECTION, delay=delay)
        else:
            between.is_announced = True
            self._tell("restarting", child, between.ref, between.reason, delay=delay)

    def attempt(self, child: ChildRecord[AnyRef]) -> None:
        """The child is about to be started: its name is free for that."""
        between = self.between.get(child)
        if between is not None:
            if not between.is_announced and (self._subscriptions or self._body.hears):
                self._tell("restarting", child, between.ref, between.reason, delay=0.0)
            between.is_announced = False
            if between.name is not None:
                self._body.process.node.free_name(between.name, between.ref)

    def failed(self, child: ChildRecord[AnyRef], reason: Reason, next_in: float | None) -> None:
        """The attempt has failed; the next one follows in `next_in` seconds, or none does."""
        between, attempt = self.between.get(child), 1
        if between is not None:
            between.reason = reason
            attempt = between.failures = between.failures + 1
        process = self._body.process
        heard = process.node.hooks.child_start_failed
        if heard:
            call(heard, process, child.id, reason, attempt, next_in)

    def started(self, child: ChildRecord[AnyRef], ref: AnyRef) -> None:
        """The child is up, and the strategy is about to be told."""
        body, old = self._body, child.predecessor
        count = child.restarts if old is None else child.restarts + 1
        if self._subscriptions or body.hears:
            self._tell("started", child, ref, restarts=count)
        hooks = body.process.node.hooks
        between = self.between.get(child)
        if old is None:
            if hooks.child_started:
                call(hooks.child_started, body.process, child.id, ref, count)
        elif hooks.child_restarted:
            reason = KILLED if between is None else between.reason
            in_period = body.strategy.restarts_in_period
            call(hooks.child_restarted, body.process, child.id, old, ref, reason, in_period)
        if between is not None:
            del self.between[child]
            body.process.node.mark_restarting(between.ref, between.name, restarting=False)

    def gave_up(self, child: ChildRecord[AnyRef], reason: Reason) -> None:
        """The supervisor has restarted too often because of this child."""
        between = self.between.get(child)
        if between is None:
            self._tell("gave_up", child, None, reason)
        else:
            reason = between.reason
            self._tell("gave_up", child, between.ref, reason)
        process = self._body.process
        heard = process.node.hooks.supervisor_gave_up
        if heard:
            strategy = self._body.strategy
            restarts, period = strategy.restarts_in_period, strategy.children.flags.period
            call(heard, process, child.id, reason, restarts, period)

    def removed(self, child: ChildRecord[AnyRef]) -> None:
        """The child is no longer listed."""
        process = self._body.process
        heard = process.node.hooks.child_removed
        if heard:
            call(heard, process, child.id)

    # The time between.

    def settle(self) -> None:
        """Let go of the children that are not restarted after all."""
        strategy = self._body.strategy
        if strategy.busy:
            return
        for child in list(self.between):
            if child.status is STOPPED and not strategy.restarts(child):
                self._leave(child)

    def abandon(self) -> None:
        """The supervisor has ended: none of its children is restarted."""
        for child in list(self.between):
            self._leave(child)

    def outlived(self, reason: Reason) -> None:
        """The supervisor has ended with `reason`, because it was killed, say, and has not heard of the end of
        some of its children: tell the subscribers of these ends, in the order in which it would have stopped
        them.

        One on another node ends over its link with the supervisor. Nobody hears when.
        """
        supervisor = self._body.process
        events, heard = supervisor.node.child_events, supervisor.node.hooks.child_terminated
        if not events and not heard:
            return
        for child in reversed(list(self._body.strategy.children)):
            if child.ref is None or child.status is not RUNNING or child.exit is not None:
                continue
            process = process_of(child.ref)
            ended = None if process is None else process.ended
            state = self._last_states.pop(child.ref, None)
            events.publish(self._event("ended", child, child.ref, ended or reason, state=state))
            if heard:
                call(heard, supervisor, child.id, child.ref, ended or reason, False)

    def let_go(self) -> None:
        """Let go of the body, which holds these lives: the supervisor has ended, its children are gone."""
        self.between.clear()
        del self._body

    def _leave(self, child: ChildRecord[AnyRef]) -> None:
        between = self.between.pop(child)
        self._body.process.node.mark_restarting(between.ref, between.name, restarting=False)

    # Whoever listens.

    def _tell(
        self,
        kind: ChildEventKind,
        child: ChildRecord[AnyRef],
        ref: AnyRef | None,
        reason: Reason | None = None,
        *,
        state: str | None = None,
        restarts: int | None = None,
        delay: float | None = None,
    ) -> None:
        """Tell the subclass's hook and the subscribers what has happened to the child. Nothing if there are
        none, which is asked first where a restart passes.
        """
        body = self._body
        event = self._event(kind, child, ref, reason, state=state, restarts=restarts, delay=delay)
        if type(body.actor).hears_:
            guarded(run_sync, body.actor.on_child_event, event)
        body.process.node.child_events.publish(event)

    def _event(
        self,
        kind: ChildEventKind,
        child: ChildRecord[AnyRef],
        ref: AnyRef | None,
        reason: Reason | None,
        *,
        state: str | None,
        restarts: int | None = None,
        delay: float | None = None,
    ) -> ChildEvent:
        count = child.restarts if restarts is None else restarts
        return ChildEvent(
            kind=kind,
            supervisor=self._body.process.ref,
            child_id=child.id,
            ref=ref,
            reason=reason,
            state=state,
            restarts=count,
            delay=delay,
        )
