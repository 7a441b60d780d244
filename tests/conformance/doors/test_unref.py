"""7.11: being told that a door is unreferenced."""

import os
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from enfilade.transport.doors import Credentials
from enfilade.transport.doors.api import (
    DOOR_IS_UNREF,
    DOOR_NO_DEPLETION_CB,
    DOOR_UNREF,
    DOOR_UNREF_DATA,
    DOOR_UNREF_MULTI,
    NULL,
    door_create,
    door_dup,
    door_open,
    door_return,
    door_revoke,
    door_xcreate,
    fattach,
    fdetach,
    server_thread,
)
from tests.conformance.doors.backend import COUNTS_DUP, EMULATED
from tests.conformance.doors.peer import Link, Peer
from tests.conformance.doors.verbatim import Arguments, CData, InThread, call, info

SILENCE = 0.2


class Watched:
    """A door that records its notifications."""

    def __init__(self, attributes: int) -> None:
        self.notices: queue.Queue[Any] = queue.Queue()
        self.hold = threading.Event()
        self.hold.set()
        self.door = door_create(self.procedure, None, attributes)

    def procedure(self, cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        if argp == DOOR_UNREF_DATA:
            unref = bool(info(self.door).di_attributes & DOOR_IS_UNREF) if self.door >= 0 else None
            self.notices.put((arg_size, dp == NULL, n_desc, Credentials.of_caller().pid, unref))
            assert self.hold.wait(60)
        return door_return(NULL, 0, NULL, 0)

    def next(self) -> Any:
        return self.notices.get(timeout=60)

    def silent(self) -> bool:
        """Whether nothing comes, even after the notice of a later event, however long that takes."""
        later: queue.Queue[None] = queue.Queue()

        def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
            later.put(None)
            return door_return(NULL, 0, NULL, 0)

        door = door_create(procedure, None, DOOR_UNREF)
        os.close(door_dup(door))
        later.get(timeout=60)
        door_revoke(door)
        try:
            self.notices.get(timeout=SILENCE)
        except queue.Empty:
            return True
        return False


def keeper(link: Link, path: str) -> None:
    """Keeps the doors that it is passed; closes the oldest one when it is told to."""
    kept: list[int] = []

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        kept.extend(entry.d_data.d_desc.d_descriptor for entry in dp[0:n_desc])
        return door_return(NULL, 0, NULL, 0)

    Path(path).touch()
    fattach(door_create(procedure, None, 0), path)
    link.say("ready")
    while (word := link.hear()) is not None:
        if word == "close":
            os.close(kept.pop(0))
        link.say(len(kept))


class Holder:
    """Another process that holds descriptors of our doors."""

    def __init__(self, path: Path) -> None:
        self.peer = Peer(keeper, str(path))
        assert self.peer.hear() == "ready"
        self.target = door_open(path)

    def give(self, door: int) -> None:
        with Arguments(fds=[door]).call(self.target):
            pass

    def close_one(self) -> None:
        self.peer.ask("close")

    def end(self) -> None:
        os.close(self.target)
        self.peer.close()


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Holder]:
    made = Holder(tmp_path / "holder.door")
    yield made
    made.end()


def test_door_u1_client_closes(holder: Holder) -> None:
    """UNREF: one notification, without data, without descriptors, from pid 0, and no second one."""
    watched = Watched(DOOR_UNREF)
    holder.give(watched.door)
    assert watched.silent()
    holder.close_one()
    assert watched.next() == (0, True, 0, 0, True)
    assert not info(watched.door).di_attributes & DOOR_UNREF
    holder.give(watched.door)
    holder.close_one()
    assert watched.silent()
    door_revoke(watched.door)


def test_client_exits(tmp_path: Path) -> None:
    """A client that exits has closed what it held."""
    watched = Watched(DOOR_UNREF)
    holder = Holder(tmp_path / "exits.door")
    holder.give(watched.door)
    holder.peer.kill()
    assert watched.next()[0] == 0
    holder.end()
    door_revoke(watched.door)


def test_door_u3_unref_multi(holder: Holder) -> None:
    """UNREF_MULTI: one notification each time; on illumos, if the handler of the last one has returned."""
    watched = Watched(DOOR_UNREF_MULTI)
    for _ in range(3):
        assert watched.silent()
        holder.give(watched.door)
        holder.close_one()
        assert watched.next() == (0, True, 0, 0, True)
        assert info(watched.door).di_attributes & DOOR_UNREF_MULTI
    assert watched.silent()
    door_revoke(watched.door)


def test_door_u5_two_clients(holder: Holder, tmp_path: Path) -> None:
    """With two clients the door is unreferenced when the second has closed."""
    watched = Watched(DOOR_UNREF)
    second = Holder(tmp_path / "second.door")
    holder.give(watched.door)
    second.give(watched.door)
    holder.close_one()
    assert watched.silent()
    second.close_one()
    assert watched.next()[0] == 0
    second.end()
    door_revoke(watched.door)


def test_door_u6_server_closes_its_own(holder: Holder) -> None:
    """It does not matter who holds the last reference: the server closes its own, and is told."""
    watched = Watched(DOOR_UNREF)
    holder.give(watched.door)
    door, watched.door = watched.door, -1
    os.close(door)
    assert watched.next()[0] == 0
    holder.close_one()


def test_door_u7_only_reference_closed() -> None:
    """Closing the only reference notifies nobody."""
    watched = Watched(DOOR_UNREF)
    door, watched.door = watched.door, -1
    os.close(door)
    assert watched.silent()


def test_door_u8_server_duplicates_and_closes() -> None:
    """A duplicate that is closed brings the references from two to one. (Only door_dup's in the
    emulation.)
    """
    watched = Watched(DOOR_UNREF)
    os.close(os.dup(watched.door) if COUNTS_DUP else door_dup(watched.door))
    assert watched.next()[0] == 0
    assert watched.silent()
    door_revoke(watched.door)


def test_last_name_detached(tmp_path: Path) -> None:
    """A name is a reference; detaching the last one notifies, opening and closing it does not."""
    watched = Watched(DOOR_UNREF)
    path = tmp_path / "name.door"
    path.touch()
    fattach(watched.door, path)
    os.close(door_open(path))
    assert watched.silent()
    fdetach(path)
    assert watched.next()[0] == 0
    door_revoke(watched.door)


def test_door_u15_descriptor_in_flight_counts() -> None:
    """A descriptor in a call that is queued, or not yet taken from it, is a reference."""
    watched = Watched(DOOR_UNREF)
    entered, leave = threading.Semaphore(0), threading.Event()

    def slow(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        entered.release()
        assert leave.wait(60)
        for entry in dp[0:n_desc]:
            os.close(entry.d_data.d_desc.d_descriptor)
        return door_return(NULL, 0, NULL, 0)

    def create(information: CData, start: CData, argument: CData, cookie: object) -> int:
        server_thread(start, argument)
        return 1

    target = door_xcreate(slow, None, DOOR_NO_DEPLETION_CB, create, None, None, 1)
    first = InThread(lambda: call(target))
    assert entered.acquire(timeout=60)
    queued = InThread(lambda: Arguments(fds=[watched.door]).call(target))
    assert watched.silent()
    leave.set()
    assert first.result() == b""
    queued.result()
    assert watched.next()[0] == 0
    door_revoke(target)
    door_revoke(watched.door)


def test_door_u17_transitions_while_the_handler_is_busy(holder: Holder) -> None:
    """UNREF_MULTI: of transitions while the handler runs, illumos tells none. Here one notification follows,
    so that nobody waits for what has happened.
    """
    watched = Watched(DOOR_UNREF_MULTI)
    watched.hold.clear()
    holder.give(watched.door)
    holder.close_one()
    watched.next()
    for _ in range(5):
        holder.give(watched.door)
        holder.close_one()
    watched.hold.set()
    more = 0
    while not watched.silent():
        more += 1
    assert more == (1 if EMULATED else 0)
    door_revoke(watched.door)


def test_door_u20_stale_notification(holder: Holder) -> None:
    """A notification can be stale: a handler that looks finds IS_UNREF clear when the door was passed on
    meanwhile.
    """
    watched = Watched(DOOR_UNREF_MULTI)
    entered, leave = threading.Event(), threading.Event()
    unreferenced: list[bool] = []

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        if argp == DOOR_UNREF_DATA:
            unreferenced.append(bool(info(door).di_attributes & DOOR_IS_UNREF))
        else:
            entered.set()
            assert leave.wait(60)
        return door_return(NULL, 0, NULL, 0)

    door = door_create(procedure, None, DOOR_UNREF_MULTI)
    caller = InThread(lambda: call(door))
    assert entered.wait(60)
    holder.give(door)
    holder.close_one()  # delivered when no call is active
    threading.Event().wait(SILENCE)
    holder.give(door)
    leave.set()
    assert caller.result() == b""
    waiting = threading.Event()
    for _ in range(100):
        if unreferenced:
            break
        waiting.wait(0.02)
    assert unreferenced in ([False], [])
    door_revoke(door)
    door_revoke(watched.door)


def test_unref_can_be_ignored_by_a_later_reference(holder: Holder) -> None:
    """After a notification the door works as before."""
    watched = Watched(DOOR_UNREF)
    holder.give(watched.door)
    holder.close_one()
    watched.next()
    assert call(watched.door) == b""
    door_revoke(watched.door)


def forking(link: Link, how: str) -> None:
    """A server whose child inherits its door, and exits or becomes another program."""
    told = threading.Event()

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        if argp == DOOR_UNREF_DATA:
            told.set()
        return door_return(NULL, 0, NULL, 0)

    door = door_create(procedure, None, DOOR_UNREF)
    call(door)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(write)
        os.read(read, 1)
        if how == "exec":
            os.execv("/bin/sleep", ["sleep", "30"])
        os._exit(0)
    early = told.wait(SILENCE)
    os.write(write, b"x")
    link.say([early, told.wait(60)])
    if how == "exec":
        os.kill(pid, 9)
    os.waitpid(pid, 0)
    link.hear()


@pytest.mark.parametrize("how", ["exit", "exec"])
def test_forked_child_is_a_reference(how: str) -> None:
    """A child that inherited the door is a reference until it exits, or executes another program."""
    with Peer(forking, how) as peer:
        assert peer.hear() == [False, True]


@pytest.mark.skipif(not EMULATED, reason="illumos loses a notification that comes during a call")
def test_notification_waits_for_calls_in_progress(holder: Holder) -> None:
    """While a call is in progress the notification is kept back, and delivered when it has ended."""
    entered, leave, told = threading.Event(), threading.Event(), threading.Event()

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        if argp == DOOR_UNREF_DATA:
            told.set()
        else:
            entered.set()
            assert leave.wait(60)
        return door_return(NULL, 0, NULL, 0)

    door = door_create(procedure, None, DOOR_UNREF)
    holder.give(door)
    caller = InThread(lambda: call(door))
    assert entered.wait(60)
    holder.close_one()
    assert not told.wait(SILENCE)
    leave.set()
    assert caller.result() == b""
    assert told.wait(60)
    door_revoke(door)


def test_data_min_does_not_keep_notifications_out(holder: Holder) -> None:
    """A door that takes calls of eight bytes alone is still told that it is unreferenced."""
    from enfilade.transport.doors.api import DOOR_PARAM_DATA_MIN, door_setparam

    watched = Watched(DOOR_UNREF)
    door_setparam(watched.door, DOOR_PARAM_DATA_MIN, 8)
    holder.give(watched.door)
    holder.close_one()
    assert watched.next()[0] == 0
    door_revoke(watched.door)
