"""A check that a node holds nothing once its processes have ended."""

from __future__ import annotations

import attrs

from enfilade.actors.node.node import Node
from enfilade.actors.node.statistics import NodeStatistics

__all__ = ["Leak", "check_leaks"]

# Counters of what has been; everything else in the statistics is held now.
COUNTERS = frozenset({"dead_letters", "dropped", "unkillable"})


class Leak(AssertionError):
    """A node still holds something; `held` says how much of what."""

    def __init__(self, node: Node, held: dict[str, int]) -> None:
        shown = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in held.items())
        super().__init__(f"node {node.full_name} still holds {shown}")
        self.held = held


def check_leaks(node: Node, *, allow: dict[str, int] | None = None) -> NodeStatistics:
    """Check that a node holds nothing: no processes, names, links, monitors, aliases, timers, members.

    Args:
        node: running, or just closed.
        allow: how much of what is to be there, by the names of `NodeStatistics`, such as `{"processes": 1}`
            for the test's own probe.

    Returns:
        The statistics.

    Raises:
        Leak: it holds more.
    """
    statistics = node.statistics()
    allowed = allow or {}
    held = {
        field.name: getattr(statistics, field.name)
        for field in attrs.fields(NodeStatistics)
        if field.name not in COUNTERS and getattr(statistics, field.name) > allowed.get(field.name, 0)
    }
    if held:
        raise Leak(node, held)
    return statistics
