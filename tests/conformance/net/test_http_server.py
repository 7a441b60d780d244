"""HTTP, server side: what guests read, and what peers get, to the byte. Times are virtual."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.resources.registry import Departure
from tests.hostcalls.net.peers import DATE, Server, open_server, read_all, settled

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


async def request_of(sent: bytes, domain: str = "localhost") -> bytes:
    """What the guest reads of a request."""
    async with open_server(domain) as server:
        peer = await server.connect()
        await peer.send(sent)
        connection = await server.accept()
        return await read_all(connection.reader)


async def refusal_of(sent: bytes, domain: str = "localhost") -> bytes:
    """What the peer gets, up to the end of the connection; the guest sees nothing."""
    async with open_server(domain) as server:
        peer = await server.connect()
        await peer.send(sent)
        answer = await peer.rest()
        assert await server.accepts_nothing()
        return answer


async def response_of(*writes: bytes, request: bytes = GET) -> tuple[bytes, bytes]:
    """Head and body that the peer gets for what the guest writes."""
    async with open_server() as server:
        peer = await server.connect()
        await peer.send(request)
        connection = await server.accept()
        for payload in writes:
            assert settled(connection.writer.write(payload)) == len(payload)
        return await peer.response()


def closed(code: bytes, body: bytes = b"") -> bytes:
    """A refusal that ends the connection."""
    return b"HTTP/1.1 %b\r\ncontent-length: %d\r\n%bconnection: close\r\n\r\n%b" % (
        code,
        len(body),
        DATE,
        body,
    )


MISSING_HOST = closed(b"400 Bad Request", b"missing host")
BAD_REQUEST = closed(b"400 Bad Request")


async def test_net_50_headers_are_grouped_and_the_length_is_given() -> None:
    assert await request_of(
        b"GET /a?b=1 HTTP/1.1\r\nHost: localhost:8080\r\nX-B: 1\r\nX-A:  2 \r\nx-b: 3\r\n\r\n"
    ) == (
        b"GET /a?b=1 HTTP/1.1\r\nhost: localhost:8080\r\n"
        b"x-b: 1\r\nx-b: 3\r\nx-a: 2\r\ncontent-length: 0\r\n\r\n"
    )


async def test_net_51_chunks_are_joined_and_trailers_dropped() -> None:
    assert (
        await request_of(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n"
            b"3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nTrailer: t\r\n\r\n"
        )
        == b"POST / HTTP/1.1\r\nhost: localhost\r\nx: y\r\ncontent-length: 5\r\n\r\nabcde"
    )


async def test_net_26_reading_nothing_takes_nothing_net_53_reads_never_wait() -> None:
    body = b"b" * (100 - len(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 42\r\n\r\n"))
    async with open_server() as server:
        peer = await server.connect()
        await peer.send(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        reader = (await server.accept()).reader
        assert [len(settled(reader.read(60))) for _ in range(4)] == [60, 40, 0, 0]
        assert server.account.held == 0


@pytest.mark.parametrize(
    ("line", "target"),
    [
        (b"GET http://elsewhere:9/x?y", b"/x?y"),
        (b"OPTIONS *", b"*"),
        (b"GET http://elsewhere", b"/"),
        (b"GET https://elsewhere?q", b"/?q"),
    ],
)
async def test_net_54_targets(line: bytes, target: bytes) -> None:
    text = await request_of(line + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert text.split(b" ")[1] == target


async def test_net_56_http_1_0_is_closed_after_the_response() -> None:
    async with open_server() as server:
        peer = await server.connect()
        await peer.send(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        connection = await server.accept()
        assert (await read_all(connection.reader)).startswith(b"GET / HTTP/1.1\r\n")
        settled(connection.writer.write(OK))
        assert await peer.rest() == (
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n" + DATE + b"connection: close\r\n\r\nhi"
        )


async def test_http_1_0_with_keep_alive_is_kept() -> None:
    async with open_server() as server:
        peer = await server.connect()
        for _ in range(2):
            await peer.send(b"GET / HTTP/1.0\r\nHost: localhost\r\nConnection: Keep-Alive\r\n\r\n")
            settled((await server.accept()).writer.write(OK))
            head, body = await peer.response()
            assert head.endswith(b"\r\nconnection: keep-alive\r\n\r\n")
            assert body == b"hi"


async def test_net_57_hosts_must_match() -> None:
    assert await refusal_of(b"GET / HTTP/1.1\r\nHost: other\r\n\r\n") == closed(
        b"421 Misdirected Request", b"host mismatch"
    )
    assert b"host: LOCALHOST:99\r\n" in await request_of(b"GET / HTTP/1.1\r\nHost: LOCALHOST:99\r\n\r\n")
    assert await refusal_of(b"GET / HTTP/1.0\r\n\r\n") == MISSING_HOST


async def test_net_59_an_empty_domain_takes_every_host_but_not_none_and_not_two() -> None:
    assert b"host: any.test\r\n" in await request_of(b"GET / HTTP/1.1\r\nHost: any.test\r\n\r\n", "")
    assert b"host" not in await request_of(b"GET / HTTP/1.0\r\n\r\n", "")
    assert await refusal_of(b"GET / HTTP/1.1\r\n\r\n", "") == MISSING_HOST
    assert await refusal_of(b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "") == MISSING_HOST


async def test_net_60_writes_are_collected_and_later_ones_thrown_away() -> None:
    head, body = await response_of(b"HTTP/1.1 200 Fine\r\nContent-Length: 5\r\n", b"\r\nhel", b"lo", b"junk")
    assert head == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n" + DATE + b"\r\n"
    assert body == b"hello"


async def test_net_61_without_a_length_the_first_write_is_all() -> None:
    head, body = await response_of(b"HTTP/1.1 200 OK\r\n\r\n", b"body")
    assert head == b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n" + DATE + b"\r\n"
    assert body == b""
    assert (await response_of(b"HTTP/1.1 200 OK\r\n\r\nbody"))[1] == b"body"


def headers(count: int) -> bytes:
    return b"".join(b"x-%d: y\r\n" % number for number in range(count))


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nfour", id="net-63"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n", id="net-64"),
        pytest.param(b"HTTP/2 200 OK\r\n\r\n", id="net-64"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + headers(65) + b"\r\n", id="net-65"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", id="net-68"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", id="interim"),
        pytest.param(b"HTTP/1.1 099 Low\r\n\r\n", id="low"),
        pytest.param(b"HTTP/1.1 1000 High\r\n\r\n", id="high"),
        pytest.param(b"HTTP/1.1\r\n\r\n", id="no code"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: \xff\r\n\r\n", id="not UTF-8"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx y: z\r\n\r\n", id="no token"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx\r\n\r\n", id="no colon"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: \x01\r\n\r\n", id="control"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: a\nb: c\r\n\r\n", id="split"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n", id="continued"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nhi", id="signed"),
        pytest.param(b"HTTP/1.1 200\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nh", id="two lengths"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\nhi", id="never complete"),
        pytest.param(b"\r\n\r\n", id="nothing"),
    ],
)
async def test_invalid_responses(payload: bytes) -> None:
    head, body = await response_of(payload, b"later")
    assert head == b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 16\r\n" + DATE + b"\r\n"
    assert body == b"invalid response"


async def test_net_64_labels_in_any_case_net_65_64_headers() -> None:
    head, _ = await response_of(b"http/1.1 299\r\n" + headers(64) + b"\r\n")
    assert head.startswith(b"HTTP/1.1 299\r\nx-0: y\r\n")
    assert b"x-63: y\r\n" in head


async def test_equal_lengths_are_one() -> None:
    head, _ = await response_of(
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: y\r\nContent-Length: 2\r\n\r\nhi"
    )
    assert head == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx: y\r\n" + DATE + b"\r\n"


async def test_a_date_of_the_guest_is_kept() -> None:
    head, _ = await response_of(b"HTTP/1.1 200 OK\r\nDate: mine\r\n\r\n")
    assert head == b"HTTP/1.1 200 OK\r\ndate: mine\r\ncontent-length: 0\r\n\r\n"


@pytest.mark.parametrize("body", [b"four", b""])
async def test_net_69_head_has_the_length_and_no_body(body: bytes) -> None:
    async with open_server() as server:
        peer = await server.connect()
        await peer.send(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n" + GET)
        settled((await server.accept()).writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n" + body))
        settled((await server.accept()).writer.write(OK))
        assert await peer.until(b"\r\n\r\n") == b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n" + DATE + b"\r\n"
        assert (await peer.response())[1] == b"hi"


@pytest.mark.parametrize(
    ("code", "length"), [(b"204 No Content", b""), (b"304 Not Modified", b"content-length: 2\r\n")]
)
async def test_codes_without_a_body(code: bytes, length: bytes) -> None:
    async with open_server() as server:
        peer = await server.connect()
        await peer.send(GET + GET)
        for _ in range(2):
            connection = await server.accept()
            settled(connection.writer.write(b"HTTP/1.1 %b\r\ncontent-length: 2\r\n\r\nhi" % code))
            assert await peer.until(b"\r\n\r\n") == b"HTTP/1.1 " + code + b"\r\n" + length + DATE + b"\r\n"


async def test_net_71_pipelined_requests_are_served_one_by_one() -> None:
    async with open_server() as server:
        peer = await server.connect()
        await peer.send(GET + GET.replace(b"/ ", b"/2 "))
        first = await server.accept()
        assert await server.accepts_nothing()
        settled(first.writer.write(OK))
        second = await server.accept()
        assert (await read_all(second.reader)).startswith(b"GET /2 ")
        settled(second.writer.write(OK.replace(b"hi", b"ho")))
        assert [(await peer.response())[1] for _ in range(2)] == [b"hi", b"ho"]


@pytest.mark.parametrize(
    "departure",
    [pytest.param(Departure.RELEASED, id="net-72"), pytest.param(Departure.PROCESS_ENDED, id="net-73")],
)
async def test_a_writer_that_goes_answers_502(departure: Departure) -> None:
    async with open_server() as server:
        peer = await server.connect()
        await peer.send(GET)
        connection = await server.accept()
        settled(connection.writer.write(b"HTTP/1.1 200 OK\r\ncontent-"))
        connection.writer.release(departure)
        head, body = await peer.response()
        assert head.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
        assert body == b"invalid response"
        connection.reader.release(departure)
        assert server.account.held == 0


async def test_net_74_a_guest_that_never_answers(autojump_clock: trio.testing.MockClock) -> None:
    async with open_server() as server:
        peer = await server.connect()
        await peer.send(GET)
        connection = await server.accept()
        assert await peer.is_silent(59.9)
        assert await peer.rest() == closed(b"504 Gateway Timeout", b"response timeout")
        assert settled(connection.writer.write(OK)) == len(OK)
        assert settled(connection.reader.read(3)) == b"GET"


async def test_net_75_a_request_whose_client_has_gone_is_withdrawn() -> None:
    async with open_server() as server:
        first, second = await server.connect(), await server.connect()
        await first.send(GET)
        await trio.testing.wait_all_tasks_blocked()
        first.reset()
        await trio.testing.wait_all_tasks_blocked()
        assert server.account.held == 0
        await second.send(GET.replace(b"/ ", b"/2 "))
        assert (await read_all((await server.accept()).reader)).startswith(b"GET /2 ")


async def test_a_client_that_goes_after_the_accept_is_not_noticed() -> None:
    async with open_server() as server:
        peer = await server.connect()
        await peer.send(GET)
        connection = await server.accept()
        peer.reset()
        await trio.testing.wait_all_tasks_blocked()
        assert settled(connection.writer.write(OK)) == len(OK)
        assert await read_all(connection.reader)
        assert server.account.held == 0


async def test_net_77_a_half_closed_client_is_answered(autojump_clock: trio.testing.MockClock) -> None:
    async with open_server() as server:
        peer = await server.connect()
        await peer.send(GET + GET)
        await peer.finish()
        for _ in range(2):
            await trio.sleep(1)
            settled((await server.accept()).writer.write(OK))
        assert (await peer.rest()).count(b"\r\n\r\nhi") == 2


async def test_net_78_expect_is_answered_before_the_body() -> None:
    async with open_server() as server:
        peer = await server.connect()
        await peer.send(
            b"PUT / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        )
        assert await peer.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await peer.send(b"hi")
        text = await read_all((await server.accept()).reader)
        assert (
            text
            == b"PUT / HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nhi"
        )


async def test_a_body_that_is_there_needs_no_continue() -> None:
    async with open_server() as server:
        peer = await server.connect()
        await peer.send(
            b"PUT / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"
        )
        settled((await server.accept()).writer.write(OK))
        assert (await peer.response())[0].startswith(b"HTTP/1.1 200 OK\r\n")


TOO_LARGE = closed(b"413 Payload Too Large", b"request too large")


@pytest.mark.parametrize(
    "framing",
    [b"Content-Length: 1048577\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n100001\r\n"],
    ids=["length", "chunks"],
)
async def test_net_80_larger_bodies_are_refused(framing: bytes) -> None:
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
    largest = bytes(1024 * 1024)
    assert await refusal_of(head + framing + largest + b"x\r\n") == TOO_LARGE
    fits = await request_of(head + b"Content-Length: 1048576\r\n\r\n" + largest)
    assert fits.endswith(b"\r\n\r\n" + largest)


async def test_a_client_that_expects_gets_413_and_no_continue() -> None:
    sent = b"POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 1048577\r\n\r\n"
    assert await refusal_of(sent) == TOO_LARGE


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (
            b"GET / HTTP/1.1\r\nHost: localhost\r\nx: " + b"y" * 32768 + b"\r\n\r\n",
            b"431 Request Header Fields Too Large",
        ),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nx: " + b"y" * 102400, b"431 Request Header Fields Too Large"),
        (
            b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"x: y\r\n" * 100 + b"\r\n",
            b"431 Request Header Fields Too Large",
        ),
        (b"GET /" + b"x" * 65536 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"414 URI Too Long"),
    ],
    ids=["head", "endless line", "101 headers", "target"],
)
async def test_net_81_larger_heads_are_refused(sent: bytes, code: bytes) -> None:
    assert await refusal_of(sent) == closed(code)


async def test_net_81_what_just_fits() -> None:
    head = b"GET / HTTP/1.1\r\nHost: localhost\r\nx: "
    assert await request_of(head + b"y" * (32768 - len(head) - 4) + b"\r\n\r\n")
    assert await request_of(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"x: y\r\n" * 99 + b"\r\n")


START = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(
            START + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="net-82"
        ),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="net-84"),
        pytest.param(b"rubbish\r\n\r\n", id="net-84"),
        pytest.param(START + b"x: a\x00b\r\n\r\n", id="NUL"),
        pytest.param(START + b"x: a\x01b\r\n\r\n", id="control"),
        pytest.param(START + b"x: a\rb\r\n\r\n", id="bare CR"),
        pytest.param(START + b"x : y\r\n\r\n", id="blank before colon"),
        pytest.param(START + b"x: y\r\n z\r\n\r\n", id="continued"),
        pytest.param(START + b"Transfer-Encoding: chunked, chunked\r\n\r\n", id="chunked twice"),
        pytest.param(START + b"Transfer-Encoding: gzip\r\n\r\n", id="gzip"),
        pytest.param(START + b"Content-Length: -1\r\n\r\n", id="negative"),
        pytest.param(START + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", id="lengths"),
        pytest.param(START + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n", id="huge"),
        pytest.param(START.replace(b"1.1", b"1.2") + b"\r\n", id="version"),
        pytest.param(START.replace(b"1.1", b"2.0") + b"\r\n", id="version 2"),
        pytest.param(START.replace(b"/ ", b"x ", 1) + b"\r\n", id="target"),
        pytest.param(
            b"POST / HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="chunked 1.0",
        ),
        pytest.param(START + b"Transfer-Encoding: chunked\r\n\r\nx\r\n", id="chunk"),
        pytest.param(
            START + b"Transfer-Encoding: chunked\r\n\r\n" + (b"1;" + b"x" * 1000 + b"\r\ny\r\n") * 100,
            id="extensions",
        ),
    ],
)
async def test_malformed_requests(sent: bytes) -> None:
    assert await refusal_of(sent + GET) == BAD_REQUEST


async def test_net_84_what_is_no_request_is_refused_at_its_first_byte() -> None:
    assert await refusal_of(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03") == BAD_REQUEST


async def test_lines_may_end_with_a_line_feed() -> None:
    assert await request_of(b"\r\n\nGET / HTTP/1.1\nHost: localhost\n\n") == (
        b"GET / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n"
    )


async def test_connect_is_not_implemented() -> None:
    sent = b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert await refusal_of(sent) == closed(b"501 Not Implemented", b"not implemented")


async def test_a_body_that_breaks_off() -> None:
    async with open_server() as server:
        peer = await server.connect()
        await peer.send(START + b"Content-Length: 4\r\n\r\nhi")
        await peer.finish()
        assert await peer.rest() == closed(b"500 Internal Server Error", b"request failed")
        assert server.account.held == 0


TIMEOUT = closed(b"408 Request Timeout", b"request timeout")


async def trickle(server: Server, begin: bytes, byte: bytes) -> tuple[float, bytes]:
    """How long a peer is borne that sends a byte a second, and what it gets."""
    peer = await server.connect()
    await peer.send(begin)
    began = trio.current_time()
    answer = b""

    async def send() -> None:
        while True:
            await trio.sleep(1)
            await peer.send(byte)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        answer = await peer.until(b"timeout")
        nursery.cancel_scope.cancel()
    return trio.current_time() - began, answer


async def test_net_85_slow_heads_and_bodies(autojump_clock: trio.testing.MockClock) -> None:
    async with open_server() as server:
        assert await trickle(server, b"G", b"E") == (10, TIMEOUT)
        assert await trickle(server, START + b"Content-Length: 99\r\n\r\n", b"x") == (60, TIMEOUT)
        other = await server.connect()
        await other.send(GET)
        settled((await server.accept()).writer.write(OK))
        assert (await other.response())[1] == b"hi"


async def test_a_pause_in_a_body(autojump_clock: trio.testing.MockClock) -> None:
    async with open_server() as server:
        peer = await server.connect()
        await peer.send(START + b"Content-Length: 99\r\n\r\n")
        assert await peer.is_silent(9.9)
        assert await peer.rest() == TIMEOUT


async def test_idle_connections_are_closed(autojump_clock: trio.testing.MockClock) -> None:
    async with open_server() as server:
        silent = await server.connect()
        assert await silent.is_silent(9.9)
        assert await silent.rest() == b""
        peer = await server.connect()
        await peer.send(GET)
        settled((await server.accept()).writer.write(OK))
        await peer.response()
        assert await peer.is_silent(74.9)
        assert await peer.rest() == b""


async def test_net_87_128_requests_wait_and_the_next_is_refused() -> None:
    async with open_server() as server:
        peers = [await server.connect() for _ in range(128)]
        for peer in peers:
            await peer.send(GET)
        await trio.testing.wait_all_tasks_blocked()
        late = await server.connect()
        await late.send(GET)
        assert await late.rest() == closed(b"503 Service Unavailable", b"overloaded")
        for _ in peers:  # their tasks run in any order
            settled(settled(server.begin_accept()).writer.write(OK))
        for peer in peers:
            assert (await peer.response())[1] == b"hi"


async def test_net_93_a_dropped_accept_takes_nothing() -> None:
    async with open_server() as server:
        dropped = server.begin_accept()
        assert isinstance(dropped, Future)
        dropped.cancel()
        peer = await server.connect()
        await peer.send(GET)
        assert await read_all((await server.accept()).reader)


async def test_a_closed_listener_refuses_what_waits_and_ends_what_is_idle() -> None:
    async with open_server() as server:
        waiting, accepted, idle = [await server.connect() for _ in range(3)]
        await accepted.send(GET)
        connection = await server.accept()
        await waiting.send(GET)
        await trio.testing.wait_all_tasks_blocked()
        server.listener.close()
        assert await waiting.rest() == closed(b"503 Service Unavailable", b"listener closed")
        assert await idle.rest() == b""
        settled(connection.writer.write(OK))
        assert (await accepted.rest()).endswith(b"\r\nconnection: close\r\n\r\nhi")


async def test_a_guest_may_close() -> None:
    async with open_server() as server:
        peer = await server.connect()
        await peer.send(GET + GET)
        settled((await server.accept()).writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi"))
        assert await peer.rest() == (
            b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n" + DATE + b"\r\nhi"
        )
        assert await server.accepts_nothing()


async def test_refused_heads_leave_no_room_for_a_second_request() -> None:
    smuggled = b"Content-Length: 44\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET
    assert await refusal_of(START + smuggled) == BAD_REQUEST


async def test_limits_of_the_guest_count() -> None:
    async with open_server(limits=Limits(http_body=3)) as server:
        peer = await server.connect()
        await peer.send(START + b"Content-Length: 4\r\n\r\n")
        assert await peer.rest() == TOO_LARGE
