"""What a node has of other nodes: refs to their processes, calls and errors that come from there.

A `HeldRef` carries the token that proves that its serial number was handed out by its home node, and
remembers the node link that has seen it, so that it is presented once and only where it has to be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from actors import errors, signals
from actors.errors import CallError, RuntimeFault, UnknownMethod
from actors.reasons import Reason
from actors.ref import Carrier, LocalRef, Ref, RemoteRef

if TYPE_CHECKING:
    from actors.node import Node

__all__ = [
    "HeldRef",
    "NodeDown",
    "NodeUp",
    "NotConnected",
    "Refused",
    "RemoteCall",
    "RemoteNameRef",
    "arguments",
    "check_call",
    "check_method",
    "lower_fault",
    "revive_fault",
]


class Refused(RuntimeFault):
    """Another node did not let us do what we asked: its policy does not allow it."""


class NotConnected(CallError):
    """A node that was to do something is not connected, or was lost before it answered.

    What has become of it, and of what it was asked, cannot be known from here. `target` is its name.
    """

    def __init__(self, target: str, message: str | None = None) -> None:
        super().__init__(target, message or f"the node link to {target!r} was lost before the answer came")


FAULTS: Final[Mapping[str, type[RuntimeFault]]] = {
    fault.__name__: fault
    for fault in (Refused, NotConnected, *map(vars(errors).get, errors.__all__))
    if isinstance(fault, type) and issubclass(fault, RuntimeFault)
}


@attrs.frozen
class NodeUp:
    """A node link to the node `name` is up."""

    name: str


@attrs.frozen
class NodeDown:
    """The node link to the node `name` is over, for the `reason` given in words."""

    name: str
    reason: str


class PeerCarrier(Carrier, Protocol):
    """The carrier of a node that may have a node link now."""

    @property
    def peer(self) -> object | None:
        """The node link, or None."""

    @property
    def most_references(self) -> int:
        """How many refs of this node it may hold."""


class HeldRef(RemoteRef[Any]):
    """A ref to a process of another node, with the token that proves that it was handed out."""

    __slots__ = ("shown_to", "token")

    def __init__(
        self, home: Node, carrier: PeerCarrier, serial: int, token: bytes = b"", limit: float | None = None
    ) -> None:
        super().__init__(home, carrier, serial, limit)
        self.token = token
        self.shown_to: object = carrier.peer if not token else None

    def _limited_to(self, seconds: float) -> HeldRef:
        return HeldRef(self._home, self._carrier, self._serial, self.token, seconds)  # type: ignore[arg-type]


class RemoteNameRef(RemoteRef[Any]):
    """Whoever holds a name on another node at the moment when a signal arrives there."""

    __slots__ = ("target",)

    def __init__(self, home: Node, carrier: PeerCarrier, target: str, limit: float | None = None) -> None:
        super().__init__(home, carrier, 0, limit)
        self.target = target

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, RemoteNameRef)
            and self.target == other.target
            and self.node_name == other.node_name
            and self.incarnation == other.incarnation
        )

    def __hash__(self) -> int:
        return hash(self.target)

    def __repr__(self) -> str:
        return f"<{self.node_name}:{self.target}>"

    def _limited_to(self, seconds: float) -> RemoteNameRef:
        return RemoteNameRef(self._home, self._carrier, self.target, seconds)  # type: ignore[arg-type]


class RemoteCall(signals.Call):
    """A call from another node, as its callee sees it."""

    __slots__ = ("_answer", "_number")

    def __init__(
        self,
        answer: Callable[[int, bool, Any], None],
        number: int,
        method: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        super().__init__(method, args, kwargs)
        self._answer = answer
        self._number = number

    def reply(self, value: Any) -> None:
        if not self.settled:
            self.settled = True
            self._answer(self._number, True, value)

    def fail(self, error: BaseException) -> None:
        if not self.settled:
            self.settled = True
            self._answer(self._number, False, error)

    def abandon(self, reason: Reason) -> None:
        if not self.settled:
            self.settled = True
            self._answer(self._number, False, reason)


def arguments(value: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments in a peer's request.

    Raises:
        ValueError: they are none.
    """
    if type(value) is list and len(value) == 2:
        args, kwargs = value
        if type(args) is list and type(kwargs) is dict and all(type(name) is str for name in kwargs):
            return tuple(args), kwargs
    raise ValueError(f"not arguments: {value!r:.80}")


def check_call(ref: Ref[Any], method: str, args: tuple[Any, ...]) -> None:
    """As `check_method`; but a peer may also ask a process to stop.

    Raises:
        ValueError: not with a reason.
    """
    if method not in (signals.STOP, signals.DRAIN):
        check_method(ref, method)
    elif len(args) != 1 or not isinstance(args[0], Reason):
        raise ValueError(f"a process is asked to stop with a reason, not with {args!r:.80}")


def check_method(ref: Ref[Any], method: str) -> None:
    """A peer's call must name a public method: the callee's own code trusts its callers on that."""
    process = ref._process if isinstance(ref, LocalRef) else None
    if process is None or (process.handlers is not None and method in process.handlers):
        return
    body: Any = process.body
    protocol = getattr(body, "protocol", None)
    if protocol is not None and method not in protocol.handlers:
        raise UnknownMethod(method, type(body.actor))


def lower_fault(fault: RuntimeFault) -> list[Any]:
    """An error of the runtime as builtins and refs."""
    return [type(fault).__name__, str(fault), dict(vars(fault))]


def revive_fault(fields: list[Any]) -> RuntimeFault:
    """The error again. Its constructor is not called: it would compose the text anew."""
    name, text, values = fields
    kind = FAULTS[name]
    fault = kind.__new__(kind)
    fault.args = (text,)
    vars(fault).update(values)
    return fault
