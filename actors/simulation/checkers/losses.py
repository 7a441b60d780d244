"""Losses: a message that was sent and not taken is accounted for, so that none is lost in silence."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeAlias

from enfilade.actors.simulation.checkers.history import Down, Event, Lost, Opened, Over, Sent, Taken

__all__ = ["check_losses"]

Mark: TypeAlias = tuple[str, int]
"""The channel and the number of a message."""


class _Excuses:
    """What explains that a message was not taken."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.taken: set[Mark] = set()
        self._dead: set[Mark] = set()
        self._unknown: list[Lost] = []
        self._downs: dict[tuple[str, int, str], float] = {}
        self._over: set[tuple[str, int]] = set()
        self._names: dict[str, str] = {}
        for event in events:
            self._enter(event)

    def _enter(self, event: Event) -> None:
        place = event.host, event.life
        if isinstance(event, Taken):
            self.taken.add((event.channel, event.number))
        elif isinstance(event, Lost) and event.channel is not None:
            self._dead.add((event.channel, event.number))
        elif isinstance(event, Lost):
            self._unknown.append(event)
        elif isinstance(event, Down):
            self._downs[*place, event.peer] = self._downs[*place, ""] = event.at
        elif isinstance(event, Over):
            self._over.add(place)
        elif isinstance(event, Opened):
            self._names[event.full_name] = event.host
            self._over.update((event.host, life) for life in range(event.life))

    def cover(self, sent: Sent) -> bool:
        """Tell whether the loss of a message is explained. A dead letter of which nobody knows what it said
        explains one.
        """
        if (sent.host, sent.life) in self._over or (sent.channel, sent.number) in self._dead:
            return True
        if self._downs.get((sent.host, sent.life, sent.peer), -1.0) >= sent.at:
            return True
        hosts = {sent.host, self._names.get(sent.peer, "")}
        for place, lost in enumerate(self._unknown):
            if lost.at >= sent.at and (not sent.peer or lost.host in hosts):
                del self._unknown[place]
                return True
        return False


def check_losses(events: Sequence[Event], until: float, held: Collection[Mark] = ()) -> None:
    """Check the messages that a test has noted, in a world that has calmed down.

    One that was sent and not taken was lost behind the end of a node link, of which the sender's node was
    told, or in a life that is over, or is a dead letter.

    Args:
        events: the history.
        until: virtual time; what was sent later may still be under way.
        held: the messages that wait to be taken.

    Raises:
        AssertionError: the message of which nobody was told that it is lost.
    """
    excuses = _Excuses(events)
    for event in events:
        if not isinstance(event, Sent) or event.at > until:
            continue
        mark = event.channel, event.number
        if mark not in excuses.taken and mark not in held and not excuses.cover(event):
            raise AssertionError(f"losses: {event} was never taken, and its sender has not heard of a loss")
