"""The state of one node link over a carrier that may lose batches.

A batch that a lossless carrier has accepted arrives, or the outlet breaks. Other carriers have servers on the
way that can be killed with batches in them. There a node link keeps every batch until the peer has taken it
in, which is a window and one batch at most, and sends it again when it is missed:

* Only batches with frames have a number of their own. One without, which tells the account or asks for it, is
  not counted: it has the number `UNCOUNTED`, and nobody misses it.
* Seek(expected, ask) says which batch is due. Everything from that number on is then sent again, as it was. A
  side says so when a later batch came than was due, at most once in a tick.
* With `ask` it is answered by a Seek of the other side. A side asks when the carrier says that batches may
  have been lost, and whenever the peer has accounted for nothing of what it was sent during `ASK_TICKS`. In
  the first case new batches wait for the answer, for `UNSURE_TICKS` at most: a peer that misses one drops
  them.
* A side that has taken frames in tells so within `TELL_TICKS`.
* Ticks are counted only while there is something to wait for: idle node links say nothing.

So batches arrive once and in order, whatever is lost; the window, the account and the order are those of
`NodeLink`.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from enfilade.transport.carrier import Handle
from enfilade.transport.node_link import NodeLink, Outgoing
from enfilade.transport.wire import UNCOUNTED, Batch, Frame, MalformedBatch, Seek, decode_batch, encode_frame

__all__ = ["TICK", "ResumingLink", "Tally"]

TICK: Final = 0.05
"""Seconds between ticks."""

ASK_TICKS: Final = 5
TELL_TICKS: Final = 2
UNSURE_TICKS: Final = 2

MOST_RESENDS: Final = 2
"""Times in a tick that a peer may have everything sent again that it has not accounted for."""


def _ignore() -> None:
    return


@attrs.frozen(eq=False)
class _Kept:
    """A batch that the peer has yet to account for.

    Attributes:
        sequence: its number.
        end: what had been sent, with it, since the beginning.
        batch: as it was handed over.
    """

    sequence: int
    end: int
    batch: Outgoing


@attrs.define
class Tally:
    """Counters of what all node links of a node have made up for.

    Attributes:
        resent: batches that were sent again.
        seeks: times that a side said which batch is due, or asked that.
    """

    resent: int = 0
    seeks: int = 0


class ResumingLink(NodeLink):
    """One node link that makes up for lost batches.

    Args:
        tally: counts beyond this node link, too.
        options: as of `NodeLink`.

    Attributes:
        stir: called when there is something to wait for, after `rest` has found nothing.
        resent: batches that were sent again.
    """

    def __init__(self, *, tally: Tally | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._tally = Tally() if tally is None else tally
        self.stir: Callable[[], None] = _ignore
        self.resent = 0
        self._is_resting = False
        # Out.
        self._kept: deque[_Kept] = deque()
        self._again: deque[_Kept] = deque()
        self._released: list[Handle] = []
        self._seek: Seek | None = None
        self._unaccounted = 0
        self._accounted_at_tick = 0
        self._unsure = 0
        self._resends = MOST_RESENDS
        # In.
        self._untold = 0
        self._has_sought = False

    @property
    def batches_out(self) -> int:
        return self._sequence

    @property
    def is_settled(self) -> bool:
        return not (self._queued or self._kept or self._under_way)

    def send_at_once(self, frame: bytes) -> Outgoing | None:
        if self._seek is not None or self._again or self._unsure:
            return None
        batch = super().send_at_once(frame)
        if batch is not None:
            self._keep(batch)
        return batch

    def _keep(self, batch: Outgoing) -> None:
        """Keep a batch with frames until the peer has accounted for it."""
        self._kept.append(_Kept(self._sequence, self._sent, batch))
        self._sequence += 1
        self._stir()

    def next_batch(self, *, last: bool = True) -> Outgoing | None:
        if self._under_way is not None:
            return self._under_way
        if self._seek is not None:
            seek, self._seek = self._seek, None
            self._tally.seeks += 1
            return self._give_out(UNCOUNTED, [encode_frame(seek)])
        while self._again:
            kept = self._again.popleft()
            if kept.end > self._taken_in:
                self.resent += 1
                self._tally.resent += 1
                self._has_sent = True
                self._under_way = kept.batch
                return kept.batch
        gathered = None if self._unsure else self._next_gathered(last=last)
        if gathered is not None:
            batch = self._give_out(self._sequence, gathered.frames, gathered.handles, gathered.data)
            self._keep(batch)
            return batch
        if self._is_sign_due or super().is_grant_due():
            return self._give_out(UNCOUNTED, [])
        return None

    def accepted(self) -> Sequence[Handle]:
        self._under_way = None
        return self.take_released()

    def take_released(self) -> Sequence[Handle]:
        """Return the handles of batches that the peer has taken in, to close them."""
        if not self._released or self._under_way is not None:
            return ()  # the outlet needs those of the batch that is under way, and it may be among them
        released, self._released = self._released, []
        return released

    def received(self, data: bytes, handles: Sequence[Handle] = ()) -> Sequence[Frame]:
        """Take in a batch and return its frames; as of `NodeLink`, but later batches than due are dropped.

        Args:
            data: the batch; empty when the carrier says that batches may have been lost.
            handles: that came with it.
        """
        if not data:
            self._look_for_loss()
            return ()
        if self._seal is not None:
            data = self._seal.open(data, handles)
        batch = decode_batch(data)
        if batch.consumed > self._sent:
            raise MalformedBatch(f"the peer says that it took in {batch.consumed} of {self._sent} bytes")
        if batch.sequence == UNCOUNTED:
            self._hear(batch)
            self._account(batch.consumed)
            return ()
        self._account(batch.consumed)
        if batch.sequence != self._expected:
            if batch.sequence > self._expected and not self._has_sought:
                self._has_sought = True
                self._seek = Seek(self._expected, False)
                self._stir()
            return ()
        self._check(batch, data, handles)
        frames = self._take(batch, data, handles)
        self._stir()
        return frames

    def is_grant_due(self) -> bool:
        return self._seek is not None or bool(self._again) or super().is_grant_due()

    def leftovers(self) -> Sequence[Handle]:
        handles = [*self._released, *super().leftovers()]
        for kept in self._kept:
            handles += kept.batch.handles
        self._kept.clear()
        self._again.clear()
        self._released.clear()
        # A batch that is under way is one of those kept, unless the peer has accounted for it already.
        return list(dict.fromkeys(handles))

    def quarter(self) -> bool:
        """As of `NodeLink`; a side that has heard nothing for a quarter asks."""
        if self._silent:
            self.ask()
        return super().quarter()

    # Ticks.

    def rest(self) -> bool:
        """Tell whether there is nothing to wait for; then `stir` is called when that changes."""
        self._is_resting = not (
            self._kept
            or self._seek is not None
            or self._released
            or self._unsure
            or self._has_sought
            or self._resends != MOST_RESENDS
            or self.is_paused
            or self._consumed != self._granted
        )
        return self._is_resting

    def tick(self) -> int:
        """Count a tick, and find out what is due after it.

        Returns:
            How many ticks the peer has accounted for nothing of what it was sent.
        """
        self._has_sought = False
        self._resends = MOST_RESENDS
        self._unsure = max(0, self._unsure - 1)
        if not self._kept or self._taken_in != self._accounted_at_tick:
            self._accounted_at_tick = self._taken_in
            self._unaccounted = 0
        else:
            self._unaccounted += 1
            if self._unaccounted % ASK_TICKS == 0:
                self.ask()
        # A side that pauses hears nobody ask. It must say by itself that it lives.
        if self._consumed != self._granted or self.is_paused:
            self._untold += 1
            if self._untold >= TELL_TICKS:
                self._untold = 0
                self._is_sign_due = True
        else:
            self._untold = 0
        return self._unaccounted

    def _stir(self) -> None:
        if self._is_resting:
            self._is_resting = False
            self.stir()

    def ask(self) -> None:
        """Have the peer say what it has taken in."""
        self._seek = Seek(self._expected, True)
        self._stir()

    def _look_for_loss(self) -> None:
        if self._kept:
            self._unsure = UNSURE_TICKS
        self.ask()

    def _hear(self, batch: Batch) -> None:
        """Take in a batch that is not counted."""
        self._silent = 0
        if not batch.frames:
            self._unaccounted = 0
            return
        (seek,) = batch.frames if len(batch.frames) == 1 else (None,)
        if not isinstance(seek, Seek):
            raise MalformedBatch("a batch that is not counted must have one Seek, or no frames")
        if seek.expected > self._sequence:
            raise MalformedBatch(
                f"the peer expects batch {seek.expected}, but only {self._sequence} were sent"
            )
        if seek.ask:
            self._seek = Seek(self._expected, False)
            self._stir()
        else:
            self._unsure = 0
        if not self._resends:
            return
        self._resends -= 1
        self._again = deque(
            kept
            for kept in self._kept
            if kept.sequence >= seek.expected and kept.batch is not self._under_way
        )

    def _account(self, consumed: int) -> None:
        """Let go of what the peer has taken in."""
        if consumed <= self._taken_in:
            return  # an older account, of a batch that was sent again
        self._taken_in = consumed
        while self._kept and self._kept[0].end <= consumed:
            self._released += self._kept.popleft().batch.handles
