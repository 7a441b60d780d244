"""`Instance.run`: the loop that resumes a guest and serves what it asks for."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest

from enfilade.hostcalls.engine import DROPPED, Engine, EngineConfig, GuestBusy, InstanceClosed, Pause, Step
from tests.hostcalls.engine.script import (
    DRAIN,
    GRANTED,
    PENDING,
    SPIN,
    YIELD,
    Op,
    Script,
    ScriptRunner,
    create,
    drop,
    poll,
)

AT_ONCE = -1.0
LONG = 60.0


@pytest.fixture
def config(config: EngineConfig) -> EngineConfig:
    """One that looks so seldom that a guest is not preempted by chance."""
    return attrs.evolve(config, tick=1.0)


@attrs.define
class Clerk:
    """Notes what it is asked for, and answers as `answer` says."""

    answer: Callable[[int, int, bytes], bytes | None] = lambda future, index, arguments: b"done"
    asked: list[tuple[int, int, bytes]] = attrs.field(factory=list)
    gone: list[int] = attrs.field(factory=list)

    def serve(self, future: int, index: int, arguments: bytes) -> bytes | None:
        if index == DROPPED:
            self.gone.append(future)
            return None
        self.asked.append((future, index, arguments))
        return self.answer(future, index, arguments)


def later(future: int, index: int, arguments: bytes) -> bytes | None:
    return None


def until_it_ends(run: Script, clerk: Clerk) -> None:
    while (pause := run.instance.run(clerk, LONG)) is not Pause.ENDED:
        assert pause in (Pause.READY, Pause.COMPUTING)


def test_what_is_answered_at_once_needs_one_run(script: ScriptRunner) -> None:
    once = [create(), poll(0, 7), YIELD, DRAIN, poll(0, 8), DRAIN]
    program = [*once, *once]
    run, clerk = script(program), Clerk()
    until_it_ends(run, clerk)
    assert run.instance.step is Step.FINISHED
    assert run.results() == [0, PENDING, 0, 1, 4, 1] * 2
    assert [(index, arguments) for _, index, arguments in clerk.asked] == [(GRANTED, b"")] * 2


def test_an_answer_that_comes_later_wakes_the_guest(script: ScriptRunner) -> None:
    woken: list[bool] = []
    run = script([create(), poll(0, 7), YIELD, poll(0, 8)], wake=lambda: woken.append(True))
    clerk = Clerk(later)
    assert run.instance.run(clerk, LONG) is Pause.WAITING
    assert run.instance.run(clerk, LONG) is Pause.WAITING
    run.instance.complete(clerk.asked[0][0], b"four")
    assert woken == [True]
    assert run.instance.run(clerk, LONG) is Pause.ENDED
    assert run.results() == [0, PENDING, 0, 4]


def test_many_are_answered_in_order(script: ScriptRunner) -> None:
    """More than the stage holds, some now and some later."""
    run = script([(Op.CREATE_MANY, 0x9000, 200, 300), (Op.POLL_MANY, 300, 1000, 0x8000, 256), YIELD])
    kept: list[int] = []

    def every_other(future: int, index: int, arguments: bytes) -> bytes | None:
        assert len(arguments) == 200
        if future & 1:
            kept.append(future)
            return None
        return b"now"

    clerk = Clerk(every_other)
    until_it_ends(run, clerk)
    assert [future & 0xFFFF_FFFF for future, _, _ in clerk.asked] == list(range(300))
    assert len(kept) == 150
    assert run.ring()[:3] == [1000, 1002, 1004]


def test_when_time_is_over_the_rest_waits(script: ScriptRunner) -> None:
    """Each run then serves one operation; the answers reach the guest all the same."""
    run = script([(Op.CREATE_MANY, 0x9000, 8, 5), poll(4, 7), YIELD, poll(4, 8)])
    clerk = Clerk()
    served = []
    while (pause := run.instance.run(clerk, AT_ONCE)) is not Pause.ENDED:
        assert pause is Pause.READY
        served.append(len(clerk.asked))
    assert served[:5] == [1, 2, 3, 4, 5]
    assert run.results()[1:] == [PENDING, 0, 4]


def test_dropped_futures_are_told_after_they_were_asked_for(script: ScriptRunner) -> None:
    run, clerk = script([create(), drop(0), create(), YIELD]), Clerk(later)
    assert run.instance.run(clerk, LONG) is Pause.WAITING
    assert clerk.gone == [clerk.asked[0][0]]
    assert clerk.asked[1][0] not in clerk.gone


def test_when_time_is_over_the_rest_of_the_drops_waits_too(script: ScriptRunner) -> None:
    futures = range(4)
    run, clerk = script([*(create() for _ in futures), *map(drop, futures), YIELD]), Clerk(later)
    told = []
    while run.instance.run(clerk, AT_ONCE) is not Pause.WAITING:
        told.append(len(clerk.gone))
    assert told == [0, 0, 0, 0, 1, 2, 3, 4]
    assert clerk.gone == [key for key, _, _ in clerk.asked]


def test_a_guest_that_computes_is_told_apart(script: ScriptRunner) -> None:
    run = script([SPIN])
    assert run.instance.run(Clerk(), LONG) is Pause.COMPUTING
    run = script([create(), SPIN])
    assert run.instance.run(Clerk(), AT_ONCE) is Pause.READY
    assert run.instance.run(Clerk(), AT_ONCE) is Pause.COMPUTING


@pytest.mark.parametrize("suspect", [False, True])
def test_what_it_has_asked_for_does_not_hide_that_it_computes(config: EngineConfig, suspect: bool) -> None:
    with Engine(config=attrs.evolve(config, tick=0.001)) as engine:
        run, clerk = ScriptRunner(engine)([create(), SPIN]), Clerk()
        while not clerk.asked:  # it may be preempted before it has asked
            assert run.instance.run(clerk, LONG, suspect=suspect) is Pause.COMPUTING


def test_the_server_may_close_the_guest(script: ScriptRunner) -> None:
    run = script([(Op.CREATE_MANY, 0x9000, 8, 5), YIELD])

    def close(future: int, index: int, arguments: bytes) -> bytes | None:
        run.instance.close()
        return b"too late"

    clerk = Clerk(close)
    assert run.instance.run(clerk, LONG) is Pause.ENDED
    assert len(clerk.asked) == 1
    with pytest.raises(InstanceClosed):
        run.instance.run(clerk, LONG)


def test_a_trap_and_what_was_asked_before_it(script: ScriptRunner) -> None:
    run, clerk = script([create(), (99,)]), Clerk()
    until_it_ends(run, clerk)
    assert run.instance.step is Step.TRAPPED
    assert len(clerk.asked) == 1


def test_a_guest_on_a_worker_is_not_run(script: ScriptRunner) -> None:
    run = script([SPIN])
    run.instance.run(Clerk(), LONG)
    run.instance.offload()
    with pytest.raises(GuestBusy):
        run.instance.run(Clerk(), LONG)


def test_runs_of_two_guests_do_not_mix(script: ScriptRunner) -> None:
    """The stage is one for all: what the first has asked for is out of it before the second runs."""
    other, second = script([create(0x9000, 4), YIELD]), Clerk(later)
    run = script([(Op.CREATE_MANY, 0x9000, 16, 3), YIELD])

    def run_the_other(future: int, index: int, arguments: bytes) -> bytes | None:
        other.instance.run(second, LONG)
        return None

    first = Clerk(run_the_other)
    run.instance.run(first, LONG)
    assert [len(arguments) for _, _, arguments in first.asked] == [16, 16, 16]
    assert [len(arguments) for _, _, arguments in second.asked] == [4]
