"""What a guest or an engine held is given back: descriptors, threads, memory, places."""

from __future__ import annotations

import gc
import os
import threading
import time
from pathlib import Path

import pytest

from enfilade.hostcalls.engine import Engine, EngineConfig, EngineUnavailable, Limits, StartTrapped
from tests.hostcalls.engine.script import (
    SPIN,
    YIELD,
    Op,
    ScriptRunner,
    create,
    ignore,
    poll,
    run_to_stop,
    wasm,
)
from tests.hostcalls.engine.test_offload import wait_until_gone
from tests.hostcalls.engine.test_running import instance_of

pytestmark = pytest.mark.real


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def mappings() -> int:
    return Path("/proc/self/maps").read_bytes().count(b"\n")


def live_a_life(script: ScriptRunner) -> None:
    """One guest, with something of everything a guest can hold, closed in the middle of it."""
    run = script(
        [create(0, 5000), create(), create(), poll(1, 1), (Op.CREATE_MANY, 0, 100, 40), (Op.DROP, 5), YIELD]
    )
    run.run()
    taken = run.instance.submissions()
    run.instance.complete(taken[0][0], bytes(10_000))
    run.instance.fail(taken[1][0], "x" * 1000)
    run.instance.close()


def test_guests_leave_nothing_behind(script: ScriptRunner) -> None:
    for _ in range(300):
        live_a_life(script)
    before = resident(), mappings()
    for _ in range(3000):
        live_a_life(script)
    after = resident(), mappings()
    assert after[0] - before[0] < 1 << 20, "3000 lives of 15 KB and more each"
    assert after[1] - before[1] < 10


def test_trapped_and_abandoned_guests_leave_nothing_behind(script: ScriptRunner) -> None:
    def lives(count: int) -> None:
        for _ in range(count):
            trapped = script([(Op.STORE, -1, 0)])
            trapped.run()
            assert trapped.instance.trap is not None
            trapped.instance.close()
            preempted = script([create(0, 5000), SPIN])
            preempted.instance.offload()
            preempted.instance.close()
            wait_until_gone(script.engine)
            with pytest.raises(StartTrapped):
                instance_of(
                    script.engine,
                    '(module (memory (export "memory") 1) (func $start unreachable) (start $start))',
                )

    lives(40)
    before = resident()
    lives(200)
    assert resident() - before < 1 << 20


def test_results_that_nobody_reads_are_freed(script: ScriptRunner) -> None:
    def life() -> None:
        run = script([(Op.CREATE_MANY, 0, 0, 500), YIELD])
        run.run()
        for key, _, _ in run.instance.submissions():
            run.instance.complete(key, bytes(30_000))
        run.instance.close()
        gc.collect()

    life()  # what the allocator keeps for itself is there after the first
    before = resident()
    for _ in range(4):
        life()
    assert resident() - before < 15 << 20, "60 MB were held"


def test_an_engine_leaves_no_descriptor_thread_or_mapping() -> None:
    def life() -> None:
        with Engine(config=EngineConfig(max_guests=50, workers=3)) as engine:
            script = ScriptRunner(engine)
            script([YIELD]).run()
            script([SPIN]).instance.offload()
            script([SPIN]).instance.resume()
        del script
        gc.collect()

    life()
    before = descriptors(), threads(), mappings()
    python_threads = threading.active_count()
    for _ in range(10):
        life()
    deadline = time.monotonic() + 60
    while threads() > before[1] and time.monotonic() < deadline:
        time.sleep(0.01)  # a thread that has been joined may be listed for a moment
    assert descriptors() <= before[0]
    assert threads() <= before[1]
    assert threading.active_count() <= python_threads
    assert mappings() - before[2] < 20


def address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def test_what_somebody_holds_of_a_closed_engine_is_a_description() -> None:
    """Modules and linked code are gone with the engine, and so is the address space of its pool."""
    before = address_space()
    engine = Engine(config=EngineConfig(max_guests=1000))
    script = ScriptRunner(engine)
    linked = script.linked()
    run = script([YIELD])
    run.run()
    assert address_space() - before > 1000 << 32
    engine.close()
    assert address_space() - before < 1 << 30
    assert linked.module.exports["run"].function is not None
    with pytest.raises(EngineUnavailable):
        engine.link(linked.module, [])
    with pytest.raises(EngineUnavailable):
        engine.compile(wasm())


def test_ten_engines_need_no_more_memory_than_one() -> None:
    def life() -> None:
        with Engine(config=EngineConfig(max_guests=200)) as engine:
            module = engine.compile(wasm())
            for _ in range(20):
                live_a_life(ScriptRunner(engine))
            assert module.exports
        gc.collect()

    for _ in range(3):
        life()
    before = resident()
    for _ in range(10):
        life()
    assert resident() - before < 4 << 20


def test_an_idle_guest_is_small() -> None:
    count = 400
    with Engine(config=EngineConfig(max_guests=count)) as engine:
        script = ScriptRunner(engine)
        linked = script.linked()
        before = resident()
        for _ in range(count):
            instance = engine.instantiate(linked, Limits(), ignore)
            instance.start("run", [1])
            run_to_stop(instance)
        each = (resident() - before) / count
        assert each < 25 * 1024
