"""Hostcalls that the engine answers with the machine's clocks, without the host."""

from __future__ import annotations

import struct
import time

import pytest
import wasmtime

from enfilade.hostcalls.engine import Engine, EngineConfig, Import, Instance, Limits, Step, TrapKind

RESULT = 32768
SOURCE = f"""(module
  (import "selium::async" "yield_now" (func $yield))
  (import "test::clock" "create" (func $create (param i32 i32) (result i32)))
  (import "test::clock" "poll" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "test::clock" "drop" (func $drop (param i32 i32 i32) (result i32)))
  (memory (export "memory") 17)
  (func (export "ask") (param $times i32)
    (loop $again
      (i32.store (i32.const 2000)
        (call $poll (call $create (i32.const 1) (i32.const 0))
                    (i32.const 7) (i32.const {RESULT}) (i32.const 256)))
      (i32.store (i32.const 8) (i32.load (i32.const 12)))
      (i32.store (i32.const 4) (i32.const 0))
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1))))))
  (func (export "leave") (param $times i32)
    (loop $again
      (drop (call $create (i32.const 1) (i32.const 0)))
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1))))))
  (func (export "forget") (param $times i32)
    (loop $again
      (drop (call $drop (call $create (i32.const 1) (i32.const 0)) (i32.const 0) (i32.const 0)))
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1))))))
  (func (export "miss") (param $pointer i32)
    (drop (call $create (local.get $pointer) (i32.const 8)))))"""


def begun(engine: Engine, export: str, value: int, limits: Limits | None = None) -> Instance:
    module = engine.compile(bytes(wasmtime.wat2wasm(SOURCE)))
    linked = engine.link(module, [Import("test::clock", 3, clock=True)])
    instance = engine.instantiate(linked, limits or Limits(), lambda: None)
    instance.start(export, (value,))
    return instance


def ended(instance: Instance) -> Step:
    while (step := instance.resume()) is Step.PREEMPTED:
        assert instance.submissions() == []
    return step


def answer(instance: Instance) -> tuple[int, int]:
    unix, since = struct.unpack("<QQ", instance.read(RESULT, 16))
    return unix, since


def test_the_answer_is_there_at_the_first_poll() -> None:
    """Milliseconds since the epoch, and since the first guest of the engine has asked."""
    with Engine(config=EngineConfig(max_guests=3)) as engine:
        before = int(time.time() * 1000)
        first = begun(engine, "ask", 1)
        assert ended(first) is Step.FINISHED
        assert int.from_bytes(first.read(2000, 4), "little") == 16
        unix, since = answer(first)
        assert before <= unix <= int(time.time() * 1000)
        assert since == 0
        time.sleep(0.005)
        second = begun(engine, "ask", 1)
        assert ended(second) is Step.FINISHED
        assert answer(second)[1] >= 5
        assert answer(second)[1] - (answer(second)[0] - unix) in range(-1, 2)


def test_a_ready_answer_puts_its_task_into_the_mailbox() -> None:
    """The guest frees what the task id stands for, so that it must come (docs/guests.md, "Create, poll,
    drop").
    """
    with Engine(config=EngineConfig(max_guests=2)) as engine:
        guest = begun(engine, "ask", 1000)
        assert ended(guest) is Step.FINISHED
        assert struct.unpack("<II", guest.read(8, 8)) == (1000, 1000)
        assert struct.unpack("<256I", guest.read(16, 1024)) == (7,) * 256


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(futures=100), "more than 100 futures (limit futures)"),
        (Limits(queued_bytes=320), "more than 320 bytes queued (limit queued_bytes)"),
    ],
)
def test_answers_that_are_not_fetched_are_bounded(limits: Limits, message: str) -> None:
    """They count as futures and as bytes queued, like those of the host."""
    with Engine(config=EngineConfig(max_guests=2)) as engine:
        guest = begun(engine, "leave", 1000, limits)
        assert ended(guest) is Step.TRAPPED
        assert guest.trap is not None
        assert (guest.trap.kind, guest.trap.message) == (TrapKind.LIMIT, message)


def test_dropped_answers_are_free() -> None:
    with Engine(config=EngineConfig(max_guests=2)) as engine:
        guest = begun(engine, "forget", 1000, Limits(futures=1, queued_bytes=16))
        assert ended(guest) is Step.FINISHED
        assert guest.submissions() == []


@pytest.mark.parametrize("pointer", [-1, 17 * 65536 - 7, 0x7FFF_FFFF])
def test_arguments_must_lie_in_memory(pointer: int) -> None:
    with Engine(config=EngineConfig(max_guests=2)) as engine:
        guest = begun(engine, "miss", pointer, Limits(memory=17 * 65536))
        assert ended(guest) is Step.TRAPPED
        assert guest.trap is not None
        assert guest.trap.kind is TrapKind.HOSTCALL
