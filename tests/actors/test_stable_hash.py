"""What is routed by key goes the same way in every run of Python, and on every node."""

import enum
import os
import subprocess
import sys

import attrs
import pytest

from enfilade.actors.messages.stable_hash import stable_hash

SCRIPT = """
import trio
from enfilade.actors import Pool, Worker, open_node
from enfilade.actors.messages.stable_hash import stable_hash
from enfilade.actors.supervision.partition import partition_index
from enfilade.transport.payload import Codec
from tests.actors.test_stable_hash import KEYS

texts = {f"text {number}" for number in range(20)}
print(bytes(Codec().encode([texts, frozenset(texts), {("a", frozenset("xyz")), 2**70}])[0]).hex())
print([partition_index(key, 8) for key in KEYS])
print([stable_hash(key) for key in KEYS])


class Teller(Worker):
    def work(self, job):
        return self.process.ref.serial


async def main():
    async with open_node("a") as node:
        pool = await node.spawn(Pool, Teller, size=8, routing="key")
        print([await pool.call(Pool.submit, None, key=key) for key in KEYS])


trio.run(main)
"""


class Colour(enum.Enum):
    RED = 1


class Word(enum.StrEnum):
    RED = "red"


@attrs.frozen
class Unknown:
    number: int


KEYS = ["alice", "", "\ud800", b"alice", ("alice", 1), frozenset(["a", "b", "c"]), None, Colour.RED, 7, 1.5]


def outcome(seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


def test_sim_10_sets_partitions_and_workers_do_not_depend_on_the_hash_seed() -> None:
    first, second = outcome("1"), outcome("2")
    assert first == second
    assert len(first.splitlines()) == 4


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (2, 2.0),
        ("red", Word.RED),
        ((1, "a"), (True, "a")),
        (frozenset(["a", "b"]), frozenset(["b", "a"])),
        (Unknown(1), Unknown(1)),
        ((Unknown(1),), (Unknown(1),)),
    ],
)
def test_equal_keys_have_equal_hashes(one: object, other: object) -> None:
    assert one == other
    assert stable_hash(one) == stable_hash(other)


def test_different_keys_have_different_hashes() -> None:
    keys = [
        *KEYS,
        "bob",
        b"",
        (),
        ((),),
        ("a", "b"),
        ("b", "a"),
        frozenset(),
        frozenset("a"),
        "None",
        "Colour.RED",
    ]
    assert len({stable_hash(key) for key in keys}) == len(keys)


@pytest.mark.parametrize("key", [[], ([],), (1, {})])
def test_keys_must_be_hashable(key: object) -> None:
    with pytest.raises(TypeError, match="unhashable"):
        stable_hash(key)  # type: ignore[arg-type]
