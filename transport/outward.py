"""The way out of a node link: when frames leave, and what becomes of the batch that was handed over.

A frame leaves in its sender's own step, because the sender may be waiting. Those that follow in the same turn
of the loop gather, and leave together in the next turn, or as soon as they fill a batch; and so do those that
come while a call is under way, or while a batch of the peer is taken in. So a single call costs no task
switch, and a flood makes few calls.

Two machines decide. The *pace* says when the next frame leaves:

| pace | the next frame | transitions |
|---|---|---|
| PROMPT | leaves at once | to SPOKEN when a batch has been handed over |
| SPOKEN | begins to gather | to GATHERING with that frame; to PROMPT when a batch of the peer was taken in |
| GATHERING | gathers; a full batch leaves | to PROMPT in the gatherer's turn |

While a batch of the peer is taken in, the pace is GATHERING; what has gathered leaves at its end. The pace is
PROMPT then, or still GATHERING when the gatherer has yet to come.

The *handover* says what the peer has done with the last batch:

| handover | the batch | transitions |
|---|---|---|
| READY | accepted; the next one may follow | to CALLING when a batch is not answered at once |
| CALLING | under way; nobody is told of the answer | to AWAITED when more is to be sent, or at the goodbye |
| AWAITED | under way; the answer wakes the writer | |
| FULL | kept: the peer has no room | to READY after a pause, which doubles each time |
| OVER | dropped with everything else | |

CALLING and AWAITED become READY or FULL, according to the answer; READY becomes FULL when the answer comes at
once. Every state becomes OVER with the end of the node link.
"""

import enum
from collections.abc import Callable, Sequence
from typing import Final

import trio

from enfilade.transport.attachment import Attachment
from enfilade.transport.carrier import CarrierError, Outlet, Status
from enfilade.transport.node_link import Backlogged, NodeLink
from enfilade.transport.wire import FRAME_LIMIT, Frame, Payload, encode_frame

__all__ = ["AWAITED", "GATHERING", "PROMPT", "SPOKEN", "FrameTooLarge", "Handover", "Outward", "Pace"]


class Pace(enum.Enum):
    """When the next frame leaves; see the table above."""

    PROMPT = enum.auto()
    SPOKEN = enum.auto()
    GATHERING = enum.auto()


class Handover(enum.Enum):
    """States of the last batch's handover; see the table above."""

    READY = enum.auto()
    CALLING = enum.auto()
    AWAITED = enum.auto()
    FULL = enum.auto()
    OVER = enum.auto()


# Every frame looks at them, and a global is found faster than a member of an enumeration.
PROMPT: Final = Pace.PROMPT
SPOKEN: Final = Pace.SPOKEN
GATHERING: Final = Pace.GATHERING
READY: Final = Handover.READY
CALLING: Final = Handover.CALLING
AWAITED: Final = Handover.AWAITED
FULL: Final = Handover.FULL
OVER: Final = Handover.OVER
ACCEPTED: Final = Status.ACCEPTED

FIRST_PAUSE: Final = 0.001
LAST_PAUSE: Final = 0.064
"""Seconds between attempts to hand over a batch for which the peer has no room; doubled each time."""


class FrameTooLarge(ValueError):
    """A frame is too large to be sent; payloads do not count when they travel as memory files."""


class Outward:
    """Sends frames to a peer.

    Args:
        outlet: the right to put batches into the peer's inlet.
        node_link: gathers frames into batches.
        discard: closes handles.
        end: ends the node link, for the reason given.

    Attributes:
        pace: when the next frame leaves.
        handover: what the peer has done with the last batch.
        is_crowded: whether so much waits to leave that senders that are willing to wait should.
    """

    # The fields that the compiled ways of a frame know (`core`), and a dictionary for all others.
    __slots__ = ("__dict__", "_link", "_outlet", "_pause", "handover", "is_crowded", "pace")

    def __init__(
        self,
        outlet: Outlet,
        node_link: NodeLink,
        *,
        discard: Callable[[Sequence[Attachment]], None],
        end: Callable[[str], None],
    ) -> None:
        self.pace = PROMPT
        self.handover = READY
        self.is_crowded = False
        self._outlet = outlet
        self._link = node_link
        self._discard = discard
        self._end = end
        self._pause = FIRST_PAUSE
        self._tasks: trio.Nursery | None = None
        self._gatherer: trio.lowlevel.Task | None = None
        self._idle = trio.Event()
        self._room = trio.lowlevel.ParkingLot()

    @property
    def is_held_up(self) -> bool:
        """True while frames wait for the peer's answer to a batch."""
        return self.handover is AWAITED

    def send(self, frame: Frame, handles: Sequence[Attachment] = ()) -> None:
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
                f"a frame must have at most {FRAME_LIMIT} bytes, got {len(data)} in a {type(frame).__name__}"
            )
        self.send_encoded(data, handles, in_order=type(frame) is not Payload)

    def send_encoded(self, data: bytes, handles: Sequence[Attachment] = (), *, in_order: bool = True) -> None:
        """Send a frame that is encoded, of at most `FRAME_LIMIT` bytes. Otherwise as `send`.

        Args:
            data: of the frame.
            handles: as of `send`.
            in_order: whether it leaves before all that is sent later.
        """
        if self.pace is not PROMPT or handles or not self._has_left(data):
            self._enqueue(data, handles, in_order)

    def _enqueue(self, data: bytes, handles: Sequence[Attachment] = (), in_order: bool = True) -> None:
        """Queue a frame, and hand over what need not wait for more. As of `send_encoded`."""
        handover = self.handover
        if handover is OVER:
            self._discard(handles)
            return
        try:
            is_batch_full = self._link.send(data, handles, in_order=in_order)
        except Backlogged as error:
            self._discard(handles)
            self._fail(str(error))
            return
        if is_batch_full:
            self.is_crowded = self._link.queued > self._link.high_water
        if handover is AWAITED:
            return
        pace = self.pace
        if pace is GATHERING:
            if is_batch_full:
                self.flush(last=False)
        elif pace is SPOKEN:
            self._gather()
        else:
            self.flush()

    def _has_left(self, data: bytes) -> bool:
        """Hand over a frame that nothing stands in the way of; return false if it has to be queued.

        The node link may have come to its end then.
        """
        try:
            if self.handover is CALLING:
                status = self._outlet.answer()
                if status is None:
                    return False
                self.handover = READY
                self._answered(status)
            if self.handover is not READY:
                return False
            batch = self._link.send_at_once(data)
            if batch is None:
                return False
            self.pace = SPOKEN
            status = self._outlet.start(batch.data, batch.handles, repeatable=True)
            if status is None:
                self.handover = CALLING
            else:
                self._answered(status)
                self.flush()
        except CarrierError as error:
            self._broke(error)
        return True

    async def send_last(self, frame: Frame) -> None:
        """Send a frame, and wait until the peer has it and all before it, or the node link is over."""
        self._idle = trio.Event()
        self._link.restore_order()
        self.send(frame)
        self.flush()
        if self.handover is CALLING:
            self._await_answer()
        await self._idle.wait()

    async def wait_for_room(self) -> None:
        """Wait until little waits to leave, or the node link is over. A checkpoint when it has to wait."""
        while self.is_crowded:
            await self._room.park()

    def flush(self, *, last: bool = True) -> None:
        """Hand over what is queued, as far as the peer takes it.

        Args:
            last: also the last batch, which more frames may join.
        """
        try:
            while True:
                handover = self.handover
                if handover is READY:
                    batch = self._link.next_batch(last=last)
                    if batch is None:
                        if self._link.is_settled:
                            self._idle.set()
                        return
                    if self.pace is PROMPT:
                        self.pace = SPOKEN
                    status = self._outlet.start(batch.data, batch.handles, repeatable=True)
                    if status is None:
                        if batch.handles:
                            self._await_answer()  # what they stand for may be large: close them soon
                            return
                        if not self._link.has_to_speak():
                            self.handover = CALLING
                            return
                        if last and self._link.queued:
                            status = self._outlet.answer()  # which may come within a moment
                        elif not self._link.is_grant_due():
                            self.handover = CALLING
                            return
                elif handover is FULL or handover is OVER:
                    return
                else:
                    status = self._outlet.answer()
                if status is None:
                    if self._link.queued or self._link.is_grant_due():
                        self._await_answer()
                    elif handover is READY:
                        self.handover = CALLING
                    return
                self.handover = READY
                self._answered(status)
        except CarrierError as error:
            self._broke(error)

    def _broke(self, error: CarrierError) -> None:
        """End the node link: the outlet has failed."""
        self._fail(str(error))

    def _fail(self, reason: str) -> None:
        """Nothing reaches the peer any more: drop what is sent from now on, and end the node link."""
        self.handover = OVER
        self._end(reason)

    def _await_answer(self) -> None:
        """Let frames gather until the writer is told of the answer."""
        self.handover = AWAITED
        self._outlet.want()

    def _answered(self, status: Status) -> None:
        """Go on after the peer took the batch; or try again a little later, when it has no room."""
        if status is ACCEPTED:
            handles = self._link.accepted()
            if handles:
                self._discard(handles)
            self._pause = FIRST_PAUSE
            if self.is_crowded and self._link.queued <= self._link.high_water:
                self.is_crowded = False
                self._room.unpark_all()
        elif status is Status.FULL:
            self.handover = FULL
            if self._tasks is not None:
                self._tasks.start_soon(self._try_again)
        else:
            self._fail(f"the peer answered {status.name.lower()} to a batch")

    def stop(self) -> None:
        """Drop everything that waits to leave, and give the outlet back: the node link is over."""
        self.handover = OVER
        self._discard(self._link.leftovers())
        self._outlet.close()
        self._idle.set()
        self.is_crowded = False
        self._room.unpark_all()

    # The tasks.

    def start(self, nursery: trio.Nursery) -> None:
        """Start the tasks that send what did not leave in its sender's step."""
        self._tasks = nursery
        nursery.start_soon(self._write)
        nursery.start_soon(self._send_gathered)
        if self.handover is FULL:
            nursery.start_soon(self._try_again)

    def _gather(self) -> None:
        """Let what is queued wait until the next turn of the loop."""
        self.pace = GATHERING
        gatherer, self._gatherer = self._gatherer, None
        if gatherer is not None:
            trio.lowlevel.reschedule(gatherer)

    async def _send_gathered(self) -> None:
        def abort(_: object) -> trio.lowlevel.Abort:
            self._gatherer = None
            return trio.lowlevel.Abort.SUCCEEDED

        while True:
            if self.pace is not GATHERING:
                self._gatherer = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(abort)
            self.flush()
            self.pace = PROMPT

    async def _write(self) -> None:
        while True:
            try:
                await self._outlet.wait()
            except CarrierError as error:
                self._fail(str(error))
                return
            self.flush()

    async def _try_again(self) -> None:
        await trio.sleep(self._pause)
        self._pause = min(LAST_PAUSE, 2 * self._pause)
        if self.handover is FULL:
            self.handover = READY
            self.flush()
