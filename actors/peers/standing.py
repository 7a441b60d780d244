"""The standing of node links, for people and observers: who is there, since when, and what is under way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from enfilade.actors.messages.safe_text import safe_str

if TYPE_CHECKING:
    from enfilade.transport.peer import Peer
    from enfilade.transport.policy import Rights

__all__ = ["Standing", "standings_of"]

GRANTED = ("observe", "inspect", "trace", "control", "exports", "ends", "entries", "groups")
"""The rights that are named, if the peer has them."""

LARGEST_ADDRESS = 1_000
"""Characters of an address that are shown."""


@attrs.frozen(kw_only=True)
class Standing:
    """The standing of one node link, or of one that is to be kept up and is not.

    Attributes:
        name: the peer's node name; the address of one that was never connected.
        zone, uid, gid, pid: what it says of its zone, and what the kernel says of it; None while it is down.
        since: when it came up, on the clock of the node's trio run; None.
        state: "up" or "connecting".
        frames_in, frames_out, bytes_in, bytes_out: the traffic so far.
        queued, under_way, window: bytes that wait, that the peer has yet to take in, and that may be so.
        references: refs of this node that the peer holds.
        pending: what is open across it, by kind.
        rights: the names of the rights that the peer has here.
        reason: why the last attempt failed, or the last node link ended; None.
        attempts: failed attempts since then.
        next_attempt: seconds to the next one; None.
        address: where the peer is to be found, as far as this node has connected to it or been told; None.
    """

    name: str
    zone: str | None = None
    uid: int | None = None
    gid: int | None = None
    pid: int | None = None
    since: float | None = None
    state: str = "connecting"
    frames_in: int = 0
    frames_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    queued: int = 0
    under_way: int = 0
    window: int = 0
    references: int = 0
    pending: dict[str, int] = attrs.field(factory=dict)
    rights: list[str] = attrs.field(factory=list)
    reason: str | None = None
    attempts: int = 0
    next_attempt: float | None = None
    address: str | None = None


def standings_of(rendezvous: Any, remote_of: Callable[[str], Any], now: float) -> list[Standing]:
    """The standing of each peer, and of each node to which a node link is to be kept. Not a checkpoint.

    Args:
        rendezvous: the source of node links.
        remote_of: finds the record of a peer; None when there is none.
        now: the time on the clock of the node's trio run.
    """
    peers: dict[str, Any] = dict(rendezvous.peers)
    found = [_up(peer, remote_of(name)) for name, peer in peers.items()]
    for address, kept in rendezvous.kept.items():
        if kept.name not in peers:
            found.append(
                Standing(
                    name=safe_str(kept.name or address),
                    reason=safe_str(kept.trouble) or None,
                    attempts=kept.attempts,
                    next_attempt=None if kept.next_at is None else max(0.0, kept.next_at - now),
                    address=safe_str(address, LARGEST_ADDRESS),
                )
            )
    return found


def _up(peer: Peer, remote: Any) -> Standing:
    identity, traffic = peer.identity, peer.traffic
    credentials = identity.credentials
    return Standing(
        name=safe_str(peer.name),
        zone=safe_str(credentials.zone or identity.zone),
        uid=credentials.uid,
        gid=credentials.gid,
        pid=credentials.pid,
        since=peer.since,
        state="up",
        **attrs.asdict(traffic),
        references=0 if remote is None else remote.references,
        pending={} if remote is None else remote.pending(),
        rights=rights_shown(peer.rights),
        address=safe_str(remote.address, LARGEST_ADDRESS) if remote is not None and remote.address else None,
    )


def rights_shown(rights: Rights) -> list[str]:
    """The names of the rights that are given at all."""
    return [name for name in GRANTED if getattr(rights, name)]
