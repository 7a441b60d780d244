"""Spans: what OpenTelemetry is told of calls, casts, starts and restarts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import Actor, Child, Node, Ref, Supervisor, open_node
from enfilade.actors.messages.trace_context import HOPS
from enfilade.actors.observing.telemetry import context, instrument, use
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.policy import Policy, Rights, Rule

sdk = pytest.importorskip("opentelemetry.sdk.trace")
export = pytest.importorskip("opentelemetry.sdk.trace.export")
memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
api = pytest.importorskip("opentelemetry.trace")

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = SAMPLED[:-1] + "0"


class Recorder:
    """The spans of a test.

    Attributes:
        tracer: makes them.
    """

    def __init__(self) -> None:
        self._exporter = memory.InMemorySpanExporter()
        self.provider = sdk.TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(export.SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("test")

    def spans(self) -> list[Any]:
        """Those that have ended, by their beginnings."""
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time)

    def names(self) -> list[str]:
        return [span.name for span in self.spans()]

    def clear(self) -> None:
        self._exporter.clear()


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    made = Recorder()
    yield made
    made.provider.shutdown()


class Ledger(Actor):
    def note(self, amount: int) -> None:
        if amount < 0:
            raise ValueError(f"expected an amount, got {amount}")

    def on_message(self, message: Any) -> None:
        pass


class Bank(Actor):
    def __init__(self, ledger: Ref[Any]) -> None:
        self.ledger = ledger

    def pay(self, amount: int) -> int:
        self.ledger.cast(Ledger.note, amount)
        return amount


class Desk(Actor):
    def __init__(self, bank: Ref[Any]) -> None:
        self.bank = bank

    async def pay(self, amount: int) -> int:
        return await self.bank.call(Bank.pay, amount)


def policy(**rights: Any) -> Policy:
    return Policy(rules=[Rule(rights=Rights(exports="*", entries="*", **rights))])


@asynccontextmanager
async def two(recorder: Recorder, spans: float = 0.0, **rights: Any) -> AsyncIterator[tuple[Node, Node]]:
    """Two nodes that make spans; `ledger` and `bank` are on the second."""
    network = MemoryNetwork()
    async with (
        open_node("west", policy=policy(**rights), carrier=network.carrier("west")) as west,
        open_node(
            "east",
            listen="/east",
            policy=policy(**rights),
            carrier=network.carrier("east"),
            entries={"Ledger": Ledger},
        ) as east,
    ):
        await west.connect("/east")
        await east.spawn(Bank, await east.spawn(Ledger, name="ledger"), name="bank")
        for node in (west, east):
            instrument(node, spans=spans, tracer=recorder.tracer)
        yield west, east


async def test_obs_59_one_trace_through_two_nodes(recorder: Recorder) -> None:
    async with two(recorder, trace_context=True) as (west, east):
        desk = await west.spawn(Desk, west.remote("bank", "east@local"))
        with recorder.tracer.start_as_current_span("plain"):
            assert await desk.call(Desk.pay, 5) == 5
        await wait_all_tasks_blocked()
        serials = [desk.serial, *(east.named(name).serial for name in ("bank", "ledger"))]
    spans = recorder.spans()
    assert [(span.name, span.kind.name) for span in spans] == [
        ("plain", "INTERNAL"),
        ("Desk/pay", "SERVER"),
        ("Bank/pay", "CLIENT"),
        ("Bank/pay", "SERVER"),
        ("process ledger", "CONSUMER"),
    ]
    assert len({span.context.trace_id for span in spans}) == 1
    assert [span.parent and span.parent.span_id for span in spans] == [
        None,
        *(span.context.span_id for span in spans[:-1]),
    ]
    rpc = {"rpc.system.name": "enfilade"}
    assert [dict(span.attributes) for span in spans[1:]] == [
        {**rpc, "rpc.method": "Desk/pay", "enfilade.process": serials[0]},
        {**rpc, "rpc.method": "Bank/pay", "server.address": "east@local"},
        {**rpc, "rpc.method": "Bank/pay", "enfilade.process": serials[1], "enfilade.process.name": "bank"},
        {
            "messaging.system": "enfilade",
            "messaging.operation.type": "process",
            "messaging.operation.name": "process",
            "messaging.destination.name": "ledger",
            "enfilade.process": serials[2],
            "enfilade.process.name": "ledger",
        },
    ]


async def test_errors_are_told_by_type_alone_unless_asked_for(recorder: Recorder) -> None:
    async with open_node("bank") as node:
        made = instrument(node, spans=1.0, tracer=recorder.tracer)
        ledger = await node.spawn(Ledger)
        recorder.clear()
        with pytest.raises(Exception, match="ended"):
            await ledger.call(Ledger.note, -1)
        (span,) = recorder.spans()
        assert (span.status.status_code, span.status.description) == (api.StatusCode.ERROR, None)
        assert span.attributes["error.type"] == "ValueError"
        assert not span.events
        recorder.clear()
        assert made.spans is not None
        made.spans.records = True
        async with node.mailbox() as me:
            with pytest.raises(Exception, match="ended"):
                await me.request(await node.spawn(Ledger), Ledger.note, -1).wait()
        found = next(span for span in recorder.spans() if span.kind.name == "SERVER")
        assert found.events[0].attributes["exception.message"] == "expected an amount, got -1"


async def test_what_has_a_parent_is_sampled_as_that_is(recorder: Recorder) -> None:
    async with open_node("bank") as node:
        instrument(node, spans=1.0, tracer=recorder.tracer)
        ledger = await node.spawn(Ledger)
        recorder.clear()
        with use(UNSAMPLED):
            await ledger.call(Ledger.note, 1)
            ledger.cast(Ledger.note, 1)
            await wait_all_tasks_blocked()
        assert recorder.names() == []
        with use(SAMPLED):
            await ledger.call(Ledger.note, 1)
        (span,) = recorder.spans()
        assert span.parent.span_id == int(SAMPLED[36:52], 16)
        recorder.clear()
        await ledger.call(Ledger.note, 1)
        assert [span.parent for span in recorder.spans()] == [None]


@pytest.mark.parametrize(("probability", "least", "most"), [(0.0, 0, 0), (0.1, 60, 150), (1.0, 1000, 1000)])
async def test_roots_are_sampled(recorder: Recorder, probability: float, least: int, most: int) -> None:
    async with open_node("bank") as node:
        ledger = await node.spawn(Ledger)
        instrument(node, spans=probability, tracer=recorder.tracer)
        for _ in range(500):
            await ledger.call(Ledger.note, 1)
            ledger.cast(Ledger.note, 1)
        await wait_all_tasks_blocked()
    assert least <= len(recorder.spans()) <= most


async def test_spans_of_the_program_are_parents_and_children(recorder: Recorder) -> None:
    seen: list[Any] = []

    class Shop(Actor):
        async def sell(self, ledger: Ref[Any]) -> None:
            seen.append(context())
            with recorder.tracer.start_as_current_span("inner"):
                ledger.send("sold")

    async with open_node("bank") as node:
        instrument(node, spans=0.0, tracer=recorder.tracer)
        shop, ledger = await node.spawn(Shop), await node.spawn(Ledger)
        with recorder.tracer.start_as_current_span("outer"):
            await shop.call(Shop.sell, ledger)
        await wait_all_tasks_blocked()
    outer, sell, inner, sold = recorder.spans()
    assert [span.name for span in (sell, sold)] == ["Shop/sell", "process Ledger"]
    parents = [span.parent.span_id for span in (sell, inner, sold)]
    assert parents == [span.context.span_id for span in (outer, sell, inner)]
    assert seen[0].span_id == sell.context.span_id.to_bytes(8, "big")


async def test_a_function_handles_a_message_until_it_asks_for_the_next(recorder: Recorder) -> None:
    async def clerk(me: Any, ledger: Ref[Any]) -> None:
        while True:
            await me.receive()
            ledger.cast(Ledger.note, 1)

    async with open_node("bank") as node:
        instrument(node, spans=0.0, tracer=recorder.tracer)
        clerk_ref = await node.spawn(clerk, await node.spawn(Ledger, name="ledger"), name="clerk")
        with use(SAMPLED):
            clerk_ref.send("go")
            await wait_all_tasks_blocked()
        clerk_ref.send("without")
        await wait_all_tasks_blocked()
    first, second = recorder.spans()
    assert [first.name, second.name] == ["process clerk", "process ledger"]
    assert second.parent.span_id == first.context.span_id


@pytest.mark.parametrize("propagation", ["parent", "link"])
async def test_an_endless_trace_is_cut_and_linked(recorder: Recorder, propagation: Any) -> None:
    class Ring(Actor):
        def step(self, left: int) -> None:
            if left:
                self.process.ref.cast(Ring.step, left - 1)

    async with open_node("bank") as node:
        instrument(node, spans=0.0, tracer=recorder.tracer, propagation=propagation)
        ring = await node.spawn(Ring)
        with use(SAMPLED):
            ring.cast(Ring.step, HOPS)
            await wait_all_tasks_blocked()
    spans = recorder.spans()
    assert len(spans) == HOPS + 1
    linked = [at for at, span in enumerate(spans) if span.links]
    assert linked == ([HOPS] if propagation == "parent" else list(range(HOPS + 1)))
    assert spans[-1].parent is None
    assert spans[-1].links[0].context.span_id == spans[-2].context.span_id
    assert spans[-1].context.trace_id != spans[-2].context.trace_id


async def test_starts_and_restarts(recorder: Recorder, autojump_clock: MockClock) -> None:
    async with open_node("bank") as node:
        instrument(node, spans=0.0, tracer=recorder.tracer)
        with use(SAMPLED):
            node.root = await node.spawn(Supervisor, [Child(Ledger, id="ledger", name="ledger")])
            node.named("ledger").cast(Ledger.note, -1)
            await trio.sleep(1)
    start, crash, restart = recorder.spans()
    assert [(span.name, span.kind.name) for span in (start, crash, restart)] == [
        ("start Supervisor", "INTERNAL"),
        ("process ledger", "CONSUMER"),
        ("restart ledger", "INTERNAL"),
    ]
    assert restart.parent is None
    assert restart.links[0].context.span_id == crash.context.span_id


async def test_a_start_on_another_node_belongs_to_the_trace(recorder: Recorder) -> None:
    async with two(recorder, trace_context=True) as (west, _):
        with use(SAMPLED):
            await west.spawn_on("east@local", "Ledger")
    (start,) = recorder.spans()
    assert (start.name, start.parent.span_id) == ("start Ledger", int(SAMPLED[36:52], 16))


async def test_traces_of_a_peer_without_the_right_are_only_linked(recorder: Recorder) -> None:
    async with two(recorder, spans=1.0) as (west, _):
        with use(SAMPLED):
            await west.remote("bank", "east@local").call(Bank.pay, 1)
    client, server = (span for span in recorder.spans() if span.name == "Bank/pay")
    assert client.context.trace_id == int(SAMPLED[3:35], 16)
    assert server.parent is None
    assert server.links[0].context.span_id == client.context.span_id


async def test_the_size_of_what_came_from_another_node(recorder: Recorder) -> None:
    async with two(recorder, trace_context=True) as (west, _):
        with use(SAMPLED):
            west.remote("ledger", "east@local").send("x" * 100)
        await west.remote("bank", "east@local").call(Bank.pay, 1)
        await wait_all_tasks_blocked()
    (span,) = recorder.spans()
    assert 100 < span.attributes["messaging.message.envelope.size"] < 110


async def test_without_an_sdk_contexts_are_passed_on() -> None:
    seen: list[Any] = []

    class Shop(Actor):
        def sell(self) -> None:
            seen.append(context())

    async with open_node("bank") as node:
        instrument(node, spans=1.0, tracer=api.NoOpTracer())
        shop = await node.spawn(Shop)
        with use(SAMPLED):
            await shop.call(Shop.sell)
        await shop.call(Shop.sell)
    assert [None if trace is None else trace.traceparent for trace in seen] == [SAMPLED, None]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"spans": 1.5}, "probability"),
        ({"propagation": "no"}, "propagation"),
        ({"durations": 0}, "durations"),
    ],
)
async def test_wrong_arguments_are_refused(given: dict[str, Any], words: str) -> None:
    async with open_node("bank") as node:
        with pytest.raises(ValueError, match=words):
            instrument(node, **given)
        instrument(node, spans=0.5)
        with pytest.raises(ValueError, match="once"):
            instrument(node, spans=0.5)
