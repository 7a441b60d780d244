"""Metrics: what OpenTelemetry and Prometheus are told of a node."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from enfilade.actors import Actor, Child, Guest, Node, NodeConfig, Pool, Supervisor, Worker, open_node
from enfilade.actors.cli.metrics import Reader, answer_scrapes
from enfilade.actors.cli.observe.observed import Observed
from enfilade.actors.cli.scrapes import own_answers
from enfilade.actors.observing.tables.walker import Walker
from enfilade.actors.observing.telemetry import exposition, instrument
from enfilade.actors.observing.telemetry.durations import BUCKETS
from enfilade.actors.observing.telemetry.extra import MissingExtra
from enfilade.actors.observing.telemetry.metrics import INSTRUMENTS, Metrics
from enfilade.hostcalls.sdk.wat import Assembler
from enfilade.transport.policy import Rights
from tests.actors.observing.pair import observed

sdk = pytest.importorskip("opentelemetry.sdk.metrics")
export = pytest.importorskip("opentelemetry.sdk.metrics.export")
parser = pytest.importorskip("prometheus_client.parser")
openmetrics = pytest.importorskip("prometheus_client.openmetrics.parser")


class Till(Actor):
    def pay(self, coins: int) -> None:
        if coins < 0:
            raise ValueError(f"expected coins, got {coins}")


class Clerk(Worker):
    async def work(self, job: int) -> None:
        await trio.sleep_forever()


async def troubles(node: Node) -> None:
    """One restart, one dead letter, one process with a label."""
    node.root = await node.spawn(Supervisor, [Child(Till, id="till", name="till", label="the red one")])
    gone = await node.spawn(Till)
    await gone.stop()
    gone.send("too late")
    node.named("till").cast(Till.pay, -1)
    await wait_all_tasks_blocked()


def points(reader: Any) -> dict[str, Any]:
    """The metrics of one collection, by name."""
    found = reader.get_metrics_data()
    scopes = (
        [] if found is None else [scope for each in found.resource_metrics for scope in each.scope_metrics]
    )
    assert {scope.scope.name for scope in scopes} <= {"enfilade"}
    return {metric.name: metric for scope in scopes for metric in scope.metrics}


async def test_obs_55_the_instruments_of_a_node(autojump_clock: MockClock) -> None:
    """Names, kinds and units; no serial, no label. The first question begins it, silence ends it."""
    reader = export.InMemoryMetricReader()
    meter = sdk.MeterProvider([reader]).get_meter("enfilade")
    async with observed() as (bank, _):
        made = instrument(bank, meter=meter)
        await trio.sleep(1)
        assert not bank.observation.counts.is_on
        assert not points(reader)
        await trio.sleep(1)
        assert bank.observation.counts.is_on
        await troubles(bank)
        await bank.named("till").call(Till.pay, 1)
        await made.refresh()
        found = points(reader)
        await trio.sleep(600)
        assert not bank.observation.counts.is_on
    known = {each.name: each for each in INSTRUMENTS}
    assert set(found) <= set(known)
    elsewhere = ("guest", "pool", "mesh")
    absent = {name for name in set(known) - set(found) if not any(each in name for each in elsewhere)}
    assert absent <= {"enfilade.supervisor.give_ups"}
    values: set[str] = set()
    for name, metric in found.items():
        assert metric.unit == known[name].unit
        assert not name.endswith("total")
        for point in metric.data.data_points:
            values |= set(point.attributes.values())
        if known[name].kind == "gauge":
            assert not hasattr(metric.data, "is_monotonic")
        else:
            assert metric.data.is_monotonic == (known[name].kind == "counter")
    assert "the red one" not in values
    assert "Till" in values
    assert [p.value for p in found["enfilade.process.restarts"].data.data_points] == [1]
    assert [p.value for p in found["enfilade.message.dead"].data.data_points] == [1]
    consumed = found["messaging.client.consumed.messages"].data.data_points
    (tills,) = (p for p in consumed if p.attributes["messaging.destination.template"] == "Till")
    assert tills.value == 2  # the cast that crashed it, and the call
    assert {p.attributes["enfilade.peer"] for p in found["enfilade.link.frames"].data.data_points} == {
        "eye@local"
    }


class Caller(Actor):
    async def ask(self, till: Any, coins: int) -> None:
        await till.call(Till.pay, coins)


def counts_of(found: dict[str, Any], name: str) -> dict[tuple[Any, ...], int]:
    """How many durations a histogram has, by method or class, and by error."""
    points = found[name].data.data_points if name in found else []
    keys = ("rpc.method", "messaging.destination.template", "server.address", "error.type")
    return {tuple(p.attributes[key] for key in keys if key in p.attributes): p.count for p in points}


@pytest.mark.parametrize("every", [1, 10])
@pytest.mark.parametrize("spans", [None, 0.0])
async def test_one_of_so_many_durations_is_recorded(
    every: int, spans: float | None, autojump_clock: MockClock
) -> None:
    """And every call to another node; with spans and without."""
    reader = export.InMemoryMetricReader()
    meter = sdk.MeterProvider([reader]).get_meter("enfilade")
    async with observed(Rights(exports="*")) as (bank, eye):
        till = await bank.spawn(Till, name="till")
        caller = await eye.spawn(Caller)
        for node in (bank, eye):
            instrument(node, meter=meter, messages=False, spans=spans, durations=every)
        for coins in range(100):
            await till.call(Till.pay, coins)
            till.cast(Till.pay, coins)
        for coins in range(20):
            await caller.call(Caller.ask, eye.remote("till", "bank@local"), coins)
        await wait_all_tasks_blocked()
        found = points(reader)
    timed = counts_of(found, "rpc.server.call.duration") | counts_of(found, "messaging.process.duration")
    assert set(timed) == {("Till/pay",), ("Till",), ("Caller/ask",)}
    assert sum(timed.values()) == (100 + 100 + 2 * 20) / every
    assert counts_of(found, "rpc.client.call.duration") == {("Till/pay", "bank@local"): 20}
    assert found["rpc.server.call.duration"].unit == "s"
    assert found["rpc.server.call.duration"].data.data_points[0].explicit_bounds == BUCKETS
    assert bank.traces.tracer is None


async def test_the_duration_of_what_fails_has_the_type_of_the_error(autojump_clock: MockClock) -> None:
    reader = export.InMemoryMetricReader()
    meter = sdk.MeterProvider([reader]).get_meter("enfilade")
    async with open_node("bank") as node:
        instrument(node, meter=meter, messages=False, durations=1)
        with pytest.raises(Exception, match="ended"):
            await (await node.spawn(Till)).call(Till.pay, -1)
        found = points(reader)
    assert counts_of(found, "rpc.server.call.duration") == {("Till/pay", "ValueError"): 1}


async def test_a_meter_that_raises_costs_the_duration_alone(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def record(self, *_: Any) -> None:
            raise ValueError("the meter of somebody else")

    meter = sdk.MeterProvider([]).get_meter("enfilade")
    meter.create_histogram = lambda *_, **__: Broken()
    async with open_node("bank") as node:
        instrument(node, meter=meter, messages=False, durations=1)
        till = await node.spawn(Till)
        for coins in range(3):
            await till.call(Till.pay, coins)
            till.cast(Till.pay, coins)
        await wait_all_tasks_blocked()
        assert till.serial in node.processes
    assert caplog.text.count("OpenTelemetry has failed to record") == 1


@pytest.mark.parametrize("durations", [0, -1, 1.5, True])
async def test_durations_that_are_no_number_are_refused(durations: Any) -> None:
    async with open_node("bank") as node:
        with pytest.raises(ValueError, match="durations"):
            instrument(node, durations=durations)


async def test_guests_that_trap_are_counted() -> None:
    async with open_node("bank") as node:
        metrics = Metrics(node, Walker(node), node.observation.counts)
        metrics.begin()
        trapping = Assembler()
        trapping.function("start", "unreachable")
        guest = node.spawn_soon(Guest(trapping.binary()))
        async with node.mailbox() as me:
            me.monitor(guest)
            await me.receive()
        (found,) = (await metrics.readings(0.5, messages=False))["enfilade.guest.traps"]
        metrics.end()
    assert found[1] == 1
    assert found[0]["enfilade.guest.module"].startswith("start ")


async def test_obs_54_without_an_sdk_nothing_is_counted(autojump_clock: MockClock) -> None:
    async with open_node("bank") as node:
        instrument(node)
        await trio.sleep(60)
        assert not node.observation.counts.is_on


async def test_obs_53_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.metrics", None)
    monkeypatch.setitem(sys.modules, "prometheus_client.registry", None)
    async with open_node("bank") as node, node.events("child.*"):
        with pytest.raises(MissingExtra, match='extra "telemetry"'):
            instrument(node)
    with pytest.raises(MissingExtra, match="pip install 'enfilade\\[telemetry\\]'"):
        exposition({})


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text; version=1.0.0"])
async def test_obs_57_the_text_can_be_parsed(accept: str) -> None:
    """In both formats, with units as suffixes, and counters that end in `_total`."""
    async with observed() as (bank, _):
        metrics = Metrics(bank, Walker(bank), bank.observation.counts)
        metrics.begin()
        await troubles(bank)
        readings = await metrics.readings(0.5, messages=False)
        metrics.end()
    kind, text = exposition({"bank@local": readings}, accept)
    is_open = "openmetrics" in accept
    assert kind.startswith("application/openmetrics-text" if is_open else "text/plain; version=0.0.4")
    parse = openmetrics.text_string_to_metric_families if is_open else parser.text_string_to_metric_families
    samples = {sample.name: sample for family in parse(text.decode()) for sample in family.samples}
    assert samples["enfilade_process_restarts_total"].value == 1
    assert samples["enfilade_process_restarts_total"].labels["node"] == "bank@local"
    assert samples["process_memory_usage_bytes"].value > 0
    assert "process_cpu_time_seconds_total" in samples
    assert 0 <= samples["enfilade_loop_busy_ratio"].value <= 1
    assert "enfilade_mailbox_longest" in samples


async def test_obs_57_a_scrape_over_http(autojump_clock: MockClock) -> None:
    """GET and HEAD of one path; a node that is not connected is left out."""

    @asynccontextmanager
    async def connect() -> AsyncIterator[tuple[Node, str]]:
        async with observed() as (_, eye):
            yield eye, "bank@local"

    @asynccontextmanager
    async def nowhere() -> AsyncIterator[tuple[Node, str]]:
        await trio.sleep_forever()
        yield None, ""  # type: ignore[misc]

    async with trio.open_nursery() as nursery:
        readers = [Reader(Observed("door", each), messages=True) for each in (connect, nowhere)]
        for reader in readers:
            nursery.start_soon(reader.observed.run)
        await readers[0].settled.wait()
        client, server = memory_stream_pair()
        nursery.start_soon(answer_scrapes, readers, trio.CapacityLimiter(4), server)
        for request, status, part in (
            ("GET /metrics", "200", b'enfilade_process_count{enfilade_actor="Desk"'),
            ("GET /other", "404", b"/metrics"),
            ("POST /metrics", "405", b"GET, HEAD"),
        ):
            await client.send_all(f"{request} HTTP/1.1\r\nhost: here\r\n\r\n".encode())
            answer = await answered(client)
            assert answer.startswith(f"HTTP/1.1 {status}".encode())
            assert part in answer
        nursery.cancel_scope.cancel()


async def answered(client: trio.abc.Stream) -> bytes:
    """The next answer, whose length its head tells."""
    seen = b""
    while b"\r\n\r\n" not in seen:
        seen += await client.receive_some()
    head, _, body = seen.partition(b"\r\n\r\n")
    length = int(next(line for line in head.split(b"\r\n") if line.startswith(b"content-length")).split()[1])
    while len(body) < length:
        body += await client.receive_some()
    return head + b"\r\n\r\n" + body


async def test_a_counter_of_things_that_end_does_not_shrink() -> None:
    """The jobs that a pool has discarded are still counted when it is gone."""
    async with open_node("bank", config=NodeConfig(grace=1)) as node:
        metrics = Metrics(node, Walker(node), node.observation.counts)
        before = await discarded(node, metrics)
        pool = await node.spawn(Pool, Clerk, size=1, queue_limit=1, name="pool")
        for job in range(5):
            pool.cast(Pool.submit, job)
        await wait_all_tasks_blocked()
        during = await discarded(node, metrics)
        await pool.stop()
        assert before == 0 < during == await discarded(node, metrics)


async def discarded(node: Node, metrics: Metrics) -> float:
    found = await metrics.readings(0.5, messages=False)
    return sum(value for _, value in found.get("enfilade.pool.discarded", ()))


async def test_the_values_of_an_attribute_are_bounded() -> None:
    """Beyond 200 classes, the rest are one."""
    async with open_node("bank") as node:
        for number in range(210):
            await node.spawn(type(f"Till{number}", (Till,), {}))
        metrics = Metrics(node, Walker(node), node.observation.counts)
        found = await metrics.readings(0.5, messages=False)
        by_actor = {
            attributes["enfilade.actor"]: value for attributes, value in found["enfilade.process.count"]
        }
    assert len(by_actor) == 201
    assert by_actor["_OTHER"] == 10


def test_the_page_lists_the_instruments() -> None:
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "metrics.md").read_text()
    listed = re.findall(r"^\| `([a-z_.]+)` \| (\w+) \| `([^`]+)` \|", page, re.M)
    assert listed == [(each.name, each.kind, each.unit) for each in INSTRUMENTS]


async def test_a_node_serves_its_own_metrics(autojump_clock: MockClock) -> None:
    """As `[telemetry] listen` has it; nothing is measured before the first scrape."""
    async with open_node("bank") as node, trio.open_nursery() as nursery:
        await node.spawn(Till)
        answer = own_answers(node, messages=True)
        assert not node.observation.counts.is_on
        client, server = memory_stream_pair()
        nursery.start_soon(answer, server)
        await client.send_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        text = b"".join([part async for part in client]).decode()
        assert "text/plain; version=0.0.4" in text
        assert re.search(r'enfilade_process_count\{.*enfilade_actor="Till".*node="bank@local".*\} 1.0', text)
        assert node.observation.counts.is_on
        await trio.sleep(100)
        assert not node.observation.counts.is_on
        nursery.cancel_scope.cancel()
