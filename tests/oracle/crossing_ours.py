"""Runs a script of `crossing.py` on two nodes of ours, and writes down the same lines as the Erlang side."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    NO_CONNECTION,
    NO_PROCESS,
    NORMAL,
    SHUTDOWN,
    Custom,
    Down,
    Exit,
    Exited,
    Node,
    NoProcess,
    Process,
    Reason,
    Ref,
    open_node,
)
from enfilade.transport import Policy
from enfilade.transport.memory_carrier import MemoryNetwork

__all__ = ["perform"]

REASONS = {"normal": NORMAL, "shutdown": SHUTDOWN, "kill": KILL}
WORDS = {NO_PROCESS: "noproc", NO_CONNECTION: "noconnection"}


def given(reason: str) -> Reason:
    return REASONS.get(reason) or Custom(reason)


def shown(reason: Reason) -> str:
    return WORDS.get(reason) or str(reason)


class Script:
    """One script: its nodes, their processes, and what these were sent."""

    def __init__(self, network: MemoryNetwork, nodes: dict[str, Node], watchers: dict[str, Process]) -> None:
        self.network = network
        self.nodes = nodes
        self.watchers = watchers
        self.homes: dict[str, str] = {}
        self.refs: dict[tuple[str, str], Ref[Any]] = {}
        """By the node on which it is used, and the name."""
        self.events: list[str] = []
        self.ends: list[str] = []

    def name_of(self, ref: Ref[Any]) -> str:
        return next(name for (_, name), known in self.refs.items() if known == ref)

    async def run(self, commands: list[str]) -> list[str]:
        """Carry the script out."""
        lines = []
        for command in commands:
            answer = await self.command(command.split())
            await trio.sleep(1)
            events = sorted(self.events, key=lambda text: text.split()[0])  # stable: each in its own order
            lines.append(f"{command} | {answer} | {', '.join(events)} | {', '.join(sorted(self.ends))}")
            self.events, self.ends = [], []
        return lines

    async def command(self, words: list[str]) -> str:
        match words:
            case ["new", name, where, trap]:
                home, other = where, "b" if where == "a" else "a"
                own = await self.nodes[home].spawn(puppet, self, name, home, trap == "trap", name=name)
                self.homes[name] = home
                self.refs[home, name] = own
                seen = await self.nodes[other].whereis_on(self.nodes[home].full_name, name)
                assert seen is not None
                self.refs[other, name] = seen
                self.watchers[home].monitor(own)
            case ["cut"]:
                self.network.cut("a", "b")
                await trio.sleep(1)
                self.network.join("a", "b")
                await self.nodes["a"].connect("/b")
            case [name, *action]:
                home = self.homes[name]
                if self.refs[home, name].serial not in self.nodes[home].processes:
                    return "gone"
                self.refs[home, name].send(Do(action))
        return ""


class Do:
    """What a process is told to do."""

    def __init__(self, words: list[str]) -> None:
        self.actions = [action.split() for action in " ".join(words).split(" ; ")]


async def watch(me: Process, script: Script) -> None:
    """Write down the ends of the processes of one node."""
    while True:
        down = await me.receive(Down)
        script.ends.append(f"{script.name_of(down.ref)}:{shown(down.reason)}")


async def puppet(me: Process, script: Script, name: str, home: str, traps: bool) -> None:
    """A process that does what the script says, and writes down what it is sent."""
    me.trap_exits = traps
    hand = Hand(me, script, name, home)
    while True:
        message = await me.receive()
        if isinstance(message, Do):
            for action in message.actions:
                await hand.perform(action)
        else:
            hand.seen(message)


class Hand:
    """What one process can be told to do."""

    def __init__(self, me: Process, script: Script, name: str, home: str) -> None:
        self.me = me
        self.script = script
        self.name = name
        self.home = home
        self.monitors: dict[str, Any] = {}

    def note(self, text: str) -> None:
        self.script.events.append(f"{self.name} {text}")

    def ref(self, name: str) -> Ref[Any]:
        return self.script.refs[self.home, name]

    def target(self, name: str) -> Ref[Any]:
        if name[0] != "@":
            return self.ref(name)
        home = self.script.homes[name[1:]]
        return (
            self.me.node.named(name[1:])
            if home == self.home
            else self.me.node.remote(name[1:], self.script.nodes[home].full_name)
        )

    def seen(self, message: Any) -> None:
        match message:
            case Exited(ref=ref, reason=reason):
                self.note(f"exit {self.script.name_of(ref)} {shown(reason)}")
            case Down(monitor=monitor, ref=ref, reason=reason):
                label, whom = monitor.tag
                self.note(f"down {label} {whom} {shown(reason)}")
            case ["text", sender, text]:
                self.note(f"text {text} of {sender}")
            case ["ask", sender, text]:
                self.note(f"asked {text}")
                self.ref(sender).send(["text", self.name, f"re:{text}"])

    async def perform(self, action: list[str]) -> None:
        match action:
            case ["send" | "ask" as kind, target, text]:
                with contextlib.suppress(NoProcess):  # a name that nobody holds here: Erlang drops it
                    self.target(target).send([{"send": "text"}.get(kind, kind), self.name, text])
            case ["link", name]:
                try:
                    self.me.link(self.ref(name))
                except NoProcess:
                    self.note("link noproc")
            case ["unlink", name]:
                self.me.unlink(self.ref(name))
            case ["monitor", target, label]:
                self.monitors[label] = self.me.monitor(self.target(target), tag=(label, target))
            case ["demonitor", label, *flush]:
                if label in self.monitors:
                    was_up = self.me.demonitor(self.monitors[label], flush=bool(flush))
                    self.note(f"demonitor {str(was_up).lower()}")
            case ["exit", name, reason]:
                self.me.exit(self.ref(name), given(reason))
                if name == self.name:
                    await trio.lowlevel.checkpoint()
            case ["die", reason]:
                raise Exit(given(reason))
            case ["trap", trap]:
                self.me.trap_exits = trap == "on"


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[MemoryNetwork, dict[str, Node]]]:
    """Two nodes that are connected, and let each other do all that nodes of Erlang may."""
    network, policy = MemoryNetwork(), Policy.same_user(exports="*", ends="*")
    async with (
        open_node("a", listen="/a", policy=policy, carrier=network.carrier("a")) as a,
        open_node("b", listen="/b", policy=policy, carrier=network.carrier("b")) as b,
    ):
        await a.connect("/b")
        yield network, {"a": a, "b": b}


def perform(commands: list[str]) -> list[str]:
    """Run one script, in virtual time."""

    async def main() -> list[str]:
        async with opened() as (network, nodes):
            watchers: dict[str, Process] = {}
            script = Script(network, nodes, watchers)

            async def watcher(me: Process, where: str) -> None:
                watchers[where] = me
                await watch(me, script)

            for where, node in nodes.items():
                await node.spawn(watcher, where)
            await wait_all_tasks_blocked()
            return await script.run(commands)

    return trio.run(main, clock=MockClock(autojump_threshold=0))
