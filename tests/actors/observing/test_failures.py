"""What goes wrong while a node is looked at: of the one that is lost, slow or raises, nobody else notices.

The rest of this has its tests elsewhere: observers that are slow, or ask for too much, in `test_protocol` and
`test_hostile_observers`; floods of events in `test_events`; browsers in `cli/observe/test_web_server` and
`test_page`; nodes that are lost in `cli/observe/test_observed`; held loops and signals in
`cli/test_observing_commands`.
"""

from __future__ import annotations

import io
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import Actor, Child, NoProcess, Process, Refused, Supervisor, open_node, system
from enfilade.actors.messages.safe_id import safe_id
from enfilade.actors.observing.dumps.files import DumpFiles
from enfilade.actors.observing.protocol.views import (
    NodeView,
    ProcessView,
    ReplicaView,
    StateView,
    TableView,
    TraceView,
    TreeView,
)
from enfilade.actors.observing.watches.client import Client, WatchEnded
from enfilade.actors.observing.watches.control import Control
from enfilade.actors.observing.watches.own_texts import LONGEST, SLOW
from enfilade.actors.processes.local_ref import process_of
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.policy import CONTROL, Policy, Rights, Rule
from tests.actors.observing.pair import observed

EVERYTHING = Rights(observe=True, inspect=True, trace=True, control=True)


def client(eye: Any, right: str = "observe") -> Client:
    return Client(eye, "bank@local", right)


class Till(Actor):
    def __init__(self) -> None:
        self.paid: list[int] = []

    def pay(self, coins: int) -> None:
        self.paid.append(coins)


async def test_an_order_outlives_the_operator_who_gave_it_and_a_trace_does_not(
    autojump_clock: MockClock,
) -> None:
    async with observed(EVERYTHING) as (bank, eye):
        till = await bank.spawn(Till)
        await eye.remote(CONTROL, "bank@local").call(Control.suspend, till.serial)
        async with client(eye, "trace").watch(TraceView((till.serial,), seconds=3_600)) as entries:
            await anext(entries)
            process = process_of(till)
            assert process is not None
            assert process.extras().observers
            eye.distribution.disconnect("bank@local")  # as if its OS process had gone
            await trio.sleep(2)
            assert not process.extras().observers
        assert process.suspended
        assert bank.observation.watch_count == 0
        await system.resume(till)


class Clock:
    """Time that goes on when somebody says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow(Actor):
    """Its texts take long, and it counts them."""

    clock = Clock()
    asked = 0

    def format_status(self) -> str:
        type(self).asked += 1
        self.clock.now += 2 * LONGEST
        return "open"

    @classmethod
    def format_message(cls, message: Any) -> str:
        cls.asked += 1
        cls.clock.now += 2 * LONGEST
        return "masked"

    def pay(self, coins: int) -> None:
        """Do nothing."""


class Failing(Actor):
    def format_status(self) -> str:
        raise ValueError("no")

    format_message = format_status


@pytest.mark.parametrize("view", [ProcessView, StateView])
async def test_a_slow_format_status_is_asked_once_by_each_watch(
    view: Any, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the time that it takes counts to the budget of observation."""
    monkeypatch.setattr(Slow, "asked", 0)
    field = {ProcessView: "status", StateView: "state"}[view]
    async with observed(EVERYTHING) as (bank, eye):
        walker = bank.observation.watching.walker
        monkeypatch.setattr(walker, "clock", Slow.clock)
        monkeypatch.setattr(type(bank.runtime), "monotonic", staticmethod(Slow.clock), raising=False)
        slow, failing = await bank.spawn(Slow, name="slow"), await bank.spawn(Failing)
        for _ in range(2):
            async with client(eye, "inspect").watch(view(slow.serial)) as states:
                shown = [(await anext(states)).fields[field] for _ in range(4)]
            assert shown[0] in ("open", "'open'")
            assert shown[1:] == [SLOW] * 3
        assert Slow.asked == 2
        assert walker.seconds >= 4 * LONGEST
        async with client(eye, "inspect").watch(view(failing.serial)) as states:
            assert "format_status raised ValueError('no')" in (await anext(states)).fields[field]


async def test_a_slow_format_message_is_asked_once(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Slow, "asked", 0)
    async with observed(EVERYTHING) as (bank, eye):
        monkeypatch.setattr(bank.observation.watching.walker, "clock", Slow.clock)
        slow, failing = await bank.spawn(Slow), await bank.spawn(Failing)
        view = TraceView((slow.serial, failing.serial), contents=True)
        async with client(eye, "trace").watch(view) as states:
            await anext(states)
            for number in range(3):
                slow.cast(Slow.pay, number)
            failing.send("secret")
            entries = (await anext(states)).fields["entries"]
    texts = [each["contents"] for each in entries if each["process"] == slow.serial]
    assert texts == ["'masked'", *[SLOW] * 5]
    assert Slow.asked == 1
    assert "secret" not in str(entries)


class Id:
    """An id that a program has made: whoever asks for its text is stopped."""

    def __repr__(self) -> str:
        pytest.fail("the code of an id was run for somebody who may only observe")


async def test_no_code_of_the_program_runs_for_those_who_may_only_observe(
    autojump_clock: MockClock,
) -> None:
    class Closed(Till):
        def format_status(self) -> str:
            pytest.fail("format_status was run for somebody who may only observe")

    async with observed(Rights(observe=True)) as (bank, eye):
        bank.root = await bank.spawn(
            Supervisor, [Child(Closed, id=Id()), Child(Closed, id=("pair", Id()), name="till")]
        )
        root = bank.root.serial
        bank.named("till").send(Id())
        first, second = (
            serial for serial, each in bank.processes.items() if isinstance(each.body.actor, Closed)
        )
        for view in (
            TableView(sort="child_id"),
            TableView(match="child_id = x*"),
            TableView(of="children"),
            TreeView(open=(root,)),
            ReplicaView(),
            ProcessView(first),
            ProcessView(second),
        ):
            async with client(eye).watch(view) as states:
                for _ in range(2):
                    state = await anext(states)
        assert state.fields["child_id"] == "('pair', <Id>)"
        assert state.fields["hidden"] is True


def test_ids_of_pythons_own_kinds_are_shown_as_they_are() -> None:
    class Name(str):
        __slots__ = ()

        def __str__(self) -> str:
            pytest.fail("the code of an id was run")

    assert [safe_id(each) for each in ("a\nb", 5, None, ("a", 1), Name("x"), Id())] == [
        "a\\nb",
        "5",
        "None",
        "('a', 1)",
        "x",
        "<Id>",
    ]


async def test_counting_that_comes_and_goes_loses_no_message(autojump_clock: MockClock) -> None:
    """A thousand times during load, of calls, casts and messages: each is there once, in order."""
    taken: list[tuple[str, int]] = []

    class Busy(Actor):
        def on_message(self, message: int) -> None:
            taken.append(("sent", message))

        def cast(self, number: int) -> None:
            taken.append(("cast", number))

        def call(self, number: int) -> int:
            taken.append(("called", number))
            return number

    async with open_node("bank") as node:
        busy = await node.spawn(Busy)
        for number in range(1_000):
            async with node.counting() as counts:
                busy.send(number)
                busy.cast(Busy.cast, number)
                assert await busy.call(Busy.call, number) == number
                assert counts.handled(busy) == (4 if number else 3)  # one is left of before
            busy.send(-number)
        await wait_all_tasks_blocked()
    expected = [[("sent", n), ("cast", n), ("called", n), ("sent", -n)] for n in range(1_000)]
    assert taken == [each for four in expected for each in four]


async def test_rights_that_a_new_policy_does_not_give_are_gone_after_the_next_connection(
    autojump_clock: MockClock,
) -> None:
    network = MemoryNetwork()

    def bank_with(rights: Rights, address: str) -> Any:
        policy = Policy(rules=[Rule(rights=rights)])
        return open_node("bank", listen=address, policy=policy, carrier=network.carrier(address))

    async with open_node("eye", policy=Policy(rules=[Rule()]), carrier=network.carrier("eye")) as eye:
        async with bank_with(EVERYTHING, "/before") as bank:
            await eye.connect("/before")
            till = await bank.spawn(Till)
            async with client(eye, "inspect").watch(StateView(till.serial)) as states:
                await anext(states)
                bank.distribution.disconnect("eye@local")
                with pytest.raises(WatchEnded):
                    await anext(states)
            await wait_all_tasks_blocked()
            assert bank.observation.watch_count == 0
        async with bank_with(Rights(observe=True), "/after") as bank:
            await eye.connect("/after")
            till = await bank.spawn(Till)
            async with client(eye).watch(NodeView()) as states:
                await anext(states)
            with pytest.raises((Refused, NoProcess)):
                async with client(eye, "inspect").watch(StateView(till.serial)):
                    """It is not entered."""
            with pytest.raises((Refused, NoProcess)):
                await eye.remote(CONTROL, "bank@local").call(Control.kill, till.serial)
            assert till.serial in bank.processes


async def test_a_node_that_stops_is_shown_until_its_own_processes_have_ended(
    autojump_clock: MockClock,
) -> None:
    class Tidy(Actor):
        async def on_start(self) -> None:
            self.process.trap_exits = True

        async def on_stop(self, reason: Any) -> None:
            await trio.sleep(3)

    seen: list[tuple[float, int]] = []

    def note(processes: int) -> None:
        seen.append((trio.current_time(), processes))

    async def look(eye: Any) -> None:
        async with client(eye).watch(NodeView()) as states:
            with pytest.raises(WatchEnded):  # noqa: PT012
                while True:
                    note((await anext(states)).fields["processes"])

    network = MemoryNetwork()
    policy = Policy(rules=[Rule(rights=Rights(observe=True))])
    async with (
        open_node("eye", policy=Policy(rules=[Rule()]), carrier=network.carrier("eye")) as eye,
        trio.open_nursery() as nursery,
        open_node("bank", listen="/bank", policy=policy, carrier=network.carrier("bank")) as bank,
    ):
        bank.root = await bank.spawn(Supervisor, [Child(Tidy, id="tidy", shutdown=10.0)])
        await eye.connect("/bank")
        nursery.start_soon(look, eye)
        await trio.sleep(1.5)
        began = trio.current_time()
    assert [count for at, count in seen if at > began][:3] == [seen[0][1]] * 3


async def test_each_node_of_a_program_has_an_observation_of_its_own(autojump_clock: MockClock) -> None:
    async with open_node("one") as one, open_node("two") as two:
        tills = [await node.spawn(Till) for node in (one, two)]
        async with one.watch(TableView(sort="rate")) as states:
            await anext(states)
            for till in tills:
                till.cast(Till.pay, 1)
            await trio.sleep(3)
            assert one.observation.counts.handled(tills[0]) == 1
            assert two.observation.counts.handled(tills[1]) is None
            assert two.dispatcher.counted is None
            rows = (await anext(states)).rows
            assert tills[1].serial not in [row["serial"] for row in rows if row["name"] == "two"]
        assert two.observation.watch_count == 0


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("trouble", ["full", "file"])
async def test_a_dump_that_cannot_be_written_goes_to_standard_error(
    trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    errors = io.StringIO()
    monkeypatch.setattr(sys, "stderr", errors)
    place = tmp_path / "dumps"
    async with open_node("bank") as node:
        till = await node.spawn(Till, name="till")
        files = DumpFiles(node, place)
        if trouble == "file":
            place.write_text("in the way")
            files.write("signal", "asked for")
        else:
            with largest_file(1_000):
                files.write("signal", "asked for")
            assert list(place.iterdir()) == []
        till.cast(Till.pay, 1)
        await wait_all_tasks_blocked()
        assert till.serial in node.processes
    text = errors.getvalue()
    assert f"asked for; no file can be written to {place}" in text
    assert "till Till: idle" in text


async def test_an_observer_of_messages_that_raises_is_taken_out(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def received(self, process: Process, message: Any) -> None:
            raise ValueError("an observer")

        def handled(self, process: Process, message: Any) -> None:
            """Never called."""

    async with open_node("bank") as node:
        till = await node.spawn(Till)
        await system.install(till, Broken())
        for coins in range(3):
            till.cast(Till.pay, coins)
        await wait_all_tasks_blocked()
        process = process_of(till)
        assert process is not None
        assert process.body.actor.paid == [0, 1, 2]
        assert not process.extras().observers
    assert caplog.text.count("raised and was removed") == 1
