"""Hostile guests as the children of one supervisor: it hears of each what it has done, starts it again as it
was told to, and neither the siblings nor the host are hurt.
"""

from __future__ import annotations

import logging
from pathlib import Path

import attrs
import pytest
import trio

from enfilade.actors import SHUTDOWN, Child, Down, NodeConfig, Supervisor, open_node
from enfilade.actors.guests import Guest, guests_of, open_guests
from enfilade.hostcalls.abi import EntrypointInvocation, ProcessStart, TimeSleep
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.codec.rkyv import codec
from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.engine import EngineConfig
from enfilade.hostcalls.resources.registry import Kind
from enfilade.hostcalls.sdk.wat import Assembler
from tests.hostcalls.guests import ACTOR
from tests.hostcalls.memory import Growth

pytestmark = pytest.mark.real

EVERYTHING = frozenset(Capability)
LIMITS = Limits(memory=32 << 20, children=3, resources=100, mailbox=100, futures=5000)
BRIEF = attrs.evolve(LIMITS, cpu_time=0.2)
HOST_KIBIBYTES = 200_000  # what all of them together may make the host use
RESTARTS = 3


def bad_pointer() -> Assembler:
    guest = Assembler("time::sleep")
    guest.function("start", "(drop (call $time.sleep (i32.const -8) (i32.const 8)))")
    return guest


def huge_length() -> Assembler:
    guest = Assembler("channel::strong_write")
    guest.function("start", "(drop (call $channel.strong_write (i32.const 65536) (i32.const -1)))")
    return guest


def endless_loop() -> Assembler:
    guest = Assembler()
    guest.function("start", "(loop $more (br $more))")
    return guest


def memory_bomb() -> Assembler:
    guest = Assembler()
    guest.function(
        "start",
        """
        (loop $more
          (memory.fill (i32.const 65536) (i32.const 1) (i32.sub (i32.mul (memory.size) (i32.const 65536))
            (i32.const 65536)))
          (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
        unreachable
        """,
    )
    return guest


def fork_bomb() -> Assembler:
    guest = Assembler("process::start")
    request = ProcessStart("fork.wasm", "start", tuple(sorted(EVERYTHING)), EntrypointInvocation())
    again = guest.message(ProcessStart, request)
    guest.function(
        "start",
        f"(loop $more (br_if $more (i32.ge_s (call $process.start {again}) (i32.const 0)))) unreachable",
    )
    return guest


def future_bomb() -> Assembler:
    guest = Assembler("time::sleep")
    nap = guest.message(TimeSleep, TimeSleep(1_000_000))
    guest.function("start", f"(loop $more (drop (call $time.sleep.create {nap})) (br $more))")
    return guest


def garbage() -> Assembler:
    guest = Assembler("process::start")
    noise = guest.buffer(bytes(range(256)))
    guest.function("start", f"(drop (call $process.start {noise}))")
    return guest


def huge_vector() -> Assembler:
    """A message of four mebibytes that is valid, and would be four million objects."""
    guest = Assembler("process::start", pages=80)
    count, root = 4 << 20, (1 << 16) + (4 << 20)
    empty = ProcessStart("m", "n", (), EntrypointInvocation())
    encoded = bytearray(codec(ProcessStart).encode(empty))
    encoded[16:24] = (-count - 16 & 0xFFFFFFFF).to_bytes(4, "little") + count.to_bytes(4, "little")
    where = guest.data(bytes(encoded))
    guest.function(
        "start",
        f"""
        (memory.copy (i32.const {root}) (i32.const {where}) (i32.const {len(encoded)}))
        (memory.fill (i32.const 65536) (i32.const 0) (i32.const {count}))
        (drop (call $process.start (i32.const 65536) (i32.const {count + len(encoded)})))
        """,
    )
    return guest


FAMILY = {
    "bad_pointer": (bad_pointer, "misused hostcall: hostcall with 8 bytes at -8, outside a memory of"),
    "huge_length": (huge_length, "misused hostcall: hostcall with 4294967295 bytes at 65536"),
    "endless_loop": (endless_loop, "cpu time exhausted"),
    "memory_bomb": (memory_bomb, "trapped: "),
    "fork_bomb": (fork_bomb, "unreachable instruction"),
    "future_bomb": (future_bomb, "limit exceeded: more than 5000 futures"),
    "garbage": (garbage, "misused hostcall: selium::process::start: "),
    "huge_vector": (
        huge_vector,
        "misused hostcall: selium::process::start: a vector of 4194304 makes too many",
    ),
}


async def test_a_hostile_family(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Every kind of attack at once, each started again three times, beside a guest that goes on answering."""
    modules = {name: make().binary() for name, (make, _) in FAMILY.items()}
    (tmp_path / "fork.wasm").write_bytes(modules["fork_bomb"])
    growth = Growth()
    answered = 0
    with caplog.at_level(logging.WARNING, logger="enfilade.actors"):
        # Every end is looked for in the log, so none may be left out of it.
        config = NodeConfig(reports_per_second=10_000)
        async with open_node("test", config=config) as node, node.mailbox() as me:
            open_guests(node, modules=tmp_path, engine=EngineConfig(max_guests=100))
            echo = await node.spawn(Guest(ACTOR, capabilities=["ActorMessage"], entrypoint="echo"))
            for name, module in modules.items():
                limits = BRIEF if name == "endless_loop" else LIMITS  # time passes while others compute, too
                child = Child(Guest(module, capabilities=EVERYTHING, limits=limits, label=name), id=name)
                me.monitor(await node.spawn(Supervisor, [child], intensity=RESTARTS, period=600.0))

            async def converse(scope: trio.CancelScope) -> None:
                nonlocal answered
                with scope:
                    while True:
                        assert await echo.call(Guest.request, b"still there?") == b"still there?"
                        answered += 1

            async with trio.open_nursery() as nursery:
                talk = trio.CancelScope()
                nursery.start_soon(converse, talk)
                ends = [await me.receive(Down, timeout=120) for _ in modules]
                talk.cancel()
            assert {end.reason for end in ends} == {SHUTDOWN}
            await echo.stop()
            with trio.fail_after(60):
                while node.statistics().processes != 1:  # noqa: ASYNC110 - descendants end later; `me` does not
                    await trio.sleep(0.01)
            registry = guests_of(node).kernel.registry
            assert len(registry) == len(registry.of_kind(Kind.PROCESS))
    assert answered > 10
    assert growth.kibibytes() < HOST_KIBIBYTES
    messages = [record.getMessage() for record in caplog.records]
    for name, (_, why) in FAMILY.items():
        told = [text for text in messages if name in text and why in text]
        assert told, f"nothing tells that {name} ended by {why!r}: {messages}"
