"""thespian: `simple` runs all actors in this thread, `processes` each in its own, over TCP."""

# mypy: allow-subclassing-any, allow-untyped-decorators
from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Iterator
from typing import Any

from thespian.actors import Actor, ActorAddress, ActorExitRequest, ActorSystem  # type: ignore[import-untyped]

from tests.benchmarks.kernel import kernel
from tests.benchmarks.work import payments
from tests.ports import free_port

_PATIENCE = datetime.timedelta(seconds=60)


@contextlib.contextmanager
def system(variant: str) -> Iterator[Any]:
    """A new actor system; that of processes listens on a free port."""
    if variant == "simple":
        opened = ActorSystem("simpleSystemBase")
    else:
        opened = ActorSystem("multiprocTCPBase", capabilities={"Admin Port": free_port()})
    try:
        yield opened
    finally:
        opened.shutdown()


class Relay(Actor):
    """Answers a number with the next one; a pair (partner, rounds) plays ping-pong and answers at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 0
        self.asker: Any = None
        self.count = 0

    def receiveMessage(self, message: Any, sender: Any) -> None:  # noqa: N802
        if isinstance(message, tuple):
            partner, self.left = message
            self.asker = sender
            self.send(partner, "ping")
        elif message == "ping":
            self.send(sender, "pong")
        elif message == "pong":
            self.left -= 1
            if self.left:
                self.send(sender, "ping")
            else:
                self.send(self.asker, "finished")
        elif message == "increment" or isinstance(message, list):
            self.count += 1
        elif isinstance(message, int):
            self.send(sender, self.count + message)
        elif isinstance(message, bytes):
            self.send(sender, message)


class Producer(Actor):
    """A pair (counter, messages) sends that many increments to the counter."""

    def receiveMessage(self, message: Any, sender: Any) -> None:  # noqa: N802
        if isinstance(message, tuple):
            counter, messages = message
            for _ in range(messages):
                self.send(counter, "increment")
            self.send(sender, "sent")


class RingMember(Actor):
    """A reference is the next member; a number goes on, one less at each hop."""

    def __init__(self) -> None:
        super().__init__()
        self.next: Any = None

    def receiveMessage(self, message: Any, sender: Any) -> None:  # noqa: N802
        if isinstance(message, ActorAddress):
            self.next = message
            self.send(sender, "joined")
        elif isinstance(message, tuple):
            hops, asker = message
            if hops == 0:
                self.send(asker, "finished")
            else:
                self.send(self.next, (hops - 1, asker or sender))


class Account(Actor):
    """(amount, payee, asker) is a transfer; (amount, None, asker) a deposit, answered to the payer."""

    def __init__(self) -> None:
        super().__init__()
        self.value = 0

    def receiveMessage(self, message: Any, sender: Any) -> None:  # noqa: N802
        if not isinstance(message, tuple):
            return
        amount, payee, asker = message
        if amount == 0:
            self.send(asker, "paid")
        elif payee is None:
            self.value += amount
            self.send(sender, (0, None, asker))
        else:
            self.value -= amount
            self.send(payee, (amount, None, sender))


@kernel("ping-pong")
def ping_pong(rounds: int) -> float:
    with system("simple") as actors:
        one, two = actors.createActor(Relay), actors.createActor(Relay)
        actors.ask(two, 1, _PATIENCE)
        begin = time.perf_counter()
        assert actors.ask(one, (two, rounds), _PATIENCE) == "finished"
        return (time.perf_counter() - begin) / rounds


@kernel("fan-in")
def fan_in(messages: int, producers: int) -> float:
    with system("simple") as actors:
        each = messages // producers
        counter = actors.createActor(Relay)
        crowd = [actors.createActor(Producer) for _ in range(producers)]
        begin = time.perf_counter()
        for producer in crowd:
            actors.ask(producer, (counter, each), _PATIENCE)
        while actors.ask(counter, 0, _PATIENCE) < each * producers:
            pass
        return (time.perf_counter() - begin) / (each * producers)


@kernel("counting")
def counting(messages: int) -> float:
    return fan_in(messages, 1)


@kernel("thread-ring")
def thread_ring(processes: int, hops: int) -> float:
    with system("simple") as actors:
        members = [actors.createActor(RingMember) for _ in range(processes)]
        for member, following in zip(members, [*members[1:], members[0]], strict=True):
            actors.ask(member, following, _PATIENCE)
        begin = time.perf_counter()
        assert actors.ask(members[0], (hops, None), _PATIENCE) == "finished"
        return (time.perf_counter() - begin) / hops


@kernel("fork-join-create")
def fork_join_create(processes: int) -> float:
    with system("simple") as actors:
        begin = time.perf_counter()
        every = [actors.createActor(Relay) for _ in range(processes)]
        for actor in every:
            actors.ask(actor, 1, _PATIENCE)
            actors.tell(actor, ActorExitRequest())
        return (time.perf_counter() - begin) / processes


def _calls(variant: str, calls: int, message: Any) -> float:
    with system(variant) as actors:
        relay = actors.createActor(Relay)
        actors.ask(relay, message, _PATIENCE)
        begin = time.perf_counter()
        for _ in range(calls):
            actors.ask(relay, message, _PATIENCE)
        return (time.perf_counter() - begin) / calls


@kernel("call")
def call(calls: int) -> float:
    return _calls("simple", calls, 1)


@kernel("cast")
def cast(casts: int) -> float:
    with system("simple") as actors:
        relay = actors.createActor(Relay)
        begin = time.perf_counter()
        for _ in range(casts):
            actors.tell(relay, "increment")
        assert actors.ask(relay, 0, _PATIENCE) == casts
        return (time.perf_counter() - begin) / casts


@kernel("banking")
def banking(accounts: int, transfers: int, window: int) -> float:
    """An actor system takes one question at a time, so the window is one here."""
    del window
    with system("simple") as actors:
        every = [actors.createActor(Account) for _ in range(accounts)]
        begin = time.perf_counter()
        for payer, payee in payments(accounts, transfers):
            actors.ask(every[payer], (1, every[payee], None), _PATIENCE)
        return (time.perf_counter() - begin) / transfers


@kernel("node-call")
def node_call(calls: int, size: int) -> float:
    return _calls("processes", calls, bytes(size))


@kernel("node-send")
def node_send(messages: int, size: int) -> float:
    with system("processes") as actors:
        relay = actors.createActor(Relay)
        actors.ask(relay, 0, _PATIENCE)
        payload = ["increment", bytes(size)]
        begin = time.perf_counter()
        for _ in range(messages):
            actors.tell(relay, payload)
        while actors.ask(relay, 0, _PATIENCE) < messages:
            pass
        return (time.perf_counter() - begin) / messages


@kernel("node-spawn")
def node_spawn(processes: int) -> float:
    """Every actor is an OS process."""
    with system("processes") as actors:
        actors.ask(actors.createActor(Relay), 0, _PATIENCE)
        begin = time.perf_counter()
        for _ in range(processes):
            actors.ask(actors.createActor(Relay), 0, _PATIENCE)
        return (time.perf_counter() - begin) / processes
