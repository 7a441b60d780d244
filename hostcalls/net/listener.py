"""Listeners: what peers have brought waits here for guests' accepts, and accepts wait for it."""

from __future__ import annotations

import contextlib
import enum
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import attrs
import trio

from enfilade.hostcalls.abi.errors import HostcallError, SubsystemError
from enfilade.hostcalls.net.account import Account
from enfilade.hostcalls.net.halves import Connection
from enfilade.hostcalls.resources.futures import Future

T = TypeVar("T")


class Admission(enum.Enum):
    """The answer to an offer."""

    QUEUED = "queued"
    """The connection waits, or was accepted already."""

    FULL = "full"
    """Too many wait; refuse the peer."""

    CLOSED = "closed"
    """The listener is closed; refuse the peer."""


PutBack: TypeAlias = Callable[[], bool]
"""Queues an accepted connection again, as the next one to be accepted, since its guest has never heard of
it. False if nobody can accept it any more: then its halves must be released."""

Take: TypeAlias = Callable[[Connection, PutBack], T]
"""Makes a guest the owner of a connection."""


@attrs.define(eq=False)
class _Accept:
    account: Account
    take: Take[Any]
    future: Future[Any]


class Listener:
    """The queue of one bound port, or of one domain of a QUIC port.

    Args:
        domain: the domain that was bound, in lower case.
        account: the account of the guest that has bound it: what waits here counts for it.
        places: connections that may wait.
        noun: what peers bring, "request" or "connection", for the text of a closed listener.

    Attributes:
        domain: as above.
        account: as above. Changes when the guest ends and another one has a handle.
        is_open: False once it was closed.
    """

    def __init__(self, domain: str, account: Account, *, places: int, noun: str) -> None:
        self.domain = domain
        self.account = account
        self.is_open = True
        self._places = places
        self._noun = noun
        self._queue: dict[Connection, Callable[[], None]] = {}
        self._accepts: deque[_Accept] = deque()
        self._scopes: set[trio.CancelScope] = set()

    def offer(self, connection: Connection, on_close: Callable[[], None]) -> Admission:
        """Queue a connection for an accept; a waiting accept takes it at once. Not a checkpoint.

        Args:
            connection: what the guest will have. Its charges count for `account` until then.
            on_close: called if the listener is closed while the connection waits.
        """
        if not self.is_open:
            return Admission.CLOSED
        if len(self._queue) >= self._places:
            return Admission.FULL
        self._queue[connection] = on_close
        self._match()
        return Admission.QUEUED

    def withdraw(self, connection: Connection) -> bool:
        """Take a connection out of the queue, since its peer has gone or has its answer.

        Returns: True if it still waited; its halves were never given to a guest, and nobody releases them.
        """
        connection.is_over = True
        return self._queue.pop(connection, None) is not None

    def accept(self, account: Account, take: Take[T]) -> T | Future[T]:
        """Accept the next connection. Not a checkpoint. A cancelled future has taken none.

        Accepts are served in their order; one whose guest has all the connections that it may have waits
        until it has fewer, and does not hold up the others.

        Args:
            account: of the guest that accepts.
            take: makes the guest the owner of the connection; its value is the result. If it raises a
                `HostcallError`, the accept fails with it, and the connection stays.

        Raises, or fails with, `SubsystemError` when the listener is closed.
        """
        if not self.is_open:
            raise self._closed()
        if self._queue and account.has_place:
            return self._give(take)
        accept = _Accept(account, take, Future(lambda: self._forget(accept)))
        self._accepts.append(accept)
        if not account.has_place:
            account.when_place(self._match)
        return accept.future

    @contextmanager
    def while_open(self) -> Iterator[trio.CancelScope]:
        """A cancel scope that is cancelled when the listener is closed: idle connections wait in it."""
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            if not self.is_open:
                scope.cancel()
            try:
                yield scope
            finally:
                self._scopes.discard(scope)

    def close(self) -> None:
        """Fail the accepts, tell the connections that wait, and end the idle ones. Twice is the same."""
        if not self.is_open:
            return
        self.is_open = False
        accepts, self._accepts = self._accepts, deque()
        for accept in accepts:
            accept.future.fail(self._closed())
        queue, self._queue = self._queue, {}
        for on_close in queue.values():
            on_close()
        for scope in self._scopes:
            scope.cancel()

    def _closed(self) -> SubsystemError:
        return SubsystemError(f"listener closed before any {self._noun} arrived")

    def _give(self, take: Take[T]) -> T:
        connection, on_close = next(iter(self._queue.items()))
        value = take(connection, lambda: self._put_back(connection, on_close))
        del self._queue[connection]
        return value

    def _put_back(self, connection: Connection, on_close: Callable[[], None]) -> bool:
        if connection.is_over or not self.is_open:
            return False
        connection.reader.charge.move(self.account)
        connection.writer.charge.move(self.account)
        self._queue = {connection: on_close, **self._queue}
        self._match()
        return True

    def _forget(self, accept: _Accept) -> None:
        with contextlib.suppress(ValueError):  # it is being served, or failed with the listener
            self._accepts.remove(accept)

    def _match(self) -> None:
        """Serve the accepts that can be served."""
        for accept in list(self._accepts):
            if not self._queue:
                break
            if accept.future.done:
                continue
            if not accept.account.has_place:
                accept.account.when_place(self._match)
                continue
            self._accepts.remove(accept)
            try:
                value = self._give(accept.take)
            except HostcallError as error:
                accept.future.fail(error)
            else:
                accept.future.resolve(value)
