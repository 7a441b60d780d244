"""Refs: the handles that everything is sent to.

`Ref` is the one public type. What it stands for differs: a process on this node (`LocalRef`, which holds
the process record, itself an empty shell once the process has ended), a process on another node
(`RemoteRef`, which holds the carrier of that node), the holder of a name at the moment of use (`NameRef`).
A ref never owns a process.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

import trio

from enfilade.actors.messages import signals
from enfilade.actors.messages.errors import CallError, CallingSelf, NoProcess, ProcessDied, Restarting
from enfilade.actors.messages.handle import Handle
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.methods import method_name
from enfilade.actors.messages.nearest import COMPARED
from enfilade.actors.messages.reasons import NO_PROCESS, NORMAL, Reason, checked
from enfilade.actors.messages.request import Deferred, Request
from enfilade.actors.messages.safe_text import safe_repr, safe_str
from enfilade.actors.messages.seconds import check_seconds
from enfilade.actors.messages.signals import Cast

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node

__all__ = ["Carrier", "HomeRef", "NameRef", "NodeRef", "Ref", "RemoteRef", "checked_ref"]

A = TypeVar("A", covariant=True)
P = ParamSpec("P")
R = TypeVar("R")


class Carrier(Protocol):
    """The way to another node: what a `RemoteRef` hands its signals to."""

    @property
    def node_name(self) -> str:
        """The name of the node at the other end, as `name@zone`."""

    @property
    def incarnation(self) -> int:
        """Which start of that node this is."""

    def deliver(self, ref: RemoteRef[Any], signal: signals.Signal) -> None:
        """Carry `signal` to the process that `ref` stands for. Never blocks and never fails because of the
        receiver.
        """

    def look(self) -> None:
        """Take in what has arrived from that node, if anything has."""

    def given_up(self, number: int) -> None:
        """Tell that node that nobody waits any more for the answer to the call of that number."""

    def send_wait(self, ref: RemoteRef[Any], message: Any) -> Coroutine[Any, Any, None]:
        """Carry `message` when the way and the mailbox at its end have room for it; see `Ref.send_wait`."""


class Ref(Handle, Generic[A]):
    """A handle for the process of an actor `A`: compares by identity of the process, can be a dict key.

    Attributes:
        node_name: `name@zone` of the node that the process lives on.
        incarnation: which start of that node.
        serial: the number of the process on its node, never used twice.
        limit: the time limit of `call` in seconds; None: the node's default.
    """

    __slots__ = ("limit",)

    how_to_pass_on: ClassVar[str] = (
        "a ref is passed on to another node in a message, a call or a reply; within one program it is passed "
        "as it is"
    )

    is_name: ClassVar[bool] = False
    """True of refs to whoever has a name or a key, which no ref to a process is equal to."""

    is_of_this_node: ClassVar[bool] = False
    """True of refs to a process of this node, whether or not anything is left of it."""

    limit: float | None

    @property
    def node_name(self) -> str:
        raise AssertionError("a bare Ref stands for nothing")

    @property
    def incarnation(self) -> int:
        raise AssertionError("a bare Ref stands for nothing")

    @property
    def serial(self) -> int:
        raise AssertionError("a bare Ref stands for nothing")

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not is_a(other, Ref) or type(other).is_name:
            return NotImplemented  # a name is equal to nothing but itself, whoever holds it
        return (
            self.serial == other.serial
            and self.incarnation == other.incarnation
            and self.node_name == other.node_name
        )

    def __hash__(self) -> int:
        return hash(self.serial)

    def __repr__(self) -> str:
        return f"<{self.node_name}:{self.serial}>"

    def deliver(self, signal: signals.Signal) -> None:
        """Hand `signal` to the process. What the runtime itself uses; not a checkpoint, never fails."""
        raise AssertionError("a bare Ref stands for nothing")

    def process_here(self) -> Any:
        """The process, if it is one of this node and not a mere name. What the runtime itself uses."""
        return None

    def name_of(self, method: Any) -> str:
        """Return the name by which to ask the process for `method`. What the runtime itself uses.

        Raises:
            NotPublic: `method` is not a public method.
        """
        return method_name(method)

    def given_up(self, number: int) -> None:
        """Note that the caller of the call `number` waits no longer. What `Request` itself uses."""

    def send(self, message: Any) -> None:
        """Send `message`: any object; share nothing mutable. Not a checkpoint.

        To a process that has ended, the message becomes a dead letter; but a child that its supervisor is
        starting again gets it in its next life, if its mailbox is kept (`Mailbox.inherit`).

        On another node nobody can wait for what becomes of it: a message that finds a full mailbox whose
        policy is to refuse becomes a dead letter of the sender's node.

        Raises:
            MailboxFull: the mailbox is full and its policy is "fail" or "block".
            NoProcess, Restarting: this is a ref to a name that is not registered, or whose holder is being
                started again.
            WrongThread: sent from another thread than the node's, while the receiver waits: nothing was sent.
        """
        self.deliver(signals.Send(message))

    def cast(self, method: Callable[Concatenate[A, P], object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Ask for `method(*args, **kwargs)` without waiting and without a reply. Not a checkpoint.

        Raises:
            NotPublic: `method` is not a public method. One that the process does not have is logged, and the
                cast becomes a dead letter.
            MailboxFull, NoProcess, WrongThread: as `send`.
        """
        self.deliver(Cast(self.name_of(method), args, kwargs))

    async def send_wait(self, message: Any) -> None:
        """Wait until the mailbox has room, then `send` `message`. A checkpoint only when it waits; cancelled,
        it sent nothing.

        On another node it waits for an answer, too: each time when the mailbox is bounded or the ref is to a
        name, otherwise once.

        Raises:
            MailboxFull: the mailbox is the sender's own, and full.
            NoProcess, Restarting: as `send`, also when the name is one on another node.
            Refused: the other node does not let this one address that process.
        """
        self.send(message)

    @overload
    async def call(
        self,
        method: Callable[Concatenate[A, P], Coroutine[Any, Any, Deferred[R]]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R: ...

    @overload
    async def call(
        self,
        method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R: ...

    @overload
    async def call(
        self, method: Callable[Concatenate[A, P], Deferred[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...

    @overload
    async def call(
        self, method: Callable[Concatenate[A, P], R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...

    async def call(self, method: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call `method(*args, **kwargs)` on the actor and wait for what it returns.

        A checkpoint whenever it has to wait, and every so often when not. Cancelled, or out of time, the
        caller has given up: a later reply is dropped. Source: `gen:call`.

        Raises:
            NotPublic: `method` is not a public method.
            UnknownMethod: the process has no such method, or only another one of that name.
            BadArguments: the method takes no such arguments.
            NoProcess: the process had ended before the call.
            Restarting: it had ended, and its supervisor is starting it again.
            ProcessDied: it ended before it replied; the reason is attached.
            NotConnected: it lives on a node that is not connected, or was lost before it replied.
            CallTimeout: no reply within the time limit.
            CallingSelf: the caller is the callee.
            SenderDropped: the callee dropped its deferred reply.
            MailboxFull: the callee's mailbox is full, by its policy.
        """
        return await self._request(method, args, kwargs).receive(self.limit)

    def _request(self, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request[Any]:
        node = self._node()
        request = node.request_type(node, self, self.name_of(method), args, kwargs, node.current)
        self.deliver(request)
        return request

    def _node(self) -> Node:
        raise AssertionError("a bare Ref stands for nothing")

    def within(self, seconds: float) -> Ref[A]:
        """Return the same ref with another time limit for `call` and `stop`. Not a checkpoint.

        Args:
            seconds: how long a call may wait for its reply; 0: the reply must be there when the caller would
                begin to wait; `math.inf`: no limit.

        Raises:
            TypeError: `seconds` is not a float or an int.
            ValueError: `seconds` is negative or NaN.
        """
        check_seconds(seconds, "a time limit")
        return self._limited_to(seconds)

    def _limited_to(self, seconds: float) -> Ref[A]:
        raise AssertionError("a bare Ref stands for nothing")

    def exit(self, reason: Reason) -> None:
        """Send an exit signal with `reason`, from the running process, or else from the node.

        Not a checkpoint. Source: `erlang:exit/2`.

        Raises:
            TypeError: `reason` is not a `Reason`.
        """
        self.deliver(signals.Exit(self._node().asker, checked(reason), linked=False))

    async def stop(
        self, reason: Reason = NORMAL, timeout: float | None = None, *, drain: bool = False
    ) -> None:
        """Ask the process to stop with `reason`, and wait until it has. A checkpoint.

        The process finishes the message at hand, runs `on_stop`, and ends. Cancelled, it is still asked to
        stop. Source: `gen_server:stop/3`.

        Args:
            reason: what it is to end with.
            timeout: how many seconds to wait for its end; None for the time limit of the ref (`within`), or
                for any number if it has none.
            drain: whether an actor is to handle first what came before this order; what comes after it
                becomes a dead letter. Other processes have no use for it.

        Raises:
            NoProcess: the process does not exist.
            CallTimeout: it has not ended within `timeout` seconds.
            ProcessDied: it ended with another reason.
            CallingSelf: a process cannot wait for its own end.
        """
        node = self._node()
        current = node.current
        if current is not None and current.ref == self:
            raise CallingSelf(self)
        order = signals.DRAIN if drain else signals.STOP
        request: Request[Any] = Request(node, self, order, (checked(reason),), {}, current)
        self.deliver(request)
        seconds = self.limit if timeout is None else timeout
        try:
            ended = await request.receive(float("inf") if seconds is None else seconds)
        finally:
            del request  # see `Request.receive`
        if ended != reason:
            raise ProcessDied(self, ended)


class RemoteRef(Ref[A]):
    """A process of another node, reached through that node's carrier."""

    __slots__ = ("_carrier", "_home", "_serial")

    def __init__(self, node: Node, carrier: Carrier, serial: int, limit: float | None = None) -> None:
        self._home = node
        self._carrier = carrier
        self._serial = serial
        self.limit = limit

    @property
    def node_name(self) -> str:
        return self._carrier.node_name

    @property
    def incarnation(self) -> int:
        return self._carrier.incarnation

    @property
    def serial(self) -> int:
        return self._serial

    def deliver(self, signal: signals.Signal) -> None:
        self._carrier.deliver(self, signal)

    async def call(self, method: Any, /, *args: Any, **kwargs: Any) -> Any:
        node = self._home
        request: Request[Any] = Request(node, self, method_name(method), args, kwargs, node.current)
        self._carrier.deliver(self, request)
        dispatcher = node.dispatcher
        dispatcher.handoffs -= 1
        if dispatcher.handoffs <= 0:
            dispatcher.renew_handoffs()
            await trio.lowlevel.cancel_shielded_checkpoint()
        elif not request.settled:
            # The callee may have been given this very processor, and be done: then there is no need to wait.
            self._carrier.look()
        if request.settled and request.error is None:
            return request.value
        try:
            return await request.receive(self.limit)
        finally:
            del request  # see `Request.receive`

    def given_up(self, number: int) -> None:
        self._carrier.given_up(number)

    def send_wait(self, message: Any) -> Coroutine[Any, Any, None]:
        return self._carrier.send_wait(self, message)

    def _node(self) -> Node:
        return self._home

    def _limited_to(self, seconds: float) -> Ref[A]:
        return RemoteRef(self._home, self._carrier, self._serial, seconds)


class HomeRef(Ref[A]):
    """A ref of this node that holds no process: a name, a number or a key, or the node itself."""

    __slots__ = ("_home",)

    _home: Node

    @property
    def node_name(self) -> str:
        return self._home.full_name

    @property
    def incarnation(self) -> int:
        return self._home.incarnation

    @property
    def serial(self) -> int:
        return 0

    def _node(self) -> Node:
        return self._home


class NodeRef(HomeRef[Any]):
    """The node itself, as the sender of exit signals that no process sent. It drops what is sent to it."""

    __slots__ = ()

    def __init__(self, node: Node) -> None:
        self._home = node
        self.limit = None

    def deliver(self, signal: signals.Signal) -> None:
        if isinstance(signal, signals.Call):
            signal.abandon(NO_PROCESS)


class NameRef(HomeRef[A]):
    """The holder of `name` on this node at the moment of use: it follows a restarted process to its next
    incarnation. Made by `Node.named`.

    Two are equal when their names are. Sending to a name that is not registered raises `NoProcess`, as
    Erlang's `!` does.
    """

    __slots__ = ("name",)

    is_name = True

    def __init__(self, node: Node, name: str, limit: float | None = None) -> None:
        self._home = node
        self.name = name
        self.limit = limit

    def resolve(self) -> Ref[A]:
        """Return the ref of the present holder. Not a checkpoint.

        Raises:
            Restarting: the holder's supervisor is starting it again.
            NoProcess: the name is not registered.
        """
        ref = self._home.whereis(self.name)
        if ref is None:
            if self.name in self._home.restarting_names:
                raise Restarting(self.name)
            raise NoProcess(self.name, self._home.registry.some(COMPARED))
        return ref if self.limit is None else ref.within(self.limit)

    def present(self) -> Ref[A] | None:
        """The ref by which monitors watch the present holder; None when no process has the name."""
        return self._home.whereis(self.name)

    def resolve_here(self) -> Ref[A]:
        """The ref of the present holder, which must be a process of this node. What the runtime itself uses.

        Raises: as `resolve`; and TypeError, when it need not be on this node.
        """
        return self.resolve()

    def _receiver(self) -> Ref[A]:
        """The ref of who is to get a message: also a holder that has ended, if its mailbox is being kept.

        Raises: as `resolve`.
        """
        home = self._home
        predecessor = home.restarting_names.get(self.name)
        if predecessor is None or home.whereis(self.name) is not None or not home.keeps_mailbox(predecessor):
            return self.resolve()
        return predecessor

    @property
    def serial(self) -> int:
        return self.resolve().serial

    def __eq__(self, other: object) -> bool:
        return is_a(other, NameRef) and self.name == other.name and self._home is other._home

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<{self._home.full_name}:{safe_str(self.name)}>"

    def deliver(self, signal: signals.Signal) -> None:
        if isinstance(signal, signals.Call):
            try:
                holder = self.resolve()
            except CallError as absent:
                signal.fail(absent)
            else:
                holder.deliver(signal)
        elif isinstance(signal, signals.Send | Cast):
            self._receiver().deliver(signal)
        else:
            self.resolve().deliver(signal)

    def send(self, message: Any) -> None:
        self._receiver().send(message)

    def name_of(self, method: Any) -> str:
        holder = self._home.whereis(self.name)
        return method_name(method) if holder is None else holder.name_of(method)

    async def send_wait(self, message: Any) -> None:
        await self._receiver().send_wait(message)

    async def stop(
        self, reason: Reason = NORMAL, timeout: float | None = None, *, drain: bool = False
    ) -> None:
        await self.resolve().stop(reason, timeout, drain=drain)

    if not TYPE_CHECKING:  # type checkers are to see what `Ref` says

        def cast(self, method: Any, /, *args: Any, **kwargs: Any) -> None:
            self._receiver().cast(method, *args, **kwargs)

        async def call(self, method: Any, /, *args: Any, **kwargs: Any) -> Any:
            return await self.resolve().call(method, *args, **kwargs)

    def _limited_to(self, seconds: float) -> Ref[A]:
        return NameRef(self._home, self.name, seconds)


def checked_ref(ref: Ref[A], purpose: str = "") -> Ref[A]:
    """Return `ref`, what the program has given as one, for that purpose.

    Raises:
        TypeError: it is none.
    """
    if not is_a(ref, Ref):  # `isinstance` believes an object that pretends to be one
        role = f" as {purpose}, such as `me.ref`" if purpose else ""
        raise TypeError(f"expected a Ref{role}, got {safe_repr(ref)}")
    return ref
