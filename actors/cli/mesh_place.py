"""A node that is reached over a mesh, and who the command is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from enfilade.actors.cli.places import place_of
from enfilade.actors.cli.refusal import Refusal

if TYPE_CHECKING:
    from enfilade.transport.mesh.identity import Identity
    from enfilade.transport.mesh.settings import Mesh

__all__ = ["MeshPlace", "Visitor", "reached", "visitor_of"]


@attrs.frozen
class MeshPlace:
    """A node that can be reached over a mesh.

    Attributes:
        node: its full name.
        own: the full name of the command's own node.
        mesh: how that one is in the mesh.
    """

    node: str
    own: str
    mesh: Mesh

    def __str__(self) -> str:
        return self.node


@attrs.frozen
class Visitor:
    """A command's part in a mesh, which claims nothing there.

    Attributes:
        name: the full name of its node.
        mesh: how that one is in the mesh.
        identity: its certificate; None without any.
    """

    name: str
    mesh: Mesh
    identity: Identity | None


def reached(
    given: Path, identity: Path | None, mesh: str | None, secret: Path | None
) -> tuple[Path | MeshPlace, Path | None]:
    """The node that the user means, and the file of the secret that it asks for.

    Args:
        given: with a mesh, the name of the node; without one, what `place_of` takes.
        identity: the directory of `enfilade mesh join` with which to be in the mesh; None.
        mesh: "embedded", "embedded:NAME" or an address on this machine; None.
        secret: the file of the secret; None for the one in the zone file, if that is given.

    Raises:
        Refusal: there is no such node, or the mesh cannot be used so.
    """
    if identity is not None or mesh is not None:
        visitor = visitor_of(identity, mesh)
        return MeshPlace(str(given), visitor.name, visitor.mesh), secret
    try:
        place = place_of(given, secret)
    except Refusal as refusal:
        if "@" not in given.name or len(given.parts) > 1:
            raise
        raise Refusal(
            f"{refusal}; for the node of that name in a mesh give --identity with a directory of "
            "`enfilade mesh join`, or --mesh embedded"
        ) from None
    return place.door, place.secret


def visitor_of(identity: Path | None, mesh: str | None, where: str | None = None) -> Visitor:
    """The part that a command takes in a mesh.

    Args:
        identity: the directory of `enfilade mesh join` with which to be in it; None.
        mesh: "embedded", "embedded:NAME" or an address on this machine; None.
        where: one of the two, in words that say which; None.

    Raises:
        Refusal: none is given, or more than one; or the mesh cannot be used so.
    """
    # Who visits a door does without all this.
    from enfilade.actors.cli.mesh_authority import refusals
    from enfilade.transport.mesh.identity import read_identity
    from enfilade.transport.mesh.settings import EMBEDDED, Mesh

    if where is not None:
        if identity is not None or mesh is not None:
            raise Refusal(f"expected {where}, --identity or --mesh, got more than one")
        if where.partition(":")[0] == EMBEDDED or "://" in where:
            mesh = where
        else:
            identity = Path(where)
    if identity is None and mesh is None:
        raise Refusal("expected --identity with a directory of `enfilade mesh join`, or --mesh embedded")
    if identity is not None and mesh is not None:
        raise Refusal("expected --identity or --mesh, got both")
    if identity is not None:
        with refusals():
            who = read_identity(identity)
        if not who.servers:
            raise Refusal(f"{identity} names no servers: have the authority made with --server")
        return Visitor(
            who.node, Mesh(servers=who.servers, name=who.mesh, identity=who.directory, registry=False), who
        )
    servers, name = str(mesh), "default"
    if servers.startswith(f"{EMBEDDED}:"):
        servers, _, name = servers.partition(":")
    try:
        return Visitor(f"operator-{os.getpid()}@mesh", Mesh(servers=servers, name=name, registry=False), None)
    except ValueError as error:
        raise Refusal(f"--mesh: {error}") from error
