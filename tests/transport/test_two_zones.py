"""Two nodes in two processes, each in namespaces of its own where the machine allows that, through doors.

Where it does not, the processes share our namespaces; the test's header says which was the case.
"""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from enfilade.actors import (
    NO_CONNECTION,
    Crashed,
    Down,
    Exited,
    Node,
    NodeDown,
    NotConnected,
    ProcessDied,
    Ref,
    open_node,
)
from enfilade.transport import FileDescriptor, Policy, Settings, namespaces
from enfilade.transport.carrier import CarrierError
from enfilade.transport.doors import Client
from tests.transport.subjects import Account

pytestmark = pytest.mark.zones

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 100.0
"""After which a test is given up."""

PERIOD = 10 * SECONDS
"""So long that silence tells of no end, but where a zone is given a period of its own."""


class Zone:
    """A node in a process of its own."""

    def __init__(self, path: Path, name: str, period: float = PERIOD) -> None:
        self.path = str(path / f"{name}.door")
        self.name = f"{name}@z"
        program = [sys.executable, "-m", "tests.transport.subjects", self.path, name, str(period)]
        self.process = subprocess.Popen(
            namespaces.command(program), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    async def ready(self) -> None:
        assert self.process.stdout is not None
        line = await trio.to_thread.run_sync(self.process.stdout.readline)
        assert line == b"ready\n"

    def members(self) -> list[int]:
        """The process that runs the node, and what started it."""
        found = [self.process.pid]
        for pid in found:
            children = Path(f"/proc/{pid}/task/{pid}/children")
            found += [int(child) for child in children.read_text().split()] if children.exists() else []
        return found

    def signal(self, number: int) -> None:
        for pid in reversed(self.members()):
            os.kill(pid, number)

    def end(self) -> None:
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
        self.process.wait(SECONDS)
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Zone]]:
    zones: list[Zone] = []

    def make(name: str, **options: Any) -> Zone:
        zones.append(Zone(tmp_path, name, **options))
        return zones[-1]

    yield make
    for zone in zones:
        zone.end()


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    with trio.fail_after(SECONDS):
        async with open_node(
            "test",
            zone="here",
            listen=str(tmp_path / "test.door"),
            policy=Policy.same_user(exports="*"),
            settings=Settings(period=PERIOD, handshake=SECONDS),
        ) as node:
            yield node
    assert not (tmp_path / "test.door").exists()


async def test_call_cast_send_by_name_and_by_ref(node: Node, start: Callable[..., Zone]) -> None:
    zone = start("bank")
    await zone.ready()
    peer = await node.connect(zone.path)
    assert peer == zone.name
    by_name: Ref[Account] = node.remote("account", peer)
    assert await by_name.call(Account.add, 5) == 15
    ref = await node.whereis_on(peer, "account")
    assert ref is not None
    ref.cast(Account.add, 1)
    ref.send({"hello": [1, 2, (3,)]})
    by_name.send("again")
    assert await ref.call(Account.add, 0) == 16
    assert await ref.call(Account.history) == [{"hello": [1, 2, (3,)]}, "again"]
    pid, pid_namespace = await ref.call(Account.identity)
    if "pid" in namespaces.available():
        assert pid_namespace != os.readlink("/proc/self/ns/pid")
        assert pid == 1
    with pytest.raises(ProcessDied) as caught:
        await ref.call(Account.fail, "boom")
    assert isinstance(caught.value.reason, Crashed)


async def test_act_s20_kill_of_the_peer_node(node: Node, start: Callable[..., Zone]) -> None:
    """act-S20 with a real SIGKILL: monitors and links fire with no connection, at once, and calls fail."""
    zone = start("bank")
    await zone.ready()
    peer = await node.connect(zone.path)
    ref = await node.spawn_on(peer, "Account", 1)
    async with node.mailbox() as me:
        me.trap_exits = True
        node.distribution.monitor_nodes(me.ref)
        monitor = me.monitor(ref)
        me.link(ref)
        assert await ref.call(Account.add, 1) == 2
        zone.signal(signal.SIGKILL)
        down = await me.receive(Down)  # the door tells; the silence would take longer than the test may
        assert (down.monitor, down.reason) == (monitor, NO_CONNECTION)
        assert await me.receive(Exited) == Exited(ref, NO_CONNECTION)
        assert (await me.receive(NodeDown)).name == peer
        with pytest.raises(NotConnected):
            await ref.call(Account.add, 1)


async def test_act_s21_stopped_peer(node: Node, start: Callable[..., Zone]) -> None:
    """act-S21 with a real SIGSTOP: its silence tells, and this node is not held up meanwhile. After how long
    tests of the link in virtual time say.
    """
    zone = start("bank", period=3.0)
    await zone.ready()
    peer = await node.connect(zone.path)
    ref = await node.spawn_on(peer, "Account", 1)
    home = await node.spawn(Account)
    async with node.mailbox() as me:
        me.monitor(ref)
        assert await ref.call(Account.add, 1) == 2
        zone.signal(signal.SIGSTOP)
        for _ in range(1000):
            ref.cast(Account.add, 1)
        assert await home.call(Account.add, 1) == 1
        assert (await me.receive(Down)).reason == NO_CONNECTION
        zone.signal(signal.SIGCONT)


async def test_act_s26_restarted_zone(node: Node, start: Callable[..., Zone]) -> None:
    """act-S26 with real processes: the name comes back, old refs do not."""
    zone = start("bank")
    await zone.ready()
    peer = await node.connect(zone.path)
    old = await node.whereis_on(peer, "account")
    assert old is not None
    zone.end()
    again = start("bank")
    await again.ready()
    assert await node.connect(again.path) == peer
    with pytest.raises(Exception, match="no process"):
        await old.call(Account.add, 1)
    assert await node.remote("account", peer).call(Account.add, 0) == 10


async def test_keep_connected(node: Node, start: Callable[..., Zone]) -> None:
    zone = start("bank")
    await zone.ready()
    async with node.mailbox() as me:
        node.distribution.monitor_nodes(me.ref)
        node.distribution.keep_connected(zone.path)
        assert (await me.receive()).name == zone.name
        zone.end()
        assert isinstance(await me.receive(), NodeDown)
        again = start("bank")
        await again.ready()
        assert (await me.receive()).name == zone.name
        assert await node.remote("account", zone.name).call(Account.add, 1) == 11


async def test_a_monitor_from_a_zone_on_this_node(node: Node, start: Callable[..., Zone]) -> None:
    """The other way round: their process watches ours."""
    zone = start("bank")
    await zone.ready()
    peer = await node.connect(zone.path)
    victim = await node.spawn(Account)
    async with node.mailbox() as me:
        node.remote("watcher", peer).send((victim, me.ref))
        assert await me.receive() == "watching"
        victim.cast(Account.fail, "gone")
        reason = await me.receive()
        assert isinstance(reason, Crashed)
        assert str(reason.error) == "gone"


async def test_two_zones_talk_to_each_other_on_demand(node: Node, start: Callable[..., Zone]) -> None:
    """A ref passed on to a third node is used there: the two connect by themselves."""
    left, right = start("left"), start("right")
    await left.ready()
    await right.ready()
    await node.connect(left.path)
    await node.connect(right.path)
    victim = await node.spawn_on(right.name, "Account")
    async with node.mailbox() as me:
        node.remote("watcher", left.name).send((victim, me.ref))
        assert await me.receive() == "watching"
        right.signal(signal.SIGKILL)
        assert await me.receive() == NO_CONNECTION


@pytest.mark.parametrize("size", [0, 1, 1000, 64 * 1024, 1024 * 1024, 16 * 1024 * 1024])
async def test_payloads_of_all_sizes(node: Node, start: Callable[..., Zone], size: int) -> None:
    zone = start("bank")
    await zone.ready()
    peer = await node.connect(zone.path)
    data = os.urandom(size)
    ref = node.remote("account", peer).within(30)
    assert await ref.call(Account.give, data) == data


async def test_file_descriptors_travel(node: Node, start: Callable[..., Zone], tmp_path: Path) -> None:
    zone = start("bank")
    await zone.ready()
    peer = await node.connect(zone.path)
    ref = node.remote("account", peer)
    (tmp_path / "text").write_bytes(b"from far away")
    opened = 0
    for turn in range(20):
        file = os.open(tmp_path / "text", os.O_RDONLY)
        reading = ref.call(Account.read, FileDescriptor(file))
        assert await reading == b"from far away"
        os.close(file)
        if turn == 0:  # both sides have opened what they call by, with descriptors and without
            opened = await ref.call(Account.open_files)
    while await ref.call(Account.open_files) > opened + 1:  # noqa: ASYNC110 (the library tells nobody)
        await trio.sleep(0.05)


async def test_act_s22_nonsense_at_the_door(node: Node, start: Callable[..., Zone]) -> None:
    """act-S22: nonsense gets an answer at once, and the node lives on."""
    zone = start("bank")
    await zone.ready()
    with Client.open(zone.path) as client:
        for nonsense in (b"", b"hello?", b"ENF", b"x" * 60_000, b"ENF\x01" + b"\xc1" * 50, b"ENF\x01"):
            with client.call(nonsense) as reply:
                status = int.from_bytes(reply.data, sys.byteorder)
                assert status == (0 if nonsense.startswith(b"ENF\x01") else 3)
    peer = await node.connect(zone.path)
    assert await node.remote("account", peer).call(Account.add, 1) == 11


async def test_no_node_at_the_address(node: Node, tmp_path: Path) -> None:
    with pytest.raises(CarrierError, match="nowhere"):
        await node.connect(str(tmp_path / "nowhere.door"))
    plain = tmp_path / "plain"
    plain.write_text("no door")
    with pytest.raises(CarrierError, match="plain"):
        await node.connect(str(plain))


async def test_a_name_in_use_is_refused_and_a_dead_one_taken_over(
    node: Node, start: Callable[..., Zone]
) -> None:
    zone = start("bank")
    await zone.ready()
    with pytest.raises(CarrierError, match=r"bank\.door"):
        async with open_node("second", listen=zone.path):
            pass
    zone.end()
    async with open_node("second", listen=zone.path, policy=Policy.same_user(exports="*")) as second:
        await second.spawn(Account, name="account")
        assert await node.connect(zone.path) == "second@local"


async def test_no_descriptor_is_left(node: Node, start: Callable[..., Zone]) -> None:
    """Connecting and losing a peer, again and again, leaves nothing open."""
    zone = start("bank")
    await zone.ready()

    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    async def connect_and_lose(times: int) -> None:
        for _ in range(times):
            peer = await node.connect(zone.path)
            await node.remote("account", peer).call(Account.add, 1)
            node.distribution.disconnect(peer)

    await connect_and_lose(3)
    before = count()
    while True:  # the library closes its ends in its own time, and tells nobody
        await trio.sleep(0.1)
        if (now := count()) >= before:
            break
        before = now
    await connect_and_lose(12)
    with trio.move_on_after(60):
        while count() > before + 6:  # noqa: ASYNC110 (as above)
            await trio.sleep(0.1)
    assert count() <= before + 6  # less than one for every second connection


async def test_a_node_that_stops_in_order_says_goodbye(node: Node, start: Callable[..., Zone]) -> None:
    """A node that stops in order says so."""
    zone = start("bank")
    await zone.ready()
    await node.connect(zone.path)
    async with node.mailbox() as me:
        node.distribution.monitor_nodes(me.ref)
        assert zone.process.stdin is not None
        zone.process.stdin.close()
        down = await me.receive(NodeDown)
        assert "goodbye" in down.reason
    await trio.to_thread.run_sync(zone.process.wait)
    assert not await trio.Path(zone.path).exists()
