"""The metrics of a node: what is measured, in which unit, and by which attributes.

Nothing is measured until somebody reads. From then on a listener counts starts, ends and restarts, and a walk
adds up what the processes have, in steps, as for every view. So counters begin when reading does, but for
those that the node keeps anyway.

No attribute has a serial, a label or a text, and each has at most 200 values: the rest is `_OTHER`.
"""

from __future__ import annotations

import gc
import resource
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from enfilade.actors.messages.errors import NotConnected
from enfilade.actors.messages.hooks import Listener
from enfilade.actors.messages.reasons import Reason, Trapped
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_id import safe_id
from enfilade.actors.messages.safe_text import shown_name, told
from enfilade.actors.observing.measurements.vitals import Look, Vitals, descriptors, resident
from enfilade.actors.observing.tables.node_tables import peer_rows
from enfilade.actors.patterns.pool import Pool
from enfilade.actors.processes.identity import actor_name

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.observing.measurements.counting import Counts
    from enfilade.actors.observing.tables.walker import Walker
    from enfilade.actors.processes.process import Process

__all__ = ["INSTRUMENTS", "Instrument", "Metrics", "Readings"]

VALUES: Final = 200
"""How many values of an attribute are told apart."""

OTHER: Final = "_OTHER"

Readings = dict[str, list[tuple[dict[str, str], float]]]
"""By the name of an instrument: the value for each set of attributes."""


@attrs.frozen
class Instrument:
    """Something that is measured.

    Attributes:
        name: its name, in the manner of OpenTelemetry.
        kind: "counter" only grows, "updown" can be added up over nodes, "gauge" cannot.
        unit: in the notation of UCUM.
        description: what it says.
    """

    name: str
    kind: str
    unit: str
    description: str


INSTRUMENTS: Final = (
    Instrument("enfilade.process.count", "updown", "{process}", "Processes that live."),
    Instrument("enfilade.process.started", "counter", "{process}", "Processes that have started."),
    Instrument("enfilade.process.ended", "counter", "{process}", "Processes that have ended."),
    Instrument("enfilade.process.restarts", "counter", "{restart}", "Restarts of children."),
    Instrument("enfilade.supervisor.give_ups", "counter", "{event}", "Supervisors that have given up."),
    Instrument("enfilade.mailbox.messages", "updown", "{message}", "Messages that wait."),
    Instrument("enfilade.mailbox.longest", "gauge", "{message}", "Messages in the longest mailbox."),
    Instrument("enfilade.mailbox.dropped", "counter", "{message}", "Messages that full mailboxes dropped."),
    Instrument("enfilade.message.dead", "counter", "{message}", "Messages that reached no process."),
    Instrument(
        "messaging.client.consumed.messages", "counter", "{message}", "Messages that actors have handled."
    ),
    Instrument("enfilade.timer.count", "updown", "{timer}", "Timers that are due in the future."),
    Instrument("enfilade.loop.busy", "gauge", "1", "Share of the time for which the loop did not wait."),
    Instrument("enfilade.loop.longest_step", "gauge", "s", "Longest time between two waits of the loop."),
    Instrument("enfilade.loop.lag", "gauge", "s", "Lateness of a timer, at most."),
    Instrument("enfilade.link.frames", "counter", "{frame}", "Frames of node links."),
    Instrument("enfilade.link.io", "counter", "By", "Bytes of node links."),
    Instrument("enfilade.link.queued", "gauge", "By", "Bytes that wait for a peer."),
    Instrument("enfilade.link.credit", "gauge", "By", "Bytes that a peer would still take."),
    Instrument("enfilade.link.round_trip", "gauge", "s", "Time that a peer took to answer, last."),
    Instrument("enfilade.mesh.nodes", "gauge", "{node}", "Nodes of the mesh that are known."),
    Instrument("enfilade.mesh.round_trip", "gauge", "s", "Time that the server of the mesh took to answer."),
    Instrument("enfilade.mesh.unsent", "gauge", "By", "Bytes that have yet to leave for the server."),
    Instrument("enfilade.mesh.messages", "counter", "{message}", "Messages from and to servers of the mesh."),
    Instrument("enfilade.mesh.io", "counter", "By", "Bytes from and to servers of the mesh."),
    Instrument("enfilade.mesh.reconnects", "counter", "{session}", "Sessions that took a lost one's place."),
    Instrument("enfilade.mesh.cuts", "counter", "{session}", "Sessions that ended after the loop was held."),
    Instrument("enfilade.mesh.late_beats", "counter", "{beat}", "Heart-beats that were late."),
    Instrument("enfilade.mesh.resent", "counter", "{batch}", "Batches of node links that were sent again."),
    Instrument("enfilade.mesh.refusals", "counter", "{message}", "Messages of the mesh that were refused."),
    Instrument("enfilade.mesh.lease.left", "gauge", "s", "Time for which the node may act for its claims."),
    Instrument("enfilade.mesh.claims", "counter", "{claim}", "Names and shards that were claimed."),
    Instrument("enfilade.mesh.conflicts", "counter", "{write}", "Writes that the registry has refused."),
    Instrument("enfilade.mesh.shards", "gauge", "{shard}", "Shards of a kind that the node holds."),
    Instrument("enfilade.mesh.activations", "updown", "{process}", "Keyed actors that there are."),
    Instrument("enfilade.guest.count", "updown", "{guest}", "Guests that live."),
    Instrument("enfilade.guest.memory", "gauge", "By", "Memory of guests."),
    Instrument("enfilade.guest.cpu.time", "counter", "s", "Processor time of guests that live."),
    Instrument("enfilade.guest.hostcalls", "counter", "{call}", "Hostcalls of guests that live."),
    Instrument("enfilade.guest.traps", "counter", "{trap}", "Guests that have trapped."),
    Instrument("enfilade.pool.workers", "updown", "{worker}", "Workers of pools."),
    Instrument("enfilade.pool.waiting", "updown", "{job}", "Jobs that wait for a worker."),
    Instrument("enfilade.pool.discarded", "counter", "{job}", "Jobs that pools have discarded."),
    Instrument("process.memory.usage", "updown", "By", "Resident memory of the OS process."),
    Instrument("process.cpu.time", "counter", "s", "Processor time of the OS process."),
    Instrument("process.open_file_descriptor.count", "updown", "{file_descriptor}", "Open descriptors."),
    Instrument("cpython.gc.collections", "counter", "{collection}", "Runs of the collector of circles."),
)
"""Everything that is measured."""

ACTOR: Final = "enfilade.actor"
KIND: Final = "enfilade.process.kind"
MODULE: Final = "enfilade.guest.module"
REASON: Final = "enfilade.reason.type"
SUPERVISOR: Final = "enfilade.supervisor"
CHILD: Final = "enfilade.child.id"
PEER: Final = "enfilade.peer"
KEYED: Final = "enfilade.keyed.kind"
DIRECTION: Final = "network.io.direction"


class Metrics(Listener):
    """The metrics of one node.

    Args:
        node: the node.
        walker: goes through its processes.
        counts: counts messages, if somebody wants that.
    """

    def __init__(self, node: Node, walker: Walker, counts: Counts) -> None:
        self._node = node
        self._walker = walker
        self._counts = counts
        self._users = 0
        self._started: Counter[tuple[str, str]] = Counter()
        self._ended: Counter[tuple[str, str, str]] = Counter()
        self._restarts: Counter[tuple[str, str]] = Counter()
        self._give_ups: Counter[str] = Counter()
        self._traps: Counter[str] = Counter()
        self._vitals = Vitals(node)
        self._look: Look | None = None
        self._values: dict[str, set[str]] = {}
        self._growth = _Growth(self._bounded)

    def begin(self) -> None:
        """Measure, for one reader more. Not a checkpoint."""
        self._users += 1
        if self._users == 1:
            self._node.hooks.add(self)
            self._look = self._vitals.begin()

    def end(self) -> None:
        """One reader less; after the last one nothing is counted. Not a checkpoint."""
        self._users -= 1
        if not self._users:
            self._node.hooks.remove(self)
            if self._look is not None:
                self._vitals.end(self._look)

    # What happens.

    def process_started(self, process: Process) -> None:
        self._started[self._class_of(process)] += 1

    def process_crashing(self, process: Process, reason: Reason, error: BaseException | None) -> None:
        if type(reason) is Trapped:
            body: Any = process.body
            module = body.module if process.body.kind == "guest" else ""
            self._traps[self._bounded(MODULE, module)] += 1

    def process_ended(self, process: Process, reason: Reason) -> None:
        self._ended[(*self._class_of(process), self._bounded(REASON, shown_name(type(reason))))] += 1

    def child_restarted(
        self,
        supervisor: Process,
        child_id: Hashable,
        old: Ref[Any],
        ref: Ref[Any],
        reason: Reason,
        in_period: int,
    ) -> None:
        named = "" if child_id is None else self._bounded(CHILD, safe_id(child_id))
        self._restarts[self._bounded(SUPERVISOR, _title_of(supervisor)), named] += 1

    def supervisor_gave_up(
        self, supervisor: Process, child_id: Hashable, reason: Reason, restarts: int, period: float
    ) -> None:
        self._give_ups[self._bounded(SUPERVISOR, _title_of(supervisor))] += 1

    # What is read.

    async def readings(self, budget: float, *, messages: bool) -> Readings:
        """Everything that is measured, as it is now. A checkpoint.

        Args:
            budget: the share of its time that the node may spend on it.
            messages: whether messages are counted, so that there are numbers of them.
        """
        found = _Found(self._bounded)
        node = self._node
        self._growth.begin()
        longest = 0
        async for process in self._walker.each(list(node.processes.values()), budget):
            if process.ended is None:
                longest = max(longest, len(process.queue))
                self._add(found, process, messages=messages)
        found.add("enfilade.mailbox.longest", longest)
        for (kind, actor), count in self._started.items():
            found.add("enfilade.process.started", count, {KIND: kind, ACTOR: actor})
        for (kind, actor, reason), count in self._ended.items():
            ended = {KIND: kind, ACTOR: actor, REASON: reason}
            found.add("enfilade.process.ended", count, ended)
        for (supervisor, child), count in self._restarts.items():
            named = {CHILD: child} if child else {}
            found.add("enfilade.process.restarts", count, {SUPERVISOR: supervisor, **named})
        for supervisor, count in self._give_ups.items():
            found.add("enfilade.supervisor.give_ups", count, {SUPERVISOR: supervisor})
        for module, count in self._traps.items():
            found.add("enfilade.guest.traps", count, {MODULE: module})
        if messages:
            for actor, count in self._counts.ended.items():
                self._add_consumed(found, actor, count)
        found.add("enfilade.mailbox.dropped", node.dropped)
        found.add("enfilade.message.dead", node.dead_letters.count)
        found.add("enfilade.timer.count", len(node.timers))
        self._add_links(found)
        self._add_mesh(found)
        if self._look is not None:
            for name, value in self._vitals.told(self._look)["loop"].items():
                found.add(f"enfilade.loop.{name}", value)
        self._growth.add_to(found)
        _add_program(found)
        return found.readings

    def _add(self, found: _Found, process: Process, *, messages: bool) -> None:
        kind, actor = self._class_of(process)
        found.add("enfilade.process.count", 1, {KIND: kind, ACTOR: actor})
        found.add("enfilade.mailbox.messages", len(process.queue), {ACTOR: actor})
        if messages and kind == "actor":
            self._add_consumed(found, actor, self._counts.of(process)["handled"])
        signs = process.body.signs()
        if signs is not None:
            module = {MODULE: signs["module"]}
            found.add("enfilade.guest.count", 1, module)
            found.add("enfilade.guest.memory", signs["memory"] or 0, module)
            self._growth.note("enfilade.guest.cpu.time", process.serial, signs["cpu"], module)
            for name, count in (signs["hostcalls_by_name"] or {}).items() if messages else ():
                called = {**module, "rpc.method": name}
                self._growth.note("enfilade.guest.hostcalls", process.serial, count, called)
        if isinstance(process.body.actor, Pool):
            pool, statistics = {"enfilade.pool": _title_of(process)}, Pool.statistics(process.body.actor)
            found.add("enfilade.pool.workers", statistics.size, pool)
            found.add("enfilade.pool.waiting", statistics.queued, pool)
            self._growth.note("enfilade.pool.discarded", process.serial, statistics.discarded, pool)

    def _add_consumed(self, found: _Found, actor: str, count: int) -> None:
        attributes = {
            "messaging.system": "enfilade",
            "messaging.operation.name": "process",
            "messaging.destination.template": actor,
        }
        found.add("messaging.client.consumed.messages", count, attributes)

    def _add_links(self, found: _Found) -> None:
        for row in peer_rows(self._node):
            peer = {PEER: row["name"]}
            for direction, word in (("in", "receive"), ("out", "transmit")):
                way = {**peer, DIRECTION: word}
                self._growth.note("enfilade.link.frames", row["since"], row[f"frames_{direction}"], way)
                self._growth.note("enfilade.link.io", row["since"], row[f"bytes_{direction}"], way)
            found.add("enfilade.link.queued", row["queued"], peer)
            round_trip = self._vitals.round_trips.get(row["name"])
            if round_trip is not None:
                found.add("enfilade.link.round_trip", round_trip, peer)
            found.add("enfilade.link.credit", max(0, row["window"] - row["under_way"]), peer)

    def _add_mesh(self, found: _Found) -> None:
        """Add what the node's part in a mesh has, if it is in one."""
        try:
            status = self._node.mesh.status()
        except NotConnected:
            return
        for name, gauge in (
            ("nodes", status.nodes),
            ("round_trip", status.round_trip),
            ("unsent", status.unsent),
            ("lease.left", None if status.registry is None else status.registry.lease_left),
        ):
            if gauge is not None:
                found.add(f"enfilade.mesh.{name}", gauge)
        for direction, word in (("in", "receive"), ("out", "transmit")):
            way = {DIRECTION: word}
            found.add("enfilade.mesh.messages", getattr(status, f"messages_{direction}"), way)
            found.add("enfilade.mesh.io", getattr(status, f"bytes_{direction}"), way)
        for name, count in (
            ("reconnects", status.reconnects),
            ("cuts", status.cuts),
            ("late_beats", status.beats_late),
            ("resent", status.batches_resent),
            ("refusals", status.refusals),
            ("claims", None if status.registry is None else status.registry.claims),
            ("conflicts", None if status.registry is None else status.registry.conflicts),
        ):
            if count is not None:
                found.add(f"enfilade.mesh.{name}", count)
        for name, kind in status.kinds.items():
            attributes = {KEYED: safe_id(name)}
            found.add("enfilade.mesh.shards", kind.shards, attributes)
            found.add("enfilade.mesh.activations", kind.activations, attributes)

    def _class_of(self, process: Process) -> tuple[str, str]:
        return process.body.kind, self._bounded(ACTOR, actor_name(process) or "")

    def _bounded(self, attribute: str, value: str) -> str:
        """The value of an attribute, as long as it does not have too many. What counts asks for it before it
        counts, so that it does not grow with what comes and goes.
        """
        known = self._values.setdefault(attribute, set())
        if value in known:
            return value
        if len(known) >= VALUES:
            return OTHER
        known.add(value)
        return value


class _Found:
    """The values that are being added up."""

    def __init__(self, bounded: Callable[[str, str], str]) -> None:
        self._bounded = bounded
        self._sums: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}

    def add(self, name: str, value: float, attributes: Mapping[str, str] | None = None) -> None:
        """Add to the value of an instrument for a set of attributes."""
        given = attributes or {}
        key = tuple((attribute, self._bounded(attribute, given[attribute])) for attribute in given)
        sums = self._sums.setdefault(name, {})
        sums[key] = sums.get(key, 0) + value

    @property
    def readings(self) -> Readings:
        """What has been added up."""
        return {name: [(dict(key), sums[key]) for key in sums] for name, sums in self._sums.items()}


Key = tuple[str, tuple[tuple[str, str], ...]]
"""An instrument, and attributes."""


class _Growth:
    """Counters that are kept by things which end: a sum of theirs must not shrink when one has gone."""

    def __init__(self, bounded: Callable[[str, str], str]) -> None:
        self._bounded = bounded
        self._sums: dict[Key, float] = {}
        self._before: dict[tuple[Hashable, Key], float] = {}
        self._now: dict[tuple[Hashable, Key], float] = {}

    def begin(self) -> None:
        """Begin a reading: things that were not there in the last one are forgotten."""
        self._before, self._now = self._now, {}

    def note(self, name: str, owner: Hashable, total: float, attributes: Mapping[str, str]) -> None:
        """Note the counter of a thing: what it has grown by since the last reading is added to the sum."""
        counter = owner, (name, tuple(attributes.items()))
        self._now[counter] = total
        grown = max(0, total - self._before.get(counter, 0))
        key = name, tuple((each, self._bounded(each, value)) for each, value in attributes.items())
        self._sums[key] = self._sums.get(key, 0) + grown

    def add_to(self, found: _Found) -> None:
        """Add the sums to what has been found."""
        for (name, attributes), total in self._sums.items():
            found.add(name, total, dict(attributes))


def _add_program(found: _Found) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    for mode, seconds in (("user", used.ru_utime), ("system", used.ru_stime)):
        found.add("process.cpu.time", seconds, {"cpu.mode": mode})
    for name, value in (
        ("process.memory.usage", resident()),
        ("process.open_file_descriptor.count", descriptors()),
    ):
        if value is not None:
            found.add(name, value)
    for generation, numbers in enumerate(gc.get_stats()):
        found.add(
            "cpython.gc.collections", numbers["collections"], {"cpython.gc.generation": f"{generation}"}
        )


def _title_of(process: Process) -> str:
    """The name of a process; the name of its class if it has none."""
    return told(process.name) or actor_name(process) or ""
