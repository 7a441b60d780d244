"""Hostile families: a guest and all that it starts get together what one guest may have."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from enfilade.actors import NORMAL, Down, Node, Trapped, open_node
from enfilade.actors.guests import Guest, guests_of, open_guests, run_guest
from enfilade.hostcalls import abi
from enfilade.hostcalls.abi import ChannelBackpressure, ChannelCreate, ProcessStart, TimeSleep
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.abi.errors import LimitReached
from enfilade.hostcalls.codec.rkyv import U32, codec
from enfilade.hostcalls.contracts.budget import Budget
from enfilade.hostcalls.contracts.caller import Caller
from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.engine import Engine, EngineConfig, Instance, Step
from enfilade.hostcalls.resources.logs import LogRecord
from enfilade.hostcalls.resources.rate import Rate
from enfilade.hostcalls.resources.registry import Kind
from enfilade.hostcalls.sdk.wat import Assembler
from tests.hostcalls.desk import Desk, ManualClock
from tests.hostcalls.engine.script import YIELD, Op, ScriptRunner
from tests.hostcalls.guests import ACTOR, PUPPET, GuestError, Puppet
from tests.hostcalls.memory import Growth
from tests.hostcalls.test_logs import encode

pytest_plugins = ["enfilade.actors.testing.plugin"]

EVERYTHING = [capability for capability in Capability if not capability.name.startswith("NET")]
GRANTS = (Capability.PROCESS_LIFECYCLE, Capability.TIME_READ)
MEBIBYTE = 1 << 20


def fork_bomb(directory: Path, then: str = "") -> Guest:
    """A guest that starts itself until that is refused, and then sleeps; `then` comes before it sleeps."""
    guest = Assembler("process::start", "time::sleep")
    request = ProcessStart("bomb.wasm", "start", GRANTS, abi.EntrypointInvocation())
    again = guest.message(ProcessStart, request)
    nap = guest.message(TimeSleep, TimeSleep(3_600_000))
    guest.function(
        "start",
        f"""
        (loop $more (br_if $more (i32.ge_s (call $process.start {again}) (i32.const 0))))
        {then}
        (call $ok (call $time.sleep {nap}))
        """,
    )
    (directory / "bomb.wasm").write_bytes(guest.binary())
    return Guest("bomb.wasm", capabilities=GRANTS)


def callers(node: Node) -> list[Caller]:
    """The guests of a node that live."""
    found = [entry.payload for entry in guests_of(node).kernel.registry.of_kind(Kind.PROCESS)]
    return [caller for caller in found if caller is not None and not caller.ended]


async def processes(node: Node, wanted: int) -> None:
    """Wait until the node has so many processes."""
    with trio.fail_after(60):
        while node.statistics().processes != wanted:  # noqa: ASYNC110 - a start is no event
            await trio.sleep(0.005)


async def test_a_fork_bomb_gets_its_familys_share(tmp_path: Path) -> None:
    """By the defaults it gets 64 of 200 places, and 64 guests of 16 MiB; others start as before. When its
    root is stopped, everything is given back.
    """
    async with open_node("test") as node:
        open_guests(node, modules=tmp_path, engine=EngineConfig(max_guests=200))
        root = await node.spawn(fork_bomb(tmp_path))
        await processes(node, 64)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert node.statistics().processes == 64
        budget = callers(node)[0].budget
        assert budget.processes == 64
        assert budget.purse.memory_used == 64 * 16 * MEBIBYTE
        assert {caller.budget for caller in callers(node)} == {budget}
        assert await run_guest(node, Guest(ACTOR, entrypoint="done")) == NORMAL
        await root.stop()
        await processes(node, 0)
        assert (budget.processes, budget.purse.memory_used) == (0, 0)


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"children": 1}, "children=1"),
        ({"tree_processes": 2}, "tree_processes=2"),
        ({"tree_memory": 47 * MEBIBYTE}, "tree_memory=49283072"),
    ],
)
async def test_the_refusal_names_the_limit(tmp_path: Path, limits: dict[str, int], named: str) -> None:
    """A guest that may have one child gets an error with the limit and its value for the second; when the
    child has ended there is room again.
    """
    (tmp_path / "actor.wasm").write_bytes(ACTOR)
    nap = ProcessStart("actor.wasm", "nap", (Capability.TIME_READ,), abi.EntrypointInvocation())
    async with open_node("test") as node:
        open_guests(node, modules=tmp_path)
        guest = Puppet(await node.spawn(Guest(PUPPET, capabilities=EVERYTHING, limits=Limits(**limits))))  # type: ignore[arg-type]
        first = await guest.do(c.PROCESS_START, nap)
        for _ in range(2):
            with pytest.raises(GuestError) as caught:
                await guest.do(c.PROCESS_START, nap)
            assert str(caught.value) == f"internal error: the limit {named} is reached"
        await guest.do(c.PROCESS_STOP, first)
        await processes(node, 1)
        await guest.do(c.PROCESS_START, nap)


async def test_a_family_that_fills_its_memory(tmp_path: Path) -> None:
    """Guests that grow as far as they can, at the same time on every worker, never have more than the tree's
    memory together, and all of that.
    """
    grow = "(loop $grow (br_if $grow (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))"
    limits = Limits(tree_memory=200 * MEBIBYTE, tree_processes=8, children=8)
    bomb = fork_bomb(tmp_path, grow)
    async with open_node("test") as node:
        open_guests(node, modules=tmp_path, engine=EngineConfig(max_guests=200))
        root = await node.spawn(Guest(bomb.module, capabilities=GRANTS, limits=limits))
        await processes(node, 8)
        budget = callers(node)[0].budget
        with trio.fail_after(60):
            while budget.purse.memory_used < 190 * MEBIBYTE:
                assert budget.purse.memory_used <= limits.tree_memory
                await trio.sleep(0.005)
        sizes = [
            caller.host.execution.instance.memory_size  # type: ignore[attr-defined]
            for caller in callers(node)
            if not caller.host.execution.instance.offloaded  # type: ignore[attr-defined]
        ]
        assert sum(sizes) <= limits.tree_memory
        await root.stop()
        await processes(node, 0)
        assert budget.purse.memory_used == 0


async def test_one_guest_may_use_all_memory_of_its_tree() -> None:
    """Alone it is lent everything at once."""
    guest = Assembler()
    guest.function("start", "(if (i32.eq (memory.grow (i32.const 2000)) (i32.const -1)) (then unreachable))")
    async with open_node("test") as node:
        limits = Limits(memory=150 * MEBIBYTE, tree_memory=150 * MEBIBYTE)
        assert await run_guest(node, Guest(guest.binary(), limits=limits)) == NORMAL
        limits = Limits(memory=150 * MEBIBYTE, tree_memory=100 * MEBIBYTE)
        assert isinstance(await run_guest(node, Guest(guest.binary(), limits=limits)), Trapped)


@pytest.mark.real
async def test_a_family_that_computes(tmp_path: Path) -> None:
    """Eight guests that compute for ever use the time of one, and all end for that reason."""
    bomb = fork_bomb(tmp_path, "(loop $for_ever (br $for_ever))")
    limits = Limits(cpu_time=0.5, tree_processes=8)
    async with open_node("test") as node, node.mailbox() as me:
        open_guests(node, modules=tmp_path, engine=EngineConfig(max_guests=200))
        root = await node.spawn(Guest(bomb.module, capabilities=GRANTS, limits=limits))
        me.monitor(root)
        budget = callers(node)[0].budget
        down = await me.receive(Down, timeout=60)
        assert isinstance(down.reason, Trapped)
        assert down.reason.kind == "cpu time exhausted"
        await processes(node, 1)
        assert 0.5 <= budget.purse.cpu_time < 1.5


def test_what_a_family_uses_is_renewed() -> None:
    """Two guests compute in turns for many times what they may use at a stretch."""
    budget = Budget(Limits(cpu_time=0.005, cpu_renewal=1000.0), ManualClock())
    once = Budget(Limits(cpu_time=0.005, cpu_renewal=0.0), ManualClock())
    program = [(Op.COUNT, 300_000), YIELD] * 50
    with Engine(config=EngineConfig(max_guests=4, workers=0)) as engine:
        for purse, end in ((budget.purse, Step.FINISHED), (once.purse, Step.TRAPPED)):
            runs = [ScriptRunner(engine)(program, purse=purse) for _ in range(2)]
            steps = [run.run() for run in runs]
            while Step.PARKED in steps:
                for run in runs:
                    run.instance.release()
                steps = [run.run() for run in runs]
            assert steps == [end] * 2
            assert purse.cpu_time > 0.005


async def test_channels_of_a_family(tmp_path: Path) -> None:
    """What parent and child create counts for both; what is deleted counts no longer."""
    desk = Desk()
    parent = desk.caller(channel_bytes=3 * 4096)
    child = desk.caller(parent=parent.id)
    child.place.budget = parent.budget
    create = ChannelCreate(1, ChannelBackpressure.PARK)
    slots = [desk.call(caller, c.CHANNEL_CREATE, create) for caller in (parent, child, child)]
    for caller in (parent, child):
        with pytest.raises(LimitReached) as caught:
            desk.call(caller, c.CHANNEL_CREATE, create)
        assert "channel_bytes=12288" in caught.value.why
    desk.call(child, c.CHANNEL_DELETE, slots[2])
    desk.call(parent, c.CHANNEL_CREATE, create)


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        ("(call $ok (call $channel.create {create})) (call $ok (call $channel.delete {zero}))", "hostcalls"),
        ("(call $ok (call $send_to (local.get 0) (i32.const 65536) (i32.const 1)))", "messages"),
    ],
    ids=["hostcalls", "messages"],
)
async def test_rates(body: str, limit: str, autojump_clock: trio.testing.MockClock) -> None:
    """A guest that makes 3,000 hostcalls, or sends 3,000 messages, where it may 500 a second is made to wait
    for five seconds; nothing is refused.
    """
    guest = Assembler("channel::create", "channel::delete", "enfilade::actor::send")
    operands = {
        "create": guest.message(ChannelCreate, ChannelCreate(1, ChannelBackpressure.PARK)),
        "zero": guest.message(U32, 0),
    }
    turns = 1500 if limit == "hostcalls" else 3000
    guest.function(
        "start",
        f"""
        (loop $more
          {body.format(**operands)}
          (local.set $turns (i32.add (local.get $turns) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get $turns) (i32.const {turns}))))
        """,
        "(param $to i32) (local $turns i32)",
    )
    async with open_node("test") as node, node.mailbox() as me:
        limits = Limits(**{limit: 500.0})  # type: ignore[arg-type]
        argument = me.ref if limit == "messages" else 0
        began = trio.current_time()
        reason = await run_guest(
            node, Guest(guest.binary(), capabilities=EVERYTHING, limits=limits, arguments=[argument])
        )
        assert reason == NORMAL
        assert 4.0 < trio.current_time() - began < 8.0


def test_rate() -> None:
    """A second's worth may happen at once, and no more is saved up."""
    desk = Desk()
    rate = Rate(100, desk.clock, desk.clock.now)
    rate.left -= 100
    assert rate.pause() == 0
    rate.left -= 50
    assert rate.pause() == pytest.approx(0.5)
    desk.clock.advance(0.25)
    assert rate.pause() == pytest.approx(0.25)
    desk.clock.advance(1000)
    assert rate.pause() == 0
    assert rate.left <= 100


async def test_a_guest_that_rests_can_be_stopped(autojump_clock: trio.testing.MockClock) -> None:
    """And leaves no timer behind."""
    guest = Assembler("channel::create", "channel::delete")
    create = guest.message(ChannelCreate, ChannelCreate(1, ChannelBackpressure.PARK))
    zero = guest.message(U32, 0)
    guest.function(
        "start",
        f"""
        (loop $more
          (drop (call $channel.create {create})) (drop (call $channel.delete {zero})) (br $more))
        """,
    )
    async with open_node("test") as node:
        limits = Limits(hostcalls=1.0)
        ref = await node.spawn(Guest(guest.binary(), capabilities=EVERYTHING, limits=limits))
        await trio.sleep(0.01)
        assert node.statistics().timers == 1
        await ref.stop()
        assert node.statistics().timers == 0


def test_log_records(caplog: pytest.LogCaptureFixture) -> None:
    """A guest that writes log records without end has 10 a second emitted, also when it registers another
    channel; at its end no more come at once, and no timer stays.
    """
    desk = Desk()
    caller = desk.caller(log_records=10.0)
    logs = []
    for _ in range(2):
        slot = desk.call(caller, c.CHANNEL_CREATE, ChannelCreate(1 << 20, ChannelBackpressure.DROP))
        handle = desk.call(caller, c.CHANNEL_SHARE, slot)
        writer = desk.call(caller, c.CHANNEL_WEAK_WRITER_CREATE, slot)
        desk.call(caller, c.PROCESS_REGISTER_LOG_CHANNEL, abi.ProcessLogRegistration(handle))
        logs.append(writer)
    record = encode(LogRecord(4, "app", "again"))
    with caplog.at_level(logging.INFO, logger="enfilade.guest"):
        for writer in logs * 500:
            desk.call(caller, c.CHANNEL_WEAK_WRITE, abi.IoWrite(writer, record)).result()
        assert 10 <= caplog.text.count("again") <= 11
        for seconds in range(1, 4):
            desk.clock.advance(1)
            assert caplog.text.count("again") <= 11 + 12 * seconds
        assert caplog.text.count("again") > 11
        emitted = caplog.text.count("again")
        desk.kernel.family.ended(caller)
        desk.kernel.family.close()
        assert caplog.text.count("again") <= emitted + 1
    assert desk.clock.waiting == 0


# Copies.


def crowd(readers: int, size: int) -> Assembler:
    """A guest with so many pending reads of one channel, into which it writes a frame of `size` bytes."""
    guest = Assembler(
        "channel::create",
        "channel::weak_reader_create",
        "channel::weak_writer_create",
        "channel::weak_read",
        "channel::weak_write",
        pages=40,
    )
    create = guest.message(ChannelCreate, ChannelCreate(size, ChannelBackpressure.PARK))
    zero = guest.message(U32, 0)
    read = guest.data(codec(abi.IoRead).encode(abi.IoRead(0, size)))
    frame = 1 << 20
    root = frame + size
    guest.function(
        "start",
        f"""
        (call $ok (call $channel.create {create}))
        (local.set 1 (call $ok32 (call $channel.weak_writer_create {zero})))
        (loop $more
          (i32.store (i32.const {read}) (call $ok32 (call $channel.weak_reader_create {zero})))
          (drop (call $channel.weak_read.create (i32.const {read}) (i32.const 8)))
          (local.set 0 (i32.add (local.get 0) (i32.const 1)))
          (br_if $more (i32.lt_u (local.get 0) (i32.const {readers}))))
        (i32.store (i32.const {root}) (local.get 1))
        (i32.store offset=4 (i32.const {root}) (i32.const {-size - 4}))
        (i32.store offset=8 (i32.const {root}) (i32.const {size}))
        (drop (call $channel.weak_write (i32.const {frame}) (i32.const {size + 12})))
        """,
        "(local i32 i32)",
    )
    return guest


@pytest.mark.real
async def test_one_frame_for_a_crowd_of_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame of half a mebibyte that 900 reads of one guest wait for ends the guest, and is not copied 900
    times before that.
    """
    async with open_node("test") as node:
        guests_of(node)
        growth = Growth()
        answers: list[int] = []
        original = Instance.complete
        limits = Limits(readers=1000)

        def complete(instance: Instance, future: int, payload: bytes) -> None:
            answers.append(future)
            original(instance, future, payload)

        monkeypatch.setattr(Instance, "complete", complete)
        guest = Guest(crowd(900, 1 << 19).binary(), capabilities=EVERYTHING, limits=limits)
        reason = await run_guest(node, guest)
        assert isinstance(reason, Trapped)
        assert "bytes queued" in reason.message
        assert growth.kibibytes() < 80_000
        assert len(answers) < 40  # 16 MiB of half mebibytes, and the one that was too much


async def test_readers_of_one_channel_are_bounded() -> None:
    """By default a guest may have 64; those that are gone do not count, nor do those of other channels."""
    desk = Desk()
    caller = desk.caller()
    one, two = [
        desk.call(caller, c.CHANNEL_CREATE, ChannelCreate(64, ChannelBackpressure.PARK)) for _ in range(2)
    ]
    readers = [desk.call(caller, c.CHANNEL_WEAK_READER_CREATE, one) for _ in range(64)]
    for hostcall in (c.CHANNEL_WEAK_READER_CREATE, c.CHANNEL_STRONG_READER_CREATE):
        with pytest.raises(LimitReached) as caught:
            desk.call(caller, hostcall, one)
        assert "readers=64" in caught.value.why
    desk.call(caller, c.CHANNEL_STRONG_READER_CREATE, two)
    desk.call(caller, c.CHANNEL_DETACH, readers.pop())
    desk.call(caller, c.CHANNEL_STRONG_READER_CREATE, one)
    caller.end()
    assert not caller.readers


# Mailboxes of others.


@pytest.mark.parametrize(("size", "most"), [(1, 4096), (65_000, 1033)])
async def test_a_flood_of_messages(size: int, most: int) -> None:
    """An actor with an unbounded mailbox that does not read gets a bounded number of messages from a guest,
    and of bytes; then sending fails, and says why.
    """

    async def deaf(me: Any) -> None:
        await trio.sleep_forever()

    guest = Assembler("enfilade::actor::send")
    guest.function(
        "start",
        f"""
        (loop $more (br_if $more
          (i32.ge_s (call $send_to (local.get 0) (i32.const 65536) (i32.const {size})) (i32.const 0))))
        """,
        "(param i32)",
    )
    async with open_node("test") as node:
        victim = await node.spawn(deaf, name="deaf")
        for to in (victim, node.named("deaf")):
            assert (
                await run_guest(node, Guest(guest.binary(), capabilities=EVERYTHING, arguments=[to]))
                == NORMAL
            )
            assert most - 5 <= node.statistics().queued <= most


def test_a_budget_is_made_for_each_root() -> None:
    """Two guests that the embedder starts share nothing."""
    desk = Desk()
    one, two = desk.caller(), desk.caller()
    assert one.budget is not two.budget
    assert isinstance(one.budget, Budget)
