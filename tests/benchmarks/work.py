"""The work that all peers do alike: what looks random, who pays whom, and what a client of the chat does.

Standard library only, as `kernel.py` is and for the same reason.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def scramble(state: int) -> int:
    """The next state of the random generator that every peer uses, so that all make the same choices."""
    return (state * 1103515245 + 12345) & 0x7FFFFFFF


def payments(accounts: int, count: int) -> Iterator[tuple[int, int]]:
    """So many payments, as the numbers of payer and payee; nine accounts of ten pay the others."""
    payers = accounts * 9 // 10
    state = 1
    for _ in range(count):
        chosen = scramble(state)
        state = scramble(chosen)
        yield (chosen >> 8) % payers, payers + (state >> 8) % (accounts - payers)


class Action(enum.Enum):
    """What a client of the chat does in one turn."""

    POST = "post to a chat"
    LEAVE = "leave a chat"
    INVITE = "open a chat with a friend"
    COMPUTE = "compute"
    REST = "nothing"


class Choices:
    """The choices of one client of the chat, which follow from its seed."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def below(self, count: int) -> int:
        """A number from 0 on, less than `count`."""
        self._state = scramble(self._state)
        return (self._state >> 8) % count

    def one_of(self, items: Sequence[T]) -> T:
        """One of the items, which stays where it is."""
        return items[self.below(len(items))]

    def action(self, *, in_chat: bool) -> Action:
        """What to do next. Of a hundred turns 75 are posts, 5 leave a chat, 5 open one, 10 compute."""
        number = self.below(100)
        if number < 80 and in_chat:
            return Action.POST if number < 75 else Action.LEAVE
        if 80 <= number < 85:
            return Action.INVITE
        return Action.COMPUTE if 85 <= number < 95 else Action.REST


def acquaintances(clients: Sequence[T], friends: int) -> list[tuple[T, list[T]]]:
    """Every client of the chat, and those whom it knows from the beginning."""
    return [
        (client, [clients[(number + k * k + 1) % len(clients)] for k in range(1, friends + 1)])
        for number, client in enumerate(clients)
    ]


def fibonacci(number: int) -> int:
    """What a client of the chat computes, as badly as one can."""
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


def chat_costs(times: Sequence[float], clients: int, turns: int) -> tuple[float, float]:
    """The costs of setting up a client and of an action, from when the chat began and each turn ended."""
    return (times[1] - times[0]) / clients, (times[-1] - times[1]) / (clients * turns)
