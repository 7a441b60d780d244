"""Those who are told of events: an iteration, a mailbox, a handler."""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Protocol

import trio

from enfilade.actors.messages.attempt import is_interrupt
from enfilade.actors.messages.guarded import log
from enfilade.actors.messages.safe_text import safe_repr, safe_str
from enfilade.actors.observing.events.records import KINDS, Event, Missed

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["Events", "Handler", "MailboxSink", "Sink", "kinds_of"]

LARGEST_BUFFER = 1_000_000


def kinds_of(patterns: tuple[str, ...]) -> frozenset[str]:
    """The kinds of event that these patterns name: exact kinds, those before a `.*`, all if there are none.

    Raises:
        TypeError: one is not a string.
        ValueError: one names no kind.
    """
    found: set[str] = set()
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TypeError(f"expected kinds of events, such as 'child.*', got {safe_repr(pattern)}")
        prefix = pattern.removesuffix("*") if pattern.endswith(".*") else None
        named = {kind for kind in KINDS if kind == pattern or (prefix and kind.startswith(prefix))}
        if not named:
            known = ", ".join(sorted({f"{kind.partition('.')[0]}.*" for kind in KINDS}))
            raise ValueError(f"no event is of the kind {safe_repr(pattern)}; expected one of {known}")
        found |= named
    return frozenset(found if patterns else KINDS)


class Sink(Protocol):
    """A subscriber.

    Attributes:
        kinds: the kinds of event that it wants.
        inspects: whether it may see what messages contain.
    """

    kinds: frozenset[str]
    inspects: bool

    def take(self, event: Event) -> bool:
        """Be told of an event; false if it wants no more. Not a checkpoint."""

    def close(self) -> None:
        """No event follows: the node has stopped. Not a checkpoint."""


class Events(AsyncIterator[Any]):
    """An iteration over events: what `async with node.events(...) as events` gives.

    Its items are events, and a `Missed` in the place of what a full buffer has dropped, oldest first.

    Attributes:
        missed: how many events the buffer has dropped so far.
    """

    def __init__(self, kinds: frozenset[str], buffer: int, match: Callable[[Any], bool] | None) -> None:
        if not isinstance(buffer, int) or not 0 < buffer <= LARGEST_BUFFER:
            raise ValueError(f"a buffer must hold 1 to {LARGEST_BUFFER} events, got {safe_repr(buffer)}")
        if match is not None and (not callable(match) or inspect.iscoroutinefunction(match)):
            raise TypeError(f"expected a function that tests an event, got {safe_repr(match)}")
        self.kinds = kinds
        self.inspects = True
        self.missed = 0
        self._match = match
        self._largest = buffer
        self._waiting: deque[Event] = deque()
        self._dropped = 0
        self._error: Exception | None = None
        self._is_over = False
        self._lot = trio.lowlevel.ParkingLot()

    def take(self, event: Event) -> bool:
        """See `Sink`. A match that raises ends the iteration with its error, and nobody else notices."""
        try:
            is_wanted = self._match is None or self._match(event)
        except Exception as error:
            self._error = error
            self.close()
            return False
        if is_wanted:
            if len(self._waiting) == self._largest:
                self._waiting.popleft()
                self._dropped += 1
                self.missed += 1
            self._waiting.append(event)
            if self._lot:
                self._lot.unpark()
        return True

    def close(self) -> None:
        """See `Sink`."""
        self._is_over = True
        self._lot.unpark_all()

    async def __anext__(self) -> Any:
        """The next event, or `Missed`. A checkpoint; cancelled, nothing is lost.

        Raises:
            Exception: what the match has raised, after the events before that.
        """
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            if self._is_over:
                raise StopAsyncIteration
            await self._lot.park()
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            return Missed(dropped)
        return self._waiting.popleft()


class MailboxSink:
    """A process that has events sent to its mailbox, until it ends."""

    def __init__(self, kinds: frozenset[str], process: Process) -> None:
        self.kinds = kinds
        self.inspects = True
        self.process = process

    def take(self, event: Event) -> bool:
        """See `Sink`."""
        if self.process.ended is not None:
            return False
        self.process.put(event)  # the runtime's own: no bound refuses it
        return True

    def close(self) -> None:
        """See `Sink`."""


class Handler:
    """A function that is run in the step that caused an event.

    Attributes:
        id: what it is detached by.
        error: what it raised, once it has; None.
    """

    def __init__(
        self,
        kinds: frozenset[str],
        id: Hashable,  # noqa: A002 (the field's name)
        handler: Callable[[Any, Any], object],
        config: Any,
    ) -> None:
        self.kinds = kinds
        self.inspects = True
        self.id = id
        self.error: str | None = None
        self._handler = handler
        self._config = config
        self._running = False

    def take(self, event: Event) -> bool:
        """See `Sink`. The events that the handler itself causes are not shown to it."""
        if self._running:
            return True
        self._running = True
        try:
            result = self._handler(event, self._config)
            if type(result) is CoroutineType:
                result.close()
                raise TypeError("expected a function that runs at once, got one that returns a coroutine")
        except BaseException as error:
            if is_interrupt(error):
                raise
            text = "the handler %r of events raised and was detached"
            fields = {"node": event.node, "event": "handler.detached"}
            log(logging.ERROR, text, self.id, error=error, extra=fields)
            self.error = safe_str(error)
            return False
        finally:
            self._running = False
        return True

    def close(self) -> None:
        """See `Sink`."""
