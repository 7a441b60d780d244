"""The two halves of a connection, as a guest's slots hold them, whatever the protocol."""

from __future__ import annotations

from typing import Protocol

import attrs

from enfilade.hostcalls.net.account import Charge
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.resources.registry import Departure


class Reader(Protocol):
    """The half that a guest reads from.

    Attributes:
        charge: the bytes that the host holds for this half. Whoever changes the half's owner moves it.
    """

    charge: Charge

    @property
    def spent(self) -> bool:
        """True when reads can only be empty or fail from now on."""
        ...

    def read(self, length: int) -> bytes | Future[bytes]:
        """Take at most `length` bytes, at least one; an empty result means that no more will come.

        Nothing is taken by a future that is cancelled before it is resolved. Not a checkpoint.

        Args:
            length: at least 1.

        Raises, or fails the future with, a `HostcallError`. The caller sees to it that one read is under way
        at most.
        """
        ...

    def put_back(self, taken: bytes) -> None:
        """Have the next read begin with what the last one has taken. Not called once the half was released.

        Args:
            taken: the result of the last read, at least one byte.
        """
        ...

    def release(self, departure: Departure) -> None:
        """Nobody can read any more. Called once; the charge is closed. A read under way was cancelled."""
        ...


class Writer(Protocol):
    """The half that a guest writes to.

    Attributes:
        charge: the bytes that the host holds for this half. Whoever changes the half's owner moves it.
    """

    charge: Charge

    @property
    def spent(self) -> bool:
        """True when writes can only be thrown away or fail from now on."""
        ...

    def write(self, payload: bytes) -> int | Future[int]:
        """Write all of `payload`; its length is the result.

        The caller never cancels the future: a write that was begun completes, also when its guest forgets it.
        Not a checkpoint.

        Args:
            payload: at least one byte.

        Raises, or fails the future with, a `HostcallError`. The caller sees to it that one write is under way
        at most.
        """
        ...

    def release(self, departure: Departure) -> None:
        """Nobody can write any more. Called once, possibly while a write is under way."""
        ...


@attrs.define(eq=False)
class Connection:
    """A connection, as an accept or a connect gives it.

    Attributes:
        reader: the half to read from.
        writer: the half to write to.
        remote_addr: the peer's address as the guest sees it.
        is_over: True when nobody needs to accept it any more: its peer has gone, or has its answer.
    """

    reader: Reader
    writer: Writer
    remote_addr: str
    is_over: bool = False
