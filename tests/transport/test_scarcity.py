"""What a node does when its machine has nothing left to give: no disk, no descriptors."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from enfilade.actors import CallError, Node, NotConnected, open_node
from enfilade.transport import HandshakeFailed, NotAdmitted, Policy, Settings, namespaces
from enfilade.transport.carrier import CarrierError, Inlet
from enfilade.transport.memory_carrier import MemoryNetwork
from tests.transport.havoc import Agent, Hoard
from tests.transport.model import Station
from tests.transport.test_havoc import PERIOD, Process

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120.0


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    with trio.fail_after(SECONDS):
        settings = Settings(period=PERIOD, handshake=PERIOD)
        async with open_node("judge", zone="z", policy=Policy.same_user(), settings=settings) as node:
            yield node


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[Process]:
    process = Process(tmp_path, "a")
    try:
        await process.ready()
        yield process
    finally:
        process.end()


async def test_a_node_without_descriptors_lives(node: Node, process: Process) -> None:
    """Who has a node link keeps it and is served; who calls is turned away, or hears nothing, in a bounded
    time; and when there are descriptors again, all is well again.
    """
    await node.connect(process.path)
    agent = node.remote("agent", process.name).within(10)
    assert await agent.call(Agent.echo, 0) == 0
    await agent.call(Agent.starve, 0, 5 * PERIOD)
    assert await agent.call(Agent.echo, 1) == 1
    with suppress(CallError):
        # So many bytes travel as a memory file. What there is no descriptor for is lost, and told of, or the
        # node link is; but the doors may have given one back in the meantime.
        await agent.within(2 * PERIOD).call(Agent.give, 1, b"x" * 10**6)
    settings = Settings(handshake=PERIOD)
    async with open_node("late", zone="z", policy=Policy.same_user(), settings=settings) as late:
        with suppress(HandshakeFailed, CarrierError, NotAdmitted):  # as the other has one left, or none
            await late.connect(process.path)
        for one in (late, node):
            # What goes wrong as long as there are no descriptors may end a node link a little later.
            answer = None
            while answer is None:
                with suppress(CallError, NotConnected, HandshakeFailed, CarrierError):
                    await one.connect(process.path)
                    agent = one.remote("agent", process.name).within(10)
                    answer = await agent.call(Agent.give, 1, b"x" * 10**6)
                await trio.sleep(0.1)
            assert answer == (1, b"x" * 10**6)


async def test_a_caller_without_descriptors_is_told(node: Node, process: Process) -> None:
    """Whatever needs a descriptor raises where it was asked for, and harms nothing else."""
    await node.connect(process.path)
    agent = node.remote("agent", process.name).within(10)
    assert await agent.call(Agent.echo, 0) == 0
    hoard = Hoard()
    hoard.take_all_but(0)
    try:
        with pytest.raises(OSError, match="Too many open files"):
            agent.send(b"x" * 10**6)
        with pytest.raises(OSError, match="Too many open files"):
            await agent.call(Agent.give, 1, b"x" * 10**6)
        with pytest.raises(CarrierError):
            await node.connect(process.path.replace("a.door", "b.door"))
        with pytest.raises(OSError, match="Too many open files"):
            async with open_node("another", listen=process.path.replace("a.door", "c.door")):
                pass
        assert await agent.call(Agent.echo, 1) == 1
    finally:
        hoard.release()
    assert await agent.call(Agent.give, 1, b"x" * 10**6) == (1, b"x" * 10**6)


async def test_nothing_left_to_answer_with(autojump_clock: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller to whom no inlet can be given calls in vain, and the next one does not."""
    network = MemoryNetwork()
    a, b = Station(network, "a"), Station(network, "b")
    async with trio.open_nursery() as nursery:
        await nursery.start(a.run, "/a")
        await nursery.start(b.run, "/b")

        def refuse(**_: int) -> Inlet:
            raise CarrierError(24, "failed to make a door: Too many open files")

        with monkeypatch.context() as patch:
            patch.setattr(b.carrier, "inlet", refuse)
            with pytest.raises(HandshakeFailed):
                await a.rendezvous.connect("/b")
        assert b.host.refused[0].startswith("the handshake of ")
        assert (await a.rendezvous.connect("/b")).name == "b"
        nursery.cancel_scope.cancel()


FULL_DISK = """
import os, sys, trio
from enfilade.actors import Actor, open_node
from enfilade.transport import Policy
from enfilade.transport.carrier import CarrierError, Inlet
from enfilade.transport.memory_carrier import MemoryNetwork
class Echo(Actor):
    def echo(self, value: int) -> int:
        return value
async def main(directory):
    policy = Policy.same_user(exports="*")
    async with open_node("first", listen=directory + "/first.door", policy=policy) as first:
        await first.spawn(Echo, name="echo")
        number = 0
        try:
            while True:
                open(f"{directory}/{number}", "wb").write(bytes(4096))
                number += 1
        except OSError:
            print("full after", number)
        try:
            async with open_node("second", listen=directory + "/second.door"):
                print("attached")
        except CarrierError as error:
            print("refused:", error)
        async with open_node("third", policy=Policy.same_user()) as third:
            peer = await third.connect(directory + "/first.door")
            print("answered", await third.remote("echo", peer).call(Echo.echo, 5))
        for name in range(number):
            os.unlink(f"{directory}/{name}")
        async with open_node("second", listen=directory + "/second.door"):
            print("attached")
    print(sorted(name for name in os.listdir(directory) if "door" in name))
trio.run(main, sys.argv[1])
"""


@pytest.mark.zones
@pytest.mark.skipif("mount" not in namespaces.available(), reason="no mount namespace can be made here")
def test_a_full_disk_at_the_rendezvous(tmp_path: Path) -> None:
    """A node that cannot be found says so, and why; those that can be are not harmed; nothing is left."""
    program = tmp_path / "program.py"
    program.write_text(FULL_DISK)
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f"mount -t tmpfs -o size=64k,nr_inodes=8 none {disk} && exec {sys.executable} {program} {disk}"
    done = subprocess.run(
        namespaces.command(["sh", "-c", script]),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("full after")
    assert "second.door" in lines[1]
    assert "No space left on device" in lines[1]
    assert lines[2:] == ["answered 5", "attached", "[]"]
