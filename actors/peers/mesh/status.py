"""The status of a node's part in its mesh: figures for people and for what watches over nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from enfilade.actors.peers.distribution import Distribution
    from enfilade.actors.peers.mesh.keyed import KeyedActors
    from enfilade.transport.mesh.membership import Membership
    from enfilade.transport.resuming_link import Tally

__all__ = ["KindStatus", "MeshStatus", "RegistryStatus", "status_of", "tally_of"]


@attrs.frozen(kw_only=True)
class RegistryStatus:
    """A node's part in the registry. Who leads it, and on how many servers it lies, `enfilade mesh status`
    asks for operators. The last three figures only grow.

    Attributes:
        epoch: when the registry's data begin, in milliseconds since 1970; 0 while that is not known.
        lease: seconds of all leases; 0 while that is not known.
        lease_left: seconds for which the node may act for what it holds; 0 without a lease.
        held: names and shards that the node holds.
        claims: that were made.
        conflicts: writes that were refused, because somebody else had written.
        renewals_late: times that the registry kept the lease waiting for long.
    """

    epoch: int
    lease: float
    lease_left: float
    held: int
    claims: int
    conflicts: int
    renewals_late: int


@attrs.frozen(kw_only=True)
class KindStatus:
    """A kind of keyed actors on one node. The last two figures only grow.

    Attributes:
        shards: that the node holds.
        activations: actors that there are.
        started: actors that were started.
        moves: shards that were handed over.
    """

    shards: int
    activations: int
    started: int
    moves: int


@attrs.frozen(kw_only=True)
class MeshStatus:
    """A node's part in a mesh at one moment. From `reconnects` to `refusals` figures only grow.

    Attributes:
        mesh: the name of the mesh.
        server: the server of this moment, by name and address; None without one.
        round_trip: seconds that the server took to answer the last time that it was asked; None before that.
        nodes: that are known, this one included.
        linked: nodes that it has a node link with over the mesh.
        unsent: bytes that have yet to leave.
        reconnects: times that another session with a server took the place of a lost one.
        cuts: times that a server left the node after its loop had been held.
        beats_late: heart-beats that came half a beat after they were due, or later.
        links_resumed: node links that have gone on over another session.
        batches_resent: batches of node links that were sent again.
        seeks: times that a node link said which batch is due, or asked that.
        messages_in, messages_out, bytes_in, bytes_out: the traffic with servers.
        refusals: messages that were passed over, because they made no sense, or found no room to wait.
        registry: the node's part in the registry; None with `Mesh(registry=False)`.
        kinds: the kinds of keyed actors that it runs, by name.
    """

    mesh: str
    server: str | None
    round_trip: float | None
    nodes: int
    linked: int
    unsent: int
    reconnects: int
    cuts: int
    beats_late: int
    links_resumed: int
    batches_resent: int
    seeks: int
    messages_in: int
    messages_out: int
    bytes_in: int
    bytes_out: int
    refusals: int
    registry: RegistryStatus | None
    kinds: Mapping[str, KindStatus]


def tally_of(distribution: Distribution, membership: Membership) -> Tally:
    """Return the counters of what the node links of a mesh have made up for."""
    ways = distribution.rendezvous.ways
    tally: Tally
    (tally,) = (way.tally for way in ways if way.carrier is membership.carrier)
    return tally


def status_of(
    distribution: Distribution, membership: Membership, keyed: KeyedActors | None, published: int
) -> MeshStatus:
    """Put together the status of a node.

    Args:
        distribution: the part of the node in the net.
        membership: of the node in the mesh.
        keyed: its keyed actors; None without a registry.
        published: messages about published groups that were passed over.
    """
    carrier, claims = membership.carrier, membership.claims
    connection, rendezvous = carrier.connection, distribution.rendezvous
    tally = tally_of(distribution, membership)
    registry = None
    if claims is not None:
        registry = RegistryStatus(
            epoch=claims.epoch,
            lease=claims.lease_seconds,
            lease_left=claims.lease_left,
            held=claims.count,
            claims=claims.made,
            conflicts=claims.conflicts,
            renewals_late=claims.renewals_late,
        )
    ignored = (carrier, carrier.announcer, carrier.heartbeats, carrier.doubts)
    refusals = published + sum(each.ignored for each in ignored)
    return MeshStatus(
        mesh=membership.mesh.name,
        server=connection.where if connection.is_up else None,
        round_trip=connection.round_trip,
        nodes=len(carrier.announcer.directory.nodes),
        linked=sum(peer.carrier is carrier for peer in rendezvous.peers.values()),
        unsent=connection.unsent,
        reconnects=connection.reconnects,
        cuts=connection.cuts,
        beats_late=carrier.heartbeats.late,
        links_resumed=carrier.resumed,
        batches_resent=tally.resent,
        seeks=tally.seeks,
        messages_in=connection.messages_in,
        messages_out=connection.messages_out,
        bytes_in=connection.bytes_in,
        bytes_out=connection.bytes_out,
        refusals=refusals if keyed is None else refusals + keyed.refusals,
        registry=registry,
        kinds={} if keyed is None else {name: KindStatus(**each) for name, each in keyed.counts().items()},
    )
