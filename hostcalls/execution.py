"""One run of a guest: it is given turns, and between them the host does what the guest has asked for.

When the guest stands still, everything that it has submitted since the last time is taken at once. A
contract that has its answer completes the guest's future on the spot; one that answers with a `Future`
completes it later, at the cost of a callback; any other awaitable becomes a task. What is still under way
when the guest drops the future, or dies, is cancelled.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable
from time import perf_counter
from typing import TYPE_CHECKING, Any

import attrs
import trio

from . import callplan
from .abi import BufferResult, ScalarResult
from .caller import Caller
from .engine import BadMemoryAccess, Instance, Step, Submission, Trap, TrapKind
from .errors import HostcallError, KernelError
from .futures import Cancelled, Future
from .launch import Launch
from .operation import Operation
from .rkyv import CodecError
from .table import DispatchTable

if TYPE_CHECKING:
    from .kernel import Kernel

logger = logging.getLogger(__name__)

#: Turns without an answer from the guest after which it is taken to compute, and handed to a worker.
_PATIENCE = 2

#: Seconds after which other processes get their turn.
_TURN_SECONDS = 0.001


@attrs.frozen
class Returned:
    """The entrypoint returned."""

    results: tuple[ScalarResult | BufferResult, ...] = ()


@attrs.frozen
class Stopped:
    """The guest was ended from outside."""


#: How a guest ended.
Outcome = Returned | Trap | Stopped


class Execution:
    """One guest. Made by `Kernel.begin`.

    Attributes:
        caller: the guest as drivers know it; `caller.id` is its process id.
        instance: the engine's side of it, while it lives.
        outcome: how it ended, None while it lives.
        computing: turns in a row that ended with the time slice.
    """

    def __init__(
        self, kernel: Kernel, launch: Launch, caller: Caller, instance: Instance, table: DispatchTable
    ) -> None:
        self.kernel = kernel
        self.launch = launch
        self.caller = caller
        self.instance = instance
        self.outcome: Outcome | None = None
        self._operations = table.operations
        self._submitted: deque[Submission] = deque()
        self._dropped: list[int] = []
        self._pending: dict[int, Future[Any] | trio.CancelScope] = {}
        self.computing = 0

    @property
    def ended(self) -> bool:
        """Whether the guest has ended."""
        return self.outcome is not None

    @property
    def pending(self) -> int:
        """Operations that are under way."""
        return len(self._pending)

    def turn(self) -> bool:
        """Let the guest run, and serve what it asks for, until it waits, ends, or a millisecond is over.

        Returns whether it could go on at once; if not, `wake` is called when it can. Not a checkpoint.
        After the guest's end `outcome` says how it ended.
        """
        if self.outcome is not None or self.instance.offloaded:
            return False
        instance, submitted = self.instance, self._submitted
        deadline = perf_counter() + _TURN_SECONDS
        while True:
            if not submitted:
                if instance.runnable:
                    instance.resume()
                # Otherwise it may have stopped on a worker, with something to serve or an end to report.
                submitted.extend(instance.submissions())
                self._dropped.extend(instance.drops())
            busy = bool(submitted or self._dropped)
            while submitted:
                self._dispatch(*submitted.popleft())
                if perf_counter() > deadline:
                    break
            if self.ended or submitted:
                return not self.ended
            if self._dropped:
                self._cancel_dropped()
            step = instance.step
            if step is Step.PARKED:
                self.computing = 0
            elif step is Step.FINISHED:
                self._finish(self._returned())
                return False
            elif step is Step.TRAPPED:
                self._finish(instance.trap or Trap(TrapKind.OTHER, "the guest trapped"))
                return False
            elif busy:
                self.computing = 0
            else:
                self.computing += 1
                if self.computing >= _PATIENCE and self.kernel.engine.config.workers:
                    instance.offload()
                    return False
                return True
            if not instance.runnable or perf_counter() > deadline:
                return instance.runnable

    def stop(self) -> None:
        """End the guest at once, wherever it is, and release all it holds. Stopping twice is the same."""
        if not self.ended:
            self._finish(Stopped())

    # Serving.

    def _cancel_dropped(self) -> None:
        """Cancel what is under way for futures that the guest has dropped."""
        while self._dropped:
            pending = self._pending.pop(self._dropped.pop(), None)
            if pending is not None:
                pending.cancel()

    def _dispatch(self, future: int, index: int, arguments: bytes) -> None:
        operation = self._operations[index]
        hostcall = operation.hostcall
        try:
            value = hostcall.input.decode(arguments)
        except CodecError as error:
            # The guest ABI has this trap happen inside `create`; the guest cannot tell.
            self._finish(Trap(TrapKind.HOSTCALL, f"{hostcall.name}: {error}"))
            return
        try:
            outcome = operation.contract.run(self.caller, value)
        except HostcallError as error:
            if not self.ended:
                self.instance.fail(future, error.text)
        except Exception:
            self._failed(future, operation)
        else:
            if isinstance(outcome, Future):
                if outcome.done:
                    self._settle(future, operation, outcome)
                else:
                    self._pending[future] = outcome
                    outcome.when_done(lambda done: self._settle(future, operation, done))
            elif hasattr(outcome, "__await__"):
                scope = self._pending[future] = trio.CancelScope()
                self.caller.host.start_soon(lambda: self._await(future, operation, outcome, scope))
            else:
                self._answer(future, operation, outcome)

    def _settle(self, future: int, operation: Operation[Any, Any], outcome: Future[Any]) -> None:
        self._pending.pop(future, None)
        try:
            value = outcome.result()
        except HostcallError as error:
            if not self.ended:
                self.instance.fail(future, error.text)
        except Cancelled:
            return
        except Exception:
            self._failed(future, operation)
        else:
            self._answer(future, operation, value)

    async def _await(
        self, future: int, operation: Operation[Any, Any], awaitable: Awaitable[Any], scope: trio.CancelScope
    ) -> None:
        value: Any = None
        failure: str | None = None
        with scope:
            try:
                value = await awaitable
            except HostcallError as error:
                failure = error.text
            except Exception:
                self._failed(future, operation)
                return
        self._pending.pop(future, None)
        if scope.cancelled_caught or self.ended:
            return
        if failure is not None:
            self.instance.fail(future, failure)
        else:
            self._answer(future, operation, value)

    def _answer(self, future: int, operation: Operation[Any, Any], value: Any) -> None:
        if self.outcome is not None:
            return
        try:
            payload = operation.hostcall.output.encode(value)
        except CodecError:
            self._failed(future, operation)
        else:
            self.instance.complete(future, payload)

    def _failed(self, future: int, operation: Operation[Any, Any]) -> None:
        logger.exception("the driver of %s failed for guest %s", operation.hostcall.name, self.caller.label)
        self._pending.pop(future, None)
        if not self.ended:
            self.instance.fail(future, KernelError().text)

    # The end.

    def _returned(self) -> Outcome:
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
            return Trap(TrapKind.HOSTCALL, f"the entrypoint's results do not fit its signature: {error}")

    def _finish(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self._submitted.clear()
        self._dropped.clear()
        pending, self._pending = self._pending, {}
        for operation in pending.values():
            operation.cancel()
        self.instance.close()
        # The entry of a process outlives it, and must not keep its module.
        del self.instance, self.launch
        self.kernel.ended(self.caller)
