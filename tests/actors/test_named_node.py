"""A node of a mesh that is known by its name alone: what waits for it leaves in the order of sending."""

from typing import Any

import trio
import trio.testing

from enfilade.actors import open_node
from enfilade.actors.messages import signals
from enfilade.actors.peers.named_node import NamedNode


class Met:
    """Stands for a node that has been met: notes what is delivered there."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def deliver(self, ref: Any, signal: signals.Signal) -> None:
        assert isinstance(signal, signals.Send)
        self.heard.append(signal.message)

    async def send_wait(self, ref: Any, message: Any) -> None:
        self.heard.append(message)


class Meeter:
    """Meets a node for whoever asks second at once, for the one who asked first when `first` is set."""

    def __init__(self, node: Any, nursery: trio.Nursery) -> None:
        self.node = node
        self.start_soon = nursery.start_soon
        self.first = trio.Event()
        self.node_met = Met()
        self.asked = 0

    def met(self, name: str) -> None:
        return None

    async def meet(self, name: str) -> Met:
        self.asked += 1
        if self.asked == 1:
            await self.first.wait()
        return self.node_met


async def test_send_wait_stays_behind_what_was_sent_before() -> None:
    async with open_node("a") as node, trio.open_nursery() as nursery:
        meeter = Meeter(node, nursery)
        there: Any = NamedNode(meeter, "b@west")  # type: ignore[arg-type]
        ref: Any = object()
        for number in range(3):
            there.deliver(ref, signals.Send(number))
        await trio.testing.wait_all_tasks_blocked()
        await there.send_wait(ref, 3)
        assert meeter.node_met.heard == [0, 1, 2, 3]
        meeter.first.set()
        await trio.testing.wait_all_tasks_blocked()
        there.deliver(ref, signals.Send(4))
        await trio.testing.wait_all_tasks_blocked()
        assert meeter.node_met.heard == [0, 1, 2, 3, 4]
