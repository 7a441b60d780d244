"""Values as bytes: there and back, and what does not fit."""

import ctypes
import dataclasses
import struct
from typing import Annotated, Any, get_origin

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enfilade.transport.doors.codec import CodecError, codec_for


class Point(ctypes.Structure):
    _fields_ = (("x", ctypes.c_int32), ("y", ctypes.c_double))


@attrs.frozen
class Order:
    item: str
    count: int


@dataclasses.dataclass
class Line:
    start: tuple[int, int]
    end: tuple[int, int]


class Message(msgspec.Struct):
    body: bytes
    tags: list[str] = []


INT64 = st.integers(-(2**63), 2**63 - 1)

ROUND_TRIPS = {
    "none": (None, st.none()),
    "bytes": (bytes, st.binary()),
    "bytearray": (bytearray, st.binary().map(bytearray)),
    "str": (str, st.text()),
    "bool": (bool, st.booleans()),
    "int": (int, INT64),
    "float": (float, st.floats(allow_nan=False)),
    "packed one": (Annotated[int, "<H"], st.integers(0, 65535)),
    "packed several": (
        Annotated[tuple[int, int], struct.Struct(">IB")],
        st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 255)),
    ),
    "attrs": (Order, st.builds(Order, st.text(), INT64)),
    "dataclass": (Line, st.builds(Line, st.tuples(INT64, INT64), st.tuples(INT64, INT64))),
    "msgspec": (Message, st.builds(Message, st.binary(), st.lists(st.text()))),
    "list": (list[int], st.lists(INT64)),
    "dict": (dict[str, float], st.dictionaries(st.text(), st.floats(allow_nan=False))),
    "union": (int | str | None, st.one_of(INT64, st.text(), st.none())),
}


@pytest.mark.parametrize("name", ROUND_TRIPS)
@given(data=st.data())
def test_there_and_back(name: str, data: st.DataObject) -> None:
    annotation, values = ROUND_TRIPS[name]
    codec = codec_for(annotation)
    value = data.draw(values)
    encoded = memoryview(codec.encode(value))
    if codec.size is not None:
        assert encoded.nbytes == codec.size
    assert codec.decode(encoded) == value


@given(x=st.integers(-(2**31), 2**31 - 1), y=st.floats(allow_nan=False))
def test_ctypes_there_and_back(x: int, y: float) -> None:
    codec = codec_for(Point)
    assert codec.size == ctypes.sizeof(Point)
    decoded = codec.decode(memoryview(codec.encode(Point(x, y))))
    assert (decoded.x, decoded.y) == (x, y)
    number = codec_for(ctypes.c_int32)
    assert number.decode(memoryview(number.encode(x))).value == x
    assert number.encode(ctypes.c_int32(x)) == number.encode(x)


def test_int_is_what_c_has() -> None:
    assert codec_for(int).encode(111) == struct.pack("=q", 111)
    assert codec_for(int).size == 8


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, "x"),
        (int, 2**70),
        (bool, "x"),
        (bool, 2),
        (str, b"x"),
        (bytes, 7),
        (None, 1),
        (Annotated[int, "<H"], -1),
        (Annotated[tuple[int, int], "<HH"], (1, 2, 3)),
        (Point, "x"),
        (Order, object()),
        (Order, 5),
        (list[int], ["x"]),
        (str, "\ud800"),
        (list[str], ["\ud800"]),
    ],
)
def test_value_that_does_not_fit(annotation: Any, value: object) -> None:
    with pytest.raises(CodecError):
        codec_for(annotation).encode(value)


@pytest.mark.parametrize(
    ("annotation", "data"),
    [
        (int, b"1234567"),
        (int, b""),
        (str, b"\xff\xff"),
        (None, b"x"),
        (Annotated[int, "<H"], b"123"),
        (Point, b"short"),
        (Order, b"\xc0"),
        (Order, b""),
        (list[int], b"\x91\xa1x"),
        (dict[str, float], b"\x81\xa2\x00\x80"),
        (Any, b"\x91" * 100_000),
    ],
)
def test_bytes_that_are_no_value(annotation: Any, data: bytes) -> None:
    with pytest.raises(CodecError):
        codec_for(annotation).decode(memoryview(data))


@given(data=st.binary(max_size=64))
@pytest.mark.parametrize("annotation", [int, str, Point, Order, Message, list[int], dict[str, float]])
def test_hostile_bytes_are_refused_or_decoded(annotation: Any, data: bytes) -> None:
    """Whatever arrives, decoding gives a value of the type, which travels on as it came, or a CodecError."""
    codec = codec_for(annotation)
    try:
        value = codec.decode(memoryview(data))
    except CodecError:
        return
    assert isinstance(value, get_origin(annotation) or annotation)
    again = bytes(codec.encode(value))
    assert bytes(codec.encode(codec.decode(memoryview(again)))) == again
    if annotation in (int, str, Point):  # of these, each value has one form
        assert again == data


@given(data=st.data())
@pytest.mark.parametrize("name", ["attrs", "msgspec", "list", "dict", "union", "dataclass"])
def test_damaged_bytes_are_refused_or_decoded(name: str, data: st.DataObject) -> None:
    """One byte of a good value is another: what still decodes is a value of the type, and travels on."""
    annotation, values = ROUND_TRIPS[name]
    codec = codec_for(annotation)
    damaged = bytearray(codec.encode(data.draw(values)))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        value = codec.decode(memoryview(damaged))
    except CodecError:
        return
    if isinstance(annotation, type):
        assert isinstance(value, get_origin(annotation) or annotation)
    assert repr(codec.decode(memoryview(codec.encode(value)))) == repr(value)


class Reversed:
    """A codec of one's own."""

    size = None

    def encode(self, value: str) -> bytes:
        return value[::-1].encode()

    def decode(self, data: memoryview) -> str:
        return bytes(data).decode()[::-1]


def test_codec_of_ones_own() -> None:
    codec = codec_for(Annotated[str, Reversed()])
    assert codec.encode("abc") == b"cba"
    assert codec.decode(memoryview(b"cba")) == "abc"


def test_value_without_an_end() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(CodecError):
        codec_for(list[Any]).encode(endless)


class Pointing(ctypes.Structure):
    _fields_ = (("count", ctypes.c_int), ("items", ctypes.POINTER(ctypes.c_int)))


class PointingToo(Point):
    _fields_ = (("pair", Pointing * 2),)


@attrs.frozen
class Wave:
    parts: dict[str, list[complex]]


def test_type_that_cannot_travel() -> None:
    annotations = (
        Reversed,
        Order | Line,
        list[complex],
        Wave,
        Annotated[int, "no format"],
        ctypes.py_object,
        ctypes.c_char_p,
        PointingToo,
    )
    for annotation in annotations:
        with pytest.raises(TypeError, match="cannot go through a door"):
            codec_for(annotation)
