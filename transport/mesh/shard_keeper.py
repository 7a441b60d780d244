"""The keeper of a node's shards of one kind: claims those that it should have, and hands over the others.

Each shard should be on the node that draws the highest number for it (`shards`), of those that run the kind.
A shard that nobody holds is claimed by that node alone, so that there is seldom a race, and compare-and-set
decides those that there are. A shard that another node should have is given back when the actors in it have
ended, and then that node is told.

What a keeper holds counts while its node's lease is good (`claims`): nothing else says who may act.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol, TypeVar

import trio

from enfilade.transport.mesh.claims import Claims, Held, Taken, count_key, shard_key
from enfilade.transport.mesh.lease import Claim
from enfilade.transport.mesh.registry import NoAnswer
from enfilade.transport.mesh.shards import Successors

__all__ = ["ShardHolder", "ShardKeeper"]

logger = logging.getLogger("enfilade.mesh")

T = TypeVar("T")

AT_A_TIME: Final = 8
"""Shards that are claimed, and that are handed over, at a time."""

POLL_SECONDS: Final = 0.25
"""Time between attempts to claim what a node that has gone still holds."""

REST_SECONDS: Final = 2.0
"""Time between looks when nothing is known to be due."""

FORGET_SECONDS: Final = 10.0
"""Time after which it is asked anew who holds what another node is to hand over: its word may be lost."""


class ShardHolder(Protocol):
    """The actors of a kind on one node, by shard. Its methods must not raise."""

    def gained(self, shard: int) -> None:
        """Take note that the node holds a shard from now on."""
        ...

    def lost(self, shard: int) -> None:
        """Take note that the node holds a shard no longer: its actors must not run."""
        ...

    async def vacate(self, shard: int) -> None:
        """End all actors of a shard in order; from this call on none is started. A checkpoint."""
        ...

    def vacated(self, shard: int, successor: str | None) -> None:
        """Take note that others can have a shard, and who is to have it."""
        ...

    def agreed(self) -> None:
        """Take note that the node may run the kind from now on, or that it may not: `ShardKeeper.may_run`."""
        ...


class ShardKeeper:
    """Keeps the shards of one kind on one node.

    Args:
        kind: its name.
        shards: how many it has; all nodes must say the same.
        claims: of the node.
        own: the node's name.
        fellows: returns the names of the other nodes that run the kind now.
        holder: has the actors.
        rebalances: whether a shard is handed over because another node should have it.

    Attributes:
        held: the shards that the node holds, and has not begun to hand over.
        is_draining: whether all shards are to be handed over.
        problem: the reason why the node cannot run the kind, in words; empty when it can.
        moves: shards that were handed over.
    """

    def __init__(
        self,
        kind: str,
        shards: int,
        claims: Claims,
        *,
        own: str,
        fellows: Callable[[], Sequence[str]],
        holder: ShardHolder,
        rebalances: bool = True,
    ) -> None:
        self.kind = kind
        self.shards = shards
        self.held: dict[int, Held] = {}
        self.is_draining = False
        self.problem = ""
        self.moves = 0
        self._claims = claims
        self._own = own
        self._fellows = fellows
        self._holder = holder
        self._rebalances = rebalances
        self._successors = Successors(kind, shards)
        self._keys = [shard_key(kind, shard) for shard in range(shards)]
        self._holders: dict[int, Claim] = {}
        self._leaving: dict[int, Held] = {}
        self._forget_at = 0.0
        self._probe_at = 0.0
        self._agreed_in = 0
        self._changed = trio.Event()
        self._empty = trio.Event()

    @property
    def may_run(self) -> bool:
        """True when the mesh has agreed with this node about the number of shards."""
        return self._agreed_in != 0 and not self.problem

    def held_now(self, shard: int) -> Held | None:
        """Return the claim of a shard that counts at this moment, also while it is handed over."""
        return self._claims.held(self._keys[shard])

    def guard(self, shard: int, held: Held, lost: T) -> Callable[[], T | None]:
        """Return a function that returns `lost` when the claim of a shard does not count at that moment."""
        return self._claims.guard(self._keys[shard], held, lost)

    def look_again(self, shard: int | None = None) -> None:
        """Take note that it may have changed who should hold what, or that a shard is free."""
        if shard is not None:
            self._holders.pop(shard, None)
        self._changed.set()

    def lost(self, keys: set[str]) -> None:
        """Take note of the keys that the node holds no longer."""
        for shard in [*self.held, *self._leaving]:
            if self._keys[shard] in keys:
                self.held.pop(shard, None)
                self._leaving.pop(shard, None)
                self._holder.lost(shard)
        self.look_again()

    async def drain(self) -> None:
        """Hand over all shards, and claim no other. A checkpoint."""
        self.is_draining = True
        self._changed.set()
        while self.held or self._leaving:
            self._empty = trio.Event()
            await self._empty.wait()

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the shards until cancelled."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                self._changed = trio.Event()
                self._hand_over(nursery)
                pause = await self._claim_wanted()
                with trio.move_on_after(pause):
                    await self._changed.wait()

    def _successor(self, shard: int) -> str | None:
        """Return the node that should have a shard."""
        fellows = self._fellows()
        self._successors.among(tuple(fellows) if self.is_draining else (self._own, *fellows))
        return self._successors.of(shard)

    # Claiming.

    async def _claim_wanted(self) -> float:
        """Claim the shards that this node should have; return how long to wait before it looks again."""
        if self.is_draining or not self._claims.lease_left:
            return REST_SECONDS
        try:
            await self._agree()
        except NoAnswer as error:
            logger.debug("no shard of %s can be claimed now: %s", self.kind, error)
            return POLL_SECONDS
        if self.problem:
            return REST_SECONDS
        wanted = [
            shard
            for shard in range(self.shards)
            if shard not in self.held and shard not in self._leaving and self._successor(shard) == self._own
        ]
        if not wanted:
            return REST_SECONDS
        now = trio.current_time()
        if now >= self._forget_at:
            self._holders.clear()
            self._forget_at = now + FORGET_SECONDS
        await self._attempt_all([shard for shard in wanted if shard not in self._holders])
        await self._probe(wanted, with_present=now >= self._probe_at)
        if now >= self._probe_at:
            self._probe_at = now + REST_SECONDS
        present = {self._own, *self._fellows()}
        missing = [self._holders.get(shard) for shard in wanted if shard not in self.held]
        return (
            POLL_SECONDS
            if any(each is None or each.node not in present for each in missing)
            else REST_SECONDS
        )

    async def _probe(self, wanted: Sequence[int], *, with_present: bool) -> None:
        """Find out which holders of wanted shards hold them no longer, without having said so.

        Of all shards that were claimed in one term of a lease, one shows whether that term is over.

        Args:
            wanted: the shards.
            with_present: whether to look also at nodes that are present, and may have lost their lease for a
                moment.
        """
        present = {self._own, *self._fellows()}
        by_term: dict[tuple[str, int, int], list[int]] = {}
        for shard in wanted:
            claim = self._holders.get(shard)
            if claim is not None and (with_present or claim.node not in present):
                by_term.setdefault((claim.node, claim.incarnation, claim.term), []).append(shard)
        await self._attempt_all([shards[0] for shards in by_term.values()])
        over = [shards[1:] for shards in by_term.values() if shards[0] in self.held]
        await self._attempt_all([shard for shards in over for shard in shards])

    async def _agree(self) -> None:
        """Find out whether all nodes say the same number of shards, once in each registry.

        Raises:
            NoAnswer: the registry does not answer.
        """
        epoch = self._claims.epoch
        if epoch and self._agreed_in == epoch:
            return
        key = count_key(self.kind)
        agreed = await self._claims.agree(key, self.shards, prefix=self._keys[0][:-1])
        could_run = self.may_run
        if agreed == self.shards:
            self.problem, self._agreed_in = "", self._claims.epoch
        elif not self.problem:
            self.problem = f"this node says {self.shards} shards, and the mesh has {agreed}"
            logger.error("kind %s does not run here: %s; configure all nodes alike", self.kind, self.problem)
        if self.may_run is not could_run:
            self._holder.agreed()

    async def _attempt_all(self, shards: Sequence[int]) -> None:
        async with trio.open_nursery() as nursery:
            rest = iter(shards)
            for _ in range(min(AT_A_TIME, len(shards))):
                nursery.start_soon(self._attempt_each, rest)

    async def _attempt_each(self, shards: Iterator[int]) -> None:
        for shard in shards:
            await self._attempt(shard)

    async def _attempt(self, shard: int) -> None:
        if self._successor(shard) != self._own or self.is_draining:
            return
        try:
            held = await self._claims.claim(self._keys[shard], self.shards)
        except Taken as taken:
            self._holders[shard] = taken.claim
        except NoAnswer as error:
            logger.debug("shard %d of %s cannot be claimed now: %s", shard, self.kind, error)
        else:
            self._holders.pop(shard, None)
            if self.held_now(shard) is not None:
                self.held[shard] = held
                self._holder.gained(shard)

    # Handing over.

    def _hand_over(self, nursery: trio.Nursery) -> None:
        """Begin to hand over what other nodes should have."""
        if not (self._rebalances or self.is_draining):
            return
        for shard in list(self.held):
            if len(self._leaving) >= AT_A_TIME:
                break
            if self._successor(shard) != self._own:
                held = self._leaving[shard] = self.held.pop(shard)
                nursery.start_soon(self._vacate, shard, held)
        self._tell_empty()

    async def _vacate(self, shard: int, held: Held) -> None:
        await self._holder.vacate(shard)
        if self._leaving.get(shard) is held:  # the lease was not lost meanwhile
            await self._claims.give_back(self._keys[shard])
            self._leaving.pop(shard, None)
            self.moves += 1
            self._holder.vacated(shard, self._successor(shard))
        self._changed.set()
        self._tell_empty()

    def _tell_empty(self) -> None:
        if not (self.held or self._leaving):
            self._empty.set()
