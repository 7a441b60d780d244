"""The budget of a tree: what a guest and all its descendants may use together.

A guest that starts others gives them a share of its own: the same budget counts for all of them, so that a
guest which starts itself again and again gets no more than it would have got alone. What ends is counted no
longer; only time is used up for good.
"""

from __future__ import annotations

import math
from typing import Protocol

from enfilade.hostcalls.abi.errors import LimitReached, SubsystemError
from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.engine import Purse
from enfilade.hostcalls.net.account import Account
from enfilade.hostcalls.resources.clock import Clock
from enfilade.hostcalls.resources.rate import Rate

FIRST_MEMORY = 16 * 1024 * 1024
"""Bytes of linear memory that a guest has when it starts."""


class Budget:
    """The use that one tree has made of its limits.

    Args:
        limits: those of the guest at its root; its descendants have the same.
        clock: the time that rates are measured by.

    Attributes:
        processes: guests of the tree that live or are about to start.
        channel_bytes: capacity of the channels that they have created and that live.
        hostcalls: the rate of their hostcalls.
    """

    __slots__ = (
        "_account",
        "_clock",
        "_log_records",
        "_messages",
        "_purse",
        "channel_bytes",
        "hostcalls",
        "limits",
        "processes",
    )

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self.limits = limits
        self.processes = 0
        self.channel_bytes = 0
        self.hostcalls = Rate(limits.hostcalls, clock, clock.monotonic())
        self._clock = clock
        self._messages: Rate | None = None
        self._log_records: Rate | None = None
        self._purse: Purse | None = None
        self._account: Account | None = None

    @property
    def messages(self) -> Rate:
        """The rate of the messages that the tree sends; many guests send none."""
        if self._messages is None:
            self._messages = Rate(self.limits.messages, self._clock, self._clock.monotonic())
        return self._messages

    @property
    def log_records(self) -> Rate:
        """The rate of the log records that are emitted for the tree; few guests write any."""
        if self._log_records is None:
            self._log_records = Rate(self.limits.log_records, self._clock, self._clock.monotonic())
        return self._log_records

    @property
    def account(self) -> Account:
        """The part that the network keeps: connections, listeners, and the bytes that the host holds."""
        if self._account is None:
            self._account = Account(self.limits)
        return self._account

    @property
    def purse(self) -> Purse:
        """The part that the engine keeps: memory and time. Guests that are alone in their tree need none."""
        if self._purse is None:
            self._purse = Purse(self.limits.tree_memory, self.limits.cpu_time, self.limits.cpu_renewal)
        return self._purse

    def pause(self) -> float:
        """Seconds for which the tree must rest, because it was faster than its rates; 0 if it was not."""
        if self.is_calm:
            return 0.0
        messages = self._messages
        return max(self.hostcalls.pause(), 0.0 if messages is None else messages.pause())

    @property
    def is_calm(self) -> bool:
        """True while `pause` has nothing to ask for."""
        messages = self._messages
        return self.hostcalls.left >= 0 and (messages is None or messages.left >= 0)

    def check_room(self) -> None:
        """Raise `SubsystemError`, naming the limit, unless the tree may have another guest."""
        if self.processes >= self.limits.tree_processes:
            raise reached("tree_processes", self.limits.tree_processes)
        if self.processes and self.purse.memory_used + FIRST_MEMORY > self.limits.tree_memory:
            raise reached("tree_memory", self.limits.tree_memory)

    def reserve_channel_bytes(self, size: int) -> None:
        """Count `size` bytes of channel. Raises `LimitReached` if there would be too many."""
        if self.channel_bytes + size > self.limits.channel_bytes:
            raise LimitReached("channel_bytes", self.limits.channel_bytes)
        self.channel_bytes += size

    def release_channel_bytes(self, size: int) -> None:
        """Count them no longer."""
        self.channel_bytes -= size


class Parent(Protocol):
    """A guest that starts others, as their places count them."""

    children: int


class Place:
    """The place of one guest in its tree, from before it is made until it has ended.

    Attributes:
        budget: the tree's.
        parent: the guest that starts it, whose children it counts among; None at the root.
        taken: whether it has not been given up.
    """

    __slots__ = ("budget", "parent", "taken")

    def __init__(self, budget: Budget, parent: Parent | None = None) -> None:
        self.budget = budget
        self.parent = parent
        self.taken = True
        budget.processes += 1
        if parent is not None:
            parent.children += 1

    def leave(self) -> None:
        """Give the place up; once is enough."""
        if self.taken:
            self.taken = False
            self.budget.processes -= 1
            if self.parent is not None:
                self.parent.children -= 1
            self.parent = None


def reached(limit: str, bound: float) -> SubsystemError:
    """The refusal of what would exceed a limit; the guest reads its name, too."""
    shown = f"{bound:g}" if math.isfinite(bound) and bound != int(bound) else f"{bound}"
    return SubsystemError(f"the limit {limit}={shown} is reached", why=LimitReached(limit, bound).why)
