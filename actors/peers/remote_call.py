"""Calls from other nodes: the call as its callee sees it, and the check of what a peer asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from enfilade.actors.messages import signals
from enfilade.actors.messages.reasons import Reason
from enfilade.actors.messages.ref import Ref
from enfilade.actors.processes.handlers import check_method

__all__ = ["RemoteCall", "arguments", "check_call"]


class RemoteCall(signals.Call):
    """A call from another node, as its callee sees it."""

    __slots__ = ("_answer", "_number", "given_up_by")

    def __init__(
        self,
        answer: Callable[[int, bool, Any], None],
        number: int,
        method: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        caller: Ref[Any] | None,
    ) -> None:
        super().__init__(method, args, kwargs, caller)
        self.given_up_by: Ref[Any] | None = None
        self._answer = answer
        self._number = number

    def give_up(self, caller: Ref[Any]) -> None:
        """Note that `caller`, which asked, waits no longer."""
        if not self.settled:
            self.settled = True
            self.given_up_by = caller

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
    """Take apart the arguments in a peer's request.

    Raises:
        ValueError: the value does not hold arguments.
    """
    if type(value) is list and len(value) == 2:
        args, kwargs = value
        if type(args) is list and type(kwargs) is dict and all(type(name) is str for name in kwargs):
            return tuple(args), kwargs
    raise ValueError(f"expected a list of positional and a dict of keyword arguments, got {value!r:.80}")


def check_call(ref: Ref[Any], method: str, args: tuple[Any, ...]) -> None:
    """Check a method as `check_method` does; a peer may also ask a process to stop.

    Raises:
        ValueError: the order to stop has no reason.
    """
    if method == signals.ROOM:
        return
    if method not in (signals.STOP, signals.DRAIN):
        check_method(ref, method)
    elif len(args) != 1 or not isinstance(args[0], Reason):
        raise ValueError(f"the order to stop must have one exit reason, got {args!r:.80}")
