"""The ring of task ids in guest memory, as docs/guests.md, "The guest's mailbox", has it."""

from __future__ import annotations

import struct

import pytest

from enfilade.hostcalls.engine import Limits, Step, TrapKind
from tests.hostcalls.engine.script import (
    CAPACITY,
    DRAIN,
    RESULT,
    YIELD,
    Op,
    Script,
    ScriptRunner,
    create,
    poll,
)


def complete_all(run: Script) -> None:
    for key, _, _ in run.instance.submissions():
        run.instance.complete(key, b"")


def test_a_fresh_mailbox_is_zero_and_the_ring_ends_at_1040(script: ScriptRunner) -> None:
    run = script([(Op.CREATE_MANY, 0, 0, 256), (Op.POLL_MANY, 256, 1000, RESULT, CAPACITY), YIELD])
    assert run.instance.read(0, 1040) == bytes(1040)
    run.run()
    complete_all(run)
    assert run.word(0) == 0
    assert run.mailbox() == (1, 0, 256)
    assert run.ring() == [1000 + number for number in range(256)]
    assert run.word(16 + 4 * 255) == 1255
    assert run.word(1040) == 0


def test_abi_3_what_does_not_fit_waits_with_the_host_and_follows_in_order(script: ScriptRunner) -> None:
    run = script(
        [
            (Op.CREATE_MANY, 0, 0, 300),
            (Op.POLL_MANY, 300, 1000, RESULT, CAPACITY),
            YIELD,
            YIELD,  # the flag is still up: returns at once
            DRAIN,
            YIELD,  # 44 were waiting: they are in the ring now
            (Op.LOAD, 12),
            DRAIN,
            YIELD,
        ]
    )
    run.run()
    complete_all(run)
    assert run.ring() == [1000 + number for number in range(256)]
    assert run.run() is Step.PARKED
    assert run.results()[4:8] == [256, 0, 300, 44]
    assert run.mailbox() == (0, 300, 300)
    assert [run.word(16 + 4 * slot) for slot in range(44)] == [1256 + slot for slot in range(44)]


def test_any_hostcall_tops_the_ring_up(script: ScriptRunner) -> None:
    run = script(
        [(Op.CREATE_MANY, 0, 0, 257), (Op.POLL_MANY, 257, 0, RESULT, CAPACITY), YIELD, DRAIN, create(), YIELD]
    )
    run.run()
    complete_all(run)
    run.run()
    assert run.results()[3] == 256
    assert run.mailbox() == (1, 256, 257)
    assert run.ring() == [256]


def test_abi_3_ready_at_poll_overflows_too(script: ScriptRunner) -> None:
    run = script([(Op.CREATE_MANY, 0, 0, 300), YIELD, (Op.POLL_MANY, 300, 0, RESULT, CAPACITY), DRAIN, YIELD])
    run.run()
    complete_all(run)
    run.instance.release()
    run.run()
    assert run.results()[3] == 256
    assert run.ring() == list(range(43, -1, -1)), "polled from the last to the first"


def test_cursors_wrap_at_two_to_the_32(script: ScriptRunner) -> None:
    rounds: list[tuple[int, ...]] = []
    for _ in range(3):
        rounds += [(Op.CREATE_MANY, 0, 0, 200), (Op.POLL_MANY, 200, 0, RESULT, CAPACITY), YIELD, DRAIN]
        rounds += [(Op.POLL_MANY, 200, 0, RESULT, CAPACITY), DRAIN]
    run = script(rounds)
    for _ in range(3):
        assert run.run() is Step.PARKED
        complete_all(run)
        assert run.ring() == list(range(200))
    assert run.run() is Step.FINISHED
    assert run.mailbox() == (0, 1200, 1200)
    assert [count for count in run.results() if count == 200] == [200] * 6


def test_nothing_is_written_while_the_guest_is_preempted(script: ScriptRunner) -> None:
    """A guest that is stopped in the middle of draining the ring would lose what is written then."""
    mark = 0x9000
    counting = [(Op.STORE, mark, 1), (Op.COUNT, 60_000_000)]
    run = script([create(), poll(0, 9), *counting, (Op.LOAD, 12), YIELD, (Op.LOAD, 12)])
    while not run.word(mark):  # on a busy machine its first slice may end before it has asked
        assert run.instance.resume() is Step.PREEMPTED
    complete_all(run)
    assert run.mailbox() == (0, 0, 0)
    run.run()
    assert run.results()[4] == 0
    assert run.results()[6] == 1
    assert run.ring() == [9]


def test_a_wrong_head_harms_the_guest_alone(script: ScriptRunner) -> None:
    run = script([create(), poll(0, 9), (Op.STORE, 8, 5000), YIELD])
    run.run()
    complete_all(run)
    assert run.mailbox() == (0, 5000, 0)
    assert not run.instance.runnable


def test_a_guest_cannot_move_the_tail(script: ScriptRunner) -> None:
    run = script([create(), poll(0, 9), (Op.STORE, 12, 77), YIELD])
    run.run()
    complete_all(run)
    assert run.mailbox() == (1, 0, 1)


def test_ids_that_wait_for_the_ring_are_bounded(script: ScriptRunner) -> None:
    """A guest that never drains the ring, but clears the flag, has its ids kept up to a limit."""
    rounds = [(Op.CREATE_MANY, 0, 0, 500), (Op.STORE, 4, 0), YIELD, (Op.POLL_MANY, 500, 0, RESULT, CAPACITY)]
    run = script(rounds * 3, limits=Limits(futures=600))
    step = run.run()
    while step is Step.PARKED:
        complete_all(run)
        run.instance.release()
        step = run.run()
    assert step is Step.TRAPPED
    assert run.instance.trap is not None
    assert run.instance.trap.kind is TrapKind.LIMIT
    assert "task ids wait for the mailbox" in run.instance.trap.message


class TestYield:
    def test_it_returns_at_once_while_the_flag_is_up(self, script: ScriptRunner) -> None:
        run = script([(Op.STORE, 4, 1), YIELD, YIELD, (Op.STORE, 4, 0), YIELD])
        assert run.run() is Step.PARKED
        assert run.run() is Step.PARKED

    def test_a_resume_without_a_wake_changes_nothing(self, script: ScriptRunner) -> None:
        run = script([YIELD, YIELD])
        for _ in range(3):
            assert run.run() is Step.PARKED
            assert not run.instance.runnable

    def test_a_release_lets_it_out_once_with_an_empty_ring(self, script: ScriptRunner) -> None:
        run = script([YIELD, (Op.LOAD, 4), (Op.LOAD, 12), YIELD])
        run.run()
        run.instance.release()
        assert run.instance.runnable
        assert run.run() is Step.PARKED
        assert run.results()[1:3] == [0, 0]
        assert not run.instance.runnable

    @pytest.mark.parametrize("answered", [False, True])
    def test_wake_is_called_once_when_a_parked_guest_becomes_runnable(
        self, script: ScriptRunner, answered: bool
    ) -> None:
        calls: list[bool] = []
        run = script([create(), create(), poll(0, 1), poll(1, 2), YIELD], wake=lambda: calls.append(True))
        run.run()
        for key, _, _ in run.instance.submissions():
            if answered:
                run.instance.complete(key, b"")
            else:
                run.instance.fail(key, "no")
        assert calls == [True]
        assert struct.unpack("<2I", run.instance.read(16, 8)) == (1, 2)
