"""A peer whose node link is up, and what serves it.

`outward.py` sends frames, `inward.py` takes them in, and `node_link.py` keeps count for both.

Some tasks serve a peer. The reader takes batches out of the inlet. The gatherer sends what has gathered in a
turn of the loop. The writer waits for the answer to a call that took longer than a moment. The watch gives
signs of life, and ends the node link when the peer has given none; a carrier may do that itself. Where
batches may be lost, one more task counts the ticks after which something is missed.

The end comes once, from whichever side notices first, and synchronously: when `end` returns, the host has
dealt with every monitor and link across this node link.
"""

import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import attrs
import trio

import enfilade.transport.core.choice  # noqa: F401 (it chooses the functions that every frame goes through)
from enfilade.transport.attachment import Attachment, handles_in
from enfilade.transport.carrier import Arrival, Carrier, Credentials, Inlet, Outlet
from enfilade.transport.chunks import Assembly, Room
from enfilade.transport.inward import Inward
from enfilade.transport.node_link import QUARTERS, NodeLink
from enfilade.transport.outward import Handover, Outward
from enfilade.transport.policy import Identity, Rights
from enfilade.transport.printable import printable
from enfilade.transport.resuming_link import TICK, ResumingLink
from enfilade.transport.wire import Bye, Frame, MalformedBatch

__all__ = ["Host", "Kept", "Peer", "Traffic"]

LONGEST_TEXT = 200
"""Characters of a peer's goodbye that are told."""

logger = logging.getLogger("enfilade.transport")


class Host(Protocol):
    """The owner of a node's node links. Its methods run in the trio thread and must not block."""

    def peer_up(self, peer: "Peer") -> None:
        """Take note of a node link that is up. Frames may be sent from here on."""
        ...

    def peer_frames(self, peer: "Peer", frames: Sequence[Frame], handles: Sequence[Attachment]) -> None:
        """Carry out frames, in order; the handles are the host's own.

        Raises:
            MalformedBatch: a frame breaks the protocol. The node link ends.
        """
        ...

    def peer_down(self, peer: "Peer", reason: str) -> None:
        """Take note of the end of a node link. Called once, before the peer can be connected again."""
        ...

    def attempt_failed(self, address: str, error: Exception, *, is_known: bool) -> None:
        """Take note of a failed attempt to connect: to stay connected, or to deliver something.

        Args:
            is_known: the attempt before has failed for the same reason.
        """
        ...

    def caller_refused(self, reason: str) -> None:
        """Take note of a caller that was turned away at our rendezvous."""
        ...

    def tasks_runnable(self) -> int:
        """Tell how many tasks of the loop wait for their turn. Each call asks, so it should be quick."""
        ...


@attrs.frozen(kw_only=True)
class Traffic:
    """The traffic of a node link.

    Attributes:
        frames_in, frames_out: frames that were taken in, and that have left.
        bytes_in, bytes_out: bytes of them, with their memory files.
        queued: bytes that wait to leave.
        under_way: bytes that have left and that the peer has not yet taken in.
        window: how many bytes may be under way.
    """

    frames_in: int
    frames_out: int
    bytes_in: int
    bytes_out: int
    queued: int
    under_way: int
    window: int


@attrs.define(eq=False)
class Kept:
    """A node link that is made again whenever it has ended.

    Attributes:
        name: the node's name; empty until it was connected once.
        trouble: why the last attempt failed, or the last node link ended; empty while it is up.
        attempts: attempts since then that have failed.
        next_at: when the next one follows, on `trio.current_time()`; None while it is up, and before the
            first has failed.
    """

    name: str = ""
    trouble: str = ""
    attempts: int = 0
    next_at: float | None = None


class Peer:
    """A node that is connected to this one. Made by `Rendezvous`.

    Attributes:
        identity: who it is.
        rights: what our policy lets it do.
        ended: set when the node link is over.
        reason: why it is over; empty before.
        carrier: carries the node link.
        since: when it came up, on `trio.current_time()`.
        send, send_encoded: send a frame; see `Outward.send`.
        poll: takes in what has arrived; see `Inward.poll`.
    """

    def __init__(
        self,
        carrier: Carrier,
        host: Host,
        node_link: NodeLink,
        *,
        clock: Callable[[], float],
        period: float,
        identity: Identity,
        rights: Rights,
        inlet: Inlet,
        outlet: Outlet,
        early: Sequence[Arrival],
        heard: Sequence[bytes],
        room: Room,
        forget: Callable[["Peer"], None],
    ) -> None:
        self.identity = identity
        self.rights = rights
        self.ended = trio.Event()
        self.reason = ""
        self.since = trio.current_time()
        self.carrier = carrier
        self._host = host
        self._link = node_link
        self._forget = forget
        self._quarter = period / QUARTERS
        traits = carrier.traits
        self._is_watched = traits.watches and rights.limits.silence is None
        self._patience = traits.patience or period
        self._outward = Outward(outlet, node_link, discard=self._discard, end=self._lose)
        self._inward = Inward(
            inlet,
            early,
            heard,
            node_link,
            self._outward,
            peer=identity.credentials,
            clock=clock,
            tasks_runnable=host.tasks_runnable,
            is_limited=rights.limits.rate is not None,
            moment=traits.moment,
            assembly=None if traits.descriptors else Assembly(rights.limits.payload, room),
            hand_on=self._hand_on,
            refuse=self._refuse,
            discard=self._discard,
            end=self.end,
        )
        # Methods of this class would cost every frame one call more.
        self.send = self._outward.send
        self.send_encoded = self._outward.send_encoded
        self.poll = self._inward.poll
        # Cancelling what is around a node does not end its node links: the node says goodbye over them.
        self._scope = trio.CancelScope(shield=True)

    @property
    def name(self) -> str:
        """The peer's node name."""
        return self.identity.name

    @property
    def takes_descriptors(self) -> bool:
        """True when file descriptors can travel to the peer; otherwise long payloads do so in chunks."""
        return self.carrier.traits.descriptors

    @property
    def traffic(self) -> Traffic:
        """The traffic so far, and what is on its way."""
        link = self._link
        return Traffic(
            frames_in=link.frames_in,
            frames_out=link.frames_out,
            bytes_in=link.bytes_in,
            bytes_out=link.bytes_out,
            queued=link.queued,
            under_way=link.under_way,
            window=link.window,
        )

    @property
    def queued(self) -> int:
        """Bytes that wait to leave for the peer."""
        return self._link.queued

    @property
    def bulk(self) -> int:
        """Bytes of long payloads that wait to leave for the peer in chunks."""
        return self._link.bulk

    @property
    def batches_out(self) -> int:
        """Batches that the peer has, or that are on their way to it; one that found no room is not."""
        return self._link.batches_out - (self._outward.handover is Handover.FULL)

    @property
    def batches_in(self) -> int:
        """Batches of the peer that have been taken in."""
        return self._link.batches_in

    @property
    def is_held_up(self) -> bool:
        """True while frames wait for the peer's answer to a batch."""
        return self._outward.is_held_up

    @property
    def is_crowded(self) -> bool:
        """True while so much is queued that senders with `send_wait` must wait."""
        return self._outward.is_crowded

    async def wait_for_room(self) -> None:
        """Wait until little waits to leave, or the node link is over. A checkpoint when it has to wait."""
        await self._outward.wait_for_room()

    def end(self, reason: str) -> None:
        """End the node link now. What has not left yet is lost. Harmless when repeated."""
        if self.ended.is_set():
            return
        self.reason = reason
        self.ended.set()
        self._outward.stop()
        self._inward.stop()
        self._scope.cancel()
        self._forget(self)
        self._host.peer_down(self, reason)

    def _lose(self, reason: str) -> None:
        """End the node link, because nothing reaches the peer any more."""
        self._inward.hear_out()
        self.end(reason)

    async def close(self, text: str, patience: float) -> None:
        """Say goodbye after everything that was sent before, then end the node link.

        Args:
            text: why, for the peer.
            patience: seconds to wait until the peer has been told.
        """
        if self.ended.is_set():
            return
        with trio.move_on_after(patience) as limit:
            limit.shield = True
            await self._outward.send_last(Bye(text))
        self.end(text)

    def doubt(self) -> bool:
        """Ask whether the peer still has this node link, which it does not seem to know of.

        Returns:
            Whether it is over. Where batches are not lost, handing one over tells that at once.
        """
        if isinstance(self._link, ResumingLink):
            self._link.ask()
        else:
            self._link.acknowledge()
        self._outward.flush()
        self._outward.flush()  # and look at the answer
        return self.ended.is_set()

    def uses(self, inlet: Inlet) -> bool:
        """Tell whether this is the peer's inlet here."""
        return self._inward.is_of(inlet)

    async def run(self) -> None:
        """Serve the node link until it ends."""
        with self._scope:
            async with trio.open_nursery() as tasks:
                self._outward.start(tasks)
                self._inward.start(tasks)
                if not self._is_watched:
                    tasks.start_soon(self._watch)
                if isinstance(self._link, ResumingLink):
                    tasks.start_soon(self._tend, self._link)

    async def _watch(self) -> None:
        while True:
            await trio.sleep(self._quarter)
            if not self._link.quarter():
                self.end("the peer was silent for too long")
                return
            self._outward.flush()

    async def _tend(self, link: ResumingLink) -> None:
        """Count ticks while there is something to wait for."""
        while True:
            stirred = trio.Event()
            link.stir = stirred.set
            if link.rest():
                await stirred.wait()
            await trio.sleep(TICK)
            if link.tick() * TICK > self._patience:
                self.end(f"{self.name} lives, but does not get what is sent to it")
                return
            self._discard(link.take_released())
            self._outward.flush()

    def _hand_on(self, frames: Sequence[Frame], handles: Sequence[Attachment]) -> None:
        farewell = frames[-1] if type(frames[-1]) is Bye else None
        try:
            self._host.peer_frames(self, frames if farewell is None else frames[:-1], handles)
        except MalformedBatch as error:
            self.end(f"the peer sent a malformed batch: {error}")
        except Exception:
            # A mistake of ours costs this node link and not the node.
            with contextlib.suppress(Exception):  # a log handler may fail
                logger.exception("failed to carry out what node %s sent", self.name)
            self.end("this node failed to carry out what the peer sent")
        if farewell is not None:
            if isinstance(self._link, ResumingLink):
                self._link.acknowledge()  # the peer waits for that
                self._outward.flush()
            self.end(f"the peer said goodbye: {printable(farewell.text, LONGEST_TEXT)}")

    def _refuse(self, caller: Credentials) -> None:
        known = self.identity.credentials
        self._host.caller_refused(f"{caller} uses the inlet of node {self.name!r}, which is {known}")

    def _discard(self, handles: Sequence[Attachment]) -> None:
        for handle in handles_in(handles):
            self.carrier.discard(handle)
