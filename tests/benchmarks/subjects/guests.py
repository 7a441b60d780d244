"""Our guests: the engine alone, and guests as processes of a node."""

from __future__ import annotations

import functools
import time
from typing import Any

import trio
import trio.testing

from actors import KILL, Down, open_node
from actors.guest import Guest, open_guests
from hostcalls.actor_abi import ActorReceive
from hostcalls.engine import Engine, EngineConfig, Import, Limits, Step
from hostcalls.sdk.wat import Assembler
from tests.benchmarks.kernel import kernel, resident_bytes
from tests.benchmarks.peers.modules import ASKING, PARKING, binary
from tests.benchmarks.subjects.tier import run

CAPABILITIES = ("ActorMessage", "TimeRead")


def _wake() -> None:
    """The guest can go on; whoever waits for that here resumes it himself."""


@functools.cache
def _module() -> bytes:
    """`idle` receives for ever, `echo` answers requests, `ask` reads the clock, `compute` counts."""
    guest = Assembler("enfilade::actor::receive", "enfilade::actor::reply", "time::now")
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
        "ask",
        f"""
        (loop $again
          (call $ok (call $time.now {guest.nothing}))
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


def _guest(entrypoint: str, *arguments: int) -> Guest:
    return Guest(_module(), entrypoint=entrypoint, capabilities=CAPABILITIES, arguments=arguments)


@kernel("guest-spawn", variant="engine")
def spawn_in_engine(guests: int) -> float:
    with Engine(config=EngineConfig(max_guests=16)) as engine:
        linked = engine.link(engine.compile(binary(PARKING)), [])
        limits = Limits()
        begin = time.perf_counter()
        for _ in range(guests):
            instance = engine.instantiate(linked, limits, _wake)
            instance.start("park")
            instance.resume()
            instance.close()
        return (time.perf_counter() - begin) / guests


@kernel("guest-spawn", variant="guest", run=run)
async def spawn_guests(guests: int) -> float:
    """Spawned one after another, a hundred alive at a time, and killed."""
    idle = _guest("idle")
    crowd = min(100, guests)
    async with open_node("bench") as node, node.mailbox() as me:
        await open_guests(node, engine=EngineConfig(max_guests=2 * crowd)).load(_module())
        begin = time.perf_counter()
        for _ in range(guests // crowd):
            refs = [await node.spawn(idle) for _ in range(crowd)]
            for ref in refs:
                me.monitor(ref)
                me.exit(ref, KILL)
            for _ in refs:
                await me.receive(Down)
        return (time.perf_counter() - begin) / (guests // crowd * crowd)


@kernel("hostcall", variant="engine")
def hostcalls_in_engine(calls: int) -> float:
    with Engine(config=EngineConfig(max_guests=2)) as engine:
        linked = engine.link(engine.compile(binary(ASKING)), [Import("bench::host", 0, denied=False)])
        instance = engine.instantiate(linked, Limits(), _wake)
        instance.start("ask", (calls,))
        begin = time.perf_counter()
        while instance.resume() not in (Step.FINISHED, Step.TRAPPED):
            for future, _index, _arguments in instance.submissions():
                instance.complete(future, b"12345678")
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


@kernel("guest-memory", variant="guest", run=run)
async def guest_memory(guests: int) -> float:
    idle = _guest("idle")
    async with open_node("bench") as node:
        await open_guests(node, engine=EngineConfig(max_guests=guests + 1)).load(_module())
        await node.spawn(idle)
        await trio.testing.wait_all_tasks_blocked()
        before = resident_bytes()
        refs = [await node.spawn(idle) for _ in range(guests)]
        await trio.testing.wait_all_tasks_blocked()
        assert len(refs) == guests
        return (resident_bytes() - before) / guests
