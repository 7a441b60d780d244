"""The compiled core and its twin in Python: the same rules on both, and nothing lost in C."""

from __future__ import annotations

import contextvars
import gc
import importlib
import os
import random
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from enfilade.actors import (
    SHUTDOWN,
    Actor,
    BadArguments,
    Crashed,
    Deferred,
    LiveResult,
    Mailbox,
    MailboxFull,
    Node,
    NotPublic,
    Process,
    ProcessDied,
    Ref,
    open_node,
)
from enfilade.actors.core import choice
from enfilade.actors.node.config import NodeConfig
from enfilade.actors.processes.dispatcher import Dispatcher
from enfilade.actors.processes.local_ref import LocalRef
from enfilade.actors.processes.timers import owned_timers
from enfilade.twins import OTHER_VERSION, choice_of, places

ROOT = Path(__file__).resolve().parents[2]
TURN = NodeConfig().turn
CORES = ["compiled", "python"] if choice.IS_AVAILABLE else ["python"]
COMPILED = "enfilade.actors.core.compiled"
VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")

needs_compiled = pytest.mark.skipif(not choice.IS_AVAILABLE, reason="the core is not compiled here")


@pytest.fixture(params=CORES, autouse=True)
def core(request: pytest.FixtureRequest) -> Iterator[str]:
    before = choice.in_use()
    choice.choose(is_compiled=request.param == "compiled")
    assert choice.in_use() == request.param
    yield request.param
    choice.choose(is_compiled=before == "compiled")


class Unhashable(type):
    """Makes classes that cannot be looked up in a set."""

    def __eq__(cls, other: object) -> bool:
        return cls is other


class Odd(metaclass=Unhashable):
    """A message of such a class."""


def fails() -> bool:
    raise LookupError("on purpose")


class Notebook(Actor):
    """Notes what it handles."""

    def __init__(self) -> None:
        self.notes: list[Any] = []
        self.owed: list[Deferred[str]] = []

    def on_message(self, message: Any) -> Any:
        self.notes.append(message)
        return object() if message == "plain" else None  # of any type: it is looked at, and dropped

    def on_down(self, down: Any) -> None:
        self.notes.append(type(down.reason).__name__)

    def note(self, *values: Any, **named: Any) -> int:
        self.notes.append((*values, *sorted(named.items())))
        return len(self.notes)

    def all(self) -> list[Any]:
        return self.notes

    def two(self, first: Any, second: Any) -> tuple[Any, Any]:
        return first, second

    def later(self) -> Any:
        self.owed.append(self.process.defer())
        return self.owed[-1]

    def answer(self) -> None:
        self.owed.pop().reply("late")

    def drops(self) -> None:
        self.process.defer()

    def makes(self) -> Any:
        return iter([1])

    def fails(self, *_: Any) -> None:
        raise LookupError("on purpose")

    def stops(self) -> str:
        self.process.stop()
        return "stopped"

    def sets(self, value: str) -> str:
        VARIABLE.set(value)
        return value

    def gets(self) -> str:
        return VARIABLE.get()

    def watches(self, ref: Ref[Any]) -> None:
        self.process.monitor(ref)

    def asks(self, ref: Ref[Any]) -> None:
        """Calls from a sync actor are requests, which the other one finds in its mailbox."""
        self.process.request(ref, Notebook.two, 1, 2).then(
            lambda request: self.notes.append(request.result())
        )


async def settled() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_every_kind_of_message() -> None:
    """Plain messages, casts, calls, requests and notices, in the order in which they were sent."""
    async with open_node("n") as node:
        ref: Ref[Any] = await node.spawn(Notebook)
        other: Ref[Any] = await node.spawn(Notebook)
        ref.send("plain")
        ref.send(Odd)
        ref.cast(Notebook.note)
        ref.cast(Notebook.note, 1)
        ref.cast(Notebook.note, 1, 2)
        ref.cast(Notebook.note, 1, named=3)
        ref.cast(Notebook.asks, other)
        ref.cast(Notebook.watches, other)
        await ref.call(Notebook.note, "called")
        await ref.call(Notebook.note, named=1)
        assert await ref.call(Notebook.two, 1, second=2) == (1, 2)
        await settled()
        other.exit(SHUTDOWN)
        await settled()
        noted = await ref.call(Notebook.all)
    assert noted[:6] == ["plain", Odd, (), (1,), (1, 2), (1, ("named", 3))]
    assert sorted(map(str, noted[6:])) == ["('called',)", "(('named', 1),)", "(1, 2)", "Shutdown"]


async def test_messages_of_any_class() -> None:
    """Also of one that no table can hold."""
    async with open_node("n") as node:
        ref: Ref[Any] = await node.spawn(Notebook)
        odd = Odd()
        ref.send(odd)
        ref.send("next")
        await settled()
        assert await ref.call(Notebook.all) == [odd, "next"]


async def test_mistakes_of_senders_leave_the_actor_alone() -> None:
    async with open_node("n") as node:
        ref: Ref[Any] = await node.spawn(Notebook)
        for arguments in ((), (1, 2, 3)):
            with pytest.raises(BadArguments):
                await ref.call(Notebook.two, *arguments)
            ref.cast(Notebook.two, *arguments)
        with pytest.raises(LiveResult):
            await ref.call(Notebook.makes)
        for method in ("note", [], Notebook.__init__):
            with pytest.raises(NotPublic):
                ref.cast(method)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            ref.cast()  # type: ignore[call-arg]
        assert await ref.call(Notebook.note) == 1


@pytest.mark.parametrize("how", ["cast", "call", "request", "message"])
async def test_a_crash_says_what_was_raised(how: str) -> None:
    class Fragile(Notebook):
        def on_message(self, message: Any) -> None:
            self.fails()

    async with open_node("n") as node, node.mailbox() as me:
        ref: Ref[Any] = await node.spawn(Fragile)
        neighbour: Ref[Any] = await node.spawn(Notebook)
        monitor = me.monitor(ref)
        if how == "cast":
            ref.cast(Notebook.fails, 1)
        elif how == "message":
            ref.send("x")
        else:
            with pytest.raises(ProcessDied):
                await (
                    me.request(ref, Notebook.fails, 1).receive()
                    if how == "request"
                    else ref.call(Notebook.fails)
                )
        neighbour.send("goes on")
        down = await me.receive(lambda message: getattr(message, "monitor", None) is monitor)
        assert isinstance(down.reason, Crashed)
        assert str(down.reason.error) == "on purpose"
        frames = {frame.name for frame in traceback.extract_tb(down.reason.error.__traceback__)}
        assert "fails" in frames
        assert not frames & {"run_group", "hand_off"}  # which only one of the cores has
        assert await neighbour.call(Notebook.all) == ["goes on"]
        assert node.dispatcher.running is node.dispatcher.entry is node.dispatcher.message is None


async def test_hand_offs_that_end_in_another_way() -> None:
    """Deferred, dropped, stopped, with a variable set, and in the middle of other things."""
    async with open_node("n") as node:
        ref: Ref[Any] = await node.spawn(Notebook)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ref.call, Notebook.later)
            await settled()
            await ref.call(Notebook.answer)
        with pytest.raises(Exception, match="dropped"):
            await ref.call(Notebook.drops)
        other: Ref[Any] = await node.spawn(Notebook)
        assert await ref.call(Notebook.sets, "mine") == "mine"
        assert [await each.call(Notebook.gets) for each in (ref, other)] == ["mine", "unset"]
        other.cast(Notebook.sets, "its")
        await settled()
        assert [await each.call(Notebook.gets) for each in (ref, other)] == ["mine", "its"]
        assert VARIABLE.get() == "unset"
        assert await ref.call(Notebook.stops) == "stopped"
        assert ref.serial not in node.processes


async def test_what_is_rare_is_left_to_the_twin() -> None:
    """Bounds, processes that wait in a task, and those that have ended."""

    async def reads(me: Process, seen: list[Any]) -> None:
        while True:
            seen.append(await me.receive())

    async with open_node("n") as node:
        seen: list[Any] = []
        reader = await node.spawn(reads, seen)
        bounded: Ref[Any] = await node.spawn(Notebook, mailbox=Mailbox(2, "fail"))
        await settled()
        reader.send(1)
        bounded.send(1)
        bounded.cast(Notebook.note)
        with pytest.raises(MailboxFull):
            bounded.send(2)
        await settled()
        assert seen == [1]
        assert await bounded.call(Notebook.all) == [1, ()]
        before = node.dead_letters.count
        bounded.exit(SHUTDOWN)
        await settled()
        bounded.send("late")
        bounded.cast(Notebook.note)
        assert node.dead_letters.count == before + 2


class Sender(Actor):
    """Sends from within a slice, where the dispatcher is awake, and notes what that has brought about."""

    def sends(self, ref: Ref[Any], *messages: Any) -> list[tuple[bool, bool]]:
        process, seen = ref._process, []  # type: ignore[attr-defined]
        for message in messages:
            ref.send(message)
            seen.append((process.idle, process.waiter is None))
        return seen


@pytest.mark.parametrize(("match", "woken_by"), [(None, 0), (int, 1), (lambda message: message == "last", 2)])
async def test_a_task_is_resumed_by_what_it_waits_for(match: Any, woken_by: int) -> None:
    """Once: by any message if it waits for any, by none that it does not want."""
    got: list[Any] = []

    async def waits(me: Process) -> None:
        got.append(await me.receive(match))
        while len(got) < 3:
            got.append(await me.receive())

    messages = ["first", 2, "last"]
    async with open_node("test") as node, node.mailbox() as me:
        sender = await node.spawn(Sender)
        ref = await node.spawn(waits)
        me.monitor(ref)
        await settled()
        request = me.request(sender, Sender.sends, ref, *messages)
        seen = await request.receive()
        assert seen == [(index < woken_by, index >= woken_by) for index in range(3)]
        await me.receive()
    assert got == [messages[woken_by], *(other for other in messages if other != messages[woken_by])]


@pytest.mark.parametrize("messages", [TURN - 1, TURN, TURN + 1, 3 * TURN])
async def test_turns_are_bounded(messages: int) -> None:
    """After a turn another process is next, whatever is left."""
    order: list[str] = []

    class Named(Actor):
        def __init__(self, name: str) -> None:
            self.name = name

        def on_message(self, _message: Any) -> None:
            if order[-1:] != [self.name]:
                order.append(self.name)

    async with open_node("n") as node:
        refs = [await node.spawn(Named, name) for name in "ab"]
        for ref in refs:
            for _ in range(messages):
                ref.send(None)
        await settled()
    assert order == ["a", "b"] * -(-messages // TURN)


async def test_handled_messages_are_counted_for_who_wants_it() -> None:
    """Once a turn, also when it crashes; of those that the inner loop handles."""
    async with open_node("n") as node:
        good, bad = await node.spawn(Notebook), await node.spawn(Notebook)
        processes = [node.processes[ref.serial] for ref in (good, bad)]
        node.dispatcher.counted = counted = {}
        for _ in range(TURN + 3):
            good.send("x")
        bad.send("x")
        bad.cast(Notebook.fails)
        bad.send("never handled")
        await settled()
        assert [counted[process] for process in processes] == [TURN + 3, 2]
        node.dispatcher.counted = None
        good.send("x")
        await settled()
        assert counted[processes[0]] == TURN + 3


@pytest.mark.parametrize("seed", range(4))
async def test_timers_fire_in_the_order_of_deadlines_and_of_setting(
    seed: int, autojump_clock: trio.testing.MockClock
) -> None:
    """T1: however many are set at once, whatever was cancelled, and to whichever kind of destination."""
    draw = random.Random(seed)
    async with open_node("n") as node, node.mailbox() as me:
        notebook: Ref[Any] = await node.spawn(Notebook)
        bounded: Ref[Any] = await node.spawn(Notebook, mailbox=Mailbox(1000, "fail"))
        node.register("named", notebook)
        now = trio.current_time()
        expected: list[tuple[float, int]] = []
        timers: dict[tuple[float, int], Any] = {}
        for number in range(600):
            seconds = draw.choice([0, 1, 1.5, 2, 2.5, 3.0])
            entry = trio.current_time() + seconds, number
            destination = draw.choice([notebook, notebook, notebook, bounded, node.named("named")])
            timers[entry] = me.send_after(seconds, destination, entry)
            expected.append(entry)
            if draw.random() < 0.3:
                unwanted = draw.choice(expected)
                cancelled = timers[unwanted].active
                assert timers[unwanted].cancel() == cancelled
                assert not timers[unwanted].active
                assert timers[unwanted].owner is None
                if cancelled:
                    expected.remove(unwanted)
            if draw.random() < 0.02:
                await trio.sleep(draw.choice([0.5, 1]))
        assert len(node.timers) == len(list(owned_timers(node.processes[me.ref.serial])))
        await trio.sleep(4)
        first, second = await notebook.call(Notebook.all), await bounded.call(Notebook.all)
        assert first == [entry for entry in sorted(expected) if entry in set(first)]
        assert second == [entry for entry in sorted(expected) if entry in set(second)]
        assert sorted(first + second) == sorted(expected)
        assert trio.current_time() > now
        assert len(node.timers) == 0
        assert node.timers.dead == 0
        assert list(owned_timers(node.processes[me.ref.serial])) == []


async def test_timers_that_are_rare(autojump_clock: trio.testing.MockClock) -> None:
    """T2, T3: one that wakes a task, one whose message is refused, one that runs a function, which fails."""
    async with open_node("n") as node, node.mailbox(Mailbox(1, "fail")) as me:
        process = node.processes[me.ref.serial]
        kept = me.send_after(5, me.ref, "late")
        assert node.timers.new == [kept]
        me.send_after(1, me.ref, "wakes")
        assert await me.receive() == "wakes"
        me.send_after(0.5, me.ref, "full")
        me.send_after(0.5, me.ref, "over the bound")
        await trio.sleep(1)
        assert [await me.receive(), await me.receive()] == ["full", "over the bound"]
        victim = await node.spawn(Notebook)
        node.timers.call_after(1, fails, owner=node.processes[victim.serial])
        monitor = me.monitor(victim)
        assert (await me.receive()).monitor == monitor
        assert list(owned_timers(process)) == [kept]
        for seconds in (-1, float("nan"), "1", 1 << 2000):
            with pytest.raises((TypeError, ValueError, OverflowError)):
                me.send_after(seconds, me.ref, "never")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            me.send_after(1, "nobody", "never")  # type: ignore[arg-type]
        assert await me.receive() == "late"


async def everything(node: Node, message: object, argument: object) -> None:
    """Go through the core in every way, with these objects."""
    ref: Ref[Any] = await node.spawn(Notebook)
    for _ in range(3):
        ref.send(message)
        ref.cast(Notebook.note, argument)
        ref.cast(Notebook.note, argument, message)
        ref.cast(Notebook.note, argument, named=message)
        ref.cast(Notebook.two, argument)
        await ref.call(Notebook.two, argument, message)
        await ref.call(Notebook.note, argument)
        await ref.call(Notebook.gets)
        with pytest.raises(BadArguments):
            await ref.call(Notebook.two, argument)
        with pytest.raises(NotPublic):
            ref.cast("note", argument)
    await settled()
    ref.cast(Notebook.fails, argument)
    await settled()
    another: Ref[Any] = await node.spawn(Notebook)
    with pytest.raises(ProcessDied):
        await another.call(Notebook.fails, argument)
    another.send(message)
    another.cast(Notebook.note, argument)
    async with node.mailbox() as me:
        watched: Ref[Any] = await node.spawn(Notebook)
        me.monitor(watched)
        await me.request(watched, Notebook.two, message, argument).receive()
        watched.exit(SHUTDOWN)
        assert {watched: message}[(await me.receive()).ref] is message
        for _ in range(100):
            me.send_after(0, me.ref, message)
            me.send_after(seconds=3600, destination=me.ref, message=message).cancel()
            timer = me.send_after(3600.0, another, argument)
            me.send_after(3600, me.ref, message).cancel()
            timer.cancel()
        for _ in range(100):
            assert await me.receive() is message
        me.send_after(3600, me.ref, message)


async def test_all_monitors_of_a_process_fire_once() -> None:
    """Of actors and plain code, busy or idle, with an alias or not; those that were taken down do not."""
    async with open_node("n") as node, node.mailbox(Mailbox(1, "fail")) as me:
        ended: Ref[Any] = await node.spawn(Notebook)
        watchers: list[Ref[Any]] = [await node.spawn(Notebook) for _ in range(3)]
        for watcher in watchers:
            await watcher.call(Notebook.watches, ended)
        gone: Ref[Any] = await node.spawn(Notebook)
        await gone.call(Notebook.watches, ended)
        monitors = [me.monitor(ended), me.monitor(ended, alias="demonitor")]
        me.demonitor(me.monitor(ended))
        gone.exit(SHUTDOWN)
        await settled()
        watchers[0].cast(Notebook.note, "busy")
        ended.exit(SHUTDOWN)
        assert [(await me.receive()).monitor for _ in monitors] == monitors
        assert not any(monitor.active for monitor in monitors)
        assert [(await each.call(Notebook.all)) for each in watchers] == [
            [("busy",), "Shutdown"],
            ["Shutdown"],
            ["Shutdown"],
        ]
        assert not node.processes[me.ref.serial].monitors


async def test_refs_are_keys_also_of_processes_that_have_ended() -> None:
    async with open_node("n") as node:
        ref, other = await node.spawn(Notebook), await node.spawn(Notebook)
        again = ref.within(1)
        table = {ref: "first", other: "second"}
        for _ in range(2):
            assert (hash(ref), table[again], table[other]) == (ref.serial, "first", "second")
            assert ref == again
            assert (ref != again) is False
            assert ref != other
            assert ref != ref.serial
            assert ref not in {other: 1}
            ref.exit(SHUTDOWN)
            await settled()
        assert ref._process.ref == ref  # type: ignore[attr-defined]


async def test_no_reference_is_lost_or_kept() -> None:
    """After every way through the core as many references are left as there were."""
    held = [object(), object(), Notebook, Notebook.note, Notebook.two, LocalRef, Dispatcher]
    counts = []
    for _ in range(3):
        async with open_node("n") as node:
            await everything(node, held[0], held[1])
        del node
        gc.collect()
        counts.append([sys.getrefcount(each) for each in held])
    assert counts[1] == counts[2]


# The choice.


@needs_compiled
@pytest.mark.parametrize("core", ["compiled"], indirect=True)
def test_an_interpreter_that_keeps_fields_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A field that is not found leaves the twins in use, and the choice says which one it is."""
    for missing in ("Process.idle", "Cast.args"):
        monkeypatch.setattr(choice, "places", lambda *args, missing=missing: {**places(*args), missing: -1})
        found = choice_of("the core is", COMPILED, choice.TWINS, choice._bind)
        assert not found.is_available
        assert missing in found.obstacle
    monkeypatch.undo()
    assert choice_of("the core is", COMPILED, choice.TWINS, choice._bind).is_available


@needs_compiled
@pytest.mark.parametrize("core", ["compiled"], indirect=True)
def test_a_core_of_an_earlier_source_leaves_the_twins_in_use() -> None:
    later = {**choice.TWINS, (LocalRef, "later"): LocalRef.send}
    found = choice_of("the core is", COMPILED, later, choice._bind)
    assert not found.is_available
    assert found.obstacle == OTHER_VERSION


@needs_compiled
@pytest.mark.parametrize("core", ["compiled"], indirect=True)
def test_a_place_is_found_once_or_not_at_all() -> None:
    compiled = importlib.import_module(COMPILED)
    found, twice = object(), object()
    ref = object.__new__(LocalRef)
    ref._process, ref.limit = found, None  # type: ignore[assignment]
    assert compiled.place(ref, found) > 0
    assert compiled.place(ref, twice) == -1
    ref._process = ref.limit = twice  # type: ignore[assignment]
    assert compiled.place(ref, twice) == -1


def test_methods_check_whose_they_are() -> None:
    """No object of another class is taken for one of ours."""
    for function in (LocalRef.send, LocalRef.cast):
        with pytest.raises((TypeError, AttributeError)):
            function(SimpleNamespace(), "x")  # type: ignore[arg-type]
    with pytest.raises((TypeError, AttributeError)):
        Dispatcher.run_group(SimpleNamespace(), 1, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("wanted", ["python", ""])
@pytest.mark.parametrize("core", ["python"], indirect=True)
def test_the_environment_chooses(wanted: str) -> None:
    program = "from enfilade.actors import open_node; from enfilade.actors.core import choice"
    shown = subprocess.run(
        [sys.executable, "-c", f"{program}; print(choice.in_use())"],
        env={**os.environ, "ENFILADE_CORE": wanted},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert shown.stdout.strip() == (wanted or CORES[0])


@pytest.mark.soak
@pytest.mark.parametrize("core", ["python"], indirect=True)
def test_the_suite_on_the_twin() -> None:
    """All tests of the actors that need no machine of their own, with the core in Python."""
    folders = ["tests/actors", "tests/conformance/actors", "tests/simulation"]
    only = ["-p", "no:cacheprovider", "-m", "not real and not soak"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *only, *folders],
        cwd=ROOT,
        env={**os.environ, "ENFILADE_CORE": "python"},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-5000:]
