"""HTTP/2 on one connection, as server: every stream is a request of its own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from email.utils import formatdate
from functools import partial

import attrs
import trio
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import H2Error
from h2.settings import SettingCodes

from enfilade.hostcalls.net.account import Charge
from enfilade.hostcalls.net.exchange import OVERLOADED, Exchange, plain
from enfilade.hostcalls.net.frames import (
    Flooded,
    Overlong,
)
from enfilade.hostcalls.net.http2_connection import Http2Connection
from enfilade.hostcalls.net.listener import Listener
from enfilade.hostcalls.net.message import (
    HTTP_2,
    SECURE_LABELS,
    Headers,
    Malformed,
    Request,
    Response,
    check_fields,
    content_length,
    has_length,
    host_matches,
    origin_form,
    response_for_wire,
    values,
    without_connection_headers,
)
from enfilade.hostcalls.net.outgoing import leave
from enfilade.hostcalls.net.settings import NetworkSettings
from enfilade.hostcalls.resources.futures import Future


@attrs.define(eq=False)
class _Stream:
    """One request, from its head to the end of its response.

    Attributes:
        id: of the stream.
        request: without its body.
        charge: of the body.
        began: when the head came.
        read_at: when something of the body came last.
        body: of the request, so far.
        owed: bytes of the body for which the peer's window was not opened again.
        is_whole: True when the peer has ended its side.
        exchange: with the guest; None before the request is whole.
        response: to the peer; None before there is one.
        outgoing: what is left of the response's body; None before its head is sent.
        moved_at: when something of the response was sent last.
        is_starved: True while it waits for room to store more of the body.
    """

    id: int
    request: Request
    charge: Charge
    began: float
    read_at: float
    body: bytearray = attrs.field(factory=bytearray)
    owed: int = 0
    is_whole: bool = False
    exchange: Exchange | None = None
    response: Response | None = None
    outgoing: memoryview | None = None
    moved_at: float = 0.0
    is_starved: bool = False

    def deadline(self, settings: NetworkSettings) -> float:
        """When the host's patience with it ends."""
        if self.response is not None:
            return self.moved_at + settings.write_timeout
        if self.exchange is not None:
            return self.read_at + settings.response_timeout
        whole = self.began + settings.request_timeout
        return whole if self.is_starved else min(self.read_at + settings.body_pause, whole)


async def serve(
    stream: trio.abc.Stream,
    remote_addr: str,
    listener: Listener,
    settings: NetworkSettings,
    *,
    unix_time: Callable[[], float] = time.time,
) -> None:
    """Serve the requests of one connection, until either side closes it.

    Every stream is a request of its own. The connection is closed at the end. Resets by the peer end it
    without an error. Cancellation closes it at once; requests that wait at the listener are withdrawn.

    Args:
        stream: to the peer, after the handshake.
        remote_addr: of the peer, as guests see it.
        listener: to offer requests to.
        settings: limits of sizes and times.
        unix_time: tells the time for `date` headers.
    """
    connection = _ServerConnection(stream, remote_addr, listener, settings, unix_time)
    try:
        await connection.run()
        await leave(stream, settings.write_timeout, linger=not connection.at_end)
    except trio.BrokenResourceError:
        pass  # the peer has reset the connection, or takes nothing
    finally:
        connection.forget_all()
        await trio.aclose_forcefully(stream)


class _ServerConnection(Http2Connection):
    def __init__(
        self,
        stream: trio.abc.Stream,
        remote_addr: str,
        listener: Listener,
        settings: NetworkSettings,
        unix_time: Callable[[], float],
    ) -> None:
        super().__init__(stream, settings, is_client=False)
        self._remote_addr = remote_addr
        self._listener = listener
        self._unix_time = unix_time
        self._streams: dict[int, _Stream] = {}
        self._idle_since = trio.current_time()
        self._waiting = trio.CancelScope()
        self._is_woken = False

    async def run(self) -> None:
        """Serve requests until the connection is to be closed."""
        self.h2.initiate_connection()
        # Not earlier: h2 would hold a client to a limit that it has not been told.
        self.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: self.settings.http2_streams})
        try:
            while True:
                await self._flush_responses()
                if not self._streams and self._shall_close():
                    self.h2.close_connection()
                    break
                await self._take_in(await self._wait())
        except (H2Error, Flooded, Overlong):
            pass  # the reason is in the GOAWAY that is sent now
        await self.flush()

    def forget_all(self) -> None:
        """The connection has ended: withdraw its requests, drop its responses."""
        for stream in list(self._streams.values()):
            self._forget(stream)

    def _shall_close(self) -> bool:
        return (
            self.at_end
            or self.last_stream is not None
            or not self._listener.is_open
            or trio.current_time() >= self._idle_since + self.settings.idle_timeout
        )

    def _deadline(self) -> float:
        deadlines = [stream.deadline(self.settings) for stream in self._streams.values()]
        if not self._streams:
            deadlines.append(self._idle_since + self.settings.idle_timeout)
        if self.frames.head_since is not None:
            deadlines.append(self.frames.head_since + self.settings.head_timeout)
        return min(deadlines)

    async def _wait(self) -> bytes:
        """Wait for bytes, for a response, for a deadline. Returns the bytes."""
        data = b""
        if self._is_woken:
            self._is_woken = False
            return data
        with trio.CancelScope(deadline=self._deadline()) as self._waiting:
            if self.at_end:
                await trio.sleep_forever()
            elif self._listener.is_open:
                with self._listener.while_open():
                    data = await self.read()
            else:
                data = await self.read()
        self._is_woken = False
        return data

    def _wake(self) -> None:
        self._is_woken = True
        self._waiting.cancel()

    async def _take_in(self, data: bytes) -> None:
        """Do what the peer wants, and end what has lasted too long."""
        whole: list[_Stream] = []
        if data:
            await self.take_in(data, partial(self._handle, whole))
            if unfinished := self._streams.get(self.frames.data_stream):
                unfinished.read_at = trio.current_time()
        # Only now: a guest does not see a request that is taken back in the same breath.
        for stream in whole:
            if self._streams.get(stream.id) is stream and stream.response is None:
                self._offer(stream)
        if self.at_end:
            for stream in list(self._streams.values()):
                if not stream.is_whole and stream.response is None:
                    self._respond(stream, plain(500, "request failed"))
        self._expire()
        self._open_windows()

    def _handle(self, whole: list[_Stream], event: Event) -> None:
        if isinstance(event, RequestReceived):
            self._begin(event)
        elif isinstance(event, DataReceived):
            self._store(event)
        elif isinstance(event, StreamEnded):
            if stream := self._streams.get(event.stream_id):
                stream.is_whole = True
                self._check_length(stream)
                whole.append(stream)
        elif isinstance(event, StreamReset):
            if not event.remote_reset:  # a frame on the stream was an error
                self.floods.count_reset()
            if stream := self._streams.get(event.stream_id):
                self._forget(stream)

    def _check_length(self, stream: _Stream) -> None:
        """End a stream whose body is not as long as its head says. h2 looks only where data end it."""
        if stream.response is None and not has_length(stream.request.headers, stream.body):
            self.floods.count_reset()
            self.reset(stream.id, ErrorCodes.PROTOCOL_ERROR)
            self._forget(stream)

    def _begin(self, event: RequestReceived) -> None:
        if len(self._streams) >= self.settings.http2_streams:
            self.floods.count_reset()
            self.reset(event.stream_id, ErrorCodes.REFUSED_STREAM)
            return
        now = trio.current_time()
        request, refusal = self._request(tuple((bytes(name), bytes(value)) for name, value in event.headers))
        stream = _Stream(event.stream_id, request, Charge(self._listener.account), now, now)
        self._streams[stream.id] = stream
        if refusal is not None:
            self._respond(stream, refusal)

    def _request(self, fields: Headers) -> tuple[Request, Response | None]:
        """The request without its body, and what it is refused with; None if it is not."""
        pseudo = {name: value for name, value in fields if name.startswith(b":")}
        method, target = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
        headers = _join_cookies(tuple(field for field in fields if not field[0].startswith(b":")))
        hosts = values(headers, b"host")
        if not hosts and b":authority" in pseudo:
            hosts = [pseudo[b":authority"]]
            headers = ((b"host", hosts[0]), *headers)
        request = Request(method, target, headers)
        if sum(len(name) + len(value) + 4 for name, value in fields) > self.settings.head_bytes:
            return request, plain(431)
        if len(headers) > self.settings.headers:
            return request, plain(431)
        if method == b"CONNECT":
            return request, plain(501, "not implemented")
        try:
            check_fields(method, target, headers)
            request = attrs.evolve(request, target=origin_form(target))
            length = content_length(headers)
        except Malformed:
            return request, plain(400)
        if len(hosts) != 1:
            return request, plain(400, "missing host")
        if self._listener.domain and not host_matches(hosts[0], self._listener.domain):
            return request, plain(421, "host mismatch")
        if (length or 0) > self._listener.account.allowance.http_body:
            return request, plain(413, "request too large")
        return request, None

    def _store(self, event: DataReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if not event.data and event.stream_ended is None:
            self.floods.count_empty()
        if stream is None or stream.response is not None:
            # Nobody wants it. The window of the connection is opened, so that others can send.
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            return
        stream.body += event.data
        stream.charge.hold(len(event.data))
        stream.owed += event.flow_controlled_length
        stream.read_at = trio.current_time()
        if len(stream.body) > self._listener.account.allowance.http_body:
            self._respond(stream, plain(413, "request too large"))

    def _offer(self, stream: _Stream) -> None:
        request = attrs.evolve(stream.request, body=bytes(stream.body))
        stream.charge.close()
        stream.body.clear()
        stream.read_at = trio.current_time()
        stream.exchange = Exchange(
            request, HTTP_2, SECURE_LABELS, self._listener, self._remote_addr, lambda: self._settled(stream)
        )
        stream.exchange.offer()

    def _settled(self, stream: _Stream) -> None:
        assert stream.exchange is not None
        assert stream.exchange.response is not None
        self._respond(stream, stream.exchange.response)

    def _respond(self, stream: _Stream, response: Response) -> None:
        stream.response = response
        stream.moved_at = trio.current_time()
        stream.charge.close()
        stream.body.clear()
        self._wake()

    def _expire(self) -> None:
        now = trio.current_time()
        for stream in list(self._streams.values()):
            if now < stream.deadline(self.settings):
                continue
            if stream.response is not None:
                self._forget(stream)
                self.reset(stream.id, ErrorCodes.CANCEL)
            elif stream.exchange is not None:
                stream.exchange.time_out()
            else:
                self._respond(stream, OVERLOADED if stream.is_starved else plain(408, "request timeout"))
        if self.frames.head_since is not None and now >= self.frames.head_since + self.settings.head_timeout:
            self.h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            raise Flooded("a head that never ends")

    def _open_windows(self) -> None:
        """Let the peer send as much as was stored, if there is room for more."""
        for stream in self._streams.values():
            if not stream.owed:
                continue
            if stream.response is None and not stream.charge.has_room:
                if not stream.is_starved:
                    stream.is_starved = True
                    stream.charge.when_room().when_done(partial(self._has_room, stream))
                continue
            self._reopen(stream)

    def _has_room(self, stream: _Stream, _: Future[None]) -> None:
        stream.is_starved = False
        self._wake()

    async def _flush_responses(self) -> None:
        """Send all that can be sent now, the streams taking turns."""
        while True:
            moved = False
            for stream in list(self._streams.values()):
                if stream.response is not None and self._send_some(stream):
                    moved = True
            await self.flush()
            if not moved:
                break

    def _send_some(self, stream: _Stream) -> bool:
        """Send the head, or a part of the body. True if that was possible."""
        assert stream.response is not None
        if stream.outgoing is None:
            date = formatdate(self._unix_time(), usegmt=True).encode()
            response = response_for_wire(stream.response, stream.request.method, date)
            stream.outgoing = memoryview(response.body)
            headers = ((b":status", b"%d" % response.code), *without_connection_headers(response.headers))
            self.h2.send_headers(stream.id, headers, end_stream=not response.body)
        else:
            sent = self.send_body(stream.id, stream.outgoing)
            if not sent:
                return False
            stream.outgoing = stream.outgoing[sent:]
        stream.moved_at = trio.current_time()
        if not stream.outgoing:
            if not stream.is_whole:
                self.reset(stream.id, ErrorCodes.NO_ERROR)
            self._forget(stream)
            if stream.exchange is not None:
                self.floods.completed()
        return True

    def _forget(self, stream: _Stream) -> None:
        if self._streams.pop(stream.id, None) is None:
            return
        stream.charge.close()
        stream.charge.wake()
        if stream.exchange is not None:
            stream.exchange.finish()
        if stream.owed:
            self._reopen(stream)
        if not self._streams:
            self._idle_since = trio.current_time()

    def _reopen(self, stream: _Stream) -> None:
        owed, stream.owed = stream.owed, 0
        with contextlib.suppress(H2Error):  # the connection may have ended
            self.h2.acknowledge_received_data(owed, stream.id)


def _join_cookies(headers: Headers) -> Headers:
    cookies = values(headers, b"cookie")
    if len(cookies) < 2:
        return headers
    joined = (b"cookie", b"; ".join(cookies))
    first = next(index for index, header in enumerate(headers) if header[0] == b"cookie")
    others = tuple(header for header in headers[first:] if header[0] != b"cookie")
    return (*headers[:first], joined, *others)
