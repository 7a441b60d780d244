"""The network of one runtime: its ports, its connections, and the tasks that serve them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TypeVar

import attrs
import trio

from enfilade.hostcalls.abi.errors import HostcallError, InvalidArgument, SubsystemError
from enfilade.hostcalls.net import http1_client, http2_client, quic_endpoint
from enfilade.hostcalls.net.account import Account
from enfilade.hostcalls.net.binding import Binding
from enfilade.hostcalls.net.conversation import Conversation
from enfilade.hostcalls.net.destination import Destination
from enfilade.hostcalls.net.dialling import dial, secure
from enfilade.hostcalls.net.gate import Gate
from enfilade.hostcalls.net.halves import Connection
from enfilade.hostcalls.net.listener import Listener
from enfilade.hostcalls.net.owned import Family
from enfilade.hostcalls.net.quic_endpoint import Endpoint
from enfilade.hostcalls.net.settings import NetworkSettings
from enfilade.hostcalls.net.sockets import Datagrams, Sockets, StreamListener, system_error
from enfilade.hostcalls.net.tasks import Tasks
from enfilade.hostcalls.net.tcp_port import HTTP_1, HTTP_2, Services, TcpPort, Tls, protocol_of
from enfilade.hostcalls.net.tls import Credentials, Identity
from enfilade.hostcalls.net.tls_settings import ClientSettings
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.resources.registry import Departure

Socket = TypeVar("Socket", StreamListener, Datagrams)


class Handle:
    """A guest's hold on a listener; the last one to go closes it.

    Attributes:
        family: whose hostcalls it belongs to.
        listener: where connections are queued.
        account: of the guest.
    """

    def __init__(
        self, family: Family, listener: Listener, account: Account, forget: Callable[[Handle], None]
    ) -> None:
        self.family = family
        self.listener = listener
        self.account = account
        self._forget = forget
        account.add_listener()

    def release(self) -> None:
        """Give the hold up. Called once."""
        self.account.remove_listener()
        self._forget(self)


@attrs.define(eq=False)
class _Bound:
    """A listener and those who hold it."""

    listener: Listener
    close: Callable[[], None]
    handles: list[Handle] = attrs.field(factory=list)

    def hold(self, family: Family, account: Account) -> Handle:
        handle = Handle(family, self.listener, account, self._released)
        self.handles.append(handle)
        return handle

    def _released(self, handle: Handle) -> None:
        self.handles.remove(handle)
        if self.handles:
            self.listener.account = self.handles[0].account
        else:
            self.close()


@attrs.define(eq=False)
class _QuicPort:
    """The domains of one UDP port, and what their settings have in common."""

    shared: object
    domains: dict[str, _Bound] = attrs.field(factory=dict)


class Network:
    """All that guests of one runtime have of the network. Made when the first of them may use it.

    Args:
        settings: the bounds, and the host's certificate.
        sockets: the system's network, or another one.
        tasks: runs the tasks.
        unix_time: the time of day.

    Raises `InvalidArgument` or `SubsystemError` when the host's certificate or key do not parse.
    """

    def __init__(
        self, settings: NetworkSettings, sockets: Sockets, tasks: Tasks, unix_time: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._sockets = sockets
        self._tasks = tasks
        self._gate = Gate(connections=settings.connections, from_address=settings.connections_from_address)
        self._services = Services(
            settings, tasks, self._gate, trio.CapacityLimiter(settings.tls_handshakes), unix_time
        )
        default = None
        if settings.certificate is not None and settings.key is not None:
            default = Identity.parse(settings.certificate, settings.key)
        self._credentials = Credentials(default=default, roots=settings.roots)
        self._tcp: dict[int, tuple[object, _Bound]] = {}
        self._udp: dict[int, _QuicPort] = {}
        self._endpoints: dict[tuple[str, int], Endpoint] = {}

    def close(self) -> None:
        """Close all listeners and sockets that are left."""
        for _, bound in list(self._tcp.values()):
            bound.close()
        for port in list(self._udp.values()):
            for bound in list(port.domains.values()):
                bound.close()
        for endpoint in list(self._endpoints.values()):
            endpoint.close()

    # Listening.

    def bind_http(self, binding: Binding, account: Account, label: str) -> Handle:
        """Listen for HTTP requests, or share a port that is bound in the same way. Not a checkpoint.

        Raises `InvalidArgument` and `SubsystemError`; then nothing is bound.
        """
        tls = None
        if binding.is_secure:
            context = self._credentials.server_context(binding.tls)
            tls = Tls(context, None if binding.tls is None else binding.tls.alpn)
        found = self._tcp.get(binding.port)
        if found is not None:
            queue, bound = found
            if queue != binding.queue:
                raise InvalidArgument
            return bound.hold(Family.HTTP, account)
        sockets = self._open(self._sockets.listen, binding.addresses, binding.port, "failed to bind listener")
        listener = self._listener(binding.domain, account, self._settings.waiting_requests, "request")
        port = TcpPort(sockets, listener, tls, self._services, label)

        def close() -> None:
            if self._tcp.pop(binding.port, None) is not None:
                port.close()

        bound = _Bound(listener, close)
        self._tcp[binding.port] = binding.queue, bound
        return bound.hold(Family.HTTP, account)

    def bind_quic(self, binding: Binding, account: Account, label: str) -> Handle:
        """Listen for QUIC connections to a domain, also on a port that others use. Not a checkpoint.

        Raises `InvalidArgument` and `SubsystemError`; then nothing is bound.
        """
        site = quic_endpoint.site_of(self._credentials, binding.tls, binding.domain)
        port = self._udp.get(binding.port)
        if port is not None and port.shared != binding.shared:
            raise InvalidArgument
        bound = None if port is None else port.domains.get(binding.domain)
        if bound is None:
            endpoints = self._endpoints_of(binding, label)
            listener = self._listener(binding.domain, account, 0, "connection")
            for endpoint in endpoints:
                endpoint.bind(listener, site)
            ours = port = port or _QuicPort(binding.shared)

            def close() -> None:
                if ours.domains.pop(binding.domain, None) is None:
                    return
                if not ours.domains:
                    del self._udp[binding.port]
                listener.close()
                for endpoint in endpoints:
                    endpoint.unbind(listener)

            bound = port.domains[binding.domain] = _Bound(listener, close)
            self._udp[binding.port] = port
        return bound.hold(Family.QUIC, account)

    def _endpoints_of(self, binding: Binding, label: str) -> list[Endpoint]:
        """The endpoints on all addresses; those that are there serve other domains, or live connections."""
        missing = [address for address in binding.addresses if (address, binding.port) not in self._endpoints]
        sockets = self._open(self._sockets.open_datagrams, missing, binding.port, "failed to start listener")
        for address, socket in zip(missing, sockets, strict=True):
            place = address, binding.port
            endpoint = Endpoint(
                socket, self._settings, self._gate, on_idle=partial(self._forget_endpoint, place)
            )
            self._endpoints[place] = endpoint
            self._tasks.start(endpoint.run, label)
        return [self._endpoints[address, binding.port] for address in binding.addresses]

    def _forget_endpoint(self, place: tuple[str, int]) -> None:
        self._endpoints.pop(place, None)

    def _listener(self, domain: str, account: Account, behind: int, noun: str) -> Listener:
        return Listener(domain, account, places=self._settings.accept_queue + behind, noun=noun)

    # Connecting.

    def connect_http(
        self,
        destination: Destination,
        account: Account,
        label: str,
        *,
        is_secure: bool,
        tls: ClientSettings | None = None,
    ) -> Future[Connection]:
        """Connect to an HTTP server. A future that is cancelled closes what was opened.

        Raises what is wrong with the settings; the future fails with `SubsystemError`, or `PermissionDenied`
        when the name leads where the guest may not go.
        """
        context = self._credentials.client_context(tls) if is_secure else None
        alpn = None if tls is None else tls.alpn
        settings = self._settings

        async def connect(future: Future[Connection]) -> None:
            plain = await dial(destination, self._sockets, settings)
            stream: trio.abc.Stream = plain
            protocol: str | None = HTTP_1
            if context is not None:
                stream = secured = await secure(plain, destination, context, settings)
                protocol = protocol_of(secured.selected_alpn_protocol(), alpn)
                if protocol is None:
                    await trio.aclose_forcefully(plain)
                    raise SubsystemError("TLS handshake failed: no application protocol in common")
            conversation = Conversation(destination.domain.text, destination.port, account, secure=is_secure)
            converse = http2_client.converse if protocol == HTTP_2 else http1_client.converse
            self._tasks.start(lambda: converse(stream, conversation, settings), label)
            _resolve(future, conversation.connection)

        return self._connecting(connect, account, label)

    def connect_quic(
        self, destination: Destination, account: Account, label: str, tls: ClientSettings | None
    ) -> Future[Connection]:
        """Connect to a QUIC server and open a stream. As `connect_http`."""
        visit = quic_endpoint.visit_of(self._credentials, tls, destination.domain.text)

        async def connect(future: Future[Connection]) -> None:
            try:
                addresses = await destination.resolve(self._sockets)
            except OSError:
                raise InvalidArgument from None
            address = addresses[0]
            try:
                socket = self._sockets.open_datagrams("::" if ":" in address else "0.0.0.0", 0)
            except OSError as error:
                raise system_error("connection failed", error) from None
            connection = await quic_endpoint.connect(
                socket, (address, destination.port), visit, account, self._settings, self._tasks.nursery
            )
            _resolve(future, connection)

        return self._connecting(connect, account, label)

    def _connecting(
        self, connect: Callable[[Future[Connection]], Awaitable[None]], account: Account, label: str
    ) -> Future[Connection]:
        """Run a connect as a task, which the future's cancellation ends."""
        account.begin_connection()
        scope = trio.CancelScope()
        future: Future[Connection] = Future(scope.cancel)

        async def run() -> None:
            try:
                with scope:
                    await connect(future)
            except HostcallError as error:
                future.fail(error)
            finally:
                if not future.done:
                    future.fail(SubsystemError("connection failed: the host has failed"))
                account.end_connecting()

        self._tasks.start(run, label)
        return future

    def _open(
        self, open_one: Callable[[str, int], Socket], addresses: Iterable[str], port: int, prefix: str
    ) -> list[Socket]:
        """Open the sockets of all addresses, or none."""
        opened: list[Socket] = []
        try:
            opened.extend(open_one(address, port) for address in addresses)
        except OSError as error:
            for socket in opened:
                socket.close()
            raise system_error(prefix, error) from None
        return opened


def _resolve(future: Future[Connection], connection: Connection) -> None:
    """Give the guest the connection, or close it if nobody waits for it any more."""
    if future.done:
        connection.reader.release(Departure.RELEASED)
        connection.writer.release(Departure.RELEASED)
    else:
        future.resolve(connection)
