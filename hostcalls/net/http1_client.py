"""HTTP/1.1 on one connection, as client: one request after another."""

from __future__ import annotations

import h11
import trio

from enfilade.hostcalls.net.conversation import (
    CLOSED_EARLY,
    CLOSED_IN_BODY,
    TOO_LARGE,
    Conversation,
    Failure,
    converse_with,
)
from enfilade.hostcalls.net.http1_input import (
    CONTINUED,
    VERSIONS,
    BodyTooLarge,
    HeadTooLarge,
    Input,
    PeerFinished,
    header_fields,
)
from enfilade.hostcalls.net.message import (
    BODILESS,
    HTTP_1,
    Malformed,
    Request,
    Response,
    check_headers,
    content_length,
    head,
    values,
)
from enfilade.hostcalls.net.outgoing import Stalled, send_all
from enfilade.hostcalls.net.settings import NetworkSettings

_INTERIM_RESPONSES = 32
"""Interim responses to one request before the server is taken to be playing."""

_VERSION = b"HTTP/1."


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
        self._input = Input(stream)
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
        headers = header_fields(event)
        if len(headers) > self._settings.headers:
            raise Failure("message head is too large")
        if values(headers, b"transfer-encoding"):
            headers = tuple(header for header in headers if header[0] != b"content-length")
        try:
            check_headers(headers)
            length = content_length(headers) or 0
        except Malformed:
            raise Failure("invalid HTTP header parsed") from None
        has_body = method != b"HEAD" and event.status_code not in BODILESS
        if has_body and length > self._conversation.largest_body:
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
        except HeadTooLarge:
            raise Failure("message head is too large") from None
        except (PeerFinished, trio.BrokenResourceError):
            raise Failure(CLOSED_EARLY) from None
        if CONTINUED.search(text):
            raise Failure("invalid HTTP header parsed")
        parser.receive_data(text)
        try:
            event = parser.next_event()
        except h11.RemoteProtocolError:
            raise Failure("invalid HTTP header parsed") from None
        assert isinstance(event, h11.Response | h11.InformationalResponse)
        if event.http_version not in VERSIONS:
            raise Failure("invalid HTTP version parsed")
        return event

    async def _read_body(self, parser: h11.Connection) -> bytes:
        async def read(_: int) -> None:
            await self._conversation.when_room()
            await self._input.more()

        charge, largest = self._conversation.charge.split(), self._conversation.largest_body
        try:
            return await self._input.body(parser, charge, largest, read)
        except (h11.RemoteProtocolError, trio.BrokenResourceError):
            raise Failure(CLOSED_IN_BODY) from None
        except BodyTooLarge:
            raise Failure(TOO_LARGE) from None
