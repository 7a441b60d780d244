"""The carrier of one simulated process: inlets and outlets whose batches take time.

It does what the door carrier does, as slowly as a door of another machine would: `start` answers nothing at
once, and the answer comes later. So the code paths of a slow peer are the normal case.
"""

import os
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Literal

import trio

from enfilade.transport import closing
from enfilade.transport.carrier import (
    Arrival,
    Carrier,
    CarrierError,
    Credentials,
    Handle,
    Inlet,
    Outlet,
    Status,
    Traits,
)
from enfilade.transport.memory_file import weigh
from enfilade.transport.simulated.network import Network
from enfilade.transport.simulated.ways import Lane, Port
from enfilade.transport.wire import PREFIX

__all__ = ["Right", "SimulatedCarrier", "SimulatedInlet", "SimulatedOutlet"]


class Right:
    """The right to put batches into an inlet; it is under way, or held by one process."""

    __slots__ = ("inlet",)

    def __init__(self, inlet: "SimulatedInlet") -> None:
        self.inlet = inlet
        inlet.rights[self] = None

    def give_back(self) -> None:
        """Let the inlet know that this right is gone. Harmless when repeated."""
        self.inlet.forget(self)


class SimulatedCarrier(Carrier):
    """One process's way to the others. Its machine is on from here on.

    Attributes:
        network: what it is part of.
        port: its host's place there.
        credentials: what its peers are told about it.
        is_dead: whether its process has been killed: whatever it does has no effect any more.
        held: the rights that arrived and that nobody has made an outlet of, by the inlets' handles.
        outlets: those of the process that are open.
    """

    def __init__(self, network: Network, port: Port, credentials: Credentials) -> None:
        self.network = network
        self.port = port
        port.is_off = port.is_frozen = False
        self.credentials = credentials
        self.is_dead = False
        self.held: dict[Handle, list[Right]] = {}
        self.outlets: dict[SimulatedOutlet, None] = {}

    @property
    def traits(self) -> Traits:
        """See `Carrier.traits`."""
        return self.network.traits

    def inlet(self, *, capacity: int, largest: int) -> Inlet:
        """See `Carrier.inlet`."""
        return SimulatedInlet(self, capacity, largest)

    def outlet(self, handle: Handle) -> Outlet:
        """See `Carrier.outlet`."""
        rights = self.held.get(handle)
        if not rights:
            self.discard(handle)
            raise CarrierError(f"handle {handle} does not lead to an inlet")
        return SimulatedOutlet(self, self._take(handle))

    def resolve(self, address: str) -> str:
        """See `Carrier.resolve`."""
        return address

    async def open(self, address: str) -> Outlet:
        """See `Carrier.open`. Waits for as long as the way there is silent, or the machine off."""
        await trio.lowlevel.checkpoint()
        network = self.network
        home = network.homes.get(address)
        if home is None:
            raise CarrierError(f"nothing is attached to {address!r}")
        answer: list[Right | str] = []
        answered = trio.Event()
        is_given_up = False
        forth, back = Lane(), Lane()

        def reach() -> None:
            inlet = network.addresses.get(address)
            if home.is_off:
                return
            if inlet is None:
                found: Right | str = f"nothing is attached to {address!r}"
            elif network.way(self.port.name, home.name).is_cut:
                found = "the peer cannot be reached"
            else:
                found = Right(inlet)
            network.send(home, self.port, back, 0, partial(hear, found))

        def hear(found: Right | str) -> None:
            if is_given_up or self.is_dead:
                if isinstance(found, Right):
                    found.give_back()
            else:
                answer.append(found)
                answered.set()

        network.send(self.port, home, forth, 0, reach)
        try:
            await answered.wait()
        except trio.Cancelled:
            is_given_up = True
            raise
        if isinstance(answer[0], str):
            raise CarrierError(answer[0])
        return SimulatedOutlet(self, answer[0])

    def discard(self, handle: Handle) -> None:
        """See `Carrier.discard`."""
        if handle >= 0:
            closing.close(handle)
        elif self.held.get(handle):
            right = self._take(handle)
            self.network.send(self.port, right.inlet.carrier.port, Lane(), 0, right.give_back)

    def keep(self, right: Right) -> None:
        """Hold a right that has arrived."""
        self.held.setdefault(right.inlet.handle, []).append(right)

    def release_all(self) -> None:
        """Give back all that the process held: its kernel does, when it has ended."""
        for outlet in list(self.outlets):
            outlet.give_back()
        for rights in self.held.values():
            for right in rights:
                self.network.send(self.port, right.inlet.carrier.port, Lane(), 0, right.give_back)
        self.held.clear()

    def _take(self, handle: Handle) -> Right:
        rights = self.held[handle]
        right = rights.pop()
        if not rights:
            del self.held[handle]
        return right


class SimulatedInlet(Inlet):
    """A queue; see `Inlet`."""

    def __init__(self, carrier: SimulatedCarrier, capacity: int, largest: int) -> None:
        self.carrier = carrier
        self.rights: dict[Right, None] = {}
        self.outlets: dict[SimulatedOutlet, None] = {}
        self.is_closed = False
        self._handle = carrier.network.new_handle()
        self._capacity = capacity
        self._largest = largest
        self._arrivals: deque[Arrival] = deque()
        self._size = 0
        self._arrived = trio.Event()
        self._addresses: list[str] = []
        if not carrier.is_dead:
            carrier.network.inlets[self._handle] = self

    @property
    def handle(self) -> Handle:
        """See `Inlet.handle`."""
        return self._handle

    async def receive(self) -> Sequence[Arrival]:
        """See `Inlet.receive`."""
        if self._arrivals or self.is_closed:
            await trio.lowlevel.checkpoint()
        while not self._arrivals and not self.is_closed:
            self._arrived = trio.Event()
            await self._arrived.wait()
        return self.take()

    def take(self) -> Sequence[Arrival]:
        """See `Inlet.take`."""
        if self.is_closed:
            raise CarrierError("the inlet is closed")
        arrivals, self._arrivals, self._size = list(self._arrivals), deque(), 0
        return arrivals

    def linger(self, seconds: float) -> Sequence[Arrival]:
        """As `take`: nothing can arrive while the loop is held."""
        return self.take()

    async def attach(self, address: str) -> None:
        """See `Inlet.attach`."""
        await trio.lowlevel.checkpoint()
        network = self.carrier.network
        if address in network.addresses:
            raise CarrierError(f"{address!r} is in use")
        network.addresses[address] = self
        network.homes[address] = self.carrier.port
        self._addresses.append(address)

    def close(self) -> None:
        """See `Inlet.close`."""
        if self.is_closed or self.carrier.is_dead:
            return
        self.is_closed = True
        del self.carrier.network.inlets[self._handle]
        self.leave_addresses()
        for arrival in self._arrivals:
            for handle in arrival.handles:
                self.carrier.discard(handle)
        self._arrivals.clear()
        self._arrived.set()

    def leave_addresses(self) -> None:
        """Take the inlet's names back."""
        for address in self._addresses:
            del self.carrier.network.addresses[address]
        self._addresses.clear()

    def put(
        self, data: bytes, handles: Sequence[Handle], rights: Sequence[Right], sender: Credentials
    ) -> Status:
        """Queue a batch, as the server procedure of a door does; it takes the handles over if it accepts."""
        if not data.startswith(PREFIX) or len(data) > self._largest:
            return Status.MALFORMED
        size = len(data) + weigh(handles)
        if self._arrivals and self._size + size > self._capacity:
            return Status.FULL
        for right in rights:
            self.carrier.keep(right)
        self._size += size
        self._push(Arrival(data, list(handles), sender))
        return Status.ACCEPTED

    def forget(self, right: Right) -> None:
        """Count one right less; the end of the last one is an arrival."""
        if right not in self.rights:
            return
        del self.rights[right]
        if not (self.rights or self.is_closed or self.carrier.is_dead or self._addresses):
            self._push(Arrival(None, (), self.carrier.credentials))

    def _push(self, arrival: Arrival) -> None:
        self._arrivals.append(arrival)
        self._arrived.set()


class SimulatedOutlet(Outlet):
    """The right to put into an inlet; see `Outlet`.

    Attributes:
        carrier: of the process that has it.
        back: the lane of answers.
    """

    def __init__(self, carrier: SimulatedCarrier, right: Right) -> None:
        self.carrier = carrier
        self.back = Lane()
        self._forth = Lane()
        self._right = right
        self._trouble = ""
        self._is_closed = False
        self._is_wanted = False
        self._answer: Status | Literal["gone"] | None = None
        self._answered = trio.Event()
        right.inlet.outlets[self] = None
        carrier.outlets[self] = None

    def start(
        self, data: bytes, handles: Sequence[Handle] = (), *, repeatable: bool = False
    ) -> Status | None:
        """See `Outlet.start`."""
        if self.carrier.is_dead:
            return None
        self._check()
        network, origin, inlet = self.carrier.network, self.carrier.port, self._right.inlet
        destination = inlet.carrier.port
        network.hand_overs += 1
        number = network.hand_overs
        network.note("hand", origin.name, destination.name, len(data), network.fingerprint(data))
        strike = network.strikes.pop(number, None)
        if strike is not None:
            strike(origin, destination)
        if network.befalls(number, "reset", network.way(origin.name, destination.name).reset):
            network.note("reset", origin.name, destination.name)
            network.reset(origin, destination)
        self._check()
        batch = _Batch(number, self.carrier, data, handles, repeatable)
        network.send(
            origin,
            destination,
            self._forth,
            len(data),
            partial(self._reach, batch),
            partial(self._lose, batch),
        )
        return None

    def _check(self) -> None:
        if self._is_closed:
            raise CarrierError("the outlet is closed")
        if self._trouble:
            raise CarrierError(self._trouble)

    def _lose(self, batch: "_Batch") -> None:
        batch.drop()
        self._reply("gone")

    def _reach(self, batch: "_Batch") -> None:
        """A batch has arrived at the host of the inlet."""
        inlet = self._right.inlet
        network, destination = self.carrier.network, inlet.carrier.port
        answer: Status | Literal["gone"] = "gone"
        if inlet.carrier.is_dead and destination.is_off:
            batch.drop()
            return
        if not (self._trouble or inlet.is_closed or inlet.carrier.is_dead):
            way = network.way(self.carrier.port.name, destination.name)
            answer = Status.FULL
            if not network.traits.lossless and network.befalls(batch.number, "lost", way.loss):
                network.note("lost", destination.name)
                answer = Status.ACCEPTED
            elif not network.befalls(batch.number, "full", way.full):
                answer = batch.put_into(inlet)
                is_repeated = batch.is_repeatable and answer is Status.ACCEPTED
                if is_repeated and network.befalls(batch.number, "twice", way.twice):
                    network.note("twice", destination.name)
                    batch.put_into(inlet)
        batch.drop()
        network.note("arrive", destination.name, self.carrier.port.name, str(answer))
        self._reply(answer)

    def _reply(self, answer: "Status | Literal['gone']") -> None:
        origin, destination = self.carrier.port, self._right.inlet.carrier.port
        if not destination.is_off:
            self.carrier.network.send(destination, origin, self.back, 0, partial(self._hear, answer))

    def _hear(self, answer: "Status | Literal['gone']") -> None:
        if not (self._is_closed or self._trouble or self.carrier.is_dead):
            self._answer = answer
            self._answered.set()

    def answer(self) -> Status | None:
        """See `Outlet.answer`."""
        if self._trouble:
            raise CarrierError(self._trouble)
        answer, self._answer = self._answer, None
        if answer is not None:
            self._is_wanted = False
        if answer == "gone":
            raise CarrierError("the peer is gone")
        return answer

    async def wait(self) -> None:
        """See `Outlet.wait`."""
        if not self._is_waited_for:
            await trio.lowlevel.checkpoint()
        self._check()
        while self._is_waited_for:
            self._answered = trio.Event()
            await self._answered.wait()
            self._check()

    @property
    def _is_waited_for(self) -> bool:
        return self._answer is None or (self._answer is Status.ACCEPTED and not self._is_wanted)

    def want(self) -> None:
        """See `Outlet.want`."""
        self._is_wanted = True
        self._answered.set()

    def close(self) -> None:
        """See `Outlet.close`."""
        if not (self._is_closed or self.carrier.is_dead):
            self._is_closed = True
            self._answered.set()
            self.give_back()

    def give_back(self) -> None:
        """Let the inlet know that this outlet is gone, behind what was handed over."""
        self.carrier.outlets.pop(self, None)
        inlet = self._right.inlet
        if self in inlet.outlets:
            del inlet.outlets[self]
            self.carrier.network.send(
                self.carrier.port, inlet.carrier.port, self._forth, 0, self._right.give_back
            )

    def break_off(self, trouble: str) -> None:
        """Fail from now on, and let the inlet know: the connection was cut, or the peer has gone."""
        if not (self._is_closed or self._trouble):
            self._trouble = trouble
            self.carrier.outlets.pop(self, None)
            self._right.inlet.outlets.pop(self, None)
            self._right.give_back()
            self._answered.set()


class _Batch:
    """A batch under way: bytes, copies of its descriptors, and rights to put into inlets."""

    __slots__ = ("_files", "_handles", "_inlets", "_rights", "_sender", "data", "is_repeatable", "number")

    def __init__(
        self,
        number: int,
        carrier: SimulatedCarrier,
        data: bytes,
        handles: Sequence[Handle],
        is_repeatable: bool,
    ) -> None:
        self.number = number
        self.data = data
        self.is_repeatable = is_repeatable
        self._sender = carrier.credentials
        self._handles = list(handles)
        self._files = {handle: os.dup(handle) for handle in handles if handle >= 0}
        known = carrier.network.inlets
        self._inlets = [known[handle] for handle in handles if handle in known]
        self._rights = [Right(inlet) for inlet in self._inlets]

    def put_into(self, inlet: SimulatedInlet) -> Status:
        """Put a copy into an inlet."""
        copies = [os.dup(self._files[handle]) if handle >= 0 else handle for handle in self._handles]
        rights = [Right(led_to) for led_to in self._inlets]
        status = inlet.put(self.data, copies, rights, self._sender)
        if status is not Status.ACCEPTED:
            for copy in copies:
                if copy >= 0:
                    closing.close(copy)
            for right in rights:
                right.give_back()
        return status

    def drop(self) -> None:
        """Close what travelled."""
        for descriptor in self._files.values():
            closing.close(descriptor)
        self._files.clear()
        for right in self._rights:
            right.give_back()
        self._rights.clear()
