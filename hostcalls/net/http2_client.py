"""HTTP/2 on one connection, as client: one request after another."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import attrs
import trio
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    InformationalResponseReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import H2Error, InvalidBodyLengthError

from enfilade.hostcalls.net.account import Charge
from enfilade.hostcalls.net.conversation import (
    CLOSED_EARLY,
    CLOSED_IN_BODY,
    TOO_LARGE,
    Conversation,
    Failure,
    converse_with,
)
from enfilade.hostcalls.net.frames import (
    Flooded,
    Overlong,
)
from enfilade.hostcalls.net.http2_connection import Http2Connection
from enfilade.hostcalls.net.message import (
    BODILESS,
    HTTP_2,
    Headers,
    Malformed,
    Request,
    Response,
    authority,
    check_headers,
    content_length,
    has_length,
    status_code,
    values,
    without_connection_headers,
)
from enfilade.hostcalls.net.outgoing import Stalled
from enfilade.hostcalls.net.settings import NetworkSettings

_INTERIM_RESPONSES = 32
"""Interim responses to one request before the server is taken to be playing."""


async def converse(stream: trio.abc.Stream, conversation: Conversation, settings: NetworkSettings) -> None:
    """Send a guest's requests on one connection, one after another, and give it the responses.

    Ends when the peer closes the connection, when anything goes wrong, or when no request can come any more.
    The connection is closed then, and the conversation has ended. Cancellation does the same at once.

    Args:
        stream: to the peer, after the handshake.
        conversation: what the guest has of it.
        settings: limits of sizes and times.
    """
    await converse_with(_ClientConnection(stream, conversation, settings), stream, conversation, settings)


@attrs.define(eq=False)
class _Answer:
    """A response as it comes.

    Attributes:
        charge: of the body.
        interim: interim responses before it.
        code: 0 before its head.
        headers: of the head.
        body: so far.
        is_whole: True at its end.
    """

    charge: Charge
    interim: int = 0
    code: int = 0
    headers: Headers = ()
    body: bytearray = attrs.field(factory=bytearray)
    is_whole: bool = False


class _ClientConnection(Http2Connection):
    def __init__(
        self, stream: trio.abc.Stream, conversation: Conversation, settings: NetworkSettings
    ) -> None:
        super().__init__(stream, settings, is_client=True)
        self._conversation = conversation
        self._received = b""
        self.h2.initiate_connection()

    @property
    def is_usable(self) -> bool:
        """False once the server has closed its side, or has said that it will."""
        return not self.at_end and self.last_stream is None

    async def flush(self) -> None:
        """Send what h2 has to send. A server that takes nothing any more may have answered before it closed:
        that is found out by reading.
        """
        try:
            await super().flush()
        except Stalled:
            raise
        except trio.BrokenResourceError:
            pass

    async def receive(self) -> None:
        """Wait for frames between requests."""
        self._received = await self.read()

    async def attend(self) -> None:
        """Answer what was received."""
        data, self._received = self._received, b""
        await self._take_in(data, _ignore)
        await self.flush()

    async def exchange(self, request: Request) -> bool:
        """Send the request, give the guest the response. True if the connection can take another one.

        Raises `Failure` if there is no whole response.
        """
        answer = _Answer(self._conversation.charge.split())
        try:
            await self._exchange(request, answer)
        except Stalled as error:
            raise Failure(str(error)) from None
        except trio.BrokenResourceError:
            raise Failure(CLOSED_IN_BODY if answer.code else CLOSED_EARLY) from None
        except H2Error as error:
            raise Failure(str(error) or type(error).__name__) from None
        finally:
            answer.charge.close()
        self._conversation.answer(Response(answer.code, answer.headers, bytes(answer.body)), HTTP_2)
        return self.is_usable

    async def _exchange(self, request: Request, answer: _Answer) -> None:
        stream_id = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream_id, self._head(request), end_stream=not request.body)
        body = memoryview(request.body)
        while not answer.is_whole:
            sent = self.send_body(stream_id, body) if body else 0
            body = body[sent:]
            await self.flush()
            if sent:
                continue
            await self._conversation.when_room()
            with trio.move_on_after(self.settings.write_timeout if body else float("inf")) as patience:
                data = await self.read()
            if patience.cancelled_caught:
                raise Stalled(f"the peer took nothing for {self.settings.write_timeout} s")
            if self.at_end:
                raise trio.BrokenResourceError
            await self._take_in(data, partial(self._handle, stream_id, request, answer))
            if self.last_stream is not None and self.last_stream < stream_id:
                raise Failure(CLOSED_EARLY)
        if body:
            self.reset(stream_id, ErrorCodes.CANCEL)
        await self.flush()

    def _head(self, request: Request) -> Headers:
        name = authority(self._conversation.domain, self._conversation.port, secure=True)
        headers = (header for header in request.headers if header[0] != b"host")
        return (
            (b":method", request.method),
            (b":scheme", b"https"),
            (b":authority", name),
            (b":path", request.target),
            *without_connection_headers(tuple(headers)),
        )

    async def _take_in(self, data: bytes, handle: Callable[[Event], None]) -> None:
        try:
            await self.take_in(data, handle)
        except (H2Error, Flooded, Overlong) as error:
            await self.flush()
            raise Failure(f"http2 error: {error}") from None

    def _handle(self, stream_id: int, request: Request, answer: _Answer, event: Event) -> None:
        if isinstance(event, InformationalResponseReceived):
            answer.interim += 1
            if answer.interim > _INTERIM_RESPONSES:
                raise Failure("too many interim responses")
        elif isinstance(event, ResponseReceived):
            self._begin(event, request, answer)
        elif isinstance(event, DataReceived):
            answer.body += event.data
            answer.charge.hold(len(event.data))
            if len(answer.body) > self._conversation.largest_body:
                raise Failure(TOO_LARGE)
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            answer.is_whole = True
            if _has_body(request, answer) and not has_length(answer.headers, answer.body):
                length = content_length(answer.headers) or 0  # h2 looks only where data end the stream
                raise InvalidBodyLengthError(length, len(answer.body))
        elif isinstance(event, StreamReset) and event.stream_id == stream_id and not answer.is_whole:
            code = event.error_code
            raise Failure(f"stream error received: {getattr(code, 'name', code)}")

    def _begin(self, event: ResponseReceived, request: Request, answer: _Answer) -> None:
        fields = tuple((bytes(name), bytes(value)) for name, value in event.headers)
        headers = tuple(field for field in fields if not field[0].startswith(b":"))
        size = sum(len(name) + len(value) + 4 for name, value in fields)
        if size > self.settings.head_bytes or len(headers) > self.settings.headers:
            raise Failure("message head is too large")
        try:
            check_headers(headers)
            length = content_length(headers)
            answer.code = status_code(values(fields, b":status")[0])
        except Malformed:
            raise Failure("invalid HTTP header parsed") from None
        answer.headers = headers
        if _has_body(request, answer) and (length or 0) > self._conversation.largest_body:
            raise Failure(TOO_LARGE)


def _has_body(request: Request, answer: _Answer) -> bool:
    return request.method != b"HEAD" and answer.code not in BODILESS


def _ignore(_: Event) -> None:
    """Between requests nothing that happens matters to the guest."""
