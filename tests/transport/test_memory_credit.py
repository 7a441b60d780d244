"""Memory files are paid for by their sender: in its window, in what may wait for it, and in the inlet."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from enfilade.actors import Actor, open_node
from enfilade.transport import Limits, Policy, memory_file
from enfilade.transport.carrier import Carrier, Status, hand_over
from enfilade.transport.door_carrier import DoorCarrier
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.node_link import Backlogged, NodeLink
from enfilade.transport.settings import Settings
from enfilade.transport.wire import PREFIX, MalformedBatch, Send, encode_batch, encode_frame
from tests.transport.stranger import Stranger, payload

pytestmark = pytest.mark.skipif(not memory_file.SEALS, reason="there are no seals here")

WINDOW = 1024 * 1024
KIB = 1024


@contextmanager
def memory_files(*sizes: int) -> Iterator[Sequence[int]]:
    files = [memory_file.create(bytes(size)) for size in sizes]
    try:
        yield files
    finally:
        for file in files:
            os.close(file)


def memory_held() -> int:
    """Bytes of all memory files that this process has open."""
    sizes = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            status = os.fstat(int(name))
            if memory_file.is_sealed(int(name)):
                sizes[status.st_ino] = status.st_size
        except OSError:
            continue
    return sum(sizes.values())


def link(**limits: Any) -> NodeLink:
    return NodeLink(
        settings=Settings(window=WINDOW), peer_window=WINDOW, limits=Limits(**limits), clock=lambda: 0.0
    )


FRAME = encode_frame(Send(1, payload(None), 1))


def test_both_ends_count_memory_files() -> None:
    """What is under way is what was sent and is not taken in, files included, at both ends alike."""
    one, other = link(), link()
    with memory_files(600 * KIB) as (file,):
        for _ in range(3):
            one.send(FRAME, [file])
        sent = 0
        for _ in range(5):
            batch = one.next_batch()
            while batch is not None:
                other.received(batch.data, batch.handles)
                one.accepted()
                sent += 1
                assert one.under_way < 2 * WINDOW
                batch = one.next_batch()
            assert one.queued == 0 or one.under_way > WINDOW // 2  # the rest waits until the other has told
            answer = other.next_batch()
            if answer is not None:
                one.received(answer.data)
                other.accepted()
                assert one.under_way == 0
        assert sent == 3


def test_files_leave_together_as_far_as_they_take_half_a_window() -> None:
    one = link()
    with memory_files(100 * KIB) as (file,):
        for _ in range(12):
            one.send(FRAME, [file])
        batch = one.next_batch()
        assert batch is not None
        assert len(batch.handles) == 5


def test_a_batch_of_too_many_long_files_is_malformed() -> None:
    other = link()
    several = "several frames of a batch have 614400 bytes of memory files"
    with memory_files(300 * KIB) as (file,), pytest.raises(MalformedBatch, match=several):
        other.received(encode_batch(0, 0, [FRAME, FRAME]), [file, file])
    with memory_files(3 * WINDOW) as (file,):
        plain = encode_frame(Send(1, payload(None)))
        assert len(link().received(encode_batch(0, 0, [plain, FRAME, plain]), [file])) == 3


def test_files_that_wait_count_in_the_backlog() -> None:
    """One may be longer than the limit; another that has to wait behind it is too much."""
    one = link(backlog=WINDOW)
    with memory_files(3 * WINDOW) as (file,):
        one.send(FRAME, [file])
        with pytest.raises(Backlogged, match="3145"):
            one.send(FRAME, [file])
        assert one.queued == 3 * WINDOW + len(FRAME)


class Library(Actor):
    def book(self, size: int) -> bytes:
        return os.urandom(size)


@pytest.mark.parametrize("size", [200 * KIB, 3 * WINDOW], ids=["short", "long"])
async def test_a_peer_that_asks_for_much_and_takes_nothing_in(autojump_clock: object, size: int) -> None:
    """Its questions are small. What the answers take is bounded, and at the bound its node link ends."""
    backlog = 8 * WINDOW
    network = MemoryNetwork()
    policy = Policy.same_user(exports="library", limits=Limits(backlog=backlog))
    before = memory_held()
    async with (
        open_node("b", zone="right", carrier=network.carrier("b"), listen="/b", policy=policy) as node,
        open_node("c", carrier=network.carrier("c"), policy=Policy.same_user()) as bystander,
    ):
        await node.spawn(Library, name="library")
        await bystander.connect("/b")
        mallory = Stranger(network.carrier("mallory"))
        await mallory.connect("/b")
        await wait_all_tasks_blocked()
        most = asked = 0
        while "mallory@wild" in node.peers and asked < 200:
            asked += 1
            await mallory.throw([18, asked, "library", "book", [[size], {}]])
            most = max(most, memory_held() - before)
        assert "mallory@wild" not in node.peers
        assert most <= backlog + 3 * size + 2 * WINDOW
        assert asked < 10 + 2 * backlog // size
        assert len(await bystander.remote("library", "b@right").call(Library.book, size)) == size
        mallory.close()
    await wait_all_tasks_blocked()
    assert memory_held() <= before


@pytest.mark.parametrize("kind", ["memory", pytest.param("doors", marks=pytest.mark.real)])
async def test_an_inlet_holds_memory_files_of_its_capacity(kind: str) -> None:
    """Who keeps to no credit finds the inlet full; one file may be longer than that."""
    carrier: Carrier = DoorCarrier() if kind == "doors" else MemoryNetwork().carrier("a")
    inlet = carrier.inlet(capacity=WINDOW, largest=1000)
    outlet = carrier.outlet(os.dup(inlet.handle) if kind == "doors" else inlet.handle)
    batch = PREFIX + bytes(60)
    with trio.fail_after(60), memory_files(300 * KIB, 5 * WINDOW) as (short, long):
        answers = [await hand_over(outlet, batch, [short]) for _ in range(20)]
        assert answers == [Status.ACCEPTED] * 3 + [Status.FULL] * 17
        assert await hand_over(outlet, batch) is Status.ACCEPTED  # without files, it is as before
        arrivals = inlet.take()
        assert await hand_over(outlet, batch, [long]) is Status.ACCEPTED
        assert await hand_over(outlet, batch, [short]) is Status.FULL
        arrivals = [*arrivals, *inlet.take()]
        assert len(arrivals) == 5
        for arrival in arrivals:
            for handle in arrival.handles:
                carrier.discard(handle)
    outlet.close()
    inlet.close()
