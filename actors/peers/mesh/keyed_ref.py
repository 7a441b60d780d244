"""Refs to keyed actors: they reach the actor of a key, on whichever node it is, and start it if need be."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import trio

from enfilade.actors.messages import signals
from enfilade.actors.messages.errors import CallTimeout, Moved, NotConnected
from enfilade.actors.messages.reasons import NORMAL, Reason
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_text import safe_str

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.transport.wire import Keyed

__all__ = ["ArrivedRef", "HereRef", "KeyedRef"]

T = TypeVar("T")

PAUSE: Final = 0.1
"""Seconds before a call is made again to an actor that has moved: the registry may be behind."""


class Kinds(Protocol):
    """The keyed actors of the mesh: `keyed.KeyedActors`."""

    def known(self, ref: KeyedRef) -> Ref[Any] | None: ...

    async def find(self, ref: KeyedRef, deadline: float) -> Ref[Any]: ...

    def forget(self, ref: KeyedRef) -> None: ...

    def deliver(self, ref: KeyedRef, signal: signals.Signal) -> None: ...

    def deliver_here(self, ref: HereRef, signal: signals.Signal) -> None: ...

    def take_in(self, ref: ArrivedRef, signal: signals.Signal) -> None: ...


class _KeyRef(Ref[Any]):
    """What refs to keyed actors share: a kind and a key instead of a process.

    Attributes:
        kind: the name of the kind.
        key: the key; empty for a single actor.
    """

    __slots__ = ("_home", "_kinds", "key", "kind")

    is_name = True

    def __init__(self, node: Node, kinds: Kinds, kind: str, key: str, limit: float | None = None) -> None:
        self._home = node
        self._kinds = kinds
        self.kind = kind
        self.key = key
        self.limit = limit

    @property
    def node_name(self) -> str:
        return self._home.full_name

    @property
    def incarnation(self) -> int:
        return self._home.incarnation

    @property
    def serial(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _KeyRef) and (self.kind, self.key) == (other.kind, other.key)

    def __hash__(self) -> int:
        return hash((self.kind, self.key))

    def __repr__(self) -> str:
        return f"<{safe_str(self.kind)}/{safe_str(self.key)}>" if self.key else f"<{safe_str(self.kind)}>"

    def _node(self) -> Node:
        return self._home

    def _limited_to(self, seconds: float) -> Ref[Any]:
        return type(self)(self._home, self._kinds, self.kind, self.key, seconds)


class HereRef(_KeyRef):
    """The actor of a key whose shard this node has; it runs, or is started now."""

    __slots__ = ()

    def deliver(self, signal: signals.Signal) -> None:
        self._kinds.deliver_here(self, signal)


class ArrivedRef(_KeyRef):
    """The actor of a key that another node takes this one to have.

    Attributes:
        target: how the other node's frame names it.
    """

    __slots__ = ("target",)

    def __init__(self, node: Node, kinds: Kinds, target: Keyed) -> None:
        super().__init__(node, kinds, target.kind, target.key)
        self.target = target

    def deliver(self, signal: signals.Signal) -> None:
        self._kinds.take_in(self, signal)


class KeyedRef(_KeyRef):
    """The actor of a key, or the single actor of a kind, on whichever node of the mesh it is.

    Messages and calls start it, wherever its shard is; what comes while the shard has no node waits. A call,
    or an order to stop, that was certainly not carried out, because the actor is on another node by now, is
    made again, within its time limit. To monitor it is to watch the actor that there is now, and an exit
    signal is for that one: both ask the registry who has it. It cannot be linked to. `send_wait`
    waits for the way to its node, and for room in its mailbox on this node only. Two are equal when their
    kinds and keys are.
    """

    __slots__ = ()

    def deliver(self, signal: signals.Signal) -> None:
        if isinstance(signal, signals.Link):
            raise TypeError(f"{self} is a key, which has one actor after another: monitor it instead")
        self._kinds.deliver(self, signal)

    async def send_wait(self, message: Any) -> None:
        ref = self._kinds.known(self) or await self._kinds.find(self, math.inf)
        await ref.send_wait(message)

    async def stop(
        self, reason: Reason = NORMAL, timeout: float | None = None, *, drain: bool = False
    ) -> None:
        limit = math.inf if timeout is None else timeout
        await self._ask(timeout, limit, lambda ref: ref.stop(reason, ref.limit, drain=drain))

    async def _ask(self, limit: float | None, seconds: float, ask: Callable[[Ref[Any]], Awaitable[T]]) -> T:
        """Ask the actor, wherever it is, and again while it was certainly not asked.

        Args:
            limit: of the first question, where the way is known; None for what the node says.
            seconds: for all of it.
            ask: asks a process within the time limit of a ref.
        """
        home, kinds = self._home, self._kinds
        dispatcher = home.dispatcher
        if dispatcher.handoffs <= 1:
            # A call to a process of this node may begin with a checkpoint, after which it might be over.
            dispatcher.renew_handoffs()
            await trio.lowlevel.checkpoint()
        deadline = trio.current_time() + seconds
        known = kinds.known(self)
        if known is not None and limit is not None:
            known = known.within(limit)
        while True:
            if known is None:
                found = await kinds.find(self, deadline)
                known = found.within(max(0.0, deadline - trio.current_time()))
                dispatcher.renew_handoffs()
            try:
                return await ask(known)
            except Moved:
                kinds.forget(self)
            except NotConnected:
                kinds.forget(self)
                raise
            if trio.current_time() + PAUSE >= deadline:
                raise CallTimeout(self, seconds)
            await trio.sleep(PAUSE)
            known = None

    if not TYPE_CHECKING:  # type checkers are to see what `Ref` says

        async def call(self, method: Any, /, *args: Any, **kwargs: Any) -> Any:
            seconds = self._home.config.call_timeout if self.limit is None else self.limit
            return await self._ask(self.limit, seconds, lambda ref: ref.call(method, *args, **kwargs))
