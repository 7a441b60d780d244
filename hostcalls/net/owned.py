"""A half of a connection with its owner: one operation at a time, counted for whoever owns it."""

from __future__ import annotations

import enum
from typing import Any

from enfilade.hostcalls.abi.errors import InvalidArgument
from enfilade.hostcalls.net.account import Account
from enfilade.hostcalls.net.halves import Reader, Writer
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.resources.registry import Departure


class Family(enum.Enum):
    """The hostcalls that a listener or a half belongs to."""

    QUIC = "quic"
    HTTP = "http"


class _OwnedHalf:
    """The common part of both halves.

    Attributes:
        family: the hostcalls that it belongs to.
        is_touched: True once something was read or written.
    """

    def __init__(self, half: Reader | Writer, family: Family, account: Account) -> None:
        self.family = family
        self.is_touched = False
        self._half = half
        self._account = account
        self._under_way: Future[Any] | None = None
        half.charge.move(account)
        account.add_half(self)

    @property
    def spent(self) -> bool:
        """True when nothing will come of it any more."""
        return self._half.spent

    def move(self, account: Account) -> None:
        """Count for another account: the half has another owner."""
        self._account.remove_half(self)
        self._account = account
        self._half.charge.move(account)
        account.add_half(self)

    def release(self, departure: Departure) -> None:
        """Nobody has the half any more."""
        self._half.release(departure)
        self._account.remove_half(self)

    def leave(self) -> None:
        """Give the half up as it is: it waits for an accept again."""
        self._account.remove_half(self)

    def _check_free(self) -> None:
        """Raise `InvalidArgument` while an operation waits; otherwise another one begins."""
        if self._under_way is not None and not self._under_way.done:
            raise InvalidArgument
        self.is_touched = True

    def _used(self) -> None:
        if self._half.spent:
            self._account.remove_half(self)


class OwnedReader(_OwnedHalf):
    """A half to read from.

    Attributes:
        reads: number of the last read.
    """

    def __init__(self, half: Reader, family: Family, account: Account) -> None:
        super().__init__(half, family, account)
        self.reads = 0
        self._reader = half
        self._is_released = False

    def read(self, length: int) -> bytes | Future[bytes]:
        """Read as `Reader.read` does, also nothing. Raises `InvalidArgument` while another read waits."""
        if length == 0:
            return b""
        self._check_free()
        self.reads += 1
        outcome = self._reader.read(length)
        if isinstance(outcome, Future):
            self._under_way = outcome
        elif not outcome:
            self._used()
        return outcome

    def put_back(self, read: int, taken: bytes) -> None:
        """Have the next read begin with what this read has taken, unless there was another since."""
        if taken and read == self.reads and not self._is_released:
            self._reader.put_back(taken)

    def release(self, departure: Departure) -> None:
        """Nobody has the half any more."""
        self._is_released = True
        super().release(departure)


class OwnedWriter(_OwnedHalf):
    """A half to write to."""

    def __init__(self, half: Writer, family: Family, account: Account) -> None:
        super().__init__(half, family, account)
        self._writer = half

    def write(self, payload: bytes) -> int | Future[int]:
        """Write as `Writer.write` does, also nothing. Raises `InvalidArgument` while another write waits.

        The future may be cancelled; the write completes all the same, and the half is busy until then.
        """
        if not payload:
            return 0
        self._check_free()
        outcome = self._writer.write(payload)
        if not isinstance(outcome, Future):
            self._used()
            return outcome
        if outcome.done:
            return outcome
        self._under_way = outcome
        answer: Future[int] = Future()

        def settle(done: Future[int]) -> None:
            self._used()
            try:
                answer.resolve(done.result())
            except Exception as error:
                answer.fail(error)

        outcome.when_done(settle)
        return answer
