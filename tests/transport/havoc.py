"""A node for tests that do bad things to it: `python -m tests.transport.havoc PATH NAME PERIOD`.

It attaches a rendezvous door to PATH, says "ready", and lives until it is killed or its standard input ends.
Its agent does what it is told to do to other nodes, and keeps account of what came of it. What must be true
of the accounts says `Account.faults`.
"""

import functools
import itertools
import os
import resource
import sys
from contextlib import suppress
from typing import Any

import attrs
import trio

from enfilade.actors import (
    Actor,
    CallError,
    Down,
    MailboxFull,
    Node,
    NotConnected,
    Process,
    Ref,
    Refused,
    open_node,
)
from enfilade.transport import Policy, Settings, register


@functools.partial(register, name="havoc.Account")
@attrs.define
class Account:
    """What one start of a node has seen.

    Attributes:
        came: the numbers of the messages that came, by who sent them to whom.
        sent: how many were sent, by target.
        downs: how many `Down` each monitor has given.
        begun: calls that were made.
        ended: calls that are over, well or not.
        wrong: answers that belonged to another call.
        descriptors: how many are open.
        left: what is still open across node links.
    """

    came: dict[str, list[int]] = attrs.field(factory=dict)
    sent: dict[str, int] = attrs.field(factory=dict)
    downs: dict[int, int] = attrs.field(factory=dict)
    begun: int = 0
    ended: int = 0
    wrong: int = 0
    descriptors: int = 0
    left: dict[str, int] = attrs.field(factory=dict)

    def faults(self) -> list[str]:
        """What must not be, once all is calm and every node link of the node has ended."""
        found = [
            f"{sender}: twice, or out of order"
            for sender, numbers in self.came.items()
            if numbers != sorted(set(numbers))
        ]
        found += [f"monitor {number} gave {count}" for number, count in self.downs.items() if count != 1]
        if self.begun != self.ended:
            found.append(f"{self.begun - self.ended} of {self.begun} calls never ended")
        if self.wrong:
            found.append(f"{self.wrong} answers were those of other calls")
        found += [f"{count} {what} are left" for what, count in self.left.items() if count]
        return found


class Hoard:
    """Takes a process's descriptors away."""

    def __init__(self) -> None:
        self._taken: list[int] = []
        self._before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def take_all_but(self, spare: int) -> None:
        """Open files until there is room for `spare` more."""
        highest = max(map(int, os.listdir("/proc/self/fd")))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + spare, self._before[1]))
        with suppress(OSError):
            while True:
                self._taken.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        for _ in range(min(spare, len(self._taken))):
            os.close(self._taken.pop())

    def release(self) -> None:
        """Give everything back."""
        resource.setrlimit(resource.RLIMIT_NOFILE, self._before)
        while self._taken:
            os.close(self._taken.pop())


class Agent(Actor):
    """Does what it is told, and what others ask."""

    def __init__(self) -> None:
        self.account = Account()
        self.hoard = Hoard()
        self.numbers = itertools.count()
        self.name = f"{self.process.node.full_name}:{self.process.node.incarnation}"

    def echo(self, value: int) -> int:
        return value

    def on_message(self, message: Any) -> None:
        sender, number = message
        self.account.came.setdefault(sender, []).append(number)

    def burst(self, peer: str, count: int) -> None:
        """Send numbered messages to the agent of another node."""
        self.process.node.spawn_soon(self._burst, peer, count)

    async def _burst(self, me: Process, peer: str, count: int) -> None:
        target = await agent_on(me.node, peer)
        if target is not None:
            home = f"{peer}:{target.incarnation}"
            for _ in range(count):
                number = self.account.sent[home] = self.account.sent.get(home, 0) + 1
                target.send((f"{self.name} to {home}", number))

    def watch(self, peer: str) -> None:
        """Monitor the agent of another node."""
        self.process.node.spawn_soon(self._watch, peer)

    async def _watch(self, me: Process, peer: str) -> None:
        target = await agent_on(me.node, peer)
        if target is not None:
            number = next(self.numbers)
            self.account.downs[number] = 0
            me.monitor(target)
            while True:
                await me.receive(Down)
                self.account.downs[number] += 1

    def ask(self, peer: str, size: int) -> None:
        """Call the agent of another node."""
        self.process.node.spawn_soon(self._ask, peer, size)

    async def _ask(self, me: Process, peer: str, size: int) -> None:
        target = await agent_on(me.node, peer)
        if target is not None:
            self.account.begun += 1
            number = next(self.numbers)
            try:
                answer = await target.within(20).call(Agent.give, number, b"x" * size)
                self.account.wrong += answer != (number, b"x" * size)
            except (CallError, Refused):
                pass
            finally:
                self.account.ended += 1

    def give(self, number: int, data: bytes) -> tuple[int, bytes]:
        return number, data

    def cut(self, peer: str) -> None:
        """End the node link to another node at once: what is under way is lost."""
        self.process.node.distribution.disconnect(peer)

    def know(self, addresses: list[str]) -> None:
        """Stay connected to the nodes at these addresses."""
        for address in addresses:
            self.process.node.distribution.keep_connected(address)

    def starve(self, spare: int, seconds: float) -> None:
        """Leave the process so many descriptors and no more, for a while; it may be out of reach then."""
        self.hoard.release()
        self.hoard.take_all_but(spare)
        self.process.node.spawn_soon(self._release, seconds)

    async def _release(self, me: Process, seconds: float) -> None:
        await trio.sleep(seconds)
        self.hoard.release()

    def report(self) -> Account:
        """The account, as it is now."""
        node = self.process.node
        statistics = node.statistics()
        remotes: list[Any] = list(node.distribution._nodes.values())
        ledgers = [remote._open for remote in remotes if not remote.node_name.startswith("judge@")]
        self.account.descriptors = descriptors()
        self.account.left = {
            "watchers": statistics.watchers,
            "links": statistics.links,
            "calls": sum(len(ledger.calls) + len(ledger.answering) for ledger in ledgers),
            "monitors": sum(len(ledger.monitors) + len(ledger.watched) for ledger in ledgers),
        }
        return self.account


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd")) - 1


async def agent_on(node: Node, peer: str) -> Ref[Agent] | None:
    """The agent of another node, if it can be reached."""
    with suppress(NotConnected, Refused, MailboxFull, OSError):
        return await node.whereis_on(peer, "agent")
    return None


async def main(path: str, name: str, period: float) -> None:
    """Be such a node until standard input ends."""
    policy = Policy.same_user(exports="agent")
    settings = Settings(period=period, handshake=period, last_retry=period / 2, goodbye=0.2)
    async with open_node(name, zone="z", listen=path, policy=policy, settings=settings) as node:
        await node.spawn(Agent, name="agent")
        print("ready", flush=True)
        await trio.to_thread.run_sync(sys.stdin.buffer.read)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], float(sys.argv[3]))
