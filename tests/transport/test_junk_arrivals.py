"""Whoever may open the door of a node comes with rubbish and goes, thousands of times.

Each time costs the node some processor time and a line of the log a second at most. Descriptors, threads and
memory are as before when the stranger has gone, and bounded meanwhile; a peer that is connected is served.
"""

import gc
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from enfilade.actors import Actor, open_node
from enfilade.transport import Policy
from enfilade.transport.door_carrier import DoorCarrier
from tests.descriptors import open_descriptors

ROOT = Path(__file__).resolve().parents[2]
STRANGER = 65534 if os.geteuid() == 0 else -1
ARRIVALS = 2_000
MEBIBYTE = 1 << 20
SECONDS = 60.0

VISITOR = """
import contextlib, os, random, socket, struct, sys
from enfilade.transport.doors import Client, DoorError
from enfilade.transport.wire import PREFIX, Hello, encode_batch, encode_frame
path, user, count, kind = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
if user >= 0:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
dice = random.Random(count)
HEADER = struct.Struct("<IHHQQIi32x")
files = [os.open(os.devnull, os.O_RDWR), os.memfd_create("junk"), *os.pipe()]

def connect():
    one = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    one.connect(path)
    return one

def come_and_go():
    connect().close()

def send_noise():
    with connect() as one:
        for _ in range(3):
            one.send(dice.randbytes(dice.randrange(1, 5000)))

def send_datagrams():
    with connect() as one:
        for _ in range(3):
            kind, many = dice.randrange(16), dice.randrange(5)
            header = HEADER.pack(0x524F4F44, 1, kind, dice.getrandbits(64), dice.getrandbits(64), many, 0)
            socket.send_fds(one, [header], files[:many])

def call_with_noise():
    with Client.open(path) as client:
        client.call(dice.randbytes(dice.randrange(3000))).close()

def call_with_half_a_batch():
    with Client.open(path) as client:
        client.call(PREFIX + dice.randbytes(dice.randrange(3000))).close()

def say_hello_wrongly():
    hello = encode_frame(Hello(1, 1, "n" * dice.randrange(300), "z", dice.getrandbits(63), 1 << 20, 1.0))
    with Client.open(path) as client:
        client.call(encode_batch(0, 0, [hello])[: dice.randrange(20, 400)]).close()

for number in range(count):
    with contextlib.suppress(OSError):  # as when it is turned away
        globals()[kind]()
    if number == count // 2:
        print("half", flush=True)
print("done", flush=True)
"""


class Echo(Actor):
    def echo(self, value: int) -> int:
        return value


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


OUTLETS = 2
CHANNEL_FILES = 2
"""The outlets of the peers. Each starts its thread with the first call that has to wait, whenever that is;
and a thread that calls has a channel of so many descriptors.
"""


def wait_until_as_before(files: int, tasks: int) -> None:
    """Wait for the threads that serve doors, each of which leaves when it has been idle for a while."""
    tasks += 1 + OUTLETS  # this one
    files += CHANNEL_FILES * OUTLETS
    end = time.monotonic() + SECONDS
    while (len(open_descriptors()) > files or threads() > tasks) and time.monotonic() < end:
        time.sleep(0.05)
    assert len(open_descriptors()) <= files
    assert threads() <= tasks


def start_program(program: list[str]) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".packaging")}
    return subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, env=environment)


@pytest.fixture
def path() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        yield f"{directory}/door"


@pytest.mark.real
@pytest.mark.parametrize(
    "kind",
    [
        "come_and_go",
        "send_noise",
        "send_datagrams",
        "call_with_noise",
        "call_with_half_a_batch",
        "say_hello_wrongly",
    ],
)
async def test_junk_arrivals_cost_little(path: str, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is left of thousands of visits, and a peer is served all the while."""
    policy = Policy.same_user(exports="*")
    with trio.fail_after(240):
        async with (
            open_node("host", listen=path, carrier=DoorCarrier(mode=0o666), policy=policy) as host,
            open_node("guest", policy=policy) as guest,
        ):
            await host.spawn(Echo, name="echo")
            await guest.connect(path)
            echo = guest.remote("echo", host.full_name).within(60)
            assert await echo.call(Echo.echo, 0) == 0
            gc.collect()
            files, tasks, memory = len(open_descriptors()), threads(), resident()
            most_files, most_tasks, asked = files, tasks, 0
            begun = os.times()
            program = [sys.executable, "-c", VISITOR, path, str(STRANGER), str(ARRIVALS), kind]
            with start_program(program) as visitor:
                assert visitor.stdout is not None
                while visitor.poll() is None:
                    asked += 1
                    assert await echo.call(Echo.echo, asked) == asked
                    most_files = max(most_files, len(os.listdir("/proc/self/fd")))
                    most_tasks = max(most_tasks, threads())
                    await trio.sleep(0.01)
                assert visitor.stdout.read() == b"half\ndone\n"
            spent = sum(os.times()[:2]) - sum(begun[:2])
            await trio.to_thread.run_sync(wait_until_as_before, files, tasks)
            gc.collect()
            grown = resident() - memory
            print(
                f"{kind}: files {files}, {most_files} at most; threads {tasks}, {most_tasks} at most;"
                f" {grown / 1024:.0f} KiB more; {spent / ARRIVALS * 1e6:.0f} us each; {asked} calls;"
                f" {len(caplog.records)} lines"
            )
            assert most_files - files <= 200
            assert most_tasks - tasks <= 40
            assert grown < 16 * MEBIBYTE
            assert await echo.call(Echo.echo, -1) == -1
            assert len(caplog.records) < 100
