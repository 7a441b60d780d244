"""The metrics at the page's own server: for its sessions alone, and measured only while somebody asks."""

from __future__ import annotations

from typing import Any

import pytest
import trio

pytest.importorskip("wsproto")
pytest.importorskip("prometheus_client")

from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from trio.testing import MockClock

from enfilade.actors.cli.observe.web import metrics
from enfilade.actors.cli.observe.web.metrics import KEPT, PATIENCE
from enfilade.actors.cli.refusal import Refusal
from tests.actors.cli.observe.recorded import nowhere
from tests.actors.cli.observe.web import Hall, get, serving, watches

OPEN = "application/openmetrics-text; version=1.0.0"


def counts(text: bytes) -> dict[str, float]:
    """The living processes by class."""
    return {
        sample.labels["enfilade_actor"]: sample.value
        for family in read_text(text.decode())
        for sample in family.samples
        if sample.name == "enfilade_process_count"
    }


async def test_obs_57_metrics_in_both_formats_for_who_has_a_session(autojump_clock: MockClock) -> None:
    shown = Hall()
    async with serving(shown.connect) as served:
        await trio.sleep(1)
        assert (await get(served.stream(), "/metrics")).status == 403
        cookie = await served.cookie()
        answer = await get(served.stream(), "/metrics", cookie=cookie)
        assert (answer.status, answer.headers["content-type"]) == (
            200,
            "text/plain; version=0.0.4; charset=utf-8",
        )
        assert answer.headers["cache-control"] == "no-store"
        assert counts(answer.body)["Till"] > 0
        assert b'node="shop@east"' in answer.body
        answer = await get(served.stream(), "/metrics", cookie=cookie, accept=OPEN)
        assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        assert {family.name for family in read_openmetrics(answer.body.decode())} >= {
            "enfilade_process_count"
        }
        head = await get(served.stream(), "/metrics", "HEAD", cookie=cookie)
        assert (head.status, head.body) == (200, b"")
        assert int(head.headers["content-length"]) > 100
        assert (await get(served.stream(), "/metrics", "POST", cookie=cookie)).status == 405


async def test_nodes_are_measured_while_somebody_asks_and_for_a_while_after(
    autojump_clock: MockClock,
) -> None:
    shown = Hall()
    async with serving(shown.connect) as served, trio.open_nursery() as nursery:
        nursery.start_soon(served.server.metrics.run)
        await trio.sleep(1)
        cookie = await served.cookie()
        for _ in range(3):
            assert (await get(served.stream(), "/metrics", cookie=cookie)).status == 200
            assert watches(shown.node) == 1
            assert shown.node.observation.counts.is_on
            await trio.sleep(60)
        till = shown.till(0)
        await trio.sleep(KEPT * 1.2)
        assert watches(shown.node) == 0
        assert not shown.node.observation.counts.is_on
        assert till is not None
        assert b"enfilade_process_count" in (await get(served.stream(), "/metrics", cookie=cookie)).body
        nursery.cancel_scope.cancel()


async def test_a_node_that_is_gone_is_left_out_and_one_that_comes_later_is_there(
    autojump_clock: MockClock,
) -> None:
    shown = Hall()
    async with serving(nowhere, shown.connect) as served:
        cookie = await served.cookie()
        began = trio.current_time()
        first = await get(served.stream(), "/metrics", cookie=cookie)
        assert first.status == 200
        assert trio.current_time() - began <= PATIENCE
        await trio.sleep(1)
        second = await get(served.stream(), "/metrics", cookie=cookie)
        assert {sample.labels["node"] for f in read_text(second.body.decode()) for sample in f.samples} == {
            "shop@east"
        }


async def test_without_the_package_the_answer_names_the_extra(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any) -> Any:
        raise Refusal("metrics: install the extra")

    monkeypatch.setattr(metrics, "text_of", missing)
    async with serving(nowhere) as served:
        answer = await get(served.stream(), "/metrics", cookie=await served.cookie())
        assert (answer.status, answer.body) == (501, b"metrics: install the extra\n")
