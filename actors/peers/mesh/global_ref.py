"""Refs to global names: they reach whoever holds the name, on whichever node."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import trio

from enfilade.actors.messages import signals
from enfilade.actors.messages.errors import CallError, CallTimeout, NoProcess, NotConnected, Restarting
from enfilade.actors.messages.methods import method_name
from enfilade.actors.messages.reasons import NORMAL, Reason
from enfilade.actors.messages.ref import NameRef, Ref

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node

__all__ = ["GlobalRef", "Holders"]

T = TypeVar("T")


class Holders(Protocol):
    """The holders of global names: `global_names.GlobalNames`."""

    def here(self, name: str) -> Ref[Any] | None: ...

    def known(self, name: str) -> Ref[Any] | None: ...

    def forget(self, name: str) -> None: ...

    async def whereis(self, name: str) -> Ref[Any] | None: ...

    async def find(self, name: str) -> Ref[Any] | None: ...

    def deliver(self, ref: GlobalRef, signal: signals.Signal) -> None: ...


class GlobalRef(NameRef[Any]):
    """The holder of a global name at the moment of use.

    The first use asks the registry; who was found is remembered. A call, or an order to stop, that certainly
    was not carried out, because that process is no more, is made once more after the registry was asked anew.
    Messages and casts are not repeated. To monitor it, and to send it an exit signal, is to ask the registry
    in any case, and it can be linked to only where its holder is a process of the same node. Two are equal
    when their names are.
    """

    __slots__ = ("_holders",)

    def __init__(self, node: Node, holders: Holders, name: str, limit: float | None = None) -> None:
        super().__init__(node, name, limit)
        self._holders = holders

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GlobalRef) and self.name == other.name and self._home is other._home

    def __hash__(self) -> int:
        return hash(("global", self.name))

    def __repr__(self) -> str:
        return f"<global {self.name}>"

    def resolve(self) -> Ref[Any]:
        """Return who holds the name, as far as that is known without asking.

        Raises:
            NoProcess: it is not known.
        """
        ref = self._holders.known(self.name)
        if ref is None:
            raise NoProcess(self.name)
        return ref if self.limit is None else ref.within(self.limit)

    def present(self) -> Ref[Any] | None:
        return self._holders.here(self.name) or self

    def resolve_here(self) -> Ref[Any]:
        ref = self._holders.here(self.name)
        if ref is None:
            raise TypeError(
                f"{self} need not be held on this node: use the process that `await node.mesh.whereis` finds"
            )
        return ref

    def name_of(self, method: Any) -> str:
        holder = self._holders.known(self.name)
        return method_name(method) if holder is None else holder.name_of(method)

    def deliver(self, signal: signals.Signal) -> None:
        self._holders.deliver(self, signal)

    def send(self, message: Any) -> None:
        self.deliver(signals.Send(message))

    async def send_wait(self, message: Any) -> None:
        await (await self._found()).send_wait(message)

    async def stop(
        self, reason: Reason = NORMAL, timeout: float | None = None, *, drain: bool = False
    ) -> None:
        limit = math.inf if timeout is None else timeout
        await self._ask(limit, lambda ref, left: ref.stop(reason, left, drain=drain))

    async def _ask(self, limit: float, ask: Callable[[Ref[Any], float], Awaitable[T]]) -> T:
        """Ask the holder, and once more whom the registry names then if it certainly was not asked.

        Args:
            limit: seconds for all of it.
            ask: asks a process within so many seconds.
        """
        deadline = trio.current_time() + limit
        with trio.move_on_at(deadline) as scope:
            first = await self._found()
        if scope.cancelled_caught:
            raise CallTimeout(self, limit)
        absent: CallError
        try:
            return await ask(first, _left(deadline))
        except NotConnected:
            self._holders.forget(self.name)
            raise
        except (NoProcess, Restarting) as error:  # a child that waits for a name that another one has got
            self._holders.forget(self.name)
            absent = error
        with trio.move_on_at(deadline) as scope:
            second = await self._holders.whereis(self.name)
        if scope.cancelled_caught:
            raise CallTimeout(self, limit)
        if second is None:
            raise NoProcess(self.name)
        if second == first:
            raise absent
        return await ask(second, _left(deadline))

    async def _found(self) -> Ref[Any]:
        ref = await self._holders.find(self.name)
        if ref is None:
            raise NoProcess(self.name)
        return ref

    if not TYPE_CHECKING:  # type checkers are to see what `Ref` says

        def cast(self, method: Any, /, *args: Any, **kwargs: Any) -> None:
            self.deliver(signals.Cast(self.name_of(method), args, kwargs))

        async def call(self, method: Any, /, *args: Any, **kwargs: Any) -> Any:
            limit = self._home.config.call_timeout if self.limit is None else self.limit
            return await self._ask(limit, lambda ref, left: ref.within(left).call(method, *args, **kwargs))

    def _limited_to(self, seconds: float) -> GlobalRef:
        return GlobalRef(self._home, self._holders, self.name, seconds)


def _left(deadline: float) -> float:
    return max(0.0, deadline - trio.current_time())
