"""xoscar: an actor is an object in a pool, on asyncio. Here all actors are in the pool of this process."""

# mypy: allow-subclassing-any, allow-untyped-decorators
from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import xoscar  # type: ignore[import-untyped]

from tests.benchmarks.kernel import kernel, scramble


def run(main: Any) -> float:
    return float(asyncio.run(main()))


@asynccontextmanager
async def pool(processes: int = 0) -> AsyncIterator[str]:
    """The address of a new pool; with processes, the address of its first sub-process."""
    created = await xoscar.create_actor_pool("127.0.0.1", n_process=processes)
    async with created:
        addresses = list(created.sub_processes) if processes else [created.external_address]
        yield addresses[0]


class Pong(xoscar.StatelessActor):
    async def ping(self, ping: Any) -> None:
        await ping.pong.tell()


class Ping(xoscar.StatelessActor):
    def __init__(self, pong: Any, rounds: int, finished: asyncio.Event) -> None:
        self.other, self.left, self.finished = pong, rounds, finished

    async def pong(self) -> None:
        if self.left == 0:
            self.finished.set()
        else:
            self.left -= 1
            await self.other.ping.tell(self.ref())


@kernel("ping-pong", run=run)
async def ping_pong(rounds: int) -> float:
    async with pool() as address:
        finished = asyncio.Event()
        pong = await xoscar.create_actor(Pong, address=address)
        ping = await xoscar.create_actor(Ping, pong, rounds, finished, address=address)
        begin = time.perf_counter()
        await ping.pong.tell()
        await finished.wait()
        return (time.perf_counter() - begin) / rounds


class Counter(xoscar.StatelessActor):
    def __init__(self, expected: int, finished: asyncio.Event) -> None:
        self.left, self.finished = expected, finished

    async def add(self, number: int) -> int:
        self.left -= number
        if self.left == 0:
            self.finished.set()
        return self.left


class Producer(xoscar.StatelessActor):
    def __init__(self, counter: Any, messages: int) -> None:
        self.counter, self.messages = counter, messages

    async def go(self) -> None:
        for _ in range(self.messages):
            await self.counter.add.tell(1)


@kernel("fan-in", run=run)
async def fan_in(messages: int, producers: int) -> float:
    async with pool() as address:
        finished = asyncio.Event()
        each = messages // producers
        counter = await xoscar.create_actor(Counter, each * producers, finished, address=address)
        crowd = [
            await xoscar.create_actor(Producer, counter, each, address=address) for _ in range(producers)
        ]
        begin = time.perf_counter()
        for producer in crowd:
            await producer.go.tell()
        await finished.wait()
        return (time.perf_counter() - begin) / (each * producers)


@kernel("counting", run=run)
async def counting(messages: int) -> float:
    return float(await fan_in(messages, 1))


class RingMember(xoscar.StatelessActor):
    def __init__(self, finished: asyncio.Event) -> None:
        self.finished = finished
        self.next: Any = None

    async def follow(self, following: Any) -> None:
        self.next = following

    async def token(self, hops: int) -> None:
        if hops == 0:
            self.finished.set()
        else:
            await self.next.token.tell(hops - 1)


@kernel("thread-ring", run=run)
async def thread_ring(processes: int, hops: int) -> float:
    async with pool() as address:
        finished = asyncio.Event()
        members = [await xoscar.create_actor(RingMember, finished, address=address) for _ in range(processes)]
        for member, following in zip(members, [*members[1:], members[0]], strict=True):
            await member.follow(following)
        begin = time.perf_counter()
        await members[0].token.tell(hops)
        await finished.wait()
        return (time.perf_counter() - begin) / hops


@kernel("fork-join-throughput", run=run)
async def fork_join_throughput(processes: int, messages: int) -> float:
    async with pool() as address:
        events = [asyncio.Event() for _ in range(processes)]
        actors = [await xoscar.create_actor(Counter, messages, event, address=address) for event in events]
        begin = time.perf_counter()
        for _ in range(messages):
            for actor in actors:
                await actor.add.tell(1)
        for event in events:
            await event.wait()
        return (time.perf_counter() - begin) / (processes * messages)


class Joined(xoscar.StatelessActor):
    def __init__(self, finished: asyncio.Semaphore) -> None:
        self.finished = finished

    async def go(self) -> None:
        await xoscar.destroy_actor(self.ref())
        self.finished.release()


@kernel("spawn", run=run)
async def spawn(processes: int) -> float:
    async with pool() as address:
        finished = asyncio.Semaphore(0)
        begin = time.perf_counter()
        for _ in range(processes):
            actor = await xoscar.create_actor(Joined, finished, address=address)
            await actor.go.tell()
            await finished.acquire()
        return (time.perf_counter() - begin) / processes


@kernel("fork-join-create", run=run)
async def fork_join_create(processes: int) -> float:
    async with pool() as address:
        finished = asyncio.Semaphore(0)
        begin = time.perf_counter()
        for _ in range(processes):
            actor = await xoscar.create_actor(Joined, finished, address=address)
            await actor.go.tell()
        for _ in range(processes):
            await finished.acquire()
        return (time.perf_counter() - begin) / processes


class BigWorker(xoscar.StatelessActor):
    def __init__(self, seed: int, pings: int, finished: asyncio.Semaphore) -> None:
        self.state, self.left, self.finished = seed, pings, finished
        self.everyone: list[Any] = []

    async def start(self, everyone: list[Any]) -> None:
        self.everyone = everyone
        await self.next_ping()

    async def next_ping(self) -> None:
        self.state = scramble(self.state)
        await self.everyone[(self.state >> 8) % len(self.everyone)].ping.tell(self.ref())

    async def ping(self, sender: Any) -> None:
        await sender.pong.tell()

    async def pong(self) -> None:
        self.left -= 1
        if self.left:
            await self.next_ping()
        else:
            self.finished.release()


@kernel("big", run=run)
async def big(workers: int, pings: int) -> float:
    async with pool() as address:
        finished = asyncio.Semaphore(0)
        crowd = [
            await xoscar.create_actor(BigWorker, seed, pings, finished, address=address)
            for seed in range(1, workers + 1)
        ]
        begin = time.perf_counter()
        for worker in crowd:
            await worker.start.tell(crowd)
        for _ in crowd:
            await finished.acquire()
        return (time.perf_counter() - begin) / (workers * pings)


class Mall(xoscar.StatelessActor):
    def __init__(self, meetings: int, finished: asyncio.Event) -> None:
        self.left, self.finished = meetings, finished
        self.first: Any = None

    async def meet(self, creature: Any, colour: int) -> None:
        if self.left == 0:
            self.finished.set()
        elif self.first is None:
            self.first = creature
        else:
            first, self.first = self.first, None
            self.left -= 1
            await first.partner.tell(creature, colour)


class Creature(xoscar.StatelessActor):
    def __init__(self, mall: Any, colour: int) -> None:
        self.mall, self.colour = mall, colour

    async def start(self) -> None:
        await self.mall.meet.tell(self.ref(), self.colour)

    async def partner(self, other: Any, colour: int) -> None:
        self.colour = colour if colour == self.colour else 3 - colour - self.colour
        await other.change.tell(self.colour)
        await self.start()

    async def change(self, colour: int) -> None:
        self.colour = colour
        await self.start()


@kernel("chameneos", run=run)
async def chameneos(creatures: int, meetings: int) -> float:
    async with pool() as address:
        finished = asyncio.Event()
        mall = await xoscar.create_actor(Mall, meetings, finished, address=address)
        crowd = [
            await xoscar.create_actor(Creature, mall, number % 3, address=address)
            for number in range(creatures)
        ]
        begin = time.perf_counter()
        for creature in crowd:
            await creature.start.tell()
        await finished.wait()
        return (time.perf_counter() - begin) / meetings


class Adder(xoscar.StatelessActor):
    def __init__(self) -> None:
        self.value = 0

    async def add(self, number: int) -> int:
        self.value += number
        return self.value

    async def take(self, _payload: bytes) -> None:
        self.value += 1

    async def echo(self, payload: bytes) -> bytes:
        return payload


@kernel("call", run=run)
async def call(calls: int) -> float:
    async with pool() as address:
        adder = await xoscar.create_actor(Adder, address=address)
        begin = time.perf_counter()
        for _ in range(calls):
            await adder.add(1)
        return (time.perf_counter() - begin) / calls


@kernel("cast", run=run)
async def cast(casts: int) -> float:
    async with pool() as address:
        adder = await xoscar.create_actor(Adder, address=address)
        begin = time.perf_counter()
        for _ in range(casts):
            await adder.add.tell(1)
        while await adder.add(0) < casts:
            pass
        return (time.perf_counter() - begin) / casts


class Account(xoscar.StatelessActor):
    def __init__(self) -> None:
        self.value = 0

    async def transfer(self, amount: int, payee: Any) -> None:
        self.value -= amount
        await payee.deposit(amount)

    async def deposit(self, amount: int) -> None:
        self.value += amount


@kernel("banking", run=run)
async def banking(accounts: int, transfers: int, window: int) -> float:
    async with pool() as address:
        actors = [await xoscar.create_actor(Account, address=address) for _ in range(accounts)]
        payers = accounts * 9 // 10
        room = asyncio.Semaphore(window)

        async def transfer(payer: Any, payee: Any) -> None:
            await payer.transfer(1, payee)
            room.release()

        state = 1
        begin = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(transfers):
                await room.acquire()
                one = scramble(state)
                state = scramble(one)
                payee = actors[payers + (state >> 8) % (accounts - payers)]
                group.create_task(transfer(actors[(one >> 8) % payers], payee))
        return (time.perf_counter() - begin) / transfers


@kernel("node-call", run=run)
async def node_call(calls: int, size: int) -> float:
    async with pool(1) as address:
        adder = await xoscar.create_actor(Adder, address=address)
        payload = bytes(size)
        begin = time.perf_counter()
        for _ in range(calls):
            await adder.echo(payload)
        return (time.perf_counter() - begin) / calls


@kernel("node-send", run=run)
async def node_send(messages: int, size: int) -> float:
    async with pool(1) as address:
        adder = await xoscar.create_actor(Adder, address=address)
        payload = bytes(size)
        begin = time.perf_counter()
        for _ in range(messages):
            await adder.take.tell(payload)
        while await adder.add(0) < messages:
            pass
        return (time.perf_counter() - begin) / messages
