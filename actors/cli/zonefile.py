"""Zone files: a node, its peers and its supervision tree, as TOML.

`docs/reference/zone-files.md` says what every key means; a test compares that page with the tables below.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import msgspec

from actors.cli.control import CONTROL, OperatorRights
from actors.cli.refusal import Refusal
from actors.spec import Child
from transport.policy import Limits, Policy, Rule

if TYPE_CHECKING:
    from actors.guest import Guest

__all__ = ["ZoneFile", "read_secret", "read_zone_file"]


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    pass


class NodeTable(_Table):
    """Who the node is."""

    name: str
    zone: str
    door: str | None = None
    connect: list[str] = []
    longest_pause: float = 10.0
    secret: str | None = None
    workers: int = 0

    def __post_init__(self) -> None:
        for part in (self.name, self.zone):
            if not part or set(part) & set("@:"):
                raise ValueError(f"a name has a character and neither '@' nor ':', unlike {part!r}")
        if self.workers < 0:
            raise ValueError(f"a node has 0 or more workers, not {self.workers}")


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


class LimitsTable(_Table):
    """How much a peer may ask for: what `transport.Limits` says, and its defaults."""

    backlog: int = Limits().backlog
    references: int = Limits().references
    pending: int = Limits().pending
    rate: float | None = None

    def limits(self) -> Limits:
        """The same for a policy. Raises ValueError when a number is out of range."""
        return Limits(**msgspec.structs.asdict(self))


class PeerTable(_Table):
    """Who may connect, and what for."""

    nodes: tuple[str, ...] = ("*",)
    zones: tuple[str, ...] = ("*",)
    uids: list[int] | None = None
    gids: list[int] | None = None
    exports: list[str] = []
    entries: list[str] = []
    groups: list[str] = []
    control: bool = False
    limits: LimitsTable = msgspec.field(default_factory=LimitsTable)
    refuse: bool = False

    def rule(self) -> Rule:
        """The same for a policy. Raises ValueError when a limit is out of range."""
        rights = OperatorRights(
            exports=self.exports,
            entries=self.entries,
            groups=self.groups,
            control=self.control,
            limits=self.limits.limits(),
        )
        return Rule(
            nodes=self.nodes,
            zones=self.zones,
            uids=self.uids,
            gids=self.gids,
            rights=None if self.refuse else rights,
        )


class ZoneFile(_Table):
    """A zone file as it was written."""

    node: NodeTable
    supervisor: SupervisorTable = msgspec.field(default_factory=SupervisorTable)
    entries: dict[str, str] = {}
    child: list[ChildTable] = []
    peer: list[PeerTable] = []

    def policy(self, directory: Path) -> Policy:
        """Who may connect to the node; the secret is looked for in `directory`.

        Raises:
            Refusal: the secret cannot be read, or a limit is out of range.
        """
        secret = None if self.node.secret is None else read_secret(directory / self.node.secret)
        if not self.peer:
            rule = Rule(uids=[os.geteuid()], rights=OperatorRights(control=True))
            return Policy(rules=[rule], secret=secret)
        try:
            return Policy(rules=[peer.rule() for peer in self.peer], secret=secret)
        except ValueError as error:
            raise Refusal(f"a peer's limits: {error}") from error

    def children(self, directory: Path) -> list[Child]:
        """The children's specifications; modules and guests are looked for in `directory` first.

        Raises:
            Refusal: a child names something that does not exist or cannot be spawned.
        """
        return [_child(table, directory) for table in self.child]

    def targets(self, directory: Path) -> dict[str, Any]:
        """What peers may start, by name; modules are looked for in `directory` first.

        Raises:
            Refusal: an entry names something that does not exist.
        """
        targets = {}
        for name, reference in self.entries.items():
            try:
                targets[name] = _import(reference, directory)
            except (ImportError, AttributeError, ValueError, SyntaxError) as error:
                raise Refusal(f"entry {name!r}: {error}") from error
        return targets


def _child(table: ChildTable, directory: Path) -> Child:
    if (table.actor is None) == (table.guest is None):
        raise Refusal(f"child {table.id!r}: give it either an actor or a guest")
    if table.name == CONTROL:
        raise Refusal(f"child {table.id!r}: the name {CONTROL!r} is that of the node's control process")
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
    except (ImportError, AttributeError, ValueError, SyntaxError) as error:
        raise Refusal(f"child {table.id!r}: {error}") from error


def _guest(table: ChildTable, directory: Path) -> Guest:
    from actors.guest import Guest  # guests bring an engine along, which few commands need
    from hostcalls.errors import HostcallError

    path = directory / str(table.guest)
    if not path.is_file():
        raise Refusal(f"child {table.id!r}: there is no module {path}")
    try:
        return Guest(path, capabilities=table.capabilities, entrypoint=table.entrypoint, label=table.id)
    except HostcallError as error:
        raise Refusal(f"child {table.id!r}: {error}") from error


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
        raise Refusal(f"{path} is not a zone file: {error}{_choices(str(error))}") from error


def _choices(trouble: str) -> str:
    """The words that a key takes, which the decoder leaves out when it is given another."""
    key = trouble.rpartition(".")[2].rstrip("`")
    for field in msgspec.structs.fields(SupervisorTable) + msgspec.structs.fields(ChildTable):
        if field.name == key and "enum value" in trouble:
            kinds = (field.type, *get_args(field.type))
            words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
            return f"; the words for it are {', '.join(map(repr, words))}"
    return ""


def read_secret(path: Path) -> bytes:
    """The secret in a file, without white space around it.

    Raises:
        Refusal: the file cannot be read, others than its owner may read it, or it is empty.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            secret = file.read().strip()
    except OSError as error:
        raise Refusal(f"the secret {path}: {error.strerror}") from error
    if mode & 0o077:
        raise Refusal(f"the secret {path} is open to others than its owner; `chmod 600` it")
    if not secret:
        raise Refusal(f"the secret {path} is empty")
    return secret
