"""Payloads: everything that may travel comes out as it went in; everything else is told clearly."""

import array
import ctypes
import dataclasses
import datetime
import decimal
import enum
import fcntl
import math
import os
import uuid
from pathlib import Path
from typing import Any, Literal

import attrs
import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from enfilade.actors import Actor, open_node
from enfilade.transport import (
    Codec,
    FieldMismatch,
    FileDescriptor,
    PayloadError,
    Policy,
    RemoteError,
    TypeRegistry,
    UnknownType,
    UnregisteredType,
    VersionMismatch,
)
from enfilade.transport.atoms import INLINE_LIMIT, LONGEST_INLINE
from enfilade.transport.payload import PAYLOAD_LIMIT, External
from tests.descriptors import open_descriptors

types = TypeRegistry()


@types.register
@attrs.frozen
class Point:
    x: int
    y: float = 0.0
    tags: list[str] = attrs.field(factory=list)
    _hidden: Any = None


@types.register
@dataclasses.dataclass
class Order:
    name: str
    amount: int | None
    kind: Literal["buy", "sell"] = "buy"


@types.register
class Quote(msgspec.Struct):
    price: float
    point: Point


@types.register
class Colour(enum.Enum):
    RED = 1
    BLUE = "b"


@types.register
class OutOfStockError(Exception):
    pass


@types.register
class HttpError(Exception):
    def __init__(self, *, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


@types.register
class TwoInOne(Exception):
    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} {other}")


@types.register
class Picky(Exception):
    def __init__(self, what: str) -> None:
        if what.startswith("no "):
            raise ValueError(what)
        super().__init__(f"no {what}")


def carry(value: Any, codec: Codec | None = None) -> Any:
    """Encode and decode, as between two nodes."""
    payload, descriptors = (codec or Codec(types, origin="there")).encode(value)
    return Codec(types).decode(bytes(payload), descriptors)


def assert_stable(value: Any) -> None:
    """What was decoded is a value of the wire: it travels on, and arrives with the same text and type."""
    if isinstance(value, RemoteError):
        assert all(isinstance(part, str) for part in (value.type_name, value.text, value.origin, value.trace))
    came = carry(value)
    assert type(came) is type(value)
    assert came == value or repr(came) == repr(value)  # a number that is none equals not even itself


def assert_stable_if_any(payload: bytes) -> None:
    """A payload is refused as such, or holds a value as above."""
    try:
        value = Codec(types).decode(payload)
    except PayloadError:
        return
    assert_stable(value)


atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.builds(Point, st.integers(), st.floats(allow_nan=False), st.lists(st.text())),
    st.sampled_from(Colour),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.datetimes(),
    st.timedeltas(),
)
keys = st.one_of(st.text(), st.integers(), st.tuples(st.integers(), st.text()))
values = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner), st.lists(inner).map(tuple), st.dictionaries(keys, inner), st.sets(keys)
    ),
    max_leaves=20,
)


@given(values)
def test_round_trip(value: Any) -> None:
    assert carry(value) == value


@given(st.binary())
def test_any_bytes_decode_or_fail_as_a_payload(data: bytes) -> None:
    assert_stable_if_any(data)


@given(st.integers(0, 60), st.binary(max_size=40))
def test_any_extension_decodes_or_fails_as_a_payload(code: int, data: bytes) -> None:
    payload = msgspec.msgpack.encode(msgspec.msgpack.Ext(code, data))
    assert_stable_if_any(payload)


@given(values, st.data())
def test_a_damaged_payload_decodes_or_fails_as_a_payload(value: Any, data: st.DataObject) -> None:
    """One byte of a good payload is another; so decoding gets beyond its first steps."""
    sent, _ = Codec(types).encode(value)
    damaged = bytearray(sent)
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    assert_stable_if_any(bytes(damaged))


def inline(value: Any) -> Any:
    """Encode a value; its payload as bytes, or the kind of the error."""
    try:
        payload, descriptors = Codec(types).encode(value)
    except PayloadError as error:
        return type(error)
    assert not descriptors
    return bytes(payload)


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters()), st.binary()))
def test_the_fast_way_of_an_atom_is_the_slow_one(value: Any) -> None:
    """An atom alone is encoded at once; as an item beside one that is no atom it is lowered."""
    alone, beside = inline(value), inline([value, ()])
    if isinstance(beside, bytes):
        assert beside[:1] + beside[1 + len(alone) :] == inline([(), ()])[:1] + inline(())
        assert beside[1 : 1 + len(alone)] == alone
    else:
        assert alone is beside


@given(st.lists(st.one_of(st.none(), st.integers(), st.text(st.characters()), st.binary())))
def test_the_fast_way_of_arguments_is_the_slow_one(args: list[Any]) -> None:
    def arguments() -> Any:
        try:
            return bytes(Codec(types).encode_arguments(tuple(args), {})[0])
        except PayloadError as error:
            return type(error)

    assert arguments() == inline([args, {}])


@pytest.mark.parametrize("excess", [0, 1])
def test_the_fast_way_ends_at_the_inline_limit(excess: int) -> None:
    """A payload of exactly the limit travels inside the frame, alone and as arguments; no longer one does."""
    text = "x" * (INLINE_LIMIT - 5 + excess)  # five bytes say that it is a string, and how long
    for payload, descriptors in (
        Codec(types).encode(text),
        Codec(types).encode_arguments((text[3:],), {}),  # an array in an array, and an empty map
    ):
        assert (len(descriptors), len(bytes(payload)) == INLINE_LIMIT) == (excess, not excess)
        assert text[3:] in str(Codec(types).decode(payload, descriptors))


@pytest.mark.parametrize(
    "value",
    [
        Point(1, 2.0, ["a"], (1, 2)),
        Order("x", None),
        Quote(1.5, Point(1)),
        Colour.BLUE,
        2**64 - 1,
        -(2**63),
        2**64,
        -(2**63) - 1,
        [2**100, FileDescriptor],
        complex(1, -2),
        range(1, 10, 3),
        bytearray(b"abc"),
        frozenset({1, 2}),
        {(1, 2): {3: (4,)}},
        decimal.Decimal("1.10"),
        uuid.UUID(int=7),
        datetime.date(2026, 1, 2),
        datetime.time(1, 2, 3),
        datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        math.inf,
    ],
    ids=repr,
)
def test_a_value_arrives_as_it_was(value: Any) -> None:
    if value == [2**100, FileDescriptor]:
        with pytest.raises(UnregisteredType):
            carry(value)
        return
    came = carry(value)
    assert came == value
    assert type(came) is type(value)


def test_an_exception_arrives_with_its_type_or_as_a_remote_error() -> None:
    known = carry(OutOfStockError("apples", 3))
    assert isinstance(known, OutOfStockError)
    assert known.args == ("apples", 3)
    builtin = carry(KeyError("k"))
    assert isinstance(builtin, KeyError)
    assert isinstance(builtin.__cause__, RemoteError)

    class Local(Exception):
        pass

    strange = carry(Local("odd"))
    assert isinstance(strange, RemoteError)
    assert (strange.type_name.endswith("Local"), strange.text, strange.origin) == (True, "odd", "there")
    assert carry(strange).args == strange.args
    with pytest.raises(UnregisteredType):
        carry(Local)


@pytest.mark.parametrize("error", [HttpError(status=404), TwoInOne("a", "b"), Picky("apples")], ids=repr)
def test_a_registered_exception_that_cannot_be_made_again_is_told(error: Exception) -> None:
    """Its `__init__` takes other arguments than it hands on: it arrives, as what its text says."""
    came = carry(error)
    assert isinstance(came, RemoteError)
    assert (came.type_name.rpartition(".")[2], came.text) == (type(error).__qualname__, str(error))
    assert_stable(came)


@pytest.mark.parametrize("name", ["SystemExit", "KeyboardInterrupt", "eval", "__import__", "no_such"])
def test_an_exception_of_no_such_kind_is_only_told(name: str) -> None:
    items = msgspec.msgpack.encode([name, "text", "origin", "trace", ["x"]])
    came = Codec(types).decode(msgspec.msgpack.encode(msgspec.msgpack.Ext(6, items)))
    assert isinstance(came, RemoteError)
    assert came.type_name == name


def test_unknown_type_and_version_are_told_apart() -> None:
    def version(fields: list[tuple[str, type]], number: int = 1) -> tuple[Codec, type]:
        registry = TypeRegistry()
        cls = attrs.make_class("Thing", {name: attrs.field(type=kind) for name, kind in fields})
        registry.register(cls, name="thing", version=number)
        return Codec(registry), cls

    one, first = version([("a", int)])
    wider, _ = version([("a", int), ("b", int)])
    newer, _ = version([("a", int)], 2)
    payload, _ = one.encode(first(1))
    with pytest.raises(UnknownType, match="'thing', which is not registered"):
        Codec(TypeRegistry()).decode(payload)
    with pytest.raises(VersionMismatch, match="version 1 of 'thing' with 1 fields; this node has version 1"):
        wider.decode(payload)
    with pytest.raises(VersionMismatch, match="this node has version 2"):
        newer.decode(payload)


@pytest.mark.parametrize(
    "value", [Point(1), Order("x", None), Quote(1.5, Point(1)), Colour.RED, OutOfStockError()]
)
@pytest.mark.parametrize("surplus", [-1, 1])
def test_a_record_has_as_many_values_as_its_type_has_fields(value: Any, surplus: int) -> None:
    """The shape is only a number that the peer says; the values are counted."""
    record = types.by_type(type(value))
    assert record is not None
    sent = [getattr(value, name) for name in record.fields]
    sent = [*sent, None] if surplus > 0 else sent[:surplus]
    payload = Codec(types)._extension(5, [record.name, record.version, record.shape, *sent])
    with pytest.raises(VersionMismatch, match=f"with {len(sent)} fields; this node"):
        Codec(types).decode(msgspec.msgpack.encode(payload))


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (Point("1"), "Point.x"),  # type: ignore[arg-type]
        (Point(True), "Point.x"),
        (Point(1, "2"), "Point.y"),  # type: ignore[arg-type]
        (Point(1, 2, ["a", 3]), "Point.tags"),  # type: ignore[list-item]
        (Order("a", "b"), "Order.amount"),  # type: ignore[arg-type]
        (Order("a", 1, "hold"), "Order.kind"),  # type: ignore[arg-type]
        (Quote(1.0, 2), "Quote.point"),  # type: ignore[arg-type]
    ],
)
def test_act_s14_a_field_of_the_wrong_type_is_named(value: Any, field: str) -> None:
    """act-S14: a type error that names the field, at the sender, and at the receiver if need be."""
    with pytest.raises(FieldMismatch, match=field):
        Codec(types).encode(value)
    lenient = Codec(types)
    record = types.by_type(type(value))
    assert record is not None
    fields = [getattr(value, name) for name in record.fields]
    record_payload = lenient._extension(5, [record.name, record.version, record.shape, *fields])
    with pytest.raises(FieldMismatch, match=field):
        Codec(types).decode(msgspec.msgpack.encode(record_payload))


def test_what_cannot_travel() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(PayloadError, match="contains itself"):
        carry(endless)
    with pytest.raises(PayloadError, match="Unicode"):
        carry("\ud800")
    with pytest.raises(UnregisteredType, match="function"):
        carry({"f": len, "g": lambda: None})
    with pytest.raises(TypeError, match="cannot be registered"):
        TypeRegistry().register(int)
    with pytest.raises(ValueError, match="give another name"):
        TypeRegistry(types).register(Colour, name=f"{Point.__module__}.Point")


def test_deep_nesting_from_a_peer_is_survived() -> None:
    payload = b"\x91" * 100_000 + b"\xc0"
    with pytest.raises(PayloadError):
        Codec(types).decode(payload)


def test_file_descriptors() -> None:
    left, right = os.pipe()
    os.write(right, b"hello")
    before = len(open_descriptors())
    came = carry({"files": [FileDescriptor(left), FileDescriptor(right)]})
    files = came["files"]
    assert {file.fileno() for file in files}.isdisjoint({left, right})
    assert os.read(files[0].fileno(), 5) == b"hello"
    taken = files[1].take()
    del came, files
    assert len(open_descriptors()) == before + 1
    for fileno in (taken, left, right):
        os.close(fileno)


@pytest.mark.parametrize("extra", [object(), 2**70])
def test_no_descriptor_leaks_when_encoding_fails_or_is_repeated(extra: Any) -> None:
    left, right = os.pipe()
    before = len(open_descriptors())
    codec = Codec(types)
    try:
        _, descriptors = codec.encode([FileDescriptor(left), (FileDescriptor(right),), extra])
    except UnregisteredType:
        descriptors = []
    else:
        assert len(descriptors) == 2
    for descriptor in descriptors:
        os.close(descriptor)
    assert len(open_descriptors()) == before
    os.close(left)
    os.close(right)


@pytest.mark.parametrize("size", [INLINE_LIMIT - 10, INLINE_LIMIT + 10])
def test_long_payloads_go_into_sealed_memory(size: int) -> None:
    before = len(open_descriptors())
    text = "x" * size
    payload, descriptors = Codec(types).encode([text])
    assert (len(bytes(payload)) < 100) == (size > INLINE_LIMIT)
    assert Codec(types).decode(payload, descriptors) == [text]
    assert len(open_descriptors()) == before


LONG = os.urandom(INLINE_LIMIT + 1)


@pytest.mark.parametrize(
    ("value", "files"),
    [
        (LONG, 1),
        (b"x" * INLINE_LIMIT, 1),
        (b"x" * LONGEST_INLINE, 0),
        (b"x" * (LONGEST_INLINE + 1), 1),
        ([1, LONG, "a", LONG, b"short"], 2),
        ((LONG, {"a": LONG, "b": [LONG]}), 3),
        ({"a": LONG, "b": 2}, 1),
        ({(1, 2): LONG}, 1),
        ([LONG, "x" * INLINE_LIMIT], 2),
        ([LONG, 2**70, LONG], 2),
        ([LONG] * 200, 33),
        (Point(1, hidden=LONG), 1),
    ],
    ids=lambda value: None if isinstance(value, int) else type(value).__name__,
)
def test_long_bytes_go_into_sealed_memory_of_their_own(value: Any, files: int) -> None:
    before = len(open_descriptors())
    payload, descriptors = Codec(types).encode(value)
    assert len(descriptors) == files
    assert Codec(types).decode(payload, descriptors) == value
    assert len(open_descriptors()) == before


VIEWS = (
    memoryview(b""),
    memoryview(array.array("I")),
    memoryview(array.array("I", [1, 2, 2**32 - 1])),
    memoryview(array.array("I", [7] * (INLINE_LIMIT // 2))),  # fewer items than the limit, more bytes
    memoryview(array.array("I", range(10)))[::3],
    memoryview(LONG[:6]).cast("B", [2, 3]),
    memoryview(ctypes.c_int(5)),
)


def test_a_view_is_measured_in_bytes() -> None:
    """Long is what has many bytes, not many items."""
    view = memoryview(array.array("I", [7] * (INLINE_LIMIT // 2)))
    payload, descriptors = Codec(types).encode(view)
    assert len(descriptors) == 1
    assert len(bytes(payload)) < 100
    assert Codec(types).decode(payload, descriptors) == view.tobytes()
    longer = memoryview(array.array("I", [7] * (LONGEST_INLINE + 1)))
    payload, descriptors = Codec(types).encode(longer)
    assert len(descriptors) == 1
    assert Codec(types).decode(payload, descriptors) == longer.tobytes()


def test_a_view_whose_columns_lie_together_travels_too() -> None:
    """Memory in Fortran's order is contiguous, yet no sequence of bytes in the order of its items."""
    buffers = pytest.importorskip("_testbuffer")
    columns = buffers.ndarray(list(range(6)), shape=[2, 3], format="B", flags=buffers.ND_FORTRAN)
    assert carry(memoryview(columns)) == bytes([0, 2, 4, 1, 3, 5])


def test_views_and_arguments() -> None:
    for view in (memoryview(LONG), memoryview(LONG)[::-1], memoryview(b"short"), *VIEWS):
        assert Codec(types).decode(*Codec(types).encode(view)) == view.tobytes()
    payload, descriptors = Codec(types).encode_arguments((1, LONG), {"k": LONG})
    assert len(descriptors) == 2
    assert Codec(types).decode(payload, descriptors) == [[1, LONG], {"k": LONG}]
    payload, descriptors = Codec(types).encode_arguments((1, "short"), {"k": 2})
    assert Codec(types).decode(payload, descriptors) == [[1, "short"], {"k": 2}]


def sealed(size: int) -> int:
    """A sparse memory file."""
    memory = os.memfd_create("sparse", os.MFD_ALLOW_SEALING)
    os.truncate(memory, size)
    fcntl.fcntl(
        memory,
        fcntl.F_ADD_SEALS,
        fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL,
    )
    return memory


def in_memory(code: int, index: int, size: int) -> msgspec.msgpack.Ext:
    return msgspec.msgpack.Ext(code, msgspec.msgpack.encode([index, size]))


@pytest.mark.parametrize("code", [9, 11])
def test_memory_that_claims_too_much_is_refused(code: int) -> None:
    """A memory file costs its sender nothing when it is sparse, and can be named as often as he likes."""
    before = len(open_descriptors())
    half = PAYLOAD_LIMIT // 2 + 1
    twice = msgspec.msgpack.encode([in_memory(11, 0, half), in_memory(code, 0, half)])
    for payload, size, problem in (
        (twice, half, "claims another"),
        (msgspec.msgpack.encode(in_memory(code, 0, 2**40)), 2**20, "claims 1099511627776 more"),
        (msgspec.msgpack.encode(in_memory(code, 0, -1)), 2**20, "claims -1 more"),
        (msgspec.msgpack.encode(in_memory(code, 0, 2**20 + 1)), 2**20, "announced size"),
        (msgspec.msgpack.encode(in_memory(code, 1, 2**20)), 2**20, "did not arrive"),
    ):
        with pytest.raises(PayloadError, match=problem):
            Codec(types).decode(payload, [sealed(size)])
    with pytest.raises(PayloadError, match="has 268435457"):
        Codec(types).encode([bytes(PAYLOAD_LIMIT // 2), bytes(PAYLOAD_LIMIT // 2 + 1)])
    assert len(open_descriptors()) == before


@pytest.mark.parametrize("index", [-1, -2, 1])
@pytest.mark.parametrize("code", [7, 9, 11], ids=["descriptor", "memory", "bytes"])
def test_a_handle_has_no_index_but_those_that_came(code: int, index: int) -> None:
    """An index counts from 0: from the end, it would reach another's handle (docs/wire.md, "Payloads")."""
    before = len(open_descriptors())
    extension = (
        msgspec.msgpack.Ext(code, msgspec.msgpack.encode(index)) if code == 7 else in_memory(code, index, 8)
    )
    with pytest.raises(PayloadError, match=f"descriptor {index} of the payload did not arrive"):
        Codec(types).decode(msgspec.msgpack.encode(extension), [sealed(8)])
    assert len(open_descriptors()) == before


class Mirror(Actor):
    def echo(self, payload: bytes) -> bytes:
        return payload


@pytest.mark.parametrize("size", [64, INLINE_LIMIT, INLINE_LIMIT + 1, 2**20, 2**24])
async def test_payloads_of_all_sizes_through_doors(tmp_path: Path, size: int) -> None:
    """From node to node and back, by a real door, without a descriptor left over."""
    payload = os.urandom(size)
    path = str(tmp_path / "door")
    with trio.fail_after(60):
        async with (
            open_node("server", listen=path, policy=Policy.same_user(exports="*")) as server,
            open_node("client", policy=Policy.same_user()) as client,
        ):
            await server.spawn(Mirror, name="mirror")
            mirror = await client.distribution.whereis_on(await client.connect(path), "mirror")
            assert await mirror.call(Mirror.echo, payload) == payload
            before = len(open_descriptors())
            for _ in range(5):
                assert await mirror.call(Mirror.echo, payload) == payload
            # The thread that has carried the last reply may still be on its way back from the door.
            while len(open_descriptors()) > before:  # noqa: ASYNC110 (the library tells nobody)
                await trio.sleep(0.001)


def test_unsealed_memory_is_refused() -> None:
    memory = os.memfd_create("open", os.MFD_ALLOW_SEALING)
    os.write(memory, b"\xc0")
    payload = msgspec.msgpack.encode(msgspec.msgpack.Ext(9, msgspec.msgpack.encode([0, 1])))
    with pytest.raises(PayloadError, match="not sealed"):
        Codec(types).decode(payload, [memory])


def test_an_external_travels_by_its_translation() -> None:
    class Handle:
        def __init__(self, number: int) -> None:
            self.number = number

    external = External(Handle, 20, lambda handle: [handle.number], lambda fields: Handle(*fields))
    codec = Codec(types, externals=[external])
    payload, _ = codec.encode([{"h": Handle(7)}])
    (came,) = codec.decode(payload)
    assert came["h"].number == 7
    with pytest.raises(PayloadError, match="unknown code 20"):
        Codec(types).decode(payload)
