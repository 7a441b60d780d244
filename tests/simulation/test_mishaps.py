"""What chance has decided in single cases: recorded, left out, and kept where a failure needs it."""

import itertools
from pathlib import Path

import pytest

from enfilade.actors import rare
from enfilade.actors.simulation import Mishap, NoChance, Rarity, World, run_simulation, simulated, swarm
from enfilade.actors.simulation.checkers.history import Down
from enfilade.actors.simulation.mishaps import split, tape_of
from tests.simulation.scenes import QUICK, opened


async def unsteady(world: World) -> None:
    """Two hosts whose connection breaks by chance, and all else that a seed draws."""
    await opened(world, "east", "west", settings=QUICK)
    world.way("east", "west").set(reset=0.1, twice=0.2)
    world.way("west", "east").set(reset=0.1, full=0.2)
    world.faults(swarm(latencies=("rack",)))
    await world.run(30)
    await world.calm(10)


@simulated(seeds=10)
async def breaks_three_times(world: World) -> None:
    """Fails when one host has lost the other three times: most of it is chance."""
    await unsteady(world)
    lost = sum(event.host == "east" for event in world.history.of(Down))
    assert lost < 3, f"lost {lost} times"


def failed(test: object, seed: int) -> AssertionError:
    """The failure of a simulated test."""
    with pytest.raises(AssertionError) as caught:
        test(simulation_seed=seed)  # type: ignore[operator]
    return caught.value


def test_a_run_of_its_tape_is_the_same_run() -> None:
    """Also without any of the chance: each case is drawn, whatever comes of it."""
    worlds: list[World] = []

    async def main(world: World) -> None:
        worlds.append(world)
        await unsteady(world)

    run_simulation(main, seed=3)
    first = worlds[-1]
    tape = tape_of(first.network.tape)
    assert {"reset", "full", "twice"} == {fault.what for _, fault in tape}  # type: ignore[attr-defined]
    run_simulation(main, seed=3, schedule=[(0.0, NoChance()), *tape, *first.drawn])
    assert worlds[-1].history.events == first.history.events
    assert tape_of(worlds[-1].network.tape) == tape
    run_simulation(main, seed=3, schedule=[(0.0, NoChance())])
    assert not worlds[-1].history.of(Down)


def test_a_failure_by_chance_is_shrunk_to_the_mishaps_that_it_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And the printed test fails in the same way, and needs all of them."""
    monkeypatch.chdir(tmp_path)
    notes = "\n".join(failed(breaks_three_times, 3).__notes__)
    source = notes[notes.index("from enfilade.actors.simulation import") : notes.index("story:")]
    scope: dict[str, object] = {}
    exec(source, scope)
    schedule = scope["SCHEDULE"]
    mishaps, others = split(schedule)  # type: ignore[arg-type]
    assert mishaps[0] == (0.0, NoChance())
    assert [fault.what for _, fault in mishaps[1:]] == ["reset"] * 3  # type: ignore[attr-defined]
    assert others == []
    assert "faults and 3 of " in notes
    assert notes.count("* by chance, at the hand-over of number") == 3
    again = failed(scope["test_seed_3"], 3)
    assert str(again).startswith("lost 3 times")
    assert any(note.startswith("schedule: as it was given") for note in again.__notes__)


@simulated(seed=1)
async def unlucky(world: World) -> None:
    """Fails when two rare things happen one after the other."""
    await world.open_node("east")

    def twice_in_a_row() -> bool:
        happened = [rare("miss", 0.2) for _ in range(100)]
        return any(one and other for one, other in itertools.pairwise(happened))

    world.rare("never mind", 0.5)
    assert not await world.on("east", twice_in_a_row), "two misses"


def test_rare_things_are_shrunk_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    notes = "\n".join(failed(unlucky, 1).__notes__)
    scope: dict[str, object] = {}
    exec(notes[notes.index("from enfilade.actors.simulation import") : notes.index("story:")], scope)
    (_, silence), (_, one), (_, other) = scope["SCHEDULE"]  # type: ignore[misc]
    assert silence == NoChance()
    assert isinstance(one, Rarity)
    assert other == Rarity("east", "miss", one.number + 1)


def test_a_mishap_can_be_given_by_hand() -> None:
    async def main(world: World) -> int:
        world.at(0.0, Mishap(4, "reset"))
        await opened(world, "east", "west")
        await world.run(10)
        await world.calm(10)
        world.check()
        return len(world.network.tape.happened)

    assert run_simulation(main, seed=1) == 1
    with pytest.raises(ValueError, match="what"):
        Mishap(1, "melts")  # type: ignore[arg-type]
