"""Guests on worker threads, beside the caller."""

from __future__ import annotations

import ctypes
import os
import platform
import select
import struct
import time
from collections.abc import Callable

import pytest

from enfilade.hostcalls.engine import Engine, EngineConfig, GuestBusy, Limits, Step, TrapKind
from enfilade.hostcalls.engine._engine import ffi, lib
from tests.hostcalls.engine.script import (
    DRAIN,
    RESULT,
    SPIN,
    YIELD,
    Op,
    Script,
    ScriptRunner,
    create,
    poll,
)

pytestmark = pytest.mark.real

WATCHDOG = 100.0
LONG_SLICE = 0.1  # seconds, as the shim asks for


def dispatch_until(engine: Engine, *calls: list[int]) -> None:
    """Wait for workers and dispatch, as a node's loop does, until every list has an entry."""
    deadline = time.monotonic() + WATCHDOG
    while not all(calls):
        left = deadline - time.monotonic()
        assert left > 0, "the workers have not reported in time"
        select.select([engine.fileno()], [], [], left)
        engine.dispatch()


def offload(
    script: ScriptRunner, program: list[tuple[int, ...]], limits: Limits | None = None
) -> tuple[Script, list[int]]:
    calls: list[int] = []
    run = script(program, limits=limits, wake=lambda: calls.append(1))
    run.instance.offload()
    return run, calls


def is_offloaded(run: Script) -> bool:
    return run.instance.offloaded


def test_it_runs_to_its_end_and_wakes(script: ScriptRunner) -> None:
    run, calls = offload(script, [(Op.COUNT, 10_000_000)])
    assert is_offloaded(run)
    dispatch_until(script.engine, calls)
    assert not is_offloaded(run)
    assert run.instance.step is Step.FINISHED
    assert run.instance.results == (42,)
    assert run.results() == [10_000_000]
    assert run.instance.cpu_time > 0
    assert calls == [1]


def test_it_stops_where_it_parks(script: ScriptRunner) -> None:
    run, calls = offload(script, [(Op.COUNT, 1000), create(0, 4), poll(0, 5), YIELD, DRAIN])
    dispatch_until(script.engine, calls)
    assert run.instance.step is Step.PARKED
    ((key, _, _),) = run.instance.submissions()
    assert not run.instance.runnable
    run.instance.complete(key, b"")
    assert run.run() is Step.FINISHED
    assert run.results()[4] == 1


def test_a_trap_is_reported(script: ScriptRunner) -> None:
    run, calls = offload(script, [(Op.COUNT, 1000), (99,)])
    dispatch_until(script.engine, calls)
    assert run.instance.trap is not None
    assert run.instance.trap.kind is TrapKind.UNREACHABLE
    assert run.instance.trap.backtrace


def test_submissions_bring_it_back_while_it_computes(script: ScriptRunner) -> None:
    run, calls = offload(script, [create(0, 8), SPIN])
    dispatch_until(script.engine, calls)
    assert run.instance.step is Step.PREEMPTED
    assert run.instance.runnable
    assert len(run.instance.submissions()) == 1
    run.instance.offload()
    assert run.instance.offloaded


def test_a_computing_guest_gets_answers_meanwhile(script: ScriptRunner) -> None:
    """It never parks: it polls until the answer is there, which the caller gives while a worker has it."""
    run, calls = offload(script, [create(), (Op.POLL_UNTIL_READY, 0, 1, RESULT, 256), DRAIN])
    dispatch_until(script.engine, calls)
    ((key, _, _),) = run.instance.submissions()
    calls.clear()
    run.instance.offload()
    run.instance.complete(key, b"answer")
    assert not run.instance.runnable
    dispatch_until(script.engine, calls)
    assert run.instance.step is Step.FINISHED
    assert run.results()[1:3] == [6, 2]
    assert run.instance.read(RESULT, 6) == b"answer"


def test_an_answer_that_comes_while_it_is_being_taken_back_is_not_lost(script: ScriptRunner) -> None:
    for _ in range(200):
        run, calls = offload(script, [(Op.STORE, 4, 1), YIELD, (Op.STORE, 4, 0), create(), poll(0, 1), YIELD])
        dispatch_until(script.engine, calls)
        ((key, _, _),) = run.instance.submissions()
        run.instance.complete(key, b"")
        run.instance.offload()
        calls.clear()
        dispatch_until(script.engine, calls)
        assert run.instance.step is Step.FINISHED
        run.instance.close()


def test_an_answer_given_in_the_wake_of_another_guest_counts(script: ScriptRunner) -> None:
    """Several guests are taken back at once; the wake of the first answers one that is still to come."""
    run = script([create(), YIELD, poll(0, 5), YIELD])
    run.run()
    ((key, _, _),) = run.instance.submissions()
    run.instance.release()
    run.instance.offload()
    found = ffi.new("stopped_guest[]", 1)
    deadline = time.monotonic() + WATCHDOG
    while not lib.engine_stopped(script.engine._engine, found, 1):
        assert time.monotonic() < deadline
    run.instance.complete(key, b"")
    run.instance._stopped(found[0].word)
    assert run.instance.step is Step.PARKED
    assert run.instance.runnable
    assert run.run() is Step.FINISHED


def test_a_release_reaches_it(script: ScriptRunner) -> None:
    run, calls = offload(script, [(Op.COUNT, 20_000_000), YIELD])
    run.instance.release()
    dispatch_until(script.engine, calls)
    assert run.instance.step is Step.FINISHED


def test_the_cpu_budget_holds_there(script: ScriptRunner) -> None:
    run, calls = offload(script, [SPIN], Limits(cpu_time=0.02))
    dispatch_until(script.engine, calls)
    assert run.instance.trap is not None
    assert run.instance.trap.kind is TrapKind.CPU_TIME


def test_interrupt_reaches_it(script: ScriptRunner) -> None:
    run, calls = offload(script, [SPIN])
    run.instance.interrupt()
    dispatch_until(script.engine, calls)
    assert run.instance.trap is not None
    assert run.instance.trap.kind is TrapKind.STOPPED


def test_more_guests_than_workers_take_turns(script: ScriptRunner) -> None:
    endless = [offload(script, [SPIN])[0] for _ in range(4)]
    finite = [offload(script, [(Op.COUNT, 1_000_000)]) for _ in range(4)]
    dispatch_until(script.engine, *(calls for _, calls in finite))
    assert all(run.instance.step is Step.FINISHED for run, _ in finite)
    assert all(run.instance.offloaded for run in endless)


def test_what_needs_a_guest_at_rest_is_refused(script: ScriptRunner) -> None:
    run, _ = offload(script, [SPIN])
    calls: list[Callable[[], object]] = [
        run.instance.resume,
        run.instance.submissions,
        run.instance.offload,
        lambda: run.instance.read(0, 1),
        lambda: run.instance.write(0, b"x"),
        lambda: run.instance.trap,
        lambda: run.instance.results,
        lambda: run.instance.memory_size,
    ]
    for call in calls:
        with pytest.raises(GuestBusy):
            call()
    assert not run.instance.runnable


def test_only_a_runnable_guest_can_be_offloaded(script: ScriptRunner) -> None:
    run = script([YIELD])
    run.run()
    with pytest.raises(GuestBusy, match="not runnable"):
        run.instance.offload()


def test_without_workers_it_is_refused() -> None:
    with Engine(config=EngineConfig(max_guests=2, workers=0)) as engine:
        run = ScriptRunner(engine)([SPIN])
        with pytest.raises(GuestBusy, match="workers is 0"):
            run.instance.offload()
        assert run.instance.resume() is Step.PREEMPTED


def test_workers_let_the_loop_go_first(script: ScriptRunner) -> None:
    """They have long time slices, at the end of which a thread that wakes need not wait."""
    own = slice_of(0)
    if not own:
        pytest.skip("this kernel tells nothing of slices")
    assert own < LONG_SLICE
    offload(script, [SPIN])
    deadline = time.monotonic() + WATCHDOG
    while long_slices() < script.engine.config.workers:  # a worker asks as soon as the kernel lets it run
        assert time.monotonic() < deadline, "a worker has not asked for a long time slice"
        os.sched_yield()
    assert slice_of(0) == own


def long_slices() -> int:
    """The threads of this process that have asked for long time slices."""
    return [slice_of(int(task)) for task in os.listdir("/proc/self/task")].count(LONG_SLICE)


def slice_of(thread: int) -> float:
    """Seconds of its time slice, as the kernel tells; 0 if it does not."""
    sched_getattr = 315 if platform.machine() == "x86_64" else 275
    attributes = ctypes.create_string_buffer(48)
    ctypes.CDLL(None).syscall(sched_getattr, thread, attributes, len(attributes), 0)
    return float(struct.unpack("<IIQiIQQQ", attributes)[5]) * 1e-9


class TestClose:
    """A guest can be closed at any moment; its place comes back."""

    def test_before_it_was_started(self, script: ScriptRunner) -> None:
        instance = script.engine.instantiate(script.linked(), Limits(), lambda: None)
        instance.close()
        assert script.engine.guests == 0

    @pytest.mark.parametrize("program", [[YIELD], [SPIN], [(99,)], [(Op.COUNT, 1)], [create(0, 99), YIELD]])
    def test_after_its_first_stop(self, script: ScriptRunner, program: list[tuple[int, ...]]) -> None:
        run = script(program)
        run.instance.resume()
        run.instance.close()
        assert script.engine.guests == 0

    def test_with_a_call_that_never_ran(self, script: ScriptRunner) -> None:
        run = script([YIELD])
        run.instance.close()
        assert script.engine.guests == 0

    def test_while_a_worker_runs_it(self, script: ScriptRunner) -> None:
        run, calls = offload(script, [SPIN])
        run.instance.close()
        wait_until_gone(script.engine)
        script.engine.dispatch()
        assert calls == []

    def test_while_it_waits_for_a_worker(self, script: ScriptRunner) -> None:
        runs = [offload(script, [SPIN])[0] for _ in range(6)]
        for run in runs:
            run.instance.close()
        wait_until_gone(script.engine)

    def test_after_it_has_stopped_and_before_it_is_taken_back(self, script: ScriptRunner) -> None:
        run, calls = offload(script, [YIELD])
        assert select.select([script.engine.fileno()], [], [], WATCHDOG)[0]
        run.instance.close()
        script.engine.dispatch()
        assert calls == []
        assert script.engine.guests == 0

    def test_in_its_own_wake(self, script: ScriptRunner) -> None:
        closed: list[bool] = []

        def wake() -> None:
            run.instance.close()
            closed.append(True)

        run = script([create(), poll(0, 1), YIELD], wake=wake)
        run.run()
        ((key, _, _),) = run.instance.submissions()
        run.instance.complete(key, b"")
        assert closed == [True]
        assert script.engine.guests == 0

    def test_in_the_wake_of_another(self, script: ScriptRunner) -> None:
        calls: list[bool] = []
        second: list[Script] = []

        def wake() -> None:
            calls.append(True)
            second[0].instance.close()

        first = script([YIELD], wake=wake)
        second.append(script([YIELD], wake=lambda: calls.append(False)))
        first.instance.offload()
        second[0].instance.offload()
        deadline = time.monotonic() + WATCHDOG
        while True not in calls and time.monotonic() < deadline:
            select.select([script.engine.fileno()], [], [], 1.0)
            script.engine.dispatch()
        assert True in calls

    def test_the_engine_closes_with_guests_in_every_state(self) -> None:
        engine = Engine(config=EngineConfig(max_guests=16))
        script = ScriptRunner(engine)
        fresh, parked, preempted, trapped = script([YIELD]), script([YIELD]), script([SPIN]), script([(99,)])
        parked.run()
        preempted.instance.resume()
        trapped.run()
        workers = [offload(script, [SPIN])[0] for _ in range(5)]
        stopped, _ = offload(script, [YIELD])
        engine.close()
        engine.close()
        everyone = [fresh, parked, preempted, trapped, *workers, stopped]
        assert all(run.instance.closed for run in everyone)
        assert engine.closed


def wait_until_gone(engine: Engine) -> None:
    deadline = time.monotonic() + WATCHDOG
    while engine.guests:
        assert time.monotonic() < deadline, "a closed guest still runs on a worker"
        os.sched_yield()
