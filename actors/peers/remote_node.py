"""Processes on other nodes: signals become frames of a node link. `inbound.py` is the way back.

A `RemoteNode` is one start of another node, as this node knows it. It is the carrier of all refs to that
node's processes, and outlives its node link: while there is none, signals to it fail as those to a lost
node do, or, when it can be called, wait until it has been. A later incarnation of the same node makes it
dead for good.

Refs that travel carry a token, a keyed hash of the serial number that only the home node can make. The
node that a ref is sent to may use it at once, because sending it granted it. A third node, to which it is
passed on, presents the token on its own node link first. Serial numbers that were neither granted nor
presented cannot be addressed; nor can names that the policy does not export.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import msgspec

from enfilade.actors.messages import signals
from enfilade.actors.messages.attempt import is_interrupt
from enfilade.actors.messages.errors import Moved, NoProcess, NotConnected, Refused, Restarting
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.reasons import KILL, NO_CONNECTION, REASONS, Reason, asked_by
from enfilade.actors.messages.ref import Ref, RemoteRef
from enfilade.actors.messages.request import Request
from enfilade.actors.messages.safe_text import safe_repr, safe_str
from enfilade.actors.messages.trace_context import TRACE, TraceContext
from enfilade.actors.messages.traced import Traced, trace_of
from enfilade.actors.messages.travelling import FAULTS
from enfilade.actors.peers.distribution import Distribution
from enfilade.actors.peers.faults import (
    error_in_words,
    lower_fault,
    lower_reason,
    reason_in_words,
    revive_fault,
    revive_reason,
)
from enfilade.actors.peers.inbound import Inbound
from enfilade.actors.peers.ledger import CALLING, Ledger, Linked, undeliverable
from enfilade.actors.peers.long_payloads import Departures
from enfilade.actors.peers.parties import Given
from enfilade.actors.peers.ref_passing import RefPassing
from enfilade.actors.peers.remote_refs import HeldRef, Proof, RemoteNameRef
from enfilade.actors.peers.tokens import Giving
from enfilade.actors.peers.trace_field import carrying, field_of
from enfilade.actors.peers.travelling_types import types
from enfilade.actors.peers.waiting import Waiting
from enfilade.actors.processes.start import Started
from enfilade.actors.processes.trace_layers import add_layer
from enfilade.transport import wire
from enfilade.transport.attachment import Attachment, Unfilled
from enfilade.transport.chunks import length
from enfilade.transport.file_descriptor import close_all
from enfilade.transport.outward import FrameTooLarge
from enfilade.transport.payload import Codec, External
from enfilade.transport.peer import Peer
from enfilade.transport.plain_frames import encode_call, encode_reply, encode_send
from enfilade.transport.records import PayloadError

__all__ = ["RemoteNode"]

FAULT: Final = 17
ASKED: Final = 18
"""Codes of the values that belong to a node link, beside refs."""

Encoded = tuple[Any, Sequence[Attachment]]
"""A payload, and what travels beside it."""


class RemoteNode:
    """One start of another node: the carrier of refs to its processes, and the state of the node link to it.

    Attributes:
        node_name: `name@zone`.
        incarnation: which start.
        address: where its rendezvous is, or empty.
        peer: the node link; None while there is none.
        is_superseded: whether a later start of that node is known, so that this one has ended.
        proofs: see `PeerCarrier`.
        take_in: carries out what the peer sent; see `Inbound.take_in`.
    """

    def __init__(self, distribution: Distribution, node_name: str, incarnation: int) -> None:
        self.node_name = node_name
        self.incarnation = incarnation
        self.address = ""
        self.peer: Peer | None = None
        self.is_superseded = False
        self.proofs: weakref.WeakValueDictionary[tuple[int, bytes], Proof] = weakref.WeakValueDictionary()
        self._trouble = ""
        """The reason why the last attempt to call it failed."""
        self._distribution = distribution
        self._node = distribution.node
        self._waiting = Waiting(self._node, node_name)
        self._passing = RefPassing(distribution, self)
        self._codec = Codec(types, externals=self._externals(), origin=self._node.full_name)
        self._open = Ledger()
        inbound = Inbound(distribution, self, ledger=self._open, passing=self._passing, codec=self._codec)
        self.take_in = inbound.take_in
        self._rooms, self._arrivals = inbound.rooms, inbound.arrivals
        self._notices = inbound.notices
        self._departures = Departures(self.say, self._link_has_room, distribution.start_soon)

    @property
    def most_references(self) -> int:
        """Number of refs of this node that the other may hold."""
        return 0 if self.peer is None else self.peer.rights.limits.references

    @property
    def references(self) -> int:
        """Number of refs of this node that the other holds."""
        return len(self._passing.granted)

    @property
    def copying(self) -> int:
        """Bytes of long payloads that have yet to be copied for it."""
        return self._departures.size

    @property
    def ledger(self) -> Ledger:
        """All that is open across the node link, for whoever looks."""
        return self._open

    def pending(self) -> dict[str, int]:
        """Numbers of what is open across the node link, by kind."""
        ledger = self._open
        return {
            "calls": len(ledger.calls),
            "answering": len(ledger.answering),
            "monitors": len(ledger.monitors),
            "watched": len(ledger.watched),
            "links": len(ledger.links),
            "questions": len(ledger.asked),
            "spawning": len(ledger.spawning),
        }

    def __repr__(self) -> str:
        return f"<RemoteNode {self.node_name}>"

    def deliver(self, ref: RemoteRef[Any], signal: signals.Signal) -> None:
        """Carry a signal; see `ref.Carrier`."""
        peer = self.peer
        if peer is None:
            self._deliver_later(ref, signal)
            return
        send = peer.send
        target: wire.Target
        if isinstance(ref, HeldRef):
            target = ref.target
            if ref.proof.shown_to is not peer:
                ref.proof.shown_to = peer
                send(wire.Present(target, ref.token))
                if self.peer is not peer:  # that was one frame too many for it
                    self._deliver_later(ref, signal)
                    return
        elif isinstance(ref, RemoteNameRef):
            target = ref.target
        else:
            target = ref.serial
        if type(signal) is Request:  # as most signals are
            self._call(peer, target, signal)
        elif isinstance(signal, signals.Cast):
            payload, files = self._encoded_soon(self._codec.encode_arguments, signal.args, signal.kwargs)
            send(wire.Cast(target, signal.method, payload, len(files)), files)
        elif isinstance(signal, signals.Send):
            if type(signal.message) is Traced:
                self._send_traced(peer, target, signal.message)
                return
            self._send(peer, target, signal.message)
        elif isinstance(signal, signals.Call):
            self._call(peer, target, signal)
        else:
            self._forward(peer, ref, target, signal)

    def _send(self, peer: Peer, target: wire.Target, message: Any) -> None:
        """Send a message. One that is plain is encoded together with its frame."""
        frame = encode_send(target, message)
        if frame:
            peer.send_encoded(frame)
            return
        payload, files = self._encoded_soon(self._codec.encode, message)
        peer.send(wire.Send(target, payload, len(files)), files)

    def _call(self, peer: Peer, target: wire.Target, call: signals.Call) -> None:
        """Send a call. One that is plain, and belongs to no trace, is encoded together with its frame."""
        # That of a call from another node, which is forwarded, has no number here: this node stands for it.
        caller = 0 if call.caller is None or call.peer is not None else call.caller.serial
        number = self._node.new_number()
        if type(call) is Request and not call.kwargs:
            data = encode_call(number, target, call.method, call.args, caller)
            if data:
                self._open.calls[number] = call
                call.number = number
                peer.send_encoded(data)
                return
        payload, files = self._encoded_soon(self._codec.encode_arguments, call.args, call.kwargs)
        self._open.calls[number] = call
        if isinstance(call, Request):
            call.number = number
        frame = wire.Call(number, target, call.method, payload, len(files), caller)
        try:
            peer.send(frame if type(call) is Request else _traced(frame, trace_of(call)), files)
        except FrameTooLarge:
            self._open.calls.pop(number, None)
            raise
        if not isinstance(call, Request):  # a forwarded one, which its caller does not know under this number
            call.when_given_up(partial(self.given_up, number))

    def _send_traced(self, peer: Peer, target: wire.Target, traced: Traced) -> None:
        """Send a message, or a cast, with the context of the trace that it belongs to."""
        message = traced.message
        frame: wire.Frame
        if type(message) is signals.Cast:
            payload, files = self._encoded_soon(self._codec.encode_arguments, message.args, message.kwargs)
            frame = wire.Cast(target, message.method, payload, len(files))
        else:
            payload, files = self._encoded_soon(self._codec.encode, message)
            frame = wire.Send(target, payload, len(files))
        peer.send(_traced(frame, traced.trace), files)

    def _forward(self, peer: Peer, ref: RemoteRef[Any], target: wire.Target, signal: signals.Signal) -> None:
        match signal:
            case signals.Monitor(watcher, tag):
                self._open.monitors[tag] = watcher
                peer.send(wire.Monitor(tag, target))
            case signals.Demonitor(_, tag):
                if self._open.monitors.pop(tag, None) is not None:
                    peer.send(wire.Demonitor(tag))
            case signals.Down(tag, reason):
                if self._open.watched.pop(tag, None) is not None:
                    peer.send(wire.Down(tag, self.encode_reason(reason), self.encode_by(reason)))
            case signals.Link(sender):
                self._passing.grant(sender)
                self._open.links[sender.serial, ref.serial] = Linked(sender, ref)
                peer.send(wire.Link(sender.serial, ref.serial))
            case signals.Unlink(sender, number):
                serial = self._open.linked_as.pop((sender.serial, ref.serial), sender.serial)
                self._open.links.pop((serial, ref.serial), None)
                peer.send(wire.Unlink(serial, ref.serial, number))
            case signals.UnlinkAck(sender, number):
                serial = self._open.linked_as.pop((sender.serial, ref.serial), sender.serial)
                peer.send(wire.UnlinkAck(serial, ref.serial, number))
            case signals.Exit(sender, reason, linked):
                serial = sender.serial
                if linked:
                    serial = self._open.linked_as.pop((serial, ref.serial), serial)
                    self._open.links.pop((serial, ref.serial), None)
                else:
                    with suppress(Refused):  # then the other cannot answer
                        self._passing.grant(sender)
                    if reason == KILL:
                        self._distribution.killing(self.node_name)
                by = self.encode_by(reason) if linked else wire.NIL  # otherwise it is the sender
                peer.send(wire.Exit(serial, target, linked, self.encode_reason(reason), by))
            case _:
                raise TypeError(f"expected a signal, got {safe_repr(signal)}")

    def _deliver_later(self, ref: RemoteRef[Any], signal: signals.Signal) -> None:
        waiting = self._waiting
        if not waiting.is_open and isinstance(signal, CALLING) and self._distribution.may_call(self):
            self._distribution.call_on_demand(self, waiting.open())
        if waiting.is_open:
            waiting.add(ref, signal)
        else:
            self._fail(ref, signal)

    def _fail(self, ref: RemoteRef[Any], signal: signals.Signal) -> None:
        """Answer a signal that has not left this node."""
        is_keyed = isinstance(ref, RemoteNameRef) and isinstance(ref.target, wire.Keyed)
        if is_keyed and isinstance(signal, signals.Call):
            signal.fail(Moved(ref))  # so the caller may ask anew who has the key
            return
        reason = self._distribution.reason_for(self)
        if isinstance(signal, signals.Call) and reason == NO_CONNECTION and not self.address:
            signal.fail(NotConnected(self.node_name, self._distribution.no_way_to(ref)))
        else:
            undeliverable(self._node, ref, signal, reason)

    def tell_free(self, kind: str, shard: int) -> None:
        """Tell the other that it can have a shard of a kind."""
        self.say(wire.Moved(kind, shard))

    def look(self) -> None:
        """Take in what has arrived; see `ref.Carrier`."""
        if self.peer is not None:
            self.peer.poll(alone=len(self._open.calls) == 1)

    def given_up(self, number: int) -> None:
        """Tell the other that nobody waits for the answer any more; see `ref.Carrier`."""
        if self._open.calls.pop(number, None) is not None:
            self.say(wire.Cancel(number))

    async def send_wait(self, ref: RemoteRef[Any], message: Any) -> None:
        """Wait until what was sent before has nearly left, and the mailbox has room; see `ref.Carrier`."""
        peer = self.peer
        if (
            type(ref) is HeldRef
            and peer is not None
            and ref.proof.boundless_for is ref.proof.shown_to is peer
            and not peer.is_crowded
            and not self._departures.size
        ):
            frame = encode_send(ref.target, message)
            if frame:  # otherwise there is more to it
                peer.send_encoded(frame)
            else:
                self._send(peer, ref.target, message)
            return
        await self._departures.wait_for_room()
        await self._link_has_room()
        number = await self._place(ref)
        if number:
            self.deliver(ref, signals.Cast(signals.FILL, (number, message), signals.NO_KWARGS))
        else:
            self.deliver(ref, signals.Send(message))

    async def _link_has_room(self) -> None:
        """Wait until little waits to leave. A checkpoint when it has to wait."""
        if self.peer is not None and self.peer.is_crowded:
            await self.peer.wait_for_room()

    async def _place(self, ref: RemoteRef[Any]) -> int:
        """Wait for room in the mailbox of `ref`; return the number of the place that is kept there, or 0."""
        peer, by_number = self.peer, isinstance(ref, HeldRef)
        if isinstance(ref, HeldRef) and peer is not None and ref.proof.boundless_for is peer:
            return 0
        node = self._node
        request: Request[bool | None] = Request(node, ref, signals.ROOM, (), {}, node.current)
        try:
            self.deliver(ref, request)
            is_kept = await request.receive(math.inf)
        except (NoProcess, Restarting, NotConnected) as absent:
            if by_number or isinstance(absent, NotConnected):
                return 0  # what becomes of the message is what becomes of any that is sent
            raise
        if is_kept is None and isinstance(ref, HeldRef):
            ref.proof.boundless_for = self.peer
        return request.number if is_kept else 0

    def reply(self, number: int, succeeded: bool, value: Any) -> None:
        """Answer a call of the peer."""
        if self._open.end_answer(number) is not None:
            self.answer(number, succeeded, value)

    def answer(self, number: int, succeeded: bool, value: Any) -> None:
        """Send the reply to a call or a spawn. One that is plain is encoded together with its frame."""
        peer = self.peer
        if succeeded and peer is not None:
            data = encode_reply(number, value)
            if data:
                peer.send_encoded(data)
                return
        by = wire.NIL if succeeded else self.encode_by(value)
        if is_a(value, Reason):
            value = asked_by(value, None)
        payload, files, encoded = self._encode(self._encoded_soon, value)
        self.say(wire.Reply(number, succeeded and encoded, payload, len(files), by), files)

    def encode(self, value: Any, giving: Giving = Giving.WHOLE) -> tuple[Any, Sequence[Attachment], bool]:
        """Encode as `_encode` does, and whole."""
        return self._encode(self._encoded, value, giving)

    def _encode(
        self, encoded: Callable[..., Encoded], value: Any, giving: Giving = Giving.WHOLE
    ) -> tuple[Any, Sequence[Attachment], bool]:
        """Encode a value, or what is said in its place; the last of three tells which it was. Never fails.

        An exit reason and an exception are said in words, of anything else why it cannot travel. The refs in
        them give nothing; others give what `giving` says.
        """
        kind = type(value)
        self._passing.giving = Giving.NOTHING if issubclass(kind, Reason | BaseException) else giving
        try:
            return *encoded(self._codec.encode, value), True
        except Exception as error:
            self._passing.giving = Giving.NOTHING
            said: Any
            origin = self._node.full_name
            if issubclass(kind, Reason):
                said = reason_in_words(value, origin)
            else:
                said = error_in_words(value if issubclass(kind, BaseException) else error, origin)
            return *self._codec.encode(said), False
        finally:
            self._passing.giving = Giving.WHOLE

    def _encoded(
        self, encode: Callable[..., Encoded], *values: Any, unwritten: list[Unfilled] | None = None
    ) -> Encoded:
        """Encode what travels, which may be made of anything.

        Raises:
            PayloadError: it cannot travel; also when its own code raises anything else.
            Refused, OSError: there is no room for its refs, or no descriptor for its files.
        """
        try:
            payload, files = encode(*values, unwritten)
        except (PayloadError, Refused, OSError):
            raise
        except BaseException as error:
            if is_interrupt(error):
                raise
            raise PayloadError(f"a value that cannot be encoded cannot travel: {safe_repr(error)}") from error
        if files and self.peer is not None and not self.peer.takes_descriptors:
            self._check_bulk(self.peer, files)
        return payload, files

    def _encoded_soon(self, encode: Callable[..., Encoded], *values: Any) -> Encoded:
        """Encode as `_encoded` does; but what is long in it follows, and the payload only says so."""
        peer = self.peer
        waiting = self._departures.size
        if peer is not None and peer.takes_descriptors and waiting > peer.rights.limits.backlog:
            peer.end(f"{waiting} bytes wait to be copied for a peer that takes nothing in")
        unwritten: list[Unfilled] = []
        payload, files = self._encoded(encode, *values, unwritten=unwritten)
        if not unwritten:
            return payload, files
        return self._departures.add(self._node.new_number(), payload, files, unwritten), ()

    def _check_bulk(self, peer: Peer, files: Sequence[Attachment]) -> None:
        """Refuse a long payload for which there is no room among those that wait to leave in chunks.

        Raises:
            PayloadError: there is none.
        """
        size = length(files)
        waiting, limit = self._departures.size + peer.bulk, peer.rights.limits.bulk
        if waiting + size > limit:
            raise PayloadError(
                f"{size} bytes cannot travel to {self.node_name} now: {waiting} wait to leave, the limit is "
                f"{limit} (Limits.bulk); use send_wait, or wait for answers"
            )

    def say(self, frame: wire.Frame, files: Sequence[Attachment] = ()) -> None:
        """Send a frame, or drop it while there is no node link."""
        if self.peer is None:
            close_all(files)
        else:
            self.peer.send(frame, files)

    def ask_whereis(self, name: str, then: Callable[[Any], None]) -> int:
        """Ask who holds a name. `then` is called with a ref or None, an exception, or a Reason."""
        number = self._node.new_number()
        return self._ask(number, wire.Whereis(number, name), (), then)

    def ask_spawn(
        self, entry: str, given: Given, then: Callable[[Any], None], parent: Ref[Any] | None = None
    ) -> int:
        """Ask to start a process, a child of `parent`. `then` gets its ref, an exception, or a Reason."""
        payload, files = self._encoded_soon(self._codec.encode, [list(given[0]), dict(given[1])])
        number = self._node.new_number()
        if parent is not None:
            self._passing.grant(parent)
        child_of = 0 if parent is None else parent.serial
        frame = wire.Spawn(number, entry, payload, len(files), child_of)
        return self._ask(number, _traced(frame, TRACE.get()), files, then)

    def _ask(
        self, number: int, frame: wire.Frame, files: Sequence[Attachment], then: Callable[[Any], None]
    ) -> int:
        if self.peer is None:
            close_all(files)
            then(NO_CONNECTION)
        else:
            asked = self._open.asked
            asked[number] = then
            try:
                self.peer.send(frame, files)
            except FrameTooLarge:
                del asked[number]
                raise
        return number

    def abandon(self, number: int) -> None:
        """Withdraw a question; a process that was spawned for it is killed."""
        if number in self._open.asked:
            self._open.asked[number] = self._end_orphan
            self.say(wire.Abandon(number))

    def tell_members(self, scope: str, group: Any, refs: Sequence[Ref[Any]]) -> None:
        """Tell the other the members that a group has on this node, if the two share its scope."""
        if self.peer is not None and self.peer.rights.shares(scope):
            payload, files, encoded = self.encode([group, list(refs)], Giving.ADDRESS)
            if encoded and not files:
                self.peer.send(wire.Members(scope, payload))
            else:
                close_all(files)
                self._notices.warn(
                    "the members of the group %r cannot travel to node %s", group, self.node_name
                )

    def _end_orphan(self, answer: Any) -> None:
        ref = answer.ref if isinstance(answer, Started) else answer
        if isinstance(ref, Ref):
            ref.deliver(signals.Exit(self._node.ref, KILL, linked=False))

    # Values that belong to the node link.

    def _externals(self) -> list[External]:
        faults = [External(kind, FAULT, lower_fault, revive_fault) for kind in FAULTS.values()]
        asked = [External(kind, ASKED, lower_reason, revive_reason) for kind in REASONS]
        return [*self._passing.externals(), *faults, *asked]

    def encode_reason(self, reason: Reason) -> Any:
        """Encode an exit reason; descriptors in it do not travel."""
        reason = asked_by(reason, None)  # which its frame tells
        payload, files, _ = self.encode(reason)
        if files:  # no room for them beside the reason of an exit
            close_all(files)
            payload = self._codec.encode(reason_in_words(reason, self._node.full_name))[0]
        return payload

    def encode_by(self, reason: Any) -> msgspec.Raw:
        """Encode who asked for an end: a ref that gives nothing, or nil. Anything but a reason has nobody."""
        by = reason.by if issubclass(type(reason), Reason) else None
        if by is None:
            return wire.NIL
        payload, files, encoded = self.encode(by, Giving.NOTHING)
        close_all(files)
        return payload if encoded else wire.NIL

    def ref(self, serial: int) -> HeldRef:
        """Make a ref to a process of the peer, by its serial number there."""
        return HeldRef(self._node, self, serial)

    # The life of the node link.

    def connected(self, peer: Peer) -> None:
        """Take a new node link into use, and deliver what waited for it."""
        self.peer = peer
        self._codec.limits = peer.rights.limits
        self._codec.without_descriptors = (
            ""
            if peer.takes_descriptors
            else f"a file descriptor cannot travel to {self.node_name}, which is reached over the mesh: send "
            "what the file holds"
        )
        self._trouble = ""
        self._waiting.deliver(self.deliver)

    async def call(self, connect: Callable[[str], Any], call: int) -> None:
        """Call the node in order to deliver what waits for that call; fail what cannot be delivered then."""
        try:
            peer = await connect(self.address)
        except (
            Exception
        ) as error:  # also those of the program's own policy, because nobody waits for this task
            is_known, self._trouble = (text := safe_str(error)) == self._trouble, text
            self._distribution.host.attempt_failed(self.address, error, is_known=is_known)
        else:
            if peer is not self.peer and peer.name == self.node_name:
                self.is_superseded = True
        finally:
            if self.peer is None:
                self._waiting.fail(call, self._fail)

    def finish(self) -> None:
        """Send what has yet to follow, because the node is about to say goodbye."""
        self._departures.finish()

    def lost(self) -> None:
        """Give up the node link, and notify everybody whom its end concerns."""
        self._arrivals.finish()
        self.peer = None
        self._departures.forget()
        self._rooms.forget()
        self._open.lose(self.ref(0))
        self._passing.forget()
        self._notices.close(self.node_name)


def _traced(frame: wire.Frame, trace: TraceContext | None) -> Any:
    """The frame with the context of a trace, if there is one."""
    if trace is None or trace.is_mark:
        return frame
    return wire.TRACED[type(frame)](*msgspec.structs.astuple(frame), field_of(trace))


add_layer(RemoteNode, "deliver", carrying)
