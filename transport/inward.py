"""The way in of a node link: who takes batches out of the inlet, and when.

The reader is a task. It takes batches out of the inlet and hands their frames on, one part in each turn of
the loop: a batch of many frames has several, and their number adapts to the time that they take. Whoever
waits for the peer can also poll: take in what has arrived in its own step, without a task switch. It leaves
what is more than a turn's worth to a task of its own. Nobody polls in the middle of a batch, because polling
is possible in one state only:

| state | the reader | transitions |
|---|---|---|
| BUSY | takes in, or is about to look for more | to WAITING when there is nothing |
| WAITING | sleeps at the inlet; others may poll | to BUSY when it wakes, and while a poll's is taken in |
| OVER | returns | |

Both become OVER with the end of the node link.

When nothing is left to do but to wait for the peer, and the peer is used to speak again at once, the loop
is held for a moment instead of going round (`patience`): by whoever polls, and by the reader when the peer
has its answers.
"""

import enum
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import trio

from enfilade.transport import closing
from enfilade.transport.attachment import Attachment
from enfilade.transport.carrier import Arrival, CarrierError, Credentials, Inlet
from enfilade.transport.chunks import Assembly
from enfilade.transport.node_link import NodeLink
from enfilade.transport.outward import AWAITED, GATHERING, PROMPT, SPOKEN, Outward
from enfilade.transport.patience import Patience
from enfilade.transport.turn import Part, Turn
from enfilade.transport.wire import Frame, MalformedBatch

__all__ = ["Inward", "Reading"]


class Reading(enum.Enum):
    """States of the reader; see the table above."""

    BUSY = enum.auto()
    WAITING = enum.auto()
    OVER = enum.auto()


BUSY: Final = Reading.BUSY
WAITING: Final = Reading.WAITING
OVER: Final = Reading.OVER

NOTHING: Final[Part] = ((), ())
"""What is taken in of a batch that was refused, or has come before."""


class Inward:
    """Takes in what a peer sends.

    Args:
        inlet: where batches arrive.
        early: batches that arrived before.
        heard: batches of the handshake, which may come once more and are passed over.
        node_link: checks batches.
        outward: sends the answers.
        peer: the process that may use the inlet, as the carrier knows it.
        clock: by which its turns are measured.
        tasks_runnable: tells how many tasks wait for their turn.
        is_limited: whether the peer has a rate to keep to; then nobody polls.
        moment: seconds worth holding the loop for the peer; 0 for never: then batches take so long that those
            who were answered together speak together.
        assembly: puts long payloads together; None where descriptors travel.
        hand_on: carries frames out.
        refuse: is told the credentials of a caller that is not the peer.
        discard: closes handles.
        end: ends the node link, for the reason given.
    """

    # The fields that the compiled ways of a frame know (`core`), and a dictionary for all others.
    __slots__ = (
        "__dict__",
        "_arrived",
        "_assembly",
        "_clock",
        "_gathers",
        "_hand_on",
        "_heard",
        "_is_handing_on",
        "_is_limited",
        "_link",
        "_outward",
        "_parts",
        "_peer",
        "_turn",
    )

    def __init__(
        self,
        inlet: Inlet,
        early: Sequence[Arrival],
        heard: Sequence[bytes],
        node_link: NodeLink,
        outward: Outward,
        *,
        peer: Credentials,
        clock: Callable[[], float],
        tasks_runnable: Callable[[], int],
        is_limited: bool,
        moment: float,
        assembly: Assembly | None,
        hand_on: Callable[[Sequence[Frame], Sequence[Attachment]], None],
        refuse: Callable[[Credentials], None],
        discard: Callable[[Sequence[Attachment]], None],
        end: Callable[[str], None],
    ) -> None:
        self._inlet = inlet
        self._arrived = deque(early)
        self._heard = heard
        self._parts: deque[Part] = deque()  # of a batch that is being taken in
        self._clock = clock
        self._turn = Turn(clock)
        self._tasks: trio.Nursery | None = None
        self._link = node_link
        self._outward = outward
        self._peer = peer
        self._is_limited = is_limited
        self._moment = moment
        self._gathers = not moment
        self._assembly = assembly
        self._hand_on = hand_on
        self._refuse = refuse
        self._discard = discard
        self._end = end
        self._reading = BUSY
        self._is_handing_on = False
        self._patience = Patience(clock, tasks_runnable)

    def start(self, nursery: trio.Nursery) -> None:
        """Start the reader."""
        self._tasks = nursery
        nursery.start_soon(self._read)
        self._inlet.hand_over_by(self._take_in_arrivals)

    async def _read(self) -> None:
        while self._reading is not OVER:
            await self._take_in_all()
            try:
                if self._outward.pace is SPOKEN and not self._is_limited:
                    self._arrived.extend(self._linger())
                    if self._arrived:
                        continue
                self._arrived.extend(self._inlet.take())  # a busy peer is not waited for
                if self._arrived:
                    await trio.lowlevel.checkpoint()
                else:
                    await self._wait()
            except CarrierError as error:
                self._end(str(error))
                return
            self._patience.went_round()

    async def _take_in_all(self) -> None:
        """Take in what has arrived, and let others have a turn after each of the peer's."""
        is_free = self._assembly is None and not self._is_limited
        while self._parts or self._arrived:
            self._take_in_turn()
            if is_free:
                if self._parts or self._arrived:
                    await trio.lowlevel.checkpoint()
                continue
            pause = 0.0 if self._parts else self._link.pause()
            if pause > 0:
                await self._pause(trio.sleep, pause)
            elif self._assembly is not None and self._assembly.must_wait and not self._parts:
                await self._pause(self._assembly.wait)
            elif self._parts or self._arrived:
                await trio.lowlevel.checkpoint()

    async def _pause(self, wait: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Wait, and let the peer know that this node lives but takes nothing in."""
        self._link.is_paused = True
        try:
            await wait(*args)
        finally:
            self._link.is_paused = False

    async def _take_in_rest(self) -> None:
        """Take in what was too much for whoever polled."""
        await self._take_in_all()
        if self._reading is BUSY:
            self._reading = WAITING

    async def _wait(self) -> None:
        self._reading = WAITING
        try:
            self._arrived.extend(await self._inlet.receive())
        finally:
            if self._reading is WAITING:
                self._reading = BUSY

    def poll(self, *, alone: bool) -> None:
        """Take in what has arrived, as the reader would do when its turn comes; perhaps also what arrives
        within a moment. Not a checkpoint.

        Args:
            alone: nobody else waits for something of the peer.
        """
        if self._reading is not WAITING or self._is_limited:
            return
        if alone:
            arrivals = self._linger()
        else:
            self._patience.have_company()
            arrivals = self._inlet.take()
        if arrivals:
            self._take_in_here(arrivals)

    def _take_in_arrivals(self, alone: bool) -> bool:
        """Take in what has arrived, in the carrier's step, and what arrives within a moment if the peer is
        alone; return false if the reader has to do so.
        """
        if self._reading is not WAITING or self._is_limited:
            return False
        self._patience.went_round()
        arrivals = self._inlet.take()
        while arrivals:
            self._take_in_here(arrivals)
            if not alone or self._reading is not WAITING or self._outward.pace is not SPOKEN:
                break
            arrivals = self._linger()
        return True

    def _take_in_here(self, arrivals: Sequence[Arrival]) -> None:
        """Take in a turn's worth of what has arrived; the rest has a task of its own."""
        self._arrived.extend(arrivals)
        self._reading = BUSY
        self._take_in_turn()
        if self._reading is BUSY:
            if self._parts or self._arrived or (self._assembly is not None and self._assembly.must_wait):
                assert self._tasks is not None, "the reader waits"
                self._tasks.start_soon(self._take_in_rest)
            else:
                self._reading = WAITING

    def _linger(self) -> Sequence[Arrival]:
        """Take what has arrived, or arrives within a moment, if waiting for that was worth it lately."""
        arrivals = self._inlet.take()
        if (
            not arrivals
            and self._moment
            and self._outward.handover is not AWAITED
            and self._patience.is_worth_it()
        ):
            arrivals = self._inlet.linger(self._moment)
            self._patience.learn(bool(arrivals))
        return arrivals

    def _take_in_turn(self) -> None:
        """Take in as much as a turn has, unless there is no room for it; the answers leave together."""
        outward, turn, assembly = self._outward, self._turn, self._assembly
        pace = outward.pace
        outward.pace = GATHERING
        count, most = 0, 1 if self._is_limited else turn.frames
        began = self._clock()
        while self._parts or self._arrived:
            if not self._parts and assembly is not None and assembly.must_wait:
                break
            count += self._take_in()
            if count >= most or not (self._parts or self._arrived) or turn.is_over(began):
                break
        turn.end(count, began)
        if pace is not GATHERING:
            # Those who heard something together speak together, where batches cost more than gathering.
            outward.pace = SPOKEN if self._gathers and count > 1 else PROMPT
        if self._link.has_to_speak():
            outward.flush()

    def _take_in(self) -> int:
        """Take in the next part of what has arrived. Return the number of its frames, at least 1."""
        frames, handles = self._parts.popleft() if self._parts else self._open(self._arrived.popleft())
        if frames:
            self._is_handing_on = True
            try:
                self._hand_on(frames, handles)
            finally:
                self._is_handing_on = False
        elif handles:
            self._discard(handles)
        return len(frames) or 1

    def _open(self, arrival: Arrival) -> Part:
        """Check a batch, divide it into parts, and return the first, which has nothing if there is none."""
        if arrival.data is None:
            self._end("the peer is gone")
            return NOTHING
        caller, handles = arrival.credentials, arrival.handles
        if caller is not self._peer:
            if caller.principal != self._peer.principal:
                # The caller is not the peer that this inlet was given to.
                self._discard(handles)
                self._refuse(caller)
                return NOTHING
            self._peer = caller  # which is quicker to know again
        if handles and closing.refuses(handles, caller):
            self._discard(handles)
            self._end("the peer sends descriptors while too many of its own wait to be closed")
            return NOTHING
        if arrival.data in self._heard:
            self._discard(handles)
            return NOTHING
        try:
            frames = self._link.received(arrival.data, handles)
            attachments: Sequence[Attachment] = handles
            if self._assembly is not None:
                if handles:
                    raise MalformedBatch("received handles over a carrier that passes none")
                frames, attachments = self._assembly.take_in(frames)
        except MalformedBatch as error:
            self._discard(handles)
            self._end(f"the peer sent a malformed batch: {error}")
            return NOTHING
        except MemoryError:
            self._end("there is no room for a long payload of the peer")
            return NOTHING
        if len(frames) > self._turn.frames or len(attachments) > 1:
            self._turn.divide(frames, attachments, self._parts)
            return self._parts.popleft()
        return frames, attachments

    def hear_out(self) -> None:
        """Take in what has arrived of a peer that takes nothing any more: its goodbye may be there. Not a
        checkpoint, so no more than a turn; nothing in the middle of a part, whose frames come first.
        """
        if self._is_handing_on or self._reading is OVER:
            return
        with suppress(CarrierError):
            self._arrived.extend(self._inlet.take())
        self._take_in_turn()

    def is_of(self, inlet: Inlet) -> bool:
        """Tell whether batches arrive in this inlet."""
        return self._inlet is inlet

    def stop(self) -> None:
        """Drop what has arrived, and close the inlet: the node link is over."""
        self._reading = OVER
        for _, handles in self._parts:
            self._discard(handles)
        self._parts.clear()
        for arrival in self._arrived:
            self._discard(arrival.handles)
        self._arrived.clear()
        if self._assembly is not None:
            self._assembly.drop()
        self._inlet.close()
