"""Group S: how processes of other processes of the operating system are ended, whatever they are doing.

Real workers; the bounds are those of the ladder, and generous: a test fails on what hangs, and not on a slow
machine.
"""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from enfilade.actors import (
    KILL,
    NO_CONNECTION,
    SHUTDOWN,
    Crashed,
    Down,
    Exited,
    Node,
    NodeUp,
    Process,
    ProcessDied,
    Ref,
    multi_call,
    open_node,
)
from enfilade.transport.payload import RemoteError
from tests.transport.subjects import Account, nest

pytestmark = pytest.mark.real

SECONDS = 100.0
"""After which a test is given up."""

BOUND = 30.0
"""Within which whatever is ended must be gone: the ladder's steps, and much for a machine under load."""


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    with trio.fail_after(SECONDS):
        async with open_node("parent", workers=2) as node:
            yield node


def descendants(pid: int) -> list[int]:
    """The processes below a process, zombies included."""
    found: list[int] = []
    # Threads and processes may end while they are looked at.
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                for child in map(int, (task / "children").read_text().split()):
                    found += [child, *descendants(child)]
    return found


async def together(me: Process, children: list[Ref[Account]], linked: trio.Event) -> None:
    """Lives as long as all of its children, and they as long as it."""
    for child in children:
        me.link(child)
    linked.set()
    await trio.sleep_forever()


async def family_of(node: Node, children: list[Ref[Account]]) -> Ref[Any]:
    """One that lives together with the children. What is sent to them from now on comes after the links."""
    linked = trio.Event()
    family = await node.spawn(together, children, linked)
    await linked.wait()
    return family


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what other processes do."""
    while not condition():  # noqa: ASYNC110 (nobody tells of it)
        await trio.sleep(0.05)


async def block(ref: Ref[Account], sign: Path) -> None:
    """Have a process block its worker, and wait until it does."""
    ref.cast(Account.block, 3600, str(sign))
    await until(sign.exists)


async def test_every_error_is_told(node: Node) -> None:
    """Given several children that raise, then each error is told, with its text and its origin."""
    refs = [await node.workers.spawn(Account, balance) for balance in range(4)]
    replies, failures = await multi_call([ref.within(60) for ref in refs], Account.fail_by_number, timeout=60)
    assert not replies
    told = {ref: error.reason.error for ref, error in failures if isinstance(error, ProcessDied)}
    assert {ref: str(error) for ref, error in told.items()} == dict(zip(refs, "0123", strict=True))
    origins = {ref: error.__cause__ for ref, error in told.items()}
    assert all(isinstance(cause, RemoteError) for cause in origins.values())
    assert {ref: cause.origin for ref, cause in origins.items()} == {ref: ref.node_name for ref in refs}


async def test_act_s3_one_failure_ends_all(node: Node) -> None:
    """act-S3: given some children fail, when one ends all, then the others are ended, on every worker."""
    children = [await node.workers.spawn(Account) for _ in range(8)]
    async with node.mailbox() as me:
        family = await family_of(node, children)
        for ref in (family, *children):
            me.monitor(ref)
        for ref in children[:3]:
            ref.cast(Account.fail, "one of some")
        with trio.fail_after(BOUND):
            downs = [await me.receive(Down) for _ in range(9)]
    assert {down.ref for down in downs} == {family, *children}
    reasons = {str(down.reason) for down in downs}
    assert reasons == {"crashed: ValueError('one of some')"}


async def test_act_s3_cancelled_from_above(node: Node) -> None:
    """act-S3: the end of the parent itself takes its children along, those that are at work as well."""
    children = [await node.workers.spawn(Account) for _ in range(8)]
    async with node.mailbox() as me:
        family = await family_of(node, children)
        for ref in children:
            me.monitor(ref)
        for ref in children:
            ref.cast(Account.block, 0.2)
        me.exit(family, SHUTDOWN)
        with trio.fail_after(BOUND):
            assert {(await me.receive(Down)).reason for _ in children} == {SHUTDOWN}


async def test_act_s4_nested_trees_are_reaped(tmp_path: Path) -> None:
    """act-S4: given a nested tree with failures at the leaves, then every level is reaped, no zombies."""
    before = set(descendants(os.getpid()))
    trigger = tmp_path / "fail"
    with trio.fail_after(SECONDS):
        async with open_node("root", workers=1) as node, node.mailbox() as me:
            me.trap_exits = True
            me.link(await node.workers.spawn(nest, 2, str(trigger)))
            await until(lambda: len(list(tmp_path.iterdir())) == 1 + 2)  # each is linked to those below it
            assert len(set(descendants(os.getpid())) - before) == 1 + 2 + 4
            tree = set(descendants(os.getpid())) - before
            await trio.Path(trigger).touch()
            reason = (await me.receive(Exited)).reason
            assert isinstance(reason, Crashed)
            assert "a leaf fails" in str(reason)
            # The worker of the first level lives on: it has failed at nothing. Those below it are gone.
            await until(lambda: set(descendants(os.getpid())) & tree == set(node.workers.pids.values()))
    assert not set(descendants(os.getpid())) & tree


async def test_act_s5_blocked_child_is_killed(node: Node, tmp_path: Path) -> None:
    """act-S5: given a child blocked in a synchronous sleep, when it is killed, then it is gone within the
    bound, and its worker is replaced.
    """
    blocked, neighbour = [await node.workers.spawn(Account) for _ in range(2)]
    async with node.mailbox() as me:
        node.distribution.monitor_nodes(me.ref)
        monitor = me.monitor(blocked)
        await block(blocked, tmp_path / "sign")
        me.exit(blocked, SHUTDOWN)
        with pytest.raises(trio.TooSlowError), trio.fail_after(0.5):
            await me.receive(Down)
        me.exit(blocked, KILL)
        with trio.fail_after(BOUND):
            down = await me.receive(Down)
        assert (down.monitor, down.reason) == (monitor, NO_CONNECTION)
        assert await neighbour.within(60).call(Account.add, 1) == 1
        with trio.fail_after(BOUND):
            while len(node.workers.names) < 2:
                await me.receive(NodeUp)


async def test_act_s5_kill_of_a_child_that_is_not_blocked(node: Node) -> None:
    """act-S5: who answers is not killed along with its process."""
    killed, other = [await node.spawn_on(node.workers.names[0], ENTRY) for _ in range(2)]
    async with node.mailbox() as me:
        me.monitor(killed)
        me.exit(killed, KILL)
        assert (await me.receive(Down)).reason != NO_CONNECTION
        await trio.sleep(3)
    assert await other.within(60).call(Account.add, 1) == 1


ENTRY = "tests.transport.subjects:Account"


async def test_act_s5_blocked_worker_is_ended_with_its_node(tmp_path: Path) -> None:
    """act-S5: given a child blocked in a synchronous sleep, when its node ends, then so does the worker."""
    before = set(descendants(os.getpid()))
    with trio.fail_after(SECONDS):
        async with open_node("parent", workers=1) as node:
            await block(await node.workers.spawn(Account), tmp_path / "sign")
    assert set(descendants(os.getpid())) <= before
