"""The events of one node: what happens becomes records, which are kept, and given to those who subscribed.

What supervisors and node links do, and crashes, is always noted, because it is rare: an observer that comes
late sees the last of it. The rest is made only while somebody asks for it.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Final

from enfilade.actors.messages.blocks import async_block
from enfilade.actors.messages.errors import NoProcess
from enfilade.actors.messages.guarded import log
from enfilade.actors.messages.reasons import Reason
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_text import safe_repr, safe_str, told
from enfilade.actors.messages.trace_context import TRACE
from enfilade.actors.messages.traced import context_of_error
from enfilade.actors.observing.events import records as events
from enfilade.actors.observing.events.crashes import failure_of, message_shown, state_shown
from enfilade.actors.observing.events.light_ref import light
from enfilade.actors.observing.events.listeners import ON_DEMAND, Rare
from enfilade.actors.observing.events.log_lines import LogLines
from enfilade.actors.observing.events.notes import Note, read
from enfilade.actors.observing.events.reasons import why
from enfilade.actors.observing.events.records import Event, ProcessCrashed
from enfilade.actors.observing.events.subscriptions import Events, Handler, MailboxSink, Sink, kinds_of
from enfilade.actors.observing.measurements.counting import Counts
from enfilade.actors.observing.tables.dead_letter_kinds import DeadLetterKinds
from enfilade.actors.patterns.events import HandlerExists
from enfilade.actors.processes.identity import identity_of
from enfilade.actors.processes.local_ref import the_process_of

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.observing.watches.shared import Watching
    from enfilade.actors.processes.process import Process

__all__ = ["Observation"]

TIMELINE: Final = 1_024
CRASHES: Final = 256
"""How many events of supervisors and node links, and how many crash reports, are kept."""


LARGEST_NAME: Final = 200
"""Characters of the name of an operator."""


class Observation:
    """The events of one node, and those who are told.

    Attributes:
        now: the time on the clock of the node's trio run.
        number: the number of the last event.
        crash_count: how many processes have crashed so far, whether or not a report was made.
        watch_count: how many watches there are.
        counts: counts messages while somebody wants that.
        log_lines: the last lines of the log, while somebody wants them kept.
        dead_letters: the kinds of dead letters, with their numbers.
        started, started_at: when the node was opened, on the clock of its trio run and as Unix time.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.now: Callable[[], float] = node.timers.now
        self._kept: deque[Event | Note] = deque(maxlen=TIMELINE)
        self._crashes: deque[ProcessCrashed] = deque(maxlen=CRASHES)
        self._sinks: dict[str, tuple[Sink, ...]] = {}
        self._handlers: dict[Hashable, Handler] = {}
        self._on_demand = [(ears(self), kinds) for ears, kinds in ON_DEMAND.items()]
        self._listening: set[int] = set()
        self._watching: Watching | None = None
        self._second = -math.inf
        self._reported = 0
        self.number = 0
        self.crash_count = 0
        self.watch_count = 0
        self.counts = Counts(node, self._counting_changed)
        self.log_lines = LogLines(node.full_name)
        self.started = node.timers.now()
        self.started_at = node.runtime.unix_time()
        self.dead_letters = DeadLetterKinds()
        node.hooks.add(Rare(self))
        node.hooks.add(self.dead_letters)

    # What is kept.

    @property
    def timeline(self) -> tuple[Event, ...]:
        """The last events of supervisors and of node links, oldest first."""
        made = tuple(read(note, self._node) for note in self._kept)
        self._kept.clear()
        self._kept.extend(made)
        return made

    @property
    def crashes(self) -> tuple[ProcessCrashed, ...]:
        """The last crash reports, oldest first."""
        return tuple(self._crashes)

    def forgotten_since(self, number: int) -> int:
        """The number of events of all kinds between the one of that number and the oldest of the timeline, if
        that has dropped any.
        """
        if len(self._kept) < TIMELINE:
            return 0
        oldest = self._kept[0]
        return max(0, (oldest[1] if isinstance(oldest, tuple) else oldest.number) - number - 1)

    # Subscriptions.

    @async_block
    async def events(
        self, *kinds: str, buffer: int = 1000, match: Callable[[Any], bool] | None = None
    ) -> AsyncIterator[Events]:
        """Iterate over what happens from now on, for the length of a block.

        Args:
            kinds: kinds of event, such as "child.restarted", or "child.*" for all of a family; without any,
                all kinds.
            buffer: how many events may wait; then the oldest are dropped, and a `Missed` says how many.
            match: a test of events; it is run in the step that caused one, and must be quick. What it raises
                ends the iteration.

        Raises:
            TypeError: the match is no function, or an async one.
            ValueError: there is no such kind, or the buffer holds nothing.
        """
        sink = Events(kinds_of(kinds), buffer, match)
        self.subscribe(sink)
        try:
            yield sink
        finally:
            self.unsubscribe(sink)
            sink.close()

    def send_events(self, ref: Ref[Any], *kinds: str) -> None:
        """Have the events of these kinds sent to a process of this node, until it ends. Not a checkpoint.

        Raises:
            ValueError: there is no such kind.
            TypeError: `ref` is no process of this node.
            NoProcess: it has ended.
        """
        process = the_process_of(ref, "expected the ref of a process of this node")
        if process.ended is not None:
            raise NoProcess(ref)
        self.subscribe(MailboxSink(kinds_of(kinds), process))

    def attach(
        self,
        id: Hashable,  # noqa: A002 (the field's name)
        kinds: str | tuple[str, ...],
        handler: Callable[[Any, Any], object],
        config: Any = None,
    ) -> None:
        """Have `handler(event, config)` run in the step that causes an event. Not a checkpoint.

        It must be quick and must not wait. One that raises is detached, and "handler.detached" tells of it.
        Events that it causes itself are not shown to it.

        Raises:
            HandlerExists: a handler with that id is attached.
            ValueError: there is no such kind.
            TypeError: the handler is no function, or an async one.
        """
        if id in self._handlers:
            raise HandlerExists(id)
        if not callable(handler) or inspect.iscoroutinefunction(handler):
            raise TypeError(f"expected a function that runs at once, got {safe_repr(handler)}")
        patterns = (kinds,) if isinstance(kinds, str) else tuple(kinds)
        sink = self._handlers[id] = Handler(kinds_of(patterns), id, handler, config)
        self.subscribe(sink)

    def detach(self, id: Hashable) -> bool:  # noqa: A002 (the field's name)
        """Run that handler no more; return true if it was attached. Not a checkpoint."""
        sink = self._handlers.pop(id, None)
        if sink is not None:
            self.unsubscribe(sink)
        return sink is not None

    def subscribe(self, sink: Sink) -> None:
        """Tell `sink` of events from now on. Not a checkpoint."""
        for kind in sink.kinds:
            self._sinks[kind] = (*self._sinks.get(kind, ()), sink)
        self._listen()

    def unsubscribe(self, sink: Sink) -> None:
        """Tell `sink` nothing any more. Not a checkpoint."""
        for kind in sink.kinds:
            left = tuple(other for other in self._sinks.get(kind, ()) if other is not sink)
            if left:
                self._sinks[kind] = left
            else:
                self._sinks.pop(kind, None)
        self._listen()

    def _listen(self) -> None:
        """Listen at those places whose events somebody wants, and no others."""
        for number, (listener, kinds) in enumerate(self._on_demand):
            is_wanted = not kinds.isdisjoint(self._sinks)
            if is_wanted and number not in self._listening:
                self._listening.add(number)
                self._node.hooks.add(listener)
            elif not is_wanted and number in self._listening:
                self._listening.discard(number)
                self._node.hooks.remove(listener)

    # What happens.

    def emit(self, kind: type[Event], *fields: Any, **named: Any) -> Event:
        """Make an event, and give it to those who want it. Not a checkpoint."""
        self.number += 1
        lit = {name: light(value) for name, value in named.items()}
        event = kind(self.number, self.now(), self._node.full_name, *map(light, fields), **lit)
        self._tell(event)
        return event

    def keep(self, kind: type[Event], at: float, fields: tuple[Any, ...]) -> None:
        """As `emit`, of an event at the time `at` that the timeline keeps: the fields are noted as
        `events/notes.py` says.
        """
        self.number = number = self.number + 1
        note = kind, number, at, fields
        if kind.kind not in self._sinks:
            self._kept.append(note)
            return
        event = read(note, self._node)
        self._kept.append(event)
        self._tell(event)

    def shows_contents(self, kind: type[Event]) -> bool:
        """Tell whether a subscriber of that kind may see the contents of messages. Not a checkpoint."""
        return any(sink.inspects for sink in self._sinks.get(kind.kind, ()))

    def _tell(self, event: Event) -> None:
        for sink in self._sinks.get(event.kind, ()):
            if not sink.take(event):
                self._dismiss(sink)

    def _dismiss(self, sink: Sink) -> None:
        """Tell a subscriber nothing any more: its process has ended, or its function has raised."""
        self.unsubscribe(sink)
        if isinstance(sink, Handler):
            self._handlers.pop(sink.id, None)
            self.emit(events.HandlerDetached, sink.id, sink.error)

    def _counting_changed(self, is_on: bool) -> None:
        self.emit(events.ObservationChanged, self.watch_count, is_on)

    def watches_changed(self, count: int) -> None:
        """Tell that there are so many watches now. Not a checkpoint."""
        self.watch_count = count
        self.emit(events.ObservationChanged, count, self.counts.is_on)

    @property
    def watching(self) -> Watching:
        """The things that all watches of the node share."""
        if self._watching is None:
            from enfilade.actors.observing.watches.shared import Watching  # as below

            self._watching = Watching(self._node)
        return self._watching

    def watch(
        self, view: Any, interval: float = 1.0, budget: float = 0.05
    ) -> AbstractAsyncContextManager[Any]:
        """Watch a view of the node from within its program. See `services.Observation.watch`."""
        # What speaks the protocol brings transport along, which a node without peers does without.
        from enfilade.actors.observing.watches.client import watching_here

        return watching_here(self._node, view, interval, budget)

    @async_block
    async def counting(self) -> AsyncIterator[Counts]:
        """Count the messages that actors handle, for the length of a block. See `counting.Counts`."""
        self.counts.begin()
        try:
            yield self.counts
        finally:
            self.counts.end()

    def acted(self, operator: str, action: str, on: Ref[Any] | None) -> None:
        """Tell, and log, that an operator has acted on a process, or on the whole node. Not a checkpoint."""
        who = safe_str(operator, LARGEST_NAME)
        self.emit(events.OperatorActed, who, action, on)
        whom = self._node.full_name if on is None else on
        extra = {"node": self._node.full_name, "zone": self._node.zone, "event": events.OperatorActed.kind}
        log(logging.INFO, "operator %s: %s on %s", who, action, whom, extra=extra)

    def opened(self) -> None:
        """Tell that the node is open: the first event that the timeline keeps. Not a checkpoint."""
        self.keep(events.NodeOpened, self.now(), ())

    def crashed(self, process: Process, reason: Reason, error: BaseException | None) -> None:
        """Make a crash report, unless there have been too many within this second."""
        self.crash_count += 1
        second = math.floor(self.now())
        if second != self._second:
            self._second, self._reported = second, 0
        self._reported += 1
        if self._reported > self._node.config.reports_per_second:
            return
        identity = identity_of(process)
        trace = context_of_error(error) or TRACE.get()
        report = self.emit(
            ProcessCrashed,
            ref=identity.ref,
            actor=identity.actor,
            name=told(identity.name),
            label=told(identity.label),
            supervisor=identity.supervisor,
            child_id=identity.child_id,
            reason=why(reason),
            exception=failure_of(reason, error),
            message=message_shown(process, error),
            queued=len(process.queue),
            restarts=identity.restarts,
            state=state_shown(process),
            uptime=round(self.now() - process.born, 6),
            handled=self.counts.handled(process.ref),
            trace_id=None if trace is None else trace.trace_id.hex(),
        )
        assert isinstance(report, ProcessCrashed)
        self._crashes.append(report)

    def close(self) -> None:
        """End the iterations, and the counting of those who could not end it: the node has stopped."""
        self.counts.close()
        for sink in {id(sink): sink for sinks in self._sinks.values() for sink in sinks}.values():
            sink.close()
