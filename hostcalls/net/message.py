"""HTTP messages in the form in which guests read and write them: pure functions of bytes.

A guest's message is a first line, header lines and a body, as in HTTP/1.1, whatever is spoken with the peer.
The host takes messages off the wire whole and gives them to guests in one form (`request_text`,
`response_text`), and takes whole messages from guests (`ResponseDraft`, `parse_request`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable

import attrs

Headers = tuple[tuple[bytes, bytes], ...]
"""Names in lower case and values, in order."""

HTTP_1 = "HTTP/1.1"
HTTP_2 = "HTTP/2"

PLAIN_LABELS = frozenset({"http/1.1"})
"""First words of a guest's response, and last ones of its request, where `Http` is the protocol."""

SECURE_LABELS = frozenset({"http/1.1", "http/2", "http/2.0"})
"""The same where `Https` is the protocol."""

GUEST_HEADERS = 64
"""Header lines that a guest's message may have."""

BODILESS = frozenset({204, 304})
"""Codes of responses without a body, whatever their headers say."""

_TOKEN = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_LENGTH = re.compile(rb"[0-9]{1,19}")
_TARGET = re.compile(rb"[!-~]+")
_CODE = re.compile(rb"[1-9][0-9]{2}")

_END_OF_HEAD = b"\r\n\r\n"

REASONS = {
    100: "Continue",
    101: "Switching Protocols",
    102: "Processing",
    200: "OK",
    201: "Created",
    202: "Accepted",
    203: "Non Authoritative Information",
    204: "No Content",
    205: "Reset Content",
    206: "Partial Content",
    207: "Multi-Status",
    208: "Already Reported",
    226: "IM Used",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Found",
    303: "See Other",
    304: "Not Modified",
    305: "Use Proxy",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    411: "Length Required",
    412: "Precondition Failed",
    413: "Payload Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    416: "Range Not Satisfiable",
    417: "Expectation Failed",
    418: "I'm a teapot",
    421: "Misdirected Request",
    422: "Unprocessable Entity",
    423: "Locked",
    424: "Failed Dependency",
    426: "Upgrade Required",
    428: "Precondition Required",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    451: "Unavailable For Legal Reasons",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
    506: "Variant Also Negotiates",
    507: "Insufficient Storage",
    508: "Loop Detected",
    510: "Not Extended",
    511: "Network Authentication Required",
}
"""Standard reasons, those of upstream's HTTP library: they are what guests read, so not Python's own table,
which differs between versions of Python.
"""


class Malformed(ValueError):
    """The message is not of the form that is expected; the text says what is wrong with it."""


@attrs.frozen
class Request:
    """A whole request.

    Attributes:
        method: as given; methods are case-sensitive.
        target: path and query, or `*`.
        headers: names in lower case.
        body: decoded.
    """

    method: bytes
    target: bytes
    headers: Headers
    body: bytes = b""


@attrs.frozen
class Response:
    """A whole response.

    Attributes:
        code: 100 to 999.
        headers: names in lower case.
        body: decoded.
    """

    code: int
    headers: Headers = ()
    body: bytes = b""


def request_text(request: Request, label: str) -> bytes:
    """The request as a guest reads it; `label` is the protocol spoken, `HTTP_1` or `HTTP_2`."""
    first = b"%b %b %b" % (request.method, request.target, label.encode())
    return _text(first, request.headers, request.body)


def response_text(response: Response, label: str) -> bytes:
    """The response as a guest reads it; `label` is the protocol spoken, `HTTP_1` or `HTTP_2`."""
    return _text(status_line(response.code, label), response.headers, response.body)


def status_line(code: int, label: str = HTTP_1) -> bytes:
    """The first line of a response, without its end. A code without a standard reason has none."""
    reason = REASONS.get(code)
    return f"{label} {code}{'' if reason is None else f' {reason}'}".encode()


def _text(first: bytes, headers: Headers, body: bytes) -> bytes:
    """A message as guests read it: names grouped by first appearance, the length given, no chunks."""
    groups: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        groups.setdefault(name, []).append(value)
    groups.pop(b"transfer-encoding", None)
    if b"content-length" not in groups:
        groups[b"content-length"] = [b"%d" % len(body)]
    return head(first, ((name, value) for name, group in groups.items() for value in group)) + body


def head(first: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The bytes of a head: first line, headers, empty line."""
    return b"%b\r\n%b\r\n" % (first, b"".join(b"%b: %b\r\n" % header for header in headers))


def values(headers: Headers, name: bytes) -> list[bytes]:
    """The values of all headers called `name`, which must be in lower case."""
    return [value for each, value in headers if each == name]


def words(headers: Headers, name: bytes) -> set[bytes]:
    """The members, in lower case, of the comma-separated lists in all headers called `name`."""
    return {
        stripped
        for value in values(headers, name)
        for word in value.split(b",")
        if (stripped := word.strip(b" \t").lower())
    }


def content_length(headers: Headers) -> int | None:
    """The length that the headers give, None without one. Raises `Malformed` for no number, or for two."""
    lengths = set(values(headers, b"content-length"))
    if not lengths:
        return None
    if len(lengths) > 1:
        raise Malformed("expected one content-length, got two that differ")
    (length,) = lengths
    if not _LENGTH.fullmatch(length):
        raise Malformed("expected a decimal content-length of at most 19 digits")
    return int(length)


def has_length(headers: Headers, body: bytes | bytearray) -> bool:
    """Tell whether a body is as long as its head says, which may say nothing. Raises as `content_length`."""
    return content_length(headers) in (None, len(body))


def status_code(text: bytes) -> int:
    """The code of a final response. Raises `Malformed` for anything else."""
    if not _CODE.fullmatch(text):
        raise Malformed("expected a code from 100 to 999")
    if text < b"200":
        raise Malformed("expected a final response, got an interim one")
    return int(text)


def host_matches(host: bytes, domain: str) -> bool:
    """Check a Host header, with or without a port, against a listener's or connection's domain."""
    name = host[1:].partition(b"]")[0] if host.startswith(b"[") else host.partition(b":")[0]
    return name.lower() == domain.strip("[]").lower().encode()


def origin_form(target: bytes) -> bytes:
    """Path and query of a request's target: without scheme, authority and fragment; `*` stays.

    Raises `Malformed` for a target that is neither a path, an absolute URI nor `*`.
    """
    if target == b"*":
        return target
    absolute = _SCHEME.match(target)
    path = (target[absolute.end() :] if absolute else target).partition(b"#")[0]
    if absolute and not path.startswith(b"/"):
        path = b"/" + path
    if not path.startswith(b"/"):
        raise Malformed("expected a path, an absolute URI or * as the target")
    return path


def check_fields(method: bytes, target: bytes, headers: Headers) -> None:
    """Check what a peer's request gives to the guest: nothing in it may end a line or a word.

    Raises `Malformed` for a method or name that is no token, a target with blanks, a value with control
    characters.
    """
    if not _TOKEN.fullmatch(method):
        raise Malformed("expected a token as the method")
    if not _TARGET.fullmatch(target):
        raise Malformed("expected a target of visible ASCII characters")
    check_headers(headers)


def check_headers(headers: Headers) -> None:
    """Raise `Malformed` for a name that is no token, or a value with control characters."""
    for name, value in headers:
        if not _TOKEN.fullmatch(name):
            raise Malformed("expected a token as the name of a header")
        if _CONTROL.search(value):
            raise Malformed("expected header values without control characters")


def _parse_head(text: bytes) -> tuple[list[bytes], Headers, int | None]:
    """The words of the first line, the headers and the length of the body of a guest's message.

    A length that is given twice is among the headers once.
    """
    try:
        text.decode()
    except UnicodeDecodeError:
        raise Malformed("expected a head in UTF-8") from None
    first, *lines = text.split(b"\r\n")
    if len(lines) > GUEST_HEADERS:
        raise Malformed(f"expected at most {GUEST_HEADERS} headers, got {len(lines)}")
    if _CONTROL.search(first):
        raise Malformed("expected a first line without control characters")
    headers = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            raise Malformed("expected header lines with a colon")
        headers.append((name.lower(), value.strip(b" \t")))
    check_headers(tuple(headers))
    length = content_length(tuple(headers))
    lengths = itertools.count()
    once = tuple(header for header in headers if header[0] != b"content-length" or next(lengths) == 0)
    return first.split(), once, length


class ResponseDraft:
    """Collects what a guest writes until it is a whole response.

    Args:
        labels: what the first word may be, in lower case: `PLAIN_LABELS` or `SECURE_LABELS`.
        method: of the request. A response to HEAD is whole with its head, as are those of codes 204 and 304.
    """

    def __init__(self, labels: Collection[str], method: bytes) -> None:
        self._labels = labels
        self._method = method
        self._collected = bytearray()
        self._searched = 0
        self._code = 0
        self._headers: Headers | None = None
        self._body_from = 0
        self._length: int | None = None

    def add(self, payload: bytes, *, largest: int) -> Response | None:
        """Add a write. The response if it is whole now, else None.

        Raises `Malformed` if it can never be whole, or only with more than `largest` bytes of head and body.
        After a response or an error nothing may be added.
        """
        self._collected += payload
        if self._headers is None and not self._find_head():
            if len(self._collected) > largest:
                raise Malformed(f"expected a head within {largest} bytes")
            return None
        assert self._headers is not None
        have = len(self._collected) - self._body_from
        if self._length is not None:
            if have > self._length:
                raise Malformed(f"expected {self._length} bytes of body, got {have}")
            if have < self._length and self._code not in BODILESS and self._method != b"HEAD":
                if self._body_from + self._length > largest:
                    raise Malformed(f"expected at most {largest} bytes")
                return None
        return Response(self._code, self._headers, bytes(memoryview(self._collected)[self._body_from :]))

    def _find_head(self) -> bool:
        end = self._collected.find(_END_OF_HEAD, self._searched)
        if end < 0:
            self._searched = max(0, len(self._collected) - len(_END_OF_HEAD) + 1)
            return False
        first, headers, length = _parse_head(bytes(self._collected[:end]))
        if len(first) < 2 or first[0].decode().lower() not in self._labels:
            raise Malformed("expected a label of the protocol and a code")
        self._code = status_code(first[1])
        if b"chunked" in words(headers, b"transfer-encoding"):
            raise Malformed("expected a body that is not chunked")
        self._length = length
        self._headers = headers
        self._body_from = end + len(_END_OF_HEAD)
        return True


def response_for_wire(response: Response, method: bytes, date: bytes) -> Response:
    """A guest's response with the headers and the body that its peer gets.

    The length is given, a `date` unless the guest gave its own. Nothing follows the head of a response to
    HEAD, or of a code without body; HEAD keeps the guest's length.
    """
    dropped = {b"transfer-encoding", b"content-length"} if response.code == 204 else {b"transfer-encoding"}
    headers = tuple(header for header in response.headers if header[0] not in dropped)
    bodiless = response.code in BODILESS or method == b"HEAD"
    if not values(headers, b"content-length") and (not bodiless or (method == b"HEAD" and response.body)):
        headers += ((b"content-length", b"%d" % len(response.body)),)
    if not values(headers, b"date"):
        headers += ((b"date", date),)
    return Response(response.code, headers, b"" if bodiless else response.body)


_CONNECTION_HEADERS = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"te"}
)


def without_connection_headers(headers: Headers) -> Headers:
    """Drop the headers that are about one connection, which HTTP/2 does not know."""
    dropped = _CONNECTION_HEADERS | words(headers, b"connection")
    return tuple(header for header in headers if header[0] not in dropped)


def parse_request(text: bytes, domain: str, port: int, *, secure: bool) -> Request:
    """Parse a whole request that a guest has written.

    Args:
        text: first line, headers, body.
        domain: of the connection. Missing Host headers are made of it, others must match it.
        port: of the connection; part of a Host header that is made, unless it is the protocol's own.
        secure: the protocol is `Https`: other labels, another port of its own.

    Returns: the request with its target in origin form. Host is the last header if it was missing; after it
    comes the length of a body that gave none.

    Raises `Malformed` for anything else.
    """
    end = text.find(_END_OF_HEAD)
    if end < 0:
        raise Malformed("expected a whole head")
    first, headers, length = _parse_head(text[:end])
    body = text[end + len(_END_OF_HEAD) :]
    labels = SECURE_LABELS if secure else PLAIN_LABELS
    if len(first) != 3 or first[2].decode().lower() not in labels:
        raise Malformed("expected a method, a target and a label of the protocol")
    method, target, _ = first
    check_fields(method, target, headers)
    if method == b"CONNECT":
        raise Malformed("expected a method other than CONNECT")
    if values(headers, b"transfer-encoding"):
        raise Malformed("expected no transfer-encoding")
    if target != b"*" and not target.startswith(b"/") and not _SCHEME.match(target):
        target = b"/" + target
    if length is not None and length != len(body):
        raise Malformed(f"expected {length} bytes of body, got {len(body)}")
    hosts = values(headers, b"host")
    if len(hosts) > 1 or not all(host_matches(host, domain) for host in hosts):
        raise Malformed(f"expected one Host header that names {domain}")
    added: Headers = () if hosts else ((b"host", authority(domain, port, secure=secure)),)
    if body and length is None:
        added += ((b"content-length", b"%d" % len(body)),)
    return Request(method, origin_form(target), headers + added, body)


def authority(domain: str, port: int, *, secure: bool) -> bytes:
    """The domain, an IPv6 address in brackets, and the port unless it is the protocol's own."""
    bare = domain.strip("[]")
    name = f"[{bare}]" if ":" in bare else bare
    return (name if port == (443 if secure else 80) else f"{name}:{port}").encode()
