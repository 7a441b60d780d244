"""HTTP/1.1 on one connection, as server: requests without bodies, answers that are known in whole.

The head of a request has a limit of size and time, and what is sent a limit of time: a client that does not
read is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

import attrs
import h11
import trio

__all__ = ["HEAD_SECONDS", "Answer", "HttpConnection", "Malformed", "Request", "send_within"]

HEAD_LIMIT: Final = 16 * 1024
"""Bytes of the head of a request."""

HEAD_SECONDS: Final = 30.0
"""Seconds until the head of a request has come; also those that a connection may be idle."""

WRITE_SECONDS: Final = 5.0
"""Seconds that a client may take to accept what it is sent."""

RECEIVE: Final = 1024
"""Bytes that are read at a time: by so much a head may be longer."""


class Malformed(Exception):
    """The client does not speak HTTP.

    Attributes:
        status: what it is answered.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"malformed request, answered with {status}")
        self.status = status


@attrs.frozen
class Request:
    """A request.

    Attributes:
        method: such as "GET".
        path: the path, without the query.
        query: the fields of the query; of several with one name, the last.
        target: path and query as they came.
        headers: the header fields, with names in lower case.
    """

    method: str
    path: str
    query: Mapping[str, str]
    target: bytes
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str | None:
        """The value of a header field that has come exactly once; None."""
        values = [value for each, value in self.headers if each == name]
        return values[0] if len(values) == 1 else None


@attrs.frozen
class Answer:
    """An answer.

    Attributes:
        status: its code.
        body: the whole body.
        kind: the media type of the body.
        headers: header fields beside those of length and type.
    """

    status: int
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


class HttpConnection:
    """A connection.

    Args:
        stream: what it goes over.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
        self._is_head = False
        self._has_body = False

    @property
    def trailing(self) -> bytes:
        """The bytes that have come after the request."""
        return bytes(self._http.trailing_data[0])

    async def request(self) -> Request | None:
        """The next request; None when the client has gone. A checkpoint.

        Raises:
            Malformed: it is not a request.
            trio.TooSlowError: none has come in time.
            trio.BrokenResourceError: the connection is lost.
        """
        try:
            with trio.fail_after(HEAD_SECONDS):
                event = await self._next()
            if not isinstance(event, h11.Request):
                return None
            self._has_body = not isinstance(self._http.next_event(), h11.EndOfMessage)
        except h11.RemoteProtocolError as error:
            raise Malformed(error.error_status_hint) from error
        self._is_head = event.method == b"HEAD"
        path, _, query = event.target.decode("ascii", "replace").partition("?")
        fields = tuple((name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers)
        return Request(event.method.decode("ascii"), path, dict(_fields(query)), event.target, fields)

    async def _next(self) -> object:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            self._http.receive_data(bytes(await self._stream.receive_some(RECEIVE)))

    async def answer(self, answer: Answer) -> bool:
        """Send the answer; return whether another request may come. A checkpoint.

        A request that is malformed or has a body is the last one: nothing more is read.

        Raises:
            trio.TooSlowError: the client does not read.
            trio.BrokenResourceError: the connection is lost.
        """
        http = self._http
        fields = [*answer.headers, ("content-type", answer.kind), ("content-length", str(len(answer.body)))]
        if self._has_body or http.their_state is h11.ERROR:
            fields.append(("connection", "close"))
        reason = HTTPStatus(answer.status).phrase
        parts = [http.send(h11.Response(status_code=answer.status, headers=fields, reason=reason))]
        if answer.body and not self._is_head:
            parts.append(http.send(h11.Data(data=answer.body)))
        parts.append(http.send(h11.EndOfMessage()))
        await send_within(self._stream, b"".join(part for part in parts if part))
        if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
            return False
        http.start_next_cycle()
        return True


async def send_within(stream: trio.abc.Stream, data: bytes) -> None:
    """Send data to a client that has to accept it in time. A checkpoint.

    Raises:
        trio.TooSlowError: it does not.
        trio.BrokenResourceError, trio.ClosedResourceError: the connection is lost.
    """
    with trio.fail_after(WRITE_SECONDS):
        await stream.send_all(data)


def _fields(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, max_num_fields=10)
    except ValueError:  # too many
        return []
