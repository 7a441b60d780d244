"""The plan: every scene by fixed seeds, few here and many in the soak. And what it must be able to find."""

import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from enfilade.actors import Actor, Child, Node, RemoteEntry, Supervisor, simulation
from enfilade.actors.simulation import Distance, Strike, World, run_simulation, simulated, swarm
from enfilade.actors.simulation.faults.kinds import Crash
from enfilade.actors.simulation.faults.minimise import minimised
from enfilade.actors.simulation.faults.strategies import schedules, strikes
from enfilade.actors.simulation.faults.swarm import KINDS
from enfilade.actors.simulation.machine.entropy import Stream
from tests.simulation import soak
from tests.simulation.sabotage import SABOTAGE, link_after_the_news
from tests.simulation.scenes import OPEN, QUICK, SCENES, emigrants, opened_emigrants

PLANNED = {
    "emigrants": (range(86), 200),
    "handshakes": (range(80), 240),
    "monitors": (range(40), 160),
    "trees": (range(30), 120),
    "messages": (range(12), 120),
    "groups": (range(10), 80),
    "draining": (range(6), 60),
    "names": (range(6), 60),
    "pools": (range(6), 80),
    "gates": (range(4), 32),
    "guests": (range(4), 40),
    "news": (range(4), 32),
    "families": (range(2), 12),
    "global names": (range(1), 32),
    "keyed actors": (range(7, 8), 32),
    "activations": (range(1), 12),
    "contested keys": (range(8, 9), 16),
    "contested names": (range(1, 2), 16),
    "drifting": (range(1), 4),
    "hand-overs": (range(1), 4),
    "pipes": (range(1), 8),
    "rolling": (range(1), 8),
    "storms": (range(1), 4),
}
"""The seeds of each scene that are played always, and the first that the soak plays no more.

A seed of some scenes takes a fifth of a second, of others three. Those have few here, the ones by which
`SABOTAGE` is found.
"""

TOGETHER = 10
"""Seeds that one test plays."""


def parts(scene: str) -> Iterator[Any]:
    """The seeds that one test each plays."""
    always, end = PLANNED[scene]
    for first in always[::TOGETHER]:
        yield pytest.param(scene, range(first, min(first + TOGETHER, always.stop)), id=f"{scene} {first}")
    others = [seed for seed in range(end) if seed not in always]
    yield pytest.param(scene, others, marks=pytest.mark.soak, id=f"more {scene}")


@pytest.mark.parametrize(
    ("scene", "seeds"), [part for scene in PLANNED if scene != "trees" for part in parts(scene)]
)
def test_sim_77_the_plan(scene: str, seeds: Iterable[int]) -> None:
    play(scene, seeds)


@pytest.mark.parametrize(("scene", "seeds"), list(parts("trees")))
def test_sim_81_each_child_in_another_zone_lives_once(scene: str, seeds: Iterable[int]) -> None:
    """Four hosts, three strategies, connections that break within sends, and every other fault."""
    play(scene, seeds)


def test_sim_77_the_plan_has_300_seeds() -> None:
    assert sum(len(always) for always, _ in PLANNED.values()) >= 300
    assert set(PLANNED) == set(SCENES) - {"quiet"}
    assert all(known in PLANNED[scene][0] for scene, _, known in SABOTAGE.values())


class Traitor(Actor):
    """A child in another zone that loses the connection with its office while it is being made."""

    lost: Any = staticmethod(lambda: None)

    def __init__(self) -> None:
        Traitor.lost()


@pytest.mark.parametrize("how", ["reset", "silence"])
def test_sim_80_a_child_whose_start_cuts_the_ways_is_no_orphan(
    how: Literal["reset", "silence"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends with the node link; after the heal exactly one lives."""
    lives: list[int] = []

    async def main(world: World) -> None:
        async def boot(node: Node) -> None:
            if node.name == "office":
                child = Child(RemoteEntry("Traitor", "east@east"), id=1)
                await node.spawn(Supervisor, [child], intensity=100, period=1.0)

        options: dict[str, Any] = {"policy": OPEN, "settings": QUICK, "entries": {"Traitor": Traitor}}
        hosts = [await world.open_node(name, boot=boot, **options) for name in ("office", "east")]
        cuts = iter([True])
        cut = lambda: world.partition("office", "east", how=how) if next(cuts, False) else None  # noqa: E731
        monkeypatch.setattr(Traitor, "lost", staticmethod(cut))

        def count() -> int:
            processes = hosts[1].node.processes.values()
            return sum(isinstance(process.actor, Traitor) and process.ended is None for process in processes)

        world.connect(*hosts)
        await world.run(10)
        lives.append(count())
        await world.calm(10)
        lives.append(count())
        world.check()

    run_simulation(main, seed=1)
    assert lives == [0, 1]


def play(scene: str, seeds: Iterable[int]) -> None:
    for seed in seeds:
        run_simulation(SCENES[scene], seed=seed)


def test_every_kind_of_fault_is_drawn_and_strikes() -> None:
    struck: Counter[str] = Counter()

    async def main(world: World) -> None:
        world.open_servers()
        for name in ("east", "west"):
            world.disk(await world.open_node(name))
        world.faults(swarm(rates=(0.5, 1.0)))
        await world.run(10)
        struck.update(world.struck)
        struck.update(type(fault).__name__ for _, fault in world.drawn)

    for seed in range(20):
        run_simulation(main, seed=seed)
    drawn = {"Crash", "CrashLoop", "RollingRestart", "Freeze", "Slow", "Block", "Skew", "Drift", "Stranger"}
    drawn |= {"DiskFailure", "DiskTrouble"}
    drawn |= {"Partition", "Blackout", "Flap", "Swizzle", "Flaky", "ServerTrouble", "LostRegistry"}
    assert all(struck[kind] >= 20 for kind in drawn)
    assert len(KINDS) == 36


@pytest.mark.parametrize("name", SABOTAGE)
def test_sim_76_each_sabotage_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, patch, known = SABOTAGE[name]
    patch(monkeypatch)
    with pytest.raises(AssertionError):
        play(scene, range(known, known + 100))


def test_sim_73_a_failure_is_minimised() -> None:
    """Two of thirty faults are left, and they are the two that are needed."""
    needed = {3, 17}
    schedule = [(float(number), Crash(f"host {number}")) for number in range(30)]
    tried: list[int] = []

    def fails(candidate: list[tuple[float, Crash]]) -> bool:
        tried.append(len(candidate))
        return needed <= {int(when) for when, _ in candidate}

    assert [int(when) for when, _ in minimised(schedule, fails, 200)] == [3, 17]  # type: ignore[arg-type]
    assert len(tried) < 60
    tried.clear()
    minimised(schedule, fails, 3)  # type: ignore[arg-type]
    assert len(tried) == 3


@simulated(seed=21)
async def planted(world: World) -> None:
    """What a test with a planted fault says when it fails."""
    await emigrants(world)


def test_sim_73_the_printed_test_fails_in_the_same_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In the same event and with the same message; it is kept in a file, too, and told as a story."""
    monkeypatch.chdir(tmp_path)
    link_after_the_news(monkeypatch)
    with pytest.raises(AssertionError, match="children") as caught:
        planted(simulation_seed=21)
    notes = "\n".join(caught.value.__notes__)
    assert "options: 3 hosts, latency" in notes
    source = notes[notes.index("from enfilade.actors.simulation import") : notes.index("story:")]
    story, last = notes[notes.index("story:") :].split("last events:")
    assert "s  * the faults are over" in story
    assert "  office has lost east@east" in story
    assert [line.strip() for line in last.splitlines() if line.endswith(":")] == ["office:", "east:", "west:"]
    assert (tmp_path / ".simulation/test_planted_21.py").read_text().strip() == source.strip()
    scope: dict[str, object] = {}
    exec(source, scope)
    ends = []
    for _ in range(2):
        with pytest.raises(AssertionError, match="children") as again:
            scope["test_seed_21"](simulation_seed=21)  # type: ignore[operator]
        ends.append((str(again.value), again.value.__notes__[0]))
    assert ends[0] == ends[1]
    assert ends[0][0] in story
    assert any(note.startswith("schedule: as it was given, for it") for note in again.value.__notes__)
    assert [path.name for path in tmp_path.joinpath(".simulation").iterdir()] == ["test_planted_21.py"]


@simulated(seed=1)
async def far_apart(world: World) -> None:
    """Fails for the distance that the swarm draws, and for nothing else."""
    for name in ("east", "west"):
        await world.open_node(name)
    world.faults(swarm(latencies=("continent",), rates=(0.5, 1.0)))
    await world.run(5)
    assert world.way("east", "west").latency < 0.01, "the hosts are too far apart"


def test_the_distance_belongs_to_the_schedule(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """So the printed test has it, and none of the faults that do not matter."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AssertionError, match="too far") as caught:
        far_apart(simulation_seed=1)
    (shown,) = [note for note in caught.value.__notes__ if note.startswith("schedule:")]
    assert "    (0.0, Distance(latency=0.03)),\n]" in shown
    assert "schedule: 1 of " in shown


def test_each_kind_of_fault_has_words() -> None:
    """In the story of a failure; and its representation is the source that makes it."""
    draws = Stream("words")
    for make in (*KINDS.values(), lambda *_: Distance(0.03), lambda *_: Strike(3)):
        fault = make(draws, ["east", "west", "south"], 1.5)
        assert type(fault).__name__ not in str(fault)
        assert " " in str(fault)
        assert eval(repr(fault), vars(simulation)) == fault


def test_sim_74_hypothesis_finds_and_shrinks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A strike within the hand-over of the news is enough."""
    link_after_the_news(monkeypatch)
    failing: list[list[tuple[float, Strike]]] = []

    @settings(
        max_examples=300,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(strikes(40, most=4))
    def search(schedule: list[tuple[float, Strike]]) -> None:
        try:
            run_simulation(lambda world: calmly(world, schedule), seed=1)
        except AssertionError:
            failing.append(schedule)
            raise

    with pytest.raises(AssertionError):
        search()
    assert len(failing[-1]) <= 2


async def calmly(world: World, schedule: list[tuple[float, Strike]]) -> None:
    """The scene of `emigrants` with these faults and no others."""
    for _, strike in schedule:
        strike.strike(world)
    await opened_emigrants(world)
    await world.run(8)
    await world.calm(12)
    world.check()


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(schedules(["office", "east"], within=5.0, most=6))
def test_schedules_can_be_drawn_and_survived(schedule: list[tuple[float, object]]) -> None:
    async def main(world: World) -> None:
        world.faults(schedule)  # type: ignore[arg-type]
        await opened_emigrants(world)
        await world.run(6)
        await world.calm(20)
        world.check()

    run_simulation(main, seed=1)


# `simulated` itself.


@pytest.fixture
def number() -> int:
    return 42


SEEN: list[tuple[int, int]] = []


@simulated(seeds=3)
async def test_sim_12_one_test_for_each_seed(world: World, number: int) -> None:
    """Other arguments are fixtures, and no marker is needed."""
    assert number == 42
    SEEN.append((world.seed, number))
    await world.run(1)


def test_sim_12_each_seed_is_a_test_of_its_own() -> None:
    decorated: Any = test_sim_12_one_test_for_each_seed
    (mark,) = decorated.pytestmark
    assert mark.args == ("simulation_seed", [0, 1, 2])
    assert mark.kwargs == {"ids": ["seed0", "seed1", "seed2"]}
    SEEN.clear()
    for seed in range(3):
        decorated(simulation_seed=seed, number=42)
    assert [seed for seed, _ in SEEN] == [0, 1, 2]


def test_what_no_seed_has_seen_fails_the_last_one() -> None:
    @simulated(seeds=3)
    async def looks(world: World, wanted: set[int]) -> None:
        world.sometimes("the seed is wanted", lambda: world.seed in wanted)
        await world.run(1)

    for seed in range(3):
        looks(simulation_seed=seed, wanted={1})

    @simulated(seeds=[4, 5])
    async def looks_for_nothing(world: World) -> None:
        world.sometimes("never", lambda: False)
        await world.run(1)

    looks_for_nothing(simulation_seed=5)
    with pytest.raises(AssertionError, match="'never' held in none of 2 seeds"):
        looks_for_nothing(simulation_seed=4)


def test_simulated_says_that_it_needs_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(world: World) -> None: ...

    monkeypatch.setitem(sys.modules, "pytest", None)
    with pytest.raises(ImportError, match="run `pip install pytest`"):
        simulated(seed=1)(main)


def test_simulated_needs_seeds_and_a_world() -> None:
    async def without(number: int) -> None: ...

    async def method(self: object, world: World) -> None: ...

    with pytest.raises(TypeError, match="method is a method; write it as a function"):
        simulated(seed=1)(method)
    with pytest.raises(TypeError, match="seed=7 or seeds=50"):
        simulated()
    with pytest.raises(TypeError, match="argument `world`"):
        simulated(seed=1)(without)
    with pytest.raises(ValueError, match="got 'flood'"):
        swarm(kinds=("flood",))


def test_a_soak_plays_seeds_and_keeps_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it writes is a test that fails in the same way."""
    monkeypatch.chdir(tmp_path)
    link_after_the_news(monkeypatch)
    monkeypatch.setattr(soak, "FOUND", tmp_path / "found")
    soak.FOUND.mkdir()
    numbers = [(scene, seed) for _, scene, seed in itertools.islice(soak.plan(7, 100), 12)]
    assert len(set(numbers)) == 12
    fine, broken = soak.play("quiet", 1), soak.play("emigrants", 21)
    assert fine.failure == ""
    assert fine.seconds >= 60.0
    assert "children" in broken.failure
    soak._keep(broken)
    (kept,) = soak.FOUND.iterdir()
    scope: dict[str, Any] = {}
    exec(kept.read_text(), scope)
    with pytest.raises(AssertionError, match="children"):
        scope["test_seed_21"](simulation_seed=21)
    assert soak._report([fine, broken]) == 1
    assert "2 seeds, 0.0 virtual hours, 1 failures" in capsys.readouterr().out
