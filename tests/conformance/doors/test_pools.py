"""7.12: pools of server threads, and binding threads to doors."""

import signal
import threading

import pytest

from enfilade.transport.doors import DoorBindError, DoorUnbindError
from enfilade.transport.doors.api import (
    DOOR_DEPLETION_CB,
    DOOR_PRIVATE,
    NULL,
    door_bind,
    door_call,
    door_create,
    door_return,
    door_revoke,
    door_server_create,
    door_unbind,
    ffi,
    server_thread,
)
from tests.conformance.doors.peer import Link, Peer
from tests.conformance.doors.verbatim import CData, InThread, bound_thread, call, echo, info, outcome


def who(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
    """Returns the number of the thread that serves."""
    answer = str(threading.get_native_id()).encode()
    return door_return(answer, len(answer), NULL, 0)


def test_door_p3_private_door_without_threads() -> None:
    """With the default create function nobody serves a private door, until a thread binds itself."""
    door = door_create(echo, None, DOOR_PRIVATE)
    caller = InThread(lambda: call(door, b"patience"))
    assert caller.waits()
    public = door_create(echo, None, 0)
    assert call(public, b"served") == b"served"  # whoever serves anything has had the time to
    door_revoke(public)
    assert caller.running
    bound_thread(door)
    assert caller.result() == b"patience"
    door_revoke(door)


def test_door_p4_bound_thread_serves_its_door_alone() -> None:
    """A thread that is bound to a door serves that door, and no other does."""
    door, public = door_create(who, None, DOOR_PRIVATE), door_create(who, None, 0)
    bound_thread(door)
    bound = {call(door) for _ in range(5)}
    unbound = {call(public) for _ in range(5)}
    assert len(bound) == 1
    assert not bound & unbound
    door_revoke(door)
    door_revoke(public)


def rebinding(link: Link) -> None:
    """A process whose only server thread is bound, and unbinds itself when it is asked to."""
    door_server_create(lambda information: None)

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        if ffi.buffer(argp, arg_size)[:] == b"unbind":
            door_unbind()
        return who(cookie, argp, arg_size, dp, n_desc)

    private, public = door_create(procedure, None, DOOR_PRIVATE), door_create(who, None, 0)
    waiting = InThread(lambda: call(public))
    bound_thread(private)
    first = call(private, b"stay")
    still = waiting.waits()
    second = call(private, b"unbind")
    link.say([first == second, still, waiting.result() == first])


def test_door_p8_unbind_in_the_procedure() -> None:
    """A thread that unbinds itself in a procedure serves the public pool from its next door_return on."""
    with Peer(rebinding) as peer:
        assert peer.hear() == [True, True, True]


def test_unbound_thread_cannot_unbind() -> None:
    """door_unbind is EBADF in a thread that is not bound."""
    with pytest.raises(DoorUnbindError.EBADF):
        door_unbind()


def test_bind_wants_a_private_door_of_ones_own() -> None:
    """door_bind is EBADF for what is no door, EINVAL for a public one."""
    with pytest.raises(DoorBindError.EBADF):
        door_bind(-1)
    public = door_create(echo, None, 0)
    with pytest.raises(DoorBindError.EINVAL):
        door_bind(public)
    door_revoke(public)


def test_rebinding_moves_a_thread() -> None:
    """Binding to another door releases the thread from the first."""

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        if arg_size:
            door_bind(second)
        return who(cookie, argp, arg_size, dp, n_desc)

    first, second = door_create(procedure, None, DOOR_PRIVATE), door_create(who, None, DOOR_PRIVATE)
    bound_thread(first)
    thread = call(first)
    assert call(first, b"move") == thread
    assert call(second) == thread
    waiting = InThread(lambda: call(first))
    assert waiting.waits()
    assert call(second) == thread
    assert waiting.running
    bound_thread(first)
    assert waiting.result() != thread
    door_revoke(first)
    door_revoke(second)


def last_thread_exits(link: Link) -> None:
    """A private door whose only thread falls off the end of the procedure; then a call, which
    is interrupted.
    """
    signal.signal(signal.SIGALRM, lambda *_: None)
    door = door_create(lambda *_: None, None, DOOR_PRIVATE)
    bound_thread(door)
    first = outcome(lambda: call(door))
    signal.setitimer(signal.ITIMER_REAL, 0.3, 0.3)
    second = outcome(lambda: call(door))
    signal.setitimer(signal.ITIMER_REAL, 0)
    link.say([first, second])


def test_door_p9_last_thread_exits() -> None:
    """When the last thread of a private pool has gone calls wait for ever, and can be interrupted: EAGAIN."""
    with Peer(last_thread_exits) as peer:
        assert peer.hear() == ["EINTR", "EAGAIN"]


def public_depletion(link: Link) -> None:
    events: list[list[object]] = []

    def create(information: CData) -> None:
        events.append(["create", information == NULL, threading.get_native_id()])
        server_thread(lambda: door_return(NULL, 0, NULL, 0))

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        events.append(["procedure", True, threading.get_native_id()])
        return door_return(NULL, 0, NULL, 0)

    door_server_create(create)
    door = door_create(procedure, None, 0)
    threading.Event().wait(0.1)
    call(door)
    link.say([events, threading.get_native_id()])


def test_door_p10_public_depletion() -> None:
    """The call that takes the last thread has the create function called with NULL on that thread, before the
    procedure.
    """
    with Peer(public_depletion) as peer:
        events, creator = peer.hear()
    assert [event[0] for event in events] == ["create", "create", "procedure"]
    assert all(event[1] for event in events)
    assert events[0][2] == creator
    assert events[1][2] == events[2][2] != creator


def test_door_p11_private_depletion() -> None:
    """For a private door the create function is given the door's information, with DEPLETION_CB when the pool
    is empty.
    """
    seen: list[tuple[int, bool]] = []

    def create(information: CData) -> None:
        number, depleted = information.di_uniquifier, bool(information.di_attributes & DOOR_DEPLETION_CB)
        seen.append((number, depleted))

        def start() -> None:
            door_bind(door)
            door_return(NULL, 0, NULL, 0)

        if depleted:
            server_thread(start)

    previous = door_server_create(create)
    try:
        door = door_create(echo, None, DOOR_PRIVATE)
        bound_thread(door)
        assert call(door, b"x") == b"x"
        number = info(door).di_uniquifier
        assert seen == [(number, False), (number, True)]
    finally:
        door_server_create(previous)
    door_revoke(door)


def test_door_p12_signals_are_blocked() -> None:
    """The binding's server threads have every signal blocked that can be."""
    masks: list[set[int]] = []

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        masks.append({int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])})
        return door_return(NULL, 0, NULL, 0)

    door = door_create(procedure, None, 0)
    door_call(door, NULL)
    threads_own = {32, 33}  # those that libc keeps for itself
    unblockable = {signal.SIGKILL, signal.SIGSTOP}
    assert {int(number) for number in signal.valid_signals()} - threads_own - unblockable <= masks[0]
    door_revoke(door)


def test_pool_grows_with_concurrency() -> None:
    """As many calls as there are clients run at a time, with the default create function."""
    inside = threading.Semaphore(0)
    leave = threading.Event()

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        inside.release()
        assert leave.wait(60)
        return door_return(NULL, 0, NULL, 0)

    door = door_create(procedure, None, 0)
    calls = [InThread(lambda: call(door)) for _ in range(12)]
    for _ in calls:
        assert inside.acquire(timeout=60)
    leave.set()
    assert [one.result() for one in calls] == [b""] * 12
    door_revoke(door)
