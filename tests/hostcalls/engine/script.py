"""A guest that does what a test writes into its memory, one instruction at a time.

The guest is a little interpreter in WAT. Its program lies at PROGRAM: records of eight words, of which the
first is the instruction, the next four are its operands, and the sixth receives its result. A test thus
drives every function of the guest ABI with any operand, and reads what the guest has seen.
"""

from __future__ import annotations

import enum
import functools
import struct
from collections.abc import Callable, Sequence

import wasmtime

from enfilade.hostcalls.engine import Engine, Import, Instance, Limits, Linked, Purse, Step

PROGRAM = 1 << 20
RECORD = 32

RESULT = 0x8000
"""Where results of polls go, unless a test says otherwise."""

CAPACITY = 256
PENDING = 0x8000_0000
FAILED = 0x8000_0001

GRANTED = 7
OTHER = 8

WAT = """
(module
  (import "test::granted" "create" (func $create (param i32 i32) (result i32)))
  (import "test::granted" "poll" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "test::granted" "drop" (func $drop (param i32 i32 i32) (result i32)))
  (import "test::other" "create" (func $create_other (param i32 i32) (result i32)))
  (import "test::other" "poll" (func $poll_other (param i32 i32 i32 i32) (result i32)))
  (import "test::denied" "create" (func $create_denied (param i32 i32) (result i32)))
  (import "test::denied" "poll" (func $poll_denied (param i32 i32 i32 i32) (result i32)))
  (import "test::denied" "drop" (func $drop_denied (param i32 i32 i32) (result i32)))
  (import "selium::async" "yield_now" (func $yield_now))
  (memory (export "memory") 17)

  (func (export "run") (param $count i32) (result i32)
    (local $at i32) (local $op i32) (local $a i32) (local $b i32) (local $c i32) (local $d i32) (local $r
    i32) (local.set $at (i32.const 1048576)) (block $end
      (loop $next
        (br_if $end (i32.eqz (local.get $count)))
        (local.set $op (i32.load (local.get $at)))
        (local.set $a (i32.load offset=4 (local.get $at)))
        (local.set $b (i32.load offset=8 (local.get $at)))
        (local.set $c (i32.load offset=12 (local.get $at)))
        (local.set $d (i32.load offset=16 (local.get $at)))
        (local.set $r (i32.const 0))
        (block $done
          (if (i32.eq (local.get $op) (i32.const 0)) (then
            (local.set $r (call $create (local.get $a) (local.get $b))) (br $done)))
          (if (i32.eq (local.get $op) (i32.const 1)) (then
            (local.set $r (call $poll (local.get $a) (local.get $b) (local.get $c) (local.get $d))) (br
            $done)))
          (if (i32.eq (local.get $op) (i32.const 2)) (then
            (local.set $r (call $drop (local.get $a) (local.get $b) (local.get $c))) (br $done)))
          (if (i32.eq (local.get $op) (i32.const 3)) (then (call $yield_now) (br $done)))
          (if (i32.eq (local.get $op) (i32.const 4)) (then
            (i32.store (local.get $a) (local.get $b)) (br $done)))
          (if (i32.eq (local.get $op) (i32.const 5)) (then
            (local.set $r (i32.load (local.get $a))) (br $done)))
          (if (i32.eq (local.get $op) (i32.const 6)) (then
            (local.set $r (call $create_denied (local.get $a) (local.get $b))) (br $done)))
          (if (i32.eq (local.get $op) (i32.const 7)) (then
            (local.set $r (call $poll_denied (local.get $a) (local.get $b) (local.get $c) (local.get $d)))
            (br $done)))
          (if (i32.eq (local.get $op) (i32.const 8)) (then
            (local.set $r (call $drop_denied (local.get $a) (local.get $b) (local.get $c))) (br $done)))
          (if (i32.eq (local.get $op) (i32.const 9)) (then
            (local.set $r (call $create_other (local.get $a) (local.get $b))) (br $done)))
          (if (i32.eq (local.get $op) (i32.const 10)) (then
            (local.set $r (call $poll_other (local.get $a) (local.get $b) (local.get $c) (local.get $d)))
            (br $done)))
          ;; drain: head := tail, flag := 0; the result is the number of entries
          (if (i32.eq (local.get $op) (i32.const 11)) (then
            (local.set $r (i32.sub (i32.load (i32.const 12)) (i32.load (i32.const 8))))
            (i32.store (i32.const 8) (i32.load (i32.const 12)))
            (i32.store (i32.const 4) (i32.const 0)) (br $done)))
          ;; create `c` futures at once
          (if (i32.eq (local.get $op) (i32.const 12)) (then
            (loop $more
              (local.set $r (call $create (local.get $a) (local.get $b)))
              (local.set $c (i32.sub (local.get $c) (i32.const 1)))
              (br_if $more (local.get $c))) (br $done)))
          ;; poll futures 0 .. a-1, each with task id b + its number
          (if (i32.eq (local.get $op) (i32.const 13)) (then
            (loop $more
              (local.set $a (i32.sub (local.get $a) (i32.const 1)))
              (local.set $r (call $poll (local.get $a) (i32.add (local.get $b) (local.get $a))
                                        (local.get $c) (local.get $d)))
              (br_if $more (local.get $a))) (br $done)))
          (if (i32.eq (local.get $op) (i32.const 14)) (then
            (local.set $r (memory.grow (local.get $a))) (br $done)))
          ;; count to `a`, which takes its time
          (if (i32.eq (local.get $op) (i32.const 15)) (then
            (loop $more
              (local.set $r (i32.add (local.get $r) (i32.const 1)))
              (br_if $more (i32.lt_u (local.get $r) (local.get $a)))) (br $done)))
          (if (i32.eq (local.get $op) (i32.const 16)) (then (loop $ever (br $ever))))
          (if (i32.eq (local.get $op) (i32.const 17)) (then
            (loop $more
              (local.set $r (call $poll (local.get $a) (local.get $b) (local.get $c) (local.get $d)))
              (br_if $more (i32.eq (local.get $r) (i32.const 0x80000000)))) (br $done)))
          (unreachable))
        (i32.store offset=20 (local.get $at) (local.get $r))
        (local.set $at (i32.add (local.get $at) (i32.const 32)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (i32.const 42)))
"""


class Op(enum.IntEnum):
    CREATE = 0
    POLL = 1
    DROP = 2
    YIELD = 3
    STORE = 4
    LOAD = 5
    CREATE_DENIED = 6
    POLL_DENIED = 7
    DROP_DENIED = 8
    CREATE_OTHER = 9
    POLL_OTHER = 10
    DRAIN = 11
    CREATE_MANY = 12
    POLL_MANY = 13
    GROW = 14
    COUNT = 15
    SPIN = 16
    POLL_UNTIL_READY = 17


Instruction = tuple[int, ...]


def create(pointer: int = 0x9000, size: int = 0) -> Instruction:
    return (Op.CREATE, pointer, size)


def poll(future: int, task: int, pointer: int = RESULT, room: int = CAPACITY) -> Instruction:
    return (Op.POLL, future, task, pointer, room)


def drop(future: int, pointer: int = RESULT, room: int = CAPACITY) -> Instruction:
    return (Op.DROP, future, pointer, room)


YIELD: Instruction = (Op.YIELD,)
DRAIN: Instruction = (Op.DRAIN,)
SPIN: Instruction = (Op.SPIN,)


@functools.cache
def wasm() -> bytes:
    return bytes(wasmtime.wat2wasm(WAT))


def ignore() -> None:
    pass


def run_to_stop(instance: Instance) -> Step:
    """Resume until the guest parks or ends."""
    while (step := instance.resume()) is Step.PREEMPTED:
        pass
    return step


class Script:
    """A guest with a program, started and not yet resumed."""

    def __init__(self, instance: Instance, count: int) -> None:
        self.instance = instance
        self.count = count

    def run(self) -> Step:
        return run_to_stop(self.instance)

    def results(self) -> list[int]:
        """Return the results of all instructions; those not reached have the result of a fresh memory, 0."""
        data = self.instance.read(PROGRAM, RECORD * self.count)
        return [struct.unpack_from("<I", data, RECORD * index + 20)[0] for index in range(self.count)]

    def word(self, address: int) -> int:
        (value,) = struct.unpack("<I", self.instance.read(address, 4))
        return int(value)

    def mailbox(self) -> tuple[int, int, int]:
        """Return flag, head and tail."""
        return self.word(4), self.word(8), self.word(12)

    def ring(self) -> list[int]:
        """Return the task ids between head and tail."""
        _, head, tail = self.mailbox()
        return [self.word(16 + 4 * (index % 256)) for index in range(head, tail)]


class ScriptRunner:
    """Makes scripts on one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def linked(self) -> Linked:
        return self.engine.link(
            self.engine.compile(wasm()),
            [
                Import("test::granted", GRANTED),
                Import("test::other", OTHER, returns=True),
                Import("test::denied", 9, denied=True),
            ],
        )

    def __call__(
        self,
        program: Sequence[Instruction],
        *,
        limits: Limits | None = None,
        wake: Callable[[], None] = ignore,
        purse: Purse | None = None,
    ) -> Script:
        instance = self.engine.instantiate(self.linked(), limits or Limits(), wake, purse)
        words = b"".join(
            struct.pack("<8I", *(value & 0xFFFF_FFFF for value in (*line, *([0] * (8 - len(line))))))
            for line in program
        )
        instance.write(PROGRAM, words)
        instance.start("run", [len(program)])
        return Script(instance, len(program))
