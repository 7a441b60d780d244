"""Requests to a supervisor: how the methods of `Supervisor` have them carried out, and answer their callers.

These are functions beside the class, because each public method of the class is a request itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from enfilade.actors.messages.attempt import is_interrupt
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.request import Deferred
from enfilade.actors.processes.actor import Actor
from enfilade.actors.supervision.actions import Answer, Refuse
from enfilade.actors.supervision.child_spec import Child
from enfilade.actors.supervision.children import ChildRecord, Children
from enfilade.actors.supervision.refusals import refused_with
from enfilade.actors.supervision.strategy import Strategy
from enfilade.actors.supervision.supervisor_body import SupervisorBody

__all__ = ["body_of", "carry_out", "look_up", "reply_to_caller", "strategy_of", "supervise"]

AnyRef = Ref[Any]


def body_of(supervisor: Actor) -> SupervisorBody:
    """The body that runs this supervisor."""
    body: SupervisorBody = supervisor.process.body
    return body


def strategy_of(supervisor: Actor) -> Strategy[AnyRef]:
    """The strategy that decides for this supervisor."""
    return body_of(supervisor).strategy


def supervise(supervisor: Actor, children: Children[AnyRef]) -> None:
    """Give a supervisor that is being made its children."""
    process = supervisor.process
    node = process.node

    def present(spec: Child) -> bool:
        """By way of the process, so that body and strategy do not hold each other."""
        return process.body.present(spec)  # type: ignore[no-any-return]

    def removed(child: ChildRecord[AnyRef]) -> None:
        if isinstance(process.body, SupervisorBody):
            process.body.child_removed(child)

    children.removed = removed
    strategy: Strategy[AnyRef] = Strategy(
        children, clock=node.timers.now, draw=node.runtime.random, present=present
    )
    body = body_of(supervisor)
    body.strategy, body.supervises = strategy, True


def carry_out(supervisor: Actor, request: Callable[..., Any], *args: Any) -> Deferred[Any]:
    """Have the body carry out a request that may take steps; the caller is answered when it is done."""
    reply, deferred = reply_to_caller(supervisor)
    body_of(supervisor).ask(reply, None if deferred is None else deferred.request, request, *args)
    return deferred


def look_up(supervisor: Actor, request: Callable[..., Any], *args: Any) -> Deferred[Any]:
    """Carry out a request that is done at once, and answer the caller."""
    reply, deferred = reply_to_caller(supervisor)
    try:
        outcome: Answer | Refuse = Answer(request(*args))
    except BaseException as error:  # what is looked up may be an object whose comparison fails
        if is_interrupt(error):
            raise
        outcome = Refuse(refused_with(error))
    reply(outcome)
    return deferred


def reply_to_caller(supervisor: Actor) -> tuple[Callable[[Answer | Refuse], None], Deferred[Any]]:
    """The function that answers the call at hand, and its deferred reply; for a cast it does nothing."""
    deferred: Any = supervisor.process.defer_if_called()

    def reply(outcome: Answer | Refuse) -> None:
        if deferred is None:
            return
        if isinstance(outcome, Answer):
            deferred.reply(outcome.value)
        else:
            deferred.fail(outcome.error)

    return reply, deferred
