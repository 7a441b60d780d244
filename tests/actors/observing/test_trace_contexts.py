"""Trace contexts: what a call, cast or message belongs to goes with it, from process to process."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import Actor, Mailbox, Node, NodeConfig, Pool, Ref, Supervisor, Worker, open_node, system
from enfilade.actors.logs import Context
from enfilade.actors.messages.trace_context import HOPS, LINKED
from enfilade.actors.observing.telemetry import TraceContext, carry, context, use
from enfilade.actors.peers.trace_field import field_of
from enfilade.actors.processes.body import DispatchedBody
from enfilade.actors.processes.dispatcher import Dispatcher
from enfilade.actors.processes.local_ref import LocalRef
from enfilade.actors.processes.record import Record
from enfilade.transport import wire
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.policy import Policy, Rights, Rule

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
STATE = "vendor=1,other=2"

Seen = list[tuple[str, TraceContext | None]]


class Sync(Actor):
    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    def on_message(self, message: Any) -> None:
        self.seen.append((f"message {message}", context()))

    def note(self, what: str) -> str:
        self.seen.append((what, context()))
        return what

    def pass_on(self, to: Ref[Any], what: str) -> None:
        self.note(what)
        to.cast(Sync.note, f"{what} on")

    def ask(self, to: Ref[Any]) -> None:
        self.process.request(to, Sync.note, "asked").then(
            lambda request: self.note(f"told {request.result()}")
        )


class Async(Sync):
    async def on_message(self, message: Any) -> None:  # type: ignore[override]
        await trio.lowlevel.checkpoint()
        super().on_message(message)

    async def note(self, what: str) -> str:  # type: ignore[override]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._note, what)  # tasks that it starts follow
        return what

    async def _note(self, what: str) -> None:
        self.seen.append((what, context()))

    async def go(self, to: Ref[Any]) -> str:
        return await to.call(Sync.note, "gone")


async def function(me: Any, seen: Seen) -> None:
    while True:
        message = await me.receive()
        seen.append((f"message {message}", context()))


async def choosy(me: Any, seen: Seen) -> None:
    while True:
        message = await me.receive(str)
        seen.append((f"message {message}", context()))


@pytest.fixture(params=[False, True], ids=["plain", "debug"])
async def node(request: pytest.FixtureRequest) -> AsyncIterator[Node]:
    async with open_node("bank", config=NodeConfig(debug=request.param)) as made:
        yield made


def carried(seen: Seen) -> dict[str, str | None]:
    return {what: None if trace is None else trace.traceparent for what, trace in seen}


async def test_every_kind_of_message_carries_it_to_every_kind_of_process(node: Node) -> None:
    seen: Seen = []
    sync, other = await node.spawn(Sync, seen), await node.spawn(Async, seen)
    asking = await node.spawn(Sync, seen)
    functions = [await node.spawn(function, seen), await node.spawn(choosy, seen)]
    async with node.mailbox() as me:
        with use(PARENT, STATE) as used:
            await sync.call(Sync.note, "handed off")
            await sync.call(Sync.note, what="by name")
            await other.call(Async.note, "in a task")
            await other.call(Async.go, sync)
            asking.cast(Sync.ask, other)
            sync.cast(Sync.note, "cast")
            other.cast(Async.note, what="cast to a task")
            sync.cast(Sync.pass_on, other, "first")
            me.request(sync, Sync.note, "requested")
            for number, to in enumerate((sync, other, *functions)):
                if number == 3:
                    to.send(3)  # which is not what it waits for
                to.send(number)
                await to.send_wait(str(number))
            await wait_all_tasks_blocked()
        assert context() is None
        assert used == TraceContext.parse(PARENT, STATE)
        expected = {"handed off", "by name", "in a task", "gone", "asked", "told asked", "cast", "requested"}
        expected |= {"cast to a task", "first", "first on"}
        expected |= {f"message {each}" for each in range(4)}
        assert carried(seen) == dict.fromkeys(expected, PARENT)
        assert {trace.state for _, trace in seen if trace is not None} == {STATE}
        seen.clear()
        for to in (sync, other, *functions):
            to.send("x")
        await sync.call(Sync.note, "y")
        await wait_all_tasks_blocked()
        assert carried(seen) == {"message x": None, "y": None}


async def test_what_is_wrong_with_a_traced_request_is_told_as_without(node: Node) -> None:
    seen: Seen = []
    sync, other = await node.spawn(Sync, seen), await node.spawn(Async, seen)
    async with node.mailbox() as me:
        node.dead_letters.subscribe(me.ref)
        with use(PARENT):
            for to in (sync, other):
                with pytest.raises(TypeError, match="missing a required argument"):
                    await to.call(Sync.note)  # type: ignore[call-arg]
                to.cast(Sync.note)  # type: ignore[call-arg]
                await to.call(Sync.note, "alive")
        letters = [await me.receive() for _ in range(2)]
        node.dead_letters.unsubscribe(me.ref)
    assert [letter.message.method for letter in letters] == ["note", "note"]


async def test_waiting_messages_of_a_process_that_ends_are_what_was_sent(node: Node) -> None:
    seen: Seen = []
    sync = await node.spawn(Sync, seen, mailbox=Mailbox(3, overflow="drop_oldest"))
    async with node.mailbox() as me:
        node.dead_letters.subscribe(me.ref)
        await system.suspend(sync)
        with use(PARENT):
            for number in range(4):
                sync.send(number)
            sync.cast(Sync.note, "cast")
        await sync.stop()
        letters = [(await me.receive()).message for _ in range(3)]
    assert letters[:2] == [2, 3]
    assert letters[2].method == "note"


async def test_an_observer_sees_the_message_that_was_sent(node: Node) -> None:
    seen: Seen = []
    sync = await node.spawn(Sync, seen)
    shown: list[Any] = []

    class Eye:
        def received(self, process: Any, message: Any) -> None:
            shown.append(message)

        def handled(self, process: Any, message: Any) -> None:
            shown.append(message)

    await system.install(sync, Eye())
    with use(PARENT):
        sync.send("plain")
        await wait_all_tasks_blocked()
    assert shown == ["plain", "plain"]
    assert carried(seen) == {"message plain": PARENT}


async def test_a_supervisor_answers_what_carries_a_context(node: Node) -> None:
    top = await node.spawn(Supervisor, [])
    with use(PARENT):
        assert await top.call(Supervisor.which_children) == ()
        top.send("nothing for it")
    await wait_all_tasks_blocked()
    assert await top.call(Supervisor.which_children) == ()


async def test_records_of_the_log_name_the_trace(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    class Loud(Actor):
        def speak(self) -> None:
            logging.getLogger("loud").warning("from inside")
            raise ValueError("loud")

    caplog.handler.addFilter(only := Context())
    try:
        loud = await node.spawn(Loud)
        with use(PARENT):
            loud.cast(Loud.speak)
            await wait_all_tasks_blocked()
        logging.getLogger("loud").warning("from outside")
    finally:
        caplog.handler.removeFilter(only)
    ids = {
        record.name: (vars(record).get("trace_id"), vars(record).get("span_id"))
        for record in caplog.records
        if record.getMessage() != "from outside"
    }
    assert ids["loud"] == (PARENT[3:35], PARENT[36:52])
    assert ids["enfilade.actors"] == ids["loud"]  # the report of the crash
    assert "trace_id" not in vars(caplog.records[-1])


async def test_a_timer_carries_what_it_was_given_and_nothing_else(
    node: Node, autojump_clock: MockClock
) -> None:
    seen: Seen = []
    sync = await node.spawn(Sync, seen)
    with use(PARENT):
        node.send_after(1.0, sync, "without")
        node.send_after(1.0, sync, carry("with"))
    await trio.sleep(2.0)
    assert carried(seen) == {"message without": None, "message with": PARENT}


async def test_a_trace_ends_after_many_casts_in_a_row_and_calls_do_not_count(node: Node) -> None:
    seen: Seen = []

    class Ring(Actor):
        async def step(self, left: int) -> None:
            seen.append((str(left), context()))
            if left:
                self.process.ref.cast(Ring.step, left - 1)

    ring = await node.spawn(Ring)
    with use(PARENT):
        for _ in range(HOPS + 1):
            await ring.call(Ring.step, 0)
        assert {trace for _, trace in seen} == {TraceContext.parse(PARENT)}
        seen.clear()
        ring.cast(Ring.step, HOPS + 2)
        await wait_all_tasks_blocked()
    assert [trace is not None for _, trace in seen] == [True] * HOPS + [False] * 3


async def test_a_trace_ends_after_a_minute(node: Node, autojump_clock: MockClock) -> None:
    seen: Seen = []
    sync = await node.spawn(Sync, seen)
    held: list[TraceContext | None] = []

    class Slow(Actor):
        async def wait(self, seconds: float) -> None:
            held.append(context())
            await trio.sleep(seconds)
            sync.cast(Sync.note, str(seconds))

    slow = await node.spawn(Slow)
    with use(PARENT):
        for seconds in (59.0, 61.0):
            slow.cast(Slow.wait, seconds)
    await trio.sleep(200.0)
    assert [trace is not None for trace in held] == [True, True]
    assert carried(seen) == {"59.0": PARENT, "61.0": None}


PLACES = [
    (LocalRef, "send"),
    (LocalRef, "cast"),
    (LocalRef, "call"),
    (DispatchedBody, "hand_off"),
    (Dispatcher, "run_group"),
    (Dispatcher, "_slice"),
    (Dispatcher, "step_with"),
    (Record, "put"),
]


async def test_the_plain_functions_are_back_a_minute_later(
    autojump_clock: MockClock,
) -> None:
    plain = [vars(kind)[name] for kind, name in PLACES]
    async with open_node("bank") as node:
        sync = await node.spawn(Sync, [])
        with use(PARENT):
            assert vars(LocalRef)["send"] is not plain[0]
            sync.send("now")
        await trio.sleep(59)
        assert vars(LocalRef)["send"] is not plain[0]
        await trio.sleep(2)
        assert [vars(kind)[name] for kind, name in PLACES] == plain
        with use(PARENT):
            sync.send("again")
    assert [vars(kind)[name] for kind, name in PLACES] == plain  # the node's end is the end of it


async def test_counting_and_carrying_come_and_go_in_any_order(node: Node, autojump_clock: MockClock) -> None:
    plain = vars(DispatchedBody)["hand_off"]
    seen: Seen = []
    sync = await node.spawn(Sync, seen)
    async with node.counting() as counts:
        with use(PARENT):
            await sync.call(Sync.note, "both")
        assert counts.handled(sync) == 1
    assert carried(seen) == {"both": PARENT}
    await trio.sleep(100)
    assert vars(DispatchedBody)["hand_off"] is plain


# Between nodes.


class Far(Actor):
    def __init__(self, to: Ref[Any]) -> None:
        self.to = to

    async def work(self, what: str) -> str:
        self.to.cast(Sync.note, "cast")
        self.to.send("sent")
        await self.to.send_wait("waited")
        return await self.to.call(Sync.note, what)


def policy(**rights: Any) -> Policy:
    return Policy(rules=[Rule(rights=Rights(exports="*", entries="*", **rights))])


@asynccontextmanager
async def three(**rights: Any) -> AsyncIterator[tuple[Node, Node, Node, Ref[Any], Seen]]:
    """Nodes in a row, none with OpenTelemetry; a process on the second that uses one on the third."""
    network, seen = MemoryNetwork(), []  # type: ignore[var-annotated]
    async with (
        open_node("a", policy=policy(), carrier=network.carrier("a")) as a,
        open_node("b", listen="/b", policy=policy(**rights), carrier=network.carrier("b")) as b,
        open_node("c", listen="/c", policy=policy(**rights), carrier=network.carrier("c")) as c,
    ):
        await a.connect("/b")
        await b.connect("/c")
        await c.spawn(Sync, seen, name="third")
        await b.spawn(Far, b.remote("third", "c@local"), name="second")
        yield a, b, c, a.remote("second", "b@local"), seen


async def test_obs_61_a_node_without_opentelemetry_passes_contexts_on_unchanged() -> None:
    async with three(trace_context=True) as (_, _, c, second, seen):
        with use(PARENT, STATE):
            assert await second.call(Far.work, "called") == "called"
        await second.call(Far.work, "later")
        assert c.traces.malformed == 0
    first, later = seen[:4], seen[4:]
    assert [what for what, _ in first] == ["cast", "message sent", "message waited", "called"]
    assert all(trace is not None and trace.state == STATE for _, trace in first)
    assert set(carried(first).values()) == {PARENT}
    assert set(carried(later).values()) == {None}


async def test_the_context_of_a_peer_without_the_right_is_not_taken() -> None:
    async with three() as (_, _, _, second, seen):
        with use(PARENT, STATE):
            await second.call(Far.work, "called")
    assert set(carried(seen).values()) == {None}


def frame(fields: list[Any]) -> wire.Frame:
    """The frame that a peer makes of these fields, tag first."""
    (made,) = wire.decode_batch(wire.encode_batch(0, 0, [msgspec.msgpack.encode(fields)])).frames
    return made


TRACE = TraceContext.parse(PARENT, STATE)

SHORT: dict[str, tuple[wire.Frame, list[Any]]] = {
    "Send": (wire.Send(7, msgspec.Raw(b"\xc0")), [16, 7, None, 0]),
    "Cast": (wire.Cast("till", "pay", msgspec.Raw(b"\xc0"), 1), [17, "till", "pay", None, 1]),
    "Call": (wire.Call(3, 7, "pay", msgspec.Raw(b"\xc0"), 0, 9), [18, 3, 7, "pay", None, 0, 9]),
    "Spawn": (wire.Spawn(3, "Till", msgspec.Raw(b"\xc0"), 0, 9), [32, 3, "Till", None, 0, 9]),
}


@pytest.mark.parametrize("kind", SHORT)
def test_obs_62_frames_with_and_without_the_field_are_read_by_both(kind: str) -> None:
    short, fields = SHORT[kind]
    assert wire.encode_frame(short) == msgspec.msgpack.encode(fields)  # as docs/wire.md has it
    read = frame(fields)
    assert isinstance(read, type(short))
    assert read.trace is wire.NIL  # type: ignore[union-attr]
    traced = wire.TRACED[type(short)](*msgspec.structs.astuple(short), field_of(TRACE))
    data = wire.encode_frame(traced)  # type: ignore[arg-type]
    id_bytes = bytes.fromhex("0af7651916cd43dd8448eb211c80319c b7ad6b7169203331")
    assert msgspec.msgpack.decode(data) == [*fields, b"\0" + id_bytes + b"\x01\x00" + STATE.encode()]
    read = frame(msgspec.msgpack.decode(data))
    assert bytes(read.trace) == bytes(field_of(TRACE))  # type: ignore[union-attr]
    known = msgspec.msgpack.Decoder(type(short)).decode(data)  # a reader that does not know the field
    assert wire.encode_frame(known) == msgspec.msgpack.encode(fields)


@pytest.mark.parametrize(
    "field",
    [
        *(7, "text", [1], {}, b"", b"\0" * 26, b"\0" * 27, b"\1" + b"x" * 26),
        *(b"\0" + b"x" * 26 + b"s" * 513, b"\0" + b"x" * 26 + b"\xff"),
    ],
    ids=repr,
)
async def test_a_malformed_field_is_counted_and_harms_nobody(field: Any) -> None:
    async with three(trace_context=True) as (a, b, _, _, _):
        seen: Seen = []
        await b.spawn(Sync, seen, name="sync")
        remote = a.remote("sync", "b@local")._carrier  # type: ignore[attr-defined]
        remote.peer.send(frame([17, "sync", "note", [["cast"], {}], 0, field]), ())
        await a.remote("sync", "b@local").call(Sync.note, "call")
        assert carried(seen) == {"cast": None, "call": None}
        assert b.traces.malformed == 1


@pytest.mark.parametrize(
    "text",
    [
        *("", "00", PARENT[:-1], PARENT + "0", PARENT + "-00", PARENT.upper(), "ff" + PARENT[2:]),
        *(
            "00-" + "0" * 32 + PARENT[35:],
            PARENT[:36] + "0" * 16 + "-01",
            PARENT.replace("-", "_"),
            PARENT + "\n",
        ),
    ],
)
def test_a_malformed_traceparent_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="traceparent"), use(text):
        pass


def test_a_context_is_read_and_written() -> None:
    read = TraceContext.parse("cc" + PARENT[2:] + "-later", STATE)
    assert (read.traceparent, read.state, read.is_sampled) == (PARENT, STATE, True)
    assert TraceContext.parse(PARENT, "x" * 513).state == ""
    assert TraceContext.parse(PARENT, "x" * 512).state == "x" * 512
    assert not TraceContext.parse(PARENT[:-1] + "0").is_sampled
    assert read.as_link().hops == LINKED
    assert read.as_link().is_link


OTHER = f"{PARENT[:36]}00f067aa0ba902b7-01"


async def test_a_job_of_a_pool_is_done_in_the_context_that_it_was_submitted_in(
    node: Node, autojump_clock: MockClock
) -> None:
    """Also one that has waited for a worker, which the end of another job sets free; and one without any."""
    seen: dict[int, str | None] = {}

    class Clerk(Worker):
        async def work(self, job: int) -> None:
            await trio.sleep(1)
            trace = context()
            seen[job] = None if trace is None else trace.traceparent

    pool = await node.spawn(Pool, Clerk, size=1)
    for job, traceparent in enumerate((PARENT, OTHER, None, PARENT)):
        with use(traceparent):
            pool.cast(Pool.submit, job)
    await trio.sleep(10)
    assert seen == {0: PARENT, 1: OTHER, 2: None, 3: PARENT}
