"""The details of a process: timers, arena, messages, statistics, log; and the kinds of dead letters."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import KILLED, NORMAL, Actor, Child, Guest, Node, Process, Refused, Supervisor, system
from enfilade.actors.observing.protocol.views import DumpView, ProcessView, TableView, TreeView
from enfilade.actors.observing.watches.client import Client
from enfilade.hostcalls.resources.logs import LogRecord
from enfilade.transport.policy import Rights
from tests.actors.observing.pair import observed
from tests.hostcalls.logging_guests import CAPABILITIES, logging_guest

EVERYTHING = Rights(observe=True, inspect=True, trace=True, control=True)


@attrs.frozen
class Flush:
    """A message of a timer."""


class Till(Actor):
    def start_timers(self) -> None:
        self.process.timers.start("flush", 30.0, Flush(), every=True)
        self.process.send_after(60.0, self.process.ref, "late")

    def pay(self, pin: str, *, tip: int = 0) -> None:
        """Take money."""

    def balance(self) -> int:
        return 7


class Shy(Till):
    @classmethod
    def format_message(cls, message: Any) -> Any:
        return "masked"


class Broken(Till):
    @classmethod
    def format_message(cls, message: Any) -> Any:
        raise ValueError("no")


async def detail(eye: Node, process: int | str, right: str = "observe", **options: Any) -> dict[str, Any]:
    async with Client(eye, "bank@local", right).watch(ProcessView(process, **options)) as states:
        with trio.fail_after(300):
            return (await anext(states)).fields


async def suspended(bank: Node, kind: type[Till]) -> Any:
    """A till that has a call and a cast in its mailbox."""
    till = await bank.spawn(kind)
    await system.suspend(till)

    async def caller(me: Process) -> None:
        await till.within(1_000).call(Till.balance)

    await bank.spawn(caller)
    await wait_all_tasks_blocked()
    till.cast(Till.pay, "sesame", tip=1)
    till.send(Flush())
    return till


async def test_timers_have_kind_key_and_period(autojump_clock: MockClock) -> None:
    async with observed(EVERYTHING) as (bank, eye):
        till = await bank.spawn(Till)
        till.cast(Till.start_timers)
        await wait_all_tasks_blocked()
        late, flush = (await detail(eye, till.serial))["timer_rows"]
        assert (late["kind"], late["key"], late["periodic"], late["message"]) == (
            "message",
            None,
            False,
            "str",
        )
        assert (flush["kind"], flush["key"], flush["periodic"]) == ("keyed", "flush", True)
        assert flush["message"] == "Flush"
        assert 29 < flush["due_in"] <= 30
        async with Client(eye, "bank@local").watch(TableView("timers", match="key = flush")) as states:
            (row,) = (await anext(states)).rows
        assert (row["owner"], row["periodic"]) == (till.serial, True)


async def test_messages_show_kind_method_and_number_of_arguments(autojump_clock: MockClock) -> None:
    async with observed(EVERYTHING) as (bank, eye):
        till = await suspended(bank, Till)
        await trio.sleep(5)
        fields = await detail(eye, till.serial)
        hidden = {"contents": "…", "hidden": True}
        assert fields["messages"] == [
            {"kind": "call", "method": "balance", "type": None, "arguments": 0, **hidden},
            {"kind": "cast", "method": "pay", "type": None, "arguments": 2, **hidden},
            {"kind": "message", "method": None, "type": "Flush", "arguments": None, **hidden},
        ]
        assert fields["oldest_age"] == pytest.approx(5, abs=0.1)


async def test_contents_of_messages_need_the_right_to_trace(autojump_clock: MockClock) -> None:
    async with observed(Rights(observe=True, inspect=True)) as (bank, eye):
        till = await suspended(bank, Till)
        for right in ("observe", "inspect"):
            with pytest.raises(Refused, match="contents of messages need the right to trace"):
                await detail(eye, till.serial, right, contents=True)


@pytest.mark.parametrize(
    ("kind", "contents"),
    [
        (Till, ["('balance', (), {})", "('pay', ('sesame',), {'tip': 1})", "Flush()"]),
        (Shy, ["'masked'"] * 3),
        (Broken, ["<format_message failed>"] * 3),
    ],
)
async def test_contents_are_those_of_format_message(
    kind: type[Till], contents: list[str], autojump_clock: MockClock
) -> None:
    async with observed(Rights(trace=True)) as (bank, eye):
        till = await suspended(bank, kind)
        messages = (await detail(eye, till.serial, "trace", contents=True))["messages"]
    assert [message["contents"] for message in messages] == contents
    assert not any("hidden" in message for message in messages)


async def test_the_arena_and_the_flags_of_a_supervisor(autojump_clock: MockClock) -> None:
    async with observed(EVERYTHING) as (bank, eye):
        children = [Child(Till, id=f"till {number}", shutdown=2.5) for number in range(3)]
        top = await bank.spawn(Supervisor, children, intensity=4, period=9.0, strategy="rest_for_one")
        fields = await detail(eye, top.serial)
        assert fields["arena"] == 3
        assert len(fields["arena_refs"]) == 3
        flags = {"strategy": "rest_for_one", "intensity": 4, "period": 9.0, "in_period": 0}
        assert fields["supervision"] == flags
        first = next(process for process in bank.processes.values() if process.parent == top)
        first.interrupt(KILLED)
        await wait_all_tasks_blocked()
        async with Client(eye, "bank@local").watch(TreeView(top.serial, (top.serial,))) as states:
            root, *below = (await anext(states)).fields["branches"]
        assert {name: root[name] for name in flags} == {**flags, "in_period": 1}
        assert [(each["place"], each["shutdown"]) for each in below] == [(0, 2.5), (1, 2.5), (2, 2.5)]


async def test_started_at_is_that_of_the_process_and_stays_after_its_end(autojump_clock: MockClock) -> None:
    async with observed(EVERYTHING) as (bank, eye):
        await trio.sleep(100)
        till = await bank.spawn(Till)
        began = bank.observation.started_at
        view = TableView(sort="started_at", descending=False, columns=("started_at",))
        async with Client(eye, "bank@local").watch(view) as states:
            (last,) = [row for row in (await anext(states)).rows if row["serial"] == till.serial]
            assert last["started_at"] - began == pytest.approx(100, abs=0.5)
            await till.stop()
            rows = {row["serial"]: row for row in (await anext(states)).rows}
        assert rows[till.serial]["started_at"] == last["started_at"]


async def test_statistics_by_method_show_while_they_are_on(autojump_clock: MockClock) -> None:
    async with observed(EVERYTHING) as (bank, eye):
        till = await bank.spawn(Till)
        assert (await detail(eye, till.serial))["by_method"] is None
        await system.statistics(till, True)
        for _ in range(3):
            till.cast(Till.pay, "sesame")
        await till.call(Till.balance)
        await wait_all_tasks_blocked()
        found = {each["what"]: each for each in (await detail(eye, till.serial))["by_method"]}
        assert {what: each["count"] for what, each in found.items()} == {"pay": 3, "balance": 1}
        assert all(0 <= each["mean"] <= each["largest"] for each in found.values())
        statistics = await system.statistics(till)
        assert statistics is not None
        assert {each.what for each in statistics.by_method} == {"pay", "balance"}


async def test_the_log_of_a_guest_is_for_those_who_may_inspect() -> None:
    written = LogRecord(1, "app", "hello", (("slot", "42"),)), LogRecord(3, "app", "\x1b[2J words")
    talker = logging_guest(*written, waits=True)
    async with observed(EVERYTHING) as (bank, eye):
        guest = await bank.spawn(Guest(talker, capabilities=[*CAPABILITIES, "ActorMessage"], label="talker"))
        process = bank.processes[guest.serial]
        while len(process.body.log_tail() or ()) < 2:
            await trio.lowlevel.checkpoint()
        assert (await detail(eye, guest.serial))["log"] is None
        lines = (await detail(eye, guest.serial, "inspect"))["log"]
        assert [(line["level"], line["target"], line["message"]) for line in lines] == [
            ("DEBUG", "app", "hello slot=42"),
            ("WARNING", "app", "\\x1b[2J words"),
        ]
        async with Client(eye, "bank@local", "inspect").watch(DumpView()) as states:
            records = (await anext(states)).fields["records"]
        (dumped,) = [record for record in records if record.get("label") == "talker" and "stack" in record]
        assert dumped["log"] == lines


async def test_dead_letters_are_counted_by_addressee_reason_and_message(autojump_clock: MockClock) -> None:
    async with observed(EVERYTHING) as (bank, eye):
        till = await bank.spawn(Till, name="till")
        nameless = await bank.spawn(Shy)
        for ref in (till, nameless):
            await ref.stop()
        for _ in range(3):
            till.cast(Till.pay, "sesame")
        till.send(Flush())
        nameless.send(Flush())
        async with Client(eye, "bank@local").watch(TableView("dead_letters", sort="count")) as states:
            first, *others = (await anext(states)).rows
        assert (first["addressee"], first["message"], first["count"]) == ("till", "cast pay", 3)
        assert {(row["addressee"], row["message"], row["count"]) for row in others} == {
            ("till", "Flush", 1),
            ("Shy", "Flush", 1),
        }
        assert "sesame" not in repr(first)


async def test_the_kinds_of_dead_letters_are_bounded_and_the_most_frequent_stay(
    autojump_clock: MockClock,
) -> None:
    async with observed(EVERYTHING) as (bank, eye):
        often = await bank.spawn(Till, name="often")
        await often.stop()
        for _ in range(50):
            often.send(1)
        for number in range(5_000):
            bank.dead_letters.publish(number, bank.named(f"nobody {number}"), NORMAL)
        async with Client(eye, "bank@local").watch(TableView("dead_letters", count=500)) as states:
            state = await anext(states)
        assert state.fields["total"] == 256
        assert (state.rows[0]["addressee"], state.rows[0]["count"]) == ("often", 50)


class Teller(Actor):
    async def wait(self) -> None:
        await trio.sleep_forever()

    async def on_message(self, message: Any) -> None:
        await trio.sleep_forever()


@pytest.mark.parametrize(("sent", "method"), [("cast", "wait"), ("call", "wait"), ("send", None)])
async def test_the_method_at_hand_is_told_of_each_kind_of_message(
    autojump_clock: MockClock, sent: str, method: str | None
) -> None:
    async with observed() as (bank, eye), trio.open_nursery() as nursery:
        teller = await bank.spawn(Teller, name="teller")
        assert (await detail(eye, "teller"))["method"] is None
        if sent == "cast":
            teller.cast(Teller.wait)
        elif sent == "send":
            teller.send("wait")
        else:
            nursery.start_soon(teller.within(3600).call, Teller.wait)
        await wait_all_tasks_blocked()
        shown = await detail(eye, "teller")
        assert (shown["state"], shown["method"]) == ("handling", method)
        nursery.cancel_scope.cancel()


class Unprintable:
    def __repr__(self) -> str:
        raise ZeroDivisionError("no")


async def test_a_repr_that_fails_is_told_by_the_type_of_its_error(autojump_clock: MockClock) -> None:
    async with observed(EVERYTHING) as (bank, eye):
        till = await suspended(bank, Till)
        till.cast(Till.pay, Unprintable())
        shown = await detail(eye, till.serial, "trace", contents=True)
        assert "(<repr failed: ZeroDivisionError>,)" in shown["messages"][-1]["contents"]
