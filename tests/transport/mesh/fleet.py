"""Many nodes on hosts of their own for the long tests, and a model that judges what they write down.

Every node runs keyed actors and a child with a global name, is in a published group, and, if it is told to,
sends numbers to a node that it draws anew now and then. All write down what they do, by the one clock of the
machine.
"""

import json
import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import attrs
import trio

from enfilade.actors import Actor, CallError, Node
from enfilade.transport.mesh.keeper import Keeper
from tests.transport.mesh.hosts import Hosts
from tests.transport.mesh.members import Program
from tests.transport.mesh.sites import Site, kept

__all__ = ["LEASE", "Fleet", "Holder", "answered", "judge", "running"]

LEASE = 15.0
"""The shortest with three servers."""

AT_A_TIME = 4
"""Nodes that are started at a time."""

MEMBER = """
import json, os, random, sys, time
import trio
from enfilade.actors import (
    Actor, CallError, Child, Down, Global, Kind, ReceiveTimeout, Supervisor, open_node
)
from enfilade.transport import Policy
from enfilade.transport.mesh import Mesh

SERVERS, WHO, DIRECTORY = sys.argv[1], *sys.argv[2].split("|")
POLICY = Policy.same_mesh(exports="*", ends="*", groups="*", kinds="*")
LOG = open(f"{DIRECTORY}/{WHO}.log", "a", buffering=1)
START = f"{WHO}/{os.getpid()}"
PAUSE = float(os.environ["ENFILADE_TEST_PAUSE"])


def tell(event, **fields):
    LOG.write(json.dumps({"at": time.monotonic(), "who": START, "event": event, **fields}) + "\\n")


class Holder(Actor):
    def __init__(self, name):
        self.name = name
        self.count = 0

    async def act(self):
        fence = self.process.fence
        self.count += 1
        tell("acts", name=self.name, fence=[fence.epoch, fence.revision], count=self.count)
        return self.count


class Account(Holder):
    def __init__(self, key):
        super().__init__(f"key/{key}")


class Inbox(Actor):
    def __init__(self):
        self.last = {}

    def on_message(self, message):
        session, number = message
        expected = self.last.get(session, -1) + 1
        if number != expected:
            tell("fault", what=f"got {number} of {session}, expected {expected}")
        if number % 500 == 0:
            tell("heard", session=session, number=number)
        self.last[session] = number


async def talk(me):
    while True:
        names = {each.name for each in me.node.mesh.nodes()}
        others = sorted(names - {WHO, "driver@hub"})
        if not others:
            await trio.sleep(0.1)
            continue
        other = random.choice(others)
        try:
            inbox = await me.node.whereis_on(other, "inbox")
            if inbox is None:
                continue
        except CallError:
            await trio.sleep(0.2)
            continue
        session = f"{START}>{other}#{me.node.new_number()}"
        monitor = me.monitor(inbox)
        downs, until = 0, time.monotonic() + random.uniform(5, 30)
        number = 0
        while time.monotonic() < until and not downs:
            inbox.send((session, number))  # one at a time: what follows an end goes over another node link
            number += 1
            try:
                await me.receive(Down, timeout=PAUSE)
                downs += 1
            except ReceiveTimeout:
                pass
        if not downs:
            me.demonitor(monitor)
        try:
            await me.receive(Down, timeout=0.2)
            tell("fault", what=f"a second Down, or one after demonitor, in {session}")
        except ReceiveTimeout:
            pass
        tell("talked", session=session, sent=number, down=downs)


async def main():
    name, _, zone = WHO.partition("@")
    mesh = Mesh(servers=SERVERS, identity=f"{DIRECTORY}/{WHO}", groups=["fleet"])
    kinds = {"Account": Kind(Account, shards=256)}
    async with open_node(name, zone=zone, mesh=mesh, policy=POLICY, kinds=kinds) as node:
        inbox = await node.spawn(Inbox, name="inbox")
        node.scope("fleet").join("all", inbox)
        bank = Child(Holder, "bank", name=Global("bank", taken="wait"))
        await node.spawn(Supervisor, [bank], intensity=1000)
        if PAUSE:
            await node.spawn(talk)
        print("open", flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)


trio.run(main)
"""


class Holder(Actor):
    """The holder of a name, or the actor of a key, as those see it who call it."""

    async def act(self) -> int:
        """Write down that it acts; return how often it has."""
        return self.process.serial


@attrs.define
class Fleet:
    """Servers, hosts, and the nodes on them.

    Attributes:
        directory: of all files.
        site: of servers and certificates.
        hosts: where the nodes run.
        keepers: of the servers.
        pause: seconds between two messages of a node; 0 if nodes have nothing to say to one another.
        programs: the nodes that run, by name.
    """

    directory: Path
    site: Site
    hosts: Hosts
    keepers: list[Keeper]
    pause: float
    programs: dict[str, Program] = attrs.field(factory=dict)

    async def start(self, names: Iterable[str]) -> None:
        """Start nodes, some at a time, each on the host that its name ends in, and wait for each."""
        urls = ",".join(self.site.urls)
        settings = {"ENFILADE_TEST_PAUSE": f"{self.pause}"}
        for batch in batched(names, AT_A_TIME):
            for name in batch:
                host = self.hosts.command(int(name.rpartition("host")[2]))
                self.programs[name] = Program(urls, f"{name}|{self.directory}", settings, MEMBER, host)
            for name in batch:
                stdout = self.programs[name].process.stdout
                assert stdout is not None
                with trio.fail_after(600):
                    line = await trio.to_thread.run_sync(stdout.readline, abandon_on_cancel=True)
                assert line == b"open\n", (name, line)

    def kill(self, name: str) -> None:
        """Kill a node."""
        self.programs.pop(name).end()

    def signal_server(self, number: int, what: signal.Signals) -> None:
        """Send a signal to a server."""
        process = self.keepers[number]._server
        if process is not None:
            os.kill(process.pid, what)

    def memory(self) -> list[int]:
        """The kilobytes of each node that nobody else has."""
        found = []
        for program in self.programs.values():
            lines = Path(f"/proc/{program.process.pid}/smaps_rollup").read_text().splitlines()
            found += [int(line.split()[1]) for line in lines if line.startswith("Pss:")]
        return sorted(found)

    def processor(self) -> float:
        """Seconds of the processor that the nodes which run have taken so far."""
        fields = [
            Path(f"/proc/{each.process.pid}/stat").read_text().split() for each in self.programs.values()
        ]
        return sum(int(each[13]) + int(each[14]) for each in fields) / os.sysconf("SC_CLK_TCK")

    def descriptors(self) -> dict[int, int]:
        """The number of descriptors of each node, by process."""
        pids = [program.process.pid for program in self.programs.values()]
        return {pid: len(os.listdir(f"/proc/{pid}/fd")) for pid in pids}

    def told(self) -> list[dict[str, Any]]:
        """What all have written down, in the order of the clock."""
        lines = [line for file in self.directory.glob("*.log") for line in file.read_text().splitlines()]
        return sorted((json.loads(line) for line in lines if line.endswith("}")), key=lambda each: each["at"])


@asynccontextmanager
async def running(
    directory: Path, hosts: Hosts, names: Sequence[str], messages: float = 0.0
) -> AsyncIterator[Fleet]:
    """Run three servers for the length of a block; nodes end with it.

    Args:
        directory: for all files.
        hosts: where the nodes run.
        names: of all nodes.
        messages: that all nodes together send to one another in a second.
    """
    site = Site(directory, 3, hosts.address, lease=LEASE)
    site.admit("driver@hub", *names)
    keepers = [site.keeper(number) for number in range(3)]
    fleet = Fleet(directory, site, hosts, keepers, len(names) / messages if messages else 0.0)
    async with kept(*keepers):
        try:
            yield fleet
        finally:
            for program in fleet.programs.values():
                program.end()


def batched(names: Iterable[str], size: int) -> Iterator[list[str]]:
    """Cut names into lists of a size, the last one as it comes."""
    rest = iter(names)
    while batch := list(islice(rest, size)):
        yield batch


async def answered(node: Node, keys: Iterable[str], seconds: float, at_a_time: int = 100) -> dict[str, int]:
    """Call the actors of keys again and again until all have answered; the answers, by key."""
    answers: dict[str, int] = {}
    waiting = iter(list(keys))

    async def ask(keys: Iterator[str]) -> None:
        for key in keys:
            ref = node.mesh.keyed("Account", key).within(5.0)
            while key not in answers:
                try:
                    answers[key] = await ref.call(Holder.act)
                except CallError:
                    await trio.sleep(0.1)

    with trio.fail_after(seconds):
        async with trio.open_nursery() as nursery:
            for _ in range(at_a_time):
                nursery.start_soon(ask, waiting)
    return answers


def judge(told: list[dict[str, Any]]) -> Mapping[str, int]:
    """Say whether what was written down may be; how often each thing was.

    At most one holder acts at a time, and later ones have greater fences; numbers arrive in order, once and
    without holes, until the end of what they were sent over is told; each monitor tells once.
    """
    faults = [each for each in told if each["event"] == "fault"]
    assert not faults, faults[:5]
    turns: dict[str, list[tuple[tuple[int, int], str, int]]] = defaultdict(list)
    for each in told:
        if each["event"] == "acts":
            turns[each["name"]].append((tuple(each["fence"]), each["who"], each["count"]))
    for name, acts in turns.items():
        for before, after in pairwise(acts):
            assert after[0] >= before[0], f"{name}: an older holder acts after a later one"
            if after[0] == before[0]:
                assert after[1] == before[1], f"{name}: two nodes act in one claim"
    counts = Counter(each["event"] for each in told)
    counts["names"] = len(turns)
    counts["holders"] = sum(len({act[:2] for act in acts}) for acts in turns.values())
    counts["sent"] = sum(each["sent"] for each in told if each["event"] == "talked")
    counts["downs"] = sum(each["down"] for each in told if each["event"] == "talked")
    return counts


def clock() -> float:
    """The clock by which members write down what they do."""
    return time.monotonic()
