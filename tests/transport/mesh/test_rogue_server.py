"""A server of the mesh that means harm, and nodes that do: what they say costs messages, and no node."""

import itertools
import logging
import os
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio

from enfilade.transport.mesh.membership import Membership, join
from enfilade.transport.mesh.protocol import ProtocolError, decoded
from enfilade.transport.mesh.registry import MeshRegistry, NoAnswer, make_bucket
from enfilade.transport.mesh.settings import Mesh, MeshError, Server
from enfilade.transport.mesh.stream import Stream

NODE = "honest@here"
EVIL = "evil=40there"
"""A node's name as a token of a subject."""

INFO = b'INFO {"version":"2.12.0","max_payload":1048576,"headers":true}\r\n'
DEEP = b"\x91" * 5_000 + b"\xc0"
DEEP_JSON = b'{"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}"


class Rogue(Stream):
    """The client's end of a connection to a server that is made of a function.

    Args:
        answer: gets each line, and the bytes of a message, that the client sends; returns what to say.
        opening: what the server says first.
    """

    def __init__(self, answer: Callable[[bytes, bytes], bytes], opening: bytes = INFO) -> None:
        self._answer = answer
        self._buffer = b""
        self._said = [opening]
        self._came = trio.Event()

    @property
    def pending(self) -> int:
        return 0

    def say(self, data: bytes) -> None:
        self._said.append(data)
        self._came.set()

    def send(self, data: bytes | memoryview) -> int:
        self._buffer += bytes(data)
        while b"\r\n" in self._buffer:
            line, _, rest = self._buffer.partition(b"\r\n")
            body = b""
            if line.split(b" ")[0] in (b"PUB", b"HPUB"):
                size = int(line.split()[-1])
                if len(rest) < size + 2:
                    break
                body, rest = rest[:size], rest[size + 2 :]
            self._buffer = rest
            said = b"PONG\r\n" if line == b"PING" else self._answer(line, body)
            if said:
                self.say(said)
        return len(data)

    def flush(self) -> None:
        pass

    def receive(self) -> bytes:
        if not self._said:
            raise BlockingIOError
        return self._said.pop(0)

    async def wait_readable(self) -> None:
        if not self._said:
            self._came = trio.Event()
            await self._came.wait()

    async def wait_writable(self) -> None:
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        self._came.set()

    def owner(self) -> int:
        return os.geteuid()


class Registry:
    """Answers what a client asks of its registry: always the same."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.asked = 0

    def __call__(self, line: bytes, body: bytes) -> bytes:
        verb, *words = line.split()
        if verb not in (b"PUB", b"HPUB") or not words[0].startswith((b"$JS.", b"$KV.")):
            return b""
        self.asked += 1
        return message(words[1], self.answer)


def message(subject: bytes, payload: bytes, number: bytes = b"1") -> bytes:
    return b"MSG %s %s %d\r\n%s\r\n" % (subject, number, len(payload), payload)


@asynccontextmanager
async def joined(rogue: Rogue, **settings: Any) -> AsyncIterator[Membership]:
    """A member of a mesh with this server, for the length of a block."""

    async def dial(_: Server) -> Stream:
        return rogue

    mesh = Mesh(servers=("nats://127.0.0.1:1",), **settings)
    chance = random.Random(1)
    async with trio.open_nursery() as nursery:
        member = await join(
            mesh,
            NODE,
            7,
            nursery,
            entropy=chance.randbytes,
            random=chance.random,
            unix_time=float,
            dial=dial,
        )
        try:
            yield member
        finally:
            await member.leave()


def payloads() -> Iterator[bytes]:
    """What each kind of message begins with, and then nothing that belongs there."""
    heads: list[list[Any]] = [
        [1, 1, 0.0, 1, []],  # a heart-beat
        [1, None, "h", 1, [], [], False, [], 0.0, 1, []],  # an announcement
        [1, "left"],
        [1, 0, 0],  # a question for a table
        [1, 1, b"", []],  # a change of one
        [1, 1, True, []],  # a page of one
        [],
    ]
    for head, size in itertools.product(heads, range(12)):
        packed = [msgspec.msgpack.encode(each) for each in head[:size]]
        yield bytes([0x90 + len(packed) + 1]) + b"".join(packed) + DEEP
        yield bytes([0x90 + len(packed) + 1]) + b"".join(packed) + b"\xa2\xff\xfe"
        yield bytes([0x90 + len(packed) + 1]) + b"".join(packed) + b"\xcf" + b"\xff" * 8
        yield bytes([0x90 + len(packed)]) + b"".join(packed)
    yield b""
    yield DEEP
    yield DEEP_JSON
    yield b'{"client":{"name":"\xff"}}'
    yield b'{"client":{"name":"a@b/-' + b"f" * 3_000 + b'"}}'
    for kind in range(6):  # a carrier's messages: with and without batches, and handles that are none
        yield bytes([kind]) + bytes(8) + b"\x00"
        yield bytes([kind]) + bytes(8) + b"\x04" + bytes(32) + b"ENF\x01" + bytes(40)
        yield bytes([kind]) + bytes(8) + b"\xff" + bytes(40)


async def test_no_message_ends_a_node(autojump_clock: object) -> None:
    """Whatever is published under what a node listens to: it is passed over, and the connection goes on."""
    subscribed: list[tuple[bytes, bytes]] = []

    def answer(line: bytes, body: bytes) -> bytes:
        verb, *words = line.split()
        if verb == b"SUB":
            subscribed.append((words[0], words[1]))
        return b""

    rogue = Rogue(answer)
    async with joined(rogue, registry=False) as member:
        await member.announce()

        class Reader:
            def follows(self, *_: Any) -> bool:
                return True

            def changed(self, *_: Any) -> None:
                pass

            replaced = changed

        member.publish(Reader())
        member.carrier.doubts.listen_to_server()
        places = member.carrier._places
        await trio.sleep(1)
        assert len(subscribed) > 6
        for subject, number in subscribed:
            for concrete in (
                subject.replace(b"*", EVIL.encode()).replace(b">", b"scope." + EVIL.encode()),
                subject.replace(b"*", b"=ff").replace(b">", b"x"),
            ):
                rogue.say(b"".join(message(concrete, payload, number) for payload in payloads()))
                for payload in payloads():
                    rogue.say(b"MSG %s %s back 1\r\n.\r\n" % (concrete, number))
                    rogue.say(b"MSG %s %s back %d\r\n%s\r\n" % (concrete, number, len(payload), payload))
        await trio.sleep(10)
        assert member.carrier.connection.is_up
        assert member.carrier.connection.reconnects == 0
        assert not places, "handles of batches that nobody took"


ANSWERS = {
    "deep": DEEP_JSON,
    "no text": b'{"message":{"subject":"\xff","seq":1}}',
    "no JSON": b"{",
    "no base 64": b'{"message":{"subject":"a","seq":1,"data":"*"}}',
    "a lease of no time": b'{"seq":1,"message":{"subject":"a","seq":1,"data":"%s"}}'
    % msgspec.json.encode(msgspec.msgpack.encode([1, 1, 0.0]))[1:-1],
    "a lease of nothing that is a number": b'{"seq":1,"message":{"subject":"a","seq":1,"data":"%s"}}'
    % msgspec.json.encode(msgspec.msgpack.encode([1, 1, float("nan")]))[1:-1],
    "a deep value": b'{"seq":1,"message":{"subject":"a","seq":1,"data":"%s"}}'
    % msgspec.json.encode(b"\x92\x01" + DEEP[:2_000])[1:-1],
    "no text in a value": b'{"seq":1,"message":{"subject":"a","seq":1,"data":"%s"}}'
    % msgspec.json.encode(b"\x94\x01\xa1\xff\x01\x01")[1:-1],
    "a complaint with control characters": b'{"error":{"err_code":1,"description":"\\u001b[2J\\n"}}',
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_no_answer_of_a_registry_ends_a_node(autojump_clock: object, answer: bytes) -> None:
    """The node goes on without a registry, and whoever asks for one hears that there is none."""
    registry = Registry(answer)
    async with joined(Rogue(registry)) as member:
        await trio.sleep(30)
        assert registry.asked > 3
        assert member.carrier.connection.is_up
        own = MeshRegistry(member.carrier.connection, "default")
        asking: list[Callable[[], Any]] = [own.epoch, own.survey, lambda: own.entries("n")]
        asking += [lambda: make_bucket(member.carrier.connection, "default", began=1, lease=2.0)]
        for ask in asking:
            with pytest.raises(NoAnswer) as refused:
                await ask()
            assert str(refused.value).isprintable()


async def test_entries_that_do_not_end(autojump_clock: object) -> None:
    """A listing goes forward, or it is none."""
    registry = Registry(b'{"message":{"subject":"$KV.enf-default.n.a","seq":5,"data":"eHg="}}')
    async with joined(Rogue(registry), registry=False) as member:
        with pytest.raises(NoAnswer, match="an entry after 5, got 5"):
            await MeshRegistry(member.carrier.connection, "default").entries("n")


@pytest.mark.parametrize(
    "opening",
    [
        b'INFO {"version":"%s"}\r\n' % (b"9" * 6_000),
        b'INFO {"version":[[1]],"max_payload":1}\r\n',
        'INFO {"version":"\u0664.\u0665"}\r\n'.encode(),
        b'INFO {"version":"2.12.0","max_payload":"%s"}\r\n' % (b"x" * 60_000),
        b"INFO " + DEEP_JSON[:60_000] + b"\r\n",
        b"INFO " + b"\xff\r\n",
        INFO + b"-ERR '\x1b[31m\x07\xff'\r\n",
    ],
    ids=range(7),
)
async def test_no_introduction_ends_more_than_the_attempt(opening: bytes, autojump_clock: object) -> None:
    """What the error says can be shown on a terminal."""

    with pytest.RaisesGroup(pytest.RaisesExc((MeshError, ProtocolError))) as refused:
        async with joined(Rogue(lambda *_: b"", opening), registry=False):
            pytest.fail("it was taken for a server")
    text = str(refused.value.exceptions[0])
    assert text.isprintable()
    assert len(text) < 1_000


async def test_floods_of_a_server_cost_few_answers_and_lines(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Signs of life are given once for many questions; complaints are a line a second; others have turns."""
    answered = 0

    def answer(line: bytes, body: bytes) -> bytes:
        nonlocal answered
        answered += line == b"PONG"
        return b""

    rogue = Rogue(answer)
    async with joined(rogue, registry=False):
        before = answered
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        with caplog.at_level(logging.INFO):
            rogue.say(b"PING\r\n" * 20_000 + b"-ERR '\x1b[2J'\r\n" * 20_000)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(count)
                for _ in range(400):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            assert answered == before + 1
            assert turns > 50
            lines = [
                record.getMessage() for record in caplog.records if "reported an error" in record.getMessage()
            ]
            assert lines == [r"server 127.0.0.1:1 reported an error: \x1b[2J"]


def test_what_is_nested_deeply_is_no_value() -> None:
    deep = b"\x92\x01" + b"\x91" * 200_000 + b"\xc0"
    deep_json = b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    for data, decode in ((deep, msgspec.msgpack.decode), (deep_json, msgspec.json.decode)):

        class Short(msgspec.Struct, array_like=decode is msgspec.msgpack.decode):
            number: int = 0

        with pytest.raises(ValueError, match="nested too deeply"):
            decoded(data, Short, decode)
