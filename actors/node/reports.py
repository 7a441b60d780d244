"""Reports to the log: asynchronous, so that a slow log handler holds up no actor, and limited in number.

What happens is noted in a queue, and a task of its own hands it to `logging` (logger "enfilade.actors"). Of
each kind, so many are logged in a second; the others are counted, and the count is logged when the second
is over. Formatting a traceback costs more than a restart does, so it is left to that task. Where a level is
not logged, nothing is even counted.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import trio

from enfilade.actors.messages.errors import WrongThread
from enfilade.actors.messages.guarded import is_logged, log
from enfilade.actors.messages.reasons import Reason
from enfilade.actors.messages.signals import HANDED_OFF, described
from enfilade.actors.messages.wake import Waiter

if TYPE_CHECKING:
    from enfilade.actors.messages.ref import Ref
    from enfilade.actors.node.config import NodeConfig

__all__ = ["Reports"]


@attrs.frozen
class _Report:
    """A line of the log: `text % values`, with the traceback of an error, or the stack of a task."""

    level: int
    text: str
    values: tuple[Any, ...]
    error: BaseException | None = None
    stack: str | None = None

    def log(self) -> None:
        log(self.level, self.text, *self.values, error=self.error, stack=self.stack)


class Reports:
    """The reports of one node."""

    def __init__(self, config: NodeConfig) -> None:
        self._limit = config.reports_per_second
        self._has_watchdog = bool(config.watchdog)
        self._queue: deque[_Report] = deque()
        self._second = -math.inf
        self._logged: dict[str, int] = {}
        self._waiter = Waiter()

    @property
    def shows_exits(self) -> bool:
        """True where another exit would be logged: if not, nothing needs to be worked out for the log."""
        is_new = self._now() != self._second
        return is_logged(logging.ERROR) and (is_new or self._logged.get("exits", 0) < self._limit)

    def abnormal_exit(self, ref: Ref[Any], reason: Reason, error: BaseException | None) -> None:
        """Report an abnormal exit, with the traceback of `error` if the process raised one."""
        level = logging.WARNING if error is None else logging.ERROR
        if reason.by is None:
            self.note("exits", level, "%s ended: %s", ref, reason, error=error)
        else:
            self.note("exits", level, "%s ended: %s, asked by %s", ref, reason, reason.by, error=error)

    def resumed(self, ref: Ref[Any], message: Any, error: Exception) -> None:
        """Report that a process goes on, though its handler of `message` has failed."""
        if is_logged(logging.WARNING):
            what = "" if message is None or message is HANDED_OFF else f" in a {described(message)}"
            text = "%s goes on after a failure%s: %s"
            self.note("resumed failures", logging.WARNING, text, ref, what, error, error=error)

    def dead_letter(self, message: Any, ref: Ref[Any], reason: Reason) -> None:
        """Report a message that reached no process."""
        self.note("dead letters", logging.INFO, "dead letter for %s (%s): %.200r", ref, reason, message)

    def deadlock(self, calls: Sequence[str]) -> None:
        """Report calls that wait for one another in a circle."""
        self.note(
            "deadlocks", logging.WARNING, "deadlock, which only a time limit ends: %s", ", ".join(calls)
        )

    def unkillable(self, ref: Ref[Any], frames: str) -> None:
        """Report a killed process that does not end, and the stack of its task."""
        self.note(
            "unkillable",
            logging.CRITICAL,
            "%s was killed but did not end; it was given up",
            ref,
            stack=frames,
        )

    def supervisor(
        self, supervisor: Ref[Any], kind: str, child: object, ref: Ref[Any] | None, reason: Reason
    ) -> None:
        """Log a supervisor's report on the child of that id; `kind` as in `actions.Report`."""
        level = logging.INFO if kind == "child_terminated" else logging.ERROR
        self.note(
            "supervisor reports",
            level,
            "%s: %s: child %r%s: %s",
            *(supervisor, kind, child, "" if ref is None else f", {ref}", reason),
        )

    def refused(self, ref: Ref[Any], error: Exception) -> None:
        """Report a cast that asked for something the process does not do."""
        self.note("refused casts", logging.WARNING, "%s refused a cast: %s", ref, error)

    def slow_handler(self, ref: Ref[Any], seconds: float) -> None:
        """Report a sync handler that held the loop for `seconds`; a watchdog has seen it itself."""
        if not self._has_watchdog:
            self.note("slow handlers", logging.WARNING, "%s held the loop for %.1f ms", ref, seconds * 1000)

    def note(
        self,
        kind: str,
        level: int,
        text: str,
        *values: Any,
        error: BaseException | None = None,
        stack: str | None = None,
    ) -> None:
        """Have `text % values` logged soon, unless there have been too many of this kind; see `log`.

        Not a checkpoint, never raises. Where the level is not logged, nothing is computed.
        """
        if not is_logged(level):
            return
        second = self._now()
        if second != self._second:
            self._close_second()
            self._second = second
        logged = self._logged.get(kind, 0)
        self._logged[kind] = logged + 1
        if logged < self._limit or kind == "unkillable":
            self._queue.append(_Report(level, text, values, error, stack))
            self._wake()

    def _now(self) -> float:
        try:
            return math.floor(trio.current_time())
        except RuntimeError:  # in another thread, or after the run
            return self._second

    def _close_second(self) -> None:
        for kind, count in self._logged.items():
            if count > self._limit:
                values = (count - self._limit, kind)
                self._queue.append(_Report(logging.WARNING, "%d more %s were not logged", values))
        self._logged.clear()

    def _wake(self) -> None:
        with contextlib.suppress(WrongThread):  # it is logged with the next report
            self._waiter.wake()

    def flush(self) -> None:
        """Log what is waiting. Not a checkpoint."""
        while self._queue:
            self._queue.popleft().log()

    def close(self) -> None:
        """Log everything, counts included."""
        self._close_second()
        self.flush()

    async def run(self) -> None:
        """Log until cancelled."""
        while True:
            self.flush()
            await self._waiter.wait(self._queue.__len__)
