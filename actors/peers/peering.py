"""Peers for a node: its part in a net of nodes, brought together with the node links of `transport`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

import enfilade.actors.peers.choice  # noqa: F401 (it chooses the function that every frame goes through)
from enfilade.actors.messages.blocks import async_block
from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.peers.distribution import Distribution
from enfilade.actors.peers.mesh.kind import Kind, check_name
from enfilade.actors.peers.remote_node import RemoteNode
from enfilade.actors.peers.travelling_types import load_all
from enfilade.transport.carrier import Carrier
from enfilade.transport.policy import Policy
from enfilade.transport.rendezvous import Rendezvous
from enfilade.transport.settings import Settings

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.peers.mesh.view import MeshView
    from enfilade.transport.mesh import Mesh
    from enfilade.transport.mesh.membership import Membership

__all__ = ["distributed"]


@async_block
async def distributed(
    node: Node,
    *,
    listen: str | None = None,
    policy: Policy | None = None,
    entries: Mapping[str, Any] | None = None,
    settings: Settings | None = None,
    carrier: Carrier | None = None,
    mesh: str | Mesh | None = None,
    kinds: Mapping[str, Kind] | None = None,
    identity: str | os.PathLike[str] | None = None,
) -> AsyncIterator[Distribution]:
    """Let a node have peers for the length of a block.

    Args:
        node: the node.
        listen: the path of its rendezvous door; without one, and without a mesh, the node can call others and
            cannot be called.
        policy: who may connect, and what they may use; by default the same user, or the same mesh, and only
            refs that were sent to it.
        entries: what peers may spawn, by name: whatever `Node.spawn` takes. The policy must let them.
        settings: times and sizes of its node links.
        carrier: another way to carry node links than doors.
        mesh: the mesh in which the node is found by its name: a `Mesh`, or the addresses of its servers, or
            "embedded". Nodes of one machine that have doors, too, use these with one another.
        kinds: the kinds of keyed actors that the node runs, by name.
        identity: the directory with the certificate of the node: short for that field of `Mesh`.

    Raises:
        TypeError: an argument has the wrong type; raised before anything has begun.
        ValueError: `mesh` comes with `carrier`, or does not say which servers; `kinds` comes without a mesh
            or its registry, or has a bad name; `identity` comes without a mesh, or with one that names
            another.
        enfilade.transport.mesh.MeshError: the mesh cannot be set up, or has a node of this name.
        enfilade.transport.CarrierError: the door cannot be attached to that path.
    """
    _check("listen", listen, str, "the path of a door")
    _check("policy", policy, Policy, "a Policy, such as Policy.same_user()")
    _check("entries", entries, Mapping, "a mapping from names to what peers may spawn")
    _check("settings", settings, Settings, "enfilade.transport.Settings")
    if mesh is not None or identity is not None:
        mesh = _settled(mesh, identity)
    _check_kinds(kinds, mesh)
    if mesh is not None and carrier is not None:
        raise ValueError("a mesh brings its own carrier: give either carrier or mesh")
    load_all()
    carriers = [] if carrier is None else [carrier]
    if carrier is None and node.runtime.dial is None:
        from enfilade.transport.door_carrier import DoorCarrier  # the extension module is needed only here

        carriers.append(DoorCarrier())
    addresses = [] if listen is None else [carriers[0].resolve(listen)]
    membership: Membership | None = None
    view: MeshView | None = None
    if mesh is not None:
        assert not isinstance(mesh, str), "its settings are known"
        membership = await _join(node, mesh, entries, *addresses)
        carriers.insert(0, membership.carrier)
        addresses.append(f"mesh:{node.full_name}")
        of_doors = () if listen is None else Policy.same_user().rules
        policy = policy or Policy(rules=(*of_doors, *Policy.same_mesh().rules))
    distribution = Distribution(
        node,
        RemoteNode,
        addresses=addresses,
        entries={} if entries is None else entries,
    )
    if membership is not None:
        from enfilade.actors.peers.mesh.view import MeshView

        assert policy is not None, "a node in a mesh has one"
        view = MeshView(distribution, membership, policy, kinds)
        distribution.enter(view)
    distribution.rendezvous = Rendezvous(
        *carriers,
        name=node.full_name,
        zone=node.zone,
        incarnation=node.incarnation,
        policy=policy or Policy.same_user(),
        host=distribution.host,
        settings=settings or Settings(),
        clock=node.runtime.monotonic,
        entropy=node.runtime.entropy,
        random=node.runtime.random,
    )
    if view is not None and listen is not None:
        distribution.rendezvous.nearer = view.door_of
    try:
        async with distribution.running():
            if view is not None:
                await view.begin()
            yield distribution
    finally:
        if membership is not None:
            await membership.leave()


def _settled(mesh: str | Mesh | None, identity: str | os.PathLike[str] | None) -> Mesh:
    """Return the settings of the node's part in the mesh, with its identity."""
    if mesh is None:
        raise ValueError("an identity is for a mesh: give mesh=, too, which names the servers")
    from enfilade.transport.mesh import Mesh  # a node without a mesh does without all this

    given = Mesh(servers=mesh) if isinstance(mesh, str) else mesh
    _check("mesh", given, Mesh, "enfilade.transport.mesh.Mesh, or a string")
    if identity is None:
        return given
    if given.identity is not None and os.fspath(given.identity) != os.fspath(identity):
        raise ValueError(
            f"a node has one identity, got {safe_repr(given.identity)} in mesh= and {safe_repr(identity)}"
        )
    return attrs.evolve(given, identity=identity)


async def _join(node: Node, mesh: Mesh, entries: Mapping[str, Any] | None, door: str = "") -> Membership:
    from enfilade.transport.mesh.membership import join
    from enfilade.transport.mesh.stream import dial

    return await join(
        mesh,
        node.full_name,
        node.incarnation,
        node.nursery,
        list(entries or ()),
        door,
        entropy=node.runtime.entropy,
        random=node.runtime.random,
        unix_time=node.runtime.unix_time,
        dial=node.runtime.dial or dial,
    )


def _check_kinds(kinds: Mapping[str, Kind] | None, mesh: Mesh | None) -> None:
    """Refuse kinds that the node cannot run."""
    _check("kinds", kinds, Mapping, "a mapping from names to Kind records")
    for name, kind in (kinds or {}).items():
        check_name(name)
        _check(f"kind {name}", kind, Kind, "a Kind, such as Kind(Account)")
    if kinds and (mesh is None or not mesh.registry):
        raise ValueError("keyed actors need a mesh with a registry: give mesh=")


def _check(name: str, given: object, kind: type, wanted: str) -> None:
    """Refuse an argument of the wrong type now, and not when the first peer comes."""
    if given is not None and not isinstance(given, kind):
        raise TypeError(f"{name} must be {wanted}, got {safe_repr(given)}")
