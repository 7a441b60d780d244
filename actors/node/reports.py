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
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from enfilade.actors.messages.errors import WrongThread
from enfilade.actors.messages.guarded import NO_FIELDS, is_logged, log
from enfilade.actors.messages.hooks import Hooks, call
from enfilade.actors.messages.reasons import Killed, Reason
from enfilade.actors.messages.safe_text import safe_str, told
from enfilade.actors.messages.signals import described
from enfilade.actors.messages.trace_context import TRACE
from enfilade.actors.messages.traced import context_of_error
from enfilade.actors.messages.wake import Waiter
from enfilade.actors.processes.identity import Identity, identity_of, supervisor_of
from enfilade.actors.processes.local_ref import process_of

if TYPE_CHECKING:
    from enfilade.actors.messages.ref import Ref
    from enfilade.actors.node.config import NodeConfig
    from enfilade.actors.processes.process import Process

__all__ = ["Reports", "fields_of"]


@attrs.frozen
class _Report:
    """A line of the log: `text % values`, with the traceback of an error, or the stack of a task."""

    level: int
    text: str
    values: tuple[Any, ...]
    fields: Mapping[str, object]
    error: BaseException | None = None
    stack: str | None = None

    def log(self) -> None:
        log(self.level, self.text, *self.values, error=self.error, stack=self.stack, extra=self.fields)


CHILD_EVENTS: Final = {
    "child_terminated": "child.terminated",
    "start_error": "child.start_failed",
    "shutdown_error": "child.terminated",
    "reached_max_restart_intensity": "supervisor.gave_up",
    "unkillable": "process.unkillable",
}
"""The events that the reports of supervisors speak of."""


class Reports:
    """The reports of one node.

    Args:
        config: its settings.
        hooks: its listeners, who are told of what is reported even where it is not logged.
        node, zone: its full name and its zone, which every record has as fields.
    """

    def __init__(self, config: NodeConfig, hooks: Hooks, node: str, zone: str) -> None:
        self._limit = config.reports_per_second
        self._has_watchdog = bool(config.watchdog)
        self._logs_at_once = config.runtime.is_deterministic
        self._hooks = hooks
        self._fields = {"node": node, "zone": zone}
        self._queue: deque[_Report] = deque()
        self._second = -math.inf
        self._logged: dict[str, int] = {}
        self._waiter = Waiter()

    @property
    def shows_exits(self) -> bool:
        """True where another exit would be logged: if not, nothing needs to be worked out for the log."""
        is_new = self._now() != self._second
        return is_logged(logging.ERROR) and (is_new or self._logged.get("exits", 0) < self._limit)

    def abnormal_exit(self, process: Process, reason: Reason, error: BaseException | None) -> None:
        """Report an abnormal exit, with the traceback of `error` if the process raised one.

        The end of a child that its supervisor has killed, as its specification says, is a planned one. The
        caller has asked whether errors are logged at all.
        """
        is_stopped = type(reason) is Killed and reason.by == process.parent
        supervisor = supervisor_of(process) if is_stopped else None
        is_planned = supervisor is not None
        level = logging.INFO if is_planned else logging.WARNING if error is None else logging.ERROR
        values: tuple[object, ...]
        text, values = "%s ended: %s", (reason,)
        if reason.by is not None:
            text, values = "%s ended: %s, asked by %s", (reason, reason.by)
        event = "process.ended" if error is None else "process.crashed"
        self.note("exits", level, text, *values, about=process.ref, event=event, reason=reason, error=error)

    def resumed(self, ref: Ref[Any], message: Any, error: Exception) -> None:
        """Report that a process goes on, though its handler of `message` has failed."""
        if is_logged(logging.WARNING):
            what = "" if message is None else f" in a {described(message)}"
            text = "%s goes on after a failure%s: %s"
            event = "process.resumed"
            self.note(
                "resumed failures", logging.WARNING, text, what, error, about=ref, event=event, error=error
            )

    def dead_letter(self, message: Any, ref: Ref[Any], reason: Reason, level: int) -> None:
        """Report a message that reached no process; a mistake of its sender at a higher level."""
        if self._hooks.message_dead:
            call(self._hooks.message_dead, message, ref, reason)
        text, event = "dead letter for %s (%s): %.200r", "message.dead"
        self.note(
            "dead letters",
            level,
            text,
            reason,
            message,
            about=ref,
            event=event,
            reason=reason,
        )

    def deadlock(self, calls: Sequence[str], *, is_refused: bool) -> None:
        """Report calls that wait for one another in a circle. The last one is refused where no time limit
        would end it.
        """
        if self._hooks.process_deadlock:
            call(self._hooks.process_deadlock, tuple(calls))
        ends = (
            "no time limit would end, so that the last call is refused"
            if is_refused
            else "only a time limit ends"
        )
        text = f"deadlock, which {ends}: %s; break it with a cast, or a call in another process"
        self.note("deadlocks", logging.WARNING, text, ", ".join(calls), event="process.deadlock")

    def unkillable(self, ref: Ref[Any], frames: str) -> None:
        """Report a killed process that does not end, and the stack of its task."""
        if self._hooks.process_unkillable:
            call(self._hooks.process_unkillable, ref, frames)
        text = "%s was killed but did not end; it was given up"
        event = "process.unkillable"
        self.note("unkillable", logging.CRITICAL, text, about=ref, event=event, stack=frames)

    def supervisor(
        self,
        supervisor: Ref[Any],
        kind: str,
        child: Hashable,
        ref: Ref[Any] | None,
        reason: Reason,
        why: str | None = None,
    ) -> None:
        """Log a supervisor's report on the child of that id; `kind` as in `actions.Report`. `why` stands in
        place of `reason` in the line.
        """
        level = logging.INFO if kind == "child_terminated" else logging.ERROR
        values = (kind, child, "" if ref is None else f", {ref}", reason if why is None else why)
        text = "%s: %s: child %r%s: %s"
        event = CHILD_EVENTS[kind]
        fields = {"supervisor": safe_str(supervisor), "child": _shown_id(child)}
        self.note(
            "supervisor reports",
            level,
            text,
            *values,
            about=supervisor,
            event=event,
            reason=reason,
            fields=fields,
        )

    def refused(self, ref: Ref[Any], error: Exception) -> None:
        """Report a cast that asked for something the process does not do."""
        if self._hooks.process_refused:
            call(self._hooks.process_refused, ref, error)
        event = "process.refused"
        self.note("refused casts", logging.WARNING, "%s refused a cast: %s", error, about=ref, event=event)

    def slow_handler(self, ref: Ref[Any], seconds: float) -> None:
        """Report a sync handler that held the loop for `seconds`; a watchdog has seen it itself."""
        if self._hooks.process_slow:
            call(self._hooks.process_slow, ref, seconds)
        if not self._has_watchdog:
            text, event = "%s held the loop for %.1f ms", "process.slow"
            self.note("slow handlers", logging.WARNING, text, seconds * 1000, about=ref, event=event)

    def note(
        self,
        kind: str,
        level: int,
        text: str,
        *values: Any,
        about: Ref[Any] | None = None,
        event: str | None = None,
        reason: Reason | None = None,
        fields: Mapping[str, object] = NO_FIELDS,
        error: BaseException | None = None,
        stack: str | None = None,
    ) -> None:
        """Have `text % values` logged soon, unless there have been too many of this kind; see `log`.

        Not a checkpoint, never raises. Where the level is not logged, nothing is computed.

        Args:
            kind: what is counted together, in the plural.
            level: of the line.
            text: of the line.
            values: for the text.
            about: the process that the line is about: with what it runs, and whose child it is, the first
                value of the text.
            event: the kind of event that the record names.
            reason: the exit reason that the record names.
            fields: further fields of the record.
            error: its traceback is logged, too.
            stack: a stack to log.
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
            if about is not None:
                process = process_of(about)
                identity = None if process is None else identity_of(process)
                values = (about if identity is None else f"{about} ({identity})", *values)
                if identity is not None:
                    fields = {**fields_of(identity), **fields}
            told = {**self._fields, "event": event, **fields}
            trace = context_of_error(error) or TRACE.get()
            if trace is not None:
                told |= trace.ids
            if reason is not None:
                told["reason"] = safe_str(reason)
            self._queue.append(_Report(level, text, values, told, error, stack))
            if self._logs_at_once:
                self.flush()
            else:
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
                text = "%d more %s were not logged"
                self._queue.append(_Report(logging.WARNING, text, values, self._fields))
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


def fields_of(identity: Identity) -> dict[str, object]:
    """The fields of a log record that is about a process. Those of its `LogRecord` that are called `process`
    and `processName` are the operating system's, so the number of the process is `serial`.
    """
    return {
        "serial": identity.ref.serial,
        "process_name": told(identity.name),
        "label": told(identity.label),
        "actor": identity.actor,
        "supervisor": None if identity.supervisor is None else safe_str(identity.supervisor),
        "child": _shown_id(identity.child_id),
    }


def _shown_id(child_id: Hashable) -> str | None:
    """The id of a child, as text; children of dynamic supervisors have none."""
    return None if child_id is None else safe_str(child_id)
