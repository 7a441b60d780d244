"""A bound TCP port: accepts connections, and has them served by the protocol that they agree on."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Sequence
from functools import partial

import attrs
import trio

from enfilade.hostcalls.net import http1_server, http2_server
from enfilade.hostcalls.net.gate import Gate
from enfilade.hostcalls.net.listener import Listener
from enfilade.hostcalls.net.settings import NetworkSettings
from enfilade.hostcalls.net.sockets import StreamListener, address_text
from enfilade.hostcalls.net.tasks import Tasks

logger = logging.getLogger("enfilade.hostcalls.net")

_PAUSE = 0.1
"""Seconds until an accept that has failed is tried again."""

HTTP_2 = "h2"
HTTP_1 = "http/1.1"


@attrs.frozen(eq=False)
class Services:
    """The things that all ports and connections of a network share.

    Attributes:
        settings: the bounds.
        tasks: runs the tasks.
        gate: counts the connections of peers.
        handshakes: bounds the TLS handshakes with peers at one time.
        unix_time: the time of day, for dates in messages.
    """

    settings: NetworkSettings
    tasks: Tasks
    gate: Gate
    handshakes: trio.CapacityLimiter
    unix_time: Callable[[], float]


@attrs.frozen(eq=False)
class Tls:
    """TLS of a port.

    Attributes:
        context: makes the connections.
        alpn: the protocol names of the guest's settings; None for the default.
    """

    context: ssl.SSLContext
    alpn: tuple[str, ...] | None


def protocol_of(chosen: str | None, alpn: tuple[str, ...] | None) -> str | None:
    """The protocol to speak: `HTTP_2`, `HTTP_1`, or None if there is none that both know.

    Args:
        chosen: what ALPN chose.
        alpn: our side's names; None for the default.
    """
    if chosen is None:
        return HTTP_1 if not alpn or HTTP_1 in alpn else None
    return chosen if chosen in (HTTP_1, HTTP_2) else None


class TcpPort:
    """A port that a guest has bound, on all addresses that its policy gives.

    Args:
        sockets: the listening sockets.
        listener: where requests are queued.
        tls: TLS of an HTTPS port; None for HTTP.
        services: what all ports share.
        label: of the guest, for the log.
    """

    def __init__(
        self,
        sockets: Sequence[StreamListener],
        listener: Listener,
        tls: Tls | None,
        services: Services,
        label: str,
    ) -> None:
        self.listener = listener
        self._sockets = sockets
        self._tls = tls
        self._services = services
        self._label = label
        for each in sockets:
            services.tasks.start(partial(self._accept, each), label)

    def close(self) -> None:
        """Close the sockets, and the queue with what waits in it. Requests that were accepted go on."""
        for each in self._sockets:
            each.close()
        self.listener.close()

    async def _accept(self, socket: StreamListener) -> None:
        """Accept connections until the socket is closed. Nobody can be served without descriptors or memory:
        wait then until others close something.
        """
        has_failed = False
        try:
            while True:
                try:
                    stream, (host, port) = await socket.accept()
                except OSError as error:
                    if not has_failed:
                        logger.warning(
                            "the listener of guest %s cannot accept now, and tries again: %s",
                            self._label,
                            error.strerror,
                        )
                    has_failed = True
                    await trio.sleep(_PAUSE)
                    continue
                has_failed = False
                if self._services.gate.enter(host):
                    self._start_serving(stream, host, port)
                else:
                    await trio.aclose_forcefully(stream)
        except trio.ClosedResourceError:
            pass  # by `close`
        finally:
            socket.close()

    def _start_serving(self, stream: trio.abc.HalfCloseableStream, host: str, port: int) -> None:
        self._services.tasks.start(lambda: self._serve(stream, host, port), self._label)

    async def _serve(self, stream: trio.abc.HalfCloseableStream, host: str, port: int) -> None:
        services, listener, settings = self._services, self.listener, self._services.settings
        remote = address_text((host, port))
        try:
            if self._tls is None:
                await http1_server.serve(stream, remote, listener, settings, unix_time=services.unix_time)
                return
            secured = await self._handshake(stream, self._tls.context)
            if secured is None:
                return
            match protocol_of(secured.selected_alpn_protocol(), self._tls.alpn):
                case "h2":
                    await http2_server.serve(
                        secured, remote, listener, settings, unix_time=services.unix_time
                    )
                case "http/1.1":
                    await http1_server.serve(
                        secured, remote, listener, settings, secure=True, unix_time=services.unix_time
                    )
        finally:
            services.gate.leave(host)
            await trio.aclose_forcefully(stream)

    async def _handshake(
        self, stream: trio.abc.HalfCloseableStream, context: ssl.SSLContext
    ) -> trio.SSLStream[trio.abc.HalfCloseableStream] | None:
        """Secure a connection. None if the peer fails to; that is the peer's business alone.

        The time that a peer has begins when it has its place: others are to blame for the wait before, which
        is bounded by the number of connections and the time of each.
        """
        services = self._services
        secured = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        with self.listener.while_open():
            async with services.handshakes:
                with trio.move_on_after(services.settings.tls_handshake_timeout):
                    try:
                        await secured.do_handshake()
                    except (trio.BrokenResourceError, trio.ClosedResourceError):
                        return None
                    return secured
        return None
