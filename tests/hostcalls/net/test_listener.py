"""The queue between peers and accepts, and the accounts that bound it."""

from __future__ import annotations

import attrs
import pytest
import trio

from enfilade.hostcalls.abi.errors import InvalidArgument, SubsystemError
from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.net.account import Account, Charge
from enfilade.hostcalls.net.halves import Connection
from enfilade.hostcalls.net.listener import Admission, Listener, PutBack
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.resources.registry import Departure


@attrs.define(eq=False)
class Half:
    """A half without a peer."""

    charge: Charge
    spent: bool = False

    def read(self, length: int) -> bytes:
        return b""

    def write(self, payload: bytes) -> int:
        return len(payload)

    def release(self, departure: Departure) -> None:
        self.charge.close()


def connection(account: Account, name: str = "peer") -> Connection:
    return Connection(Half(Charge(account)), Half(Charge(account)), name)


def bound(account: Account, places: int = 3) -> Listener:
    return Listener("localhost", account, places=places, noun="request")


def name(connection: Connection, _: PutBack) -> str:
    return connection.remote_addr


def nothing() -> None:
    pass


def test_accepts_are_served_in_their_order(account: Account) -> None:
    listener = bound(account)
    accepts = [listener.accept(account, name) for _ in range(3)]
    for each in ("1", "2", "3"):
        assert listener.offer(connection(account, each), nothing) is Admission.QUEUED
    assert [accept.result() for accept in accepts if isinstance(accept, Future)] == ["1", "2", "3"]


def test_a_cancelled_accept_takes_nothing(account: Account) -> None:
    listener = bound(account)
    first, second = (listener.accept(account, name) for _ in range(2))
    assert isinstance(first, Future)
    assert isinstance(second, Future)
    first.cancel()
    listener.offer(connection(account, "1"), nothing)
    assert second.result() == "1"


def test_a_queue_has_so_many_places(account: Account) -> None:
    listener = bound(account, places=1)
    first = connection(account, "1")
    assert listener.offer(first, nothing) is Admission.QUEUED
    assert listener.offer(connection(account, "2"), nothing) is Admission.FULL
    assert listener.withdraw(first)
    assert not listener.withdraw(first)
    assert listener.offer(connection(account, "3"), nothing) is Admission.QUEUED
    assert listener.accept(account, name) == "3"


def test_an_accept_that_fails_leaves_the_connection(account: Account) -> None:
    def refuse(connection: Connection, _: PutBack) -> str:
        raise InvalidArgument

    listener = bound(account)
    waiting = listener.accept(account, refuse)
    listener.offer(connection(account, "1"), nothing)
    assert isinstance(waiting, Future)
    with pytest.raises(InvalidArgument):
        waiting.result()
    with pytest.raises(InvalidArgument):
        listener.accept(account, refuse)
    assert listener.accept(account, name) == "1"


def test_an_accept_waits_until_its_guest_may_have_a_connection_more() -> None:
    """Meanwhile the accepts of others are served."""
    full, other = Account(Limits(connections=1)), Account(Limits())
    listener = bound(other)
    occupied = Half(Charge(full))
    full.add_half(occupied)
    first, second = listener.accept(full, name), listener.accept(other, name)
    for each in ("1", "2"):
        listener.offer(connection(other, each), nothing)
    assert isinstance(first, Future)
    assert isinstance(second, Future)
    assert (first.done, second.result()) == (False, "1")
    full.remove_half(occupied)
    assert first.result() == "2"


def test_a_closed_listener_tells_everybody(account: Account) -> None:
    listener = bound(account)
    waiting = listener.accept(account, name)
    listener.close()
    assert isinstance(waiting, Future)
    with pytest.raises(SubsystemError, match="listener closed before any request arrived"):
        waiting.result()
    with pytest.raises(SubsystemError):
        listener.accept(account, name)
    assert listener.offer(connection(account), nothing) is Admission.CLOSED


async def test_a_closed_listener_refuses_what_waits_and_ends_what_is_idle(account: Account) -> None:
    listener = bound(account)
    told: list[str] = []
    gone, stays = connection(account), connection(account)
    listener.offer(gone, lambda: told.append("gone"))
    listener.offer(stays, lambda: told.append("stays"))
    listener.withdraw(gone)
    with listener.while_open() as scope:
        listener.close()
        await trio.sleep_forever()
    assert scope.cancelled_caught
    assert told == ["stays"]
    with listener.while_open() as scope:
        await trio.sleep_forever()
    assert scope.cancelled_caught


def test_bytes_count_for_the_owner_and_move_with_the_half() -> None:
    first, second = Account(Limits(net_bytes=10)), Account(Limits(net_bytes=10))
    charge = Charge(first)
    charge.hold(10)
    assert (charge.has_room, first.held) == (False, 10)
    beyond = charge.when_room()
    other = charge.split().when_room()
    assert not beyond.done
    charge.move(second)
    assert (beyond.done, other.done, first.held, second.held) == (True, True, 0, 10)
    waiting, forgotten = charge.when_room(), charge.when_room()
    forgotten.cancel()
    charge.unhold(1)
    assert waiting.result() is None
    charge.close()
    charge.close()
    assert second.held == 0


def test_listeners_and_settings_have_bounds() -> None:
    account = Account(Limits(listeners=1, tls_bytes=5))
    account.check_listener()
    account.add_listener()
    account.add_tls_bytes(5)
    with pytest.raises(InvalidArgument):
        account.check_listener()
    with pytest.raises(InvalidArgument):
        account.add_tls_bytes(1)
    account.remove_listener()
    account.remove_tls_bytes(1)
    account.check_listener()
    account.add_tls_bytes(1)


def test_spent_halves_are_no_connections() -> None:
    """A guest that frees nothing goes on all the same."""
    account = Account(Limits(connections=2))
    halves = [Half(Charge(account)) for _ in range(4)]
    for half in halves:
        account.add_half(half)
    assert not account.has_place
    halves[0].spent = True
    assert not account.has_place
    halves[3].spent = True
    assert account.has_place
    account.begin_connection()
    with pytest.raises(InvalidArgument):
        account.begin_connection()
    account.end_connecting()
    account.begin_connection()
