"""Zone files: a node, its peers and its supervision tree, as TOML.

`docs/reference/zone-files.md` says what every key means; a test compares that page with the tables below.
"""

from __future__ import annotations

import importlib
import inspect
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

import msgspec

from enfilade.actors.cli.control import CONTROL, OperatorRights
from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.processes.actor import Actor
from enfilade.actors.processes.body import is_spawnable
from enfilade.actors.supervision.child_spec import Child, Flags, check_child_specs
from enfilade.actors.supervision.remote_entry import RemoteEntry
from enfilade.transport.policy import Limits, Policy, Rule

if TYPE_CHECKING:
    from enfilade.actors.guests import Guest

__all__ = ["ROOT", "ZoneFile", "read_secret", "read_zone_file"]

ROOT: Final = "root"
"""The name that the root supervisor is registered under."""


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
        if not 0 < self.longest_pause < math.inf:
            raise ValueError(f"a pause has a finite number of seconds above 0, not {self.longest_pause}")
        if self.workers < 0:
            raise ValueError(f"a node has 0 or more workers, not {self.workers}")


class SupervisorTable(_Table):
    """How the node's root supervisor behaves."""

    strategy: Literal["one_for_one", "one_for_all", "rest_for_one"] = "one_for_one"
    intensity: int = 1
    period: float = 5.0

    def __post_init__(self) -> None:
        Flags(**msgspec.structs.asdict(self))  # raises what is wrong with them


class ChildTable(_Table):
    """One child of the root supervisor: an actor, a guest, or what an entry of another node starts."""

    id: str
    actor: str | None = None
    guest: str | None = None
    entry: str | None = None
    arguments: list[Any] = []
    options: dict[str, Any] = {}
    capabilities: list[str] = []
    entrypoint: str = "start"
    nodes: list[str] = []
    name: str | None = None
    restart: Literal["permanent", "transient", "temporary"] = "permanent"
    shutdown: float | Literal["brutal_kill"] | None = None


class LimitsTable(_Table):
    """How much a peer may ask for: what `enfilade.transport.Limits` says, and its defaults."""

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
            Refusal: a child names something that does not exist or cannot be spawned, or two have one id.
        """
        try:
            return check_child_specs([_child(table, directory) for table in self.child])
        except ValueError as error:
            raise Refusal(str(error)) from error

    def targets(self, directory: Path) -> dict[str, Any]:
        """What peers may start, by name; modules are looked for in `directory` first.

        Raises:
            Refusal: an entry names something that does not exist or cannot be spawned.
        """
        targets = {}
        for name, reference in self.entries.items():
            try:
                targets[name] = _import(reference, directory)
            except ValueError as error:
                raise Refusal(f"entry {name!r}: {error}") from error
        return targets


KEYS: Final = {"actor": (), "guest": ("capabilities", "entrypoint"), "entry": ("nodes",)}
"""What a child can be, and the keys that only such a child has."""

PLAIN: Final = ChildTable("")
"""A child with nothing but defaults."""

RESERVED: Final[Mapping[str | None, str]] = {CONTROL: "control process", ROOT: "root supervisor"}


def _child(table: ChildTable, directory: Path) -> Child:
    kinds = [kind for kind in KEYS if getattr(table, kind) is not None]
    if len(kinds) != 1:
        raise Refusal(
            f"child {table.id!r}: give it one of {', '.join(KEYS)}, not {' and '.join(kinds) or 'none'}"
        )
    for kind, keys in KEYS.items():
        strange = [key for key in keys if kind not in kinds and getattr(table, key) != getattr(PLAIN, key)]
        if strange:
            raise Refusal(
                f"child {table.id!r}: {strange[0]!r} belongs to a child with {kind!r}, not {kinds[0]!r}"
            )
    if table.name in RESERVED:
        raise Refusal(
            f"child {table.id!r}: the name {table.name!r} is that of the node's {RESERVED[table.name]}"
        )
    try:
        return Child(
            _target(table, directory),
            *table.arguments,
            id=table.id,
            name=table.name,
            restart=table.restart,
            shutdown=table.shutdown,
            kwargs=table.options,
        )
    except ValueError as error:
        raise Refusal(f"child {table.id!r}: {error}") from error


def _target(table: ChildTable, directory: Path) -> Any:
    if table.actor is not None:
        return _import(table.actor, directory)
    if table.entry is not None:
        return RemoteEntry(table.entry, *table.nodes)
    return _guest(table, directory)


def _guest(table: ChildTable, directory: Path) -> Guest:
    from enfilade.actors.guests import Guest  # guests bring an engine along, which few commands need
    from enfilade.hostcalls.abi.errors import HostcallError

    path = directory / str(table.guest)
    if not path.is_file():
        raise Refusal(f"child {table.id!r}: there is no module {path}")
    try:
        return Guest(path, capabilities=table.capabilities, entrypoint=table.entrypoint, label=table.id)
    except HostcallError as error:
        raise Refusal(f"child {table.id!r}: {error}") from error


def _import(reference: str, directory: Path) -> Any:
    """What a module has under a name.

    Raises:
        ValueError: there is no such thing, its module cannot be imported, or it is nothing to be spawned.
    """
    module, colon, attribute = reference.partition(":")
    if not colon or not module or not attribute or module.startswith("."):
        raise ValueError(f"{reference!r} is not of the form module:attribute")
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
    try:
        target = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise ValueError(str(error)) from error
    except Exception as error:  # of the module's own code
        trouble = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"the module {module} failed: {trouble}") from error
    is_actor = isinstance(target, type) and issubclass(target, Actor)
    if not (is_actor or inspect.iscoroutinefunction(target) or is_spawnable(target)):
        raise ValueError(f"{reference!r} is no actor class, no async function, and nothing Spawnable")
    return target


def read_zone_file(path: Path) -> ZoneFile:
    """Read and check a zone file.

    Raises:
        Refusal: it is no TOML, or a field is missing, unknown or of the wrong type; the message names it.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=ZoneFile)
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Refusal(f"{path} is not a zone file: it is not text in UTF-8") from error
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
