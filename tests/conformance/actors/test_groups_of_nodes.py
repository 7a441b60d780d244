"""Groups over three nodes: whatever joins, leaves, ends and is cut off, in the end all know the same members.

Random deeds, of which several are done before anything has arrived. When all is quiet, the members that a
node knows are those of the nodes that it reaches, and a monitor of the scope has been told of exactly these.
"""

from collections import Counter
from itertools import combinations
from typing import Any

import trio
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import MockClock

from enfilade.actors import KILL, Joined, Left, Node, NoProcess, NotJoined, Process, Ref, open_node
from enfilade.transport import Policy
from enfilade.transport.memory_carrier import MemoryNetwork
from tests.conformance.actors.subjects import idle

NAMES = ("a", "b", "c")
PAIRS = tuple(combinations(NAMES, 2))
GROUPS = ("red", ("blue", 1))
LONG = 30.0
"""Seconds after which a node link that can be had again is there again."""

deeds = st.one_of(
    st.tuples(
        st.sampled_from(("join", "join", "leave", "kill")),
        st.sampled_from(NAMES),
        st.integers(0, 1),
        st.sampled_from(GROUPS),
    ),
    st.tuples(st.sampled_from(("cut", "restore")), st.sampled_from(PAIRS)),
    st.just(("quiet",)),
)


class Town:
    """The nodes, and what each has been told."""

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self.nodes: dict[str, Node] = {}
        self.refs: dict[tuple[str, int], Ref[Any]] = {}
        self.watchers: dict[str, Process] = {}
        self.told: dict[str, Counter[tuple[Any, str]]] = {}

    async def populate(self, name: str, node: Node, watcher: Process) -> None:
        self.nodes[name], self.watchers[name] = node, watcher
        for number in range(2):
            self.refs[name, number] = await node.spawn(idle)
        _, present = node.scope("town").monitor_scope(watcher.ref)
        assert not present
        self.told[name] = Counter()

    def do(self, deed: Any) -> None:
        match deed:
            case ("cut", (one, other)):
                self.network.cut(one, other)
            case ("restore", (one, other)):
                self.network.join(one, other)
            case (what, name, number, group):
                scope, ref = self.nodes[name].scope("town"), self.refs[name, number]
                try:
                    match what:
                        case "join":
                            scope.join(group, ref)
                        case "leave":
                            scope.leave(group, ref)
                        case _:
                            ref.exit(KILL)
                except (NoProcess, NotJoined):
                    pass

    async def check(self) -> None:
        await trio.sleep(LONG)
        for one, other in PAIRS:
            if not self.network.is_cut(one, other) and f"{other}@local" not in self.nodes[one].peers:
                await self.nodes[one].connect(f"/{other}")
        await trio.sleep(LONG)
        for name, node in self.nodes.items():
            reached = [other for other in NAMES if other == name or not self.network.is_cut(name, other)]
            there = Counter(
                (group, str(ref))
                for other in reached
                for group, refs in self.nodes[other].scope("town").local().items()
                for ref in refs
            )
            scope = node.scope("town")
            found = Counter((g, str(ref)) for g in scope.which_groups() for ref in scope.members(g))
            assert found == there, name
            watcher = self.watchers[name]
            while watcher.queue:
                match await watcher.receive():
                    case Joined(_, group, refs):
                        self.told[name].update((group, str(ref)) for ref in refs)
                    case Left(_, group, refs):
                        self.told[name].subtract((group, str(ref)) for ref in refs)
            assert +self.told[name] == there, name
            assert not -self.told[name], name


CUT = [("join", "a", 0, "red"), ("cut", ("a", "b")), ("leave", "a", 0, "red"), ("restore", ("a", "b"))]


@given(st.lists(deeds, max_size=16))
@example(CUT)
def test_all_know_the_same_members(steps: list[Any]) -> None:
    async def main() -> None:
        town = Town()
        policy = Policy.same_user(groups="*")
        async with trio.open_nursery() as nursery:
            done = trio.Event()

            async def run(name: str, *, task_status: trio.TaskStatus[None]) -> None:
                carrier = town.network.carrier(name)
                async with (
                    open_node(name, carrier=carrier, listen=f"/{name}", policy=policy) as node,
                    node.mailbox() as me,
                ):
                    await town.populate(name, node, me)
                    task_status.started()
                    await done.wait()

            for name in NAMES:
                await nursery.start(run, name)
            for one, other in PAIRS:
                await town.nodes[one].connect(f"/{other}")
            await town.check()
            for deed in [*steps, ("quiet",)]:
                await town.check() if deed == ("quiet",) else town.do(deed)
            done.set()

    trio.run(main, clock=MockClock(autojump_threshold=0))
