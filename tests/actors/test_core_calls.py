"""Calls, made and settled by the compiled core and by its twin."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from enfilade.actors import Actor, Request, open_node
from enfilade.actors.messages.layers import put_on, take_off
from enfilade.actors.messages.loop_bypass import IS_AVAILABLE
from enfilade.actors.processes.body import DispatchedBody
from enfilade.actors.processes.dispatcher import Dispatcher
from enfilade.actors.processes.local_ref import LocalRef
from tests.actors.test_core import Notebook, core, settled

__all__ = ["core"]


async def test_every_field_of_a_call(core: str) -> None:
    """By position or by name, from a process, from a mailbox that has closed, or from none."""
    fields = ("node", "target", "method", "args", "kwargs")
    async with open_node("n") as node:
        ref = await node.spawn(Notebook)
        async with node.mailbox() as me:
            own = me.ref
            by_position = Request(node, ref, "two", (1, 2), {"third": 3}, me)
        by_name = Request(node, ref, "two", args=(1, 2), kwargs={"third": 3}, caller=me)
        of_nobody = Request(node=node, target=ref, method="two", args=(), kwargs={}, caller=None)
        for call in (by_position, by_name):
            assert [getattr(call, name) for name in fields] == [node, ref, "two", (1, 2), {"third": 3}]
            assert call.caller == own
        assert of_nobody.caller is None
        for call in (by_position, by_name, of_nobody):
            assert (call.settled, call.value, call.error, call.waiter, call.observer) == (False, *[None] * 4)
        with pytest.raises(TypeError):
            Request(node, ref, "two", (), {})  # type: ignore[call-arg]


async def test_the_first_reply_counts_whoever_is_told(core: str) -> None:
    told: list[Any] = []
    async with open_node("n") as node:
        ref = await node.spawn(Notebook)
        alone: Request[int] = Request(node, ref, "two", (), {}, None)
        watched: Request[int] = Request(node, ref, "two", (), {}, None)
        awaited: Request[int] = Request(node, ref, "two", (), {}, None)
        watched.observe(lambda request: told.append(request.result()))
        async with trio.open_nursery() as nursery:

            async def waits() -> None:
                told.append(await awaited.receive(5))

            nursery.start_soon(waits)
            await settled()
            for request in (alone, watched, awaited):
                request.reply(1)
                request.reply(2)
                request.fail(LookupError("late"))
        assert [request.result() for request in (alone, watched, awaited)] == [1, 1, 1]
        assert told == [1, 1]


class Awaited(Actor):
    async def two(self, first: int, second: int) -> tuple[int, int]:
        return first, second


async def test_a_call_passes_through_the_layers_over_its_parts(core: str) -> None:
    """In C a call is made in one piece; while somebody watches a part of it, the twin calls that."""
    seen: list[str] = []

    def watching(name: str) -> Any:
        def layer(plain: Any) -> Any:
            def watched(*args: Any) -> Any:
                seen.append(name)
                return plain(*args)

            return watched

        return layer

    places = (DispatchedBody, "hand_off"), (Dispatcher, "step_with")
    layers = [(*place, watching(place[1])) for place in places]
    before = LocalRef.ask
    async with open_node("n") as node:
        sync, awaited = await node.spawn(Notebook), await node.spawn(Awaited)
        await settled()
        for layer in layers:
            put_on(*layer)
        try:
            assert await sync.call(Notebook.two, 1, 2) == (1, 2)
            assert await awaited.call(Awaited.two, 1, 2) == (1, 2)
        finally:
            for layer in reversed(layers):
                take_off(*layer)
        assert seen == (["hand_off", "step_with"] if IS_AVAILABLE else ["hand_off"])
        assert await sync.call(Notebook.two, 1, 2) == (1, 2)
    assert LocalRef.ask is before
    assert len(seen) <= 2
