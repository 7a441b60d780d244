"""The interface that the embedder implements for one guest.

`hostcalls` does not know what a process of the runtime is. Whoever runs guests implements these protocols,
one object for each guest, and everything that a guest can cause outside of its own memory goes through it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar

import attrs
import trio

from enfilade.hostcalls.abi.actor_types import ActorReason
from enfilade.hostcalls.abi.errors import StartError
from enfilade.hostcalls.abi.received import Wish
from enfilade.hostcalls.contracts.launch import Launch
from enfilade.hostcalls.contracts.quick import Again, Done, Later
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.resources.message import Message

C = TypeVar("C")
T = TypeVar("T")


class Host(Protocol):
    """The embedder's side of one guest.

    Attributes:
        actors: how the guest speaks to actors, or None where there are none.
    """

    @property
    def actors(self) -> ActorHost | None:
        """See above."""
        ...

    def start_soon(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run `function` as a task that ends with the runtime at the latest. It never raises."""
        ...

    async def start_child(self, launch: Launch) -> int:
        """Start a guest as a child of this one and return its process id, when it is ready to run.

        Raises `enfilade.hostcalls.StartError`.
        """
        ...

    def stop(self) -> None:
        """Make this guest end; it may still do so later, and asking again does nothing."""
        ...


class Nobody:
    """The host of a guest that has ended: keeps nothing of the embedder's."""

    actors: Final = None

    def start_soon(self, function: Callable[[], Awaitable[None]]) -> None:
        """Run what a contract has given for a guest that it has ended: it is cancelled already."""
        trio.lowlevel.spawn_system_task(function)

    async def start_child(self, launch: Launch) -> int:
        raise StartError("the parent process has ended")

    def stop(self) -> None:
        """It has ended."""


NOBODY: Final = Nobody()


class Request:
    """A call whose caller waits for an answer: the base of the embedder's.

    Attributes:
        message: what they sent.
    """

    __slots__ = ("message",)

    message: bytes | Message

    def reply(self, answer: bytes | Message) -> None:
        """Answer the caller."""
        raise AssertionError("a bare Request has no caller to answer")

    def abandon(self) -> None:
        """Tell the caller that no answer will come; nothing happens after `reply`."""
        raise AssertionError("a bare Request has no caller to answer")


@attrs.frozen
class Ended:
    """The end of a process that was monitored, under the number `monitor`, or linked (`monitor` is None).

    `message` is what the embedder has of it, for `ActorHost.put_back`.
    """

    monitor: int | None
    actor: Any
    reason: ActorReason
    message: Any = attrs.field(default=None, eq=False)


@attrs.frozen
class Upgrade:
    """Another module is to take the guest's place."""


Incoming = bytes | Message | Request | Ended | Upgrade
"""What a guest can receive. Bytes are a message without a tag and resources, which is what most are."""


class ActorService(Protocol):
    """The exchanges of one guest: what passes between it and others in one go."""

    def converse(
        self,
        to: Any,
        future: int,
        arguments: bytes,
        data: tuple[int, int],
        timeout: float | None,
        limit: int,
    ) -> Done | Later | None:
        """Have the call `future` answered by a guest that waits for it, if nobody looks on.

        Args:
            to: the actor that is called.
            future: the guest's future.
            arguments: those of the call, which decode.
            data: where in them the content is, and how many bytes it has.
            timeout: seconds until the call fails.
            limit: bytes that its answer may have.

        Returns None if nothing has changed. The outcome of what it returns is as that of `call`.
        """
        ...


class ActorHost(Protocol):
    """The embedder's actors, as one guest sees them. An actor is any object that compares equal to itself."""

    @property
    def traceparent(self) -> str:
        """The `traceparent` of the trace that the message at hand belongs to; empty if it belongs to none."""
        ...

    def me(self) -> Any:
        """The guest itself."""
        ...

    def send(self, to: Any, message: Message) -> None:
        """Send a message; sending to an actor that has ended is not an error."""
        ...

    def receive(
        self,
        select: Callable[[Incoming], bool],
        timeout: float | None,
        convert: Callable[[Incoming | None], T],
    ) -> T | Future[T]:
        """The first message that `select` wants, converted; after `timeout` seconds, `convert(None)`.

        What is there at once needs no future. When `convert` raises, the message stays. Raises
        `InvalidArgument` while another receive waits.
        """
        ...

    def receive_quickly(
        self, wish: Wish, future: int, caller: C, convert: Callable[[C, Any, Any], Any]
    ) -> bytes | Future[Any] | Done | Again | None:
        """Answer the receive `future` without decoding, if nobody looks on.

        Returns the content of the oldest message, if that is mere bytes; or the future of a message, if none
        is there, converted by `convert(caller, wanted, message)`; or what an exchange has come to. None has
        changed nothing: `receive` then says what is to be said.
        """
        ...

    @property
    def service(self) -> ActorService:
        """The exchanges of the guest with others."""
        ...

    def put_back(self, incoming: Incoming, serial: float) -> None:
        """Take back a message that the guest was given and has not looked at.

        It goes before all that the guest was not given yet, and in the order of `serial` among those taken
        back. A `Request` is unanswered.
        """
        ...

    def call(
        self, to: Any, message: bytes | Message, timeout: float | None
    ) -> Future[bytes] | Future[Message]:
        """Send a request and return the answer. Fails with a `HostcallError` that gives the reason."""
        ...

    async def spawn(self, launch: Launch, link: bool, monitor: bool) -> tuple[Any, int, int]:
        """Start a child: the actor, its process id, and the monitor's number or 0. Raises `StartError`."""
        ...

    def link(self, actor: Any) -> None:
        """Link both. Raises `NotFound` when the actor is gone and the guest does not trap exits."""
        ...

    def unlink(self, actor: Any) -> None:
        """Take the link down."""
        ...

    def monitor(self, actor: Any) -> int:
        """Watch an actor; the monitor's number, never 0."""
        ...

    def demonitor(self, monitor: int, flush: bool) -> None:
        """Remove a monitor. Raises `NotFound` when no monitor has that number."""
        ...

    def exit(self, actor: Any | None, reason: ActorReason) -> None:
        """Send an exit signal, or end the guest itself."""
        ...

    def trap(self, trap: bool) -> bool:
        """Set whether exit signals arrive as messages from now on; return the previous setting."""
        ...

    def register(self, name: str, actor: Any) -> None:
        """Give an actor a name. Raises `AlreadyExists`, `NotFound` or `InvalidArgument`."""
        ...

    def whereis(self, name: str) -> Any:
        """The actor of that name. Raises `NotFound`."""
        ...

    def export_state(self, state: bytes) -> Future[None] | None:
        """Hand the state over to the module that is to take the guest's place.

        It is resolved when that has failed; None when it had failed before. Raises `InvalidArgument` unless
        the guest was asked to.
        """
        ...

    def import_state(self) -> bytes | None:
        """The state that the guest before has exported; None if this one replaces none."""
        ...
