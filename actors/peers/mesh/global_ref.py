"""Refs to global names: they reach whoever holds the name, on whichever node."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

import trio

from enfilade.actors.messages import signals
from enfilade.actors.messages.errors import CallError, CallTimeout, NoProcess, Restarting
from enfilade.actors.messages.methods import method_name
from enfilade.actors.messages.ref import NameRef, Ref
from enfilade.actors.peers.mesh.sought_ref import SoughtRef, TimeLimit

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node

__all__ = ["GlobalRef", "Holders"]


class Holders(Protocol):
    """The holders of global names: `global_names.GlobalNames`."""

    def here(self, name: str) -> Ref[Any] | None: ...

    def known(self, name: str) -> Ref[Any] | None: ...

    def known_now(self, name: str) -> Ref[Any] | None: ...

    def forget(self, name: str) -> None: ...

    async def whereis(self, name: str) -> Ref[Any] | None: ...

    async def find(self, name: str) -> Ref[Any] | None: ...

    def deliver(self, ref: GlobalRef, signal: signals.Signal) -> None: ...


class GlobalRef(SoughtRef, NameRef[Any]):
    """The holder of a global name at the moment of use.

    The first use asks the registry; who was found is remembered. A call, or an order to stop, that certainly
    was not carried out, because that process is no more, is made once more after the registry was asked anew.
    Messages and casts are not repeated. To monitor it, and to send it an exit signal, is to ask the registry
    in any case, and it can be linked to only where its holder is a process of the same node. Two are equal
    when their names are.
    """

    __slots__ = ("_holders",)

    _absences = (NoProcess, Restarting)  # the latter: a child that waits for a name that another one has got

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

    def _known(self) -> Ref[Any] | None:
        return self._holders.known_now(self.name)

    def _forget(self) -> None:
        self._holders.forget(self.name)

    async def _find(self, limit: TimeLimit) -> Ref[Any]:
        return await self._in_time(self._holders.find, limit)

    async def _next_after(self, ref: Ref[Any], asked: int, error: CallError, limit: TimeLimit) -> Ref[Any]:
        if asked > 1:
            raise error
        holder = await self._in_time(self._holders.whereis, limit)
        if holder == ref:
            raise error
        return holder

    async def _in_time(self, find: Callable[[str], Awaitable[Ref[Any] | None]], limit: TimeLimit) -> Ref[Any]:
        with trio.move_on_at(limit.deadline) as scope:
            holder = await find(self.name)
        if scope.cancelled_caught:
            raise CallTimeout(self, limit.seconds)
        if holder is None:
            raise NoProcess(self.name)
        return holder

    if not TYPE_CHECKING:  # type checkers are to see what `Ref` says

        def cast(self, method: Any, /, *args: Any, **kwargs: Any) -> None:
            self.deliver(signals.Cast(self.name_of(method), args, kwargs))

    def _limited_to(self, seconds: float) -> GlobalRef:
        return GlobalRef(self._home, self._holders, self.name, seconds)
