"""Zone files: a node, its peers and its supervision tree, as TOML.

    [node]
    name = "bank"                    # full name: bank@east
    zone = "east"
    door = "bank.door"               # where other nodes find it; paths are relative to this file
    connect = ["../west/shop.door"]  # nodes to stay connected to
    longest_pause = 10.0             # seconds between attempts to connect, at most

    [supervisor]                     # of the children below; all three have these defaults
    strategy = "one_for_one"
    intensity = 1
    period = 5.0

    [[child]]
    id = "ledger"
    actor = "bank.ledger:Ledger"     # module:class, or module:async function
    arguments = [10]
    name = "ledger"                  # the name it is registered under

    [[child]]
    id = "filter"
    guest = "filter.wasm"            # or .wat
    capabilities = ["time_read"]
    restart = "transient"

    [[peer]]                         # who may connect; the first entry that fits counts
    nodes = ["shop@*"]
    uids = [0]
    exports = ["ledger"]             # the names that it may reach

Without a `peer` table the processes of the same user may connect, and reach nothing.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any, Literal

import msgspec

from actors.cli.refusal import Refusal
from actors.guest import Guest
from actors.spec import Child
from hostcalls.errors import HostcallError
from transport.policy import Policy, Rights, Rule

__all__ = ["ZoneFile", "read_zone_file"]


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    pass


class NodeTable(_Table):
    """Who the node is."""

    name: str
    zone: str
    door: str | None = None
    connect: list[str] = []
    longest_pause: float = 10.0


class SupervisorTable(_Table):
    """How the node's root supervisor behaves."""

    strategy: Literal["one_for_one", "one_for_all", "rest_for_one"] = "one_for_one"
    intensity: int = 1
    period: float = 5.0


class ChildTable(_Table):
    """One child of the root supervisor: an actor or a guest."""

    id: str
    actor: str | None = None
    guest: str | None = None
    arguments: list[Any] = []
    options: dict[str, Any] = {}
    capabilities: list[str] = []
    entrypoint: str = "start"
    name: str | None = None
    restart: Literal["permanent", "transient", "temporary"] = "permanent"
    shutdown: float | Literal["brutal_kill"] | None = None


class PeerTable(_Table):
    """Who may connect, and what for."""

    nodes: tuple[str, ...] = ("*",)
    zones: tuple[str, ...] = ("*",)
    uids: list[int] | None = None
    gids: list[int] | None = None
    exports: list[str] = []
    refuse: bool = False


class ZoneFile(_Table):
    """A zone file as it was written."""

    node: NodeTable
    supervisor: SupervisorTable = msgspec.field(default_factory=SupervisorTable)
    child: list[ChildTable] = []
    peer: list[PeerTable] = []

    def policy(self) -> Policy:
        """Who may connect to the node."""
        if not self.peer:
            return Policy.same_user()
        return Policy(
            rules=[
                Rule(
                    nodes=peer.nodes,
                    zones=peer.zones,
                    uids=peer.uids,
                    gids=peer.gids,
                    rights=None if peer.refuse else Rights(exports=peer.exports),
                )
                for peer in self.peer
            ]
        )

    def children(self, directory: Path) -> list[Child]:
        """The children's specifications; modules and guests are looked for in `directory` first.

        Raises:
            Refusal: a child names something that does not exist or cannot be spawned.
        """
        return [_child(table, directory) for table in self.child]


def _child(table: ChildTable, directory: Path) -> Child:
    if (table.actor is None) == (table.guest is None):
        raise Refusal(f"child {table.id!r}: give it either an actor or a guest")
    try:
        target = _guest(table, directory) if table.actor is None else _import(table.actor, directory)
        return Child(
            target,
            *table.arguments,
            id=table.id,
            name=table.name,
            restart=table.restart,
            shutdown=table.shutdown,
            kwargs=table.options,
        )
    except (ImportError, AttributeError, ValueError, HostcallError) as error:
        raise Refusal(f"child {table.id!r}: {error}") from error


def _guest(table: ChildTable, directory: Path) -> Guest:
    path = directory / str(table.guest)
    if not path.is_file():
        raise Refusal(f"child {table.id!r}: there is no module {path}")
    return Guest(path, capabilities=table.capabilities, entrypoint=table.entrypoint, label=table.id)


def _import(reference: str, directory: Path) -> Any:
    module, colon, attribute = reference.partition(":")
    if not colon or not module or not attribute:
        raise ValueError(f"{reference!r} is not of the form module:attribute")
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
    return getattr(importlib.import_module(module), attribute)


def read_zone_file(path: Path) -> ZoneFile:
    """Read and check a zone file.

    Raises:
        Refusal: it is no TOML, or a field is missing, unknown or of the wrong type; the message names it.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=ZoneFile)
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise Refusal(f"{path} is not a zone file: {error}") from error
