"""Serving a door."""

import contextlib
import inspect
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self, TypeAlias

from enfilade.transport.doors import _dispatch, api
from enfilade.transport.doors._asynchronous import AsyncProcedure
from enfilade.transport.doors._doors import ffi, lib
from enfilade.transport.doors.client import Client
from enfilade.transport.doors.descriptor import Descriptor, check_kind, received, sent_by_caller
from enfilade.transport.doors.errors import (
    DoorReturnError,
    DoorRevokeError,
    FattachError,
    FdetachError,
    NotADoor,
)
from enfilade.transport.doors.info import Attributes, DoorCounters, DoorInfo
from enfilade.transport.doors.request import Request, Result
from enfilade.transport.doors.typed import ServerProcedure

Answer: TypeAlias = Any
"""What a procedure returns: `None`, anything with the buffer protocol, or a `Result`."""

Procedure: TypeAlias = Callable[[Request], Answer] | Callable[[Request], Awaitable[Answer]]
ErrorHook: TypeAlias = Callable[[Exception, Request | None], bytes | None]

# Bytes that are shorter are copied, which costs less than to keep them until the thread's next reply.
COPIED = 32 * 1024

# The largest number in C's size_t.
MOST = 2 ** (8 * ffi.sizeof("size_t")) - 1

RETURN_KEEPS = (DoorReturnError.E2BIG, DoorReturnError.EFAULT, DoorReturnError.EMFILE)


def log_error(error: Exception, request: Request | None) -> None:
    """The error hook that a door has unless it is given another: the error is logged, the reply empty."""
    _dispatch.log.error("a server procedure failed; its client gets an empty reply", exc_info=error)


class Door:
    """A door of this process: calls to it run `procedure`.

    A context manager: leaving it detaches the names that `install` gave, and revokes the door.

    Args:
        procedure: a function that is given a `Request` and returns `None`, the reply's data, or a `Result`;
            or a function marked with `@server_procedure`, which takes and returns values of the types that it
            is annotated with. A sync one runs on a server thread, many at a time. An async one runs in the
            trio loop that the door was created in; code in that loop calls such a door with `call_async`,
            because with `call` it would wait for itself.
        attributes: `Attributes.REFUSE_DESC`, `UNREF`, `UNREF_MULTI` and so on. `NO_CANCEL` is always added: a
            client that goes away does not disturb the procedure, which may ask `request.is_abandoned`. With
            `PRIVATE` and without `threads` nobody serves the door but threads that `api.door_bind` binds to
            it; until there is one, calls wait, as on illumos: give such a call a time limit.
        threads: serve with so many threads that serve nothing else, and no more than these: calls beyond
            wait. By default the door shares the process's pool, which grows with the number of simultaneous
            calls.
        stack_size: of those threads, in bytes; a request must fit the stack. 0 means 2 MiB. Only with
            `threads`.
        data_min, data_max: bytes of a request; one of another size is refused before the procedure runs
            (ENOBUFS). By default only what the types of a typed procedure imply.
        descriptors_max: descriptors of a request; one with more is refused likewise (ENFILE).
        on_unref: called with the door, on a server thread, when only one reference to it is left. Implies
            `Attributes.UNREF` unless `UNREF_MULTI` is given. It is a hint: look at `info()` before acting on
            it.
        on_error: called with an exception that the procedure raised, or a `DoorReturnError` that its result
            met, and the request, or `None` when it is over; it may return data for the client, who otherwise
            gets an empty reply. By default the error is logged.

    Raises `DoorCreateError` or `DoorXcreateError`: EINVAL, EMFILE; `DoorSetparamError` for limits that no
    door can have, and `ValueError` if they are negative, or if there is a `stack_size` and no `threads`;
    `RuntimeError` for an async procedure outside of trio; `TypeError` if the procedure or a hook is no
    function, or the procedure is a generator function.
    """

    def __init__(
        self,
        procedure: Procedure | ServerProcedure[Any, Any],
        attributes: Attributes = Attributes.NONE,
        *,
        threads: int | None = None,
        stack_size: int = 0,
        data_min: int | None = None,
        data_max: int | None = None,
        descriptors_max: int | None = None,
        on_unref: Callable[["Door"], object] | None = None,
        on_error: ErrorHook = log_error,
    ) -> None:
        if isinstance(procedure, ServerProcedure):
            data_min = procedure.request.size if data_min is None else data_min
            data_max = procedure.request.size if data_max is None else data_max
            procedure = procedure.serve
        if not callable(procedure):
            raise TypeError(f"expected a function to serve calls, got {procedure!r}")
        if _is_generator(procedure):
            raise TypeError(
                f"expected a function that returns its answer, got a generator function: {procedure!r}"
            )
        for name, hook in (("on_unref", on_unref), ("on_error", on_error)):
            if hook is not None and not callable(hook):
                raise TypeError(f"expected a function for {name}, got {hook!r}")
        if stack_size and threads is None:
            raise ValueError("stack_size is that of the door's own threads, which it has with threads=...")
        for name, limit in (
            ("data_min", data_min),
            ("data_max", data_max),
            ("descriptors_max", descriptors_max),
        ):
            if limit is not None and not 0 <= limit <= MOST:
                raise ValueError(f"expected {name} to be from 0 to {MOST}, got {limit}")
        if on_unref is not None and not attributes & (Attributes.UNREF | Attributes.UNREF_MULTI):
            attributes |= Attributes.UNREF
        self._serve = AsyncProcedure(procedure) if _is_async(procedure) else procedure
        self._on_unref = on_unref
        self._on_error = on_error
        self._names: list[str] = []
        self._handle = _dispatch.enter(self)
        try:
            self._fd = self._create(attributes | Attributes.NO_CANCEL, threads, stack_size)
        except BaseException:
            _dispatch.forget(self._handle)
            raise
        try:
            # The upper limit first: the lower one may not be above it.
            for parameter, limit in (
                (lib.DOOR_PARAM_DATA_MAX, data_max),
                (lib.DOOR_PARAM_DATA_MIN, data_min),
                (lib.DOOR_PARAM_DESC_MAX, descriptors_max),
            ):
                if limit is not None:
                    api.door_setparam(self._fd, parameter, limit)
        except BaseException:
            self.revoke()
            raise

    def _create(self, attributes: Attributes, threads: int | None, stack_size: int) -> int:
        if threads is None:
            return api.door_create(_dispatch.PROCEDURE, self._handle, attributes)

        def start(_info: Any, function: Any, argument: Any, _cookie: Any) -> int:
            api.server_thread(function, argument, stack_size)
            return 1

        bounded = attributes | Attributes.NO_DEPLETION_CB
        return api.door_xcreate(_dispatch.PROCEDURE, self._handle, bounded, start, None, None, threads)

    # What the dispatcher calls, on a server thread.

    def run(self, invocation: Any) -> None:
        """Serve the call `invocation`, on a server thread: what the dispatcher calls."""
        if invocation.is_unreferenced:
            self._tell_unreferenced(invocation)
            return
        count = invocation.n_desc
        request = Request(invocation, received(invocation.dp, count, sent_by_caller()) if count else ())
        answer: Answer = None
        try:
            try:
                answer = self._serve(request)
                _fill(invocation, answer, request)
            except Exception as error:  # of the procedure; or its answer is no data, or a closed descriptor
                answer = self._on_error(error, request)
                _fill(invocation, answer, request)
        finally:
            try:
                request._end(keep=answer.descriptors if isinstance(answer, Result) else ())
            except BufferError as error:
                self._on_error(error, None)

    def _tell_unreferenced(self, invocation: Any) -> None:
        invocation.action = lib.DISPATCH_EMPTY
        if self._on_unref is not None:
            try:
                self._on_unref(self)
            except Exception as error:
                self._on_error(error, None)

    def failed(self, invocation: Any) -> None:
        """Fill in another reply to `invocation`, whose first one could not be returned."""
        error = DoorReturnError.of(invocation.error)
        for entry in invocation.desc_ptr[0 : invocation.num_desc] if invocation.num_desc else ():
            if entry.d_attributes & lib.DOOR_RELEASE and isinstance(error, RETURN_KEEPS):
                os.close(entry.d_data.d_desc.d_descriptor)
        fallback = self._on_error(error, None)
        # A fallback that fails in its turn, as any would for a client that takes no results, is not tried
        # again.
        if fallback and invocation.failures == 1:
            _fill(invocation, fallback, None)

    # What the program calls.

    def fileno(self) -> int:
        """The number of the door's descriptor.

        Raises `ValueError` when the door has been revoked or closed.
        """
        if self._fd < 0:
            raise ValueError("the door has been revoked or closed")
        return self._fd

    @property
    def closed(self) -> bool:
        """True once this object has released the door."""
        return self._fd < 0

    def info(self) -> DoorInfo:
        """The result of `door_info` for the door."""
        return DoorInfo.of(self.fileno())

    def counters(self) -> DoorCounters:
        """Counts of the door's calls by outcome. Raises `DoorCountersError.ENOTSUP` on illumos."""
        return DoorCounters.of(self.fileno())

    def client(self) -> Client:
        """A client of the door in this process, with a descriptor of its own."""
        return Client(api.door_dup(self.fileno()), owned=True)

    def descriptor(self, *, release: bool = False) -> Descriptor:
        """The door as a descriptor to pass. With `release` it is a duplicate, which is given away."""
        return Descriptor(api.door_dup(self.fileno()) if release else self.fileno(), release=release)

    def install(self, path: api.Path, mode: int = 0o644) -> None:
        """Attach the door to `path`, which is created with `mode` if it does not exist.

        Who may read the file may open the door; who holds the door may call it.

        Raises `FattachError`: EBUSY if a door is there already, EPERM, EACCES and so on; `OSError` as of
        `open(2)`, for instance `FileNotFoundError`, if the file cannot be created.
        """
        created = _create_file(path, mode)
        try:
            api.fattach(self.fileno(), path)
        except BaseException:
            if created:
                with contextlib.suppress(OSError):
                    os.unlink(path)
            raise
        self._names.append(_absolute(path))

    def force_install(self, path: api.Path, mode: int = 0o644) -> None:
        """Attach the door to `path` even if another door is there, dead or alive, which is detached from it.

        Several servers may do so at a time: one of them, the last, has the name. `mode` is that of the file
        if it has to be created.

        Raises `FattachError`: EBUSY if something else than a door is there, EPERM, EACCES and so on;
        `OSError` as of `open(2)` if the file cannot be created.
        """
        for last in (False, False, True):
            _create_file(path, mode)
            try:
                api.door_replace(self.fileno(), path)
                break
            except FattachError.ENOENT:  # somebody has removed it since it was created
                if last:
                    raise
        self._names.append(_absolute(path))

    def uninstall(self, path: api.Path) -> None:
        """Detach this or another door from `path`; the file that was there before is there again.

        Clients that have it open are not affected.

        Raises `NotADoor` if no door is there, for on illumos `fdetach` would unmount whatever is, and
        `FdetachError`.
        """
        Client.open(path).close()
        api.fdetach(path)
        with contextlib.suppress(ValueError):
            self._names.remove(_absolute(path))

    def revoke(self) -> None:
        """End the door: calls in progress complete, all others fail with EBADF. Harmless when repeated.

        Raises `DoorRevokeError.EPERM` in a child that has inherited the door, which stays open.

        The names stay, and calls through them fail, until they are detached. The door's own threads
        (`threads=`) end as they become idle; on illumos they are parked until the process ends. Threads of
        the process's pool serve other doors.
        """
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                api.door_revoke(fd)
            except DoorRevokeError.EPERM:
                self._fd = fd
                raise

    def close(self) -> None:
        """Close this descriptor and keep serving: who holds the door may call it until the process ends."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.closed and Attributes.LOCAL not in self.info().attributes:
            self.close()  # in a child: the door, and its names, are the parent's
            return
        for name in self._names[:]:
            # A name that another server has taken over by now is not ours to detach.
            with contextlib.suppress(NotADoor, FdetachError, OSError):
                if self._is_ours(name):
                    self.uninstall(name)
        self.revoke()

    def _is_ours(self, path: str) -> bool:
        with Client.open(path) as found:
            return not self.closed and found.info().id == self.info().id

    def __repr__(self) -> str:
        return f"<Door {'closed' if self.closed else self._fd}>"


def _is_generator(procedure: Callable[[Request], Any]) -> bool:
    """Whether it is a function of a generator, sync or async, or an object that is called like one."""
    called = getattr(procedure, "__call__", None)  # noqa: B004 - not whether it has one, but of which kind
    return any(
        inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one) for one in (procedure, called)
    )


def _is_async(procedure: Callable[[Request], Any]) -> bool:
    """Whether it is an async function, or an object that is called like one."""
    return inspect.iscoroutinefunction(procedure) or inspect.iscoroutinefunction(
        getattr(procedure, "__call__", None)  # noqa: B004 - not whether it has one, but of which kind
    )


def _fill(invocation: Any, answer: Answer, request: Request | None) -> None:
    """Make an answer the reply. It stays where it is, or is copied to where it stays, until C has read it."""
    data, descriptors = (answer.data, answer.descriptors) if isinstance(answer, Result) else (answer, ())
    if data is None:
        data = b""
    size = len(data) if isinstance(data, bytes) else -1
    if size < 0:
        with ffi.from_buffer(data) as held:  # and no longer: see client.py
            size = len(held)
            before = lib.dispatch_reply(invocation, held, size)
    elif size < COPIED:
        before = lib.dispatch_reply(invocation, data, size)
    else:
        before = lib.dispatch_reply_in_place(invocation, data, size)
        _dispatch.thread.keep, before = data, 0
    if before:
        if before < 0:
            raise MemoryError(f"no memory for a reply of {size} bytes")
        _dispatch.thread.keep = None
    if descriptors:
        _fill_descriptors(invocation, descriptors, request.descriptors if request is not None else ())


def _fill_descriptors(
    invocation: Any, descriptors: Sequence[Descriptor], theirs: Sequence[Descriptor]
) -> None:
    array = ffi.new("door_desc_t[]", len(descriptors))
    leaving = []
    for entry, descriptor in zip(array, descriptors, strict=True):
        check_kind(descriptor)
        leaves = descriptor.release or any(descriptor is one for one in theirs)
        entry.d_attributes = lib.DOOR_DESCRIPTOR | (lib.DOOR_RELEASE if leaves else 0)
        entry.d_data.d_desc.d_descriptor = descriptor.fileno()
        if leaves:
            leaving.append(descriptor)
    invocation.desc_ptr = lib.dispatch_copy_descriptors(array, len(array))
    if invocation.desc_ptr == ffi.NULL:
        invocation.action = lib.DISPATCH_EMPTY
        raise MemoryError(f"no memory for {len(array)} descriptors")
    invocation.num_desc = len(array)
    for descriptor in leaving:
        if not descriptor.closed:  # door_return() closes it, or failed() does
            descriptor.detach()


def _create_file(path: api.Path, mode: int) -> bool:
    """Create the file that a door is to be attached to; false if something is there already."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode))
    except FileExistsError:
        return False
    return True


def _absolute(path: api.Path) -> str:
    return os.path.abspath(os.fsdecode(path))
