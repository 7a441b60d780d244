"""Node links over a mesh: inlets and outlets that meet at NATS servers.

An inlet is a number of 64 random bits, at one start of one node. Batches for it are published under a subject
that names node, incarnation, sender and number. It belongs to the sender that used it first. A handle is this
carrier's own alias of such a number: handles travel as numbers beside the batch, and get another alias where
they arrive.

A message has a head: a byte for its kind, eight for the sender's incarnation, and one for the number of
handles, which follow, eight bytes each. A batch for an inlet that is not there is answered `GONE`, which
breaks the outlet: so of two nodes that disagree both soon know.

A batch that has left may be lost with its server; `resuming_link` makes up for that. One that finds no
server, or too much unsent, is kept until there is one. An outlet breaks when the node at its other end is
dead (`presence`), says so, or never was there.
"""

import logging
import os
import struct
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

import trio

from enfilade.transport.carrier import (
    Arrival,
    Carrier,
    CarrierError,
    Credentials,
    Handle,
    Inlet,
    Outlet,
    Traits,
)
from enfilade.transport.mesh.announcer import Announcer
from enfilade.transport.mesh.connection import Connection
from enfilade.transport.mesh.directory import MeshNode
from enfilade.transport.mesh.doubts import Doubts
from enfilade.transport.mesh.heartbeats import Heartbeats, Watch
from enfilade.transport.mesh.identity import Identity, client_context
from enfilade.transport.mesh.load import LoadMeter
from enfilade.transport.mesh.namesakes import Namesakes
from enfilade.transport.mesh.outlets import MeetingOutlet, MeshOutlet, Place
from enfilade.transport.mesh.presence import Presence
from enfilade.transport.mesh.protocol import Message
from enfilade.transport.mesh.settings import Mesh, MeshError, Server
from enfilade.transport.mesh.stream import Dial, dial
from enfilade.transport.mesh.subjects import MOST_CHARACTERS, Subjects, from_token
from enfilade.transport.wire import PREFIX

__all__ = ["MeshCarrier", "name_in_use"]

logger = logging.getLogger("enfilade.mesh")

BATCH: Final = 0
GONE: Final = 1
QUESTION: Final = 2
CONTEST: Final = 3
"""What a message is: a batch; the answer that there is no such inlet; the questions of `namesakes`."""

MOST_HANDLES: Final = 4
"""Handles in one message: none but those of inlets travel, and those only in a handshake."""

_HEAD: Final = struct.Struct(">BQB")
_NUMBER: Final = struct.Struct(">Q")


class MeshCarrier(Carrier):
    """One node's way to the others of its mesh. Made by `join`.

    Args:
        mesh: which, and how.
        subjects: of the node.
        servers: of the mesh.
        token: what all nodes of the mesh show the servers, so that they are of one user; None for nothing.
        identity: of the node, where servers vouch for the names of nodes; None without certificates.
        own: what the node says of itself.
        entropy: makes so many bytes that nobody can guess: the numbers of inlets and requests.
        random: draws a float from 0 to 1: the jitter of pauses.
        unix_time: returns the seconds since 1970.
        dial: connects to a server.

    Attributes:
        announcer: of the node.
        connection: to a server.
        doubts: finds out, after a hint, whether a node has gone.
        heartbeats: of the node, and of those that it watches.
        meter: measures the load of the node.
        namesakes: finds out whether the name is in use.
        meeting: the inlet that takes Hellos; None without any.
        lost: set when there is no server; another one after that.
        subjects: of the node.
        resumed: node links that have gone on at another server, or at the same one once more.
        resent: returns how many batches of node links were sent again so far.
        ignored: messages that were passed over, because they were nonsense or not for this node.
    """

    def __init__(
        self,
        mesh: Mesh,
        subjects: Subjects,
        servers: Sequence[Server],
        token: str | None,
        identity: Identity | None,
        own: MeshNode,
        *,
        entropy: Callable[[int], bytes],
        random: Callable[[], float],
        unix_time: Callable[[], float],
        dial: Dial = dial,
    ) -> None:
        self._is_certified = identity is not None
        self._mesh = mesh
        self._entropy = entropy
        self.subjects = subjects
        self._presence = Presence(mesh.dead_after)
        self._inlets: dict[int, MeshInlet] = {}
        self._ways: dict[str, _Way] = {}  # by the subjects of those who send to inlets
        self._fed: dict[MeshInlet, None] = {}  # in order, until all messages that came together are read
        self._outlets: dict[MeshOutlet, Watch] = {}  # in order, for whoever has lost the server
        self._closed: deque[tuple[float, str, int, int]] = deque()
        self._places: dict[Handle, Place] = {}
        self._aliases = -1
        self.meeting: MeshInlet | None = None
        self.lost = trio.Event()
        self.ignored = self.resumed = 0
        self.resent: Callable[[], int] = lambda: 0
        self._return: _Return | None = None
        uid, gid = (os.geteuid(), os.getegid()) if token is not None else (-1, -1)
        self._anybody = Credentials(pid=0, uid=uid, gid=gid, mesh=mesh.name)
        self.connection = Connection(
            servers,
            name=f"{subjects.node}/{subjects.incarnation:x}",
            inbox=subjects.inbox,
            watcher=self,
            entropy=entropy,
            random=random,
            token=token,
            owner=None if token is None else uid,
            tls=None if identity is None else partial(client_context, identity),
            guard="" if identity is None else subjects.guard,
            # A server that hangs must be left before its clients take one another for dead.
            silence=mesh.dead_after * 0.6,
            dial=dial,
        )
        self.connection.subscribe(f"{subjects.links}.>", self._link_message)
        self.namesakes = Namesakes(self.connection, subjects, self._question, unix_time())
        self.meter = LoadMeter()
        self.heartbeats = Heartbeats(self.connection, subjects, self._presence, mesh.beat, self.meter)
        self.doubts = Doubts(self.connection, subjects, self._presence, self.heartbeats.bury)
        if token is not None or identity is not None:
            self.doubts.listen_to_server()
        self.announcer = Announcer(
            self.connection, subjects, own, self.meter, patience=mesh.dead_after, random=random
        )
        self.connection.nodes = lambda: len(self.announcer.directory.nodes)
        self.heartbeats.load_heard = self.announcer.directory.loaded
        self.heartbeats.returned = self.announcer.ask
        self.heartbeats.death_heard, self.heartbeats.beaten = self.announcer.died, self._beaten

    @property
    def traits(self) -> Traits:
        return Traits(
            lossless=False,
            descriptors=False,
            watches=True,
            moment=0.0,
            patience=2 * self._mesh.dead_after,
            window=self._mesh.window_among(len(self.announcer.directory)),
        )

    def inlet(self, *, capacity: int, largest: int) -> Inlet:
        inlet = MeshInlet(self, int.from_bytes(self._entropy(8), "big"), capacity, largest)
        self._inlets[inlet.number] = inlet
        return inlet

    def outlet(self, handle: Handle) -> Outlet:
        place = self._places.pop(handle, None)
        if place is None:
            raise CarrierError(f"handle {handle} does not lead to an inlet")
        return self._outlet_to(place)

    def _outlet_to(self, place: Place) -> "MeshOutlet":
        outlet = MeshOutlet(self, place)
        self._outlets[outlet] = self.heartbeats.watch(place.node, place.incarnation, outlet.died)
        return outlet

    def leads_to(self, address: str) -> bool:
        return address.startswith("mesh:") or (address.count("@") == 1 and not {":", "/"} & set(address))

    def resolve(self, address: str) -> str:
        return _node_name(address.removeprefix("mesh:"))

    async def open(self, address: str) -> Outlet:
        await trio.lowlevel.checkpoint()
        return MeetingOutlet(self, _node_name(address))

    def discard(self, handle: Handle) -> None:
        self._places.pop(handle, None)

    @property
    def is_up(self) -> bool:
        """True while there is a server."""
        return self.connection.is_up

    def subject_of(self, place: Place) -> str:
        """Return the subject of batches for an inlet of another node."""
        return self.subjects.inlet(place.node, place.incarnation, place.number)

    def meeting_of(self, node: str) -> str:
        """Return the subject of a Hello to another node."""
        return self.subjects.meeting_of(node)

    # Messages.

    def head(self, handles: Sequence[Handle]) -> bytes:
        """Encode what stands before a batch: the handles beside it must be those of this node's inlets."""
        numbers = [self._own(handle).number for handle in handles]
        head = _HEAD.pack(BATCH, self.subjects.incarnation, len(numbers))
        return b"".join((head, *map(_NUMBER.pack, numbers))) if numbers else head

    def _own(self, handle: Handle) -> "MeshInlet":
        for inlet in self._inlets.values():
            if inlet.handle == handle:
                return inlet
        raise CarrierError(f"handle {handle} is not an inlet of this node; nothing else travels over a mesh")

    def decode(self, node: str, credentials: Credentials, payload: bytes) -> tuple[int, int, Arrival | None]:
        """Decode a message of a node: its kind, the sender's incarnation, and the batch.

        Raises:
            ValueError: it is no message of a mesh.
        """
        if len(payload) < _HEAD.size:
            raise ValueError("expected the head of a message")
        kind, incarnation, count = _HEAD.unpack_from(payload)
        if kind != BATCH:
            return kind, incarnation, None
        begin = _HEAD.size + count * _NUMBER.size
        if count > MOST_HANDLES or payload[begin : begin + len(PREFIX)] != PREFIX:
            raise ValueError("expected a batch")
        handles: Sequence[Handle] = ()
        if count:
            numbers = _NUMBER.iter_unpack(payload[_HEAD.size : begin])
            handles = [self._alias(Place(node, incarnation, number)) for (number,) in numbers]
        return kind, incarnation, Arrival(payload[begin:], handles, credentials)

    def credentials_of(self, node: str) -> Credentials:
        """Tell who a node is, which the servers let speak under this name."""
        if not self._is_certified:
            return self._anybody
        return Credentials(
            pid=0, uid=-1, gid=-1, zone=node.partition("@")[2], node=node, mesh=self._mesh.name
        )

    def _alias(self, place: Place) -> Handle:
        handle = self.new_handle()
        self._places[handle] = place
        return handle

    def let_go(self, arrival: Arrival | None) -> None:
        """Forget the handles of a batch that nobody takes."""
        if arrival is not None:
            for handle in arrival.handles:
                self.discard(handle)

    def new_handle(self) -> Handle:
        """Return a handle that no other has."""
        self._aliases -= 1
        return self._aliases

    def _link_message(self, message: Message) -> None:
        """Put a batch into the inlet that it is for, or answer that there is none."""
        try:
            way = self._ways.get(message.subject)
            if way is None:
                token, text = message.subject.removeprefix(f"{self.subjects.links}.").split(".")
                node = from_token(token)
                way = _Way(node, int(text, 16), self.credentials_of(node))
            node, number, credentials = way
            kind, incarnation, arrival = self.decode(node, credentials, message.payload)
        except ValueError:
            self.ignored += 1
            return
        if kind == GONE:
            for outlet in list(self._outlets):
                if outlet.leads_to(node, incarnation, number):
                    outlet.break_off(f"{node} has ended the node link")
            return
        if arrival is None:
            self.ignored += 1
            return
        inlet = self._inlets.get(number)
        if inlet is None:
            self.let_go(arrival)  # it may wait for the answer to a batch that nobody took
            self._tell_gone(node, incarnation, number)
        else:
            if inlet.put(node, incarnation, arrival) and not inlet.subject:
                inlet.subject = message.subject
                self._ways[message.subject] = way
            self._fed[inlet] = None

    def messages_read(self) -> None:
        """See `Watcher`."""
        while self._fed:
            inlet = next(iter(self._fed))
            del self._fed[inlet]
            inlet.tell()

    def _tell_gone(self, node: str, incarnation: int, number: int) -> None:
        """Tell a node that there is no inlet of this number here."""
        head = _HEAD.pack(GONE, self.subjects.incarnation, 0)
        self.connection.publish(self.subjects.inlet(node, incarnation, number), head)

    def _meeting_message(self, message: Message) -> None:
        """Put a Hello into the meeting place; answer whoever asks whether the name is in use."""
        try:
            node = from_token(message.subject.rpartition(".")[2])
            kind, _, arrival = self.decode(node, self.credentials_of(node), message.payload)
        except ValueError:
            self.ignored += 1
            return
        is_namesake = node == self.subjects.node
        if message.reply and (kind == QUESTION or (kind == CONTEST and is_namesake)):
            said = message.payload[_HEAD.size :]
            self.namesakes.asked(message.reply, said, is_contest=kind == CONTEST)
        elif arrival is None or not message.reply or self.meeting is None:
            self.ignored += 1
            self.let_go(arrival)
        elif self.meeting.offer(arrival):
            self.meeting.tell()
            self.connection.publish(message.reply, b"")

    async def meet(self, inlet: "MeshInlet") -> None:
        """Have callers of this node's name put their Hellos into an inlet.

        Raises:
            CarrierError: it has a meeting place.
            MeshError: another node has come under this name at the same moment, and stays.
        """
        if self.meeting is not None:
            raise CarrierError(f"{self.subjects.node} has a meeting place already")
        self.meeting = inlet
        self.connection.subscribe(f"{self.subjects.meeting}.*", self._meeting_message)
        await self.connection.settled()  # from here on, whoever calls finds it
        if where := await self.namesakes.contest():
            raise name_in_use(self.subjects, where)

    def _question(self, *, is_contest: bool) -> bytes:
        return _HEAD.pack(CONTEST if is_contest else QUESTION, self.subjects.incarnation, 0)

    # Life.

    def _beaten(self) -> None:
        """Say what a return to the servers has cost, and tell the senders of inlets that were closed."""
        if self._return is not None and self._return.at + self._mesh.beat <= trio.current_time():
            self._tell_return()
        while self._closed and self._closed[0][0] <= trio.current_time():
            self._tell_gone(*self._closed.popleft()[1:])

    def closed(self, outlet: "MeshOutlet") -> None:
        """Forget an outlet. Harmless when repeated."""
        watch = self._outlets.pop(outlet, None)
        if watch is not None:
            self.heartbeats.unwatch(watch)

    def forget(self, inlet: "MeshInlet") -> None:
        """Forget an inlet that is closed. Its sender is told a beat later, when it has heard any goodbye: it
        may have nothing more to send, and would not find out.
        """
        self._inlets.pop(inlet.number, None)
        self._ways.pop(inlet.subject, None)
        if inlet.sender is not None:
            self._closed.append((trio.current_time() + self._mesh.beat, *inlet.sender, inlet.number))
        if self.meeting is inlet:
            self.meeting = None

    def connection_made(self) -> None:
        """See `Watcher`."""
        where = self.connection.where
        logger.info("%s is in mesh %s, at server %s", self.subjects.node, self._mesh.name, where)

    def servers_missed(self, tried: Sequence[str]) -> None:
        """See `Watcher`."""
        left = self._mesh.dead_after - self.connection.down_for
        what = f"nodes are lost in {left:.1f} s" if left > 0 else "nodes are lost until one does"
        logger.warning("no server answers (tried %s): %s", ", ".join(tried), what)

    def connection_ready(self) -> None:
        """See `Watcher`."""
        for outlet in list(self._outlets):
            outlet.try_again()

    def connection_lost(self, server: Server, why: str) -> None:
        """See `Watcher`."""
        self._tell_return()
        self._presence.server_lost(trio.current_time())
        self.lost.set()
        self.lost = trio.Event()

    def connection_resumed(self, server: Server, seconds: float) -> None:
        """See `Watcher`."""
        self._presence.server_found(trio.current_time())
        self.announcer.resumed(seconds)
        links = sum(inlet.interrupt() for inlet in self._inlets.values())
        self.resumed += links
        waiting = sum(outlet.is_waiting for outlet in self._outlets)
        self._return = _Return(trio.current_time(), seconds, links, self.resent() - waiting)

    def _tell_return(self) -> None:
        """Say that there is a server again, once it is known how much had to be sent once more there."""
        if self._return is not None:
            _, seconds, links, resent = self._return
            self._return = None
            logger.info(
                "%s is at server %s after %.2f s: %d node links resumed, %d batches sent again",
                self.subjects.node,
                self.connection.where,
                seconds,
                links,
                self.resent() - resent,
            )


def name_in_use(subjects: Subjects, where: str) -> MeshError:
    """Return the error of a node whose name another one has, which runs there."""
    return MeshError(f"{subjects.node} runs already in mesh {subjects.mesh!r}: {where}")


def _node_name(text: str) -> str:
    if not 0 < len(text) <= MOST_CHARACTERS or "@" not in text:
        raise CarrierError(f"expected the name of a node, such as 'shop@west', got {text!r}")
    return text


class _Return(NamedTuple):
    """A return to the servers: when, after how many seconds, with how many node links; and the batches that
    had been sent again before, less those that waited.
    """

    at: float
    seconds: float
    links: int
    resent: int


class _Way(NamedTuple):
    """What the subject of a batch says."""

    node: str
    number: int
    credentials: Credentials


class MeshInlet(Inlet):
    """A queue of what is published for one number; see `Inlet`.

    Attributes:
        sender: the node, and its incarnation, that sends to it; None before it does.
        subject: of what that one sends; empty before.
    """

    def __init__(self, carrier: MeshCarrier, number: int, capacity: int, largest: int) -> None:
        self.number = number
        self._carrier = carrier
        self._capacity = 2 * capacity  # that counts frames, and small batches are twice as long
        self._largest = largest
        self._size = 0
        self._handle = carrier.new_handle()
        self._arrivals: deque[Arrival] = deque()
        self._arrived = trio.Event()
        self.sender: tuple[str, int] | None = None
        self.subject = ""
        self._take_in: Callable[[bool], bool] | None = None
        self._most_held = 0
        self._is_closed = False

    @property
    def handle(self) -> Handle:
        return self._handle

    async def receive(self) -> Sequence[Arrival]:
        await trio.lowlevel.checkpoint()
        while not self._arrivals:
            if self._is_closed:
                raise CarrierError("the inlet is closed")
            self._arrived = trio.Event()
            await self._arrived.wait()
        return self.take()

    def take(self) -> Sequence[Arrival]:
        arrivals, self._arrivals = list(self._arrivals), deque()
        self._size = 0
        return arrivals

    def linger(self, seconds: float) -> Sequence[Arrival]:
        return self.take()  # the carrier is not worth holding the loop for, as its traits say

    def hand_over_by(self, take: Callable[[bool], bool]) -> None:
        self._take_in = take

    def tell(self) -> None:
        """Have the owner take in what has come, here and now, or when its turn comes."""
        if self._take_in is not None and not self._is_closed:
            self._take_in(False)
        if self._arrivals:
            self._arrived.set()

    async def attach(self, address: str) -> None:
        await self._carrier.meet(self)

    def limit_handles(self, each: int, held: int) -> None:
        self._most_held = held

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._carrier.forget(self)
            for arrival in self._arrivals:
                self._carrier.let_go(arrival)
            self._arrivals.clear()
            self._arrived.set()

    def put(self, node: str, incarnation: int, arrival: Arrival) -> bool:
        """Take in a batch of the node that the inlet belongs to, which is the first that sends one.

        Returns:
            Whether it is that node's.
        """
        if self.sender is None:
            self.sender = node, incarnation
        if self.sender == (node, incarnation):
            self.offer(arrival)
            return True
        self._carrier.ignored += 1
        return False

    def offer(self, arrival: Arrival) -> bool:
        """Take in a batch, unless it is too large, or too much waits: then it is lost on its way."""
        size = len(arrival.data or b"")
        is_full = len(self._arrivals) > 0 and self._size + size > self._capacity
        if size > self._largest or is_full or 0 < self._most_held <= len(self._arrivals):
            self._carrier.let_go(arrival)
            self._carrier.ignored += 1
            return False
        self._size += size
        self._arrivals.append(arrival)
        return True

    def interrupt(self) -> bool:
        """Tell the owner that batches may have been lost; return whether there is somebody to miss some."""
        if self.sender is None:
            return False
        self._arrivals.append(Arrival(b"", (), self._carrier.credentials_of(self.sender[0])))
        self._arrived.set()
        return True
