"""Guests that mean harm: they hurt themselves alone."""

from __future__ import annotations

import pytest

from enfilade.hostcalls.engine import DROPPED, Engine, Limits, StartTrapped, Step, TrapKind
from tests.hostcalls.engine.script import SPIN, YIELD, ScriptRunner, run_to_stop
from tests.hostcalls.engine.test_leaks import resident
from tests.hostcalls.engine.test_running import MEMORY, instance_of

HOSTCALLS = """(import "test" "create" (func $create (param i32 i32) (result i32)))
  (import "test" "poll" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "test" "drop" (func $drop (param i32 i32 i32) (result i32)))
  (import "selium::async" "yield_now" (func $yield))"""


def test_hostcalls_from_the_last_byte_of_the_stack(engine: Engine) -> None:
    """Each level of an endless recursion calls the host, down to where the stack ends."""
    wat = f"""(module {HOSTCALLS} {MEMORY}
      (func $down (param i64 i64 i64)
        (drop (call $poll (i32.const 3000) (i32.const 1) (i32.const 4000) (i32.const 256)))
        (drop (call $drop (i32.const 3000) (i32.const 4000) (i32.const 256)))
        (drop (memory.grow (i32.const 0)))
        (call $down (local.get 1) (local.get 2) (local.get 0))
        (call $down (local.get 2) (local.get 0) (local.get 1)))
      (func (export "run") (call $down (i64.const 1) (i64.const 2) (i64.const 3))))"""
    instance = instance_of(engine, wat)
    instance.start("run")
    assert run_to_stop(instance) is Step.TRAPPED
    assert instance.trap is not None
    assert instance.trap.kind is TrapKind.STACK_OVERFLOW


def test_parking_deep_in_the_stack_and_being_closed_there(engine: Engine) -> None:
    wat = f"""(module {HOSTCALLS} {MEMORY}
      (func $down (param i32)
        (if (i32.eqz (local.get 0)) (then (call $yield)) (else
          (call $down (i32.sub (local.get 0) (i32.const 1))))))
      (func (export "run") (call $down (i32.const 5000))))"""
    for _ in range(20):
        instance = instance_of(engine, wat)
        instance.start("run")
        assert run_to_stop(instance) is Step.PARKED
        instance.close()
    assert engine.guests == 0


def test_an_import_as_the_start_function(engine: Engine) -> None:
    with pytest.raises(StartTrapped) as caught:
        instance_of(engine, f"(module {HOSTCALLS} {MEMORY} (start $yield))")
    assert caught.value.trap.kind is TrapKind.HOSTCALL
    assert engine.guests == 0


def test_imports_as_entrypoints(engine: Engine) -> None:
    wat = f"""(module {HOSTCALLS} {MEMORY} (export "yield" (func $yield)) (export "create" (func $create))
      (export "poll" (func $poll)) (export "drop" (func $drop)))"""
    parked = instance_of(engine, wat)
    parked.start("yield")
    assert run_to_stop(parked) is Step.PARKED
    parked.close()
    created = instance_of(engine, wat)
    created.start("create", [0, 4])
    assert run_to_stop(created) is Step.FINISHED
    assert (created.results, created.submissions()) == ((0,), [(0, 1, bytes(4))])
    misused = instance_of(engine, wat)
    misused.start("create", [-1, 4])
    assert run_to_stop(misused) is Step.TRAPPED
    assert misused.trap is not None
    assert misused.trap.kind is TrapKind.HOSTCALL
    polled = instance_of(engine, wat)
    polled.start("poll", [5, 1, 4000, 100])
    assert run_to_stop(polled) is Step.FINISHED
    assert polled.results == (-(1 << 31) + 1,)


def test_a_memory_bomb_gets_what_its_limit_says(engine: Engine) -> None:
    wat = f"""(module {MEMORY} (func (export "run") (result i32)
      (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
      (memory.fill (i32.const 0) (i32.const 1) (i32.mul (memory.size) (i32.const 65536)))
      (memory.size)))"""
    before = resident()
    instance = instance_of(engine, wat, Limits(memory=20 << 20))
    instance.start("run")
    assert run_to_stop(instance) is Step.FINISHED
    assert instance.results == (320,)
    assert resident() - before < 30 << 20
    instance.close()
    assert resident() - before < 4 << 20


def test_a_table_bomb_gets_what_its_limit_says(engine: Engine) -> None:
    wat = f"""(module {MEMORY} (table $t 1 funcref) (func (export "run") (result i32)
      (loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 100)) (i32.const -1))))
      (table.size $t)))"""
    instance = instance_of(engine, wat, Limits(table_elements=1000))
    instance.start("run")
    assert run_to_stop(instance) is Step.FINISHED
    assert instance.results == (901,)


def test_endless_bulk_operations_give_way(engine: Engine) -> None:
    wat = f"""(module {MEMORY} (func (export "run") (loop $ever
      (memory.fill (i32.const 0) (i32.const 7) (i32.const 0x1000000)) (br $ever))))"""
    instance = instance_of(engine, wat)
    instance.start("run")
    assert [instance.resume() for _ in range(3)] == [Step.PREEMPTED] * 3


def test_creating_and_dropping_for_ever_gives_way_and_stays_small(engine: Engine) -> None:
    wat = f"""(module {HOSTCALLS} {MEMORY} (func (export "run") (loop $ever
      (drop (call $drop (call $create (i32.const 0) (i32.const 1000)) (i32.const 4000) (i32.const 256)))
      (br $ever))))"""
    instance = instance_of(engine, wat)
    instance.start("run")
    before = resident()
    for _ in range(200):
        assert instance.resume() is Step.PREEMPTED
        taken = instance.submissions()
        begun = [key for key, index, _ in taken if index != DROPPED]
        assert begun == [key for key, index, _ in taken if index == DROPPED]
    assert resident() - before < 16 << 20


def test_a_guest_that_ignores_the_caller_cannot_grow_the_queue(engine: Engine) -> None:
    """The caller resumes without taking what was submitted: the guest meets its limit."""
    wat = f"""(module {HOSTCALLS} {MEMORY} (func (export "run") (loop $ever
      (drop (call $drop (call $create (i32.const 0) (i32.const 60000)) (i32.const 4000) (i32.const 256)))
      (br $ever))))"""
    instance = instance_of(engine, wat, Limits(queued_bytes=1 << 20))
    instance.start("run")
    assert run_to_stop(instance) is Step.TRAPPED
    assert instance.trap is not None
    assert instance.trap.kind is TrapKind.LIMIT


def test_writing_over_the_mailbox_hurts_the_guest_alone(engine: Engine, script: ScriptRunner) -> None:
    wat = f"""(module {HOSTCALLS} {MEMORY} (func (export "run") (local $n i32) (loop $ever
      (memory.fill (i32.const 0) (local.get $n) (i32.const 1040))
      (drop (call $poll (call $create (i32.const 0) (i32.const 0))
        (local.get $n) (i32.const 4000) (i32.const 256)))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (call $yield) (br $ever))))"""
    instance = instance_of(engine, wat, Limits(futures=2000))
    instance.start("run")
    bystander = script([YIELD])
    bystander.run()
    step = run_to_stop(instance)
    while step is not Step.TRAPPED:
        for key, _, _ in instance.submissions():
            instance.complete(key, b"ok")
        instance.release()
        step = run_to_stop(instance)
    assert instance.trap is not None
    assert instance.trap.kind is TrapKind.LIMIT
    assert bystander.mailbox() == (0, 0, 0)
    assert not bystander.instance.runnable


def test_endless_loops_on_workers_leave_the_caller_alone(script: ScriptRunner) -> None:
    endless = [script([SPIN]) for _ in range(3)]
    for run in endless:
        run.instance.offload()
    patient = script([YIELD] * 1000)
    for _ in range(1000):
        assert patient.run() is Step.PARKED
        patient.instance.release()
    assert patient.run() is Step.FINISHED
    assert all(run.instance.offloaded for run in endless)
