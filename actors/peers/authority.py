"""The authority of a peer: what it may address and end here, and the refusal of everything else.

A refusal is told to the peer, where the frame asks for an answer, and logged: of each kind one a second, with
a count of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from enfilade.actors.messages.errors import Refused
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.peers.absence import is_gone
from enfilade.actors.peers.mesh.keyed_ref import ArrivedRef
from enfilade.actors.peers.notices import Notices
from enfilade.actors.processes.local_ref import process_of
from enfilade.transport import wire

if TYPE_CHECKING:
    from enfilade.actors.peers.distribution import Distribution
    from enfilade.actors.peers.ledger import Ledger
    from enfilade.actors.peers.ref_passing import RefPassing
    from enfilade.transport.peer import Peer
    from enfilade.transport.policy import Rights

__all__ = ["Authority"]


class Authority:
    """The authority of one peer.

    Args:
        distribution: the part of this node in the net.
        passing: knows the refs that were given to the peer.
        ledger: knows what this node has asked the peer.
        peer_name: the peer's node name.
        peer: returns the node link.

    Attributes:
        notices: what is said about the peer in the log.
    """

    def __init__(
        self,
        distribution: Distribution,
        passing: RefPassing,
        ledger: Ledger,
        peer_name: str,
        peer: Callable[[], Peer | None],
    ) -> None:
        self.notices = Notices()
        self._distribution = distribution
        self._node = distribution.node
        self._passing = passing
        self._ledger = ledger
        self._peer_name = peer_name
        self._peer = peer

    @property
    def rights(self) -> Rights:
        """The rights that the policy gives the peer."""
        peer = self._peer()
        assert peer is not None, "frames come from a peer"
        return peer.rights

    def target(self, to: wire.Target) -> Ref[Any] | None:
        """Find the process that the peer addresses; None when there is none.

        Raises:
            Refused: the peer may not address it.
        """
        if isinstance(to, int):
            granted = self._passing.granted
            ref = granted.refs.get(to)
            if ref is not None or to in granted:
                return ref or granted[to]
        elif isinstance(to, wire.Keyed):
            kinds = self._distribution.kinds
            if kinds is not None and self.rights.uses(to.kind):
                return kinds.arrived(to)  # type: ignore[no-any-return]
            raise self.refuse(f"gives no use of kind {safe_repr(to.kind, 80)}")
        elif self.rights.sees(to):
            return self._node.whereis(to)
        raise self.refuse(f"exports nothing under {safe_repr(to, 80)}", "name it in `exports` of its policy")

    def may_send(self, frame: wire.Frame) -> bool:
        """Tell, before its payload is decoded, whether the peer may send a frame to who is there."""
        match frame:
            case wire.Spawn():
                return self.rights.may_spawn(frame.entry) and frame.entry in self._distribution.entries
            case wire.Reply():
                return frame.id in self._ledger.calls or frame.id in self._ledger.asked
            case _:
                to, granted = getattr(frame, "to", 0), self._passing.granted
                if isinstance(to, wire.Keyed):
                    return self._distribution.kinds is not None and self.rights.uses(to.kind)
                if isinstance(to, str):
                    ref = self._node.whereis(to) if self.rights.sees(to) else None
                else:
                    ref = granted[to] if to in granted else None  # noqa: SIM401 - it is no dict
                return ref is not None and not is_gone(self._node, to, ref)

    def may_end(self, ref: Ref[Any]) -> bool:
        """Tell whether the peer may end a process: it has ended already, or the peer started it, or may end
        who holds its name, or its kind, or was sent its ref while it has none, or may end who holds a global
        name that it has.
        """
        process = process_of(ref)
        if isinstance(ref, ArrivedRef):
            return self.rights.may_end(ref.kind)
        if process is None or process.ended is not None:
            return True
        if self._distribution.offspring.has(self._peer_name, process.serial):
            return True
        if process.name is not None:
            return self.rights.may_end(process.name)
        names = self._distribution.names
        return self._passing.granted.is_whole(ref.serial) or (
            names is not None and any(map(self.rights.may_end, names.held_by(process)))
        )

    def refuse(self, what: str, remedy: str = "") -> Refused:
        """Log a refusal, and return it: a peer may try any number of times."""
        text = f"node {self._node.full_name} {what} to node {self._peer_name}{remedy and '; '}{remedy}"
        self.notices.warn("%s", text)
        return Refused(text)

    def refuse_end(self, to: wire.Target) -> Refused:
        """Log and return the refusal to let a process be ended."""
        return self.refuse(f"gives no right to end {safe_repr(to, 80)}")

    def refuse_more(self, limit: int, what: str) -> Refused:
        """Log and return the refusal of a request beyond a limit."""
        text = f"the limit of {limit} {what} is reached"
        self.notices.warn("refused a request of node %s: %s", self._peer_name, text)
        return Refused(text)
