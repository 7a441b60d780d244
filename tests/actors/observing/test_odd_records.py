"""Records of the log that make little sense, as lines of JSON."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from enfilade.actors import Actor, open_node
from enfilade.actors.logs import Context, JsonFormatter
from enfilade.actors.observing.telemetry import use

GOOD = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def line(**fields: Any) -> dict[str, Any]:
    text = JsonFormatter().format(logging.makeLogRecord(fields))
    assert "\n" not in text
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


class Bad:
    def __repr__(self) -> str:
        raise ValueError

    __str__ = __repr__


@pytest.mark.parametrize(
    "fields",
    [
        {"msg": "%d", "args": ("x",)},
        {"msg": Bad()},
        {"msg": "a", "args": (1,)},
        {"msg": "a", "created": float("nan")},
        {"msg": "a", "created": 1e30},
        {"msg": "a", "created": None},
        {"msg": "a", "levelname": Bad()},
        {"msg": "a", "levelname": None},
        {"msg": "a", "name": None},
        {"msg": "a", "exc_info": True},
        {"msg": "a", "exc_info": (None, None, None)},
        {"msg": "a", "exc_info": (1, 2, 3)},
        {"msg": "a", "exc_text": Bad()},
        {"msg": "a", "stack_info": Bad()},
        {"msg": "a", "mine": {1: {2: {3: {4: {5: Bad()}}}}}},
        {"msg": "a", "mine": float("inf")},
        {"msg": "a", "mine": "\ud800"},
        {"msg": "\ud800"},
        {"msg": "a\r\nb\u2028c"},
        {"msg": "a", "node": Bad()},
        {"msg": "a", "guest": Bad()},
        {"msg": "a", "mine": 10**400},
        {"msg": "a", "mine": b"\xff"},
        {"msg": "a", "mine": {Bad(): 1}},
        {"msg": "a", "mine": {"x": {1, 2}}},
        {"msg": "a", "extra": "its own"},
    ],
)
def test_no_record_stops_the_formatter(fields: dict[str, Any]) -> None:
    found = line(**fields)
    assert {"time", "level", "logger", "message"} <= found.keys()


def test_the_time_of_a_record() -> None:
    assert line(msg="x", created=0.0)["time"] == "1970-01-01T00:00:00.000Z"
    assert line(msg="x", created=1.9996)["time"] in ("1970-01-01T00:00:01.999Z", "1970-01-01T00:00:02.000Z")


def test_a_circle_among_the_extras() -> None:
    circle: list[Any] = []
    circle.append(circle)
    found = line(msg="x", mine=circle)
    assert found["message"] == "x"


async def test_records_of_the_program_name_the_process(caplog: pytest.LogCaptureFixture) -> None:
    class Talker(Actor):
        def say(self) -> None:
            logging.getLogger("shop").warning("hello")

    caplog.handler.addFilter(found := Context())
    try:
        async with open_node("shop", zone="east") as node:
            ref = await node.spawn(Talker, name="talker", label="the loud one")
            with use(GOOD):
                await ref.call(Talker.say)
    finally:
        caplog.handler.removeFilter(found)
    record = next(each for each in caplog.records if each.name == "shop")
    shown = json.loads(JsonFormatter().format(record))
    assert shown["node"] == "shop@east"
    assert shown["zone"] == "east"
    assert shown["process"] == ref.serial
    assert shown["process_name"] == "talker"
    assert shown["label"] == "the loud one"
    assert shown["actor"].endswith("Talker")
    assert shown["trace_id"] == GOOD[3:35]
