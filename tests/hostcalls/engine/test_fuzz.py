"""Modules with random damage: they are refused, or run, or trap; the host goes on."""

from __future__ import annotations

import random

import pytest

from enfilade.hostcalls.engine import (
    BadEntrypoint,
    Engine,
    Import,
    Instance,
    InvalidModule,
    Limits,
    LinkError,
    StartError,
    Step,
    ValueType,
)
from tests.hostcalls.engine.script import ignore, wasm
from tests.hostcalls.engine.test_modules import SAMPLE

IMPORTS = [
    Import("test::granted", 1),
    Import("test::other", 2),
    Import("test::denied", 3, denied=True),
    Import("test", 4),
]
LIMITS = Limits(start_time=0.005, cpu_time=0.01, futures=1000, queued_bytes=1 << 20)
INTEGERS = [0, 1, 7, -1, 65536]


def damage(source: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(source)
    for _ in range(chance.choice([1, 1, 1, 2, 3, 8])):
        place = chance.randrange(8, len(damaged))
        match chance.randrange(4):
            case 0:
                damaged[place] = chance.randrange(256)
            case 1:
                damaged[place] ^= 1 << chance.randrange(8)
            case 2:
                del damaged[place : place + chance.randrange(1, 4)]
            case _:
                damaged[place:place] = chance.randbytes(chance.randrange(1, 4))
    return bytes(damaged)


def instantiate(engine: Engine, source: bytes) -> Instance | None:
    try:
        return engine.instantiate(engine.link(engine.compile(source), IMPORTS), LIMITS, ignore)
    except (InvalidModule, LinkError, StartError):
        return None


def start_any(instance: Instance, chance: random.Random) -> None:
    for name, extern in instance.linked.module.exports.items():
        if extern.function is not None:
            try:
                instance.start(
                    name,
                    [
                        chance.choice(INTEGERS) if kind in (ValueType.I32, ValueType.I64) else 0.5
                        for kind in extern.function.parameters
                    ],
                )
            except BadEntrypoint:
                continue
            return


@pytest.mark.parametrize(
    ("seed", "count"),
    [(1, 300), *(pytest.param(seed, 20_000, marks=pytest.mark.soak) for seed in range(2, 6))],
)
def test_damaged_modules_harm_nobody(engine: Engine, seed: int, count: int) -> None:
    chance = random.Random(seed)
    ran = 0
    for _ in range(count):
        instance = instantiate(engine, damage(chance.choice([wasm(), SAMPLE]), chance))
        if instance is None:
            continue
        start_any(instance, chance)
        for _ in range(8):
            step = instance.resume()
            for key, _, _ in instance.submissions():
                instance.complete(key, chance.randbytes(chance.randrange(20)))
            if step in (Step.FINISHED, Step.TRAPPED):
                break
            instance.release()
        assert (instance.trap is not None) == (instance.step is Step.TRAPPED)
        instance.close()
        ran += 1
    assert ran > 0
    assert engine.guests == 0
    whole = instantiate(engine, SAMPLE)
    assert whole is not None
    whole.start("seven")
    while whole.resume() is Step.PREEMPTED:
        pass
    assert whole.results == (7,)
