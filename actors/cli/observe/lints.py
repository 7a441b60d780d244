"""Warnings about a node, drawn from what has been seen of it: nothing here asks it anything.

Each lint is a function of what has been seen, and gives the warnings that hold now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import attrs

from enfilade.actors.cli.observe import words
from enfilade.actors.cli.observe.history import SERIES, History
from enfilade.actors.cli.observe.trackers import Credit, Mailboxes, Row, Waits

__all__ = ["Seen", "Warned", "warnings_of"]

GROWING: Final = 10.0
"""Seconds for which a mailbox must have grown."""

RECENT: Final = 60.0
"""Seconds for which an event that is worth a warning is one."""

WAITING: Final = 5.0
"""Seconds that a process may wait for a call."""

BUSY: Final = 0.9
"""The share of the loop's time that is too much."""

GUEST: Final = 0.8
"""The share of a limit that is too much for a guest."""

BY_NAME: Final = {series.name: series for series in SERIES}


class Seen(Protocol):
    """The knowledge that the lints draw on: see `Sight`."""

    history: History
    mailboxes: Mailboxes
    waits: Waits
    credit: Credit
    guests: Sequence[Row]
    observation_share: float | None

    @property
    def budget(self) -> float:
        """The share of its time that the node may spend on being observed."""

    def recent(self, kind: str, seconds: float) -> Iterator[Mapping[str, Any]]:
        """The events of a kind of the last seconds, oldest first."""


@attrs.frozen
class Warned:
    """A warning.

    Attributes:
        about: which lint it comes from.
        text: says it in one line.
        process: the serial of the process that it is about; None.
    """

    about: str
    text: str
    process: int | None = None


def warnings_of(sight: Seen) -> list[Warned]:
    """The warnings that hold now, in a fixed order."""
    return [warned for lint in LINTS for warned in lint(sight)]


def _circles(sight: Seen) -> Iterator[Warned]:
    for event in sight.recent("process.deadlock", RECENT):
        yield Warned("circle", words.described(event))


def _restarts(sight: Seen) -> Iterator[Warned]:
    """A supervisor has used up more than half of its restarts."""
    last: dict[Any, Mapping[str, Any]] = {}
    for event in sight.recent("child.restarted", RECENT):
        last[words.ref_shown(event.get("supervisor"))] = event
    for supervisor, event in last.items():
        used, most = event.get("in_period"), event.get("intensity")
        if used is not None and most and used > most / 2:
            text = f"{supervisor} has used {used} of {most} restarts, the last for {_child(event)}"
            yield Warned("restarts", text, _serial(event.get("supervisor")))


def _gave_up(sight: Seen) -> Iterator[Warned]:
    for event in sight.recent("supervisor.gave_up", RECENT):
        supervisor = event.get("supervisor")
        text = f"{words.ref_shown(supervisor)} {words.described(event)}"
        yield Warned("gave_up", text, _serial(supervisor))


def _unkillable(sight: Seen) -> Iterator[Warned]:
    for event in sight.recent("process.unkillable", RECENT):
        yield Warned("unkillable", words.described(event), _serial(event.get("ref")))


def _slow(sight: Seen) -> Iterator[Warned]:
    """The last of each process; what the watchdog says of it comes first, because it names the place."""
    last: dict[str, Mapping[str, Any]] = {}
    for kind in ("process.slow", "loop.held"):
        for event in sight.recent(kind, RECENT):
            last[words.ref_shown(event.get("ref"))] = event
    for event in last.values():
        yield Warned("slow", words.described(event), _serial(event.get("ref")))


def _growing(sight: Seen) -> Iterator[Warned]:
    """A mailbox has grown at every look for a while."""
    for serial, (row, seconds, before) in sight.mailboxes.growing(GROWING).items():
        text = f"the mailbox of {_called(row)} has grown from {before:,} to {row['queued']:,}"
        text += f" in {words.age(seconds)}"
        yield Warned("mailbox", text, serial)


def _waiting(sight: Seen) -> Iterator[Warned]:
    for serial, (row, seconds) in sight.waits.longer_than(WAITING).items():
        text = f"{_called(row)} has waited for {words.one_line(row['waits_for'])} for {words.age(seconds)}"
        yield Warned("waiting", text, serial)


def _loop(sight: Seen) -> Iterator[Warned]:
    values = sight.history.latest(BY_NAME["busy"], GROWING)
    if len(values) > 1 and min(values) > BUSY:
        yield Warned("loop", f"the loop is busy {words.share(values[-1])} of the time")


def _dead_letters(sight: Seen) -> Iterator[Warned]:
    values = sight.history.latest(BY_NAME["dead_letters"], GROWING)
    if len(values) >= GROWING / 2 and min(values) > 0:
        yield Warned("dead_letters", f"dead letters: {words.number(values[-1])} a second, and they go on")


def _observation(sight: Seen) -> Iterator[Warned]:
    used = sight.observation_share
    if used is not None and used > sight.budget:
        text = f"observation takes {words.share(used)} of the time, above its {words.share(sight.budget)}"
        yield Warned("observation", text)


def _credit(sight: Seen) -> Iterator[Warned]:
    for peer, seconds in sight.credit.used_up.items():
        if seconds > WAITING:
            text = (
                f"{words.one_line(peer)} has taken nothing in for {words.age(seconds)}: its credit is used up"
            )
            yield Warned("credit", text)


def _guests(sight: Seen) -> Iterator[Warned]:
    """A guest has used most of its memory, or of its processor time."""
    for row in sight.guests:
        for field, what in (("memory", "memory"), ("cpu", "processor time")):
            used, limit = row.get(field), row.get(f"{field}_limit")
            if used is not None and limit and used > GUEST * limit:
                text = f"guest {_called(row)} has used {words.share(used / limit)} of its {what}"
                yield Warned("guest", text, row["serial"])


def _called(row: Mapping[str, Any]) -> str:
    name = row.get("name") or row.get("label") or row.get("actor") or row.get("kind") or "process"
    return f"{words.one_line(name)} ({row['serial']})"


def _child(event: Mapping[str, Any]) -> str:
    child_id = event.get("child_id")
    return words.ref_shown(event.get("ref")) if child_id is None else words.one_line(child_id)


def _serial(ref: Any) -> int | None:
    return ref.get("serial") if isinstance(ref, Mapping) else None


LINTS: Final[tuple[Callable[[Seen], Iterator[Warned]], ...]] = (
    _circles,
    _gave_up,
    _unkillable,
    _restarts,
    _slow,
    _loop,
    _growing,
    _waiting,
    _dead_letters,
    _credit,
    _guests,
    _observation,
)
