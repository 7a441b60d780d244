"""Which node each shard should be on."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enfilade.transport.mesh import shards
from enfilade.transport.mesh.shards import Successors, shard_of, weight

NODES = [f"n{number}@host" for number in range(12)]


@given(st.lists(st.lists(st.sampled_from(NODES), unique=True), max_size=8))
def test_it_is_the_one_that_draws_the_highest_number(meshes: list[list[str]]) -> None:
    """Whatever nodes there were before, and in whichever order they are named."""
    successors = Successors("Account", 16)
    for mesh in meshes:
        successors.among(tuple(mesh))
        best = [
            max(mesh, key=lambda node, shard=shard: (weight(node, "Account", shard), node), default=None)  # type: ignore[misc]
            for shard in range(16)
        ]
        assert [successors.of(shard) for shard in range(16)] == best


def test_a_change_costs_a_draw_for_each_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many nodes there are; what has not changed costs none."""
    drawn: list[Any] = []
    monkeypatch.setattr(shards, "weight", lambda *what: drawn.append(what) or weight(*what))
    successors = Successors("Account", 64)
    many = tuple(f"n{number}" for number in range(100))
    successors.among(many)
    drawn.clear()
    successors.among(many)
    assert not drawn
    successors.among((*many, "late"))
    assert len(drawn) == 64
    drawn.clear()
    successors.among(many)
    assert len(drawn) <= 100 * 64 / 10, "only the shards of the one that has gone are drawn for anew"


def test_keys_fall_into_all_shards() -> None:
    assert {shard_of("Account", str(number), 8) for number in range(200)} == set(range(8))
    assert shard_of("Account", "alice", 256) == shard_of("Account", "alice", 256)
