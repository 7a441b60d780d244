"""HTTP/1.1 on one connection, as server and as client.

h11 parses heads and bodies, a new one for each message. Everything that it is lenient in is checked here,
before or after it: the size of heads, continued lines, two lengths, versions. What is sent was made and
checked by `message`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from email.utils import formatdate

import h11
import trio

from enfilade.hostcalls.net.account import Charge
from enfilade.hostcalls.net.conversation import (
    CLOSED_EARLY,
    CLOSED_IN_BODY,
    TOO_LARGE,
    Conversation,
    Failure,
    converse_with,
)
from enfilade.hostcalls.net.exchange import Exchange, plain
from enfilade.hostcalls.net.listener import Listener
from enfilade.hostcalls.net.message import (
    BODILESS,
    HTTP_1,
    PLAIN_LABELS,
    SECURE_LABELS,
    Headers,
    Malformed,
    Request,
    Response,
    check_fields,
    check_headers,
    content_length,
    head,
    host_matches,
    origin_form,
    response_for_wire,
    status_line,
    values,
    words,
)
from enfilade.hostcalls.net.outgoing import Stalled, leave, send_all
from enfilade.hostcalls.net.settings import NetworkSettings
from enfilade.hostcalls.net.stint import Stint

_READ = 16 * 1024
"""Bytes to read at one time, and to read ahead while a guest works on a request."""

_CHUNK_OVERHEAD = 16
"""Bytes on the wire for one byte of a chunked body, beyond those of one head: 1-byte chunks have 6."""

_INTERIM_RESPONSES = 32
"""Interim responses to one request before the server is taken to be playing."""

_VERSION = b"HTTP/1."
_VERSIONS = (b"1.0", b"1.1")

_TOKEN_START = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]")
_HEAD_END = re.compile(rb"\n\r?\n")
_CONTINUED = re.compile(rb"\n[ \t]")
_HOST_LINE = re.compile(rb"\nhost[ \t]*:", re.I)

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class _Refused(Exception):
    """The peer's request is refused with `response`, and its connection closed."""

    def __init__(self, code: int, text: str = "") -> None:
        self.response = plain(code, text)


class _HeadTooLarge(Exception):
    """The head has no end within the limit."""


class _PeerFinished(Exception):
    """The peer has closed its sending side."""


class _Input:
    """The bytes that a peer sends, a buffer of at most `_READ` bytes more than were asked for."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.buffer = bytearray()
        self.at_end = False

    async def more(self) -> None:
        """Read once; nothing happens at the end. Cancelled, it has read nothing. A checkpoint."""
        data = await self._stream.receive_some(_READ)
        if data:
            self.buffer += data
        else:
            self.at_end = True

    async def first_byte(self) -> bool:
        """Wait for a message. False if the peer closes before one. Empty lines in front are skipped."""
        while True:
            del self.buffer[: len(self.buffer) - len(self.buffer.lstrip(b"\r\n"))]
            if self.buffer or self.at_end:
                return bool(self.buffer)
            await self.more()

    async def head(self, largest: int) -> bytes:
        """Read until the buffer begins with a whole head, and take it.

        Raises `_HeadTooLarge` for one of more than `largest` bytes, `_PeerFinished` if its end never comes.
        """
        searched = 0
        while True:
            end = _HEAD_END.search(self.buffer, searched)
            size = end.end() if end else len(self.buffer)
            if size > largest:
                raise _HeadTooLarge
            if end:
                taken = bytes(self.buffer[:size])
                del self.buffer[:size]
                return taken
            if self.at_end:
                raise _PeerFinished
            searched = max(0, size - 2)
            await self.more()

    def feed(self, parser: h11.Connection) -> None:
        """Give the parser everything that is buffered."""
        parser.receive_data(bytes(self.buffer))
        self.buffer.clear()

    def take_back(self, parser: h11.Connection) -> None:
        """Buffer again what the parser has not used: it belongs to the next message."""
        self.buffer[:0] = parser.trailing_data[0]


def _headers(event: h11.Request | h11.Response | h11.InformationalResponse) -> Headers:
    return tuple((bytes(name), bytes(value)) for name, value in event.headers)


# The server.


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
        self._input = _Input(stream)
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
        except _HeadTooLarge:
            raise _Refused(431 if b"\n" in self._input.buffer[: settings.head_bytes] else 414) from None
        except _PeerFinished:
            raise _Refused(400) from None
        request = self._parse_head(parser, text)
        self._method = request.method
        headers = _headers(request)
        self._check_head(request, headers)
        try:
            target = origin_form(request.target)
        except Malformed:
            raise _Refused(400) from None
        largest = self._listener.account.allowance.http_body
        if (content_length(headers) or 0) > largest:
            raise _Refused(413, "request too large")
        body = await self._read_body(parser, largest, whole)
        self._input.take_back(parser)
        options = words(headers, b"connection")
        keep_alive = b"close" not in options if self._version == b"1.1" else b"keep-alive" in options
        return Request(request.method, target, headers, body), keep_alive

    def _parse_head(self, parser: h11.Connection, text: bytes) -> h11.Request:
        if _CONTINUED.search(text):
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
        if self._version not in _VERSIONS:
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
        body = bytearray()
        received = len(self._input.buffer)
        stint = Stint()
        charge = Charge(self._listener.account)
        if received:
            self._input.feed(parser)
        try:
            while True:
                try:
                    event = parser.next_event()
                except h11.RemoteProtocolError:
                    raise _Refused(400) from None
                if isinstance(event, h11.EndOfMessage):
                    return bytes(body)
                if isinstance(event, h11.Data):
                    body += event.data
                    charge.hold(len(event.data))
                    if len(body) > largest:
                        raise _Refused(413, "request too large")
                    await stint.rest()
                    continue
                if received > self._settings.head_bytes + (1 + _CHUNK_OVERHEAD) * len(body):
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
                self._input.feed(parser)
        finally:
            charge.close()

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
                if self._input.at_end or len(self._input.buffer) >= _READ:
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


# The client.


async def converse(stream: trio.abc.Stream, conversation: Conversation, settings: NetworkSettings) -> None:
    """Send a guest's requests on one connection, one after another, and give it the responses.

    Ends when the peer closes the connection, when anything goes wrong, or when no request can come any more.
    The connection is closed then, and the conversation has ended. Cancellation does the same at once.

    Args:
        stream: to the peer, after a handshake if there is one.
        conversation: what the guest has of it.
        settings: limits of sizes and times.
    """
    await converse_with(_ClientConnection(stream, conversation, settings), stream, conversation, settings)


class _ClientConnection:
    def __init__(
        self, stream: trio.abc.Stream, conversation: Conversation, settings: NetworkSettings
    ) -> None:
        self._stream = stream
        self._input = _Input(stream)
        self._conversation = conversation
        self._settings = settings

    async def receive(self) -> None:
        """Wait until the peer closes the connection, or says something unasked."""
        await self._input.more()

    async def attend(self) -> None:
        """Nothing to do: whatever has come, the connection is not usable any more."""

    @property
    def is_usable(self) -> bool:
        """False once the peer has closed its side, or has sent what nobody asked for."""
        return not self._input.at_end and not self._input.buffer

    async def exchange(self, request: Request) -> bool:
        """Send the request, give the guest the response. True if the connection is kept alive.

        Raises `Failure` if there is no whole response.
        """
        parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=self._settings.head_bytes)
        parser.send(h11.Request(method=request.method, target=request.target, headers=list(request.headers)))
        is_sent = False
        failure: Failure | None = None

        async def send() -> None:
            nonlocal is_sent, failure
            first = b"%b %b HTTP/1.1" % (request.method, request.target)
            try:
                await send_all(
                    self._stream, head(first, request.headers) + request.body, self._settings.write_timeout
                )
            except Stalled as error:
                failure = Failure(str(error))
                nursery.cancel_scope.cancel()
            except trio.BrokenResourceError:
                pass  # the peer may have answered before it closed the connection
            else:
                is_sent = True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            try:
                response = await self._read_response(parser, request.method)
            except Failure as error:
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        self._input.take_back(parser)
        self._conversation.answer(response, HTTP_1)
        return is_sent and parser.their_state is h11.DONE

    async def _read_response(self, parser: h11.Connection, method: bytes) -> Response:
        for _ in range(_INTERIM_RESPONSES):
            event = await self._read_head(parser)
            if isinstance(event, h11.Response):
                break
            if event.status_code == 101:
                raise Failure("unexpected switch of protocols")
        else:
            raise Failure("too many interim responses")
        headers = _headers(event)
        if len(headers) > self._settings.headers:
            raise Failure("message head is too large")
        try:
            check_headers(headers)
        except Malformed:
            raise Failure("invalid HTTP header parsed") from None
        if values(headers, b"transfer-encoding"):
            headers = tuple(header for header in headers if header[0] != b"content-length")
        has_body = method != b"HEAD" and event.status_code not in BODILESS
        if has_body and (content_length(headers) or 0) > self._conversation.largest_body:
            raise Failure(TOO_LARGE)
        return Response(event.status_code, headers, await self._read_body(parser))

    async def _read_head(self, parser: h11.Connection) -> h11.Response | h11.InformationalResponse:
        try:
            if not await self._input.first_byte():
                raise Failure(CLOSED_EARLY)
            while not self._input.at_end and len(self._input.buffer) < len(_VERSION):
                await self._input.more()
            if not self._input.buffer.startswith(_VERSION):
                raise Failure("invalid HTTP version parsed")
            text = await self._input.head(self._settings.head_bytes)
        except _HeadTooLarge:
            raise Failure("message head is too large") from None
        except (_PeerFinished, trio.BrokenResourceError):
            raise Failure(CLOSED_EARLY) from None
        if _CONTINUED.search(text):
            raise Failure("invalid HTTP header parsed")
        parser.receive_data(text)
        try:
            event = parser.next_event()
        except h11.RemoteProtocolError:
            raise Failure("invalid HTTP header parsed") from None
        assert isinstance(event, h11.Response | h11.InformationalResponse)
        if event.http_version not in _VERSIONS:
            raise Failure("invalid HTTP version parsed")
        return event

    async def _read_body(self, parser: h11.Connection) -> bytes:
        body = bytearray()
        stint = Stint()
        charge = self._conversation.charge.split()
        if self._input.buffer:
            self._input.feed(parser)
        try:
            while True:
                try:
                    event = parser.next_event()
                except h11.RemoteProtocolError:
                    raise Failure(CLOSED_IN_BODY) from None
                if isinstance(event, h11.EndOfMessage):
                    return bytes(body)
                if isinstance(event, h11.Data):
                    body += event.data
                    charge.hold(len(event.data))
                    if len(body) > self._conversation.largest_body:
                        raise Failure(TOO_LARGE)
                    await stint.rest()
                    continue
                await self._conversation.when_room()
                try:
                    await self._input.more()
                except trio.BrokenResourceError:
                    raise Failure(CLOSED_IN_BODY) from None
                if self._input.at_end:
                    parser.receive_data(b"")
                else:
                    self._input.feed(parser)
        finally:
            charge.close()
