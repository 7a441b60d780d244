"""Recordings of several nodes, put into one order.

What a node has sent comes before what another one got, where both have recorded it in one trace context.
Otherwise the order is that of the clocks of the nodes, as far as the observer could tell them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs

from enfilade.actors.cli.recordings import Recording

__all__ = ["Merged", "Step", "key_of", "merged"]

Key = tuple[str, int]
"""A process: its node, and its serial there."""

REF: Final = re.compile(r"^<([^:<>]+):(\d+)[ >]")


LEAST: Final = 1e-6
"""Seconds that a message is under way, at least."""

Times = dict[tuple[Any, ...], float]
"""When each message was seen first."""


@attrs.frozen
class Ends:
    """When messages were sent, and when they were got."""

    sent: Times
    got: Times

    def add(self, others: Ends, shift: float) -> None:
        """Add what is not known yet from another recording, moved by so many seconds."""
        for mine, theirs in ((self.sent, others.sent), (self.got, others.got)):
            for message, at in theirs.items():
                mine.setdefault(message, at + shift)


@attrs.frozen
class Step:
    """A line of a recording, on one axis of time.

    Attributes:
        at: seconds from the first of all.
        node: the node that it was recorded on.
        record: the line.
    """

    at: float
    node: str
    record: dict[str, Any]


@attrs.frozen
class Merged:
    """Recordings in one order.

    Attributes:
        nodes: the nodes, in the order of the recordings.
        steps: their lines.
        by_clock: the nodes whose place in the order is known by their clocks alone.
        is_cut: whether the end of one is missing.
    """

    nodes: list[str]
    steps: list[Step]
    by_clock: list[str]
    is_cut: bool


def merged(recordings: Sequence[Recording]) -> Merged:
    """Put the lines of recordings into one order.

    Args:
        recordings: at least one; each of another node.
    """
    first = min(recording.header["started_at"] for recording in recordings)
    lines = [list(_timed(recording, first)) for recording in recordings]
    shifts: list[float] = []
    by_clock: list[str] = []
    known = Ends({}, {})
    for recording, each in zip(recordings, lines, strict=True):
        ends = _ends(each)
        shift = _shift(known, ends) if shifts else 0.0
        if shift is None:
            by_clock.append(recording.header["node"])
        shifts.append(shift or 0.0)
        known.add(ends, shifts[-1])
    found = [
        (at + shifts[number], number, place, record)
        for number, each in enumerate(lines)
        for place, (at, record) in enumerate(each)
    ]
    found.sort(key=lambda item: item[:3])
    began = found[0][0] if found else 0.0
    nodes = [recording.header["node"] for recording in recordings]
    steps = [Step(at - began, nodes[number], record) for at, number, _, record in found]
    return Merged(nodes, steps, by_clock, any(recording.is_cut for recording in recordings))


def _timed(recording: Recording, first: float) -> Iterator[tuple[float, dict[str, Any]]]:
    """The lines of a recording, and how long after the first of all each was: one that has no time with the
    one before.
    """
    at = began = recording.header["started_at"] - first
    for record in recording.records:
        if "ns" in record:
            at = began + record["ns"] * 1e-9
        yield at, record


def _shift(before: Ends, after: Ends) -> float | None:
    """The least shift of the second, so that nothing is got before it was sent; None if nothing tells."""
    least = [before.sent[each] - at + LEAST for each, at in after.got.items() if each in before.sent]
    most = [before.got[each] - at - LEAST for each, at in after.sent.items() if each in before.got]
    if not least and not most:
        return None
    if least and max(least) > 0:
        return max(least)
    return min(0.0, *most) if most else 0.0


def _ends(lines: Sequence[tuple[float, dict[str, Any]]]) -> Ends:
    """When each message of a trace context was sent and got first."""
    ends = Ends({}, {})
    for at, record in lines:
        times = {"sent": ends.sent, "got": ends.got}.get(record.get("what", ""))
        if times is not None and record.get("context"):
            times.setdefault(_message(record), at)
    return ends


def _message(record: dict[str, Any]) -> tuple[Any, ...]:
    """The trace, the kind, and the method or type of a message."""
    trace_id = record["context"].split("-")[1]
    return trace_id, record.get("kind"), record.get("method") or record.get("type")


def key_of(node: str, given: Any) -> Key | None:
    """The process that an entry of a node names, by its serial there or as text; None if there is none."""
    if isinstance(given, int):
        return node, given
    found = REF.match(given) if isinstance(given, str) else None
    return None if found is None else (found[1], int(found[2]))
