"""The inbound queue in C and the thread that calls it, through doors, inside one process and across two."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from enfilade.transport.carrier import CarrierError, Inlet, Status, hand_over
from enfilade.transport.door_carrier import DoorCarrier
from enfilade.transport.doors import Client, Descriptor, DoorCallError
from enfilade.transport.wire import PREFIX
from tests.descriptors import open_descriptors

SECONDS = 100.0
BATCH = PREFIX + b"x" * 60


@pytest.fixture
def carrier() -> DoorCarrier:
    return DoorCarrier()


@pytest.fixture
async def inlet(carrier: DoorCarrier, tmp_path: Path) -> Iterator[Inlet]:
    inlet = carrier.inlet(capacity=1000, largest=500)
    await inlet.attach(str(tmp_path / "door"))
    with trio.fail_after(SECONDS):
        yield inlet
    inlet.close()


async def test_a_batch_arrives_with_the_callers_credentials(
    carrier: DoorCarrier, inlet: Inlet, tmp_path: Path
) -> None:
    outlet = await carrier.open(str(tmp_path / "door"))
    assert await hand_over(outlet, BATCH) is Status.ACCEPTED
    (arrival,) = await inlet.receive()
    assert arrival.data == BATCH
    credentials = arrival.credentials
    assert (credentials.pid, credentials.uid, credentials.gid) == (os.getpid(), os.geteuid(), os.getegid())
    assert credentials.groups <= set(os.getgroups()) | {os.getegid()}
    outlet.close()


async def test_order_and_limits(carrier: DoorCarrier, inlet: Inlet, tmp_path: Path) -> None:
    outlet = await carrier.open(str(tmp_path / "door"))
    batches = [PREFIX + bytes([number]) * 96 for number in range(12)]
    statuses = [await hand_over(outlet, batch) for batch in batches]
    assert statuses == [Status.ACCEPTED] * 10 + [Status.FULL] * 2
    assert [arrival.data for arrival in await inlet.receive()] == batches[:10]
    assert await hand_over(outlet, batches[10]) is Status.ACCEPTED
    assert await hand_over(outlet, PREFIX + b"x" * 497) is Status.MALFORMED
    assert await hand_over(outlet, PREFIX + b"x" * 496) is Status.ACCEPTED
    outlet.close()


@pytest.mark.parametrize("nonsense", [b"", b"E", b"ENF\x02abc", b"\0" * 400])
async def test_nonsense_is_told_both_sides_and_leaves_one_notice(
    inlet: Inlet, tmp_path: Path, nonsense: bytes
) -> None:
    with Client.open(tmp_path / "door") as client:
        for _ in range(100):
            assert int.from_bytes(client.call_with_data(nonsense), sys.byteorder) == Status.MALFORMED
    (notice,) = await inlet.receive()
    assert notice.data == b""
    assert notice.credentials.pid == os.getpid()


async def test_descriptors_arrive_or_are_closed(carrier: DoorCarrier, inlet: Inlet, tmp_path: Path) -> None:
    outlet = await carrier.open(str(tmp_path / "door"))
    left, right = os.pipe()
    assert await hand_over(outlet, BATCH, (left, right)) is Status.ACCEPTED
    (arrival,) = await inlet.receive()
    assert not os.get_inheritable(arrival.handles[0])
    os.write(arrival.handles[1], b"hi")
    assert os.read(left, 2) == b"hi"
    for handle in arrival.handles:
        carrier.discard(handle)
    before = len(open_descriptors())
    with Client.open(tmp_path / "door") as client:
        client.call(b"nonsense", [Descriptor(left), Descriptor(right)]).close()
    for _ in range(20):
        await hand_over(outlet, PREFIX + b"x" * 96, (left, right))
    for arrival in await inlet.receive():
        for handle in arrival.handles:
            carrier.discard(handle)
    with trio.fail_after(SECONDS):
        while len(open_descriptors()) > before:  # noqa: ASYNC110 (the library tells nobody)
            await trio.sleep(0.01)  # the door closes its end of a client's channel in its own time
    outlet.close()
    os.close(left)
    os.close(right)


@pytest.mark.parametrize(("capacity", "most"), [(1000, 16), (128 * 1024, 32), (64 * 1024 * 1024, 256)])
async def test_descriptors_that_wait_are_bounded(
    carrier: DoorCarrier, tmp_path: Path, capacity: int, most: int
) -> None:
    """Small calls with a descriptor each fill no table: the queue is full when it holds as many as it may."""
    inlet = carrier.inlet(capacity=capacity, largest=500)
    await inlet.attach(str(tmp_path / "door"))
    outlet = await carrier.open(str(tmp_path / "door"))
    null = os.open(os.devnull, os.O_RDONLY)
    with trio.fail_after(SECONDS):
        for many in (1, 40):
            statuses = [await hand_over(outlet, PREFIX, (null,) * many) for _ in range(most // many + 2)]
            accepted = max(1, most // many)
            assert statuses == [Status.ACCEPTED] * accepted + [Status.FULL] * (len(statuses) - accepted)
            for arrival in await inlet.receive():
                for handle in arrival.handles:
                    carrier.discard(handle)
    os.close(null)
    outlet.close()
    inlet.close()


async def test_a_closed_inlet(carrier: DoorCarrier, tmp_path: Path) -> None:
    inlet = carrier.inlet(capacity=1000, largest=500)
    await inlet.attach(str(tmp_path / "door"))
    outlet = await carrier.open(str(tmp_path / "door"))
    with trio.fail_after(SECONDS):
        assert await hand_over(outlet, BATCH) is Status.ACCEPTED
        async with trio.open_nursery() as nursery:
            closed = trio.Event()

            async def wait() -> None:
                await inlet.receive()
                with pytest.raises(CarrierError):
                    await inlet.receive()
                closed.set()

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            inlet.close()
            inlet.close()
            await closed.wait()
        with pytest.raises(CarrierError):
            await hand_over(outlet, BATCH)
    outlet.close()
    outlet.close()
    assert not (tmp_path / "door").exists()
    with pytest.raises(CarrierError):
        outlet.start(BATCH, ())


async def test_the_last_outlet_gone_is_an_arrival(carrier: DoorCarrier, tmp_path: Path) -> None:
    """A passed door, and its end: what tells of a peer's death."""
    inlet = carrier.inlet(capacity=1000, largest=500)
    meeting = carrier.inlet(capacity=1000, largest=500)
    await meeting.attach(str(tmp_path / "door"))
    with trio.fail_after(SECONDS):
        outlet = await carrier.open(str(tmp_path / "door"))
        await hand_over(outlet, BATCH, (inlet.handle,))
        (arrival,) = await meeting.receive()
        back = carrier.outlet(arrival.handles[0])
        assert await hand_over(back, BATCH) is Status.ACCEPTED
        back.close()
        arrivals = list(await inlet.receive())
        while arrivals[-1].data is not None:
            arrivals += await inlet.receive()
        assert [arrival.data for arrival in arrivals] == [BATCH, None]
    for each in (outlet, inlet, meeting):
        each.close()


async def test_what_is_no_door_makes_no_outlet(carrier: DoorCarrier) -> None:
    left, right = os.pipe()
    os.close(right)
    with pytest.raises(CarrierError, match="expected a door"):
        carrier.outlet(left)
    open_descriptors()  # which waits until it is closed
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(left)


STOPPED = """
import sys, trio
from enfilade.transport.door_carrier import DoorCarrier
from tests.descriptors import open_descriptors
async def main():
    inlet = DoorCarrier().inlet(capacity=1000, largest=500)
    await inlet.attach(sys.argv[1])
    print("ready", flush=True)
    await trio.to_thread.run_sync(sys.stdin.read)
trio.run(main)
"""


def start_server(path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[2],
    )


async def test_a_stopped_server_blocks_nobody(carrier: DoorCarrier, tmp_path: Path) -> None:
    """A call to a process under SIGSTOP waits in its thread; closing the outlet ends even that."""
    server = start_server(tmp_path / "door")
    try:
        with trio.fail_after(SECONDS):
            assert server.stdout is not None
            await trio.to_thread.run_sync(server.stdout.readline)
            outlet = await carrier.open(str(tmp_path / "door"))
            assert await hand_over(outlet, BATCH) is Status.ACCEPTED
            os.kill(server.pid, signal.SIGSTOP)
            await trio.to_thread.run_sync(os.waitid, os.P_PID, server.pid, os.WSTOPPED)
            outlet.start(BATCH, ())  # which does not wait for the server
            outlet.want()
            with trio.move_on_after(0.3) as scope:
                await outlet.wait()
            assert scope.cancelled_caught
            assert outlet.answer() is None
            before = len(os.listdir("/proc/self/task"))
            outlet.close()
            while len(os.listdir("/proc/self/task")) >= before:  # noqa: ASYNC110 (a thread's end is no event)
                await trio.sleep(0.02)
    finally:
        server.kill()
        server.wait()
        for stream in (server.stdin, server.stdout):
            assert stream is not None
            stream.close()


async def test_many_callers_at_once(carrier: DoorCarrier, tmp_path: Path) -> None:
    inlet = carrier.inlet(capacity=10**7, largest=500)
    await inlet.attach(str(tmp_path / "door"))
    counts: dict[int, list[int]] = {}

    async def call(number: int) -> None:
        outlet = await carrier.open(str(tmp_path / "door"))
        for count in range(50):
            await hand_over(outlet, PREFIX + bytes([number, count]))
        outlet.close()

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(call, number)
        arrived = 0
        while arrived < 400:
            for arrival in await inlet.receive():
                if arrival.data:
                    arrived += 1
                    counts.setdefault(arrival.data[4], []).append(arrival.data[5])
    assert counts == {number: list(range(50)) for number in range(8)}
    inlet.close()


def test_a_revoked_door_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        inlet = DoorCarrier().inlet(capacity=1000, largest=500)
        await inlet.attach(str(tmp_path / "door"))
        with Client.open(tmp_path / "door") as client:
            inlet.close()
            with pytest.raises(DoorCallError.EBADF):
                client.call(BATCH)

    trio.run(main)
