"""UDP sockets that speak QUIC: listeners of any number of domains on one, or one client's connection."""

from __future__ import annotations

import abc
import heapq
import itertools
import logging
from collections.abc import Callable
from weakref import WeakKeyDictionary

import trio
from cryptography.hazmat.primitives.serialization import Encoding

from enfilade.hostcalls.abi.errors import SubsystemError
from enfilade.hostcalls.net.account import Account
from enfilade.hostcalls.net.gate import Gate
from enfilade.hostcalls.net.halves import Connection
from enfilade.hostcalls.net.listener import Admission, Listener
from enfilade.hostcalls.net.quic_connection import QuicConnection
from enfilade.hostcalls.net.quic_packets import (
    INVALID_TOKEN,
    OVERLOADED,
    SMALLEST_INITIAL,
    VERSIONS,
    AddressProof,
    Header,
    negotiate_version,
    read_header,
    refuse,
)
from enfilade.hostcalls.net.quic_private import Core, Site, Visit, check_identity
from enfilade.hostcalls.net.settings import NetworkSettings
from enfilade.hostcalls.net.sockets import Address, Datagrams
from enfilade.hostcalls.net.tls import (
    ClientMaterial,
    Credentials,
    ServerMaterial,
    TlsConfigError,
    server_name,
)
from enfilade.hostcalls.net.tls_settings import ClientSettings, ServerSettings
from enfilade.hostcalls.net.verifier import CLIENT, SERVER, Verifier, covers, is_address
from enfilade.hostcalls.resources.futures import Future

_log = logging.getLogger("enfilade.hostcalls.net")

_SHORTEST_ID = 8
"""Bytes of the shortest connection id that a client may choose for a server."""

_PAUSE = 0.1
"""Seconds until a receive that has failed is tried again."""

_UNROUTED = "unrouted domain"
_OVERLOADED = "overloaded"

_verifiers: WeakKeyDictionary[ServerMaterial | ClientMaterial, Verifier] = WeakKeyDictionary()


# Settings.


def site_of(credentials: Credentials, settings: ServerSettings | None, domain: str) -> Site:
    """A listener's side of handshakes.

    Raises:
        InvalidArgument: a key or CA does not parse.
        TlsConfigError: the certificate does not parse, is not for the domain, or not QUIC's kind.
    """
    material = credentials.server(settings)
    name = server_name(domain)
    if not name or is_address(name):
        raise TlsConfigError("unexpected error: Bad DNS name")
    if not covers(material.identity.chain[0], name):
        raise TlsConfigError(f'invalid peer certificate: certificate not valid for name "{name}"')
    check_identity(material.identity)
    verifier = None
    if material.authorities is not None:
        issuers = (each.public_bytes(Encoding.DER) for each in material.authorities)
        verifier = _verifiers.get(material) or Verifier(issuers, CLIENT)
        _verifiers[material] = verifier
    return Site(material.identity, material.alpn or (), verifier, material.require_client_auth)


def visit_of(credentials: Credentials, settings: ClientSettings | None, domain: str) -> Visit:
    """A client's side of handshakes.

    Raises:
        InvalidArgument: a key or CA does not parse.
        TlsConfigError: the client's certificate does not parse, or is not QUIC's kind.
        SubsystemError: the domain is an address in brackets.
    """
    if domain.startswith("["):
        raise SubsystemError(f"connect failed: invalid server name: {domain}")
    material = credentials.client(settings)
    if material.identity is not None:
        check_identity(material.identity)
    verifier = _verifiers.get(material) or Verifier(credentials.roots(material), SERVER)
    _verifiers[material] = verifier
    return Visit(server_name(domain), verifier, material.alpn or (), material.identity)


# Sockets.


class _Port(abc.ABC):
    """One UDP socket and its connections: receives, sends, and keeps the time for all of them."""

    def __init__(self, socket: Datagrams, settings: NetworkSettings) -> None:
        self._socket = socket
        self._settings = settings
        self._connections: dict[QuicConnection, float | None] = {}  # with the time at which each expires
        self._timers: list[tuple[float, int, QuicConnection]] = []  # a heap; old entries are passed over
        self._numbers = itertools.count()
        self._due: dict[QuicConnection, None] = {}  # those that may have something to send
        self._woken = trio.Event()
        self._is_closed = False

    async def run(self) -> None:
        """Serve the socket until it is closed, and close it then; also when cancelled. A checkpoint."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._receive_all)
                await self._send_all()
                nursery.cancel_scope.cancel()
        except Exception:
            _log.exception("a UDP port is closed because of a fault of the host")
        finally:
            self.close()

    def close(self) -> None:
        """Close the socket, after a last word to every peer. Twice is the same."""
        if self._is_closed:
            return
        self._is_closed = True
        connections, self._connections = self._connections, {}
        for connection in connections:
            connection.abort(trio.current_time())
            self._send(connection)
        self._socket.close()
        self._woken.set()

    def _wake(self, connection: QuicConnection) -> None:
        self._due[connection] = None
        self._woken.set()

    async def _receive_all(self) -> None:
        """Receive until the socket is closed. What the system lacks for the moment, it may have later."""
        has_failed = False
        while True:
            try:
                datagram, address = await self._socket.receive()
            except trio.ClosedResourceError:
                self.close()
                return
            except OSError as error:
                if not has_failed:
                    _log.warning("a UDP port cannot receive now, and tries again: %s", error.strerror)
                has_failed = True
                await trio.sleep(_PAUSE)
            else:
                self._take(datagram, address)

    @abc.abstractmethod
    def _take(self, datagram: bytes, address: Address) -> None:
        """Take in a datagram."""

    def _deliver(self, connection: QuicConnection, datagram: bytes, address: Address) -> None:
        connection.receive(datagram, address, trio.current_time())
        self._wake(connection)

    async def _send_all(self) -> None:
        """Send what is there to send, and call connections when their time has come."""
        while True:
            while self._due:
                connection = next(iter(self._due))
                del self._due[connection]
                if connection in self._connections:
                    self._send(connection)
                    self._settle(connection)
                await trio.lowlevel.checkpoint()
            if self._is_closed:
                return
            self._woken = trio.Event()
            with trio.move_on_at(self._timers[0][0] if self._timers else float("inf")):
                await self._woken.wait()
            self._expire(trio.current_time())

    def _send(self, connection: QuicConnection) -> None:
        for datagram, address in connection.datagrams(trio.current_time()):
            self._socket.send(datagram, address)

    def _expire(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            deadline, _, connection = heapq.heappop(self._timers)
            if self._connections.get(connection) == deadline:
                self._connections[connection] = None
                connection.expire(now)
                self._wake(connection)

    def _settle(self, connection: QuicConnection) -> None:
        """Take note of what has changed of a connection."""
        if connection.is_over:
            self._remove(connection)
            return
        deadline = connection.deadline
        if deadline is not None and deadline != self._connections[connection]:
            heapq.heappush(self._timers, (deadline, next(self._numbers), connection))
            if len(self._timers) > 64 + 4 * len(self._connections):
                self._timers = [
                    entry for entry in self._timers if self._connections.get(entry[2]) == entry[0]
                ]
                heapq.heapify(self._timers)
        self._connections[connection] = deadline

    def _remove(self, connection: QuicConnection) -> None:
        del self._connections[connection]


class Endpoint(_Port):
    """The socket of a port that guests listen on, for one domain or several.

    Connections live on when their listener has gone; the port is free when both have.

    Args:
        socket: the bound socket. The endpoint closes it.
        settings: bounds.
        gate: counts connections of all ports.
        on_idle: called when there is neither listener nor connection left; the socket is closed by then.
    """

    def __init__(
        self, socket: Datagrams, settings: NetworkSettings, gate: Gate, *, on_idle: Callable[[], None]
    ) -> None:
        super().__init__(socket, settings)
        self._gate = gate
        self._on_idle = on_idle
        self._sites: dict[str, tuple[Listener, Site]] = {}
        self._routes: dict[bytes, QuicConnection] = {}
        self._known: dict[QuicConnection, set[bytes]] = {}  # the ids in `_routes`
        self._queued: dict[QuicConnection, Listener] = {}  # some of them were accepted since
        self._shaking: set[QuicConnection] = set()
        self._proof = AddressProof()

    @property
    def listeners(self) -> list[Listener]:
        """The listeners that are bound."""
        return [listener for listener, _ in self._sites.values()]

    def bind(self, listener: Listener, site: Site) -> None:
        """Let clients reach a listener by its domain. There must be none for it yet."""
        self._sites[server_name(listener.domain)] = listener, site

    def unbind(self, listener: Listener) -> None:
        """Close a listener, and the connections that no guest has accepted from it.

        The socket closes at once if nothing else uses it.
        """
        name = server_name(listener.domain)
        found = self._sites.get(name)
        if found is not None and found[0] is listener:
            del self._sites[name]
        listener.close()
        for connection in list(self._connections):
            is_unrouted = connection.site is not None and self._find(connection) is None
            if connection.connection is None and (is_unrouted or not self._sites):
                connection.refuse(_UNROUTED)
        self._close_if_idle()

    def close(self) -> None:
        """Close the socket and all listeners, after a last word to every peer. Twice is the same."""
        if self._is_closed:
            return
        super().close()
        sites, self._sites = self._sites, {}
        for listener, _ in sites.values():
            listener.close()
        for connection in list(self._known):
            self._forget(connection)
        self._on_idle()

    def _close_if_idle(self) -> None:
        if not self._sites and all(connection.core.ended for connection in self._connections):
            self.close()

    # Datagrams.

    def _take(self, datagram: bytes, address: Address) -> None:
        header = read_header(datagram)
        if header is None:
            return
        connection = self._routes.get(header.destination_id)
        if connection is not None:
            self._deliver(connection, datagram, address)
        elif header.version is None or header.is_negotiation or len(datagram) < SMALLEST_INITIAL:
            return
        elif header.version not in VERSIONS:
            self._socket.send(negotiate_version(header), address)
        elif header.is_initial and len(header.destination_id) >= _SHORTEST_ID and self._sites:
            self._greet(header, datagram, address)

    def _greet(self, header: Header, datagram: bytes, address: Address) -> None:
        """Answer a packet that begins a connection."""
        now = trio.current_time()
        original_id: bytes | None = header.destination_id
        retry_id = None
        if header.token:
            original_id = self._proof.check(header, address, now)
            retry_id = header.destination_id
            if original_id is None:
                self._socket.send(refuse(header, INVALID_TOKEN), address)
                return
        elif len(self._shaking) >= self._settings.quic_handshakes:
            self._socket.send(self._proof.demand(header, address, now), address)
            return
        if not self._gate.enter(address[0]):
            self._socket.send(refuse(header, OVERLOADED), address)
            return
        core = Core(
            self._choose,
            window=self._settings.quic_window,
            idle_timeout=self._settings.quic_idle_timeout,
            original_id=original_id,
            retry_id=retry_id,
        )
        connection = QuicConnection(
            core, address, self._settings, now, wake=self._wake, on_usable=self._offer
        )
        connection.ids.add(header.destination_id)
        connection.receive(datagram, address, now)
        if not core.is_begun:  # nothing of it could be read
            self._gate.leave(address[0])
            return
        self._connections[connection] = None
        self._known[connection] = set()
        self._shaking.add(connection)
        self._learn_ids(connection)
        self._wake(connection)

    def _choose(self, name: str | None) -> Site | None:
        found = self._sites.get(server_name(name)) if name else None
        return None if found is None else found[1]

    def _find(self, connection: QuicConnection) -> Listener | None:
        """The listener that a connection is for, if it is still bound."""
        for listener, site in self._sites.values():
            if site is connection.site:
                return listener
        return None

    def _offer(self, connection: QuicConnection) -> None:
        """Queue a connection at the listener that it is for."""
        listener = self._find(connection)
        if listener is None:
            connection.refuse(_UNROUTED)
            return
        halves = connection.begin(listener.account)
        admission = listener.offer(halves, lambda: connection.refuse(_UNROUTED))
        if admission is Admission.QUEUED:
            self._queued[connection] = listener
        else:
            connection.refuse(_OVERLOADED if admission is Admission.FULL else _UNROUTED)

    # The life of connections.

    def _settle(self, connection: QuicConnection) -> None:
        if not connection.is_shaking_hands:
            self._shaking.discard(connection)
        self._learn_ids(connection)
        if connection.core.ended is not None:
            listener = self._queued.pop(connection, None)
            if (
                listener is not None
                and connection.is_hollow
                and connection.connection is not None
                and listener.withdraw(connection.connection)
            ):
                connection.refuse(_UNROUTED)
        super()._settle(connection)
        if not self._sites:
            self._close_if_idle()

    def _learn_ids(self, connection: QuicConnection) -> None:
        known = self._known[connection]
        if known != connection.ids:
            for retired in known - connection.ids:
                del self._routes[retired]
            for issued in connection.ids - known:
                self._routes[issued] = connection
            self._known[connection] = set(connection.ids)

    def _remove(self, connection: QuicConnection) -> None:
        super()._remove(connection)
        self._forget(connection)

    def _forget(self, connection: QuicConnection) -> None:
        for known in self._known.pop(connection):
            del self._routes[known]
        self._shaking.discard(connection)
        self._queued.pop(connection, None)
        self._gate.leave(connection.address[0])


class _Client(_Port):
    """The socket of one connection that a guest makes."""

    def __init__(
        self, socket: Datagrams, address: Address, visit: Visit, account: Account, settings: NetworkSettings
    ) -> None:
        super().__init__(socket, settings)
        self._account = account
        now = trio.current_time()
        core = Core(visit, window=settings.quic_window, idle_timeout=settings.quic_idle_timeout)
        self._connection = QuicConnection(
            core, address, settings, now, wake=self._wake, on_usable=self._succeed
        )
        self._connections[self._connection] = None
        self.outcome: Future[Connection] = Future(self.close)
        core.connect(address, now)
        self._wake(self._connection)

    def close(self) -> None:
        """Close the socket, after a last word to the peer. Twice is the same."""
        super().close()
        self.outcome.fail(SubsystemError("connection failed: closed"))

    def _take(self, datagram: bytes, address: Address) -> None:
        self._deliver(self._connection, datagram, address)

    def _succeed(self, connection: QuicConnection) -> None:
        if connection.core.ended is None:
            self.outcome.resolve(connection.begin(self._account))

    def _settle(self, connection: QuicConnection) -> None:
        if connection.core.ended is not None:
            self.outcome.fail(SubsystemError(f"connection failed: {connection.reason}"))
        super()._settle(connection)

    def _remove(self, connection: QuicConnection) -> None:
        super()._remove(connection)
        self.close()


async def connect(
    socket: Datagrams,
    address: Address,
    visit: Visit,
    account: Account,
    settings: NetworkSettings,
    nursery: trio.Nursery,
) -> Connection:
    """Connect to a QUIC server and open the stream.

    A checkpoint. A cancelled call closes what it has opened.

    Args:
        socket: a socket for this connection alone, which closes it.
        address: the server's address.
        visit: the client's side of the handshake.
        account: of the guest that the halves count for.
        settings: bounds.
        nursery: runs the connection's task, until both halves have gone.

    Raises:
        SubsystemError: nobody answers in time, the server's certificate is refused, or the server refuses.
    """
    client = _Client(socket, address, visit, account, settings)
    nursery.start_soon(client.run)
    return await client.outcome
