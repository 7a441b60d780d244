"""Predicates of a world: whatever they raise, and whatever they are, the world says so."""

from __future__ import annotations

import pytest
import trio

from enfilade.actors.simulation import (
    World,
    run_simulation,
)
from tests.simulation.test_edges import Odd, nothing, state, two

RAISED = [
    ValueError("no"),
    AssertionError("no"),
    KeyError("x"),
    StopIteration(),
    GeneratorExit(),
    KeyboardInterrupt(),
    SystemExit(3),
    Odd("no"),
    ExceptionGroup("g", [ValueError("a")]),
    RecursionError(),
    trio.WouldBlock(),
]


@pytest.mark.parametrize("kind", ["always", "eventually", "sometimes"])
@pytest.mark.parametrize("error", RAISED, ids=lambda e: type(e).__name__)
def test_what_a_predicate_raises_fails_the_world(kind: str, error: BaseException) -> None:
    before = state()

    def ask() -> bool:
        if armed:
            raise error
        return kind == "always"

    armed: list[int] = []

    async def main(world: World) -> None:
        await two(world)
        if kind == "always":
            world.always("odd", ask)
        elif kind == "sometimes":
            world.sometimes("odd", ask)
        else:
            world.eventually("odd", ask, within=5)
        armed.append(1)
        await world.run(2)
        await world.calm(3)
        raise AssertionError("it went on")

    with pytest.raises(BaseException) as caught:  # noqa: PT011
        run_simulation(main, seed=1)
    assert error in (caught.value, caught.value.__cause__)  # a coroutine cannot raise StopIteration
    assert state() == before
    run_simulation(nothing, seed=1)


def test_a_predicate_that_is_async_is_refused() -> None:
    async def ask() -> bool:
        return False

    async def main(world: World) -> None:
        await two(world)
        world.always("odd", ask)
        await world.run(1)

    with pytest.raises(TypeError, match="not an async one"):
        run_simulation(main, seed=1)


@pytest.mark.parametrize("method", ["always", "sometimes"])
def test_a_predicate_that_is_none(method: str) -> None:
    async def main(world: World) -> None:
        getattr(world, method)("odd", True)

    with pytest.raises(TypeError):
        run_simulation(main, seed=1)


def test_run_until_with_what_raises() -> None:
    async def main(world: World) -> None:
        await world.run_until(lambda: 1 / 0, 5)

    with pytest.raises(ZeroDivisionError):
        run_simulation(main, seed=1)


def test_always_sees_a_violation_of_one_step() -> None:
    async def main(world: World) -> None:
        host = (await two(world))[0]
        flag = [True]
        world.always("up", lambda: flag[0])

        async def flicker() -> None:
            flag[0] = False
            await trio.lowlevel.checkpoint()
            flag[0] = True

        await world.on(host, flicker)
        await world.run(1)

    with pytest.raises(AssertionError, match="'up' does not hold at 1 s, after step"):
        run_simulation(main, seed=1)


def test_two_properties_of_one_name_count_both() -> None:
    async def main(world: World) -> None:
        await two(world)
        world.always("same", lambda: True)
        world.always("same", lambda: world.now() < 2)
        await world.run(3)

    with pytest.raises(AssertionError, match="same"):
        run_simulation(main, seed=1)
