"""Refs to global names: they reach whoever holds the name, on whichever node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import trio

from enfilade.actors.messages import signals
from enfilade.actors.messages.errors import CallTimeout, NoProcess, NotConnected
from enfilade.actors.messages.methods import method_name
from enfilade.actors.messages.reasons import NORMAL, Reason
from enfilade.actors.messages.ref import NameRef, Ref

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node

__all__ = ["GlobalRef", "Holders"]


class Holders(Protocol):
    """The holders of global names: `global_names.GlobalNames`."""

    def known(self, name: str) -> Ref[Any] | None: ...

    def forget(self, name: str) -> None: ...

    async def whereis(self, name: str) -> Ref[Any] | None: ...

    async def find(self, name: str) -> Ref[Any] | None: ...

    def deliver(self, ref: GlobalRef, signal: signals.Signal) -> None: ...


class GlobalRef(NameRef[Any]):
    """The holder of a global name at the moment of use.

    The first use asks the registry; who was found is remembered. A call that certainly was not carried out,
    because that process is no more, is made once more after the registry was asked anew. Messages and casts
    are not repeated. Two are equal when their names are.
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
        await (await self._found()).stop(reason, timeout, drain=drain)

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
            deadline = trio.current_time() + limit
            with trio.move_on_at(deadline) as scope:
                first = await self._found()
            if scope.cancelled_caught:
                raise CallTimeout(self, limit)
            try:
                return await first.within(_left(deadline)).call(method, *args, **kwargs)
            except NotConnected:
                self._holders.forget(self.name)
                raise
            except NoProcess:
                self._holders.forget(self.name)
            with trio.move_on_at(deadline) as scope:
                second = await self._holders.whereis(self.name)
            if scope.cancelled_caught:
                raise CallTimeout(self, limit)
            if second is None or second == first:
                raise NoProcess(self.name)
            return await second.within(_left(deadline)).call(method, *args, **kwargs)

    def _limited_to(self, seconds: float) -> GlobalRef:
        return GlobalRef(self._home, self._holders, self.name, seconds)


def _left(deadline: float) -> float:
    return max(0.0, deadline - trio.current_time())
