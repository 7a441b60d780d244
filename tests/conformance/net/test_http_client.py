"""HTTP, client side: what servers get, and what guests read, to the byte. Times are virtual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from enfilade.hostcalls.abi.errors import HostcallError, InvalidArgument
from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.net.memory_sockets import MemorySockets
from enfilade.hostcalls.net.settings import NetworkSettings
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.resources.registry import Departure
from tests.hostcalls.net.offices import Office, failure
from tests.hostcalls.net.peers import Browser, open_client, outcome, read_all

GET = b"GET /x HTTP/1.1\r\n\r\n"
ON_THE_WIRE = b"GET /x HTTP/1.1\r\nhost: localhost:8080\r\n\r\n"
OK = b"HTTP/1.1 200 Fine\r\nX-Q: 1\r\ncontent-length: 2\r\n\r\nhi"


async def exchange(browser: Browser, request: bytes, response: bytes) -> int:
    """Write a request and have the server answer it."""
    written = browser.writer.write(request)
    assert isinstance(written, Future)
    assert not written.done
    await browser.peer.until(b"\r\n\r\n")
    await browser.peer.send(response)
    size: int = await written.wait()
    return size


async def read_of(response: bytes, request: bytes = GET, **options: Any) -> bytes:
    """What the guest reads of a response, after which nothing is there."""
    async with open_client(**options) as browser:
        assert await exchange(browser, request, response) == len(request)
        text: bytes = await outcome(browser.reader.read(65536))
        rest = browser.reader.read(1)
        assert isinstance(rest, Future)
        assert not rest.done
        return text


async def failure_of(respond: Callable[[Browser], Any], **options: Any) -> str:
    """The error of a write to a server that does `respond`; reads are empty afterwards."""
    async with open_client(**options) as browser:
        written = browser.writer.write(GET)
        await browser.peer.until(b"\r\n\r\n")
        await respond(browser)
        with pytest.raises(HostcallError) as caught:
            await outcome(written)
        assert await read_all(browser.reader) == b""
        with pytest.raises(HostcallError, match="operation was canceled"):
            browser.writer.write(GET)
        await browser.is_over.wait()
        assert browser.account.held == 0
        return caught.value.text


async def test_net_96_requests_on_the_wire() -> None:
    async with open_client("127.0.0.1", 8080) as browser:
        browser.writer.write(b"GET /x HTTP/1.1\r\nX-A: b\r\n\r\n")
        sent = await browser.peer.until(b"\r\n\r\n")
        assert sent == b"GET /x HTTP/1.1\r\nx-a: b\r\nhost: 127.0.0.1:8080\r\n\r\n"


@pytest.mark.parametrize(
    ("domain", "port", "host"),
    [
        ("localhost", 80, b"localhost"),
        ("::1", 81, b"[::1]:81"),
        ("[::1]", 80, b"[::1]"),
        ("a.test", 443, b"a.test:443"),
    ],
)
async def test_hosts_that_are_added(domain: str, port: int, host: bytes) -> None:
    async with open_client(domain, port) as browser:
        browser.writer.write(b"POST http://elsewhere/y?z HTTP/1.1\r\n\r\nbody")
        sent = await browser.peer.until(b"body")
        assert sent == b"POST /y?z HTTP/1.1\r\nhost: " + host + b"\r\ncontent-length: 4\r\n\r\nbody"


async def test_targets_may_lack_their_slash() -> None:
    async with open_client() as browser:
        browser.writer.write(b"GET x?y HTTP/1.1\r\n\r\n")
        assert (await browser.peer.until(b"\r\n\r\n")).startswith(b"GET /x?y HTTP/1.1\r\n")


async def test_net_97_the_address_is_the_one_given() -> None:
    async with open_client("localhost", 8080) as browser:
        assert browser.conversation.connection.remote_addr == "localhost:8080"
    async with open_client("x" * 250, 8080) as browser:
        assert browser.conversation.connection.remote_addr == "x" * 224


@pytest.mark.parametrize(
    ("response", "text"),
    [
        pytest.param(OK, b"HTTP/1.1 200 OK\r\nx-q: 1\r\ncontent-length: 2\r\n\r\nhi", id="net-99"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\nA: b\r\n\r\n"
            b"1\r\na\r\n1\r\nb\r\n0\r\nT: t\r\n\r\n",
            b"HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 2\r\n\r\nab",
            id="net-100",
        ),
        pytest.param(
            b"HTTP/1.1 599 What\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 599\r\ncontent-length: 0\r\n\r\n",
            id="net-102",
        ),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nx: y\r\n\r\nHTTP/1.1 204 N\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n",
            id="interim",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\na: 3\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\na: 1\r\na: 3\r\nb: 2\r\ncontent-length: 0\r\n\r\n",
            id="grouped",
        ),
    ],
)
async def test_responses_as_guests_read_them_net_104_reads_wait_for_the_next(
    response: bytes, text: bytes
) -> None:
    assert await read_of(response) == text


async def test_net_103_head_keeps_its_length() -> None:
    text = await read_of(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", b"HEAD / HTTP/1.1\r\n\r\n")
    assert text == b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n"


async def test_net_105_reads_are_empty_when_the_server_has_closed() -> None:
    async with open_client() as browser:
        await exchange(browser, GET, OK)
        await browser.peer.close()
        assert (await read_all(browser.reader)).endswith(b"\r\n\r\nhi")
        assert await outcome(browser.reader.read(9)) == b""
        await browser.is_over.wait()
        assert browser.account.held == 0


async def test_bodies_that_end_with_the_connection() -> None:
    async with open_client() as browser:
        written = browser.writer.write(GET)
        await browser.peer.until(b"\r\n\r\n")
        await browser.peer.send(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")
        await browser.peer.finish()
        await outcome(written)
        assert await read_all(browser.reader) == b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\nuntil the end"


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: 3\r\n\r\nhi",
        b"GET / HTTP/1.1\r\ncontent-length: 1\r\n\r\nhi",
        b"GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 65 + b"\r\n",
        pytest.param(b"GET / HTTP/1.1\r\nHost: other\r\n\r\n", id="net-108"),
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: a\nb: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: a\r\n b\r\n\r\n",
        b"GET /\r\nHTTP/1.1\r\n\r\n",
        b"GET / x HTTP/1.1\r\n\r\n",
        b"G\xc3\xa9T / HTTP/1.1\r\n\r\n",
        b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n",
        b"CONNECT localhost:80 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: \xff\r\n\r\n",
        b"\r\n\r\n",
        b"POST / HTTP/1.1\r\n\r\n" + bytes(1024 * 1024 + 1),
    ],
    ids=lambda payload: "net-107" if len(payload) < 100 else "large",
)
async def test_net_107_malformed_requests_are_refused_and_nothing_is_sent(request_: bytes) -> None:
    async with open_client() as browser:
        with pytest.raises(InvalidArgument):
            browser.writer.write(request_)
        await exchange(browser, GET, OK)
        assert browser.peer.buffer == b""


async def test_net_108_hosts_that_match_are_sent_unchanged() -> None:
    async with open_client() as browser:
        browser.writer.write(b"GET / HTTP/1.1\r\nHost: LOCALHOST:1\r\nX: y\r\n\r\n")
        sent = await browser.peer.until(b"\r\n\r\n")
        assert sent == b"GET / HTTP/1.1\r\nhost: LOCALHOST:1\r\nx: y\r\n\r\n"


FAILED = "internal error: HTTP connection failed: "


async def close(browser: Browser) -> None:
    await browser.peer.close()


def says(data: bytes, *, then_closes: bool = False) -> Callable[[Browser], Any]:
    """A server that sends `data`."""

    async def respond(browser: Browser) -> None:
        await browser.peer.send(data)
        if then_closes:
            await browser.peer.close()

    return respond


async def reset(browser: Browser) -> None:
    browser.peer.reset()


@pytest.mark.parametrize(
    ("respond", "text"),
    [
        pytest.param(close, "connection closed before message completed", id="net-113"),
        pytest.param(reset, "connection closed before message completed", id="reset"),
        pytest.param(
            says(b"HTTP/1.1 2", then_closes=True), "connection closed before message completed", id="in head"
        ),
        pytest.param(
            says(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi", then_closes=True),
            "error reading a body from connection",
            id="in body",
        ),
        pytest.param(
            says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n"),
            "error reading a body from connection",
            id="chunk",
        ),
        pytest.param(says(b"SSH-2.0-OpenSSH_9.2\r\n"), "invalid HTTP version parsed", id="nonsense"),
        pytest.param(says(b"HTTP/2.0 200 OK\r\n\r\n"), "invalid HTTP version parsed", id="version"),
        pytest.param(says(b"HTTP/1.7 200 OK\r\n\r\n"), "invalid HTTP version parsed", id="minor version"),
        pytest.param(says(b"HTTP/1.1 200 OK\r\nx y\r\n\r\n"), "invalid HTTP header parsed", id="header"),
        pytest.param(says(b"HTTP/1.1 200 OK\r\nx: \x01\r\n\r\n"), "invalid HTTP header parsed", id="control"),
        pytest.param(
            says(b"HTTP/1.1 200 OK\r\nx: y\r\n z\r\n\r\n"), "invalid HTTP header parsed", id="continued"
        ),
        pytest.param(says(b"HTTP/1.1 200 OK\r\nx: " + bytes(32768)), "message head is too large", id="head"),
        pytest.param(
            says(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 101 + b"\r\n"),
            "message head is too large",
            id="headers",
        ),
        pytest.param(says(b"HTTP/1.1 100 Continue\r\n\r\n" * 99), "too many interim responses", id="interim"),
        pytest.param(says(b"HTTP/1.1 101 Switch\r\n\r\n"), "invalid HTTP header parsed", id="switch"),
        pytest.param(
            says(b"HTTP/1.1 200 OK\r\ncontent-length: 1048577\r\n\r\n"), "response too large", id="net-118"
        ),
        pytest.param(
            says(b"HTTP/1.0 200 OK\r\n\r\n" + bytes(1024 * 1024 + 1)), "response too large", id="net-118"
        ),
    ],
)
async def test_failures(respond: Callable[[Browser], Any], text: str) -> None:
    with trio.fail_after(10):
        assert await failure_of(respond) == FAILED + text


async def test_protocols_are_not_switched() -> None:
    async with open_client() as browser:
        written = browser.writer.write(b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n")
        await browser.peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\n\r\n")
        with pytest.raises(HostcallError, match="unexpected switch of protocols"):
            await outcome(written)


async def test_net_115_a_write_after_the_server_has_closed() -> None:
    async with open_client() as browser:
        await exchange(browser, GET, OK)
        await browser.peer.close()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(HostcallError) as caught:
            browser.writer.write(GET)
        assert caught.value.text == FAILED + "operation was canceled"


async def test_net_116_requests_follow_each_other() -> None:
    async with open_client() as browser:
        for number in range(3):
            await exchange(browser, GET, OK.replace(b"hi", b"h%d" % number))
        texts = await outcome(browser.reader.read(65536))
        assert texts.count(b"HTTP/1.1 200 OK\r\n") == 3
        assert texts.endswith(b"h2")


async def test_net_119_a_request_outlives_its_future() -> None:
    async with open_client() as browser:
        browser.writer.write(GET)  # the driver never cancels the future of a guest that has dropped it
        await browser.peer.until(b"\r\n\r\n")
        await browser.peer.send(OK)
        assert (await outcome(browser.reader.read(99))).endswith(b"hi")


async def test_a_read_that_is_cancelled_takes_nothing() -> None:
    async with open_client() as browser:
        read = browser.reader.read(5)
        assert isinstance(read, Future)
        read.cancel()
        await exchange(browser, GET, OK)
        assert await outcome(browser.reader.read(5)) == b"HTTP/"


async def test_unasked_bytes_end_the_connection() -> None:
    async with open_client() as browser:
        await exchange(browser, GET, OK + b"HTTP/1.1 200 OK\r\n\r\n")
        await browser.is_over.wait()
        assert (await read_all(browser.reader)).count(b"HTTP/1.1") == 1


async def test_a_server_that_closes_after_its_response() -> None:
    async with open_client() as browser:
        await exchange(browser, GET, OK.replace(b"X-Q: 1", b"Connection: close"))
        await browser.is_over.wait()
        assert (await read_all(browser.reader)).endswith(b"hi")
        assert await browser.peer.rest() == b""


async def test_an_early_response_to_a_large_request() -> None:
    async with open_client(pair=trio.testing.lockstep_stream_pair) as browser:
        written = browser.writer.write(b"POST / HTTP/1.1\r\n\r\n" + bytes(500_000))
        await browser.peer.until(b"\r\n\r\n")
        await browser.peer.send(b"HTTP/1.1 413 No\r\ncontent-length: 0\r\n\r\n")
        await outcome(written)
        assert (await read_all(browser.reader)).startswith(b"HTTP/1.1 413 Payload Too Large\r\n")
        await browser.is_over.wait()


async def test_a_server_that_takes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with open_client(pair=trio.testing.lockstep_stream_pair) as browser:
        written = browser.writer.write(GET)
        with pytest.raises(HostcallError) as caught:
            await outcome(written)
        assert caught.value.text == FAILED + "the peer took nothing for 30.0 s"
        assert trio.current_time() == 30


async def test_the_writer_goes_while_its_request_is_on_its_way() -> None:
    async with open_client() as browser:
        browser.writer.write(GET)
        browser.writer.release(Departure.RELEASED)
        await browser.peer.until(b"\r\n\r\n")
        await browser.peer.send(OK)
        assert (await read_all(browser.reader)).endswith(b"hi")
        await browser.is_over.wait()
        assert await browser.peer.rest() == b""


async def test_the_writer_goes_and_reads_end() -> None:
    async with open_client() as browser:
        read = browser.reader.read(1)
        browser.writer.release(Departure.RELEASED)
        assert await outcome(read) == b""
        await browser.is_over.wait()


async def test_the_process_ends_and_the_connection_is_closed_at_once() -> None:
    async with open_client() as browser:
        browser.writer.write(GET)
        await browser.peer.until(b"\r\n\r\n")
        browser.writer.release(Departure.PROCESS_ENDED)
        browser.reader.release(Departure.PROCESS_ENDED)
        await browser.is_over.wait()
        assert await browser.peer.rest() == b""
        assert browser.account.held == 0


async def test_what_nobody_will_read_is_not_waited_for_without_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_client() as browser:
        browser.writer.write(GET)
        browser.writer.release(Departure.RELEASED)
        browser.reader.release(Departure.RELEASED)
        await browser.is_over.wait()
        assert trio.current_time() == 60
        assert await browser.peer.rest() == ON_THE_WIRE


async def test_a_response_waits_for_room() -> None:
    async with open_client(limits=Limits(net_bytes=50_000)) as browser:
        await exchange(browser, GET, b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n" + bytes(60_000))
        second = browser.writer.write(GET)
        await browser.peer.until(b"\r\n\r\n")
        await browser.peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n" + bytes(60_000))
        await trio.testing.wait_all_tasks_blocked()
        assert not second.done
        assert await outcome(browser.reader.read(60_000))
        assert await outcome(browser.reader.read(60_000))
        await outcome(second)


async def test_net_111_nobody_listens(office: Office) -> None:
    text = await failure(office.guest().connect())
    assert text == "internal error: failed to connect: Connection refused (os error 111)"


async def test_net_121_nobody_answers(autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        office = Office(MemorySockets(silent=["127.0.0.9"]), NetworkSettings(), nursery)
        text = await failure(office.guest().connect("127.0.0.9"))
        assert text == "internal error: failed to connect: Connection timed out (os error 110)"
        assert trio.current_time() == 30
        office.close()
