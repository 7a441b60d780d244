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

__all__ = ["GlobalRef", "HolderSeeker", "Holders"]


class Holders(Protocol):
    """The holders of global names: `global_names.GlobalNames`."""

    def here(self, name: str) -> Ref[Any] | None: ...

    def known(self, name: str) -> Ref[Any] | None: ...

    def known_now(self, name: str) -> Ref[Any] | None: ...

    def forget(self, name: str) -> None: ...

    async def whereis(self, name: str) -> Ref[Any] | None: ...

    async def find(self, name: str) -> Ref[Any] | None: ...

    def deliver(self, ref: GlobalRef, signal: signals.Signal) -> None: ...


class HolderSeeker:
    """Seeks the holders of global names, for the refs of one node.

    Args:
        holders: finds them.
    """

    absences = (NoProcess, Restarting)  # the latter: a child that waits for a name that another one has got

    def __init__(self, holders: Holders) -> None:
        self.holders = holders

    def known(self, ref: GlobalRef, now: float | None = None) -> Ref[Any] | None:
        """See `Seeker`."""
        return self.holders.known_now(ref.name)

    def forget(self, ref: GlobalRef) -> None:
        """See `Seeker`."""
        self.holders.forget(ref.name)

    async def find(self, ref: GlobalRef, limit: TimeLimit) -> Ref[Any]:
        """See `Seeker`."""
        return await self._in_time(self.holders.find, ref, limit)

    async def next_after(
        self, ref: GlobalRef, found: Ref[Any], asked: int, error: CallError, limit: TimeLimit
    ) -> Ref[Any]:
        """See `Seeker`."""
        if asked > 1:
            raise error
        holder = await self._in_time(self.holders.whereis, ref, limit)
        if holder == found:
            raise error
        return holder

    async def _in_time(
        self, find: Callable[[str], Awaitable[Ref[Any] | None]], ref: GlobalRef, limit: TimeLimit
    ) -> Ref[Any]:
        with trio.move_on_at(limit.deadline) as scope:
            holder = await find(ref.name)
        if scope.cancelled_caught:
            raise CallTimeout(ref, limit.seconds)
        if holder is None:
            raise NoProcess(ref.name)
        return holder


class GlobalRef(SoughtRef, NameRef[Any]):
    """The holder of a global name at the moment of use.

    The first use asks the registry; who was found is remembered. A call, or an order to stop, that certainly
    was not carried out, because that process is no more, is made once more after the registry was asked anew.
    Messages and casts are not repeated. To monitor it, and to send it an exit signal, is to ask the registry
    in any case, and it can be linked to only where its holder is a process of the same node. Two are equal
    when their names are.
    """

    __slots__ = ("_seeker",)

    _seeker: HolderSeeker

    def __init__(self, node: Node, seeker: HolderSeeker, name: str, limit: float | None = None) -> None:
        super().__init__(node, name, limit)
        self._seeker = seeker

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
        ref = self._seeker.holders.known(self.name)
        if ref is None:
            raise NoProcess(self.name)
        return ref if self.limit is None else ref.within(self.limit)

    def present(self) -> Ref[Any] | None:
        return self._seeker.holders.here(self.name) or self

    def resolve_here(self) -> Ref[Any]:
        ref = self._seeker.holders.here(self.name)
        if ref is None:
            raise TypeError(
                f"{self} may be held by another node: use the ref that `await node.mesh.whereis(...)` returns"
            )
        return ref

    def name_of(self, method: Any) -> str:
        holder = self._seeker.holders.known(self.name)
        return method_name(method) if holder is None else holder.name_of(method)

    def deliver(self, signal: signals.Signal) -> None:
        self._seeker.holders.deliver(self, signal)

    def send(self, message: Any) -> None:
        self.deliver(signals.Send(message))

    if not TYPE_CHECKING:  # type checkers are to see what `Ref` says

        def cast(self, method: Any, /, *args: Any, **kwargs: Any) -> None:
            self.deliver(signals.Cast(self.name_of(method), args, kwargs))

    def _limited_to(self, seconds: float) -> GlobalRef:
        return GlobalRef(self._home, self._seeker, self.name, seconds)
