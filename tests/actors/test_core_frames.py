"""Frames of another node, carried out by the compiled core and by its twin: the same follows."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import Actor, Deferred, Mailbox, Node, Ref, open_node
from enfilade.actors.core import choice as core
from enfilade.actors.messages.request import Request
from enfilade.actors.peers import choice
from enfilade.actors.peers.tokens import Giving
from enfilade.actors.processes.local_ref import process_of
from enfilade.transport import Limits, Policy
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.wire import MalformedBatch, decode_batch, encode_batch
from tests.transport.stranger import Stranger

pytestmark = pytest.mark.skipif(not choice.CHOICE.is_available, reason="the core is not compiled here")

SEND, CAST, CALL, REPLY, CANCEL = 16, 17, 18, 19, 20


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = core.in_use(), choice.CHOICE.in_use()
    yield
    core.choose(is_compiled=before[0] == "compiled")
    choice.CHOICE.choose(is_compiled=before[1] == "compiled")


def choose(is_compiled: bool) -> None:
    core.choose(is_compiled=is_compiled)
    choice.CHOICE.choose(is_compiled=is_compiled)


class Sync(Actor):
    """Notes all that reaches it."""

    def __init__(self) -> None:
        self.notes: list[Any] = []
        self.owed: list[Deferred[Any]] = []

    def on_message(self, message: Any) -> None:
        self.notes.append(message)

    def echo(self, *values: Any, **named: Any) -> Any:
        at_hand: Any = self.process.at_hand
        self.notes.append((values, named, getattr(at_hand, "caller", None), getattr(at_hand, "peer", None)))
        return [*values, named]

    def later(self) -> Deferred[str]:
        self.owed.append(self.process.defer())
        return self.owed[-1]

    def pay(self) -> int:
        owed, self.owed = self.owed, []
        for each in owed:
            each.reply("late")
        return len(owed)

    def fail(self) -> None:
        raise LookupError("on purpose")

    def stop(self) -> str:
        self.process.stop()
        return "stopped"

    def generator(self) -> Any:
        return iter([1])


class Async(Sync):
    async def on_message(self, message: Any) -> None:  # type: ignore[override]
        self.notes.append(message)

    async def echo(self, *values: Any, **named: Any) -> Any:
        self.notes.append((values, named))
        return [*values, named]


VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        0,
        -1,
        2**63,
        1.5,
        "",
        "Ö",
        "x" * 300,
        b"",
        bytes(range(256)),
        bytes(600),
        b"0123456",
        b"12345678",
    ),
    *([], [1, [2, {"a": 3}]], {}, {"a": [1]}, {1: 2}),
    *(
        msgspec.msgpack.Ext(1, b"\x92\x01\x02"),
        msgspec.msgpack.Ext(99, b"?"),
        msgspec.msgpack.Ext(5, b"\x90"),
    ),
    *([msgspec.msgpack.Ext(1, b"\x91\x05")], msgspec.msgpack.Ext(12, bytes(8))),
    *("Straße, Ж, 語, 🦉" * 60, {"größe": ["schön", -1.5, 2**40, -(2**40)]}, [[1] * 300] * 2, [None] * 600),
    *(bytes(range(256)) * 300, "é" * 3000, ["x" * 2000] * 8, ["x" * 500] * 20),
    *({"rest": "ö" * 5000, "ext": [msgspec.msgpack.Ext(1, b"\x91\x05")]}, [list(range(2000))]),
)
"""What payloads hold: with extensions that are known, unknown, and damaged; short ones and long ones."""

PLAIN: tuple[Any, ...] = (
    *("Straße, Ж, 語, 🦉" * 10, bytes(range(256)), b"\xc7\xd4" * 100, -1.5, 2**64 - 1, -(2**63), "x" * 200),
    *({"größe": ["schön", None, {}, []]}, list(range(500)), [[[]]], dict.fromkeys(map(str, range(200)), 300)),
    *("é" * 30_000, bytes(65_536), bytes(160_000), [b"\xc7" * 5000, "語" * 5000]),
)
"""What payloads hold that the core decodes."""

NOT_PLAIN: tuple[Any, ...] = (
    *(msgspec.msgpack.Ext(1, b"\x90"), {"a": [msgspec.msgpack.Ext(2, b"\x90")]}, list(range(600))),
    *([bytes(5000), msgspec.msgpack.Ext(11, b"\x92\x00\x01")], ["x" * 500] * 20, [bytes(5000), *range(15)]),
)
"""What the core leaves to the twin: what holds extensions, or many values."""

METHODS = (
    *["echo"] * 40,
    *["later"] * 4,
    *["pay", "generator", "unknown", "_private", "!room", ""] * 2,
    "fail",
    "stop",
)


class Town:
    """A node with processes of many kinds, and a peer that holds refs to them, and keeps to no rule."""

    def __init__(self, node: Node, draw: random.Random) -> None:
        self.node = node
        self.draw = draw
        self.remote: Any = next(iter(node.distribution._nodes.values()))  # type: ignore[attr-defined]
        self.answers: list[Any] = []
        self.remote.answer = self.answered
        self.refs: list[Ref[Any]] = []
        self.actors: list[Any] = []
        self.settled: list[Any] = []
        self.asked: list[int] = []
        self.number = 0

    def answered(self, number: int, succeeded: bool, value: Any) -> None:
        """In the place of `RemoteNode.answer`."""
        self.answers.append((number, succeeded, f"{type(value).__name__}: {value}"))

    def throw(self, count: int) -> str:
        """Have so many drawn frames taken in; what was wrong with them."""
        frames = [self.frame, self.plain_frame][self.draw.random() < 0.6]
        data = [msgspec.msgpack.encode(frames()) for _ in range(count)]
        try:
            self.remote.take_in(decode_batch(encode_batch(0, 0, data)).frames, ())
        except MalformedBatch as error:
            return str(error)
        return ""

    async def settle(self) -> None:
        """Start the processes, and let the peer hold refs to all but the last."""
        bounded = Mailbox(2, "fail")
        for kind, options in (
            *(
                (Sync, {}),
                (Sync, {}),
                (Async, {}),
                (Sync, {"mailbox": bounded}),
                (Async, {"mailbox": bounded}),
            ),
            *((Sync, {}), (Sync, {})),
        ):
            ref = await self.node.spawn(kind, **options)
            self.refs.append(ref)
            process: Any = process_of(ref)
            self.actors.append(process.actor or process.body.actor)
        await self.refs[-2].stop()
        for ref in self.refs[:-1]:
            self.remote._passing.granted.add(ref.serial, ref, 100, Giving.WHOLE)

    def ask(self) -> None:
        """Let the node call a process of the peer."""
        request: Request[Any] = Request(self.node, self.remote.ref(5), "m", (), {}, None)
        self.remote.deliver(request.target, request)
        self.asked.append(request.number)
        request.observe(lambda settled: self.settled.append((settled.value, repr(settled.error))))

    def to(self) -> Any:
        draw = self.draw
        return draw.choice(
            [*(ref.serial for ref in self.refs), *[self.refs[0].serial] * 12, 0, "sync", "absent"]
        )

    def frame(self) -> Any:
        """Draw a frame; mostly a plain one."""
        draw = self.draw
        value = draw.choice(VALUES)
        kind = draw.choice([*[SEND] * 3, *[CALL] * 4, CAST, *[REPLY] * 3, CANCEL])
        rest = draw.choice([*[[]] * 60, *[[0]] * 39, [1]])
        if kind == SEND:
            return [SEND, self.to(), value, *rest]
        if kind == CANCEL:
            return [CANCEL, draw.randint(max(0, self.number - 3), self.number + 1)]
        if kind == REPLY:
            number = draw.choice([*self.asked[-3:], 0, 2**40])
            return [REPLY, number, draw.random() < 0.8, value, *rest]
        arguments = draw.choice(
            [[[value], {}], [[], {}], [[value, 1], {}], [[1], {"a": value}], [value], value]
        )
        if kind == CAST:
            return [CAST, self.to(), draw.choice(METHODS), arguments, *rest]
        self.number += draw.random() < 0.995
        caller = draw.choice([[], [0], [0, 0], [0, 7]])
        return [CALL, self.number, self.to(), draw.choice(METHODS), arguments, *caller]

    def plain_frame(self) -> Any:
        """Draw a frame that the core carries out itself; behind any other it does not go on."""
        draw = self.draw
        to = self.refs[draw.choice([0, 0, 0, 3])].serial
        if draw.random() < 0.3:
            return [SEND, to, draw.choice([1, "x", bytes(40)])]
        self.number += draw.random() < 0.98
        method = draw.choice(["echo", "later", "later"])
        return [CALL, self.number, to, method, [[bytes(40)] if method == "echo" else [], {}]]

    def seen(self) -> Any:
        """All that can be seen: what was answered, what has arrived, what is open."""
        ledger = self.remote.ledger
        answers, self.answers = sorted(self.answers), []
        notes = [list(map(repr, actor.notes)) for actor in self.actors]
        ended = [process is None or process.ended is not None for process in map(process_of, self.refs)]
        open_calls = sorted(ledger.answering), ledger.answering_bytes, sorted(ledger.calls)
        return answers, notes, ended, open_calls, self.node.dropped, list(self.settled)


async def played(seed: int, is_compiled: bool) -> list[Any]:
    """Throw drawn batches at a node; what was seen after each."""
    choose(is_compiled)
    draw = random.Random(seed)
    network = MemoryNetwork()
    limits = Limits(
        pending=draw.choice([3, 1000]),
        pending_bytes=draw.choice([9, 100, 2**20]),
        decoding=draw.choice([0.25, 0.25, 50e-6, 1e-6]),
    )
    policy = Policy.same_user(exports="sync", ends="*", limits=limits)
    found = []
    async with open_node("b", zone="right", carrier=network.carrier("b"), listen="/b", policy=policy) as node:
        await node.spawn(Sync, name="sync")
        stranger = Stranger(network.carrier("mallory"))
        await stranger.connect("/b")
        await wait_all_tasks_blocked()
        town = Town(node, draw)
        await town.settle()
        for _ in range(25):
            if draw.random() < 0.4:
                town.ask()
            wrong = town.throw(draw.choice([1, 1, 2, 5, 20]))
            await wait_all_tasks_blocked()
            found.append((wrong, town.seen()))
        stranger.close()
    return found


@pytest.mark.parametrize("seed", range(40))
async def test_both_carry_out_the_same(seed: int, autojump_clock: MockClock) -> None:
    """Messages, calls and replies, plain and not, to whom they may go and to whom not."""
    twin, compiled = [await played(seed, is_compiled) for is_compiled in (False, True)]
    for step, (one, other) in enumerate(zip(twin, compiled, strict=True)):
        assert other == one, step


@pytest.mark.parametrize("value", [*PLAIN, *NOT_PLAIN], ids=lambda value: f"{value!r:.20}")
@pytest.mark.parametrize("seconds", [0.25, 50e-6])
async def test_what_the_core_decodes(value: Any, seconds: float, autojump_clock: MockClock) -> None:
    """Messages, calls and replies with plain values; long ones only where the peer may take the time."""
    choose(is_compiled=True)
    network = MemoryNetwork()
    policy = Policy.same_user(limits=Limits(decoding=seconds))
    async with open_node("b", zone="right", carrier=network.carrier("b"), listen="/b", policy=policy) as node:
        stranger = Stranger(network.carrier("mallory"))
        await stranger.connect("/b")
        await wait_all_tasks_blocked()
        town = Town(node, random.Random(1))
        await town.settle()
        left: list[Any] = []
        inbound = town.remote.take_in.__self__
        inbound._laden = dict.fromkeys(inbound._laden, lambda frame, _files: left.append(frame))
        town.ask()
        to = town.refs[0].serial
        call = [CALL, 1, to, "echo", [[value], {}]]
        frames = [[SEND, to, value], call, [REPLY, town.asked[0], True, value]]
        data = [msgspec.msgpack.encode(frame) for frame in frames]
        for frame in data:
            town.remote.take_in(decode_batch(encode_batch(0, 0, [frame])).frames, ())
        await wait_all_tasks_blocked()
        stranger.close()
    is_long = len(data[0]) > 4096
    if value in NOT_PLAIN or (is_long and seconds < 100e-6):
        assert len(left) == len(frames)
    else:
        assert left == []
        assert town.actors[0].notes == [value, ((value,), {}, None, town.remote.node_name)]
        assert town.settled == [(value, "None")]
