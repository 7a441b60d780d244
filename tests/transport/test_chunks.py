"""Long payloads in chunks: they arrive whole and in their place, and cost both sides what they may cost."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as some
from trio.testing import wait_all_tasks_blocked

from enfilade.actors import Actor, Node, Ref, open_node
from enfilade.transport import Limits, PayloadError, Policy, RemoteError, chunks
from enfilade.transport.attachment import LongBytes
from enfilade.transport.chunks import CHUNK, LEAST_CHUNK, Assembly, Pieces, Room
from enfilade.transport.memory_carrier import LOSSY, MemoryNetwork
from enfilade.transport.memory_file import MOST_FILES
from enfilade.transport.resuming_link import ResumingLink
from enfilade.transport.settings import Settings
from enfilade.transport.wire import (
    FRAME_LIMIT,
    UNCOUNTED,
    Bye,
    Chunk,
    Frame,
    MalformedBatch,
    Ready,
    Send,
    Welcome,
    decode_batch,
    encode_batch,
    encode_frame,
)
from tests.descriptors import open_descriptors
from tests.transport.stranger import payload

MIB = 1024 * 1024
WINDOW = 256 * 1024


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = open_descriptors()
    yield
    assert open_descriptors() == before


def link(*, mixes: bool = False, **limits: Any) -> ResumingLink:
    return ResumingLink(
        settings=Settings(window=WINDOW),
        peer_window=WINDOW,
        limits=Limits(**limits),
        clock=lambda: 0.0,
        cuts=True,
        mixes=mixes,
    )


def frame(number: int, files: int) -> Send:
    return Send(number, payload(None), files)


def contents(files: Any) -> list[bytes]:
    return [file.read(file.size) for file in files]


SIZES = some.lists(
    some.sampled_from([1, LEAST_CHUNK - 1, LEAST_CHUNK, LEAST_CHUNK + 1, 3 * LEAST_CHUNK + 5]), max_size=3
)


@given(some.lists(SIZES, max_size=6))
def test_files_arrive_whole_before_their_frame(messages: list[list[int]]) -> None:
    """Frames arrive in order, each with its own files; no more is under way than the window allows."""
    one, other = link(), link()
    assembly = Assembly(MIB, Room(MIB))
    sent = [[bytes([number]) * size for size in sizes] for number, sizes in enumerate(messages)]
    for number, files in enumerate(sent):
        one.send(encode_frame(frame(number, len(files))), [LongBytes(data) for data in files])
    assert one.bulk == sum(map(sum, messages))
    came: list[tuple[int, list[bytes]]] = []
    while not one.is_settled:
        while (batch := one.next_batch()) is not None:
            assert not batch.handles
            assert len(batch.data) <= FRAME_LIMIT + 100
            frames, handles = assembly.take_in(other.received(batch.data))
            came += [(each.to, contents(handles)) for each in frames if isinstance(each, Send) and each.files]
            came += [(each.to, []) for each in frames if isinstance(each, Send) and not each.files]
            one.accepted()
            assert one.under_way <= WINDOW + FRAME_LIMIT
        other.acknowledge()
        answer = other.next_batch()
        assert answer is not None
        one.received(answer.data)
        other.accepted()
    assert sorted(number for number, _ in came) == list(range(len(sent)))
    assert all(files == sent[number] for number, files in came)
    assert one.bulk == one.queued == 0


def test_what_has_not_left_is_let_go() -> None:
    one = link()
    one.send(encode_frame(frame(1, 3)), [LongBytes(bytes(3 * LEAST_CHUNK)) for _ in range(3)])
    batch = one.next_batch()
    assert batch is not None
    assert one.bulk == 8 * LEAST_CHUNK
    assert not one.leftovers()
    assert one.bulk == one.queued == 0


def test_nothing_is_copied_before_it_leaves() -> None:
    data = bytes(range(256)) * 1024
    pieces = Pieces([LongBytes(data)], WINDOW)
    cuts = [pieces.cut()[1] for _ in range(-(-len(data) // LEAST_CHUNK))]
    assert not pieces
    assert all(each.obj is data for each in cuts)
    assert b"".join(cuts) == data


@pytest.mark.parametrize(
    ("window", "most"),
    [(64 * 1024, LEAST_CHUNK), (512 * 1024, 64 * 1024), (MIB, CHUNK), (8 * MIB, CHUNK)],
)
def test_chunks_are_as_long_as_the_window_is_wide(window: int, most: int) -> None:
    """Within bounds: each is a frame that any peer takes in."""
    pieces = Pieces([LongBytes(bytes(3 * CHUNK + 1))], window)
    found = []
    while pieces:
        assert pieces.cost < FRAME_LIMIT
        found.append(len(pieces.cut()[1]))
    assert set(found[:-1]) == {most}
    assert sum(found) == 3 * CHUNK + 1
    assert 0 < found[-1] <= most


def cut(*sizes: int) -> list[Frame]:
    """The chunks of files of so many bytes."""
    pieces = Pieces([LongBytes(bytes(size)) for size in sizes])
    found: list[Frame] = []
    while pieces:
        cost, encoded = pieces.cost, b"".join(pieces.cut())
        assert len(encoded) <= cost
        assert cost < len(encoded) + 16 or len(sizes) > 1  # what has a window of just that size can leave
        (chunk,) = decode_batch(link_batch(encoded)).frames
        found.append(chunk)
    return found


def link_batch(encoded: bytes) -> bytes:
    one = link()
    one.send(encoded)
    batch = one.next_batch()
    assert batch is not None
    return batch.data


@pytest.mark.parametrize(
    "frames",
    [
        lambda: [frame(1, 1)],
        lambda: [*cut(10), frame(1, 2)],
        lambda: [Chunk(100, memoryview(b"x")), frame(1, 1)],
        lambda: [Chunk(100, memoryview(b"x")), Chunk(100, memoryview(b"x"))],
        lambda: [Chunk(100, memoryview(b"x")), Chunk(98, memoryview(b"x"))],
        lambda: [Chunk(2, memoryview(b"x")), Chunk(1, memoryview(b""))],
        lambda: [Chunk(0, memoryview(b""))],
        lambda: cut(*[1] * (MOST_FILES + 1)),
    ],
    ids=range(8),
)
def test_chunks_that_do_not_follow_one_another_are_refused(frames: Callable[[], list[Frame]]) -> None:
    room = Room(MIB)
    assembly = Assembly(MIB, room)
    with pytest.raises(MalformedBatch):
        assembly.take_in(frames())
    assembly.drop()
    assembly.drop()
    assert not room._taken


def test_what_is_too_long_is_not_kept() -> None:
    """The frame comes all the same, so that its payload can be refused as over doors."""
    room = Room(MIB)
    assembly = Assembly(100, room)
    frames, handles = assembly.take_in([*cut(60, 60), frame(1, 2)])
    assert [len(each) for each in contents(handles)] == [60, 0]
    assert len(frames) == 1
    assert not room._taken


async def test_who_begins_first_finishes_first(autojump_clock: object) -> None:
    room = Room(100)
    first, second, third = (Assembly(MIB, room) for _ in range(3))
    first.take_in([Chunk(149, memoryview(b"x"))])
    assert not first.must_wait, "the first has its room in any case"
    second.take_in([Chunk(50, memoryview(b"x"))])
    third.take_in([Chunk(10, memoryview(b"x"))])
    assert second.must_wait
    assert third.must_wait
    waited: list[str] = []

    async def wait(name: str, assembly: Assembly) -> None:
        await assembly.wait()
        waited.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, "second", second)
        nursery.start_soon(wait, "third", third)
        await wait_all_tasks_blocked()
        assert not waited
        first.drop()
    assert sorted(waited) == ["second", "third"], "51 and 11 bytes have room together"
    second.drop()
    third.drop()


class Keeper(Actor):
    """Keeps nothing, and tells how much came."""

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def on_message(self, message: Any) -> None:
        self.lengths.append(len(message))

    def give(self, value: Any) -> Any:
        return value

    def seen(self) -> list[int]:
        return self.lengths


async def pair(network: MemoryNetwork, test: Callable[[Node, Node, Ref[Keeper]], Any], **limits: Any) -> None:
    policy = Policy.same_user(exports="*", limits=Limits(**limits))
    async with (
        open_node("a", carrier=network.carrier("a"), listen="/a", policy=policy) as a,
        open_node("b", carrier=network.carrier("b"), listen="/b", policy=policy) as b,
    ):
        await b.spawn(Keeper, name="keeper")
        await a.connect("/b")
        await test(a, b, a.remote("keeper", b.full_name))


async def test_beyond_the_limit_one_message_fails(autojump_clock: object) -> None:
    """What was sent before arrives, what is sent after it, too; the node link goes on."""

    async def test(a: Node, b: Node, keeper: Ref[Keeper]) -> None:
        keeper.send(bytes(3 * MIB))
        keeper.send(bytes(MIB // 2))
        with pytest.raises(PayloadError, match=r"1048577 bytes cannot travel to b@local now: 3670016 wait"):
            keeper.send(bytes(MIB + 1))
        assert await keeper.call(Keeper.seen) == [3 * MIB, MIB // 2]
        keeper.send(bytes(MIB + 1))
        assert await keeper.call(Keeper.seen) == [3 * MIB, MIB // 2, MIB + 1]

    await pair(MemoryNetwork(LOSSY), test, bulk=4 * MIB)


async def test_a_peer_that_may_send_less_is_told_so(autojump_clock: object) -> None:
    async def test(a: Node, b: Node, keeper: Ref[Keeper]) -> None:
        with pytest.raises(RemoteError, match="a payload may have 1048576 bytes here"):
            await keeper.call(Keeper.give, bytes(2 * MIB))
        with pytest.raises(RemoteError, match="a payload may have 1048576 bytes here"):
            await keeper.call(Keeper.give, [bytes(MIB // 2)] * 3)
        assert await keeper.call(Keeper.give, bytes(MIB // 2)) == bytes(MIB // 2)

    await pair(MemoryNetwork(LOSSY), test, payload=MIB)


async def test_lost_chunks_are_sent_again(autojump_clock: object) -> None:
    network = MemoryNetwork(LOSSY)
    count = 0

    def every_fifth(data: bytes) -> bool:
        nonlocal count
        count += 1
        return count % 5 == 0

    async def test(a: Node, b: Node, keeper: Ref[Keeper]) -> None:
        network.loses = every_fifth
        value = os.urandom(2 * MIB)
        assert await keeper.within(600).call(Keeper.give, value) == value
        network.loses = lambda data: False

    await pair(network, test)


async def test_without_memory_left_the_node_link_ends(
    autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said why, and the node lives."""

    class Full:
        def __init__(self, _: bytes) -> None:
            raise MemoryError

    async def test(a: Node, b: Node, keeper: Ref[Keeper]) -> None:
        assert await keeper.call(Keeper.give, 0) == 0  # both sides are up
        (peer,) = b.distribution.rendezvous.peers.values()
        monkeypatch.setattr(chunks, "BytesIO", Full)
        keeper.send(bytes(MIB // 2))
        await peer.ended.wait()
        assert "there is no room for a long payload of the peer" in peer.reason
        monkeypatch.undo()
        await a.connect("/b")
        assert await keeper.call(Keeper.give, 1) == 1

    await pair(MemoryNetwork(LOSSY), test)


def test_what_is_short_may_come_between_chunks() -> None:
    assembly = Assembly(MIB, Room(MIB))
    first, second = Chunk(5, memoryview(b"first")), Chunk(0, memoryview(b"other"))
    frames, files = assembly.take_in([frame(1, 0), first, frame(2, 0)])
    assert ([each.to for each in frames if isinstance(each, Send)], files) == ([1, 2], [])
    frames, files = assembly.take_in([second, frame(3, 0), frame(4, 1), Bye("")])
    assert [each.to for each in frames if isinstance(each, Send)] == [3, 4]
    assert contents(files) == [b"firstother"]


def test_no_other_files_come_between_the_chunks_of_a_file() -> None:
    assembly = Assembly(MIB, Room(MIB))
    with pytest.raises(MalformedBatch, match="other 5 bytes"):
        assembly.take_in([Chunk(5, memoryview(b"first")), frame(1, 1)])
    assembly.drop()


def frames_of(one: ResumingLink, **options: Any) -> Iterator[Frame]:
    """What leaves, a frame after the other, when the peer takes in all of it."""
    while (batch := one.next_batch(**options)) is not None:
        one.accepted()
        yield from decode_batch(batch.data).frames
        one.received(encode_batch(UNCOUNTED, one.bytes_out, []))


def test_what_is_short_overtakes_what_is_long() -> None:
    one = link(mixes=True)
    one.send(encode_frame(frame(1, 1)), [LongBytes(bytes(10 * LEAST_CHUNK))], in_order=False)
    leaving = frames_of(one)
    assert isinstance(next(leaving), Chunk)
    one.send(encode_frame(frame(2, 0)))
    places = [type(each) if isinstance(each, Chunk) else each.to for each in leaving]  # type: ignore[union-attr]
    assert places == [2, *[Chunk] * 9, 1]
    assert one.is_settled or not one.queued


def test_neither_lane_starves_the_other() -> None:
    one = link(mixes=True)
    one.send(encode_frame(frame(0, 1)), [LongBytes(bytes(6 * LEAST_CHUNK))], in_order=False)
    kinds = []
    for number in range(1, 13):
        one.send(encode_frame(frame(number, 0)))
        batch = one.next_batch()
        assert batch is not None
        one.accepted()
        one.received(encode_batch(UNCOUNTED, one.bytes_out, []))
        kinds += {type(each) is Chunk for each in decode_batch(batch.data).frames}
    assert kinds == [False, True] * 6


def test_chunks_of_two_are_not_mixed() -> None:
    """Also where what is in order, and long itself, meets what may be overtaken."""
    one, other = link(mixes=True), link()
    assembly = Assembly(MIB, Room(MIB))
    one.send(encode_frame(frame(1, 1)), [LongBytes(b"a" * 3 * LEAST_CHUNK)], in_order=False)
    leaving = frames_of(one)
    came = [next(leaving)]
    one.send(encode_frame(frame(2, 0)))
    one.send(encode_frame(frame(3, 1)), [LongBytes(b"b" * 3 * LEAST_CHUNK)])
    one.send(encode_frame(frame(4, 1)), [LongBytes(b"c" * 3 * LEAST_CHUNK)], in_order=False)
    one.send(encode_frame(frame(5, 0)))
    came += leaving
    frames, files = assembly.take_in(came)
    order = [each.to for each in frames if isinstance(each, Send)]
    assert sorted(order) == [1, 2, 3, 4, 5]
    assert [each for each in order if each in (2, 3, 5)] == [2, 3, 5]
    owners = [each.to for each in frames if isinstance(each, Send) and each.files]
    whole = dict(zip(owners, contents(files), strict=True))
    assert whole == {1: b"a" * 3 * LEAST_CHUNK, 3: b"b" * 3 * LEAST_CHUNK, 4: b"c" * 3 * LEAST_CHUNK}
    assert other.queued == 0


@pytest.mark.parametrize("begun", [0, 1, 2])
def test_what_is_to_be_last_is_last(begun: int) -> None:
    one = link(mixes=True)
    one.send(encode_frame(frame(1, 1)), [LongBytes(bytes(2 * LEAST_CHUNK))], in_order=False)
    one.send(encode_frame(frame(2, 1)), [LongBytes(bytes(2 * LEAST_CHUNK))])
    leaving = frames_of(one)
    came = [next(leaving) for _ in range(begun)]
    one.restore_order()
    one.send(encode_frame(Bye("")))
    came += leaving
    frames, files = Assembly(MIB, Room(MIB)).take_in(came)
    assert type(frames[-1]) is Bye
    assert len(frames) == 3
    assert len(files) == 2


def test_a_peer_that_does_not_mix_gets_all_in_order() -> None:
    one = link()
    one.send(encode_frame(frame(1, 1)), [LongBytes(bytes(3 * LEAST_CHUNK))], in_order=False)
    leaving = frames_of(one)
    came = [next(leaving)]
    one.send(encode_frame(frame(2, 0)))
    came += leaving
    assert [type(each) for each in came] == [Chunk] * 3 + [type(came[-1])] * 2


def test_what_is_long_leaves_credit_to_what_is_short() -> None:
    one = link(mixes=True)
    one.send(encode_frame(frame(1, 1)), [LongBytes(bytes(MIB))], in_order=False)
    while one.next_batch() is not None:
        one.accepted()
    one.send(encode_frame(Send(2, payload(bytes(20 * 1024)))))
    batch = one.next_batch()
    assert batch is not None
    assert [getattr(each, "to", None) for each in decode_batch(batch.data).frames] == [2]


@pytest.mark.parametrize("fields", [[5], [5, False], [5, True], [5, True, "of a later version"]], ids=str)
def test_nodes_of_other_versions_say_less_or_more(fields: list[Any]) -> None:
    """Who does not say that it mixes does not: a node of before is sent everything in order."""
    (ready,) = decode_batch(encode_batch(0, 0, [msgspec.msgpack.encode(fields)])).frames
    assert isinstance(ready, Ready)
    assert ready.mixes is (len(fields) > 1 and fields[1])
    old: list[Any] = [3, 3, "a@east", "east", 1, WINDOW, 15.0]
    (welcome,) = decode_batch(encode_batch(0, 0, [msgspec.msgpack.encode([*old, *fields[1:]])])).frames
    assert isinstance(welcome, Welcome)
    assert welcome.mixes is ready.mixes
