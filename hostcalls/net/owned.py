"""A half of a connection with its owner: one operation at a time, counted for whoever owns it."""

from __future__ import annotations

import enum

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
    """The common part of both halves."""

    def __init__(self, half: Reader | Writer, family: Family, account: Account) -> None:
        self.family = family
        self._half = half
        self._account = account
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

    def _used(self) -> None:
        if self._half.spent:
            self._account.remove_half(self)


class OwnedReader(_OwnedHalf):
    """A half to read from.

    Attributes:
        family: whose hostcalls it belongs to.
    """

    def __init__(self, half: Reader, family: Family, account: Account) -> None:
        super().__init__(half, family, account)
        self._reader = half
        self._reading: Future[bytes] | None = None

    def read(self, length: int) -> bytes | Future[bytes]:
        """Read as `Reader.read` does, also nothing. Raises `InvalidArgument` while another read waits."""
        if length == 0:
            return b""
        if self._reading is not None and not self._reading.done:
            raise InvalidArgument
        outcome = self._reader.read(length)
        if isinstance(outcome, Future):
            self._reading = outcome
        elif not outcome:
            self._used()
        return outcome


class OwnedWriter(_OwnedHalf):
    """A half to write to.

    Attributes:
        family: whose hostcalls it belongs to.
    """

    def __init__(self, half: Writer, family: Family, account: Account) -> None:
        super().__init__(half, family, account)
        self._writer = half
        self._writing: Future[int] | None = None

    def write(self, payload: bytes) -> int | Future[int]:
        """Write as `Writer.write` does, also nothing. Raises `InvalidArgument` while another write waits.

        The future may be cancelled; the write completes all the same, and the half is busy until then.
        """
        if not payload:
            return 0
        if self._writing is not None and not self._writing.done:
            raise InvalidArgument
        outcome = self._writer.write(payload)
        if not isinstance(outcome, Future):
            self._used()
            return outcome
        if outcome.done:
            return outcome
        self._writing = outcome
        answer: Future[int] = Future()

        def settle(done: Future[int]) -> None:
            self._used()
            try:
                answer.resolve(done.result())
            except Exception as error:
                answer.fail(error)

        outcome.when_done(settle)
        return answer
