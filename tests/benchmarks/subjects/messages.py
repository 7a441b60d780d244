"""Plain messages between our processes."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import trio

from enfilade.actors import Actor, Like, Process, Ref, open_node
from tests.benchmarks.kernel import kernel
from tests.benchmarks.subjects.tier import in_tier, run
from tests.benchmarks.work import scramble


class Pong(Actor):
    def on_message(self, message: Any) -> None:
        message.send("pong")


class Ping(Actor):
    def __init__(self, pong: Ref[Any], rounds: int, finished: trio.Event) -> None:
        self.pong, self.left, self.finished = pong, rounds, finished

    def on_message(self, _message: Any) -> None:
        if self.left == 0:
            self.finished.set()
        else:
            self.left -= 1
            self.pong.send(self.process.ref)


@kernel("ping-pong", run=run)
async def ping_pong(variant: str, rounds: int) -> float:
    async with open_node("bench") as node:
        finished = trio.Event()
        pong = await node.spawn(in_tier(variant, Pong))
        ping = await node.spawn(in_tier(variant, Ping), pong, rounds, finished)
        begin = time.perf_counter()
        ping.send("start")
        await finished.wait()
        return (time.perf_counter() - begin) / rounds


async def pong_function(me: Process) -> None:
    while True:
        sender = await me.receive()
        sender.send("pong")


async def ping_function(me: Process, pong: Ref[Any], rounds: int, finished: trio.Event) -> None:
    await me.receive()
    for _ in range(rounds):
        pong.send(me.ref)
        await me.receive()
    finished.set()


@kernel("ping-pong", variant="function", run=run)
async def ping_pong_functions(rounds: int) -> float:
    async with open_node("bench") as node:
        finished = trio.Event()
        pong = await node.spawn(pong_function)
        ping = await node.spawn(ping_function, pong, rounds, finished)
        begin = time.perf_counter()
        ping.send("start")
        await finished.wait()
        return (time.perf_counter() - begin) / rounds


class Counter(Actor):
    def __init__(self, expected: int, finished: trio.Event) -> None:
        self.left, self.finished = expected, finished

    def on_message(self, _message: Any) -> None:
        self.left -= 1
        if self.left == 0:
            self.finished.set()


class Producer(Actor):
    def __init__(self, counter: Ref[Any], messages: int) -> None:
        self.counter, self.messages = counter, messages

    def on_message(self, _message: Any) -> None:
        for _ in range(self.messages):
            self.counter.send("increment")


@kernel("fan-in", run=run)
async def fan_in(variant: str, messages: int, producers: int) -> float:
    async with open_node("bench") as node:
        finished = trio.Event()
        each = messages // producers
        counter = await node.spawn(in_tier(variant, Counter), each * producers, finished)
        crowd = [await node.spawn(in_tier(variant, Producer), counter, each) for _ in range(producers)]
        begin = time.perf_counter()
        for producer in crowd:
            producer.send("go")
        await finished.wait()
        return (time.perf_counter() - begin) / (each * producers)


@kernel("counting", run=run)
async def counting(variant: str, messages: int) -> float:
    return await fan_in(variant, messages, 1)


async def counter_function(me: Process, expected: int, finished: trio.Event) -> None:
    for _ in range(expected):
        await me.receive()
    finished.set()


async def producer_function(me: Process, counter: Ref[Any], messages: int) -> None:
    await me.receive()
    for _ in range(messages):
        counter.send("increment")


@kernel("counting", variant="function", run=run)
async def counting_functions(messages: int) -> float:
    async with open_node("bench") as node:
        finished = trio.Event()
        counter = await node.spawn(counter_function, messages, finished)
        producer = await node.spawn(producer_function, counter, messages)
        begin = time.perf_counter()
        producer.send("go")
        await finished.wait()
        return (time.perf_counter() - begin) / messages


class RingMember(Actor):
    def __init__(self, finished: trio.Event) -> None:
        self.finished = finished
        self.next: Any = None

    def on_message(self, message: Any) -> None:
        if not isinstance(message, int):
            self.next = message
        elif message == 0:
            self.finished.set()
        else:
            self.next.send(message - 1)


@kernel("thread-ring", run=run)
async def thread_ring(variant: str, processes: int, hops: int) -> float:
    async with open_node("bench") as node:
        finished = trio.Event()
        members = [await node.spawn(in_tier(variant, RingMember), finished) for _ in range(processes)]
        for member, following in zip(members, [*members[1:], members[0]], strict=True):
            member.send(following)
        begin = time.perf_counter()
        members[0].send(hops)
        await finished.wait()
        return (time.perf_counter() - begin) / hops


class Sender(Actor):
    """Sends so many messages to each of the others in turn."""

    def __init__(self, others: list[Ref[Any]], messages: int) -> None:
        self.others, self.messages = others, messages

    def on_message(self, _message: Any) -> None:
        for _ in range(self.messages):
            for other in self.others:
                other.send("increment")


@kernel("fork-join-throughput", run=run)
async def fork_join_throughput(variant: str, processes: int, messages: int) -> float:
    async with open_node("bench") as node:
        events = [trio.Event() for _ in range(processes)]
        actors = [await node.spawn(in_tier(variant, Counter), messages, event) for event in events]
        sender = await node.spawn(in_tier(variant, Sender), actors, messages)
        begin = time.perf_counter()
        sender.send("go")
        for event in events:
            await event.wait()
        return (time.perf_counter() - begin) / (processes * messages)


class Countdown:
    """An event that so many parties must set."""

    def __init__(self, parties: int) -> None:
        self.left = parties
        self.event = trio.Event()

    def arrive(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.event.set()


class BigWorker(Actor):
    def __init__(self, seed: int, pings: int, finished: Countdown) -> None:
        self.state, self.left, self.finished = seed, pings, finished
        self.everyone: list[Ref[Any]] = []

    def ping(self) -> None:
        self.state = scramble(self.state)
        self.everyone[(self.state >> 8) % len(self.everyone)].send(self.process.ref)

    def on_message(self, message: Any) -> None:
        if message == "pong":
            self.left -= 1
            if self.left:
                self.ping()
            else:
                self.finished.arrive()
        elif isinstance(message, list):
            self.everyone = message
            self.ping()
        else:
            message.send("pong")


@kernel("big", run=run)
async def big(variant: str, workers: int, pings: int) -> float:
    async with open_node("bench") as node:
        finished = Countdown(workers)
        worker = in_tier(variant, BigWorker)
        crowd = [await node.spawn(worker, seed, pings, finished) for seed in range(1, workers + 1)]
        begin = time.perf_counter()
        for each in crowd:
            each.send(crowd)
        await finished.event.wait()
        return (time.perf_counter() - begin) / (workers * pings)


class Mall(Actor):
    def __init__(self, meetings: int, finished: trio.Event) -> None:
        self.left, self.finished = meetings, finished
        self.first: Ref[Any] | None = None

    def on_message(self, message: Any) -> None:
        creature, colour = message
        if self.left == 0:
            self.finished.set()
        elif self.first is None:
            self.first = creature
        else:
            self.first.send(("partner", creature, colour))
            self.first = None
            self.left -= 1


class Creature(Actor):
    def __init__(self, mall: Ref[Any], colour: int) -> None:
        self.mall, self.colour = mall, colour

    def on_message(self, message: Any) -> None:
        kind, other, colour = message
        if kind == "partner":
            self.colour = colour if colour == self.colour else 3 - colour - self.colour
            other.send(("change", None, self.colour))
        elif kind == "change":
            self.colour = colour
        self.mall.send((self.process.ref, self.colour))


@kernel("chameneos", run=run)
async def chameneos(variant: str, creatures: int, meetings: int) -> float:
    async with open_node("bench") as node:
        finished = trio.Event()
        mall = await node.spawn(in_tier(variant, Mall), meetings, finished)
        creature = in_tier(variant, Creature)
        crowd = [await node.spawn(creature, mall, number % 3) for number in range(creatures)]
        begin = time.perf_counter()
        for each in crowd:
            each.send(("meet", None, 0))
        await finished.wait()
        return (time.perf_counter() - begin) / meetings


class Manager(Actor):
    """Between producers and consumers; a producer is told to go on only while there is room."""

    def __init__(self, size: int, consumers: list[Ref[Any]], total: int, finished: trio.Event) -> None:
        self.size, self.left, self.finished = size, total, finished
        self.idle = deque(consumers)
        self.items: deque[Any] = deque()
        self.waiting: deque[Ref[Any]] = deque()

    def on_message(self, message: Any) -> None:
        kind, sender, item = message
        if kind == "item":
            if self.idle:
                self.idle.popleft().send((self.process.ref, item))
                sender.send(self.process.ref)
                return
            self.items.append(item)
            if len(self.items) < self.size:
                sender.send(self.process.ref)
            else:
                self.waiting.append(sender)
        else:
            self.left -= 1
            if self.left == 0:
                self.finished.set()
            elif self.items:
                sender.send((self.process.ref, self.items.popleft()))
                if self.waiting:
                    self.waiting.popleft().send(self.process.ref)
            else:
                self.idle.append(sender)


class ItemProducer(Actor):
    def __init__(self, items: int) -> None:
        self.left = items

    def on_message(self, manager: Any) -> None:
        if self.left:
            manager.send(("item", self.process.ref, self.left))
            self.left -= 1


class ItemConsumer(Actor):
    def on_message(self, message: Any) -> None:
        manager, _item = message
        manager.send(("consumed", self.process.ref, None))


@kernel("bounded-buffer", run=run)
async def bounded_buffer(variant: str, size: int, producers: int, consumers: int, items: int) -> float:
    async with open_node("bench") as node:
        finished = trio.Event()
        total = producers * items
        makers = [await node.spawn(in_tier(variant, ItemProducer), items) for _ in range(producers)]
        takers = [await node.spawn(in_tier(variant, ItemConsumer)) for _ in range(consumers)]
        begin = time.perf_counter()
        manager = await node.spawn(in_tier(variant, Manager), size, takers, total, finished)
        for maker in makers:
            maker.send(manager)
        await finished.wait()
        return (time.perf_counter() - begin) / total


class WaitingRoom(Actor):
    """Seats so many customers; sends the others back, and the next one in when the barber asks."""

    def __init__(self, size: int, barber: Ref[Any]) -> None:
        self.size, self.barber = size, barber
        self.seated: deque[Ref[Any]] = deque()
        self.asleep = True

    def on_message(self, message: Any) -> None:
        customer, street = message
        if customer is None:
            self.asleep = True
        elif len(self.seated) == self.size:
            street.send(customer)
        else:
            self.seated.append(customer)
        if self.asleep and self.seated:
            self.asleep = False
            self.barber.send((self.seated.popleft(), self.process.ref))


class Barber(Actor):
    def on_message(self, message: Any) -> None:
        customer, room = message
        customer.send("cut")
        room.send((None, None))


class Customer(Actor):
    def __init__(self, street: Ref[Any]) -> None:
        self.street = street

    def on_message(self, _message: Any) -> None:
        self.street.send("done")
        self.process.stop()


class Street(Actor):
    """Makes the customers; those who find the room full wait here until somebody has left."""

    def __init__(self, customer: type[Any], customers: int, finished: trio.Event) -> None:
        self.customer, self.left, self.finished = customer, customers, finished
        self.outside: deque[Ref[Any]] = deque()
        self.room: Any = None

    def on_message(self, message: Any) -> None:
        me = self.process.ref
        if self.room is None:
            self.room = message
            for _ in range(self.left):
                self.room.send((self.process.spawn_soon(self.customer, me), me))
        elif message != "done":
            self.outside.append(message)
        else:
            self.left -= 1
            if self.left == 0:
                self.finished.set()
            elif self.outside:
                self.room.send((self.outside.popleft(), me))


@kernel("barber", run=run)
async def barber(variant: str, size: int, customers: int) -> float:
    async with open_node("bench") as node:
        finished = trio.Event()
        cutter = await node.spawn(in_tier(variant, Barber))
        room = await node.spawn(in_tier(variant, WaitingRoom), size, cutter)
        street = await node.spawn(in_tier(variant, Street), in_tier(variant, Customer), customers, finished)
        begin = time.perf_counter()
        street.send(room)
        await finished.wait()
        return (time.perf_counter() - begin) / customers


@kernel("selective-receive", variant="function", run=run)
async def selective_receive(queued: int, receives: int) -> float:
    async with open_node("bench") as node, node.mailbox() as me:
        for number in range(queued):
            me.ref.send(("other", number))
        begin = time.perf_counter()
        for number in range(receives):

            def wanted(message: Any, number: int = number) -> bool:
                return bool(message == ("wanted", number))

            me.ref.send(("wanted", number))
            await me.receive(wanted)
        return (time.perf_counter() - begin) / receives


class First:
    """A message that is of none of the types that wait."""


class Second:
    """Another one."""


@kernel("selective-receive-type", variant="function", run=run)
async def selective_receive_by_type(queued: int, receives: int) -> float:
    async with open_node("bench") as node, node.mailbox() as me:
        for number in range(queued):
            me.ref.send(("other", number))
        begin = time.perf_counter()
        for number in range(receives):
            wanted = Second if number % 2 else First
            me.ref.send(wanted())
            await me.receive(wanted)
        return (time.perf_counter() - begin) / receives


@kernel("selective-receive-like", variant="function", run=run)
async def selective_receive_by_data(queued: int, receives: int) -> float:
    async with open_node("bench") as node, node.mailbox() as me:
        for number in range(queued):
            me.ref.send(("other", number))
        begin = time.perf_counter()
        for number in range(receives):
            me.ref.send(("wanted", number))
            await me.receive(Like(("wanted", number)))
        return (time.perf_counter() - begin) / receives
