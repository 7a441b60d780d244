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
from tests.transport.stranger import Stranger
from tests.transport.test_rendezvous import Start, network, start

__all__ = ["network", "start"]

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

SERVER = """
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

CALLER = """
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
        [sys.executable, "-c", BECOME + program, path, str(user), namespace],
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
