"""Hellos without end: whoever may open the door of a node costs it little, admitted or not."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from enfilade.transport.door_carrier import DoorCarrier
from enfilade.transport.policy import Policy, Rule
from enfilade.transport.rendezvous import Rendezvous
from enfilade.transport.settings import Settings
from tests.transport.model import Recorder

ROOT = Path(__file__).resolve().parents[2]

GREETER = """
import os, signal, sys, trio
from enfilade.transport.carrier import hand_over
from enfilade.transport.door_carrier import DoorCarrier
from enfilade.transport.wire import Hello, encode_batch, encode_frame

async def main(path, count):
    carrier = DoorCarrier()
    inlet = carrier.inlet(capacity=1 << 20, largest=1 << 20)
    meeting = await carrier.open(path)
    for number in range(count):
        hello = Hello(1, 1, f"node-{number}", "z", number, 1 << 20, 1000.0)
        while await hand_over(meeting, encode_batch(0, 0, [encode_frame(hello)]), (inlet.handle,)) == 1:
            await trio.sleep(0.01)
        if number == count // 2:
            print("half", flush=True)
            await trio.sleep(0.1)
    print("said", flush=True)
    await trio.sleep_forever()

trio.run(main, sys.argv[1], int(sys.argv[2]))
"""
"""Says Hello under ever new names, with one inlet of which nothing is ever taken."""

KEEPER = """
import sys, trio
from enfilade.transport.carrier import hand_over
from enfilade.transport.door_carrier import DoorCarrier
from enfilade.transport.wire import Hello, encode_batch, encode_frame

async def main(path, count):
    carrier = DoorCarrier()
    meeting = await carrier.open(path)
    kept = []
    for number in range(count):
        inlet = carrier.inlet(capacity=1 << 20, largest=1 << 20)
        hello = Hello(1, 1, f"node-{number}", "z", number, 1 << 20, 1000.0)
        while await hand_over(meeting, encode_batch(0, 0, [encode_frame(hello)]), (inlet.handle,)) == 1:
            await trio.sleep(0.01)
        for arrival in await inlet.receive():
            kept += arrival.handles
        inlet.close()
    print(len(kept), flush=True)
    await trio.sleep_forever()

trio.run(main, sys.argv[1], int(sys.argv[2]))
"""
"""Begins handshakes, gives each up when the answer has come, and keeps the inlet that came with it."""


def descriptors_and_threads() -> tuple[int, int]:
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))


def resident() -> int:
    """KiB of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024


async def until_closed(descriptors: int) -> int:
    """Wait until no more are open than before; return how many are. Threads of doors close some of them."""
    while (now := descriptors_and_threads()[0]) > descriptors:  # noqa: ASYNC110 - nobody tells of that
        await trio.sleep(0.01)
    return now


@pytest.fixture
def greeter(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    program = [sys.executable, "-c", GREETER, str(tmp_path / "door"), "1500"]
    with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    program = [sys.executable, "-c", KEEPER, str(tmp_path / "door"), "50"]
    with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


MOST_DESCRIPTORS = 550
"""64 that wait at the door, 128 callers of a user, nine for each of 24 handshakes, and some of the 256 of a
process that are being closed; how many of them there are at a time depends on who has a processor.
"""


@pytest.mark.parametrize(
    ("policy", "threads"),
    [
        pytest.param(Policy(rules=[]), 36, id="admitted_by_nobody"),
        pytest.param(Policy(rules=[Rule()]), 56, id="admitted_and_silent"),
        pytest.param(Policy(rules=[Rule()], secret=b"x"), 36, id="without_the_secret"),
    ],
)
async def test_hellos_are_bounded(
    tmp_path: Path, request: pytest.FixtureRequest, policy: Policy, threads: int
) -> None:
    """1,500 Hellos of one user, whose sender hears no answer: few descriptors and threads, and none stays.
    (Of the threads, 16 close descriptors for all peers.)
    """
    recorder = Recorder()
    settings = Settings(handshake=1.0)
    memory = resident()
    rendezvous = Rendezvous(
        DoorCarrier(), name="b", zone="z", incarnation=1, policy=policy, host=recorder, settings=settings
    )
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery, rendezvous.open([str(tmp_path / "door")], nursery):
            before = descriptors_and_threads()
            process = request.getfixturevalue("greeter")
            highest = before
            said = False

            async def listen() -> None:
                nonlocal said
                await trio.to_thread.run_sync(process.stdout.readline)
                await trio.to_thread.run_sync(process.stdout.readline)
                said = True

            async with trio.open_nursery() as inner:
                inner.start_soon(listen)
                while not said or rendezvous.handshakes:
                    now = descriptors_and_threads()
                    highest = max(highest[0], now[0]), max(highest[1], now[1])
                    await trio.sleep(0.01)
            assert highest[0] - before[0] <= MOST_DESCRIPTORS
            assert highest[1] - before[1] <= threads
            assert not recorder.up
            assert recorder.refused
            grown = resident() - memory
            nursery.cancel_scope.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
        after = await until_closed(before[0])
    print(
        f"descriptors {before[0]}, {highest[0]} at most, {after} in the end; threads"
        f" {before[1]}, {highest[1]} at most; {grown} KiB more"
    )


async def test_inlets_that_a_caller_keeps(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """What the caller of a handshake keeps of it after its end costs the node no descriptor."""
    rendezvous = Rendezvous(
        DoorCarrier(),
        name="b",
        zone="z",
        incarnation=1,
        policy=Policy(rules=[Rule()]),
        host=Recorder(),
        settings=Settings(handshake=1.0),
    )
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery, rendezvous.open([str(tmp_path / "door")], nursery):
            before = descriptors_and_threads()[0]
            process = request.getfixturevalue("keeper")
            assert await trio.to_thread.run_sync(process.stdout.readline) == b"50\n"
            await until_closed(before + 8)  # what the caller's connections to the door cost
            nursery.cancel_scope.cancel()
