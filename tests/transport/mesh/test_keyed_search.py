"""The search for two activations of one key at a time: it finds none, and finds what was left out."""

import msgspec
import pytest
import trio

from enfilade.transport.mesh.claims import shard_key
from enfilade.transport.mesh.registry import SETTLED, Entry, NoAnswer
from enfilade.transport.mesh.shard_keeper import REST_SECONDS
from tests.transport.mesh.keyed_search import KEYS, LEASE, SHARDS, Probe, Search, Variant, Violation

FOUND = r"at a time|twice|fence"


def search(seeds: range, variant: Variant) -> None:
    for seed in seeds:
        Search(seed, variant).run()


@pytest.mark.soak
def test_mesh_91_never_two_activations_of_a_key_in_a_few_runs() -> None:
    """MESH-30, MESH-32, MESH-34, MESH-38: cuts, crashes, jumps of clocks, lost data."""
    assert sum(Search(seed).run() for seed in range(5)) > 50


@pytest.mark.soak
@pytest.mark.parametrize("first", range(0, 500, 25))
def test_mesh_91_never_two_activations_of_a_key(first: int) -> None:
    assert sum(Search(seed).run() for seed in range(first, first + 25)) > 250


class LostAndFound(Search):
    """A node loses its lease, and has it again at once, while it is about to hand shards over."""

    async def main(self) -> None:
        self.calm = True
        self.lose()
        self.write(SETTLED, msgspec.msgpack.encode(self.epoch))
        first, second, _ = self.sites.values()
        async with trio.open_nursery() as nursery:
            await nursery.start(first.live)
            for key in KEYS:
                ref = first.keyed.keyed("Account", key).within(LEASE)
                await ref.call(Probe.act, self._number(), 0.0)
                ref.cast(Probe.act, self._number(), 4.5)  # so its shard is not handed over yet
            await nursery.start(second.live)
            keeper = second.keyed.kinds_run["Account"].keeper
            while not keeper._holders:  # noqa: ASYNC110 - in virtual time
                await trio.sleep(0.1)
            first.jump(LEASE)
            await trio.sleep(REST_SECONDS + 1.0)
            assert keeper.held.keys() >= set(range(SHARDS)) - keeper._holders.keys()
            for key in KEYS:
                await second.keyed.keyed("Account", key).within(1.0).call(Probe.act, self._number(), 0.0)
            nursery.cancel_scope.cancel()


def test_shards_of_a_term_that_is_over_are_claimed_soon() -> None:
    """MESH-31: also from a node that is present, and has a lease again."""
    LostAndFound(0).run()


class Forgotten(Search):
    """The registry loses its data, and does not answer when the holder is about to write its claims again.

    Args:
        outlives: whether the holder still has its lease when the registry answers again.
    """

    def __init__(self, *, outlives: bool) -> None:
        super().__init__(0)
        self._outlives = outlives

    async def main(self) -> None:
        self.calm = True
        self.lose()
        self.write(SETTLED, msgspec.msgpack.encode(self.epoch))
        site = next(iter(self.sites.values()))
        async with trio.open_nursery() as nursery:
            await nursery.start(site.live)
            ref = site.keyed.keyed("Account", KEYS[0]).within(2 * LEASE)
            await ref.call(Probe.act, self._number(), 0.0)
            keeper = site.keyed.kinds_run["Account"].keeper
            while len(keeper.held) < SHARDS:  # noqa: ASYNC110 - in virtual time
                await trio.sleep(0.1)
            registry, read = site.claims._registry, site.claims._registry.read
            reads = 0

            async def fail(key: str) -> Entry:
                nonlocal reads
                if key != shard_key("Account", 0):
                    return await read(key)
                reads += 1
                if self._outlives and reads == 1:
                    raise NoAnswer("for the test")
                entry = await read(key)
                if not self._outlives and reads == 2 and entry.value:  # it has just been written
                    while site.claims.lease_left:  # noqa: ASYNC110 - in virtual time
                        await trio.sleep(0.1)
                    await trio.sleep(0.5)
                return entry

            registry.read = fail
            self.lose()
            await trio.sleep(4 * LEASE)
            assert reads, "it was about to write its claims again"
            for shard in range(SHARDS):
                assert keeper.held_now(shard) is not None
                assert self.entry(shard_key("Account", shard)).value, "the registry knows what is held"
            await ref.call(Probe.act, self._number(), 0.0)
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("outlives", [True, False])
def test_claims_that_a_registry_has_lost_are_written_again(*, outlives: bool) -> None:
    """MESH-8: before the lease is renewed there, though the registry fails meanwhile; or given up."""
    Forgotten(outlives=outlives).run()


def test_a_seed_is_one_run() -> None:
    runs = [Search(3, seconds=8.0), Search(3, seconds=8.0)]
    for each in runs:
        each.run()
    assert runs[0].log.digest() == runs[1].log.digest() != Search(4).log.digest()


@pytest.mark.parametrize(("variant", "seed"), [(Variant.WAIT, 0), (Variant.LEASE, 0)])
def test_mesh_91_the_search_finds_some_of_it_at_once(variant: Variant, seed: int) -> None:
    with pytest.raises(Violation, match=FOUND):
        search(range(seed, seed + 20), variant)
