"""Leases: how a node knows that it may still act for what it holds, and others that it does so no longer.

A node holds one lease, a value in the registry that it writes again and again, each time by compare-and-set
on what it wrote last. A *term* is one unbroken holding. The lease is good until `GOOD` leases after the
moment at which the last confirmed renewal was *sent*. Whoever has seen one and the same revision of it for
`WATCH` leases may *break* it, by compare-and-set from exactly that revision: when that succeeds, the owner
has been past its own deadline, and can never renew in that term again.

A *claim* names the node, the incarnation and the term that it was made in. It is over when the lease shows
that this term is: broken with that term, or in a later one. Terms only grow, so an old read is a proof, too.
A lease that is not there proves nothing: its absence is watched and broken like any other revision.

What is assumed: the clocks of two machines run at rates that differ by less than 10 % from the true one, and
they run while a machine is suspended. Nothing is assumed of wall clocks, of delays, or of reads, which may
come from a server that has been replaced and does not know it.

Nothing here does input or output, or looks at a clock.
"""

import enum
import math
from typing import Final, NamedTuple

import attrs
import msgspec

from enfilade.transport.mesh.subjects import to_token

__all__ = [
    "VERSION",
    "Claim",
    "Era",
    "Lease",
    "Owner",
    "Place",
    "Step",
    "Times",
    "Watch",
    "Write",
    "broken",
    "judge",
    "lease_key",
]

GOOD: Final = 0.9
"""Leases for which one is good after its last renewal was sent."""

WATCH: Final = 1.2
"""Leases for which one must be seen unchanged before it is broken."""

RENEWALS: Final = 5
"""Renewals in one lease."""

REMEMBERED: Final = 32
"""Renewals whose time is remembered: one that is older is confirmed by nobody any more."""

VERSION: Final = 1
"""The version of the values in the registry, which are arrays that grow at the end only."""


@attrs.frozen
class Times:
    """The times of a lease, in seconds by the clock of whoever reckons.

    Attributes:
        seconds: the length that all nodes of a mesh agree on.
        good: leases for which one is good after its last renewal was sent.
        watch: leases for which one must be seen unchanged before it is broken.
    """

    seconds: float
    good: float = GOOD
    watch: float = WATCH

    @property
    def pause(self) -> float:
        """The time between two renewals."""
        return self.seconds / RENEWALS


class Place(NamedTuple):
    """Where a node runs, for a witness of its end.

    Attributes:
        host: the machine, its present boot, and the namespace of its process numbers.
        pid: the process.
        started: when it started, in ticks of the machine since its boot.
    """

    host: str
    pid: int
    started: int


NOWHERE: Final = Place("", 0, 0)


class Lease(msgspec.Struct, array_like=True, frozen=True):
    """A lease as the registry has it.

    Attributes:
        version: of this value.
        incarnation: of the owner; 0 in a lease that is broken.
        term: the number of the holding.
        number: of the renewal, which no other of that incarnation has.
        host, pid, started: where the owner runs; see `Place`.
    """

    version: int
    incarnation: int
    term: int
    number: int = 0
    host: str = ""
    pid: int = 0
    started: int = 0

    @property
    def is_broken(self) -> bool:
        """True when nobody holds it."""
        return self.incarnation == 0

    @property
    def place(self) -> Place:
        """Where the owner runs."""
        return Place(self.host, self.pid, self.started)


class Claim(msgspec.Struct, array_like=True, frozen=True):
    """A claim as the registry has it: who holds a name or a shard.

    Attributes:
        version: of this value.
        node: the holder's full name.
        incarnation: of the holder.
        term: of the holder's lease, in which the claim was made.
        serial: of the process; for a shard, how many shards its kind has.
        token: the proof that a ref of the process was handed out.
        nonce: tells this claim from others of the same holder.
    """

    version: int
    node: str
    incarnation: int
    term: int
    serial: int = 0
    token: bytes = b""
    nonce: int = 0


class Write(NamedTuple):
    """A compare-and-set that is to be made of a lease.

    Attributes:
        value: the new value.
        revision: what must be there; 0 for nothing.
    """

    value: Lease
    revision: int


class Step(enum.Enum):
    """The next step about a claim that somebody wants."""

    TAKE = "overwrite the claim"
    BREAK = "break the lease of its holder first"
    WAIT = "nothing yet"


def judge(claim: Claim | None, lease: Lease | None, *, may_break: bool) -> Step:
    """Tell what may be done about a claim that somebody wants, by the lease of its holder.

    Args:
        claim: what the registry has; None when nobody claims.
        lease: of the holder, as it was read; None when there is none.
        may_break: whether that revision of it has been watched for long enough (`Watch`), or the kernel says
            that its owner is no more.
    """
    if claim is None:
        return Step.TAKE
    if lease is not None and (lease.term > claim.term or (lease.is_broken and lease.term == claim.term)):
        return Step.TAKE
    return Step.BREAK if may_break else Step.WAIT


def broken(lease: Lease | None, term: int) -> Lease:
    """Return the value that breaks a lease, and ends at least that term."""
    return Lease(VERSION, 0, term if lease is None else max(term, lease.term))


class Owner:
    """One node's lease, as the node itself sees it.

    `proposal` is the next write to be made. What became of it is told by `confirmed`, `refused` or
    `unanswered`; after the latter two, the lease must be read, and `found` told.

    Args:
        incarnation: of the node.
        place: where it runs.
        times: of the lease.

    Attributes:
        term: the present one; 0 while there is none.
        epoch: of the registry, as far as it is known. Terms are above it, and so above those of registries
            whose data were lost.
    """

    def __init__(self, incarnation: int, place: Place, times: Times) -> None:
        self._incarnation = incarnation
        self._place = place
        self._times = times
        self.term = 0
        self.epoch = 0
        self.good_until = -math.inf
        self._last_term = 0
        self._ended = 0
        self._number = 0
        self._sent: dict[int, tuple[int, float]] = {}
        self._base: tuple[Lease | None, int] | None = None
        self._watch = Watch(times)

    @property
    def deadline(self) -> float:
        """The time until which the lease is good; in the past without one."""
        return self.good_until

    @property
    def must_read(self) -> bool:
        """True when it is not known what the registry has."""
        return self._base is None

    def is_good(self, term: int, now: float) -> bool:
        """Tell whether the node may act for what it claimed in a term."""
        return 0 < term == self.term and now < self.good_until

    def pass_time(self, now: float) -> bool:
        """End the term if its time is over; return true if this has just happened."""
        if self.term and now >= self.good_until:
            self._end()
            return True
        return False

    def proposal(self, now: float, *, is_witness: bool = False) -> Write | None:
        """Return the next write, which is to be sent at once; None when none may be made now.

        Args:
            now: the time.
            is_witness: whether the kernel says that the process which has the lease is no more.
        """
        self.pass_time(now)
        if self._base is None:
            return None
        lease, revision = self._base
        if self.term:
            term = self.term
        elif lease is None or lease.is_broken or lease.incarnation == self._incarnation:
            term = max(self.epoch, self._last_term, 0 if lease is None else lease.term) + 1
        elif is_witness or self._watch.is_over(now):
            term = max(self.epoch, self._last_term, lease.term) + 1
        else:
            return None
        self._number += 1
        self._sent[self._number] = term, now
        self._sent.pop(self._number - REMEMBERED, None)
        return Write(Lease(VERSION, self._incarnation, term, self._number, *self._place), revision)

    def confirmed(self, write: Write, revision: int, now: float) -> None:
        """Take note that a write was made, and of its revision."""
        self._base = write.value, revision
        self._confirm(write.value, now)

    def unanswered(self) -> None:
        """Take note that nobody knows whether the last write was made."""
        self._base = None

    refused = unanswered

    def reconnected(self) -> None:
        """Take note that the registry may be another, or have lost its data: revisions begin anew then."""
        self._base = None
        self._watch = Watch(self._times)

    def found(self, lease: Lease | None, revision: int, now: float) -> bool:
        """Take note of what the registry has, or had; return true if the term has ended by that."""
        self._base = lease, revision
        ended = self.pass_time(now)
        if lease is None:
            return ended
        if lease.incarnation == self._incarnation:
            self._confirm(lease, now)
            return ended
        self._watch.seen(revision, now)
        self._last_term = max(self._last_term, lease.term)
        if self.term and lease.term >= self.term:
            self._end()
            return True
        return ended

    def _confirm(self, lease: Lease, now: float) -> None:
        """Count a renewal of this node's own, from the moment at which it was sent."""
        term, sent_at = self._sent.get(lease.number, (0, 0.0))
        self._last_term = max(self._last_term, lease.term)
        if term != lease.term or (self.term and term < self.term):
            return
        deadline = sent_at + self._times.good * self._times.seconds
        if term == self.term:
            self.good_until = max(self.good_until, deadline)
        elif term == self._last_term and term > self._ended and now < deadline:
            self.term, self.good_until = term, deadline

    def _end(self) -> None:
        self._ended = max(self._ended, self.term)
        self.term, self.good_until = 0, -math.inf


class Watch:
    """The time for which a lease has been seen unchanged, over one connection to the registry.

    With another connection a new watch begins: a registry that has lost its data counts revisions anew.

    Args:
        times: of the lease.
    """

    def __init__(self, times: Times) -> None:
        self._times = times
        self._seen: tuple[int, float] | None = None

    def seen(self, revision: int, now: float) -> None:
        """Take note of the revision that a read has shown."""
        if self._seen is None or self._seen[0] != revision:
            self._seen = revision, now

    def is_over(self, now: float) -> bool:
        """Tell whether the revision that was seen last may be broken."""
        return self._seen is not None and self.left(now) <= 0

    def left(self, now: float) -> float:
        """Return the seconds until the revision that was seen last may be broken, if it stays."""
        since = now if self._seen is None else self._seen[1]
        return self._times.watch * self._times.seconds - (now - since)


class Era:
    """The age of the registry's data, as a node knows it, and whether what was held before is over.

    A registry that has lost its data must not give away what is held. So its first value is the *epoch*, and
    whoever sees an epoch for the first time claims nothing until every lease of the time before must be over;
    unless the epoch is settled: somebody has waited for that already.

    Attributes:
        epoch: the present one; 0 before any was seen.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self._since = 0.0
        self._is_settled = False
        self._is_present = False

    def seen(self, epoch: int, settled: int, now: float) -> None:
        """Take note of what a read shows: the epoch, 0 for none, and the last one that is settled."""
        self._is_present = epoch >= self.epoch  # or an old read, or a registry that is about to get its epoch
        if epoch > self.epoch:
            self.epoch, self._since, self._is_settled = epoch, now, False
        self._is_settled = self._is_settled or settled == self.epoch

    def is_settled(self, times: Times, now: float) -> bool:
        """Tell whether claims may be made."""
        return (
            self._is_present
            and self.epoch > 0
            and (self._is_settled or now - self._since >= times.watch * times.seconds)
        )


def lease_key(node: str) -> str:
    """Return the key of a node's lease in the registry."""
    return f"lease.{to_token(node)}"
