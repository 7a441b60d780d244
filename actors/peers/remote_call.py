"""Calls from other nodes: the call as its callee sees it, and the check of what a peer asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from enfilade.actors.messages import signals
from enfilade.actors.messages.errors import LiveResult
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.live import live_kind
from enfilade.actors.messages.reasons import Reason
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.messages.trace_context import TraceContext

__all__ = ["ENDINGS", "RemoteCall", "arguments", "check_order"]

ENDINGS: Final = frozenset({signals.STOP, signals.DRAIN})
"""The orders to stop, which are calls."""


_STR: Final = frozenset({str})


class RemoteCall(signals.Call):
    """A call from another node, as its callee sees it.

    Attributes:
        number: the caller's.
        size: bytes of its arguments as they came.
        trace: the context of the trace that it belongs to; None.
        peer: the name of the caller's node.
        given_up_by: the caller, when it waits no longer.
    """

    __slots__ = ("_answer", "_to_tell", "given_up_by", "number", "peer", "size", "trace")

    def __init__(
        self,
        answer: Callable[[int, bool, Any], None],
        number: int,
        method: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        caller: Ref[Any] | None,
        size: int = 0,
        peer: str | None = None,
    ) -> None:
        # As the base does, without a call of it.
        self.method = method
        self.args = args
        self.kwargs = kwargs
        self.caller = caller
        self.settled = False
        self.given_up_by: Ref[Any] | None = None
        self._to_tell: Callable[[], None] | None = None
        self._answer = answer
        self.number = number
        self.size = size
        self.trace: TraceContext | None = None
        self.peer: str | None = peer

    def give_up(self, caller: Ref[Any]) -> None:
        """Note that `caller`, which asked, waits no longer."""
        if not self.settled:
            self.settled = True
            self.given_up_by = caller
            if self._to_tell is not None:
                self._to_tell()

    def when_given_up(self, fn: Callable[[], None]) -> None:
        self._to_tell = fn
        if self.settled:
            fn()

    def reply(self, value: Any) -> None:
        if not self.settled:
            live = live_kind(value)
            if live is not None:
                self.fail(LiveResult(self.method, live))
                return
            self.settled = True
            self._answer(self.number, True, value)

    def fail(self, error: BaseException) -> None:
        if not self.settled:
            self.settled = True
            told: Any = error
            if not is_a(told, Exception, str):  # it would harm the caller, who is told in words
                told = safe_repr(told)
            self._answer(self.number, False, told)

    def abandon(self, reason: Reason) -> None:
        if not self.settled:
            self.settled = True
            self._answer(self.number, False, reason)


def arguments(value: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Take apart the arguments in a peer's request.

    Raises:
        ValueError: the value does not hold arguments.
    """
    if type(value) is list and len(value) == 2:
        args, kwargs = value
        if type(args) is list and type(kwargs) is dict and (not kwargs or _STR.issuperset(map(type, kwargs))):
            return tuple(args), kwargs
    raise ValueError(
        f"expected a list of positional and a dict of keyword arguments, got {safe_repr(value, 80)}"
    )


def check_order(args: tuple[Any, ...]) -> None:
    """Check the arguments of an order to stop.

    Raises:
        ValueError: it has no reason.
    """
    if len(args) != 1 or not isinstance(args[0], Reason):
        raise ValueError(f"the order to stop must have one exit reason, got {safe_repr(args, 80)}")
