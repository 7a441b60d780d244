"""Restarts and give-ups on an axis of time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from enfilade.actors.cli.observe import words
from enfilade.actors.cli.observe.sight import Sight

__all__ = ["MOODS", "SPANS", "Mark", "Row", "rows_of"]

SPANS: Final = (60.0, 600.0, 3600.0, 21_600.0)
"""The seconds that the axis may show."""

MOODS: Final = {
    "process.crashed": "bad",
    "supervisor.gave_up": "worst",
    "process.unkillable": "worst",
    "child.start_failed": "bad",
    "process.deadlock": "alarming",
    "process.slow": "odd",
    "loop.held": "odd",
    "child.restarted": "odd",
    "node.down": "odd",
    "node.refused": "odd",
    "child.started": "dim",
    "child.removed": "dim",
}
"""How much attention the kinds of events deserve; the others are plain."""

MARKED: Final = ("child.restarted", "supervisor.gave_up")
"""The kinds that have a mark on the axis."""


@attrs.frozen
class Mark:
    """A mark on the axis.

    Attributes:
        ago: seconds before now.
        event: what it stands for.
    """

    ago: float
    event: Mapping[str, Any]

    @property
    def is_give_up(self) -> bool:
        """True if the supervisor gave up; else it has restarted a child."""
        return bool(self.event["kind"] == "supervisor.gave_up")


@attrs.define
class Row:
    """The line of a supervisor.

    Attributes:
        supervisor: names it.
        marks: oldest first.
    """

    supervisor: str
    marks: list[Mark] = attrs.field(factory=list)

    @property
    def restarts(self) -> int:
        """The number of restarts."""
        return sum(not mark.is_give_up for mark in self.marks)


def rows_of(sight: Sight, span: float) -> list[Row]:
    """A line for each supervisor that has restarted a child in the last `span` seconds, the latest first."""
    rows: dict[str, Row] = {}
    for event in sight.timeline:
        ago = sight.seconds_ago(event)
        if event["kind"] not in MARKED or ago > span:
            continue
        name = words.ref_shown(event.get("supervisor"))
        rows[name] = rows.pop(name) if name in rows else Row(name)
        rows[name].marks.append(Mark(ago, event))
    return list(reversed(rows.values()))
