"""Telemetry that fails: what samplers and processors of others raise costs the span and no more."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import Actor, Child, ProcessDied, Ref, Supervisor, open_node
from enfilade.actors.messages.trace_context import TRACE
from enfilade.actors.observing.telemetry import context, instrument, use
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.policy import Policy, Rights, Rule

sdk = pytest.importorskip("opentelemetry.sdk.trace")
export = pytest.importorskip("opentelemetry.sdk.trace.export")
memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
sampling = pytest.importorskip("opentelemetry.sdk.trace.sampling")
ids = pytest.importorskip("opentelemetry.sdk.trace.id_generator")
api = pytest.importorskip("opentelemetry.trace")

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Broken(BaseException):
    """Not even an `Exception`."""


def fail(*_: Any, **__: Any) -> Any:
    raise Broken("the telemetry of somebody else")


class BrokenSampler(sampling.Sampler):  # type: ignore[name-defined, misc]
    should_sample = fail

    def get_description(self) -> str:
        return "broken"


class BrokenIds(ids.RandomIdGenerator):  # type: ignore[name-defined, misc]
    generate_span_id = fail


class BrokenStart(sdk.SpanProcessor):  # type: ignore[name-defined, misc]
    on_start = fail


class BrokenEnd(sdk.SpanProcessor):  # type: ignore[name-defined, misc]
    on_end = fail


class BrokenSpan(api.NonRecordingSpan):  # type: ignore[name-defined, misc]
    get_span_context = is_recording = end = fail


class BrokenSpans(api.NoOpTracer):  # type: ignore[name-defined, misc]
    def start_span(self, *_: Any, **__: Any) -> Any:
        return BrokenSpan(api.INVALID_SPAN_CONTEXT)


def processed(processor: Any) -> Any:
    provider = sdk.TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return provider.get_tracer("test")


def provided(**given: Any) -> Any:
    return sdk.TracerProvider(shutdown_on_exit=False, **given).get_tracer("test")


TRACERS: list[Callable[[], Any]] = [
    lambda: provided(sampler=BrokenSampler()),
    lambda: provided(id_generator=BrokenIds()),
    lambda: processed(BrokenStart()),
    lambda: processed(BrokenEnd()),
    BrokenSpans,
]


class Ledger(Actor):
    def __init__(self) -> None:
        self.noted: list[int] = []

    def note(self, amount: int) -> int:
        if amount < 0:
            raise ValueError(f"expected an amount, got {amount}")
        self.noted.append(amount)
        return amount

    def on_message(self, message: int) -> None:
        self.noted.append(message)

    def all(self) -> list[int]:
        return self.noted


class Bank(Actor):
    async def pay(self, ledger: Ref[Any], amount: int) -> int:
        return await ledger.call(Ledger.note, amount)


@pytest.mark.parametrize("made", TRACERS, ids=["sampler", "ids", "on-start", "on-end", "span"])
async def test_what_a_tracer_raises_stays_in_the_log(
    made: Callable[[], Any], autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    network = MemoryNetwork()
    policy = Policy(rules=[Rule(rights=Rights(exports="*", trace_context=True))])
    async with (
        open_node("west", policy=policy, carrier=network.carrier("west")) as west,
        open_node("east", listen="/east", policy=policy, carrier=network.carrier("east")) as east,
    ):
        await west.connect("/east")
        instruments = [instrument(node, spans=1.0, tracer=made()) for node in (west, east)]
        east.root = await east.spawn(Supervisor, [Child(Ledger, id="ledger", name="ledger")])
        bank = await west.spawn(Bank)
        there = west.remote("ledger", "east@local")
        with use(SAMPLED):
            assert await bank.call(Bank.pay, there, 1) == 1  # local, then remote
            there.cast(Ledger.note, 2)
            there.send(3)
            await wait_all_tasks_blocked()
            assert await there.call(Ledger.all) == [1, 2, 3]
            there.cast(Ledger.note, -1)  # a crash and a restart, with spans of their own
            await trio.sleep(1)
            assert await there.call(Ledger.all) == []
        east.named("ledger").send(4)  # the root of a trace
        assert await east.named("ledger").call(Ledger.all) == [4]
        failures = [each.spans.failures for each in instruments if each.spans is not None]
        assert min(failures) > 0
    lines = [record for record in caplog.records if "OpenTelemetry has failed" in record.getMessage()]
    assert [record.levelno for record in lines] == [logging.ERROR] * 2  # one a node and a minute


async def test_a_current_span_that_raises_is_no_parent(caplog: pytest.LogCaptureFixture) -> None:
    async with open_node("bank") as node:
        made = instrument(node, spans=0.0, tracer=api.NoOpTracer())
        ledger = await node.spawn(Ledger)
        with api.use_span(api.NonRecordingSpan(api.INVALID_SPAN_CONTEXT)), use(SAMPLED):
            token = api.context_api.attach(api.set_span_in_context(BrokenSpan(api.INVALID_SPAN_CONTEXT)))
            assert await ledger.call(Ledger.note, 1) == 1
            api.context_api.detach(token)
        assert made.spans is not None
        assert made.spans.failures > 0


async def test_a_trace_goes_on_through_a_process_whose_span_failed() -> None:
    seen: list[Any] = []

    class Shop(Actor):
        def sell(self) -> None:
            seen.append(context())

    async with open_node("bank") as node:
        instrument(node, spans=1.0, tracer=provided(sampler=BrokenSampler()))
        shop = await node.spawn(Shop)
        with use(SAMPLED):
            await shop.call(Shop.sell)
        await shop.call(Shop.sell)
        assert TRACE.get() is None
    assert [None if trace is None else trace.traceparent for trace in seen] == [SAMPLED, None]


class Secretive(type):
    """Of a class of errors that tells nobody where it is from."""

    @property
    def __module__(cls) -> str:
        raise LookupError("not told")


class Odd(Actor):
    def fail(self) -> None:
        raise type.__call__(Secretive, "Strange", (ValueError,), {})("as asked")


async def test_an_error_whose_class_does_not_tell_its_module_has_a_type() -> None:
    exporter = memory.InMemorySpanExporter()
    async with open_node("bank") as node:
        made = instrument(node, spans=1.0, tracer=processed(export.SimpleSpanProcessor(exporter)))
        odd = await node.spawn(Odd)
        with pytest.raises(ProcessDied):
            await odd.call(Odd.fail)
        assert made.spans is not None
        assert made.spans.failures == 0
    failed = [span for span in exporter.get_finished_spans() if "error.type" in span.attributes]
    assert failed
    assert all(span.attributes["error.type"].endswith("Strange") for span in failed)
