"""Strangers that call the hosts of a world: each is turned away, and what goes on there is not disturbed."""

from __future__ import annotations

import re

import pytest

from enfilade.actors import CallError, Node, Process
from enfilade.actors.messages.hooks import Listener
from enfilade.actors.simulation import Stranger, World, run_simulation, swarm
from enfilade.actors.simulation.checkers.history import Down
from enfilade.actors.simulation.faults.stranger_calls import Story
from enfilade.transport import Policy
from tests.simulation.scenes import OPEN, QUICK, Ledger, branch

SECRET = b"open sesame"

SAID: dict[tuple[Story, bool], str] = {
    ("version", False): "turned away: this node speaks version 1, the caller versions 41 to 41",
    ("version", True): "turned away: this node speaks version 2, the caller versions 41 to 41",
    ("secret", False): "turned away: the caller asks for a secret, and this node has none",
    ("secret", True): "turned away: node 'stranger@nowhere' does not know the secret",
    (
        "name",
        False,
    ): "turned away: (both nodes have the name 'east@east'|names must have 1 to 128 char)",
    ("name", True): "turned away: this node asks for a secret, and the caller has none",
    ("stale", True): "the handshake of node 'west@west', .* failed: the node at the other end hung up",
    ("nonsense", False): "turned away: .*a batch of frames",
    ("nonsense", True): "turned away: .*a batch of frames",
    ("user", False): "turned away: the policy does not admit node 'west@west' .* with uid",
    ("user", True): "turned away: the policy does not admit node 'west@west' .* with uid",
}
"""What the host says of a stranger at least once. A stale one is welcome where no secret is asked for: it is
a process of the same user, whose word is taken there. Then it hangs up.
"""


class Refusals(Listener):
    def __init__(self) -> None:
        self.said: list[str] = []

    def node_refused(self, reason: str) -> None:
        self.said.append(reason)


def visited(what: Story, secret: bytes | None, draw: int) -> tuple[float, list[str]]:
    """The time that calls to a host take at most while a stranger calls, and what it says of that one."""
    refusals = Refusals()

    async def main(world: World) -> float:
        policy = Policy(rules=OPEN.rules, secret=secret)
        options = {"boot": branch, "policy": policy, "settings": QUICK}
        east, west = [await world.open_node(name, **options) for name in ("east", "west")]  # type: ignore[arg-type]
        world.connect(east, west)
        await world.run(1)
        east.node.hooks.add(refusals)
        world.at(1.5, Stranger("east", what, 4.0, draw))
        times = []

        async def call() -> None:
            for _ in range(40):
                began = world.now()
                try:
                    await west.node.remote("ledger", "east@east").call(Ledger.add, 1)
                except CallError:
                    assert what == "stale"
                times.append(world.now() - began)
                await world.run(0.1)

        await world.on(west, call)
        await world.calm(15)
        world.check()
        assert east.node.peers == ("west@west",)
        assert west.node.peers == ("east@east",)
        assert not east.node.distribution.rendezvous.handshakes
        assert bool(world.history.of(Down)) == (what == "stale" and secret is None)
        assert world.struck == {"Stranger": 1}
        return max(times)

    return run_simulation(main, seed=1), refusals.said


@pytest.mark.parametrize(("what", "has_secret"), SAID)
def test_a_stranger_is_turned_away(what: Story, has_secret: bool) -> None:
    """However it begins, and whatever it says next; connections and calls of others do not notice."""
    said: list[str] = []
    for draw in range(4):
        longest, refusals = visited(what, SECRET if has_secret else None, draw)
        assert longest < 0.005
        said += refusals
    assert any(re.search(SAID[what, has_secret], line) for line in said), said


def test_a_stale_one_of_the_same_user_takes_the_place_for_a_moment() -> None:
    """It ends the node link of the node that it says it is; that one calls again, and is admitted."""
    longest, refusals = visited("stale", None, 1)
    assert longest < 5.0
    assert not refusals


def test_an_earlier_life_calls() -> None:
    """Who is stale says that it is an earlier life of another host, if there was one."""

    async def main(world: World) -> tuple[int, list[int]]:
        east, west = [await world.open_node(name, policy=OPEN, settings=QUICK) for name in ("east", "west")]
        first = west.node.incarnation
        await world.restart(west)
        heard: list[int] = []
        rendezvous = east.node.distribution.rendezvous
        admit = rendezvous._admit

        def noted(way: object, hello: object, identity: object) -> object:
            heard.append(hello.incarnation)  # type: ignore[attr-defined]
            return admit(way, hello, identity)  # type: ignore[arg-type]

        rendezvous._admit = noted  # type: ignore[method-assign, assignment]
        world.at(world.now(), Stranger("east", "stale"))
        await world.run(3)
        return first, heard

    first, heard = run_simulation(main, seed=1)
    assert heard == [first]


def test_nobody_is_there() -> None:
    """Of a host that is down strangers hear nothing."""

    async def main(world: World) -> None:
        await world.open_node("east")
        world.crash("east", "machine")
        world.at(world.now(), Stranger("east", "version"))
        await world.run(3)
        assert not world.history.of(Down)

    run_simulation(main, seed=1)


def test_a_stranger_cannot_be_wrong() -> None:
    with pytest.raises(ValueError, match="'what' must be in"):
        Stranger("east", "friend")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'seconds' must be >= 0"):
        Stranger("east", seconds=-1.0)


def test_many_strangers_while_others_come_and_go() -> None:
    """A swarm of strangers at nodes that are connected with a secret: no link ever ends."""

    async def boot(node: Node) -> None:
        async def ask(me: Process) -> None:
            while True:
                await me.sleep(0.05)

        await node.spawn(ask)

    async def main(world: World) -> None:
        policy = Policy(rules=OPEN.rules, secret=SECRET)
        hosts = [
            await world.open_node(name, boot=boot, policy=policy, settings=QUICK) for name in ("east", "west")
        ]
        world.connect(*hosts)
        await world.run(1)
        world.faults(swarm(kinds=("stranger",), rates=(20.0, 20.0)))
        await world.run(10)
        assert not world.history.of(Down)
        await world.calm(10)
        world.check()

    struck = 0
    for seed in range(4):
        worlds: list[World] = []

        async def noted(world: World, worlds: list[World] = worlds) -> None:
            worlds.append(world)
            await main(world)

        run_simulation(noted, seed=seed)
        struck += worlds[0].struck.get("Stranger", 0)
    assert struck > 100
