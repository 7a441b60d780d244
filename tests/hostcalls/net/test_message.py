"""The bytes of HTTP messages, for any message: what one side makes, the other side parses to the same."""

from __future__ import annotations

import h11
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from enfilade.hostcalls.net.message import (
    HTTP_1,
    HTTP_2,
    PLAIN_LABELS,
    REASONS,
    SECURE_LABELS,
    Malformed,
    Request,
    Response,
    ResponseDraft,
    authority,
    check_fields,
    host_matches,
    origin_form,
    parse_request,
    request_text,
    response_for_wire,
    response_text,
    without_connection_headers,
    words,
)

tokens = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=8).map(str.encode)
names = tokens.map(bytes.lower).filter(
    lambda name: name not in (b"content-length", b"transfer-encoding", b"host", b"date")
)
values = st.text('az09 \t:,;="\xe4\u20ac', max_size=8).map(lambda text: text.encode().strip(b" \t"))
headers = st.lists(st.tuples(names, values), max_size=5).map(tuple)
bodies = st.binary(max_size=20)
targets = st.text("/?&=%#ab:.", max_size=8).map(lambda text: b"/" + text.encode())

LARGEST = 1 << 20


def splits(data: st.DataObject, text: bytes) -> list[bytes]:
    """`text` in parts, as a guest might write it."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@given(st.data(), st.integers(200, 999), headers, bodies, st.booleans())
def test_a_response_is_the_same_in_any_writes(
    data: st.DataObject, code: int, fields: tuple[tuple[bytes, bytes], ...], body: bytes, secure: bool
) -> None:
    wanted = (*fields, (b"content-length", b"%d" % len(body)))
    lines = b"".join(b"%b:  %b\t\r\n" % (name.title(), value) for name, value in wanted)
    text = b"%b %d Why not\r\n%b\r\n%b" % (b"HTTP/2" if secure else b"http/1.1", code, lines, body)
    draft = ResponseDraft(SECURE_LABELS if secure else PLAIN_LABELS, b"GET")
    response = None
    for part in splits(data, text):
        assert response is None or not part or code in (204, 304)
        if response is None:
            response = draft.add(part, largest=LARGEST)
    assert response is not None
    assert (response.code, response.headers) == (code, wanted)
    assert response.body == body or code in (204, 304)


@given(tokens, targets, headers, bodies)
def test_what_a_guest_reads_can_be_sent_on(
    method: bytes, target: bytes, fields: tuple[tuple[bytes, bytes], ...], body: bytes
) -> None:
    """A proxy writes to its client what it has read from its server."""
    assume(method != b"CONNECT")
    request = Request(method, origin_form(target), ((b"host", b"a.test:1"), *fields), body)
    text = request_text(request, HTTP_1)
    again = parse_request(text, "A.test", 80, secure=False)
    assert (again.method, again.target, again.body) == (method, request.target, body)
    assert sorted(again.headers) == sorted((*request.headers, (b"content-length", b"%d" % len(body))))
    assert request_text(again, HTTP_1) == text


@given(st.integers(200, 999), headers, bodies)
def test_what_a_client_reads_can_be_answered(
    code: int, fields: tuple[tuple[bytes, bytes], ...], body: bytes
) -> None:
    """A proxy answers its client what it has read from its server."""
    text = response_text(Response(code, fields, body), HTTP_2)
    response = ResponseDraft(SECURE_LABELS, b"GET").add(text, largest=LARGEST)
    assert response is not None
    assert (response.code, response.body) == (code, body)
    assert response_text(response, HTTP_2) == text


@given(headers)
def test_equal_names_follow_the_first_of_them(fields: tuple[tuple[bytes, bytes], ...]) -> None:
    text = request_text(Request(b"GET", b"/", fields), HTTP_1)
    lines = [line.partition(b": ")[0] for line in text.split(b"\r\n")[1:-2]]
    changes = [name for name, before in zip(lines, [None, *lines], strict=False) if name != before]
    assert changes == [*dict.fromkeys(name for name, _ in fields), b"content-length"]


@given(st.binary(max_size=60))
def test_no_bytes_of_a_guest_are_a_surprise(text: bytes) -> None:
    for payload in (text, b"HTTP/1.1 200 OK\r\n" + text, b"HTTP/1.1 200 OK\r\n" + text + b"\r\n\r\n"):
        draft = ResponseDraft(PLAIN_LABELS, b"GET")
        try:
            response = draft.add(payload, largest=LARGEST)
        except Malformed:
            continue
        if response is not None:
            wire_is_parsed(response_for_wire(response, b"GET", b"today"))
    for payload in (text, b"GET / HTTP/1.1\r\n" + text + b"\r\n\r\n", b"GET " + text + b" HTTP/1.1\r\n\r\n"):
        try:
            request = parse_request(payload, "localhost", 80, secure=False)
        except Malformed:
            continue
        check_fields(request.method, request.target, request.headers)
        h11.Request(method=request.method, target=request.target, headers=list(request.headers))


def wire_is_parsed(response: Response) -> None:
    """h11 takes these headers: there is nothing in them that ends a line, and one length."""
    h11.Response(status_code=response.code, headers=list(response.headers))


@given(st.binary(max_size=30))
def test_targets_are_paths_afterwards(target: bytes) -> None:
    try:
        path = origin_form(target)
    except Malformed:
        return
    assert path == b"*" or path.startswith(b"/")
    assert b"#" not in path


@pytest.mark.parametrize(
    ("host", "domain", "matches"),
    [
        (b"localhost", "localhost", True),
        (b"LocalHost:80", "localhost", True),
        (b"localhost:", "localhost", True),
        (b"localhost", "LOCALHOST", True),
        (b"localhost.", "localhost", False),
        (b"xlocalhost", "localhost", False),
        (b"", "localhost", False),
        (b"[::1]:80", "::1", True),
        (b"[::1]", "[::1]", True),
        (b"::1", "::1", False),
        (b"[::2]", "::1", False),
        (b"127.0.0.1:1", "127.0.0.1", True),
        (b"\xff", "localhost", False),
    ],
)
def test_hosts(host: bytes, domain: str, matches: bool) -> None:
    assert host_matches(host, domain) is matches


def test_authorities() -> None:
    assert authority("a.test", 443, secure=True) == b"a.test"
    assert authority("a.test", 443, secure=False) == b"a.test:443"
    assert authority("::1", 80, secure=True) == b"[::1]:80"


def test_headers_about_the_connection_are_left_out() -> None:
    fields = (
        (b"connection", b"close, X-Hop"),
        (b"x-hop", b"1"),
        (b"keep-alive", b"1"),
        (b"proxy-connection", b"1"),
        (b"transfer-encoding", b"gzip"),
        (b"upgrade", b"h3"),
        (b"te", b"trailers"),
        (b"x-end", b"1"),
    )
    assert without_connection_headers(fields) == ((b"x-end", b"1"),)


def test_words_of_lists() -> None:
    fields = ((b"connection", b"Keep-Alive,, x"), (b"connection", b" Close\t"), (b"other", b"y"))
    assert words(fields, b"connection") == {b"keep-alive", b"x", b"close"}


@pytest.mark.parametrize(("code", "line"), [(200, b"HTTP/1.1 200 OK"), (299, b"HTTP/1.1 299")])
def test_first_lines(code: int, line: bytes) -> None:
    assert response_text(Response(code), HTTP_1).startswith(line + b"\r\n")


def test_reasons_are_words() -> None:
    assert all(reason.isascii() and reason.strip() == reason for reason in REASONS.values())


def test_a_response_that_never_gets_a_head() -> None:
    draft = ResponseDraft(PLAIN_LABELS, b"GET")
    for _ in range(10):
        assert draft.add(b"x" * 100, largest=1000) is None
    with pytest.raises(Malformed):
        draft.add(b"x", largest=1000)


def refusal(text: bytes, method: bytes = b"GET") -> str:
    """The fault that is found in a response of a guest."""
    with pytest.raises(Malformed) as caught:
        ResponseDraft(PLAIN_LABELS, method).add(text, largest=10_000)
    return str(caught.value)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("content-length: 1\r\ncontent-length: 2", "expected one content-length, got two that differ"),
        ("content-length: 1x", "expected a decimal content-length"),
        ("content-length: +1", "expected a decimal content-length"),
        ("a: \x01", "control characters"),
        ("a b: c", "expected a token as the name of a header"),
        ("no colon", "expected header lines with a colon"),
        ("transfer-encoding: gzip, chunked", "not chunked"),
        ("\r\n".join(f"a{number}: b" for number in range(65)), "at most 64 headers, got 65"),
        ("content-length: 1\r\n\r\nab", "expected 1 bytes of body, got 6"),
        ("content-length: 20000", "expected at most 10000 bytes"),
    ],
)
def test_faults_of_responses(lines: str, told: str) -> None:
    assert told in refusal(f"HTTP/1.1 200 OK\r\n{lines}\r\n\r\n".encode())


def test_an_interim_response_is_none() -> None:
    assert "expected a final response" in refusal(b"HTTP/1.1 103 Early Hints\r\n\r\n")


def test_a_response_to_head_is_whole_without_its_body() -> None:
    text = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
    assert ResponseDraft(PLAIN_LABELS, b"GET").add(text, largest=1000) is None
    assert ResponseDraft(PLAIN_LABELS, b"HEAD").add(text, largest=1000) is not None


def test_as_many_headers_as_a_guest_may_write() -> None:
    """A length that stands there twice is one."""
    lines = "".join(f"a{number}: b\r\n" for number in range(62)) + "content-length: 0\r\n" * 2
    text = f"HTTP/1.1 200\r\n{lines}\r\n".encode()
    response = ResponseDraft(PLAIN_LABELS, b"GET").add(text, largest=10_000)
    assert response is not None
    assert len(response.headers) == 63


@pytest.mark.parametrize(
    ("target", "form"),
    [
        (b"http://a?b", b"/?b"),
        (b"http://a", b"/"),
        (b"/a?b#c", b"/a?b"),
        (b"*", b"*"),
    ],
)
def test_forms_of_targets(target: bytes, form: bytes) -> None:
    assert origin_form(target) == form
