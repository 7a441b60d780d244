"""Calls to guests, as guests know them, and calls of guests, as the node knows them."""

from __future__ import annotations

import inspect
from typing import Any, Protocol

from enfilade.actors.guests.guest_reasons import why
from enfilade.actors.messages import signals
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.request import Request
from enfilade.actors.processes.local_ref import LocalRef
from enfilade.actors.processes.process import Process
from enfilade.actors.processes.timers import Timer
from enfilade.hostcalls.abi.errors import SubsystemError
from enfilade.hostcalls.contracts.host import Request as GuestRequest
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.resources.message import Message, message_of

__all__ = ["METHODS", "CallOfGuest", "CallToGuest", "Callee", "check_place", "content_of"]


METHODS = {
    name: inspect.Signature([inspect.Parameter(parameter, inspect.Parameter.POSITIONAL_ONLY)])
    for name, parameter in {"request": "data", "exchange": "message", "work": "job"}.items()
}
"""The methods of `Guest` that every guest has that receives messages."""


def check_place(to: Ref[Any], message: bytes | Message, operation: str) -> None:
    """Raise unless the message can go where `to` is."""
    if is_a(message, Message) and message.resources and not isinstance(to, LocalRef):
        raise SubsystemError(f"{operation} failed: resources stay on their node")


def content_of(request: signals.Call | signals.Cast) -> bytes | Message | None:
    """Return the message in a call or cast of one of `METHODS`; None if there is none."""
    if request.method not in METHODS or len(request.args) != 1 or request.kwargs:
        return None
    return message_of(request.args[0])


class Callee(Protocol):
    """The host of a guest that was called."""

    def reply(self, call: signals.Call, answer: bytes | Message) -> None:
        """Answer a call that the guest has taken."""
        ...

    def abandon(self, call: signals.Call) -> None:
        """Fail a call that the guest has dropped."""
        ...


class CallToGuest(GuestRequest):
    """A call, as the guest knows it."""

    __slots__ = ("_host", "call")

    def __init__(self, host: Callee, call: signals.Call, message: bytes | Message) -> None:
        self.message = message
        self._host = host
        self.call = call

    def reply(self, answer: bytes | Message) -> None:
        self._host.reply(self.call, answer)

    def abandon(self) -> None:
        self._host.abandon(self.call)


class CallOfGuest(Future[Any]):
    """A call that a guest makes: the future of its answer, `bytes` or a `Message`.

    Attributes:
        request: what is delivered to the actor that is called.
    """

    __slots__ = ("_timer", "request")

    def __init__(self, process: Process, to: Ref[Any], method: str, message: bytes | Message) -> None:
        self.request: Request[Any] = Request(process.node, to, method, (message,), {}, process)
        super().__init__(self.request.cancel)
        self._timer: Timer | None = None
        self.request.observer = self._answered

    def limit_to(self, seconds: float | None) -> None:
        """Have the call fail after so many seconds, unless it is answered; None for any time."""
        request = self.request
        if seconds is not None and not request.settled:
            self._timer = request.node.timers.call_after(seconds, self._late)

    def _answered(self, request: Request[Any]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        answer = None if request.error is not None else message_of(request.value)
        if answer is not None:
            self.resolve(answer)
        else:
            detail = "the reply is not bytes" if request.error is None else why(request.error)
            self.fail(SubsystemError(f"call failed: {detail}"))

    def _late(self) -> None:
        if not self.request.settled:
            self.request.cancel()
            self.fail(SubsystemError("call failed: timeout"))
