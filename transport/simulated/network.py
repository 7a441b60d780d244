"""The network of a simulation: hosts, the ways between them, and the connections that faults break."""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Protocol, TypeAlias

from enfilade.transport.carrier import Handle, Traits
from enfilade.transport.simulated.tape import Tape
from enfilade.transport.simulated.ways import LATENCY, Draws, Lane, Parcel, Port, Way

__all__ = ["Network", "Time"]

Member: TypeAlias = Any
"""A `SimulatedCarrier`; and so are `Receiver` and its outlets of that file, which stands above this one."""

Receiver: TypeAlias = Any
"""A `SimulatedInlet`."""

Stream: TypeAlias = Any
"""A `SimulatedStream` of the file of that name, which stands above this one, too."""


class Time(Protocol):
    """The time of the simulation."""

    def current_time(self) -> float:
        """Return the present time in seconds."""
        ...

    def call_at(self, when: float, run: Callable[[], None]) -> None:
        """Call a function at that time, after what was set for the same time before."""
        ...


def _nothing() -> None:
    return None


class Network:
    """The world in which simulated carriers meet.

    Args:
        time: when things arrive.
        draws: latencies and faults by chance.
        note: is told of each event, for the log: its kind, the host, and fields that are integers or names.

    Attributes:
        traits: what its carriers promise; by default, what doors promise. Set before there are carriers.
        distance: the seconds that ways which are not in use yet will take.
        hand_overs: batches that were handed over so far.
        tape: what chance has decided about single batches.
        under_way: the number of parcels that travel; those that are held back do not.
        strikes: what is done within the hand-over of a number, before the batch leaves: it may break the
            connection, or end a host. Called with the two hosts.
        inlets: those that are open, by their handles.
        addresses: inlets by the addresses they are attached to.
        homes: where an address was attached last.
        streams: the ends of connections that are open.
        listeners: for each port at which connections are taken, the process, and what takes one. A port is
            the name of its host and a number.
    """

    def __init__(self, time: Time, draws: Draws, note: Callable[..., None]) -> None:
        self.time = time
        self.draws = draws
        self.note = note
        self.traits = Traits()
        self.distance = LATENCY
        self.hand_overs = 0
        self.tape = Tape()
        self.under_way = 0
        self.strikes: dict[int, Callable[[Port, Port], None]] = {}
        self.inlets: dict[Handle, Receiver] = {}
        self.addresses: dict[str, Receiver] = {}
        self.homes: dict[str, Port] = {}
        self.streams: dict[Stream, None] = {}
        self.listeners: dict[tuple[str, int], tuple[Any, Callable[[Stream], None]]] = {}
        self._ports: dict[str, Port] = {}
        self._ways: dict[tuple[str, str], Way] = {}
        self._handles = itertools.count(-2, -1)

    def port(self, name: str, zone: str) -> Port:
        """The place of a host; made on first use."""
        return self._ports.setdefault(name, Port(name, zone))

    def names(self) -> list[str]:
        """The names of all hosts."""
        return list(self._ports)

    def way(self, origin: str, destination: str) -> Way:
        """The way from one host to another.

        Raises:
            KeyError: there is no such host.
        """
        known = self._ways.get((origin, destination))
        if known is None:
            known = Way(self._ports[origin], self._ports[destination], self.distance)
            self._ways[origin, destination] = known
        return known

    def ways(self, origins: Iterable[str], destinations: Iterable[str]) -> Iterator[Way]:
        """The ways from each of some hosts to each of others; hosts are given by their names or zones."""
        ends = list(self._named(destinations))
        for origin in self._named(origins):
            for destination in ends:
                if origin is not destination:
                    yield self.way(origin.name, destination.name)

    def keep_apart(self, seconds: float) -> None:
        """Let each way take so many seconds, also those of hosts that are still to come."""
        self.distance = seconds
        for way in self._ways.values():
            way.set(latency=seconds)

    def _named(self, names: Iterable[str]) -> Iterator[Port]:
        wanted = list(names)
        self.check_names(wanted)
        yield from (port for port in self._ports.values() if port.name in wanted or port.zone in wanted)

    def check_names(self, names: Iterable[str]) -> None:
        """Refuse names of neither hosts nor zones.

        Raises:
            ValueError: one of them is unknown.
        """
        known = {name for port in self._ports.values() for name in (port.name, port.zone)}
        missing = [name for name in names if name not in known]
        if missing:
            there = ", ".join(sorted(self._ports)) or "none"
            raise ValueError(f"expected names of hosts or zones, got {missing[0]!r}; the hosts are {there}")

    def befalls(self, number: int, what: str, share: float) -> bool:
        """Draw whether something happens to the batch of a hand-over, in that share of all cases."""
        return self.tape.decides((number, what), share, self.draws, self.time.current_time())

    def new_handle(self) -> Handle:
        """A number for an inlet that was not given out before."""
        return next(self._handles)

    # Parcels.

    def send(
        self,
        origin: Port,
        destination: Port,
        lane: Lane,
        size: int,
        deliver: Callable[[], None],
        drop: Callable[[], None] = _nothing,
    ) -> None:
        """Let something travel; what is in one lane arrives in order."""
        way = self.way(origin.name, destination.name)
        now = self.time.current_time()
        lane.last = max(now + way.delay(now, size, self.draws), lane.last)
        self.under_way += 1
        self.time.call_at(lane.last, partial(self._come, Parcel(way, deliver, drop)))

    def call_later(self, port: Port, seconds: float, run: Callable[[], None]) -> None:
        """Call a function of a host's process in so many seconds; if the host is frozen then, afterwards."""
        way = self.way(port.name, port.name)
        when = self.time.current_time() + seconds
        self.time.call_at(when, partial(self._arrive, Parcel(way, run, _nothing)))

    def _come(self, parcel: Parcel) -> None:
        self.under_way -= 1
        self._arrive(parcel)

    def _arrive(self, parcel: Parcel) -> None:
        way = parcel.way
        if way.is_silent:
            way.held.append(parcel)
        elif way.destination.is_frozen:
            way.destination.stalled.append(parcel)
        else:
            parcel.deliver()

    # Faults.

    def silence(self, way: Way) -> None:
        """Hold back what arrives on a way."""
        way.is_silent = True

    def cut(self, way: Way) -> None:
        """Break every connection between the two ends of a way; none can be made until it is healed."""
        way.is_cut = True
        self.reset(way.origin, way.destination)

    def heal(self, way: Way, order: Callable[[list[Parcel]], None] | None = None) -> None:
        """Undo `silence` and `cut`: what was held back arrives now; what was broken stays broken.

        Args:
            way: the way.
            order: changes the order of what arrives; parcels of one lane must keep theirs.
        """
        way.is_silent = way.is_cut = False
        held, way.held = way.held, []
        if order is not None:
            order(held)
        for parcel in held:
            self._arrive(parcel)

    def reset(self, one: Port, other: Port) -> None:
        """Break every connection between two hosts; both ends hear at once."""
        for inlet in list(self.inlets.values()):
            for outlet in list(inlet.outlets):
                ends = {outlet.carrier.port, inlet.carrier.port}
                if ends == {one, other}:
                    outlet.break_off("the connection was reset")
        for stream in list(self.streams):
            if {stream.program.port, stream.other.program.port} == {one, other}:
                stream.break_off("the connection was reset")

    def freeze(self, port: Port) -> None:
        """Let a host's server procedures stand still."""
        port.is_frozen = True

    def thaw(self, port: Port) -> None:
        """Let a host's server procedures go on with what has arrived meanwhile."""
        port.is_frozen = False
        stalled, port.stalled = port.stalled, []
        for parcel in stalled:
            self._arrive(parcel)

    def end(self, carrier: Member, *, silently: bool) -> None:
        """End the process behind a carrier, as SIGKILL does; `silently`: with its machine.

        The kernel closes what the process held, and its peers hear of that. From a dead machine they hear
        nothing.
        """
        self.end_program(carrier, silently=silently)
        port = carrier.port
        own = [inlet for inlet in self.inlets.values() if inlet.carrier is carrier]
        for inlet in own:
            del self.inlets[inlet.handle]
            inlet.leave_addresses()
            if not silently:
                for outlet in list(inlet.outlets):
                    broken = partial(outlet.break_off, "the peer is gone")
                    self.send(port, outlet.carrier.port, outlet.back, 0, broken)
        if not silently:
            carrier.release_all()

    def end_program(self, program: Stream, *, silently: bool) -> None:
        """End a process, as far as its connections of bytes go; see `end`."""
        program.is_dead = True
        port = program.port
        port.is_off = silently
        stalled, port.stalled = port.stalled, []
        for parcel in stalled:
            parcel.drop()
        for stream in [each for each in self.streams if each.program is program]:
            if silently:
                stream.break_off("the machine is dead")
            else:
                stream.abandon()

    def fingerprint(self, data: bytes) -> str:
        """A short digest of a batch, for the log."""
        return hashlib.blake2b(data, digest_size=8).hexdigest()
