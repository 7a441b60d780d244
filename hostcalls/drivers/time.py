"""Time for guests: the contracts of `selium::time::*`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from enfilade.hostcalls.abi import TimeNow, TimeSleep, catalogue
from enfilade.hostcalls.contracts.caller import Caller
from enfilade.hostcalls.contracts.operation import Operation, operation
from enfilade.hostcalls.resources.clock import Clock
from enfilade.hostcalls.resources.futures import Future


class TimeDriver:
    """Tells the time and sleeps, by the clock of the embedder.

    Attributes:
        engine_answers: the operation of `time::now`, if the engine may answer it from the machine's clocks.
    """

    def __init__(self, clock: Clock) -> None:
        self._now = operation(catalogue.TIME_NOW, self.now)
        self.engine_answers = self._now if clock.real else None
        self._unix_time = clock.unix_time
        self._monotonic = clock.monotonic
        self._call_later = clock.call_later
        self._first: float | None = None

    def operations(self) -> Iterable[Operation[Any, Any]]:
        """The operations of time."""
        yield self._now
        yield operation(catalogue.TIME_SLEEP, self.sleep)

    def now(self, caller: Caller, _: None) -> TimeNow:
        """The time of day, and the time since anybody first asked."""
        moment = self._monotonic()
        if self._first is None:
            self._first = moment
        return TimeNow(int(self._unix_time() * 1000), int((moment - self._first) * 1000))

    def sleep(self, caller: Caller, wanted: TimeSleep) -> Future[None]:
        """Nothing, after so many milliseconds."""
        timer = self._call_later(wanted.duration_ms / 1000, lambda: future.resolve(None))
        future: Future[None] = Future(timer.cancel)
        return future
