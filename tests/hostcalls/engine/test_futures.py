"""create, poll and drop, as docs/guests.md, "Create, poll, drop", has them."""

from __future__ import annotations

import struct

import pytest
import wasmtime

from enfilade.hostcalls.engine import DROPPED, RETURNED, TAKEN, Engine, Import, Limits, Step, TrapKind
from tests.hostcalls.engine.script import (
    DRAIN,
    FAILED,
    GRANTED,
    OTHER,
    PENDING,
    RESULT,
    YIELD,
    Op,
    ScriptRunner,
    create,
    drop,
    ignore,
    poll,
)


def error_payload(message: bytes) -> bytes:
    """What the specification's examples show: a length, then an rkyv string."""
    if len(message) <= 8:
        return struct.pack("<I", 8) + message.ljust(8, b"\xff")
    padded = message + bytes(-len(message) % 4)
    size = len(message)
    tagged = (size & 0x3F) | 0x80 | ((size & ~0x3F) << 2)
    return struct.pack("<I", len(padded) + 8) + padded + struct.pack("<Ii", tagged, -len(padded))


def test_create_copies_its_arguments(script: ScriptRunner) -> None:
    run = script(
        [(Op.STORE, 0x9000, 0x64636261), create(0x9000, 3), (Op.STORE, 0x9000, 0), create(0, 0), YIELD]
    )
    assert run.run() is Step.PARKED
    assert run.instance.submissions() == [(0, GRANTED, b"abc"), (1 << 32 | 1, GRANTED, b"")]
    assert run.instance.submissions() == []


def test_submissions_name_the_hostcall(script: ScriptRunner) -> None:
    run = script([(Op.CREATE_OTHER, 0, 4), create(), YIELD])
    run.run()
    assert [(index, arguments) for _, index, arguments in run.instance.submissions()] == [
        (OTHER, bytes(4)),
        (GRANTED, b""),
    ]


def test_abi_4_ids_start_at_0_and_the_last_freed_is_reused_first(script: ScriptRunner) -> None:
    run = script([create(), create(), create(), drop(0), drop(2), create(), create(), create(), YIELD])
    run.run()
    assert run.results() == [0, 1, 2, 0, 0, 2, 0, 3, 0]


def test_poll_of_a_pending_future_then_of_a_ready_one(script: ScriptRunner) -> None:
    run = script([create(), poll(0, 77), YIELD, DRAIN, poll(0, 78), poll(0, 79), YIELD])
    assert run.run() is Step.PARKED
    assert run.results()[1] == PENDING
    ((key, _, _),) = run.instance.submissions()
    run.instance.complete(key, b"hello")
    assert run.instance.runnable
    assert run.ring() == [77]
    assert run.mailbox() == (1, 0, 1)
    run.run()
    assert run.results()[3:6] == [1, 5, FAILED]
    # Ready at poll: the task id comes into the mailbox although poll has answered.
    assert run.ring() == [78]
    assert run.instance.read(RESULT, 4) != b"hell"  # the third poll has overwritten it with an error


def test_abi_1_a_ready_result_is_written(script: ScriptRunner) -> None:
    run = script([create(), YIELD, poll(0, 5), YIELD])
    run.run()
    ((key, _, _),) = run.instance.submissions()
    run.instance.complete(key, b"0123456789")
    assert not run.instance.runnable, "no task has polled the future"
    assert run.mailbox() == (0, 0, 0)
    run.instance.release()
    run.run()
    assert run.results()[2] == 10
    assert run.instance.read(RESULT, 12) == b"0123456789\0\0"
    assert run.ring() == [5]


def test_an_empty_result_writes_nothing(script: ScriptRunner) -> None:
    run = script([(Op.STORE, RESULT, 0x12345678), create(), poll(0, 1), YIELD, poll(0, 2), YIELD])
    run.run()
    ((key, _, _),) = run.instance.submissions()
    run.instance.complete(key, b"")
    run.run()
    assert run.results()[4] == 0
    assert run.word(RESULT) == 0x12345678


def test_abi_3_a_re_poll_replaces_the_waker_without_waking_it(script: ScriptRunner) -> None:
    run = script([create(), poll(0, 10), poll(0, 11), poll(0, 12), YIELD])
    run.run()
    ((key, _, _),) = run.instance.submissions()
    run.instance.complete(key, b"x")
    assert run.ring() == [12]


def test_only_the_first_answer_counts(script: ScriptRunner) -> None:
    run = script([create(), poll(0, 10), YIELD, DRAIN, poll(0, 11), YIELD])
    run.run()
    ((key, _, _),) = run.instance.submissions()
    run.instance.complete(key, b"first")
    run.instance.complete(key, b"second")
    run.instance.fail(key, "third")
    assert run.ring() == [10]
    run.run()
    assert run.instance.read(RESULT, 5) == b"first"


def test_poll_of_an_unknown_future_is_an_error_payload(script: ScriptRunner) -> None:
    run = script([poll(3, 1), poll(0xFFFF_FFFF, 1), YIELD])
    run.run()
    assert run.results()[:2] == [FAILED, FAILED]
    expected = error_payload(b"resource not found")
    assert len(expected) == 32
    assert run.instance.read(RESULT, 32) == expected
    assert run.mailbox() == (0, 0, 0)


def test_poll_through_another_import_module_is_the_same_poll(script: ScriptRunner) -> None:
    run = script([create(), (Op.POLL_OTHER, 0, 5, RESULT, 64), YIELD])
    run.run()
    ((key, _, _),) = run.instance.submissions()
    run.instance.complete(key, b"")
    assert run.ring() == [5]


def test_abi_3_drop_answers_0_and_writes_nothing(script: ScriptRunner) -> None:
    run = script([(Op.STORE, RESULT, 7), create(), poll(0, 9), drop(0), drop(0), YIELD])
    run.run()
    assert run.results()[3:5] == [0, FAILED]
    (key, index, _), *ends = run.instance.submissions()
    assert index == GRANTED
    assert ends == [(key, DROPPED, b"")]
    assert run.instance.submissions() == []
    run.instance.complete(key, b"late")
    assert run.mailbox() == (0, 0, 0)
    assert not run.instance.runnable


def test_drop_of_a_ready_future_is_not_reported(script: ScriptRunner) -> None:
    """Its result holds nothing, so nobody need know."""
    run = script([create(), poll(0, 9), YIELD, drop(0), YIELD])
    run.run()
    ((key, _, _),) = run.instance.submissions()
    run.instance.complete(key, b"unread")
    run.run()
    assert run.instance.submissions() == []


def test_drop_of_an_offer_is_reported(script: ScriptRunner) -> None:
    run = script([create(), poll(0, 9), YIELD, drop(0), YIELD])
    run.run()
    ((key, _, _),) = run.instance.submissions()
    run.instance.offer(key, b"unread")
    assert run.instance.submissions() == []
    run.run()
    assert run.results()[3] == 0
    assert run.instance.submissions() == [(key, DROPPED, b"")]


def test_poll_of_an_offer_is_reported(script: ScriptRunner) -> None:
    run = script([create(), poll(0, 9), YIELD, poll(0, 10), YIELD])
    run.run()
    ((key, _, _),) = run.instance.submissions()
    run.instance.offer(key, b"result")
    run.run()
    assert run.results()[3] == 6
    assert run.instance.read(RESULT, 6) == b"result"
    assert run.instance.submissions() == [(key, TAKEN, b"")]


def test_offer_to_a_future_that_was_dropped_is_ignored(script: ScriptRunner) -> None:
    run = script([create(), poll(0, 9), drop(0), YIELD])
    run.run()
    (key, _, _), *ends = run.instance.submissions()
    assert ends == [(key, DROPPED, b"")]
    run.instance.offer(key, b"late")
    assert not run.instance.runnable


def test_ends_of_futures_come_between_the_operations_where_they_happened(script: ScriptRunner) -> None:
    run = script([create(), drop(0), create(), create(), drop(1), YIELD])
    run.run()
    taken = [(key & 0xFFFF_FFFF, index) for key, index, _ in run.instance.submissions()]
    assert taken == [(0, GRANTED), (0, DROPPED), (0, GRANTED), (1, GRANTED), (1, DROPPED)]


def test_drop_of_an_unknown_future_is_an_error_payload(script: ScriptRunner) -> None:
    run = script([drop(12), YIELD])
    run.run()
    assert run.results()[0] == FAILED
    assert run.instance.read(RESULT, 32) == error_payload(b"resource not found")


def test_a_late_answer_does_not_reach_the_future_that_took_the_id(script: ScriptRunner) -> None:
    run = script([create(), drop(0), create(), poll(0, 4), YIELD])
    run.run()
    (old, _, _), _, (new, _, _) = run.instance.submissions()
    assert old != new
    assert old & 0xFFFF_FFFF == new & 0xFFFF_FFFF == 0
    run.instance.complete(old, b"old")
    assert not run.instance.runnable
    run.instance.complete(new, b"new")
    assert run.instance.runnable


@pytest.mark.parametrize(
    "message",
    [
        "",
        "boom",
        "exactly8",
        "nine char",
        "permission denied",
        "x" * 64,
        "y" * 240,
        "gr\u00fc\u00dfe aus K\u00f6ln",
    ],
)
def test_abi_1_a_failure_is_an_error_payload(script: ScriptRunner, message: str) -> None:
    run = script([create(), poll(0, 1), YIELD, poll(0, 2), YIELD])
    run.run()
    ((key, _, _),) = run.instance.submissions()
    run.instance.fail(key, message)
    run.run()
    assert run.results()[3] == FAILED
    expected = error_payload(message.encode())
    assert run.instance.read(RESULT, len(expected)) == expected


@pytest.mark.parametrize("room", [12, 13, 19, 20, 23, 24, 27, 28, 63, 256])
@pytest.mark.parametrize("letter", ["a", "\u00e9", "\u20ac", "\U0001f30d"])
def test_abi_1_a_long_message_is_cut_to_the_buffer_at_a_character(
    script: ScriptRunner, room: int, letter: str
) -> None:
    run = script([create(), poll(0, 1), YIELD, poll(0, 2, RESULT, room), YIELD])
    run.run()
    ((key, _, _),) = run.instance.submissions()
    run.instance.write(RESULT, b"\xee" * 512)
    run.instance.fail(key, letter * 300)
    run.run()
    assert run.results()[3] == FAILED
    written = run.instance.read(RESULT, 512)
    assert written[room:] == b"\xee" * (512 - room), "nothing beyond the guest's buffer"
    (size,) = struct.unpack_from("<I", written)
    assert 4 + size <= room
    body = written[4 : 4 + size]
    text = body.rstrip(b"\xff") if size == 8 else body[: body[-8] & 0x3F | (body[-7] << 6)]
    assert set(text.decode()) <= {letter}
    most = max(8, (room - 12) & ~3)
    assert len(text) > most - len(letter.encode())
    assert written[: 4 + size] == error_payload(text)


def test_a_room_too_small_for_any_error_traps(script: ScriptRunner) -> None:
    run = script([poll(3, 1, RESULT, 11)])
    assert run.run() is Step.TRAPPED
    assert run.instance.trap is not None
    assert run.instance.trap.kind is TrapKind.HOSTCALL


@pytest.mark.parametrize(
    ("pointer", "size"),
    [
        (-1, 1),
        (-4, 0),
        (0x0100_0000, 1),
        (0x00FF_FFFF, 2),
        (0, 0x0100_0001),
        (16, 0xFFFF_FFFF),
        (0x7FFF_FFFF, 0),
    ],
)
def test_create_with_arguments_outside_memory_traps(script: ScriptRunner, pointer: int, size: int) -> None:
    run = script([create(pointer, size)])
    assert run.run() is Step.TRAPPED
    trap = run.instance.trap
    assert trap is not None
    assert trap.kind is TrapKind.HOSTCALL
    assert "outside a memory of 16777216 bytes" in trap.message
    assert trap.backtrace
    assert run.instance.submissions() == []


def test_abi_12_arguments_up_to_the_last_byte_and_in_memory_grown_since(script: ScriptRunner) -> None:
    run = script(
        [create(0x00FF_FFFF, 1), create(0x0100_0000, 0), (Op.GROW, 1), create(0x0100_0000, 4), YIELD]
    )
    assert run.run() is Step.PARKED
    assert [arguments for _, _, arguments in run.instance.submissions()] == [b"\0", b"", bytes(4)]


@pytest.mark.parametrize("pointer", [-1, 0x00FF_FFFF, 0x7FFF_FFFF])
def test_a_result_outside_memory_traps(script: ScriptRunner, pointer: int) -> None:
    run = script([create(), poll(0, 1), YIELD, poll(0, 2, pointer, 256)])
    run.run()
    ((key, _, _),) = run.instance.submissions()
    run.instance.complete(key, b"12345678")
    assert run.run() is Step.TRAPPED
    assert run.instance.trap is not None
    assert run.instance.trap.kind is TrapKind.HOSTCALL


def test_a_result_larger_than_the_buffer_traps(script: ScriptRunner) -> None:
    run = script([create(), poll(0, 1), YIELD, poll(0, 2, RESULT, 7)])
    run.run()
    ((key, _, _),) = run.instance.submissions()
    run.instance.complete(key, b"12345678")
    assert run.run() is Step.TRAPPED
    assert run.instance.trap is not None
    assert "result of 8 bytes, larger than the buffer of 7" in run.instance.trap.message


class TestDenied:
    """A guest without the capability is denied at its first poll.

    Source: docs/guests.md, "A hostcall that was not granted".
    """

    def test_abi_5_create_ignores_its_arguments_and_is_not_submitted(self, script: ScriptRunner) -> None:
        run = script([(Op.CREATE_DENIED, -1, 0xFFFF_FFFF), create(), YIELD])
        assert run.run() is Step.PARKED
        assert run.results()[:2] == [0, 1]
        assert [index for _, index, _ in run.instance.submissions()] == [GRANTED]

    def test_abi_3_abi_5_the_first_poll_fails_and_wakes_nobody(self, script: ScriptRunner) -> None:
        run = script(
            [(Op.CREATE_DENIED,), (Op.POLL_DENIED, 0, 5, RESULT, 256), poll(0, 6, RESULT + 256), YIELD]
        )
        run.run()
        assert run.results()[1:3] == [FAILED, FAILED]
        assert run.instance.read(RESULT, 32)[:32] == error_payload(b"permission denied")
        assert run.instance.read(RESULT + 256, 32) == error_payload(b"resource not found")
        assert run.mailbox() == (0, 0, 0)

    def test_it_fails_in_the_start_function_too(self, engine: Engine) -> None:
        """A stub needs no mailbox: instantiation never fails for lack of a capability."""
        source = """(module
            (import "test::denied" "create" (func $create (param i32 i32) (result i32)))
            (import "test::denied" "poll" (func $poll (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 17)
            (func $start
              (i32.store (i32.const 2000)
                (call $poll (call $create (i32.const -1) (i32.const -1))
                            (i32.const 7) (i32.const 32768) (i32.const 256))))
            (start $start))"""
        module = engine.compile(bytes(wasmtime.wat2wasm(source)))
        linked = engine.link(module, [Import("test::denied", 9, denied=True)])
        instance = engine.instantiate(linked, Limits(), ignore)
        assert int.from_bytes(instance.read(2000, 4), "little") == FAILED
        assert instance.read(RESULT, 32) == error_payload(b"permission denied")
        assert instance.read(4, 12) == bytes(12)

    def test_the_host_is_told_once_of_each(self, script: ScriptRunner) -> None:
        run = script([(Op.CREATE_DENIED,), YIELD, (Op.CREATE_DENIED,), YIELD])
        assert run.instance.refusals() == ()
        run.run()
        assert run.instance.refusals() == (9,)
        assert run.instance.refusals() == ()
        run.instance.release()
        run.run()
        assert run.instance.refusals() == ()

    def test_drop_is_as_ever_and_not_reported(self, script: ScriptRunner) -> None:
        run = script([(Op.CREATE_DENIED,), (Op.DROP_DENIED, 0, RESULT, 256), (Op.CREATE_DENIED,), YIELD])
        run.run()
        assert run.results()[:3] == [0, 0, 0]
        assert run.instance.submissions() == []


class TestLimits:
    def test_futures_beyond_the_limit_trap(self, script: ScriptRunner) -> None:
        run = script([(Op.CREATE_MANY, 0, 0, 100), YIELD, create()], limits=Limits(futures=100))
        assert run.run() is Step.PARKED
        run.instance.release()
        assert run.run() is Step.TRAPPED
        assert run.instance.trap is not None
        assert run.instance.trap.kind is TrapKind.LIMIT
        assert "100 futures" in run.instance.trap.message

    def test_a_million_pending_futures(self, script: ScriptRunner) -> None:
        run = script([(Op.CREATE_MANY, 0, 0, 1_000_000), YIELD])
        taken = 0
        while (step := run.instance.resume()) is Step.PREEMPTED:
            taken += len(run.instance.submissions())
        assert step is Step.TRAPPED
        assert run.instance.trap is not None
        assert run.instance.trap.kind is TrapKind.LIMIT
        assert taken <= Limits().futures

    def test_a_guest_that_submits_much_gives_way(self, script: ScriptRunner) -> None:
        run = script([(Op.CREATE_MANY, 0, 0, 3000), YIELD])
        batches: list[int] = []
        while run.instance.resume() is Step.PREEMPTED:
            batches.append(len(run.instance.submissions()))
        assert len(batches) >= 2
        assert max(batches) <= 1100

    def test_queued_arguments_beyond_the_limit_trap(self, script: ScriptRunner) -> None:
        run = script([create(0, 60_000), create(0, 60_000)], limits=Limits(queued_bytes=100_000))
        assert run.run() is Step.TRAPPED
        assert run.instance.trap is not None
        assert run.instance.trap.kind is TrapKind.LIMIT

    def test_taken_arguments_no_longer_count(self, script: ScriptRunner) -> None:
        run = script(
            [create(0, 60_000), YIELD, create(0, 60_000), YIELD], limits=Limits(queued_bytes=100_000)
        )
        run.run()
        run.instance.submissions()
        run.instance.release()
        assert run.run() is Step.PARKED

    def test_unread_results_beyond_the_limit_trap(self, script: ScriptRunner) -> None:
        run = script([create(), create(), YIELD], limits=Limits(queued_bytes=100_000))
        run.run()
        for key, _, _ in run.instance.submissions():
            run.instance.complete(key, bytes(60_000))
        assert run.instance.runnable, "it is to end, not to sleep"
        assert run.run() is Step.TRAPPED
        assert run.instance.trap is not None
        assert run.instance.trap.kind is TrapKind.LIMIT


def test_a_result_that_returns_comes_back_when_it_is_dropped(script: ScriptRunner) -> None:
    run = script(
        [
            (Op.CREATE_OTHER, 0, 0),
            (Op.CREATE_OTHER, 0, 0),
            poll(0, 9),
            poll(1, 9),
            YIELD,
            drop(0),
            poll(1, 10),
            YIELD,
        ]
    )
    run.run()
    (first, _, _), (second, _, _) = run.instance.submissions()
    run.instance.complete(first, b"unread")
    run.instance.complete(second, b"read")
    run.run()
    assert run.instance.submissions() == [(first, RETURNED, struct.pack("<I", OTHER) + b"unread")]


def test_results_that_return_can_be_taken_away(script: ScriptRunner) -> None:
    run = script(
        [
            (Op.CREATE_OTHER, 0, 0),
            (Op.CREATE_OTHER, 0, 0),
            poll(0, 9),
            poll(1, 9),
            YIELD,
            drop(0),
            drop(1),
            YIELD,
        ]
    )
    run.run()
    (first, _, _), (second, _, _) = run.instance.submissions()
    run.instance.complete(first, b"result")
    run.instance.return_results()
    assert run.instance.submissions() == [(first, RETURNED, struct.pack("<I", OTHER) + b"result")]
    run.run()
    assert run.instance.submissions() == [(second, DROPPED, b"")]
