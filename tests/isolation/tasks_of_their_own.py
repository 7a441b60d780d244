"""What an async actor may do in its own task that it had better not."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Callable
from typing import Any, Final

import trio

from enfilade.actors import (
    KILL,
    Process,
    RequestCollection,
    TaskSupervisor,
    async_stream,
    open_node,
    system,
)
from tests.isolation.armed import HOOKS, play
from tests.isolation.place import handed
from tests.isolation.stage import Stage
from tests.isolation.victims import Async, Sync

ACTS: Final[dict[str, Callable[[], Any]]] = {}


def act(fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
    ACTS[fn.__name__] = lambda: fn
    return fn


async def fails() -> None:
    await trio.sleep(0.05)
    raise ValueError("in a nursery that was left open")


@act
async def leaves_a_nursery_open(actor: Any) -> None:
    actor.manager = trio.open_nursery()
    nursery = await actor.manager.__aenter__()
    nursery.start_soon(trio.sleep_forever)


@act
async def leaves_a_nursery_that_fails(actor: Any) -> None:
    actor.manager = trio.open_nursery()
    nursery = await actor.manager.__aenter__()
    nursery.start_soon(fails)
    await trio.lowlevel.checkpoint()


@act
async def leaves_a_nursery_and_raises(actor: Any) -> None:
    nursery = await trio.open_nursery().__aenter__()
    nursery.start_soon(fails)
    raise ValueError("as asked")


@act
async def leaves_a_nursery_and_waits(actor: Any) -> None:
    nursery = await trio.open_nursery().__aenter__()
    nursery.start_soon(fails)
    await trio.sleep(1)


@act
async def leaves_a_cancelled_scope(actor: Any) -> None:
    actor.scope = trio.CancelScope()
    actor.scope.__enter__()
    actor.scope.cancel()


@act
async def leaves_a_timed_scope(actor: Any) -> None:
    actor.scope = trio.move_on_after(0.1)
    actor.scope.__enter__()


@act
async def crosses_scopes(actor: Any) -> None:
    one, other = trio.CancelScope(), trio.CancelScope()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)


@act
async def closes_scopes_of_others(actor: Any) -> None:
    scope = trio.CancelScope()
    scope.__enter__()
    async with trio.open_nursery():
        scope.__exit__(None, None, None)


@act
async def swallows_cancellation(actor: Any) -> None:
    actor.process.exit(actor.process.ref, KILL)
    for _ in range(3):
        with contextlib.suppress(BaseException):
            await trio.sleep(0.1)


@act
async def raises_instead_of_cancellation(actor: Any) -> None:
    actor.process.exit(actor.process.ref, KILL)
    try:
        await trio.sleep(0.1)
    except BaseException:
        raise ValueError("instead") from None


@act
async def breaks_out_of_a_generator(actor: Any) -> None:
    async def ticks() -> Any:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails)
            while True:
                yield 1
                await trio.sleep(0.01)

    async for _ in ticks():
        break


@act
async def keeps_a_generator(actor: Any) -> None:
    async def ticks() -> Any:
        try:
            with trio.CancelScope():
                yield 1
        finally:
            actor.process.ref.send("the end of a generator")
            with trio.CancelScope(shield=True):
                await trio.sleep(0.01)

    actor.kept = ticks()
    await actor.kept.__anext__()


class Nonsense:
    def __await__(self) -> Any:
        yield "nonsense"


@act
async def awaits_nonsense(actor: Any) -> None:
    await Nonsense()


@act
async def awaits_a_future(actor: Any) -> None:
    loop = asyncio.new_event_loop()
    try:
        await asyncio.Future(loop=loop)
    finally:
        loop.close()


@act
async def awaits_nonsense_again(actor: Any) -> None:
    for _ in range(3):
        with contextlib.suppress(BaseException):
            await Nonsense()


@act
async def awaits_itself(actor: Any) -> None:
    await trio.lowlevel.current_task().coro


@act
async def receives_in_two_tasks(actor: Any) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(actor.process.receive, None, 0.1)


@act
async def calls_in_many_tasks(actor: Any) -> None:
    ref = await actor.process.spawn(Async)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ref.call, Async.crash)


@act
async def gives_its_nursery_away(actor: Any) -> None:
    async with trio.open_nursery() as nursery:

        async def other(me: Any) -> None:
            nursery.start_soon(fails)
            nursery.cancel_scope.cancel()

        await actor.process.spawn(other)
        await trio.sleep(0.1)


@act
async def opens_a_node(actor: Any) -> None:
    async with open_node("inner") as node:
        await node.spawn(Async)
        raise ValueError("as asked")


@act
async def opens_a_node_and_kills_it(actor: Any) -> None:
    async with open_node("inner") as node:
        ref = await node.spawn(Async)
        node.exit(node.ref, KILL)
        await ref.call(Async.ping)


@act
async def opens_a_node_and_leaves_it(actor: Any) -> None:
    actor.kept = open_node("inner")
    node = await actor.kept.__aenter__()
    await node.spawn(Async)


@act
async def opens_a_mailbox_and_leaves_it(actor: Any) -> None:
    actor.kept = actor.process.node.mailbox()
    me = await actor.kept.__aenter__()
    me.monitor(actor.process.ref)


@act
async def resets_a_foreign_token(actor: Any) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")
    token = contextvars.copy_context().run(variable.set, 1)
    variable.reset(token)


@act
async def leaves_a_stream_open(actor: Any) -> None:
    tasks = await actor.process.spawn(TaskSupervisor)
    actor.kept = async_stream(tasks, _slow, range(10))
    outcomes = await actor.kept.__aenter__()
    await outcomes.__anext__()


async def _slow(number: int) -> int:
    await trio.sleep(0.01 * number)
    return number


@act
async def leaves_requests(actor: Any) -> None:
    ref = await actor.process.spawn(Async)
    requests: RequestCollection[Any] = RequestCollection()
    for number in range(3):
        requests.add(actor.process.request(ref, Async.crash), number)
    with trio.move_on_after(0):
        await requests.receive()
    raise ValueError("as asked")


@act
async def suspends_itself_and_waits(actor: Any) -> None:
    with trio.move_on_after(1):
        await system.suspend(actor.process.ref)


@act
async def changes_its_own_code(actor: Any) -> None:
    with trio.move_on_after(1):
        await system.change_code(actor.process.ref, Sync)


@act
async def stops_its_own_node(actor: Any) -> None:
    with trio.move_on_after(1):
        await actor.process.node.ref.stop()


@act
async def raises_a_group_with_exits(actor: Any) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(fails)
        await trio.sleep(0.01)
        raise GeneratorExit


@act
async def never_awaits(actor: Any) -> None:
    actor.kept = [actor.process.ref.call(Async.ping), actor.process.receive()]


@act
async def supervises_and_leaves_a_nursery(actor: Any) -> None:
    actor.process.open_arena()
    await actor.process.spawn(Async)
    await leaves_a_nursery_that_fails(actor)


@handed(" ".join(HOOKS), objects=ACTS)
async def own_task(stage: Stage) -> None:
    """An async actor does it where the tier says so; others go on, and hear of its end once."""
    act, done = stage.make(), False

    async def once(self: Any, *_: Any) -> Any:
        nonlocal done
        if not done:
            done = True
            await act(self)

    await play(stage, Async, once)
    await trio.sleep(1.5)


@handed("function", objects=ACTS)
async def own_function(stage: Stage) -> None:
    """An async function does it, and goes on."""
    act = stage.make()

    class Self:
        """What an act takes for an actor."""

        def __init__(self, process: Process) -> None:
            self.process = process

    async def body(me: Process) -> None:
        await act(Self(me))
        await trio.sleep(0.5)

    stage.watch(await stage.home.spawn(body))
    await trio.sleep(1.5)
