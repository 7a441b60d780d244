"""Typed doors: what follows from a function's annotations."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import pytest
import trio

from enfilade.transport.doors import (
    BadReply,
    CodecError,
    Descriptor,
    Door,
    DoorCallError,
    Request,
    Result,
    TypedClient,
    server_procedure,
)
from enfilade.transport.doors.api import DOOR_PARAM_DATA_MAX, DOOR_PARAM_DATA_MIN, door_getparam, ffi


@attrs.frozen
class Order:
    item: str
    count: int


@server_procedure
def double(number: int) -> int:
    return 2 * number


@pytest.fixture
def doubling() -> Iterator[Door]:
    with Door(double) as door:
        yield door


def parameter(door: Door, number: int) -> int:
    place = ffi.new("size_t *")
    door_getparam(door.fileno(), number, place)
    return int(place[0])


def test_a_number_goes_in_and_out(doubling: Door) -> None:
    with double.client(doubling) as call:
        assert call(111) == 222
        assert call(-1) == -2


def test_function_is_still_a_function() -> None:
    assert double(4) == 8
    assert double.__name__ == "double"


def test_sizes_are_checked_at_both_ends(doubling: Door) -> None:
    """The door takes eight bytes and nothing else; the client refuses a value that does not fit."""
    assert parameter(doubling, DOOR_PARAM_DATA_MIN) == parameter(doubling, DOOR_PARAM_DATA_MAX) == 8
    with doubling.client() as raw, pytest.raises(DoorCallError.ENOBUFS):
        raw.call(b"1234567")
    with double.client(doubling) as call, pytest.raises(CodecError):
        call(2**64)


def test_the_types_of_a_lambda_are_given() -> None:
    triple = server_procedure(lambda x: 3 * x, request=int, reply=int)
    with Door(triple) as door, triple.client(door) as call:
        assert call(5) == 15


def test_records_and_text(tmp_path: Path) -> None:
    @server_procedure
    def describe(order: Order) -> str:
        return f"{order.count} x {order.item}"

    with Door(describe) as door:
        door.install(tmp_path / "describe.door")
        with describe.open(tmp_path / "describe.door") as call:
            assert call(Order("apple", 3)) == "3 x apple"
        with TypedClient.open(tmp_path / "describe.door", Order, str) as call:
            assert call(Order("pear", 1)) == "1 x pear"


def test_procedure_without_arguments_and_results() -> None:
    ran: list[int] = []

    @server_procedure
    def tick() -> None:
        ran.append(1)

    with Door(tick) as door, tick.client(door) as call:
        assert call(None) is None
    assert ran == [1]


def test_descriptors_and_request() -> None:
    """A procedure may ask for the descriptors and for the request besides the value, in any order."""

    @server_procedure
    def read(request: Request, files: Sequence[Descriptor], count: int) -> bytes:
        assert request.credentials().pid == os.getpid()
        return os.read(files[0].fileno(), count)

    reading, writing = os.pipe()
    os.write(writing, b"abcdef")
    with Door(read) as door, read.client(door) as call:
        assert call(3, [Descriptor(reading, release=True)]) == b"abc"
    os.close(writing)


def test_result_with_descriptors() -> None:
    @server_procedure
    def opened(path: str) -> Result:
        return Result(b"here", [Descriptor(os.open(path, os.O_RDONLY), release=True)])

    with Door(opened) as door, opened.client(door) as call, call.client.call(b"/dev/null") as reply:
        assert reply.data == b"here"
        os.fstat(reply.descriptors[0].fileno())


def test_failing_procedure_is_a_bad_reply() -> None:
    @server_procedure
    def fail(number: int) -> int:
        raise ZeroDivisionError

    errors: list[Exception] = []

    def hook(error: Exception, request: Request | None) -> None:
        errors.append(error)

    with (
        Door(fail, on_error=hook) as door,
        fail.client(door) as call,
        pytest.raises(BadReply, match="got 0"),
    ):
        call(1)
    assert isinstance(errors[0], ZeroDivisionError)


def test_hostile_request_reaches_the_hook() -> None:
    """Bytes that are no value never reach the procedure."""
    ran: list[Order] = []

    @server_procedure
    def take(order: Order) -> None:
        ran.append(order)

    errors: list[Exception] = []

    def hook(error: Exception, request: Request | None) -> None:
        errors.append(error)

    with Door(take, on_error=hook) as door, door.client() as client:
        assert client.call_with_data(b"\x00\xff garbage") == b""
    assert ran == []
    assert isinstance(errors[0], CodecError)


def test_annotations_are_wanted() -> None:
    with pytest.raises(TypeError, match="annotation"):
        server_procedure(lambda x: x)

    def no_return(x: int):  # type: ignore[no-untyped-def]
        return x

    with pytest.raises(TypeError, match="returns"):
        server_procedure(no_return)

    def two_values(x: int, y: int) -> int:
        return x + y

    with pytest.raises(TypeError, match="one value"):
        server_procedure(two_values)

    def by_keyword(*, x: int) -> int:
        return x

    with pytest.raises(TypeError, match="position"):
        server_procedure(by_keyword)


async def test_async_procedure_and_call() -> None:
    @server_procedure
    async def slow_double(number: int) -> int:
        await trio.lowlevel.checkpoint()
        return 2 * number

    with Door(slow_double) as door, slow_double.client(door) as call:
        assert await call.call_async(111) == 222
