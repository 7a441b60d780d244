"""Accounts: what a guest and its descendants have of the network, against their limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from enfilade.hostcalls.abi.errors import LimitReached
from enfilade.hostcalls.resources.futures import Future


class Allowance(Protocol):
    """The network's part of a guest's limits; see `enfilade.hostcalls.Limits`."""

    @property
    def listeners(self) -> int:
        """Listener handles that live."""
        ...

    @property
    def connections(self) -> int:
        """Connections that live or are being made; each half counts for one half."""
        ...

    @property
    def net_bytes(self) -> int:
        """Bytes that the host holds: requests, responses, stream data."""
        ...

    @property
    def tls_bytes(self) -> int:
        """Bytes of TLS settings that live."""
        ...

    @property
    def http_body(self) -> int:
        """Bytes that the body of one HTTP request or response may have."""
        ...


class Half(Protocol):
    """A half of a connection, as an account counts it."""

    @property
    def spent(self) -> bool:
        """True when nothing will come of it any more; it does not count then."""
        ...


class Account:
    """The network resources of one guest and its descendants.

    Args:
        allowance: how much it may have.

    Attributes:
        allowance: how much it may have.
        held: bytes that the host holds for it. May exceed the allowance by what the guest itself has written.
        listeners: its listener handles.
        connecting: connections that it is making.
        tls_bytes: bytes of its TLS settings.
    """

    __slots__ = (
        "_halves",
        "_starved",
        "_waiting_for_place",
        "allowance",
        "connecting",
        "held",
        "listeners",
        "tls_bytes",
    )

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self.held = 0
        self.listeners = 0
        self.connecting = 0
        self.tls_bytes = 0
        self._halves: dict[Half, None] = {}
        self._starved: dict[Charge, None] = {}
        self._waiting_for_place: dict[Callable[[], None], None] = {}

    @property
    def has_room(self) -> bool:
        """True while the host may hold more bytes for the guest."""
        return self.held < self.allowance.net_bytes

    @property
    def has_place(self) -> bool:
        """True while the guest may have one connection more. Halves that are spent do not count."""
        places = 2 * (self.allowance.connections - self.connecting - 1)
        if len(self._halves) > places:
            for half in [half for half in self._halves if half.spent]:
                del self._halves[half]
        return len(self._halves) <= places

    def check_listener(self) -> None:
        """Raise `LimitReached` unless the guest may have one listener handle more."""
        if self.listeners >= self.allowance.listeners:
            raise LimitReached("listeners", self.allowance.listeners)

    def add_listener(self) -> None:
        """Count a listener handle."""
        self.listeners += 1

    def remove_listener(self) -> None:
        """Count a listener handle no longer."""
        self.listeners -= 1

    def begin_connection(self) -> None:
        """Count a connection that is being made. Raises `LimitReached` beyond the allowance."""
        if not self.has_place:
            raise LimitReached("connections", self.allowance.connections)
        self.connecting += 1

    def end_connecting(self) -> None:
        """Count it no longer: there are halves now, or there is none."""
        self.connecting -= 1
        self.look_for_place()

    def add_half(self, half: Half) -> None:
        """Count a half. Check `has_place` before a connection is begun."""
        self._halves[half] = None

    def remove_half(self, half: Half) -> None:
        """Count a half no longer; accepts that waited for a place may be served."""
        self._halves.pop(half, None)
        self.look_for_place()

    def look_for_place(self) -> None:
        """Serve the accepts that wait for a place, if there is one: a half may be spent."""
        if self._waiting_for_place and self.has_place:
            waiting, self._waiting_for_place = self._waiting_for_place, {}
            for callback in waiting:
                callback()

    def when_place(self, callback: Callable[[], None]) -> None:
        """Call `callback`, once, when the guest may have one connection more. The same one is kept once."""
        self._waiting_for_place[callback] = None

    def add_tls_bytes(self, size: int) -> None:
        """Count bytes of TLS settings. Raises `LimitReached` beyond the allowance."""
        if self.tls_bytes + size > self.allowance.tls_bytes:
            raise LimitReached("tls_bytes", self.allowance.tls_bytes)
        self.tls_bytes += size

    def remove_tls_bytes(self, size: int) -> None:
        """Count them no longer."""
        self.tls_bytes -= size

    def hold(self, size: int) -> None:
        """Count bytes that the host holds."""
        self.held += size

    def unhold(self, size: int) -> None:
        """Count them no longer; charges that waited for room go on."""
        self.held -= size
        if self._starved and self.has_room:
            starved, self._starved = self._starved, {}
            for charge in starved:
                charge.wake()

    def starve(self, charge: Charge) -> None:
        """Wake `charge` when there is room."""
        self._starved[charge] = None

    def feed(self, charge: Charge) -> None:
        """Wake `charge` no longer."""
        self._starved.pop(charge, None)


class Charge:
    """The bytes that the host holds for one half, or for a connection without halves yet.

    They count for the account of the half's owner, and move with it.

    Args:
        account: the owner's.

    Attributes:
        account: the owner's.
        held: bytes held at present.
    """

    __slots__ = ("_waiting", "account", "held")

    def __init__(self, account: Account) -> None:
        self.account = account
        self.held = 0
        self._waiting: dict[Future[None], None] = {}

    @property
    def has_room(self) -> bool:
        """True while the host may hold more bytes for the owner."""
        return self.account.has_room

    def hold(self, size: int) -> None:
        """Count `size` bytes more. Never refused: ask `has_room` before more is read from a peer."""
        self.held += size
        self.account.hold(size)

    def unhold(self, size: int) -> None:
        """Count `size` bytes less."""
        self.held -= size
        self.account.unhold(size)

    def close(self) -> None:
        """Count nothing any more: the half is over, or soon will be. Closing twice is the same."""
        self.unhold(self.held)
        self.account.look_for_place()

    def move(self, account: Account) -> None:
        """Count for another account from now on: the half has another owner."""
        if account is self.account:
            return
        held = self.held
        self.unhold(held)
        self.account.feed(self)
        self.account = account
        self.hold(held)
        self.wake()

    def split(self) -> Charge:
        """A charge of its own for the same account: the other half's."""
        return Charge(self.account)

    def when_room(self) -> Future[None]:
        """A future that is resolved when there may be room: look at `has_room` again then."""
        if self.has_room:
            return Future.of(None)
        future: Future[None] = Future(lambda: self._waiting.pop(future, None))
        self._waiting[future] = None
        self.account.starve(self)
        return future

    def wake(self) -> None:
        """Let everybody who waits for room look again."""
        waiting, self._waiting = self._waiting, {}
        for future in waiting:
            future.resolve(None)
