"""A process for tests: it receives, and says clearly what it got instead of what it expected."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar, overload

from enfilade.actors.messages.blocks import async_block
from enfilade.actors.messages.errors import ReceiveTimeout
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.node.node import Node
from enfilade.actors.processes.process import Process

__all__ = ["Probe", "Unexpected", "open_probe"]

M = TypeVar("M")

SECONDS = 5.0


class Unexpected(AssertionError):
    """Something else came, or nothing did, or something did where nothing should."""


class Probe:
    """The mailbox of a test, made by `open_probe`.

    Attributes:
        process: the ephemeral process behind it, for linking and monitoring.
        ref: what to hand to the processes under test.
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self.ref: Ref[Any] = process.ref

    @overload
    async def expect(self, match: type[M], seconds: float = ...) -> M: ...

    @overload
    async def expect(self, match: Callable[[Any], bool] | object = ..., seconds: float = ...) -> Any: ...

    async def expect(self, match: Any = object, seconds: float = SECONDS) -> Any:
        """Take the next message, which must match.

        A checkpoint when it has to wait; cancelled, no message is lost.

        Args:
            match: a type, a predicate, or a value that the message must equal.
            seconds: how long to wait; virtual seconds under a virtual clock.

        Raises:
            Unexpected: nothing came, or the next message does not match; it stays taken, and is shown.
        """
        try:
            message = await self.process.receive(timeout=seconds)
        except ReceiveTimeout:
            raise Unexpected(f"expected {_shown(match)}, but nothing came within {seconds} s") from None
        if not _matches(message, match):
            raise Unexpected(f"expected {_shown(match)}, but the next message was {safe_repr(message)}")
        return message

    async def expect_eventually(self, match: Any, seconds: float = SECONDS) -> Any:
        """Take the first message that matches; others stay.

        A checkpoint when it has to wait; cancelled, no message is lost.

        Args:
            match: as of `expect`.
            seconds: as of `expect`.

        Raises:
            Unexpected: none came; what did come is shown.
        """
        try:
            return await self.process.receive(lambda message: _matches(message, match), timeout=seconds)
        except ReceiveTimeout:
            waiting = list(self.process.queue)
            if self.process.reader is not None:
                waiting = [*self.process.reader.aside, *waiting]
            came = f"but only {safe_repr(waiting)} came" if waiting else "but nothing came"
            raise Unexpected(f"expected {_shown(match)}, {came} within {seconds} s") from None

    async def expect_nothing(self, seconds: float = 0.0) -> None:
        """Let `seconds` pass in silence. A checkpoint; cancelled, no message is lost.

        Raises:
            Unexpected: something came.
        """
        try:
            message = await self.process.receive(timeout=seconds)
        except ReceiveTimeout:
            return
        raise Unexpected(f"expected no message, got {safe_repr(message)}")


def _matches(message: Any, match: Any) -> bool:
    if isinstance(match, type):
        return isinstance(message, match)
    if callable(match):
        return bool(match(message))
    return bool(message == match)


def _shown(match: Any) -> str:
    if match is object:
        return "a message"
    return match.__qualname__ if isinstance(match, type) or callable(match) else repr(match)


@async_block
async def open_probe(node: Node, *, trap_exits: bool = True) -> AsyncIterator[Probe]:
    """Be a probe for the length of a block. A checkpoint, and cancelled, as `Node.mailbox`.

    Args:
        node: where.
        trap_exits: whether exit signals arrive as `Exited` messages.
    """
    async with node.mailbox(label="probe") as process:
        process.trap_exits = trap_exits
        yield Probe(process)
