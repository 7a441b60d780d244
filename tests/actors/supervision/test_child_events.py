"""What supervisors tell of their children. Clause SUP-26 of docs/semantics-supervision.md."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    KILLED,
    NORMAL,
    SHUTDOWN,
    Actor,
    Backoff,
    Child,
    ChildEvent,
    Crashed,
    Down,
    DynamicSupervisor,
    Exited,
    Mailbox,
    Node,
    NotPublic,
    PartitionSupervisor,
    ProcessDied,
    Reason,
    ReceiveTimeout,
    Ref,
    Supervisor,
    TaskSupervisor,
)

pytest_plugins = ["enfilade.actors.testing.plugin"]


class Member(Actor):
    """A sync child."""

    def __init__(self, broken: list[bool] | None = None, secret: str = "s") -> None:
        if broken and broken[0]:
            raise ValueError("does not start")
        self.count = 3

    def fail(self) -> None:
        raise ValueError("as asked")

    def end(self, reason: Reason) -> None:
        self.process.stop(reason)


class AsyncMember(Member):
    """The same with a task."""

    async def on_start(self) -> None:
        await trio.lowlevel.checkpoint()


class Formatted(Member):
    """Shows what it wants of its state."""

    def format_status(self) -> Any:
        return {"shown": self.count}


class Unprintable(Member):
    """Has a state that cannot be shown."""

    def __init__(self) -> None:
        self.row = self

    def __repr__(self) -> str:
        raise LookupError("detached")

    def format_status(self) -> Any:
        return self.row


def short(event: ChildEvent) -> Any:
    """The kind of an event, whose, how many restarts, and its delay if it has one."""
    text: tuple[Any, ...] = (event.kind, event.child_id, event.restarts)
    return text if event.delay is None else (*text, event.delay)


class Listener(Supervisor):
    """Passes on what it is told; the first time it is told something it fails."""

    def __init__(self, to: Ref[Any], children: Any, **options: Any) -> None:
        self.to = to
        super().__init__(children, **options)

    def on_child_event(self, event: ChildEvent) -> None:
        self.to.send(event)
        raise LookupError("a hook that fails")


LISTENING = pytest.mark.parametrize("listening", ["hook", "one supervisor", "node"])


async def _events(me: Any) -> list[ChildEvent]:
    events = []
    while True:
        try:
            events.append(await me.receive(ChildEvent, timeout=0))
        except ReceiveTimeout:
            return events


async def _open(node: Node, me: Any, listening: str, children: Any, **options: Any) -> Ref[Any]:
    if listening == "hook":
        return await node.spawn(Listener, me.ref, children, **options)
    if listening == "node":
        node.child_events.subscribe(me.ref)
        return await node.spawn(Supervisor, children, **options)
    supervisor = await node.spawn(Supervisor, [], **options)
    node.child_events.subscribe(me.ref, supervisor)
    for child in children:
        await supervisor.call(Supervisor.start_child, child)
    return supervisor


@LISTENING
@pytest.mark.parametrize("kind", [Member, AsyncMember])
async def test_life_of_a_child(
    autojump_clock: MockClock, node: Node, kind: type[Member], listening: str
) -> None:
    """SUP-26: each start, end and attempt is told in order, with process, reason, state and count."""
    broken = [False]
    async with node.mailbox() as me:
        child = Child(kind, broken, id="a", name="a", restart="transient")
        supervisor = await _open(node, me, listening, [child], intensity=5)
        first = node.whereis("a")
        assert first is not None
        with pytest.raises(ProcessDied):
            await first.call(Member.fail)
        await wait_all_tasks_blocked()
        second = node.whereis("a")
        assert second is not None
        events = await _events(me)
        assert [short(event) for event in events] == [
            ("started", "a", 0),
            ("ended", "a", 0),
            ("restarting", "a", 0, 0.0),
            ("started", "a", 1),
        ]
        assert [event.ref for event in events] == [first, first, first, second]
        assert {event.supervisor for event in events} == {supervisor}
        started, ended, restarting, again = events
        assert (started.reason, again.reason) == (None, None)
        assert isinstance(ended.reason, Crashed)
        assert isinstance(restarting.reason, Crashed)
        assert ended.state == "{'count': 3}"
        assert [event.state for event in (started, restarting, again)] == [None] * 3
        await second.stop()  # a normal end, after which it stays down
        (ended,) = await _events(me)
        assert (short(ended), ended.reason, ended.ref) == (("ended", "a", 1), NORMAL, second)
        await supervisor.call(Supervisor.restart_child, "a")
        (started,) = await _events(me)
        assert short(started) == ("started", "a", 1)
        await supervisor.stop(SHUTDOWN)
        (ended,) = await _events(me)
        assert (short(ended), ended.reason) == (("ended", "a", 1), SHUTDOWN)
        if listening == "one supervisor":
            assert len(node.child_events) == 0


@LISTENING
async def test_attempts_that_fail_and_giving_up(
    autojump_clock: MockClock, node: Node, listening: str
) -> None:
    """SUP-26: an attempt is told with its delay and the reason of the one before; giving up is told last."""
    broken = [False]
    async with node.mailbox() as me:
        backoff = Backoff(first=2, factor=2, jitter=0)
        child = Child(Member, broken, id="a", name="a", backoff=backoff)
        supervisor = await _open(node, me, listening, [child], intensity=2, period=100)
        first = node.whereis("a")
        assert first is not None
        broken[0] = True
        first.exit(KILL)
        await trio.sleep(50)
        events = await _events(me)
        assert [short(event) for event in events] == [
            ("started", "a", 0),
            ("ended", "a", 0),
            ("restarting", "a", 0, 2),
            ("restarting", "a", 0, 4),
            ("restarting", "a", 0, 8),
            ("gave_up", "a", 0),
        ]
        assert {event.ref for event in events} == {first}
        reasons = [event.reason for event in events]
        assert reasons[1:3] == [KILLED, KILLED]
        assert all(isinstance(reason, Crashed) for reason in reasons[3:])
        assert supervisor._process.ended == SHUTDOWN  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("one_for_one", ["ended b", "restarting b", "started b"]),
        (
            "rest_for_one",
            ["ended b", "ended c", "restarting b", "started b", "restarting c", "started c"],
        ),
        (
            "one_for_all",
            [
                *("ended b", "ended c", "ended a"),
                *("restarting a", "started a", "restarting b", "started b", "restarting c", "started c"),
            ],
        ),
    ],
)
async def test_groups(autojump_clock: MockClock, node: Node, strategy: Any, expected: list[str]) -> None:
    """SUP-26: of a group that is restarted each member's end and start is told."""
    async with node.mailbox() as me:
        children = [Child(Member, id=name, name=name) for name in "abc"]
        await node.spawn(Listener, me.ref, children, strategy=strategy)
        await _events(me)
        node.named("b").exit(KILL)
        await wait_all_tasks_blocked()
        assert [f"{event.kind} {event.child_id}" for event in await _events(me)] == expected


@pytest.mark.parametrize("kind", [Formatted, Unprintable, Member])
async def test_last_state(autojump_clock: MockClock, node: Node, kind: type[Member]) -> None:
    """SUP-26: the state is what `format_status` shows, or else the attributes, as text that cannot fail."""
    async with node.mailbox() as me:
        node.child_events.subscribe(me.ref)
        supervisor = await node.spawn(Supervisor, [Child(kind, id="a")])
        (child,) = await supervisor.call(Supervisor.children)
        child.ref.exit(KILL)
        await wait_all_tasks_blocked()
        ended = (await _events(me))[1]
        assert ended.state is not None
        expected = {Formatted: "{'shown': 3}", Member: "{'count': 3}"}.get(kind, "<")
        assert ended.state.startswith(expected)


async def test_dynamic_children(autojump_clock: MockClock, node: Node) -> None:
    """SUP-26: children without ids are told by their refs; nothing is kept of those that are gone."""
    async with node.mailbox() as me:
        node.child_events.subscribe(me.ref)
        supervisor = await node.spawn(DynamicSupervisor, Child(Member, restart="temporary"))
        refs = [await supervisor.call(DynamicSupervisor.start_from_template) for _ in range(3)]
        for ref in refs:
            assert isinstance(ref, Ref)
            ref.exit(KILL)
        await wait_all_tasks_blocked()
        events = await _events(me)
        assert [(event.kind, event.child_id) for event in events] == [("started", None)] * 3 + [
            ("ended", None)
        ] * 3
        assert [event.ref for event in events] == refs * 2
        body = supervisor._process.body  # type: ignore[attr-defined]
        assert not body._incarnations.between
        assert not body._incarnations._last_states


async def test_subscriptions_end(autojump_clock: MockClock, node: Node) -> None:
    """SUP-26: no bound keeps an event out; a subscription ends by request, and with the subscriber."""
    async with node.mailbox(Mailbox(1, "fail")) as me, node.mailbox() as other:
        node.child_events.subscribe(me.ref)
        node.child_events.subscribe(other.ref)
        supervisor = await node.spawn(Supervisor, [Child(Member, id="a"), Child(Member, id="b")])
        assert len(await _events(me)) == 2
        node.child_events.unsubscribe(me.ref)
        node.child_events.unsubscribe(me.ref)
        await supervisor.call(Supervisor.terminate_child, "b")
        assert await _events(me) == []
        assert len(await _events(other)) == 3
    await supervisor.call(Supervisor.terminate_child, "a")
    assert len(node.child_events) == 0
    with pytest.raises(TypeError):
        node.child_events.subscribe("name")  # type: ignore[arg-type]


@pytest.mark.parametrize("base", [Supervisor, DynamicSupervisor, PartitionSupervisor, TaskSupervisor])
@pytest.mark.parametrize("hook", ["on_message", "on_exit", "on_down"])
@pytest.mark.parametrize("mixed_in", [False, True])
def test_hooks_that_no_supervisor_calls(base: type[Supervisor], hook: str, mixed_in: bool) -> None:
    """SUP-8: a supervisor's class cannot define a hook that would never be called."""

    def method(self: Any, message: Exited | Down) -> None: ...

    bases: tuple[type, ...] = (type("Mixin", (), {hook: method}), base) if mixed_in else (base,)
    with pytest.raises(TypeError, match=hook):
        type("Tree", bases, {} if mixed_in else {hook: method})


async def test_hook_is_private(node: Node) -> None:
    """C1: nobody can make a supervisor believe that something happened to a child."""
    supervisor = await node.spawn(Supervisor, [])
    with pytest.raises(NotPublic):
        await supervisor.call(Supervisor.on_child_event, None)  # type: ignore[arg-type]


async def test_late_subscriber(autojump_clock: MockClock, node: Node) -> None:
    """SUP-26: restarts count also while nobody listens."""
    async with node.mailbox() as me:
        await node.spawn(Supervisor, [Child(Member, id="a", name="a")], intensity=5)
        for _ in range(2):
            node.named("a").exit(KILL)
            await wait_all_tasks_blocked()
        node.child_events.subscribe(me.ref)
        node.named("a").exit(KILL)
        await wait_all_tasks_blocked()
        assert [event.restarts for event in await _events(me)] == [2, 2, 3]


class Lingering(AsyncMember):
    """Takes its time to end."""

    async def on_start(self) -> None:
        self.process.trap_exits = True
        await trio.lowlevel.checkpoint()

    async def on_stop(self, reason: Reason) -> None:
        await trio.sleep(1)


class Fragile(Supervisor):
    """Fails, once or twice; its hook is called only as long as it lives."""

    def on_child_event(self, event: ChildEvent) -> None:
        assert self.process.ended is None

    def fail(self) -> None:
        raise LookupError("as asked")


async def _kill(node: Node, supervisor: Ref[Any]) -> None:
    supervisor.exit(KILL)


async def _kill_unaware(node: Node, supervisor: Ref[Any]) -> None:
    """One child has ended, and the supervisor dies before it hears of that."""
    node.named("b").exit(KILL)
    supervisor.exit(KILL)


async def _kill_while_stopping(node: Node, supervisor: Ref[Any]) -> None:
    supervisor.exit(SHUTDOWN)
    await trio.sleep(0.5)
    supervisor.exit(KILL)


async def _crash(node: Node, supervisor: Ref[Any]) -> None:
    supervisor.cast(Fragile.fail)


async def _stop(node: Node, supervisor: Ref[Any]) -> None:
    await supervisor.stop(SHUTDOWN)


WAYS = {"kill": _kill, "unaware": _kill_unaware, "stopping": _kill_while_stopping, "crash": _crash, "": _stop}


@pytest.mark.parametrize("listening", ["one supervisor", "node", "both"])
@pytest.mark.parametrize("kind", [Member, AsyncMember, Lingering, Supervisor])
@pytest.mark.parametrize("way", WAYS)
async def test_supervisor_that_ends(
    autojump_clock: MockClock, node: Node, way: str, kind: type[Actor], listening: str
) -> None:
    """SUP-26: however it ends, each child's end is told once, with reason and state; nothing is kept."""
    async with node.mailbox() as me:
        children: list[Any] = [Child(kind, id=name, name=name, shutdown=5) for name in "abc"]
        supervisor = await node.spawn(Fragile, children, intensity=5)
        if listening != "node":
            node.child_events.subscribe(me.ref, supervisor)
        if listening != "one supervisor":
            node.child_events.subscribe(me.ref)
        processes = {name: node.named(name).resolve()._process for name in "abc"}  # type: ignore[attr-defined]
        await WAYS[way](node, supervisor)
        await trio.sleep(60)
        events = await _events(me)
        assert {event.supervisor for event in events} == {supervisor}
        assert [(event.kind, event.child_id) for event in events] == [("ended", name) for name in "cba"]
        for event in events:
            process = processes[event.child_id]
            assert (event.ref, event.reason) == (process.ref, process.ended)
            assert event.state == ("{'count': 3}" if issubclass(kind, Member) else event.state)
            assert event.state is not None
        assert len(node.child_events) == (listening != "one supervisor")
        assert not node.processes.keys() & {process.serial for process in processes.values()}


async def test_dynamic_supervisor_that_is_killed(autojump_clock: MockClock, node: Node) -> None:
    """SUP-26: the same with children that have no ids, and with one that has not started yet."""

    class Slow(AsyncMember):
        async def on_start(self) -> None:
            await trio.sleep(100)

    async with node.mailbox() as me:
        node.child_events.subscribe(me.ref)
        supervisor = await node.spawn(DynamicSupervisor)
        refs = [await supervisor.call(DynamicSupervisor.start_child, Child(Member)) for _ in range(3)]
        supervisor.cast(DynamicSupervisor.start_child, Child(Slow))
        await wait_all_tasks_blocked()
        await _events(me)
        supervisor.exit(KILL)
        await trio.sleep(60)
        assert [(event.kind, event.ref, event.reason) for event in await _events(me)] == [
            ("ended", ref, KILLED) for ref in reversed(refs)
        ]


async def test_a_subscription_to_a_supervisor_by_its_alias_ends_with_it(
    autojump_clock: MockClock, node: Node
) -> None:
    class Known(Supervisor):
        def alias(self) -> Ref[Any]:
            return self.process.alias()

    async with node.mailbox() as me:
        supervisor = await node.spawn(Known)
        node.child_events.subscribe(me.ref, await supervisor.call(Known.alias))
        assert len(node.child_events) == 1
        await supervisor.stop()
        assert len(node.child_events) == 0


@pytest.mark.parametrize("by_name", [False, True])
async def test_events_of_one_supervisor(autojump_clock: MockClock, node: Node, by_name: bool) -> None:
    """SUP-26: who subscribes to one supervisor hears nothing of another's children."""
    async with node.mailbox() as me:
        one = await node.spawn(Supervisor, name="one")
        other = await node.spawn(Supervisor, name="other")
        node.child_events.subscribe(me.ref, node.named("one") if by_name else one)
        await other.call(Supervisor.start_child, Child(Member, id="theirs"))
        await one.call(Supervisor.start_child, Child(Member, id="ours"))
        await other.call(Supervisor.terminate_child, "theirs")
        assert (await me.receive(ChildEvent)).child_id == "ours"
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=1.0)
