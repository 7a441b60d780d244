"""Requests, which server procedures take, and results, which they return."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from enfilade.transport.doors._doors import ffi
from enfilade.transport.doors.credentials import Credentials
from enfilade.transport.doors.descriptor import Descriptor, close_all
from enfilade.transport.doors.errors import DoorUcredError


@attrs.frozen
class Result:
    """The return value of a server procedure that returns more than data.

    Attributes:
        data: anything with the buffer protocol.
        descriptors: to pass to the client; those with `release`, and those that came with the request, are
            given away.
    """

    data: Any = b""
    descriptors: Sequence[Descriptor] = ()


class Request:
    """One call, as the server procedure sees it: made by `Door`. It ends with the procedure.

    Attributes:
        descriptors: those that the client passed, owned by the request: they are closed when the procedure
            returns, unless they are detached, taken, or part of the result.
    """

    # What most requests never have.
    _data: bytes | None = None
    _buffer: Any = None
    _view: memoryview | None = None
    _credentials: Credentials | None = None
    _inquiry: Callable[[Callable[[], bool]], bool] | None = None
    _over = False

    def __init__(self, invocation: Any, descriptors: tuple[Descriptor, ...] = ()) -> None:
        self._invocation = invocation
        self.descriptors = descriptors

    @property
    def data(self) -> bytes:
        """The request, copied: it may be kept.

        Raises `ValueError` if it was not looked at before the procedure returned.
        """
        if self._data is None:
            self._check()
            size = self._invocation.arg_size
            self._data = ffi.unpack(self._invocation.argp, size) if size else b""
        return self._data

    @property
    def view(self) -> memoryview:
        """The request where it lies, not copied and read-only.

        Neither it nor a slice of it may outlive the procedure.

        Raises `ValueError` after that, as the view itself does.
        """
        self._check()
        if self._view is None:
            size = self._invocation.arg_size
            self._buffer = ffi.buffer(self._invocation.argp, size) if size else b""
            self._view = memoryview(self._buffer).toreadonly()
        return self._view

    def take_descriptors(self) -> tuple[Descriptor, ...]:
        """The descriptors, which are the caller's to close from now on."""
        taken, self.descriptors = self.descriptors, ()
        return taken

    def credentials(self) -> Credentials:
        """Credentials of the caller.

        Raises `DoorUcredError.EINVAL` if the client has gone: then nobody waits for the answer, and it
        should be treated as a refusal.
        """
        if self._credentials is not None:
            return self._credentials
        self._check()
        return Credentials.of_caller()

    @property
    def is_abandoned(self) -> bool:
        """True once the client has gone: it was killed, or a signal ended its call.

        Raises `ValueError` when the procedure has returned.
        """
        self._check()
        return _is_gone() if self._inquiry is None else self._inquiry(_is_gone)

    def _check(self) -> None:
        if self._over:
            raise ValueError("the request is over: its server procedure has returned")

    def _travel(self, inquiry: Callable[[Callable[[], bool]], bool]) -> None:
        """The procedure will run elsewhere, where nobody can ask who calls: ask now, on the server thread.

        Args:
            inquiry: has a question asked there later.
        """
        self._credentials = Credentials.of_caller()
        self._inquiry = inquiry

    def _end(self, keep: Sequence[Descriptor] = ()) -> None:
        """The procedure has returned: close the descriptors but those in `keep`, and make the view invalid.

        Raises `BufferError` when a slice of the view is still alive, whose memory is about to go.
        """
        self._over = True
        if not self.descriptors and self._view is None:
            return
        close_all(one for one in self.descriptors if not any(one is kept for kept in keep))
        if self._view is not None:
            self._view.release()
            # Of the attribute: Python 3.14 lends a variable to a call without counting that.
            is_held = not isinstance(self._buffer, bytes) and sys.getrefcount(self._buffer) > 2
            self._buffer = self._view = None
            if is_held:
                raise BufferError(
                    "a slice of the request's view has outlived the server procedure; its memory is gone"
                )


def _is_gone() -> bool:
    try:
        Credentials.of_caller()
    except DoorUcredError.EINVAL:
        return True
    return False
