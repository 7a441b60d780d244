"""7.14: processes that die, fork and exec."""

import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from enfilade.transport.doors import DoorCallError
from enfilade.transport.doors.api import (
    DOOR_LOCAL,
    DOOR_NO_DEPLETION_CB,
    DOOR_PARAM_DATA_MAX,
    DOOR_PRIVATE,
    DOOR_REVOKED,
    NULL,
    door_bind,
    door_create,
    door_open,
    door_return,
    door_revoke,
    door_setparam,
    door_xcreate,
    fattach,
    server_thread,
)
from tests.conformance.doors.peer import ROOT, Link, Peer
from tests.conformance.doors.verbatim import (
    Arguments,
    CData,
    InThread,
    call,
    descriptors,
    echo,
    info,
    outcome,
    returning,
)


def hanging(link: Link, path: str, last_act: str) -> None:
    """A server with one thread, whose procedure never returns; it ends as it is told."""

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        link.say("entered")
        threading.Event().wait()

    def create(information: CData, start: CData, argument: CData, cookie: object) -> int:
        server_thread(start, argument)
        return 1

    Path(path).touch()
    fattach(door_xcreate(procedure, None, DOOR_NO_DEPLETION_CB, create, None, None, 1), path)
    link.say("ready")
    link.hear()
    if last_act == "exec":
        os.execv(sys.executable, [sys.executable, "-c", "import sys; sys.stdin.read()"])
    os._exit(3)


def test_door_o1_door_o2_server_killed(tmp_path: Path) -> None:
    """A server that is killed: EINTR for the call in progress, EBADF for the one that waits and for later
    ones.
    """
    path = str(tmp_path / "killed.door")
    with Peer(hanging, path, "kill") as peer:
        assert peer.hear() == "ready"
        door = door_open(path)
        active = InThread(lambda: call(door))
        assert peer.hear() == "entered"
        queued = InThread(lambda: call(door))
        assert queued.waits()
        peer.kill()
        assert active.result() == "EINTR"
        assert queued.result() == "EBADF"
        with pytest.raises(DoorCallError.EBADF):
            call(door)
        assert info(door).di_target == -1
        os.close(door)


def test_door_o3_server_execs(tmp_path: Path) -> None:
    """A server that becomes another program: EINTR for the call in progress, EBADF for later ones."""
    path = str(tmp_path / "exec.door")
    with Peer(hanging, path, "exec") as peer:
        assert peer.hear() == "ready"
        door = door_open(path)
        active = InThread(lambda: call(door))
        assert peer.hear() == "entered"
        peer.say("exec")
        assert active.result() == "EINTR"
        assert outcome(lambda: call(door)) == "EBADF"
        assert info(door).di_target == -1
        assert info(door).di_attributes & DOOR_REVOKED
        os.close(door)


def in_child(function: object) -> int:
    """Run `function` in a forked child; return its exit status. The child ends without Python's farewells."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        status = 70
        try:
            status = int(function())  # type: ignore[operator]
        finally:
            os._exit(status)
    _, state = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(state)


def forking_server(link: Link) -> None:
    """A server that forks; its child tries what a child may and may not do."""
    public, private = door_create(echo, None, 0), door_create(echo, None, DOOR_PRIVATE)
    call(public, b"warm")
    parent = os.getpid()

    def child() -> int:
        results = [
            outcome(lambda: door_revoke(public)),
            outcome(lambda: door_setparam(public, DOOR_PARAM_DATA_MAX, 1)),
            outcome(lambda: door_bind(private)),
            outcome(lambda: call(public, b"from the child")),
            info(public).di_attributes & DOOR_LOCAL,
            info(public).di_target == parent,
        ]
        return 0 if results == ["EPERM", "EPERM", "EINVAL", b"from the child", 0, True] else 1

    link.say([in_child(child), call(public, b"parent").decode()])


def test_door_o5_forked_child_is_a_client() -> None:
    """A child may call its parent's door, may not revoke, change or bind to it, and is not its target."""
    with Peer(forking_server) as peer:
        assert peer.hear() == [0, "parent"]


def forked_server(link: Link) -> None:
    """A process with doors whose child makes one of its own."""
    own = door_create(echo, None, 0)
    call(own, b"warm")

    def child() -> int:
        door = door_create(returning(str(os.getpid()).encode()), None, 0)
        good = int(call(door)) == os.getpid() and info(door).di_target == os.getpid()
        return 0 if good and info(door).di_attributes & DOOR_LOCAL else 1

    link.say([in_child(child), call(own, b"parent").decode()])


def test_door_o6_child_makes_its_own_door() -> None:
    """A door that a child makes is served by threads of the child."""
    with Peer(forked_server) as peer:
        assert peer.hear() == [0, "parent"]


def dying_parent(link: Link) -> None:
    """A server whose child holds its door when it dies; the child reports."""
    door = door_create(echo, None, 0)
    call(door, b"warm")
    read, write = os.pipe()
    if os.fork() == 0:
        signal.alarm(60)
        os.close(write)
        os.read(read, 1)  # the end of the parent
        for _ in range(5000):
            if info(door).di_target == -1:
                break
            threading.Event().wait(0.01)
        link.say(
            [outcome(lambda: call(door)), info(door).di_target, bool(info(door).di_attributes & DOOR_REVOKED)]
        )
        os._exit(0)
    os.close(read)
    os._exit(0)


def test_door_o7_parent_dies() -> None:
    """The child of a dead server holds a door that is EBADF, and whose target is -1."""
    with Peer(dying_parent) as peer:
        assert peer.hear() == ["EBADF", -1, True]


def probe_after_exec(fd: int) -> str:
    """What another program, started by fork and exec, finds at the number of a descriptor."""
    program = (
        "import os, sys\n"
        "from tests.conformance.doors.verbatim import call, outcome\n"
        "answer = outcome(lambda: call(int(sys.argv[1]), b'after exec'))\n"
        "print(answer.decode() if isinstance(answer, bytes) else answer)\n"
    )
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.dup2(write, 1)
        os.execv(sys.executable, [sys.executable, "-c", program, str(fd)])
    os.close(write)
    with os.fdopen(read) as output:
        answer = output.read().strip()
    os.waitpid(pid, 0)
    return answer


def test_door_o8_created_door_is_closed_by_exec() -> None:
    """The descriptor that door_create returns is not there after exec."""
    door = door_create(echo, None, 0)
    assert probe_after_exec(door) == "EBADF"
    door_revoke(door)


def hand_out(cookie: int, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
    """Returns a descriptor of the door in the cookie."""
    return door_return(NULL, 0, descriptors([cookie]), 1)


def test_door_o9_received_door_survives_exec() -> None:
    """A door that was received can be called by the program that the process becomes."""
    door = door_create(echo, None, 0)
    giver = door_create(hand_out, door, 0)
    with Arguments().call(giver) as arguments:
        assert probe_after_exec(arguments.fds[0]) == "after exec"
    door_revoke(giver)
    door_revoke(door)


def serve(link: Link, path: str) -> None:
    Path(path).touch()
    fattach(door_create(echo, None, 0), path)
    link.say("ready")
    link.hear()


def test_client_forks_while_it_calls(tmp_path: Path) -> None:
    """Parent and child of a client call the same descriptor at the same time, and each gets its
    own replies.
    """
    path = str(tmp_path / "fork.door")
    with Peer(serve, path) as peer:
        assert peer.hear() == "ready"
        door = door_open(path)
        assert call(door, b"warm") == b"warm"

        def child() -> int:
            return 0 if all(call(door, b"child %d" % n) == b"child %d" % n for n in range(200)) else 1

        pid = os.fork()
        if pid == 0:
            signal.alarm(60)
            os._exit(child())
        assert all(call(door, b"parent %d" % n) == b"parent %d" % n for n in range(200))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        os.close(door)
