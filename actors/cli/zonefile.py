"""Zone files: a node, its peers and its supervision tree, as TOML.

`docs/reference/zone-files.md` says what every key means; a test compares that page with the tables below.
"""

from __future__ import annotations

import importlib
import inspect
import math
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

import msgspec

from enfilade.actors.cli.files import read_own, read_secret
from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.cli.telemetry import TelemetryTable
from enfilade.actors.messages.global_name import Global, Taking
from enfilade.actors.messages.nearest import did_you_mean
from enfilade.actors.peers.mesh.kind import Kind, check_name
from enfilade.actors.processes.actor import Actor
from enfilade.actors.processes.body import is_spawnable
from enfilade.actors.processes.mailbox import UNBOUNDED, Mailbox, Overflow
from enfilade.actors.supervision.backoff import Backoff
from enfilade.actors.supervision.child_spec import Child, Flags, check_child_specs
from enfilade.actors.supervision.remote_entry import Place, RemoteEntry
from enfilade.node_names import check_node_names
from enfilade.transport.policy import CONTROL, INSPECT, OBSERVE, TRACE, Limits, Policy, Rights, Rule

if TYPE_CHECKING:
    from enfilade.actors.guests import Guest
    from enfilade.hostcalls.net.settings import NetworkSettings
    from enfilade.transport.mesh.settings import Mesh

__all__ = ["ROOT", "LogFormat", "LogLevel", "LogTable", "ZoneFile", "read_zone_file"]

ROOT: Final = "root"
"""The name that the root supervisor is registered under."""


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    pass


class NodeTable(_Table):
    """The node: its name, its zone, its door."""

    name: str
    zone: str
    door: str | None = None
    connect: list[str] = []
    longest_pause: float = 10.0
    secret: str | None = None
    workers: int = 0
    dump_signals: bool = True
    dumps: str | None = None
    watchdog: float | None = None

    def __post_init__(self) -> None:
        check_node_names(self.name, self.zone)
        if not 0 < self.longest_pause < math.inf:
            raise ValueError(f"longest_pause must be finite and above 0 seconds, got {self.longest_pause}")
        if self.watchdog is not None and not 0 < self.watchdog < math.inf:
            raise ValueError(f"watchdog must be finite and above 0 seconds, got {self.watchdog}")
        if self.workers < 0:
            raise ValueError(f"workers must be 0 or more, got {self.workers}")


class MeshTable(_Table):
    """The mesh in which the node is found by its name, with the meaning and the defaults of `Mesh`."""

    servers: list[str] | str
    name: str = "default"
    identity: str | None = None
    dead_after: float = 3.0
    beat: float = 0.5
    lease: float = 6.0
    window: int = 1024 * 1024
    registry: bool = True
    labels: list[str] = []
    groups: list[str] = []
    server: str | None = None


class KindTable(_Table):
    """A kind of keyed actors, with the meaning and the defaults of `Kind`."""

    actor: str
    idle: float = 300.0
    shards: int = 256
    single: bool = False
    rebalance: bool = True


class SupervisorTable(_Table):
    """The flags of the node's root supervisor."""

    strategy: Literal["one_for_one", "one_for_all", "rest_for_one"] = "one_for_one"
    intensity: int = 1
    period: float = 5.0

    def __post_init__(self) -> None:
        Flags(**msgspec.structs.asdict(self))  # raises what is wrong with them


class BackoffTable(_Table):
    """Delays between the restarts of a child, with the meaning and the defaults of `Backoff`."""

    first: float = Backoff().first
    factor: float = Backoff().factor
    maximum: float = Backoff().maximum
    jitter: float = Backoff().jitter
    reset: float = Backoff().reset

    def __post_init__(self) -> None:
        self.backoff()

    def backoff(self) -> Backoff:
        """Convert to a child's back-off. Raises ValueError when a number is out of range."""
        return Backoff(**msgspec.structs.asdict(self))


class MailboxTable(_Table):
    """The bound of a child's mailbox, with the meaning of `Mailbox`."""

    capacity: int | None = None
    overflow: Overflow = "dead_letter"
    inherit: bool = False

    def __post_init__(self) -> None:
        self.mailbox()

    def mailbox(self) -> Mailbox:
        """Convert to a child's mailbox. Raises ValueError when the capacity is out of range."""
        return Mailbox(**msgspec.structs.asdict(self))


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
    finds: list[str] = []
    registers: list[str] = []
    ends: list[str] = []
    limits: dict[str, Any] = {}
    net_bind: list[str] | None = None
    net_connect: list[str] | None = None
    nodes: list[str] = []
    labels: list[str] = []
    place: Place = "first"
    name: str | None = None
    global_name: str | None = None
    taken: Taking = "wait"
    restart: Literal["permanent", "transient", "temporary"] = "permanent"
    shutdown: float | Literal["brutal_kill"] | None = None
    start_timeout: float | None = None
    backoff: BackoffTable | None = None
    mailbox: MailboxTable | None = None


class NetworkTable(_Table):
    """The network of the node's guests."""

    certificate: str | None = None
    key: str | None = None
    roots: str | None = None
    bind: list[str] | None = None
    connect: list[str] | None = None
    settings: dict[str, Any] = {}


class LimitsTable(_Table):
    """Limits of a peer, with the meaning and the defaults of `enfilade.transport.Limits`."""

    backlog: int = Limits().backlog
    bulk: int = Limits().bulk
    references: int = Limits().references
    pending: int = Limits().pending
    pending_bytes: int = Limits().pending_bytes
    links: int = Limits().links
    processes: int = Limits().processes
    payload: int = Limits().payload
    decoding: float = Limits().decoding
    rate: float | None = None

    def limits(self) -> Limits:
        """Convert to the limits of a policy. Raises ValueError when a number is out of range."""
        return Limits(**msgspec.structs.asdict(self))


class PeerTable(_Table):
    """A rule of the policy: the peers it applies to, and their rights."""

    nodes: tuple[str, ...] = ("*",)
    zones: tuple[str, ...] = ("*",)
    uids: list[int] | None = None
    gids: list[int] | None = None
    over: Literal["doors", "mesh", "any"] = "doors"
    exports: list[str] = []
    ends: list[str] = []
    entries: list[str] = []
    groups: list[str] = []
    kinds: list[str] = []
    observe: bool = False
    inspect: bool = False
    trace: bool = False
    control: bool = False
    trace_context: bool = False
    limits: LimitsTable = msgspec.field(default_factory=LimitsTable)
    refuse: bool = False

    def rule(self) -> Rule:
        """Convert to a rule of a policy. Raises ValueError when a limit is out of range."""
        rights = Rights(
            exports=self.exports,
            ends=self.ends,
            entries=self.entries,
            groups=self.groups,
            kinds=self.kinds,
            observe=self.observe,
            inspect=self.inspect,
            trace=self.trace,
            control=self.control,
            trace_context=self.trace_context,
            limits=self.limits.limits(),
        )
        return Rule(
            nodes=self.nodes,
            zones=self.zones,
            uids=self.uids,
            gids=self.gids,
            over=self.over,
            rights=None if self.refuse else rights,
        )


LogFormat = Literal["text", "json"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


class LogTable(_Table):
    """The log of the node, which `enfilade zone run` writes to standard error."""

    format: LogFormat = "text"
    level: LogLevel = "WARNING"
    levels: dict[str, LogLevel] = {}


class ZoneFile(_Table):
    """A zone file as it was written."""

    node: NodeTable
    supervisor: SupervisorTable = msgspec.field(default_factory=SupervisorTable)
    mesh: MeshTable | None = None
    kinds: dict[str, KindTable | str] = {}
    network: NetworkTable = msgspec.field(default_factory=NetworkTable)
    entries: dict[str, str] = {}
    log: LogTable = msgspec.field(default_factory=LogTable)
    telemetry: TelemetryTable = msgspec.field(default_factory=TelemetryTable)
    child: list[ChildTable] = []
    peer: list[PeerTable] = []

    def policy(self, directory: Path) -> Policy:
        """Build the policy of the node; the secret's path is relative to `directory`.

        Raises:
            Refusal: the secret cannot be read, or a limit is out of range.
        """
        secret = None if self.node.secret is None else read_secret(directory / self.node.secret)
        if not self.peer:
            rights = Rights(observe=True, inspect=True, trace=True, control=True, trace_context=True)
            return Policy(rules=[Rule(uids=[os.geteuid()], rights=rights)], secret=secret)
        try:
            return Policy(rules=[peer.rule() for peer in self.peer], secret=secret)
        except ValueError as error:
            raise Refusal(f"a peer's limits: {error}") from error

    def mesh_settings(self, directory: Path) -> Mesh | None:
        """Build the settings of the node's part in a mesh; None without one.

        Raises:
            Refusal: a value is out of range.
        """
        if self.mesh is None:
            return None
        from enfilade.transport.mesh.settings import Mesh  # a node without a mesh does without all this

        given = msgspec.structs.asdict(self.mesh)
        for key in ("identity", "server"):
            if given[key] is not None:
                given[key] = str(directory / given[key])
        try:
            return Mesh(**given)
        except ValueError as error:
            raise Refusal(f"[mesh]: {error}") from error

    def kinds_run(self, directory: Path) -> dict[str, Kind] | None:
        """Build the kinds of keyed actors that the node runs; None without any.

        Raises:
            Refusal: a kind names something that does not exist, or a value is out of range, or there is no
                mesh with a registry.
        """
        if not self.kinds:
            return None
        if self.mesh is None or not self.mesh.registry:
            raise Refusal("[kinds]: keyed actors need a [mesh] with a registry")
        kinds = {}
        for name, entry in self.kinds.items():
            table = KindTable(entry) if isinstance(entry, str) else entry
            given = msgspec.structs.asdict(table)
            try:
                check_name(name)
                kinds[name] = Kind(_import(given.pop("actor"), directory), **given)
            except (TypeError, ValueError) as error:
                raise Refusal(f"[kinds.{name}]: {error}") from error
        return kinds

    def children(self, directory: Path) -> list[Child]:
        """Build the children's specifications; modules and guests are looked for in `directory` first.

        Raises:
            Refusal: a child names something that does not exist or cannot be spawned, or two have one id.
        """
        for table in self.child:
            if table.global_name is not None and (self.mesh is None or not self.mesh.registry):
                raise Refusal(f"child {table.id!r}: a 'global_name' needs a [mesh] with a registry")
        try:
            return check_child_specs([_child(table, directory, self.network) for table in self.child])
        except ValueError as error:
            raise Refusal(str(error)) from error

    def network_settings(self, directory: Path) -> NetworkSettings | None:
        """Build the settings of the guests' network; None if the file says nothing of it.

        Raises:
            Refusal: a file of `[network]` cannot be read or does not fit, or a rule or a setting is wrong.
        """
        table = self.network
        if table == NetworkTable():
            return None
        from enfilade.actors.cli.network import read_network  # guests bring an engine along
        from enfilade.hostcalls.net.rules import network_of

        certificate, key, roots = (
            None if path is None else directory / path for path in (table.certificate, table.key, table.roots)
        )
        try:
            network_of(table.bind, table.connect)
            return read_network(certificate, key, roots, table.settings)
        except (Refusal, ValueError) as error:
            raise Refusal(f"[network]: {error}") from error

    def targets(self, directory: Path) -> dict[str, Any]:
        """Import what peers may start, by name; modules are looked for in `directory` first.

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


KEYS: Final = {
    "actor": (),
    "guest": (
        "capabilities",
        "entrypoint",
        "finds",
        "registers",
        "ends",
        "limits",
        "net_bind",
        "net_connect",
    ),
    "entry": ("nodes", "labels", "place"),
}
"""What a child can be, and the keys that only such a child has."""

PLAIN: Final = ChildTable("")
"""A child with nothing but defaults."""

RESERVED: Final[Mapping[str | None, str]] = {
    CONTROL: "control process",
    OBSERVE: "process for observers",
    INSPECT: "process for inspectors",
    TRACE: "process for traces",
    ROOT: "root supervisor",
}


def _child(table: ChildTable, directory: Path, network: NetworkTable) -> Child:
    kinds = [kind for kind in KEYS if getattr(table, kind) is not None]
    if len(kinds) != 1:
        raise Refusal(
            f"child {table.id!r}: expected one of {', '.join(KEYS)}, got {' and '.join(kinds) or 'none'}"
        )
    for kind, keys in KEYS.items():
        strange = [key for key in keys if kind not in kinds and getattr(table, key) != getattr(PLAIN, key)]
        if strange:
            raise Refusal(
                f"child {table.id!r}: {strange[0]!r} belongs to a child with {kind!r}, not {kinds[0]!r}"
            )
    if table.name in RESERVED:
        raise Refusal(
            f"child {table.id!r}: the name {table.name!r} is reserved for the node's {RESERVED[table.name]}"
        )
    try:
        return Child(
            _target(table, directory, network),
            *table.arguments,
            id=table.id,
            name=_name(table),
            restart=table.restart,
            shutdown=table.shutdown,
            start_timeout=math.inf if table.start_timeout is None else table.start_timeout,
            backoff=None if table.backoff is None else table.backoff.backoff(),
            mailbox=UNBOUNDED if table.mailbox is None else table.mailbox.mailbox(),
            kwargs=table.options,
        )
    except ValueError as error:
        raise Refusal(f"child {table.id!r}: {error}") from error


def _name(table: ChildTable) -> str | Global | None:
    """Return the name of a child: of its node, or of the mesh."""
    if table.global_name is None:
        if table.taken != PLAIN.taken:
            raise ValueError("'taken' belongs to a child with a 'global_name'")
        return table.name
    if table.name is not None:
        raise ValueError("expected a 'name' on the node or a 'global_name' in the mesh, got both")
    if table.entry is not None:
        raise ValueError("the node where an 'entry' lives decides about its 'global_name'")
    return Global(table.global_name, taken=table.taken)


def _target(table: ChildTable, directory: Path, network: NetworkTable) -> Any:
    if table.actor is not None:
        return _import(table.actor, directory)
    if table.entry is not None:
        return RemoteEntry(table.entry, *table.nodes, labels=table.labels, place=table.place)
    return _guest(table, directory, network)


def _guest(table: ChildTable, directory: Path, network: NetworkTable) -> Guest:
    from enfilade.actors.guests import Guest  # guests bring an engine along, which few commands need
    from enfilade.hostcalls.abi.errors import HostcallError
    from enfilade.hostcalls.contracts.limits import limits_of
    from enfilade.hostcalls.kernel.modules import nearest_file
    from enfilade.hostcalls.net.rules import network_of

    path = directory / str(table.guest)
    if not path.is_file():
        raise Refusal(f"child {table.id!r}: there is no module {path}{nearest_file(path)}")
    try:
        return Guest(
            path,
            capabilities=table.capabilities,
            entrypoint=table.entrypoint,
            finds=table.finds,
            registers=table.registers,
            ends=table.ends,
            limits=limits_of(table.limits),
            network=network_of(
                network.bind if table.net_bind is None else table.net_bind,
                network.connect if table.net_connect is None else table.net_connect,
            ),
            label=table.id,
        )
    except (HostcallError, ValueError) as error:
        raise Refusal(f"child {table.id!r}: {error}") from error


def _import(reference: str, directory: Path) -> Any:
    """Import the attribute that `reference` names as module:attribute.

    Raises:
        ValueError: there is no such thing, its module cannot be imported, or it is nothing to be spawned.
    """
    module, colon, attribute = reference.partition(":")
    if not colon or not module or not attribute or module.startswith("."):
        place, _, last = reference.rpartition(".")
        meant = f"; did you mean {f'{place}:{last}'!r}?" if place and last and not colon else ""
        raise ValueError(f"expected module:attribute, got {reference!r}{meant}")
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
    try:
        target = getattr(importlib.import_module(module), attribute)
    except (ImportError, SyntaxError) as error:
        raise ValueError(str(error)) from error
    except AttributeError as error:
        near = did_you_mean(attribute, vars(sys.modules[module])) if module in sys.modules else ""
        raise ValueError(f"{error}{near}") from error
    except Exception as error:  # of the module's own code
        trouble = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"the module {module} failed: {trouble}") from error
    is_actor = isinstance(target, type) and issubclass(target, Actor)
    if not (is_actor or inspect.iscoroutinefunction(target) or is_spawnable(target)):
        raise ValueError(f"expected an actor class, an async function or a Spawnable, got {reference!r}")
    return target


def read_zone_file(path: Path) -> ZoneFile:
    """Read and check a zone file.

    Raises:
        Refusal: it is not TOML, or a field is missing, unknown or of the wrong type; the message names it.
            Or it is no regular file of ours that nobody else may write.
    """
    try:
        return msgspec.toml.decode(read_own(path, "zone file").decode(), type=ZoneFile)
    except UnicodeDecodeError as error:
        raise Refusal(f"{path} is not a zone file: expected text in UTF-8") from error
    except msgspec.MsgspecError as error:
        trouble = str(error)
        hint = _choices(trouble) or _nearest_key(trouble) or _brackets(trouble)
        raise Refusal(f"{path} is not a zone file: {trouble}{hint}") from error


_TABLES: Final = (
    ZoneFile,
    NodeTable,
    MeshTable,
    KindTable,
    SupervisorTable,
    ChildTable,
    BackoffTable,
    MailboxTable,
    PeerTable,
    LimitsTable,
    TelemetryTable,
)
_UNKNOWN: Final = re.compile(r"unknown field `([^`]*)`(?: - at `\$\.?([^`]*)`)?")


def _table_at(path: str) -> type[msgspec.Struct] | None:
    """The table that lies at a path such as `peer[0].limits`; None if it is not one of ours."""
    table: type[msgspec.Struct] | None = ZoneFile
    for step in filter(None, path.split(".")):
        if table is None:
            return None
        kinds = {field.name: field.type for field in msgspec.structs.fields(table)}
        kind = kinds.get(step.partition("[")[0])
        parts = (kind, *get_args(kind), *(part for each in get_args(kind) for part in get_args(each)))
        table = next((found for found in parts if found in _TABLES), None)
    return table


def _nearest_key(trouble: str) -> str:
    """The key that was meant by one that the decoder does not know."""
    found = _UNKNOWN.search(trouble)
    table = found and _table_at(found[2] or "")
    if not found or not table:
        return ""
    known = [field.name for field in msgspec.structs.fields(table)]
    return did_you_mean(found[1], known) or f"; expected one of {', '.join(sorted(known))}"


def _brackets(trouble: str) -> str:
    """The heading that was meant by one of single brackets, where there may be several tables."""
    found = re.search(r"Expected `array`, got `object` - at `\$\.(\w+)`$", trouble)
    return f"; write [[{found[1]}]]" if found else ""


def _choices(trouble: str) -> str:
    """The words that a key takes, which the decoder leaves out when it is given another."""
    key = trouble.rpartition(".")[2].rstrip("`")
    tables = (SupervisorTable, ChildTable, MailboxTable, LogTable)
    for field in (field for table in tables for field in msgspec.structs.fields(table)):
        if field.name == key and "enum value" in trouble:
            kinds = (field.type, *get_args(field.type))
            words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
            return f"; expected one of {', '.join(map(repr, words))}"
    return ""
