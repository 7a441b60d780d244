"""The activations of one kind on one node: the actors that keys have here, from their first message on.

A key has at most one process here at a time: a further one starts when the one before has ended. What comes
meanwhile waits, and so does what comes after too many crashes in a short time. What cannot be delivered here
any more, because the shard moves, is given back to whoever knows the way.

No activation gets a turn while this node does not hold the shard: a guard asks before each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs
import trio

from enfilade.actors.messages import signals
from enfilade.actors.messages.errors import CallError, NoProcess
from enfilade.actors.messages.reasons import KILL, NO_PROCESS, NORMAL, LeaseLost, Reason
from enfilade.actors.messages.ref import NodeRef, Ref
from enfilade.actors.messages.request import Request
from enfilade.actors.messages.safe_text import safe_repr, safe_str
from enfilade.actors.peers.ledger import undeliverable
from enfilade.actors.peers.waiting import Line, Room
from enfilade.actors.processes import start
from enfilade.transport.mesh.shards import shard_of

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.peers.mesh.kind import Kind
    from enfilade.actors.processes.process import Process
    from enfilade.transport.mesh.claims import Held

__all__ = ["LEAVING_SECONDS", "MOST_WAITING", "Activations"]

LEAVING_SECONDS: Final = 5.0
"""Time for an actor whose shard moves to handle what it has; then it is killed."""

MOST_WAITING: Final = 1000
"""Messages that wait for an actor that cannot be started yet."""

CRASHES: Final = 3
CRASH_SECONDS: Final = 5.0
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
"""After so many crashes in that time an actor starts after a pause, which doubles with each further one."""

STARTING: Final = (signals.Send, signals.Cast, signals.Call)
"""Signals that start an actor; others are for one that runs."""


class Way(Protocol):
    """The way of a signal to a key, wherever that is: `keyed.KeyedActors`."""

    def deliver_anew(self, kind: str, key: str, signal: signals.Signal) -> None: ...

    def ref(self, kind: str, key: str) -> Ref[Any]: ...


class _Ends(NodeRef):
    """Is told of the ends of activations, as the node itself."""

    __slots__ = ("_activations",)

    def __init__(self, node: Node, activations: Activations) -> None:
        super().__init__(node)
        self._activations = activations

    def deliver(self, signal: signals.Signal) -> None:
        if isinstance(signal, signals.Down):
            self._activations.ended(signal.tag, signal.reason)


@attrs.define(eq=False)
class _Activation:
    """What there is of a key.

    Attributes:
        process: the actor, from its making to its end.
        ref: of the last one.
        used_at: when it was last called, or sent something.
        waiting: what waits for the next one.
        is_ending: whether it has been asked to end, so that what comes now waits for the next one.
        crashes: when it crashed lately.
        is_resting: whether the next one is started only when a timer has fired.
    """

    key: str
    shard: int
    waiting: Line[signals.Signal]
    process: Process | None = None
    ref: Ref[Any] | None = None
    used_at: float = 0.0
    is_ending: bool = False
    crashes: list[float] = attrs.field(factory=list)
    is_resting: bool = False
    ended: trio.Event = attrs.field(factory=trio.Event)


class Activations:
    """The activations of one kind.

    Args:
        node: the node.
        name: of the kind.
        kind: what to start, and how long it stays.
        way: takes what cannot be delivered here.
        claim: returns the claim of a shard that counts at this moment.
        guard: returns a function that returns a reason when the claim of a shard does not count then.
        room: for what waits.

    Attributes:
        live: the keys with actors that take messages now; whoever calls one without `deliver` says when.
        started: actors that were started.
    """

    def __init__(
        self,
        node: Node,
        name: str,
        kind: Kind,
        way: Way,
        claim: Callable[[int], Held | None],
        guard: Callable[[int, Held, Reason], Callable[[], Reason | None]],
        room: Room,
    ) -> None:
        self._room = room
        self.live: dict[str, _Activation] = {}
        self.started = 0
        self._node = node
        self._name = name
        self._kind = kind
        self._way = way
        self._claim = claim
        self._guard = guard
        self._records: dict[str, _Activation] = {}
        self._by_number: dict[int, _Activation] = {}
        self._closed: set[int] = set()
        self._guardian: Process | None = None
        self._ends = _Ends(node, self)

    def __len__(self) -> int:
        return len(self._by_number)

    # Messages.

    def takes(self, shard: int) -> bool:
        """Tell whether what comes for a shard is for this node now."""
        return shard not in self._closed and self._claim(shard) is not None

    def shard_under(self, process: Process) -> int | None:
        """Return the shard under which an actor runs; None for any other process."""
        record = self._by_number.get(process.serial)
        return None if record is None else record.shard

    def present(self, key: str) -> Ref[Any] | None:
        """The actor that a key has now; None without any."""
        record = self._records.get(key)
        return None if record is None or record.process is None else record.process.ref

    def deliver(self, key: str, signal: signals.Signal) -> None:
        """Deliver a signal to the actor of a key, whose shard this node takes; start it if it has none."""
        record = self._records.get(key)
        if record is None:
            if not isinstance(signal, STARTING) or _is_order(signal):
                undeliverable(self._node, self._way.ref(self._name, key), signal, NO_PROCESS)
                return
            if bool(key) is self._kind.single:
                self._mismatch(key, signal)
                return
            record = self._records[key] = self._record(key, shard_of(self._name, key, self._kind.parts))
        if record.process is not None and not (record.is_ending and isinstance(signal, STARTING)):
            record.used_at = self._node.timers.now()
            record.process.deliver(signal)
        elif not isinstance(signal, STARTING) or _is_order(signal):
            undeliverable(self._node, self._way.ref(self._name, key), signal, NO_PROCESS)
        elif refusal := record.waiting.add(signal, signal):
            self._refuse(key, signal, refusal)
        else:
            self._begin(record)

    def _record(self, key: str, shard: int) -> _Activation:
        return _Activation(key, shard, Line(self._room, MOST_WAITING))

    def _mismatch(self, key: str, signal: signals.Signal) -> None:
        """Answer what is for a key of a kind without keys, or for the single actor of one with keys."""
        ref = self._way.ref(self._name, key)
        if isinstance(signal, signals.Call):
            is_single, name = self._kind.single, safe_repr(self._name)
            has = "one actor, and no keys" if is_single else "an actor for each key"
            use = f"single({name})" if is_single else f"keyed({name}, key)"
            signal.fail(NoProcess(ref, problem=f"kind {name} has {has}: use {use}"))
        else:
            undeliverable(self._node, ref, signal, NO_PROCESS)

    def _refuse(self, key: str, signal: signals.Signal, refusal: str) -> None:
        ref = self._way.ref(self._name, key)
        if isinstance(signal, signals.Call):
            signal.fail(CallError(ref, f"{ref} is not running, and {refusal} for it"))
        else:
            undeliverable(self._node, ref, signal, NO_PROCESS)

    # Life.

    def _begin(self, record: _Activation) -> None:
        """Start the actor of a key, unless it runs or has to wait, and give it what waits."""
        if record.process is not None or record.is_resting:
            return
        held = None if record.shard in self._closed else self._claim(record.shard)
        if held is None:
            self._give_back(record)
            return
        single = self._kind.single
        label = self._name if single else f"{self._name}/{safe_str(record.key)}"
        process = start.create(self._node, self._parent(), label=label, mailbox=self._kind.mailbox)
        record.process, record.is_ending, record.ended = process, False, trio.Event()
        record.used_at = self._node.timers.now()
        self.live[record.key], record.ref = record, process.ref
        self._by_number[process.serial] = record
        self.started += 1
        process.deliver(signals.Monitor(self._ends, process.serial))
        process.guard_by(self._guard(record.shard, held, LeaseLost(label)))
        waiting = record.waiting.take()
        start.start_soon(process, self._kind.actor, () if single else (record.key,), {})
        for signal in waiting:
            if not (isinstance(signal, signals.Call) and signal.settled):
                process.deliver(signal)
        if not self._kind.stays:
            self._watch_idleness(record, process, self._kind.idle)

    def _parent(self) -> Process:
        """The process below which all activations of the kind are shown."""
        if self._guardian is None or self._guardian.ended is not None:
            self._guardian = start.create(self._node, label=f"kind {self._name}")
            start.start_soon(self._guardian, _stay, (), {})
        return self._guardian

    def _watch_idleness(self, record: _Activation, process: Process, seconds: float) -> None:
        self._node.timers.call_after(seconds, self._look, record, process, owner=process)

    def _look(self, record: _Activation, process: Process) -> None:
        """Ask an actor to end that has had nothing to do for long enough."""
        if record.process is not process or record.is_ending:
            return
        left = record.used_at + self._kind.idle - self._node.timers.now()
        if process.idle and not process.queue and left <= 0:
            self._end(record)
        else:
            self._watch_idleness(record, process, left if left > 0 else self._kind.idle)

    def _end(self, record: _Activation) -> None:
        """Ask the actor of a key to end when it has handled what it has."""
        process = record.process
        if process is not None and not record.is_ending:
            record.is_ending = True
            self.live.pop(record.key, None)
            order: Request[Any] = Request(self._node, process.ref, signals.DRAIN, (NORMAL,), {}, None)
            process.deliver(order)

    def ended(self, number: int, reason: Reason) -> None:
        """Take note that an actor has ended."""
        record = self._by_number.pop(number)
        record.process = None
        self.live.pop(record.key, None)
        record.ended.set()
        pause = 0.0 if reason.is_normal or isinstance(reason, LeaseLost) else self._crashed(record)
        is_wanted = bool(record.waiting) or (self._kind.single and record.shard not in self._closed)
        if not is_wanted and not pause and not record.crashes:
            del self._records[record.key]
        elif pause:
            record.is_resting = True
            self._node.timers.call_after(pause, self._rested, record)
        elif is_wanted:
            self._begin(record)
        else:
            self._node.timers.call_after(CRASH_SECONDS, self._forget, record)

    def _crashed(self, record: _Activation) -> float:
        """Take note of a crash; return how long the next start has to wait."""
        now = self._node.timers.now()
        record.crashes = [at for at in record.crashes if at > now - CRASH_SECONDS - LONGEST_PAUSE] + [now]
        beyond = len(record.crashes) - CRASHES
        return 0.0 if beyond < 0 else min(LONGEST_PAUSE, FIRST_PAUSE * 2**beyond)

    def _rested(self, record: _Activation) -> None:
        record.is_resting = False
        if record.waiting or self._kind.single:
            self._begin(record)
        else:
            self._node.timers.call_after(CRASH_SECONDS, self._forget, record)

    def _forget(self, record: _Activation) -> None:
        """Forget the crashes of a key that has no actor."""
        idle = record.process is None and not record.waiting and not record.is_resting
        if idle and self._records.get(record.key) is record:
            del self._records[record.key]

    def _give_back(self, record: _Activation) -> None:
        """Have what waits for the actor of a key go where the shard is now."""
        waiting = record.waiting.take()
        if record.process is None and self._records.get(record.key) is record:
            del self._records[record.key]
        for signal in waiting:
            self._way.deliver_anew(self._name, record.key, signal)

    # Shards.

    def gained(self, shard: int) -> None:
        """Take note that this node holds a shard; a single actor starts."""
        self._closed.discard(shard)
        if self._kind.single:
            record = self._records.setdefault("", self._record("", shard))
            self._begin(record)

    def lost(self, shard: int) -> None:
        """End the actors of a shard at once: this node holds it no longer."""
        self._closed.discard(shard)
        for record in self._of(shard):
            if record.process is not None:
                record.is_ending = True
                self.live.pop(record.key, None)
                record.process.interrupt(LeaseLost(record.process.label or self._name))
            self._give_back(record)

    async def vacate(self, shard: int) -> None:
        """End the actors of a shard in order; from this call on none is started. A checkpoint."""
        await trio.lowlevel.checkpoint()
        self._closed.add(shard)
        records = [record for record in self._of(shard) if record.process is not None]
        for record in records:
            self._end(record)
        with trio.move_on_after(LEAVING_SECONDS) as scope:
            for record in records:
                await record.ended.wait()
        if scope.cancelled_caught:
            for record in records:
                if record.process is not None:
                    record.process.ref.exit(KILL)
            for record in records:
                await record.ended.wait()
        for record in self._of(shard):
            self._give_back(record)

    def vacated(self, shard: int) -> None:
        """Take note that others can have a shard."""
        self._closed.discard(shard)

    def _of(self, shard: int) -> list[_Activation]:
        return [record for record in self._records.values() if record.shard == shard]


def _is_order(signal: signals.Signal) -> bool:
    """Tell whether a signal asks a process to end, which starts none."""
    return isinstance(signal, signals.Call) and signal.method in (signals.STOP, signals.DRAIN)


async def _stay(me: Process) -> None:
    """Be there: the process that all activations of a kind are children of."""
    while True:
        await me.receive()
