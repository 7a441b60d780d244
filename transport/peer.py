"""A peer whose node link is up: the tasks that feed its NodeLink and empty it.

A frame leaves in its sender's own step, for somebody may be waiting. Those that follow in the same turn of
the loop gather, and leave together in the next turn, or as soon as they fill a batch; and so do those that
come while a call is under way, or while a batch from the peer is taken in. So a single call costs no task
switch, and a flood makes few calls.

When nothing is left to do but to wait for the peer, and the peer is used to speak again at once, the loop
is held for a moment instead of going round (`patience`): by whoever waits for a reply, and by the reader when
the peer has its answers.

Four tasks serve a peer. The reader takes batches out of the inlet and gives their frames to the host, one
batch in each turn of the loop. The gatherer sends what has gathered in a turn. The writer waits for the
answer to a call that took longer than a moment. The watch gives signs of life, and ends the node link when
the peer has given none.

The end comes once, from whichever side notices first, and it is told at once and synchronously: when `end`
returns, every monitor and link across this node link has been dealt with by the host.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import trio

from enfilade.transport.carrier import Arrival, Carrier, CarrierError, Handle, Inlet, Outlet, Status
from enfilade.transport.node_link import QUARTERS, Backlogged, NodeLink
from enfilade.transport.patience import MOMENT, Patience
from enfilade.transport.policy import Identity, Rights
from enfilade.transport.wire import FRAME_LIMIT, Bye, Frame, MalformedBatch, encode_frame

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

    def attempt_failed(self, address: str, error: Exception, *, is_known: bool) -> None:
        """An attempt to stay connected, or to be connected because there is something to deliver, has failed.

        Args:
            is_known: the attempt before has failed for the same reason.
        """
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
        is_crowded: whether so much waits to leave that those who are willing to wait should.
    """

    def __init__(
        self,
        carrier: Carrier,
        host: Host,
        node_link: NodeLink,
        *,
        period: float,
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
        self.is_crowded = False
        self._carrier = carrier
        self._host = host
        self._link = node_link
        self._inlet = inlet
        self._outlet = outlet
        self._arrived = deque(early)
        self._forget = forget
        self._quarter = period / QUARTERS
        self._tasks: trio.Nursery | None = None
        self._gatherer: trio.lowlevel.Task | None = None
        self._patience = Patience()
        self._is_receiving = False
        self._is_gathering = False
        self._has_left = False  # something, in this turn of the loop or since the peer last said something
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

    @property
    def batches_out(self) -> int:
        """Batches that the peer has, or that are on their way to it; one that found no room is not."""
        return self._link.batches_out - self._is_full

    @property
    def batches_in(self) -> int:
        """Batches of the peer that have been taken in."""
        return self._link.batches_in

    @property
    def is_held_up(self) -> bool:
        """Whether something waits to leave until the peer has answered to a batch."""
        return self._is_awaited

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
            is_batch_full = self._link.send(data, handles)
        except Backlogged as error:
            self._discard(handles)
            self.end(str(error))
            return
        if is_batch_full:
            self.is_crowded = self._link.queued > HIGH_WATER
        if self._is_awaited:
            return
        if self._is_gathering:
            if is_batch_full:
                self._flush(last=False)
        elif self._has_left:
            self._gather()
        else:
            self._flush()

    async def wait_for_room(self) -> None:
        """Wait until little waits to leave, or the node link is over. A checkpoint when it has to wait."""
        while self.is_crowded:
            await self._room.park()

    def end(self, reason: str) -> None:
        """End the node link now. What has not left yet is lost. Harmless when repeated."""
        if self.ended.is_set():
            return
        self.reason = reason
        self.ended.set()
        self._idle.set()  # nobody needs to wait for the goodbye any more
        self._discard(self._link.leftovers())
        for arrival in self._arrived:
            self._discard(arrival.handles)
        self._arrived.clear()
        self._inlet.close()
        self._outlet.close()
        self._scope.cancel()
        self.is_crowded = False
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
        self._flush()
        if self._is_calling:
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
                self._tasks.start_soon(self._send_gathered)
                self._tasks.start_soon(self._watch)
                if self._is_full:
                    self._tasks.start_soon(self._try_again)
                await self._read()

    # What comes in.

    async def _read(self) -> None:
        while True:
            while self._arrived:
                self._take_in(self._arrived.popleft())
                pause = self._link.pause()
                if pause > 0:
                    await trio.sleep(pause)
                elif self._arrived:
                    await trio.lowlevel.checkpoint()
            try:
                if self._has_left and self.rights.limits.rate is None:
                    self._arrived.extend(self._linger())
                    if self._arrived:
                        continue
                self._arrived.extend(self._inlet.take())  # a busy peer is not waited for
                if self._arrived:
                    await trio.lowlevel.checkpoint()
                else:
                    self._is_receiving = True
                    self._arrived.extend(await self._inlet.receive())
            except CarrierError as error:
                self.end(str(error))
                return
            finally:
                self._is_receiving = False
            self._patience.went_round()

    def _linger(self) -> Sequence[Arrival]:
        """What has arrived, or arrives within a moment, if it has been worth it lately to wait for that."""
        arrivals = self._inlet.take()
        if not arrivals and not self._is_calling and self._patience.is_worth_it():
            arrivals = self._inlet.linger(MOMENT)
            self._patience.learn(bool(arrivals))
        return arrivals

    def look(self, *, alone: bool) -> None:
        """Take in what has arrived, as the reader would do when its turn comes; perhaps also what arrives
        within a moment. Not a checkpoint.

        Args:
            alone: nobody else waits for something of the peer.
        """
        if not self._is_receiving or self.rights.limits.rate is not None:
            return
        if alone:
            self._arrived.extend(self._linger())
        else:
            self._patience.have_company()
            self._arrived.extend(self._inlet.take())
        self._is_receiving = False
        while self._arrived:
            self._take_in(self._arrived.popleft())
        self._is_receiving = not self.reason

    def _take_in(self, arrival: Arrival) -> None:
        if arrival.data is None:
            self.end("the peer is gone")
            return
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
            frames = self._link.received(arrival.data)
        except MalformedBatch as error:
            self._discard(arrival.handles)
            self.end(f"the peer sent nonsense: {error}")
            return
        was_gathering, self._is_gathering = self._is_gathering, True
        if frames:
            self._hand_on(frames, arrival.handles)
        elif arrival.handles:
            self._discard(arrival.handles)
        self._is_gathering = was_gathering
        self._has_left = False
        if self._link.queued or self._link.is_grant_due():
            self._flush()

    def _hand_on(self, frames: Sequence[Frame], handles: Sequence[Handle]) -> None:
        farewell = frames[-1] if type(frames[-1]) is Bye else None
        try:
            self._host.peer_frames(self, frames if farewell is None else frames[:-1], handles)
        except MalformedBatch as error:
            self.end(f"the peer sent nonsense: {error}")
        except Exception:
            # A mistake of ours costs this node link and not the node.
            logger.exception("what node %s sent could not be carried out", self.name)
            self.end("what the peer sent could not be carried out")
        if farewell is not None:
            self.end(f"the peer said goodbye: {farewell.text}")

    # What goes out.

    def _gather(self) -> None:
        """Let what is queued wait until the next turn of the loop."""
        self._is_gathering = True
        gatherer, self._gatherer = self._gatherer, None
        if gatherer is not None:
            trio.lowlevel.reschedule(gatherer)

    async def _send_gathered(self) -> None:
        def abort(_: object) -> trio.lowlevel.Abort:
            self._gatherer = None
            return trio.lowlevel.Abort.SUCCEEDED

        while True:
            if not self._is_gathering:
                self._gatherer = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(abort)
            self._is_gathering = False
            self._flush()
            self._has_left = False

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

    def _flush(self, *, last: bool = True) -> None:
        """Hand over what is queued, as far as the peer takes it.

        Args:
            last: also the last batch, which more frames may join.
        """
        try:
            while not self.reason and not self._is_full:
                if self._is_calling:
                    status = self._outlet.answer()
                else:
                    batch = self._link.next_batch(last=last)
                    if batch is None:
                        if not self._link.queued:
                            self._idle.set()
                        return
                    self._has_left = True
                    status = self._outlet.start(batch.data, batch.handles, repeatable=True)
                if status is None:
                    self._is_calling = True
                    if self._link.queued or self._link.is_grant_due():
                        # From here on frames gather until the writer is told of the answer.
                        self._is_awaited = True
                        self._outlet.want()
                    return
                self._is_calling = self._is_awaited = False
                self._took(status)
        except CarrierError as error:
            self.end(str(error))

    def _took(self, status: Status) -> None:
        """The peer took the batch; or it was full, and we try again a little later."""
        if status is Status.ACCEPTED:
            handles = self._link.accepted()
            if handles:
                self._discard(handles)
            self._pause = FIRST_PAUSE
            if self.is_crowded and self._link.queued <= HIGH_WATER:
                self.is_crowded = False
                self._room.unpark_all()
        elif status is Status.FULL:
            self._is_full = True
            if self._tasks is not None:
                self._tasks.start_soon(self._try_again)
        else:
            self.end(f"the peer answered {status.name.lower()} to a batch")

    async def _watch(self) -> None:
        while True:
            await trio.sleep(self._quarter)
            if not self._link.quarter():
                self.end("the peer was silent for too long")
                return
            self._flush()

    def _discard(self, handles: Sequence[Handle]) -> None:
        for handle in handles:
            self._carrier.discard(handle)
