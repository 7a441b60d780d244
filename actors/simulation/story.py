"""Stories: what happened in a world, in words, for whoever reads of its failure.

The faults that struck stand among what the nodes told of it: which nodes began, found and lost each other,
which supervisors had to act, who got a name. What comes again and again is told once, with a count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from enfilade.actors.simulation.checkers.history import ChildEnded, Down, Event, GaveUp, Named, Opened, Up
from enfilade.actors.simulation.mishaps import tape_of
from enfilade.actors.simulation.world import World

__all__ = ["last_events", "story"]

MOST: Final = 40
"""Lines of a story."""

LAST: Final = 4
"""Events that are shown of each host."""


@attrs.define
class _Line:
    """One line: from when, what, how often in a row; and whether it must be told."""

    at: float
    text: str
    is_fault: bool = False
    count: int = 1

    def __str__(self) -> str:
        again = f" ({self.count} times)" if self.count > 1 else ""
        return f"{self.at:10.3f} s  {'* ' if self.is_fault else '  '}{self.text}{again}"


def story(world: World, error: BaseException) -> list[str]:
    """Tell what happened in a world until it failed: a line for each event, faults with a star.

    Args:
        world: one that is over.
        error: its failure.
    """
    lines: list[_Line] = []
    for line in sorted(_events(world), key=lambda line: line.at):
        if lines and lines[-1].text == line.text:
            lines[-1].count += 1
        else:
            lines.append(line)
    lines.append(_Line(world.now(), f"{type(error).__name__}: {error}", is_fault=True))
    return _shortened(lines)


def last_events(world: World) -> list[str]:
    """The last lines of the log that each host has a part in, and servers of a mesh."""
    shown: list[str] = []
    for name in (*world.hosts, *world.servers):
        lines = world.log.tail(LAST, about=name)
        shown += [f"{name}:", *(f"  {line}" for line in lines)]
    return shown


def _events(world: World) -> Iterator[_Line]:
    for at, fault in world.drawn:
        yield _Line(at, str(fault), is_fault=True)
    tape = world.network.tape
    if tape.is_silent:  # which leaves those that matter
        for at, (_, mishap) in zip(tape.happened.values(), tape_of(tape), strict=True):
            yield _Line(at, str(mishap), is_fault=True)
    if world.calm_since is not None:
        yield _Line(world.calm_since, "the faults are over", is_fault=True)
    for event in world.history.events:
        text = _in_words(event)
        if text:
            yield _Line(event.at, f"{event.host} {text}")


def _in_words(event: Event) -> str:
    match event:
        case Opened():
            return f"begins its life {event.life}"
        case Up():
            return f"is connected with {event.peer}"
        case Down():
            return f"has lost {event.peer}"
        case Named():
            return f"has a process with the name {event.name!r}"
        case ChildEnded(will_restart=True):
            return "has a supervisor that starts a child again"
        case ChildEnded():
            return "has a supervisor that lets a child go"
        case GaveUp():
            return "has a supervisor that gives up"
    return ""


def _shortened(lines: Sequence[_Line]) -> list[str]:
    """The lines, or the latest of them: faults are kept before anything else."""
    places = sorted(range(len(lines)), key=lambda place: (not lines[place].is_fault, -place))
    kept = set(places[:MOST])
    shown: list[str] = []
    missing = 0
    for place, line in enumerate(lines):
        if place not in kept:
            missing += line.count
            continue
        if missing:
            shown.append(f"{'…':>12}  {missing} more")
            missing = 0
        shown.append(str(line))
    return shown
