"""The Python half of `c/dispatch.h`: from an invocation to the procedure it is for.

The cookie that the kernel keeps for a door of ours is a number, the *handle* of an entry in a table here,
because the cookie is shown to everyone who holds a descriptor of the door. An entry stays as long as its door
can be called. A program that closes its own descriptor does not end that, for others may hold one; only a
revocation does, and even then calls that had begun may still be on their way from C, so the entries of the
last revoked doors are kept a while.
"""

import atexit
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from enfilade.transport.doors._doors import ffi, lib

log = logging.getLogger("enfilade.transport.doors")

CData = Any

RETIRED_KEPT = 256
EXIT_GRACE = 2.0


class Invocable(Protocol):
    """The object behind the handle of a door."""

    def run(self, invocation: CData) -> None:
        """Serve the call: fill in the reply of the `struct dispatch_invocation`, and its action."""

    def failed(self, invocation: CData) -> None:
        """`door_return` failed with `invocation.error`: fill in another reply, or let it be empty."""


class Xcreation(Protocol):
    """The object behind the handle that `door_xcreate` was given."""

    def create(self, info: CData, start: CData, argument: CData) -> int:
        """Start a server thread; how many were started, or -1."""

    def set_up(self) -> None:
        """Set up the server thread that this runs on."""


_handles = itertools.count(1)
_entries: dict[int, Any] = {}
_retired: deque[int] = deque()
_companions: dict[int, int] = {}

PROCEDURE = ffi.addressof(lib, "dispatch_procedure")
CREATE = ffi.addressof(lib, "dispatch_create")
XCREATE = ffi.addressof(lib, "dispatch_xcreate")
SETUP = ffi.addressof(lib, "dispatch_setup")
DEFAULT_CREATE = ffi.addressof(lib, "dispatch_default_create")


def enter(entry: Invocable | Xcreation | Callable[[], object]) -> CData:
    """Put `entry` into the table and return its handle, as the `void *` that C takes."""
    handle = next(_handles)
    _entries[handle] = entry
    return ffi.cast("void *", handle)


def forget(handle: CData) -> None:
    """Take an entry out that cannot be asked for again, because its door or thread was never made."""
    _entries.pop(_number(handle), None)


def accompany(handle: CData, other: CData) -> None:
    """Let the entry of `other` go together with that of `handle`."""
    _companions[_number(handle)] = _number(other)


def retire(handle: int) -> None:
    """The door of `handle` has been revoked: let its entry go when others have followed it."""
    if handle not in _entries:
        return
    _retired.append(handle)
    while len(_retired) > RETIRED_KEPT:
        gone = _retired.popleft()
        _entries.pop(gone, None)
        _entries.pop(_companions.pop(gone, -1), None)


def _number(handle: CData) -> int:
    return int(ffi.cast("uintptr_t", handle))


class _ThreadState(threading.local):
    """What a server thread knows.

    Attributes:
        invocation: the one that it serves, while a procedure of the verbatim layer is running.
        generator: that procedure's, if it is one.
        keep: what the last reply points into.
        parks: of a thread that `server_thread` has started and that serves nothing yet, whether it is to
            park.
    """

    invocation: CData | None = None
    generator: Any = None
    keep: Any = None
    parks: bool | None = None


thread = _ThreadState()


@ffi.def_extern()
def dispatch_python_invoke(invocation: CData, handle: int) -> None:
    entry = _entries.get(handle)
    if entry is None:
        log.error("a call arrived for a door that was revoked long ago; its client gets an empty reply")
        invocation.action = lib.DISPATCH_EMPTY
        return
    try:
        entry.run(invocation)
    except BaseException:
        log.exception("a server procedure failed; its client gets an empty reply")
        invocation.action = lib.DISPATCH_EMPTY


@ffi.def_extern()
def dispatch_python_failed(invocation: CData) -> None:
    entry = _entries.get(invocation.cookie)
    if entry is None:
        return
    try:
        entry.failed(invocation)
    except BaseException:
        log.exception("a server procedure failed; its client gets an empty reply")
        invocation.action = lib.DISPATCH_EMPTY


# The function that door_server_create() was given last, if it was written in Python.
create_function: Callable[[CData], object] | None = None


@ffi.def_extern()
def dispatch_python_create(info: CData) -> None:
    try:
        if create_function is not None:
            create_function(info)
    except BaseException:
        log.exception("a server create function failed")


@ffi.def_extern(error=-1)
def dispatch_python_xcreate(info: CData, start: CData, argument: CData, cookie: CData) -> int:
    try:
        return int(_entries[_number(cookie)].create(info, start, argument))
    except BaseException:
        log.exception("a thread creation function failed")
        return -1


@ffi.def_extern()
def dispatch_python_setup(cookie: CData) -> None:
    try:
        _entries[_number(cookie)].set_up()
    except BaseException:
        log.exception("a thread set-up function failed")


@ffi.def_extern()
def dispatch_python_thread(handle: CData) -> int:
    function = _entries.pop(_number(handle))
    thread.parks = False
    try:
        function()
    except BaseException:
        log.exception("a server thread failed before it parked")
        return 0
    return int(thread.parks)


def _close() -> None:
    """No thread may enter Python when the interpreter ends; those inside get a moment to come out."""
    lib.dispatch_close()
    deadline = time.monotonic() + EXIT_GRACE
    while lib.dispatch_in_python() > 0 and time.monotonic() < deadline:
        time.sleep(0.001)


lib.door_server_create(DEFAULT_CREATE)
atexit.register(_close)
