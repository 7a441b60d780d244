"""Messages of one channel arrive in order, each at most once, and are lost only when a node link ends."""

from __future__ import annotations

from collections.abc import Sequence

from enfilade.actors.simulation.checkers.history import Down, Event, Lost, Sent, Taken

__all__ = ["check_order"]


def check_order(events: Sequence[Event]) -> None:
    """Check the messages that a test has noted.

    A message that was passed over was lost. So the node of its sender must have been told that the node link
    ended, or that life must be over, or the message must be a dead letter.

    Raises:
        AssertionError: the event with which that is broken.
    """
    sent: dict[str, dict[int, Sent]] = {}
    latest: dict[str, int] = {}
    downs: dict[tuple[str, str], float] = {}
    lives: dict[str, int] = {}
    dead: set[tuple[str | None, int]] = set()
    for event in events:
        lives[event.host] = event.life
        if isinstance(event, Down):
            downs[event.host, event.peer] = downs[event.host, ""] = event.at
        elif isinstance(event, Lost):
            dead.add((event.channel, event.number))
        elif isinstance(event, Sent):
            sent.setdefault(event.channel, {})[event.number] = event
        elif isinstance(event, Taken):
            known = sent.get(event.channel, {})
            last = latest.get(event.channel, -1)
            if event.number not in known:
                raise AssertionError(f"expected a message that was sent, got {event}")
            if event.number <= last:
                raise AssertionError(f"number {last} was taken before: {event}")
            for lost in (known[number] for number in range(last + 1, event.number) if number in known):
                is_told = downs.get((lost.host, lost.peer), -1.0) >= lost.at or lives[lost.host] > lost.life
                if not is_told and (lost.channel, lost.number) not in dead:
                    raise AssertionError(f"{lost} was passed over, and no node link has ended: {event}")
            latest[event.channel] = event.number
