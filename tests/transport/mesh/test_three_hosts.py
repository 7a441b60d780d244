"""A mesh on three machines: a tree that spans them, a machine cut off and healed, a server killed.

The machines are the namespaces of docs/tutorials/three-machines.md. Whoever runs on them writes down what it
sees, and a model says afterwards whether that may be. With `-s` the transcript is printed.
"""

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest

from enfilade.transport.mesh.authority import Authority, join
from enfilade.transport.namespaces import available
from tests.docs.page import blocks
from tests.transport.mesh.servers import needs_server

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "tutorials" / "three-machines.md"
HOSTS = ("one", "two", "three")
COMMAND = [sys.executable, "-c", "from enfilade.actors.cli import main; main()"]
LEASE = 15.0
PATIENCE = 120.0

pytestmark = [
    pytest.mark.real,
    pytest.mark.soak,
    pytest.mark.timeout(900),
    needs_server,
    pytest.mark.skipif("net" not in available(), reason="no permission to make namespaces"),
]

MEMBER = """
import json, sys, time
import trio
from enfilade import Actor, Child, Policy, Ref, RemoteEntry, Supervisor, open_node
from enfilade.actors import CallError, Global
from enfilade.transport.mesh import Mesh, NodeJoined, NodeLeft

NAME, HOST, SERVERS = sys.argv[1], sys.argv[2], sys.argv[3].split(",")
WHO = f"{NAME}@{HOST}"
POLICY = Policy.same_mesh(exports="*", ends="*", entries="*")


def tell(event, **fields):
    print(json.dumps({"at": time.monotonic(), "who": WHO, "event": event, **fields}), flush=True)


class Counter(Actor):
    def __init__(self):
        self.value = 0

    def add(self):
        self.value += 1
        return self.value


class Bank(Actor):
    async def pay(self):
        tell("acts", fence=[self.process.fence.epoch, self.process.fence.revision])
        return WHO


class Watcher(Actor):
    def on_message(self, message):
        if isinstance(message, (NodeJoined, NodeLeft)):
            tell(type(message).__name__, node=message.node.name, reason=getattr(message, "reason", ""))


async def pay(node):
    bank = node.mesh.named("bank").within(1.0)
    while True:
        try:
            tell("paid", by=await bank.call(Bank.pay))
        except CallError as error:
            tell("not paid", why=type(error).__name__)
        await trio.sleep(0.1)


async def count(tree):
    known = {}
    while True:
        for info in await tree.call(Supervisor.children):
            if isinstance(info.ref, Ref):
                ref, began = info.ref, time.monotonic()
                try:
                    value = await ref.within(1.0).call(Counter.add)
                except CallError as error:
                    tell("not counted", child=info.id, why=type(error).__name__)
                else:
                    took = time.monotonic() - began
                    start = [ref.node_name, ref.incarnation, ref.serial]
                    tell("counted", child=info.id, start=start, value=value, took=took)
        await trio.sleep(0.05)


async def main():
    mesh = Mesh(servers=SERVERS, identity=WHO)
    async with open_node(NAME, zone=HOST, mesh=mesh, policy=POLICY, entries={"Counter": Counter}) as node:
        node.mesh.monitor(await node.spawn(Watcher))
        async with trio.open_nursery() as nursery:
            if NAME == "desk":
                target = RemoteEntry("Counter", "worker@*", place="spread")
                children = [Child(target, id=each) for each in ("first", "second", "third")]
                nursery.start_soon(count, await node.spawn(Supervisor, children, intensity=100))
                nursery.start_soon(pay, node)
            else:
                bank = Child(Bank, name=Global("bank", taken="wait"))
                await node.spawn(Supervisor, [bank], intensity=100)
            tell("open")
            await trio.sleep_forever()


trio.run(main)
"""


@attrs.define
class Machines:
    """Three machines, and what runs on them."""

    directory: Path
    began: float = attrs.field(factory=time.monotonic)
    processes: dict[str, "subprocess.Popen[bytes]"] = attrs.field(factory=dict)

    def hosts(self, *words: str) -> None:
        """Give a command to the file of the tutorial."""
        subprocess.run([sys.executable, "hosts.py", *words], cwd=self.directory, check=True, timeout=PATIENCE)

    def route(self, what: str, one: str, other: str) -> None:
        """Have two machines drop what they send to each other ("add"), or send it again ("delete")."""
        for here, there in ((one, other), (other, one)):
            address = f"10.9.0.{HOSTS.index(there) + 1}/32"
            self.hosts("on", here, "ip", "route", what, "blackhole", address)

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:6.1f} s  {text}", flush=True)

    def start(self, name: str, host: str, *command: str) -> None:
        """Run a command on a machine; what it says goes into a file of this name."""
        with (self.directory / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "hosts.py", "on", host, *command],
                cwd=self.directory,
                stdout=log,
                stderr=(self.directory / f"{name}.errors").open("wb"),
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )

    def told(self, name: str | None = None) -> list[dict[str, Any]]:
        """What members have written down, in the order of the machine's clock."""
        names = [name] if name else [each for each in self.processes if "@" in each]
        lines = [line for each in names for line in (self.directory / f"{each}.log").read_text().splitlines()]
        return sorted((json.loads(line) for line in lines if line.endswith("}")), key=lambda each: each["at"])

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for what happens by itself, and say so."""
        limit = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < limit, f"not within {PATIENCE:g} s: {what}"
            time.sleep(0.1)
        self.say(what)

    def since(self, at: float, name: str, **fields: Any) -> list[dict[str, Any]]:
        """What a member has written down since a moment that has these fields."""
        return [
            each
            for each in self.told(name)
            if each["at"] > at and all(each.get(key) == value for key, value in fields.items())
        ]


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    (block,) = (each for each in blocks(PAGE.read_text()) if each.name == "hosts.py")
    (tmp_path / "hosts.py").write_text(block.body)
    (tmp_path / "member.py").write_text(MEMBER)
    made = Machines(tmp_path)
    made.hosts("up")
    try:
        yield made
    finally:
        made.hosts("down")
        for process in made.processes.values():
            process.wait()


def set_up(machines: Machines) -> None:
    """Make certificates and server files."""
    directory = machines.directory
    urls = [f"tls://{host}" for host in HOSTS]
    authority = Authority.create(directory / "ca", servers=urls)
    bundles = {f"{host}-server": authority.issue_server([host]) for host in HOSTS}
    names = ["desk@one", *(f"worker@{host}" for host in HOSTS)]
    bundles |= {name: authority.issue(name) for name in names}
    for name, bundle in bundles.items():
        path = directory / f"{name}.bundle"
        path.write_bytes(bundle)
        path.chmod(0o600)
        join(path, directory / name)
    for host in HOSTS:
        others = [each for each in HOSTS if each != host]
        lines = ["[server]", f'name = "{host}"', 'listen = "0.0.0.0:4222"', f"lease = {LEASE}"]
        lines += [f'identity = "{host}-server"', 'nodes = "ca/nodes.list"', 'cluster = "0.0.0.0:6222"']
        lines += [f"routes = {[f'{each}:6222' for each in others]}"]
        lines += [f"others = {[f'tls://{each}' for each in others]}"]
        (directory / f"{host}.toml").write_text("\n".join(lines))


def member(machines: Machines, name: str, host: str) -> None:
    servers = ",".join(f"tls://{each}" for each in (host, *(each for each in HOSTS if each != host)))
    machines.start(f"{name}@{host}", host, sys.executable, "member.py", name, host, servers)


def run_servers(machines: Machines) -> None:
    """Run a server on each machine."""
    set_up(machines)
    for host in HOSTS:
        machines.start(host, host, *COMMAND, "mesh", "up", f"{host}.toml")
    for host in HOSTS:
        log = machines.directory / f"{host}.log"
        machines.until(lambda log=log: "serves at" in log.read_text(), f"server {host} serves")  # type: ignore[misc]


def test_mesh_53_the_route_between_two_servers_is_cut(machines: Machines) -> None:
    """Their nodes tell each other dead, the third node keeps both; when it is healed all three agree."""
    run_servers(machines)
    names = ["worker@two", "worker@three", "desk@one"]
    for name in names:
        member(machines, *name.split("@"))
    know = lambda who, at, event: {each["node"] for each in machines.since(at, who, event=event)}  # noqa: E731
    counted = lambda: {  # noqa: E731
        each["start"][0] for each in machines.since(time.monotonic() - 1, "desk@one", event="counted")
    }
    machines.until(lambda: counted() == {"worker@two", "worker@three"}, "desk@one has children on both")
    assert not any(machines.since(0, name, event="NodeLeft") for name in names)

    cut = time.monotonic()
    machines.route("add", "one", "two")
    machines.say("the route between the servers one and two is cut")
    machines.until(lambda: "worker@two" in know("desk@one", cut, "NodeLeft"), "desk@one has lost worker@two")
    machines.until(lambda: "desk@one" in know("worker@two", cut, "NodeLeft"), "worker@two has lost desk@one")
    machines.until(lambda: counted() == {"worker@three"}, "its children live at worker@three now")
    time.sleep(10)
    assert not machines.since(cut, "worker@three", event="NodeLeft"), "which hears both"
    for name in ("desk@one", "worker@two"):
        assert "worker@three" not in know(name, cut, "NodeLeft"), "and both hear it"

    healed = time.monotonic()
    machines.route("delete", "one", "two")
    machines.say("and healed")
    machines.until(
        lambda: "worker@two" in know("desk@one", healed, "NodeJoined"), "desk@one knows worker@two"
    )
    machines.until(
        lambda: "desk@one" in know("worker@two", healed, "NodeJoined"), "worker@two knows desk@one"
    )
    assert not machines.since(cut, "worker@three", event="NodeLeft")
    judge(machines)


def test_a_tree_over_three_machines(machines: Machines) -> None:
    """With a machine cut off and healed, and a server killed; the model has nothing to object."""
    run_servers(machines)
    for host in ("three", "one", "two"):
        member(machines, "worker", host)
        name = f"worker@{host}"
        machines.until(lambda name=name: bool(machines.since(0, name, event="open")), f"{name} is open")  # type: ignore[misc]
    member(machines, "desk", "one")
    counted = lambda at: {each["start"][0] for each in machines.since(at, "desk@one", event="counted")}  # noqa: E731
    machines.until(
        lambda: counted(0) == {f"worker@{each}" for each in HOSTS},
        "desk@one has a child on each machine",
    )
    paid = lambda at: [each["by"] for each in machines.since(at, "desk@one", event="paid")]  # noqa: E731
    machines.until(lambda: bool(paid(0)), "the bank has been found by its name in the mesh")

    cut = time.monotonic()
    machines.hosts("cut", "three")
    machines.say("machine three is cut off")
    left = lambda who: [each["node"] for each in machines.since(cut, who, event="NodeLeft")]  # noqa: E731
    machines.until(lambda: left("desk@one") == ["worker@three"], "desk@one has been told that it is dead")
    machines.until(
        lambda: counted(time.monotonic() - 1) == {"worker@one", "worker@two"},
        "its child has been started on another machine",
    )
    machines.until(lambda: bool(paid(time.monotonic() - 1)), "the bank works, where it may")
    time.sleep(1.5 * LEASE)

    healed = time.monotonic()
    machines.hosts("heal", "three")
    machines.say("machine three is healed")
    for who in ("desk@one", "worker@two", "worker@three"):
        joined = lambda who=who: {  # noqa: E731
            each["node"] for each in machines.since(healed, who, event="NodeJoined")
        }
        wanted = {"desk@one", "worker@one", "worker@two"} if who == "worker@three" else {"worker@three"}
        machines.until(lambda joined=joined, wanted=wanted: joined() >= wanted, f"{who} knows who is there")  # type: ignore[misc]

    killed = time.monotonic()
    machines.processes["two"].kill()
    machines.say("server two is killed, and its keeper with it")
    time.sleep(10)
    assert not machines.since(killed, "desk@one", event="NodeLeft"), "nobody was lost"
    calls = machines.since(killed, "desk@one", event="counted")
    assert calls
    longest = max(each["took"] for each in calls)
    machines.say(f"nobody was lost; {len(calls)} calls in 10 s, of which the longest took {longest:.3f} s")
    machines.until(lambda: bool(paid(time.monotonic() - 1)), "the bank works")
    judge(machines)


def judge(machines: Machines) -> None:
    """Say whether what was written down may be."""
    told = machines.told()
    acts = [each for each in told if each["event"] == "acts"]
    turns: list[dict[str, Any]] = []
    for act in acts:
        if not turns or turns[-1]["who"] != act["who"] or turns[-1]["fence"] != act["fence"]:
            turns.append(act)
    fences = [tuple(turn["fence"]) for turn in turns]
    assert fences == sorted(set(fences)), "each claim acts once, and later ones have greater fences"
    machines.say(f"model: {len(acts)} payments by {len(turns)} holders one after another; fences grow")
    values: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for each in told:
        if each["event"] == "counted":
            values[tuple(each["start"])].append(each["value"])
    for seen in values.values():
        assert seen == sorted(set(seen)), "no call was carried out twice, none out of order"
    total = sum(map(len, values.values()))
    machines.say(f"model: {total} calls to {len(values)} counters, none twice, none out of order")
    heard: dict[tuple[str, str], list[str]] = defaultdict(list)
    for each in told:
        if each["event"] in ("NodeJoined", "NodeLeft"):
            heard[each["who"], each["node"]].append(each["event"])
    for kinds in heard.values():
        assert all(before != after for before, after in pairwise(kinds)), "each is told once"
    events = sum(map(len, heard.values()))
    machines.say(f"model: {events} comings and goings, each told once to each who watches")
