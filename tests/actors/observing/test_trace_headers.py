"""The header fields of W3C Trace Context, as programs give them to `use`."""

from __future__ import annotations

from typing import Any

import pytest

from enfilade.actors.observing.telemetry import context, use

GOOD = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "00",
        GOOD.upper(),
        GOOD[:-1],
        GOOD + "0",
        GOOD.replace("0af7", "0ag7"),
        "ff" + GOOD[2:],
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
        GOOD + "-extra",
        GOOD.replace("-", "_"),
        "\u0660" + GOOD[1:],
        GOOD + "\n",
        " " + GOOD,
    ],
)
def test_a_traceparent_that_w3c_does_not_allow(parent: str) -> None:
    with pytest.raises(ValueError, match="traceparent"), use(parent):
        raise AssertionError
    assert context() is None


def test_a_traceparent_of_a_later_version_is_read() -> None:
    with use("01" + GOOD[2:] + "-what-comes-later"):
        found = context()
        assert found is not None
        assert found.traceparent[3:52] == GOOD[3:52]
    with use("cc" + GOOD[2:]):
        assert context() is not None


@pytest.mark.parametrize("parent", [5, b"x", object()])
def test_a_traceparent_of_another_type(parent: Any) -> None:
    with pytest.raises(TypeError, match="traceparent"), use(parent):
        raise AssertionError
    assert context() is None


async def test_contexts_are_nested_and_put_back() -> None:
    other = GOOD.replace("0af7", "1af7")
    with use(GOOD, "a=1"):
        first = context()
        with use(other):
            assert context().traceparent == other  # type: ignore[union-attr]
            with use(None):
                assert context() is None
        assert context() == first
        assert first is not None
        assert first.tracestate == "a=1"
    assert context() is None
    with pytest.raises(KeyError), use(GOOD):
        raise KeyError
    assert context() is None


@pytest.mark.parametrize("state", ["x" * 513, "\u00e9" * 300, "\ud800", "a=1\nb=2", "a=\x00"])
def test_states_that_are_too_long_or_no_field_are_left_out(state: str) -> None:
    with use(GOOD, state):
        assert context().tracestate == ""  # type: ignore[union-attr]


@pytest.mark.parametrize("state", [5, None, b"a=1"])
def test_states_of_another_type(state: Any) -> None:
    with pytest.raises(TypeError, match="tracestate"), use(GOOD, state):
        raise AssertionError
