"""A process's timers by key, and the time-out of one that handles no message for a while."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import attrs

from enfilade.actors.messages.safe_text import safe_repr

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process
    from enfilade.actors.processes.timers import Timer

__all__ = ["IdleTimer", "KeyedTimers", "Tick"]


@attrs.define(eq=False, repr=False)
class Tick:
    """The message of a keyed timer: it counts only while its timer is the current one of the key."""

    timers: KeyedTimers
    key: Any
    generation: int
    message: Any
    interval: float | None

    def __repr__(self) -> str:
        return f"{safe_repr(self.message)} of the timer {safe_repr(self.key)}"

    @property
    def current(self) -> bool:
        """True unless its timer was replaced or cancelled."""
        return self.timers.is_current(self)

    def unwrap(self) -> tuple[bool, Any]:
        """Take the tick: whether it still counts, and its message."""
        return self.timers.admit(self), self.message


class KeyedTimers:
    """A process's timers by key: setting one replaces the last of that key, even one whose message is queued
    already.

    Made by `Process.timers`. Source: Pekko's `TimerScheduler`.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._current: dict[Any, tuple[int, Timer]] = {}
        self._generations = itertools.count()

    def __len__(self) -> int:
        return len(self._current)

    def __contains__(self, key: Any) -> bool:
        return key in self._current

    def start(self, key: Any, seconds: float, message: Any, *, every: bool = False) -> None:
        """Have the process receive `message` in `seconds`, or, with `every`, each `seconds`. Not a
        checkpoint.

        Args:
            key: hashable; a timer of the same key is replaced.
            seconds: at least 0; more than 0 with `every`.
            message: any object.
            every: whether to repeat until cancelled.

        Raises:
            TypeError: `key` is not hashable, or `seconds` is not a number; no timer is set then.
            ValueError: `seconds` is negative or NaN, or 0 with `every`.
        """
        if every and seconds == 0:
            raise ValueError(f"the interval of a timer must be more than 0 seconds, got {safe_repr(seconds)}")
        tick = Tick(self, key, next(self._generations), message, seconds if every else None)
        timer = self._timer(tick, seconds)
        try:
            self.cancel(key)
            self._current[key] = (tick.generation, timer)
        except BaseException:  # the key cannot be one
            timer.cancel()
            raise

    def cancel(self, key: Any) -> bool:
        """Cancel the timer of `key`, even when its message waits in the mailbox; false when there is none."""
        entry = self._current.pop(key, None)
        if entry is None:
            return False
        entry[1].cancel()
        return True

    def _timer(self, tick: Tick, seconds: float) -> Timer:
        process = self._process
        return process.node.timers.call_after(seconds, process.put, tick, owner=process)

    def is_current(self, tick: Tick) -> bool:
        """Return true when `tick` is of the current timer of its key."""
        entry = self._current.get(tick.key)
        return entry is not None and entry[0] == tick.generation

    def admit(self, tick: Tick) -> bool:
        """Tell whether `tick`, out of the mailbox, counts; if it repeats, set the next."""
        if not self.is_current(tick):
            return False
        if tick.interval is None:
            del self._current[tick.key]
        else:
            self._current[tick.key] = (tick.generation, self._timer(tick, tick.interval))
        return True


class IdleTimer(KeyedTimers):
    """The time-out of a process that handles no message for a while: the only timer in here, without a key.

    Whatever else is taken cancels it, also when its message waits already; so does what waits behind that.

    Source: the time-out in what a `gen_server`'s callback returns.
    """

    def taken(self, message: Any) -> None:
        """Disarm, unless `message`, which is about to be handled, is the time-out itself."""
        if type(message) is not Tick or message.timers is not self:
            self.cancel(None)

    def admit(self, tick: Tick) -> bool:
        """Tell whether `tick`, out of the mailbox, counts: nothing else was in there."""
        return super().admit(tick) and not self._process.has_unseen()
