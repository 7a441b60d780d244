"""Supervisors: processes that start, watch, restart and stop other processes.

This is what can be asked of a supervisor. What it decides is in `strategy.py`, how that is carried out in
`supervisor_body.py`.

Source: stdlib's `supervisor`. Deviations are listed in docs/semantics-supervision.md.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, ClassVar

import attrs

from enfilade.actors.messages.errors import RuntimeFault
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.request import Deferred
from enfilade.actors.processes.actor import Actor
from enfilade.actors.processes.start import Started
from enfilade.actors.supervision.actions import Answer, Refuse
from enfilade.actors.supervision.child_spec import AutoShutdown, Child, ChildType, Flags, StrategyName
from enfilade.actors.supervision.children import ChildCounts, ChildInfo, Children, NamedChildren
from enfilade.actors.supervision.strategy import Strategy
from enfilade.actors.supervision.supervisor_body import SupervisorBody

__all__ = ["Supervisor"]


AnyRef = Ref[Any]


class Supervisor(Actor):
    """A process that keeps other processes alive.

    Spawned like any actor, `await node.spawn(Supervisor, [Child(...), ...], strategy="rest_for_one")`; the
    spawn returns when all children have started, and raises `StartError` with the reason
    `Shutdown(FailedToStart(id, reason))` when one has not, after those before it were stopped again.
    Subclasses may call `super().__init__` with children of their own. Supervisors are children of supervisors
    like any other process.

    Requests are calls: `await ref.call(Supervisor.start_child, Child(...))`. They are served one after
    another, and none while children are being started, stopped or restarted. A child may take long to start,
    so these calls have no time limit, but for those through a ref that has one: `ref.within(...)`.

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

    __slots__ = ()

    child_type: ClassVar[ChildType] = "supervisor"
    body_ = SupervisorBody

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
        self._supervise(NamedChildren(flags, children))

    def _supervise(self, children: Children[AnyRef]) -> None:
        clock, present = self.process.node.timers.now, self._body.present
        self._body.strategy = Strategy(children, clock=clock, present=present)

    @property
    def _body(self) -> SupervisorBody:
        body: SupervisorBody = self.process.body
        return body

    @property
    def _strategy(self) -> Strategy[AnyRef]:
        return self._body.strategy

    # Requests.

    def start_child(self, child: Any) -> Deferred[AnyRef | Started[AnyRef] | None]:
        """Add a child at the end and start it.

        Args:
            child: as an entry of the list of children.

        Returns:
            Its ref; `Started` if its `on_start` returned something; None when it declined to start
            (`Ignore`), in which case a temporary child is not kept.

        Raises:
            ChildRunning: a child with that id runs; the error has its ref.
            AlreadyPresent: there is one with that id, stopped or restarting.
            StartFailed: it did not start; the specification is discarded.
            InvalidChild, BadCombination: the specification is bad.
        """
        return self._request(self._strategy.start_child, child)

    def restart_child(self, id: Hashable) -> Deferred[AnyRef | Started[AnyRef] | None]:  # noqa: A002 (the field's name)
        """Start a child that is stopped.

        Returns:
            As of `start_child`.

        Raises:
            ChildNotFound, ChildRunning, ChildRestarting: there is no stopped child of that id.
            StartFailed: it did not start; the specification stays.
        """
        return self._request(self._strategy.restart_child, id)

    def terminate_child(self, id: Hashable) -> Deferred[None]:  # noqa: A002 (the field's name)
        """Stop a child, by its shutdown rule, and do not restart it.

        The specification stays unless the child is temporary. A child that is stopped already is left alone.

        Raises:
            ChildNotFound: there is none of that id.
        """
        return self._request(self._strategy.terminate_child, id)

    def delete_child(self, id: Hashable) -> Deferred[None]:  # noqa: A002 (the field's name)
        """Remove a child that is stopped.

        Raises:
            ChildNotFound, ChildRunning, ChildRestarting: there is no stopped child of that id.
        """
        return self._lookup(self._strategy.children.delete, id)

    def children(self) -> tuple[ChildInfo[AnyRef], ...]:
        """All children, in start order."""
        return self._strategy.children.infos()

    def which_children(self) -> tuple[ChildInfo[AnyRef], ...]:
        """All children, newest first: OTP's order."""
        return self.children()[::-1]

    def count_children(self) -> ChildCounts:
        """How many children there are: specifications, running ones, supervisors, workers."""
        return self._strategy.children.counts()

    def get_childspec(self, key: Hashable) -> Deferred[Child]:
        """The specification of a child, with all defaults filled in.

        Args:
            key: its id, or the ref of its process.

        Raises:
            ChildNotFound: there is none.
        """
        return self._lookup(self._strategy.children.spec, key)

    def change(
        self,
        children: Iterable[Any],
        *,
        strategy: StrategyName | None = None,
        intensity: int | None = None,
        period: float | None = None,
        auto_shutdown: AutoShutdown | None = None,
    ) -> Deferred[None]:
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
        return self._lookup(self._change, children, changes)

    def _change(self, children: Iterable[Any], changes: dict[str, Any]) -> None:
        flags = attrs.evolve(self._strategy.children.flags, **changes)
        self._strategy.change(flags, children)

    def _request(self, request: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Have the body carry out what may take steps; the caller is told how it went."""
        reply, deferred = self._reply()
        self._body.ask(reply, request, *args)
        return deferred

    def _lookup(self, request: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Carry out what is done at once."""
        reply, deferred = self._reply()
        try:
            reply(Answer(request(*args)))
        except RuntimeFault as error:
            reply(Refuse(error))
        return deferred

    def _reply(self) -> tuple[Callable[[Answer | Refuse], None], Deferred[Any]]:
        """What to tell the outcome of the call at hand; nothing happens to that of a cast."""
        deferred: Any = self.process.defer_if_called()

        def reply(outcome: Answer | Refuse) -> None:
            if deferred is None:
                return
            if isinstance(outcome, Answer):
                deferred.reply(outcome.value)
            else:
                deferred.fail(outcome.error)

        return reply, deferred
