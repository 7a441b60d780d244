"""Each process starts once and ends at most once; a name has one owner at a time."""

from __future__ import annotations

from collections.abc import Sequence

from enfilade.actors.simulation.checkers.history import Ended, Event, Named, Started, Unnamed

__all__ = ["check_lives", "check_names"]


def check_lives(events: Sequence[Event]) -> None:
    """Check that no process ends twice, or without having started.

    Raises:
        AssertionError: the event with which that is broken.
    """
    living: dict[tuple[str, int, int], bool] = {}
    for event in events:
        if isinstance(event, Started):
            place = (event.host, event.life, event.serial)
            if place in living:
                raise AssertionError(f"a process starts twice: {event}")
            living[place] = True
        elif isinstance(event, Ended):
            place = (event.host, event.life, event.serial)
            if not living.get(place, True):
                raise AssertionError(f"a process ends twice: {event}")
            living[place] = False


def check_names(events: Sequence[Event]) -> None:
    """Check that a name of a node never has two owners.

    Raises:
        AssertionError: the event with which that is broken.
    """
    owners: dict[tuple[str, int, str], int] = {}
    for event in events:
        if isinstance(event, Named):
            place = (event.host, event.life, event.name)
            if place in owners:
                raise AssertionError(f"the name has an owner, process {owners[place]}: {event}")
            owners[place] = event.serial
        elif isinstance(event, Unnamed):
            owners.pop((event.host, event.life, event.name), None)
