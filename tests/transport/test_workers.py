"""Worker nodes: real processes, killed and left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from actors import NO_CONNECTION, Down, Node, Refused, open_node
from actors.workers import Workers, open_workers
from tests.transport.subjects import Account

ENTRIES = {"Account": "tests.transport.subjects:Account"}
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    with trio.fail_after(100):
        async with open_node("parent", listen=str(tmp_path / "parent.door")) as node:
            yield node


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def pids(workers: Workers) -> list[int]:
    refs = [await workers.spawn("Account") for _ in workers.names]
    return [(await ref.within(30).call(Account.identity))[0] for ref in refs]


async def test_work_is_spread_and_nothing_is_left(node: Node) -> None:
    async with open_workers(node, 2, ENTRIES) as workers:
        found = await pids(workers)
        assert len(set(found)) == 2
        assert os.getpid() not in found
        ref = await workers.spawn("Account", 5)
        assert await ref.within(30).call(Account.add, 1) == 6
        with pytest.raises(Refused):
            await workers.spawn("os:system")
    assert not any(map(is_running, found))
    assert node.peers == ()


async def test_a_killed_worker_is_noticed_and_replaced(node: Node) -> None:
    async with open_workers(node, 1, ENTRIES) as workers:
        (name,) = workers.names
        ref = await workers.spawn("Account")
        (pid,) = await pids(workers)
        async with node.mailbox() as me:
            me.monitor(ref)
            os.kill(pid, signal.SIGKILL)
            assert (await me.receive(Down)).reason == NO_CONNECTION
        for _ in range(1000):
            if workers.names not in ((), (name,)):
                break
            await trio.sleep(0.05)
        assert await (await workers.spawn("Account", 1)).within(30).call(Account.add, 1) == 2
        assert not is_running(pid)


PARENT = """
import sys, trio
from actors import open_node
from actors.workers import open_workers
from tests.transport.subjects import Account
async def main():
    async with open_node("parent", listen=sys.argv[1]) as node:
        async with open_workers(node, 2, {"Account": "tests.transport.subjects:Account"}) as workers:
            for _ in workers.names:
                ref = await workers.spawn("Account")
                print((await ref.within(30).call(Account.identity))[0], flush=True)
            await trio.sleep_forever()
trio.run(main)
"""


def test_no_worker_outlives_a_killed_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "door")], stdout=subprocess.PIPE, cwd=ROOT
    )
    try:
        assert parent.stdout is not None
        workers = [int(parent.stdout.readline()) for _ in range(2)]
        assert all(map(is_running, workers))
    finally:
        parent.kill()
        parent.wait()
        assert parent.stdout is not None
        parent.stdout.close()
    deadline = time.monotonic() + 30
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(is_running, workers))


async def test_misuse_is_told(node: Node) -> None:
    with pytest.raises(ValueError, match="at least one"):
        async with open_workers(node, 0, {}):
            pass
    with pytest.raises(ValueError, match='"module:name"'):
        async with open_workers(node, 1, {"x": "nothing"}):
            pass
