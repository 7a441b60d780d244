"""The codec: round trips, and what it refuses."""

import enum
import random
import struct
import types
import typing
from typing import Annotated, Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enfilade.hostcalls import abi
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.codec.rkyv import (
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    MOST_ELEMENTS,
    MOST_NUMBERS,
    U8,
    U16,
    U32,
    U64,
    Array,
    CodecError,
    DecodeError,
    EncodeError,
    codec,
    layout,
)


@attrs.frozen
class Deep:
    """A type with every nesting that the codec knows."""

    flag: bool
    names: tuple[tuple[str, ...], ...]
    inner: abi.TlsServerBundle
    maybe: abi.AbiParam | None
    digest: Annotated[bytes, Array(5)]
    number: F64
    unit: None


INTEGERS = {
    U8: (8, False),
    I8: (8, True),
    U16: (16, False),
    I16: (16, True),
    U32: (32, False),
    I32: (32, True),
}
INTEGERS |= {U64: (64, False), I64: (64, True)}
NUMBERS = (*INTEGERS, F32, F64)
ROOTS = [
    value
    for value in vars(abi).values()
    if isinstance(value, type) and attrs.has(value) and value.__module__ == abi.types.__name__
]
ROOTS = [root for root in ROOTS if root.__name__ != "ScalarValue"]
UNIONS: list[Any] = [abi.AbiParam, abi.AbiValue, abi.EntrypointArg, abi.AbiScalarValue]
ALL: list[Any] = [
    *ROOTS,
    *UNIONS,
    Deep,
    str,
    bytes,
    bool,
    U8,
    I64,
    F64,
    tuple[str, ...],
    tuple[abi.EntrypointArg, ...],
]


NAMES: dict[Any, str] = {
    **dict(zip(NUMBERS, ("U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64", "F32", "F64"), strict=True)),
    abi.AbiScalarValue: "AbiScalarValue",
}


def name_of(annotation: Any) -> str:
    """What a test is called by: the same in every process, as `repr` of what an annotation carries is not."""
    if annotation in NAMES:
        return NAMES[annotation]
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return annotation.__name__
    parts = [name_of(part) for part in typing.get_args(annotation) if part is not Ellipsis]
    if isinstance(annotation, types.UnionType):
        return "|".join(parts)
    return f"{typing.get_origin(annotation).__name__}[{','.join(parts)}]"


def values(annotation: Any) -> st.SearchStrategy[Any]:
    """Values of the type, built from the same annotation that the codec is built from."""
    if annotation in INTEGERS:
        bits, signed = INTEGERS[annotation]
        low = -(1 << bits - 1) if signed else 0
        return st.integers(low, low + (1 << bits) - 1)
    if annotation is F32 or annotation is F64:
        return st.floats(allow_nan=False, width=32 if annotation is F32 else 64)
    simple: dict[Any, st.SearchStrategy[Any]] = {
        str: st.text(max_size=90),
        bytes: st.binary(max_size=90),
        bool: st.booleans(),
        None: st.none(),
        type(None): st.none(),
        abi.AbiScalarValue: st.sampled_from(abi.ScalarType).flatmap(
            lambda kind: values(abi.types._SCALARS[kind]).map(lambda value: abi.ScalarValue(kind, value))
        ),
    }
    if annotation in simple:
        return simple[annotation]
    if isinstance(annotation, type) and issubclass(annotation, enum.IntEnum):
        return st.sampled_from(annotation)
    if isinstance(annotation, type) and attrs.has(annotation):
        hints = typing.get_type_hints(annotation, include_extras=True)
        return st.builds(annotation, *[values(hints[field.name]) for field in attrs.fields(annotation)])
    arguments = getattr(annotation, "__args__", ())
    if isinstance(getattr(annotation, "__metadata__", (None,))[0], Array):
        size = annotation.__metadata__[0].size
        return st.binary(min_size=size, max_size=size)
    if arguments[-1] is Ellipsis:
        return st.lists(values(arguments[0]), max_size=4).map(tuple)
    return st.one_of([values(argument) for argument in arguments])


@pytest.mark.parametrize("annotation", ALL, ids=name_of)
def test_round_trip(annotation: Any) -> None:
    """Every value of every type comes back from its encoding."""

    @settings(max_examples=40)
    @given(values(annotation))
    def check(value: Any) -> None:
        encoded = codec(annotation).encode(value)
        assert codec(annotation).decode(encoded) == value
        assert codec(annotation).encode(codec(annotation).decode(encoded)) == encoded

    check()


def is_of(annotation: Any, value: Any) -> bool:
    """Whether a value is one of the type, in every part."""
    if annotation in INTEGERS:
        bits, signed = INTEGERS[annotation]
        low = -(1 << bits - 1) if signed else 0
        return type(value) is int and low <= value < low + (1 << bits)
    if annotation in (F32, F64):
        return type(value) is float
    if annotation is None or annotation is type(None):
        return value is None
    if annotation is abi.AbiScalarValue:
        return (
            type(value) is abi.ScalarValue
            and type(value.kind) is abi.ScalarType
            and is_of(abi.types._SCALARS[value.kind], value.value)
        )
    if isinstance(annotation, type) and attrs.has(annotation):
        hints = typing.get_type_hints(annotation, include_extras=True)
        return type(value) is annotation and all(
            is_of(hints[field.name], getattr(value, field.name)) for field in attrs.fields(annotation)
        )
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return type(value) is annotation
    sized = getattr(annotation, "__metadata__", (None,))[0]
    if isinstance(sized, Array):
        return type(value) is bytes and len(value) == sized.size
    arguments = typing.get_args(annotation)
    if arguments[-1] is Ellipsis:
        return type(value) is tuple and all(is_of(arguments[0], item) for item in value)
    return any(is_of(argument, value) for argument in arguments)


def check_decoded(annotation: Any, value: Any) -> None:
    """What came out of damaged bytes is a value like any other: it has its type and one encoding."""
    reader = codec(annotation)
    assert is_of(annotation, value), value
    encoded = reader.encode(value)
    again = reader.decode(encoded)
    assert is_of(annotation, again), again
    assert reader.encode(again) == encoded
    if value == value:  # a NaN inside equals nothing, itself included
        assert again == value


@pytest.mark.parametrize("annotation", ALL, ids=name_of)
def test_round_trip_keeps_types(annotation: Any) -> None:
    """`is_of`, by which the tests below judge, knows every value of every type."""

    @settings(max_examples=20)
    @given(values(annotation))
    def check(value: Any) -> None:
        assert is_of(annotation, value)
        check_decoded(annotation, codec(annotation).decode(codec(annotation).encode(value)))

    check()


@pytest.mark.parametrize("annotation", ALL, ids=name_of)
def test_garbage_is_refused_or_decoded(annotation: Any) -> None:
    """Whatever the bytes, decoding returns a value of the type or raises the codec's error."""
    generator = random.Random(20)
    reader = codec(annotation)
    for _ in range(300):
        size = reader.size + 8 * generator.randrange(4)
        data = bytearray(generator.randbytes(size))
        for position in range(
            0, size - 3, 4
        ):  # plausible offsets and counts reach deeper code than noise does
            if generator.random() < 0.6:
                struct.pack_into("<i", data, position, generator.choice([0, 1, 2, -4, -8, -size, 1 << 30]))
        try:
            value = reader.decode(bytes(data))
        except DecodeError:
            continue
        check_decoded(annotation, value)


@settings(max_examples=200)
@given(values(abi.ProcessStart), st.data())
def test_damage_is_refused_or_decoded(start: abi.ProcessStart, data: st.DataObject) -> None:
    """A flipped byte of a valid message is refused, or gives another value that is as good as any."""
    reader = codec(abi.ProcessStart)
    encoded = bytearray(reader.encode(start))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        value = reader.decode(bytes(encoded))
    except DecodeError:
        return
    check_decoded(abi.ProcessStart, value)


def test_root_is_the_last_bytes() -> None:
    """Bytes before the root are ignored, bytes after it move the root; a root must be aligned."""
    assert codec(U32).decode(b"\xaa\xbb\xcc\xdd\x05\0\0\0") == 5
    with pytest.raises(DecodeError, match="not aligned"):
        codec(U32).decode(bytes(6))
    with pytest.raises(DecodeError, match="at least 4"):
        codec(U32).decode(b"\0\0\0")
    assert codec(None).decode(b"anything") is None
    assert codec(None).encode(None) == b""


def test_padding_is_ignored() -> None:
    """Padding that is not zero is accepted, as the reference does."""
    assert codec(abi.ChannelCreate).decode(bytes.fromhex("0000080001aabbcc")) == abi.ChannelCreate(
        524288, abi.ChannelBackpressure.DROP
    )


@pytest.mark.parametrize(
    ("annotation", "encoded", "why"),
    [
        pytest.param(bool, "02", "0 or 1", id="bool"),
        pytest.param(abi.ChannelBackpressure, "02", "expected a tag of", id="enum-tag"),
        pytest.param(Capability, "14", "expected a tag of", id="capability-tag"),
        pytest.param(abi.AbiParam, "0200", "got 2", id="union-tag"),
        pytest.param(abi.AbiParam, "000a", "expected a tag of", id="nested-tag"),
        pytest.param(str, "ffc3" + "ff" * 6, None, id="inline-empty"),
        pytest.param(str, "c328ffffffffffff", "UTF-8", id="inline-utf8"),
        pytest.param(str, "c3" * 12 + "8c000000f4ffffff", "UTF-8", id="utf8"),
        pytest.param(str, "61" * 8 + "88000000f8ffffff", "out of line", id="short-text-out-of-line"),
        pytest.param(bytes, "00000000ffffffff", "outside", id="huge-count"),
        pytest.param(bytes, "0000000001000000", "outside", id="region-in-its-owner"),
        pytest.param(bytes, "0800000000000000", "outside", id="region-after-its-owner"),
        pytest.param(bytes, "f0ffffff01000000", "outside", id="region-before-the-message"),
        pytest.param(tuple[U32, ...], "00" * 8 + "faffffff01000000", "not aligned", id="elements-misaligned"),
    ],
)
def test_abi_2_each_rule_of_validation_is_kept(annotation: Any, encoded: str, why: str | None) -> None:
    """Each rule of validation, broken alone."""
    data = bytes.fromhex(encoded)
    if why is None:
        codec(annotation).decode(data)
    else:
        with pytest.raises(DecodeError, match=why):
            codec(annotation).decode(data)


def test_abi_2_regions_come_in_the_order_of_the_fields() -> None:
    """Two fields may neither swap nor share their out-of-line data."""
    pair = tuple[bytes, ...]
    good = codec(pair).encode((b"ab", b"cd"))
    assert good.hex() == "61626364" + "fcffffff02000000" + "f6ffffff02000000" + "f0ffffff02000000"
    swapped = bytes.fromhex("61626364" + "feffffff02000000" + "f4ffffff02000000" + "f0ffffff02000000")
    shared = bytes.fromhex("61626364" + "fcffffff02000000" + "f4ffffff02000000" + "f0ffffff02000000")
    for wrong in (swapped, shared):
        with pytest.raises(DecodeError, match="outside"):
            codec(pair).decode(wrong)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (U8, 256),
        (F32, 1e40),
        (abi.AbiScalarValue, abi.ScalarValue(abi.ScalarType.F32, -1e40)),
        (abi.TimeSleep, abi.TimeSleep(1.5)),  # type: ignore[arg-type]
        (bytes, [300]),
        (bytes, 5),
        (U8, "x"),
        (U32, -1),
        (str, 5),
        (str, "\ud800"),
        (bool, 1),
        (None, 1),
        (Annotated[bytes, Array(4)], b"123"),
        (abi.ChannelBackpressure, 0),
        (abi.AbiParam, 3),
        (abi.IoRead, abi.TimeSleep(1)),
        (tuple[U8, ...], 3),
    ],
)
def test_values_that_do_not_fit(annotation: Any, value: object) -> None:
    """A value outside of its type is refused with the codec's error."""
    with pytest.raises(EncodeError):
        codec(annotation).encode(value)
    assert issubclass(EncodeError, CodecError)


@pytest.mark.parametrize(
    ("annotation", "element", "most"),
    [
        pytest.param(tuple[Capability, ...], Capability.TIME_READ, MOST_ELEMENTS, id="enum"),
        pytest.param(tuple[abi.EntrypointArg, ...], abi.ResourceArg(1), MOST_ELEMENTS, id="union"),
        pytest.param(tuple[str, ...], "", MOST_ELEMENTS, id="str"),
        pytest.param(tuple[U8, ...], 1, MOST_NUMBERS, id="U8"),
    ],
)
def test_elements_are_bounded(annotation: Any, element: object, most: int) -> None:
    """A message makes so many objects at the most, however many of them its bytes have room for."""
    reader = codec(annotation)
    assert len(reader.decode(reader.encode((element,) * most))) == most
    with pytest.raises(DecodeError, match="too many elements"):
        reader.decode(reader.encode((element,) * (most + 1)))


def test_elements_are_counted_over_all_vectors() -> None:
    """The bound is that of the message, not of each of its vectors."""
    texts = tuple[tuple[str, ...], ...]
    half = ("",) * (MOST_ELEMENTS // 2)
    assert codec(texts).decode(codec(texts).encode((half,))) == (half,)
    with pytest.raises(DecodeError, match="too many elements"):
        codec(texts).decode(codec(texts).encode((half, half)))


@pytest.mark.parametrize("annotation", [int, dict[str, str], set, tuple[None, ...], object()])
def test_types_without_a_layout(annotation: Any) -> None:
    """Only the listed annotations have a layout; a vector needs elements with a size."""
    with pytest.raises(TypeError):
        layout(annotation)


def test_only_what_cannot_change_is_decoded_once() -> None:
    """Two decodings of the same small message may give one object, unless its class lets it be changed."""

    @attrs.define
    class Open:
        number: U32
        flag: bool

    @attrs.frozen
    class Closed:
        number: U32
        flag: bool

    @attrs.frozen
    class Around:
        open: Open

    data = codec(Closed).encode(Closed(7, True))
    assert codec(Closed).decode(data) is codec(Closed).decode(data)
    for kind in (Open, Around):
        first, second = codec(kind).decode(data), codec(kind).decode(data)
        assert first == second
        assert first is not second
