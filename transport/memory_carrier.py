"""A carrier inside one program: no kernel, no doors, and every fault on demand.

Several nodes of one trio run meet on one `MemoryNetwork`. It serves tests of everything above the carrier,
in virtual time, and it is the model that the door carrier is compared with. Faults are set per host: a
frozen host answers nothing until it thaws; a killed one is gone for good, as a process is after SIGKILL; a
cut keeps two hosts apart; a delay slows what a host hands over. A network whose traits say so loses batches.
"""

import itertools
import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

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
from enfilade.transport.wire import PREFIX

__all__ = ["LOSSLESS", "LOSSY", "MemoryCarrier", "MemoryNetwork"]

LOSSLESS: Final = Traits(moment=0.0)  # whoever could speak runs in this very thread
LOSSY: Final = Traits(moment=0.0, lossless=False, descriptors=False)
"""What the carriers of a memory network may promise."""


class MemoryNetwork:
    """The world in which memory carriers meet.

    Args:
        traits: what its carriers promise; by default, what doors promise.

    Attributes:
        loses: decides which of the accepted batches are lost; for networks that are not lossless.
    """

    def __init__(self, traits: Traits = LOSSLESS) -> None:
        self.traits = traits
        self.loses: Callable[[bytes], bool] = lambda data: False
        self._inlets: dict[Handle, MemoryInlet] = {}
        self._addresses: dict[str, MemoryInlet] = {}
        self._handles = itertools.count(-2, -1)
        self._cuts: set[frozenset[str]] = set()
        self._changed = trio.Event()

    def carrier(self, host: str, credentials: Credentials | None = None) -> "MemoryCarrier":
        """The carrier of one host.

        Args:
            host: by which faults name it.
            credentials: what its peers are told about it; this process's own by default.
        """
        if credentials is None:
            credentials = Credentials(pid=os.getpid(), uid=os.geteuid(), gid=os.getegid())
        return MemoryCarrier(self, host, credentials)

    def cut(self, one: str, other: str) -> None:
        """Keep two hosts apart: what is between them is gone at once, as if each were dead for the other."""
        self._cuts.add(frozenset((one, other)))
        for inlet in list(self._inlets.values()):
            for outlet in list(inlet.outlets):
                if {outlet.carrier.host, inlet.carrier.host} == {one, other}:
                    outlet.break_off()
        self._wake()

    def join(self, one: str, other: str) -> None:
        """Undo `cut`; what was lost stays lost."""
        self._cuts.discard(frozenset((one, other)))

    def is_cut(self, one: str, other: str) -> bool:
        """Tell whether two hosts are kept apart."""
        return frozenset((one, other)) in self._cuts

    def interrupt(self, host: str) -> None:
        """Tell the inlets of a host that batches may have been lost."""
        for inlet in list(self._inlets.values()):
            if inlet.carrier.host == host and not inlet.is_attached:
                inlet.interrupt()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


class MemoryCarrier(Carrier):
    """One host's way to the others. Made by `MemoryNetwork.carrier`."""

    def __init__(self, network: MemoryNetwork, host: str, credentials: Credentials) -> None:
        self.network = network
        self.host = host
        self.credentials = credentials
        self.delay = 0.0
        """Seconds that each call of this host's outlets takes."""
        self.is_frozen = False
        self.is_killed = False

    @property
    def traits(self) -> Traits:
        return self.network.traits

    def inlet(self, *, capacity: int, largest: int) -> Inlet:
        inlet = MemoryInlet(self, next(self.network._handles), capacity, largest)
        self.network._inlets[inlet.handle] = inlet
        return inlet

    def outlet(self, handle: Handle) -> Outlet:
        inlet = self.network._inlets.get(handle)
        if inlet is None:
            self.discard(handle)
            raise CarrierError(f"handle {handle} does not lead to an inlet")
        return MemoryOutlet(self, inlet)

    def resolve(self, address: str) -> str:
        return address

    async def open(self, address: str) -> Outlet:
        await trio.lowlevel.checkpoint()
        inlet = self.network._addresses.get(address)
        if inlet is None:
            raise CarrierError(f"nothing is attached to {address!r}")
        return MemoryOutlet(self, inlet)

    def discard(self, handle: Handle) -> None:
        if handle >= 0:
            closing.close(handle)

    def freeze(self) -> None:
        """Stop answering, as a process does under SIGSTOP."""
        self.is_frozen = True

    def thaw(self) -> None:
        """Go on, as a process does under SIGCONT."""
        self.is_frozen = False
        self.network._wake()

    def kill(self) -> None:
        """End the host, as SIGKILL does: close all its inlets and give back all its outlets.

        Its own tasks, which a kill would have ended, hear nothing any more.
        """
        self.is_killed = True
        for inlet in list(self.network._inlets.values()):
            if inlet.carrier is self:
                inlet.close()
            else:
                for outlet in list(inlet.outlets):
                    if outlet.carrier is self:
                        outlet.close()
        self.network._wake()


class MemoryInlet(Inlet):
    """A queue; see `Inlet`."""

    def __init__(self, carrier: MemoryCarrier, handle: Handle, capacity: int, largest: int) -> None:
        self.carrier = carrier
        self._handle = handle
        self._capacity = capacity
        self._largest = largest
        self._arrivals: deque[Arrival] = deque()
        self._size = 0
        self._arrived = trio.Event()
        self._addresses: list[str] = []
        self._is_closed = False
        self.outlets: dict[MemoryOutlet, None] = {}  # in order

    @property
    def handle(self) -> Handle:
        return self._handle

    async def receive(self) -> Sequence[Arrival]:
        await trio.lowlevel.checkpoint()
        while not self._is_closed and (not self._arrivals or self.carrier.is_frozen):
            if self._arrivals:
                await self.carrier.network._changed.wait()
            else:
                self._arrived = trio.Event()
                await self._arrived.wait()
        if self.carrier.is_killed:
            await trio.sleep_forever()
        return self.take()

    def take(self) -> Sequence[Arrival]:
        if self.carrier.is_frozen or self.carrier.is_killed:
            return ()
        if self._is_closed:
            raise CarrierError("the inlet is closed")
        arrivals, self._arrivals, self._size = list(self._arrivals), deque(), 0
        return arrivals

    def linger(self, seconds: float) -> Sequence[Arrival]:
        return self.take()  # whoever could put something in runs in this very thread

    def limit_handles(self, each: int, held: int) -> None:
        """Handles are objects of the program: nothing to limit."""

    async def attach(self, address: str) -> None:
        await trio.lowlevel.checkpoint()
        if address in self.carrier.network._addresses:
            raise CarrierError(f"{address!r} is in use")
        self.carrier.network._addresses[address] = self
        self._addresses.append(address)

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        del self.carrier.network._inlets[self._handle]
        for address in self._addresses:
            del self.carrier.network._addresses[address]
        for arrival in self._arrivals:
            for handle in arrival.handles:
                self.carrier.discard(handle)
        self._arrivals.clear()
        self._arrived.set()
        self.carrier.network._wake()

    def put(self, data: bytes, handles: Sequence[Handle], credentials: Credentials) -> Status:
        """Queue a batch, as the server procedure of a door does."""
        if self._is_closed:
            return Status.CLOSED
        if not data.startswith(PREFIX) or len(data) > self._largest:
            return Status.MALFORMED
        size = len(data) + weigh(handles)
        if self._arrivals and self._size + size > self._capacity:
            return Status.FULL
        if self.carrier.network.loses(data):
            return Status.ACCEPTED
        copies = [os.dup(handle) if handle >= 0 else handle for handle in handles]
        closing.charge(copies, credentials)
        self._size += size
        self._push(Arrival(data, copies, credentials))
        return Status.ACCEPTED

    @property
    def is_attached(self) -> bool:
        """True for the inlet of a meeting place."""
        return bool(self._addresses)

    def interrupt(self) -> None:
        """Tell the owner that batches may have been lost."""
        for outlet in self.outlets:
            self._push(Arrival(b"", (), outlet.carrier.credentials))

    def forget(self, outlet: "MemoryOutlet") -> None:
        """Count one outlet less; the end of the last one is an arrival."""
        self.outlets.pop(outlet, None)
        if not self.outlets and not self._is_closed and not self._addresses:
            self._push(Arrival(None, (), outlet.carrier.credentials))

    def _push(self, arrival: Arrival) -> None:
        self._arrivals.append(arrival)
        self._arrived.set()


class MemoryOutlet(Outlet):
    """The right to put into an inlet; see `Outlet`."""

    def __init__(self, carrier: MemoryCarrier, inlet: MemoryInlet) -> None:
        self.carrier = carrier
        self._inlet = inlet
        self._is_closed = False
        self._is_wanted = False
        self._answer: Status | CarrierError | None = None
        self._answered = trio.Event()
        inlet.outlets[self] = None

    def start(
        self, data: bytes, handles: Sequence[Handle] = (), *, repeatable: bool = False
    ) -> Status | None:
        if self._is_closed:
            raise CarrierError("the outlet is closed")
        if self.carrier.delay or self.carrier.is_frozen or self._inlet.carrier.is_frozen:
            trio.lowlevel.spawn_system_task(self._call_later, data, handles)
            return None
        return self._call(data, handles)

    async def _call_later(self, data: bytes, handles: Sequence[Handle]) -> None:
        await trio.sleep(self.carrier.delay)
        while self._inlet.carrier.is_frozen or self.carrier.is_frozen:
            await self.carrier.network._changed.wait()
            if self._is_closed:
                return
        try:
            self._answer = self._call(data, handles)
        except CarrierError as error:
            self._answer = error
        self._answered.set()

    def _call(self, data: bytes, handles: Sequence[Handle]) -> Status:
        mine, theirs = self.carrier, self._inlet.carrier
        if self._is_closed or self._inlet._is_closed or mine.is_killed:
            raise CarrierError("the peer is gone")
        if mine.network.is_cut(mine.host, theirs.host):
            raise CarrierError("the peer cannot be reached")
        return self._inlet.put(data, handles, mine.credentials)

    def answer(self) -> Status | None:
        answer, self._answer = self._answer, None
        if answer is not None:
            self._is_wanted = False
        if isinstance(answer, CarrierError):
            raise answer
        return answer

    async def wait(self) -> None:
        await trio.lowlevel.checkpoint()
        while self._answer is None or (self._answer is Status.ACCEPTED and not self._is_wanted):
            if self._is_closed:
                raise CarrierError("the outlet is closed")
            self._answered = trio.Event()
            await self._answered.wait()

    def want(self) -> None:
        self._is_wanted = True
        self._answered.set()

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._answered.set()
            self._inlet.forget(self)

    def break_off(self) -> None:
        """Fail from now on, and let the inlet know: the connection was cut."""
        self.close()
