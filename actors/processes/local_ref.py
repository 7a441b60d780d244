"""Refs to processes of this node: the hot paths of the runtime.

They are `LocalRef.send` and `LocalRef.call`. A call to an idle sync actor takes neither the mailbox nor a
task switch: nobody else wants the loop before the reply, so the caller runs the handler itself, as a door
hands its caller's processor to the server. A call to an idle async actor resumes that one's task within the
caller's step (`loop_bypass.py`), and need not wait either if the handler does not. The order of messages is
kept because the mailbox is empty, and a budget makes every n-th such call a checkpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio

from enfilade.actors.messages import signals
from enfilade.actors.messages.errors import CallingSelf, CallTimeout, NoProcess, Restarting
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.loop_bypass import IS_AVAILABLE
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.request import Deferred, Request
from enfilade.actors.messages.safe_text import safe_repr, safe_str
from enfilade.actors.messages.signals import NO_KWARGS, Cast
from enfilade.actors.processes.deadlock import begin_waiting
from enfilade.actors.processes.mailbox import wait_for_room
from enfilade.actors.processes.protocol import known_name, name_for

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.processes.process import Process

__all__ = ["LocalRef", "is_alive", "process_of", "process_serving", "the_process_of"]

A = TypeVar("A", covariant=True)

DEPTH: Final = 16 if IS_AVAILABLE else 0
"""How deep calls to async actors may be nested, each within the step of its caller."""


class Asked:
    """The answer of `LocalRef.ask` while there is none.

    Attributes:
        request: the call that was made; None if none was.
    """

    __slots__ = ("request",)

    def __init__(self, request: Request[Any] | None) -> None:
        self.request = request


NOT_ASKED: Final = Asked(None)


def shown_ref(node: str, serial: int, shown: str | None) -> str:
    """The text of a ref: the node, the process's number there, and its name or label."""
    return f"<{node}:{serial}{f' {safe_str(shown)}' if shown else ''}>"


class LocalRef(Ref[A]):
    """A process of this very node."""

    __slots__ = ("_process",)

    def __init__(self, process: Process, limit: float | None = None) -> None:
        self._process = process
        self.limit = limit

    @property
    def node_name(self) -> str:
        return self._process.node.full_name

    @property
    def incarnation(self) -> int:
        return self._process.node.incarnation

    @property
    def serial(self) -> int:
        return self._process.serial

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(other) is LocalRef:
            return self._process is other._process
        return Ref.__eq__(self, other)

    def __hash__(self) -> int:
        return self._process.serial

    def __repr__(self) -> str:
        process = self._process
        return shown_ref(process.node.full_name, process.serial, process.name or process.label)

    def name_of(self, method: Any) -> str:
        return name_for(self._process, method)

    def deliver(self, signal: signals.Signal) -> None:
        self._process.deliver(signal)

    def send(self, message: Any) -> None:
        process = self._process
        if process.idle:
            if process.waiter is None:
                dispatcher = process.dispatcher
                if dispatcher.parked is not None:
                    dispatcher.unpark()
                if process.idle:  # no finalizer has sent something meanwhile
                    dispatcher.queue.append(process)
                    process.idle = False
            elif process.wanted is None or process.wanted(message):
                process.wake()
        process.queue.append(message)

    def cast(self, method: Any, /, *args: Any, **kwargs: Any) -> None:
        process = self._process
        name = known_name(process, method) or name_for(process, method)
        message = Cast(name, args, kwargs or NO_KWARGS)
        if process.idle and (process.wanted is None or process.wanted(message)):
            process.wake()
        process.queue.append(message)

    async def send_wait(self, message: Any) -> None:
        process = self._process
        if len(process.queue) >= process.limit:
            await wait_for_room(process)
        self.send(message)

    async def call(self, method: Any, /, *args: Any, **kwargs: Any) -> Any:
        process = self._process
        dispatcher = process.dispatcher
        dispatcher.handoffs -= 1
        if not dispatcher.handoffs:
            dispatcher.renew_handoffs()
            await trio.lowlevel.checkpoint()
        names = process.names  # it has none of these any more when it has ended with this call
        answer = self.ask(method, args, kwargs)
        kind = type(answer)
        if kind is Deferred:
            deferred: Request[Any] = answer.request
            del answer  # which the callee may drop, and then is to fail the call
            try:
                return await self._answered_later(deferred, names.get(method))
            finally:
                del deferred  # see `Request.receive`
        if kind is not Asked:
            return answer
        request, limit = answer.request, self.limit
        node = process.node
        caller = node.current
        if request is None:
            name = self.name_of(method)
            if caller is process:
                raise CallingSelf(self)
            if process.ended is not None:
                await trio.lowlevel.checkpoint_if_cancelled()
                raise Restarting(self) if process.restarting else NoProcess(self)
            if len(process.queue) >= process.limit:
                limit = await self._room_for_call()
            request = Request(node, self, name, args, kwargs, caller)
            if len(process.queue) >= process.limit:
                self.deliver(request)
            elif caller is None and process.idle and process.waiter is None and dispatcher.running is None:
                # A guest, say: it gets its turn here, and has perhaps replied when this task would begin to
                # wait.
                dispatcher.run_then_dispatch(process.put, request)
            else:
                process.put(request)
        if caller is not None:
            begin_waiting(caller, request, limit)
        try:
            return await request.receive(limit)
        finally:
            del request, answer  # see `Request.receive`
            if caller is not None:
                caller.awaited = None

    def ask(self, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call `method` if the process waits for something to do, and can be had to do it on the spot.

        It has a twin in C (`actors/core/calls.c`). Not a checkpoint.

        Returns:
            The answer, which may be a deferred one; `Asked` if there is none yet.

        Raises:
            NotPublic: `method` is not a public method.
            Whatever the answer is.
        """
        process = self._process
        dispatcher = process.dispatcher
        name = known_name(process, method)
        if not process.idle or dispatcher.running is not None:
            return NOT_ASKED
        if process.waiter is None:
            if name is None:
                return NOT_ASKED
            if not process.attention:
                return process.body.hand_off(process.handlers[name], args, kwargs)
            if not process.passes_guard():
                return NOT_ASKED
            return process.hand_off(process.handlers[name], args, kwargs)
        node = process.node
        caller = node.current
        if (
            process.body.is_plain
            or dispatcher.depth >= DEPTH
            or len(process.queue) >= process.limit
            or caller is process
        ):
            return NOT_ASKED
        request: Request[Any] = Request(node, self, name or name_for(process, method), args, kwargs, caller)
        dispatcher.step_with(process, request)
        if not request.settled:
            return Asked(request)
        try:
            return request.value if request.error is None else request.result()
        finally:
            del request  # see `Request.receive`

    async def _answered_later(self, request: Request[Any], name: str | None) -> Any:
        """Wait for the answer to a call that was handed off, and that its handler has deferred."""
        caller = request.node.current
        if caller is not None:
            if not request.method:
                request.method = name or ""
            begin_waiting(caller, request, self.limit)
        try:
            return await request.receive(self.limit)
        finally:
            del request  # see `Request.receive`
            if caller is not None:
                caller.awaited = None

    async def _room_for_call(self) -> float | None:
        """Wait for room on behalf of a call, if that is the policy; what is left of its time limit."""
        process = self._process
        if process.mailbox.overflow != "block" or len(process.queue) < process.limit:
            return self.limit
        limit = process.node.config.call_timeout if self.limit is None else self.limit
        deadline = trio.current_time() + limit
        with trio.move_on_at(deadline) as scope:
            await wait_for_room(process)
        if scope.cancelled_caught:
            raise CallTimeout(self, limit)
        return deadline - trio.current_time()

    def _node(self) -> Node:
        return self._process.node

    def _limited_to(self, seconds: float) -> Ref[A]:
        return LocalRef(self._process, seconds)


def process_of(ref: Ref[Any] | None) -> Process | None:
    """The process of this node that `ref` leads to, ended or not; None for a name, and for other nodes."""
    if isinstance(ref, LocalRef):
        return ref._process
    return ref.process_here() if is_a(ref, Ref) else None


def is_alive(ref: Ref[Any] | None) -> bool:
    """Tell at a glance that `ref` is that of a living process of this node; false tells nothing."""
    return type(ref) is LocalRef and ref._process.ended is None


def process_serving(ref: Ref[Any] | None, method: str) -> Process | None:
    """The living process of this node that `ref` leads to, if its actor surely has that public method."""
    if type(ref) is not LocalRef:
        return None
    process = ref._process
    handlers = process.handlers
    return process if handlers is not None and method in handlers and process.ended is None else None


def the_process_of(ref: Ref[Any], why: str) -> Process:
    """The process of this node that `ref` leads to, ended or not.

    Args:
        ref: the ref.
        why: the text of the error about what is no process of this node, up to what it is.

    Raises:
        NoProcess: it was one of this node, of which nothing is left.
        TypeError: it is a name, or no ref, or leads to a process of another node.
    """
    process = process_of(ref)
    if process is not None:
        return process
    if is_a(ref, Ref) and type(ref).is_of_this_node:
        raise NoProcess(ref)
    raise TypeError(f"{why}, got {safe_repr(ref)}")
