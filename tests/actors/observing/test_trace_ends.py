"""Whom a trace follows, and how it ends: by itself, in every case."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import KILL, Actor, Child, Node, Process, Refused, Supervisor, system
from enfilade.actors.observing.protocol.views import LIMITS, TraceView
from enfilade.actors.observing.watches.client import Client
from enfilade.transport.policy import Rights
from enfilade.transport.records import PayloadError
from tests.actors.observing.pair import observed

TRACE = Rights(trace=True)


class Till(Actor):
    def pay(self, coins: int) -> int:
        return coins

    def burn(self) -> None:
        raise ValueError("fire")


class Slow(Actor):
    async def pay(self, coins: int) -> int:
        await trio.sleep(1)
        return coins


class Trace:
    """A trace that goes on, and what it has told so far."""

    def __init__(self, states: Any) -> None:
        self.states = states
        self.entries: list[dict[str, Any]] = []
        self.ended: str | None = None
        self.traced: list[int] = []

    async def read(self) -> None:
        with trio.fail_after(300):
            fields = (await anext(self.states)).fields
        self.entries += fields["entries"]
        self.ended = fields["ended"]
        self.traced.append(fields["traced"])

    async def to_its_end(self) -> str | None:
        while self.ended is None:
            await self.read()
        return self.ended

    def of(self, serial: int) -> list[tuple[str, str | None]]:
        return [(each["what"], each["method"]) for each in self.entries if each.get("process") == serial]


def watch(eye: Node, view: TraceView) -> Any:
    return Client(eye, "bank@local", "trace").watch(view)


@pytest.mark.parametrize("processes", [(9_999,), (-1,), (0,), (9_999, 9_998)])
async def test_a_process_that_is_not_there_ends_it_at_once(
    processes: tuple[int, ...], autojump_clock: MockClock
) -> None:
    """Nobody waits ten seconds for a serial that is given to nobody a second time."""
    async with observed(TRACE) as (_, eye), watch(eye, TraceView(processes)) as states:
        trace = Trace(states)
        began = trio.current_time()
        assert await trace.to_its_end() == "processes"
        assert trio.current_time() - began < 1


@pytest.mark.parametrize("named", ["till", "ti*", "*", "actor:Till", "?ill"])
async def test_a_name_or_a_class_may_come_later(named: str, autojump_clock: MockClock) -> None:
    async with observed(TRACE) as (bank, eye), watch(eye, TraceView((named,), seconds=60)) as states:
        trace = Trace(states)
        await trace.read()
        till = await bank.spawn(Till, name="till")
        await till.call(Till.pay, 1)
        await till.stop()
        again = await bank.spawn(Till, name="till")
        again.cast(Till.pay, 2)
        assert await trace.to_its_end() == "time"
    if named != "*":
        assert trace.of(till.serial)[0] == ("started", None)
    assert ("got", "pay") in trace.of(till.serial)
    assert trace.of(till.serial)[-1] == ("ended", None)
    assert ("done", "pay") in trace.of(again.serial)


async def test_a_process_that_is_named_twice_is_traced_once(autojump_clock: MockClock) -> None:
    async with observed(TRACE) as (bank, eye):
        till = await bank.spawn(Till, name="till")
        view = TraceView((till.serial, "till", "t*", "actor:Till", till.serial), seconds=5)
        async with watch(eye, view) as states:
            trace = Trace(states)
            await trace.read()
            assert trace.traced == [1]
            await till.call(Till.pay, 1)
            await trace.to_its_end()
    assert trace.of(till.serial) == [("got", "pay"), ("done", "pay")]


async def test_sixty_four_are_traced_and_no_more(autojump_clock: MockClock) -> None:
    async with observed(TRACE) as (bank, eye):
        tills = [await bank.spawn(Till, name=f"till {number}") for number in range(80)]
        async with watch(eye, TraceView(("till *",), seconds=5)) as states:
            trace = Trace(states)
            await trace.read()
            for till in tills:
                await till.call(Till.pay, 1)
            await trace.to_its_end()
        assert trace.traced[0] == LIMITS["traced"]
        assert len({each["process"] for each in trace.entries}) == LIMITS["traced"]
        observers = [bank.processes[till.serial].extras_or_none for till in tills]
        assert not [extras for extras in observers if extras is not None and extras.observers]


async def test_traces_side_by_side_are_whole(autojump_clock: MockClock) -> None:
    """And beside `system.trace`; the end of one is not the end of the other."""
    async with observed(TRACE) as (bank, eye):
        till = await bank.spawn(Till, name="till")
        await system.trace(till)
        async with (
            watch(eye, TraceView(("till",), count=2, seconds=5)) as few,
            watch(eye, TraceView((till.serial,), seconds=5)) as many,
        ):
            first, second = Trace(few), Trace(many)
            await first.read()
            await second.read()
            for _ in range(10):
                await till.call(Till.pay, 1)
            assert await first.to_its_end() == "count"
            assert await second.to_its_end() == "time"
    assert Counter(each["what"] for each in first.entries) == {"got": 2, "done": 2}
    assert Counter(each["what"] for each in second.entries) == {"got": 10, "done": 10}


async def test_entries_are_numbered_and_timed_in_order(autojump_clock: MockClock) -> None:
    async with observed(TRACE) as (bank, eye):
        slow = await bank.spawn(Slow, name="slow")
        async with watch(eye, TraceView(("slow",), seconds=30)) as states:
            trace = Trace(states)
            await trace.read()
            async with trio.open_nursery() as nursery:
                for coins in range(3):
                    nursery.start_soon(slow.call, Slow.pay, coins)
            await trace.to_its_end()
    assert [each["number"] for each in trace.entries] == list(range(1, 7))
    times = [each["time"] for each in trace.entries]
    assert times == sorted(times)
    assert [each["what"] for each in trace.entries] == ["got", "done"] * 3
    assert {each["outcome"] for each in trace.entries if each["what"] == "done"} == {"replied"}


async def test_a_restarted_child_is_followed_by_its_name(autojump_clock: MockClock) -> None:
    async with observed(TRACE) as (bank, eye):
        await bank.spawn(Supervisor, [Child(Till, name="till")], intensity=9)
        old = bank.whereis("till")
        assert old is not None
        async with watch(eye, TraceView(("till",), seconds=30)) as states:
            trace = Trace(states)
            await trace.read()
            bank.named("till").cast(Till.burn)
            await wait_all_tasks_blocked()
            bank.named("till").exit(KILL)
            await wait_all_tasks_blocked()
            await bank.named("till").call(Till.pay, 1)
            await trace.to_its_end()
    assert trace.of(old.serial) == [("got", "burn"), ("crashed", None), ("ended", None)]
    serials = list(dict.fromkeys(each["process"] for each in trace.entries))
    assert len(serials) == 3
    assert trace.of(serials[2]) == [("started", None), ("got", "pay"), ("done", "pay")]


async def test_a_trace_of_a_flood_says_what_it_has_left_out(autojump_clock: MockClock) -> None:
    """A gap has the number of the entries that are missing; with them the numbers have no hole."""
    most = int(LIMITS["trace_entries"])
    async with observed(TRACE) as (bank, eye):
        till = await bank.spawn(Till, name="till")
        view = TraceView(("till",), count=most, seconds=60, rate=LIMITS["trace_rate"])
        async with watch(eye, view) as states:
            trace = Trace(states)
            await trace.read()
            for _ in range(4):
                for _ in range(2_000):
                    await till.call(Till.pay, 1)
                await trio.sleep(0.3)
            await trace.to_its_end()
    expected = 1
    for each in trace.entries:
        if each["what"] == "gap":
            assert each["number"] == expected + each["count"] - 1
            expected += each["count"]
        else:
            assert each["number"] == expected
            expected += 1
    assert expected > 1


async def test_a_function_is_traced_by_what_it_takes(autojump_clock: MockClock) -> None:
    async def clerk(me: Process) -> None:
        while await me.receive() != "end":
            pass

    async with observed(TRACE) as (bank, eye):
        ref = await bank.spawn(clerk, name="clerk")
        async with watch(eye, TraceView((ref.serial,), seconds=30)) as states:
            trace = Trace(states)
            await trace.read()
            ref.send("one")
            ref.send("end")
            assert await trace.to_its_end() == "processes"
    whats = [each["what"] for each in trace.entries]
    assert whats.count("got") == 2
    assert whats[-1] == "ended"


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (TraceView(()), "processes must be 1 to 64"),
        (TraceView(tuple(range(1, 66))), "processes must be 1 to 64"),
        (TraceView(("",)), "processes must be"),
        (TraceView((True,)), "processes must be"),
        (TraceView((1.5,)), "processes must be"),  # type: ignore[arg-type]
        (TraceView((1,), count=0), "count must be"),
        (TraceView((1,), count=100_001), "count must be"),
        (TraceView((1,), seconds=0), "seconds must be"),
        (TraceView((1,), seconds=float("nan")), "seconds must be"),
        (TraceView((1,), seconds=1e9), "seconds must be"),
        (TraceView((1,), rate=0), "rate must be"),
        (TraceView((1,), rate=float("inf")), "rate must be"),
        (TraceView((1,), match="queued > x"), "queued must be compared"),
        (TraceView((1,), match="x" * 1_001), "match must have"),
        (TraceView((1,), sends=1), "sends must be"),  # type: ignore[arg-type]
    ],
)
async def test_what_goes_beyond_the_limits_is_refused(
    view: TraceView, words: str, autojump_clock: MockClock
) -> None:
    async with observed(TRACE) as (_, eye):
        with pytest.raises((Refused, PayloadError), match=words):
            async with watch(eye, view):
                pass
