"""One run of a guest: it is given turns, and between them the host does what the guest has asked for.

When the guest stands still, everything that it has submitted since the last time is taken at once. A
contract that has its answer completes the guest's future on the spot; one that answers with a `Future`
completes it later, at the cost of a callback; any other awaitable becomes a task. What is still under way
when the guest drops the future, or dies, is cancelled; an `Offer`, or an answer that its operation can take
back, is taken back when the guest drops the future before it has polled it.
"""

from __future__ import annotations

import contextlib
import logging
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs
import trio

from enfilade.hostcalls.abi import BufferResult, ScalarResult, callplan
from enfilade.hostcalls.abi.errors import HostcallError, KernelError, LimitReached
from enfilade.hostcalls.abi.received import Encoded, Wish
from enfilade.hostcalls.codec.rkyv import CodecError
from enfilade.hostcalls.contracts.caller import Caller
from enfilade.hostcalls.contracts.inbox import WaitingReceive
from enfilade.hostcalls.contracts.offer import Offer
from enfilade.hostcalls.contracts.operation import Operation
from enfilade.hostcalls.contracts.quick import Again, Later
from enfilade.hostcalls.engine import (
    DROPPED,
    RETURNED,
    TAKEN,
    BadMemoryAccess,
    Instance,
    Pause,
    Step,
    Trap,
    TrapKind,
)
from enfilade.hostcalls.engine.exchange import NO_FUTURE, Conversation, Exchange
from enfilade.hostcalls.kernel.cancelling import AT_ONCE, cancel_many
from enfilade.hostcalls.kernel.counted import Counted
from enfilade.hostcalls.kernel.prepared import Prepared
from enfilade.hostcalls.kernel.refusals import Refusals, denied
from enfilade.hostcalls.resources.clock import Clock, Timer
from enfilade.hostcalls.resources.futures import Cancelled, Future

logger = logging.getLogger("enfilade.hostcalls")

_INDEX = struct.Struct("<I")
"""The hostcall's index, before an answer that comes back."""

_PAGE = 65_536
"""Bytes of a page of linear memory, the least by which it grows."""

_FIRST_MEMORY = 256 * _PAGE
"""Bytes of linear memory that every guest begins with, unless its limit is lower."""

_PATIENCE = 2
"""Turns that end with the guest computing, after which it is handed to a worker. One that comes back from
there goes there again at the end of its time slice, unless it waits or asks for much before."""

_TURN_SECONDS = 0.0005
"""Seconds of serving a guest after which other processes get their turn."""


@attrs.frozen
class Returned:
    """The entrypoint returned `results`."""

    results: tuple[ScalarResult | BufferResult, ...] = ()


@attrs.frozen
class Stopped:
    """The guest was ended from outside."""


_STOPPED = Stopped()

Outcome = Returned | Trap | Stopped
"""How a guest ended."""


class Execution:
    """One guest. Made by `Kernel.begin`.

    Args:
        prepared: what was started.
        caller: the guest as drivers know it.
        instance: the engine's side of it.
        clock: wakes a guest that had to rest.
        at_end: called once, when the guest has ended.
        may_offload: whether there are workers that a guest which computes can be handed to.
        exchange: gives guests messages without a way back to here; None where each is to come this way.

    Attributes:
        caller: the guest as drivers know it; `caller.id` is its process id.
        instance: the engine's side of it, while it lives.
        outcome: how it ended, None while it lives.
        is_on_trial: whether the process goes on when it ends, with the module that was there before.
        slices: how often it was given a turn.
        preemptions: turns that ended with the guest computing.
    """

    __slots__ = (
        "_at_end",
        "_budget",
        "_calls",
        "_clock",
        "_computing",
        "_entries",
        "_may_offload",
        "_offers",
        "_pending",
        "_pending_bytes",
        "_refusals",
        "_rest",
        "caller",
        "exchange",
        "instance",
        "is_on_trial",
        "launch",
        "outcome",
        "preemptions",
        "slices",
    )

    def __init__(
        self,
        prepared: Prepared,
        caller: Caller,
        instance: Instance,
        clock: Clock,
        at_end: Callable[[Caller], None],
        may_offload: bool,
        exchange: Exchange | None,
    ) -> None:
        self.launch = prepared.launch
        self.exchange = exchange
        self.caller = caller
        self.instance = instance
        self.outcome: Outcome | None = None
        self.is_on_trial = False
        self._at_end = at_end
        self._clock = clock
        self._budget = budget = caller.place.budget
        self._calls = budget.hostcalls
        self._rest: Timer | None = None
        self._entries = prepared.entries
        self._may_offload = may_offload
        self._refusals: Refusals | None = None
        # Each with the size of its arguments.
        self._pending: dict[int, tuple[Future[Any] | trio.CancelScope, int, Operation[Any, Any]]] = {}
        self._pending_bytes = 0
        self._offers: dict[int, Offer[Any]] = {}  # that the guest has not taken yet
        self._computing = 0  # turns in a row that ended with the time slice
        self.slices = self.preemptions = 0

    @property
    def refusals(self) -> Refusals:
        """The refusals that the guest was told of; few guests are told of any."""
        if self._refusals is None:
            self._refusals = Refusals(self.caller.label)
        return self._refusals

    @property
    def ended(self) -> bool:
        """True once the guest has ended."""
        return self.outcome is not None

    @property
    def pending(self) -> int:
        """Operations that are under way."""
        return len(self._pending)

    @property
    def waits_for(self) -> str | None:
        """The name of the operation that is under way and was begun last; None when there is none."""
        if not self._pending:
            return None
        return self._pending[next(reversed(self._pending))][2].hostcall.name

    def count(self) -> None:
        """Count hostcalls from now on, from 0, until `count_no_more`."""
        self._entries = Counted(self._entries)

    def count_no_more(self) -> None:
        """Have hostcalls cost nothing more than they do again."""
        if isinstance(self._entries, Counted):
            self._entries = self._entries.entries

    @property
    def counts(self) -> dict[str, int]:
        """The number of times that each hostcall was made since `count`, by name; empty while nothing is
        counted.
        """
        return self._entries.by_name() if isinstance(self._entries, Counted) else {}

    def turn(self) -> bool:
        """Let the guest run, and serve what it asks for, until it waits, ends, or its turn is over.

        Returns whether it could go on at once; if not, `wake` is called when it can. Not a checkpoint.
        After the guest's end `outcome` says how it ended.
        """
        if self.outcome is not None or self.instance.offloaded:
            return False
        if self._rest is not None or (not self._budget.is_calm and self._must_rest()):
            return False
        self.slices += 1
        pause = self.instance.run(self, _TURN_SECONDS, suspect=self._computing > 0)
        if pause is Pause.COMPUTING:
            self._computing += 1
            self.preemptions += 1
            if self._computing >= _PATIENCE and self._may_offload:
                self._computing = _PATIENCE - 1
                self.instance.offload()
                return False
            return True
        self._computing = 0
        if self.outcome is None:
            for index in self.instance.refusals():
                self._note_denied(index)
        if pause is Pause.ENDED and self.outcome is None:
            self._finish(self._ending())
        return pause is Pause.READY

    def _must_rest(self) -> bool:
        """Tell whether the guest's tree was faster than it may be, and have the guest woken later."""
        pause = self._budget.pause()
        if pause <= 0:
            return False
        self._rest = self._clock.call_later(pause, self._rested)
        return True

    def _rested(self) -> None:
        self._rest = None
        if self.outcome is None:
            self.instance.wake()

    def stop(self) -> None:
        """End the guest at once, wherever it is, and release all it holds. Stopping twice is the same."""
        if self.outcome is None:
            self._finish(_STOPPED)

    def retire(self) -> None:
        """End the guest without ending the process: another module has taken its place, or was to."""
        self.is_on_trial = True
        if not self.ended:
            self._take_back_offers()
        self.stop()

    def take_over(self, before: Execution) -> None:
        """Be the process from now on; `before`, the execution of the former module, ends."""
        self.is_on_trial = False
        before.retire()

    # Serving: what `Instance.run` calls.

    def serve(self, future: int, index: int, arguments: bytes) -> bytes | None:
        """Begin the hostcall `index` with `arguments` as `future`, or end that; return output, if any."""
        try:
            decode, run, encode, operation, quick = self._entries[index]
        except IndexError:
            self._note_end(future, index, arguments)
            return None
        self._calls.left -= 1
        if quick is not None:
            try:
                answer = quick(self.caller, arguments, future)
            except Exception:
                self._failed(future, operation)
                return None
            if answer is not None:
                if type(answer) is bytes or isinstance(answer, bytes):
                    return answer
                self._follow(future, index, arguments, operation, answer)
                return None
        try:
            value = decode(arguments)
        except CodecError as error:
            # The guest ABI has this trap happen inside `create`; the guest cannot tell.
            self._finish(Trap(TrapKind.HOSTCALL, f"{operation.hostcall.name}: {error}"))
            return None
        try:
            outcome = run(self.caller, value)
            if type(outcome) is not Future and not hasattr(outcome, "__await__"):
                if type(outcome) is not Offer:
                    return encode(outcome)
                self._answer(future, operation, outcome)
                return None
        except HostcallError as error:
            self._refuse(future, operation, error)
        except Exception:
            self._failed(future, operation)
        else:
            self._begin(future, operation, outcome, len(arguments))
        return None

    def _follow(
        self, future: int, index: int, arguments: bytes, operation: Operation[Any, Any], answer: Any
    ) -> None:
        """Do what is left to do after a short cut that had no output at once."""
        if isinstance(answer, Future):
            self._begin(future, operation, answer, len(arguments))
        elif type(answer) is Offer:
            self._offers[future] = answer
            self.instance.offer(future, answer.value)
        elif type(answer) is Later:
            self._begin(answer.future, operation, answer.outcome, answer.size)
        elif type(answer) is Again and self.outcome is None:
            self.instance.is_alone = False
            self._calls.left += 1  # it was counted in the exchange
            reply = self.serve(answer.future, index, arguments)
            if reply is not None:
                self.instance.complete(answer.future, reply)

    # Exchanges: messages that the guest is given, and answers that it gives, without a way back to here.

    @property
    def is_free(self) -> bool:
        """True if the guest can take part in an exchange: it could go on, and nobody counts what it does."""
        return (
            self.exchange is not None
            and self.outcome is None
            and self._rest is None
            and self.instance.rests
            and type(self._entries) is tuple
            and self.caller.budget.is_calm
        )

    def feed(self, receive: int, wish: Wish, messages: Sequence[bytes]) -> tuple[int, int]:
        """Give the guest `messages` for the future `receive`, as far as `wish` wants them (`Exchange.feed`).

        Returns how many it was given, and the future of the receive that waits now.
        """
        exchange = self.exchange
        assert exchange is not None
        self.slices += 1
        given = exchange.feed(self.instance, receive, wish.arguments, messages)
        self._calls.left -= exchange.hostcalls
        return given, exchange.receive

    def ask(self, waiting: WaitingReceive, request: int, data: bytes) -> tuple[bool, bytes | None]:
        """Give the guest `request` with `data`, for the receive `waiting` (`Exchange.ask`)."""
        exchange, wish = self.exchange, waiting.wish
        assert exchange is not None
        assert wish is not None
        self.slices += 1
        limit = self.caller.limits.message_bytes
        outcome = exchange.ask(self.instance, waiting.key, wish.arguments, request, data, limit)
        self._calls.left -= exchange.hostcalls
        return outcome

    def converse(
        self,
        call: int,
        arguments: bytes,
        data: tuple[int, int],
        other: Execution,
        waiting: WaitingReceive,
        request: int,
        limit: int,
    ) -> Conversation | None:
        """Have `other`, which is `waiting`, answer `call` with `arguments`, `data`, `request` and `limit`."""
        exchange, wish = self.exchange, waiting.wish
        assert exchange is not None
        assert wish is not None
        limit = min(limit, other.caller.limits.message_bytes)
        conversation = exchange.converse(
            self.instance,
            call,
            arguments,
            data,
            server=other.instance,
            receive=waiting.key,
            wish=wish.arguments,
            request=request,
            limit=limit,
        )
        if conversation is not None:
            other.slices += 1
            calls = conversation.calls + (conversation.unanswered is not None)
            self._calls.left -= calls - 1  # the first was counted when it was served
            self.caller.budget.messages.left -= calls
            other._calls.left -= exchange.hostcalls
        return conversation

    def wait_on(self, waiting: WaitingReceive) -> bool:
        """Note that the receive `waiting` waits after an exchange; return false if there is none."""
        exchange = self.exchange
        assert exchange is not None
        found = self._pending.pop(waiting.key)
        if exchange.receive == NO_FUTURE:
            self._pending_bytes -= found[1]
            return False
        self._pending[exchange.receive] = found
        waiting.key = exchange.receive
        return True

    def _note_end(self, future: int, end: int, answer: bytes) -> None:
        """Cancel what is under way for a future that was dropped, and take back what it has not looked at."""
        if end == RETURNED:
            self._return(future, answer)
            return
        offer = self._offers.pop(future, None)
        if end == DROPPED:
            pending = self._take_pending(future)
            if pending is not None:
                pending.cancel()
            if offer is not None:
                offer.take_back()

    def _return(self, future: int, answer: bytes) -> None:
        """Take back an answer that the guest has dropped without having polled it."""
        (index,) = _INDEX.unpack_from(answer)
        operation = tuple.__getitem__(self._entries, index)[3]  # which is no new call, to be counted
        assert operation.take_back is not None
        try:
            operation.take_back(self.caller, future >> 32, answer[_INDEX.size :])
        except Exception:
            self._failed(future, operation)

    def _take_back_offers(self) -> None:
        """Take back what the guest has not seen yet. One that a worker has may have seen everything."""
        if not self.instance.offloaded:
            self.instance.return_results()
            for future, end, answer in self.instance.submissions():
                if end == TAKEN:
                    self._offers.pop(future, None)
                elif end == RETURNED:
                    self._return(future, answer)
            offers, self._offers = self._offers, {}
            for offer in offers.values():
                offer.take_back()

    def _begin(self, future: int, operation: Operation[Any, Any], outcome: Any, size: int) -> None:
        """Answer when `outcome`, an awaitable, has a value; `size` bytes of arguments may wait with it."""
        if not isinstance(outcome, Future):
            scope = trio.CancelScope()
            self._add_pending(future, scope, size, operation)
            self.caller.host.start_soon(lambda: self._await(future, operation, outcome, scope))
        elif outcome.done:
            self._settle(future, operation, outcome)
        elif type(outcome) is WaitingReceive:
            outcome.key = future
            outcome.when_done(lambda done: self._settle(outcome.key, operation, done))
            self._add_pending(future, outcome, size, operation)
        else:
            outcome.when_done(lambda done: self._settle(future, operation, done))
            self._add_pending(future, outcome, size, operation)

    def _add_pending(
        self,
        future: int,
        pending: Future[Any] | trio.CancelScope,
        size: int,
        operation: Operation[Any, Any],
    ) -> None:
        if self.outcome is not None:
            pending.cancel()
            return
        self._pending[future] = pending, size, operation
        self._pending_bytes += size
        limit = self.launch.limits.queued_bytes
        if self._pending_bytes > limit:
            self._finish(Trap(TrapKind.LIMIT, f"more than {limit} bytes queued (limit queued_bytes)"))

    def _take_pending(self, future: int) -> Future[Any] | trio.CancelScope | None:
        found = self._pending.pop(future, None)
        if found is None:
            return None
        self._pending_bytes -= found[1]
        return found[0]

    def _settle(self, future: int, operation: Operation[Any, Any], outcome: Future[Any]) -> None:
        self._take_pending(future)
        try:
            value = outcome.result()
        except HostcallError as error:
            self._refuse(future, operation, error)
        except Cancelled:
            return
        except BaseException:  # whoever fails a future is not to be told by an error
            self._failed(future, operation)
        else:
            self._answer(future, operation, value)

    async def _await(
        self, future: int, operation: Operation[Any, Any], awaitable: Awaitable[Any], scope: trio.CancelScope
    ) -> None:
        value: Any = None
        failure: HostcallError | None = None
        with scope:
            try:
                value = await awaitable
            except HostcallError as error:
                failure = error
            except Exception:
                self._failed(future, operation)
                return
        self._take_pending(future)
        if scope.cancelled_caught or self.ended:
            return
        if failure is not None:
            self._refuse(future, operation, failure)
        else:
            self._answer(future, operation, value)

    def _refuse(self, future: int, operation: Operation[Any, Any], error: HostcallError) -> None:
        if error.why:
            self.refusals.note(operation.hostcall.name, error.why)
        if self.outcome is None:
            self.instance.fail(future, error.text)

    def _note_denied(self, index: int) -> None:
        """Note a hostcall that the engine has refused in the host's place."""
        hostcall = self._entries[index][3].hostcall
        self.refusals.note(hostcall.name, denied(hostcall.capability))

    def _note_full_memory(self) -> None:
        """Note that the guest's memory cannot grow: most guests answer a failed allocation with a trap."""
        limit, size = self.launch.limits.memory, self.instance.memory_size
        if size > _FIRST_MEMORY and limit - size < _PAGE:
            self.refusals.note("memory.grow", LimitReached("memory", limit).why)

    def _answer(self, future: int, operation: Operation[Any, Any], value: Any) -> None:
        if self.outcome is not None or self.instance.ending:
            return
        offer = value if type(value) is Offer else None
        try:
            value = value if offer is None else offer.value
            payload = value if type(value) is Encoded else operation.hostcall.output.encode(value)
        except CodecError:
            self._failed(future, operation)
            if offer is not None:
                offer.take_back()
            return
        if offer is None:
            self.instance.complete(future, payload)
        else:
            self._offers[future] = offer
            self.instance.offer(future, payload)

    def _failed(self, future: int, operation: Operation[Any, Any]) -> None:
        with contextlib.suppress(Exception):  # a log handler may fail
            logger.exception(
                "the driver of %s failed for guest %s", operation.hostcall.name, self.caller.label
            )
        self._take_pending(future)
        if not self.ended:
            self.instance.fail(future, KernelError().text)

    # The end.

    def _ending(self) -> Outcome:
        """How the guest has ended by itself."""
        instance = self.instance
        if instance.step is Step.TRAPPED:
            trap = instance.trap or Trap(TrapKind.OTHER, "the guest trapped")
            if trap.kind is TrapKind.UNREACHABLE and not self.refusals:
                self._note_full_memory()
            return self.refusals.explain(trap)
        declared = self.launch.results
        try:
            return Returned(
                callplan.results(
                    declared,
                    self.instance.results,
                    self.instance.read,
                    limit=self.launch.limits.argument_bytes,
                )
                if declared
                else ()
            )
        except (HostcallError, BadMemoryAccess) as error:
            told = error.explained if isinstance(error, HostcallError) else error
            return Trap(TrapKind.HOSTCALL, f"the entrypoint's results do not fit its signature: {told}")

    def _finish(self, outcome: Outcome) -> None:
        self.outcome = outcome
        left: list[Future[Any] | trio.CancelScope] = []
        if self._pending:
            pending, self._pending = self._pending, {}
            left = [operation for operation, _, _ in pending.values()]
            for operation in left[:AT_ONCE]:
                operation.cancel()
            del left[:AT_ONCE]
        if self._rest is not None:
            self._rest.cancel()
        self.instance.close()
        # The entry of a process outlives it, and must not keep its module.
        del self.instance, self.launch
        host = self.caller.host
        if not self.is_on_trial:
            self._at_end(self.caller)
        if left:
            host.start_soon(lambda: cancel_many(left))
