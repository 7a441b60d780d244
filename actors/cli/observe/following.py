"""Nodes that are observed because observed ones are connected to them: `enfilade observe --follow`.

A node tells its observers where it has found its peers. Each of those is asked directly, and shows what its
own policy allows; nothing is asked on behalf of somebody else. The user's secret is not shown to them, for it
is the word of another node that has named them: a node that asks for a secret is to be given by its door.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, Protocol

from enfilade.actors.cli.observe.observed import Observed
from enfilade.actors.cli.observe.sight import Sight

__all__ = ["MOST", "Follower", "Following", "Unfollowing"]

MOST: Final = 64
"""How many nodes are followed."""


class Follower(Protocol):
    """Finds nodes that are to be observed, too."""

    def found(self, sights: Sequence[Sight]) -> list[Observed]:
        """The nodes that are new since the last time. Not a checkpoint."""


class Unfollowing:
    """Observes the given nodes and no others."""

    def found(self, sights: Sequence[Sight]) -> list[Observed]:
        """None at all."""
        return []


class Following:
    """Finds the nodes that observed ones are connected to.

    Args:
        observe: makes the node behind a door one to be observed; its number tells it from others.
    """

    def __init__(self, observe: Callable[[Path, int], Observed]) -> None:
        self._observe = observe
        self._doors: set[str] = set()

    def found(self, sights: Sequence[Sight]) -> list[Observed]:
        """The nodes that are new since the last time. Not a checkpoint.

        A node counts as known by its name, or by its door. As long as one of the given nodes has not been
        heard of, nobody is followed: it may be that one.
        """
        observed = [sight.observed for sight in sights]
        if not all(each.is_up or each.attempts for each in observed):
            return []
        known = {each.name for each in observed}
        doors = self._doors | {_absolute(each.title) for each in observed}
        made: list[Observed] = []
        for name, door in _neighbours(sights):
            if name not in known and door not in doors and len(self._doors) < MOST:
                known.add(name)
                doors.add(door)
                self._doors.add(door)
                made.append(self._observe(Path(door), len(sights) + len(made) + 1))
        return made


def _neighbours(sights: Iterable[Sight]) -> Iterable[tuple[str, str]]:
    """The name and the door of each node that an observed one is connected to, and has found at a door."""
    for sight in sights:
        for link in sight.links:
            name, door = link.get("name"), link.get("address")
            if link.get("state") == "up" and isinstance(name, str) and isinstance(door, str) and door:
                yield name, _absolute(door)


def _absolute(door: str) -> str:
    return str(Path(door).absolute())
