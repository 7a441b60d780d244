"""Exchanges: what passes between a guest that serves and whoever wants something of it, in one go.

A guest that serves waits for a message, answers it, and waits for the next. While it does nothing else, the
engine gives it one after the other and brings back what it answers (`enfilade.hostcalls.engine.exchange`): a
batch of messages, the request of a process, or a conversation with another guest. The guest's host does not
see what passes meanwhile, so this is done only where nobody could tell: nobody observes, traces, counts or
upgrades the guest. As soon as the guest does something else, its host is brought to where it would be, and
goes on.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from enfilade.actors.guests.guest_calls import METHODS, Callee, CallOfGuest, CallToGuest
from enfilade.actors.messages.layers import are_on
from enfilade.actors.messages.request import Request
from enfilade.actors.messages.signals import Call
from enfilade.actors.messages.traced import trace_of
from enfilade.actors.processes.local_ref import LocalRef, process_of
from enfilade.hostcalls.contracts.quick import DONE, Again, Done, Later
from enfilade.hostcalls.engine.exchange import NO_FUTURE
from enfilade.hostcalls.resources.registry import Kind

if TYPE_CHECKING:
    from enfilade.actors.guests.guest_trace import GuestTrace
    from enfilade.actors.guests.handover import Handover
    from enfilade.actors.guests.trial import Trial
    from enfilade.actors.messages.ref import Ref
    from enfilade.actors.processes.process import Process
    from enfilade.hostcalls.abi.received import Wish
    from enfilade.hostcalls.contracts.host import Incoming
    from enfilade.hostcalls.contracts.inbox import Inbox, WaitingReceive
    from enfilade.hostcalls.kernel.execution import Execution

__all__ = ["Service"]

_BATCH = 64
"""Messages that are given in one go."""

_BATCH_BYTES = 65_536
"""Bytes beyond which a batch gets no more messages."""

_SECONDS = 0.0005
"""Seconds after which other processes get their turn."""


class Server(Callee, Protocol):
    """The guest's host (`guest_host.py`), as its exchanges know it."""

    execution: Execution
    trace: GuestTrace
    receives: bool
    upgrade: Handover | None
    trial: Trial | None

    def taken(self, message: Any, incoming: Incoming) -> None:
        """The guest has got this message, and it is no longer in the mailbox."""
        ...


class Service:
    """The exchanges of one guest."""

    __slots__ = ("_host", "_inbox", "_process")

    def __init__(self, host: Server, inbox: Inbox, process: Process) -> None:
        self._host = host
        self._inbox = inbox
        self._process = process

    @property
    def _is_unseen(self) -> bool:
        """Whether nobody looks on at what the guest does, and it could go on."""
        host = self._host
        return (
            host.upgrade is None
            and host.trial is None
            and not self._process.attention
            and not host.trace.is_there
            and host.execution.is_free
        )

    def look(self) -> bool:
        """Give the guest what has come in, if an exchange can.

        Returns true if it then waits for more, with nothing else to do.
        """
        host, queue = self._host, self._process.queue
        waiting = self._inbox.in_exchange
        if waiting is None or not host.receives or not self._is_unseen:
            return False
        clock = self._process.node.runtime.monotonic
        until = clock() + _SECONDS
        while True:
            message = queue[0]
            kind = type(message)
            if kind is bytes:
                is_done = self._give(waiting)
            elif kind is Request or (issubclass(kind, Call) and trace_of(message) is None):
                is_done = self._ask(waiting, message)
            else:
                is_done = False
            if not is_done:
                return False
            if not queue or clock() >= until:
                return True

    def _give(self, waiting: WaitingReceive) -> bool:
        """Give the guest the messages that are there; true if it waits for more of them."""
        wish = waiting.wish
        assert wish is not None
        batch = self._batch(wish)
        if not batch:
            return False
        given, _ = self._host.execution.feed(waiting.key, wish, batch)
        self._remove(given)
        return self._goes_on(waiting)

    def _ask(self, waiting: WaitingReceive, call: Call) -> bool:
        """Give the guest a request; true if it has answered, and waits for the next one."""
        host, args, wish = self._host, call.args, waiting.wish
        assert wish is not None
        if call.method not in METHODS or len(args) != 1 or call.kwargs or type(args[0]) is not bytes:
            return False
        caller = host.execution.caller
        if not wish.takes_requests or len(args[0]) > wish.limit or not caller.has_room:
            return False
        delivered, answer = host.execution.ask(waiting, caller.slots.coming, args[0])
        if not delivered:
            return False
        self._remove(1)
        goes_on = self._goes_on(waiting)
        if answer is None:
            self._has(call, args[0])
        else:
            call.reply(answer)
        return goes_on

    def feed(self, wish: Wish, future: int) -> Again | Done | None:
        """Give the guest the messages that are there, for its receive `future`, which waits for one."""
        execution = self._host.execution
        if not execution.instance.is_alone or not self._is_unseen:
            return None
        clock = self._process.node.runtime.monotonic
        until = clock() + _SECONDS
        receive = future
        while batch := self._batch(wish):
            given, receive = execution.feed(receive, wish, batch)
            self._remove(given)
            if receive == NO_FUTURE:
                return DONE
            if given < len(batch) or clock() >= until:
                break
        return None if receive == future else Again(receive)

    def converse(
        self,
        to: Ref[Any],
        future: int,
        arguments: bytes,
        data: tuple[int, int],
        timeout: float | None,
        limit: int,
    ) -> Done | Later | None:
        """See `enfilade.hostcalls.contracts.host.ActorService.converse`."""
        process = process_of(to) if type(to) is LocalRef else None
        other: Service | None = None if process is None else process.body.service
        if process is None or other is None or other is self or are_on():
            return None
        execution = self._host.execution
        if not execution.instance.is_alone or not self._is_unseen:
            return None
        waiting = other._waiting_for_call(data[1])
        if waiting is None or other._host.execution.exchange is not execution.exchange:
            return None
        callee = other._host.execution.caller
        conversation = execution.converse(
            future, arguments, data, other._host.execution, waiting, callee.slots.coming, limit
        )
        if conversation is None:
            return None
        if not other._goes_on(waiting) and not other._host.execution.instance.rests:
            other._process.body.wake()
        if conversation.unanswered is None:
            return DONE
        future, arguments = conversation.unanswered
        content = arguments[data[0] : data[0] + data[1]]
        call = CallOfGuest(self._process, to, "request", content)
        other._has(call.request, content)
        call.limit_to(timeout)
        return Later(future, len(arguments), call)

    def _waiting_for_call(self, size: int) -> WaitingReceive | None:
        """The receive that waits for a call of so many bytes, if an exchange can answer it now."""
        host, process = self._host, self._process
        waiting = self._inbox.in_exchange
        if waiting is None or not process.idle or process.queue or process.limit < 1:
            return None
        wish = waiting.wish
        assert wish is not None
        if not host.receives or not wish.takes_requests or size > wish.limit:
            return None
        return waiting if host.execution.caller.has_room and self._is_unseen else None

    def _batch(self, wish: Wish) -> list[bytes]:
        """The messages at the head of the queue that the guest wants, as many as are given in one go."""
        batch: list[bytes] = []
        if not wish.takes_bytes:
            return batch
        size, limit = 0, wish.limit
        for message in islice(self._process.queue, _BATCH):
            if type(message) is not bytes or len(message) > limit or size > _BATCH_BYTES:
                break
            size += len(message)
            batch.append(message)
        return batch

    def _remove(self, count: int) -> None:
        """The guest has been given so many messages out of its mailbox."""
        queue = self._process.queue
        for _ in range(count):
            queue.popleft()
        self._inbox.are_gone(count)

    def _goes_on(self, waiting: WaitingReceive) -> bool:
        """After an exchange: tell whether the guest waits as before, and has asked for nothing else."""
        execution = self._host.execution
        if not execution.wait_on(waiting):
            self._inbox.answered(waiting)
            return False
        return execution.instance.rests

    def _has(self, call: Call, content: bytes) -> None:
        """The guest has been given a request, and has not answered it."""
        host = self._host
        incoming = CallToGuest(host, call, content)
        host.execution.caller.give(Kind.REQUEST, incoming, incoming.abandon)
        host.taken(call, incoming)
