"""Collections of requests whose requests end in every possible way. Clause C10 of docs/semantics.md."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    Actor,
    CallTimeout,
    Deferred,
    Node,
    ProcessDied,
    ReceiveTimeout,
    Ref,
    Request,
    RequestCollection,
)

pytest_plugins = ["enfilade.actors.testing.plugin"]


class Oracle(Actor):
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.owed: list[Deferred[Any]] = []

    def ask(self) -> Deferred[Any]:
        self.owed.append(self.process.defer())
        return self.owed[-1]

    def answer(self) -> None:
        self.owed.pop().reply("answer")

    def drop(self) -> None:
        self.owed.clear()


async def _cancelled(request: Request[Any], ref: Ref[Oracle]) -> None:
    request.cancel()


async def _out_of_time(request: Request[Any], ref: Ref[Oracle]) -> None:
    with pytest.raises(CallTimeout):
        await request.receive(0.1)


async def _receiver_cancelled(request: Request[Any], ref: Ref[Oracle]) -> None:
    with trio.move_on_after(0.1):
        await request.receive(10)


async def _answered(request: Request[Any], ref: Ref[Oracle]) -> None:
    await ref.call(Oracle.answer)


async def _answered_to_another(request: Request[Any], ref: Ref[Oracle]) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(request.receive)
        await wait_all_tasks_blocked()
        await ref.call(Oracle.answer)


async def _dropped(request: Request[Any], ref: Ref[Oracle]) -> None:
    await ref.call(Oracle.drop)
    await trio.sleep(0.1)  # the finalizer of the reply leaves a note for the loop


async def _died(request: Request[Any], ref: Ref[Oracle]) -> None:
    ref.exit(KILL)
    await wait_all_tasks_blocked()


End = Callable[[Request[Any], Ref[Oracle]], Awaitable[None]]
ENDS: list[End] = [
    _cancelled,
    _out_of_time,
    _receiver_cancelled,
    _answered,
    _answered_to_another,
    _dropped,
    _died,
]
LIMIT = 60.0


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("order", ["added, ended, waited", "ended, added, waited", "added, waited, ended"])
async def test_no_end_is_missed(autojump_clock: MockClock, node: Node, end: End, order: str) -> None:
    """C10: whatever becomes of a request, every collection that it is in yields it, once."""
    async with node.mailbox() as me, trio.open_nursery() as nursery:
        ref = await node.spawn(Oracle)
        request = me.request(ref, Oracle.ask)
        seen: list[Any] = []
        request.then(seen.append)
        collections: list[RequestCollection[str]] = [RequestCollection(), RequestCollection()]
        got: list[Any] = []

        async def wait(collection: RequestCollection[str]) -> None:
            got.append(await collection.wait(LIMIT))
            with pytest.raises(LookupError):
                await collection.wait(LIMIT)

        steps = order.split(", ")
        for step in steps:
            if step == "added":
                for collection in collections:
                    collection.add(request, "first label")
                    collection.add(request, "label")
                    assert len(collection) == 1
            elif step == "ended":
                await end(request, ref)
                assert request.settled
            else:
                for collection in collections:
                    nursery.start_soon(wait, collection)
                await wait_all_tasks_blocked()
        await trio.sleep(1)
        assert got == [("label", request)] * 2
        with pytest.raises(ReceiveTimeout):
            await me.receive(timeout=0)  # where the continuation runs
        given_up = end in ENDS[:3]
        assert seen == ([] if given_up else [request])


async def test_taken_while_another_waits(autojump_clock: MockClock, node: Node) -> None:
    """C10: a task that waits for an answer that another takes waits on, and is told when nothing is left."""
    async with node.mailbox() as me:
        ref = await node.spawn(Oracle)
        request = me.request(ref, Oracle.ask)
        collection: RequestCollection[int] = RequestCollection()
        collection.add(request, 1)
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(LookupError):
                    await collection.wait(LIMIT)

            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            request.cancel()
            assert collection.check() == (1, request)


async def test_all_given_up(autojump_clock: MockClock, node: Node) -> None:
    """C10: out of time, `receive` gives up what is left, and no other collection waits for it."""
    async with node.mailbox() as me:
        ref = await node.spawn(Oracle)
        one: RequestCollection[int] = RequestCollection()
        other: RequestCollection[int] = RequestCollection()
        for number in range(3):
            request = me.request(ref, Oracle.ask)
            one.add(request, number)
            other.add(request, number)
        with pytest.raises(trio.TooSlowError):
            await one.receive(1)
        assert len(one) == 0
        labels = [(await other.wait(LIMIT))[0] for _ in range(3)]
        assert labels == [0, 1, 2]
        with pytest.raises(LookupError):
            await one.wait()


async def test_two_continuations(autojump_clock: MockClock, node: Node) -> None:
    """C10: two continuations of one request both run, beside a collection."""
    async with node.mailbox() as me:
        ref = await node.spawn(Oracle)
        request = me.request(ref, Oracle.ask)
        seen: list[Any] = []
        request.then(lambda _: seen.append(1))
        collection: RequestCollection[int] = RequestCollection()
        collection.add(request, 1)
        request.then(lambda _: seen.append(2))
        ref.exit(KILL)
        _, settled = await collection.wait(LIMIT)
        assert isinstance(settled.error, ProcessDied)
        with trio.move_on_after(1):
            await me.receive()
        assert seen == [1, 2]


@pytest.mark.parametrize("timeout", [-1, float("nan"), "1"])
async def test_bad_timeouts(node: Node, timeout: Any) -> None:
    """T6: a time limit that is none is refused at once."""
    collection: RequestCollection[int] = RequestCollection()
    with pytest.raises((ValueError, TypeError)):
        await collection.wait(timeout)


async def test_one_task_waits_at_a_time(autojump_clock: MockClock, node: Node) -> None:
    """C10: a second one is told so, and the first goes on waiting."""
    ref = await node.spawn(Oracle)
    requests: RequestCollection[str] = RequestCollection()
    async with node.mailbox() as me:
        requests.add(me.request(ref, Oracle.ask), "label")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(requests.wait)
            await wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await requests.wait(1)
            await ref.call(Oracle.answer)
