"""The search for two activations of one key at a time: it finds none, and finds what was left out."""

import pytest

from tests.transport.mesh.keyed_search import Search, Variant, Violation

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


@pytest.mark.parametrize(("variant", "seed"), [(Variant.WAIT, 0), (Variant.LEASE, 0)])
def test_mesh_91_the_search_finds_some_of_it_at_once(variant: Variant, seed: int) -> None:
    with pytest.raises(Violation, match=FOUND):
        search(range(seed, seed + 20), variant)
