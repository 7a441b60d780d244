"""What two nodes say to each other at once crosses on the way: in the end both know the same.

Each side does one thing to two processes, one on each node, in the same step, so that neither has heard of
what the other does. Two nodes on the memory carrier, in virtual time.
"""

from itertools import product
from typing import Any

import pytest

from enfilade.actors import Node, Process, Ref, open_node
from enfilade.transport import Policy
from enfilade.transport.memory_carrier import MemoryNetwork
from tests.conformance.actors.deeds import DEEDS, do
from tests.conformance.actors.subjects import idle
from tests.conformance.actors.town import settle

NOTHING = "nothing"


class Side:
    """A process of one node, and the ref that it has of the other one."""

    def __init__(self, node: Node, mine: Ref[Any], theirs: Ref[Any]) -> None:
        self.node = node
        self.process: Process = mine._process  # type: ignore[attr-defined]
        self.theirs = theirs

    def do(self, deed: str) -> None:
        if deed != NOTHING:
            do(deed, self.process, self.theirs)

    @property
    def is_alive(self) -> bool:
        return self.process.ended is None

    @property
    def is_linked(self) -> bool:
        return bool(self.process.links)


@pytest.mark.parametrize(("ours", "yours"), list(product((NOTHING, *DEEDS), repeat=2)))
@pytest.mark.parametrize("linked", [False, True], ids=["alone", "linked"])
async def test_both_sides_agree(linked: bool, ours: str, yours: str, autojump_clock: object) -> None:
    """L4: whatever crosses, both hold the link or neither does, and who is linked to a dead process dies."""
    network = MemoryNetwork()
    policy = Policy.same_user(exports="*", ends="*")
    async with (
        open_node("a", carrier=network.carrier("a"), listen="/a", policy=policy) as a,
        open_node("b", carrier=network.carrier("b"), listen="/b", policy=policy) as b,
    ):
        await a.connect("/b")
        mine, yours_ref = await a.spawn(idle, name="mine"), await b.spawn(idle, name="yours")
        there, back = await a.whereis_on("b@local", "yours"), await b.whereis_on("a@local", "mine")
        assert there is not None
        assert back is not None
        left, right = Side(a, mine, there), Side(b, yours_ref, back)
        if linked:
            left.do("link")
            await settle()
            assert right.is_linked
        left.do(ours)
        right.do(yours)
        await settle()
        if left.is_alive and right.is_alive:
            assert left.is_linked == right.is_linked
            if left.is_linked:  # and it is a link indeed
                left.do("die")
                await settle()
                assert not right.is_alive
        else:
            assert not left.is_linked
            assert not right.is_linked
        for node in (a, b):
            remotes: Any = node.distribution.remotes()  # type: ignore[attr-defined]
            assert not any(remote._open.links or remote._open.linked_as for remote in remotes)
