"""7.17: who is calling, and calls within calls."""

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from enfilade.transport import namespaces
from enfilade.transport.doors import Credentials, Door, Request, Result
from enfilade.transport.doors.api import (
    DOOR_NO_DEPLETION_CB,
    NULL,
    door_create,
    door_cred,
    door_open,
    door_return,
    door_revoke,
    door_ucred,
    door_xcreate,
    fattach,
    fdetach,
    ffi,
    server_thread,
)
from tests.conformance.doors.backend import native_only
from tests.conformance.doors.peer import Link, Peer
from tests.conformance.doors.verbatim import CData, call, outcome, text

NOBODY = 65534
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which takes root")


def tell(request: Request) -> bytes:
    """Tells the caller who it is."""
    who = request.credentials()
    return json.dumps([who.pid, who.euid, who.ruid, who.egid, who.rgid, sorted(who.groups)]).encode()


def ask(link: Link, path: str, change: str) -> None:
    """A client that asks who it is, and says who it thinks it is; then changes its user, and
    does so again.
    """
    door = door_open(path)
    if change == "groups":
        os.setgroups([7, 8])
    if change == "fork" and (pid := os.fork()):
        os.waitpid(pid, 0)
        link.hear()
        return

    def both() -> list[object]:
        mine = [os.getpid(), os.geteuid(), os.getuid(), os.getegid(), os.getgid(), sorted(os.getgroups())]
        return [json.loads(call(door, b"who")), mine]

    link.say(both())
    if change == "user":
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
        link.say(both())
        os.seteuid(0)
        link.say(both())
    if change == "fork":
        os._exit(0)
    link.hear()


@pytest.mark.parametrize(
    "change", [pytest.param("nothing", id="k1"), pytest.param("groups", id="k1_groups", marks=root_only)]
)
def test_door_k1_credentials_of_the_caller(tmp_path: Path, change: str) -> None:
    """Process, users, groups and supplementary groups are the client's."""
    path = str(tmp_path / "k1.door")
    with Door(tell) as door:
        door.install(path)
        with Peer(ask, path, change) as peer:
            told, known = peer.hear()
    assert told == known


@root_only
def test_door_k2_client_changes_its_user(tmp_path: Path) -> None:
    """A client that changes its effective user is seen as the new one from its next call on."""
    path = str(tmp_path / "k2.door")
    with Door(tell) as door:
        door.install(path)
        with Peer(ask, path, "user") as peer:
            seen = [peer.hear() for _ in range(3)]
    for told, known in seen:
        assert told == known
    assert [told[1] for told, _ in seen] == [0, NOBODY, 0]


def test_door_k9_forked_child(tmp_path: Path) -> None:
    """A forked child of a client is itself, not its parent."""
    path = str(tmp_path / "k9.door")
    with Door(tell) as door:
        door.install(path)
        with Peer(ask, path, "fork") as peer:
            told, known = peer.hear()
            assert told == known
            assert told[0] != peer.pid


def test_door_cred_agrees_with_door_ucred() -> None:
    """The older function tells the same."""

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        cred = ffi.new("door_cred_t *")
        door_cred(cred)
        place = ffi.new("ucred_t **")
        door_ucred(place)
        first = place[0]
        door_ucred(place)  # a second time into the same one
        assert place[0] == first
        who = Credentials.from_ucred(place[0])
        from enfilade.transport.doors._doors import lib

        lib.ucred_free(place[0])
        same = (cred.dc_pid, cred.dc_euid, cred.dc_egid, cred.dc_ruid, cred.dc_rgid) == (
            who.pid,
            who.euid,
            who.egid,
            who.ruid,
            who.rgid,
        )
        answer = b"same" if same and who.pid == os.getpid() else b"different"
        return door_return(answer, len(answer), NULL, 0)

    door = door_create(procedure, None, 0)
    assert call(door) == b"same"
    door_revoke(door)


def test_no_caller() -> None:
    """Outside of a procedure there is no caller: EINVAL."""
    assert outcome(lambda: door_ucred(ffi.new("ucred_t **"))) == "EINVAL"
    assert outcome(lambda: door_cred(ffi.new("door_cred_t *"))) == "EINVAL"


def middle(link: Link, inner: str, outer: str) -> None:
    """A server that calls another one in each of its calls, and tells its caller's process
    before and after.
    """

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        before = Credentials.of_caller().pid
        seen_by_inner = json.loads(call(target, b"x"))[0]
        answer = json.dumps([before, Credentials.of_caller().pid, seen_by_inner]).encode()
        return door_return(answer, len(answer), NULL, 0)

    target = door_open(inner)
    Path(outer).touch()
    fattach(door_create(procedure, None, 0), outer)
    link.say("ready")
    link.hear()


def test_door_k6_nested_call(tmp_path: Path) -> None:
    """A server that calls another one in between still sees its own caller; the other sees the server."""
    inner, outer = str(tmp_path / "inner.door"), str(tmp_path / "outer.door")
    with Door(tell) as door:
        door.install(inner)
        with Peer(middle, inner, outer) as peer:
            assert peer.hear() == "ready"
            target = door_open(outer)
            before, after, seen_by_inner = json.loads(call(target))
            assert before == after == os.getpid()
            assert seen_by_inner == peer.pid
            os.close(target)


def test_door_k7_recursion() -> None:
    """A door that calls itself five deep works with the default pool."""

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        depth = int(text(argp, arg_size))
        answer = b"bottom" if depth == 0 else call(door, str(depth - 1).encode()) + b"+"
        return door_return(answer, len(answer), NULL, 0)

    door = door_create(procedure, None, 0)
    assert call(door, b"5") == b"bottom+++++"
    door_revoke(door)


def recurse(link: Link) -> None:
    """A door with one thread, which calls itself and is interrupted."""
    inner: list[object] = []

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        if arg_size == 0:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
            me = threading.get_ident()
            timer = threading.Timer(0.3, lambda: signal.pthread_kill(me, signal.SIGUSR1))
            timer.start()
            inner.append(outcome(lambda: call(door, b"inner")))
        return door_return(b"outer", 5, NULL, 0)

    def create(information: CData, start: CData, argument: CData, cookie: object) -> int:
        server_thread(start, argument)
        return 1

    signal.signal(signal.SIGUSR1, lambda *_: None)
    door = door_xcreate(procedure, None, DOOR_NO_DEPLETION_CB, create, None, None, 1)
    link.say([call(door).decode(), inner])


def test_door_k8_recursion_with_one_thread() -> None:
    """A door with one thread that calls itself waits until it is interrupted: EAGAIN in the inner call."""
    with Peer(recurse) as peer:
        assert peer.hear() == ["outer", ["EAGAIN"]]


@root_only
def test_door_k11_inherited_by_another_user(tmp_path: Path) -> None:
    """A program that inherits a door and runs as another user is seen as that user."""
    door = door_create(_tell_verbatim, None, 0)
    path = tmp_path / "k11.door"
    path.touch()
    fattach(door, path)
    opened = door_open(path)
    assert json.loads(call(opened))[1] == 0
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        os.setresuid(-1, NOBODY, NOBODY)
        os.write(write, call(opened))
        os._exit(0)
    os.close(write)
    told = json.loads(os.read(read, 1000))
    os.close(read)
    os.waitpid(pid, 0)
    assert told == [pid, NOBODY]
    os.close(opened)
    fdetach(path)
    door_revoke(door)


def _tell_verbatim(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
    who = Credentials.of_caller()
    answer = json.dumps([who.pid, who.euid]).encode()
    return door_return(answer, len(answer), NULL, 0)


def ask_from_namespaces(link: Link, path: str) -> None:
    door = door_open(path)
    link.say(json.loads(call(door, b"who")))
    link.hear()


@pytest.mark.zones
@pytest.mark.skipif("pid" not in namespaces.available(), reason="no process namespaces can be made here")
def test_door_k12_caller_in_a_process_namespace(tmp_path: Path) -> None:
    """A caller in a process namespace of its own is seen by the number that it has here, and by its user
    here.
    """
    path = str(tmp_path / "k12.door")
    with Door(tell) as door:
        door.install(path)
        kinds = [kind for kind in ("user", "mount", "pid") if kind in namespaces.available()]
        with Peer(ask_from_namespaces, path, command=[*namespaces.command(["env"], kinds)]) as peer:
            pid, euid, *_ = peer.hear()
    assert pid != 1
    assert euid == os.geteuid()


@native_only("Linux has capabilities instead")
def test_privileges_of_the_caller() -> None:
    """On illumos a credential has privilege sets."""
    from enfilade.transport.doors._doors import lib

    assert hasattr(lib, "ucred_getprivset")


def test_result_with_credentials_in_an_async_procedure() -> None:
    """Credentials are those of the caller in an async procedure too, which runs elsewhere."""
    import trio

    async def procedure(request: Request) -> Result:
        await trio.lowlevel.checkpoint()
        return Result(tell(request))

    async def main() -> bytes:
        with Door(procedure) as door, door.client() as client, await client.call_async() as reply:
            return reply.data

    assert json.loads(trio.run(main))[0] == os.getpid()
