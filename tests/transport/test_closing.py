"""Descriptors whose closing waits for others: sockets that linger, files of a file system that is silent."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from enfilade.actors import open_node
from enfilade.transport import Policy, closing, memory_file
from enfilade.transport.carrier import Credentials, Status
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.wire import Send, encode_batch, encode_frame
from tests.conformance.actors.town import Account
from tests.transport.hostile_files import Lingering, SilentFileSystem, is_open, within
from tests.transport.stranger import Stranger, payload

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

SHARE = 16
"""Descriptors that one process may leave to be closed when one of its threads is stuck."""

MALLORY, ALICE = (Credentials(pid=pid, uid=os.geteuid(), gid=os.getegid()) for pid in (111, 222))


@pytest.fixture(autouse=True)
def settled() -> Iterator[None]:
    """Nothing is left to be closed when a test has ended: this is set up first, and looks last."""
    yield
    assert within(20, closing.is_settled)


Make = Callable[[], Lingering]


@pytest.fixture
def linger(settled: None) -> Iterator[Make]:
    """Make sockets that linger until the test has ended."""
    with ExitStack() as stack:

        def make() -> Lingering:
            one = Lingering()
            stack.callback(one.let_go)
            return one

        yield make


def close_for(payer: Credentials, descriptor: int) -> None:
    closing.charge([descriptor], payer)
    closing.close(descriptor)


def test_a_socket_that_lingers_holds_nobody(linger: Make) -> None:
    """The close returns, the descriptor is closed when its other end lets it be."""
    lingering = linger()
    closing.close(lingering.fileno)
    assert not closing.is_settled()  # and yet we are here
    lingering.let_go()
    assert within(20, closing.is_settled)
    assert not is_open(lingering.fileno)


def test_a_file_of_a_silent_file_system_holds_nobody(settled: None, tmp_path: Path) -> None:
    path = tmp_path / "silent"
    path.touch()
    try:
        system = SilentFileSystem(str(path))
    except OSError as error:
        pytest.skip(f"there is no file system in user space here: {error}")
    try:
        close_for(MALLORY, system.open(str(path)))
        quick = os.dup(0)
        close_for(MALLORY, quick)
        assert within(20, lambda: not is_open(quick))
        assert not closing.is_settled()
    finally:
        system.end()
    assert within(20, closing.is_settled)


def test_a_memory_file_is_closed_at_once() -> None:
    """It asks nobody, so it takes no thread."""
    memory = memory_file.create(bytes(100))
    closing.close(memory)
    assert not is_open(memory)


def test_one_process_uses_up_its_own_share_alone(linger: Make) -> None:
    """Its threads and its share; another process of the same user has its own."""
    before = len(os.listdir("/proc/self/task"))
    for _ in range(SHARE):
        assert not closing.is_behind(MALLORY)
        close_for(MALLORY, linger().fileno)
    assert within(20, lambda: closing.is_behind(MALLORY))
    assert not closing.is_behind(ALICE)
    assert closing.refuses([-5, 0], MALLORY)
    assert not closing.refuses([-5], MALLORY)  # what is no descriptor needs no closing
    assert not closing.refuses([-5, 0], ALICE)
    assert len(os.listdir("/proc/self/task")) <= before + 2
    quick = os.dup(0)
    close_for(ALICE, quick)
    assert within(20, lambda: not is_open(quick))


def test_a_descriptor_that_was_taken_is_charged_to_nobody(linger: Make) -> None:
    """Its number may be another file's by the time that it is closed."""
    for _ in range(SHARE):
        lingering = linger()
        closing.charge([lingering.fileno], MALLORY)
        closing.disown(lingering.fileno)
        closing.close(lingering.fileno)
    time.sleep(0.3)  # longer than it takes to be behind
    assert not closing.is_behind(MALLORY)


async def test_peers_are_served_while_descriptors_cannot_be_closed(linger: Make) -> None:
    """An admitted peer sends what nobody can close: others go on, and at its end it loses its node link."""
    network = MemoryNetwork()
    policy = Policy.same_user(exports="account")
    async with (
        open_node("b", zone="right", carrier=network.carrier("b"), listen="/b", policy=policy) as node,
        open_node("c", carrier=network.carrier("c"), policy=Policy.same_user()) as bystander,
    ):
        await bystander.connect("/b")
        await node.spawn(Account, 10, name="account")
        account = bystander.remote("account", "b@right")
        mallory = Stranger(network.carrier("mallory", MALLORY))
        await mallory.connect("/b")
        sends = Send("nobody", payload(None), 1)
        batch = encode_frame(sends)
        for number in range(SHARE):
            lingering = linger()
            assert (
                mallory.outlet.start(encode_batch(mallory.sequence, 0, [batch]), [lingering.fileno])
                is Status.ACCEPTED
            )
            os.close(lingering.fileno)  # before anybody else has a turn: the node has the last one
            mallory.sequence += 1
            with trio.fail_after(20):
                assert await account.call(Account.give, number) == number
        with trio.fail_after(20):
            while not closing.is_behind(MALLORY):  # noqa: ASYNC110 - threads and the kernel decide
                await trio.sleep(0.01)
        with Path(os.devnull).open() as file:  # noqa: ASYNC230 - opens at once
            await mallory.throw(sends, handles=[file.fileno()])
            assert mallory.is_cut_off
            with trio.fail_after(20):
                assert len(await account.call(Account.give, bytes(200_000))) == 200_000  # a memory file
            alice = Stranger(network.carrier("alice", ALICE), "alice@wild")
            await alice.connect("/b")
            await alice.throw(sends, handles=[file.fileno()])
            await wait_all_tasks_blocked()
            assert not alice.is_cut_off
        for stranger in (mallory, alice):
            stranger.close()


def test_a_forked_child_has_threads_of_its_own() -> None:
    closing.close(os.dup(0))
    assert within(20, closing.is_settled)
    pid = os.fork()
    if pid == 0:
        try:
            file = os.dup(0)
            closing.close(file)
            os._exit(0 if within(20, lambda: not is_open(file)) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
