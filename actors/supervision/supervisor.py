"""Supervisors: processes that start, watch, restart and stop other processes.

This is what can be asked of a supervisor. What it decides is in `strategy.py`, how that is carried out in
`supervisor_body.py`.

Source: stdlib's `supervisor`. Deviations are listed in docs/semantics-supervision.md.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, ClassVar

import attrs

from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.request import Deferred
from enfilade.actors.node.child_events import ChildEvent
from enfilade.actors.processes.actor import Actor
from enfilade.actors.processes.local_ref import process_of
from enfilade.actors.processes.start import Started
from enfilade.actors.supervision.administration import carry_out, look_up, strategy_of, supervise
from enfilade.actors.supervision.child_spec import AutoShutdown, Child, ChildType, Flags, StrategyName
from enfilade.actors.supervision.children import ChildCounts, ChildInfo, NamedChildren
from enfilade.actors.supervision.supervisor_body import SupervisorBody

__all__ = ["Supervisor"]


AnyRef = Ref[Any]


def _is_alive(ref: AnyRef) -> bool:
    """Tell whether a process lives, as far as that is known here: of another node's it is not."""
    process = process_of(ref)
    return process is None or process.ended is None


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
        intensity: maximum number of restarts within `period`; with one more the supervisor stops everything
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

    hears_: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.hears_ = cls.on_child_event is not Supervisor.on_child_event
        for hook in ("on_message", "on_exit", "on_down"):
            if getattr(cls, hook) is not getattr(Actor, hook):
                raise TypeError(
                    f"{cls.__qualname__} defines {hook}, which no supervisor calls: what one receives is "
                    "about its children; define on_child_event, or have a child receive the rest"
                )

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
        supervise(self, NamedChildren(flags, children))

    def on_child_event(self, event: ChildEvent) -> None:
        """Learn from `event` what has happened to a child. The default does nothing.

        Runs in the middle of the supervisor's work, so it must be quick, and must not make requests of this
        supervisor but by casts to `self.process.ref`. What it raises is logged, and the tree goes on. See
        also `Node.child_events`.
        """

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
        return carry_out(self, strategy_of(self).start_child, child)

    def restart_child(self, id: Hashable) -> Deferred[AnyRef | Started[AnyRef] | None]:  # noqa: A002 (the field's name)
        """Start the child `id`, which is stopped.

        Returns:
            As of `start_child`.

        Raises:
            ChildNotFound, ChildRunning, ChildRestarting: there is no stopped child of that id.
            StartFailed: it did not start; the specification stays.
        """
        return carry_out(self, strategy_of(self).restart_child, id)

    def terminate_child(self, id: Hashable) -> Deferred[None]:  # noqa: A002 (the field's name)
        """Stop the child `id`, by its shutdown rule, and do not restart it.

        The specification stays unless the child is temporary. A child that is stopped already is left alone.

        Raises:
            ChildNotFound: there is none of that id.
        """
        return carry_out(self, strategy_of(self).terminate_child, id)

    def delete_child(self, id: Hashable) -> Deferred[None]:  # noqa: A002 (the field's name)
        """Remove the child `id`, which is stopped.

        Raises:
            ChildNotFound, ChildRunning, ChildRestarting: there is no stopped child of that id.
        """
        return look_up(self, strategy_of(self).children.delete, id)

    def children(self) -> tuple[ChildInfo[AnyRef], ...]:
        """Return all children, in start order."""
        return strategy_of(self).children.infos()

    def which_children(self) -> tuple[ChildInfo[AnyRef], ...]:
        """Return all children, newest first: OTP's order."""
        return self.children()[::-1]

    def count_children(self) -> ChildCounts:
        """Count the children: specifications, running ones, supervisors, workers."""
        return strategy_of(self).children.counts(_is_alive)

    def get_childspec(self, key: Hashable) -> Deferred[Child]:
        """Return the specification of a child, with all defaults filled in.

        Args:
            key: its id, or the ref of its process.

        Raises:
            ChildNotFound: there is none.
        """
        return look_up(self, strategy_of(self).children.spec, key)

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

        Args:
            children: all specifications from now on.
            strategy, intensity, period, auto_shutdown: the flags of a `Supervisor`, `period` in seconds; None
                leaves a flag as it is.

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
        return look_up(self, self._supervisor_change, children, changes)

    def _supervisor_change(self, children: Iterable[Any], changes: dict[str, Any]) -> None:
        strategy = strategy_of(self)
        strategy.change(attrs.evolve(strategy.children.flags, **changes), children)
