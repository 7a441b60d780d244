"""A node in a process of its own, for the tests that need one: `python -m tests.transport.subjects`.

It attaches a rendezvous door to PATH, says "ready" on standard output, and lives until it is killed or its
standard input ends, so that it never outlives a test that died.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import trio

from enfilade.actors import Actor, Node, Process, Ref, open_node
from enfilade.transport import Policy, Settings
from tests.descriptors import open_descriptors

HANDSHAKE = 100.0
"""Seconds: a machine may be so busy that the loop of a zone comes round only after many."""


class Account(Actor):
    """What the tests talk to."""

    def __init__(self, balance: int = 0) -> None:
        self.balance = balance
        self.seen: list[Any] = []

    def add(self, amount: int) -> int:
        self.balance += amount
        return self.balance

    def fail(self, text: str) -> None:
        raise ValueError(text)

    def fail_by_number(self) -> None:
        raise ValueError(str(self.balance))

    def give(self, value: Any) -> Any:
        return value

    def history(self) -> list[Any]:
        return self.seen

    def read(self, file: Any) -> bytes:
        return os.pread(file.fileno(), 100, 0)

    def open_files(self) -> int:
        return len(open_descriptors())

    def block(self, seconds: float, sign: str = "") -> None:
        """Hold the loop of the node, without computing; a file at `sign` says that it has begun."""
        if sign:
            Path(sign).touch()
        time.sleep(seconds)

    def compute(self, seconds: float) -> tuple[float, float]:
        """Hold the loop of the node and a processor: from when to when."""
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            pass
        return began, time.monotonic()

    def crash_process(self) -> None:
        os._exit(7)

    def identity(self) -> tuple[int, str]:
        return os.getpid(), os.readlink("/proc/self/ns/pid")

    def on_message(self, message: Any) -> None:
        self.seen.append(message)


class Broker(Actor):
    """Asks others."""

    async def add(self, account: Ref[Account], amount: int) -> int:
        return await account.within(30).call(Account.add, amount)


async def nest(me: Process, depth: int, trigger: str) -> None:
    """A tree of processes of the operating system, two below each, whose leaves fail on demand."""
    async with open_node(f"level-{depth}", workers=2 if depth else 0) as node, node.mailbox() as here:
        for _ in range(2 if depth else 0):
            child = await node.workers.spawn(nest, depth - 1, trigger)
            here.link(child)
            await node.whereis_on(child.node_name, "nobody")  # the answer follows the link, which stands then
        if depth:
            await trio.Path(f"{trigger}.{os.getpid()}").touch()
        while depth or not await trio.Path(trigger).exists():  # noqa: ASYNC110 (across processes)
            await trio.sleep(0.05)
        raise ValueError("a leaf fails")


async def watcher(me: Process) -> None:
    """Monitors a ref and tells another what it saw."""
    target, friend = await me.receive()
    me.monitor(target)
    friend.send("watching")
    down = await me.receive()
    friend.send(down.reason)


async def serve(path: str, name: str, period: float) -> None:
    """Be a node until standard input ends."""
    policy = Policy.same_user(exports=["account", "watcher"], entries="Account")
    async with open_node(
        name,
        zone="z",
        listen=path,
        policy=policy,
        entries={"Account": Account},
        settings=Settings(period=period, handshake=HANDSHAKE, goodbye=HANDSHAKE),
    ) as node:
        await populate(node)
        print("ready", flush=True)
        await trio.to_thread.run_sync(sys.stdin.buffer.read)


async def populate(node: Node) -> None:
    """What every node of the tests has."""
    await node.spawn(Account, 10, name="account")
    await node.spawn(watcher, name="watcher")


if __name__ == "__main__":
    trio.run(serve, sys.argv[1], sys.argv[2], float(sys.argv[3]))
