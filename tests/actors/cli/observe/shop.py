"""A node to look at, and the terminal program that looks at it, both in one trio run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
from textual.events import Key
from textual.pilot import Pilot

from enfilade.actors import Actor, Child, Node, Supervisor, open_node
from enfilade.actors.cli.observe.observed import Connect, Observed
from enfilade.actors.cli.observe.terminal.app import ObserveApp
from enfilade.transport.carrier import CarrierError
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.policy import Policy, Rights, Rule
from tests.actors.cli.observe.pictures import screen

EVERYTHING = Rights(observe=True, inspect=True, control=True)


class Till(Actor):
    def pay(self, coins: int) -> None:
        if coins < 0:
            raise ValueError(f"expected coins, got {coins}")

    def wait(self) -> None:
        """Do nothing."""


def tills(count: int, **options: Any) -> list[Child]:
    return [Child(Till, id=f"till {number}", name=f"till {number:05}", **options) for number in range(count)]


Setup = Callable[[Node], Awaitable[None]]


@asynccontextmanager
async def shop(rights: Rights = EVERYTHING) -> AsyncIterator[tuple[Node, Node]]:
    """A node that is observed, and the one that observes."""
    network = MemoryNetwork()
    policy = Policy(rules=[Rule(rights=rights)])
    async with (
        open_node(
            "shop", zone="east", listen="/shop", policy=policy, carrier=network.carrier("shop")
        ) as node,
        open_node("eye", policy=Policy(rules=[Rule()]), carrier=network.carrier("eye")) as eye,
    ):
        await eye.connect("/shop")
        yield node, eye


def connecting(setup: Setup, rights: Rights = EVERYTHING) -> Connect:
    """Opens the node that is to be observed as well."""

    @asynccontextmanager
    async def connect() -> AsyncIterator[tuple[Node, str]]:
        async with shop(rights) as (node, eye):
            await setup(node)
            yield eye, "shop@east"

    return connect


async def hall(node: Node) -> None:
    """Three tills below two supervisors; the root of the tree."""
    floor = Child(Supervisor, tills(3), id="floor", intensity=2, period=10.0)
    node.root = await node.spawn(Supervisor, [floor], name="root", intensity=9)


class Door:
    """A door whose node can be taken away.

    Args:
        setups: what each start of the node begins with; the last one is that of all later ones, too.
        rights: what it lets us do.

    Attributes:
        is_open: whether there is a node to connect to.
        node: the node.
        opened: how often it has been connected to.
    """

    def __init__(self, *setups: Setup, rights: Rights = EVERYTHING) -> None:
        self.is_open = True
        self.node: Any = None
        self.opened = 0
        self._setups = setups or (hall,)
        self._rights = rights

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[tuple[Node, str]]:
        if not self.is_open:
            raise CarrierError("no such door")
        async with shop(self._rights) as (node, eye):
            await self._setups[min(self.opened, len(self._setups) - 1)](node)
            self.node = node
            self.opened += 1
            yield eye, "shop@east"

    def lose(self) -> None:
        """End the node link."""
        self.is_open = False
        self.node.distribution.disconnect("eye@local")


async def until(test: Callable[[], object]) -> None:
    """Wait, in virtual time, until a test is passed."""
    with trio.fail_after(600):
        while not test():  # noqa: ASYNC110 (in virtual time)
            await trio.sleep(0.1)


class Viewer:
    """The program under a pilot.

    Attributes:
        app: the program.
        pilot: presses keys.
    """

    def __init__(self, app: ObserveApp, pilot: Pilot[Any]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def text(self) -> str:
        """The picture now."""
        return screen(self.app)

    async def press(self, *keys: str) -> None:
        """Press keys, and wait until they have been taken."""
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        """Type a text without a pause between the keys, and press enter."""
        for each in text:
            self.app.post_message(Key(each, each).set_sender(self.app))
        await self.press("enter")

    async def until(self, test: Callable[[str], bool] | str, seconds: float = 60.0) -> str:
        """The picture as soon as it passes a test, or has that text in it."""
        passes: Callable[[str], bool] = (lambda text: test in text) if isinstance(test, str) else test
        step = 0.05
        for _ in range(int(seconds / step)):
            text = self.text
            if passes(text):
                return text
            await self.pilot.pause(step)
        raise AssertionError(f"not shown: {test}\n{self.text}")


@asynccontextmanager
async def viewer(
    seen: Connect | Observed, *more: Observed, size: tuple[int, int] = (80, 24), **options: Any
) -> AsyncIterator[Viewer]:
    """The program, which observes a node, or what a function connects to, and perhaps others."""
    observed = seen if isinstance(seen, Observed) else Observed("shop.door", seen)
    app = ObserveApp([observed, *more], **options)
    async with app.run_test(size=size) as pilot:
        yield Viewer(app, pilot)
