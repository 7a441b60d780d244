"""The work of async actors, by the compiled core and by its twin: what it awaits, what it raises, its end."""

from __future__ import annotations

import gc
import sys
import traceback
from collections.abc import Awaitable, Callable, Generator, Iterator
from types import coroutine
from typing import Any

import pytest
import trio

from enfilade.actors import (
    KILL,
    Actor,
    BadArguments,
    Crashed,
    Deferred,
    LiveResult,
    Node,
    Process,
    ProcessDied,
    Ref,
    Resume,
    SenderDropped,
    UnknownMethod,
    open_node,
)
from enfilade.actors.processes.local_ref import process_of
from enfilade.actors.processes.task_bodies import BUDGET
from tests.actors.test_core import core, needs_compiled, settled
from tests.actors.test_core_reentrance import ALLOCATIONS, collected_at

__all__ = ["core"]


class Later:
    """Something to await that is no coroutine."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from trio.lowlevel.checkpoint().__await__()  # noqa: ASYNC105
        return self.value


@coroutine
def foreign() -> Generator[Any, Any, None]:
    yield "what trio does not know"


class Worker(Actor):
    on_failure = Resume(LookupError)

    def __init__(self) -> None:
        self.notes: list[Any] = []
        self.owed: list[Deferred[Any]] = []

    async def on_message(self, message: Any) -> Any:
        if message == "fail":
            raise LookupError("on purpose")
        if message == "later":
            return Later(None)
        self.notes.append(message)
        return None

    async def on_down(self, down: Any) -> None:
        self.notes.append(type(down.reason).__name__)

    async def on_stop(self, reason: Any) -> None:
        await trio.lowlevel.checkpoint()
        self.notes.append("on_stop")

    def plain(self, *values: Any, **named: Any) -> Any:
        return (*values, *named.items())

    async def noted(self) -> list[Any]:
        return list(self.notes)

    async def waits(self, value: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return value

    def awaitable(self, value: Any) -> Awaitable[Any]:
        return Later(value)

    async def iterator(self) -> Iterator[int]:
        return iter([1])

    async def fail(self, error: BaseException, *, first: bool = False) -> None:
        if not first:
            await trio.lowlevel.checkpoint()
        raise error

    def fail_at_once(self, error: BaseException) -> None:
        raise error

    async def later(self) -> Any:
        self.owed.append(self.process.defer())
        return self.owed[-1]

    async def drops(self) -> None:
        self.process.defer()

    async def answer(self, value: Any) -> None:
        self.owed.pop().reply(value)

    async def stops(self) -> str:
        self.process.stop()
        return "stopped"

    async def receives(self, match: Any) -> Any:
        return await self.process.receive(match)

    async def yields(self) -> None:
        await foreign()

    async def for_ever(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.notes.append("cancelled")


class Entering(Actor):
    """Enters a coroutine."""

    async def enter(self, coroutine: Any, how: Callable[[Any], Any]) -> Any:
        await trio.lowlevel.checkpoint()
        return how(coroutine)


class Stranger(Actor):
    def unknown(self) -> None: ...


async def test_what_handlers_return(core: str) -> None:
    async with open_node("n") as node:
        ref = await node.spawn(Worker)
        assert await ref.call(Worker.plain, 1, 2, key=3) == (1, 2, ("key", 3))
        assert await ref.call(Worker.plain) == ()
        assert await ref.call(Worker.waits, "waited") == "waited"
        assert await ref.call(Worker.awaitable, "awaited") == "awaited"
        assert type(await ref.call(Worker.plain, ref)) is tuple
        with pytest.raises(LiveResult):
            await ref.call(Worker.iterator)
        with pytest.raises(BadArguments):
            await ref.call(Worker.waits)
        with pytest.raises(UnknownMethod):
            await ref.call(Stranger.unknown)  # type: ignore[type-var]
        ref.send("plain")
        ref.send("later")
        ref.cast(Worker.plain, 1)
        ref.cast(Worker.waits, 1)
        assert await ref.call(Worker.noted) == ["plain"]


async def test_deferred_replies(core: str) -> None:
    async with open_node("n") as node, node.mailbox() as me:
        ref = await node.spawn(Worker)
        request = me.request(ref, Worker.later)
        await settled()
        assert not request.settled
        await ref.call(Worker.answer, "late")
        assert await request.wait(5) == "late"
        with pytest.raises(SenderDropped):
            await ref.call(Worker.drops)
        assert await ref.call(Worker.waits, 1) == 1


@pytest.mark.parametrize("first", [True, False], ids=["at once", "after a wait"])
async def test_errors_that_it_survives(core: str, first: bool) -> None:
    async with open_node("n") as node:
        ref = await node.spawn(Worker)
        for _ in range(3):
            with pytest.raises(LookupError):
                await ref.call(Worker.fail, LookupError("on purpose"), first=first)
            with pytest.raises(LookupError):
                await ref.call(Worker.fail_at_once, LookupError("on purpose"))
        ref.send("fail")
        ref.send("goes on")
        assert await ref.call(Worker.noted) == ["goes on"]


@pytest.mark.parametrize("method", [Worker.fail, Worker.fail_at_once])
@pytest.mark.parametrize("kind", [ValueError, StopIteration, trio.TooSlowError])
async def test_errors_that_end_it(core: str, method: Any, kind: type[Exception]) -> None:
    """Their traceback leads to the handler; a `StopIteration` is what it is for any coroutine."""
    async with open_node("n") as node, node.mailbox() as me:
        ref = await node.spawn(Worker)
        me.monitor(ref)
        with pytest.raises(ProcessDied):
            await ref.call(method, kind("on purpose"))
        reason = (await me.receive()).reason
    assert isinstance(reason, Crashed)
    assert type(reason.error) is (RuntimeError if kind is StopIteration else kind)
    origin = reason.error.__cause__ if kind is StopIteration else reason.error
    assert type(origin) is kind
    assert [frame.name for frame in traceback.extract_tb(origin.__traceback__)][-1] == method.__name__


async def test_a_stop_is_answered_after_on_stop(core: str) -> None:
    async with open_node("n") as node, node.mailbox() as me:
        ref = await node.spawn(Worker)
        process = process_of(ref)
        assert process is not None
        worker = process.body.actor
        me.monitor(ref)
        assert await ref.call(Worker.stops) == "stopped"
        assert worker.notes == ["on_stop"]
        assert str((await me.receive()).reason) == "normal"


class Seen:
    """An observer."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def received(self, _process: Process, message: Any) -> None:
        self.seen.append(("received", getattr(message, "method", message)))

    def handled(self, _process: Process, message: Any) -> None:
        self.seen.append(("handled", getattr(message, "method", message)))


async def test_what_observers_and_counters_see(core: str) -> None:
    async with open_node("n") as node:
        ref = await node.spawn(Worker)
        process = process_of(ref)
        assert process is not None
        seen = Seen()
        process.extras().observers.append(seen)
        process.attention = True
        assert await ref.call(Worker.waits, 1) == 1
        ref.send("message")
        assert await ref.call(Worker.noted) == ["message"]
        whole = [(what, name) for name in ("waits", "message", "noted") for what in ("received", "handled")]
        assert seen.seen == whole
        process.extras().observers.remove(seen)
        node.dispatcher.counted = {}
        for _ in range(3):
            await ref.call(Worker.waits, 1)
        assert node.dispatcher.counted[process] == 3
        assert seen.seen == [*whole, ("received", "waits")][: len(seen.seen)]
        assert process.body.at_hand is None


async def test_what_was_skipped_comes_first_again(core: str) -> None:
    async with open_node("n") as node:
        ref = await node.spawn(Worker)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ref.call, Worker.receives, int)
            await settled()
            for message in ("first", "second", 1):
                ref.send(message)
        assert await ref.call(Worker.noted) == ["first", "second"]
        taken: list[Any] = []

        async def take() -> None:
            taken.append(await ref.call(Worker.receives, int))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            await settled()
            for message in (2, 3, 4):
                ref.send(message)
        assert taken == [2]


async def test_others_run_after_so_many_messages(core: str) -> None:
    """As many as the budget of the twin says."""
    handled: list[int] = []

    class Counting(Actor):
        def __init__(self) -> None:
            self.count = 0

        async def on_message(self, message: Any) -> None:
            self.count += 1

    async with open_node("n") as node:
        ref = await node.spawn(Counting)
        process = process_of(ref)
        assert process is not None
        for number in range(9 * BUDGET + 1):
            ref.send(number)
        while not handled or handled[-1] <= 9 * BUDGET:
            await trio.lowlevel.checkpoint()
            handled.append(process.body.actor.count)
    assert len(handled) >= 5
    assert not any(count % BUDGET for count in handled[:-1])


async def test_what_trio_does_not_know(core: str) -> None:
    async with open_node("n") as node, node.mailbox() as me:
        ref = await node.spawn(Worker)
        me.monitor(ref)
        with pytest.raises(ProcessDied):
            await ref.call(Worker.yields)
        reason = (await me.receive()).reason
    assert isinstance(reason, Crashed)
    assert "expected a task to yield what trio understands" in str(reason.error)


@pytest.mark.parametrize("method", [None, Worker.for_ever], ids=["for a message", "in a handler"])
async def test_a_kill_while_it_waits(core: str, method: Any) -> None:
    async with open_node("n") as node, node.mailbox() as me:
        ref = await node.spawn(Worker)
        process = process_of(ref)
        assert process is not None
        worker, task = process.body.actor, process.body.task
        me.monitor(ref)
        if method is not None:
            ref.cast(method)
        await settled()
        names = [frame.f_code.co_name for frame, _ in task.iter_await_frames()]
        assert names[:3] == ["_run", "run", "main"]
        assert ("for_ever" in names) is (method is not None)
        ref.exit(KILL)
        assert str((await me.receive()).reason) == "killed"
        assert worker.notes == ([] if method is None else ["cancelled"])


async def spawned(node: Node) -> tuple[Ref[Worker], Any]:
    ref = await node.spawn(Worker)
    process = process_of(ref)
    assert process is not None
    return ref, process


async def test_messages_that_a_finalizer_sends_at_any_moment(core: str) -> None:
    """While a call is made, handled and answered, and while the actor is about to wait for the next."""
    sent: list[int] = []
    async with open_node("n") as node:
        ref, _ = await spawned(node)

        def send() -> None:
            sent.append(len(sent))
            ref.send(sent[-1])

        for allocation in ALLOCATIONS:
            with collected_at(allocation, send):
                with trio.fail_after(5):
                    assert await ref.call(Worker.waits, 1) == 1
                    assert await ref.call(Worker.plain, 1) == (1,)
            await settled()
        assert await ref.call(Worker.noted) == sent
    assert len(sent) == len(ALLOCATIONS)


@needs_compiled
async def test_no_reference_is_lost_or_kept(core: str) -> None:
    """Of what was called, of its arguments and of its results."""
    value, error = object(), LookupError("on purpose")
    async with open_node("n") as node:
        ref, _ = await spawned(node)

        async def rounds(number: int) -> tuple[int, int]:
            for _ in range(number):
                assert (await ref.call(Worker.plain, value))[0] is value
                assert await ref.call(Worker.waits, value) is value
                ref.cast(Worker.waits, value)
                ref.send(value)
            await settled()
            process_of(ref).body.actor.notes.clear()  # type: ignore[union-attr]
            gc.collect()
            return sys.getrefcount(value), sys.getrefcount(ref)

        before = await rounds(10)
        assert await rounds(200) == before
    del error


def act_on(work: Any, how: Callable[[Any], Any]) -> Any:
    try:
        return how(work)
    except BaseException as error:
        return error


@needs_compiled
async def test_it_is_a_coroutine_to_whoever_drives_it(core: str) -> None:
    """Closed, or thrown into, it closes what it awaits, and is over: as the twin's coroutine."""
    async with open_node("n") as node:
        _, process = await spawned(node)
        body = process.body
        for how in (
            lambda work: work.close(),
            lambda work: work.throw(ValueError("thrown")),
            lambda work: work.throw(ValueError),
        ):
            body.actor = Worker  # it is to start once more
            work = body.main()
            trap = work.send(None)
            process.waiter, process.idle = body.task, True
            assert hasattr(trap, "abort_func") or callable(trap)
            assert type(act_on(work, how)) in (ValueError, type(None))
            assert type(act_on(work, lambda work: work.send(None))) is RuntimeError


@pytest.mark.parametrize(
    "how",
    [lambda own: own.close(), lambda own: own.send(None), lambda own: own.throw(ValueError("thrown"))],
    ids=["close", "send", "throw"],
)
async def test_it_cannot_be_entered_while_it_runs(core: str, how: Callable[[Any], Any]) -> None:
    """By a handler, who has it from somebody that has looked at the task while that waited."""
    async with open_node("n") as node:
        ref = await node.spawn(Entering)
        await settled()
        process = process_of(ref)
        assert process is not None
        assert process.body.task is not None
        own = process.body.task.coro.cr_await.cr_await
        for _ in range(2):
            refused = await ref.call(Entering.enter, own, lambda own: act_on(own, how))
            assert type(refused) is ValueError
            assert str(refused) == "coroutine already executing"
