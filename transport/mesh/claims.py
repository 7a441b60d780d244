"""The claims of one node: its lease, and the names and shards that it holds under it.

A claim counts while the lease is good in the term that the claim was made in, and no longer: when the lease
is lost, everything is given up at once, and whoever listens is told. What cannot be decided, because the
registry does not answer, is not held.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from typing import Final, TypeVar

import attrs
import msgspec
import trio

from enfilade.transport.mesh import witness
from enfilade.transport.mesh.lease import (
    VERSION,
    Claim,
    Era,
    Lease,
    Owner,
    Step,
    Times,
    broken,
    judge,
    lease_key,
)
from enfilade.transport.mesh.other_leases import OtherLeases
from enfilade.transport.mesh.registry import ANSWER_SECONDS, Entry, MeshRegistry, NoAnswer, WrongRevision
from enfilade.transport.mesh.subjects import to_token

__all__ = ["Claims", "Fence", "Held", "Taken", "count_key", "name_key", "shard_key"]

logger = logging.getLogger("enfilade.mesh")

T = TypeVar("T")

CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

POLL_SECONDS: Final = 0.25
"""Time between looks at what somebody waits for, and after a registry that did not answer."""

LONGEST_PAUSE: Final = 2.0
"""Longest pause before a registry that does not answer is asked again for a lease."""

LATE: Final = 0.6
"""Leases without a confirmed renewal after which the log says so."""

UNDOING: Final = 2.0
"""Leases after which an attempt to free a key is given up: others can do it by then."""

LEAVING_SECONDS: Final = 1.0
"""Time for a node that stops to give back what it holds."""


class Fence(msgspec.Struct, array_like=True, frozen=True, order=True):
    """A number that grows with each claim of a key, for systems outside that can reject the stale.

    Attributes:
        epoch: when the registry's data begin, in milliseconds since 1970.
        revision: of the claim.
    """

    epoch: int
    revision: int

    def __iter__(self) -> Iterator[int]:
        """Iterate over both numbers, the first one first."""
        return iter((self.epoch, self.revision))


@attrs.frozen
class Held:
    """A claim that was confirmed.

    Attributes:
        claim: as the registry has it.
        fence: of the claim.
    """

    claim: Claim
    fence: Fence


class Taken(Exception):
    """Somebody else holds a key: `claim` says who."""

    def __init__(self, key: str, claim: Claim) -> None:
        super().__init__(f"{key} is held by {claim.node}")
        self.claim = claim


def name_key(name: str) -> str:
    """Return the key of a global name."""
    return f"name.{to_token(name)}"


def shard_key(kind: str, number: int) -> str:
    """Return the key of a shard of a kind."""
    return f"shard.{to_token(kind)}.{number}"


def count_key(kind: str) -> str:
    """Return the key of the number of shards of a kind."""
    return f"shard.{to_token(kind)}.count"


def boot_time() -> float:
    """Return the seconds of a clock that runs while the machine is suspended, where there is one."""
    return time.clock_gettime(CLOCK)  # found in `time` at each call: a simulated world has put its own there


def _never() -> bool:
    return False


def _ignore(*_: object) -> None:
    return


class Claims:
    """One node's claims.

    Args:
        registry: of the mesh.
        node: the full name of the node.
        incarnation: of the node.
        clock: seconds that run during suspend, too.
        entropy: makes so many bytes that nobody can guess.

    Attributes:
        lost: is told the keys that the node no longer holds, in the moment when it no longer does. It must
            not raise.
        begun: is called when a term of the lease has begun. It must not raise.
        others: returns the names of the other nodes of the mesh that are known.
        conflicts: compare-and-sets that were refused.
        made: claims that were confirmed.
        renewals_late: times that the registry kept the lease waiting for long.
    """

    def __init__(
        self,
        registry: MeshRegistry,
        node: str,
        incarnation: int,
        *,
        clock: Callable[[], float] = boot_time,
        entropy: Callable[[int], bytes],
    ) -> None:
        self.lost: Callable[[Sequence[str]], None] = _ignore
        self.begun: Callable[[], None] = _ignore
        self.others: Callable[[], Collection[str]] = tuple
        self.conflicts = self.made = self.renewals_late = 0
        self._registry = registry
        self._node = node
        self._incarnation = incarnation
        self._clock = clock
        self._entropy = entropy
        self._place = witness.own_place()
        self._times = Times(0.0)
        self._owner: Owner | None = None
        self._era = Era()
        self._session = -1
        self._others = OtherLeases(registry, node, self._place, clock)
        self._held: dict[str, Held] = {}
        self._freeing: dict[str, trio.Event] = {}
        self._locks: dict[str, trio.Lock] = {}
        self._is_own_witness = False
        self._renewed = trio.Event()
        self._is_late = False
        self._is_leaving = False
        self._nursery: trio.Nursery | None = None

    @property
    def lease_left(self) -> float:
        """Seconds for which the node may act; 0 without a lease."""
        return 0.0 if self._owner is None else max(0.0, self._owner.deadline - self._clock())

    @property
    def lease_seconds(self) -> float:
        """The length of leases; 0 while it is not known."""
        return self._times.seconds

    @property
    def epoch(self) -> int:
        """The registry's epoch, as far as it is known; 0 before that."""
        return self._era.epoch

    @property
    def count(self) -> int:
        """Names and shards that the node holds."""
        return len(self._held) if self.lease_left else 0

    def held(self, key: str) -> Held | None:
        """Return a claim that counts at this moment."""
        held, owner = self._held.get(key), self._owner  # each call of a keyed actor asks this
        if held is None or owner is None:
            return None
        return held if owner.is_good(held.claim.term, self._clock()) else None

    def guard(self, key: str, held: Held, lost: T) -> Callable[[], T | None]:
        """Return a function that returns `lost` when a claim, or one like it, does not count at that moment.

        It does what `held` does, in one go: each call of a keyed actor on this node asks it.
        """
        claim, clock = held.claim, self._clock

        def guard() -> T | None:
            present, owner = self._held.get(key), self._owner
            if (
                present is not None
                and owner is not None
                and (present is held or present.claim == claim)
                and claim.term == owner.term
                and clock() < owner.good_until
            ):
                return None
            return lost

        return guard

    def _is_good(self, term: int) -> bool:
        return self._owner is not None and self._owner.is_good(term, self._clock())

    # What users of it ask for.

    async def find(self, key: str) -> Claim | None:
        """Find who holds a key, as far as a read tells. A checkpoint.

        Raises:
            NoAnswer: the registry does not answer.
        """
        found = await self._registry.read(key)
        claim = found.read_as(Claim)
        if claim is None or self._is_own(claim):
            return claim if claim is not None and key in self._held else None
        lease = (await self._registry.read(lease_key(claim.node))).read_as(Lease)
        return None if judge(claim, lease, may_break=False) is Step.TAKE else claim

    async def claim(
        self, key: str, serial: int = 0, token: bytes = b"", *, waits: Callable[[], bool] = _never
    ) -> Held:
        """Claim a key. A checkpoint; cancelled, what was written is taken back.

        Args:
            key: what to hold.
            serial, token: of the process, for others.
            waits: tells whether to wait, as long as somebody else holds it or the registry does not answer.

        Raises:
            Taken: somebody else holds it, or this node does.
            NoAnswer: the registry does not answer, or this node has no lease, or nobody may claim yet.
        """
        while True:
            try:
                async with self._locks.setdefault(key, trio.Lock()):
                    if key in self._freeing:
                        await self._freeing[key].wait()
                    held = await self._attempt(key, serial, token)
            except (Taken, NoAnswer):
                if not waits():
                    raise
                held = None
                await trio.sleep(POLL_SECONDS)
            finally:
                lock = self._locks.get(key)
                if lock is not None and not lock.locked():
                    del self._locks[key]
            if held is not None:
                return held

    async def agree(self, key: str, value: int, *, prefix: str) -> int:
        """Write a number that all nodes are to agree on, unless there is one; return what there is. A
        checkpoint.

        Args:
            key: of the number.
            value: what this node takes it for.
            prefix: of keys that are held by it: whoever holds one may write it again when the registry has
                lost its data, and others wait.

        Raises:
            NoAnswer: the registry does not answer, or nobody may claim yet.
        """
        await self._see_epoch()
        if not any(held.startswith(prefix) for held in self._held):
            self._check_settled()
        while True:
            found = await self._registry.read(key)
            if found.value:
                return _number(found)
            with suppress(WrongRevision):
                await self._registry.write(key, msgspec.msgpack.encode([VERSION, value]), found.revision)
                return value

    def release(self, key: str) -> None:
        """Give a key back, if the node holds it. Not a checkpoint: others see it a moment later."""
        held = self._held.pop(key, None)
        if held is not None:
            self._free(key, held.claim, held.fence.revision)

    async def give_back(self, key: str) -> None:
        """Give a key back, and wait until others see it, as long as the registry may take. A checkpoint."""
        self.release(key)
        with trio.move_on_after(ANSWER_SECONDS):
            while key in self._freeing:
                await self._freeing[key].wait()

    async def _attempt(self, key: str, serial: int, token: bytes) -> Held | None:
        """Take one step towards a claim; None when another is needed."""
        session = self._others.session()
        term = await self._good_term()
        await self._see_epoch()
        found = await self._registry.read(key)
        claim, lease, at = found.read_as(Claim), None, 0
        if claim is not None and self._is_own(claim):
            if key in self._held:
                raise Taken(key, claim)
            claim = None  # it is from a term that is over, or nobody was told of it
        may_break = False
        if claim is not None:
            lease, at, may_break = await self._others.look(claim.node)
        step = judge(claim, lease, may_break=may_break)
        if step is Step.WAIT:
            assert claim is not None
            raise Taken(key, claim)
        if session != self._registry.connection.reconnects:
            return None  # it may be another registry by now
        if step is Step.BREAK:
            assert claim is not None
            await self._others.end(claim.node, lease, at, claim.term)
            return None
        return await self._write(key, Claim(VERSION, *self._self(term), serial, token, self._nonce()), found)

    def _self(self, term: int) -> tuple[str, int, int]:
        return self._node, self._incarnation, term

    def _nonce(self) -> int:
        return int.from_bytes(self._entropy(7), "big")

    async def _write(self, key: str, claim: Claim, found: Entry) -> Held | None:
        """Write a claim; None when somebody was faster."""
        if not self._is_good(claim.term) or self._is_leaving:
            raise NoAnswer("this node has no lease")
        self._check_settled()
        if key in self._freeing:
            return None
        try:
            revision = await self._registry.write(key, msgspec.msgpack.encode(claim), found.revision)
        except WrongRevision:
            self.conflicts += 1
            return None
        except BaseException:
            self._free(key, claim, found.revision)  # it may have been written, or still be
            raise
        if not self._is_good(claim.term):
            raise NoAnswer("this node has lost its lease")
        held = self._held[key] = Held(claim, Fence(self._era.epoch, revision))
        self.made += 1
        return held

    def _check_settled(self) -> None:
        if not self._era.is_settled(self._times, self._clock()):
            raise NoAnswer("the registry has lost its data, and gives nothing away until all leases are over")

    def _is_own(self, claim: Claim) -> bool:
        return (claim.node, claim.incarnation) == (self._node, self._incarnation)

    async def _good_term(self) -> int:
        """Return the present term, which is waited for."""
        with trio.move_on_after(ANSWER_SECONDS):
            while self._owner is None or not self._is_good(self._owner.term):
                await self._renewed.wait()
            return self._owner.term
        raise NoAnswer("this node has no lease of the registry")

    async def _see_epoch(self) -> None:
        epoch, settled = await self._registry.epoch()
        if epoch is None:
            self._era.seen(0, 0, self._clock())
            raise NoAnswer("the mesh has no registry")
        before = self._era.epoch
        self._era.seen(epoch.began, settled, self._clock())
        if self._era.epoch != before:
            self._others.begin_anew(self._times)  # so do revisions
        if self._era.epoch == epoch.began:
            if self._times.seconds != epoch.lease:
                self._times = Times(epoch.lease)
                self._others.begin_anew(self._times)
            if settled != epoch.began and self._era.is_settled(self._times, self._clock()):
                await self._registry.settle(epoch.began)

    # Freeing.

    def _free(self, key: str, claim: Claim, revision: int) -> None:
        """Free a key that this node has claimed, or may have."""
        if self._nursery is not None:
            over = self._freeing[key] = trio.Event()
            self._nursery.start_soon(self._freed, key, claim, revision, over)

    async def _freed(self, key: str, claim: Claim, revision: int, over: trio.Event) -> None:
        """Write that nobody holds a key, from what a claim was written upon, or from the claim itself."""
        try:
            with trio.move_on_after(UNDOING * self._times.seconds):
                while True:
                    try:
                        await self._registry.write(key, b"", revision)
                    except WrongRevision:
                        pass
                    except NoAnswer:
                        await trio.sleep(POLL_SECONDS)
                    else:
                        return
                    with suppress(NoAnswer):
                        found = await self._registry.read(key)
                        if found.revision > revision and found.read_as(Claim) != claim:
                            return
                        revision = found.revision
        finally:
            if self._freeing.get(key) is over:
                del self._freeing[key]
            over.set()

    # The lease.

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the lease until cancelled."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._watch_deadline)
            self._nursery.start_soon(self._look_around)
            task_status.started()
            try:
                await self._renew()
            finally:
                self._nursery = None  # what is freed from now on is for the lease to end

    async def _renew(self) -> None:
        patience = POLL_SECONDS
        while not self._is_leaving:
            try:
                pause = await self._round()
            except NoAnswer:
                # Whoever has a lease must not lose a moment; a mesh without a registry is left in peace.
                patience = POLL_SECONDS if self.lease_left else min(LONGEST_PAUSE, 2 * patience)
                pause = patience
            await trio.sleep(pause)
        await trio.sleep_forever()

    async def _round(self) -> float:
        """Read what is not known, and renew the lease if that is possible; return how long to rest."""
        if self._owner is None:
            await self._see_epoch()
            self._owner = Owner(self._incarnation, self._place, self._times)
        owner, key = self._owner, lease_key(self._node)
        self._check_session()
        if owner.must_read:
            await self._see_epoch()
            owner.epoch = self._era.epoch
            entry = await self._registry.read(key)
            lease = entry.read_as(Lease)
            if owner.found(lease, entry.revision, self._clock()):
                self._end_term("somebody else says that it is over")
            if lease is None and owner.term:
                try:
                    await self._claim_anew()  # before the lease counts there
                except NoAnswer:
                    owner.unanswered()  # so that it is tried again, and the lease is not renewed before
                    raise
            self._is_own_witness = self._others.is_witness(lease)
            if self._check_session():
                return 0.0
        now = self._clock()
        self._pass_time(now)
        write = owner.proposal(now, is_witness=self._is_own_witness)
        if write is None:
            owner.unanswered()
            return POLL_SECONDS
        try:
            revision = await self._registry.write(key, msgspec.msgpack.encode(write.value), write.revision)
        except WrongRevision:
            self.conflicts += 1
            owner.refused()
            return 0.0
        except NoAnswer:
            owner.unanswered()
            raise
        before = owner.term
        owner.confirmed(write, revision, self._clock())
        if owner.term and owner.term != before:
            self.begun()
        self._is_late = False
        self._renewed.set()
        self._renewed = trio.Event()
        return self._times.pause

    def _check_session(self) -> bool:
        """Begin anew when the connection is another: the registry may be, too."""
        reconnects = self._registry.connection.reconnects
        if self._owner is None or self._session == reconnects:
            return False
        self._session = reconnects
        self._owner.reconnected()
        return True

    async def _claim_anew(self) -> None:
        """Write all claims again, because the registry has lost them."""
        for key, held in list(self._held.items()):
            while self._held.get(key) is held:
                found = await self._registry.read(key)
                claim = found.read_as(Claim)
                if self._held.get(key) is not held:
                    break  # it was given up or given back meanwhile
                if claim == held.claim:
                    # A fence never falls, also when this epoch was read before the registry lost its data.
                    fence = max(held.fence, Fence(self._era.epoch, found.revision))
                    self._held[key] = Held(held.claim, fence)
                    break
                if claim is not None:
                    del self._held[key]
                    logger.error("%s was given to %s by a registry that has lost its data", key, claim.node)
                    self.lost([key])
                    break
                with suppress(WrongRevision):
                    await self._registry.write(key, msgspec.msgpack.encode(held.claim), found.revision)

    async def _watch_deadline(self) -> None:
        while True:
            self._pass_time(self._clock())
            self._say_if_late()  # here, because a renewal may take as long as there is left
            left = self.lease_left
            await trio.sleep(min(POLL_SECONDS, left + 0.001) if left else POLL_SECONDS)

    async def _look_around(self) -> None:
        """See to it that what dead nodes held is free in time."""
        while True:
            await trio.sleep(self._others.pause(len(self.others())))
            if self.lease_left:
                with suppress(NoAnswer):
                    self._others.session()
                    await self._see_epoch()
                    await self._others.look_around(self.others())

    def _pass_time(self, now: float) -> None:
        if self._owner is not None and self._owner.pass_time(now):
            self._end_term("it could not be renewed in time")

    def _end_term(self, why: str) -> None:
        keys = list(self._held)
        self._held.clear()
        names = sum(key.startswith("name.") for key in keys)
        say = logger.error if keys else logger.info
        say("lease lost: %d names, %d shards given up, because %s", names, len(keys) - names, why)
        self.lost(keys)

    def _say_if_late(self) -> None:
        owner = self._owner
        if owner is None or not owner.term or self._is_late:
            return
        left = owner.deadline - self._clock()
        silent = self._times.good * self._times.seconds - left
        if silent > LATE * self._times.seconds:
            self._is_late = True
            self.renewals_late += 1
            logger.warning(
                "the registry has not answered for %.1f s: global names are given up in %.1f s", silent, left
            )

    async def leave(self) -> None:
        """Give everything back, and break the lease. A checkpoint."""
        self._is_leaving = True
        with trio.move_on_after(LEAVING_SECONDS), suppress(NoAnswer):
            for key in list(self._held):
                self.release(key)
            while self._freeing:
                await next(iter(self._freeing.values())).wait()
            term = 0 if self._owner is None else self._owner.term
            while term:
                entry = await self._registry.read(lease_key(self._node))
                lease = entry.read_as(Lease)
                if lease is None or lease.incarnation != self._incarnation:
                    return
                with suppress(WrongRevision):  # by a renewal that was under way
                    value = msgspec.msgpack.encode(broken(lease, term))
                    await self._registry.write(lease_key(self._node), value, entry.revision)
                    return


def _number(entry: Entry) -> int:
    """Return the number that all nodes agree on.

    Raises:
        NoAnswer: it is none that this node understands.
    """
    found = entry.read_as(list[int])
    if found is None or len(found) < 2:
        raise NoAnswer(f"expected a version and a number in the registry, got {found}")
    return found[1]
