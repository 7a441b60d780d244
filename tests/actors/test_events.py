"""The event manager: every event to every handler, and none of them can hurt the rest."""

import logging
from typing import Any

import pytest
import trio
import trio.testing

from enfilade.actors import NORMAL, Crashed, Mailbox, Process, Reason, open_node
from enfilade.actors.patterns.events import (
    EventHandler,
    EventManager,
    HandlerExists,
    HandlerRemoved,
    NoHandler,
    RemoveHandler,
)


class Collector(EventHandler):
    def __init__(self, seen: list[Any]) -> None:
        self.seen = seen

    def on_event(self, event: Any) -> None:
        if event == "crash":
            raise RuntimeError("on purpose")
        if event == "leave":
            raise RemoveHandler
        if event == "delete":
            self.manager.delete_handler("itself")
            raise RemoveHandler
        self.seen.append(event)

    def on_call(self, request: Any) -> Any:
        if request == "leave":
            raise RemoveHandler("farewell")
        return (request, len(self.seen))

    def on_remove(self, reason: Reason) -> Any:
        return list(self.seen)


async def test_every_event_reaches_every_handler_in_order() -> None:
    first: list[Any] = []
    second: list[Any] = []
    async with open_node("n") as node:
        manager = await node.spawn(EventManager)
        await manager.call(EventManager.add_handler, "first", Collector, first)
        await manager.call(EventManager.add_handler, "second", Collector, second)
        manager.cast(EventManager.notify, 1)
        manager.send(2)
        await manager.call(EventManager.notify, 3)
        assert first == second == [1, 2, 3]
        assert await manager.call(EventManager.which_handlers) == ["first", "second"]


async def test_a_handler_that_crashes_is_removed_and_the_others_go_on() -> None:
    class Fragile(Collector):
        def on_event(self, event: Any) -> None:
            raise RuntimeError("on purpose")

    seen: list[Any] = []
    async with open_node("n") as node, node.mailbox() as me:
        manager = await node.spawn(EventManager)
        await manager.call(EventManager.add_handler, "fragile", Fragile, [], supervised=me.ref)
        await manager.call(EventManager.add_handler, "sound", Collector, seen)
        await manager.call(EventManager.notify, 1)
        removed = await me.receive(HandlerRemoved)
        assert removed.key == "fragile"
        assert isinstance(removed.reason, Crashed)
        assert seen == [1]
        assert await manager.call(EventManager.which_handlers) == ["sound"]


async def test_a_handler_can_remove_itself() -> None:
    async with open_node("n") as node, node.mailbox() as me:
        manager = await node.spawn(EventManager)
        await manager.call(EventManager.add_handler, "a", Collector, [], supervised=me.ref)
        await manager.call(EventManager.notify, "leave")
        assert (await me.receive(HandlerRemoved)).reason == NORMAL


async def test_delete_gives_what_the_handler_leaves_behind() -> None:
    async with open_node("n") as node:
        manager = await node.spawn(EventManager)
        await manager.call(EventManager.add_handler, "a", Collector, [])
        await manager.call(EventManager.notify, "x")
        assert await manager.call(EventManager.delete_handler, "a") == ["x"]
        with pytest.raises(NoHandler):
            await manager.call(EventManager.delete_handler, "a")


async def test_swap_hands_over_what_the_old_one_left() -> None:
    class Successor(Collector):
        def __init__(self, seen: list[Any], left: list[Any]) -> None:
            super().__init__([*left, *seen])

    async with open_node("n") as node:
        manager = await node.spawn(EventManager)
        await manager.call(EventManager.add_handler, "a", Collector, [])
        await manager.call(EventManager.notify, "x")
        await manager.call(EventManager.swap_handler, "a", "b", Successor, ["y"])
        assert await manager.call(EventManager.which_handlers) == ["b"]
        assert await manager.call(EventManager.delete_handler, "b") == ["x", "y"]


async def test_one_handler_can_be_asked() -> None:
    async with open_node("n") as node:
        manager = await node.spawn(EventManager)
        await manager.call(EventManager.add_handler, "a", Collector, [1, 2])
        assert await manager.call(EventManager.call_handler, "a", "how many") == ("how many", 2)
        with pytest.raises(NoHandler):
            await manager.call(EventManager.call_handler, "b", "how many")


async def test_a_handler_that_crashes_on_a_call_is_removed_and_the_caller_is_told() -> None:
    async with open_node("n") as node:
        manager = await node.spawn(EventManager)
        await manager.call(EventManager.add_handler, "a", EventHandler)
        with pytest.raises(TypeError, match="does not answer calls"):
            await manager.call(EventManager.call_handler, "a", "?")
        assert await manager.call(EventManager.which_handlers) == []


async def test_an_id_is_given_once_and_a_refused_handler_hurts_nobody() -> None:
    class Refusing(EventHandler):
        def on_add(self) -> None:
            raise OSError("no")

    async with open_node("n") as node:
        manager = await node.spawn(EventManager)
        await manager.call(EventManager.add_handler, "a", Collector, [])
        with pytest.raises(HandlerExists):
            await manager.call(EventManager.add_handler, "a", Collector, [])
        with pytest.raises(OSError, match="no"):
            await manager.call(EventManager.add_handler, "b", Refusing)
        assert await manager.call(EventManager.which_handlers) == ["a"]


async def test_a_supervised_handler_goes_with_its_owner() -> None:
    async with open_node("n") as node:
        manager = await node.spawn(EventManager)

        async def owner(me: Process) -> None:
            await manager.call(EventManager.add_handler, "a", Collector, [], supervised=me.ref)
            await me.receive()

        ref = await node.spawn(owner)
        await trio.testing.wait_all_tasks_blocked()
        assert await manager.call(EventManager.which_handlers) == ["a"]
        ref.send("go")
        await trio.testing.wait_all_tasks_blocked()
        assert await manager.call(EventManager.which_handlers) == []


async def test_when_the_manager_stops_its_handlers_say_goodbye() -> None:
    async with open_node("n") as node, node.mailbox() as me:
        manager = await node.spawn(EventManager)
        await manager.call(EventManager.add_handler, "a", Collector, [], supervised=me.ref)
        await manager.stop()
        assert (await me.receive(HandlerRemoved)).key == "a"


async def test_a_cast_that_is_refused_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node("events") as node:
        manager = await node.spawn(EventManager)
        with caplog.at_level(logging.WARNING):
            manager.cast(EventManager.delete_handler, "nobody")
            assert await manager.call(EventManager.which_handlers) == []
            await trio.testing.wait_all_tasks_blocked()
    assert "no handler has the key 'nobody'" in caplog.text


async def test_a_handler_that_leaves_during_a_call_is_no_crash() -> None:
    async with open_node("n") as node, node.mailbox() as me:
        manager = await node.spawn(EventManager)
        await manager.call(EventManager.add_handler, "a", Collector, [], supervised=me.ref)
        assert await manager.call(EventManager.call_handler, "a", "leave") == "farewell"
        assert await me.receive(HandlerRemoved) == HandlerRemoved(manager, "a", NORMAL)
        assert await manager.call(EventManager.which_handlers) == []


async def test_a_handler_that_has_deleted_itself_may_still_want_to_leave() -> None:
    seen: list[Any] = []
    async with open_node("n") as node:
        manager = await node.spawn(EventManager)
        await manager.call(EventManager.add_handler, "itself", Collector, [])
        await manager.call(EventManager.add_handler, "other", Collector, seen)
        await manager.call(EventManager.notify, "delete")
        await manager.call(EventManager.notify, 1)
        assert await manager.call(EventManager.which_handlers) == []
        assert seen == []


async def test_a_swap_that_fails_is_told_to_the_owner() -> None:
    class Broken(Collector):
        def __init__(self, *_: Any) -> None:
            raise RuntimeError("on purpose")

    async with open_node("n") as node, node.mailbox() as me:
        manager = await node.spawn(EventManager)
        await manager.call(EventManager.add_handler, "old", Collector, [], supervised=me.ref)
        with pytest.raises(RuntimeError):
            await manager.call(EventManager.swap_handler, "old", "new", Broken)
        removed = await me.receive(HandlerRemoved)
        assert removed.key == "old"
        assert isinstance(removed.reason, Crashed)
        assert await manager.call(EventManager.which_handlers) == []


async def test_an_owner_that_cannot_be_told_harms_nobody() -> None:
    async with open_node("n") as node:
        manager = await node.spawn(EventManager)
        async with node.mailbox(Mailbox(1, "fail")) as me:
            me.ref.send("full")
            await manager.call(EventManager.add_handler, "a", Collector, [], supervised=me.ref)
            await manager.call(EventManager.delete_handler, "a")
        assert await manager.call(EventManager.which_handlers) == []


async def test_keys_and_owners_that_are_none_harm_nobody() -> None:
    async with open_node("n") as node:
        manager = await node.spawn(EventManager)
        unhashable: Any = []
        nobody: Any = 5
        with pytest.raises(TypeError, match="unhashable"):
            await manager.call(EventManager.add_handler, unhashable, Collector, [])
        with pytest.raises(TypeError, match="supervised must be a Ref"):
            await manager.call(EventManager.add_handler, "a", Collector, [], supervised=nobody)
        with pytest.raises(NoHandler):
            await manager.call(EventManager.delete_handler, unhashable)
        with pytest.raises(NoHandler):
            await manager.call(EventManager.call_handler, unhashable, 1)
        with pytest.raises(NoHandler):
            await manager.call(EventManager.swap_handler, unhashable, "b", Collector)
        assert await manager.call(EventManager.which_handlers) == []


async def test_whoever_removes_a_handler_hears_why_it_left_badly() -> None:
    class Sticky(EventHandler):
        def on_remove(self, reason: Reason) -> None:
            raise RuntimeError("stuck")

    async with open_node("events") as node, node.mailbox() as me:
        manager = await node.spawn(EventManager)
        await manager.call(EventManager.add_handler, "sticky", Sticky, supervised=me.ref)
        with pytest.raises(RuntimeError, match="stuck"):
            await manager.call(EventManager.delete_handler, "sticky")
        removed = await me.receive(HandlerRemoved)
        assert isinstance(removed.reason, Crashed)
        assert await manager.call(EventManager.which_handlers) == []
