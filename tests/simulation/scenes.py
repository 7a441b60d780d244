"""Scenes: small systems that are simulated by many seeds. Each is an async function of its world."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import trio

from enfilade.actors import (
    Actor,
    CallError,
    Child,
    Down,
    Guest,
    Joined,
    Left,
    MailboxFull,
    Node,
    NotConnected,
    Pool,
    Process,
    RemoteEntry,
    Supervisor,
    Worker,
)
from enfilade.actors.simulation import Host, World, swarm
from enfilade.actors.simulation.checkers.history import Fired
from enfilade.actors.simulation.machine.entropy import Stream
from enfilade.transport import Policy, Settings
from tests.hostcalls.guests import ACTOR, CAPABILITIES
from tests.simulation.mesh_scenes import activations, contested, global_names, keyed_actors, rolling
from tests.simulation.name_scenes import draining, names
from tests.simulation.service_scenes import gates, news
from tests.simulation.storm_scenes import drifting, families, hand_overs, pipes, storms

Scene = Callable[[World], Awaitable[None]]

OPEN = Policy.same_user(exports="*", groups="*", entries="*", ends="*")
QUICK = Settings(period=2.0)

CALMER = 5
"""How many times more seldom hosts talk after the faults."""


class Ledger(Actor):
    """A named child: adds, and crashes on demand."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, amount: int) -> int:
        self.total += amount
        return self.total

    def fail(self) -> None:
        raise ValueError("on purpose")


class Recorder(Actor):
    """Notes the numbered messages that it is sent."""

    def __init__(self, world: World) -> None:
        self.history = world.history

    def on_message(self, message: Any) -> None:
        self.history.taken(*message)


async def branch(node: Node) -> None:
    """A supervisor with a named child."""
    await node.spawn(Supervisor, [Child(Ledger, id="ledger", name="ledger")], intensity=100, period=1.0)


async def opened(world: World, *names: str, boot: Any = branch, **options: Any) -> list[Host]:
    """Hosts that are connected with each other."""
    options = {"policy": OPEN, "settings": QUICK, **options}
    hosts = [await world.open_node(name, boot=boot, **options) for name in names]
    world.connect(*hosts)
    return hosts


def pause_of(world: World, draws: Stream, mean: float) -> float:
    """The seconds until something is said again: while the world recovers it is enough to hear of it."""
    return draws.exponential(mean) * (CALMER if world.is_calm else 1)


async def chat(world: World, node: Node, draws: Stream, peers: list[Host], pause: float) -> None:
    """Send and call across node links, for as long as the life lasts."""
    numbers = dict.fromkeys((peer.name for peer in peers), 0)
    while True:
        await trio.sleep(pause_of(world, draws, pause))
        peer = draws.choice(peers)
        try:
            ref = node.remote("ledger", peer.full_name)
            if draws.chance(0.5):
                channel = f"{node.incarnation}>{peer.name}"
                node.remote("recorder", peer.full_name).send((channel, numbers[peer.name]))
                world.history.sent(channel, numbers[peer.name], peer.full_name)
                numbers[peer.name] += 1
            elif draws.chance(0.1):
                ref.cast(Ledger.fail)
            else:
                with trio.move_on_after(1.0):
                    await ref.call(Ledger.add, 2)
        except (CallError, NotConnected, MailboxFull):
            pass


def talkative(world: World, name: str, others: list[str], pause: float) -> Callable[[Node], Awaitable[None]]:
    """A boot that starts a tree, and talks with the other hosts."""

    async def boot(node: Node) -> None:
        await branch(node)
        await node.spawn(Recorder, world, name="recorder")
        draws = world.random(f"chat of {name}.{world.hosts[name].lives}")
        peers = [world.hosts[other] for other in others if other in world.hosts]

        async def talk(me: Process) -> None:
            await chat(world, node, draws, peers or [world.hosts[name]], pause)

        await node.spawn(talk)

    return boot


async def messages(world: World) -> None:
    """Three hosts that send to, call and crash each other's ledgers, under faults of every kind."""
    names = ["east", "west", "south"]
    hosts = []
    for name in names:
        others = [other for other in names if other != name]
        boot = talkative(world, name, others, 0.05)
        hosts.append(await world.open_node(name, boot=boot, policy=OPEN, settings=QUICK))
    world.connect(*hosts, both=True)
    draws = world.random("doubles")
    for one, other in itertools.permutations(hosts, 2):
        world.way(one, other).set(twice=draws.between(0.0, 0.1))
    world.faults(swarm())
    await world.run(15)
    await world.calm(20)
    for host in hosts:
        assert len(host.node.peers) == 2, host
        assert world.owners("ledger") == 3
    world.check()


async def handshakes(world: World) -> None:
    """Three hosts that call each other at once, with a secret, while connections break all the time."""
    names = ["east", "west", "south"]
    policy = Policy(rules=OPEN.rules, secret=b"open sesame")
    hosts = [await world.open_node(name, policy=policy, settings=QUICK) for name in names]
    world.connect(*hosts, both=True)
    for one in names:
        for other in names:
            if one != other:
                world.way(one, other).set(jitter=0.002, reset=0.05, full=0.05)
    world.faults(swarm(rates=(0.05, 2.0)))
    await world.run(12)
    await world.calm(20)
    for host in hosts:
        assert sorted(host.node.peers) == sorted(other.full_name for other in hosts if other is not host)
    world.check()


class Emigrant(Actor):
    """A child that lives in another zone."""

    def home(self) -> str:
        return self.process.node.name


STRATEGIES: tuple[Any, ...] = ("one_for_one", "one_for_all", "rest_for_one")


def office(places: list[str], children: int) -> Callable[[Node], Awaitable[None]]:
    """A boot: an office has a supervisor of each strategy, whose children live on other hosts."""

    async def boot(node: Node) -> None:
        if node.name != "office":
            return
        for number, strategy in enumerate(STRATEGIES):
            specs = []
            for place in range(children):
                order = places[(number + place) % len(places) :] + places[: (number + place) % len(places)]
                specs.append(Child(RemoteEntry("Emigrant", *order), id=(number, place)))
            await node.spawn(
                Supervisor, specs, strategy=strategy, intensity=1000, period=0.1, name=f"tree {number}"
            )

    return boot


async def opened_emigrants(world: World) -> list[Host]:
    """An office whose supervisors have a child each on two other hosts."""
    boot = office(["east@east", "west@west"], 1)
    return await opened(world, "office", "east", "west", boot=boot, entries={"Emigrant": Emigrant})


async def emigrants(world: World) -> None:
    """Children in other zones, while connections break within hand-overs."""
    hosts = await opened_emigrants(world)
    await _under_fire(world, hosts)
    assert emigrants_of(hosts) == len(STRATEGIES)


async def trees(world: World) -> None:
    """Three strategies with two children each, in three other zones."""
    names = ["office", "east", "west", "south"]
    boot = office([f"{name}@{name}" for name in names[1:]], 2)
    hosts = await opened(world, *names, boot=boot, entries={"Emigrant": Emigrant})
    await _under_fire(world, hosts)
    assert emigrants_of(hosts) == 2 * len(STRATEGIES)


async def _under_fire(world: World, hosts: list[Host]) -> None:
    """Let connections break within hand-overs, and all else happen, until everybody must have recovered."""
    draws = world.random("resets")
    for one in hosts[1:]:
        for way in (world.way(one, hosts[0]), world.way(hosts[0], one)):
            way.set(jitter=0.001, reset=draws.between(0.0, 0.1))
    world.faults(swarm())
    await world.run(20)
    await world.calm(30)
    world.check()


def emigrants_of(hosts: list[Host]) -> int:
    """How many children live, over all hosts."""
    nodes = [host.node for host in hosts if host.is_alive]
    return sum(
        isinstance(process.actor, Emigrant) and process.ended is None
        for node in nodes
        if node is not None
        for process in node.processes.values()
    )


def watchful(world: World, peers: list[str]) -> Callable[[Node], Awaitable[None]]:
    """A boot: a ledger, and watchers of the ledgers of all hosts, who watch again whenever they are told."""

    async def boot(node: Node) -> None:
        await branch(node)

        async def watch(me: Process, peer: str) -> None:
            while True:
                try:
                    target = node.whereis("ledger") if peer == node.name else None
                    if peer != node.name:
                        target = await node.whereis_on(f"{peer}@{peer}", "ledger")
                except (CallError, NotConnected):
                    target = None
                if target is None:
                    await trio.sleep(0.3)
                    continue
                number = world.history.watching(me.ref, target)
                me.monitor(target)
                down = await me.receive(Down)
                world.history.fired(number, down.reason)

        for peer in peers:
            await node.spawn(watch, peer)

        async def fail(me: Process) -> None:
            draws = world.random(f"failures of {node.name}.{world.hosts[node.name].lives}")
            while not world.is_calm:
                await trio.sleep(draws.exponential(1.0))
                node.named("ledger").cast(Ledger.fail)

        await node.spawn(fail)

    return boot


async def monitors(world: World) -> None:
    """Three hosts that watch each other's ledgers, which crash all the time."""
    names = ["east", "west", "south"]
    await opened(world, *names, boot=watchful(world, names))
    world.sometimes("a monitor tells of a lost node", lambda: any(e.is_lost for e in world.history.of(Fired)))
    world.faults(swarm())
    await world.run(15)
    await world.calm(20)
    world.check()


class Rooms:
    """What the watcher of a group has been told on one host in one life."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.present: Counter[Any] = Counter()
        self.wrong: list[str] = []

    def told(self, event: Joined | Left) -> None:
        """A member has come, or gone."""
        for ref in event.refs:
            self.present[ref] += 1 if isinstance(event, Joined) else -1
            if self.present[ref] < 0:
                self.wrong.append(f"{ref} has left {self.node} without having been there")
        self.present += Counter()  # which forgets those that are not there

    def check(self) -> None:
        """What was told one by one is what there is."""
        assert not self.wrong, self.wrong
        assert self.present == Counter(self.node.scope().members("room")), self.node


async def groups(world: World) -> None:
    """Three hosts whose processes join a group, leave it and end, and a watcher of it on each."""
    rooms: dict[str, Rooms] = {}

    async def boot(node: Node) -> None:
        scope = node.scope()
        room = rooms[node.name] = Rooms(node)
        draws = world.random(f"rooms of {node.name}.{world.hosts[node.name].lives}")

        async def watch(me: Process) -> None:
            _, present = scope.monitor(me.ref, "room")
            room.present.update(present)
            while True:
                room.told(await me.receive((Joined, Left)))

        async def visit(me: Process) -> None:
            scope.join("room", me.ref)
            await trio.sleep(draws.exponential(0.5))
            if draws.chance(0.5):
                scope.leave("room", me.ref)
                await trio.sleep(draws.exponential(0.5))

        async def invite(me: Process) -> None:
            while not world.is_calm:
                await trio.sleep(draws.exponential(0.3))
                await node.spawn(visit)
            scope.join("room", me.ref)
            await trio.sleep_forever()

        await node.spawn(watch)
        await node.spawn(invite)

    hosts = await opened(world, "east", "west", "south", boot=boot)
    world.faults(swarm())
    await world.run(15)
    await world.calm(30)
    for host in hosts:
        assert len(host.node.scope().members("room")) == 3
        rooms[host.name].check()
    world.check()


class Clerk(Worker):
    """Notes the jobs that it does, and dies of some."""

    def __init__(self, done: Counter[str]) -> None:
        self.done = done

    def work(self, job: str) -> str:
        self.done[job] += 1
        if job.endswith("7"):
            raise ValueError("on purpose")
        return job.upper()


async def pools(world: World) -> None:
    """Two hosts that submit jobs to the pool of a third: each is done at most once, and answered rightly."""
    done: Counter[str] = Counter()
    answered: Counter[str] = Counter()

    async def boot(node: Node) -> None:
        life = f"{node.name}.{world.hosts[node.name].lives}"
        if node.name == "shop":
            child = Child(Pool, Clerk, done, size=3, intensity=10_000, id="pool", name="pool")
            await node.spawn(Supervisor, [child], intensity=100, period=1.0)
            return
        draws = world.random(f"jobs of {life}")

        async def submit(me: Process) -> None:
            for number in itertools.count():
                await trio.sleep(pause_of(world, draws, 0.05))
                job = f"{life}-{number}"
                with suppress(CallError, NotConnected, MailboxFull, ValueError), trio.move_on_after(1.0):
                    answer = await node.remote("pool", "shop@shop").call(Pool.submit, job)
                    world.demand(answer == job.upper(), "an answer belongs to its job")
                    answered[job] += 1

        await node.spawn(submit)

    hosts = await opened(world, "shop", "east", "west", boot=boot)
    world.faults(swarm())
    await world.run(15)
    await world.calm(20)
    before = sum(answered.values())
    await world.run(5)
    assert sum(answered.values()) > before + 10
    assert max(done.values()) == max(answered.values()) == 1
    assert set(answered) <= set(done)
    statistics = await world.on(hosts[0], hosts[0].node.named("pool").call, Pool.statistics)
    assert (statistics.size, statistics.queued) == (3, 0)
    world.check()


async def guests(world: World) -> None:
    """Three hosts that ask each other's guests, which trap on demand."""
    names = ["east", "west", "south"]
    answered: Counter[str] = Counter()

    async def boot(node: Node) -> None:
        echo = Guest(ACTOR, entrypoint="echo", capabilities=CAPABILITIES)
        await node.spawn(Supervisor, [Child(echo, id="guest", name="guest")], intensity=1000, period=1.0)
        draws = world.random(f"questions of {node.name}.{world.hosts[node.name].lives}")

        async def ask(me: Process) -> None:
            while True:
                await trio.sleep(pause_of(world, draws, 0.1))
                peer = draws.choice(names)
                question = b"trap" if draws.chance(0.1) and not world.is_calm else draws.bytes(8)
                with suppress(CallError, NotConnected, MailboxFull), trio.move_on_after(1.0):
                    is_here = peer == node.name
                    ref = node.named("guest") if is_here else node.remote("guest", f"{peer}@{peer}")
                    answer = await ref.call(Guest.request, question)
                    world.demand(answer == question, "a guest echoes what it was asked")
                    answered[f"{node.name} {peer}"] += 1

        await node.spawn(ask)

    await opened(world, *names, boot=boot)
    world.faults(swarm())
    await world.run(10)
    await world.calm(20)
    answered.clear()
    await world.run_until(lambda: len(answered) == 9, 60, every=1.0, name="an answer from each to each")
    assert world.owners("guest") == 3
    world.check()


async def quiet(world: World) -> None:
    """Three hosts that have nothing to say to each other."""
    await opened(world, "east", "west", "south")
    await world.run(60)
    assert world.now() >= 60.0


SCENES: dict[str, Scene] = {
    "messages": messages,
    "handshakes": handshakes,
    "emigrants": emigrants,
    "monitors": monitors,
    "trees": trees,
    "names": names,
    "draining": draining,
    "groups": groups,
    "pools": pools,
    "gates": gates,
    "news": news,
    "guests": guests,
    "global names": global_names,
    "keyed actors": keyed_actors,
    "contested names": functools.partial(global_names, weather=contested),
    "contested keys": functools.partial(keyed_actors, weather=contested),
    "activations": activations,
    "rolling": rolling,
    "storms": storms,
    "drifting": drifting,
    "pipes": pipes,
    "families": families,
    "hand-overs": hand_overs,
    "quiet": quiet,
}
