"""7.13: signals, and clients that go away."""

import ctypes
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from enfilade.transport.doors import Client, Retry
from enfilade.transport.doors._doors import ffi, lib
from enfilade.transport.doors.api import (
    DOOR_NO_CANCEL,
    DOOR_NO_DEPLETION_CB,
    NULL,
    door_call,
    door_create,
    door_open,
    door_return,
    door_revoke,
    door_ucred,
    door_xcreate,
    fattach,
    fdetach,
    server_thread,
)
from tests.conformance.doors.compiled import address, compiled
from tests.conformance.doors.peer import Link, Peer
from tests.conformance.doors.verbatim import Arguments, CData, InThread, call, outcome


class Slow:
    """A door with one thread, whose procedure waits to be let go, and says how it fared."""

    def __init__(self, path: Path, attributes: int = 0) -> None:
        self.path = path
        self.entered = threading.Semaphore(0)
        self.leave = threading.Semaphore(0)
        self.finished = threading.Semaphore(0)
        self.calls = 0
        self.closing = False
        self.caller_after: list[str] = []
        self.door = door_xcreate(
            self.procedure, None, attributes | DOOR_NO_DEPLETION_CB, self.create, None, None, 1
        )
        path.touch()
        fattach(self.door, path)

    @staticmethod
    def create(information: CData, start: CData, argument: CData, cookie: object) -> int:
        server_thread(start, argument)
        return 1

    def procedure(self, cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        if self.closing:
            return None  # without door_return: the thread ends, and with it what it holds
        self.calls += 1
        self.entered.release()
        assert self.leave.acquire(timeout=60)
        place = ffi.new("ucred_t **")
        deadline = time.monotonic() + 60
        while (state := str(outcome(lambda: door_ucred(place)))) == "0" and arg_size == 4 and self.calls == 1:
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
        self.caller_after.append(state)
        self.finished.release()
        return door_return(b"done", 4, NULL, 0)

    def close(self) -> None:
        fdetach(self.path)
        self.closing = True
        assert outcome(lambda: call(self.door)) == "EINTR"
        door_revoke(self.door)


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Slow]:
    made = Slow(tmp_path / "slow.door")
    yield made
    made.close()


def caller(link: Link, path: str, disposition: str, form: str) -> None:
    """A client whose reaction to SIGUSR1 is given; says what its call came to, and how many signals it has
    handled.
    """
    handled: list[int] = []
    if disposition == "ignore":
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGUSR1, lambda number, _: handled.append(number))
        signal.siginterrupt(signal.SIGUSR1, disposition == "interrupt")
    with Client(door_open(path)) as client:
        link.say("calling")
        if form == "verbatim":
            # Four bytes: the procedure waits until it sees that the client has gone.
            data = b"gone" if disposition != "ignore" else b"x"
            result = outcome(lambda: door_call(client.fileno(), Arguments(data, rsize=16).params))
        elif form == "masked":
            result = outcome(lambda: client.call_with_data(b"x").decode())
        else:
            retry = Retry(attempts=5, idempotent=True)
            result = outcome(lambda: client.call_interruptible(b"gone", retry=retry).data.decode())
        link.say([result, len(handled)])
        link.hear()


@pytest.mark.parametrize(
    "disposition",
    [pytest.param("interrupt", id="s1_without_restart"), pytest.param("restart", id="s2_with_restart")],
)
def test_door_s1_door_s2_signal_during_the_procedure(slow: Slow, disposition: str) -> None:
    """A handled signal while the procedure runs is EINTR, SA_RESTART or not; the procedure completes."""
    with Peer(caller, str(slow.path), disposition, "verbatim") as peer:
        assert peer.hear() == "calling"
        assert slow.entered.acquire(timeout=60)
        peer.kill(signal.SIGUSR1)
        assert peer.hear() == ["EINTR", 1]
        slow.leave.release()
        assert slow.finished.acquire(timeout=60)
        assert slow.calls == 1


def test_door_s3_signal_before_a_thread_is_free(slow: Slow) -> None:
    """A handled signal while the call waits for a thread is EAGAIN, and the procedure never starts for it."""
    first = InThread(lambda: call(slow.door))
    assert slow.entered.acquire(timeout=60)
    with Peer(caller, str(slow.path), "interrupt", "verbatim") as peer:
        assert peer.hear() == "calling"
        answer = None
        while answer is None:
            peer.kill(signal.SIGUSR1)
            try:
                answer = peer.hear(patience=0.3)
            except AssertionError:
                continue
        assert answer[0] == "EAGAIN"
    slow.leave.release()
    assert first.result() == b"done"
    # What was queued for the only thread would be served before a call that comes later.
    slow.leave.release(2)
    assert call(slow.door) == b"done"
    assert slow.calls == 2


def test_door_s4_ignored_signal(slow: Slow) -> None:
    """An ignored signal, and a stop and continuation, do nothing to a call."""
    with Peer(caller, str(slow.path), "ignore", "verbatim") as peer:
        assert peer.hear() == "calling"
        assert slow.entered.acquire(timeout=60)
        for number in (signal.SIGUSR1, signal.SIGSTOP, signal.SIGCONT):
            peer.kill(number)
            threading.Event().wait(0.05)
        slow.leave.release()
        assert peer.hear() == [0, 0]


def test_door_s6_masked_call(slow: Slow) -> None:
    """The safe layer's call is not disturbed; the signal is handled when it has ended."""
    with Peer(caller, str(slow.path), "interrupt", "masked") as peer:
        assert peer.hear() == "calling"
        assert slow.entered.acquire(timeout=60)
        peer.kill(signal.SIGUSR1)
        threading.Event().wait(0.1)
        slow.leave.release()
        assert peer.hear() == ["done", 1]


def sleeping_server(link: Link, path: str) -> None:
    """A procedure that sleeps, and says whether something disturbed it."""

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        link.say("sleeping")
        before = time.monotonic()
        time.sleep(0.4)
        link.say(time.monotonic() - before >= 0.4)
        return door_return(NULL, 0, NULL, 0)

    Path(path).touch()
    fattach(door_create(procedure, None, DOOR_NO_CANCEL), path)
    link.say("ready")
    link.hear()
    link.say(str(outcome(lambda: call(door_open(path)))))
    link.hear()


def call_with_data(link: Link, path: str) -> None:
    door = door_open(path)
    link.say("calling")
    outcome(lambda: call(door, b"x"))


def call_once(link: Link, path: str) -> None:
    door = door_open(path)
    link.say("calling")
    outcome(lambda: call(door))


def test_door_s7_no_cancel_and_a_client_that_dies(tmp_path: Path) -> None:
    """NO_CANCEL: a client that is killed disturbs neither the procedure's sleep nor its end."""
    path = str(tmp_path / "s7.door")
    with Peer(sleeping_server, path) as server:
        assert server.hear() == "ready"
        with Peer(call_once, path) as client:
            assert client.hear() == "calling"
            assert server.hear() == "sleeping"
            client.kill()
        assert server.hear() is True
        server.say("go on")
        assert server.hear() == "sleeping"
        assert server.hear() is True
        assert server.hear() == "b''"


def cancellable_server(link: Link, path: str, library: str) -> None:
    """A server whose procedure, in C, lets itself be cancelled; says when it is entered and cleaned up."""
    read, write = os.pipe()
    loaded = ctypes.CDLL(library)
    give_back = ctypes.c_void_p(int(ffi.cast("uintptr_t", ffi.addressof(lib, "door_return"))))
    loaded.prepare(give_back, write, write)
    procedure = ffi.cast("door_server_procedure_t *", address(loaded.procedure))

    def create(information: CData, start: CData, argument: CData, cookie: object) -> int:
        server_thread(start, argument)
        return 1

    Path(path).touch()
    fattach(door_xcreate(procedure, None, 0, create, None, None, 1), path)
    link.say("ready")
    for _ in range(2):
        link.say(os.read(read, 1).decode())
    link.hear()


def test_door_s8_cancellation(tmp_path: Path) -> None:
    """Without NO_CANCEL, a procedure that enables cancellation is cancelled when its client dies.

    Its clean-up handler runs, and the door is served by the thread that replaced it.
    """
    library = compiled("cancelled.c", tmp_path)
    path = str(tmp_path / "s8.door")
    with Peer(cancellable_server, path, library) as server:
        assert server.hear() == "ready"
        with Peer(call_with_data, path) as client:
            assert client.hear() == "calling"
            assert server.hear() == "e"
            client.kill()
        assert server.hear() == "c"
        door = door_open(path)
        assert call(door) == b"done"
        os.close(door)


def test_door_s10_ucred_after_the_client_has_gone(slow: Slow) -> None:
    """When the client has gone door_ucred is EINVAL; the thread serves on afterwards."""
    with Peer(caller, str(slow.path), "interrupt", "verbatim") as peer:
        assert peer.hear() == "calling"
        assert slow.entered.acquire(timeout=60)
        peer.kill(signal.SIGUSR1)
        assert peer.hear()[0] == "EINTR"
        slow.leave.release()
        assert slow.finished.acquire(timeout=60)
    assert slow.caller_after == ["EINVAL"]
    slow.leave.release()
    assert call(slow.door) == b"done"


def test_safe_layer_sees_an_abandoned_request(tmp_path: Path) -> None:
    """`request.is_abandoned` becomes true when the client is killed, and credentials fail closed."""
    from enfilade.transport.doors import Door, DoorUcredError, Request

    seen: list[bool] = []
    done = threading.Event()
    entered = threading.Event()

    def procedure(request: Request) -> None:
        seen.append(request.is_abandoned)
        entered.set()
        deadline = time.monotonic() + 60
        while not request.is_abandoned and time.monotonic() < deadline:
            time.sleep(0.01)
        seen.append(request.is_abandoned)
        try:
            request.credentials()
        except DoorUcredError.EINVAL:
            done.set()

    with Door(procedure) as door:
        door.install(tmp_path / "abandoned.door")
        with Peer(call_once, str(tmp_path / "abandoned.door")) as client:
            assert client.hear() == "calling"
            assert entered.wait(60)
            client.kill()
        assert done.wait(60)
    assert seen == [False, True]


def test_door_s13_retry_after_eintr(slow: Slow) -> None:
    """An idempotent call that is interrupted is made again: the server has seen two."""
    with Peer(caller, str(slow.path), "interrupt", "retrying") as peer:
        assert peer.hear() == "calling"
        assert slow.entered.acquire(timeout=60)
        peer.kill(signal.SIGUSR1)
        slow.leave.release(2)
        assert peer.hear() == ["done", 1]
    assert slow.calls == 2


@attrs.frozen
class Case:
    """How an interrupted call is treated by a policy."""

    retry: Retry
    error: str
    allowed: bool


@pytest.mark.parametrize(
    "case",
    [
        Case(Retry(), "EAGAIN", True),
        Case(Retry(), "EINTR", False),
        Case(Retry(idempotent=True), "EINTR", True),
        Case(Retry(idempotent=True), "EBADF", False),
    ],
)
def test_what_may_be_retried(case: Case) -> None:
    """A call that was not started may always be made again, one that was only if it is idempotent."""
    import errno

    from enfilade.transport.doors import DoorCallError

    error = DoorCallError.of(getattr(errno, case.error))
    assert isinstance(error, DoorCallError)
    assert case.retry.allows(error) is case.allowed


def test_interrupted_thread_does_not_disturb_others(slow: Slow) -> None:
    """A call that ends with EINTR leaves other threads' calls of the same process alone."""
    first = InThread(lambda: call(slow.door))
    assert slow.entered.acquire(timeout=60)
    previous = signal.signal(signal.SIGUSR2, lambda *_: None)
    interrupted = threading.Event()
    caller = threading.get_ident()

    def interrupt() -> None:
        while not interrupted.wait(0.1):  # a signal that comes before the call does nothing
            signal.pthread_kill(caller, signal.SIGUSR2)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    assert outcome(lambda: call(slow.door)) == "EAGAIN"
    interrupted.set()
    interrupter.join()
    signal.signal(signal.SIGUSR2, previous)
    assert first.running
    slow.leave.release()
    assert first.result() == b"done"
