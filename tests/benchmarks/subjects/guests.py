"""Our guests: the engine alone, and guests as processes of a node."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import trio
import trio.testing

from enfilade.actors import KILL, Down, open_node
from enfilade.actors.guests import Guest, open_guests
from enfilade.hostcalls.abi import IoRead, IoWrite
from enfilade.hostcalls.abi.actor_types import ActorCall, ActorReceive
from enfilade.hostcalls.codec.rkyv import codec
from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.engine import Engine, EngineConfig, Import, InvalidConfig, Pause, Step
from enfilade.hostcalls.resources.channel import Channel
from enfilade.hostcalls.resources.endpoints import ChannelReceiver, ChannelSender
from enfilade.hostcalls.sdk.wat import Assembler
from tests.benchmarks.kernel import CannotRun, kernel, resident_bytes
from tests.benchmarks.peers.modules import ASKING, PARKING, binary
from tests.benchmarks.subjects.tier import run

CAPABILITIES = ("ActorMessage", "TimeRead", "ChannelReader", "ChannelWriter")
MESSAGE = bytes(64)

CROWD = 100
"""Guests of `guest-spawn` that are alive at a time, here and in hostcalls/engine/shim/bench/raw.c."""


def _wake() -> None:
    """The guest can go on; whoever waits for that here resumes it himself."""


@functools.cache
def _module() -> bytes:
    """`idle` receives for ever, `echo` answers requests, `take` receives so many messages, `converse` calls
    another so often, `write` writes so many frames, `pair` also reads them, `ask` asks for its own slot,
    `clock` for the time, `compute` counts."""
    guest = Assembler(
        "enfilade::actor::receive",
        "enfilade::actor::reply",
        "enfilade::actor::call",
        "channel::strong_reader_create",
        "channel::strong_writer_create",
        "channel::strong_read",
        "channel::strong_write",
        "enfilade::actor::self",
        "time::now",
    )
    anything = guest.message(ActorReceive, ActorReceive(timeout_ms=None, kinds=0, tag=None, data_limit=4096))
    guest.function("idle", f"(loop $again (call $ok (call $actor.receive {anything})) (br $again))")
    guest.function(
        "echo",
        f"""
        (loop $again
          (call $received (call $actor.receive {anything}))
          (if (i32.eq (call $kind) (i32.const 1))
            (then (call $ok (call $reply_with (call $request) (call $data) (call $length)))))
          (br $again))""",
    )
    guest.function(
        "take",
        f"""
        (loop $again
          (call $ok (call $actor.receive {anything}))
          (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
          (br_if $again (local.get 0)))""",
        "(param i32)",
    )
    call, callee = _with_slot(guest, ActorCall, lambda slot: ActorCall(slot, None, MESSAGE, (), 4096))
    guest.function(
        "converse",
        f"""
        (i32.store (i32.const {callee}) (local.get 0))
        (loop $again
          (call $ok (call $actor.call {call}))
          (local.set 1 (i32.sub (local.get 1) (i32.const 1)))
          (br_if $again (local.get 1)))""",
        "(param i32 i32)",
    )
    write, writer = _with_slot(guest, IoWrite, lambda slot: IoWrite(slot, MESSAGE))
    guest.function(
        "write",
        f"""
        (i32.store (i32.const 65536) (local.get 0))
        (i32.store (i32.const {writer})
          (call $ok32 (call $channel.strong_writer_create (i32.const 65536) (i32.const 4))))
        (loop $again
          (call $ok (call $channel.strong_write {write}))
          (local.set 1 (i32.sub (local.get 1) (i32.const 1)))
          (br_if $again (local.get 1)))""",
        "(param i32 i32)",
    )
    read, reader = _with_slot(guest, IoRead, lambda slot: IoRead(slot, 4096))
    guest.function(
        "pair",
        f"""
        (i32.store (i32.const 65536) (local.get 0))
        (i32.store (i32.const {writer})
          (call $ok32 (call $channel.strong_writer_create (i32.const 65536) (i32.const 4))))
        (i32.store (i32.const {reader})
          (call $ok32 (call $channel.strong_reader_create (i32.const 65536) (i32.const 4))))
        (loop $again
          (call $ok (call $channel.strong_write {write}))
          (call $ok (call $channel.strong_read {read}))
          (local.set 1 (i32.sub (local.get 1) (i32.const 1)))
          (br_if $again (local.get 1)))""",
        "(param i32 i32)",
    )
    for name, call in (("ask", "actor.self"), ("clock", "time.now")):
        guest.function(
            name,
            f"""
            (loop $again
              (call $ok (call ${call} {guest.nothing}))
              (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
              (br_if $again (local.get 0)))""",
            "(param i32)",
        )
    guest.function(
        "compute",
        """
        (loop $again
          (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
          (br_if $again (local.get 0)))""",
        "(param i32)",
    )
    return guest.binary()


def _with_slot(guest: Assembler, annotation: Any, message: Callable[[int], Any]) -> tuple[str, int]:
    """The operands of an encoded message, and the address of the slot number in it, to be written later."""
    one, other = codec(annotation).encode(message(0)), codec(annotation).encode(message(0xFFFFFFFF))
    offset = next(at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)
    address = guest.data(one)
    return f"(i32.const {address}) (i32.const {len(one)})", address + offset


def _guest(entrypoint: str, *arguments: Any, limits: Limits | None = None) -> Guest:
    return Guest(
        _module(),
        entrypoint=entrypoint,
        capabilities=CAPABILITIES,
        arguments=arguments,
        limits=limits or Limits(),
    )


@kernel("guest-spawn", variant="engine")
def spawn_in_engine(guests: int) -> float:
    """In crowds, in an engine whose places for guests are warm."""
    crowd = min(CROWD, guests)
    with Engine(config=EngineConfig(max_guests=2 * crowd)) as engine:
        linked = engine.link(engine.compile(binary(PARKING)), [])
        limits = Limits()

        def spawn(crowds: int) -> None:
            for _ in range(crowds):
                instances = [engine.instantiate(linked, limits, _wake) for _ in range(crowd)]
                for instance in instances:
                    instance.start("park")
                    instance.resume()
                for instance in instances:
                    instance.close()

        spawn(2)
        begin = time.perf_counter()
        spawn(guests // crowd)
        return (time.perf_counter() - begin) / (guests // crowd * crowd)


@kernel("guest-spawn", variant="guest", run=run)
async def spawn_guests(guests: int) -> float:
    """In crowds, spawned one after another and killed, in an engine whose places for guests are warm."""
    idle = _guest("idle")
    crowd = min(CROWD, guests)
    async with open_node("bench") as node, node.mailbox() as me:
        await open_guests(node, engine=EngineConfig(max_guests=2 * crowd)).load(_module())

        async def spawn(crowds: int) -> None:
            for _ in range(crowds):
                refs = [await node.spawn(idle) for _ in range(crowd)]
                for ref in refs:
                    me.monitor(ref)
                    me.exit(ref, KILL)
                for _ in refs:
                    await me.receive(Down)

        await spawn(2)
        begin = time.perf_counter()
        await spawn(guests // crowd)
        return (time.perf_counter() - begin) / (guests // crowd * crowd)


class _Answering:
    """Answers every hostcall, as the package's callback does."""

    def serve(self, future: int, index: int, arguments: bytes) -> bytes:
        return b"12345678"


@kernel("hostcall", variant="engine")
def hostcalls_in_engine(calls: int) -> float:
    with Engine(config=EngineConfig(max_guests=2)) as engine:
        linked = engine.link(engine.compile(binary(ASKING)), [Import("bench::host", 0, denied=False)])
        instance = engine.instantiate(linked, Limits(), _wake)
        instance.start("ask", (calls,))
        begin = time.perf_counter()
        while instance.run(_Answering(), 0.001) is not Pause.ENDED:
            pass
        assert instance.step is Step.FINISHED
        elapsed = time.perf_counter() - begin
        instance.close()
        return elapsed / calls


async def _lifetime(*guests: Guest) -> float:
    """Seconds from the spawn of these guests to the end of the last."""
    async with open_node("bench") as node, node.mailbox() as me:
        await open_guests(node).load(_module())
        begin = time.perf_counter()
        for guest in guests:
            me.monitor(await node.spawn(guest))
        for _ in guests:
            down: Any = await me.receive(Down)
            assert down.reason.is_normal, down.reason
        return time.perf_counter() - begin


@kernel("hostcall", variant="guest", run=run)
async def hostcalls_of_guest(calls: int) -> float:
    return await _lifetime(_guest("ask", calls)) / calls


@kernel("guest-clock", variant="guest", run=run)
async def clock_of_guest(calls: int) -> float:
    return await _lifetime(_guest("clock", calls)) / calls


@kernel("channel-pair", variant="guest", run=run)
async def channel_pairs(pairs: int) -> float:
    return await _lifetime(_guest("pair", Channel(2**16), pairs)) / pairs


@kernel("guest-compute", variant="guest", run=run)
async def compute(loops: int) -> float:
    return await _lifetime(_guest("compute", loops), _guest("compute", loops))


@kernel("guest-call", variant="guest", run=run)
async def guest_call(calls: int, size: int) -> float:
    payload = bytes(size)
    async with open_node("bench") as node:
        ref = await node.spawn(_guest("echo"))
        assert await ref.call(Guest.request, payload) == payload
        begin = time.perf_counter()
        for _ in range(calls):
            await ref.call(Guest.request, payload)
        return (time.perf_counter() - begin) / calls


@kernel("guest-send", variant="guest", run=run)
async def guest_send(messages: int) -> float:
    async with open_node("bench") as node, node.mailbox() as me:
        await open_guests(node).load(_module())
        ref = await node.spawn(_guest("take", messages, limits=Limits(mailbox=messages + 1)))
        me.monitor(ref)
        begin = time.perf_counter()
        for _ in range(messages):
            ref.send(MESSAGE)
        await me.receive(Down)
        return (time.perf_counter() - begin) / messages


@kernel("guest-to-guest", variant="guest", run=run)
async def guest_to_guest(calls: int) -> float:
    async with open_node("bench") as node, node.mailbox() as me:
        await open_guests(node).load(_module())
        echo = await node.spawn(_guest("echo"))
        begin = time.perf_counter()
        me.monitor(await node.spawn(_guest("converse", echo, calls)))
        down = await me.receive(Down)
        assert down.reason.is_normal, down.reason
        return (time.perf_counter() - begin) / calls


@kernel("guest-kill", variant="guest", run=run)
async def guest_kill(guests: int, budget_ms: int) -> float:
    """One after another, each by the budget that it has used up."""
    endless = _guest("compute", -1, limits=Limits(cpu_time=budget_ms / 1000))
    async with open_node("bench") as node, node.mailbox() as me:
        await open_guests(node).load(_module())
        begin = time.perf_counter()
        for _ in range(guests):
            me.monitor(await node.spawn(endless))
            down = await me.receive(Down)
            assert not down.reason.is_normal
        return (time.perf_counter() - begin) / guests


async def _read(channel: Channel, frames: int) -> None:
    receiver = ChannelReceiver(channel)
    for _ in range(frames):
        await receiver.receive()


@kernel("channel", variant="guest", run=run)
async def channel_from_guest(frames: int, capacity: int) -> float:
    """A guest writes, Python reads."""
    channel = Channel(capacity)
    async with open_node("bench") as node:
        await open_guests(node).load(_module())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read, channel, frames)
            await trio.testing.wait_all_tasks_blocked()
            begin = time.perf_counter()
            await node.spawn(_guest("write", channel, frames))
        return (time.perf_counter() - begin) / frames


@kernel("channel", variant="function", run=run)
async def channel_of_functions(frames: int, capacity: int) -> float:
    """One task writes, another reads."""
    channel = Channel(capacity)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_read, channel, frames)
        await trio.testing.wait_all_tasks_blocked()
        begin = time.perf_counter()
        sender = ChannelSender(channel)
        for _ in range(frames):
            await sender.send(MESSAGE)
    return (time.perf_counter() - begin) / frames


@kernel("guest-memory", variant="guest", run=run)
async def guest_memory(guests: int) -> float:
    idle = _guest("idle")
    async with open_node("bench") as node:
        try:
            await open_guests(node, engine=EngineConfig(max_guests=guests + 1)).load(_module())
        except InvalidConfig as refusal:
            raise CannotRun(str(refusal)) from refusal
        await node.spawn(idle)
        await trio.testing.wait_all_tasks_blocked()
        before = resident_bytes()
        refs = [await node.spawn(idle) for _ in range(guests)]
        await trio.testing.wait_all_tasks_blocked()
        assert len(refs) == guests
        return (resident_bytes() - before) / guests
