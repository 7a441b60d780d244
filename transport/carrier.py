"""The ends of a node link's channel: an inlet to receive batches, an outlet to send them.

An *inlet* is a bounded queue that others can put batches into; an *outlet* is the right to put them into one.
Both are small enough that doors are one way to make them and not the only one: anything that hands over bytes
with a yes or no, and tells when the other end is gone, can carry a node link.
"""

import enum
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol, TypeAlias

import attrs
import msgspec
import trio

__all__ = [
    "Arrival",
    "Carrier",
    "CarrierError",
    "Credentials",
    "Handle",
    "Inlet",
    "Outlet",
    "Status",
    "Traits",
    "hand_over",
]

Handle: TypeAlias = int
"""Something that can travel beside bytes: a file descriptor, or a carrier's own name for an inlet."""


class CarrierError(OSError):
    """A broken way in or out: the peer is gone, the address is not a door, permission is denied."""

    def __str__(self) -> str:
        """Return the text of the error without its number."""
        return self.strerror or super().__str__()


class Status(enum.IntEnum):
    """The answer of an inlet to one batch."""

    ACCEPTED = 0
    FULL = 1
    """The inlet has no room now and kept nothing; try again later."""
    CLOSED = 2
    """The inlet takes nothing any more."""
    MALFORMED = 3
    """The bytes do not form a batch."""


@attrs.frozen(kw_only=True)
class Traits:
    """The promises of a carrier, and what it is worth waiting for.

    Attributes:
        lossless: a batch that was accepted arrives, or the outlet breaks. Otherwise batches may be lost, and
            node links make up for it; where the carrier knows that some may have been, it puts an `Arrival`
            with empty `data` into the inlets.
        descriptors: handles that are file descriptors travel; otherwise memory files do so as chunks.
        assembly: bytes of long payloads from all peers that are put together of chunks at a time.
        watches: the carrier itself finds out that a peer lives and runs its loop, and tells when it does not;
            so idle node links say nothing.
        moment: seconds worth holding the loop for a peer that is about to speak; 0 for never.
        patience: seconds after which a peer that takes nothing in is given up, where batches may be lost;
            None for the period of the node link.
        window: bytes that may be under way to this node over a node link that is made now; None for as many
            as the node's settings say.
    """

    lossless: bool = True
    descriptors: bool = True
    assembly: int = 512 * 1024 * 1024
    watches: bool = False
    moment: float = 150e-6
    patience: float | None = None
    window: int | None = None


@attrs.frozen
class Credentials:
    """The process at the other end, as the carrier vouches for it: by the kernel's word, or a certificate.

    Attributes:
        pid: its process id as seen here; 0 when it cannot be seen from this zone, or over a mesh.
        uid: its effective user; -1 when it is known by a certificate, or has no number in our user namespace.
        gid: its effective group; -1 likewise.
        groups: its supplementary groups, as far as they have a number here.
        zone: the name of its zone, or None when nobody vouches for it.
        process: its number among all processes that the kernel has had; 0 where the kernel does not tell.
        node: the name in its certificate, over a mesh that has certificates; None otherwise.
        mesh: the name of the mesh over which it speaks; None on this machine.
    """

    pid: int
    uid: int
    gid: int
    groups: frozenset[int] = frozenset()
    zone: str | None = None
    process: int = 0
    node: str | None = None
    mesh: str | None = None

    @property
    def principal(self) -> Hashable:
        """The one who speaks: the node of a certificate, or a process of a user.

        All processes in namespaces that cannot be seen from here have the number 0, which names none of them.
        """
        if self.node is not None:
            return self.node
        return (self.pid, self.uid) if self.pid else (self.process, self.uid, None)

    @property
    def owner(self) -> Hashable:
        """The one to whom a name belongs that this process has: as `account`, but no two users are one."""
        return self.principal if self.node is None and self.uid == -1 else self.account

    @property
    def account(self) -> int | str:
        """The one on whose account this process acts: the node of a certificate, or a user.

        All users without a number have one account.
        """
        return self.uid if self.node is None else self.node

    def __str__(self) -> str:
        """Return a description for messages."""
        if self.node is not None:
            return f"node {self.node} of mesh {self.mesh}"
        where = "" if self.mesh is None else f" in mesh {self.mesh}"
        return f"process {self.pid} of uid {self.uid}{where}"


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """One entry of an inlet's queue.

    Attributes:
        data: a batch; None when the last outlet of the inlet is gone; empty when batches may have been lost.
        handles: what travelled with it; the receiver's to close.
        credentials: who called.
    """

    data: bytes | None
    handles: Sequence[Handle]
    credentials: Credentials


class Inlet(Protocol):
    """A bounded queue into which the peer puts batches."""

    @property
    def handle(self) -> Handle:
        """The handle of which a peer can make an outlet of this inlet; it stays the inlet's own."""
        ...

    async def receive(self) -> Sequence[Arrival]:
        """Wait for arrivals and take all that are there. A checkpoint; nothing is lost when cancelled.

        Raises:
            CarrierError: the inlet is closed.
        """
        ...

    def take(self) -> Sequence[Arrival]:
        """Take what is there now. Not a checkpoint.

        Raises:
            CarrierError: the inlet is closed.
        """
        ...

    def linger(self, seconds: float) -> Sequence[Arrival]:
        """As `take`; but when there is nothing, hold the thread until there is, for `seconds` at most and no
        longer than until something comes to another inlet. Not a checkpoint.

        Raises:
            CarrierError: the inlet is closed.
        """
        ...

    def hand_over_by(self, take: Callable[[bool], bool]) -> None:
        """Have a function called when something has come, in the carrier's own step: it may take it in there
        and save a task switch. What it leaves is received or taken as ever, and it returns false then. A
        carrier that takes no steps of its own in the trio thread never calls it. Its argument says whether
        nothing has come to others.
        """
        return

    async def attach(self, address: str) -> None:
        """Attach the inlet to an address, where `Carrier.open` finds it. A checkpoint.

        Raises:
            CarrierError: the name is in use, cannot be made, or belongs to somebody who does not say.
        """
        ...

    def limit_handles(self, each: int, held: int) -> None:
        """Refuse batches with more than `each` handles, and have no more than `held` wait to be taken.

        An inlet that strangers may call takes few: handles cost from the moment they arrive. Where they cost
        nothing, this does nothing.
        """
        return

    def close(self) -> None:
        """Refuse every further batch, remove the names, drop what is queued. Harmless when repeated."""
        ...


class Outlet(Protocol):
    """The right to put batches into a peer's inlet."""

    def start(
        self, data: bytes, handles: Sequence[Handle] = (), *, repeatable: bool = False
    ) -> Status | None:
        """Hand over one batch; the one before must have been answered. Blocks for a moment at most.

        Args:
            data: the batch.
            handles: duplicated for the peer; they stay the caller's own, who keeps them open until the
                answer.
            repeatable: the peer passes over what it has already, so the batch may be handed over twice.

        Returns:
            The answer, if it came at once; None while the batch is under way.

        Raises:
            CarrierError: the peer is gone.
        """
        ...

    def answer(self) -> Status | None:
        """The answer to the batch that is under way, once; None while there is none.

        Raises:
            CarrierError: the peer is gone.
        """
        ...

    async def wait(self) -> None:
        """Wait for an answer that has to be looked at, to a batch that was under way. A checkpoint.

        That is any answer after `want`, and otherwise one that is not ACCEPTED. So a sender that has nothing
        more to send is not woken to learn that all is well.

        Raises:
            CarrierError: the outlet is closed.
        """
        ...

    def want(self) -> None:
        """Have `wait` return with the next answer, whatever it is."""
        ...

    def close(self) -> None:
        """Give the right back. Harmless when repeated."""
        ...


class Carrier(Protocol):
    """Makes inlets and outlets."""

    @property
    def traits(self) -> Traits:
        """The promises of this carrier."""
        ...

    def inlet(self, *, capacity: int, largest: int) -> Inlet:
        """Make an inlet.

        Args:
            capacity: bytes that may be queued.
            largest: bytes of one batch.
        """
        ...

    def outlet(self, handle: Handle) -> Outlet:
        """Make an outlet of a handle that arrived; the handle is the outlet's own from here on, also on
        error.

        Raises:
            CarrierError: the handle does not lead to an inlet.
        """
        ...

    def leads_to(self, address: str) -> bool:
        """Tell whether an address is one of this carrier's, by its form."""
        return True

    def resolve(self, address: str) -> str:
        """Complete an address, so that it means the same to every program, now and later."""
        ...

    async def open(self, address: str) -> Outlet:
        """Make an outlet of the inlet that is attached to an address.

        Raises:
            CarrierError: there is none.
        """
        ...

    def discard(self, handle: Handle) -> None:
        """Close a handle that arrived and is not wanted."""
        ...

    async def attend(self) -> None:
        """Do what has to be done while there are inlets, if anything has; until cancelled, or returning."""
        return


async def hand_over(
    outlet: Outlet, data: bytes, handles: Sequence[Handle] = (), *, repeatable: bool = False
) -> Status:
    """Hand over one batch and wait for the answer. A checkpoint.

    Args:
        outlet: leads to the peer.
        data: the batch.
        handles: travel beside it; they stay the caller's own.
        repeatable: see `Outlet.start`.

    Raises:
        CarrierError: the peer is gone.
    """
    status = outlet.start(data, handles, repeatable=repeatable)
    if status is None:
        outlet.want()
        while (status := outlet.answer()) is None:
            await outlet.wait()
    else:
        await trio.lowlevel.checkpoint()
    return status
