"""An engine whose guests are on fuel: what they do depends on nothing but themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import wasmtime

from enfilade.hostcalls.engine import (
    Engine,
    EngineConfig,
    InvalidConfig,
    Limits,
    Pause,
    StartTrapped,
    Step,
    TrapKind,
)
from tests.hostcalls.engine.script import SPIN, YIELD, Op, ScriptRunner, create
from tests.hostcalls.engine.test_running import MEMORY, instance_of, run_export
from tests.hostcalls.engine.test_serving import LONG, Clerk

FUEL = 1_000_000

CONFIG = EngineConfig(max_guests=16, max_memory=64 * 1024 * 1024, workers=0, deterministic=True)

NANS = f"""(module {MEMORY}
  (func (export "divide") (param f64 f64) (result i64)
    (i64.reinterpret_f64 (f64.div (local.get 0) (local.get 1))))
  (func (export "lanes") (param f64) (result i64)
    (i64x2.extract_lane 1 (f64x2.sqrt (f64x2.splat (local.get 0))))))"""


@pytest.fixture
def config() -> EngineConfig:
    return CONFIG


class Timepiece:
    """A clock that stands still, except for what is charged."""

    def __init__(self) -> None:
        self.now = 100.0
        self.charged: list[float] = []

    def charge(self, seconds: float) -> None:
        self.now += seconds
        self.charged.append(seconds)


@pytest.fixture
def timepiece() -> Timepiece:
    return Timepiece()


@pytest.fixture
def timed(config: EngineConfig, timepiece: Timepiece) -> Iterator[ScriptRunner]:
    with Engine(config=config, clock=lambda: timepiece.now, charge=timepiece.charge) as engine:
        yield ScriptRunner(engine)


def slices(script: ScriptRunner, loops: int) -> int:
    """How often a guest that counts has to give way."""
    run = script([(Op.COUNT, loops)])
    count = 0
    while run.instance.resume() is Step.PREEMPTED:
        count += 1
    assert run.results() == [loops]
    return count


def test_sim_61_a_computing_guest_has_the_same_turns_in_every_run(config: EngineConfig) -> None:
    """Sixty million loops, in three engines; by time these would be other turns each time."""
    found = []
    for _ in range(3):
        with Engine(config=config) as engine:
            found.append(slices(ScriptRunner(engine), 60_000_000))
    assert found[0] == found[1] == found[2]
    assert 60_000_000 / FUEL <= found[0] <= 10 * 60_000_000 / FUEL


@pytest.mark.parametrize(
    ("export", "values"),
    [("divide", [0.0, 0.0]), ("divide", [math.inf, math.inf]), ("lanes", [-1.0])],
)
def test_sim_63_not_a_number_has_the_same_bits(
    script: ScriptRunner, export: str, values: list[float]
) -> None:
    """The canonical ones, which are positive; an x86 processor by itself gives negative ones."""
    assert run_export(script.engine, NANS, export, values).results == (0x7FF8_0000_0000_0000,)


def test_what_a_guest_has_used_is_charged_once(timed: ScriptRunner, timepiece: Timepiece) -> None:
    run = timed([(Op.COUNT, 10_000), YIELD, (Op.COUNT, 10_000), YIELD])
    used = []
    for _ in range(2):
        before = sum(timepiece.charged)
        assert run.instance.run(Clerk(), LONG) is Pause.WAITING
        run.instance.run(Clerk(), LONG)  # reads the clock, and so charges what is still to be charged
        used.append(sum(timepiece.charged) - before)
        run.instance.release()
    assert used[0] == pytest.approx(used[1], rel=0.01)
    assert 1e-5 < used[0] < 1e-3
    assert run.instance.cpu_time == pytest.approx(sum(used))
    assert timepiece.now == pytest.approx(100.0 + sum(used))


def test_a_turn_is_over_when_fuel_has_used_its_time(timed: ScriptRunner) -> None:
    """Between two operations the guest counts; after half a millisecond of that, others have their turn."""
    program = [line for _ in range(20) for line in (create(), (Op.COUNT, 50_000))]
    clerk = Clerk()
    run = timed([*program, YIELD])
    asked = []
    while run.instance.run(clerk, 0.0005) is not Pause.WAITING:
        asked.append(len(clerk.asked))
    assert len(clerk.asked) == 20
    assert asked


def test_the_limit_of_time_counts_fuel(script: ScriptRunner) -> None:
    """Three milliseconds are three million units: it ends at the first slice that begins after them."""
    run = script([SPIN], limits=Limits(cpu_time=0.003))
    count = 0
    while run.instance.resume() is Step.PREEMPTED:
        count += 1
    assert run.instance.trap is not None
    assert run.instance.trap.kind is TrapKind.CPU_TIME
    assert count == 4
    assert run.instance.cpu_time == pytest.approx(0.004, rel=0.01)


def test_time_is_renewed_by_the_clock_that_is_charged(timed: ScriptRunner, timepiece: Timepiece) -> None:
    """A guest that may use half of the time ends; when the clock moves on in between, it does not."""
    limits = Limits(cpu_time=0.003, cpu_renewal=0.5)
    hasty, patient = (timed([SPIN], limits=limits).instance for _ in range(2))
    for _ in range(20):
        hasty.run(Clerk(), LONG)
    assert hasty.step is Step.TRAPPED
    for _ in range(20):
        patient.run(Clerk(), LONG)
        timepiece.now += 0.001
    assert patient.step is Step.PREEMPTED


@pytest.mark.parametrize("position", ["resumed", "not begun", "parked"])
def test_an_interrupted_guest_stops(script: ScriptRunner, position: str) -> None:
    run = script([YIELD, SPIN] if position == "parked" else [SPIN])
    if position != "not begun":
        run.instance.resume()
    run.instance.interrupt()
    assert run.instance.resume() is Step.TRAPPED
    assert run.instance.trap is not None
    assert run.instance.trap.kind is TrapKind.STOPPED


def test_a_start_function_without_end_is_ended(script: ScriptRunner) -> None:
    source = f"(module {MEMORY} (func (loop $ever (br $ever))) (start 0))"
    with pytest.raises(StartTrapped) as caught:
        instance_of(script.engine, source, Limits(start_time=0.002))
    assert caught.value.trap.kind is TrapKind.START_TIME
    instance_of(script.engine, f"(module {MEMORY} (func) (start 0))", Limits(start_time=0.002))


def test_a_guest_that_asks_for_much_gives_way(script: ScriptRunner) -> None:
    """Its slice ends after what it has asked for, long before its fuel, and the next one is a whole one."""
    run = script([(Op.CREATE_MANY, 0x9000, 0, 5000), (Op.COUNT, 30_000)])
    assert run.instance.resume() is Step.PREEMPTED
    assert run.instance.cpu_time < FUEL * 1e-9 / 2
    slices = 1
    while run.instance.step is Step.PREEMPTED:
        run.instance.submissions()
        run.instance.resume()
        slices += 1
    assert run.instance.step is Step.FINISHED
    assert slices < 10


def test_the_machine_code_has_its_own_place_in_the_cache(tmp_path: Path) -> None:
    source = bytes(wasmtime.wat2wasm(f"(module {MEMORY})"))
    directory = tmp_path / "cache"
    for deterministic in (False, True, False, True):
        config = EngineConfig(max_guests=1, workers=0, deterministic=deterministic, cache_directory=directory)
        with Engine(config=config) as engine:
            engine.compile(source)
    assert len(list(directory.iterdir())) == 2


def test_workers_and_fuel_exclude_each_other() -> None:
    with pytest.raises(InvalidConfig, match="must have no workers, and workers is 2: say workers=0"):
        EngineConfig(deterministic=True)
