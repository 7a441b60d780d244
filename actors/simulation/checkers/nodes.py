"""`NodeUp` and `NodeDown` take turns for each node and peer."""

from __future__ import annotations

from collections.abc import Sequence

from enfilade.actors.simulation.checkers.history import Down, Event, Up

__all__ = ["check_nodes"]


def check_nodes(events: Sequence[Event]) -> None:
    """Check that a node link comes up before it is over, and is over before it comes up again.

    Raises:
        AssertionError: the event with which that is broken.
    """
    up: set[tuple[str, int, str]] = set()
    for event in events:
        if isinstance(event, Up):
            place = (event.host, event.life, event.peer)
            if place in up:
                raise AssertionError(f"the node link is up already: {event}")
            up.add(place)
        elif isinstance(event, Down):
            place = (event.host, event.life, event.peer)
            if place not in up:
                raise AssertionError(f"the node link is not up: {event}")
            up.remove(place)
