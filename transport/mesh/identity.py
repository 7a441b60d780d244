"""The identity of a node in a mesh on several machines: a directory with its certificate.

The directory is made by `enfilade mesh join`. It holds `node.pem` and `node.key`, the certificate of the node
and its private key; `ca.pem`, the certificate of the mesh's authority; and `mesh.toml`, which says what they
are for. The key is its owner's alone.

A certificate names a node by a URI, `enfilade:bank@east`, and a server by another, `enfilade-server`. So a
node's certificate cannot pose as a server, whatever host it is for.
"""

import os
import ssl
import stat
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import attrs

from enfilade.ownership import is_own, owner_shown
from enfilade.transport.mesh.settings import MeshError, Server

__all__ = [
    "SERVER_URI",
    "Identity",
    "check_secret",
    "client_context",
    "parse_identity",
    "read_identity",
    "server_fault",
]

SERVER_URI: Final = "enfilade-server"
"""The URI in the certificate of a server."""


@attrs.frozen
class Identity:
    """The contents of an identity directory, keys excepted.

    Attributes:
        directory: where it lies.
        node: the name in the certificate.
        also: further names that the certificate's holder may use.
        mesh: the name of the mesh.
        servers: addresses of its servers.
        expires: when the certificate ends.
        hosts: of a server: the names and addresses in the certificate; empty for a node.
    """

    directory: Path
    node: str
    mesh: str
    servers: tuple[str, ...]
    expires: datetime
    also: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    @property
    def days_left(self) -> float:
        """Days until the certificate ends; less than 0 when it has."""
        return (self.expires - datetime.now(UTC)).total_seconds() / 86400


def check_secret(path: Path) -> None:
    """Refuse a file with a secret that others may read, or that belongs to somebody else.

    Raises:
        MeshError: it is not there, or its owner or its mode is wrong; the text says what to do.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise MeshError(f"expected a file {path}: {error.strerror}") from error
    if not is_own(status, or_root=True):
        raise MeshError(
            f"{path} must belong to user {os.geteuid()} or to root, "
            f"it belongs to {owner_shown(status)}: chown it"
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise MeshError(f"{path} must be readable by its owner alone: chmod 600 {path}")


def read_identity(directory: str | os.PathLike[str]) -> Identity:
    """Read an identity directory.

    Raises:
        MeshError: a file is missing or malformed, or the key can be read by others.
    """
    where = Path(directory)
    check_secret(where / "node.key")
    path = where / "mesh.toml"
    try:
        text = path.read_text()
    except (OSError, ValueError) as error:
        raise MeshError(f"expected an identity made by `enfilade mesh join`, got {path}: {error}") from error
    return parse_identity(text, where)


def parse_identity(text: str, where: Path) -> Identity:
    """Read what `mesh.toml` says in an identity directory.

    Raises:
        MeshError: it is not what `enfilade mesh join` writes.
    """
    path = where / "mesh.toml"
    try:
        fields: dict[str, Any] = tomllib.loads(text)
    except ValueError as error:
        raise MeshError(f"expected an identity made by `enfilade mesh join`, got {path}: {error}") from error
    try:
        expires = fields["expires"]
        servers = tuple(map(str, fields.get("servers", ())))
        for each in servers:
            Server.parse(each)
        if not isinstance(expires, datetime) or expires.tzinfo is None:
            raise TypeError(f"expires must be a time with its zone, got {expires}")
        return Identity(
            directory=where,
            node=str(fields["node"]),
            mesh=str(fields["mesh"]),
            servers=servers,
            expires=expires,
            also=tuple(map(str, fields.get("also", ()))),
            hosts=tuple(map(str, fields.get("hosts", ()))),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise MeshError(f"expected node, mesh, servers and expires in {path}: {error}") from error


def client_context(identity: Identity) -> ssl.SSLContext:
    """Make the settings of TLS for a node's connections: version 1.3, both sides certified by the authority.

    Raises:
        MeshError: a file cannot be read, or key and certificate do not fit each other.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(identity.directory / "ca.pem")
        context.load_cert_chain(identity.directory / "node.pem", identity.directory / "node.key")
    except (OSError, ssl.SSLError) as error:
        raise MeshError(f"the identity in {identity.directory} cannot be used: {error}") from error
    return context


def server_fault(certificate: Any) -> str:
    """Say what is wrong with a server's certificate, whose host and issuer were checked; empty if nothing."""
    names = certificate.get("subjectAltName", ()) if isinstance(certificate, dict) else ()
    if ("URI", SERVER_URI) in names:
        return ""
    return f"its certificate must have the URI {SERVER_URI}, as those of servers have: it may be a node's"
