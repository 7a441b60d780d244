"""Hostile guests: the guest alone is hurt, its end has a precise reason, the host's memory stays bounded."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import trio
import trio.testing

from enfilade.actors import NORMAL, Down, Node, Reason, Trapped, open_node
from enfilade.actors.guests import Guest, guests_of, open_guests
from enfilade.hostcalls import abi
from enfilade.hostcalls.abi import (
    ChannelBackpressure,
    ChannelCreate,
    IoRead,
    IoWrite,
    ProcessStart,
    TimeSleep,
)
from enfilade.hostcalls.abi.actor_types import (
    ActorCall,
    ActorExit,
    ActorReason,
    ActorReceive,
    ActorReply,
    ActorSend,
    ReasonKind,
)
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.abi.catalogue import CATALOGUE
from enfilade.hostcalls.codec.rkyv import U32
from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.resources.channel import Channel, Frame
from enfilade.hostcalls.sdk.wat import Assembler
from tests.hostcalls.guests import ACTOR
from tests.hostcalls.memory import Growth

EVERYTHING = [capability for capability in Capability if not capability.name.startswith("NET")]


async def end(node: Node, guest: Assembler, **options: object) -> Reason:
    """How a guest ends, while another one goes on answering."""
    echo = await node.spawn(Guest(ACTOR, capabilities=["ActorMessage"], entrypoint="echo"))
    async with node.mailbox() as me:
        ref = await node.spawn(Guest(guest.binary(), **{"capabilities": EVERYTHING, **options}))  # type: ignore[arg-type]
        me.monitor(ref)
        reason = (await me.receive(Down, timeout=60)).reason
    assert await echo.call(Guest.request, b"alive") == b"alive"
    await echo.stop()
    return reason


def trapped(reason: Reason, kind: str) -> None:
    assert isinstance(reason, Trapped)
    assert reason.kind == kind, reason


@pytest.mark.parametrize(
    "operands",
    [
        "(i32.const -1) (i32.const 8)",
        "(i32.const 65536) (i32.const -1)",
        "(i32.const 0x7fffffff) (i32.const 8)",
        "(i32.const 0x10fffffc) (i32.const 8)",
        "(i32.const 65536) (i32.const 0x7fffffff)",
    ],
)
async def test_bad_argument_pointers(operands: str) -> None:
    """Arguments outside of the guest's memory trap it."""
    guest = Assembler("time::sleep")
    guest.function("start", f"(drop (call $time.sleep {operands}))")
    async with open_node("test") as node:
        trapped(await end(node, guest), "misused hostcall")


@pytest.mark.parametrize(
    "target", ["(i32.const -8) (i32.const 64)", "(i32.const 0x10fffff0) (i32.const 0x7fffffff)"]
)
async def test_bad_result_pointers(target: str) -> None:
    """Results that would be written outside of the guest's memory trap it."""
    guest = Assembler("time::now")
    guest.function(
        "start",
        f"""
        (drop (call $time.now.poll (call $time.now.create {guest.nothing}) (i32.const 1) {target}))
        (call $yield_now)
        (drop (call $time.now.poll (i32.const 0) (i32.const 1) {target}))
        """,
    )
    async with open_node("test") as node:
        trapped(await end(node, guest), "misused hostcall")


async def test_result_buffer_that_is_too_small() -> None:
    """An output larger than the guest's buffer traps it."""
    guest = Assembler("time::now")
    guest.function(
        "start",
        f"""
        (drop (call $time.now.create {guest.nothing}))
        (drop (call $time.now.poll (i32.const 0) (i32.const 1) (global.get $result) (i32.const 4)))
        (call $yield_now)
        (drop (call $time.now.poll (i32.const 0) (i32.const 1) (global.get $result) (i32.const 4)))
        """,
    )
    async with open_node("test") as node:
        trapped(await end(node, guest), "misused hostcall")


@pytest.mark.parametrize("index", range(len(CATALOGUE)), ids=[hostcall.name for hostcall in CATALOGUE])
async def test_garbage_arguments(index: int) -> None:
    """Bytes that are no valid input trap the guest, whatever the hostcall; where there is no input, they do
    not matter.
    """
    hostcall = CATALOGUE[index]
    guest = Assembler(hostcall.name.removeprefix("selium::"))
    short = hostcall.name.split("::", 1)[1].replace("::", ".")
    noise = guest.buffer(bytes([255, 254, 253]))
    guest.function("start", f"(drop (call ${short} {noise}))")
    async with open_node("test") as node:
        reason = await end(node, guest, capabilities=Capability)
        if hostcall.input.size == 0:
            assert reason == NORMAL
        else:
            trapped(reason, "misused hostcall")
            assert hostcall.name in reason.message  # type: ignore[union-attr]


async def test_arguments_of_a_mebibyte_of_noise() -> None:
    """A large argument that is no message is refused as quickly as a small one."""
    guest = Assembler("channel::strong_write", pages=40)
    guest.function(
        "start",
        """
        (memory.fill (i32.const 65536) (i32.const 0x7f) (i32.const 1048576))
        (drop (call $channel.strong_write (i32.const 65536) (i32.const 1048576)))
        """,
    )
    async with open_node("test") as node:
        trapped(await end(node, guest), "misused hostcall")


async def test_a_million_pending_futures() -> None:
    """Futures are limited; the guest is trapped, the host keeps no more than the limit."""
    guest = Assembler("time::sleep")
    nap = guest.message(TimeSleep, TimeSleep(1_000_000))
    guest.function(
        "start",
        f"""
        (loop $more
          (drop (call $time.sleep.create {nap}))
          (local.set 0 (i32.add (local.get 0) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get 0) (i32.const 1000000))))
        """,
        "(local i32)",
    )
    async with open_node("test") as node:
        growth = Growth()
        trapped(await end(node, guest), "limit exceeded")
        await trio.testing.wait_all_tasks_blocked()
        assert node.statistics().timers == 0
        assert growth.kibibytes() < 100_000


async def test_futures_begun_and_dropped_for_ever() -> None:
    """What is dropped is cancelled, so a guest may go on like this without using anything up."""
    guest = Assembler("time::sleep")
    nap = guest.message(TimeSleep, TimeSleep(1_000_000))
    guest.function(
        "start",
        f"""
        (loop $more
          (drop (call $time.sleep.drop (call $time.sleep.create {nap}) (global.get $result) (i32.const 64)))
          (local.set 0 (i32.add (local.get 0) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get 0) (i32.const 20000))))
        """,
        "(local i32)",
    )
    async with open_node("test") as node:
        assert await end(node, guest) == NORMAL
        assert node.statistics().timers == 0


async def test_memory_bomb() -> None:
    """Memory is limited by the guest's bounds; what it does at the bound is its own affair."""
    guest = Assembler()
    guest.function(
        "start",
        """
        (loop $more (br_if $more (i32.ne (memory.grow (i32.const 64)) (i32.const -1))))
        (if (i32.gt_u (memory.size) (i32.const 512)) (then unreachable))
        """,
    )
    async with open_node("test") as node:
        assert await end(node, guest, limits=Limits(memory=32 << 20)) == NORMAL


async def test_stack_bomb() -> None:
    """Recursion without end is a trap of its own kind."""
    guest = Assembler()
    guest.text("(func $down (call $down) (call $down))")
    guest.function("start", "(call $down)")
    async with open_node("test") as node:
        trapped(await end(node, guest), "call stack exhausted")


async def test_fork_bomb(tmp_path: Path) -> None:
    """A guest that starts itself again and again runs into its limit of children, at every generation."""
    bomb = Assembler("process::start", "time::sleep")
    grants = (Capability.PROCESS_LIFECYCLE, Capability.TIME_READ)
    request = bomb.message(
        ProcessStart, ProcessStart("bomb.wasm", "start", grants, abi.EntrypointInvocation())
    )
    nap = bomb.message(TimeSleep, TimeSleep(3_600_000))
    bomb.function(
        "start",
        f"""
        (loop $more (br_if $more (i32.ge_s (call $process.start {request}) (i32.const 0))))
        (call $ok (call $time.sleep {nap}))
        """,
    )
    (tmp_path / "bomb.wasm").write_bytes(bomb.binary())
    from enfilade.hostcalls.engine import EngineConfig

    async with open_node("test") as node:
        open_guests(node, modules=tmp_path, engine=EngineConfig(max_guests=60))
        first = await node.spawn(Guest("bomb.wasm", capabilities=grants, limits=Limits(children=3)))
        with trio.fail_after(60):
            while node.statistics().processes < 60:  # noqa: ASYNC110 - a start is no event
                await trio.sleep(0.01)
            await trio.testing.wait_all_tasks_blocked()
        assert node.statistics().processes == 60
        await first.stop()
        with trio.fail_after(60):
            while node.statistics().processes:  # noqa: ASYNC110 - a generation after the other ends
                await trio.sleep(0.01)
        assert len(guests_of(node).kernel.registry) <= 256


async def test_a_table_for_each_set_of_grants(tmp_path: Path) -> None:
    """A guest that starts children with one subset of its grants after the other leaves a bounded number of
    dispatch tables behind.
    """
    subsets = list(itertools.islice(itertools.combinations(sorted(EVERYTHING), 3), 150))
    guest = Assembler("process::start")
    guest.function(
        "start",
        "".join(
            f"(drop (call $process.start {guest.message(ProcessStart, child(grants))}))" for grants in subsets
        ),
    )
    (tmp_path / "actor.wasm").write_bytes(ACTOR)
    async with open_node("test") as node:
        kernel = open_guests(node, modules=tmp_path).kernel
        assert await end(node, guest) == NORMAL
        assert len(kernel._tables) == 64
        assert frozenset(subsets[-1]) in kernel._tables


def child(grants: tuple[Capability, ...]) -> ProcessStart:
    """The start of a guest that returns at once."""
    return ProcessStart("actor.wasm", "done", grants, abi.EntrypointInvocation())


async def test_handles_of_others() -> None:
    """Numbers that a guest was not given lead to nothing, whichever they are."""
    guest = Assembler("channel::strong_read", "channel::drain", "channel::detach", "enfilade::actor::send")
    reads = [guest.message(IoRead, IoRead(slot, 64)) for slot in (0, 1, 2, 0xFFFF_FFFF)]
    sends = [guest.message(ActorSend, ActorSend(slot, 0, b"x", (slot,))) for slot in (0, 1, 0xFFFF_FFFF)]
    guest.function(
        "start",
        "".join(
            f"(if (i32.ge_s (call $channel.strong_read {read}) (i32.const 0)) (then unreachable))"
            for read in reads
        )
        + "".join(
            f"(if (i32.ge_s (call $actor.send {send}) (i32.const 0)) (then unreachable))" for send in sends
        ),
    )
    async with open_node("test") as node:
        guests_of(node)
        assert await end(node, guest) == NORMAL


async def test_messages_to_itself_are_bounded() -> None:
    """A guest that floods its own mailbox loses messages beyond the bound, and the host keeps no more."""
    guest = Assembler("enfilade::actor::self", "enfilade::actor::send")
    guest.function(
        "start",
        f"""
        (local.set 1 (call $ok32 (call $actor.self {guest.nothing})))
        (loop $more
          (call $ok (call $send_to (local.get 1) (i32.const 65536) (i32.const 1000)))
          (local.set 0 (i32.add (local.get 0) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get 0) (i32.const 2000))))
        """,
        "(local i32 i32)",
    )
    async with open_node("test") as node:
        assert await end(node, guest, limits=Limits(mailbox=100)) == NORMAL
        assert node.dead_letters.count == 2000


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        ("(br_if $more (i32.ge_s (call $actor.monitor {other}) (i32.const 0)))", "resources"),
        (
            """
            (local.set $word (call $actor.monitor {dead}))
            (i64.store (i32.const {demonitor}) (i64.load (global.get $result)))
            (if (i32.ge_s (local.get $word) (i32.const 0)) (then
              (call $ok (call $actor.demonitor (i32.const {demonitor}) (i32.const 16)))
              (br $more)))
            """,
            "mailbox",
        ),
        ("(br_if $more (i32.ge_s (call $actor.link {dead}) (i32.const 0)))", "mailbox"),
        ("(br_if $more (i32.ge_s (call $actor.exit {exit}) (i32.const 0)))", "mailbox"),
    ],
    ids=["monitors", "notices", "links", "exits"],
)
async def test_notices_without_end(body: str, limit: str) -> None:
    """Monitors, and the notices that a guest causes itself, are bounded; the guest gets an error there."""
    guest = Assembler(
        *(f"enfilade::actor::{name}" for name in ("self", "trap", "link", "monitor", "demonitor", "exit"))
    )
    operands = {
        "other": guest.message(U32, 0),
        "dead": guest.message(U32, 1),
        "exit": guest.message(ActorExit, ActorExit(2, ActorReason(ReasonKind.OTHER, "again"))),
        "demonitor": str(guest.data(bytes(16))),
    }
    guest.function(
        "start",
        f"""
        (call $ok (call $actor.self {guest.nothing}))
        (call $ok (call $actor.trap {guest.message(bool, True)}))
        (loop $more
          (local.set $turns (i32.add (local.get $turns) (i32.const 1)))
          {body.format(**operands)})
        (if (i32.ne (local.get $turns) (i32.const 101)) (then unreachable))
        """,
        "(param i32 i32) (local $turns i32) (local $word i32)",
    )
    async with open_node("test") as node, node.mailbox() as me:
        dead = await node.spawn(Guest(ACTOR, entrypoint="done", capabilities=EVERYTHING))
        me.monitor(dead)
        await me.receive(Down, timeout=60)
        limits = Limits(mailbox=100) if limit == "mailbox" else Limits(resources=100)
        hostile = Guest(guest.binary(), capabilities=EVERYTHING, limits=limits)
        me.monitor(await node.spawn(hostile, me.ref, dead))
        assert (await me.receive(Down, timeout=60)).reason == NORMAL


async def test_channels_without_end() -> None:
    """Slots and channel bytes are bounded; the guest gets errors, the host no more than the bound."""
    guest = Assembler("channel::create")
    create = guest.message(ChannelCreate, ChannelCreate(1024, ChannelBackpressure.PARK))
    guest.function(
        "start",
        f"""
        (loop $more
          (local.set 0 (i32.add (local.get 0) (i32.const 1)))
          (br_if $more (i32.ge_s (call $channel.create {create}) (i32.const 0))))
        (if (i32.ne (local.get 0) (i32.const 33)) (then unreachable))
        """,
        "(local i32)",
    )
    async with open_node("test") as node:
        assert await end(node, guest, limits=Limits(resources=32)) == NORMAL
        assert await end(node, guest, limits=Limits(channel_bytes=32 * 4096)) == NORMAL


async def test_polling_what_is_not_there() -> None:
    """Unknown futures are errors, not traps, and polling them for ever is only computing."""
    guest = Assembler("time::now")
    guest.function(
        "start",
        """
        (loop $more
          (if (i32.ne (i32.const 0x80000001)
              (call $time.now.poll (i32.const 12345) (i32.const 1) (global.get $result) (i32.const 256)))
            (then unreachable))
          (local.set 0 (i32.add (local.get 0) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get 0) (i32.const 100000))))
        """,
        "(local i32)",
    )
    async with open_node("test") as node:
        assert await end(node, guest) == NORMAL


async def test_asking_for_what_is_there_at_once() -> None:
    """Hostcalls that have their answers when they are polled fill no mailbox, whoever never waits."""
    guest = Assembler("time::now")
    guest.function(
        "start",
        f"""
        (loop $more
          (call $ok (call $time.now {guest.nothing}))
          (local.set 0 (i32.add (local.get 0) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get 0) (i32.const 1000))))
        """,
        "(local i32)",
    )
    async with open_node("test") as node:
        assert await end(node, guest, limits=Limits(futures=100)) == NORMAL


async def test_oversize_log_registration_and_reply_noise() -> None:
    """Replies to what is no request, and logs that are no channel, are errors."""
    guest = Assembler("process::register_log_channel", "enfilade::actor::reply", "enfilade::actor::call")
    registration = guest.message(abi.ProcessLogRegistration, abi.ProcessLogRegistration(1 << 60))
    reply = guest.message(ActorReply, ActorReply(3, b"x"))
    call = guest.message(ActorCall, ActorCall(3, None, b"x", (), 10))
    guest.function(
        "start",
        f"""
        (if (i32.ge_s (call $process.register_log_channel {registration}) (i32.const 0)) (then unreachable))
        (if (i32.ge_s (call $actor.reply {reply}) (i32.const 0)) (then unreachable))
        (if (i32.ge_s (call $actor.call {call}) (i32.const 0)) (then unreachable))
        """,
    )
    async with open_node("test") as node:
        assert await end(node, guest) == NORMAL


async def test_two_receives_at_once() -> None:
    """A second receive while one waits is an invalid argument, and the first goes on."""
    guest = Assembler("enfilade::actor::receive")
    waiting = guest.message(ActorReceive, ActorReceive(50, 0, None, 10))
    guest.function(
        "start",
        f"""
        (local.set 0 (call $actor.receive.create {waiting}))
        (if (i32.ge_s (call $actor.receive {waiting}) (i32.const 0)) (then unreachable))
        (call $ok (call $wait (local.get 0)))
        """,
        "(local i32)",
    )
    async with open_node("test") as node:
        assert await end(node, guest) == NORMAL


async def test_writes_that_wait_for_ever() -> None:
    """A guest that dies in the middle of its writes and reads leaves no frame, reader or writer behind."""
    guest = Assembler(
        "channel::create",
        "channel::strong_writer_create",
        "channel::strong_reader_create",
        "channel::strong_write",
    )
    create = guest.message(ChannelCreate, ChannelCreate(4, ChannelBackpressure.PARK))
    zero = guest.message(U32, 0)
    full, more = guest.message(IoWrite, IoWrite(1, b"full")), guest.message(IoWrite, IoWrite(1, b"more"))
    guest.function(
        "start",
        f"""
        (call $ok (call $channel.create {create}))
        (call $ok (call $channel.strong_writer_create {zero}))
        (call $ok (call $channel.strong_reader_create {zero}))
        (call $ok (call $channel.strong_write {full}))
        (drop (call $channel.strong_write.create {more}))
        unreachable
        """,
    )
    async with open_node("test") as node:
        trapped(await end(node, guest), "unreachable instruction")
        assert len(guests_of(node).kernel.registry) == 2  # the tombstones of the two guests


async def test_flood_of_submissions_is_served_in_pieces() -> None:
    """Thousands of hostcalls begun at once do not hold up the loop; all are done, in order, before the
    guest's end.
    """
    guest = Assembler("channel::create", "channel::weak_writer_create", "channel::weak_write")
    create = guest.message(ChannelCreate, ChannelCreate(1 << 20, ChannelBackpressure.PARK))
    zero = guest.message(U32, 0)
    write = guest.message(IoWrite, IoWrite(1, b"x"))
    guest.function(
        "start",
        f"""
        (call $ok (call $channel.create {create}))
        (call $ok (call $channel.weak_writer_create {zero}))
        (loop $more
          (drop (call $channel.weak_write.create {write}))
          (local.set 0 (i32.add (local.get 0) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get 0) (i32.const 10000))))
        """,
        "(local i32)",
    )
    written: list[int] = []
    original = Channel._append

    def counted(self: Channel, frame: Frame) -> None:
        written.append(frame.sequence)
        original(self, frame)

    async with open_node("test") as node:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Channel, "_append", counted)
            assert await end(node, guest) == NORMAL
    assert written == list(range(10_000))


async def test_what_waits_with_the_host_is_bounded() -> None:
    """Arguments whose operation is under way count as long as it is: a thousand parked writes of a mebibyte
    each are a trap, and not a gibibyte.
    """
    guest = Assembler(
        "channel::create",
        "channel::weak_writer_create",
        "channel::strong_reader_create",
        "channel::weak_write",
        pages=40,
    )
    create = guest.message(ChannelCreate, ChannelCreate(1 << 20, ChannelBackpressure.PARK))
    zero = guest.message(U32, 0)
    root = (1 << 16) + (1 << 20)  # IoWrite behind its mebibyte of payload
    guest.function(
        "start",
        f"""
        (call $ok (call $channel.create {create}))
        (call $ok (call $channel.strong_reader_create {zero}))
        (i32.store offset=4 (i32.const {root}) (i32.const {-(1 << 20) - 4}))
        (i32.store offset=8 (i32.const {root}) (i32.const {1 << 20}))
        (loop $more
          (local.set 0 (call $ok32 (call $channel.weak_writer_create {zero})))
          (i32.store (i32.const {root}) (local.get 0))
          (drop (call $channel.weak_write.create (i32.const {1 << 16}) (i32.const {(1 << 20) + 12})))
          (br_if $more (i32.lt_u (local.get 0) (i32.const 1000))))
        """,
        "(local i32)",
    )
    async with open_node("test") as node:
        growth = Growth()
        reason = await end(node, guest)
        trapped(reason, "limit exceeded")
        assert "more than 16777216 bytes queued" in reason.message  # type: ignore[union-attr]
        assert growth.kibibytes() < 100_000


async def test_messages_that_are_too_long() -> None:
    """Messages beyond the limit are refused; large data goes through channels."""
    guest = Assembler("enfilade::actor::self", "enfilade::actor::send")
    guest.function(
        "start",
        f"""
        (local.set 0 (call $ok32 (call $actor.self {guest.nothing})))
        (if (i32.ge_s (call $send_to (local.get 0) (i32.const 65536) (i32.const 1001)) (i32.const 0))
          (then unreachable))
        (call $ok (call $send_to (local.get 0) (i32.const 65536) (i32.const 1000)))
        """,
        "(local i32)",
    )
    async with open_node("test") as node:
        assert await end(node, guest, limits=Limits(message_bytes=1000)) == NORMAL
