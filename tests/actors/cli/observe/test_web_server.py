"""The server of the page: who comes in, what is refused, and what a client can cost. In virtual time."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

pytest.importorskip("wsproto")

from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair
from wsproto.events import BytesMessage

from enfilade.actors.cli.observe.web.orders import ORDERS
from enfilade.actors.cli.observe.web.server import open_listeners
from tests.actors.cli.observe.web import HOST, ORIGIN, PORT, Closed, Link, get, serving_nothing


async def test_obs_78_an_address_is_good_once(autojump_clock: MockClock) -> None:
    async with serving_nothing() as served:
        stream = served.stream()
        assert (await get(stream)).status == 403
        assert (await get(stream, "/enter?once=guess")).status == 403
        target = served.server.address().removeprefix(ORIGIN)
        entered = await get(stream, target)
        assert (entered.status, entered.headers["location"]) == (303, "/")
        cookie, *flags = entered.headers["set-cookie"].split("; ")
        assert cookie.startswith(f"enfilade-{PORT}=")
        assert flags == ["HttpOnly", "SameSite=Strict", "Path=/"]
        assert (await get(stream, target)).status == 403
        page = await get(stream, cookie=f"other=1; {cookie}")
        assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert (await get(stream, cookie=cookie[:-1])).status == 403


async def test_an_address_is_good_for_a_minute_and_a_session_for_half_a_day(
    autojump_clock: MockClock,
) -> None:
    async with serving_nothing() as served:
        target = served.server.address().removeprefix(ORIGIN)
        await trio.sleep(61)
        assert (await get(served.stream(), target)).status == 403
        cookie = await served.cookie()
        await trio.sleep(12 * 3600 - 1)
        assert (await get(served.stream(), cookie=cookie)).status == 200
        await trio.sleep(2)
        assert (await get(served.stream(), cookie=cookie)).status == 403


async def test_tokens_cannot_be_guessed_in_numbers(autojump_clock: MockClock) -> None:
    async with serving_nothing() as served:
        stream = served.stream()
        tried = [(await get(stream, f"/enter?once={number}")).status for number in range(11)]
        assert tried == [403] * 10 + [429]
        right = f"/enter?once={served.server.entry.token()}"
        assert (await get(stream, right)).status == 429
        await trio.sleep(60)
        right = f"/enter?once={served.server.entry.token()}"
        assert (await get(served.stream(), right)).status == 303


async def test_obs_79_other_hosts_and_origins_are_refused(autojump_clock: MockClock) -> None:
    async with serving_nothing() as served:
        cookie = await served.cookie()
        for host in (f"evil.example:{PORT}", "127.0.0.1", f"127.0.0.1:{PORT + 1}"):
            assert (await get(served.stream(), host=host, cookie=cookie)).status == 421
        for host in (f"localhost:{PORT}", f"[::1]:{PORT}"):
            assert (await get(served.stream(), host=host, cookie=cookie)).status == 200
        for origin in ("http://evil.example", f"http://localhost:{PORT}", "null", None):
            link = await Link(served.stream()).open(cookie, origin=origin)
            assert link.status == 403, origin
        link = await Link(served.stream()).open("", origin=ORIGIN)
        assert link.status == 403
        link = await Link(served.stream()).open(cookie, origin=ORIGIN)
        assert link.status == 101


@pytest.mark.parametrize(
    ("target", "method", "headers", "status"),
    [
        ("/", "POST", {}, 405),
        ("/", "GET", {"sec_fetch_site": "cross-site"}, 403),
        ("/", "GET", {"sec_fetch_site": "same-site"}, 403),
        ("/", "GET", {"sec_fetch_site": "none"}, 200),
        ("/", "HEAD", {}, 200),
        ("/main.js", "GET", {}, 200),
        ("/../main.js", "GET", {}, 404),
        ("/main.js/", "GET", {}, 404),
        ("/link", "GET", {"origin": ORIGIN}, 426),
    ],
)
async def test_answers(
    autojump_clock: MockClock, target: str, method: str, headers: dict[str, str], status: int
) -> None:
    async with serving_nothing() as served:
        answer = await get(served.stream(), target, method, cookie=await served.cookie(), **headers)
        assert answer.status == status
        assert bool(answer.body) == (method != "HEAD" and status in (200, 403))
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
        for name, value in {
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cache-control": "no-store",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
        }.items():
            assert answer.headers[name] == value


async def test_the_head_of_a_request_is_limited_in_length_and_time(autojump_clock: MockClock) -> None:
    async with serving_nothing() as served:
        long = await get(served.stream(), cookie="x" * 20_000)
        assert (long.status, long.headers["connection"]) == (431, "close")
        stream = served.stream()
        await stream.send_all(b"GET / HTTP/1.1\r\n")
        began = trio.current_time()
        assert await stream.receive_some() == b""
        assert trio.current_time() - began == 30


async def test_a_request_with_a_body_is_the_last_of_its_connection(autojump_clock: MockClock) -> None:
    async with serving_nothing() as served:
        stream = served.stream()
        answer = await get(stream, cookie=await served.cookie(), content_length="3")
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await stream.receive_some() == b""


async def test_connections_are_limited(autojump_clock: MockClock) -> None:
    async with serving_nothing() as served:
        cookie = await served.cookie()
        links = [await Link(served.stream()).open(cookie) for _ in range(8)]
        assert {link.status for link in links} == {101}
        ninth = await Link(served.stream()).open(cookie)
        assert ninth.status == 503
        others = [served.stream() for _ in range(30)]  # and those of the cookie and of the ninth
        await others[-1].send_all(b"GET")
        one_more = served.stream()
        assert await one_more.receive_some() == b""
        await trio.sleep(30)  # the others have not sent a request in time
        assert (await get(served.stream(), cookie=cookie)).status == 200


async def test_obs_82_a_client_that_does_not_read_is_dropped(autojump_clock: MockClock) -> None:
    async with serving_nothing() as served:
        cookie = await served.cookie()
        ours, theirs = lockstep_stream_pair()
        ended = trio.Event()

        async def serve() -> None:
            await served.server.serve(theirs)
            ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            link = await Link(ours).open(cookie)
            began = trio.current_time()
            await link.order("watch", watch=1, view={"show": "head"})
            await ended.wait()
            assert 5 <= trio.current_time() - began <= 6


async def test_the_server_ends_at_once_with_a_client_that_does_not_read(autojump_clock: MockClock) -> None:
    async with serving_nothing() as served:
        ours, theirs = lockstep_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.server.serve, theirs)
            link = await Link(ours).open(await served.cookie())
            await link.order("watch", watch=1, view={"show": "head"})
            await trio.sleep(1)
            began = trio.current_time()
            nursery.cancel_scope.cancel()
        assert trio.current_time() == began


async def test_a_client_that_gives_no_sign_of_life_is_dropped(autojump_clock: MockClock) -> None:
    async with serving_nothing() as served:
        link = await served.link()
        link.is_mute = True
        began = trio.current_time()
        with pytest.raises(Closed):
            await link.take()
        assert trio.current_time() - began == 20
        living = await served.link()
        with trio.move_on_after(110):
            await living.take()
        assert living.pings == 6


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        ("{", 1008, "Input data was truncated"),
        ('{"do": "fly"}', 1008, "Invalid value 'fly'"),
        ('{"do": "watch", "watch": 1, "view": {"show": "head"}, "more": 1}', 1008, "unknown field `more`"),
        ('{"do": "watch", "watch": 1, "view": {"show": "head"}, "interval": 0}', 1008, ">= 0.1"),
        ('{"do": "act", "act": 1, "key": "Z", "shown": "x", "life": ""}', 1008, "no such action"),
        ("[" * 16_000, 1008, ""),
        (" " * 17_000, 1009, "too long"),
        (b"\0", 1003, "expected text"),
    ],
)
async def test_orders_that_are_none_end_the_link(
    autojump_clock: MockClock, message: str | bytes, code: int, reason: str
) -> None:
    async with serving_nothing() as served:
        link = await served.link()
        if isinstance(message, bytes):
            await link.send(BytesMessage(data=message))
        else:
            await link.send_text(message)
        with pytest.raises(Closed) as caught:
            await link.take()
        assert caught.value.args[0] == code
        assert reason in caught.value.args[1]


LONG = "x" * 1_001


@pytest.mark.parametrize(
    ("view", "reason"),
    [
        ({"show": "more"}, "Invalid value 'more'"),
        ({"show": "table", "count": 501}, "<= 500"),
        ({"show": "table", "match": LONG}, "length <= 1000 - at `$.match`"),
        ({"show": "process", "process": LONG}, "length <= 1000"),
        ({"show": "process", "process": None}, "Expected `int | str`, got `null`"),
        ({"show": "log", "prefix": LONG}, "length <= 1000"),
        ({"show": "trace", "processes": [*range(65)]}, "length <= 64"),
        ({"show": "trace", "processes": ["a"], "seconds": 0}, ">= 1"),
        ({"show": "nodes", "more": 1}, "unknown field `more`"),
        ([], "Expected `object`, got `array`"),
        ("head", "Expected `object`, got `str`"),
    ],
)
async def test_wishes_that_cannot_be_shown_are_refused_and_others_go_on(
    autojump_clock: MockClock, view: Any, reason: str
) -> None:
    """People type filters, names and addresses: the link outlives them, and so does the watch."""
    async with serving_nothing() as served:
        link = await served.link()
        await link.order("watch", watch=1, view={"show": "head"})
        await link.ack(await link.take())
        await link.order("watch", watch=2, view=view)
        update = await link.take()
        assert (update["watch"], update["state"]) == (2, None)
        assert reason in update["refused"]
        await link.ack(update)
        await link.order("change", watch=2, view={"show": "nodes"})
        assert (await link.take())["refused"] is None
        await link.order("change", watch=1, view=view)
        update = await link.take()
        assert (update["watch"], update["state"]) == (1, None)
        assert reason in update["refused"]
        await link.ack(update)
        await link.order("close", watch=2)
        await link.order("change", watch=1, view={"show": "head"})
        assert "nodes" in (await link.until(lambda state: True))["state"]


async def test_a_table_that_is_not_there_is_refused(autojump_clock: MockClock) -> None:
    async with serving_nothing() as served:
        link = await served.link()
        await link.order("watch", watch=1, view={"show": "table", "of": "bones"})
        update = await link.take()
        assert "of must be one of" in update["refused"]
        await link.ack(update)
        await link.order("change", watch=1, view={"show": "table", "of": "names"})
        assert (await link.take())["refused"] is None


async def test_a_node_that_is_not_there_is_refused(autojump_clock: MockClock) -> None:
    async with serving_nothing() as served:
        link = await served.link()
        await link.order("watch", watch=1, node=7, view={"show": "nodes"})
        assert (await link.take())["refused"] == "there is no such node"
        await link.order("close", watch=1)
        await link.order("watch", watch=1, view={"show": "nodes"})
        assert (await link.take())["refused"] is None


async def test_a_watch_shows_one_kind_of_view(autojump_clock: MockClock) -> None:
    async with serving_nothing() as served:
        link = await served.link()
        await link.order("watch", watch=1, view={"show": "nodes"})
        await link.order("change", watch=1, view={"show": "head"})
        with pytest.raises(Closed, match="one kind of view"):
            await link.until(lambda state: False)


async def test_a_page_has_at_most_sixteen_watches(autojump_clock: MockClock) -> None:
    async with serving_nothing() as served:
        link = await served.link()
        for number in range(17):
            await link.order("watch", watch=number, view={"show": "nodes"})
        with pytest.raises(Closed, match="16 watches"):
            await link.until(lambda state: False)


# What clients send that is neither request nor frame.


def served_with(data: list[bytes], *, is_link: bool) -> None:
    """Have a server get these pieces, after the handshake of a WebSocket or at once; it must end in peace."""

    async def main() -> None:
        async with serving_nothing() as served:
            if is_link:
                ours, theirs = memory_stream_pair()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(served.server.serve, theirs)
                    link = await Link(ours).open(await served.cookie())
                    assert link.status == 101
                    await send(ours)
            else:
                ours, theirs = memory_stream_pair()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(served.server.serve, theirs)
                    await send(ours)

    async def send(stream: Any) -> None:
        for piece in data:
            try:
                await stream.send_all(piece)
            except trio.BrokenResourceError:
                return
        await stream.send_eof()
        while await stream.receive_some():
            pass

    trio.run(main, clock=MockClock(autojump_threshold=0))


FRAME = st.builds(
    lambda first, length, mask, payload: bytes([first, length]) + mask + payload,
    st.integers(0, 255),
    st.integers(0, 255),
    st.binary(min_size=4, max_size=4),
    st.binary(max_size=200),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.binary(min_size=1, max_size=300), FRAME), min_size=1, max_size=5))
def test_frames_that_are_none_end_the_link_alone(data: list[bytes]) -> None:
    served_with(data, is_link=True)


LINE = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"GET /link HTTP/1.1\r\n",
        b"GET /enter?once=%ff&once HTTP/1.1\r\n",
        b"HEAD / HTTP/1.0\r\n",
        f"Host: {HOST}\r\n".encode(),
        b"Upgrade: websocket\r\n",
        b"Connection: Upgrade\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 7\r\n",
        b"\r\n",
        b"5\r\nhello\r\n",
    ]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(LINE, st.binary(min_size=1, max_size=40)), min_size=1, max_size=12))
def test_requests_that_are_none_end_the_connection_alone(data: list[bytes]) -> None:
    served_with(data, is_link=False)


VALUE = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.none(), max_size=2)
)


@settings(max_examples=60, deadline=None)
@given(VALUE)
def test_orders_are_checked_before_they_are_taken(value: Any) -> None:
    """Whatever stands for a field, an order is read as it is meant, or refused."""
    text = json.dumps({"do": "act", "act": 1, "key": "K", "shown": "x", "life": "", "serial": value})
    try:
        order = ORDERS.decode(text.encode("utf-8", "replace"))
    except ValueError:
        assert value is not None
        assert type(value) is not int or not 0 <= value <= 2**53
    else:
        assert order.serial == value


async def test_it_listens_on_this_machine_alone() -> None:
    """At the same port of both loopback addresses."""
    listeners = await open_listeners(0)
    names = [listener.socket.getsockname()[:2] for listener in listeners]
    for listener in listeners:
        await listener.aclose()
    assert names[0][0] == "127.0.0.1"
    assert [host for host, _ in names[1:]] in ([], ["::1"])
    assert len({port for _, port in names}) == 1
