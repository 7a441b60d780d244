"""Refs that first have to find the process that they are for, and ask again when it has moved."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import attrs
import trio

from enfilade.actors.messages.errors import CallError, NotConnected
from enfilade.actors.messages.reasons import NORMAL, Reason
from enfilade.actors.messages.ref import Ref

__all__ = ["Seeker", "SoughtRef", "TimeLimit"]

T = TypeVar("T")


@attrs.frozen
class TimeLimit:
    """A time limit that has begun.

    Attributes:
        seconds: for all of it.
        deadline: the time at which it is over.
    """

    seconds: float
    deadline: float

    @classmethod
    def of(cls, seconds: float) -> TimeLimit:
        return cls(seconds, trio.current_time() + seconds)

    @property
    def left(self) -> float:
        """The seconds that are left."""
        return max(0.0, self.deadline - trio.current_time())


class Seeker(Protocol):
    """Finds the processes of refs of one kind, and says how often it is worth asking again.

    Attributes:
        absences: the errors that say that a process was not asked, because it is not there.
    """

    @property
    def absences(self) -> tuple[type[CallError], ...]: ...

    def known(self, ref: Any, now: float | None = None) -> Ref[Any] | None:
        """Return the way to the process, if it is known without asking and nobody waits for it.

        Args:
            ref: the ref that is used.
            now: the present time, if it is at hand.
        """

    def forget(self, ref: Any) -> None:
        """Ask the registry when the process is used next."""

    async def find(self, ref: Any, limit: TimeLimit) -> Ref[Any]:
        """Find the way to the process, behind what was sent to it before. A checkpoint.

        Raises:
            CallError: it cannot be found in time.
        """
        ...

    async def next_after(
        self, ref: Any, found: Ref[Any], asked: int, error: CallError, limit: TimeLimit
    ) -> Ref[Any]:
        """Find whom to ask when a process was not there. A checkpoint.

        Args:
            ref: what stands for the process.
            found: the process that was not there.
            asked: the number of times that one was asked in vain.
            error: the answer of the last time, one of `absences`.
            limit: of the whole question.

        Raises:
            CallError: there is nobody else, or it is not worth asking again.
        """
        ...


class SoughtRef(Ref[Any]):
    """A ref to whichever process has a name or a key: a call finds it, and follows it when it has moved.

    A question is repeated only if the process was certainly not asked. The seeker finds the process.
    """

    __slots__ = ()

    _seeker: Seeker

    async def _ask(
        self,
        limit: TimeLimit,
        question: Callable[[Ref[Any]], Awaitable[T]],
        ref: Ref[Any] | None = None,
        absence: CallError | None = None,
    ) -> T:
        """Ask the process, wherever it is, and again while it was certainly not asked.

        Args:
            limit: the time limit of all this.
            question: asks a process within the time limit of a ref.
            ref: the process that was asked first.
            absence: the answer of that one, which was not there; None if nobody was asked yet.
        """
        dispatcher = self._node().dispatcher
        seeker = self._seeker
        asked = 0 if absence is None else 1
        while True:
            if absence is not None:
                assert ref is not None
                ref = await seeker.next_after(self, ref, asked, absence, limit)
            else:
                ref = seeker.known(self) or await seeker.find(self, limit)
            ref = ref.within(limit.left)
            dispatcher.renew_handoffs()
            try:
                return await question(ref)
            except NotConnected:
                seeker.forget(self)
                raise
            except seeker.absences as error:
                seeker.forget(self)
                asked, absence = asked + 1, error

    async def send_wait(self, message: Any) -> None:
        ref = self._seeker.known(self) or await self._seeker.find(self, TimeLimit.of(math.inf))
        await ref.send_wait(message)

    async def stop(
        self, reason: Reason = NORMAL, timeout: float | None = None, *, drain: bool = False
    ) -> None:
        seconds = self.limit if timeout is None else timeout
        limit = TimeLimit.of(math.inf if seconds is None else seconds)
        await self._ask(limit, lambda ref: ref.stop(reason, ref.limit, drain=drain))

    if not TYPE_CHECKING:  # type checkers are to see what `Ref` says

        async def call(self, method: Any, /, *args: Any, **kwargs: Any) -> Any:
            node, seeker, seconds = self._node(), self._seeker, self.limit
            if node.dispatcher.handoffs <= 1:
                # A call to a process of this node may begin with a checkpoint, after which it might be over.
                node.dispatcher.renew_handoffs()
                await trio.lowlevel.checkpoint()
            began = node.timers.now()
            ref, absence = seeker.known(self, began), None
            if ref is not None:
                ref = ref if seconds is None else ref.within(seconds)
                try:
                    return await ref.call(method, *args, **kwargs)  # as nearly always
                except NotConnected:
                    seeker.forget(self)
                    raise
                except seeker.absences as error:
                    seeker.forget(self)
                    absence = error
            seconds = node.config.call_timeout if seconds is None else seconds
            limit = TimeLimit(seconds, began + seconds)
            return await self._ask(limit, lambda ref: ref.call(method, *args, **kwargs), ref, absence)
