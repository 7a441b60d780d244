"""A node that is observed through lost connections: it is connected to again, and its views go on.

A look is a view that is wanted. While the node is connected, each look has a watch there; when the node is
gone, the looks stay, and so does what they have shown last. Nothing here is asked twice at a time: a new view
of a look interrupts only the wait for the next update, in which nothing can be lost.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import trio

from enfilade.actors.cli.observe.words import one_line
from enfilade.actors.messages.errors import NoProcess, Refused, RuntimeFault
from enfilade.actors.node.node import Node
from enfilade.actors.observing.protocol.views import View
from enfilade.actors.observing.watches.client import Client, State, WatchEnded
from enfilade.actors.peers.events import NodeDown
from enfilade.transport.carrier import CarrierError
from enfilade.transport.policy import CONTROL, NotAdmitted
from enfilade.transport.rendezvous import HandshakeFailed

__all__ = ["RIGHTS", "Connect", "Look", "Observed"]

Connect = Callable[[], AbstractAsyncContextManager[tuple[Node, str]]]
"""Connects to the observed node for the length of a block, which gets our own node and the other's name."""

RIGHTS: Final = ("observe", "inspect", "trace", "control")
"""The rights that a node can give."""

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 10.0
"""Seconds between two attempts to connect: the first, doubled each time, up to the last."""

SILENCE: Final = 3.0
"""Seconds without an update after which a node counts as silent."""

ANSWER: Final = 30.0
"""Seconds that an action may take."""

TROUBLES: Final = (CarrierError, HandshakeFailed, NotAdmitted, RuntimeFault, trio.TooSlowError, OSError)


class Look:
    """A view that is wanted of a node, for as long as it is among the looks of an `Observed`.

    Args:
        view: what is to be shown.
        take: is given each state, and may wait: the next update is sent when it has returned.
        interval: seconds between two updates.
        right: the right by which to ask, if we have it; else by that to observe.

    Attributes:
        view: what is wanted.
        shown: the view of the last state: what is wanted now may be another.
        refused: why the node does not show the view; None.
        heard: is called with each state: a sign of life of the node.
    """

    def __init__(
        self,
        view: View,
        take: Callable[[State], Awaitable[None]],
        *,
        interval: float = 1.0,
        right: str = "observe",
    ) -> None:
        self.view = view
        self.shown = view
        self.refused: str | None = None
        self.heard: Callable[[], None] = lambda: None
        self._take = take
        self._interval = interval
        self._right = right
        self._waiting: trio.CancelScope | None = None
        self._life: trio.CancelScope | None = None
        self._is_closed = False

    def change(self, view: View) -> None:
        """Have another view shown from now on. Not a checkpoint."""
        self.view = view
        if self._waiting is not None:
            self._waiting.cancel()

    async def run(self, node: Node, peer: str, rights: frozenset[str]) -> None:
        """Show the view until the look is closed.

        Raises:
            WatchEnded: the node is gone, or has ended the watch.
        """
        client = Client(node, peer, self._right if self._right in rights else "observe")
        with trio.CancelScope() as self._life:
            while not self._is_closed:
                view = self.view
                try:
                    async with client.watch(view, self._interval) as states:
                        self.refused = None
                        await self._follow(states)
                except (Refused, NoProcess) as error:
                    self.refused = one_line(error)
                    if view is self.view:  # another view may do
                        with trio.CancelScope() as self._waiting:
                            await trio.sleep_forever()

    async def _follow(self, states: Any) -> None:
        while True:
            if states.view is not self.view:
                await states.change(self.view)
            self.refused = None
            with trio.CancelScope() as self._waiting:
                state = await anext(states)
            if not self._waiting.cancelled_caught:
                self.shown = states.view
                self.heard()
                await self._take(state)

    def close(self) -> None:
        """Show nothing any more. Not a checkpoint."""
        self._is_closed = True
        if self._life is not None:
            self._life.cancel()


class Observed:
    """One node, as it is seen from here.

    Args:
        title: how the node is called as long as its name is not known.
        connect: connects to it.
        now: the clock, in seconds; it is read outside of the trio run, too.
        allowed: the rights of which use is made, at most.
        withheld: said where a right is not made use of.

    Attributes:
        name: its full name; before the first connection the title.
        life: the start of the node that it was connected to last: serials are those of one start. "" before
            the first connection.
        is_up: true while it is connected.
        trouble: why it is not connected, in one line; "" before the first attempt has ended.
        given: what it lets us do: among "observe", "inspect", "trace", "control".
        allowed: the rights of which use is made, at most.
        withheld: said where a right is not made use of.
        attempts: how often it has been connected to in vain since it was up.
    """

    def __init__(
        self,
        title: str,
        connect: Connect,
        now: Callable[[], float] = time.monotonic,
        *,
        allowed: Collection[str] = RIGHTS,
        withheld: str = "",
    ) -> None:
        self.title = title
        self.now = now
        self.name = title
        self.life = ""
        self.is_up = False
        self.trouble = ""
        self.given: frozenset[str] = frozenset()
        self.withheld = withheld
        self.attempts = 0
        self._connect = connect
        self.allowed = frozenset(allowed)
        self._looks: list[Look] = []
        self._link: tuple[Node, str, trio.Nursery] | None = None
        self._heard_at = -math.inf
        self.on_change: Callable[[], None] = lambda: None

    @property
    def rights(self) -> frozenset[str]:
        """The rights of which use is made."""
        return self.given & self.allowed

    @property
    def silence(self) -> float | None:
        """Seconds since the last update, if that is long ago for a node that is connected; None."""
        seconds = self.now() - self._heard_at
        return seconds if self.is_up and seconds >= SILENCE else None

    @property
    def not_yet(self) -> str:
        """Why nothing of it is shown yet, in words."""
        return "asking the node" if self.is_up else "the node is not connected"

    def heard(self) -> None:
        """Note that the node has given a sign of life."""
        self._heard_at = self.now()

    def look(self, look: Look) -> Look:
        """Show a look from now on, also after the next connections. Not a checkpoint."""
        look.heard = self.heard
        self._looks.append(look)
        if self._link is not None:
            node, peer, nursery = self._link
            nursery.start_soon(self._show, look, node, peer, nursery)
        return look

    def drop(self, look: Look) -> None:
        """Show a look no more. Not a checkpoint."""
        look.close()
        if look in self._looks:
            self._looks.remove(look)

    async def once(self, view: View) -> State | None:
        """The first state of a view; None when the node does not answer soon. A checkpoint."""
        found: list[State] = []
        came = trio.Event()

        async def take(state: State) -> None:
            found.append(state)
            came.set()

        look = self.look(Look(view, take))
        try:
            with trio.move_on_after(SILENCE):
                await came.wait()
        finally:
            self.drop(look)
        return found[0] if found else None

    def is_over(self, life: str) -> str | None:
        """Why nothing can be done to a process of a start of the node, if that is over; None."""
        if life == self.life:
            return None
        return f"{self.name} has been started again since: choose the process anew"

    async def act(self, life: str, method: str, *args: Any) -> str | None:
        """Have the node's control process do something. A checkpoint.

        Args:
            life: the start of the node that the serials among the arguments are of.
            method: a method of the control process, such as "suspend".
            args: its arguments.

        Returns:
            Why it was not done, in one line; None when it was.
        """
        if self._link is None:
            return f"{self.name} is not connected"
        over = self.is_over(life)
        if over is not None:
            return over
        node, peer, _ = self._link

        def named(*_: Any) -> Any:
            """Stands for the method: a call carries no more than its name."""

        named.__name__ = named.__qualname__ = method
        try:
            with trio.fail_after(ANSWER):
                answer: object = await node.remote(CONTROL, peer).call(named, *args)
        except trio.TooSlowError:
            return f"{peer} has not answered within {ANSWER:g} s"
        except Exception as error:  # what the control process answered, or why it could not be asked
            return one_line(error) or type(error).__name__
        return None if answer is None else one_line(answer)

    async def run(self) -> None:
        """Observe, until cancelled: connect, show the looks, and connect again when the node is gone."""
        while True:
            trouble: BaseException | str
            try:
                async with self._connect() as (node, peer):
                    trouble = await self._observe(node, peer)
            except TROUBLES as error:
                trouble = error
            self.attempts += 1
            self._is_down(trouble)
            await trio.sleep(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.attempts - 1, 8)))

    async def _observe(self, node: Node, peer: str) -> str:
        """Show the looks, and return why that has come to an end."""
        self.name = peer
        rights = frozenset(await Client(node, peer).rights())
        if not rights & {"observe", "inspect"}:
            return f"node {peer} does not let us observe it; `[[peer]] observe = true` does"
        self.given = rights
        self.life = f"{node.remote(CONTROL, peer).incarnation:016x}"
        self._reason = "the connection is lost"
        async with trio.open_nursery() as nursery, node.mailbox() as me:
            node.distribution.monitor_nodes(me.ref)
            self._link = node, peer, nursery
            self.is_up, self.trouble, self.attempts = True, "", 0
            self.heard()
            self.on_change()
            for look in self._looks:
                nursery.start_soon(self._show, look, node, peer, nursery)
            try:
                down: NodeDown = await me.receive(NodeDown)
                self._reason = down.reason
            finally:
                self._link = None
                nursery.cancel_scope.cancel()
        return self._reason

    async def _show(self, look: Look, node: Node, peer: str, nursery: trio.Nursery) -> None:
        try:
            await look.run(node, peer, self.rights)
        except (WatchEnded, *TROUBLES) as error:
            self._reason = one_line(error)
            await trio.sleep(FIRST_PAUSE)  # the node's own word for it comes within that time
            nursery.cancel_scope.cancel()

    def _is_down(self, trouble: BaseException | str) -> None:
        self.is_up = False
        self.trouble = one_line(trouble) or type(trouble).__name__
        self.on_change()
