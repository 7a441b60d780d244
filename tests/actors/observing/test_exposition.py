"""The text that Prometheus is given, to the letter."""

from __future__ import annotations

import re
from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from enfilade.actors import Actor, open_node
from enfilade.actors.cli.scrapes import AT_A_TIME, own_answers
from enfilade.actors.observing.telemetry import exposition
from enfilade.actors.observing.telemetry.metrics import INSTRUMENTS, Readings

parser = pytest.importorskip("prometheus_client.parser")
openmetrics = pytest.importorskip("prometheus_client.openmetrics.parser")
pytest.importorskip("h11")

OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PLAIN = "text/plain; version=0.0.4; charset=utf-8"

SOME: Readings = {
    "enfilade.process.count": [({"enfilade.process.kind": "actor", "enfilade.actor": "Till"}, 3)],
    "enfilade.process.started": [({"enfilade.process.kind": "actor", "enfilade.actor": "Till"}, 4)],
    "enfilade.loop.busy": [({}, 0.25)],
    "enfilade.loop.lag": [({}, 0.001)],
    "enfilade.link.io": [({"enfilade.peer": "eye@local", "network.io.direction": "receive"}, 1_000)],
    "process.cpu.time": [({"cpu.mode": "user"}, 1.5), ({"cpu.mode": "system"}, 0.5)],
}


def test_the_text_of_some_readings() -> None:
    kind, text = exposition({"bank@east": SOME})
    assert kind == PLAIN
    assert (
        text.decode()
        == """\
# HELP enfilade_process_count Processes that live.
# TYPE enfilade_process_count gauge
enfilade_process_count{enfilade_actor="Till",enfilade_process_kind="actor",node="bank@east"} 3.0
# HELP enfilade_process_started_total Processes that have started.
# TYPE enfilade_process_started_total counter
enfilade_process_started_total{enfilade_actor="Till",enfilade_process_kind="actor",node="bank@east"} 4.0
# HELP enfilade_loop_busy_ratio Share of the time for which the loop did not wait.
# TYPE enfilade_loop_busy_ratio gauge
enfilade_loop_busy_ratio{node="bank@east"} 0.25
# HELP enfilade_loop_lag_seconds Lateness of a timer, at most.
# TYPE enfilade_loop_lag_seconds gauge
enfilade_loop_lag_seconds{node="bank@east"} 0.001
# HELP enfilade_link_io_bytes_total Bytes of node links.
# TYPE enfilade_link_io_bytes_total counter
enfilade_link_io_bytes_total{enfilade_peer="eye@local",network_io_direction="receive",node="bank@east"} 1000.0
# HELP process_cpu_time_seconds_total Processor time of the OS process.
# TYPE process_cpu_time_seconds_total counter
process_cpu_time_seconds_total{cpu_mode="user",node="bank@east"} 1.5
process_cpu_time_seconds_total{cpu_mode="system",node="bank@east"} 0.5
"""
    )


def test_the_same_in_open_metrics() -> None:
    kind, text = exposition({"bank@east": SOME}, "application/openmetrics-text;version=1.0.0")
    assert kind == OPEN
    lines = text.decode().splitlines()
    assert lines[-1] == "# EOF"
    assert "# TYPE enfilade_process_started counter" in lines
    started = (
        'enfilade_process_started_total{enfilade_actor="Till",enfilade_process_kind="actor",node="bank@east"}'
    )
    assert f"{started} 4.0" in lines
    assert len(list(openmetrics.text_string_to_metric_families(text.decode()))) == len(SOME)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", PLAIN),
        ("*/*", PLAIN),
        ("text/html", PLAIN),
        ("text/plain;version=0.0.4;q=0.5", PLAIN),
        ("nonsense;;;,,,=", PLAIN),
        ("application/json", PLAIN),
        ("application/openmetrics-text", OPEN),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", OPEN),
        ("application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", OPEN),
        ("APPLICATION/OPENMETRICS-TEXT", OPEN),
        ("text/plain;version=1.0.0;escaping=allow-utf-8", PLAIN),
        ("application/openmetrics-text;q=0,*/*", PLAIN),
        ("application/openmetrics-text;q=0.3,text/plain;q=0.7", PLAIN),
        ("application/openmetrics-text;q=nan", PLAIN),
        ("application/openmetrics-text;q=x", PLAIN),
        ("application/openmetrics-text;version=2.0.0;escaping=allow-utf-8", OPEN),
        ("\x00" * 100, PLAIN),
        ("application/openmetrics-text," * 5_000, OPEN),
    ],
)
def test_the_format_is_one_of_two(accept: str, kind: str) -> None:
    """Prometheus 3 asks for newer ones first, and takes these."""
    assert exposition({"bank@east": SOME}, accept)[0] == kind


def test_nothing_read_is_an_empty_text() -> None:
    assert exposition({}) == (PLAIN, b"")
    assert exposition({"bank@east": {}}, "application/openmetrics-text")[1] == b"# EOF\n"


HOSTILE = ['a"b', "a\\b", "a\nb", "a{b}", "ä", "\u202e", "a,b=c", "", "\ud800", "x" * 5_000, "\x00"]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
@pytest.mark.parametrize("accept", ["", "application/openmetrics-text"])
async def test_any_name_of_a_class_is_one_value(text: str, accept: str, autojump_clock: MockClock) -> None:
    """And the lines around it stay what they are."""
    from enfilade.actors.observing.tables.walker import Walker
    from enfilade.actors.observing.telemetry.metrics import Metrics

    async with open_node("bank") as node:
        kind = type("Till", (Actor,), {})
        kind.__qualname__ = text
        kind.__name__ = text if "\x00" not in text and text.isprintable() else "Till"
        await node.spawn(kind)
        readings = await Metrics(node, Walker(node), node.observation.counts).readings(0.5, messages=False)
    encoded = exposition({"bank@local": readings}, accept)[1].decode()
    parse = openmetrics if accept else parser
    families = {each.name: each for each in parse.text_string_to_metric_families(encoded)}
    actors = {sample.labels["enfilade_actor"] for sample in families["enfilade_process_count"].samples}
    assert len(actors) >= 1
    assert all(len(actor) < 1_100 for actor in actors)
    assert "process_memory_usage_bytes" in families


def test_nodes_side_by_side_have_a_label_each() -> None:
    text = exposition({"bank@east": SOME, "bank@west": SOME, 'x"y@z': SOME})[1].decode()
    families = list(parser.text_string_to_metric_families(text))
    assert len(families) == len(SOME), "each family once, whatever the nodes"
    assert {sample.labels["node"] for family in families for sample in family.samples} == {
        "bank@east",
        "bank@west",
        'x"y@z',
    }


def test_every_instrument_has_a_name_of_its_own_in_both() -> None:
    readings = {each.name: [({}, 1.0)] for each in INSTRUMENTS}
    for accept, parse in (("", parser), ("application/openmetrics-text", openmetrics)):
        text = exposition({"bank@east": readings}, accept)[1].decode()
        families = list(parse.text_string_to_metric_families(text))
        assert len({family.name for family in families}) == len(INSTRUMENTS)
        for name in re.findall(r"^([a-z_]+)\{", text, re.M):
            assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
            assert "__" not in name
    counters = [each.name.replace(".", "_") for each in INSTRUMENTS if each.kind == "counter"]
    for name in counters:
        assert re.search(rf"^{name}(_seconds|_bytes)?_total\{{", text, re.M), name
    assert len(re.findall(r"^[a-z_]+_total\{", text, re.M)) == len(counters)


async def exchanged(request: bytes, answers: Any) -> tuple[bytes, bytes]:
    """The head and the body of the answer to a request on a connection of its own."""
    client, server = memory_stream_pair()
    seen = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answers, server)
        await client.send_all(request)
        while b"\r\n\r\n" not in seen:
            seen += await client.receive_some() or b"\r\n\r\n"
        head, _, body = seen.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        while length and b"HEAD" not in request[:4] and len(body) < int(length[1]):
            body += await client.receive_some()
        nursery.cancel_scope.cancel()
    return head, body


async def test_head_is_get_without_the_text(autojump_clock: MockClock) -> None:
    async with open_node("bank") as node:
        answers = own_answers(node, messages=False)
        get, text = await exchanged(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n", answers)
        head, nothing = await exchanged(b"HEAD /metrics HTTP/1.1\r\nhost: a\r\n\r\n", answers)
    assert get.startswith(b"HTTP/1.1 200")
    assert PLAIN.encode() in get
    assert b"enfilade_mailbox_longest" in text
    assert nothing == b""
    assert get.splitlines()[0] == head.splitlines()[0]
    assert PLAIN.encode() in head


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET / HTTP/1.1", b"404"),
        (b"GET /metrics/ HTTP/1.1", b"404"),
        (b"GET //metrics HTTP/1.1", b"404"),
        (b"GET /metrics?name[]=up HTTP/1.1", b"200"),
        (b"DELETE /metrics HTTP/1.1", b"405"),
        (b"POST /other HTTP/1.1", b"405"),
        (b"OPTIONS * HTTP/1.1", b"405"),
        (b"nonsense", b"400"),
    ],
)
async def test_one_path_and_two_methods(
    request_line: bytes, status: bytes, autojump_clock: MockClock
) -> None:
    async with open_node("bank") as node:
        answers = own_answers(node, messages=False)
        head, _ = await exchanged(request_line + b"\r\nhost: a\r\n\r\n", answers)
    assert head.split(b" ")[1] == status


async def test_a_fifth_scrape_waits_for_one_of_four(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from enfilade.actors.cli.scrapes import OwnReader

    inside = most = 0

    async def refresh(self: OwnReader) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await trio.sleep(1)
        inside -= 1
        self.readings = SOME

    monkeypatch.setattr(OwnReader, "refresh", refresh)
    async with open_node("bank") as node:
        answers = own_answers(node, messages=False)
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(3 * AT_A_TIME):
                nursery.start_soon(exchanged, b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n", answers)
        assert trio.current_time() - began == pytest.approx(3)
    assert most == AT_A_TIME
