"""Instruments in the hands of an SDK: what they are called, how they grow, and what they never hold."""

from __future__ import annotations

import re
from importlib import metadata
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    Actor,
    Child,
    DynamicSupervisor,
    Mailbox,
    Node,
    NodeConfig,
    Pool,
    Supervisor,
    Worker,
    open_node,
)
from enfilade.actors.observing.telemetry import instrument, resource_attributes
from enfilade.actors.observing.telemetry.extra import SCHEMA
from enfilade.actors.observing.telemetry.metrics import INSTRUMENTS, VALUES

sdk = pytest.importorskip("opentelemetry.sdk.metrics")
export = pytest.importorskip("opentelemetry.sdk.metrics.export")
view = pytest.importorskip("opentelemetry.sdk.metrics.view")
resources = pytest.importorskip("opentelemetry.sdk.resources")
conventions = pytest.importorskip("opentelemetry.semconv._incubating.metrics.messaging_metrics")
calls = pytest.importorskip("opentelemetry.semconv._incubating.metrics.rpc_metrics")
processes = pytest.importorskip("opentelemetry.semconv._incubating.metrics.process_metrics")


class Till(Actor):
    def pay(self, coins: int) -> int:
        if coins < 0:
            raise ValueError("no coins")
        return coins


class Clerk(Worker):
    async def work(self, job: int) -> None:
        await trio.sleep_forever()


class Collected:
    """What a reader of an SDK collects of nodes."""

    def __init__(self, **options: Any) -> None:
        self.reader = export.InMemoryMetricReader()
        self.provider = sdk.MeterProvider([self.reader], shutdown_on_exit=False, **options)
        self.meter = self.provider.get_meter("enfilade")

    def points(self) -> dict[str, dict[tuple[Any, ...], float]]:
        """The values of each instrument, by the values of its attributes."""
        data = self.reader.get_metrics_data()
        found: dict[str, dict[tuple[Any, ...], float]] = {}
        for each in [] if data is None else data.resource_metrics:
            for metric in (metric for scope in each.scope_metrics for metric in scope.metrics):
                rows = metric.data.data_points
                found[metric.name] = {tuple(sorted(row.attributes.items())): row.value for row in rows}
        return found


def by(found: dict[tuple[Any, ...], float], attribute: str) -> dict[Any, float]:
    """The sums of the values of an instrument by one of its attributes."""
    sums: dict[Any, float] = {}
    for attributes, value in found.items():
        key = dict(attributes).get(attribute)
        sums[key] = sums.get(key, 0) + value
    return sums


async def collect(node: Node, messages: bool = True) -> tuple[Any, Collected]:
    collected = Collected()
    made = instrument(node, messages=messages, meter=collected.meter)
    await made.refresh()
    return made, collected


async def test_counters_go_on_when_what_they_counted_has_ended(autojump_clock: MockClock) -> None:
    async with open_node("bank") as node:
        made, collected = await collect(node)
        before = collected.points()
        tills = [await node.spawn(Till) for _ in range(5)]
        for till in tills:
            await till.call(Till.pay, 1)
        await made.refresh()
        during = collected.points()
        for till in tills[:3]:
            await till.stop()
        tills[3].exit(KILL)
        tills[4].cast(Till.pay, -1)
        await wait_all_tasks_blocked()
        await made.refresh()
        after = collected.points()
    counters = [each.name for each in INSTRUMENTS if each.kind == "counter"]
    for earlier, later in ((before, during), (during, after)):
        for name in counters:
            for attributes, value in earlier.get(name, {}).items():
                assert later[name][attributes] >= value, name
    assert by(during["enfilade.process.count"], "enfilade.actor")["Till"] == 5
    assert "Till" not in by(after.get("enfilade.process.count", {}), "enfilade.actor")
    assert by(after["enfilade.process.started"], "enfilade.actor")["Till"] == 5
    assert by(after["enfilade.process.ended"], "enfilade.actor")["Till"] == 5
    reasons = by(after["enfilade.process.ended"], "enfilade.reason.type")
    assert (reasons["Normal"], reasons["Killed"], reasons["Crashed"]) == (3, 1, 1)
    consumed = by(after["messaging.client.consumed.messages"], "messaging.destination.template")
    assert consumed["Till"] == 6


async def test_what_waits_and_what_is_lost(autojump_clock: MockClock) -> None:
    async with open_node("bank") as node:
        made, collected = await collect(node, messages=False)
        other = await node.spawn(Till)
        async with node.mailbox(Mailbox(3, "drop_newest")) as me, node.mailbox() as second:
            for number in range(5):
                me.ref.send(number)
            second.ref.send(0)
            await made.refresh()
            found = collected.points()
        assert found["enfilade.mailbox.longest"] == {(): 3}
        assert sum(found["enfilade.mailbox.messages"].values()) == 4
        assert found["enfilade.mailbox.dropped"] == {(): 2}
        assert "messaging.client.consumed.messages" not in found, "nobody asked for it"
        assert not node.observation.counts.is_on
        await other.stop()
        other.send("late")
        await made.refresh()
        assert collected.points()["enfilade.message.dead"] == {(): found["enfilade.message.dead"][()] + 5}, (
            "and the four"
        )


async def restarted(node: Node, count: int) -> None:
    """As many children of one supervisor, each of which has been restarted once."""
    children = [Child(Till, id=f"till {number}", name=f"till {number}") for number in range(count)]
    await node.spawn(Supervisor, children, intensity=10 * count, name="shop")
    for number in range(count):
        node.named(f"till {number}").exit(KILL)
    await wait_all_tasks_blocked()


async def supervised(node: Node, count: int) -> None:
    """As many supervisors with names, a child of each of which has been restarted once."""
    for number in range(count):
        await node.spawn(Supervisor, [Child(Till, name=f"child {number}")], name=f"shop {number}")
        node.named(f"child {number}").exit(KILL)
    await wait_all_tasks_blocked()


async def gone(node: Node, count: int) -> None:
    """As many classes, of which no process lives any more."""
    for number in range(count):
        ref = await node.spawn(type(f"Class{number}", (Till,), {}))
        await ref.call(Till.pay, 1)
        await ref.stop()


async def pools(node: Node, count: int) -> None:
    """As many pools, one after the other."""
    for number in range(count):
        await node.spawn(Pool, Clerk, size=1, queue_limit=1, name=f"pool {number}")


MANY = VALUES + 30


@pytest.mark.parametrize(
    ("make", "instruments", "attribute"),
    [
        (restarted, ["enfilade.process.restarts"], "enfilade.child.id"),
        (supervised, ["enfilade.process.restarts"], "enfilade.supervisor"),
        (gone, ["enfilade.process.started", "enfilade.process.ended"], "enfilade.actor"),
        (gone, ["messaging.client.consumed.messages"], "messaging.destination.template"),
        (pools, ["enfilade.pool.workers", "enfilade.pool.discarded"], "enfilade.pool"),
    ],
)
async def test_an_attribute_has_two_hundred_values_and_the_rest_is_one(
    make: Any, instruments: list[str], attribute: str, autojump_clock: MockClock
) -> None:
    """However many things there were, also one after the other, and nothing that is counted gets lost."""
    async with open_node("bank", config=NodeConfig(grace=1)) as node:
        made, collected = await collect(node)
        await make(node, MANY)
        await made.refresh()
        first = collected.points()
        await made.refresh()
        found = collected.points()
        for name in instruments:
            values = by(found[name], attribute)
            assert len(values) <= VALUES + 1, name
            assert "_OTHER" in values
            assert sum(values.values()) == sum(first[name].values())
        if make is not pools:
            assert sum(by(found[instruments[0]], attribute).values()) >= MANY
        metrics = made._metrics
        for kept in (metrics._started, metrics._ended, metrics._restarts, metrics._growth._sums):
            assert len(kept) <= 4 * VALUES


async def test_no_value_is_a_serial_a_label_or_a_text_of_the_program(autojump_clock: MockClock) -> None:
    secret = "4711 is the pin"
    async with open_node("bank") as node:
        made, collected = await collect(node)
        tills = [await node.spawn(Till, label=secret) for _ in range(3)]
        await node.spawn(DynamicSupervisor, name="dynamic")
        await node.named("dynamic").call(DynamicSupervisor.start_child, Child(Till, label=secret))
        tills[0].exit(KILL)
        tills[1].cast(Till.pay, -1)
        tills[2].send(secret)
        await wait_all_tasks_blocked()
        await made.refresh()
        found = collected.points()
    values = {value for points in found.values() for attributes in points for _, value in attributes}
    assert not [value for value in values if secret in value]
    assert not [value for value in values if value.isdecimal() and int(value) > 2], "generations alone"


async def test_the_names_and_units_are_those_of_the_conventions() -> None:
    units = {each.name: each.unit for each in INSTRUMENTS}
    assert conventions.MESSAGING_CLIENT_CONSUMED_MESSAGES in units
    for name in ("MEMORY_USAGE", "CPU_TIME", "OPEN_FILE_DESCRIPTOR_COUNT"):
        assert getattr(processes, f"PROCESS_{name}") in units
    assert {calls.RPC_SERVER_CALL_DURATION, calls.RPC_CLIENT_CALL_DURATION} == {
        "rpc.server.call.duration",
        "rpc.client.call.duration",
    }
    words = {word for name in units for word in re.split(r"[._]", name)}
    assert not words & {"total", "seconds", "bytes", "ratio"}, "the unit is never in the name"


async def test_the_scope_is_ours_with_version_and_conventions(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, tuple[Any, ...]] = {}

    def get_meter(name: str, version: str = "", schema_url: str | None = None, **_: Any) -> Any:
        asked["meter"] = name, version, schema_url
        return Collected().meter

    def get_tracer(name: str, version: str = "", schema_url: str | None = None, **_: Any) -> Any:
        asked["tracer"] = name, version, schema_url
        return None

    metrics, trace = pytest.importorskip("opentelemetry.metrics"), pytest.importorskip("opentelemetry.trace")
    monkeypatch.setattr(metrics, "get_meter", get_meter)
    monkeypatch.setattr(trace, "get_tracer", get_tracer)
    async with open_node("bank") as node:
        instrument(node, spans=0.5)
    ours = "enfilade", metadata.version("enfilade"), SCHEMA
    assert asked == {"meter": ours, "tracer": ours}


async def test_the_resource_of_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)
    async with open_node("bank", zone="east") as node:
        found = resources.Resource.create(resource_attributes(node)).attributes
        assert found["service.name"] == "bank"
        assert found["service.namespace"] == "east"
        assert found["service.instance.id"] == f"{node.incarnation:016x}"
        monkeypatch.setenv("OTEL_SERVICE_NAME", "till")
        assert resources.Resource.create(resource_attributes(node)).attributes["service.name"] == "till"
        monkeypatch.delenv("OTEL_SERVICE_NAME")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=shop,service.namespace = north,x")
        found = resources.Resource.create(resource_attributes(node)).attributes
        assert (found["service.name"], found["service.namespace"]) == ("shop", "north")
        assert "service.instance.id" in found


async def test_a_view_of_the_sdk_can_drop_an_instrument(autojump_clock: MockClock) -> None:
    views = [
        view.View(instrument_name="enfilade.process.*", aggregation=view.DropAggregation()),
        view.View(instrument_name="enfilade.timer.count", name="timers"),
    ]
    async with open_node("bank") as node:
        collected = Collected(views=views)
        made = instrument(node, meter=collected.meter)
        await made.refresh()
        found = collected.points()
    assert not [name for name in found if name.startswith("enfilade.process")]
    assert "timers" in found
    assert "enfilade.mailbox.longest" in found


async def test_two_readers_two_nodes_and_the_end_of_one(autojump_clock: MockClock) -> None:
    """Each node's instruments are its own; a node that has ended tells nothing, and raises nothing."""
    async with open_node("bank") as bank:
        made, collected = await collect(bank)
        async with open_node("shop") as shop:
            theirs, other = await collect(shop)
            await shop.spawn(Till)
            await theirs.refresh()
            assert by(other.points()["enfilade.process.count"], "enfilade.actor")["Till"] == 1
            assert "Till" not in by(collected.points().get("enfilade.process.count", {}), "enfilade.actor")
        assert other.points() == {}
        await made.refresh()
        assert collected.points()
    assert collected.points() == {}


def test_a_reader_asks_when_the_program_is_over() -> None:
    collected = Collected()

    async def main() -> None:
        async with open_node("bank") as node:
            instrument(node, meter=collected.meter)

    trio.run(main)
    assert collected.points() == {}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"spans": 1.5}, "spans must be a probability between 0 and 1, got 1.5"),
        ({"spans": float("nan")}, "spans must be a probability"),
        ({"spans": "0.1"}, "spans must be a probability between 0 and 1, got '0.1'"),
        ({"spans": True}, "spans must be a probability"),
        ({"durations": 0}, "durations must be an integer of at least 1, got 0"),
        ({"durations": 1.0}, "durations must be an integer"),
        ({"durations": True}, "durations must be an integer"),
        ({"propagation": "both"}, "propagation must be 'parent' or 'link', got 'both'"),
        ({"propagation": None}, "propagation must be 'parent' or 'link', got None"),
        ({"messages": "yes"}, "messages must be a boolean, got 'yes'"),
        ({"record_exceptions": 1}, "record_exceptions must be a boolean, got 1"),
    ],
)
async def test_what_cannot_be_meant_is_refused_and_nothing_is_left(options: Any, words: str) -> None:
    collected = Collected()
    async with open_node("bank") as node:
        with pytest.raises(ValueError, match=words):
            instrument(node, meter=collected.meter, **options)
        assert collected.points() == {}
        assert node.traces.tracer is None
        instrument(node, spans=0.5, durations=1, meter=collected.meter)
