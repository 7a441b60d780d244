"""Verdicts: what is demanded of a world when its faults are over."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from enfilade.actors.simulation.checkers.books import Mismatch, check_books
from enfilade.actors.simulation.checkers.history import History
from enfilade.actors.simulation.checkers.linearizable import Model, explain
from enfilade.actors.simulation.checkers.lives import check_lives, check_names
from enfilade.actors.simulation.checkers.losses import check_losses
from enfilade.actors.simulation.checkers.monitors import check_monitors
from enfilade.actors.simulation.checkers.nodes import check_nodes
from enfilade.actors.simulation.checkers.order import check_order
from enfilade.actors.simulation.checkers.remains import (
    check_children,
    check_links,
    check_quiet,
    check_supervision,
    waiting_messages,
)
from enfilade.actors.simulation.checkers.serializable import explain_transactions
from enfilade.actors.simulation.host import Host

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node

__all__ = ["Verdicts"]

UNDER_WAY: Final = 1.0
"""Seconds before a check from which on messages may still be under way."""


class Verdicts:
    """The part of a `World` that checks its history, and what is left of its hosts."""

    history: History
    hosts: dict[str, Host]
    judge_properties: Callable[[], None]
    now: Callable[[], float]
    _mismatches: set[Mismatch]
    """What one end of a node link alone had in its books, shortly before the end of `calm`."""

    def living_nodes(self) -> list[Node]:
        """The nodes of the hosts that are alive."""
        living = (host.latest for host in self.hosts.values() if host.is_alive)
        return [node for node in living if node is not None]

    def check(self) -> None:
        """Demand of the history, and of what is left now, what holds in every world. Call it after `calm`.

        Raises:
            AssertionError: what does not hold.
        """
        for examine in (check_lives, check_names, check_nodes, check_order, check_monitors):
            examine(self.history.events)
        nodes = self.living_nodes()
        check_losses(self.history.events, self.now() - UNDER_WAY, waiting_messages(nodes))
        self.history.calls.check(self._times())
        for look in (check_quiet, check_links, check_children, check_supervision):
            look(nodes)
        self.judge_properties()
        check_books(nodes, self._mismatches)

    def _times(self) -> dict[tuple[str, int], float]:
        """The time by the clock of each life that can run its code at present."""
        lives = [host.life for host in self.hosts.values() if host.is_alive]
        return {
            (life.name, life.number): life.local(self.now())
            for life in lives
            if life is not None and not life.is_held
        }

    def linearizable(self, model: Model) -> None:
        """Demand that the operations of the history can have happened one after another.

        Raises:
            AssertionError: those on some key cannot; or it takes too long to tell.
            ValueError: the object of the model has no such operation.
        """
        _demand_none(explain(self.history.operations, model))

    def serializable(self) -> None:
        """Demand that the transactions of the history can have happened one after another.

        Raises:
            AssertionError: some cannot; it says which, and why.
        """
        _demand_none(explain_transactions(self.history.transactions))


def _demand_none(trouble: str | None) -> None:
    if trouble is not None:
        raise AssertionError(trouble)
