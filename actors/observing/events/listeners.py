"""The listeners that make events: of what is rare always, of the rest while somebody asks for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Final, Protocol

from enfilade.actors.messages.hooks import Listener
from enfilade.actors.messages.reasons import Reason, Trapped
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_id import safe_id
from enfilade.actors.messages.safe_text import safe_str, shown_name
from enfilade.actors.observing.events import records as events
from enfilade.actors.observing.events.contents import dead_contents_of
from enfilade.actors.observing.events.notes import note_of, note_of_both, note_of_reason, noted
from enfilade.actors.observing.events.reasons import why, why_of_error
from enfilade.actors.observing.events.records import Event
from enfilade.actors.processes.identity import identity_of

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["ON_DEMAND", "Maker", "Rare"]

RESTARTING: Final = 1_024
"""How many children may be between two incarnations for the next one to say how long that took."""

OVERFLOWING: Final = 1_024
"""How many mailboxes may overflow within a second and be told apart."""

LIMITS: Final = ("limit exceeded", "cpu time exhausted", "start function took too long")
"""The kinds of traps by which a guest has reached a limit."""

FRAMES: Final = 50
"""How many frames of a guest an event has."""


class Maker(Protocol):
    """A maker of events, which keeps them: see `observation.Observation`."""

    now: Callable[[], float]

    def emit(self, kind: type[Event], *fields: Any) -> Event:
        """Make an event."""

    def keep(self, kind: type[Event], at: float, fields: tuple[Any, ...]) -> None:
        """Make an event that the timeline keeps, of the note of its fields."""

    def crashed(self, process: Process, reason: Reason, error: BaseException | None) -> None:
        """Make a crash report."""

    def shows_contents(self, kind: type[Event]) -> bool:
        """Tell whether somebody is told of such events who may see the contents of messages."""

    def close(self) -> None:
        """Make no more."""


class _EventListener(Listener):
    def __init__(self, observation: Maker) -> None:
        self._observation = observation


class Rare(_EventListener):
    """Hears what is always noted."""

    def __init__(self, observation: Maker) -> None:
        super().__init__(observation)
        self._ended: dict[Ref[Any], tuple[float, tuple[Any, ...]]] = {}
        self._keep = observation.keep
        self._now = observation.now
        self._stopping = why_of_error(None)

    def child_started(
        self, supervisor: Process, child_id: Hashable, ref: Ref[Any], restart_number: int
    ) -> None:
        fields = *noted(supervisor), child_id, *note_of(ref), restart_number
        self._keep(events.ChildStarted, self._now(), fields)

    def child_restarted(
        self,
        supervisor: Process,
        child_id: Hashable,
        old: Ref[Any],
        ref: Ref[Any],
        reason: Reason,
        in_period: int,
    ) -> None:
        now = self._now()
        seconds: float | None
        ended = self._ended.pop(old, None)
        if ended is None:
            seconds, (former, former_name) = None, note_of(old)
            kind, asker, asker_name = note_of_reason(reason)
        else:
            since, (_, _, _, former, former_name, kind, asker, asker_name, _) = ended
            seconds = now - since
        intensity = supervisor.body.strategy.children.flags.intensity
        by, by_name, new, name = note_of_both(supervisor, ref)
        place = by, by_name, child_id, former, former_name, new, name
        fields = *place, kind, asker, asker_name, seconds, in_period, intensity
        self._keep(events.ChildRestarted, now, fields)

    def child_terminated(
        self, supervisor: Process, child_id: Hashable, ref: Ref[Any], reason: Reason, will_restart: bool
    ) -> None:
        now = self._now()
        by, by_name, former, name = note_of_both(supervisor, ref)
        kind, asker, asker_name = note_of_reason(reason)
        fields = by, by_name, child_id, former, name, kind, asker, asker_name, will_restart
        if will_restart:
            if len(self._ended) >= RESTARTING:
                del self._ended[next(iter(self._ended))]
            self._ended[ref] = now, fields
        self._keep(events.ChildTerminated, now, fields)

    def child_start_failed(
        self, supervisor: Process, child_id: Hashable, reason: Reason, attempt: int, next_in: float | None
    ) -> None:
        fields = *noted(supervisor), child_id, *note_of_reason(reason), attempt, next_in
        self._keep(events.ChildStartFailed, self._now(), fields)

    def child_removed(self, supervisor: Process, child_id: Hashable) -> None:
        self._keep(events.ChildRemoved, self._now(), (*noted(supervisor), child_id))

    def supervisor_gave_up(
        self, supervisor: Process, child_id: Hashable, reason: Reason, restarts: int, period: float
    ) -> None:
        fields = *noted(supervisor), child_id, *note_of_reason(reason), restarts, period
        self._keep(events.SupervisorGaveUp, self._now(), fields)

    def process_crashing(self, process: Process, reason: Reason, error: BaseException | None) -> None:
        if error is not None or process.exit_signal is None:  # otherwise it is the doing of a signal
            self._observation.crashed(process, reason, error)

    def process_unkillable(self, ref: Ref[Any], frames: str) -> None:
        self._observation.emit(events.ProcessUnkillable, ref, frames)

    def loop_held(self, ref: Ref[Any] | None, place: str, seconds: float) -> None:
        self._keep(events.LoopHeld, self._now(), (*note_of(ref), place, seconds))

    def node_up(self, peer: str) -> None:
        self._keep(events.NodeLinkUp, self._now(), (peer,))

    def node_down(self, peer: str, reason: str) -> None:
        self._keep(events.NodeLinkDown, self._now(), (peer, safe_str(reason)))

    def node_refused(self, reason: str) -> None:
        self._keep(events.NodeRefused, self._now(), (safe_str(reason),))

    def node_stopping(self, fatal: BaseException | None) -> None:
        self._stopping = why_of_error(fatal)
        self._observation.emit(events.NodeStopping, self._stopping)

    def node_stopped(self) -> None:
        self._observation.emit(events.NodeStopped, self._stopping)
        self._observation.close()


class _Lives(_EventListener):
    """Hears of ordinary starts and ends."""

    def process_started(self, process: Process) -> None:
        who = identity_of(process)
        fields = (who.ref, who.actor, who.parent, who.name, who.label)
        self._observation.emit(events.ProcessStarted, *fields)

    def process_ended(self, process: Process, reason: Reason) -> None:
        who = identity_of(process)
        fields = (who.ref, who.actor, who.parent, who.name, who.label)
        seconds = round(self._observation.now() - process.born, 6)
        self._observation.emit(events.ProcessEnded, *fields, why(reason), seconds)


class _Names(_EventListener):
    """Hears of names."""

    def name_registered(self, process: Process, name: str) -> None:
        self._observation.emit(events.NameRegistered, name, process.ref)

    def name_released(self, process: Process, name: str) -> None:
        self._observation.emit(events.NameReleased, name, process.ref)


class _Messages(_EventListener):
    """Hears of dead letters."""

    def message_dead(self, message: Any, ref: Ref[Any], reason: Reason) -> None:
        is_shown = self._observation.shows_contents(events.DeadLetterEvent)
        contents = dead_contents_of(message, ref) if is_shown else None
        fields = ref, why(reason), shown_name(type(message)), contents
        self._observation.emit(events.DeadLetterEvent, *fields)


class _Mailboxes(_EventListener):
    """Hears of messages that find a mailbox full, and tells of each mailbox once a second."""

    def __init__(self, observation: Maker) -> None:
        super().__init__(observation)
        self._counts: dict[int, int] = {}
        self._told: dict[int, float] = {}

    def mailbox_overflowed(self, process: Process) -> None:
        serial, now = process.serial, self._observation.now()
        count = self._counts.get(serial, 0) + 1
        if now - self._told.get(serial, -math.inf) < 1.0:
            self._counts[serial] = count
            return
        if len(self._told) >= OVERFLOWING:
            self._told.clear()
            self._counts.clear()
        self._told[serial] = now
        self._counts[serial] = 0
        mailbox = process.mailbox
        fields = (process.ref, mailbox.overflow, mailbox.capacity, count)
        self._observation.emit(events.MailboxOverflowed, *fields)


class _Calls(_EventListener):
    """Hears of calls that have had no reply in time."""

    def call_timed_out(self, caller: Ref[Any] | None, target: Ref[Any], method: str, seconds: float) -> None:
        shown = safe_str(method) if method else None
        self._observation.emit(events.CallTimedOut, caller, target, shown, seconds)


class _Groups(_EventListener):
    """Hears of the groups of this node's processes."""

    def group_joined(self, scope: str, group: Hashable, ref: Ref[Any]) -> None:
        self._observation.emit(events.GroupJoined, scope, safe_id(group), ref)

    def group_left(self, scope: str, group: Hashable, ref: Ref[Any]) -> None:
        self._observation.emit(events.GroupLeft, scope, safe_id(group), ref)


class _Pools(_EventListener):
    """Hears of jobs that are not done."""

    def pool_discarded(self, pool: Process, job: Any) -> None:
        self._observation.emit(events.PoolDiscarded, pool.ref, shown_name(type(job)))


class _Guests(_EventListener):
    """Hears of guests that were cut short."""

    def process_ended(self, process: Process, reason: Reason) -> None:
        if type(reason) is Trapped:
            kind = events.GuestLimited if reason.kind in LIMITS else events.GuestTrapped
            backtrace = tuple(map(safe_str, reason.backtrace))[:FRAMES]
            fields = process.ref, safe_str(reason.kind), safe_str(reason.message), backtrace
            self._observation.emit(kind, *fields)


class _Workers(_EventListener):
    """Hears of workers that have gone."""

    def worker_lost(self, name: str, reason: Reason) -> None:
        self._observation.emit(events.WorkerLost, name, why(reason))


class _Troubles(_EventListener):
    """Hears of handlers that are slow, casts that are refused, and calls in a circle."""

    def process_slow(self, ref: Ref[Any], seconds: float) -> None:
        self._observation.emit(events.ProcessSlow, ref, seconds)

    def process_refused(self, ref: Ref[Any], error: Exception) -> None:
        self._observation.emit(events.ProcessRefused, ref, safe_str(error))

    def process_deadlock(self, calls: tuple[str, ...]) -> None:
        self._observation.emit(events.ProcessDeadlock, calls)


ON_DEMAND: Final[dict[type[_EventListener], frozenset[str]]] = {
    _Lives: frozenset({"process.started", "process.ended"}),
    _Names: frozenset({"name.registered", "name.released"}),
    _Messages: frozenset({"message.dead"}),
    _Mailboxes: frozenset({"mailbox.overflowed"}),
    _Troubles: frozenset({"process.slow", "process.refused", "process.deadlock"}),
    _Calls: frozenset({"call.timed_out"}),
    _Groups: frozenset({"group.joined", "group.left"}),
    _Pools: frozenset({"pool.discarded"}),
    _Guests: frozenset({"guest.trapped", "guest.limited"}),
    _Workers: frozenset({"worker.lost"}),
}
"""Who hears of what is not always noted, and of which kinds of event."""
