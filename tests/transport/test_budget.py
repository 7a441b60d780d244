"""What decoding a payload may cost: each way to make it cost more than its bytes say, and honest payloads."""

import contextlib
import enum
import fcntl
import os
import time
from collections.abc import Callable
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enfilade.transport import Codec, FileDescriptor, Limits, PayloadError, TypeRegistry
from enfilade.transport.atoms import INLINE_LIMIT
from enfilade.transport.budget import FEW, SMALL, UNIT, Budget, distinct
from tests.descriptors import open_descriptors

Ext = msgspec.msgpack.Ext
encode = msgspec.msgpack.encode

TUPLE, SET, FROZENSET, INTEGER, RECORD, BYTES_IN_MEMORY, MEMORY, DICT = 1, 2, 3, 4, 5, 11, 9, 10
PRIME = 2**61 - 1
"""Integers that differ by a multiple of it have the same hash."""

LABORIOUS_SECONDS = 2.0
"""Processor time for a refusal, with decoding up to there; some of these took minutes."""

types = TypeRegistry()


@types.register
@attrs.frozen
class Point:
    x: int
    y: int


@types.register
@attrs.frozen
class Label:
    text: str


@types.register
class Colour(enum.Enum):
    RED = ("red", 1)
    GREEN = "green"
    BLUE = 2**100


def integer(value: int) -> Ext:
    return Ext(INTEGER, value.to_bytes(20, "big", signed=True))


def colliding(count: int) -> list[Any]:
    return [integer(5 + number * PRIME) for number in range(1, count + 1)]


def long_integer(size: int, remainder: int = 0) -> Ext:
    """An integer of so many bytes, which has the hash of a small one."""
    value = 1 << (8 * size)
    return Ext(INTEGER, (value - value % PRIME + remainder).to_bytes(size + 2, "big", signed=True))


def plain_map(keys: list[Any]) -> bytes:
    """A plain map, with keys that encoders put nowhere but into pairs."""
    return b"\xdf" + len(keys).to_bytes(4, "big") + b"\x00".join(map(encode, keys)) + b"\x00"


def record(name: str, *values: Any) -> Ext:
    return Ext(RECORD, encode([name, 0, 0, *values]))


def record_name(kind: type) -> str:
    known = types.by_type(kind)
    assert known is not None
    return known.name


def record_of(kind: type, *values: Any) -> Ext:
    known = types.by_type(kind)
    assert known is not None
    return Ext(RECORD, encode([known.name, known.version, known.shape, *values]))


def point(number: int) -> Ext:
    return record_of(Point, integer(5 + number * PRIME), 1)


def in_memory(code: int, *place: Any) -> Ext:
    return Ext(code, encode(list(place)))


def nested_sets(count: int, depth: int) -> Any:
    return Ext(SET, encode(colliding(count))) if not depth else [nested_sets(count, depth - 1)]


ATTACKS = {
    "set of integers": Ext(SET, encode(colliding(2_000))),
    "few of them": Ext(SET, encode(colliding(64))),
    "frozenset of integers": Ext(FROZENSET, encode(colliding(2_000))),
    "dict of integers": Ext(DICT, encode([[key, None] for key in colliding(2_000)])),
    "set deep inside": {"a": [nested_sets(64, 3)]},
    "set of uuids": Ext(
        SET, encode([record("uuid", (5 + n * PRIME).to_bytes(16, "big")) for n in range(1, 400)])
    ),
    "set of decimals": Ext(SET, encode([record("decimal", str(5 + n * PRIME)) for n in range(400)])),
    "set of complexes": Ext(
        SET, encode([record("complex", [float(n), -n / 1.0]) for n in range(400)] + colliding(400))
    ),
    "set of records": Ext(SET, encode([point(number) for number in range(1, 400)])),
    "set of tuples": Ext(SET, encode([Ext(TUPLE, encode([item])) for item in colliding(400)])),
    "map of many numbers": dict.fromkeys(range(50000)),
    "maps of many numbers": [dict.fromkeys(range(20000))] * 6,
    "map of many floats": {number / 3: None for number in range(50_000)},
    "set of many numbers": Ext(SET, encode(list(range(50_000)))),
    "empty lists": [[]] * 2_000_000,
    "empty maps": [{}] * 2_000_000,
    "empty sets": [Ext(SET, b"\x90")] * 500_000,
    "lists in lists": [[[[[[]]]]]] * 400_000,
    "datetimes": [record("datetime", "2020-01-01T00:00:00+01:00")] * 100_000,
    "map of integers": msgspec.Raw(plain_map(colliding(5_000))),
    "map of arrays": msgspec.Raw(plain_map([list(item) for item in zip(colliding(5_000))])),
    "map of records": msgspec.Raw(plain_map([record("uuid", n.to_bytes(16, "big")) for n in range(5_000)])),
    "decimal and integer": Ext(SET, encode([record("decimal", "5"), long_integer(100_000, 5)])),
    "decimal and integer in tuples": Ext(
        SET,
        encode([Ext(TUPLE, encode([each])) for each in (record("decimal", "5"), long_integer(100_000, 5))]),
    ),
    "decimal and integer as keys": Ext(
        DICT, encode([[record("decimal", "5"), 1], [long_integer(100_000, 5), 1]])
    ),
    "many decimals and integers": [
        Ext(SET, encode([record("decimal", "5"), long_integer(4_000, 5)])) for _ in range(200)
    ],
    "deep": b"\x91" * 100_000 + b"\xc0",
    "deep in extensions": b"\xc7\x05\x01" * 100_000 + b"\xc0",
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_what_costs_too_much_is_refused(attack: Any) -> None:
    """Before it is built, or as soon as it shows: by what is in it, and not by a clock."""
    payload = attack if isinstance(attack, bytes) else encode(attack)
    with pytest.raises(PayloadError, match=r"collide|would take longer|nested too deeply"):
        Codec(types).decode(payload)


LABORIOUS = {
    "decimal of an integer": record("decimal", long_integer(1_000_000)),
    "range": record("range", [0, long_integer(2_000_000), long_integer(1_000_000)]),
    "range that begins far out": record("range", [long_integer(1_000_000), 5, 1]),
    "range of floats": record("range", [0.0, 1.0, 1.0]),
    "complex": record("complex", [long_integer(1_000_000), 0]),
    "timedelta": record("timedelta", [long_integer(1_000_000), 0, 0]),
    "uuid": record("uuid", long_integer(1_000_000)),
    "index of a memory file": in_memory(MEMORY, [[1]] * 100_000, 1),
    "size of a memory file": in_memory(MEMORY, 0, [[1]] * 100_000),
    "field of a record": record_of(Point, [[1]] * 500_000, 1),
    "long text in a field": record_of(Point, "\U0010ffff" * 5_000_000, 1),
    "long number in a field": record_of(Label, long_integer(1_000_000)),
    "name of a record": record("x" * 5_000_000),
    "name that is no text": Ext(RECORD, encode([1.5, 0, 0])),
    "version of a record": Ext(RECORD, encode([record_name(Point), [[1]] * 500_000, 0])),
    "member of an enumeration": record_of(Colour, [[1]] * 500_000),
    "member that is long": record_of(Colour, long_integer(1_000_000)),
    "member that is made of objects": record_of(Colour, Ext(TUPLE, encode(["red", [[1]] * 500_000]))),
}


@pytest.mark.parametrize("attack", LABORIOUS.values(), ids=LABORIOUS)
def test_what_standard_types_are_made_of_is_checked_first(attack: Any) -> None:
    """No constructor gets what it takes long to refuse, and no error shows what is long to show."""
    payload = encode(attack)
    begun = time.process_time()
    with pytest.raises(PayloadError) as refused:
        Codec(types).decode(payload, [memory(1)] if attack.code == MEMORY else ())
    assert len(str(refused.value)) < 1_000
    assert time.process_time() - begun < LABORIOUS_SECONDS


HONEST = {
    "a million numbers": list(range(1_000_000)),
    "strings": {f"key {number}": number for number in range(200_000)},
    "a set of strings": {f"key {number}" for number in range(50_000)},
    "a dict of numbers": {number: str(number) for number in range(10_000)},
    "a set of tuples": {(number, -number, "x") for number in range(10_000)},
    "rows": [(number, "name", 1.5, None) for number in range(50_000)],
    "records": [Point(number, 1) for number in range(20_000)],
    "long": [b"x" * 2**20] * 20,
    "long text": "x" * 2**24,
    "long numbers": [10**30_000, -(10**20_000)],
    "ranges": [range(10**40), range(5, -(10**300), -7)],
    "members": [Colour.RED, Colour.BLUE, Colour.GREEN],
    "big numbers": {2**70 + number for number in range(1_000)},
}


@pytest.mark.parametrize("value", HONEST.values(), ids=HONEST)
def test_what_programs_say_to_each_other_travels(value: Any) -> None:
    """The limits of a peer that is given none of its own are far from what honest programs send."""
    sender, receiver = Codec(types), Codec(types)
    receiver.limits = Limits()
    assert receiver.decode(*sender.encode(value)) == value


def test_a_program_may_be_allowed_more() -> None:
    """What the defaults refuse is a matter of the peer's limits."""
    value = dict.fromkeys(range(40_000))
    codec = Codec(types)
    with pytest.raises(PayloadError, match=r"may take 0\.2 s here"):
        codec.decode(*codec.encode(value))
    codec.limits = Limits(decoding=10.0)
    assert codec.decode(*codec.encode(value)) == value


def memory(size: int, holds: int | None = None, *, data: bytes = b"") -> int:
    """A sealed memory file of a size, of which only the first bytes are there."""
    file = os.memfd_create("attack", os.MFD_ALLOW_SEALING)
    os.write(file, data or bytes(size if holds is None else holds))
    os.truncate(file, size)
    seals = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
    return file


@pytest.mark.parametrize("code", [MEMORY, BYTES_IN_MEMORY])
def test_memory_costs_its_maker_what_it_costs_the_reader(code: int) -> None:
    """Sparse, named twice, larger than allowed, of no whole size: refused, and every descriptor is closed."""
    before = open_descriptors()
    codec = Codec(types)
    codec.limits = Limits(payload=2**20)
    page = encode(b"x" * (SMALL - 3))
    assert len(page) == SMALL
    cases: list[tuple[Any, Callable[[], list[int]], str]] = [
        (in_memory(code, 0, 2**20), lambda: [memory(2**20, 0)], "must hold what it claims"),
        (in_memory(code, 0, 2**20), lambda: [memory(2**20, 4096)], "must hold what it claims"),
        ([in_memory(code, 0, SMALL)] * 2, lambda: [memory(SMALL, data=page)], "twice"),
        (in_memory(code, 0, 2**20 + 1), lambda: [memory(2**20 + 1)], "may have 1048576 bytes here"),
        (
            [in_memory(code, n, 2**19) for n in range(3)],
            lambda: [memory(2**19) for _ in range(3)],
            r"524288 more|trailing",
        ),
        (in_memory(code, 0, float("nan")), lambda: [memory(SMALL)], "claims nan more"),
        (in_memory(code, 0, True), lambda: [memory(1)], "claims True more"),
        (in_memory(code, 0, 0), lambda: [memory(SMALL)], "claims 0 more"),
        (in_memory(code, True, SMALL), lambda: [memory(SMALL)], "index"),
        (in_memory(code, -1, SMALL), lambda: [memory(SMALL)], "did not arrive"),
        (in_memory(code, 0, SMALL), list, "none came"),
    ]
    for value, files, problem in cases:
        with pytest.raises(PayloadError, match=problem):
            codec.decode(encode(value), files())
        assert open_descriptors() == before, value


def test_what_is_in_memory_is_charged_like_the_rest() -> None:
    """Ten files with as much in each as one may cost, and one file that is a whole payload."""
    lists = encode([[]] * 300_000)
    codec = Codec(types)
    value = codec.decode(encode(in_memory(MEMORY, 0, len(lists))), [memory(len(lists), data=lists)])
    assert len(value) == 300_000
    many = [in_memory(MEMORY, number, len(lists)) for number in range(10)]
    with pytest.raises(PayloadError, match="would take longer"):
        codec.decode(encode(many), [memory(len(lists), data=lists) for _ in many])


def test_a_descriptor_is_no_memory() -> None:
    """A file on a disk, a pipe or a device in the place of a memory file is not even asked for its size."""
    for path in (__file__, os.devnull):
        with pytest.raises(PayloadError, match="not sealed"):
            Codec(types).decode(encode(in_memory(BYTES_IN_MEMORY, 0, 10)), [os.open(path, os.O_RDONLY)])
    pipe = os.pipe()
    with pytest.raises(PayloadError, match="not sealed"):
        Codec(types).decode(encode(in_memory(BYTES_IN_MEMORY, 0, 10)), [pipe[0]])
    os.close(pipe[1])
    assert FileDescriptor(0).fileno() == 0


@given(st.binary(max_size=200))
def test_measuring_any_bytes_ends(data: bytes) -> None:
    """Bytes that are no payload are measured as far as they go."""
    with contextlib.suppress(PayloadError):
        Budget(2**20, 1.0).charge(data)


units = st.recursive(
    st.one_of(
        st.sampled_from([None, True, 0, -1, 2**40, 1.5]).map(lambda value: (value, 4)),
        st.text(max_size=40).map(lambda value: (value, 8)),
        st.binary(max_size=40).map(lambda value: (value, 8)),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=40).map(
            lambda pairs: ([value for value, _ in pairs], 24 + sum(cost for _, cost in pairs))
        ),
        st.lists(inner, max_size=40).map(
            lambda pairs: (
                {f"{place}": value for place, (value, _) in enumerate(pairs)},
                24 + sum(8 + cost for _, cost in pairs),
            )
        ),
        inner.map(lambda pair: (Ext(TUPLE, encode(pair[0])), 96 + pair[1])),
        inner.map(lambda pair: (Ext(RECORD, encode(pair[0])), 300 + pair[1])),
    ),
    max_leaves=100,
)


@given(units)
def test_the_charge_is_the_sum_of_what_is_in_it(pair: tuple[Any, int]) -> None:
    """Each value is charged once, wherever it is (`transport/queue/measure.h`)."""
    value, cost = pair
    budget = Budget(2**20, 1.0)
    budget.charge(encode(value))
    assert budget.seconds == pytest.approx(1.0 - cost * 1e-8, abs=1e-12)


def test_long_strings_are_charged_by_their_length() -> None:
    budget = Budget(2**30, 1.0)
    budget.charge(encode("x" * 2**20))
    assert 1.0 - budget.seconds == pytest.approx((8 + 2**12) * 1e-8)
    assert INLINE_LIMIT > SMALL


def test_a_budget_is_used_up_to_its_last_unit() -> None:
    data = encode(["x" * 10_000, *range(1000)])
    ample = Budget(1, 1.0)
    ample.charge(data)
    work = round((1.0 - ample.seconds) / UNIT)
    assert work > 1000
    exact = Budget(1, (work - 0.5) * UNIT)  # a begun unit is a whole one
    exact.charge(data)
    assert exact.seconds <= 0
    with pytest.raises(PayloadError, match="would take longer"):
        Budget(1, (work - 1.5) * UNIT).charge(data)


def test_bytes_are_charged_up_to_the_limit() -> None:
    budget = Budget(100, 1.0)
    budget.charge_bytes(60)
    budget.charge_bytes(40)
    assert budget.in_memory == 100
    for size in (1, 0, -1, 2**64, True, 1.0):
        with pytest.raises(PayloadError, match="and this one claims"):
            budget.charge_bytes(size)  # type: ignore[arg-type]
    assert budget.in_memory == 100
    with pytest.raises(PayloadError):
        Budget(100, 1.0).charge_bytes(101)


def test_few_keys_may_collide() -> None:
    """Comparing each of so few with all others costs nothing to speak of."""
    colliding = [PRIME * factor for factor in range(1, FEW + 2)]
    assert distinct(colliding[:FEW]) == colliding[:FEW]
    with pytest.raises(PayloadError, match="17 keys"):
        distinct(colliding)
