"""Those who are told of events: what they may ask for, and what they cannot disturb."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    Actor,
    Child,
    HandlerExists,
    Mailbox,
    NoProcess,
    Supervisor,
    open_node,
)
from enfilade.actors.observing.events.records import Missed
from enfilade.actors.observing.protocol.views import NodeView

SAYS = "expected|must"


class Till(Actor):
    def pay(self, coins: int) -> int:
        if coins < 0:
            raise ValueError("no coins")
        return coins

    @classmethod
    def format_message(cls, message: Any) -> Any:
        return "masked"


async def test_a_match_that_raises_harms_no_one(autojump_clock: MockClock) -> None:
    async with open_node("shop") as node:

        def broken(event: Any) -> bool:
            raise ZeroDivisionError

        async with node.events("child.*", match=broken) as mine, node.events("child.*") as others:
            await node.spawn(Supervisor, [Child(Till, id="till", name="till")])
            node.whereis("till").cast(Till.pay, -1)
            await wait_all_tasks_blocked()
            assert node.whereis("till") is not None
            with trio.fail_after(1):
                kinds = [(await anext(others)).kind for _ in range(3)]
            assert kinds == ["child.started", "child.terminated", "child.restarted"]
            assert len(node.timeline) >= 4
            with trio.fail_after(1), pytest.raises(ZeroDivisionError):
                await anext(mine)


async def test_a_match_that_raises_does_not_end_a_watch(autojump_clock: MockClock) -> None:
    async with open_node("shop") as node:

        def broken(event: Any) -> bool:
            raise ZeroDivisionError

        async with node.events(match=broken), node.watch(NodeView()) as states:
            await anext(states)
            await anext(states)


@pytest.mark.parametrize("match", ["child", 5, [1]])
async def test_a_match_must_be_callable(match: Any) -> None:
    async with open_node("shop") as node:
        with pytest.raises(TypeError, match=SAYS):
            async with node.events("child.*", match=match):
                raise AssertionError


async def test_an_async_match_is_refused() -> None:
    async def match(event: Any) -> bool:
        return True

    async with open_node("shop") as node:
        with pytest.raises(TypeError, match=SAYS):
            async with node.events("child.*", match=match):
                raise AssertionError


@pytest.mark.parametrize("buffer", [0, -1, 1.5, "many", None, 10**9])
async def test_a_buffer_of_nothing_is_refused(buffer: Any) -> None:
    async with open_node("shop") as node:
        with pytest.raises((TypeError, ValueError), match=SAYS):
            async with node.events(buffer=buffer):
                raise AssertionError


async def test_leaving_the_block_ends_the_iteration_of_another_task(autojump_clock: MockClock) -> None:
    ended = trio.Event()
    async with open_node("shop") as node, trio.open_nursery() as nursery:
        async with node.events("child.*") as events:

            async def read() -> None:
                async for _ in events:
                    pass
                ended.set()

            nursery.start_soon(read)
            await wait_all_tasks_blocked()
        with trio.fail_after(1):
            await ended.wait()
        with pytest.raises(StopAsyncIteration):
            await anext(events)


async def test_what_was_there_before_is_not_seen(autojump_clock: MockClock) -> None:
    async with open_node("shop") as node:
        await node.spawn(Supervisor, [Child(Till, id="a")])
        async with node.events("child.*") as events:
            await node.spawn(Supervisor, [Child(Till, id="b")])
            assert (await anext(events)).child_id == "b"


async def test_numbers_ascend_over_all_kinds(autojump_clock: MockClock) -> None:
    async with open_node("shop") as node, node.events() as events:
        await node.spawn(Supervisor, [Child(Till, id="a", name="a")], strategy="one_for_all")
        node.whereis("a").cast(Till.pay, -1)
        await wait_all_tasks_blocked()
        found = []
        with trio.move_on_after(1):
            async for event in events:
                found.append(event)  # noqa: PERF401 (an async comprehension would keep none of them)
        numbers = [event.number for event in found]
        assert numbers == sorted(set(numbers))
        kinds = [event.kind for event in found]
        for kind in (
            "process.started",
            "name.registered",
            "child.started",
            "process.crashed",
            "child.terminated",
            "process.ended",
            "name.released",
            "child.restarted",
        ):
            assert kind in kinds, (kind, kinds)
        assert kinds.index("child.started") < kinds.index("child.terminated") < kinds.index("child.restarted")
        assert {event.node for event in found} == {"shop@local"}


async def test_two_subscribers_miss_each_on_its_own(autojump_clock: MockClock) -> None:
    async with (
        open_node("shop") as node,
        node.events("name.*", buffer=2) as small,
        node.events("name.*", buffer=100) as large,
    ):
        for number in range(5):
            await node.spawn(Till, name=f"till {number}")
        assert await anext(small) == Missed(3)
        assert [(await anext(small)).name for _ in range(2)] == ["till 3", "till 4"]
        assert small.missed == 3
        assert large.missed == 0
        assert [(await anext(large)).name for _ in range(5)] == [f"till {n}" for n in range(5)]


async def test_events_for_a_mailbox(autojump_clock: MockClock) -> None:
    async with open_node("shop") as node, node.mailbox(Mailbox(1, "drop_newest")) as me:
        node.send_events(me.ref, "name.*")
        for number in range(3):
            await node.spawn(Till, name=f"till {number}")
        assert [(await me.receive()).name for _ in range(3)] == ["till 0", "till 1", "till 2"]


async def test_events_for_who_is_not_there(autojump_clock: MockClock) -> None:
    async with open_node("shop") as node:
        gone = await node.spawn(Till)
        gone.exit(KILL)
        await wait_all_tasks_blocked()
        with pytest.raises(NoProcess):
            node.send_events(gone, "child.*")
        for what in (None, "till", 5, Till):
            with pytest.raises(TypeError, match=SAYS):
                node.send_events(what, "child.*")  # type: ignore[arg-type]


async def test_handlers_come_and_go_while_they_run(autojump_clock: MockClock) -> None:
    seen: list[str] = []
    async with open_node("shop") as node:

        def once(event: Any, config: Any) -> None:
            seen.append(f"once {event.name} {config}")
            assert node.detach("once")
            node.attach("more", "name.*", more)

        def more(event: Any, config: Any) -> None:
            seen.append(f"more {event.name} {config}")

        node.attach("once", "name.registered", once, config={"a": 1})
        with pytest.raises(HandlerExists):
            node.attach("once", "name.registered", more)
        await node.spawn(Till, name="a")
        await node.spawn(Till, name="b")
        assert seen[0] == "once a {'a': 1}"
        assert seen[-1] == "more b None"
        assert "once b {'a': 1}" not in seen
        assert not node.detach("once")
        assert node.detach("more")
        assert not node.detach("nobody")


async def test_a_handler_may_spawn_and_send(autojump_clock: MockClock) -> None:
    got = []
    async with open_node("shop") as node, node.mailbox() as me:

        def tell(event: Any, _: Any) -> None:
            me.ref.send(event.name)
            node.spawn_soon(Till)

        node.attach("tell", "name.registered", tell)
        await node.spawn(Till, name="a")
        got.append(await me.receive())
        assert got == ["a"]


@pytest.mark.parametrize("kinds", ["child", "child.", "*", "child.*.*", "nothing.*", ".*", "", "CHILD.*"])
async def test_kinds_that_are_none(kinds: str) -> None:
    async with open_node("shop") as node:
        with pytest.raises(ValueError, match="kind"):
            node.attach("x", kinds, print)
        with pytest.raises(ValueError, match="kind"):
            async with node.events(kinds):
                raise AssertionError


async def test_dead_letters_are_shown_as_their_class_would_have_it(autojump_clock: MockClock) -> None:
    """`format_message` is the place to mask a card number."""
    async with open_node("shop") as node, node.events("message.dead") as events:
        till = await node.spawn(Till)
        till.exit(KILL)
        await wait_all_tasks_blocked()
        till.send("4711")
        till.cast(Till.pay, 4711)
        for _ in range(2):
            event = await anext(events)
            assert "4711" not in repr(event), event
