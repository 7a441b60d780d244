"""The node, as one guest sees it.

Messages stay in the process's own queue until the guest asks for them, so that the bound of the mailbox,
dead letters and failed calls work as for every process. Messages that guests cannot receive are removed when
they are met.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar, cast

from enfilade.actors.guests.guest_calls import METHODS, CallOfGuest, CallToGuest, check_place, content_of
from enfilade.actors.guests.guest_reasons import abi_reason, reason_of_guest
from enfilade.actors.guests.guest_service import Service
from enfilade.actors.guests.guest_trace import UNTRACED, GuestTrace, trace_at_hand
from enfilade.actors.guests.handover import Handover
from enfilade.actors.guests.trial import Trial
from enfilade.actors.messages import signals
from enfilade.actors.messages.errors import (
    BadArguments,
    CallError,
    NameTaken,
    NoProcess,
    RuntimeFault,
    SenderDropped,
    UnknownMethod,
)
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.reasons import (
    SHUTDOWN,
    Custom,
    Exit,
    Reason,
)
from enfilade.actors.messages.ref import NameRef, Ref
from enfilade.actors.messages.request import Request
from enfilade.actors.messages.safe_text import safe_repr, safe_str
from enfilade.actors.messages.traced import Traced, bare
from enfilade.actors.processes.handlers import check_method, refuse
from enfilade.actors.processes.keyed_timers import Tick
from enfilade.actors.processes.links import Down, Exited, Monitor
from enfilade.actors.processes.local_ref import process_of
from enfilade.actors.processes.process import Process
from enfilade.actors.processes.steps import is_from_outside
from enfilade.hostcalls.abi.actor_types import ActorReason
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.abi.errors import (
    AlreadyExists,
    InvalidArgument,
    LimitReached,
    NotFound,
    PermissionDenied,
    StartError,
    SubsystemError,
)
from enfilade.hostcalls.abi.received import Wish
from enfilade.hostcalls.contracts.budget import reached
from enfilade.hostcalls.contracts.host import ActorHost, Ended, Incoming
from enfilade.hostcalls.contracts.inbox import Inbox
from enfilade.hostcalls.contracts.launch import Launch
from enfilade.hostcalls.contracts.quick import Again, Done
from enfilade.hostcalls.kernel.execution import Execution
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.resources.message import Message, message_of

__all__ = ["NodeHost"]

C = TypeVar("C")
T = TypeVar("T")

LARGEST_TEXT = 1_000  # characters of an error or a reason that a guest is told
BACKLOG_BYTES = 16 * 1024  # bytes up to which a message counts for one in the limit `backlog`
LONGEST_NAME = 128  # characters of a name that a guest may register
LARGEST_NAME = 100  # characters of a name of the guest's in the log


class Owner(Protocol):
    """The guest's body (`guest_body.py`), as its host knows it."""

    inbox: Inbox

    @property
    def service(self) -> Service:
        """The guest's exchanges with those who want something of it."""
        ...

    async def spawn(self, launch: Launch, link: bool, monitor: bool) -> tuple[Ref[Any], int, int]:
        """Start a child; its ref, its process id, and the monitor's number or 0. Raises `StartError`."""
        ...

    def has_descendant(self, process: Process) -> bool:
        """Tell whether the guest, or a descendant of its, has started this process."""
        ...


class NodeHost:
    """The node's services for one guest: `Host` and `ActorHost` of `enfilade.hostcalls.contracts.host` in
    one.

    Args:
        process: the guest's process.
        owner: the guest's body.
        receives: whether the guest takes messages.

    Attributes:
        execution: the guest itself; set once it has been made.
        reason: the exit reason of a guest that is cut short.
        receives: whether the guest takes messages.
        upgrade: how another module is to take the guest's place; None when none is.
        trace: the trace that the message at hand belongs to.
        told: whether the guest has received an upgrade, and has not exported its state since.
        trial: what a module on trial has done to the process; None when none is on trial.
    """

    __slots__ = (
        "_monitors",
        "_owner",
        "_process",
        "execution",
        "reason",
        "receives",
        "told",
        "trace",
        "trial",
        "upgrade",
    )

    execution: Execution

    def __init__(self, process: Process, owner: Owner, *, receives: bool) -> None:
        self.reason: Reason = SHUTDOWN
        self._process = process
        self._owner: Owner | None = owner
        self.receives = receives
        self.upgrade: Handover | None = None
        self.told = False
        self.trial: Trial | None = None
        self._monitors: dict[int, Monitor] = {}
        self.trace: GuestTrace = UNTRACED

    @property
    def actors(self) -> ActorHost:
        return self

    @property
    def service(self) -> Service:
        owner = self._owner
        assert owner is not None  # nothing is served after the end
        return owner.service

    @property
    def _inbox(self) -> Inbox:
        owner = self._owner
        assert owner is not None
        return owner.inbox

    def release(self) -> None:
        """The guest has ended: let go of its body, which leads back here."""
        self._owner = None

    @property
    def traceparent(self) -> str:
        return self.trace.traceparent

    def end_trace(self, reason: Reason | None = None) -> None:
        """The guest is done with the message at hand, or has ended with `reason`."""
        if self.trace is not UNTRACED:
            trace, self.trace = self.trace, UNTRACED
            trace.end(None if reason is None or reason.is_normal else Exit(reason))

    # Processes.

    def start_soon(self, function: Callable[[], Awaitable[None]]) -> None:
        process = self._process

        async def run() -> None:
            try:
                await function()
            except BaseException as error:  # of a contract, as if its function had raised it
                if process.ended is not None or is_from_outside(error):
                    raise
                process.turn_failed(error)

        process.node.start_task(run, f"hostcall of {process.ref}", process)

    def stop(self) -> None:
        if not self._ends_trial(SHUTDOWN):
            self._process.exit_arrived(self._process.node.ref, SHUTDOWN, linked=False)

    async def start_child(self, launch: Launch) -> int:
        _, process, _ = await self.spawn(launch, link=False, monitor=False)
        return process

    async def spawn(self, launch: Launch, link: bool, monitor: bool) -> tuple[Any, int, int]:
        if monitor:
            self._check_monitors()
        owner = self._owner
        if owner is None:
            raise StartError("the parent process has ended")
        return await owner.spawn(launch, link, monitor)

    # Receiving.

    def receive(
        self,
        select: Callable[[Incoming], bool],
        timeout: float | None,
        convert: Callable[[Incoming | None], T],
    ) -> T | Future[T]:
        self.end_trace()
        if self.upgrade is not None:
            answer = self.upgrade.receive(select, convert)
            if answer is not None:
                return answer
        return self._inbox.receive(select, timeout, convert)

    def export_state(self, state: bytes) -> Future[None] | None:
        if not self.told:
            raise InvalidArgument(why="a guest exports its state when it has received an upgrade")
        self.told = False
        # One that comes too late, when the upgrade was given up, is no mistake of the guest's.
        return None if self.upgrade is None else self.upgrade.export_state(state)

    def import_state(self) -> bytes | None:
        return None if self.upgrade is None else self.upgrade.import_state()

    def receive_quickly(
        self, wish: Wish, future: int, caller: C, convert: Callable[[C, Any, Any], Any]
    ) -> bytes | Future[Any] | Done | Again | None:
        process = self._process
        if self.upgrade is not None or not self.receives or process.attention or self.trace.is_there:
            return None
        if not process.queue:
            return self._inbox.wait(wish, caller, convert) if wish.is_patient else None
        if not wish.takes_bytes:
            return None
        if len(process.queue) > 1:
            fed = self.service.feed(wish, future)
            if fed is not None:
                return fed
        return self._inbox.take_bytes(wish.limit)

    def admit(self, message: Any) -> Any:
        if type(message) is Traced:
            admitted = self.admit(message.message)
            if admitted is None or admitted is message.message:
                return None if admitted is None else message
            return Traced(admitted, message.trace)
        if self.receives:
            kind = type(message)
            if kind is bytes or (kind is Request and content_of(message) is not None):
                return message
        process = self._process
        if type(message) is Tick:
            counts, message = message.unwrap()
            if not counts:
                return None
        if is_a(message, Exited):
            if message.ref == process.parent:
                # As for every actor: who traps exits still ends with its parent.
                self.cut_short(message.reason)
            return message
        if is_a(message, Down):
            return message
        is_request = is_a(message, signals.Call, signals.Cast)
        content = content_of(message) if is_request else message_of(message)
        if content is not None and self.receives:
            return message if is_a(message, signals.Call) else content
        if is_request:
            refuse(process.ref, message, self._refusal(message))
        else:
            told = Custom(_ONLY_BYTES if self.receives else f"it is a guest {self._why_deaf}")
            process.node.dead_letters.publish(message, process.ref, told, level=logging.WARNING)
        return None

    def cut_short(self, reason: Reason) -> None:
        """End the guest, and with it the process, for a reason that is not the guest's own."""
        if self.upgrade is not None:
            self.upgrade.roll_back("the process is to end")
        self.reason = reason
        self.execution.stop()

    def translate(self, message: Any) -> Incoming:
        message = bare(message)
        if type(message) is bytes:
            return message
        if is_a(message, signals.Call):
            content = content_of(message)
            assert content is not None
            return CallToGuest(self, message, content)
        match message:
            case Exited(ref, reason):
                return Ended(None, ref, abi_reason(reason), message)
            case Down(monitor, ref, reason):
                return Ended(monitor.number, ref, abi_reason(reason), message)
        assert is_a(message, Message)
        return message

    def taken(self, message: Any, incoming: Incoming) -> None:
        process = self._process
        trace = trace_at_hand(process, message)
        if trace is not UNTRACED:
            self.trace = trace
        message = bare(message)
        if type(incoming) is CallToGuest:
            process.extras().deferred[message] = False
        elif isinstance(incoming, Ended) and incoming.monitor is not None:
            self._monitors.pop(incoming.monitor, None)
        if process.attention:
            process.observe(message)
            process.observed(message)
            process.settle()

    def _refusal(self, request: signals.Call | signals.Cast) -> RuntimeFault:
        """Return the error for who sent a request that the guest cannot take."""
        signature = METHODS.get(request.method)
        if signature is None:
            return UnknownMethod(request.method, "Guest", METHODS)
        if not self.receives:
            return UnknownMethod(request.method, f"a guest {self._why_deaf}")
        return BadArguments(f"Guest.{request.method}", signature, request.args, request.kwargs, _ONLY_BYTES)

    @property
    def _why_deaf(self) -> str:
        """The reason why the guest takes no messages."""
        if Capability.ACTOR_MESSAGE not in self.execution.caller.grants:
            return "without the capability ActorMessage (grant it: capabilities=['ActorMessage'])"
        return "whose module does not import `enfilade::actor::receive`"

    def put_back(self, incoming: Incoming, serial: float) -> None:
        message: Any = incoming
        if isinstance(incoming, CallToGuest):
            message = incoming.call
            self._process.settle_deferred(message)
            if isinstance(incoming.message, Message):  # with other holds of its resources, perhaps
                message.args = (incoming.message,)
        elif isinstance(incoming, Ended):
            message = incoming.message
            if is_a(message, Down):
                self._monitors[message.monitor.number] = message.monitor
        self._inbox.return_message(message, serial)

    def reply(self, call: signals.Call, answer: bytes | Message) -> None:
        """Answer a call that the guest has taken, with a `Message` if it was made with one."""
        self._process.settle_deferred(call)
        if is_a(call.args[0], Message):
            call.reply(Message(answer) if type(answer) is bytes else answer)
        else:
            call.reply(answer.data if is_a(answer, Message) else answer)

    def abandon(self, call: signals.Call) -> None:
        """Fail a request that the guest has dropped; after the guest's end, the process's end fails it."""
        if not call.settled and not self.execution.ended and self._process.settle_deferred(call):
            call.fail(SenderDropped(self._process.ref))

    # Sending.

    def me(self) -> Ref[Any]:
        return self._process.ref

    def send(self, to: Ref[Any], message: Message) -> None:
        check_place(to, message, "send")
        self._check_backlog(to, message)
        try:
            with self.trace:
                to.send(message)
        except RuntimeFault as error:
            raise SubsystemError(f"send failed: {safe_str(error)}") from error

    def call(
        self, to: Ref[Any], message: bytes | Message, timeout: float | None
    ) -> Future[bytes] | Future[Message]:
        if to == self._process.ref:
            raise InvalidArgument
        check_place(to, message, "call")
        self._check_backlog(to, message)
        if is_a(message, Message) and not message.resources:
            message = message.data
        method = "exchange" if is_a(message, Message) else "request"
        try:
            check_method(to, method)
        except UnknownMethod as error:
            raise SubsystemError(f"call failed: {safe_str(error)}") from None
        call = CallOfGuest(self._process, to, method, message)
        with self.trace:
            to.deliver(call.request)
        call.limit_to(timeout)
        return call

    def _check_backlog(self, to: Ref[Any], message: bytes | Message) -> None:
        """Raise unless an unbounded mailbox of this node has room for another message of guests."""
        if isinstance(to, NameRef):
            to = to.present() or to
        process = process_of(to)
        if process is None or process.mailbox.capacity is not None:
            return
        waiting, limit = len(process.queue), self.execution.caller.limits.backlog
        size = len(message.data if type(message) is Message else cast(bytes, message))
        if waiting >= limit or waiting * size > limit * BACKLOG_BYTES:
            raise reached("backlog", limit)

    # Links, monitors, names.

    def link(self, actor: Ref[Any]) -> None:
        self._check_mailbox()
        self._check_end(actor, "link to")
        if self.trial is not None and not isinstance(actor, NameRef):
            target = process_of(actor)
            if target is not None and target.ended is not None and not self._process.trap_exits:
                raise NotFound
            self.trial.link(actor)
            return
        try:
            self._process.link(actor)
        except NoProcess:
            raise NotFound from None
        except CallError as error:
            raise SubsystemError(f"link failed: {safe_str(error)}") from None
        except TypeError:  # a name on another node
            raise InvalidArgument from None

    def link_child(self, child: Ref[Any]) -> None:
        """Link to a child that the guest has just started."""
        if self.trial is None:
            self._process.link(child)
        else:
            self.trial.link(child)

    def unlink(self, actor: Ref[Any]) -> None:
        if self.trial is not None:
            self.trial.unlink(actor)
        with contextlib.suppress(CallError):  # a name that no process holds is linked to none
            self._process.unlink(actor)

    def monitor(self, actor: Ref[Any]) -> int:
        self._check_monitors()
        monitor = self._process.monitor(actor)
        self._monitors[monitor.number] = monitor
        if self.trial is not None:
            self.trial.did(monitor.number, lambda: self.demonitor(monitor.number, flush=True))
        return monitor.number

    def _check_monitors(self) -> None:
        """Raise unless the guest may have another monitor, and the message that it may cause."""
        self._check_mailbox()
        limit = self.execution.caller.limits.resources
        if len(self._monitors) >= limit:
            raise LimitReached("resources", limit)

    def _check_mailbox(self) -> None:
        """Raise unless the mailbox has room: messages that a guest causes itself are bounded as well."""
        limit = self.execution.caller.limits.mailbox
        if len(self._process.queue) >= limit:
            raise LimitReached("mailbox", limit)

    def demonitor(self, monitor: int, flush: bool) -> None:
        found = self._monitors.pop(monitor, None)
        if found is None:
            raise NotFound
        if self.trial is not None:
            self.trial.undid(monitor)
        self._process.demonitor(found, flush)
        self._inbox.look_again()

    def exit(self, actor: Ref[Any] | None, reason: ActorReason) -> None:
        if actor is not None:
            self._check_mailbox()
            self._check_end(actor, "end")
            if process_of(actor) is not self._process or not self._ends_trial(reason_of_guest(reason)):
                self._process.exit(actor, reason_of_guest(reason))
        else:
            self.reason = reason_of_guest(reason)
            self.execution.stop()

    def _ends_trial(self, reason: Reason) -> bool:
        """End a module on trial that wants the process to end; False if the process has no such wish.

        The process is the module's only once it has taken over. What others want ends the process.
        """
        if self.trial is None or self._process.dispatcher.running is not self._process:
            return False
        self.reason = reason
        self.execution.stop()
        return True

    def trap(self, trap: bool) -> bool:
        before, self._process.trap_exits = self._process.trap_exits, trap
        if self.trial is not None:
            self.trial.did("traps", lambda: setattr(self._process, "trap_exits", before))
        return before

    def register(self, name: str, actor: Ref[Any]) -> None:
        if not self.execution.caller.authority.may_register(name):
            raise PermissionDenied(
                why=f"the guest may not register the name {safe_repr(name, LARGEST_NAME)}; "
                "grant it with registers=[...]"
            )
        if not self._is_own(actor):
            raise PermissionDenied(why="a guest may register only itself and its descendants")
        if len(name) > LONGEST_NAME or not name.isprintable():  # operators see it, and the node keeps it
            raise InvalidArgument(
                why=f"a name must have {LONGEST_NAME} printable characters at most, "
                f"got {safe_repr(name, LARGEST_NAME)}"
            )
        try:
            self._process.node.register(name, actor)
        except NameTaken:
            raise AlreadyExists from None
        except NoProcess:
            raise NotFound from None
        except (TypeError, ValueError):
            raise InvalidArgument from None
        if self.trial is not None:
            self.trial.did((name, actor), lambda: self._unregister(name, actor))

    def _unregister(self, name: str, actor: Ref[Any]) -> None:
        node = self._process.node
        if node.whereis(name) == actor:
            node.unregister(name)

    def whereis(self, name: str) -> Ref[Any]:
        found = self._process.node.whereis(name)
        if found is not None and self._is_own(found):
            return found
        if not self.execution.caller.authority.may_find(name) or self._is_root(found):
            raise PermissionDenied(
                why=f"the guest may not find the name {safe_repr(name, LARGEST_NAME)}; "
                "grant it with finds=[...]"
            )
        if found is None:
            raise NotFound
        return found

    # Authority.

    def _is_own(self, actor: Ref[Any]) -> bool:
        process = process_of(actor)
        return process is not None and (process is self._process or self._started(process))

    def _started(self, process: Process) -> bool:
        return self._owner is not None and self._owner.has_descendant(process)

    def _is_root(self, actor: Ref[Any] | None) -> bool:
        root = self._process.node.root
        return root is not None and actor == root

    def _check_end(self, actor: Ref[Any], operation: str) -> None:
        """Raise unless the guest may end the actor, by a signal or by a link."""
        process = process_of(actor)
        if self._is_own(actor) or (process is not None and process.ended is not None):
            return
        name = None if process is None else process.name
        if name is not None and self.execution.caller.authority.may_end(name) and not self._is_root(actor):
            return
        raise PermissionDenied(
            why=f"a guest may {operation} its own descendants and the holders of names that it was granted; "
            + (
                "the actor has no name"
                if name is None
                else f"{safe_repr(name, LARGEST_NAME)} is not among them"
            )
            + "; grant names with ends=[...]"
        )


_ONLY_BYTES = "guests receive only bytes and enfilade.hostcalls.Message; encode text: `text.encode()`"
