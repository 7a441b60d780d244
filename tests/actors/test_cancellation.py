"""Everything that can be awaited, cancelled at every point in several schedules: nothing is lost or left.

The scenarios assert what each promises; that the node holds nothing in the end is checked for all of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from enfilade.actors import (
    Actor,
    Child,
    Deferred,
    Mailbox,
    Node,
    Pool,
    Process,
    Ref,
    RequestCollection,
    RuntimeFault,
    Supervisor,
    TaskSupervisor,
    Worker,
    async_nolink,
    async_stream,
    multi_call,
    open_node,
    system,
)
from enfilade.actors.testing import check_leaks, run_with_seed

SEEDS = range(3)
POINTS = range(9)
CANCELLED = object()


class Server(Actor):
    def __init__(self) -> None:
        self.count = 0

    def increment(self) -> int:
        self.count += 1
        return self.count

    def later(self) -> Deferred[Any]:
        deferred = self.process.defer()
        self.process.send_after(0, self.process.ref, deferred)
        return deferred

    def on_message(self, message: Any) -> None:
        message.reply("at last")


class SlowServer(Server):
    async def on_start(self) -> None:
        await steps(2)

    async def slow(self) -> str:
        await steps(2)
        return "slow"

    async def on_stop(self, reason: Any) -> None:
        await steps(2)


class Clerk(Worker):
    async def work(self, job: Any) -> Any:
        await steps(1)
        return job


async def receiver(me: Process) -> None:
    while True:
        await me.receive()


async def steps(count: int) -> None:
    for _ in range(count):
        await trio.lowlevel.checkpoint()


async def cut(point: int, fn: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """What `fn(*args)` returns, or CANCELLED if it has not after so many passes of the loop."""
    result = CANCELLED
    async with trio.open_nursery() as nursery:

        async def cancel() -> None:
            await steps(point)
            nursery.cancel_scope.cancel()

        nursery.start_soon(cancel)
        result = await fn(*args)
        nursery.cancel_scope.cancel()
    return result


async def spawn(node: Node, point: int, *target: Any) -> None:
    """There is a ref, or there is no process."""

    async def start() -> Ref[Any]:
        return await node.spawn(*target, name="name")

    ref = await cut(point, start)
    await trio.sleep(10)
    if ref is CANCELLED:
        assert not node.processes
        assert node.whereis("name") is None
    else:
        assert node.whereis("name") == ref


async def spawn_sync(node: Node, point: int) -> None:
    node.dispatcher.handoffs = 1
    await spawn(node, point, Server)


async def spawn_async(node: Node, point: int) -> None:
    await spawn(node, point, SlowServer)


async def spawn_function(node: Node, point: int) -> None:
    await spawn(node, point, receiver)


async def spawn_supervisor(node: Node, point: int) -> None:
    await spawn(node, point, Supervisor, [Child(SlowServer, id="a"), Child(Server, id="b")])


async def call(node: Node, point: int) -> None:
    """A late reply reaches nobody, and the callee goes on."""
    server = await node.spawn(SlowServer)
    for method in (SlowServer.increment, SlowServer.later, SlowServer.slow):
        async with node.mailbox() as me:
            await cut(point, server.call, method)
            await trio.sleep(1)
            assert not me.queue
            assert isinstance(await server.call(SlowServer.increment), int)


async def several_calls(node: Node, point: int) -> None:
    servers = [await node.spawn(SlowServer) for _ in range(3)]
    async with node.mailbox() as me:
        await cut(point, multi_call, servers, SlowServer.slow)
        await trio.sleep(1)
        assert not me.queue


async def receive(node: Node, point: int) -> None:
    """Every message is received once, in order."""
    async with node.mailbox() as me, trio.open_nursery() as nursery:

        async def send() -> None:
            for number in range(10):
                me.ref.send(number)
                await steps(1)

        nursery.start_soon(send)
        got = []
        for attempt in range(100):
            number = await cut((point + attempt) % 4, me.receive, (None, int)[attempt % 2], 5)
            if number is not CANCELLED:
                got.append(number)
            if len(got) == 10:
                break
        assert got == list(range(10))


async def send_wait(node: Node, point: int) -> None:
    """What was sent arrives once; what was cancelled does not."""
    sent = []
    got = []

    async with node.mailbox(Mailbox(2, "block")) as me:

        async def consume() -> None:
            while True:
                got.append(await me.receive())

        async def send(sender: int) -> None:
            for number in range(6):
                message = (sender, number)
                if await cut((point + number + sender) % 5, me.ref.send_wait, message) is CANCELLED:
                    continue
                sent.append(message)

        async def send_all(me: Process) -> None:
            async with trio.open_nursery() as senders:
                for sender in range(3):
                    senders.start_soon(send, sender)

        async with trio.open_nursery() as nursery:
            await node.spawn(send_all)
            nursery.start_soon(consume)
            await trio.sleep(10)
            nursery.cancel_scope.cancel()
    assert sorted(got) == sorted(sent)


async def requests(node: Node, point: int) -> None:
    """A request whose wait was cancelled can be waited for again; a collection gives each once."""
    server = await node.spawn(SlowServer)
    async with node.mailbox() as me:
        request = me.request(server, SlowServer.slow)
        await cut(point, request.wait)
        assert await request.wait() == "slow"
        collection: RequestCollection[int] = RequestCollection()
        for label in range(3):
            collection.add(me.request(server, SlowServer.slow), label)
        labels = []
        while len(collection):
            point += 1
            answer = await cut(point, collection.wait)
            if answer is not CANCELLED:
                labels.append(answer[0])
        assert labels == [0, 1, 2]


async def stop(node: Node, point: int) -> None:
    """It was asked to stop, and does."""
    server = await node.spawn(SlowServer)
    await cut(point, server.stop)
    await trio.sleep(1)
    assert not node.processes


async def system_messages(node: Node, point: int) -> None:
    """Done, or not done and never will be."""
    server = await node.spawn(SlowServer)
    server.cast(SlowServer.slow)
    done = await cut(point, system.suspend, server) is not CANCELLED
    await trio.sleep(1)
    assert (await system.get_status(server)).suspended is done
    await system.resume(server)
    server.cast(SlowServer.slow)
    answer = await cut(point, system.replace_state, server, lambda state: {**state, "count": 99})
    await trio.sleep(1)
    assert (await server.call(SlowServer.increment) == 100) is (answer is not CANCELLED)


async def tasks(node: Node, point: int) -> None:
    """A task that nobody has got does not run; a stream gives every outcome once, in order."""
    supervisor = await node.spawn(TaskSupervisor)

    async def echo(number: int) -> int:
        await steps(1)
        return number

    task = await cut(point, async_nolink, supervisor, echo, 7)
    if task is not CANCELLED:
        assert await task.wait() == 7
    got = []
    async with async_stream(supervisor, echo, range(6), max_concurrency=2) as stream:
        while len(got) < 6:
            point = (point + 1) % 7
            outcome = await cut(point, anext, stream)
            if outcome is not CANCELLED:
                got.append(outcome.value)
    assert got == list(range(6))
    await trio.sleep(1)
    assert (await supervisor.call(Supervisor.count_children)).active == 0


async def pool(node: Node, point: int) -> None:
    """A job is done and answered, or dropped; no key stays with a worker."""
    office = await node.spawn(Pool, Clerk, size=2, routing="sticky")
    for job in range(6):
        answer = await cut((point + job) % 7, office.call, Pool.submit, job, job % 2)
        assert answer in (CANCELLED, job)
    await cut(point, office.call, Pool.drain)
    await trio.sleep(1)
    statistics = await office.call(Pool.statistics)
    assert (statistics.busy, statistics.queued) == (0, 0)


async def administration(node: Node, point: int) -> None:
    """A request is served whole, whether anybody still waits or not."""
    supervisor = await node.spawn(Supervisor, [Child(SlowServer, id="a"), Child(SlowServer, id="b")])
    for method, argument in (
        (Supervisor.terminate_child, "a"),
        (Supervisor.restart_child, "a"),
        (Supervisor.start_child, Child(SlowServer, id="c")),
        (Supervisor.terminate_child, "c"),
        (Supervisor.delete_child, "c"),
    ):

        async def ask(method: Any = method, argument: Any = argument) -> None:
            try:
                await supervisor.call(method, argument)
            except RuntimeFault:  # what was asked for before has not been done yet, or never will be
                return

        await cut(point, ask)
    await trio.sleep(1)
    infos = await supervisor.call(Supervisor.children)
    assert [info.id for info in infos if isinstance(info.ref, Ref)][-1:] == ["b"]


async def ephemeral_process(node: Node, point: int) -> None:
    async def use() -> None:
        async with node.mailbox() as me:
            child = await me.spawn(SlowServer, link=True)
            me.monitor(child)
            await child.call(SlowServer.slow)
            me.unlink(child)
            await child.stop()

    await cut(point, use)
    await trio.sleep(1)


SCENARIOS = [
    spawn_sync,
    spawn_async,
    spawn_function,
    spawn_supervisor,
    call,
    several_calls,
    receive,
    send_wait,
    requests,
    stop,
    system_messages,
    tasks,
    pool,
    administration,
    ephemeral_process,
]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_cancelled_anywhere(scenario: Callable[[Node, int], Awaitable[None]], seed: int) -> None:
    async def run(point: int) -> None:
        async with open_node("cut") as node:
            await scenario(node, point)
        check_leaks(node)

    for point in POINTS:
        run_with_seed(seed, run, point)
