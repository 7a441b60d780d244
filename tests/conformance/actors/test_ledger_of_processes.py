"""What a node keeps of a node link is what its processes hold over it: no more, and no less.

Random deeds of processes on two nodes, of which several are done before anything has arrived, so that they
cross. When all is quiet, both sides of each link, monitor and call agree, and the ledgers hold these alone.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st
from trio.testing import MockClock

from enfilade.actors import (
    Actor,
    Monitor,
    Node,
    NoProcess,
    Process,
    Ref,
    Refused,
    Request,
    open_node,
)
from enfilade.transport import Policy
from enfilade.transport.memory_carrier import MemoryNetwork
from tests.conformance.actors.deeds import DEEDS, do
from tests.conformance.actors.town import settle

SIZE = 2

who = st.integers(0, SIZE - 1)
deeds = st.tuples(
    st.sampled_from(("left", "right")),
    st.sampled_from((*DEEDS, "monitor", "demonitor", "call", "give up", "quiet")),
    who,
    who,
)


CROSSING = [
    ("left", "link", 0, 0),
    ("left", "quiet", 0, 0),
    ("left", "unlink", 0, 0),
    ("right", "relink", 0, 0),
]
"""The right one links anew before it hears that the left one has unlinked."""


class Idle(Actor):
    """Owes every answer."""

    def ask(self) -> Any:
        return self.process.defer()


class Side:
    """One node, its processes, and the refs that it has of those of the other node."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.processes: list[Process] = []
        self.theirs: list[Ref[Any]] = []
        self.monitors: dict[tuple[int, int], list[Monitor]] = {}
        self.requests: dict[tuple[int, int], list[Request[Any]]] = {}

    async def populate(self) -> None:
        for number in range(SIZE):
            ref: Any = await self.node.spawn(Idle, name=f"p{number}")
            self.processes.append(ref._process)

    async def meet(self, other: "Side") -> None:
        for number in range(SIZE):
            ref = await self.node.whereis_on(other.node.full_name, f"p{number}")
            assert ref is not None
            self.theirs.append(ref)

    def do(self, deed: str, mine: int, theirs: int) -> None:
        """Do something, if the process lives."""
        process, ref, pair = self.processes[mine], self.theirs[theirs], (mine, theirs)
        if process.ended is not None:
            return
        with suppress(NoProcess, Refused):
            match deed:
                case "monitor":
                    self.monitors.setdefault(pair, []).append(process.monitor(ref))
                case "demonitor" if self.monitors.get(pair):
                    process.demonitor(self.monitors[pair].pop())
                case "call":
                    self.requests.setdefault(pair, []).append(process.request(ref, Idle.ask))
                case "give up" if self.requests.get(pair):
                    self.requests[pair].pop().cancel()
                case _ if deed in DEEDS:
                    do(deed, process, ref)

    @property
    def living(self) -> list[Process]:
        return [process for process in self.processes if process.ended is None]

    def open(self) -> Any:
        """What the node keeps of the other one."""
        remotes: Any = self.node.distribution.remotes()  # type: ignore[attr-defined]
        (remote,) = remotes
        return remote._open

    def check(self, other: "Side") -> None:
        """Compare what this node keeps with what the processes of both hold."""
        ledger = self.open()
        linked = {(p.ref.serial, ref.serial) for p in self.living for ref in p.links or ()}
        assert linked == {(ref.serial, p.ref.serial) for p in other.living for ref in p.links or ()}
        assert set(ledger.links) == linked
        assert not ledger.linked_as
        assert set(ledger.monitors) == {number for p in self.living for number in p.monitors or ()}
        assert set(ledger.monitors) == set(other.open().watched)
        assert len(ledger.monitors) == sum(len(p.watchers or ()) for p in other.living)
        asked = [each for p in self.living for each in self.requests_of(p) if not each.settled]
        assert len(ledger.calls) == len(asked)
        assert set(ledger.calls) == set(other.open().answering)

    def requests_of(self, process: Process) -> list[Request[Any]]:
        mine = self.processes.index(process)
        return [each for (owner, _), made in self.requests.items() if owner == mine for each in made]


@pytest.mark.parametrize("ends", ["*", ()], ids=["may end", "may not end"])
def test_the_ledger_holds_what_processes_hold(ends: Any) -> None:
    @given(st.lists(deeds, max_size=14))
    @example(CROSSING)
    def run(steps: list[tuple[str, str, int, int]]) -> None:
        trio.run(play, steps, ends, clock=MockClock(autojump_threshold=0))

    run()


async def play(steps: list[tuple[str, str, int, int]], ends: Any) -> None:
    network = MemoryNetwork()
    policy = Policy.same_user(exports="*", ends=ends)
    listen: Callable[[str], Any] = lambda name: open_node(  # noqa: E731
        name, carrier=network.carrier(name), listen=f"/{name}", policy=policy
    )
    async with listen("a") as a, listen("b") as b:
        await a.connect("/b")
        left, right = Side(a), Side(b)
        for side in (left, right):
            await side.populate()
        await left.meet(right)
        await right.meet(left)
        for name, deed, mine, theirs in [*steps, ("left", "quiet", 0, 0)]:
            if deed == "quiet":
                await settle()
                left.check(right)
                right.check(left)
            else:
                (left if name == "left" else right).do(deed, mine, theirs)
