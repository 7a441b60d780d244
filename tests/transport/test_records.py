"""Records from a peer: fields are checked down to their items; and what an error tells of this node."""

from typing import Any

import attrs
import msgspec
import pytest

from enfilade.transport import Codec, FieldMismatch, TypeRegistry

types = TypeRegistry()


@types.register
@attrs.frozen
class Point:
    x: int


@types.register
@attrs.frozen
class Table:
    rows: dict[str, list[int]] = attrs.field(factory=dict)
    pair: tuple[int, str] = (0, "")
    many: tuple[Point, ...] = ()
    plain: dict[Any, Any] = attrs.field(factory=dict)


def carry(value: Any) -> Any:
    return Codec(types).decode(*Codec(types).encode(value))


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("rows", {"a": [1]}, {"a": ["1"]}),
        ("rows", {}, {1: [1]}),
        ("rows", {"a": []}, {"a": None}),
        ("pair", (1, "x"), ("x", 1)),
        ("pair", (1, "x"), (1, "x", 2)),
        ("pair", (1, "x"), [1, "x"]),
        ("many", (Point(1), Point(2)), (Point(1), 2)),
        ("plain", {1: 2, "a": None}, [1]),
    ],
)
def test_what_is_in_dicts_and_tuples_is_checked(field: str, good: Any, bad: Any) -> None:
    """A field is checked when it comes as when it goes: a peer need not keep to what its own side checks."""
    value = Table(**{field: good})
    assert carry(value) == value
    wrong = Table(**{field: bad})
    with pytest.raises(FieldMismatch, match=field):
        carry(wrong)
    known = types.by_type(Table)
    assert known is not None
    fields = [getattr(wrong, name) for name in known.fields]
    codec = Codec(types)
    inner = bytes(codec.encode([known.name, known.version, known.shape, *fields])[0])
    with pytest.raises(FieldMismatch, match=field):
        codec.decode(msgspec.msgpack.encode(msgspec.msgpack.Ext(5, inner)))


@pytest.mark.parametrize(
    ("field", "bad", "said"),
    [
        ("pair", ("x", 1), r"Table\.pair must be tuple\[int, str\], not a tuple$"),
        ("plain", 5, r"Table\.plain must be dict\[typing\.Any, typing\.Any\], not int: 5$"),
    ],
)
def test_a_refusal_says_what_the_field_may_hold(field: str, bad: Any, said: str) -> None:
    with pytest.raises(FieldMismatch, match=said):
        carry(Table(**{field: bad}))


def test_a_traceback_tells_no_paths() -> None:
    """Another node learns where an error came about, and not where files lie or what is in them."""

    def fail() -> None:
        raise RuntimeError("odd")  # open sesame: a line of the source would tell

    with pytest.raises(RuntimeError) as caught:
        fail()
    trace = carry(caught.value).__cause__.trace
    assert 'File "test_records.py", line ' in trace
    assert "in fail" in trace
    assert "/" not in trace
    assert "sesame" not in trace
