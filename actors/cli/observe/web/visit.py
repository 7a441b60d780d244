"""The visit of one page: what it looks at, and what it has done.

A watch of a page has at most one update that the page has not drawn. What changes meanwhile is in the next
one, and the node is asked for more only then, so that a page that is slow costs the node nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import msgspec
import trio

from enfilade.actors.cli.observe import words
from enfilade.actors.cli.observe.actions import ACTIONS, Target, question, why_no_action
from enfilade.actors.cli.observe.web import orders
from enfilade.actors.cli.observe.web.audience import Audience
from enfilade.actors.cli.observe.web.view import View
from enfilade.actors.cli.observe.web.views import view_of
from enfilade.actors.cli.observe.web.websocket import WebSocket
from enfilade.actors.messages.errors import Refused

__all__ = ["Visit"]

MOST_WATCHES: Final = 16
"""Watches of a page."""

MOST_ACTS: Final = 4
"""Actions of a page that are under way at a time."""

MOST_UNDER_WAY: Final = 256 * 1024
"""Bytes of updates that a page has not drawn; one update may be longer."""

PACE: Final = 0.1
"""Seconds between two updates of a watch, at least."""

LARGEST_REFUSAL: Final = 300
"""Characters of the reason for which a wish is not shown."""

BY_KEY: Final = {action.key: action for action in ACTIONS}


class Visit:
    """A page that looks at nodes.

    Args:
        audience: the nodes.
        socket: the connection to the page.
    """

    def __init__(self, audience: Audience, socket: WebSocket) -> None:
        self._audience = audience
        self._socket = socket
        self._streams: dict[int, _Stream] = {}
        self._acts = 0
        self._nursery: trio.Nursery
        self.under_way = 0
        self.drawn = trio.Event()

    async def run(self) -> None:
        """Do what the page orders, until it leaves. A checkpoint.

        Raises:
            Broken: it has broken the protocol.
            trio.TooSlowError: it does not read, or shows no sign of life.
            trio.BrokenResourceError: the connection is lost.
        """
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._socket.ping)
                while (text := await self._socket.receive()) is not None:
                    await self._take(text)
                self._nursery.cancel_scope.cancel()
        finally:
            for number in list(self._streams):
                self._close(number)

    async def send(self, data: dict[str, Any]) -> int:
        """Send a message to the page; return its length in bytes. A checkpoint."""
        text = msgspec.json.encode(data)
        await self._socket.send(text.decode())
        return len(text)

    async def _take(self, text: str) -> None:
        try:
            order = orders.ORDERS.decode(text)
        except (msgspec.MsgspecError, RecursionError) as error:
            await self._socket.refuse(words.one_line(error)[:100])
            return
        match order:
            case orders.Watch():
                await self._watch(order)
            case orders.Change(watch=number, view=wish):
                if number in self._streams:
                    await self._change(self._streams[number], wish)
            case orders.Ack(watch=number, number=last):
                if number in self._streams:
                    self._streams[number].acknowledge(last)
            case orders.Close(watch=number):
                self._close(number)
            case orders.Act():
                await self._begin(order)

    # What it looks at.

    async def _watch(self, order: orders.Watch) -> None:
        if order.watch in self._streams or len(self._streams) >= MOST_WATCHES:
            await self._socket.refuse(f"a page may have {MOST_WATCHES} watches, each with its own number")
        stream = self._streams[order.watch] = _Stream(self, order)
        self._open(stream, order.view)
        self._nursery.start_soon(stream.run)

    def _open(self, stream: _Stream, given: msgspec.Raw) -> None:
        """Begin to show a wish, or say why it cannot be shown."""
        sights, order = self._audience.sights, stream.order
        with stream.refusing():
            if order.node >= len(sights):
                raise Refused("there is no such node")
            wish = orders.WISHES.decode(given)
            view = view_of(sights, order.node, wish, order.interval, stream.drawn)
            view.open()
            is_of_all = isinstance(wish, orders.ShowHead | orders.ShowAll)
            stream.view = view
            stream.nodes = list(range(len(sights))) if is_of_all else [order.node]
            self._audience.join(stream.nodes, stream.tell)

    async def _change(self, stream: _Stream, given: msgspec.Raw) -> None:
        if stream.view is None:
            self._open(stream, given)
            return
        with stream.refusing():
            wish = orders.WISHES.decode(given)
            if type(wish) is type(stream.view.wish):
                stream.view.change(wish)
                return
        if stream.refused is None:
            await self._socket.refuse("a watch shows one kind of view")

    def _close(self, number: int) -> None:
        stream = self._streams.pop(number, None)
        if stream is not None:
            if stream.view is not None:
                self._audience.leave(stream.nodes, stream.tell)
                stream.view.close()
            stream.close()

    # What it has done.

    async def _begin(self, order: orders.Act) -> None:
        if order.node >= len(self._audience.sights) or order.key not in BY_KEY:
            await self._socket.refuse("there is no such action or node")
        if self._acts >= MOST_ACTS:
            await self.send({"act": order.act, "problem": "wait for the actions before this one"})
            return
        self._acts += 1
        self._nursery.start_soon(self._act, order)

    async def _act(self, order: orders.Act) -> None:
        try:
            await self.send({"act": order.act, **await self._outcome(order)})
        finally:
            self._acts -= 1

    async def _outcome(self, order: orders.Act) -> dict[str, Any]:
        """The question, or what has become of it."""
        observed = self._audience.sights[order.node].observed
        action = BY_KEY[order.key]
        shown = words.one_line(order.shown)
        target = Target(
            order.serial, shown, order.life, order.is_supervisor, order.name, order.supervisor, order.child_id
        )
        problem = why_no_action(observed) or observed.is_over(order.life) or action.problem(order.given)
        if problem is not None:
            return {"problem": problem}
        arguments = action.arguments(order.serial, order.supervisor, order.child_id, order.given)
        if not arguments:
            whose = "a child of a supervisor" if action.is_of_a_child else "a process that runs"
            return {"problem": f"{shown} is not {whose}"}
        if not order.is_confirmed:
            asked = await question(observed, action, target, order.given)
            return {"question": {"title": asked.title, "lines": asked.lines, "typed": asked.typed}}
        problem = await observed.act(order.life, action.method, *arguments)
        return {"problem": problem} if problem else {"done": f"{action.title} {shown}: done"}


class _Stream:
    """The updates of one watch.

    Attributes:
        order: what began it.
        view: what it shows; None as long as no wish could be shown.
        nodes: the numbers of the nodes that are looked at for it.
        refused: why the wish cannot be asked for; None.
    """

    def __init__(self, visit: Visit, order: orders.Watch) -> None:
        self._visit = visit
        self.order = order
        self.view: View | None = None
        self.nodes: list[int] = []
        self.refused: str | None = None
        self._news = trio.Event()
        self._served = trio.Event()
        self._acknowledged = trio.Event()
        self._sent = 0
        self._scope = trio.CancelScope()
        self.tell = partial(_Stream._tell, self)  # one object, by which the audience knows it

    def _tell(self) -> None:
        self._news.set()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Have what cannot be shown within the block shown as refused. Not a checkpoint."""
        self.refused = None
        try:
            yield
        except (Refused, msgspec.MsgspecError, RecursionError) as error:
            self.refused = words.one_line(error)[:LARGEST_REFUSAL]
        self.tell()

    async def drawn(self) -> None:
        """Have the newest state drawn. A checkpoint; returns when the page has drawn it."""
        served = self._served
        self.tell()
        await served.wait()

    def acknowledge(self, number: int) -> None:
        """The page has drawn the update of that number. Not a checkpoint."""
        if number == self._sent:
            self._acknowledged.set()

    def close(self) -> None:
        """Send nothing more. Not a checkpoint."""
        self._scope.cancel()

    async def run(self) -> None:
        """Send updates, each when the one before has been drawn. A checkpoint."""
        last: dict[str, Any] | None = None
        with self._scope:
            while True:
                await self._news.wait()
                self._news = trio.Event()
                served, self._served = self._served, trio.Event()
                state = self._state()
                if state != last:
                    last = state
                    await self._send(state)
                    await trio.sleep(PACE)
                served.set()

    def _state(self) -> dict[str, Any]:
        view = self.view
        if view is None:
            return {"state": None, "refused": self.refused, "is_up": True}
        return {
            "state": None if self.refused else view.shown(),
            "refused": self.refused or view.refused,
            "is_up": view.sight.observed.is_up,
        }

    async def _send(self, state: dict[str, Any]) -> None:
        visit = self._visit
        while visit.under_way >= MOST_UNDER_WAY:
            await visit.drawn.wait()
        self._sent += 1
        self._acknowledged = trio.Event()
        length = 0
        try:
            length = await visit.send({"watch": self.order.watch, "number": self._sent, **state})
            visit.under_way += length
            await self._acknowledged.wait()
        finally:
            visit.under_way -= length
            visit.drawn.set()
            visit.drawn = trio.Event()
