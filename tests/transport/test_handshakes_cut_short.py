"""A peer that is killed, or stopped, at each step of a handshake, whether it calls or answers.

The peer is an honest node in a process of its own, which sends itself the signal when it has made so many
steps: opened a door, sent something, or took something in. Whoever it had to do with serves others meanwhile,
gives the handshake up in time, and keeps nothing.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trio

from enfilade.actors import Node, open_node
from enfilade.transport import Policy, Settings
from enfilade.transport.conversation import HandshakeFailed
from tests.conformance.actors.town import Account
from tests.descriptors import open_descriptors

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 10
STEPS = 12
"""More than a handshake with a secret has on either side."""

PEER = """
import attrs, os, signal, sys, trio
from enfilade.actors import open_node
from enfilade.transport import Policy, Settings, door_carrier

def strike_after(steps, number):
    def step():
        nonlocal steps
        steps -= 1
        if steps < 0:
            os.kill(os.getpid(), number)

    def before(kind, name):
        original = getattr(kind, name)
        setattr(kind, name, lambda *args, **named: (step(), original(*args, **named))[1])

    before(door_carrier.DoorCarrier, "open")
    before(door_carrier._DoorOutlet, "start")
    take = door_carrier._DoorInlet._arrivals
    arrivals = lambda self, item: (found := take(self, item)) and (step(), found)[1]
    door_carrier._DoorInlet._arrivals = arrivals

async def be_a_node(path, called, policy):
    settings = Settings(period=1.5, handshake=1.0, goodbye=0.2)
    async with open_node("peer", zone="wild", listen=path, policy=policy, settings=settings) as node:
        print("listens", flush=True)
        if called:
            await node.connect(called)
        await trio.sleep_forever()

for line in sys.stdin:
    path, called, steps, number, secret = line.rstrip("\\n").split("\\t")
    child = os.fork()
    if child == 0:
        try:
            strike_after(int(steps), int(number))
            policy = attrs.evolve(Policy.same_user(), secret=secret.encode() or None)
            trio.run(be_a_node, path, called, policy)
        except BaseException as error:
            print("ended", repr(error), file=sys.stderr, flush=True)
        finally:
            os._exit(1)
    print(child, flush=True)
    sys.stdin.readline()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print("over", flush=True)
"""


@pytest.fixture
def peers() -> Iterator["subprocess.Popen[str]"]:
    program = [sys.executable, "-c", PEER]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".packaging")}
    pipe = subprocess.PIPE
    with subprocess.Popen(program, cwd=ROOT, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def is_struck(pid: int) -> bool:
    """Whether a process is stopped, or has ended."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "TZ"


async def check(bystander: Node) -> None:
    with trio.fail_after(SECONDS):
        assert await bystander.remote("account", "b@right").call(Account.give, 5) == 5


@pytest.mark.real
@pytest.mark.timeout(280)
@pytest.mark.parametrize(
    "secret", [pytest.param("", id="open", marks=pytest.mark.soak), pytest.param("s" * 32, id="secret")]
)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
@pytest.mark.parametrize("calls", [True, False], ids=["calling", "answering"])
async def test_a_peer_that_comes_no_further(
    tmp_path: Path, peers: "subprocess.Popen[str]", calls: bool, number: int, secret: str
) -> None:
    """At each step: others are served, the handshake ends in time, and all is as before."""
    assert peers.stdin is not None
    assert peers.stdout is not None
    ours, theirs = str(tmp_path / "b"), str(tmp_path / "peer")
    policy = attrs.evolve(Policy.same_user(exports="account"), secret=secret.encode() or None)
    settings = Settings(period=1.5, handshake=0.4, goodbye=0.2)
    async with (
        open_node("b", zone="right", listen=ours, policy=policy, settings=settings) as node,
        open_node("c", policy=policy) as bystander,
    ):
        await node.spawn(Account, 10, name="account")
        await bystander.connect(ours)
        await check(bystander)
        descriptors, tasks = len(open_descriptors()), threads()
        struck = 0
        for steps in range(STEPS):
            if steps > struck:
                break  # the handshake had no more
            called = ours if calls else ""
            peers.stdin.write(f"{theirs}{steps}\t{called}\t{steps}\t{number:d}\t{secret}\n")
            peers.stdin.flush()
            pid = int(await trio.to_thread.run_sync(peers.stdout.readline))
            assert await trio.to_thread.run_sync(peers.stdout.readline) == "listens\n"
            begun = time.monotonic()
            if not calls:
                with trio.fail_after(SECONDS):
                    try:
                        await node.connect(f"{theirs}{steps}")
                    except (OSError, HandshakeFailed):
                        assert "peer@wild" not in node.peers
            while not is_struck(pid) and time.monotonic() < begun + 1:  # noqa: ASYNC110
                await trio.sleep(0.01)
            struck += is_struck(pid)
            await check(bystander)
            if is_struck(pid):  # a node link with one that is stopped ends after its period
                with trio.fail_after(SECONDS):
                    while "peer@wild" in node.peers:  # noqa: ASYNC110
                        await trio.sleep(0.02)
            peers.stdin.write("\n")
            peers.stdin.flush()
            assert await trio.to_thread.run_sync(peers.stdout.readline) == "over\n"
            with trio.fail_after(3 * SECONDS):
                while len(open_descriptors()) > descriptors + 4:  # noqa: ASYNC110
                    await trio.sleep(0.02)
            await check(bystander)
        assert 3 <= struck < STEPS
        with trio.fail_after(3 * SECONDS):
            while threads() > tasks + 4:  # noqa: ASYNC110 - some leave when they have been idle for a while
                await trio.sleep(0.05)
