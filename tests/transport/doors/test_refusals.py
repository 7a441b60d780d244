"""What doors are given of a wrong kind is refused where it is given; and what an error keeps harms nobody."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from enfilade.transport.doors import (
    Attributes,
    Client,
    Credentials,
    Descriptor,
    Door,
    DoorCallError,
    DoorRevokeError,
    DoorSetparamError,
    DoorXcreateError,
    Request,
    Result,
    Retry,
    api,
    server_procedure,
)


def echo(request: Request) -> bytes:
    return request.data


def nothing(cookie: object, argp: Any, size: int, descriptors: Any, count: int) -> None:
    return api.door_return(api.NULL, 0, api.NULL, 0)


def start(info: Any, function: Any, argument: Any, cookie: object) -> int:
    api.server_thread(function, argument)
    return 1


@pytest.mark.parametrize("function", [None, 5, "x", api.NULL])
def test_no_create_function(function: Any) -> None:
    before = api.door_server_create(lambda info: None)
    try:
        with pytest.raises(TypeError):
            api.door_server_create(function)
    finally:
        api.door_server_create(before)


@pytest.mark.parametrize("function", [5, "x"])
def test_no_thread_functions(function: Any) -> None:
    with pytest.raises(TypeError):
        api.door_xcreate(nothing, None, 0, function, None, None, 1)
    with pytest.raises(TypeError):
        api.door_xcreate(nothing, None, 0, start, function, None, 1)
    with pytest.raises(TypeError):
        api.server_thread(function)


@pytest.mark.parametrize("made", [None, "1", 7, 2.5])
def test_thread_function_that_returns_nonsense(made: Any, caplog: pytest.LogCaptureFixture) -> None:
    """In C it ends the process."""
    with pytest.raises(DoorXcreateError.EPIPE):
        api.door_xcreate(nothing, None, 0, lambda *_: made, None, None, 1)
    assert "1, 0 or -1" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"on_unref": 5}, TypeError),
        ({"on_error": "x"}, TypeError),
        ({"stack_size": 1 << 20}, ValueError),
        ({"data_min": -1}, ValueError),
        ({"data_max": 2**64}, ValueError),
        ({"descriptors_max": -1}, ValueError),
        ({"descriptors_max": 2**31}, DoorSetparamError.ERANGE),
        ({"data_min": 5, "data_max": 4}, DoorSetparamError.EINVAL),
        ({"threads": 0}, DoorXcreateError.EINVAL),
        ({"threads": "2"}, TypeError),
    ],
)
def test_arguments_of_a_door(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Door(echo, **arguments)


def test_generators_are_no_procedures() -> None:
    """Those of the verbatim layer are."""

    def generator(request: Request) -> Iterator[bytes]:
        yield b""

    class Called:
        def __call__(self, request: Request) -> Iterator[bytes]:
            yield b""

    for procedure in (generator, Called()):
        with pytest.raises(TypeError, match="generator"):
            Door(procedure)


@pytest.mark.parametrize("descriptors", [[5], [None], ["x"], 5])
def test_result_without_descriptors(descriptors: Any) -> None:
    errors: list[Exception] = []

    def told(error: Exception, request: Request | None) -> bytes:
        errors.append(error)
        return b"told"

    with Door(lambda request: Result(b"x", descriptors), on_error=told) as door, door.client() as client:
        assert client.call_with_data(b"") == b"told"
    assert [type(error) for error in errors] == [TypeError]


def test_numbers_that_are_none() -> None:
    for file in (True, False):
        with pytest.raises(TypeError):
            Descriptor(file)
    with pytest.raises(ValueError, match="negative"):
        Descriptor(-5)
    with Door(echo) as door, pytest.raises(TypeError):
        Client(door, largest=1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({"attempts": 0}, ValueError), ({"attempts": "3"}, TypeError), ({"delay": -1.0}, ValueError)],
)
def test_retry_that_never_calls(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Retry(**arguments)


def test_door_that_a_child_has_inherited(tmp_path: Path) -> None:
    """It is the parent's: the child can neither revoke it nor take its name away."""
    name = tmp_path / "door"
    with Door(echo) as door:
        door.install(name)

        pid = os.fork()
        if pid == 0:
            try:
                with pytest.raises(DoorRevokeError.EPERM):
                    door.revoke()
                assert not door.closed
                with door:
                    pass
                os._exit(not door.closed)
            finally:
                os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0
        with Client.open(name) as client:
            assert client.call_with_data(b"x") == b"x"
        assert Attributes.REVOKED not in door.info().attributes


GARBAGE = """
import gc
from enfilade.transport.doors import Door, api, server_procedure

@server_procedure
def same(value: bytes) -> bytes:
    return value

with Door(same, data_max=3) as door, same.client(door) as client, door.client() as plain:
    for call in (lambda: client(memoryview(b"long")), lambda: plain.call(memoryview(b"long")),
                 lambda: plain.call_with_data(memoryview(b"long")),
                 lambda: plain.call(b"long", into=memoryview(bytearray(4)))):
        try:
            call()
        except OSError as error:
            error.itself = error
gc.collect()
print("collected")
"""


def test_error_that_keeps_a_buffer_is_garbage() -> None:
    """CPython's collector crashes on a memoryview that is garbage while C holds it."""
    result = subprocess.run([sys.executable, "-c", GARBAGE], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "collected\n", "")


@server_procedure
def same(value: bytes) -> bytes:
    return value


def test_buffers_are_free_after_a_call() -> None:
    with Door(same, data_max=3) as door, door.client() as client, same.client(door) as typed:
        request, room = bytearray(b"abc"), bytearray(3)
        assert client.call(request, into=room).data == b"abc"
        assert typed(request) == b"abc"  # type: ignore[arg-type]
        request.append(1)  # BufferError while anybody looks into it
        with pytest.raises(DoorCallError.ENOBUFS):
            client.call(request, into=room)
        request.append(1)


PARTS = [name for name in dir(api) if name.startswith("ucred_get") and name != "ucred_get"]


@pytest.mark.parametrize("name", PARTS)
def test_parts_of_no_credentials(name: str) -> None:
    """In C it ends the process."""
    more = {
        "ucred_getgroups": [api.ffi.new("gid_t **")],
        "ucred_getpflags": [1],
        "ucred_getprivset": [api.PRIV_EFFECTIVE],
    }.get(name, [])
    for nothing_given in (api.NULL, None):
        with pytest.raises(ValueError, match="null pointer"):
            getattr(api, name)(nothing_given, *more)


def test_no_credentials() -> None:
    with pytest.raises(ValueError, match="null pointer"):
        Credentials.from_ucred(api.NULL)
    api.ucred_free(api.NULL)
    own = api.ucred_get(os.getpid())
    try:
        with pytest.raises(ValueError, match="null pointer"):
            api.ucred_getgroups(own, api.NULL)
        with pytest.raises(ValueError, match="null pointer"):
            api.ucred_getprivset(own, api.NULL)
        assert api.ucred_geteuid(own) == os.geteuid()
        assert api.ucred_size() > 0
    finally:
        api.ucred_free(own)
