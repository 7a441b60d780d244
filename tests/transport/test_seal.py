"""A secret binds every batch: whoever stands between two nodes can change nothing of what they say."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from enfilade.transport import memory_file
from enfilade.transport.carrier import Arrival, Credentials, Handle, hand_over
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.node_link import NodeLink
from enfilade.transport.policy import Limits, NotAdmitted, Policy, Rule
from enfilade.transport.rendezvous import HandshakeFailed
from enfilade.transport.seal import ANSWERER, CALLER, HANDSHAKE, LINK, TAG_BYTES, Agreement, Seal
from enfilade.transport.settings import Settings
from enfilade.transport.wire import (
    Cancel,
    Challenge,
    Frame,
    Hello,
    MalformedBatch,
    Prove,
    Send,
    Welcome,
    decode_batch,
    encode_batch,
    encode_frame,
)
from tests.transport.model import Station, message

SHARED = Policy(rules=[Rule()], secret=b"open sesame")

Change = Callable[[str, bytes, Sequence[Handle]], list[tuple[bytes, Sequence[Handle]]]]
"""What a relay makes of a batch that goes one way, "there" or "back": any number of batches."""


class Relay:
    """Stands where the node b should, and passes on everything between b and whoever calls.

    It hands out inlets of its own in the place of theirs. It does not know the secret.
    """

    def __init__(self, network: MemoryNetwork, change: Change) -> None:
        self.carrier = network.carrier("relay", Credentials(pid=7777, uid=4242, gid=4242))
        self.change = change
        self.meeting = self.carrier.inlet(capacity=1 << 20, largest=1 << 20)
        self.passed: list[tuple[str, bytes]] = []

    async def run(self, nursery: trio.Nursery) -> None:
        await self.meeting.attach("/relay")
        while True:
            for arrival in await self.meeting.receive():
                await self.begin(nursery, arrival)

    async def begin(self, nursery: trio.Nursery, arrival: Arrival) -> None:
        to_caller = self.carrier.outlet(arrival.handles[0])
        from_node = self.carrier.inlet(capacity=1 << 20, largest=1 << 20)
        meeting = await self.carrier.open("/b")
        for data, _ in self.changed("there", arrival.data or b"", ()):
            await hand_over(meeting, data, (from_node.handle,))
        nursery.start_soon(self.talk, nursery, from_node, to_caller)

    async def talk(self, nursery: trio.Nursery, from_node: Any, to_caller: Any) -> None:
        ways: list[Any] = []
        while True:
            for arrival in await from_node.receive():
                if arrival.data is None:
                    to_caller.close()
                    return
                handles = list(arrival.handles)
                if not ways and handles:
                    to_node = self.carrier.outlet(handles[0])
                    from_caller = self.carrier.inlet(capacity=1 << 20, largest=1 << 20)
                    ways = [to_node, from_caller]
                    nursery.start_soon(self.back, from_caller, to_node)
                    handles = [from_caller.handle]
                for data, beside in self.changed("back", arrival.data, handles):
                    await hand_over(to_caller, data, beside)

    async def back(self, from_caller: Any, to_node: Any) -> None:
        while True:
            for arrival in await from_caller.receive():
                if arrival.data is None:
                    to_node.close()
                    return
                for data, beside in self.changed("there", arrival.data, arrival.handles):
                    await hand_over(to_node, data, beside)

    def changed(
        self, way: str, data: bytes, handles: Sequence[Handle]
    ) -> list[tuple[bytes, Sequence[Handle]]]:
        self.passed.append((way, data))
        return self.change(way, data, handles)


def as_it_is(way: str, data: bytes, handles: Sequence[Handle]) -> list[tuple[bytes, Sequence[Handle]]]:
    return [(data, handles)]


def rewritten(old: bytes, new: bytes) -> Change:
    return lambda way, data, handles: [(data.replace(old, new), handles)]


def frame_of(data: bytes) -> Frame:
    for end in (len(data), -TAG_BYTES):
        try:
            (frame,) = decode_batch(data[:end]).frames
        except (MalformedBatch, ValueError):
            continue
        return frame
    raise AssertionError(data)


def refielded(kind: type[Any], **fields: Any) -> Change:
    """Change fields of a frame of the handshake, and keep whatever tag the batch has."""

    def change(way: str, data: bytes, handles: Sequence[Handle]) -> list[tuple[bytes, Sequence[Handle]]]:
        try:
            frame = frame_of(data)
        except AssertionError:
            return [(data, handles)]
        if isinstance(frame, kind):
            plain = encode_batch(0, 0, [encode_frame(frame)])
            new = encode_batch(0, 0, [encode_frame(msgspec.structs.replace(frame, **fields))])
            data = new + data[len(plain) :]
        return [(data, handles)]

    return change


async def besiege(
    nursery: trio.Nursery, change: Change, policy: Policy = SHARED
) -> tuple[Station, Station, Relay]:
    network = MemoryNetwork()
    a, b = Station(network, "a", policy=policy), Station(network, "b", policy=policy)
    relay = Relay(network, change)
    await nursery.start(a.run, "/a")
    await nursery.start(b.run, "/b")
    nursery.start_soon(relay.run, nursery)
    await wait_all_tasks_blocked()
    return a, b, relay


@pytest.mark.parametrize(
    "change",
    [
        refielded(Hello, name="vault-reader"),
        refielded(Hello, zone="elsewhere"),
        refielded(Hello, incarnation=2),
        refielded(Hello, window=1),
        refielded(Hello, period=0.001),
        refielded(Hello, nonce=b"n" * 32),
        refielded(Challenge, nonce=b"n" * 32),
        refielded(Challenge, name="c"),
        refielded(Challenge, incarnation=9),
        refielded(Challenge, zone="elsewhere"),
        refielded(Challenge, proof=b"p" * 32),
        refielded(Prove, proof=b"p" * 32),
        refielded(Welcome, name="c"),
        refielded(Welcome, window=1),
        refielded(Welcome, incarnation=9),
    ],
    ids=range(15),
)
async def test_a_relay_that_changes_the_handshake_is_not_admitted(
    nursery: trio.Nursery, autojump_clock: object, change: Change
) -> None:
    """Everything that the two say of themselves is bound: neither takes the other for anything else."""
    a, b, _ = await besiege(nursery, change)
    with pytest.raises((NotAdmitted, HandshakeFailed)):
        await a.rendezvous.connect("/relay")
    await trio.sleep(10)
    assert not a.host.up
    assert not b.host.up


async def test_who_has_no_secret_is_told_so(nursery: trio.Nursery, autojump_clock: object) -> None:
    """The version is bound, too: nobody is talked into doing without."""
    a, b, _ = await besiege(nursery, refielded(Hello, oldest=1, newest=1))
    with pytest.raises(NotAdmitted, match="asks for a secret"):
        await a.rendezvous.connect("/relay")
    assert not b.host.up


def forged(way: str, data: bytes, handles: Sequence[Handle]) -> list[tuple[bytes, Sequence[Handle]]]:
    """In the place of each batch of the link, one with a message of the relay's own, and its number."""
    if b"genuine" not in data:
        return [(data, handles)]
    batch = decode_batch(data[:-TAG_BYTES])
    frame = encode_frame(Send(1, msgspec.Raw(msgspec.msgpack.encode(666))))
    return [(encode_batch(batch.sequence, batch.consumed, [frame]) + data[-TAG_BYTES:], handles)]


def without_tag(way: str, data: bytes, handles: Sequence[Handle]) -> list[tuple[bytes, Sequence[Handle]]]:
    return [(data[:-TAG_BYTES] if b"genuine" in data else data, handles)]


def with_more(way: str, data: bytes, handles: Sequence[Handle]) -> list[tuple[bytes, Sequence[Handle]]]:
    if b"genuine" not in data:
        return [(data, handles)]
    frame = encode_frame(Cancel(1))
    extra = encode_batch(decode_batch(data[:-TAG_BYTES]).sequence + 1, 0, [frame])
    return [(data, handles), (extra + os.urandom(TAG_BYTES), ())]


def replayer() -> Change:
    """Gives each batch the number that is due, and sends the first one again."""
    kept: list[bytes] = []

    def change(way: str, data: bytes, handles: Sequence[Handle]) -> list[tuple[bytes, Sequence[Handle]]]:
        if b"genuine" in data:
            kept.append(data)
            if len(kept) > 1:
                again = kept[0]
                number = decode_batch(data[:-TAG_BYTES]).sequence
                return [(again[:6] + number.to_bytes(8, "big") + again[14:], handles)]
        return [(data, handles)]

    return change


def reflector() -> Change:
    """Sends the batches of one side back to it."""
    kept: list[bytes] = []

    def change(way: str, data: bytes, handles: Sequence[Handle]) -> list[tuple[bytes, Sequence[Handle]]]:
        if way == "there" and b"genuine" in data:
            kept.append(data)
        if way == "back" and kept:
            return [(kept.pop(0), handles)]
        return [(data, handles)]

    return change


@pytest.mark.parametrize("change", [forged, without_tag, with_more, replayer(), reflector()])
async def test_a_relay_that_changes_a_batch_ends_the_node_link(
    nursery: trio.Nursery, autojump_clock: object, change: Change
) -> None:
    """What does not fit its tag is not carried out, and is the last that is heard."""
    a, b, _ = await besiege(nursery, change)
    peer = await a.rendezvous.connect("/relay")
    await wait_all_tasks_blocked()
    back = b.host.up[0]
    for number in range(3):
        peer.send(Send(number, msgspec.Raw(msgspec.msgpack.encode("genuine"))))
        await wait_all_tasks_blocked()
        back.send(message(5))
        await wait_all_tasks_blocked()
    sent = [msgspec.msgpack.decode(frame.payload) for frame in b.host.frames if isinstance(frame, Send)]
    assert set(sent) <= {"genuine"}
    assert len(sent) < 3 or len(a.host.numbers()) < 3 or a.host.down
    assert "tag does not fit" in str(a.host.down + b.host.down)


async def test_a_relay_that_changes_nothing_is_only_heard(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    """It can read, and it is refused where the policy looks at the user of whoever calls."""
    a, b, relay = await besiege(nursery, as_it_is)
    peer = await a.rendezvous.connect("/relay")
    peer.send(message(3))
    await wait_all_tasks_blocked()
    assert b.host.numbers() == [3]
    assert relay.passed
    strict = Policy(rules=[Rule(uids={os.geteuid()})], secret=b"open sesame")
    a, b, relay = await besiege(nursery, as_it_is, strict)
    with pytest.raises(NotAdmitted):
        await a.rendezvous.connect("/relay")
    assert not b.host.up


HELLO = Hello(2, 2, "a", "z", 1, 1000, 1.0, b"n" * 32)
CHALLENGE = Challenge(b"m" * 32, b"", "b", "y", 2)


def seals(secret: bytes = b"s", phase: bytes = LINK) -> tuple[Seal, Seal]:
    agreement = Agreement(secret, HELLO, CHALLENGE)
    return agreement.seal(CALLER, phase), agreement.seal(ANSWERER, phase)


def test_each_seal_is_good_for_one_side_one_phase_and_one_secret() -> None:
    """Keys are as many as there are secrets, sides, phases and handshakes."""
    caller, answerer = seals()
    data = caller.close(b"batch", ())
    assert answerer.open(data, ()) == b"batch"
    others = [caller, *seals(b"other"), *seals(phase=HANDSHAKE)]
    others.append(Agreement(b"s", msgspec.structs.replace(HELLO, nonce=b""), CHALLENGE).seal(ANSWERER, LINK))
    for other in others:
        with pytest.raises(MalformedBatch):
            other.open(data, ())
    for broken in (b"", data[:-1], data[1:], data + b"x", bytes([data[0] ^ 1]) + data[1:]):
        with pytest.raises(MalformedBatch):
            answerer.open(broken, ())


def test_what_travels_beside_a_batch_is_sealed_with_it() -> None:
    """A memory file with other contents, another file, none, one more, or the same in another order."""
    caller, answerer = seals()
    same = [memory_file.create(b"long"), memory_file.create(b"long")]
    other, sparse = memory_file.create(b"lone"), os.memfd_create("sparse")
    null, zero = os.open(os.devnull, os.O_RDONLY), os.open("/dev/zero", os.O_RDONLY)
    pipes = [*os.pipe(), *os.pipe()]
    try:
        for handles, good, bad in (
            ([same[0]], [same[1]], [other]),
            ([same[0]], [os.dup(same[0])], [sparse]),
            ([null], [os.dup(null)], [zero]),
            ([pipes[0]], [os.dup(pipes[0])], [pipes[2]]),
            ([same[0], other], [same[1], other], [other, same[0]]),
            ([same[0]], [same[0]], [same[0], same[1]]),
            ([], [], [null]),
        ):
            data = caller.close(b"batch", handles)
            assert answerer.open(data, good) == b"batch"
            for wrong in (bad, *([[]] if handles else [])):
                with pytest.raises(MalformedBatch):
                    answerer.open(data, wrong)
            for copy in {*good} - {*same, other, null}:
                os.close(copy)
    finally:
        for number in (*same, other, sparse, null, zero, *pipes):
            os.close(number)


def test_without_a_secret_a_batch_is_as_it_was() -> None:
    """The bytes of the first version are those of docs/wire.md; the second has a tag behind them."""
    plain = NodeLink(settings=Settings(window=1000), peer_window=1000, limits=Limits(), clock=lambda: 0.0)
    sealed = NodeLink(
        settings=Settings(window=1000), peer_window=1000, limits=Limits(), clock=lambda: 0.0, seal=seals()[0]
    )
    other = NodeLink(
        settings=Settings(window=1000), peer_window=1000, limits=Limits(), clock=lambda: 0.0, seal=seals()[1]
    )
    for link in (plain, sealed):
        link.send(encode_frame(Cancel(7)))
    first, second = plain.next_batch(), sealed.next_batch()
    assert first is not None
    assert second is not None
    assert first.data == encode_batch(0, 0, [encode_frame(Cancel(7))])
    assert second.data[:-TAG_BYTES] == first.data
    assert other.received(second.data) == [Cancel(7)]
    with pytest.raises(MalformedBatch):
        other.received(second.data[:-TAG_BYTES])
    with pytest.raises(MalformedBatch):
        plain.received(second.data)
