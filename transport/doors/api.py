"""The door functions as they are in C: the same names, the same order of arguments, the same constants.

Buffers and structures are the caller's, made with `ffi.new` (`ffi` is here too); nothing is allocated here
for a call::

    params = ffi.new("door_arg_t *")
    number = ffi.new("uint64_t *", 111)
    params.data_ptr, params.data_size = ffi.cast("char *", number), 8
    params.rbuf, params.rsize = params.data_ptr, 8
    door_call(d, params)
    assert number[0] == 222

Where C returns -1 and sets errno, these functions raise: each its own class of error, an `OSError` (see
`errors.py`).

**Server procedures.** `proc` is a Python function `proc(cookie, argp, arg_size, dp, n_desc)`, with the C
types for the last four, or a C function pointer. It ends, as in C, with `door_return`. But no Python frame
may exist when the C function of that name runs, because it abandons the stack, so Python's `door_return`
notes its arguments, and C carries it out as soon as the procedure has given way:

* a plain function writes `return door_return(data_ptr, data_size, desc_ptr, num_desc)`. The arguments are
  copied at once, so they may point to what ends with the function;
* a generator function writes `yield door_return(...)`. Its frame, and therefore its buffers, stay while C
  carries it out, so nothing is copied; on success it never comes back, and on failure the `yield` raises
  `DoorReturnError`, the client is still waiting, and the procedure can return something else.

A procedure that ends without `door_return` ends its server thread, and the client gets EINTR, as in C. An
exception is logged and answered with an empty reply.
"""

import os
from collections.abc import Callable, Generator
from typing import Any, TypeAlias

from enfilade.transport.doors import _dispatch
from enfilade.transport.doors._doors import ffi as ffi
from enfilade.transport.doors._doors import lib
from enfilade.transport.doors._ucred import (  # noqa: F401 - names of this layer
    ucred_free,
    ucred_get,
    ucred_getegid,
    ucred_geteuid,
    ucred_getgroups,
    ucred_getpflags,
    ucred_getpid,
    ucred_getprivset,
    ucred_getprojid,
    ucred_getrgid,
    ucred_getruid,
    ucred_getsgid,
    ucred_getsuid,
    ucred_getzoneid,
    ucred_size,
)
from enfilade.transport.doors.errors import (
    DoorBindError,
    DoorCallError,
    DoorCountersError,
    DoorCreateError,
    DoorCredError,
    DoorDupError,
    DoorError,
    DoorGetparamError,
    DoorInfoError,
    DoorOpenError,
    DoorReturnError,
    DoorRevokeError,
    DoorSetparamError,
    DoorUcredError,
    DoorUnbindError,
    DoorXcreateError,
    FattachError,
    FdetachError,
    IsastreamError,
)

CData: TypeAlias = Any
Procedure: TypeAlias = Callable[[Any, CData, int, CData, int], object]
Path: TypeAlias = "str | bytes | os.PathLike[str] | os.PathLike[bytes]"

NULL = ffi.NULL

DOOR_UNREF = lib.DOOR_UNREF
DOOR_PRIVATE = lib.DOOR_PRIVATE
DOOR_LOCAL = lib.DOOR_LOCAL
DOOR_REVOKED = lib.DOOR_REVOKED
DOOR_UNREF_MULTI = lib.DOOR_UNREF_MULTI
DOOR_IS_UNREF = lib.DOOR_IS_UNREF
DOOR_REFUSE_DESC = lib.DOOR_REFUSE_DESC
DOOR_NO_CANCEL = lib.DOOR_NO_CANCEL
DOOR_NO_DEPLETION_CB = lib.DOOR_NO_DEPLETION_CB
DOOR_PRIVCREATE = lib.DOOR_PRIVCREATE
DOOR_DEPLETION_CB = lib.DOOR_DEPLETION_CB
DOOR_CREATE_MASK = lib.DOOR_CREATE_MASK
DOOR_ATTR_MASK = lib.DOOR_ATTR_MASK
DOOR_DESCRIPTOR = lib.DOOR_DESCRIPTOR
DOOR_RELEASE = lib.DOOR_RELEASE
DOOR_INVAL = lib.DOOR_INVAL
DOOR_QUERY = lib.DOOR_QUERY
DOOR_UNREF_DATA = lib.DOOR_UNREF_DATA
DOOR_PARAM_DESC_MAX = lib.DOOR_PARAM_DESC_MAX
DOOR_PARAM_DATA_MAX = lib.DOOR_PARAM_DATA_MAX
DOOR_PARAM_DATA_MIN = lib.DOOR_PARAM_DATA_MIN

PRIV_EFFECTIVE = b"Effective"
PRIV_PERMITTED = b"Permitted"
PRIV_INHERITABLE = b"Inheritable"
PRIV_LIMIT = b"Limit"


def _check(result: int, error: type[DoorError], subject: object = "") -> int:
    if result < 0:
        raise error.of(ffi.errno, str(subject))
    return result


class _Procedure:
    """A Python function in the role of a `door_server_procedure_t`."""

    def __init__(self, function: Procedure, cookie: object) -> None:
        self.function = function
        self.cookie = cookie

    def run(self, invocation: CData) -> None:
        thread = _dispatch.thread
        thread.generator = thread.keep = None  # the ones of this thread's last call are over
        thread.invocation = invocation
        invocation.action = lib.DISPATCH_EXIT  # what is left to happen if nothing is returned
        try:
            result = self.function(
                self.cookie, invocation.argp, invocation.arg_size, invocation.dp, invocation.n_desc
            )
            if isinstance(result, Generator):
                thread.generator = result
                self.advance(invocation, lambda: next(result))
        finally:
            thread.invocation = None

    def failed(self, invocation: CData) -> None:
        error = DoorReturnError.of(invocation.error)
        generator = _dispatch.thread.generator
        if generator is None:
            _dispatch.log.error("%s; the client gets an empty reply", error)
            return
        invocation.action = lib.DISPATCH_EXIT
        _dispatch.thread.invocation = invocation
        try:
            self.advance(invocation, lambda: generator.throw(error))
        finally:
            _dispatch.thread.invocation = None

    @staticmethod
    def advance(invocation: CData, step: Callable[[], object]) -> None:
        try:
            step()
        except StopIteration:
            invocation.action = lib.DISPATCH_EXIT


def _encoded(path: Path) -> bytes:
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ValueError(f"{path!r} contains a null byte, which would end it in C")
    return encoded


def _is_c(function: object) -> bool:
    return isinstance(function, ffi.CData)


def _check_function(function: object, role: str) -> None:
    if function == NULL if _is_c(function) else not callable(function):
        raise TypeError(f"expected a Python function or a C function pointer {role}, got {function!r}")


def _c_procedure(proc: Procedure | CData, cookie: object) -> tuple[CData, CData]:
    if _is_c(proc):
        return proc, cookie if _is_c(cookie) else ffi.cast("void *", cookie or 0)
    if not callable(proc):
        raise TypeError(f"expected a Python function or a C function pointer, got {proc!r}")
    return _dispatch.PROCEDURE, _dispatch.enter(_Procedure(proc, cookie))


def door_create(proc: Procedure | CData, cookie: object, attributes: int) -> int:
    """Create a door to `proc` in this process; return its descriptor, which is closed on exec.

    The first door that is not private makes the process's first server thread.

    Args:
        proc: a Python function or a C function pointer (above).
        cookie: given to `proc` at every call. Any object, if `proc` is in Python; else a `void *` or an int.
        attributes: `DOOR_UNREF`, `DOOR_UNREF_MULTI`, `DOOR_PRIVATE`, `DOOR_REFUSE_DESC`, `DOOR_NO_CANCEL`,
            or'ed.

    Raises `DoorCreateError`: EINVAL, EMFILE, ENOTSUP. Source: door_create(3C).
    """
    procedure, handle = _c_procedure(proc, cookie)
    try:
        return _check(lib.door_create(procedure, handle, attributes), DoorCreateError)
    except BaseException:
        if procedure == _dispatch.PROCEDURE:
            _dispatch.forget(handle)
        raise


class _Xcreation:
    """The functions and the cookie that `door_xcreate` was given, when they are in Python."""

    def __init__(self, create: Any, set_up: Any, cookie: object) -> None:
        self._create = create
        self._set_up = set_up
        self._cookie = cookie

    def create(self, info: CData, start: CData, argument: CData) -> int:
        made = self._create(info, start, argument, self._cookie)
        if made not in (1, 0, -1):
            raise ValueError(f"expected a thread creation function to return 1, 0 or -1, got {made!r}")
        return int(made)

    def set_up(self) -> None:
        self._set_up(self._cookie)


def door_xcreate(
    proc: Procedure | CData,
    cookie: object,
    attributes: int,
    thr_create_func: Callable[[CData, CData, CData, Any], int] | CData,
    thr_setup_func: Callable[[Any], object] | CData | None,
    crcookie: object,
    nthread: int,
) -> int:
    """Create a private door with `nthread` server threads of its own; return its descriptor.

    The call returns when every thread is ready.

    Args:
        proc, cookie: as for `door_create`.
        attributes: as for `door_create`; `DOOR_PRIVATE` is implied, `DOOR_NO_DEPLETION_CB` allowed.
        thr_create_func: `(info, start, argument, crcookie) -> int`, called once for each thread, and later
            whenever a call takes the last idle one, then with `DOOR_DEPLETION_CB` in `info.di_attributes`. It
            starts a thread that runs `start(argument)`, with `server_thread(start, argument)`, and returns 1;
            or 0 for no thread; or -1 for a failure.
        thr_setup_func: `(crcookie)`, run first in each new thread; or None. It is in Python if
            `thr_create_func` is, and else a C function pointer.
        crcookie: given to both: any object, or for C functions a `void *` or an int.
        nthread: at least 1.

    A Python function that raises, or returns something else, counts as -1, and the error is logged.

    Raises `TypeError` for what is no function, and `DoorXcreateError`: EINVAL, EPIPE, EBADF, E2BIG, ENOMEM,
    EMFILE, ENOTSUP. Source: door_xcreate(3C).
    """
    if thr_create_func is not None and not _is_c(thr_create_func):
        _check_function(thr_create_func, "to make threads")
    if thr_setup_func is not None and not _is_c(thr_setup_func):
        _check_function(thr_setup_func, "to set threads up")
    procedure, handle = _c_procedure(proc, cookie)
    setup = NULL if thr_setup_func is None else thr_setup_func
    if thr_create_func is None or _is_c(thr_create_func):
        create = NULL if thr_create_func is None else thr_create_func
        create_cookie = crcookie if _is_c(crcookie) else ffi.cast("void *", crcookie or 0)
    else:
        create = _dispatch.XCREATE
        create_cookie = _dispatch.enter(_Xcreation(thr_create_func, setup, crcookie))
        setup = NULL if thr_setup_func is None else _dispatch.SETUP
    if create == _dispatch.XCREATE and procedure == _dispatch.PROCEDURE:
        _dispatch.accompany(handle, create_cookie)
    d = lib.door_xcreate(procedure, handle, attributes, create, setup, create_cookie, nthread)
    error = ffi.errno
    if d < 0:
        if procedure == _dispatch.PROCEDURE:
            _dispatch.retire(int(ffi.cast("uintptr_t", handle)))  # threads that were started may still ask
        raise DoorXcreateError.of(error)
    return d


def door_call(d: int, params: CData) -> int:
    """Call the door; return 0, with the results in `params`.

    Args:
        d: the door.
        params: a `door_arg_t *`, or `NULL` for no arguments and no results. If the results do not fit
            `params.rbuf`, then `rbuf` and `rsize` are changed to a new mapping, which the caller must
            `munmap`. `data_ptr` and `desc_ptr` are only meaningful if `data_size` and `desc_num` are not 0.

    Blocks, without the interpreter's lock, until the server returns. A signal with a handler interrupts it:
    before the procedure has begun with EAGAIN, after with EINTR. Python's handler then runs, and the call is
    not repeated.

    Raises `DoorCallError`: E2BIG, EAGAIN, EBADF, EFAULT, EINTR, EINVAL, EMFILE, ENFILE, ENOBUFS, ENOTSUP,
    EOVERFLOW; `params` is unchanged then. Whose the descriptors with `DOOR_RELEASE` are after a failure is
    told in docs/doors.md.
    Source: door_call(3C).
    """
    if lib.door_call(d, params) < 0:
        raise DoorCallError.of(ffi.errno, f"descriptor {d}")
    return 0


def door_return(data_ptr: CData | bytes, data_size: int, desc_ptr: CData, num_desc: int) -> None:
    """Return results to the caller of the procedure that is running, as described at the head of this file:
    `data_size` bytes at `data_ptr`, and `num_desc` descriptors at `desc_ptr`.

    On a new server thread (`server_thread`) it says that the thread is to park, and the arguments do not
    matter.

    Raises `RuntimeError` on a thread that is neither, and `ValueError` if bytes are given as `data_ptr` that
    are fewer than `data_size`, or `MemoryError`. Errors of the C function are raised at the `yield` of a
    generator procedure as `DoorReturnError` (E2BIG, EFAULT, EINVAL, EMFILE), and logged for a plain one,
    whose client gets an empty reply. Source: door_return(3C).
    """
    thread = _dispatch.thread
    invocation = thread.invocation
    if invocation is None:
        if thread.parks is None:
            raise RuntimeError(
                "door_return on a thread that serves no door: Python's own threads cannot become server "
                "threads; start one with server_thread()"
            )
        thread.parks = True
        return
    if not _is_c(data_ptr):
        data_ptr = ffi.from_buffer("char[]", data_ptr)
        there = len(data_ptr)
        if data_size > there:
            ffi.release(data_ptr)  # or it would be in the traceback: see client.py
            raise ValueError(f"expected {data_size} bytes of data, got {there}")
    if thread.generator is None:
        if data_size:
            data_ptr = lib.dispatch_copy(data_ptr, data_size)
            if data_ptr == NULL:
                raise MemoryError(f"no memory for a reply of {data_size} bytes")
        else:
            data_ptr = NULL
        if num_desc:
            desc_ptr = lib.dispatch_copy_descriptors(desc_ptr, num_desc)
            if desc_ptr == NULL:
                raise MemoryError(f"no memory for {num_desc} descriptors")
    else:
        thread.keep = (data_ptr, desc_ptr)
    invocation.data_ptr, invocation.data_size = data_ptr, data_size
    invocation.desc_ptr, invocation.num_desc = desc_ptr, num_desc
    invocation.action = lib.DISPATCH_RETURN


def door_info(d: int, info: CData) -> int:
    """Fill in `info`, a `door_info_t *`; return 0.

    Args:
        d: any door, also a revoked one or one whose server has exited; or `DOOR_QUERY` for the door that the
            calling server thread is bound to.

    Raises `DoorInfoError`: EBADF, EFAULT. Source: door_info(3C).
    """
    return _check(lib.door_info(d, info), DoorInfoError, f"descriptor {d}")


def door_revoke(d: int) -> int:
    """Revoke a door of this process and close `d`; return 0.

    Calls in progress complete; calls that wait for a server thread, and all later ones, fail with EBADF.

    Raises `DoorRevokeError`: EBADF, EPERM (then `d` is still open). Source: door_revoke(3C).
    """
    info = ffi.new("door_info_t *")
    known = lib.door_info(d, info) == 0
    _check(lib.door_revoke(d), DoorRevokeError, f"descriptor {d}")
    if known and info.di_proc == int(ffi.cast("uintptr_t", _dispatch.PROCEDURE)):
        _dispatch.retire(info.di_data)
    return 0


def door_bind(did: int) -> int:
    """Bind the calling server thread to the private door `did`, from its next `door_return` on; return 0.

    Raises `DoorBindError`: EBADF, EINVAL. Source: door_bind(3C).
    """
    return _check(lib.door_bind(did), DoorBindError, f"descriptor {did}")


def door_unbind() -> int:
    """Return the calling server thread to the public pool, from its next `door_return` on; return 0.

    Raises `DoorUnbindError`: EBADF. Source: door_bind(3C).
    """
    return _check(lib.door_unbind(), DoorUnbindError)


def door_cred(info: CData) -> int:
    """Fill in `info`, a `door_cred_t *`, with the credentials of the present caller; return 0.

    Prefer `door_ucred`.

    Raises `DoorCredError`: EFAULT, EINVAL. Source: door_cred(3C).
    """
    return _check(lib.door_cred(info), DoorCredError)


def door_ucred(info: CData) -> int:
    """Set `info`, a `ucred_t **`, to the credentials of the present caller; return 0.

    `info[0]` is `NULL`, and then is to be given to `ucred_free` afterwards, or an earlier result to be used
    again.

    Raises `DoorUcredError`: EAGAIN, EFAULT, EINVAL, ENOMEM. Source: door_ucred(3C).
    """
    return _check(lib.door_ucred(info), DoorUcredError)


def door_server_create(create_func: Callable[[CData], object] | CData) -> Callable[[CData], object] | CData:
    """Set the function that is called when a pool needs a server thread; return the one before.

    Args:
        create_func: `(info)`, a Python function or a C function pointer. `info` is `NULL` for the public
            pool, else the `door_info_t *` of a private door; it starts any number of threads with
            `server_thread`. It runs on the thread that creates a door, or, because the pool is empty, on a
            server thread before the procedure.

    Raises `TypeError` for what is no function. Source: door_server_create(3C).
    """
    _check_function(create_func, "to make threads")
    before = _dispatch.create_function
    in_c = _is_c(create_func)
    if not in_c:
        _dispatch.create_function = create_func
    previous = lib.door_server_create(create_func if in_c else _dispatch.CREATE)
    return before if before is not None and previous == _dispatch.CREATE else previous


def door_getparam(d: int, param: int, out: CData) -> int:
    """Set `out`, a `size_t *`, to a parameter of a door; return 0.

    Args:
        d: the door.
        param: `DOOR_PARAM_DESC_MAX`, `DOOR_PARAM_DATA_MAX` or `DOOR_PARAM_DATA_MIN`.

    Raises `DoorGetparamError`: EBADF, EFAULT, EINVAL, EOVERFLOW. Source: door_getparam(3C).
    """
    return _check(lib.door_getparam(d, param, out), DoorGetparamError, f"descriptor {d}")


def door_setparam(d: int, param: int, val: int) -> int:
    """Set the parameter `param` of `d`, a door of this process, to `val`, for later calls; return 0.

    Raises `DoorSetparamError`: EBADF, EINVAL, ENOTSUP, EPERM, ERANGE. Source: door_getparam(3C).
    """
    return _check(lib.door_setparam(d, param, val), DoorSetparamError, f"descriptor {d}")


def fattach(fildes: int, path: Path) -> int:
    """Attach the door `fildes` to the existing file `path`; return 0.

    Raises `FattachError`: EACCES, EBADF, EBUSY, EINVAL, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, ENOTSUP, EPERM.
    Source: fattach(3C).
    """
    return _check(lib.fattach(fildes, _encoded(path)), FattachError, os.fsdecode(path))


def fdetach(path: Path) -> int:
    """Detach what is attached to `path`; return 0.

    On illumos it would unmount any file system that is mounted there: make sure that it is a door.

    Raises `FdetachError`: EACCES, EINVAL, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, EPERM. Source: fdetach(3C).
    """
    return _check(lib.fdetach(_encoded(path)), FdetachError, os.fsdecode(path))


def isastream(fildes: int) -> int:
    """Return 1 if the descriptor `fildes` is a STREAM, 0 if not; a door is not. Raises `IsastreamError`."""
    return _check(lib.isastream(fildes), IsastreamError, f"descriptor {fildes}")


def door_open(path: Path, oflag: int = os.O_RDONLY) -> int:
    """Open `path`, the name of a door, with `oflag`; return a descriptor.

    On illumos it is `open(2)`, which Linux cannot do for a door.

    Raises `DoorOpenError`: EACCES, EEXIST, EINTR, ELOOP, EMFILE, ENAMETOOLONG, ENOENT, ENOTDIR.
    """
    return _check(lib.door_open(_encoded(path), oflag), DoorOpenError, os.fsdecode(path))


def door_dup(d: int) -> int:
    """Return another descriptor of the door `d`.

    On illumos it is `dup(2)`; on Linux it is the form whose references are counted.

    Raises `DoorDupError`: EBADF, EMFILE.
    """
    return _check(lib.door_dup(d), DoorDupError, f"descriptor {d}")


def door_replace(fildes: int, path: Path) -> int:
    """Attach the door to `path` as `fattach` does, also where a door is attached already; return 0.

    On Linux the new name takes the old one's place in one step. On illumos the old door is detached first, so
    that for a moment the plain file is seen.

    Raises `FattachError`: EACCES, EBUSY if something else than a door is there, and as `fattach` does.
    """
    return _check(lib.door_replace(fildes, _encoded(path)), FattachError, os.fsdecode(path))


def door_counters(d: int, counters: CData) -> int:
    """Fill in `counters`, a `door_counters_t *`, with what became of the calls of the door `d`; return 0.

    For Linux: `calls` that a server thread has taken, `failures` among them (the client got an error or was
    gone), invocations that are `active`, and `references` (descriptors handed out, and names). Any holder may
    ask; the server is not disturbed.

    Raises `DoorCountersError`: EBADF, EFAULT, and ENOTSUP on illumos, which does not count.
    """
    return _check(lib.door_counters(d, counters), DoorCountersError, f"descriptor {d}")


def is_door(d: int) -> bool:
    """Tell whether the descriptor `d` is a door."""
    return lib.is_door(d) == 1


def munmap(addr: CData, length: int) -> int:
    """Unmap `length` bytes at `addr` that `door_call` mapped: `munmap(params.rbuf, params.rsize)`; return 0.

    Raises `OSError`.
    """
    if lib.munmap(addr, length) < 0:
        raise OSError(ffi.errno, os.strerror(ffi.errno))
    return 0


def server_thread(start: Callable[[], object] | CData, argument: CData = NULL, stack_size: int = 0) -> None:
    """Start a server thread: in C, detached, with all signals blocked and cancellation disabled.

    Args:
        start: a C function pointer `void *(*)(void *)`; or a Python function without arguments, which may
            `door_bind` the thread, and which ends with `door_return(NULL, 0, NULL, 0)` if the thread is to
            park.
        argument: what a C function is run with.
        stack_size: bytes; 0 means 2 MiB. A request must fit the stack.

    Raises `OSError` if the system makes no more threads, and `TypeError` if `start` is no function.
    """
    _check_function(start, "to run in the thread")
    if _is_c(start):
        error = lib.dispatch_thread(start, argument, stack_size)
    else:
        handle = _dispatch.enter(start)
        error = lib.dispatch_thread_in_python(handle, stack_size)
        if error:
            _dispatch.forget(handle)
    if error:
        raise OSError(error, os.strerror(error))
