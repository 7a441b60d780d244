"""Cases for the illumos binding, run in a process of their own by `test_illumos_binding.py`.

That process has the binding's C linked with a mock of illumos' libc (transport/doors/c/illumos/mock) in the
place of `enfilade.transport.doors._doors`, so everything above it is what would run on illumos.

    python -m tests.transport.doors.illumos_cases MODULE.so      prints a JSON object: case -> error, or null
"""

import errno
import importlib.util
import json
import os
import signal
import sys
import tempfile
import threading
import traceback
from pathlib import Path

import pytest


def load(path: str) -> None:
    """Put the module at `path` in the place of the installed one."""
    spec = importlib.util.spec_from_file_location("enfilade.transport.doors._doors", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules["enfilade.transport.doors._doors"] = module


def calls() -> list[str]:
    from enfilade.transport.doors._doors import ffi, lib

    return ffi.string(lib.mock_calls()).decode().split()


def case_layout() -> None:
    """The packed layouts of illumos on amd64: 24 bytes and 48, with 64-bit members on 4-byte boundaries."""
    from enfilade.transport.doors._doors import ffi

    assert (ffi.sizeof("door_desc_t"), ffi.alignof("door_desc_t")) == (24, 4)
    assert ffi.offsetof("door_desc_t", "d_data", "d_desc", "d_descriptor") == 4
    assert ffi.offsetof("door_desc_t", "d_data", "d_desc", "d_id") == 8
    assert (ffi.sizeof("door_info_t"), ffi.alignof("door_info_t")) == (48, 4)
    assert [
        ffi.offsetof("door_info_t", name)
        for name in ("di_target", "di_proc", "di_data", "di_attributes", "di_uniquifier", "di_resv")
    ] == [0, 4, 12, 20, 24, 32]
    assert ffi.sizeof("door_arg_t") == 48
    assert ffi.sizeof("door_cred_t") == 36


def case_create_function_is_ours() -> None:
    """Importing the binding sets a server create function whose threads have every signal blocked."""
    from enfilade.transport.doors import Door

    assert calls()[0] == "door_server_create"

    masks = []

    def procedure(request: object) -> None:
        masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, []))

    with Door(procedure) as door, door.client() as client:
        client.call_with_data(b"")
    assert masks[0] >= {signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1}


def case_double() -> None:
    """The example of the README at both levels."""
    from enfilade.transport.doors import Door, server_procedure
    from enfilade.transport.doors._doors import ffi
    from enfilade.transport.doors.api import NULL, door_call, door_create, door_return, door_revoke

    def double(cookie: object, argp: object, arg_size: int, dp: object, n_desc: int) -> None:
        result = ffi.new("uint64_t *", 2 * ffi.cast("uint64_t *", argp)[0])
        return door_return(ffi.cast("char *", result), 8, NULL, 0)

    door = door_create(double, None, 0)
    number = ffi.new("uint64_t *", 111)
    params = ffi.new("door_arg_t *")
    params.data_ptr = params.rbuf = ffi.cast("char *", number)
    params.data_size = params.rsize = 8
    assert door_call(door, params) == 0
    assert number[0] == 222
    assert door_revoke(door) == 0

    @server_procedure
    def twice(x: int) -> int:
        return 2 * x

    with Door(twice) as typed, twice.client(typed) as call:
        assert call(111) == 222


def case_python_returns_before_door_return() -> None:
    """When door_return runs, the procedure has returned: its frame is gone, and its reply is in
    C's buffer.
    """
    import gc
    import weakref

    from enfilade.transport.doors import Door

    class Marker:
        pass

    alive: list[weakref.ref[Marker]] = []

    def procedure(request: object) -> bytes:
        marker = Marker()
        alive.append(weakref.ref(marker))
        return b"x" * 3000

    with Door(procedure) as door, door.client() as client:
        assert client.call_with_data(b"") == b"x" * 3000
    gc.collect()
    assert alive[0]() is None


def case_failed_return_falls_back() -> None:
    """A door_return that fails reaches the error hook, and the client gets the hook's reply, or
    an empty one.
    """
    from enfilade.transport.doors import Door, DoorReturnError
    from enfilade.transport.doors._doors import lib

    for fallback in (b"sorry", None):
        seen: list[Exception] = []

        def hook(error: Exception, request: object, *, fallback: bytes | None = fallback) -> bytes | None:
            seen.append(error)  # noqa: B023 - used within the iteration
            return fallback

        with Door(lambda request: b"reply", on_error=hook) as door, door.client() as client:
            lib.mock_fail(b"door_return", errno.EMFILE)
            assert client.call_with_data(b"") == (fallback or b"")
            assert isinstance(seen[0], DoorReturnError.EMFILE)
            assert client.call_with_data(b"") == b"reply"


def case_errors_by_function() -> None:
    """Every function raises its own class for an errno, and keeps an errno that nobody documented."""
    from enfilade.transport.doors import DoorCallError, DoorCreateError, DoorInfoError, DoorRevokeError, api
    from enfilade.transport.doors._doors import ffi, lib

    failing = [
        (b"door_create", lambda: api.door_create(ffi.NULL, None, 0), DoorCreateError, errno.EMFILE),
        (b"door_call", lambda: api.door_call(0, api.NULL), DoorCallError, errno.EOVERFLOW),
        (b"door_info", lambda: api.door_info(0, ffi.new("door_info_t *")), DoorInfoError, errno.EBADF),
        (b"door_call", lambda: api.door_call(0, api.NULL), DoorCallError, errno.EXDEV),
    ]
    for name, call, error_class, number in failing:
        lib.mock_fail(name, number)
        with pytest.raises(error_class) as caught:
            call()
        assert caught.value.errno == number
        assert type(caught.value) is error_class.documented.get(number, error_class)
    assert not issubclass(DoorRevokeError, DoorCallError)


def case_names() -> None:
    """A name is opened with open(2), and is a door; a plain file is not; force_install replaces a name."""
    from enfilade.transport.doors import Client, Door, DoorOpenError, FattachError, NotADoor

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "names.door")
        first = Door(lambda request: b"first")
        second = Door(lambda request: b"second")
        first.install(path)
        with Client.open(path) as client:
            assert client.call_with_data(b"") == b"first"
        with pytest.raises(FattachError.EBUSY):
            second.install(path)
        second.force_install(path)
        with Client.open(path) as client:
            assert client.call_with_data(b"") == b"second"
        second.uninstall(path)
        before = len(os.listdir("/proc/self/fd"))
        for wrong, error in ((path, NotADoor), (Path(directory, "nothing"), DoorOpenError.ENOENT)):
            with pytest.raises(error):
                Client.open(wrong)
        assert len(os.listdir("/proc/self/fd")) == before


def case_xcreate_threads() -> None:
    """A bounded door has exactly the threads it was given, and passes the set-up function's cookie."""
    from enfilade.transport.doors import api
    from enfilade.transport.doors._doors import ffi

    made: list[int] = []
    set_up: list[object] = []

    def create(info: object, start: object, argument: object, cookie: object) -> int:
        made.append(info.di_attributes)  # type: ignore[attr-defined]
        api.server_thread(start, argument)
        return 1

    def procedure(cookie: object, argp: object, size: int, dp: object, n: int) -> None:
        return api.door_return(b"ok", 2, api.NULL, 0)

    attributes = api.DOOR_NO_DEPLETION_CB
    door = api.door_xcreate(procedure, None, attributes, create, set_up.append, "cookie", 3)
    assert len(made) == 3
    assert set_up == ["cookie"] * 3
    params = ffi.new("door_arg_t *")
    assert api.door_call(door, params) == 0
    assert ffi.buffer(params.rbuf, params.data_size)[:] == b"ok"
    api.munmap(params.rbuf, params.rsize)
    api.door_revoke(door)


def case_descriptors() -> None:
    """A released descriptor is the receiver's; one that the procedure ignores is closed; one in the result
    travels.
    """
    from enfilade.transport.doors import Descriptor, Door, Result

    read, write = os.pipe()
    os.write(write, b"through")
    before = len(os.listdir("/proc/self/fd"))
    with Door(lambda request: Result(b"", request.descriptors)) as door, door.client() as client:
        reply = client.call(b"", [Descriptor(read, release=True)])
        assert os.read(reply.descriptors[0].fileno(), 7) == b"through"
        reply.close()
    with Door(lambda request: None) as door, door.client() as client:
        client.call(b"", [Descriptor(write, release=True)]).close()
    assert len(os.listdir("/proc/self/fd")) == before - 2


def case_credentials_and_zones() -> None:
    """Credentials come from the ucred functions and are freed; zone names from the zone functions."""
    from enfilade.transport import zones
    from enfilade.transport.doors import Door

    seen = []
    with Door(lambda request: seen.append(request.credentials())) as door, door.client() as client:
        client.call_with_data(b"")
    assert (seen[0].pid, seen[0].euid, seen[0].groups, seen[0].zone) == (
        os.getpid(),
        os.geteuid(),
        (20, 21),
        3,
    )
    assert calls().count("door_ucred") == calls().count("ucred_free")
    assert zones.own().name == "global"
    assert zones.by_id(3).name == "web"
    assert zones.by_name("web").id == 3
    assert [zone.name for zone in zones.known()] == ["global", "web"]


def case_exit_with_running_procedure() -> None:
    """A procedure that still runs when the interpreter ends disturbs nobody (this process's exit is the
    test).
    """
    from enfilade.transport.doors import Door

    entered = threading.Event()

    def procedure(request: object) -> None:
        entered.set()
        threading.Event().wait(0.2)

    door = Door(procedure)
    client = door.client()
    caller = threading.Thread(target=lambda: client.call(b""), daemon=True)
    caller.start()
    assert entered.wait(60)


def main() -> None:
    load(sys.argv[1])
    results: dict[str, str | None] = {}
    for name, case in list(globals().items()):
        if name.startswith("case_"):
            try:
                case()
            except Exception:
                results[name] = traceback.format_exc()
            else:
                results[name] = None
    print(json.dumps(results), flush=True)


if __name__ == "__main__":
    main()
