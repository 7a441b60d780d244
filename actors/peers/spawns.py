"""Processes that another node starts here, from the entries that the policy exports."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import trio

from enfilade.actors.messages import signals
from enfilade.actors.messages.guarded import log
from enfilade.actors.messages.reasons import KILL
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.messages.traced import using
from enfilade.actors.peers.ledger import Ledger, Linked
from enfilade.actors.peers.parties import Given
from enfilade.actors.peers.remote_call import arguments
from enfilade.actors.peers.trace_field import received
from enfilade.actors.processes.local_ref import LocalRef, process_of
from enfilade.actors.processes.start import Started
from enfilade.transport import wire
from enfilade.transport.attachment import Attachment
from enfilade.transport.file_descriptor import close_all
from enfilade.transport.payload import Codec
from enfilade.transport.records import PayloadError

if TYPE_CHECKING:
    from enfilade.actors.peers.authority import Authority
    from enfilade.actors.peers.distribution import Distribution
    from enfilade.actors.peers.way_back import Outward

__all__ = ["Spawns"]


class Spawns:
    """The spawns of one peer.

    Args:
        distribution: the part of this node in the net.
        outward: the way back to the peer.
        ledger: what is open across the node link.
        authority: what the peer may do.
        codec: encodes what a start has to tell.
        decode: decodes a payload of the peer, with the files that came with it.
    """

    def __init__(
        self,
        distribution: Distribution,
        outward: Outward,
        ledger: Ledger,
        authority: Authority,
        codec: Codec,
        decode: Callable[[Any, Sequence[Attachment]], Any],
    ) -> None:
        self._distribution = distribution
        self._node = distribution.node
        self._outward = outward
        self._peer_name = outward.node_name
        self._ledger = ledger
        self._authority = authority
        self._codec = codec
        self._decode = decode

    def receive(self, frame: wire.Spawn, files: Sequence[Attachment]) -> None:
        """Start a process for the peer, or answer why not."""
        number = frame.id
        target = self._distribution.entries.get(frame.entry)
        if target is None or not self._authority.rights.may_spawn(frame.entry):
            close_all(files)
            self._outward.answer(
                number,
                False,
                self._authority.refuse(
                    f"exports no spawn entry {safe_repr(frame.entry, 80)}",
                    "name it in `entries` of its `open_node` and of its policy",
                ),
            )
            return
        if number in self._ledger.spawning:
            close_all(files)
            raise wire.MalformedBatch(f"spawn {number} is in progress already")
        limits = self._authority.rights.limits
        room = self._distribution.offspring.room(self._peer_name, limits.processes)
        refusal = None
        if len(self._ledger.spawning) >= limits.pending:
            refusal = self._authority.refuse_more(limits.pending, "spawns in progress")
        elif len(self._ledger.spawning) >= room:
            refusal = self._authority.refuse_more(limits.processes, "processes")
        if refusal is not None:
            close_all(files)
            self._outward.answer(number, False, refusal)
            return
        try:
            given = arguments(self._decode(frame.payload, files))
        except (PayloadError, ValueError) as error:
            self._outward.answer(number, False, error)
            return
        scope = self._ledger.spawning[number] = trio.CancelScope()
        self._distribution.start_soon(self._spawn, scope, frame, target, given)

    async def _spawn(self, scope: trio.CancelScope, frame: wire.Spawn, target: Any, given: Given) -> None:
        number = frame.id
        parent = self._outward.ref(frame.parent) if frame.parent else None
        with using(received(self._node, frame, self._authority)):
            answer = await self._distribution.offspring.spawn(scope, target, given, parent)
        wanted = self._ledger.spawning.pop(number, None) is scope
        if isinstance(answer, Exception):
            if wanted:
                self._outward.answer(number, False, answer)
            return
        if answer is None:
            return
        ref = answer.ref
        self._distribution.offspring.add(self._peer_name, ref.serial)
        if not wanted:
            ref.exit(KILL)
            return
        payload, _, encoded = self._outward.encode(ref)
        info = self._encode_info(answer, parent)
        if parent is not None and encoded:
            # Before it is told: that frame may be the one with which the node link ends.
            self._ledger.links[ref.serial, parent.serial] = Linked(ref, parent)
        self._outward.say(wire.Spawned(number, payload, info))
        process = process_of(ref)
        if not encoded:
            ref.exit(KILL)
        elif parent is not None and process is not None and process.ended is not None:
            # It ended before the other side knew it.
            self._outward.deliver(parent, signals.Exit(ref, process.ended, linked=True))

    def _encode_info(self, started: Started[LocalRef[Any]], parent: Ref[Any] | None) -> Any:
        """Encode what the start of a process told for its parent, or nil when that cannot travel."""
        info = None if parent is None else started.info
        payload, files, encoded = self._outward.encode(info)
        if files or not encoded:
            close_all(files)
            text = "the value that the start of %s returned cannot travel to node %s"
            log(logging.WARNING, text, started.ref, self._peer_name)
            return self._codec.encode(None)[0]
        return payload
