"""pykka: an actor is a thread with a queue. All threads share one CPU: it is faster so than on two."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

import pykka

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

Ref = pykka.ActorRef[Any]


class Pong(pykka.ThreadingActor):
    def on_receive(self, message: Any) -> None:
        message.tell("pong")


class Ping(pykka.ThreadingActor):
    def __init__(self, pong: Ref, rounds: int, finished: threading.Event) -> None:
        super().__init__()
        self.pong, self.left, self.finished = pong, rounds, finished

    def on_receive(self, message: Any) -> None:
        if self.left == 0:
            self.finished.set()
        else:
            self.left -= 1
            self.pong.tell(self.actor_ref)


@kernel("ping-pong")
def ping_pong(rounds: int) -> float:
    finished = threading.Event()
    pong = Pong.start()
    ping = Ping.start(pong, rounds, finished)
    begin = time.perf_counter()
    ping.tell("start")
    finished.wait()
    elapsed = time.perf_counter() - begin
    ping.stop()
    pong.stop()
    return elapsed / rounds


class Counter(pykka.ThreadingActor):
    def __init__(self, expected: int, finished: threading.Event) -> None:
        super().__init__()
        self.left, self.finished = expected, finished

    def on_receive(self, message: Any) -> int:
        self.left -= 1
        if self.left == 0:
            self.finished.set()
        return self.left


class Producer(pykka.ThreadingActor):
    def __init__(self, counter: Ref, messages: int) -> None:
        super().__init__()
        self.counter, self.messages = counter, messages

    def on_receive(self, message: Any) -> None:
        for _ in range(self.messages):
            self.counter.tell(1)


@kernel("fan-in")
def fan_in(messages: int, producers: int) -> float:
    finished = threading.Event()
    each = messages // producers
    counter = Counter.start(each * producers, finished)
    crowd = [Producer.start(counter, each) for _ in range(producers)]
    begin = time.perf_counter()
    for producer in crowd:
        producer.tell("go")
    finished.wait()
    elapsed = time.perf_counter() - begin
    counter.stop()
    for producer in crowd:
        producer.stop()
    return elapsed / (each * producers)


@kernel("counting")
def counting(messages: int) -> float:
    return fan_in(messages, 1)


class RingMember(pykka.ThreadingActor):
    def __init__(self, finished: threading.Event) -> None:
        super().__init__()
        self.finished = finished
        self.next: Ref | None = None

    def on_receive(self, message: Any) -> None:
        if not isinstance(message, int):
            self.next = message
        elif message == 0:
            self.finished.set()
        elif self.next is not None:
            self.next.tell(message - 1)


@kernel("thread-ring")
def thread_ring(processes: int, hops: int) -> float:
    finished = threading.Event()
    members = [RingMember.start(finished) for _ in range(processes)]
    for member, following in zip(members, [*members[1:], members[0]], strict=True):
        member.ask(following)
    begin = time.perf_counter()
    members[0].tell(hops)
    finished.wait()
    elapsed = time.perf_counter() - begin
    for member in members:
        member.stop()
    return elapsed / hops


@kernel("fork-join-throughput")
def fork_join_throughput(processes: int, messages: int) -> float:
    events = [threading.Event() for _ in range(processes)]
    actors = [Counter.start(messages, event) for event in events]
    begin = time.perf_counter()
    for _ in range(messages):
        for actor in actors:
            actor.tell(1)
    for event in events:
        event.wait()
    elapsed = time.perf_counter() - begin
    for actor in actors:
        actor.stop()
    return elapsed / (processes * messages)


class Joined(pykka.ThreadingActor):
    def __init__(self, finished: threading.Semaphore) -> None:
        super().__init__()
        self.finished = finished

    def on_receive(self, message: Any) -> None:
        self.stop()

    def on_stop(self) -> None:
        self.finished.release()


@kernel("spawn")
def spawn(processes: int) -> float:
    finished = threading.Semaphore(0)
    begin = time.perf_counter()
    for _ in range(processes):
        Joined.start(finished).tell("go")
        finished.acquire()
    return (time.perf_counter() - begin) / processes


@kernel("fork-join-create")
def fork_join_create(processes: int) -> float:
    finished = threading.Semaphore(0)
    begin = time.perf_counter()
    for _ in range(processes):
        Joined.start(finished).tell("go")
    for _ in range(processes):
        finished.acquire()
    return (time.perf_counter() - begin) / processes


class BigWorker(pykka.ThreadingActor):
    def __init__(self, seed: int, pings: int, finished: threading.Semaphore) -> None:
        super().__init__()
        self.state, self.left, self.finished = seed, pings, finished
        self.everyone: list[Ref] = []

    def ping(self) -> None:
        self.state = scramble(self.state)
        self.everyone[(self.state >> 8) % len(self.everyone)].tell(self.actor_ref)

    def on_receive(self, message: Any) -> None:
        if isinstance(message, list):
            self.everyone = message
            self.ping()
        elif message == "pong":
            self.left -= 1
            if self.left:
                self.ping()
            else:
                self.finished.release()
        else:
            message.tell("pong")


@kernel("big")
def big(workers: int, pings: int) -> float:
    finished = threading.Semaphore(0)
    crowd = [BigWorker.start(seed, pings, finished) for seed in range(1, workers + 1)]
    begin = time.perf_counter()
    for worker in crowd:
        worker.tell(crowd)
    for _ in crowd:
        finished.acquire()
    elapsed = time.perf_counter() - begin
    for worker in crowd:
        worker.stop()
    return elapsed / (workers * pings)


class Mall(pykka.ThreadingActor):
    def __init__(self, meetings: int, finished: threading.Event) -> None:
        super().__init__()
        self.left, self.finished = meetings, finished
        self.first: Ref | None = None

    def on_receive(self, message: Any) -> None:
        creature, colour = message
        if self.left == 0:
            self.finished.set()
        elif self.first is None:
            self.first = creature
        else:
            self.first.tell(("partner", creature, colour))
            self.first = None
            self.left -= 1


class Creature(pykka.ThreadingActor):
    def __init__(self, mall: Ref, colour: int) -> None:
        super().__init__()
        self.mall, self.colour = mall, colour

    def on_receive(self, message: Any) -> None:
        kind, other, colour = message
        if kind == "partner":
            self.colour = colour if colour == self.colour else 3 - colour - self.colour
            other.tell(("change", None, self.colour))
        elif kind == "change":
            self.colour = colour
        self.mall.tell((self.actor_ref, self.colour))


@kernel("chameneos")
def chameneos(creatures: int, meetings: int) -> float:
    finished = threading.Event()
    mall = Mall.start(meetings, finished)
    crowd = [Creature.start(mall, number % 3) for number in range(creatures)]
    begin = time.perf_counter()
    for creature in crowd:
        creature.tell(("meet", None, 0))
    finished.wait()
    elapsed = time.perf_counter() - begin
    mall.stop()
    for creature in crowd:
        creature.stop()
    return elapsed / meetings


class Adder(pykka.ThreadingActor):
    def __init__(self) -> None:
        super().__init__()
        self.value = 0

    def on_receive(self, message: Any) -> int:
        self.value += message
        return self.value


@kernel("call")
def call(calls: int) -> float:
    adder = Adder.start()
    begin = time.perf_counter()
    for _ in range(calls):
        adder.ask(1)
    elapsed = time.perf_counter() - begin
    adder.stop()
    return elapsed / calls


@kernel("cast")
def cast(casts: int) -> float:
    adder = Adder.start()
    begin = time.perf_counter()
    for _ in range(casts):
        adder.tell(1)
    assert adder.ask(1) == casts + 1
    elapsed = time.perf_counter() - begin
    adder.stop()
    return elapsed / casts


class Account(pykka.ThreadingActor):
    def __init__(self) -> None:
        super().__init__()
        self.value = 0

    def on_receive(self, message: Any) -> None:
        amount, payee = message
        if payee is None:
            self.value += amount
        else:
            self.value -= amount
            payee.ask((amount, None))


@kernel("banking")
def banking(accounts: int, transfers: int, window: int) -> float:
    actors = [Account.start() for _ in range(accounts)]
    under_way: deque[Any] = deque()
    begin = time.perf_counter()
    for payer, payee in payments(accounts, transfers):
        if len(under_way) == window:
            under_way.popleft().get()
        under_way.append(actors[payer].ask((1, actors[payee]), block=False))
    for reply in under_way:
        reply.get()
    elapsed = time.perf_counter() - begin
    for actor in actors:
        actor.stop()
    return elapsed / transfers


class Chat(pykka.ThreadingActor):
    def __init__(self, conductor: Ref, members: list[Ref]) -> None:
        super().__init__()
        self.conductor, self.members = conductor, members
        self.absent = len(members) - 1
        self.unseen = self.posts = 0

    def on_receive(self, message: Any) -> None:
        kind, client = message
        if kind == "seen":
            self.unseen -= 1
            if self.unseen == 0:
                self.conductor.tell(self.posts)
                self.posts = 0
        elif kind == "post":
            self.posts += 1
            self.unseen += len(self.members)
            for member in self.members:
                member.tell(("message", self.actor_ref))
        elif kind == "present":
            self.absent -= 1
            if self.absent == 0:
                self.conductor.tell(1)
        else:
            self.members.remove(client)
            self.conductor.tell(1)
            if not self.members:
                self.stop()


class Client(pykka.ThreadingActor):
    def __init__(self, seed: int, conductor: Ref) -> None:
        super().__init__()
        self.choices, self.conductor = Choices(seed), conductor
        self.friends: list[Ref] = []
        self.chats: list[Ref] = []
        self.received = 0

    def on_receive(self, message: Any) -> None:
        kind, content = message
        if kind == "message":
            self.received += 1
            content.tell(("seen", None))
        elif kind == "act":
            self.act()
        elif kind == "joined":
            self.chats.append(content)
            content.tell(("present", None))
        else:
            self.friends = content
            self.invite(content)

    def act(self) -> None:
        action = self.choices.action(in_chat=bool(self.chats))
        if action is Action.POST:
            self.choices.one_of(self.chats).tell(("post", None))
        elif action is Action.LEAVE:
            self.chats.pop(self.choices.below(len(self.chats))).tell(("leave", self.actor_ref))
        elif action is Action.INVITE:
            self.invite([self.choices.one_of(self.friends)])
        else:
            if action is Action.COMPUTE:
                fibonacci(10)
            self.conductor.tell(1)

    def invite(self, friends: list[Ref]) -> None:
        chat = Chat.start(self.conductor, [self.actor_ref, *friends])
        self.chats.append(chat)
        for friend in friends:
            friend.tell(("joined", chat))


class Conductor(pykka.ThreadingActor):
    def __init__(self, turns: int, times: list[float], finished: threading.Event) -> None:
        super().__init__()
        self.turns, self.times, self.finished = turns, times, finished
        self.clients: list[Ref] = []
        self.left = 0

    def on_receive(self, message: Any) -> None:
        if isinstance(message, list):
            self.clients = [client for client, _friends in message]
            self.left = len(message)
            for client, friends in message:
                client.tell(("meet", friends))
            return
        self.left -= message
        if self.left == 0:
            self.times.append(time.perf_counter())
            if self.turns == 0:
                self.finished.set()
                return
            self.turns -= 1
            self.left = len(self.clients)
            for client in self.clients:
                client.tell(("act", None))


def _chat(clients: int, friends: int, turns: int) -> tuple[float, float]:
    times = [time.perf_counter()]
    finished = threading.Event()
    conductor = Conductor.start(turns, times, finished)
    everyone = [Client.start(seed, conductor) for seed in range(1, clients + 1)]
    conductor.tell(acquaintances(everyone, friends))
    finished.wait()
    pykka.ActorRegistry.stop_all()
    return chat_costs(times, clients, turns)


@kernel("chat-setup")
def chat_setup(clients: int, friends: int, turns: int) -> float:
    return _chat(clients, friends, turns)[0]


@kernel("chat")
def chat(clients: int, friends: int, turns: int) -> float:
    return _chat(clients, friends, turns)[1]
