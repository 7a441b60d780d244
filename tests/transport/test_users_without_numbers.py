"""Users who have no number in a node's user namespace: the kernel gives all of them one, which is nobody's.

Nobody here has a privilege: as root the tests become two ordinary users, and each makes its own namespace.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from trio.testing import wait_all_tasks_blocked

from enfilade.transport import namespaces
from enfilade.transport.carrier import Credentials
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.policy import Identity, Policy, Rule
from enfilade.transport.wire import Ready, Refused, Welcome
from tests.transport.model import Start
from tests.transport.stranger import Stranger

ROOT = Path(__file__).resolve().parents[2]
IS_ROOT = os.geteuid() == 0
VICTIM, ATTACKER = (4321, 4322) if IS_ROOT else (-1, -1)
OVERFLOW = 65534

BECOME = """
import ctypes, json, os, sys, trio
from enfilade.actors import open_node
from enfilade.transport import NotAdmitted, Policy, Rule
from enfilade.transport.door_carrier import DoorCarrier
CLONE_NEWUSER, PR_SET_DUMPABLE = 0x10000000, 4
def become(user, namespace):
    libc = ctypes.CDLL(None, use_errno=True)
    if user >= 0:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        libc.prctl(PR_SET_DUMPABLE, 1)  # or its files in /proc are root's
    if namespace == "none":
        return
    maps = {"uid_map": f"0 {os.geteuid()} 1", "setgroups": "deny", "gid_map": f"0 {os.getegid()} 1"}
    if libc.unshare(CLONE_NEWUSER) < 0:
        raise OSError(ctypes.get_errno(), "unshare")
    for name, text in maps.items() if namespace == "mapped" else ():
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
become(int(sys.argv[2]), sys.argv[3])
"""
"""Makes this process an ordinary user's, who may not be able to read the interpreter, in a user namespace."""

SERVER = (
    BECOME
    + """
async def main(path):
    policy = Policy(rules=[
        Rule(nodes="same@*", uids={os.geteuid()}),
        Rule(nodes="root@*", uids={0}),
        Rule(nodes="overflow@*", uids={65534}),
        Rule(nodes="group@*", gids={65534}),
        Rule(nodes="any@*"),
    ])
    async with open_node("server", listen=path, carrier=DoorCarrier(mode=0o666), policy=policy):
        print("up", flush=True)
        await trio.sleep_forever()
trio.run(main, sys.argv[1])
"""
)

CALLER = (
    BECOME
    + """
async def main(path):
    admitted = []
    for name in ("same", "root", "overflow", "group", "any"):
        async with open_node(name, policy=Policy(rules=[Rule()])) as node:
            try:
                await node.connect(path)
                admitted.append(name)
            except NotAdmitted as error:
                print(error, file=sys.stderr)
    print(json.dumps(admitted), flush=True)
trio.run(main, sys.argv[1])
"""
)
"""Connects under each name, and tells under which it was admitted."""


@pytest.fixture
def path() -> Iterator[str]:
    """Where the door lies, in a directory that is the server's own and that others may enter."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        if IS_ROOT:
            os.chown(directory, VICTIM, VICTIM)
        yield f"{directory}/door"


def start_program(program: str, path: str, user: int, namespace: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", program, path, str(user), namespace],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".packaging")},
    )


MAPPED, UNMAPPED, NONE = "mapped", "unmapped", "none"
strange = pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")


@pytest.mark.zones
@pytest.mark.real
@pytest.mark.skipif("user" not in namespaces.available(), reason="no user namespaces can be made here")
@pytest.mark.parametrize(
    ("server", "user", "caller", "admitted"),
    [
        pytest.param(MAPPED, VICTIM, NONE, ["same", "root", "any"], id="the_same_user_from_outside"),
        pytest.param(MAPPED, ATTACKER, NONE, ["any"], id="another_user_from_outside", marks=strange),
        pytest.param(UNMAPPED, VICTIM, NONE, ["any"], id="a_server_without_a_number"),
        pytest.param(NONE, VICTIM, MAPPED, ["same", "any"], id="root_in_a_namespace_of_its_own"),
        pytest.param(NONE, ATTACKER, MAPPED, ["any"], id="root_of_another_user", marks=strange),
        pytest.param(NONE, ATTACKER, UNMAPPED, ["any"], id="a_caller_without_a_number", marks=strange),
    ],
)
def test_rules_are_for_users_with_numbers(
    path: str, server: str, user: int, caller: str, admitted: list[str]
) -> None:
    """A rule for a number admits who has it in the server's namespace, whatever he calls himself."""
    victim = start_program(SERVER, path, VICTIM, server)
    try:
        assert victim.stdout is not None
        assert victim.stdout.readline() == "up\n"
        told, complaints = start_program(CALLER, path, user, caller).communicate(timeout=60)
    finally:
        victim.kill()
        victim.communicate()
    assert json.loads(told) == admitted, complaints


def nobody(pid: int) -> Credentials:
    return Credentials(pid=pid, uid=-1, gid=-1)


@pytest.mark.parametrize("rule", [Rule(uids={-1, OVERFLOW}), Rule(gids={-1, OVERFLOW})], ids=["uids", "gids"])
def test_no_rule_is_for_nobody(rule: Rule) -> None:
    """Not even one that names the number by which we tell them."""
    assert not rule.fits(Identity("a", "z", 1, nobody(7)))


async def test_nobodies_are_not_one_user(
    start: Start, network: MemoryNetwork, autojump_clock: object
) -> None:
    """A name that one of them has is not another's: it belongs to the process that came first."""
    b = await start("b", policy=Policy(rules=[Rule()]))
    for pid, incarnation, is_admitted in ((1, 1, True), (2, 2, False), (1, 3, True)):
        stranger = Stranger(network.carrier(f"{pid}-{incarnation}", nobody(pid)), "shop@west", incarnation)
        answer = await stranger.say_hello("/b")
        assert isinstance(answer, Welcome if is_admitted else Refused)
        if is_admitted:
            await stranger.say(Ready())
            await wait_all_tasks_blocked()
            stranger.close()
            await wait_all_tasks_blocked()
            assert not b.rendezvous.peers


BELIEVER = (
    """
from pathlib import Path
from enfilade.actors.cli.files import read_own
from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.observing.discovery.running_nodes import _is_own
from enfilade.hostcalls.engine.cache import CompileCache
from enfilade.transport.mesh.files import make_private_directory
from enfilade.transport.mesh.identity import check_secret
from enfilade.transport.mesh.settings import MeshError
"""
    + BECOME
    + """
def is_accepted(check, *what):
    try:
        check(*what)
    except (MeshError, Refusal) as error:
        return False
    return True
directory = Path(sys.argv[1])
private, secret = directory / "private", directory / "secret"
print(json.dumps({
    "machine code": CompileCache(private, "")._is_ours(),
    "directory of a mesh": is_accepted(make_private_directory, private),
    "key of a mesh": is_accepted(check_secret, secret),
    "zone file": is_accepted(read_own, directory / "zone", "zone file"),
    "directory of nodes": _is_own(private),
}), flush=True)
"""
)
"""Becomes a user, and tells which files it takes for its own."""


@pytest.mark.zones
@pytest.mark.real
@pytest.mark.skipif("user" not in namespaces.available(), reason="no user namespaces can be made here")
@pytest.mark.parametrize(
    ("owner", "namespace", "believed"),
    [
        pytest.param(VICTIM, NONE, True, id="its_own"),
        pytest.param(VICTIM, MAPPED, True, id="its_own_by_another_number"),
        pytest.param(VICTIM, UNMAPPED, False, id="its_own_by_no_number"),
        pytest.param(ATTACKER, NONE, False, id="of_another", marks=strange),
        pytest.param(ATTACKER, UNMAPPED, False, id="of_another_without_a_number", marks=strange),
    ],
)
def test_files_of_users_without_numbers_are_nobodys(
    path: str, owner: int, namespace: str, believed: bool
) -> None:
    """The kernel says of the process and of the files that they are user 65534's."""
    directory = Path(path).parent
    (directory / "private").mkdir(mode=0o700)
    for name, mode in ("secret", 0o600), ("zone", 0o644):
        (directory / name).touch()
        (directory / name).chmod(mode)
    if IS_ROOT:
        for file in directory.iterdir():
            os.chown(file, owner, owner)
    program = start_program(BELIEVER, str(directory), VICTIM, namespace)
    told, complaints = program.communicate(timeout=60)
    assert program.returncode == 0, complaints
    assert json.loads(told) == dict.fromkeys(json.loads(told), believed), complaints
