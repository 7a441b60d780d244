"""The one property of every test in this folder: whatever happened to a process, the others go on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from enfilade.actors import Actor, Down, Node, Process, Reason, Ref, open_node

__all__ = ["Bystander", "end_of", "unharmed"]


class Bystander(Actor):
    def ping(self) -> str:
        return "pong"


class BystanderWithTask(Bystander):
    async def wait(self) -> None:
        """Makes it an actor that has a task."""


@asynccontextmanager
async def unharmed(name: str = "n") -> AsyncIterator[tuple[Node, Process]]:
    """A node, and a mailbox in it. At the end of the block bystanders answer, a timer fires, a spawn works,
    no further message has come, and the node closes as fast as usual.
    """
    async with open_node(name) as node:
        bystanders = [await node.spawn(Bystander), await node.spawn(BystanderWithTask)]
        async with node.mailbox() as me:
            yield node, me
            for ref in [*bystanders, await node.spawn(Bystander), await node.spawn(BystanderWithTask)]:
                assert await ref.within(1).call(Bystander.ping) == "pong"
            async with node.mailbox() as other:
                other.send_after(0.01, other.ref, "fired")
                assert await other.receive(timeout=1) == "fired"
            assert not list(me.queue)
        before = trio.current_time()
    assert trio.current_time() - before < 1


async def end_of(me: Process, ref: Ref[object]) -> Reason:
    """The reason of the one `Down` of `ref`, which `me` monitors."""
    down = await me.receive(Down, timeout=5)
    assert down.ref == ref
    return down.reason
