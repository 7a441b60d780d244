"""xoscar: an actor is an object in a pool, on asyncio. Here all actors are in the pool of this process."""

# mypy: allow-subclassing-any, allow-untyped-decorators
from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import xoscar  # type: ignore[import-untyped]

from tests.benchmarks.kernel import kernel
from tests.benchmarks.work import (
    Action,
    Choices,
    acquaintances,
    chat_costs,
    fibonacci,
    payments,
    scramble,
)


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

    async def process_id(self) -> int:
        return os.getpid()

    async def wait(self) -> None:
        await asyncio.sleep(3600)


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
        room = asyncio.Semaphore(window)

        async def transfer(payer: Any, payee: Any) -> None:
            await payer.transfer(1, payee)
            room.release()

        begin = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for payer, payee in payments(accounts, transfers):
                await room.acquire()
                group.create_task(transfer(actors[payer], actors[payee]))
        return (time.perf_counter() - begin) / transfers


class Chat(xoscar.StatelessActor):
    def __init__(self, conductor: Any, members: list[Any]) -> None:
        self.conductor, self.members = conductor, members
        self.absent = len(members) - 1
        self.unseen = self.posts = 0

    async def seen(self) -> None:
        self.unseen -= 1
        if self.unseen == 0:
            posts, self.posts = self.posts, 0
            await self.conductor.done.tell(posts)

    async def post(self) -> None:
        self.posts += 1
        self.unseen += len(self.members)
        for member in list(self.members):
            await member.message.tell(self.ref())

    async def present(self) -> None:
        self.absent -= 1
        if self.absent == 0:
            await self.conductor.done.tell(1)

    async def leave(self, client: Any) -> None:
        self.members.remove(client)
        if not self.members:
            await xoscar.destroy_actor(self.ref())
        await self.conductor.done.tell(1)


class Client(xoscar.StatelessActor):
    def __init__(self, seed: int, conductor: Any) -> None:
        self.choices, self.conductor = Choices(seed), conductor
        self.friends: list[Any] = []
        self.chats: list[Any] = []
        self.received = 0

    async def message(self, chat: Any) -> None:
        self.received += 1
        await chat.seen.tell()

    async def joined(self, chat: Any) -> None:
        self.chats.append(chat)
        await chat.present.tell()

    async def meet(self, friends: list[Any]) -> None:
        self.friends = friends
        await self.invite(friends)

    async def act(self) -> None:
        action = self.choices.action(in_chat=bool(self.chats))
        if action is Action.POST:
            await self.choices.one_of(self.chats).post.tell()
        elif action is Action.LEAVE:
            await self.chats.pop(self.choices.below(len(self.chats))).leave.tell(self.ref())
        elif action is Action.INVITE:
            await self.invite([self.choices.one_of(self.friends)])
        else:
            if action is Action.COMPUTE:
                fibonacci(10)
            await self.conductor.done.tell(1)

    async def invite(self, friends: list[Any]) -> None:
        members = [self.ref(), *friends]
        chat = await xoscar.create_actor(Chat, self.conductor, members, address=self.address)
        self.chats.append(chat)
        for friend in friends:
            await friend.joined.tell(chat)


class Conductor(xoscar.StatelessActor):
    def __init__(self, turns: int, times: list[float], finished: asyncio.Event) -> None:
        self.turns, self.times, self.finished = turns, times, finished
        self.clients: list[Any] = []
        self.left = 0

    async def begin(self, meetings: list[Any]) -> None:
        self.clients = [client for client, _friends in meetings]
        self.left = len(meetings)
        for client, friends in meetings:
            await client.meet.tell(friends)

    async def done(self, count: int) -> None:
        self.left -= count
        if self.left == 0:
            self.times.append(time.perf_counter())
            if self.turns == 0:
                self.finished.set()
                return
            self.turns -= 1
            self.left = len(self.clients)
            for client in self.clients:
                await client.act.tell()


async def _chat(clients: int, friends: int, turns: int) -> tuple[float, float]:
    async with pool() as address:
        times = [time.perf_counter()]
        finished = asyncio.Event()
        conductor = await xoscar.create_actor(Conductor, turns, times, finished, address=address)
        everyone = [
            await xoscar.create_actor(Client, seed, conductor, address=address)
            for seed in range(1, clients + 1)
        ]
        await conductor.begin.tell(acquaintances(everyone, friends))
        await finished.wait()
    return chat_costs(times, clients, turns)


@kernel("chat-setup", run=run)
async def chat_setup(clients: int, friends: int, turns: int) -> float:
    return (await _chat(clients, friends, turns))[0]


@kernel("chat", run=run)
async def chat(clients: int, friends: int, turns: int) -> float:
    return (await _chat(clients, friends, turns))[1]


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


@kernel("node-spawn", run=run)
async def node_spawn(processes: int) -> float:
    async with pool(1) as address:
        begin = time.perf_counter()
        for _ in range(processes):
            adder = await xoscar.create_actor(Adder, address=address)
            await adder.add(1)
        return (time.perf_counter() - begin) / processes


@kernel("node-down", run=run)
async def node_down(count: int) -> float:
    """From kill(2) to the failure of a call that waits."""
    elapsed = 0.0
    for _ in range(count):
        async with pool(1) as address:
            adder = await xoscar.create_actor(Adder, address=address)
            pid = await adder.process_id()
            waiting = asyncio.create_task(adder.wait())
            await adder.add(1)
            begin = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            await asyncio.wait([waiting])
            elapsed += time.perf_counter() - begin
            assert waiting.exception() is not None
    return elapsed / count
