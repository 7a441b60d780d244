"""A peer whose node link is up: the tasks that feed its NodeLink and empty it.

Three tasks serve a peer. The reader takes batches out of the inlet and gives their frames to the host. The
writer sleeps until there is something to say and hands over one batch at a time; while a call is under way,
frames gather for the next, so a busy node link makes few calls and an idle one answers at once. The watch
wakes the writer when a sign of life is due, and ends the node link when the peer has given none.

The end comes once, from whichever side notices first, and it is told at once and synchronously: when `end`
returns, every monitor and link across this node link has been dealt with by the host.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import trio

from transport.carrier import Arrival, Carrier, CarrierError, Handle, Inlet, Outlet, Status
from transport.link import Backlogged, NodeLink
from transport.policy import Identity, Rights
from transport.wire import FRAME_LIMIT, Bye, Frame, MalformedBatch, encode_frame

__all__ = ["FrameTooLarge", "Host", "Peer"]

logger = logging.getLogger("enfilade.transport")

FIRST_PAUSE: Final = 0.001
LAST_PAUSE: Final = 0.064
"""Seconds between attempts to hand over a batch for which the peer has no room; doubled each time."""


HIGH_WATER: Final = 256 * 1024
"""Bytes that may wait to leave before those who are willing to wait have to."""


class FrameTooLarge(ValueError):
    """A frame cannot be sent because of its size; payloads do not count when they travel as memory files."""


class Host(Protocol):
    """What stands above the node links of a node. Its methods run in the trio thread and must not block."""

    def peer_up(self, peer: "Peer") -> None:
        """A node link is up. Frames may be sent from here on."""
        ...

    def peer_frames(self, peer: "Peer", frames: Sequence[Frame], handles: Sequence[Handle]) -> None:
        """Frames have come, in order; the handles are the host's own.

        Raises:
            MalformedBatch: they are nonsense. The node link ends.
        """
        ...

    def peer_down(self, peer: "Peer", reason: str) -> None:
        """The node link is over. Called once, before the peer can be connected again."""
        ...

    def attempt_failed(self, address: str, error: Exception) -> None:
        """An attempt to stay connected has failed; there will be more."""
        ...

    def caller_refused(self, reason: str) -> None:
        """Somebody called at our rendezvous and was turned away."""
        ...


class Peer:
    """A node that is connected to this one. Made by `Rendezvous`.

    Attributes:
        identity: who it is.
        rights: what our policy lets it do.
        ended: set when the node link is over.
        reason: why it is over; empty before.
    """

    def __init__(
        self,
        carrier: Carrier,
        host: Host,
        node_link: NodeLink,
        *,
        identity: Identity,
        rights: Rights,
        inlet: Inlet,
        outlet: Outlet,
        early: Sequence[Arrival],
        forget: Callable[["Peer"], None],
    ) -> None:
        self.identity = identity
        self.rights = rights
        self.ended = trio.Event()
        self.reason = ""
        self._carrier = carrier
        self._host = host
        self._link = node_link
        self._inlet = inlet
        self._outlet = outlet
        self._early = early
        self._forget = forget
        self._tasks: trio.Nursery | None = None
        self._is_calling = False
        self._is_awaited = False
        self._is_full = False
        self._pause = FIRST_PAUSE
        # Cancelling what is around a node does not end its node links: the node says goodbye over them.
        self._scope = trio.CancelScope(shield=True)
        self._idle = trio.Event()
        self._room = trio.lowlevel.ParkingLot()

    @property
    def name(self) -> str:
        """The peer's node name."""
        return self.identity.name

    @property
    def queued(self) -> int:
        """Bytes that wait to leave for the peer."""
        return self._link.queued

    def send(self, frame: Frame, handles: Sequence[Handle] = ()) -> None:
        """Send a frame. Never blocks; after the end of the node link it does nothing.

        Args:
            frame: to send.
            handles: travel with it, and are closed by the peer object in every case.

        Raises:
            FrameTooLarge: the frame has more than `FRAME_LIMIT` bytes.
        """
        data = encode_frame(frame)
        if len(data) > FRAME_LIMIT:
            self._discard(handles)
            raise FrameTooLarge(
                f"a frame may have {FRAME_LIMIT} bytes, this {type(frame).__name__} has {len(data)}"
            )
        if self.reason:
            self._discard(handles)
            return
        try:
            self._link.send(data, handles)
        except Backlogged as error:
            self._discard(handles)
            self.end(str(error))
        else:
            if not self._is_awaited:
                self._flush()

    async def wait_for_room(self) -> None:
        """Wait until little waits to leave, or the node link is over. A checkpoint when it has to wait."""
        while self._link.queued > HIGH_WATER and not self.ended.is_set():
            await self._room.park()

    def end(self, reason: str) -> None:
        """End the node link now. What has not left yet is lost. Harmless when repeated."""
        if self.ended.is_set():
            return
        self.reason = reason
        self.ended.set()
        self._idle.set()  # nobody needs to wait for the goodbye any more
        self._discard(self._link.leftovers())
        self._inlet.close()
        self._outlet.close()
        self._scope.cancel()
        self._room.unpark_all()
        self._forget(self)
        self._host.peer_down(self, reason)

    async def close(self, text: str, patience: float) -> None:
        """Say goodbye after everything that was sent before, then end the node link.

        Args:
            text: why, for the peer.
            patience: seconds to wait until the peer has been told.
        """
        if self.ended.is_set():
            return
        self._idle = trio.Event()
        self.send(Bye(text))
        self._outlet.want()
        with trio.move_on_after(patience) as limit:
            limit.shield = True
            await self._idle.wait()
        self.end(text)

    def uses(self, inlet: Inlet) -> bool:
        """Whether this is the peer's inlet here."""
        return self._inlet is inlet

    async def run(self) -> None:
        """Serve the node link until it ends."""
        with self._scope:
            async with trio.open_nursery() as self._tasks:
                self._tasks.start_soon(self._write)
                self._tasks.start_soon(self._watch)
                if self._is_full:
                    self._tasks.start_soon(self._try_again)
                await self._read()

    async def _read(self) -> None:
        self._take_in(self._early)
        while not self.ended.is_set():
            try:
                arrivals = await self._inlet.receive()
            except CarrierError as error:
                self.end(str(error))
                return
            self._take_in(arrivals)
            pause = self._link.pause()
            if pause > 0:
                await trio.sleep(pause)

    def _take_in(self, arrivals: Sequence[Arrival]) -> None:
        for arrival in arrivals:
            if self.ended.is_set():
                self._discard(arrival.handles)
            elif arrival.data is None:
                self.end("the peer is gone")
            else:
                self._take_in_batch(arrival, arrival.data)

    def _take_in_batch(self, arrival: Arrival, data: bytes) -> None:
        known, caller = self.identity.credentials, arrival.credentials
        if known is not caller and (known.pid, known.uid) != (caller.pid, caller.uid):
            # Somebody else got hold of the peer's door. It is worth nothing in his hands.
            self._discard(arrival.handles)
            self._host.caller_refused(
                f"process {caller.pid} of uid {caller.uid} uses the door of node {self.name!r}, "
                f"which is process {known.pid} of uid {known.uid}"
            )
            return
        try:
            batch = self._link.received(data, trio.current_time())
        except MalformedBatch as error:
            self._discard(arrival.handles)
            self.end(f"the peer sent nonsense: {error}")
            return
        frames = batch.frames
        if not frames:
            self._discard(arrival.handles)
        else:
            farewell = frames[-1] if isinstance(frames[-1], Bye) else None
            try:
                self._host.peer_frames(self, frames if farewell is None else frames[:-1], arrival.handles)
            except MalformedBatch as error:
                self.end(f"the peer sent nonsense: {error}")
            except Exception:
                # A mistake of ours costs this node link and not the node.
                logger.exception("what node %s sent could not be carried out", self.name)
                self.end("what the peer sent could not be carried out")
            if farewell is not None:
                self.end(f"the peer said goodbye: {farewell.text}")
        if self._link.queued or self._link.is_grant_due():
            self._flush()

    async def _write(self) -> None:
        while True:
            try:
                await self._outlet.wait()
            except CarrierError as error:
                self.end(str(error))
                return
            self._flush()

    async def _try_again(self) -> None:
        await trio.sleep(self._pause)
        self._pause = min(LAST_PAUSE, 2 * self._pause)
        self._is_full = False
        self._flush()

    def _flush(self) -> None:
        """Hand over the next batch, if there is one and the one before has been answered."""
        try:
            while not self.ended.is_set() and not self._is_full:
                if self._is_calling:
                    status = self._outlet.answer()
                    if status is None:
                        if self._link.queued or self._link.is_grant_due():
                            # From here on frames gather until the writer is told of the answer.
                            self._is_awaited = True
                            self._outlet.want()
                        return
                    self._is_calling = self._is_awaited = False
                    if not self._took(status):
                        return
                batch = self._link.next_batch(trio.current_time())
                if batch is None:
                    if not self._link.queued:
                        self._idle.set()
                    return
                self._outlet.start(batch.data, batch.handles, repeatable=True)
                self._is_calling = True
        except CarrierError as error:
            self.end(str(error))

    def _took(self, status: Status) -> bool:
        """Whether the peer took the batch. When it was full, we try again a little later."""
        if status is Status.ACCEPTED:
            self._discard(self._link.accepted())
            self._pause = FIRST_PAUSE
            if self._link.queued <= HIGH_WATER:
                self._room.unpark_all()
            return True
        if status is Status.FULL:
            self._is_full = True
            if self._tasks is not None:
                self._tasks.start_soon(self._try_again)
        else:
            self.end(f"the peer answered {status.name.lower()} to a batch")
        return False

    async def _watch(self) -> None:
        while True:
            now = trio.current_time()
            if now >= self._link.dead_at():
                self.end("the peer was silent for too long")
                return
            due = self._link.due_at()
            if now >= due:
                # A call may be under way; then that is the sign of life.
                self._flush()
                due = now + self._link.quarter
            await trio.sleep_until(min(self._link.dead_at(), due))

    def _discard(self, handles: Sequence[Handle]) -> None:
        for handle in handles:
            self._carrier.discard(handle)
