"""Events: what happened, in order, without anything of the program in it."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    NORMAL,
    Actor,
    Child,
    Down,
    HandlerExists,
    Mailbox,
    Node,
    NodeConfig,
    NoProcess,
    Process,
    ProcessDied,
    Supervisor,
    open_node,
    system,
)
from enfilade.actors.observing.events.records import (
    KINDS,
    ChildRemoved,
    ChildRestarted,
    ChildStarted,
    ChildTerminated,
    Event,
    HandlerDetached,
    MailboxOverflowed,
    Missed,
    NodeStopped,
    ProcessCrashed,
    SupervisorGaveUp,
)


class Secret:
    """Something of the program's, which must not be kept."""


class Till(Actor):
    def __init__(self) -> None:
        self.held = Secret()

    def touch(self, *_: object) -> None:
        raise ValueError("broken", Secret())

    def wait(self) -> None:
        """Do nothing."""

    def format_status(self) -> Any:
        return {"till": "open"}


async def taken(events: Any, count: int) -> list[Any]:
    found = []
    with trio.fail_after(10):
        for _ in range(count):
            found.append(await anext(events))  # noqa: PERF401 (an async comprehension would wait for more)
    return found


async def test_obs_40_a_restart_is_told_when_the_name_answers(autojump_clock: MockClock) -> None:
    async with open_node("shop") as node:
        top = await node.spawn(Supervisor, [Child(Till, id="a", name="till")], intensity=3)
        old = node.whereis("till")
        seen: list[Any] = []

        def look(event: Event, config: str) -> None:
            assert config == "settings"
            seen.append((event.kind, node.whereis("till")))

        node.attach("look", "child.*", look, "settings")
        async with node.events("child.*") as events:
            node.named("till").cast(Till.touch)
            first, second = await taken(events, 2)
        new = node.whereis("till")
    assert old is not None
    assert new is not None
    assert isinstance(first, ChildTerminated)
    assert (first.child_id, first.ref, first.will_restart, first.reason.type) == ("a", old, True, "Crashed")
    assert isinstance(second, ChildRestarted)
    assert (second.old, second.ref, second.in_period, second.intensity) == (old, new, 1, 3)
    assert second.reason == first.reason
    assert second.seconds == 0.0
    assert second.supervisor == top
    assert second.number > first.number
    assert (first.node, first.at) == ("shop@local", second.at)
    assert seen[1] == ("child.restarted", new)


async def test_a_handler_that_would_have_to_wait_is_refused(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """One that is async when it is attached, one that returns a coroutine when it has."""

    async def later(event: Event, config: None) -> None:
        """Wait."""

    async with open_node("shop") as node:
        for wrong in (later, "till"):
            with pytest.raises(TypeError, match="expected a function that runs at once, got"):
                node.attach("later", "name.*", wrong)  # type: ignore[arg-type]
        node.attach("later", "name.*", lambda event, config: later(event, config))
        async with node.events("handler.*") as events:
            await node.spawn(Till, name="till")
            (detached,) = await taken(events, 1)
    assert detached.id == "later"
    assert "returns a coroutine" in detached.error


async def test_obs_41_a_supervisor_gives_up_and_its_own_is_told(autojump_clock: MockClock) -> None:
    async with open_node("shop") as node:
        inner = Child(
            Supervisor, [Child(Till, id="a", name="till")], id="inner", kwargs={"intensity": 1, "period": 9.0}
        )
        await node.spawn(Supervisor, [inner], intensity=3)
        async with node.events("child.*", "supervisor.*") as events:
            for _ in range(2):
                node.named("till").cast(Till.touch)
                await wait_all_tasks_blocked()
            found = await taken(events, 7)
    kinds = [(event.kind, event.child_id) for event in found]
    assert kinds == [
        ("child.terminated", "a"),
        ("child.restarted", "a"),
        ("child.terminated", "a"),
        ("supervisor.gave_up", "a"),
        ("child.terminated", "inner"),
        ("child.started", "a"),
        ("child.restarted", "inner"),
    ]
    gave_up = found[3]
    assert isinstance(gave_up, SupervisorGaveUp)
    assert (gave_up.restarts, gave_up.period, gave_up.reason.type) == (2, 9.0, "Crashed")
    assert found[4].will_restart


async def test_obs_43_a_child_that_leaves_the_list_is_removed(autojump_clock: MockClock) -> None:
    async with open_node("shop") as node:
        top = await node.spawn(Supervisor, [Child(Till, id="a", name="a", restart="temporary")])
        async with node.events("child.*") as events:
            node.named("a").cast(Till.touch)
            await wait_all_tasks_blocked()
            await top.call(Supervisor.start_child, Child(Till, id="b"))
            await top.call(Supervisor.terminate_child, "b")
            await top.call(Supervisor.delete_child, "b")
            found = await taken(events, 5)
    assert [(type(event), event.child_id) for event in found] == [
        (ChildTerminated, "a"),
        (ChildRemoved, "a"),
        (ChildStarted, "b"),
        (ChildTerminated, "b"),
        (ChildRemoved, "b"),
    ]
    assert not found[0].will_restart


class Busy(Actor):
    """Crashes in a call when it is told to, with messages behind it."""

    gate: trio.Event

    def __init__(self) -> None:
        self.held = Secret()

    async def touch(self, secret: object) -> None:
        await type(self).gate.wait()
        raise ValueError("broken", secret)


@pytest.fixture
def quiet() -> Iterator[None]:
    """Log nothing: pytest keeps records, and the errors in them."""
    logger = logging.getLogger("enfilade")
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(logging.NOTSET)


@pytest.mark.usefixtures("quiet")
async def test_obs_44_a_crash_report_says_much_and_holds_nothing(autojump_clock: MockClock) -> None:
    Busy.gate = trio.Event()
    held: list[weakref.ref[Any]] = []

    async def customer(me: Process, node: Node) -> None:
        secret = Secret()
        held.append(weakref.ref(secret))
        with pytest.raises(ProcessDied):
            await node.named("busy").call(Busy.touch, secret)

    async with open_node("shop") as node:
        top = await node.spawn(Supervisor, [Child(Busy, id="front", name="busy", label="till")], intensity=9)
        busy = node.whereis("busy")
        assert busy is not None
        serial = busy.serial
        held.append(weakref.ref(node.processes[serial].body.actor))
        async with node.events("process.crashed") as events:
            client = await node.spawn(customer, node)
            await wait_all_tasks_blocked()
            for _ in range(7):
                busy.send("wait")
            del busy  # which holds what it ends with
            Busy.gate.set()
            (report,) = await taken(events, 1)
        await wait_all_tasks_blocked()
        gc.collect()
        assert [reference() for reference in held] == [None, None]
        assert node.crashes == (report,)
    assert isinstance(report, ProcessCrashed)
    assert (report.ref.serial, report.actor, report.name, report.label) == (serial, "Busy", "busy", "till")
    assert (report.supervisor, report.child_id, report.restarts) == (top, "front", 0)
    assert (report.reason.type, report.queued) == ("Crashed", 7)
    assert report.exception is not None
    assert report.exception.type == "ValueError"
    assert report.exception.frames[-1].function == "Busy.touch"
    assert report.exception.frames[-1].file == __file__
    assert report.message is not None
    assert (report.message.kind, report.message.what, report.message.sender) == ("call", "touch", client)


async def test_the_report_of_a_call_that_was_handed_off_names_its_method() -> None:
    async with open_node("shop") as node:
        till = await node.spawn(Till)
        with pytest.raises(ProcessDied):
            await till.call(Till.touch)
        (report,) = node.crashes
    assert report.message.kind == "call"
    assert report.message.what == "touch"
    assert report.state == "{'till': 'open'}"


async def test_a_process_that_is_ended_by_a_signal_has_not_crashed() -> None:
    async def linked(me: Process, other: Any) -> None:
        me.link(other)
        await me.receive()

    async with open_node("shop") as node:
        till = await node.spawn(Till)
        await node.spawn(linked, till)
        await wait_all_tasks_blocked()
        till.cast(Till.touch)
        await wait_all_tasks_blocked()
        assert [report.actor for report in node.crashes] == ["Till"]


async def test_obs_45_a_full_buffer_says_how_many_it_has_dropped() -> None:
    async with open_node("shop") as node, node.events("name.registered", buffer=10) as events:
        for number in range(100):
            await node.spawn(Till, name=f"till {number}")
        first, *rest = await taken(events, 11)
        assert first == Missed(90)
        assert [event.name for event in rest] == [f"till {number}" for number in range(90, 100)]
        assert events.missed == 90


async def test_obs_47_a_handler_that_raises_is_detached(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    def handler(event: Event, config: None) -> None:
        seen.append(event.kind)
        if len(seen) == 2:
            raise ValueError("rude")

    async with open_node("shop") as node:
        await node.spawn(Supervisor, [Child(Till, id="a", name="till")], intensity=9)
        node.attach("a", "child.*", handler)
        with pytest.raises(HandlerExists):
            node.attach("a", "child.*", handler)
        async with node.events("handler.*") as events:
            for _ in range(2):
                node.named("till").cast(Till.touch)
                await wait_all_tasks_blocked()
            (event,) = await taken(events, 1)
        assert node.whereis("till") is not None
        assert not node.detach("a")
    assert seen == ["child.terminated", "child.restarted"]
    assert isinstance(event, HandlerDetached)
    assert (event.id, event.error) == ("a", "rude")
    lines = [record for record in caplog.records if getattr(record, "event", None) == "handler.detached"]
    assert [record.levelno for record in lines] == [logging.ERROR]


async def test_a_handler_is_not_shown_the_events_that_it_causes() -> None:
    seen: list[str] = []

    async with open_node("shop") as node:

        def handler(event: Any, config: None) -> None:
            seen.append(event.name)
            node.register("second", other)

        first, other = await node.spawn(Till), await node.spawn(Till)
        node.attach("a", "name.registered", handler)
        node.register("first", first)
        assert node.whereis("second") == other
        assert seen == ["first"]
        assert node.detach("a")


@pytest.mark.usefixtures("quiet")
async def test_obs_50_what_is_kept_is_bounded(autojump_clock: MockClock) -> None:
    config = NodeConfig(reports_per_second=10**9)
    async with open_node("shop", config=config) as node:
        await node.spawn(Supervisor, [Child(Till, id="a", name="till")], intensity=10**6)
        for _ in range(1_000):
            node.named("till").cast(Till.touch)
            await wait_all_tasks_blocked()
        for _ in range(1_000):
            await system.terminate(await node.spawn(Till), NORMAL)
        assert len(node.timeline) == 1_024
        assert len(node.crashes) == 256
        assert node.timeline[-1].kind == "child.restarted"
        assert node.crashes[-1].number < node.timeline[-1].number
        numbers = [event.number for event in node.timeline]
        assert numbers == sorted(numbers)
        assert sum(map(sizes, (node.timeline, node.crashes))) < 4 * 1024 * 1024


def sizes(events: tuple[Any, ...]) -> int:
    """The characters of all texts."""
    return sum(len(repr(event)) for event in events)


async def test_obs_51_crash_reports_are_limited_and_crashes_are_counted(autojump_clock: MockClock) -> None:
    async with open_node("shop", config=NodeConfig(reports_per_second=20)) as node:
        await node.spawn(Supervisor, [Child(Till, id="a", name="till")], intensity=10**6)
        for _ in range(1_000):
            node.named("till").cast(Till.touch)
            await wait_all_tasks_blocked()
        assert len(node.crashes) == 20
        assert node.observation.crash_count == 1_000
        assert node.timeline[-1].in_period == 1_000


async def test_obs_106_a_flood_keeps_the_newest_and_counts_the_rest() -> None:
    """One event costs its emitter no wait, and the subscriber sees how many it has missed."""
    async with open_node("shop") as node:
        till = await node.spawn(Till)
        observation: Any = node.observation
        async with node.events("name.*", buffer=1_000) as events:
            for number in range(100_000):
                observation.emit(KINDS["name.registered"], str(number), till)
            first, *rest = await taken(events, 1_001)
        assert first == Missed(99_000)
        assert [event.name for event in rest] == [str(number) for number in range(99_000, 100_000)]


async def test_events_are_sent_to_a_process_until_it_ends() -> None:
    async with open_node("shop") as node:
        observation: Any = node.observation
        async with node.mailbox() as me:
            node.send_events(me.ref, "name.*")
            await node.spawn(Till, name="till")
            event = await me.receive()
            assert (event.kind, event.name) == ("name.registered", "till")
        assert observation._sinks
        await node.spawn(Till, name="other")
        assert not observation._sinks
        with pytest.raises(TypeError, match="expected the ref"):
            node.send_events(node.ref, "name.*")


async def test_places_are_listened_at_while_somebody_subscribes() -> None:
    async with open_node("shop") as node:
        assert not node.hooks.process_started
        assert not node.hooks.name_registered
        async with node.events("process.started"):
            assert node.hooks.process_started
            async with node.events("process.*"):
                assert len(node.hooks.process_started) == 1
            assert node.hooks.process_started
            assert not node.hooks.name_registered
        assert not node.hooks.process_started


async def test_ordinary_lives_are_told_to_those_who_ask(autojump_clock: MockClock) -> None:
    async with open_node("shop") as node, node.events("process.started", "process.ended") as events:
        till = await node.spawn(Till, label="t")
        till.cast(Till.touch)
        started, ended = await taken(events, 2)
    assert (started.ref, started.actor, started.label, started.parent) == (till, "Till", "t", node.ref)
    assert (ended.ref, ended.actor, ended.reason.type) == (till, "Till", "Crashed")
    assert ended.number > started.number


async def test_the_end_of_the_node_ends_the_iteration() -> None:
    found: list[Any] = []

    async def follow(node: Node, *, task_status: Any) -> None:
        async with node.events("node.*", "process.ended") as events:
            task_status.started()
            async for event in events:
                found.append(event)  # noqa: PERF401 (events come one by one)

    async with trio.open_nursery() as nursery, open_node("shop") as node:
        await node.spawn(Till)
        await nursery.start(follow, node)
    assert [event.kind for event in found] == ["node.stopping", "process.ended", "node.stopped"]
    assert isinstance(found[-1], NodeStopped)


async def test_a_mailbox_that_overflows_is_told_once_a_second(autojump_clock: MockClock) -> None:
    async def idle(me: Process) -> None:
        await trio.sleep_forever()

    async with open_node("shop") as node, node.events("mailbox.*") as events:
        full = await node.spawn(idle, mailbox=Mailbox(2, "drop_newest"))
        for _ in range(12):
            full.send("x")
        await trio.sleep(2)
        full.send("x")
        first, second = await taken(events, 2)
    assert isinstance(first, MailboxOverflowed)
    assert (first.ref, first.policy, first.capacity, first.dropped) == (full, "drop_newest", 2, 1)
    assert second.dropped == 10


@pytest.mark.parametrize(
    ("kinds", "error"), [(("child",), ValueError), (("nothing.*",), ValueError), ((3,), TypeError)]
)
async def test_kinds_that_are_none_are_refused(kinds: tuple[Any, ...], error: type[Exception]) -> None:
    async with open_node("shop") as node:
        with pytest.raises(error, match="kind"):
            async with node.events(*kinds):
                pass
        with pytest.raises(ValueError, match="buffer"):
            async with node.events("child.*", buffer=0):
                pass


def leaves(cls: type[Event]) -> Iterator[type[Event]]:
    for child in cls.__subclasses__():
        if child.__subclasses__():
            yield from leaves(child)
        else:
            yield child


def test_every_event_has_a_kind_of_its_own() -> None:
    assert {cls.kind: cls for cls in leaves(Event)} == KINDS
    assert all(cls.__doc__ for cls in KINDS.values())


async def test_the_ref_of_an_event_can_be_used_as_any_other(autojump_clock: MockClock) -> None:
    """It looks the process up; one that is gone is answered for as by any ref."""
    async with open_node("shop") as node, node.mailbox() as me:
        async with node.events("process.started") as events:
            till = await node.spawn(Till, name="till")
            (event,) = await taken(events, 1)
        ref = event.ref
        assert ref == till
        assert {ref: 1}[till] == 1
        assert repr(ref) == repr(till)
        assert await ref.call(Till.wait) is None
        ref.cast(Till.wait)
        ref.send("hello")
        monitor = me.monitor(ref)
        ref.exit(KILL)
        down = await me.receive(Down)
        assert down.monitor == monitor
        with pytest.raises(NoProcess):
            await ref.within(1.0).call(Till.wait)
        before = node.dead_letters.count
        ref.send("hello")
        ref.cast(Till.wait)
        assert node.dead_letters.count == before + 2
        me.monitor(ref)
        assert (await me.receive(Down)).ref == till
