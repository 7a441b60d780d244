"""HTTP/1.1 on one connection, as server: one request after another."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from email.utils import formatdate

import h11
import trio

from enfilade.hostcalls.net.account import Charge
from enfilade.hostcalls.net.exchange import Exchange, plain
from enfilade.hostcalls.net.http1_input import (
    CONTINUED,
    READ,
    VERSIONS,
    BodyTooLarge,
    HeadTooLarge,
    Input,
    PeerFinished,
    header_fields,
)
from enfilade.hostcalls.net.listener import Listener
from enfilade.hostcalls.net.message import (
    HTTP_1,
    PLAIN_LABELS,
    SECURE_LABELS,
    Headers,
    Malformed,
    Request,
    Response,
    check_fields,
    content_length,
    head,
    host_matches,
    origin_form,
    response_for_wire,
    status_line,
    values,
    words,
)
from enfilade.hostcalls.net.outgoing import leave, send_all
from enfilade.hostcalls.net.settings import NetworkSettings

_CHUNK_OVERHEAD = 16
"""Bytes on the wire for one byte of a chunked body, beyond those of one head: 1-byte chunks have 6."""

_TOKEN_START = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]")

_HOST_LINE = re.compile(rb"\nhost[ \t]*:", re.I)

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class _Refused(Exception):
    """The peer's request is refused with `response`, and its connection closed."""

    def __init__(self, code: int, text: str = "") -> None:
        self.response = plain(code, text)


async def serve(
    stream: trio.abc.Stream,
    remote_addr: str,
    listener: Listener,
    settings: NetworkSettings,
    *,
    secure: bool = False,
    unix_time: Callable[[], float] = time.time,
) -> None:
    """Serve the requests of one connection, one after another, until either side closes it.

    The connection is closed at the end. Resets by the peer end it without an error. Cancellation closes it at
    once; a request that waits at the listener is withdrawn.

    Args:
        stream: to the peer, after a handshake if there is one.
        remote_addr: of the peer, as guests see it.
        listener: to offer requests to.
        settings: limits of sizes and times.
        secure: the protocol is `Https`, whose guests may answer in the form of HTTP/2.
        unix_time: tells the time for `date` headers.
    """
    connection = _ServerConnection(stream, remote_addr, listener, settings, secure, unix_time)
    try:
        await connection.run()
        await connection.close()
    except trio.BrokenResourceError:
        pass  # the peer has reset the connection, or takes nothing
    finally:
        await trio.aclose_forcefully(stream)


class _ServerConnection:
    def __init__(
        self,
        stream: trio.abc.Stream,
        remote_addr: str,
        listener: Listener,
        settings: NetworkSettings,
        secure: bool,
        unix_time: Callable[[], float],
    ) -> None:
        self._stream = stream
        self._input = Input(stream)
        self._remote_addr = remote_addr
        self._listener = listener
        self._settings = settings
        self._labels = SECURE_LABELS if secure else PLAIN_LABELS
        self._unix_time = unix_time
        self._method = b""
        self._version = b"1.1"
        self._peer_may_be_sending = False
        self._waiting = trio.CancelScope()

    async def run(self) -> None:
        """Serve requests until the connection is to be closed."""
        patience = self._settings.head_timeout
        while await self._wait_for_message(patience):
            self._method = b""
            try:
                request, keep_alive = await self._read_request()
            except _Refused as refusal:
                self._peer_may_be_sending = True
                await self._send(refusal.response, keep_alive=False)
                return
            if not await self._serve(request, keep_alive):
                return
            patience = self._settings.idle_timeout

    async def close(self) -> None:
        """Close the connection so that the peer can read what was sent last."""
        linger = self._peer_may_be_sending or bool(self._input.buffer)
        await leave(self._stream, self._settings.write_timeout, linger=linger)

    async def _wait_for_message(self, patience: float) -> bool:
        with self._listener.while_open(), trio.move_on_after(patience):
            return await self._input.first_byte()
        return False

    async def _read_request(self) -> tuple[Request, bool]:
        """The next request, and whether its client will send another one."""
        settings = self._settings
        began = trio.current_time()
        whole = began + settings.request_timeout
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=settings.head_bytes)
        if not _TOKEN_START.match(self._input.buffer):
            raise _Refused(400)
        try:
            with trio.fail_at(min(began + settings.head_timeout, whole)):
                text = await self._input.head(settings.head_bytes)
        except trio.TooSlowError:
            raise _Refused(408, "request timeout") from None
        except HeadTooLarge:
            raise _Refused(431 if b"\n" in self._input.buffer[: settings.head_bytes] else 414) from None
        except PeerFinished:
            raise _Refused(400) from None
        request = self._parse_head(parser, text)
        self._method = request.method
        headers = header_fields(request)
        self._check_head(request, headers)
        try:
            target = origin_form(request.target)
            length = content_length(headers) or 0
        except Malformed:
            raise _Refused(400) from None
        largest = self._listener.account.allowance.http_body
        if length > largest:
            raise _Refused(413, "request too large")
        body = await self._read_body(parser, largest, whole)
        self._input.take_back(parser)
        options = words(headers, b"connection")
        keep_alive = b"close" not in options if self._version == b"1.1" else b"keep-alive" in options
        return Request(request.method, target, headers, body), keep_alive

    def _parse_head(self, parser: h11.Connection, text: bytes) -> h11.Request:
        if CONTINUED.search(text):
            raise _Refused(400)
        parser.receive_data(text)
        try:
            event = parser.next_event()
        except h11.RemoteProtocolError:
            hosts = len(_HOST_LINE.findall(text))
            is_about_host = hosts > 1 or (hosts == 0 and b"HTTP/1.1" in text.partition(b"\n")[0])
            raise _Refused(400, "missing host" if is_about_host else "") from None
        assert isinstance(event, h11.Request)
        return event

    def _check_head(self, request: h11.Request, headers: Headers) -> None:
        self._version = request.http_version
        if self._version not in VERSIONS:
            raise _Refused(400)
        if len(headers) > self._settings.headers:
            raise _Refused(431)
        try:
            check_fields(request.method, b"/", headers)
        except Malformed:
            raise _Refused(400) from None
        if values(headers, b"transfer-encoding") and (
            self._version == b"1.0" or values(headers, b"content-length")
        ):
            raise _Refused(400)
        if request.method == b"CONNECT":
            raise _Refused(501, "not implemented")
        hosts = values(headers, b"host")
        if self._listener.domain:
            if not hosts:
                raise _Refused(400, "missing host")
            if not host_matches(hosts[0], self._listener.domain):
                raise _Refused(421, "host mismatch")

    async def _read_body(self, parser: h11.Connection, largest: int, whole: float) -> bytes:
        received = len(self._input.buffer)
        charge = Charge(self._listener.account)

        async def read(size: int) -> None:
            nonlocal received
            if received > self._settings.head_bytes + (1 + _CHUNK_OVERHEAD) * size:
                raise _Refused(400)
            if parser.they_are_waiting_for_100_continue:
                parser.send(h11.InformationalResponse(status_code=100, headers=[]))
                await send_all(self._stream, _CONTINUE, self._settings.write_timeout)
            await self._wait_for_room(charge, whole)
            try:
                with trio.fail_at(min(trio.current_time() + self._settings.body_pause, whole)):
                    await self._input.more()
            except trio.TooSlowError:
                raise _Refused(408, "request timeout") from None
            if self._input.at_end:
                raise _Refused(500, "request failed")
            received += len(self._input.buffer)

        try:
            return await self._input.body(parser, charge, largest, read)
        except h11.RemoteProtocolError:
            raise _Refused(400) from None
        except BodyTooLarge:
            raise _Refused(413, "request too large") from None

    async def _wait_for_room(self, charge: Charge, deadline: float) -> None:
        try:
            with trio.fail_at(deadline):
                while not charge.has_room:
                    await charge.when_room()
        except trio.TooSlowError:
            raise _Refused(503, "overloaded") from None

    async def _serve(self, request: Request, keep_alive: bool) -> bool:
        """Have a guest answer the request. True if the connection is to be kept alive."""
        exchange = Exchange(
            request, HTTP_1, self._labels, self._listener, self._remote_addr, lambda: self._waiting.cancel()
        )
        try:
            exchange.offer()
            await self._wait_for_response(exchange)
            assert exchange.response is not None
            if exchange.is_refused or not self._listener.is_open:
                keep_alive = False
            return await self._send(exchange.response, keep_alive=keep_alive)
        finally:
            exchange.finish()

    async def _wait_for_response(self, exchange: Exchange) -> None:
        """Wait, and read a little ahead meanwhile, to learn of a reset."""
        deadline = trio.current_time() + self._settings.response_timeout
        while exchange.response is None:
            with trio.CancelScope(deadline=deadline) as self._waiting:
                if self._input.at_end or len(self._input.buffer) >= READ:
                    await trio.sleep_forever()
                await self._input.more()
            if trio.current_time() >= deadline:
                exchange.time_out()

    async def _send(self, response: Response, *, keep_alive: bool) -> bool:
        date = formatdate(self._unix_time(), usegmt=True).encode()
        response = response_for_wire(response, self._method, date)
        headers = response.headers
        if b"close" in words(headers, b"connection"):
            keep_alive = False
        elif not keep_alive:
            headers += ((b"connection", b"close"),)
        elif self._version == b"1.0":
            headers += ((b"connection", b"keep-alive"),)
        data = head(status_line(response.code), headers) + response.body
        await send_all(self._stream, data, self._settings.write_timeout)
        return keep_alive
