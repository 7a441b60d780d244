"""Plain data: what JSON, a frame and an update carry in the place of anything else."""

from __future__ import annotations

import json
import logging
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enfilade.actors.logs import JsonFormatter
from enfilade.actors.messages.errors import RuntimeFault
from enfilade.actors.messages.plain import LARGEST, is_word, plain
from enfilade.actors.messages.reasons import Custom
from enfilade.actors.messages.safe_id import safe_id
from enfilade.actors.peers.faults import error_in_words

HALF = "a\ud800b"  # half of a surrogate pair
ODD = type("Odd", (int,), {})(3)
SHARE = type("Share", (float,), {})(0.5)
NAME = type("Name", (str,), {})("till")

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text()
    | st.just(HALF)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.integers(), inner),
)


def test_what_is_plain_is_the_same() -> None:
    same = {"a": [1, 2.5, None, True, "text", "касса", {"b": [-LARGEST, LARGEST]}]}
    assert plain(same, safe_id, 4) == same


def test_what_is_not_plain_is_told_in_words() -> None:
    assert plain({HALF: (HALF, 2**100, ODD, b"x", safe_id)}, safe_id, 2) == {
        "a\\ud800b": ["a\\ud800b", str(2**100), "<Odd>", "b'x'", "<function>"]
    }
    assert plain([[1]], safe_id, 1) == ["<list>"]
    assert plain({(1, 2): 3, 4: 5}, safe_id, 1) == {"(1, 2)": 3, 4: 5}
    assert plain({4: {5: 6}}, safe_id, 2, str) == {"4": {"5": 6}}


def test_nothing_is_too_deep() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    assert plain(deep, safe_id, 2) == [["<list>"]]


@pytest.mark.parametrize("number", [LARGEST, -LARGEST, LARGEST + 1, -LARGEST - 1, 2**64])
def test_the_largest_number(number: int) -> None:
    assert is_word(number) == (abs(number) < 2**63) == (plain(number, str) == number)


@given(anything)
def test_plain_data_can_be_written(value: object) -> None:
    msgspec.msgpack.encode(plain(value, safe_id, 3))
    json.dumps(plain(value, safe_id, 3, str)).encode()


@pytest.mark.parametrize("value", [HALF, 2**100, ODD, SHARE, NAME, {1: SHARE}, (b"x",), {(1,): 2}, safe_id])
def test_a_record_with_something_odd_keeps_its_message(value: object) -> None:
    record = logging.makeLogRecord({"msg": "stock of %s", "args": ("tea",), "odd": value, "half": HALF})
    line = json.loads(JsonFormatter().format(record))
    assert line["message"] == "stock of tea"
    assert line["extra"]["half"] == "a\\ud800b"
    assert "odd" in line["extra"]


@pytest.mark.parametrize("value", [HALF, 2**100, ODD, SHARE, NAME, [1], {"a": 1}, safe_id, "x" * 10_000])
def test_an_error_with_something_odd_travels(value: object) -> None:
    error = RuntimeFault("out of tea")
    error.odd, error.count, error.why = value, 7, Custom(value)  # type: ignore[attr-defined]
    told: Any = error_in_words(error, "shop")
    assert type(told) is RuntimeFault
    assert told.args == ("out of tea",)
    assert told.count == 7
    assert type(told.odd) is str
    assert len(told.odd.encode()) <= 1_000
    assert type(told.why) is Custom
