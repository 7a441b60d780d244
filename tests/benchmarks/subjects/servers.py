"""Our servers: calls, casts, deferred replies."""

from __future__ import annotations

import time
from typing import Any

import trio

from enfilade.actors import Actor, Deferred, Ref, Request, open_node
from tests.benchmarks.kernel import kernel
from tests.benchmarks.subjects.tier import run
from tests.benchmarks.work import payments


class Adder(Actor):
    def __init__(self) -> None:
        self.value = 0

    def add(self, number: int) -> int:
        self.value += number
        return self.value


class AsyncAdder(Actor):
    def __init__(self) -> None:
        self.value = 0

    async def add(self, number: int) -> int:
        self.value += number
        return self.value


ADDERS: dict[str, type[Any]] = {"sync": Adder, "async": AsyncAdder}


@kernel("call", run=run)
async def call(variant: str, calls: int) -> float:
    adder = ADDERS[variant]
    async with open_node("bench") as node:
        server = await node.spawn(adder)
        begin = time.perf_counter()
        for _ in range(calls):
            await server.call(adder.add, 1)
        return (time.perf_counter() - begin) / calls


@kernel("cast", run=run)
async def cast(variant: str, casts: int) -> float:
    adder = ADDERS[variant]
    async with open_node("bench") as node:
        server = await node.spawn(adder)
        begin = time.perf_counter()
        for _ in range(casts):
            server.cast(adder.add, 1)
        assert await server.call(adder.add, 1) == casts + 1
        return (time.perf_counter() - begin) / casts


async def caller(me: Any, server: Ref[Any], queued: int, calls: int, costs: list[float]) -> None:
    for number in range(queued):
        me.ref.send(("other", number))
    begin = time.perf_counter()
    for _ in range(calls):
        await server.call(AsyncAdder.add, 1)
    costs.append((time.perf_counter() - begin) / calls)


@kernel("call-past-queue", variant="function", run=run)
async def call_past_queue(queued: int, calls: int) -> float:
    costs: list[float] = []
    async with open_node("bench") as node, node.mailbox() as me:
        server = await node.spawn(AsyncAdder)
        me.monitor(await node.spawn(caller, server, queued, calls, costs))
        await me.receive()
    return costs[0]


class Account(Actor):
    """A transfer is answered when the payee has answered the deposit."""

    def __init__(self) -> None:
        self.value = 0

    def transfer(self, amount: int, payee: Ref[Account]) -> Deferred[None]:
        self.value -= amount
        reply = self.process.defer()
        self.process.request(payee, Account.deposit, amount).then(_confirm, reply)
        return reply

    def deposit(self, amount: int) -> None:
        self.value += amount


def _confirm(_request: Request[Any], reply: Deferred[None]) -> None:
    reply.reply(None)


class AsyncAccount(Actor):
    """The same with handlers that may wait."""

    def __init__(self) -> None:
        self.value = 0

    async def transfer(self, amount: int, payee: Ref[AsyncAccount]) -> None:
        self.value -= amount
        await payee.call(AsyncAccount.deposit, amount)

    async def deposit(self, amount: int) -> None:
        self.value += amount


ACCOUNTS: dict[str, type[Any]] = {"sync": Account, "async": AsyncAccount}


@kernel("banking", run=run)
async def banking(variant: str, accounts: int, transfers: int, window: int) -> float:
    account = ACCOUNTS[variant]
    async with open_node("bench") as node, node.mailbox() as me:
        every = [await node.spawn(account) for _ in range(accounts)]
        left = transfers
        finished = trio.Event()
        due = payments(accounts, transfers)

        def begin_one() -> None:
            payer, payee = next(due)
            request = me.request(every[payer], account.transfer, 1, every[payee])
            request.observer = settled

        def settled(_request: object) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                finished.set()
            elif left >= window:
                begin_one()

        begin = time.perf_counter()
        for _ in range(min(window, transfers)):
            begin_one()
        await finished.wait()
        return (time.perf_counter() - begin) / transfers
