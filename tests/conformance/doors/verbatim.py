"""Short forms for what every test of the verbatim layer writes: parameters of a call, and what came back."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from enfilade.transport.doors.api import (
    DOOR_DESCRIPTOR,
    DOOR_PRIVATE,
    NULL,
    door_bind,
    door_call,
    door_getparam,
    door_info,
    door_return,
    ffi,
    munmap,
    server_thread,
)

CData = Any
PAGE = os.sysconf("SC_PAGESIZE")


def text(data_ptr: CData, size: int) -> bytes:
    """The bytes at a pointer."""
    return bytes(ffi.buffer(data_ptr, size)) if size else b""


def descriptors(entries: Sequence[tuple[int, int] | int]) -> CData:
    """A `door_desc_t` array; an entry is a descriptor, or one with its attributes."""
    array = ffi.new("door_desc_t[]", len(entries))
    for place, entry in zip(array, entries, strict=True):
        fd, attributes = entry if isinstance(entry, tuple) else (entry, DOOR_DESCRIPTOR)
        place.d_attributes = attributes
        place.d_data.d_desc.d_descriptor = fd
    return array


class Arguments:
    """A `door_arg_t` and the memory that it points to.

    rsize: bytes of result buffer; 0 gives NULL. A context manager: leaving it unmaps a moved result buffer
    and closes the descriptors that were received.
    """

    def __init__(
        self,
        data: bytes = b"",
        fds: Sequence[tuple[int, int] | int] = (),
        *,
        rsize: int = 0,
        rbuf: CData = None,
    ) -> None:
        self.params = ffi.new("door_arg_t *")
        self.request = (
            ffi.new("char[]", data) if data else NULL
        )  # one more byte than the data, which nobody sees
        self.array = descriptors(fds) if fds else NULL
        self.rbuf = rbuf if rbuf is not None else ffi.new("char[]", rsize) if rsize else NULL
        self.params.data_ptr = self.request
        self.params.data_size = len(data)
        self.params.desc_ptr = self.array
        self.params.desc_num = len(fds)
        self.params.rbuf = self.rbuf
        self.params.rsize = rsize
        self.called = False

    def call(self, d: int) -> "Arguments":
        door_call(d, self.params)
        self.called = True
        return self

    @property
    def moved(self) -> bool:
        """Whether the results are in a new mapping."""
        return bool(self.params.rbuf != self.rbuf)

    @property
    def data(self) -> bytes:
        return text(self.params.data_ptr, self.params.data_size)

    @property
    def fds(self) -> list[int]:
        return [entry.d_data.d_desc.d_descriptor for entry in self.entries]

    @property
    def entries(self) -> list[CData]:
        return list(self.params.desc_ptr[0 : self.params.desc_num]) if self.params.desc_num else []

    def snapshot(self) -> bytes:
        """The 48 bytes of the structure."""
        return bytes(ffi.buffer(self.params, ffi.sizeof("door_arg_t")))

    def __enter__(self) -> "Arguments":
        return self

    def __exit__(self, *_: object) -> None:
        if self.called:
            for fd in self.fds:
                os.close(fd)
            if self.moved:
                munmap(self.params.rbuf, self.params.rsize)


def info(d: int) -> CData:
    """The `door_info_t` of a door."""
    place = ffi.new("door_info_t *")
    door_info(d, place)
    return place


def param(d: int, number: int) -> int:
    """A parameter of a door."""
    place = ffi.new("size_t *")
    door_getparam(d, number, place)
    return int(place[0])


def call(d: int, data: bytes = b"") -> bytes:
    """Data in, data out."""
    with Arguments(data).call(d) as arguments:
        return arguments.data


def outcome(function: Callable[[], object]) -> Any:
    """What a call came to: its result, or the name of its errno."""
    import errno

    try:
        return function()
    except OSError as error:
        return errno.errorcode[error.errno or 0]


class InThread:
    """A function running beside the test; `result()` waits for what it came to, as `outcome` says it."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._result: Any = None
        self._thread = threading.Thread(target=self._run, args=(function,), daemon=True)
        self._thread.start()

    def _run(self, function: Callable[[], object]) -> None:
        self._result = outcome(function)

    def waits(self, patience: float = 60) -> bool:
        """Whether the function still runs, once it sleeps in the kernel, and not for a lock: in its call."""
        deadline = time.monotonic() + patience
        while self.running and not _sleeps_in_a_call(self._thread.native_id):
            assert time.monotonic() < deadline, "the call does not begin"
            time.sleep(0.01)
        return self.running

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def result(self, patience: float = 60) -> Any:
        self._thread.join(patience)
        assert not self._thread.is_alive(), "the call does not come back"
        return self._result


LOCK_CALLS = ("202", "98")  # futex, on x86-64 and on others


def _sleeps_in_a_call(thread: int | None) -> bool:
    try:
        state = Path(f"/proc/self/task/{thread}/syscall").read_text()
    except OSError:  # a system without these files
        time.sleep(0.2)
        return True
    return state.strip() != "running" and state.split()[0] not in LOCK_CALLS


def bound_thread(door: int) -> None:
    """Start a server thread that is bound to the private door, and wait until it is."""
    ready = threading.Event()

    def start() -> None:
        door_bind(door)
        ready.set()
        door_return(NULL, 0, NULL, 0)

    server_thread(start)
    assert ready.wait(60)


def returning(data: bytes) -> Callable[..., None]:
    """A server procedure that returns these bytes."""

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        return door_return(data, len(data), NULL, 0)

    return procedure


def echo(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
    """A server procedure that returns its request."""
    return door_return(argp, arg_size, NULL, 0)


__all__ = [
    "DOOR_PRIVATE",
    "PAGE",
    "Arguments",
    "InThread",
    "bound_thread",
    "call",
    "descriptors",
    "echo",
    "info",
    "outcome",
    "param",
    "returning",
    "text",
]
