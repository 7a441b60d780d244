"""Processes on other nodes: what turns the runtime's signals into frames of a node link, and back.

A `RemoteNode` is one start of another node, as this node knows it. It is the carrier of all refs to that
node's processes, and outlives its node link: while there is none, signals to it fail as those to a lost
node do, or, when it can be called, wait until it has been. A later incarnation of the same node makes it
dead for good.

Refs that travel carry a token, a keyed hash of the serial number that only the home node can make. The
node that a ref is sent to may use it at once, because sending it granted it. A third node, to which it is
passed on, presents the token on its own node link first. Serial numbers that were neither granted nor
presented cannot be addressed; nor can names that the policy does not export.

What a peer may not do is refused and counted; what it sends that cannot be decoded fails the one call or
message and nothing else.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import trio

from enfilade.actors.messages import signals
from enfilade.actors.messages.errors import MailboxFull, Refused, Restarting, RuntimeFault, UnknownMethod
from enfilade.actors.messages.reasons import KILL, NO_CONNECTION, NO_PROCESS, Custom, Reason
from enfilade.actors.messages.ref import NameRef, NodeRef, Ref, RemoteRef
from enfilade.actors.peers.distribution import Distribution, Given
from enfilade.actors.peers.faults import FAULTS, lower_fault, revive_fault
from enfilade.actors.peers.ledger import Ledger, undeliverable
from enfilade.actors.peers.ref_passing import RefPassing
from enfilade.actors.peers.remote_call import RemoteCall, arguments, check_call
from enfilade.actors.peers.remote_refs import HeldRef, RemoteNameRef
from enfilade.actors.peers.travelling_types import types
from enfilade.actors.processes.handlers import check_method
from enfilade.actors.processes.links import Alias
from enfilade.actors.processes.local_ref import LocalRef, process_of
from enfilade.actors.processes.start import Started
from enfilade.transport import wire
from enfilade.transport.carrier import Handle
from enfilade.transport.file_descriptor import close_all
from enfilade.transport.payload import Codec, External
from enfilade.transport.peer import FrameTooLarge, Peer
from enfilade.transport.policy import Rights
from enfilade.transport.records import PayloadError

__all__ = ["RemoteNode"]

logger = logging.getLogger("enfilade.actors")


REF: Final = 16
FAULT: Final = 17
"""Codes of the values that belong to a node link."""

CALLING: Final = (signals.Send, signals.Cast, signals.Call, signals.Monitor, signals.Link)
"""Signals for whose sake a node is called that is not connected."""


class RemoteNode:
    """One start of another node: the carrier of refs to its processes, and the state of the node link to it.

    Attributes:
        node_name: `name@zone`.
        incarnation: which start.
        address: where its rendezvous is, or empty.
        peer: the node link; None while there is none.
        is_superseded: whether a later start of that node is known, so that this one has ended.
    """

    def __init__(self, distribution: Distribution, node_name: str, incarnation: int) -> None:
        self.node_name = node_name
        self.incarnation = incarnation
        self.address = ""
        self.peer: Peer | None = None
        self.is_superseded = False
        self._trouble = ""
        """Why the last attempt to call it failed."""
        self._distribution = distribution
        self._node = distribution.node
        self._waiting: deque[tuple[RemoteRef[Any], signals.Signal]] | None = None
        self._passing = RefPassing(distribution, self)
        self._codec = Codec(types, externals=self._externals(), origin=self._node.full_name)
        self._open = Ledger()
        self.refusals = 0

    @property
    def most_references(self) -> int:
        """How many refs of this node the other may hold."""
        return 0 if self.peer is None else self.peer.rights.limits.references

    def __repr__(self) -> str:
        return f"<RemoteNode {self.node_name}>"

    # Outwards: signals become frames.

    def deliver(self, ref: RemoteRef[Any], signal: signals.Signal) -> None:
        """Carry a signal; see `ref.Carrier`."""
        peer = self.peer
        if peer is None:
            self._deliver_later(ref, signal)
            return
        target: wire.Target = ref._serial
        if isinstance(ref, HeldRef):
            if ref.shown_to is not peer:
                ref.shown_to = peer
                peer.send(wire.Present(ref._serial, ref.token))
                if self.peer is not peer:  # that was one frame too many for it
                    self._deliver_later(ref, signal)
                    return
        elif isinstance(ref, RemoteNameRef):
            target = ref.target
        if isinstance(signal, signals.Cast):
            payload, files = self._codec.encode_arguments(signal.args, signal.kwargs)
            peer.send(wire.Cast(target, signal.method, payload, len(files)), files)
        elif isinstance(signal, signals.Send):
            payload, files = self._codec.encode(signal.message)
            peer.send(wire.Send(target, payload, len(files)), files)
        elif isinstance(signal, signals.Call):
            payload, files = self._codec.encode_arguments(signal.args, signal.kwargs)
            number = self._node.new_number()
            ledger = self._open
            for given_up in ledger.add_call(number, signal):
                peer.send(wire.Cancel(given_up))
            try:
                peer.send(wire.Call(number, target, signal.method, payload, len(files)), files)
            except FrameTooLarge:
                ledger.calls.pop(number, None)
                raise
        else:
            self._forward(peer, ref, target, signal)

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
                    peer.send(wire.Down(tag, self._encode_reason(reason)))
            case signals.Link(sender):
                self._passing.grant(sender)
                self._open.links[sender.serial, ref._serial] = (sender, ref)
                peer.send(wire.Link(sender.serial, ref._serial))
            case signals.Unlink(sender, number):
                self._open.links.pop((sender.serial, ref._serial), None)
                peer.send(wire.Unlink(sender.serial, ref._serial, number))
            case signals.UnlinkAck(sender, number):
                peer.send(wire.UnlinkAck(sender.serial, ref._serial, number))
            case signals.Exit(sender, reason, linked):
                if linked:
                    self._open.links.pop((sender.serial, ref._serial), None)
                else:
                    with suppress(Refused):  # then the other cannot answer
                        self._passing.grant(sender)
                    if reason == KILL:
                        self._distribution.killing(self.node_name)
                peer.send(wire.Exit(sender.serial, target, linked, self._encode_reason(reason)))
            case _:
                raise TypeError(f"not a signal: {signal!r}")

    def _deliver_later(self, ref: RemoteRef[Any], signal: signals.Signal) -> None:
        if self._waiting is None and isinstance(signal, CALLING) and self._distribution.may_call(self):
            self._waiting = deque()
            self._distribution.call_on_demand(self)
        if self._waiting is not None:
            self._waiting.append((ref, signal))
        else:
            self._fail(ref, signal)

    def _fail(self, ref: RemoteRef[Any], signal: signals.Signal) -> None:
        undeliverable(self._node, ref, signal, self._distribution.reason_for(self))

    def look(self) -> None:
        """Take in what has arrived; see `ref.Carrier`."""
        if self.peer is not None:
            self.peer.look(alone=len(self._open.calls) == 1)

    async def wait_for_room(self, ref: RemoteRef[Any]) -> None:
        """Wait until what was sent before has nearly left; see `ref.Carrier`."""
        if self.peer is not None and self.peer.is_crowded:
            await self.peer.wait_for_room()

    def reply(self, number: int, succeeded: bool, value: Any) -> None:
        """Answer a call of the peer."""
        if self._open.answering.pop(number, None) is not None:
            self._answer(number, succeeded, value)

    def _answer(self, number: int, succeeded: bool, value: Any) -> None:
        payload, files, encoded = self._encode(value)
        self._say(wire.Reply(number, succeeded and encoded, payload, len(files)), files)

    def _encode(self, value: Any) -> tuple[Any, Sequence[Handle], bool]:
        """Encode what this node says of its own accord, or, when that is not possible, why not."""
        try:
            return *self._codec.encode(value), True
        except (PayloadError, Refused, OSError) as error:
            return *self._codec.encode(Custom(str(value)) if isinstance(value, Reason) else error), False

    def _say(self, frame: wire.Frame, files: Sequence[Handle] = ()) -> None:
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
        payload, files = self._codec.encode([list(given[0]), dict(given[1])])
        number = self._node.new_number()
        if parent is not None:
            self._passing.grant(parent)
        child_of = 0 if parent is None else parent.serial
        return self._ask(number, wire.Spawn(number, entry, payload, len(files), child_of), files, then)

    def _ask(
        self, number: int, frame: wire.Frame, files: Sequence[Handle], then: Callable[[Any], None]
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
        """Nobody waits for the answer to a question any more."""
        if number in self._open.asked:
            self._open.asked[number] = self._end_orphan
            self._say(wire.Abandon(number))

    def tell_members(self, scope: str, group: Any, refs: Sequence[Ref[Any]]) -> None:
        """Tell the other who of this node is in a group, if the two share its scope."""
        if self.peer is not None and self.peer.rights.shares(scope):
            payload, files, encoded = self._encode([group, list(refs)])
            if encoded and not files:
                self.peer.send(wire.Members(scope, payload))
            else:
                close_all(files)
                logger.warning("node %s cannot be told who is in the group %r", self.node_name, group)

    def _end_orphan(self, answer: Any) -> None:
        ref = answer.ref if isinstance(answer, Started) else answer
        if isinstance(ref, Ref):
            ref.deliver(signals.Exit(self._node.ref, KILL, linked=False))

    # Values that belong to the node link.

    def _externals(self) -> list[External]:
        kinds = (LocalRef, Alias, HeldRef, RemoteRef, RemoteNameRef, NameRef, NodeRef)
        refs = [External(kind, REF, self._passing.lower, self._passing.revive) for kind in kinds]
        return refs + [External(kind, FAULT, lower_fault, revive_fault) for kind in FAULTS.values()]

    def _encode_reason(self, reason: Reason) -> Any:
        payload, files, _ = self._encode(reason)
        if files:  # no room for them beside the reason of an exit
            close_all(files)
            payload = self._codec.encode(Custom(str(reason)[:1000]))[0]
        return payload

    def _ref(self, serial: int) -> HeldRef:
        """A ref to a process that the peer spoke for."""
        return HeldRef(self._node, self, serial)

    # Inwards: frames become signals.

    def take_in(self, frames: Sequence[wire.Frame], handles: Sequence[Handle]) -> None:
        """Carry out what the peer sent.

        Raises:
            MalformedBatch: a frame has no place here.
        """
        used = 0
        try:
            for frame in frames:
                files: Sequence[Handle] = ()
                if handles and (count := getattr(frame, "files", 0)):
                    files = handles[used : used + count]
                    used += count
                if isinstance(frame, wire.Cast):
                    self._receive(frame.to, frame.payload, files, frame.method)
                elif isinstance(frame, wire.Send):
                    self._receive(frame.to, frame.payload, files, None)
                elif isinstance(frame, wire.Call):
                    self._receive_call(frame, files)
                elif isinstance(frame, wire.Reply):
                    self._receive_reply(frame.id, frame.succeeded, frame.payload, files)
                else:
                    self._carry_out(frame, files)
        finally:
            close_all(handles[used:])

    def _rights(self) -> Rights:
        assert self.peer is not None, "frames come from a peer"
        return self.peer.rights

    def _target(self, to: wire.Target) -> Ref[Any] | None:
        """Whom the peer means; None when nobody is there.

        Raises:
            Refused: it may not address it.
        """
        if isinstance(to, int):
            granted = self._passing.granted
            if to in granted:
                return granted[to]
        elif self._rights().sees(to):
            return self._node.whereis(to)
        raise self._refuse(f"exports nothing under {to!r}")

    def _refuse(self, what: str) -> Refused:
        """Count a refusal, and log the first: a peer may try as often as it likes."""
        self.refusals += 1
        text = f"node {self._node.full_name} {what} to node {self.node_name}"
        if self.refusals == 1:
            logger.warning("%s", text)
        return Refused(text)

    def _receive(self, to: wire.Target, payload: Any, files: Sequence[Handle], method: str | None) -> None:
        try:
            ref = self._target(to)
        except Refused:
            close_all(files)
            return
        try:
            value = self._codec.decode(payload, files)
            if method is not None:
                value = signals.Cast(method, *arguments(value))
                if ref is not None:
                    check_method(ref, method)
        except (PayloadError, UnknownMethod, ValueError) as error:
            logger.warning("a message from node %s to %s was dropped: %s", self.node_name, ref or to, error)
            return
        if ref is None:
            self._node.dead_letters.publish(value, self._node.ref, NO_PROCESS)
            return
        try:
            if isinstance(ref, LocalRef):
                ref.send(value)
            else:
                ref.deliver(value if method is not None else signals.Send(value))
        except MailboxFull:
            self._node.dead_letters.publish(value, ref, Custom("mailbox full"))

    def _receive_call(self, frame: wire.Call, files: Sequence[Handle]) -> None:
        number = frame.id
        if number in self._open.answering:
            raise wire.MalformedBatch(f"call {number} was made twice")
        if len(self._open.answering) >= self._rights().limits.pending:
            close_all(files)
            self._answer(number, False, Refused(f"{len(self._open.answering)} calls are open, the limit"))
            return
        try:
            ref = self._target(frame.to)
        except Refused as error:
            close_all(files)
            self._answer(number, False, error)
            return
        try:
            values = arguments(self._codec.decode(frame.payload, files))
            call = RemoteCall(self.reply, number, frame.method, *values)
            if ref is not None:
                check_call(ref, frame.method, values[0])
        except (PayloadError, UnknownMethod, ValueError) as error:
            self._answer(number, False, error)
            return
        self._open.answering[number] = call
        try:
            if ref is not None:
                ref.deliver(call)
            elif frame.to in self._node.restarting_names:
                call.fail(Restarting(str(frame.to)))
            else:
                call.abandon(NO_PROCESS)
        except RuntimeFault as error:
            call.fail(error)

    def _receive_reply(self, number: int, succeeded: bool, payload: Any, files: Sequence[Handle]) -> None:
        request = self._open.calls.pop(number, None)
        then = self._open.asked.pop(number, None)
        if request is None and then is None:
            close_all(files)
            return
        try:
            value = self._codec.decode(payload, files)
        except PayloadError as error:
            value, succeeded = error, False
        if then is not None:
            then(value if isinstance(value, Reason | BaseException) else PayloadError("not an answer"))
        elif request is not None:
            if succeeded:
                request.reply(value)
            elif isinstance(value, Reason):
                request.abandon(value)
            elif isinstance(value, BaseException):
                request.fail(value)
            else:
                request.fail(PayloadError(f"node {self.node_name} failed the call with {value!r:.80}"))

    def _carry_out(self, frame: wire.Frame, files: Sequence[Handle]) -> None:
        match frame:
            case wire.Cancel(number):
                call = self._open.answering.pop(number, None)
                if call is not None:
                    call.settled = True
            case wire.Monitor(number, to):
                self._receive_monitor(number, to)
            case wire.Demonitor(number):
                watched = self._open.watched.pop(number, None)
                if watched is not None:
                    watched.deliver(signals.Demonitor(self._ref(0), number))
            case wire.Down(number, payload):
                watcher = self._open.monitors.pop(number, None)
                if watcher is not None:
                    watcher.deliver(signals.Down(number, self._decode_reason(payload)))
            case wire.Link(sender, to):
                self._receive_link(sender, to)
            case wire.Unlink(sender, to, number):
                self._open.links.pop((to, sender), None)
                self._local(to).deliver(signals.Unlink(self._ref(sender), number))
            case wire.UnlinkAck(sender, to, number):
                self._local(to).deliver(signals.UnlinkAck(self._ref(sender), number))
            case wire.Exit(sender, to, linked, payload):
                if linked and isinstance(to, int):
                    self._open.links.pop((to, sender), None)
                reason = self._decode_reason(payload)
                self._local(to).deliver(signals.Exit(self._ref(sender), reason, linked))
            case wire.Present(serial, token):
                if not self._passing.present(serial, token):
                    self._refuse(f"never gave out the token for process {serial} that was presented")
            case wire.Whereis(number, name):
                found = self._node.whereis(name) if self._rights().sees(name) else None
                self._say(wire.WhereisReply(number, self._encode(found)[0]))
            case wire.WhereisReply(number, payload) | wire.Spawned(number, payload):
                then = self._open.asked.pop(number, None)
                if then is not None:
                    answer = self._codec.decode(payload)
                    then(self._started(answer, frame.info) if isinstance(frame, wire.Spawned) else answer)
            case wire.Spawn():
                self._receive_spawn(frame, files)
            case wire.Abandon(number):
                scope = self._open.spawning.pop(number, None)
                if scope is not None:
                    scope.cancel()
            case wire.Members(scope_name, payload):
                if self._rights().shares(scope_name):
                    self._distribution.members_told(self.node_name, scope_name, self._codec.decode(payload))
            case _:
                raise wire.MalformedBatch(f"a {type(frame).__name__} has no place after the handshake")

    def _seen(self, to: wire.Target) -> Ref[Any] | None:
        """Whom the peer means; None when nobody is there, or none whom it may address."""
        try:
            return self._target(to)
        except Refused:
            return None

    def _local(self, to: wire.Target) -> Ref[Any]:
        return self._seen(to) or self._node.ref

    def _receive_monitor(self, number: int, to: wire.Target) -> None:
        if number in self._open.watched:
            raise wire.MalformedBatch(f"monitor {number} was set up twice")
        ref = self._seen(to)
        if ref is None or len(self._open.watched) >= self._rights().limits.pending:
            self._say(wire.Down(number, self._encode_reason(NO_PROCESS)))
            return
        self._open.watched[number] = ref
        ref.deliver(signals.Monitor(self._ref(0), number))

    def _receive_link(self, sender: int, to: int) -> None:
        ref = self._seen(to)
        if ref is None:
            self._say(wire.Exit(to, sender, True, self._encode_reason(NO_PROCESS)))
            return
        self._open.links[to, sender] = (ref, self._ref(sender))
        ref.deliver(signals.Link(self._ref(sender)))

    def _receive_spawn(self, frame: wire.Spawn, files: Sequence[Handle]) -> None:
        number = frame.id
        target = self._distribution.entries.get(frame.entry)
        if target is None or not self._rights().may_spawn(frame.entry):
            close_all(files)
            self._answer(number, False, self._refuse(f"exports no spawn entry {frame.entry!r}"))
            return
        if number in self._open.spawning:
            raise wire.MalformedBatch(f"spawn {number} was asked for twice")
        if len(self._open.spawning) >= self._rights().limits.pending:
            close_all(files)
            self._answer(number, False, Refused(f"{len(self._open.spawning)} spawns go on, the limit"))
            return
        try:
            given = arguments(self._codec.decode(frame.payload, files))
        except (PayloadError, ValueError) as error:
            self._answer(number, False, error)
            return
        scope = self._open.spawning[number] = trio.CancelScope()
        self._distribution.start_soon(self._spawn, scope, frame, target, given)

    async def _spawn(self, scope: trio.CancelScope, frame: wire.Spawn, target: Any, given: Given) -> None:
        number = frame.id
        parent = self._ref(frame.parent) if frame.parent else None
        answer = await self._distribution.spawn_for(scope, target, given, parent)
        wanted = self._open.spawning.pop(number, None) is scope
        if isinstance(answer, BaseException):
            if wanted:
                self._answer(number, False, answer)
        elif wanted and answer is not None:
            payload, _, encoded = self._encode(answer)
            self._say(wire.Spawned(number, payload, self._encode_info(answer, parent)))
            if not encoded:
                answer.exit(KILL)
            elif parent is not None:
                self._open.links[answer.serial, parent.serial] = (answer, parent)
                process = process_of(answer)
                if process is not None and process.ended is not None:  # before the other side knew it
                    self.deliver(parent, signals.Exit(answer, process.ended, linked=True))
        elif answer is not None:
            answer.exit(KILL)

    def _encode_info(self, ref: LocalRef[Any], parent: Ref[Any] | None) -> Any:
        """What the start of a process has to tell its parent, or nil when that cannot travel."""
        process = process_of(ref)
        extras = None if process is None else process.extras_or_none
        info = None if parent is None or extras is None else extras.start_info
        payload, files, encoded = self._encode(info)
        if files or not encoded:
            close_all(files)
            logger.warning("what the start of %s returned cannot travel to %s", ref, self.node_name)
            return self._codec.encode(None)[0]
        return payload

    def _started(self, ref: Ref[Any], payload: Any) -> Any:
        try:
            info = self._codec.decode(payload)
        except PayloadError as error:
            logger.warning("what the start of %s returned was dropped: %s", ref, error)
            return ref
        return ref if info is None else Started(ref, info)

    def _decode_reason(self, payload: Any) -> Reason:
        try:
            reason = self._codec.decode(payload)
        except PayloadError as error:
            return Custom(f"a reason that could not be decoded: {error}")
        return reason if isinstance(reason, Reason) else Custom(reason)

    # The life of the node link.

    def connected(self, peer: Peer) -> None:
        """A node link is up."""
        self.peer = peer
        self._trouble = ""
        waiting, self._waiting = self._waiting, None
        for ref, signal in waiting or ():
            ref.deliver(signal)

    async def call(self, connect: Callable[[str], Any]) -> None:
        """Call the node, because something waits to be delivered; what cannot be then fails."""
        try:
            peer = await connect(self.address)
        except Exception as error:  # of the program's own policy, too: nobody waits for this task
            is_known, self._trouble = str(error) == self._trouble, str(error)
            self._distribution.attempt_failed(self.address, error, is_known=is_known)
        else:
            if peer is not self.peer and peer.name == self.node_name:
                self.is_superseded = True
        if self.peer is not None:
            return
        waiting, self._waiting = self._waiting, None
        for ref, signal in waiting or ():
            self._fail(ref, signal)

    def lost(self) -> None:
        """The node link is over: tell everybody whom it concerns."""
        self.peer = None
        ledger, self._open = self._open, Ledger()
        ledger.lose(self._ref(0))
        self._passing.forget()
