"""The network for guests: the contracts of `selium::net::*`.

Each contract checks in the order of the guest ABI: the settings' slot, the protocol, the form of domain and
port, the policy, the limits. What lies behind it is `enfilade.hostcalls.net.network`, which needs the
libraries of the dependency group `net`: it is imported when a guest with a network capability is prepared.
"""

from __future__ import annotations

import enum
import functools
import importlib
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import attrs
import trio

from enfilade.hostcalls.abi import (
    IoFrame,
    IoRead,
    IoWrite,
    NetAccept,
    NetAcceptReply,
    NetConnect,
    NetConnectReply,
    NetCreateListener,
    NetCreateListenerReply,
    NetProtocol,
    NetTlsClientConfig,
    NetTlsConfigReply,
    NetTlsServerConfig,
    catalogue,
)
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.abi.errors import (
    HostcallError,
    InvalidArgument,
    NotFound,
    NotInThisBuild,
    PermissionDenied,
    SubsystemError,
)
from enfilade.hostcalls.contracts.caller import Caller
from enfilade.hostcalls.contracts.offer import Offer
from enfilade.hostcalls.contracts.operation import Operation, operation
from enfilade.hostcalls.net.binding import Binding
from enfilade.hostcalls.net.destination import Destination
from enfilade.hostcalls.net.domain import parse_domain
from enfilade.hostcalls.net.halves import Connection
from enfilade.hostcalls.net.listener import PutBack
from enfilade.hostcalls.net.owned import Family, OwnedReader, OwnedWriter
from enfilade.hostcalls.net.settings import NetworkSettings
from enfilade.hostcalls.net.sockets import Sockets, SystemSockets
from enfilade.hostcalls.net.tasks import Tasks
from enfilade.hostcalls.net.tls_settings import ClientSettings, ServerSettings
from enfilade.hostcalls.resources.clock import Clock
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.resources.registry import Departure, Kind, Resource

if TYPE_CHECKING:
    from enfilade.hostcalls.net.network import Handle, Network

T = TypeVar("T")

Offered: TypeAlias = Future[Offer[T]]
"""Answers that the guest may drop without having heard of them."""

CAPABILITIES = frozenset(
    hostcall.capability for hostcall in catalogue.CATALOGUE if hostcall.name.startswith("selium::net::")
)
"""The capabilities whose hostcalls are served here."""

_BYTES_OF_A_HOSTCALL = 16
"""Bytes of TLS settings that count for a hostcall: reading them takes the loop's time."""

_NETWORK = "enfilade.hostcalls.net.network"
"""The module that imports the libraries."""

_PROTOCOLS = {
    Family.QUIC: (NetProtocol.QUIC,),
    Family.HTTP: (NetProtocol.HTTP, NetProtocol.HTTPS),
}


class _Libraries(enum.Enum):
    """The libraries of the dependency group `net`."""

    UNKNOWN = "not imported yet"
    ABSENT = "not installed"
    THERE = "imported"


class NetDriver:
    """Serves the network hostcalls of one runtime.

    Args:
        clock: tells the time of day, for dates in messages. All time limits are those of trio's clock.
        settings: bounds, and the certificate of the host.
        sockets: the network that guests are on.
    """

    def __init__(
        self, clock: Clock, settings: NetworkSettings | None = None, sockets: Sockets | None = None
    ) -> None:
        self._clock = clock
        self._settings = settings or NetworkSettings()
        self._sockets = sockets
        self._tasks = Tasks()
        self._libraries = _Libraries.UNKNOWN
        self._network: Network | None = None

    def operations(self) -> Iterable[Operation[Any, Any]]:
        """The operations of the network."""
        quic, http = Family.QUIC, Family.HTTP
        yield self._operation(catalogue.NET_QUIC_BIND, self._bind, quic)
        yield self._operation(catalogue.NET_QUIC_ACCEPT, self._accept, quic)
        yield self._operation(catalogue.NET_QUIC_CONNECT, self._connect, quic)
        yield self._operation(catalogue.NET_QUIC_READ, self._read, quic)
        yield self._operation(catalogue.NET_QUIC_WRITE, self._write, quic)
        yield self._operation(catalogue.NET_HTTP_BIND, self._bind, http)
        yield self._operation(catalogue.NET_HTTP_ACCEPT, self._accept, http)
        yield self._operation(catalogue.NET_HTTP_CONNECT, self._connect, http)
        yield self._operation(catalogue.NET_HTTP_READ, self._read, http)
        yield self._operation(catalogue.NET_HTTP_WRITE, self._write, http)
        yield operation(catalogue.NET_TLS_SERVER_CONFIG_CREATE, self._create_server_settings)
        yield operation(catalogue.NET_TLS_CLIENT_CONFIG_CREATE, self._create_client_settings)

    def is_ready(self, grants: frozenset[Capability]) -> bool:
        """Tell whether guests with these capabilities can be prepared without a delay."""
        return self._libraries is not _Libraries.UNKNOWN or not grants & CAPABILITIES

    def import_libraries(self) -> None:
        """Import what the network needs: a second of work, which may be done in a worker thread."""
        try:
            importlib.import_module(_NETWORK)
        except ModuleNotFoundError as error:
            if error.name is not None and error.name.startswith("enfilade."):
                raise
            self._libraries = _Libraries.ABSENT  # reported to the guest that needs them
        else:
            self._libraries = _Libraries.THERE

    def prepare(self, grants: frozenset[Capability]) -> None:
        """Make the network if guests with these capabilities need it. Not a checkpoint."""
        if grants & CAPABILITIES:
            self._load()

    def open(self, nursery: trio.Nursery) -> None:
        """Run the tasks of the network in `nursery`."""
        self._tasks.open(nursery)

    def close(self) -> None:
        """Close every socket. The nursery's tasks end with it."""
        self._tasks.close()
        if self._network is not None:
            self._network.close()
            self._network = None

    def _load(self) -> Network | None:
        if self._libraries is _Libraries.UNKNOWN:
            self.import_libraries()
        if self._network is None and self._libraries is _Libraries.THERE:
            # A heavy package, and an optional one: few guests are on the network.
            from enfilade.hostcalls.net.network import Network

            self._sockets = self._sockets or SystemSockets()
            self._network = Network(self._settings, self._sockets, self._tasks, self._clock.unix_time)
        return self._network

    def _ready(self, name: str) -> Network:
        """The network. Raises `NotInThisBuild` when its libraries are not installed."""
        network = self._load()
        if network is None:
            raise NotInThisBuild(
                name, why="the libraries for the network are not installed; pip install 'enfilade[net]'"
            )
        return network

    def _operation(
        self, hostcall: Any, serve: Callable[[Network, Family, Caller, Any], Any], family: Family
    ) -> Operation[Any, Any]:
        def run(caller: Caller, wanted: Any) -> Any:
            return serve(self._ready(hostcall.name), family, caller, wanted)

        return operation(hostcall, run)

    # TLS settings.

    def _create_server_settings(
        self, caller: Caller, wanted: NetTlsServerConfig
    ) -> Offered[NetTlsConfigReply]:
        settings = ServerSettings.check(wanted.bundle)
        self._ready(catalogue.NET_TLS_SERVER_CONFIG_CREATE.name)
        return _offer_settings(caller, Kind.TLS_SERVER, settings)

    def _create_client_settings(
        self, caller: Caller, wanted: NetTlsClientConfig
    ) -> Offered[NetTlsConfigReply]:
        settings = ClientSettings.check(wanted.bundle)
        self._ready(catalogue.NET_TLS_CLIENT_CONFIG_CREATE.name)
        return _offer_settings(caller, Kind.TLS_CLIENT, settings)

    # Listeners.

    def _bind(
        self, network: Network, family: Family, caller: Caller, wanted: NetCreateListener
    ) -> Offered[NetCreateListenerReply]:
        settings: ServerSettings | None = _settings(caller, wanted, Kind.TLS_SERVER)
        _check_protocol(family, wanted.protocol)
        found = parse_domain(wanted.domain) if wanted.domain else None
        _check_port(wanted.port)
        host = found.host if found is not None else ""
        addresses = caller.network.addresses(wanted.port, host)
        if not addresses:
            raise PermissionDenied(
                why=f"the network policy has no rule to bind port {wanted.port} for the domain {host!r}; "
                f"add Bind('127.0.0.1', {wanted.port}) to Network(bind=...)"
            )
        caller.check_room()
        caller.account.check_listener()
        # Hosts in requests are compared as they are written; names in certificates have no final dot.
        domain = host if found is None or family is Family.QUIC else found.name
        binding = Binding(domain, wanted.port, addresses, wanted.protocol is NetProtocol.HTTPS, settings)
        bind = network.bind_quic if family is Family.QUIC else network.bind_http
        handle = bind(binding, caller.account, caller.label)
        slot = caller.add(Kind.LISTENER, handle, handle.release)
        return Future.of(Offer(NetCreateListenerReply(slot), _Taken.note(caller, slot).free))

    def _accept(
        self, network: Network, family: Family, caller: Caller, wanted: NetAccept
    ) -> Offered[NetAcceptReply]:
        handle: Handle = caller.get(wanted.handle, Kind.LISTENER).payload
        if handle.family is not family:
            raise InvalidArgument
        caller.check_room(2)
        accepted = handle.listener.accept(caller.account, functools.partial(_accepted, caller, family))
        return accepted if isinstance(accepted, Future) else Future.of(accepted)

    # Connections.

    def _connect(
        self, network: Network, family: Family, caller: Caller, wanted: NetConnect
    ) -> Offered[NetConnectReply]:
        settings: ClientSettings | None = _settings(caller, wanted, Kind.TLS_CLIENT)
        _check_protocol(family, wanted.protocol)
        domain = parse_domain(wanted.domain)
        if family is Family.QUIC and domain.text.startswith("["):
            raise SubsystemError(f"connect failed: invalid server name: {domain.text}")
        _check_port(wanted.port)
        destination = Destination.check(domain, wanted.port, caller.network)
        caller.check_room(2)
        if family is Family.QUIC:
            made = network.connect_quic(destination, caller.account, caller.label, settings)
        else:
            made = network.connect_http(
                destination,
                caller.account,
                caller.label,
                is_secure=wanted.protocol is NetProtocol.HTTPS,
                tls=settings,
            )
        return made.then(functools.partial(_connected, caller, family))

    def _read(
        self, network: Network, family: Family, caller: Caller, wanted: IoRead
    ) -> IoFrame | Offered[IoFrame]:
        reader: OwnedReader = caller.get(wanted.handle, Kind.NET_READER).payload
        if reader.family is not family:
            raise InvalidArgument
        outcome = reader.read(wanted.len)
        offer = functools.partial(_offer_frame, reader, reader.reads)
        if isinstance(outcome, Future):
            return outcome.then(offer)
        return Future.of(offer(outcome)) if outcome else IoFrame(0, b"")

    def _write(
        self, network: Network, family: Family, caller: Caller, wanted: IoWrite
    ) -> int | Awaitable[int]:
        writer: OwnedWriter = caller.get(wanted.handle, Kind.NET_WRITER).payload
        if writer.family is not family:
            raise InvalidArgument
        return writer.write(wanted.payload)


def _offer_frame(reader: OwnedReader, read: int, payload: bytes) -> Offer[IoFrame]:
    return Offer(IoFrame(0, payload), lambda: reader.put_back(read, payload))


def _settings(caller: Caller, wanted: NetCreateListener | NetConnect, kind: Kind) -> Any:
    """The TLS settings that a call refers to, or None. Whatever else is in the slot is not found."""
    if wanted.tls is None:
        return None
    if wanted.protocol is NetProtocol.HTTP:
        raise InvalidArgument
    try:
        return caller.get(wanted.tls, kind).payload
    except InvalidArgument:
        raise NotFound from None


def _offer_settings(
    caller: Caller, kind: Kind, settings: ServerSettings | ClientSettings
) -> Offered[NetTlsConfigReply]:
    account = caller.account
    account.add_tls_bytes(settings.size)
    caller.budget.hostcalls.left -= settings.size // _BYTES_OF_A_HOSTCALL
    slot = caller.add(kind, settings, lambda: account.remove_tls_bytes(settings.size))
    return Future.of(Offer(NetTlsConfigReply(slot), _Taken.note(caller, slot).free))


def _check_protocol(family: Family, protocol: NetProtocol) -> None:
    if protocol not in _PROTOCOLS[family]:
        raise InvalidArgument


def _check_port(port: int) -> None:
    if port == 0:
        raise InvalidArgument


# Slots.


@attrs.frozen(eq=False)
class _Taken:
    """A slot that a guest was given, and may never hear of."""

    caller: Caller
    slot: int
    resource: Resource

    @classmethod
    def note(cls, caller: Caller, slot: int) -> _Taken:
        return cls(caller, slot, caller.slots.get(slot))

    @property
    def is_untouched(self) -> bool:
        """True of a half that is in this slot and nowhere else, and was neither shared nor used."""
        resource = self.resource
        is_alone = self._is_there and resource.holds == 1 and resource.shared is None
        return is_alone and not resource.payload.is_touched

    @property
    def _is_there(self) -> bool:
        return self.caller.slots.content(self.slot) is self.resource

    def free(self) -> None:
        """Free the slot, unless the guest has guessed its number and freed it itself."""
        if self._is_there:
            self.caller.slots.free(self.slot)


# Halves.


def _accepted(
    caller: Caller, family: Family, connection: Connection, put_back: PutBack
) -> Offer[NetAcceptReply]:
    taken = _take(caller, family, connection)

    def take_back() -> None:
        is_untouched = all(half.is_untouched for half in taken)
        if is_untouched:
            for half in taken:
                half.resource.release = half.resource.payload.leave
        for half in taken:
            half.free()
        if is_untouched and not put_back():
            _release(connection)

    reader, writer = taken
    return Offer(NetAcceptReply(reader.slot, writer.slot, connection.remote_addr), take_back)


def _connected(caller: Caller, family: Family, connection: Connection) -> Offer[NetConnectReply]:
    try:
        reader, writer = _take(caller, family, connection)
    except HostcallError:
        _release(connection)
        raise

    def take_back() -> None:
        reader.free()
        writer.free()

    return Offer(NetConnectReply(reader.slot, writer.slot, connection.remote_addr), take_back)


def _release(connection: Connection) -> None:
    connection.reader.release(Departure.RELEASED)
    connection.writer.release(Departure.RELEASED)


def _take(caller: Caller, family: Family, connection: Connection) -> tuple[_Taken, _Taken]:
    """Make the caller the owner of a connection. Raises `InvalidArgument` when it has no room for it."""
    caller.check_room(2)
    reader = OwnedReader(connection.reader, family, caller.account)
    writer = OwnedWriter(connection.writer, family, caller.account)
    first = _add_half(caller, Kind.NET_READER, reader)
    second = _add_half(caller, Kind.NET_WRITER, writer)
    return _Taken.note(caller, first), _Taken.note(caller, second)


def _add_half(caller: Caller, kind: Kind, half: OwnedReader | OwnedWriter) -> int:
    registry = caller.registry
    resource: Resource = registry.add(kind, half, owner=caller.id)

    def release() -> None:
        half.release(resource.departure or Departure.RELEASED)

    def moved(process: int | None) -> None:
        if process is not None:
            owner: Caller = registry.get(process, Kind.PROCESS).payload
            half.move(owner.account)

    resource.release, resource.moved = release, moved
    resource.spent = lambda: half.spent
    return caller.slots.insert(resource)
