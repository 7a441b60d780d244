"""A node that is reached over a mesh, and who the command is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from enfilade.actors.cli.refusal import Refusal

if TYPE_CHECKING:
    from enfilade.transport.mesh.settings import Mesh

__all__ = ["MeshPlace", "reached"]


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


def reached(given: Path, identity: Path | None, mesh: str | None) -> Path | MeshPlace:
    """The node that the user means: at a door, or of a mesh when that is named.

    Args:
        given: the path of the door, or the name of the node.
        identity: the directory of `enfilade mesh join` with which to be in the mesh; None.
        mesh: "embedded", "embedded:NAME" or an address on this machine; None.

    Raises:
        Refusal: it is the name of a node, and no mesh is given; or the mesh cannot be used so.
    """
    if identity is None and mesh is None:
        if "@" in given.name and len(given.parts) == 1 and not given.exists():
            raise Refusal(
                f"{given} is not a door; for the node of that name in a mesh give --identity with a "
                "directory of `enfilade mesh join`, or --mesh embedded"
            )
        return given
    # Who visits a door does without all this.
    from enfilade.actors.cli.mesh_authority import refusals
    from enfilade.transport.mesh.identity import read_identity
    from enfilade.transport.mesh.settings import EMBEDDED, Mesh

    with refusals():
        if identity is not None:
            if mesh is not None:
                raise Refusal("expected --identity or --mesh, got both")
            who = read_identity(identity)
            return MeshPlace(
                str(given), who.node, Mesh(servers=who.servers, name=who.mesh, identity=who.directory)
            )
        servers, name = str(mesh), "default"
        if servers.startswith(f"{EMBEDDED}:"):
            servers, _, name = servers.partition(":")
        try:
            return MeshPlace(str(given), f"operator-{os.getpid()}@mesh", Mesh(servers=servers, name=name))
        except ValueError as error:
            raise Refusal(f"--mesh: {error}") from error
