"""The statistics of a process, while somebody has switched them on: see `system.statistics`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import attrs

from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.safe_text import safe_str, shown_name
from enfilade.actors.messages.signals import Call, Cast

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["Counter", "MethodStatistics", "Statistics"]


@attrs.frozen
class MethodStatistics:
    """The statistics of one method of a process, or of one type of its messages.

    Attributes:
        what: the method of calls and casts, the type of other messages.
        count: how many were handled.
        mean: seconds that one took, on average.
        largest: seconds that the longest took.
    """

    what: str
    count: int
    mean: float
    largest: float


@attrs.frozen
class Statistics:
    """The statistics of a process since they were switched on.

    Attributes:
        seconds: elapsed time.
        messages: messages taken out of the mailbox.
        calls: calls among them.
        casts: casts among them.
        replies: calls that their handlers answered at once.
        busy: seconds spent in handlers.
        by_method: the same by method, or by type of message, those that have taken longest first.
    """

    seconds: float
    messages: int
    calls: int
    casts: int
    replies: int
    busy: float
    by_method: tuple[MethodStatistics, ...] = ()


METHODS: Final = 200
"""How many methods, and types of messages, the statistics of a process tell apart."""


@attrs.define
class _Sum:
    count: int = 0
    seconds: float = 0.0
    largest: float = 0.0


class Counter:
    """An observer of a process that counts its messages and the time they take."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.since = clock()
        self.messages = self.calls = self.casts = self.replies = 0
        self.busy = 0.0
        self.begun: float | None = None
        self._by_method: dict[str, _Sum] = {}

    def received(self, process: Process, message: Any) -> None:
        """See `Observer`."""
        self.messages += 1
        self.calls += is_a(message, Call)
        self.casts += is_a(message, Cast)
        self.begun = self._clock()

    def handled(self, process: Process, message: Any) -> None:
        """See `Observer`."""
        self.replies += is_a(message, Call) and message.settled
        if self.begun is not None:
            seconds, self.begun = self._clock() - self.begun, None
            self.busy += seconds
            has_method = is_a(message, Call, Cast)
            self._add(safe_str(message.method) if has_method else shown_name(type(message)), seconds)

    def _add(self, what: str, seconds: float) -> None:
        known = self._by_method.get(what)
        if known is None:
            if len(self._by_method) >= METHODS:
                return
            known = self._by_method[what] = _Sum()
        known.count += 1
        known.seconds += seconds
        known.largest = max(known.largest, seconds)

    def read(self) -> Statistics:
        """The statistics so far."""
        ranked = sorted(self._by_method.items(), key=lambda item: -item[1].seconds)
        by_method = tuple(
            MethodStatistics(what, known.count, known.seconds / known.count, known.largest)
            for what, known in ranked
        )
        return Statistics(
            self._clock() - self.since,
            self.messages,
            self.calls,
            self.casts,
            self.replies,
            self.busy,
            by_method,
        )
