"""Following calls: layers over what every caller waits by, and over what answers the calls of other nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from enfilade.actors.messages.layers import put_on, take_off
from enfilade.actors.messages.request import Request
from enfilade.actors.peers.remote_node import RemoteNode
from enfilade.actors.simulation.checkers.calls import Calls, Question
from enfilade.actors.simulation.machine.custody import LIFE

__all__ = ["calls_followed"]


@contextmanager
def calls_followed(calls: Calls, now: Callable[[], float]) -> Iterator[None]:
    """Note the calls that hosts make, and those of others that they answer, for the length of a block.

    Args:
        calls: where to.
        now: tells the time of the world.
    """

    def followed(plain: Callable[..., Any]) -> Callable[..., Any]:
        async def receive(self: Request[Any], timeout: float | None = None, *, gives_up: bool = True) -> Any:
            life = LIFE.get()
            if life is None:
                return await plain(self, timeout, gives_up=gives_up)
            limit = self.node.config.call_timeout if timeout is None else timeout
            target, began = self.target, now()
            due = life.local(began) + limit
            question = Question(
                began, life.name, life.number, self.method, target, target.node_name, limit, due
            )
            calls.begin(question)
            try:
                value = await plain(self, timeout, gives_up=gives_up)
            finally:
                calls.end(question, life.local(now()), now() - life.released)
            number = getattr(self, "number", 0)
            if number:
                calls.receive(question, (self.node.full_name, self.node.incarnation, number), value)
            return value

        return receive

    def answering(plain: Callable[..., Any]) -> Callable[..., Any]:
        def answer(self: RemoteNode, number: int, succeeded: bool, value: Any) -> None:
            life = LIFE.get()
            if life is not None and not life.is_over:
                key = self.node_name, self.incarnation, number
                calls.answer(key, self._node.full_name, value if succeeded else None)
            plain(self, number, succeeded, value)

        return answer

    with ExitStack() as stack:
        for owner, name, layer in ((Request, "receive", followed), (RemoteNode, "answer", answering)):
            put_on(owner, name, layer)
            stack.callback(take_off, owner, name, layer)
        yield
