"""Actor messaging for guests: the contracts of `enfilade::actor::*`."""

from __future__ import annotations

import math
import struct
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from enfilade.hostcalls.abi import catalogue
from enfilade.hostcalls.abi.actor_types import (
    ActorBody,
    ActorCall,
    ActorDemonitor,
    ActorExit,
    ActorExport,
    ActorImport,
    ActorReceive,
    ActorReceived,
    ActorRegister,
    ActorReply,
    ActorSend,
    ActorSpawn,
    ActorSpawned,
    DownMessage,
    ExitedMessage,
    PlainMessage,
    RequestMessage,
    UpgradeMessage,
)
from enfilade.hostcalls.abi.errors import HostcallError, InvalidArgument, LimitReached, SubsystemError
from enfilade.hostcalls.abi.received import Encoded, body_bytes, plain_bytes, request_bytes, wish_of
from enfilade.hostcalls.contracts.caller import Caller
from enfilade.hostcalls.contracts.host import ActorHost, Ended, Incoming, Request, Upgrade
from enfilade.hostcalls.contracts.inbox import selects
from enfilade.hostcalls.contracts.launch import Launch
from enfilade.hostcalls.contracts.offer import Offer
from enfilade.hostcalls.contracts.operation import Operation, operation
from enfilade.hostcalls.contracts.quick import Again, Done, Later
from enfilade.hostcalls.drivers.process import ProcessDriver
from enfilade.hostcalls.resources.channel import FrameTooLong
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.resources.message import Held, Message
from enfilade.hostcalls.resources.registry import Kind

T = TypeVar("T")

_RESOURCE_BYTES = 1024
"""What a resource counts for in the length of a message."""


class MailboxDriver:
    """Lets guests speak to actors through `caller.host.actors`."""

    def __init__(self, processes: ProcessDriver) -> None:
        self._processes = processes

    def operations(self) -> Iterable[Operation[Any, Any]]:
        """The operations of actor messaging."""
        yield operation(catalogue.ACTOR_SELF, self.self, _self_quickly)
        yield operation(catalogue.ACTOR_SEND, self.send)
        yield operation(catalogue.ACTOR_RECEIVE, self.receive, _receive_quickly, _take_back)
        yield operation(catalogue.ACTOR_CALL, self.call, _call_quickly)
        yield operation(catalogue.ACTOR_REPLY, self.reply, _reply_quickly)
        yield operation(catalogue.ACTOR_RELEASE, self.release)
        yield operation(catalogue.ACTOR_SPAWN, self.spawn)
        yield operation(catalogue.ACTOR_LINK, self.link)
        yield operation(catalogue.ACTOR_UNLINK, self.unlink)
        yield operation(catalogue.ACTOR_MONITOR, self.monitor)
        yield operation(catalogue.ACTOR_DEMONITOR, self.demonitor)
        yield operation(catalogue.ACTOR_EXIT, self.exit)
        yield operation(catalogue.ACTOR_TRAP, self.trap)
        yield operation(catalogue.ACTOR_REGISTER, self.register)
        yield operation(catalogue.ACTOR_WHEREIS, self.whereis)
        yield operation(catalogue.ACTOR_EXPORT_STATE, self.export_state)
        yield operation(catalogue.ACTOR_IMPORT_STATE, self.import_state)

    def self(self, caller: Caller, _: None) -> int:
        """A slot for the guest itself."""
        return _slot(caller, _actors(caller).me())

    def send(self, caller: Caller, wanted: ActorSend) -> None:
        """Send a message."""
        to = _actor(caller, wanted.to)
        message = _message(caller, wanted.data, wanted.resources, wanted.tag)
        caller.budget.messages.left -= 1
        _hand_over(caller, message, lambda: _actors(caller).send(to, message))

    def receive(self, caller: Caller, wanted: ActorReceive) -> Any:
        """The next message that is wanted."""
        timeout = None if wanted.timeout_ms is None else wanted.timeout_ms / 1000
        select, convert = partial(selects, wanted), partial(_converted, caller, wanted)
        received: Any = _actors(caller).receive(select, timeout, convert)
        return Future.of(received) if type(received) is Offer else received

    def call(self, caller: Caller, wanted: ActorCall) -> Future[Any]:
        """Send a request and wait for its answer."""
        to = _actor(caller, wanted.to)
        timeout = None if wanted.timeout_ms is None else wanted.timeout_ms / 1000

        message = _message(caller, wanted.data, wanted.resources)
        caller.budget.messages.left -= 1
        answer: Future[Any]
        if message.resources:
            answer = _hand_over(caller, message, lambda: _actors(caller).call(to, message, timeout))
        else:
            answer = _actors(caller).call(to, message, timeout)
        return answer.then(partial(_body, caller, wanted.data_limit))

    def reply(self, caller: Caller, wanted: ActorReply) -> None:
        """Answer a request."""
        request: Request = caller.get(wanted.request, Kind.REQUEST).payload
        if wanted.request in wanted.resources:
            raise InvalidArgument
        request.reply(_message(caller, wanted.data, wanted.resources))
        caller.slots.free(wanted.request)

    def release(self, caller: Caller, slot: int) -> None:
        """Free a slot; a request that was not answered will not be."""
        caller.slots.free(slot)

    def spawn(self, caller: Caller, wanted: ActorSpawn) -> Awaitable[ActorSpawned]:
        """Start a guest as a child of the caller."""
        actors = _actors(caller)
        caller.check_room()

        async def spawn(launch: Launch) -> ActorSpawned:
            actor, process, monitor = await actors.spawn(launch, wanted.link, wanted.monitor)
            return ActorSpawned(_slot(caller, actor), process, monitor)

        return self._processes.start_by(caller, wanted.start, spawn)

    def link(self, caller: Caller, slot: int) -> None:
        """Link the caller and an actor."""
        _actors(caller).link(_actor(caller, slot))

    def unlink(self, caller: Caller, slot: int) -> None:
        """Take a link down."""
        _actors(caller).unlink(_actor(caller, slot))

    def monitor(self, caller: Caller, slot: int) -> int:
        """Watch an actor."""
        return _actors(caller).monitor(_actor(caller, slot))

    def demonitor(self, caller: Caller, wanted: ActorDemonitor) -> None:
        """Watch it no longer."""
        _actors(caller).demonitor(wanted.monitor, wanted.flush)

    def exit(self, caller: Caller, wanted: ActorExit) -> None:
        """Send an exit signal, or end."""
        _check_text(caller, wanted.reason.detail)
        _actors(caller).exit(None if wanted.to is None else _actor(caller, wanted.to), wanted.reason)

    def trap(self, caller: Caller, trap: bool) -> bool:
        """Turn exit signals into messages, or not."""
        return _actors(caller).trap(trap)

    def register(self, caller: Caller, wanted: ActorRegister) -> None:
        """Give an actor a name."""
        _check_text(caller, wanted.name)
        _actors(caller).register(wanted.name, _actor(caller, wanted.actor))

    def whereis(self, caller: Caller, name: str) -> int:
        """A slot for the actor of that name."""
        return _slot(caller, _actors(caller).whereis(name))

    def export_state(self, caller: Caller, wanted: ActorExport) -> Future[None] | None:
        """Hand the state over to the module that takes the guest's place."""
        return _actors(caller).export_state(wanted.state)

    def import_state(self, caller: Caller, _: None) -> ActorImport:
        """The state that the guest before has exported."""
        return ActorImport(_actors(caller).import_state())


def _actors(caller: Caller) -> ActorHost:
    actors = caller.host.actors
    if actors is None:
        raise SubsystemError("there are no actors here")
    return actors


def _actor(caller: Caller, slot: int) -> Any:
    return caller.get(slot, Kind.ACTOR).payload


def _slot(caller: Caller, actor: Any) -> int:
    """The caller's slot for `actor`, a new one if there is none."""
    slot = caller.slots.actor(actor)
    if slot is None:
        slot = caller.add(Kind.ACTOR, actor)
    return slot


def _message(caller: Caller, data: bytes, slots: Sequence[int], tag: int = 0) -> Message:
    """What the caller sends: its data within the limit, and resources out of its slots."""
    if len(data) + len(slots) * _RESOURCE_BYTES > caller.limits.message_bytes:
        raise LimitReached("message_bytes", caller.limits.message_bytes)
    return Message(data, tag, _take(caller, slots))


def _check_text(caller: Caller, text: str) -> None:
    """Raise unless a message could have this text, which others keep."""
    if len(text) > caller.limits.message_bytes:
        raise LimitReached("message_bytes", caller.limits.message_bytes)


def _hand_over(caller: Caller, message: Message, send: Callable[[], T]) -> T:
    """Send a message of the caller's; if that fails, it has the resources back."""
    try:
        return send()
    except HostcallError:
        # The slot that was freed last is given out first, so that each resource finds its own again.
        _give(caller, message.resources[::-1])
        raise


def _take(caller: Caller, slots: Sequence[int]) -> tuple[Held, ...]:
    """Take resources out of the caller's slots; all of them or none."""
    if not slots:
        return ()
    if len(set(slots)) != len(slots):
        raise InvalidArgument
    for slot in slots:
        caller.slots.get(slot)
    taken = []
    for slot in slots:
        resource = caller.slots.take(slot)
        taken.append(Held(caller.registry, resource))
        caller.registry.unhold(resource)
        caller.registry.own(resource, None)
    return tuple(taken)


def _give(caller: Caller, resources: Sequence[Held]) -> tuple[int, ...]:
    """Put resources into the caller's slots."""
    if not resources:
        return ()
    slots = []
    for held in resources:
        resource = held.resource
        slots.append(caller.slots.insert(resource))
        caller.registry.own(resource, caller.id)
        held.release()
    return tuple(slots)


def _check(caller: Caller, message: Message, data_limit: int, slots: int = 0) -> None:
    """Raise unless the caller has room for the message."""
    if len(message.data) > data_limit:
        raise FrameTooLong
    if message.resources or slots:
        caller.check_room(len(message.resources) + slots)


def _converted(
    caller: Caller, wanted: ActorReceive, incoming: Incoming | None
) -> ActorReceived | Encoded | Offer[ActorReceived]:
    """What the guest is given for a message; nothing when its time is over."""
    return ActorReceived(None) if incoming is None else _received(caller, incoming, wanted.data_limit)


def _body(caller: Caller, data_limit: int, answer: bytes | Message) -> ActorBody | Encoded:
    """What the guest is given for the answer to its call."""
    if type(answer) is bytes:
        if len(answer) > data_limit:
            raise FrameTooLong
        return Encoded(body_bytes(answer))
    assert isinstance(answer, Message)
    _check(caller, answer, data_limit)
    return ActorBody(answer.data, _give(caller, answer.resources))


def _received(
    caller: Caller, incoming: Incoming, data_limit: int
) -> ActorReceived | Encoded | Offer[ActorReceived]:
    if type(incoming) is bytes:
        if len(incoming) > data_limit:
            raise FrameTooLong
        return Encoded(plain_bytes(incoming))
    if isinstance(incoming, Request):
        message = incoming.message
        if type(message) is bytes:
            if len(message) > data_limit:
                raise FrameTooLong
            caller.check_room()
            return Encoded(request_bytes(caller.give(Kind.REQUEST, incoming, incoming.abandon), message))
        assert isinstance(message, Message)
        _check(caller, message, data_limit, slots=1)
        slot = caller.give(Kind.REQUEST, incoming, incoming.abandon)
        return ActorReceived(RequestMessage(slot, message.data, _give(caller, message.resources)))
    if isinstance(incoming, Message):
        _check(caller, incoming, data_limit)
        return ActorReceived(PlainMessage(incoming.tag, incoming.data, _give(caller, incoming.resources)))
    if isinstance(incoming, Upgrade):
        return ActorReceived(UpgradeMessage())
    assert isinstance(incoming, Ended)
    actor = _slot(caller, incoming.actor)
    received: ExitedMessage | DownMessage
    if incoming.monitor is None:
        received = ExitedMessage(actor, incoming.reason)
    else:
        received = DownMessage(incoming.monitor, actor, incoming.reason)
    # A process's end comes behind all that it has sent.
    return Offer(ActorReceived(received), lambda: _actors(caller).put_back(incoming, math.inf))


def _take_back(caller: Caller, serial: int, encoded: bytes) -> None:
    """Put back a message that the guest has dropped without having looked at it."""
    message = _read_received(encoded).message
    if not isinstance(message, PlainMessage | RequestMessage):
        return  # the time was over, or an upgrade, which is offered again
    try:
        resources = _take(caller, message.resources)
    except HostcallError:  # it has guessed the slots, and freed one
        return
    if isinstance(message, PlainMessage):
        plain = not message.tag and not resources
        content = message.data if plain else Message(message.data, message.tag, resources)
        _actors(caller).put_back(content, serial)
        return
    request: Request | None = caller.slots.peek(message.request, Kind.REQUEST)
    if request is None:
        return
    if resources:
        assert isinstance(request.message, Message)
        request.message = Message(message.data, request.message.tag, resources)
    _actors(caller).put_back(request, serial)
    caller.slots.free(message.request)


_read_received = catalogue.ACTOR_RECEIVE.output.decode
# The request; the data's place, relative to the field that tells it, and size; the same for the resources.
_REPLY = struct.Struct("<IiIiI")
# The actor; the tag of the option and the time limit; as above; the limit of the answer.
_CALL = struct.Struct("<I4xB7xQiIiII4x")


def _self_quickly(caller: Caller, arguments: bytes, _: int) -> bytes | None:
    own = caller.slots.own
    if own is not None and own[0].alive and not arguments:
        return own[1]
    actors = caller.host.actors
    return None if arguments or actors is None else caller.slots.note_own(actors.me())


def _receive_quickly(
    caller: Caller, arguments: bytes, future: int
) -> bytes | Future[Any] | Done | Again | None:
    wish = wish_of(arguments)
    actors = caller.host.actors
    if wish is None or actors is None:
        return None
    received = actors.receive_quickly(wish, future, caller, _converted)
    return received if type(received) is not bytes else plain_bytes(received)


def _span(root: int, field: int, offset: int, size: int, elements: int, count: int) -> int:
    """Where the data begins, which the vector at `field` in the root tells.

    It is -1 for a message with resources, which the next vector tells, and for what does not decode.
    """
    start = root + field + offset
    end = start + size
    resources = root + field + 8 + elements
    return -1 if start < 0 or end > root or count or not end <= resources <= root or elements & 3 else start


def _reply_quickly(caller: Caller, arguments: bytes, _: int) -> bytes | None:
    root = len(arguments) - _REPLY.size
    if root < 0 or root & 3:
        return None
    slot, offset, size, elements, count = _REPLY.unpack_from(arguments, root)
    start = _span(root, 4, offset, size, elements, count)
    if start < 0:
        return None
    request: Request | None = caller.slots.peek(slot, Kind.REQUEST)
    if request is None or size > caller.limits.message_bytes:
        return None
    request.reply(arguments[start : start + size])
    caller.slots.free(slot)
    return b""


def _call_quickly(caller: Caller, arguments: bytes, future: int) -> Done | Later | None:
    root = len(arguments) - _CALL.size
    actors = caller.host.actors
    if root < 0 or root & 7 or actors is None:
        return None
    slot, is_limited, milliseconds, offset, size, elements, count, limit = _CALL.unpack_from(arguments, root)
    start = _span(root, 24, offset, size, elements, count)
    if start < 0 or is_limited > 1 or size > caller.limits.message_bytes:
        return None
    if is_limited and not milliseconds:  # its time is over before anybody can answer
        return None
    to = caller.slots.peek(slot, Kind.ACTOR)
    if to is None:
        return None
    timeout = milliseconds / 1000 if is_limited else None
    outcome = actors.service.converse(to, future, arguments, (start, size), timeout, limit)
    if type(outcome) is Later:
        return Later(outcome.future, outcome.size, outcome.outcome.then(partial(_body, caller, limit)))
    return outcome
