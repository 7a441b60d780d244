"""Calls, preemption, limits and traps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import pytest
import wasmtime

from enfilade.hostcalls.engine import (
    BadEntrypoint,
    BadMemoryAccess,
    Engine,
    Exhausted,
    GuestBusy,
    Import,
    Instance,
    InstanceClosed,
    Limits,
    LinkError,
    NoMemory,
    StartError,
    StartTrapped,
    Step,
    TrapKind,
)
from tests.hostcalls.engine.script import SPIN, YIELD, Op, ScriptRunner, ignore, run_to_stop

PAGE = 65536


def instance_of(engine: Engine, wat: str, limits: Limits | None = None) -> Instance:
    linked = engine.link(engine.compile(bytes(wasmtime.wat2wasm(wat))), [Import("test", 1)])
    return engine.instantiate(linked, limits or Limits(), ignore)


def run_export(
    engine: Engine, wat: str, export: str = "run", values: Any = (), limits: Any = None
) -> Instance:
    instance = instance_of(engine, wat, limits)
    instance.start(export, values)
    run_to_stop(instance)
    return instance


MEMORY = '(memory (export "memory") 1)'


class TestCalls:
    WAT = f"""(module {MEMORY}
      (func (export "mix") (param i32 i64 f32 f64) (result f64 f32 i64 i32)
        (local.get 3) (local.get 2) (local.get 1) (local.get 0))
      (func (export "none"))
      (func (export "reference") (param externref))
      (func (export "vector") (result v128) (v128.const i64x2 0 0))
      (global (export "constant") i32 (i32.const 3)))"""

    def test_values_and_results_of_every_type(self, engine: Engine) -> None:
        instance = run_export(engine, self.WAT, "mix", [-5, 1 << 40, 1.5, math.pi])
        assert instance.step is Step.FINISHED
        assert instance.results == (math.pi, 1.5, 1 << 40, -5)
        assert instance.trap is None

    def test_integers_may_be_given_unsigned(self, engine: Engine) -> None:
        instance = run_export(engine, self.WAT, "mix", [0xFFFF_FFFF, (1 << 64) - 2, 0, 0])
        assert instance.results == (0.0, 0.0, -2, -1)

    @pytest.mark.parametrize(
        ("export", "values"),
        [
            ("missing", []),
            ("constant", []),
            ("memory", []),
            ("none", [1]),
            ("mix", [1, 2, 3]),
            ("mix", [1 << 32, 0, 0, 0]),
            ("mix", [-(1 << 31) - 1, 0, 0, 0]),
            ("mix", [1.5, 0, 0, 0]),
            ("mix", [0, 0, 1e300, 0]),
            ("mix", [0, 0, "x", 0]),
            ("reference", [1]),
            ("vector", []),
        ],
    )
    def test_a_bad_entrypoint_or_value_is_refused(self, engine: Engine, export: str, values: Any) -> None:
        instance = instance_of(engine, self.WAT)
        with pytest.raises(BadEntrypoint, match=export):
            instance.start(export, values)
        instance.start("none")
        assert run_to_stop(instance) is Step.FINISHED

    def test_an_instance_runs_one_call_in_its_life(self, engine: Engine) -> None:
        instance = run_export(engine, self.WAT, "none")
        with pytest.raises(GuestBusy, match="started before"):
            instance.start("none")

    def test_resuming_what_does_not_run_changes_nothing(self, engine: Engine) -> None:
        instance = instance_of(engine, self.WAT)
        seen = [(run_to_stop(instance), instance.runnable)]
        instance.start("none")
        seen.append((instance.step, instance.runnable))
        seen += [(run_to_stop(instance), instance.runnable) for _ in range(2)]
        assert seen == [
            (Step.PARKED, False),
            (Step.PARKED, True),
            (Step.FINISHED, False),
            (Step.FINISHED, False),
        ]


class TestMemory:
    def test_abi_12_it_is_grown_to_256_pages(self, engine: Engine) -> None:
        assert instance_of(engine, f"(module {MEMORY})").memory_size == 256 * PAGE

    def test_a_larger_one_stays(self, engine: Engine) -> None:
        assert instance_of(engine, '(module (memory (export "memory") 300))').memory_size == 300 * PAGE

    def test_one_that_may_not_grow_stays(self, engine: Engine) -> None:
        assert instance_of(engine, '(module (memory (export "memory") 1 2))').memory_size == PAGE
        assert instance_of(engine, f"(module {MEMORY})", Limits(memory=8 * PAGE)).memory_size == PAGE

    def test_the_limit_makes_grow_fail(self, script: ScriptRunner) -> None:
        run = script([(Op.GROW, 1), (Op.GROW, 1), (Op.GROW, 0x10000)], limits=Limits(memory=257 * PAGE))
        assert run.run() is Step.FINISHED
        assert run.results() == [256, 0xFFFF_FFFF, 0xFFFF_FFFF]

    def test_the_engine_bounds_every_limit(self, script: ScriptRunner) -> None:
        run = script([(Op.GROW, 1024), (Op.GROW, 768)], limits=Limits(memory=1 << 32))
        run.run()
        assert run.results() == [0xFFFF_FFFF, 256]

    def test_a_module_that_starts_above_the_limit_is_refused(self, engine: Engine) -> None:
        with pytest.raises(StartError, match="limit"):
            instance_of(engine, '(module (memory (export "memory") 100))', Limits(memory=PAGE))

    def test_host_access_is_checked(self, engine: Engine) -> None:
        instance = instance_of(engine, f"(module {MEMORY})")
        end = instance.memory_size
        instance.write(end - 4, b"last")
        assert instance.read(end - 4, 4) == b"last"
        assert instance.read(end, 0) == b""
        for offset, size in [(end - 3, 4), (-1, 1), (0, -1), (end, 1), (1 << 40, 1)]:
            with pytest.raises(BadMemoryAccess):
                instance.read(offset, size)
        for offset in [end - 3, -1, 1 << 40]:
            with pytest.raises(BadMemoryAccess):
                instance.write(offset, b"1234")

    def test_a_dead_guests_memory_is_not_seen_by_the_next(self, engine: Engine) -> None:
        wat = f'(module {MEMORY} (data (i32.const 9) "fresh"))'
        for _ in range(40):
            instance = instance_of(engine, wat)
            assert instance.read(0, 9) == bytes(9)
            assert instance.read(9, 5) == b"fresh"
            for offset in range(0, instance.memory_size, 1 << 20):
                assert instance.read(offset + 4096, 8) == bytes(8)
                instance.write(offset + 4096, b"residue!")
            instance.write(0, b"x" * 64)
            instance.close()


class TestTraps:
    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            ("unreachable", TrapKind.UNREACHABLE),
            ("(drop (i32.load (i32.const -4)))", TrapKind.MEMORY_OUT_OF_BOUNDS),
            ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", TrapKind.DIVISION_BY_ZERO),
            ("(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))", TrapKind.INTEGER_OVERFLOW),
            ("(drop (i32.trunc_f32_u (f32.const nan)))", TrapKind.BAD_CONVERSION),
            ("(call $recurse)", TrapKind.STACK_OVERFLOW),
            ("(call_indirect (i32.const 1))", TrapKind.NULL_CALL),
            ("(call_indirect (i32.const 5))", TrapKind.TABLE_OUT_OF_BOUNDS),
            ("(call_indirect (param i32) (i32.const 1) (i32.const 0))", TrapKind.BAD_SIGNATURE),
        ],
    )
    def test_kind_and_backtrace(self, engine: Engine, body: str, kind: TrapKind) -> None:
        wat = f"""(module $sample {MEMORY}
          (table 2 funcref) (elem (i32.const 0) $recurse)
          (func $recurse (call $recurse) (call $recurse))
          (func $inner {body})
          (func $outer (export "run") (call $inner)))"""
        trap = run_export(engine, wat).trap
        assert trap is not None
        assert trap.kind is kind
        assert str(trap) == str(kind)
        names = [frame.function for frame in trap.backtrace]
        if kind is TrapKind.STACK_OVERFLOW:
            assert set(names) == {"recurse"}, "Wasmtime keeps the innermost frames of a deep stack"
        else:
            assert names == ["inner", "outer"]
            assert [frame.index for frame in trap.backtrace] == [1, 2]
        assert trap.backtrace[0].module == "sample"
        assert trap.backtrace[0].offset > 0

    def test_functions_without_names_have_their_index(self, engine: Engine) -> None:
        trap = run_export(engine, f'(module {MEMORY} (func) (func (export "run") unreachable))').trap
        assert trap is not None
        (frame,) = trap.backtrace
        assert (frame.function, frame.index) == (None, 1)
        assert "<function 1>" in str(frame)

    def test_endless_names_are_cut(self, engine: Engine) -> None:
        wat = f'(module ${"m" * 5000} {MEMORY} (func ${"f" * 5000} (export "run") unreachable))'
        trap = run_export(engine, wat).trap
        assert trap is not None
        assert (trap.backtrace[0].module, trap.backtrace[0].function) == ("m" * 400, "f" * 400)

    def test_the_trap_stays_and_the_guest_does_not_run_again(self, engine: Engine) -> None:
        instance = run_export(engine, f'(module {MEMORY} (func (export "run") unreachable))')
        first = instance.trap
        assert instance.resume() is Step.TRAPPED
        assert instance.trap == first
        assert instance.results == ()


class TestPreemption:
    def test_an_endless_loop_gives_way_about_every_tick(self, script: ScriptRunner) -> None:
        run = script([SPIN])
        for _ in range(20):
            assert run.instance.resume() is Step.PREEMPTED
            assert run.instance.runnable
        assert 0 < run.instance.cpu_time < 2.0

    def test_endless_recursion_without_loops_gives_way(self, engine: Engine) -> None:
        wat = f"""(module {MEMORY} (func $f (param i32) (if (local.get 0) (then
            (call $f (i32.sub (local.get 0) (i32.const 1))) (call $f (i32.sub (local.get 0) (i32.const
            1))))))
          (func (export "run") (call $f (i32.const 60))))"""
        instance = instance_of(engine, wat)
        instance.start("run")
        assert [instance.resume() for _ in range(5)] == [Step.PREEMPTED] * 5

    def test_two_loops_take_turns(self, script: ScriptRunner) -> None:
        runs = [script([SPIN]), script([SPIN]), script([(Op.COUNT, 1000)])]
        for _ in range(5):
            assert [run.instance.resume() for run in runs[:2]] == [Step.PREEMPTED] * 2
        assert runs[2].run() is Step.FINISHED

    def test_preemption_keeps_the_computation(self, script: ScriptRunner) -> None:
        run = script([(Op.COUNT, 50_000_000)])
        assert run.instance.resume() is Step.PREEMPTED
        assert run.run() is Step.FINISHED
        assert run.results() == [50_000_000]

    @pytest.mark.real
    def test_it_works_again_after_a_long_rest(self, script: ScriptRunner) -> None:
        """The tick thread sleeps while nothing runs, and wakes for the next run."""
        run = script([SPIN])
        for _ in range(3):
            assert run.instance.resume() is Step.PREEMPTED
            time.sleep(0.15)

    def test_interrupt_ends_a_computing_guest(self, script: ScriptRunner) -> None:
        run = script([SPIN])
        run.instance.resume()
        run.instance.interrupt()
        assert run.run() is Step.TRAPPED
        assert run.instance.trap is not None
        assert run.instance.trap.kind is TrapKind.STOPPED
        assert run.instance.trap.backtrace

    def test_interrupt_ends_a_parked_guest(self, script: ScriptRunner) -> None:
        run = script([YIELD])
        run.run()
        run.instance.interrupt()
        assert run.instance.runnable
        assert run.run() is Step.TRAPPED
        assert run.instance.trap is not None
        assert run.instance.trap.kind is TrapKind.STOPPED

    def test_the_cpu_budget_ends_a_loop(self, script: ScriptRunner) -> None:
        run = script([SPIN], limits=Limits(cpu_time=0.02))
        assert run.run() is Step.TRAPPED
        trap = run.instance.trap
        assert trap is not None
        assert trap.kind is TrapKind.CPU_TIME
        assert "0.020 seconds" in trap.message
        assert run.instance.cpu_time >= 0.02

    def test_the_cpu_budget_counts_many_short_runs(self, script: ScriptRunner) -> None:
        run = script([(Op.COUNT, 300_000), YIELD] * 200, limits=Limits(cpu_time=0.005))
        while run.run() is Step.PARKED:
            run.instance.release()
        assert run.instance.trap is not None
        assert run.instance.trap.kind is TrapKind.CPU_TIME

    def test_a_budget_that_is_renewed_lasts(self, script: ScriptRunner) -> None:
        """It is renewed faster than anything could use it up."""
        limits = Limits(cpu_time=0.005, cpu_renewal=1000.0)
        run = script([(Op.COUNT, 300_000), YIELD] * 100, limits=limits)
        while (step := run.run()) is Step.PARKED:
            run.instance.release()
        assert step is Step.FINISHED
        assert run.instance.cpu_time > 0.005

    def test_a_renewed_budget_ends_what_uses_more(self, script: ScriptRunner) -> None:
        run = script([SPIN], limits=Limits(cpu_time=0.02, cpu_renewal=0.5))
        assert run.run() is Step.TRAPPED
        trap = run.instance.trap
        assert trap is not None
        assert trap.kind is TrapKind.CPU_TIME
        assert "0.020 seconds of cpu time, with 0.5 more each second" in trap.message
        assert run.instance.cpu_time >= 0.04


class TestStartFunction:
    def test_it_runs_before_instantiate_returns(self, engine: Engine) -> None:
        wat = f"(module {MEMORY} (func $start (i32.store (i32.const 2000) (i32.const 7))) (start $start))"
        assert instance_of(engine, wat).read(2000, 1) == b"\x07"

    def test_its_trap_is_reported(self, engine: Engine) -> None:
        with pytest.raises(StartTrapped) as caught:
            instance_of(engine, f"(module {MEMORY} (func $start unreachable) (start $start))")
        assert caught.value.trap.kind is TrapKind.UNREACHABLE
        assert caught.value.trap.backtrace[0].function == "start"
        assert engine.guests == 0

    def test_an_endless_one_is_ended(self, engine: Engine) -> None:
        with pytest.raises(StartTrapped) as caught:
            instance_of(
                engine,
                f"(module {MEMORY} (func $start (loop $l (br $l))) (start $start))",
                Limits(start_time=0.01),
            )
        assert caught.value.trap.kind is TrapKind.START_TIME
        assert engine.guests == 0

    HOSTCALLS = """(import "test" "create" (func $create (param i32 i32) (result i32)))
      (import "test" "poll" (func $poll (param i32 i32 i32 i32) (result i32)))
      (import "selium::async" "yield_now" (func $yield))"""

    def test_it_may_create_futures(self, engine: Engine) -> None:
        wat = f"""(module {self.HOSTCALLS} {MEMORY} (data (i32.const 8000) "abc")
          (func $start (drop (call $create (i32.const 8000) (i32.const 3)))) (start $start)
          (func (export "run") (call $yield)))"""
        instance = instance_of(engine, wat)
        instance.start("run")
        assert run_to_stop(instance) is Step.PARKED
        assert instance.submissions() == [(0, 1, b"abc")]

    @pytest.mark.parametrize(
        "body",
        [
            "(call $yield)",
            """(drop (call $poll (call $create (i32.const 0) (i32.const 0))
                (i32.const 1) (i32.const 0) (i32.const 64)))""",
            "(drop (call $create (i32.const 65530) (i32.const 7)))",
        ],
    )
    def test_what_needs_the_mailbox_or_is_misused_traps(self, engine: Engine, body: str) -> None:
        with pytest.raises(StartTrapped) as caught:
            instance_of(engine, f"(module {self.HOSTCALLS} {MEMORY} (func $start {body}) (start $start))")
        assert caught.value.trap.kind is TrapKind.HOSTCALL

    def test_poll_of_an_unknown_future_answers(self, engine: Engine) -> None:
        wat = f"""(module {self.HOSTCALLS} {MEMORY}
          (func $start (i32.store (i32.const 3000)
            (call $poll (i32.const 9) (i32.const 1) (i32.const 2000) (i32.const 64)))) (start $start))"""
        assert instance_of(engine, wat).read(3000, 4) == b"\x01\0\0\x80"


class TestRefusals:
    def test_no_memory(self, engine: Engine) -> None:
        for wat in ["(module)", "(module (memory 1))", '(module (func (export "memory")))']:
            with pytest.raises(NoMemory):
                instance_of(engine, wat)

    def test_an_empty_memory_has_no_room_for_the_mailbox(self, engine: Engine) -> None:
        with pytest.raises(StartError, match="mailbox"):
            instance_of(engine, '(module (memory (export "memory") 0 0))')

    def test_data_outside_memory_is_a_start_trap(self, engine: Engine) -> None:
        with pytest.raises(StartTrapped) as caught:
            instance_of(engine, f'(module {MEMORY} (data (i32.const 65535) "ab"))')
        assert caught.value.trap.kind is TrapKind.MEMORY_OUT_OF_BOUNDS

    def test_unknown_imports_and_wrong_types_do_not_link(self, engine: Engine) -> None:
        for wat in [
            '(module (import "other" "create" (func)))',
            '(module (import "test" "frobnicate" (func)))',
            '(module (import "test" "create" (func (param i32))))',
            '(module (import "selium::async" "yield_now" (func (result i32))))',
            '(module (import "test" "memory" (memory 1)))',
        ]:
            with pytest.raises(LinkError):
                instance_of(engine, wat)

    def test_every_place_can_be_taken_and_comes_back(self, script: ScriptRunner) -> None:
        runs = [script([YIELD]) for _ in range(16)]
        with pytest.raises(Exhausted, match="16 places"):
            script([YIELD])
        runs[3].instance.close()
        assert script([YIELD]).run() is Step.PARKED
        assert [run.run() for run in runs[:3]] == [Step.PARKED] * 3

    def test_a_closed_instance_refuses_everything(self, script: ScriptRunner) -> None:
        run = script([YIELD])
        run.instance.close()
        run.instance.close()
        assert run.instance.closed
        assert not run.instance.runnable
        calls: list[Callable[[], object]] = [
            run.instance.resume,
            run.instance.submissions,
            run.instance.offload,
            run.instance.interrupt,
            run.instance.release,
            lambda: run.instance.start("run"),
            lambda: run.instance.read(0, 1),
            lambda: run.instance.write(0, b""),
            lambda: run.instance.complete(0, b""),
            lambda: run.instance.fail(0, ""),
            lambda: run.instance.results,
            lambda: run.instance.trap,
            lambda: run.instance.cpu_time,
            lambda: run.instance.memory_size,
        ]
        for call in calls:
            with pytest.raises(InstanceClosed):
                call()
