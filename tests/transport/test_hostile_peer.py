"""An admitted peer that keeps to no rule: what it sends harms its own node link and nothing else.

Each test makes the attack by hand, with frames that no node of ours sends, and then asks a bystander.
"""

import os
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import attrs
import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from enfilade.actors import Custom, Exit, Node, NoProcess, open_node
from enfilade.transport import Limits, Policy, closing
from enfilade.transport.carrier import hand_over
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.records import PayloadError
from enfilade.transport.wire import (
    BATCH_LIMIT,
    Reply,
    Send,
    Spawn,
    Spawned,
    Whereis,
    WhereisReply,
    encode_batch,
)
from enfilade.transport.wire import Exit as ExitFrame
from tests.conformance.actors.town import Account
from tests.descriptors import open_descriptors
from tests.transport.stranger import Stranger, payload

Ext = msgspec.msgpack.Ext


@attrs.frozen
class Siege:
    """A node with an account, a bystander that is connected to it, and a stranger that is, too."""

    network: MemoryNetwork
    node: Node
    bystander: Node
    stranger: Stranger

    async def check(self) -> None:
        """The node serves others as before."""
        with trio.fail_after(5):
            assert await self.bystander.remote("account", "b@right").call(Account.give, 5) == 5

    async def another(self, name: str = "second@wild") -> Stranger:
        stranger = Stranger(self.network.carrier(name), name)
        await stranger.connect("/b")
        await wait_all_tasks_blocked()
        return stranger


@pytest.fixture
def rights() -> dict[str, Any]:
    """What the node lets its peers do; a test may parametrize it."""
    return {"exports": "account", "entries": "Account"}


@pytest.fixture
async def siege(rights: dict[str, Any]) -> AsyncIterator[Siege]:
    network = MemoryNetwork()
    async with (
        open_node(
            "b",
            zone="right",
            carrier=network.carrier("b"),
            listen="/b",
            policy=Policy.same_user(**rights),
            entries={"Account": Account},
        ) as node,
        open_node("c", carrier=network.carrier("c"), policy=Policy.same_user()) as bystander,
    ):
        await node.spawn(Account, 10, name="account")
        await bystander.connect("/b")
        stranger = Stranger(network.carrier("mallory"))
        await stranger.connect("/b")
        await wait_all_tasks_blocked()
        yield Siege(network, node, bystander, stranger)
        stranger.close()


SEND, CALL, REPLY, SPAWN = 16, 18, 19, 32


def carrying(*files: Any) -> list[list[Any]]:
    """Messages that claim so many handles each."""
    return [[SEND, "account", None, count] for count in files]


@pytest.mark.parametrize(
    ("frames", "came"),
    [
        (carrying(-1, 0), 2),
        (carrying(0, -2), 2),
        (carrying(3, -1), 2),
        (carrying(2, -2), 2),
        (carrying(2, -2, 2), 2),
        (carrying(1), 2),
        (carrying(2, 1), 2),
        (carrying(1), 0),
        (carrying(2**40), 2),
        (carrying(2**64 - 1), 2),
        (carrying(True, True), 2),
        (carrying("2"), 2),
        (carrying(2.0), 2),
        ([[20, 1]], 2),
        ([[CALL, 1, "account", "give", [[1], {}], 1], [CALL, 1, "account", "give", [[1], {}], 1]], 2),
        ([[SPAWN, 1, "Account", [[], {}], 1], [SPAWN, 1, "Account", [[], {}], 1]], 2),
        ([[REPLY, 7, True, None, 2]], 2),
        ([[SEND, "vault", None, 2]], 2),
        ([[SPAWN, 1, "Secret", [[], {}], 2]], 2),
        ([[SEND, "account", b"\xc1", 2]], 2),
    ],
    ids=str,
)
async def test_each_handle_is_closed_once(
    siege: Siege,
    autojump_clock: object,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    frames: list[Any],
    came: int,
) -> None:
    """Handles belong to one frame or to none, whatever the frames claim: none stays, none is closed twice."""
    mine = [os.open(os.devnull, os.O_RDONLY) for _ in range(came)]
    before = open_descriptors()
    closed: list[int] = []
    close = closing.close
    monkeypatch.setattr(closing, "close", lambda number: (closed.append(number), close(number))[1])
    await siege.stranger.throw(*frames, handles=mine)
    await siege.check()
    assert open_descriptors() == before
    assert len(closed) == len(set(closed)) == came
    assert "failed to carry out" not in caplog.text
    for number in mine:
        os.close(number)


@pytest.mark.parametrize(
    "frame",
    [
        [20, -1],
        [20, 2**63],
        [20, True],
        [20, 1.0],
        [SEND, -5, None],
        [SEND, 2**64 - 1, None],
        [24, -1, 1],
        [28, -1, 1],
        [40, -1, b""],
        [SPAWN, 1, "Account", [[], {}], 0, -1],
    ],
    ids=str,
)
async def test_numbers_are_none_but_those_that_we_give(
    siege: Siege, autojump_clock: object, caplog: pytest.LogCaptureFixture, frame: list[Any]
) -> None:
    """A number that nobody can have been given ends the node link with one clear reason."""
    with caplog.at_level("INFO", "enfilade"):
        await siege.stranger.throw(frame)
        await wait_all_tasks_blocked()
    assert siege.stranger.name not in siege.node.peers
    assert "sent a malformed batch" in caplog.text
    await siege.check()


@pytest.mark.parametrize("polled", [False, True])
@pytest.mark.parametrize(
    "frame",
    [[36, 1, "x"], [SEND, "vault", None], [SEND, "account", None], [20, 1], [CALL, 1, "vault", "x", None]],
    ids=str,
)
async def test_a_batch_of_many_frames_takes_many_turns(
    siege: Siege, autojump_clock: object, monkeypatch: pytest.MonkeyPatch, frame: list[Any], polled: bool
) -> None:
    """As many frames as a batch holds: others have a turn after each part, whoever takes the batch in."""
    parts: list[tuple[int, int]] = []
    turns = 0
    distribution: Any = siege.node.distribution
    peer_frames = distribution.host.peer_frames

    def record(peer: Any, frames: Sequence[Any], handles: Sequence[int]) -> None:
        parts.append((len(frames), turns))
        peer_frames(peer, frames, handles)

    async def tick() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    monkeypatch.setattr(distribution.host, "peer_frames", record)
    data = encode_batch(
        0, 0, [msgspec.msgpack.encode(frame)] * (BATCH_LIMIT // len(msgspec.msgpack.encode(frame)))
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        await trio.lowlevel.checkpoint()
        await hand_over(siege.stranger.outlet, data)
        if polled:
            for _ in range(3):
                distribution.rendezvous.peers[siege.stranger.name].poll(alone=True)
        for _ in range(2000):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert sum(count for count, _ in parts) == data.count(msgspec.msgpack.encode(frame))
    assert max(count for count, _ in parts) <= 512
    assert len(parts) > 5
    in_one = Counter(turn for _, turn in parts)
    assert max(in_one.values()) <= 2, "trio lets one of two tasks go first, and then the other"
    await siege.check()


async def test_poll_leaves_what_is_more_than_a_turn(siege: Siege, autojump_clock: object) -> None:
    """Who waits for an answer takes in a turn's worth, in order; the rest comes without another batch."""
    peer: Any = siege.node.distribution.rendezvous.peers[siege.stranger.name]  # type: ignore[attr-defined]
    for number in range(200):
        frames = [msgspec.msgpack.encode([SEND, "account", 10 * number + place]) for place in range(10)]
        await hand_over(siege.stranger.outlet, encode_batch(number, 0, frames))
        if number % 50 == 49:
            peer.poll(alone=True)
    await wait_all_tasks_blocked()
    account = siege.bystander.remote("account", "b@right")
    assert await account.call(Account.history) == list(range(2000))


async def test_what_is_well_formed_goes_on(siege: Siege, autojump_clock: object) -> None:
    """The rules above refuse nothing else."""
    await siege.stranger.throw(Send("account", payload("hello")), [SEND, "account", "too", 0])
    account = siege.bystander.remote("account", "b@right")
    assert await account.call(Account.history) == ["hello", "too"]
    assert siege.stranger.name in siege.node.peers


EXIT, LINK, MONITOR, WHEREIS, PRESENT, MEMBERS = 27, 24, 28, 36, 40, 39


def reason(kind: str, *fields: Any) -> Any:
    """An exit reason of ours as a payload."""
    from enfilade.actors.peers.travelling_types import types

    record = types.by_name(f"enfilade.{kind}")
    assert record is not None
    return Ext(5, msgspec.msgpack.encode([record.name, record.version, record.shape, *fields]))


async def held(stranger: Stranger, name: str) -> int | None:
    """The serial number that a look-up gives."""
    await stranger.throw([WHEREIS, 1, name])
    value = msgspec.msgpack.decode(stranger.heard_of(WhereisReply)[-1].payload)
    return None if value is None else msgspec.msgpack.decode(value.data)[2]  # type: ignore[no-any-return]


async def killing_by_name(siege: Siege) -> None:
    await siege.stranger.throw([EXIT, 1, "account", False, reason("Killed")])


async def killing_by_ref(siege: Siege) -> None:
    serial = await held(siege.stranger, "account")
    await siege.stranger.throw([EXIT, 1, serial, False, reason("Killed")])


async def ending_with_any_reason(siege: Siege) -> None:
    await siege.stranger.throw([EXIT, 1, "account", False, reason("Custom", "enough")])


async def an_order_to_stop(siege: Siege) -> None:
    for number, order in enumerate(("!stop", "!drain")):
        await siege.stranger.throw([CALL, number, "account", order, [[reason("Normal")], {}]])


async def an_exit_that_claims_a_link(siege: Siege) -> None:
    serial = await held(siege.stranger, "account")
    await siege.stranger.throw([EXIT, 1, serial, True, reason("Killed")])
    await siege.stranger.throw([EXIT, 1, "account", True, reason("Killed")])


async def an_exit_over_a_link(siege: Siege) -> None:
    serial = await held(siege.stranger, "account")
    await siege.stranger.throw([LINK, 1, serial], [EXIT, 1, serial, True, reason("Killed")])


async def a_link_that_is_lost(siege: Siege) -> None:
    serial = await held(siege.stranger, "account")
    await siege.stranger.throw([LINK, 1, serial])
    siege.stranger.close()
    await wait_all_tasks_blocked()


async def a_ref_from_a_reply_of_its_own(siege: Siege) -> None:
    await siege.stranger.throw([CALL, 7, "account", "myself", [[], {}]])
    serial = await held(siege.stranger, "account")
    await siege.stranger.throw([EXIT, 1, serial, False, reason("Killed")])


async def a_token_from_a_look_up(siege: Siege) -> None:
    """One node looks up, another presents, when the process has lost its name."""
    await siege.stranger.throw([WHEREIS, 1, "account"])
    value = msgspec.msgpack.decode(siege.stranger.heard_of(WhereisReply)[-1].payload)
    _, _, serial, token, _ = msgspec.msgpack.decode(value.data)
    ref = siege.node.whereis("account")
    assert ref is not None
    siege.node.unregister("account")
    second = await siege.another()
    await second.throw([PRESENT, serial, token], [EXIT, 1, serial, False, reason("Killed")])
    await siege.stranger.throw([PRESENT, serial, token], [EXIT, 1, serial, False, reason("Killed")])
    siege.node.register("account", ref)


@pytest.mark.parametrize(
    "attack",
    [
        killing_by_name,
        killing_by_ref,
        ending_with_any_reason,
        an_order_to_stop,
        an_exit_that_claims_a_link,
        an_exit_over_a_link,
        a_link_that_is_lost,
        a_ref_from_a_reply_of_its_own,
        a_token_from_a_look_up,
    ],
)
async def test_who_may_call_may_not_end(siege: Siege, autojump_clock: object, attack: Any) -> None:
    """D10: a name that is exported can be called; ending its holder is another right, which is not given."""
    before = siege.node.whereis("account")
    await attack(siege)
    await wait_all_tasks_blocked()
    assert siege.node.whereis("account") == before
    await siege.check()


@pytest.mark.parametrize("rights", [{"exports": "account", "ends": "acc*"}])
@pytest.mark.parametrize(
    "attack", [killing_by_name, killing_by_ref, an_order_to_stop, an_exit_over_a_link, a_link_that_is_lost]
)
async def test_who_has_the_right_ends(siege: Siege, autojump_clock: object, attack: Any) -> None:
    """The same things do what they say for a peer that may end the holder of the name."""
    await attack(siege)
    await wait_all_tasks_blocked()
    assert siege.node.whereis("account") is None


async def test_a_peer_ends_what_it_started(siege: Siege, autojump_clock: object) -> None:
    """The processes that a peer has started are its own to end."""
    await siege.stranger.throw([SPAWN, 1, "Account", [[], {}]])
    (spawned,) = siege.stranger.heard_of(Spawned)
    serial = msgspec.msgpack.decode(msgspec.msgpack.decode(spawned.payload).data)[2]
    assert serial in siege.node.processes
    await siege.stranger.throw([EXIT, 1, serial, False, reason("Killed")])
    assert serial not in siege.node.processes


@pytest.mark.parametrize("rights", [{"exports": "*", "ends": "*", "entries": "*", "groups": "*"}])
@pytest.mark.parametrize("name", ["enfilade.control", "enfilade.observe", "enfilade.anything"])
async def test_no_pattern_includes_a_reserved_name(siege: Siege, autojump_clock: object, name: str) -> None:
    """`*` exports what the program has named, and not the processes that control and observe the node."""
    ref = await siege.node.spawn(Account, name=name)
    assert await held(siege.stranger, name) is None
    await siege.stranger.throw([EXIT, 1, name, False, reason("Killed")], [CALL, 5, name, "give", [[1], {}]])
    assert ref in [process.ref for process in siege.node.processes.values()]
    (reply,) = siege.stranger.heard_of(Reply)
    assert not reply.succeeded


class Indiscreet(Account):
    """Fails with errors that name the vault."""

    def __init__(self, vault: Any) -> None:
        super().__init__()
        self.vault = vault

    async def time_out(self) -> None:
        await self.vault.within(0.1).call(Account.wait)

    def custom(self) -> None:
        raise Exit(Custom([self.vault, {"deep": (self.vault,)}]))

    def chain(self) -> None:
        raise NoProcess(self.vault, "gone")

    def link(self) -> Any:
        return NoProcess(self.vault, "gone")


@pytest.mark.parametrize("rights", [{"exports": "indiscreet", "ends": "*"}])
@pytest.mark.parametrize("method", ["time_out", "custom", "chain", "link"])
async def test_an_error_hands_nothing_out(siege: Siege, autojump_clock: object, method: str) -> None:
    """A process that is not exported stays out of reach, though an error has named it."""
    vault = await siege.node.spawn(Account, name="vault")
    await siege.node.spawn(Indiscreet, vault, name="indiscreet")
    await siege.stranger.throw([MONITOR, 9, "indiscreet"], [CALL, 1, "indiscreet", method, [[], {}]])
    await trio.sleep(1)
    siege.stranger.listen()
    assert siege.stranger.heard_of(Reply)
    for frame in siege.stranger.heard:
        for serial, token in refs_in(frame):
            assert (serial, token) == (vault.serial, b"") or serial != vault.serial
    await siege.stranger.throw(
        [CALL, 2, vault.serial, "give", [[1], {}]], [EXIT, 1, vault.serial, False, reason("Killed")]
    )
    assert siege.node.whereis("vault") == vault
    assert not [reply for reply in siege.stranger.heard_of(Reply) if reply.id == 2 and reply.succeeded]


def refs_in(frame: Any) -> list[tuple[Any, bytes]]:
    """The numbers and tokens of the refs in a frame's payload."""
    found: list[tuple[Any, bytes]] = []

    def look(code: int, data: memoryview) -> Any:
        value = decoder.decode(data) if code not in (4, 8) else None
        if code == 16:
            found.append((value[2], value[3]))
        return None

    decoder = msgspec.msgpack.Decoder(ext_hook=look)
    for name in ("payload", "reason"):
        if hasattr(frame, name):
            decoder.decode(getattr(frame, name))
    return found


@pytest.mark.parametrize(
    "rights",
    [
        {
            "exports": "*",
            "entries": "*",
            "groups": "*",
            "limits": Limits(links=5, processes=5, pending=5, pending_bytes=5_000, references=50),
        }
    ],
)
async def test_each_peer_has_limits_of_its_own(
    siege: Siege, autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    """What a peer asks for beyond a limit is refused at the peer, and logged once a second with a count."""
    stranger, node = siege.stranger, siege.node
    before = len(node.processes)
    serial = await held(stranger, "account")
    for number in range(20):
        await stranger.throw([SPAWN, number, "Account", [[], {}]])
    assert len(node.processes) == before + 5
    assert [reply.succeeded for reply in stranger.heard_of(Reply)] == [False] * 15
    stranger.heard.clear()
    await stranger.throw(*[[LINK, number, serial] for number in range(20)])
    account = node.processes[serial]  # type: ignore[index]
    assert len(account.links or ()) == 5
    assert len(stranger.heard_of(ExitFrame)) == 15
    await stranger.throw(*[[MONITOR, number, serial] for number in range(20)])
    assert len(account.watchers or ()) == 5
    stranger.heard.clear()
    await stranger.throw(*[[CALL, 100 + number, "account", "wait", [[], {}]] for number in range(20)])
    assert len(stranger.heard_of(Reply)) == 15
    for number in range(20):
        await stranger.throw([20, 100 + number])
    stranger.heard.clear()
    await stranger.throw(*[[CALL, 200 + n, "account", "wait", [["x" * 2_000], {}]] for n in range(5)])
    assert len(stranger.heard_of(Reply)) == 3
    for number in range(20):
        await stranger.throw(
            [
                MEMBERS,
                "scope",
                [
                    number,
                    [Ext(16, msgspec.msgpack.encode([stranger.name, stranger.incarnation, 5, b"", ""]))],
                ],
            ]
        )
    assert len(node.scope("scope").which_groups()) == 5
    refused = [record.getMessage() for record in caplog.records if "limit of" in record.getMessage()]
    assert 1 <= len(refused) <= 10
    # Who calls again has no more than before.
    stranger.close()
    await trio.sleep(1)
    again = Stranger(siege.network.carrier("again"), stranger.name, incarnation=7)
    await again.connect("/b")
    await again.throw([SPAWN, 1, "Account", [[], {}]])
    assert len(node.processes) == before + 5
    assert "more notices about node" in caplog.text
    again.close()


@pytest.mark.parametrize("asks_for", [Whereis, Spawn], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "answer",
    [Ext(99, b"\xc0"), 7, "account", [1], b"\x00", None],
    ids=["unknown type", "number", "text", "list", "bytes", "nothing"],
)
async def test_an_answer_that_is_none(
    siege: Siege, autojump_clock: object, asks_for: type[Any], answer: Any
) -> None:
    """Who asks a peer for a process gets a ref or an error, whatever the peer answers."""
    node, stranger = siege.node, siege.stranger
    found: list[Any] = []
    ask, tag = (node.whereis_on, 37) if asks_for is Whereis else (node.spawn_on, 33)

    async def wait() -> None:
        try:
            found.append(await ask(stranger.name, "anything"))
        except PayloadError as error:
            found.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        await stranger.throw([tag, stranger.heard_of(asks_for)[-1].id, answer])
    if answer is None and asks_for is Whereis:
        assert found == [None]
    else:
        assert type(found[0]) is PayloadError
    await siege.check()


@pytest.mark.parametrize("rights", [{"exports": "account", "limits": Limits(pending=3)}])
async def test_refusals_do_not_fill_the_log(
    siege: Siege, autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    """However often a peer does what it may not, a second of it is a line of each kind."""
    nasty = "\x1b[31mred\nERROR fake line\x07" + "x" * 5_000
    frames: list[Any] = [
        [SEND, nasty, None],
        [SEND, "account", Ext(99, b"\xc0")],
        [17, "account", nasty, [[], {}]],
        [WHEREIS, 1, nasty],
        [CALL, 1, nasty, "give", [[], {}]],
        [SPAWN, 1, nasty, [[], {}]],
        [PRESENT, 1, b"forged"],
        [EXIT, 1, "account", False, reason("Killed")],
        [MEMBERS, nasty, 7],
    ]
    for _ in range(100):
        await siege.stranger.throw(*frames)
    assert siege.stranger.name in siege.node.peers
    assert len([record for record in caplog.records if "refused a cast" not in record.getMessage()]) <= 6
    assert len(caplog.records) <= 40
    for record in caplog.records:
        line = record.getMessage()
        assert len(line) < 1_200
        assert line.isprintable(), line
    caplog.clear()
    await trio.sleep(2)
    await siege.stranger.throw(*frames)
    assert "more like it since the last such line" in caplog.text
    await siege.check()
