"""One side of a handshake: what it says and hears, and how many may be going on.

Whoever can open the door of a rendezvous may say Hello. So a conversation costs nothing until the policy has
admitted the caller: then an inlet is made for it, and before that nothing but an outlet for the one frame
that says no. Conversations are bounded in all and for each user, those that end with a refusal much lower.

A frame without a handle may be handed over twice, as batches of a node link may, so that the loop can try it
at once. Such frames have no numbers: the same bytes as before are passed over, whenever they come, also when
the node link is up.
"""

from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import trio

from enfilade.transport.carrier import (
    Arrival,
    Carrier,
    CarrierError,
    Credentials,
    Handle,
    Inlet,
    Outlet,
    Status,
    hand_over,
)
from enfilade.transport.printable import printable
from enfilade.transport.seal import Seal
from enfilade.transport.way import Way
from enfilade.transport.wire import (
    Frame,
    Hello,
    MalformedBatch,
    Refused,
    decode_batch,
    encode_batch,
    encode_frame,
)

__all__ = ["Callers", "Conversation", "HandshakeFailed", "discard_all", "read_hello", "say"]

MOST_CALLERS: Final = 256
"""Callers that may wait for an answer at a time, all users taken together; more are sent away."""

MOST_OF_A_USER: Final = 128
"""Callers of one user that may wait for an answer."""

MOST_HANDSHAKES: Final = 64
MOST_HANDSHAKES_OF_A_USER: Final = 24
"""Handshakes that may be going on: each has a thread and some ten descriptors."""

MOST_REFUSED: Final = 8
"""Callers of one user that may be told at a time that they are not admitted."""


LONGEST_REFUSAL: Final = 1_000
"""Characters of a refusal that are told."""


class HandshakeFailed(Exception):
    """The other end did not complete the handshake as a node does."""


class Conversation:
    """One side of a handshake that is going on: our inlet, and the peer's once we have an outlet to it."""

    def __init__(self, way: Way, inlet: Inlet, outlet: Outlet | None = None) -> None:
        self.way = way
        self.inlet = inlet
        self.window = way.window()
        """Bytes that may be under way to us over the node link that comes of it."""
        self.scope = trio.CancelScope()
        """Around the wait for Ready; cancelled when another conversation with the same node takes over."""
        self._outlet = outlet
        self._arrivals: deque[Arrival] = deque()
        self.credentials: Credentials | None = None
        self.incarnation: int | None = None
        """Which start of its node the caller is; None on the caller's side."""
        self.heard: tuple[bytes, ...] = ()
        """The batches that were heard; each may come once more."""
        self.seal: Seal | None = None
        """Of everything that is said from here on, when the two have a secret."""

    @property
    def outlet(self) -> Outlet:
        """The way to the peer.

        Raises:
            HandshakeFailed: it has not sent one.
        """
        if self._outlet is None:
            raise HandshakeFailed("the node at the other end sent no inlet to answer through")
        return self._outlet

    def is_with(self, incarnation: int, credentials: Credentials) -> bool:
        """Tell whether the caller is the same start of a node, by the kernel's word as well as by its own."""
        known = self.credentials
        return (
            self.incarnation == incarnation and known is not None and known.principal == credentials.principal
        )

    def check_speaks_for(self, carrier: Carrier, credentials: Credentials) -> None:
        """Check that who says it has a node link with us is who has it, as far as the kernel tells.

        Raises:
            HandshakeFailed: over the same carrier, it is another process.
        """
        known = self.credentials
        if carrier is self.way.carrier and known is not None and known.principal != credentials.principal:
            raise HandshakeFailed("the node at the other end says that it is another, which is connected")

    def take_rest(self) -> Sequence[Arrival]:
        """Hand over what came after the frames that were heard; it is the caller's own from here on."""
        rest, self._arrivals = self._arrivals, deque()
        return rest

    async def say(self, frame: Frame, handles: Sequence[Handle] = ()) -> None:
        """Send a frame."""
        await say(self.outlet, frame, handles, self.seal)

    async def hear(self, *kinds: type[Frame]) -> Frame:
        """Wait for a frame of one of the kinds; keep the outlet that comes with it."""
        arrival = await self._next_arrival()
        if arrival.data is None:
            raise HandshakeFailed("the node at the other end hung up")
        try:
            frame = self._open(arrival)
        except (MalformedBatch, ValueError) as error:
            discard_all(self.way.carrier, arrival.handles)
            raise HandshakeFailed(f"the node at the other end sent a malformed batch: {error}") from error
        self._keep_outlet(arrival.handles)
        if self.credentials not in (None, arrival.credentials):
            raise HandshakeFailed("a handshake must come from one process, got frames of two")
        self.credentials = arrival.credentials
        self.heard = (*self.heard, arrival.data)
        if isinstance(frame, Refused):
            frame.text = printable(frame.text, LONGEST_REFUSAL)
        if not isinstance(frame, kinds):
            raise HandshakeFailed(f"the handshake has no place for a {type(frame).__name__} here")
        return frame

    async def _next_arrival(self) -> Arrival:
        """Wait for an arrival that was not heard before."""
        while True:
            while not self._arrivals:
                self._arrivals.extend(await self.inlet.receive())
            arrival = self._arrivals.popleft()
            if arrival.data not in self.heard:
                return arrival
            discard_all(self.way.carrier, arrival.handles)

    def _open(self, arrival: Arrival) -> Frame:
        """Check the tag of a batch, and return its frame; a refusal may come without a tag."""
        data = arrival.data or b""
        try:
            if self.seal is not None:
                data = self.seal.open(data, arrival.handles)
            (frame,) = decode_batch(data).frames
        except MalformedBatch:
            (frame,) = decode_batch(arrival.data or b"").frames
            if not isinstance(frame, Refused):
                raise
        return frame

    def _keep_outlet(self, handles: Sequence[Handle]) -> None:
        if handles and self._outlet is None:
            try:
                self._outlet = self.way.carrier.outlet(handles[0])
            except CarrierError:
                # The peer has dropped this attempt already. Its frame may say why, so that goes first.
                self._outlet = None
            handles = handles[1:]
        discard_all(self.way.carrier, handles)

    def close(self) -> None:
        """Drop it, with all that belongs to it."""
        self.inlet.close()
        for arrival in self._arrivals:
            discard_all(self.way.carrier, arrival.handles)
        if self._outlet is not None:
            self._outlet.close()


async def say(outlet: Outlet, frame: Frame, handles: Sequence[Handle] = (), seal: Seal | None = None) -> None:
    """Send one frame of a handshake.

    Raises:
        CarrierError: the peer is gone.
        HandshakeFailed: it does not take the frame.
    """
    data = encode_batch(0, 0, (encode_frame(frame),))
    if seal is not None:
        data = seal.close(data, handles)
    status = await hand_over(outlet, data, handles, repeatable=not handles)
    if status is not Status.ACCEPTED:
        raise HandshakeFailed(f"the other end answered {status.name.lower()} to a {type(frame).__name__}")


def read_hello(way: Way, arrival: Arrival) -> tuple[Hello, Handle]:
    """Read a call to a rendezvous: the Hello, and the inlet to answer through.

    Raises:
        MalformedBatch, HandshakeFailed: it is none; what came with it is closed.
    """
    handles = arrival.handles
    try:
        frames = decode_batch(arrival.data or b"").frames
        if len(frames) == 1 and isinstance(frames[0], Hello) and len(handles) == 1:
            (handle,), handles = handles, ()
            return frames[0], handle
    finally:
        discard_all(way.carrier, handles)
    raise HandshakeFailed("a call to a rendezvous must be one Hello with one inlet to answer through")


def discard_all(carrier: Carrier, handles: Sequence[Handle]) -> None:
    """Close handles that are not used."""
    for handle in handles:
        carrier.discard(handle)


class Callers:
    """The callers that wait for an answer, or get one, by user."""

    def __init__(self) -> None:
        self._waiting: Counter[int | str] = Counter()
        self._refused: Counter[int | str] = Counter()
        self._handshakes = trio.CapacityLimiter(MOST_HANDSHAKES)
        self._handshakes_of: dict[int | str, trio.CapacityLimiter] = {}

    def has_room(self, account: int | str) -> bool:
        """Tell whether another caller of this user may wait for an answer."""
        return self._waiting.total() < MOST_CALLERS and self._waiting[account] < MOST_OF_A_USER

    @contextmanager
    def waiting(self, account: int | str) -> Iterator[None]:
        """Count a caller for as long as it has no answer."""
        with _counted(self._waiting, account):
            try:
                yield
            finally:
                if self._waiting[account] == 1:
                    self._handshakes_of.pop(account, None)

    async def refuse(self, way: Way, handle: Handle, account: int | str, refused: Refused) -> None:
        """Tell a caller that it is not admitted, unless too many of its user are being told already."""
        if self._refused[account] >= MOST_REFUSED:
            way.carrier.discard(handle)
            return
        with _counted(self._refused, account):
            outlet = way.carrier.outlet(handle)
            try:
                await say(outlet, refused)
            finally:
                outlet.close()

    @asynccontextmanager
    async def shaking_hands(self, account: int | str) -> AsyncIterator[None]:
        """Wait until one more handshake with this user may be going on, and count it. A checkpoint."""
        own = self._handshakes_of.setdefault(account, trio.CapacityLimiter(MOST_HANDSHAKES_OF_A_USER))
        async with own, self._handshakes:
            yield


@contextmanager
def _counted(counts: Counter[int | str], account: int | str) -> Iterator[None]:
    counts[account] += 1
    try:
        yield
    finally:
        counts[account] -= 1
        if not counts[account]:
            del counts[account]
