"""Frames from other nodes: how a node link's frames become signals.

A peer may address what it was granted and what the policy exports, and nothing else. What it may not do is
refused and counted. What cannot be decoded, or carried out, fails the one call or message and nothing else:
the frames behind it are carried out, unless the node link has come to its end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from enfilade.actors.messages import signals
from enfilade.actors.messages.attempt import is_interrupt
from enfilade.actors.messages.errors import (
    MailboxFull,
    NoProcess,
    Refused,
    Restarting,
    RuntimeFault,
    UnknownMethod,
)
from enfilade.actors.messages.guarded import log
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.reasons import NO_PROCESS, Crashed, Reason
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_text import safe_repr, safe_str
from enfilade.actors.messages.trace_context import TraceContext
from enfilade.actors.messages.traced import Traced
from enfilade.actors.peers.absence import Undecoded, absence, is_gone, is_lost
from enfilade.actors.peers.authority import Authority
from enfilade.actors.peers.batch_handles import check_claims, take
from enfilade.actors.peers.distribution import Distribution
from enfilade.actors.peers.faults import decode_by, decode_reason
from enfilade.actors.peers.ledger import Ledger, Linked
from enfilade.actors.peers.long_payloads import Arrivals
from enfilade.actors.peers.ref_passing import RefPassing
from enfilade.actors.peers.remote_call import ENDINGS, RemoteCall, arguments, check_order
from enfilade.actors.peers.rooms import Rooms
from enfilade.actors.peers.spawns import Spawns
from enfilade.actors.peers.tokens import Giving
from enfilade.actors.peers.trace_field import received
from enfilade.actors.peers.way_back import Outward
from enfilade.actors.processes.handlers import check_method, refuse
from enfilade.actors.processes.links import canonical, is_linked
from enfilade.actors.processes.local_ref import is_alive, process_serving
from enfilade.actors.processes.start import Started
from enfilade.transport import wire
from enfilade.transport.attachment import Attachment
from enfilade.transport.budget import SMALL
from enfilade.transport.file_descriptor import close_all
from enfilade.transport.payload import LATE_SIZE, Codec, malformed
from enfilade.transport.records import PayloadError

__all__ = ["Inbound"]


class Inbound:
    """The inward half of a `RemoteNode`: carries out what the other node sends.

    Args:
        distribution: the part of this node in the net.
        outward: the outward half.
        ledger: what is open across the node link; both halves keep it.
        passing: what the other node may address.
        codec: decodes payloads.

    Attributes:
        notices: what is said about the other node in the log.
    """

    # The fields that the compiled core knows (`choice.py`), and a dictionary for all others.
    __slots__ = ("__dict__", "_ledger", "_node", "_outward", "_passing", "_peer_name", "arrivals")

    def __init__(
        self,
        distribution: Distribution,
        outward: Outward,
        *,
        ledger: Ledger,
        passing: RefPassing,
        codec: Codec,
    ) -> None:
        self._distribution = distribution
        self._node = distribution.node
        self._outward = outward
        self._peer_name = outward.node_name
        self._ledger = ledger
        self._passing = passing
        self._codec = codec
        self._authority = Authority(distribution, passing, ledger, self._peer_name, lambda: outward.peer)
        self.notices = self._authority.notices
        self.rooms = Rooms(distribution.start_soon)
        self.arrivals = Arrivals(
            self._carry_out_held,
            self._node,
            ledger,
            passing,
            self._authority.may_send,
            self._most_held,
            distribution.start_soon,
        )
        spawns = Spawns(distribution, outward, ledger, self._authority, codec, self._decode)
        self._fetched: Mapping[int, bytes] = {}
        self._laden: dict[type, Callable[[Any, Sequence[Attachment]], None]] = {
            wire.Send: self._receive,
            wire.Cast: self._receive_cast,
            wire.Call: self._receive_call,
            wire.Reply: self._receive_reply,
            wire.Returned: self._receive_returned,
            wire.Spawn: spawns.receive,
            wire.Payload: self.arrivals.followed,
        }
        self._laden |= {traced: self._laden[plain] for plain, traced in wire.TRACED.items()}

    def take_in(self, frames: Sequence[wire.Frame], handles: Sequence[Attachment]) -> None:
        """Carry out what the peer sent, as long as the node link is up.

        Raises:
            MalformedBatch: a frame has no place here, or the frames name other handles than came.
        """
        peer, arrivals = self._outward.peer, self.arrivals
        rest = iter(handles)
        try:
            if handles:
                check_claims(frames, len(handles))
            for frame in frames:
                count = getattr(frame, "files", 0)  # as `wire.files_of`, without a call of it
                files: Sequence[Attachment] = take(rest, count) if count else ()
                if (
                    (not files and len(getattr(frame, "payload", b"")) != LATE_SIZE and not arrivals.queues)
                    or type(frame) is wire.Payload
                    or not arrivals.hold(frame, files)
                ):
                    try:
                        self._laden.get(type(frame), self._carry_out_other)(frame, files)
                    except BaseException as error:
                        self._went_wrong(frame, error)
                if self._outward.peer is not peer:
                    return  # what stands behind belongs to a node link that is over
        finally:
            if handles:
                close_all(rest)  # those that no frame got

    def _carry_out(self, frame: wire.Frame, files: Sequence[Attachment]) -> None:
        """Carry out one frame; what goes wrong with it is reported.

        Raises:
            MalformedBatch: the frame has no place here.
        """
        try:
            self._laden.get(type(frame), self._carry_out_other)(frame, files)
        except BaseException as error:
            self._went_wrong(frame, error)

    def _went_wrong(self, frame: wire.Frame, error: BaseException) -> None:
        """Report a mistake in carrying out a frame, unless it is one that others are to see."""
        if is_a(error, wire.MalformedBatch) or is_interrupt(error):
            raise error
        self._failed(frame, error)

    def _carry_out_held(
        self, frame: wire.Frame, files: Sequence[Attachment], fetched: Mapping[int, bytes]
    ) -> None:
        """Carry out a frame that has waited; what was read from its files already is `fetched`."""
        self._fetched = fetched
        try:
            self._carry_out(frame, files)
        except wire.MalformedBatch as error:
            peer = self._outward.peer
            if peer is not None:
                peer.end(f"the peer sent a malformed batch: {safe_str(error)}")
        finally:
            self._fetched = {}

    def _most_held(self) -> tuple[int, int]:
        limits = self._authority.rights.limits
        return limits.payload, limits.backlog

    def _failed(self, frame: wire.Frame, error: BaseException) -> None:
        """Report a mistake in carrying out a frame, and answer the question that it asked."""
        kind = type(frame).__name__
        text = "failed to carry out a %s of node %s"
        self.notices.warn(text, kind, self._peer_name, level=logging.ERROR, error=error)
        if isinstance(frame, wire.Call | wire.Spawn):
            self._ledger.end_answer(frame.id)
            self._outward.answer(frame.id, False, error)

    def _decode(self, payload: Any, files: Sequence[Attachment] = ()) -> Any:
        """Decode a value.

        Raises:
            PayloadError: it cannot be decoded; also when the code of a registered type raises anything else.
        """
        is_small = not files and len(payload) <= SMALL
        try:
            if is_small:
                return self._codec.decode_small(payload)
            return self._codec.decode(payload, files, self._fetched)
        except PayloadError:
            raise
        except BaseException as error:
            if is_interrupt(error):
                raise
            if is_small and is_a(error, Exception):
                raise malformed(error) from error
            raise PayloadError(f"failed to make an object of the payload: {safe_repr(error)}") from error

    def _receive_cast(self, frame: wire.Cast, files: Sequence[Attachment]) -> None:
        if frame.method == signals.FILL:
            self._receive_filling(frame, files)
        else:
            self._receive(frame, files, frame.method)

    def _receive(
        self, frame: wire.Send | wire.Cast, files: Sequence[Attachment], method: str | None = None
    ) -> None:
        to, payload = frame.to, frame.payload
        try:
            ref = self._authority.target(to)
            if ref is not None and method is not None:
                check_method(ref, method)
        except Refused:
            close_all(files)
            return
        except UnknownMethod as error:
            close_all(files)
            assert ref is not None, "it has no such method"
            refuse(ref, signals.Cast(method or "", (), {}), error)
            return
        if not is_alive(ref) and is_lost(self._node, to, ref, payload, files):
            return
        try:
            value = self._decode(payload, files)
            if method is not None:
                value = signals.Cast(method, *arguments(value))
        except (PayloadError, ValueError) as error:
            self._dropped(ref or to, error)
            return
        has_trace = getattr(frame, "trace", wire.NIL) is not wire.NIL
        trace = received(self._node, frame, self._authority) if has_trace else None
        self._hand_in(to, ref, value, trace)

    def _hand_in(self, to: wire.Target, ref: Ref[Any] | None, value: Any, trace: TraceContext | None) -> None:
        """Send a message, or a cast, to a process of this node; return it to its sender for want of room."""
        try:
            if ref is None:
                if not isinstance(to, str):
                    raise NoProcess(f"{self._node.full_name}:{to}")
                ref = self._node.named(to)  # whose mailbox may be kept
                if isinstance(value, signals.Cast):
                    check_method(ref, value.method)
            ref.send(value if trace is None else Traced(value, trace))
        except (NoProcess, Restarting):
            self._node.dead_letters.publish(value, self._node.ref, NO_PROCESS)
        except UnknownMethod as error:
            assert ref is not None
            refuse(ref, value, error)
        except MailboxFull as full:
            method = value.method if isinstance(value, signals.Cast) else ""
            carried = [list(value.args), dict(value.kwargs)] if isinstance(value, signals.Cast) else value
            payload, files, _ = self._outward.encode(carried)
            returned = wire.Returned(to, full.capacity, method, payload, len(files))
            self._outward.say(returned, files)

    def _receive_returned(self, frame: wire.Returned, files: Sequence[Attachment]) -> None:
        """A message of this node has found no room at its destination: it is a dead letter here."""
        to = frame.to
        ref = self._outward.ref(to) if isinstance(to, int) else self._distribution.far(to, self._peer_name)
        value: Any
        if not len(self._node.dead_letters):  # nobody wants to see it
            close_all(files)
            value = Undecoded(len(frame.payload))
        else:
            try:
                value = self._decode(frame.payload, files)
                if frame.method:
                    value = signals.Cast(frame.method, *arguments(value))
            except (PayloadError, ValueError) as error:
                value = error
        self._node.dead_letters.publish(value, ref, Crashed(MailboxFull(ref, frame.capacity)))

    def _receive_filling(self, frame: wire.Cast, files: Sequence[Attachment]) -> None:
        """Put a message in the place that is kept for it; if that is gone, it is a message like any other."""
        to, payload = frame.to, frame.payload
        try:
            ref = self._authority.target(to)
        except Refused:
            close_all(files)
            return
        if is_lost(self._node, to, ref, payload, files):
            return
        try:
            (number, message), _ = arguments(self._decode(payload, files))
        except (PayloadError, ValueError) as error:
            self._dropped(ref or to, error)
            return
        trace = received(self._node, frame, self._authority)
        traced = message if trace is None else Traced(message, trace)
        if not (type(number) is int and self.rooms.fill(number, traced)):
            self._hand_in(to, ref, message, trace)

    def _dropped(self, target: Any, error: Exception) -> None:
        self.notices.warn("dropped a message from node %s to %s: %s", self._peer_name, target, error)

    def _receive_call(self, frame: wire.Call, files: Sequence[Attachment]) -> None:
        number = frame.id
        if number in self._ledger.answering:
            close_all(files)
            raise wire.MalformedBatch(f"call {number} is open already")
        limits = self._authority.rights.limits
        try:
            if len(self._ledger.answering) >= limits.pending:
                raise self._authority.refuse_more(limits.pending, "open calls")
            ref = self._authority.target(frame.to)
            process = process_serving(ref, frame.method)
            if process is None and ref is not None:
                self._check_method(ref, frame)
        except (Refused, UnknownMethod) as error:
            close_all(files)
            self._outward.answer(number, False, error)
            return
        if process is None:
            is_answered = is_alive(ref) or (ref is not None and frame.method in ENDINGS)
            absent = None if is_answered else absence(self._node, frame.to, ref)
            if ref is None or absent is not None:
                close_all(files)
                self._outward.answer(number, False, absent)
                return
        try:
            call = self._call_of(frame, files, limits.pending_bytes)
        except (PayloadError, Refused, ValueError) as error:
            self._outward.answer(number, False, error)
            return
        self._ledger.begin_answer(call)
        try:
            if process is not None and process.ended is None and len(process.queue) < process.limit:
                process.take_call(call)
            else:
                assert ref is not None, "nobody is answered above"
                self.rooms.deliver(number, call, ref)
        except RuntimeFault as error:
            call.fail(error)

    def _call_of(self, frame: wire.Call, files: Sequence[Attachment], most: int) -> RemoteCall:
        """Decode a call; the arguments of all that are open have `most` bytes.

        Raises:
            PayloadError, ValueError: it is malformed.
            Refused: that would be more.
        """
        values = arguments(self._decode(frame.payload, files))
        size = len(frame.payload) + (self._codec.in_memory if files else 0)
        if self._ledger.answering_bytes + size > most:
            raise self._authority.refuse_more(most, "bytes in the arguments of open calls")
        caller = self._outward.ref(frame.caller) if frame.caller else None
        call = RemoteCall(self._outward.reply, frame.id, frame.method, *values, caller, size, self._peer_name)
        if getattr(frame, "trace", wire.NIL) is not wire.NIL:
            call.trace = received(self._node, frame, self._authority)
        tracer = self._node.traces.tracer
        if call.trace is None and tracer is not None:  # as for messages, which come in through `send`
            call.trace = tracer.current()
        if frame.method in ENDINGS:
            check_order(values[0])
            call.caller = caller or self._outward.ref(0)  # who asks is told: plain code, by its node
        return call

    def _check_method(self, ref: Ref[Any], frame: wire.Call) -> None:
        """Check, before its arguments are decoded, that the peer may call a method.

        Raises:
            UnknownMethod: it is not public.
            Refused: it would end the process, and the peer may not.
        """
        if frame.method not in ENDINGS:
            if frame.method != signals.ROOM:
                check_method(ref, frame.method)
        elif not self._authority.may_end(ref):
            raise self._authority.refuse_end(frame.to)

    def _receive_reply(self, frame: wire.Reply, files: Sequence[Attachment]) -> None:
        number, succeeded = frame.id, frame.succeeded
        request = self._ledger.calls.pop(number, None)
        then = self._ledger.asked.pop(number, None) if request is None else None
        if request is None and then is None:
            close_all(files)
            return
        try:
            value = self._decode(frame.payload, files)
            if not succeeded and is_a(value, Reason):
                value = decode_by(self._decode, value, frame.by)
        except PayloadError as error:
            value, succeeded = error, False
        if request is None:
            assert then is not None
            then(
                value
                if is_a(value, Reason, BaseException)
                else PayloadError("the payload must be an exception or an exit reason")
            )
        else:
            if succeeded:
                request.reply(value)
            elif is_a(value, Reason):
                request.abandon(value)
            elif is_a(value, BaseException):
                request.fail(value)
            elif type(value) is str:  # words for what is no exception, and improper here, too
                request.fail(value)  # type: ignore[arg-type]
            else:
                request.fail(
                    PayloadError(f"node {self._peer_name} failed the call with {safe_repr(value, 80)}")
                )

    def _carry_out_other(self, frame: wire.Frame, _no_files: Sequence[Attachment]) -> None:
        match frame:
            case wire.Cancel(number):
                self.rooms.withdraw(number)
                call = self._ledger.end_answer(number)
                if call is not None:
                    call.give_up(call.caller or self._outward.ref(0))
            case wire.Monitor(number, to):
                self._receive_monitor(number, to)
            case wire.Demonitor(number):
                watched = self._ledger.watched.pop(number, None)
                if watched is not None:
                    watched.deliver(signals.Demonitor(self._outward.ref(0), number))
            case wire.Down(number, payload, by):
                watcher = self._ledger.monitors.pop(number, None)
                if watcher is not None:
                    watcher.deliver(signals.Down(number, decode_reason(self._decode, payload, by)))
            case wire.Link(sender, to):
                self._receive_link(sender, to)
            case wire.Unlink(sender, to, number):
                link = self._ledger.links.pop((to, sender), None)
                local = self._local(to) if link is None else link.local
                local.deliver(signals.Unlink(self._outward.ref(sender), number))
            case wire.UnlinkAck(sender, to, number):
                self._local(to).deliver(signals.UnlinkAck(self._outward.ref(sender), number))
            case wire.Exit():
                self._receive_exit(frame)
            case wire.Present(serial, token):
                if not self._passing.present(serial, token):
                    self._authority.refuse(
                        f"never gave out the token for process {serial} that was presented"
                    )
            case wire.Whereis(number, name):
                found = self._node.whereis(name) if self._authority.rights.sees(name) else None
                self._outward.say(wire.WhereisReply(number, self._outward.encode(found, Giving.ADDRESS)[0]))
            case wire.WhereisReply(number, payload) | wire.Spawned(number, payload):
                then = self._ledger.asked.pop(number, None)
                if then is not None:
                    then(self._answer_of(frame, payload))
            case wire.Abandon(number):
                scope = self._ledger.spawning.pop(number, None)
                if scope is not None:
                    scope.cancel()
            case wire.Moved(kind, shard):
                kinds = self._distribution.kinds
                if kinds is not None and self._authority.rights.uses(kind):
                    kinds.shard_is_free(kind, shard)
            case wire.Members(scope_name, payload):
                if self._authority.rights.shares(scope_name):
                    self._receive_members(scope_name, payload)
            case _:
                raise wire.MalformedBatch(f"a {type(frame).__name__} has no place after the handshake")

    def _answer_of(self, frame: wire.Frame, payload: Any) -> Any:
        """The answer in a frame: a ref, a ref with what its start has to tell, None, or an error."""
        try:
            answer = self._decode(payload)
            may_be_none = isinstance(frame, wire.WhereisReply)
            if not (isinstance(answer, Ref | BaseException) or (answer is None and may_be_none)):
                shown = safe_repr(answer, 80)
                raise PayloadError(f"node {self._peer_name} answered with {shown} instead of a ref")
        except PayloadError as error:
            return error
        if isinstance(answer, Ref) and isinstance(frame, wire.Spawned):
            return self._started(answer, frame.info)
        return answer

    def _receive_members(self, scope: str, payload: Any) -> None:
        try:
            group, refs = self._decode(payload)
            most = self._authority.rights.limits.pending
            self._distribution.groups.told(self._peer_name, scope, group, refs, most)
        except (PayloadError, TypeError, ValueError) as error:
            text = "dropped the members of a group that node %s told: %s"
            self.notices.warn(text, self._peer_name, error)

    def _seen(self, to: wire.Target) -> Ref[Any] | None:
        """Find the process that the peer addresses; None when there is none that it may address."""
        try:
            return self._authority.target(to)
        except Refused:
            return None

    def _local(self, to: wire.Target) -> Ref[Any]:
        return self._seen(to) or self._node.ref

    def _receive_monitor(self, number: int, to: wire.Target) -> None:
        if number in self._ledger.watched:
            raise wire.MalformedBatch(f"monitor {number} is set up already")
        ref = self._seen(to)
        limit = self._authority.rights.limits.pending
        if ref is not None and len(self._ledger.watched) >= limit:
            self._authority.refuse_more(limit, "monitors")
            ref = None
        if ref is None:
            self._outward.say(wire.Down(number, self._outward.encode_reason(NO_PROCESS)))
            return
        ref = self._ledger.watched[number] = canonical(ref)
        ref.deliver(signals.Monitor(self._outward.ref(0), number))

    def _receive_link(self, sender: int, to: int) -> None:
        ref = self._seen(to)
        limit = self._authority.rights.limits.links
        if ref is not None and len(self._ledger.links) >= limit:
            self._authority.refuse_more(limit, "links")
            ref = None
        if ref is None:
            self._outward.say(wire.Exit(to, sender, True, self._outward.encode_reason(NO_PROCESS)))
            return
        ref, other = canonical(ref), self._outward.ref(sender)
        if ref.serial != to:
            self._ledger.linked_as[ref.serial, sender] = to
        known = self._ledger.links.get((to, sender))
        is_mutual = self._authority.may_end(ref) or (known is not None and known.is_mutual)
        self._ledger.links[to, sender] = Linked(ref, other, is_mutual)
        ref.deliver(signals.Link(other))
        # Unless it has ended, or takes a link down meanwhile that this one has crossed.
        if not is_linked(ref, other):
            self._ledger.links.pop((to, sender), None)
            self._ledger.linked_as.pop((ref.serial, sender), None)

    def _receive_exit(self, frame: wire.Exit) -> None:
        sender, to, payload = frame.sender, frame.to, frame.reason
        if frame.linked:
            link = self._ledger.links.pop((to, sender), None) if isinstance(to, int) else None
            if link is not None:
                self._ledger.linked_as.pop((link.local.serial, sender), None)
                link.remote_ended(decode_reason(self._decode, payload, frame.by))
            return
        ref = self._seen(to)
        if ref is not None and not self._authority.may_end(ref):
            self._authority.refuse_end(to)
        elif ref is not None and not is_gone(self._node, to, ref):
            reason = decode_reason(self._decode, payload, wire.NIL)
            ref.deliver(signals.Exit(self._outward.ref(sender), reason, linked=False))

    def _started(self, ref: Ref[Any], payload: Any) -> Any:
        try:
            info = self._decode(payload)
        except PayloadError as error:
            log(logging.WARNING, "dropped the value that the start of %s returned: %s", ref, error)
            return ref
        return ref if info is None else Started(ref, info)
