"""Worker nodes: real processes, killed, blocked and left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from enfilade.actors import (
    KILL,
    NO_CONNECTION,
    Child,
    Down,
    Node,
    NodeUp,
    NotConnected,
    Process,
    Ref,
    StartError,
    Supervisor,
    open_node,
)
from enfilade.transport import NotAdmitted, Policy, Settings, UnregisteredType
from tests.transport.subjects import Account, Broker

ROOT = Path(__file__).resolve().parents[2]

SECONDS = 100.0
"""After which a test is given up."""


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    with trio.fail_after(SECONDS):
        async with open_node("parent", workers=2) as node:
            pids = list(node.workers.pids.values())
            yield node
            pids += node.workers.pids.values()
        assert not any(map(is_running, pids))


def is_running(pid: int) -> bool:
    """Whether a process is there, as anything but a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def is_there(pid: int) -> bool:
    """Whether a process is there, even as a zombie."""
    return Path(f"/proc/{pid}").exists()


async def spawn(node: Node, balance: int = 0) -> Ref[Account]:
    return (await node.workers.spawn(Account, balance)).within(60)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what other processes do."""
    while not condition():  # noqa: ASYNC110 (nobody tells of it)
        await trio.sleep(0.05)


async def until_all_are_up(node: Node, me: Process, count: int = 2) -> None:
    while len(node.workers.names) < count:
        await me.receive(NodeUp)


async def test_work_is_spread(node: Node) -> None:
    """One after another, each in a process of its own, under the names that they keep."""
    assert node.workers.names == ("parent-worker-1@local", "parent-worker-2@local")
    refs = [await spawn(node, 5) for _ in range(4)]
    found = [(await ref.call(Account.identity))[0] for ref in refs]
    assert set(found) == set(node.workers.pids.values())
    assert found[:2] == found[2:]
    assert os.getpid() not in found
    assert [await ref.call(Account.add, 1) for ref in refs] == [6] * 4
    by_name = await node.spawn_on(node.workers.names[0], "tests.transport.subjects:Account", 3)
    assert await by_name.call(Account.add, 1) == 4


async def test_two_compute_at_once(node: Node) -> None:
    """Each worker has a processor of its own, and its loop, held for longer than a period, is not missed."""
    spans: list[tuple[float, float]] = []

    async def compute(ref: Ref[Account]) -> None:
        spans.append(await ref.call(Account.compute, 1.0))

    refs = [await spawn(node) for _ in range(2)]
    async with trio.open_nursery() as nursery:
        for ref in refs:
            nursery.start_soon(compute, ref)
    (first, first_over), (second, second_over) = spans
    assert max(first, second) < min(first_over, second_over)


async def test_a_busy_worker_may_be_silent() -> None:
    """A worker is not taken for dead because it computes for longer than the period of its employer."""
    with trio.fail_after(SECONDS):
        async with open_node("parent", workers=1, settings=Settings(period=0.4)) as node:
            ref = await spawn(node)
            await ref.call(Account.block, 2.0)
            assert await ref.call(Account.add, 1) == 1


async def test_siblings_reach_one_another(node: Node) -> None:
    """A ref to a process of one worker is good on the other: they connect on demand."""
    account = await spawn(node, 10)
    broker: Ref[Broker] = await node.workers.spawn(Broker)
    assert account.node_name != broker.node_name
    assert await broker.within(60).call(Broker.add, account, 5) == 15


@pytest.mark.parametrize("how", ["kill", "exit"])
async def test_a_lost_worker_is_noticed_and_replaced(node: Node, how: str) -> None:
    """Its processes are lost with it; another takes its place under the same name."""
    ref = await spawn(node)
    before = node.workers.pids[ref.node_name]
    async with node.mailbox() as me:
        me.monitor(ref)
        node.distribution.monitor_nodes(me.ref)
        if how == "kill":
            os.kill(before, signal.SIGKILL)
        else:
            ref.cast(Account.crash_process)
        assert (await me.receive(Down)).reason == NO_CONNECTION
        await until_all_are_up(node, me)
    assert node.workers.pids[ref.node_name] != before
    assert not is_there(before), "a zombie"
    again = await node.spawn_on(ref.node_name, "tests.transport.subjects:Account", 1)
    assert await again.within(60).call(Account.add, 1) == 2


async def test_supervised_on_workers(node: Node, tmp_path: Path) -> None:
    """A supervisor's children on workers are spread over them, and come back when one of these is lost, as
    here because a child blocks it that is to die.
    """
    children = [Child(node.workers.entry(Account), number, id=number) for number in range(4)]
    async with node.mailbox() as me:
        supervisor = await node.spawn(Supervisor, children, intensity=10)
        refs = [info.ref for info in await supervisor.call(Supervisor.children)]
        assert len({ref.node_name for ref in refs}) == 2
        assert [await ref.within(60).call(Account.add, 0) for ref in refs] == [0, 1, 2, 3]
        lost = [ref for ref in refs if ref.node_name == refs[0].node_name]
        for ref in lost:
            me.monitor(ref)
        refs[0].cast(Account.block, 3600, str(tmp_path / "sign"))
        await until((tmp_path / "sign").exists)
        me.exit(refs[0], KILL)
        assert {(await me.receive(Down)).reason for _ in lost} == {NO_CONNECTION}

        async def are_back() -> bool:
            infos = await supervisor.call(Supervisor.children)
            refs[:] = [info.ref for info in infos]
            return all(isinstance(ref, Ref) and ref not in lost for ref in refs)

        while not await are_back():  # noqa: ASYNC110 (a supervisor tells nobody of restarts)
            await trio.sleep(0.05)
        assert [await ref.within(60).call(Account.add, 0) for ref in refs] == [0, 1, 2, 3]


async def test_a_stopped_worker_is_ended_with_its_node() -> None:
    """One that does not even react to SIGTERM is killed, and the node closes in time."""
    with trio.fail_after(SECONDS):
        async with open_node("parent", workers=1) as node:
            (pid,) = node.workers.pids.values()
            os.kill(pid, signal.SIGSTOP)
        assert not is_there(pid)


async def spawn_until_none_is_up(node: Node) -> None:
    while node.workers.names:
        with suppress(NotConnected):  # the one in turn died meanwhile
            await node.workers.spawn(Account)
    await node.workers.spawn(Account)


async def test_all_workers_can_be_lost_at_once(node: Node) -> None:
    async with node.mailbox() as me:
        node.distribution.monitor_nodes(me.ref)
        for pid in node.workers.pids.values():
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(NotConnected, match="no worker is up"):
            await spawn_until_none_is_up(node)
        await until_all_are_up(node, me)
        await node.workers.spawn(Account)


@pytest.fixture
def parent(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A program with two workers, which prints its own directory and their process ids."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, cwd=ROOT) as parent:
        yield parent
        parent.kill()


PARENT = """
import trio
from enfilade.actors import open_node
async def main():
    async with open_node("parent", workers=2) as node:
        print(node.distribution.address, *node.workers.pids.values(), flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


@pytest.mark.parametrize(
    ("number", "is_stopped"), [(signal.SIGKILL, False), (signal.SIGKILL, True), (signal.SIGINT, False)]
)
def test_no_worker_outlives_its_parent(
    parent: "subprocess.Popen[bytes]", number: int, is_stopped: bool
) -> None:
    """However the parent ends, its workers end too, even a stopped one, and nothing is left on the disk."""
    assert parent.stdout is not None
    address, *pids = parent.stdout.readline().decode().split()
    assert all(is_running(int(pid)) for pid in pids)
    assert Path(address).exists()
    if is_stopped:
        os.kill(int(pids[0]), signal.SIGSTOP)
    parent.send_signal(number)
    parent.wait()
    deadline = time.monotonic() + SECONDS
    while any(is_running(int(pid)) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(is_running(int(pid)) for pid in pids)
    assert not Path(address).parent.exists()


async def test_workers_beside_other_peers(tmp_path: Path) -> None:
    """A node's policy for others stays what it is, and its secret is the workers' as well."""
    same_user = Policy.same_user()
    secret = Policy(rules=same_user.rules, secret=b"only the family knows")
    door = str(tmp_path / "parent.door")
    with trio.fail_after(SECONDS):
        async with open_node("parent", workers=1, listen=door, policy=secret) as node:
            assert node.distribution.address == door
            assert await (await spawn(node)).call(Account.add, 1) == 1
            with pytest.raises(NotAdmitted, match="secret"):
                async with open_node("stranger", policy=same_user) as stranger:
                    await stranger.connect(door)


STRANGER = """
import sys, trio
from enfilade.actors import open_node
from enfilade.transport import Policy
async def main():
    async with open_node(sys.argv[1], policy=Policy.same_user()) as node:
        try:
            print(await node.spawn_on(await node.connect(sys.argv[2]), "tests.transport.subjects:Account"))
        except Exception as error:
            print(error)
trio.run(main)
"""


async def test_what_the_family_may_do_others_may_not(node: Node) -> None:
    """Another process of the same user, whatever it calls itself, reaches neither node; it may only come to
    a worker with a ref, as a sibling does.
    """

    async def answer(name: str, door: str) -> str:
        command = [sys.executable, "-c", STRANGER, name, door]
        done = await trio.run_process(command, capture_stdout=True, cwd=ROOT)
        return done.stdout.decode()

    employers = node.distribution.address
    workers = employers.replace("employer", "parent-worker-1")
    assert "does not admit" in await answer("stranger", employers)
    assert "does not admit" in await answer("parent-worker-2", employers)
    assert "exports no spawn entry" in await answer("parent-worker-2", workers)


async def test_misuse_is_told(node: Node) -> None:
    class Local(Account):
        pass

    for target in (Local, lambda: None, "nothing", "nowhere:at_all", "os:nothing", 3, Account(0)):
        with pytest.raises(ValueError, match="a worker cannot import"):
            await node.workers.spawn(target)
    with pytest.raises(StartError):
        await node.workers.spawn(Account, 1, 2, 3)
    with pytest.raises(UnregisteredType):
        await node.workers.spawn(Account, object())
    with pytest.raises(ValueError, match="workers must be 0 or more, got -1"):
        async with open_node("x", workers=-1):
            pass
    async with open_node("x") as other:
        with pytest.raises(NotConnected, match="open it with `workers=`"):
            _ = other.workers
