"""Safe text: short, on one line, cheap, and never an error, whatever the object does.

Tests with a `KeyboardInterrupt` that no signal has raised run in trio, whose handler can be told from that.
"""

import array
import collections
import dataclasses
import functools
import logging
import os
import signal
import time
import types
from typing import Any

import attrs
import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from enfilade.actors.messages.guarded import guarded, log
from enfilade.actors.messages.safe_text import (
    NOTES,
    add_note,
    safe_arguments,
    safe_record,
    safe_repr,
    safe_str,
    shown_name,
)
from tests.actors.isolation.hostile import (
    METHODS,
    Frozen,
    Text,
    containers,
    hostile,
    nested,
    raisers,
    stack_left,
)


@attrs.frozen
class Point:
    x: Any
    secret: str = attrs.field(default="xyzzy", repr=False)
    masked: str = attrs.field(default="xyzzy", repr=lambda _: "***")


@dataclasses.dataclass(frozen=True)
class Missing(Exception):
    key: Any


class Struct(msgspec.Struct):
    a: Any


Pair = collections.namedtuple("Pair", "a b")


class Names(list[Any]):
    pass


def self_containing() -> list[Any]:
    value: list[Any] = [1]
    value.append(value)
    return value


def deep_group(depth: int) -> BaseException:
    error: Exception = ValueError("x")
    for _ in range(depth):
        error = ExceptionGroup("group", [error])
    return error


def is_safe(text: object, largest: int) -> bool:
    return type(text) is str and text.isprintable() and len(text) <= max(largest, 3)


@pytest.mark.parametrize(
    "value",
    [
        *("text", 'a"b', "a\nb", b"\x00", bytearray(b"x"), 5, -(2**70), 1.5, True, None, ..., 2j),
        *([], [1, [2]], (), (1,), (1, 2), {}, {1: [2]}, set(), {1}, frozenset(), frozenset({1})),
        *(collections.deque([1]), array.array("i", [1]), range(5), slice(1, 2)),
        *(
            Pair(1, [2]),
            Missing("k"),
            Struct(Struct(1)),
            Names([1]),
            types.SimpleNamespace(a=1),
            {1: 2}.keys(),
        ),
        *(
            ValueError(),
            ValueError("x"),
            KeyError("x", 2),
            OSError(2, "no", "f"),
            ExceptionGroup("g", [ValueError(1)]),
        ),
        *(functools.partial(print, 1, end=""), Point, len),
    ],
    ids=lambda value: repr(value).split(" at 0x")[0],
)
def test_ordinary_objects_are_shown_as_usual(value: Any) -> None:
    """`safe_repr` and `safe_str` are `repr` and `str` of objects that are small, plain and on one line."""
    assert safe_repr(value) == repr(value)
    assert safe_str(value) == str(value).replace("\n", r"\n")


class Couple(tuple[Any, ...]):
    """A tuple that is no named one, and shows itself."""

    def __repr__(self) -> str:
        return "a couple"


@attrs.frozen
class Whole:
    x: int
    y: str


UNPRINTABLE = type("one\nother", (), {})

EXACT: list[tuple[str, str]] = [
    (safe_repr(types.MappingProxyType({"a": 1, "b": 2})), "mappingproxy with the keys ['a', 'b']"),
    (safe_repr(self_containing()), "[1, ...]"),
    (safe_repr(Point(1).__eq__), "<bound method Point.__eq__ of Point(x=1, masked=***)>"),
    (safe_repr(Couple((1, 2))), "a couple"),
    (safe_repr(Pair(1, [2])), "Pair(a=1, b=[2])"),
    (safe_str(OSError(None, "text")), "(None, 'text')"),
    (safe_str(OSError(5, None)), "(5, None)"),
    (safe_record(Whole(1, "two")), "Whole(x=1, y='two')"),
    (shown_name(UNPRINTABLE), "one\\nother"),
    (safe_arguments((1, "two"), {"three": 3}), "1, 'two', three=3"),
    (safe_arguments(tuple(range(100)), {"last": 1}), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, and 91 more"),
]


@pytest.mark.parametrize(("shown", "text"), EXACT)
def test_texts_in_full(shown: str, text: str) -> None:
    """Each kind that has a form of its own."""
    assert shown == text


def test_fields_are_shown_as_their_class_says() -> None:
    assert safe_repr(Point([1])) == "Point(x=[1], masked=***)"


@pytest.mark.parametrize(
    "value",
    [
        "x" * 20_000_000,
        bytes(20_000_000),
        bytearray(20_000_000),
        list(range(3_000_000)),
        dict.fromkeys(range(1_000_000)),
        set(range(1_000_000)),
        array.array("q", bytes(8_000_000)),
        1 << 50_000_000,
        ValueError("x" * 20_000_000),
        ValueError(bytes(20_000_000), bytes(20_000_000)),
        KeyError(bytes(20_000_000)),
        OSError(2, "x" * 20_000_000, bytes(20_000_000)),
        Point(bytes(20_000_000)),
        Missing(bytes(20_000_000)),
        Struct(bytes(20_000_000)),
        Pair(bytes(20_000_000), 1),
        Names(range(1_000_000)),
        functools.partial(print, bytes(20_000_000)),
        nested(100_000),
        self_containing(),
        deep_group(1_000),
        type("N" * 1_000_000, (), {})(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_work_and_size_are_bounded(value: Any) -> None:
    """A value of any size costs well below a millisecond."""
    best = 1.0
    for show in (safe_repr, safe_str):
        for _ in range(3):
            began = time.perf_counter()
            text = show(value)
            best = min(best, time.perf_counter() - began)
        assert is_safe(text, 200)
    assert best < 0.001


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("what", raisers)
async def test_hostile_objects_are_shown(method: str, what: str) -> None:
    """What an object raises or returns when looked at does not matter, be it alone or in a container."""
    for base in (object, list, dict, str, int, Exception, Frozen, Point):
        kind = hostile(method, raisers[what], base)
        try:
            value = kind.__new__(kind)
        except BaseException:
            continue
        for each in containers(value):
            assert is_safe(safe_repr(each), 200)
            assert is_safe(safe_str(each), 200)
            assert is_safe(shown_name(each), 200)
        if method == "__del__":
            del kind.__del__


@given(
    st.recursive(
        st.none()
        | st.integers()
        | st.text()
        | st.binary()
        | st.floats()
        | st.sampled_from(sorted(set(raisers) - {"KeyboardInterrupt"})).map(
            lambda name: hostile("__repr__", raisers[name])()
        ),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.text(), inner) | inner.map(Point) | inner.map(Missing)
        ),
        max_leaves=20,
    ),
    st.integers(0, 400),
)
def test_every_text_is_short_and_on_one_line(value: Any, largest: int) -> None:
    for text in (safe_repr(value, largest), safe_str(value, largest)):
        assert is_safe(text, largest)


@given(st.text())
def test_a_text_cannot_forge_a_line(text: str) -> None:
    shown = safe_str(text, 10_000)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()


def test_texts_at_the_end_of_the_stack() -> None:
    """There is a text, or the `RecursionError` of the caller's own call; never one from the inside."""
    for left in range(1, 40):
        for value in (nested(500), ValueError([Point(1)]), hostile("__repr__", raisers["recursion"])()):
            try:
                text = stack_left(left, functools.partial(safe_repr, value))
            except RecursionError as error:
                trace = error.__traceback__
                while trace is not None:
                    assert not trace.tb_frame.f_code.co_filename.endswith("messages/safe_text.py") or left < 6
                    trace = trace.tb_next
            else:
                assert is_safe(text, 200)


async def test_an_interrupt_passes() -> None:
    """Ctrl-C during a `repr` is heard; a `KeyboardInterrupt` that the object itself raises is not one."""

    class Slow:
        def __repr__(self) -> str:
            signal.raise_signal(signal.SIGINT)
            return "slow"

    for show in (safe_repr, safe_str, shown_name):
        with pytest.raises(KeyboardInterrupt):
            show([Slow()])
    with pytest.raises(KeyboardInterrupt):
        guarded(os.kill, os.getpid(), signal.SIGINT)
    assert "KeyboardInterrupt" in safe_repr(hostile("__repr__", raisers["KeyboardInterrupt"])())


@pytest.mark.parametrize("what", sorted(raisers))
async def test_notes_never_fail(what: str) -> None:
    for method in ("__setattr__", "add_note", "__getattribute__", "__notes__", "__class__", "__dict__"):
        add_note(hostile(method, raisers[what], Exception)(), "a note")
        add_note(hostile(method, property(raisers[what]), Exception)(), "a note")


def test_notes_of_any_type() -> None:
    for notes in (None, (), "text", 5, ["ok"], Text("x")):
        error = ValueError()
        error.__notes__ = notes  # type: ignore[assignment]
        add_note(error, "a note")


@pytest.mark.parametrize("error", [ValueError(), Frozen(), Missing("k")], ids=repr)
def test_notes_are_kept_and_limited(error: BaseException) -> None:
    """A frozen error takes notes, too, and one that is raised again and again does not grow."""
    for _ in range(1_000):
        add_note(error, "a note")
    assert error.__notes__ == ["a note"] * NOTES


@pytest.mark.parametrize(
    "what", sorted(set(raisers) - {"a number", "itself", "a huge text", "control characters"})
)
async def test_guarded_calls_never_fail(what: str, caplog: pytest.LogCaptureFixture) -> None:
    """What a guarded call raises is logged, whatever it is."""
    if what == "a subclass of str":
        return
    assert guarded(raisers[what], hostile("__repr__", raisers[what])()) is None
    assert "failed for" in caplog.text
    assert guarded(max, 1, 2) == 2


@pytest.mark.parametrize("what", sorted(raisers))
@pytest.mark.parametrize("where", ["handler", "filter", "formatter"])
async def test_logging_never_fails(what: str, where: str) -> None:
    """What handlers, filters and formatters raise stays with them."""
    handler = logging.Handler()
    handler.emit = raisers[what]  # type: ignore[method-assign]
    if where == "formatter":
        handler = logging.StreamHandler()
        handler.format = raisers[what]  # type: ignore[method-assign]
    logger = logging.getLogger("enfilade.actors")
    if where == "filter":
        logger.addFilter(raisers[what])
    logger.addHandler(handler)
    try:
        log(logging.ERROR, "%s", Text("x"), error=Frozen(nested(2_000)))
    finally:
        logger.removeHandler(handler)
        logger.filters.clear()


async def test_nothing_is_computed_where_nothing_is_logged() -> None:
    shown: list[int] = []
    value = hostile("__repr__", lambda _: shown.append(1) or "x")()
    logging.getLogger("enfilade.actors").setLevel(logging.CRITICAL)
    try:
        log(logging.ERROR, "%s", value)
    finally:
        logging.getLogger("enfilade.actors").setLevel(logging.NOTSET)
    await trio.lowlevel.checkpoint()
    assert not shown


def test_what_a_line_carries(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    """The fields that are there, the error for a handler of the program, a number in its own format; one line
    for each handler, and none on stderr.
    """
    error = LookupError("missing")
    with caplog.at_level(logging.INFO, logger="enfilade.actors"):
        log(logging.INFO, "%.2f of %d: %s", 1.234, 5, "text", error=error, extra={"ref": 7, "peer": None})
    (record,) = caplog.records
    assert record.getMessage() == "1.23 of 5: text"
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert vars(record)["ref"] == 7
    assert "peer" not in vars(record)
    assert "1.23" not in capsys.readouterr().err
