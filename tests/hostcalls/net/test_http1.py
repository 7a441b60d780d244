"""HTTP/1.1: peers that mean harm, bytes in any pieces, and what the host holds. Under virtual time."""

from __future__ import annotations

import itertools

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.net.account import Account
from enfilade.hostcalls.net.settings import NetworkSettings
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.resources.registry import Departure
from tests.hostcalls.net.peers import Server, open_client, open_server, outcome, read_all, settled

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


async def answer_all(server: Server) -> None:
    """Answer every request, as a guest would."""
    while True:
        connection = await server.accept()
        await outcome(connection.writer.write(OK))
        connection.reader.release(Departure.RELEASED)
        connection.writer.release(Departure.RELEASED)


async def test_a_thousand_pipelined_requests_are_answered_one_by_one_in_flat_memory() -> None:
    async with open_server() as server:
        peer = await server.connect()
        sent = 0

        async def send() -> None:
            nonlocal sent
            for _ in range(100):
                await peer.send(GET * 100)
                sent += len(GET * 100)

        server.nursery.start_soon(send)
        first = await server.accept()
        await trio.testing.wait_all_tasks_blocked()
        assert sent <= 128 * 1024  # the rest is the peer's, or in the buffers of sockets
        assert server.account.held <= 100
        settled(first.writer.write(OK))
        first.reader.release(Departure.RELEASED)
        first.writer.release(Departure.RELEASED)
        server.nursery.start_soon(answer_all, server)
        for _ in range(1000):
            assert (await peer.response())[1] == b"hi"
            assert server.account.held <= 2 * len(GET + OK)


async def test_a_peer_that_reads_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with open_server() as server:
        peer = await server.connect()
        await peer.send(GET)
        connection = await server.accept()
        settled(connection.writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(1_000_000)))
        connection.reader.release(Departure.RELEASED)
        connection.writer.release(Departure.RELEASED)
        await trio.sleep(29)
        assert server.account.held > 1_000_000  # also without a half: the host still has them
        await trio.sleep(2)
        assert server.account.held == 0
        with pytest.raises(trio.BrokenResourceError):
            await peer.send(b"x")


async def test_a_slow_peer_is_borne_while_it_takes_something(autojump_clock: trio.testing.MockClock) -> None:
    async with open_server() as server:
        peer = await server.connect()
        await peer.send(GET)
        settled((await server.accept()).writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(300_000)))
        size = 0
        while size < 300_000:
            await trio.sleep(20)
            size += len(await peer.far.receive_some(20_000))
        assert trio.current_time() >= 300


async def test_a_guest_without_room_is_sent_no_more(autojump_clock: trio.testing.MockClock) -> None:
    async with open_server(limits=Limits(net_bytes=100_000)) as server:
        peer = await server.connect()
        sent = 0

        async def send() -> None:
            nonlocal sent
            await peer.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n")
            for _ in range(900):
                await peer.send(bytes(1000))
                sent += 1000

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked()
            assert 100_000 <= server.account.held <= 120_000
            assert sent <= 200_000
            assert (await peer.response())[1] == b"overloaded"
            assert trio.current_time() == 60
            nursery.cancel_scope.cancel()
        await peer.rest()
        assert server.account.held == 0


async def test_a_write_waits_for_room_and_completes() -> None:
    async with open_server(limits=Limits(net_bytes=50_000)) as server:
        first, second = await server.connect(), await server.connect()
        await first.send(GET)
        full = await server.accept()  # before the other asks: either of two could come first
        await second.send(GET)
        waiting = await server.accept()
        settled(full.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 49900\r\n\r\n" + bytes(49_890)))
        written = waiting.writer.write(OK)
        assert isinstance(written, Future)
        waiting.writer.release(Departure.RELEASED)  # a write that was begun completes
        await trio.testing.wait_all_tasks_blocked()
        assert not written.done
        settled(full.writer.release(Departure.PROCESS_ENDED))
        assert (await first.response())[1] == b"invalid response"
        assert await outcome(written) == len(OK)
        assert (await second.response())[1] == b"hi"


async def test_a_write_that_waits_is_given_up_with_its_process() -> None:
    async with open_server(limits=Limits(net_bytes=200)) as server:
        peer = await server.connect()
        await peer.send(GET)
        connection = await server.accept()
        settled(connection.writer.write(b"HTTP/1.1 200 OK\r\nx: y\r\n"))
        server.account.hold(200)
        assert isinstance(connection.writer.write(b"\r\n"), Future)
        connection.writer.release(Departure.PROCESS_ENDED)
        assert (await peer.response())[1] == b"invalid response"


async def test_bytes_count_for_the_process_that_has_accepted() -> None:
    async with open_server() as server:
        other = Account(Limits())
        peer = await server.connect()
        await peer.send(GET)
        await trio.testing.wait_all_tasks_blocked()
        assert server.account.held > 0
        connection = await outcome(server.begin_accept(other))
        assert (server.account.held, other.held > 0) == (0, True)
        settled(connection.writer.write(OK))
        await peer.response()
        await read_all(connection.reader)
        assert other.held == 0


@pytest.mark.parametrize(
    "sent", [b"", b"G", GET[:-4], b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx"]
)
async def test_resets_leave_nothing(sent: bytes) -> None:
    async with open_server() as server:
        peer = await server.connect()
        await peer.send(sent)
        await trio.testing.wait_all_tasks_blocked()
        peer.reset()
        await trio.testing.wait_all_tasks_blocked()
        assert server.account.held == 0
        assert len(server.nursery.child_tasks) == 0
        assert await server.accepts_nothing()


REQUESTS = (
    b"POST /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n2\r\nde\r\n0\r\nT: t\r\n\r\n"
    b"\r\nPUT http://x/b HTTP/1.1\nHost: localhost:1\nX: y\nx: z\nContent-Length: 3\n\nabc"
    b"GET /c HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n"
)
READ = (
    b"POST /a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nabcde",
    b"PUT /b HTTP/1.1\r\nhost: localhost:1\r\nx: y\r\nx: z\r\ncontent-length: 3\r\n\r\nabc",
    b"GET /c HTTP/1.1\r\nhost: localhost\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n",
)


@settings(max_examples=30)
@given(st.lists(st.integers(0, len(REQUESTS)), max_size=12))
def test_requests_are_the_same_in_any_pieces(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(REQUESTS)]

    async def main() -> None:
        async with open_server() as server:
            peer = await server.connect()

            async def send() -> None:
                for begin, end in itertools.pairwise(edges):
                    await peer.send(REQUESTS[begin:end])
                    await trio.testing.wait_all_tasks_blocked()

            server.nursery.start_soon(send)
            for text in READ:
                connection = await server.accept()
                assert await read_all(connection.reader) == text
                settled(connection.writer.write(OK))

    trio.run(main)


parts = st.sampled_from(
    b"GET / HTTP/1.1\r\n|POST /x HTTP/1.1\r\n|HTTP/1.1 200 OK\r\n|Host: localhost\r\n|\r\n|\n|"
    b"0\r\n\r\n|3\r\nabc\r\n|"
    b"Transfer-Encoding: chunked\r\n|Content-Length: 3\r\n|Content-Length: 0\r\n|Expect: 100-continue\r\n|"
    b"Connection: close\r\n|abc|\x00| |:|\xff|FFFFFFFF\r\n".split(b"|")
)


@settings(max_examples=100)
@given(st.lists(parts | st.binary(max_size=5), max_size=12))
def test_any_bytes_are_answered_or_end_the_connection(sequence: list[bytes]) -> None:
    """Whatever a client sends, guests see whole requests alone, and nothing is left of the connection."""

    async def main() -> None:
        async with open_server(settings=NetworkSettings(response_timeout=1)) as server:
            peer = await server.connect()
            await peer.send(b"".join(sequence))
            await peer.finish()
            answers = await peer.rest()
            assert answers == b"" or answers.startswith(b"HTTP/1.1 ")
            await trio.testing.wait_all_tasks_blocked()
            assert server.account.held == 0
            assert len(server.nursery.child_tasks) == 0

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@settings(max_examples=100)
@given(st.lists(parts | st.binary(max_size=5), max_size=12))
def test_any_bytes_of_a_server_are_a_response_or_a_failure(sequence: list[bytes]) -> None:
    async def main() -> None:
        async with open_client() as browser:
            written = browser.writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert isinstance(written, Future)
            await browser.peer.send(b"".join(sequence))
            await browser.peer.finish()
            await browser.is_over.wait()
            assert written.done
            await read_all(browser.reader)
            assert browser.account.held == 0

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
