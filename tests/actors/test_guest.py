"""Guests as processes of the runtime."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from enfilade.actors import (
    KILL,
    KILLED,
    NORMAL,
    SHUTDOWN,
    Custom,
    Down,
    Exited,
    Node,
    NoProcess,
    ProcessDied,
    SenderDropped,
    Shutdown,
    StartError,
    Trapped,
    UnknownMethod,
    open_node,
)
from enfilade.actors.guests import Guest, guests_of, open_guests, run_guest
from enfilade.actors.supervision.child_spec import Child
from enfilade.actors.supervision.supervisor import Supervisor
from enfilade.hostcalls.abi import ScalarType, ScalarValue
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.engine import EngineConfig
from enfilade.hostcalls.kernel.modulespec import parse
from enfilade.hostcalls.resources.message import Message
from enfilade.hostcalls.sdk.wat import Assembler
from tests.hostcalls.guests import ACTOR, CAPABILITIES

T = TypeVar("T")


def guest(entrypoint: str, **options: object) -> Guest:
    return Guest(ACTOR, **{"capabilities": CAPABILITIES, "entrypoint": entrypoint, **options})


async def eventually(look: Callable[[], T | None]) -> T:
    """What `look` finds, as soon as it finds something."""
    with trio.fail_after(60):
        while True:
            found = look()
            if found is not None:
                return found
            await trio.sleep(0.001)


async def down(node: Node, target: Guest) -> Down:
    """How a guest ends."""
    async with node.mailbox() as me:
        ref = await node.spawn(target)
        me.monitor(ref)
        return await me.receive(Down, timeout=60)


async def test_request_and_reply() -> None:
    """A guest answers requests, and ends normally when its entrypoint returns."""
    async with open_node("test") as node:
        ref = await node.spawn(guest("echo"))
        assert await ref.call(Guest.request, b"hello") == b"hello"
        assert await ref.call(Guest.request, b"") == b""
        assert (await ref.call(Guest.exchange, Message(b"whole"))).data == b"whole"
        async with node.mailbox() as me:
            me.monitor(ref)
            assert await ref.call(Guest.request, b"stop") == b"stop"
            assert (await me.receive(Down, timeout=60)).reason == NORMAL
        with pytest.raises(NoProcess):
            await ref.call(Guest.request, b"gone")


async def test_sleep_follows_the_clock_of_the_node(autojump_clock: trio.testing.MockClock) -> None:
    """A guest's sleep is virtual where the node's time is."""
    async with open_node("test") as node:
        started = trio.current_time()
        assert (await down(node, guest("nap"))).reason == NORMAL
        assert 5 <= trio.current_time() - started < 6


async def test_trap_is_an_exit_reason_with_a_backtrace() -> None:
    """A trap ends the process with a reason that names the trap and the wasm frames."""
    async with open_node("test") as node:
        reason = (await down(node, guest("crash"))).reason
        assert isinstance(reason, Trapped)
        assert reason.kind == "unreachable instruction"
        assert reason.backtrace
        assert "0x" in reason.backtrace[0]


@pytest.mark.parametrize("entrypoint", ["echo", "spin", "nap"])
async def test_stop_kill_and_shutdown(entrypoint: str) -> None:
    """A guest ends wherever it is: parked, asleep, or computing."""
    async with open_node("test") as node:
        async with node.mailbox() as me:
            for ending in ("stop", "kill", "shutdown"):
                ref = await node.spawn(guest(entrypoint))
                await trio.sleep(0.02)
                me.monitor(ref)
                if ending == "stop":
                    await ref.stop()
                else:
                    ref.exit(KILL if ending == "kill" else SHUTDOWN)
                reason = (await me.receive(Down, timeout=60)).reason
                assert reason == {"stop": NORMAL, "kill": KILLED, "shutdown": SHUTDOWN}[ending]
        assert node.statistics().processes == 0
        assert len(guests_of(node).kernel.registry) <= 3  # their tombstones


async def test_supervised_guest_is_restarted() -> None:
    """A supervisor starts a guest again when it traps."""
    async with open_node("test") as node:
        child = Child(guest("echo"), id="filter", name="filter", restart="transient")
        await node.spawn(Supervisor, [child], intensity=3, period=5.0)
        first = node.whereis("filter")
        assert first is not None
        assert await first.call(Guest.request, b"one") == b"one"
        with pytest.raises(ProcessDied, match="trapped"):
            await first.call(Guest.request, b"trap")
        second = await eventually(lambda: None if node.whereis("filter") == first else node.whereis("filter"))
        assert await second.call(Guest.request, b"two") == b"two"
        assert await second.call(Guest.request, b"stop") == b"stop"
        await eventually(lambda: node.whereis("filter") is None or None)


async def test_linked_guest_takes_its_partner_along() -> None:
    """A trap travels over a link like every abnormal end."""
    async with open_node("test") as node, node.mailbox() as me:
        me.trap_exits = True
        ref = await me.spawn(guest("crash"), link=True)
        exited = await me.receive(Exited, timeout=60)
        assert exited.ref == ref
        assert isinstance(exited.reason, Trapped)


async def test_computing_guest_leaves_the_loop_alone() -> None:
    """A guest that computes on and on leaves the loop: nothing there is runnable on its account, and it takes
    up no turn of others.
    """
    async with open_node("test") as node:
        spinning = await node.spawn(guest("spin"))
        echo = await node.spawn(guest("echo"))
        with trio.fail_after(60):
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(50):
                assert await echo.call(Guest.request, b"ping") == b"ping"
            await trio.testing.wait_all_tasks_blocked()
        assert node.statistics().processes == 2
        await spinning.stop()


async def test_cpu_time_is_limited() -> None:
    """A guest that computes longer than it may is trapped."""
    async with open_node("test") as node:
        reason = (await down(node, guest("spin", limits=Limits(cpu_time=0.05)))).reason
        assert isinstance(reason, Trapped)
        assert reason.kind == "cpu time exhausted"


async def test_messages_wait_in_the_mailbox() -> None:
    """A guest's mailbox is bounded by its limits; what does not fit becomes a dead letter."""
    async with open_node("test") as node:
        ref = await node.spawn(guest("nap", limits=Limits(mailbox=3)))
        await trio.sleep(0.01)
        for _ in range(5):
            ref.send(b"x")
        assert node.statistics().queued == 3
        assert node.dead_letters.count == 2


async def test_what_guests_cannot_receive(caplog: pytest.LogCaptureFixture) -> None:
    """Objects that are not bytes are dead letters, other methods unknown, and so are all for a guest that
    is deaf.
    """
    deaf = Assembler("time::sleep")
    deaf.function("start", "(loop $l (br $l))")
    async with open_node("test") as node:
        ref = await node.spawn(guest("echo"))
        ref.send({"not": "bytes"})
        with pytest.raises(UnknownMethod):
            await ref.call(Supervisor.count_children)  # type: ignore[arg-type]
        assert node.dead_letters.count == 1
        quiet = await node.spawn(guest("nap", capabilities=["TimeRead"]))
        with pytest.raises(UnknownMethod):
            await quiet.call(Guest.request, b"x")
        quiet.send(b"x")
        silent = await node.spawn(Guest(deaf.binary(), capabilities=CAPABILITIES))
        silent.send(b"x")
        with pytest.raises(UnknownMethod):
            await silent.call(Guest.request, b"x")
        node.reports.flush()
    told = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert any("(it is a guest without the capability ActorMessage (grant it: " in line for line in told)
    assert any(
        "(it is a guest whose module does not import `enfilade::actor::receive`)" in line for line in told
    )


async def test_unanswered_requests_fail() -> None:
    """When a guest ends, whoever waits for an answer is told why; a request that is let go is a dropped
    one.
    """
    forgetful = Assembler("enfilade::actor::receive", "enfilade::actor::release", "time::sleep")
    from enfilade.hostcalls.abi.actor_types import ActorReceive
    from tests.hostcalls.guests import ANYTHING

    anything = forgetful.message(ActorReceive, ANYTHING)
    forgetful.function(
        "start",
        f"""
        (call $received (call $actor.receive {anything}))
        (i32.store (i32.const 65000) (call $request))
        (call $ok (call $actor.release (i32.const 65000) (i32.const 4)))
        (call $ok (call $actor.receive {anything}))
        unreachable
        """,
    )
    async with open_node("test") as node:
        ref = await node.spawn(Guest(forgetful.binary(), capabilities=CAPABILITIES))
        with pytest.raises(SenderDropped):
            await ref.call(Guest.request, b"1")
        with pytest.raises(ProcessDied, match="trapped"):
            await ref.call(Guest.request, b"2")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"entrypoint": "missing"}, "no function named 'missing'"),
        ({"arguments": [1]}, "takes"),
        ({"module": b"junk"}, "not a WebAssembly module"),
        ({"module": "no/such.wasm"}, "Module store error"),
        ({"module": "../escape.wasm"}, "free of"),
        ({"arguments": [b"x" * 300_000]}, "invalid argument"),
    ],
)
async def test_start_errors(change: dict[str, object], why: str) -> None:
    """What is wrong with a start is told to the starter, and leaves nothing behind."""
    async with open_node("test") as node:
        options = {"module": ACTOR, "capabilities": CAPABILITIES, "entrypoint": "done", **change}
        with pytest.raises(StartError, match=why):
            await node.spawn(Guest(**options))  # type: ignore[arg-type]
        assert node.statistics().processes == 0
        assert len(guests_of(node).kernel.registry) == 0


async def test_start_function_that_traps() -> None:
    """A trap in the module's start function is the reason that the start fails with."""
    async with open_node("test") as node:
        source = b'(module (memory (export "memory") 1) (func (export "start")) (func unreachable) (start 1))'
        import wasmtime

        with pytest.raises(StartError) as caught:
            await node.spawn(Guest(bytes(wasmtime.wat2wasm(source))))
        assert isinstance(caught.value.reason, Trapped)
        with pytest.raises(StartError, match="keyword"):
            await node.spawn(guest("done"), colour="blue")


async def test_arguments_reach_the_entrypoint(tmp_path: Path) -> None:
    """Numbers, texts and bytes reach the entrypoint; the results are checked against their declaration."""
    probe = Assembler()
    probe.function(
        "start",
        """
        (if (i32.ne (local.get 0) (i32.const 7)) (then unreachable))
        (if (f64.ne (local.get 1) (f64.const 1.5)) (then unreachable))
        (if (i32.ne (i32.load8_u (local.get 2)) (i32.const 104)) (then unreachable))
        (if (i32.ne (local.get 3) (i32.const 2)) (then unreachable))
        (if (i32.ne (local.get 4) (i32.const 2)) (then unreachable))
        (if (i32.ne (local.get 5) (i32.const 1)) (then unreachable))
        """,
        "(param i32 f64 i32 i32 i32 i32)",
    )
    (tmp_path / "probe.wat").write_text(probe.source())
    async with open_node("test") as node:
        runtime = open_guests(node, modules=tmp_path, engine=EngineConfig(max_guests=8))
        with pytest.raises(RuntimeError, match="prepared"):
            open_guests(node)
        await runtime.load("probe.wat")
        wide = ScalarValue(ScalarType.U64, 0x1_0000_0002)
        assert (await down(node, Guest("probe.wat", arguments=[7, 1.5, "hi", wide]))).reason == NORMAL
        assert (
            await down(node, Guest(tmp_path / "probe.wat", arguments=[7, 1.5, b"hi", wide]))
        ).reason == NORMAL
        async with node.mailbox() as me:
            ref = await node.spawn(Guest("probe.wat", arguments=[7, 1.5]), "hi", wide)
            me.monitor(ref)
            assert (await me.receive(Down, timeout=60)).reason == NORMAL
        with pytest.raises(StartError, match="expected bytes, str, int, float, ScalarValue or a channel"):
            await node.spawn(Guest("probe.wat", arguments=[object()]))
        with pytest.raises(StartError, match="expected at most 32 bits, got 4294967296; pass ScalarValue"):
            await node.spawn(Guest("probe.wat", arguments=[1 << 32]))


async def test_node_shutdown_ends_guests() -> None:
    """Leaving the node ends every guest, also one that computes, in little time."""
    with trio.fail_after(60):
        async with open_node("test") as node:
            for entrypoint in ("echo", "spin", "nap", "idle"):
                await node.spawn(guest(entrypoint))
            await trio.sleep(0.02)
    assert node.statistics().processes == 0


def test_a_description_is_checked_where_it_is_written() -> None:
    """A guest's description is checked where it is written; its methods are for refs."""
    assert Guest("x.wasm", capabilities=["time-read"]).capabilities == {Capability.TIME_READ}
    with pytest.raises(ValueError, match="got 'fly'"):
        Guest("x.wasm", capabilities=["fly"])
    for call in (Guest.request, Guest.exchange):
        with pytest.raises(TypeError, match="through the ref"):
            call(Guest("x.wasm"), b"")  # type: ignore[arg-type]


async def test_reasons_are_values() -> None:
    """What keeps a guest from starting is the reason, in words."""
    async with open_node("test") as node:
        with pytest.raises(StartError) as caught:
            await node.spawn(guest("missing"))
        assert isinstance(caught.value.reason, Custom)
        assert str(caught.value.reason.value).startswith("the module exports no function named 'missing'; ")
        assert Shutdown("x") != SHUTDOWN


async def test_run_guest_from_a_specification(tmp_path: Path) -> None:
    """A module specification becomes a guest, which runs to its end."""
    probe = Assembler()
    probe.function(
        "main",
        "(if (i32.ne (local.get 4) (i32.const 7000)) (then unreachable))",
        "(param i32 i32 i32 i32 i32)",
    )
    (tmp_path / "probe.wat").write_text(probe.source())
    text = "path=probe.wat;capabilities=TimeRead;entrypoint=main;params=utf8,u16;args=localhost,{}"
    async with open_node("test") as node:
        open_guests(node, modules=tmp_path)
        assert await run_guest(node, Guest.from_spec(parse(text.format(7000)))) == NORMAL
        assert isinstance(await run_guest(node, Guest.from_spec(parse(text.format(7)))), Trapped)
        with pytest.raises(StartError, match="Module store error"):
            await run_guest(node, Guest("none.wat"))
        with trio.move_on_after(0.05):
            await run_guest(node, guest("spin"))
        await eventually(lambda: node.statistics().processes == 0 or None)
