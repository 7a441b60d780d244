"""Connections of bytes between simulated processes, as TCP makes them: in order and whole, until they break.

What was sent counts as under way until the other side has read it; there is room for so much. An end whose
process was killed is closed by its kernel. The machine that dies says nothing: whoever sends there hears of
it when the machine is back, and knows nothing of the connection.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import trio

from enfilade.transport.mesh.stream import Stream
from enfilade.transport.simulated.network import Network
from enfilade.transport.simulated.ways import Lane, Port

__all__ = ["Program", "SimulatedStream", "begin_to_connect", "connect"]

WINDOW: Final = 1024 * 1024
"""Bytes that may be under way, or wait to be read."""


class Program(Protocol):
    """A process of a simulated host: the kernel closes its connections when it ends."""

    port: Port
    is_dead: bool


class SimulatedStream(Stream):
    """One end of a connection. Made by `connect`, two at a time.

    Args:
        network: what lies between the ends.
        program: whose end it is.

    Attributes:
        heard: called when something has come, or the connection is over.
        other: the other end.
    """

    other: "SimulatedStream"

    def __init__(self, network: Network, program: Program) -> None:
        self.heard: Callable[[], None] = _ignore
        self.program = program
        self._network = network
        self._lane = Lane()
        self._back = Lane()
        self._arrived = bytearray()
        self._waiting = bytearray()
        self._fault = ""
        self._room = WINDOW
        self._read = 0
        self._changed = trio.Event()
        network.streams[self] = None

    @property
    def is_open(self) -> bool:
        """True until the connection is over at this end."""
        return not self._fault

    @property
    def pending(self) -> int:
        return len(self._waiting)

    def push(self, data: bytes) -> None:
        """Send all of it, as soon as there is room; without effect when the connection is over."""
        self._waiting += data
        self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting and self._room and not self._fault:
            with memoryview(self._waiting) as view:
                sent = self.send(view)
            del self._waiting[:sent]

    def send(self, data: bytes | memoryview) -> int:
        if self._fault:
            raise ConnectionError(self._fault)
        taken = bytes(data[: self._room])
        if not taken and data:
            raise BlockingIOError
        self._room -= len(taken)
        self._travel(self._lane, len(taken), partial(self.other._take, taken))
        return len(taken)

    def flush(self) -> None:
        return

    def receive(self) -> bytes:
        data = bytes(self._arrived)
        self._arrived.clear()
        if data:
            self._read += len(data)
            if self._read >= WINDOW // 2:
                self._travel(self._back, 0, partial(self.other._make_room, self._read))
                self._read = 0
            return data
        if self._fault:
            raise ConnectionError(self._fault)
        raise BlockingIOError

    async def wait_readable(self) -> None:
        if self._arrived or self._fault:
            await trio.lowlevel.checkpoint()
        while not self._arrived and not self._fault:
            await self._changed.wait()

    async def wait_writable(self) -> None:
        if self._room or self._fault:
            await trio.lowlevel.checkpoint()
        while not self._room and not self._fault:
            await self._changed.wait()

    def close(self) -> None:
        if not self.program.is_dead:
            self.abandon()

    def abandon(self) -> None:
        """Have the kernel close this end, whatever became of its process. Harmless when repeated."""
        if not self._fault:
            self.break_off("the connection is closed")
            hear = partial(self.other.break_off, "it closed the connection")
            self._network.send(self.program.port, self.other.program.port, self._lane, 0, hear)

    def owner(self) -> int:
        raise OSError("a simulated server is not a process, and has no owner")

    def break_off(self, fault: str) -> None:
        """Let the connection be over at this end; what has arrived can still be read."""
        if not self._fault:
            self._fault = fault
            self._network.streams.pop(self, None)
            self._tell()

    def _travel(self, lane: Lane, size: int, deliver: Callable[[], None]) -> None:
        if not self.program.is_dead:
            self._network.send(self.program.port, self.other.program.port, lane, size, deliver)

    def _take(self, data: bytes) -> None:
        if not self._fault:
            self._arrived += data
            self._tell()
        elif not self.program.port.is_off:
            reset = partial(self.other.break_off, "the connection was reset")
            self._network.send(self.program.port, self.other.program.port, self._back, 0, reset)

    def _make_room(self, size: int) -> None:
        self._room += size
        self._send_waiting()
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()
        self.heard()


def _ignore() -> None:
    return


async def connect(network: Network, program: Program, destination: str, number: int) -> SimulatedStream:
    """Connect a process to the one that listens at a port of a host. Waits for as long as the way there is
    silent, or the machine off. A checkpoint.

    Raises:
        ConnectionRefusedError: nobody listens there.
        ConnectionError: it cannot be reached.
    """
    await trio.lowlevel.checkpoint()
    answered = trio.Event()
    answer: list[SimulatedStream | ConnectionError] = []

    def then(found: SimulatedStream | ConnectionError) -> None:
        answer.append(found)
        answered.set()

    give_up = begin_to_connect(network, program, destination, number, then)
    try:
        await answered.wait()
    except trio.Cancelled:
        give_up()
        raise
    if isinstance(answer[0], ConnectionError):
        raise answer[0]
    return answer[0]


def begin_to_connect(
    network: Network,
    program: Program,
    destination: str,
    number: int,
    then: Callable[[SimulatedStream | ConnectionError], None],
) -> Callable[[], None]:
    """Begin to connect a process to the one that listens at a port of a host.

    Args:
        network: what lies between them.
        program: the process.
        destination: the name of the host.
        number: of the port.
        then: is given this side's end, or the error, unless no answer ever comes.

    Returns:
        What gives the attempt up. Harmless when repeated.
    """
    port = program.port
    home = network.way(port.name, destination).destination
    is_given_up = False
    forth, back = Lane(), Lane()

    def reach() -> None:
        listener = network.listeners.get((destination, number))
        if home.is_off:
            return
        if network.way(port.name, destination).is_cut or network.way(destination, port.name).is_cut:
            answer: SimulatedStream | ConnectionError = ConnectionError("it cannot be reached")
        elif listener is None:
            answer = ConnectionRefusedError("nobody listens there")
        else:
            answer, theirs = SimulatedStream(network, program), SimulatedStream(network, listener[0])
            answer.other, theirs.other = theirs, answer
            theirs._lane = back  # what is said follows the answer
        network.send(home, port, back, 0, partial(hear, answer))
        if listener is not None and isinstance(answer, SimulatedStream):
            listener[1](answer.other)

    def hear(answer: SimulatedStream | ConnectionError) -> None:
        if not is_given_up and not program.is_dead:
            then(answer)
        elif isinstance(answer, SimulatedStream) and not port.is_off:
            answer.abandon()

    def give_up() -> None:
        nonlocal is_given_up
        is_given_up = True

    network.send(port, home, forth, 0, reach)
    return give_up
