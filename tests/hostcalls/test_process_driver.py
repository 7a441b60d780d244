"""Starting and stopping guests from guests: every branch from reservation to tombstone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import trio

from enfilade.hostcalls import abi
from enfilade.hostcalls.abi import (
    AbiParam,
    AbiSignature,
    BufferArg,
    BufferParam,
    EntrypointArg,
    EntrypointInvocation,
    ProcessLogLookup,
    ProcessLogRegistration,
    ProcessStart,
    ResourceArg,
    ScalarArg,
    ScalarParam,
    ScalarType,
    ScalarValue,
)
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.abi.errors import HostcallError
from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.contracts.policy import Policy
from enfilade.hostcalls.engine import Trap
from enfilade.hostcalls.kernel.execution import Returned, Stopped
from enfilade.hostcalls.resources.channel import Channel
from enfilade.hostcalls.resources.registry import Kind
from enfilade.hostcalls.sdk.wat import Assembler
from tests.hostcalls.desk import DENIED, INVALID, NOT_FOUND, NoHost
from tests.hostcalls.harness import Harness, Process, open_harness

KERNEL = "The kernel encountered an error. Please report this to your administrator."
GRANTS = frozenset({Capability.TIME_READ, Capability.PROCESS_LIFECYCLE, Capability.CHANNEL_LIFECYCLE})
I32, U64 = ScalarParam(ScalarType.I32), ScalarParam(ScalarType.U64)


def modules(directory: Path) -> Path:
    """A store with a module whose entrypoints take what the tests give."""
    guest = Assembler("time::sleep", "channel::detach")
    nap = guest.message(abi.TimeSleep, abi.TimeSleep(1_000_000))
    guest.function("nap", f"(call $ok (call $time.sleep {nap}))")
    guest.function("done", "nop")
    guest.function("crash", "unreachable")
    guest.function("spin", "(loop $l (br $l))")
    guest.function(
        "slot_zero",
        """
        (if (local.get 0) (then unreachable))
        (i32.store (i32.const 65000) (local.get 0))
        (call $ok (call $channel.detach (i32.const 65000) (i32.const 4)))
        """,
        "(param i32)",
    )
    guest.function(
        "handle_seven",
        """
        (if (i32.ne (local.get 0) (i32.const 7)) (then unreachable))
        (if (local.get 1) (then unreachable))
        """,
        "(param i32 i32)",
    )
    guest.function("answer", "(i32.const 300)", "(result i32)")
    guest.function("words", "(i32.const -2) (i32.const 1)", "(result i32 i32)")
    guest.function("slice", "(i32.const 65536) (i32.const 3)", "(result i32 i32)")
    guest.function("far", "(i32.const -8) (i32.const 3)", "(result i32 i32)")
    (directory / "m.wat").write_text(guest.source())
    (directory / "alien.wat").write_text(
        '(module (import "wasi" "exit" (func)) (memory (export "memory") 1))'
    )
    (directory / "blind.wat").write_text('(module (func (export "start")))')
    (directory / "bad.wasm").write_bytes(b"\0asm junk")
    (directory / "early.wat").write_text(
        '(module (memory (export "memory") 1) (func $f unreachable) (start $f) (func (export "start")))'
    )
    return directory


def invocation(
    params: Iterable[AbiParam] = (), args: Iterable[EntrypointArg] = (), results: Iterable[AbiParam] = ()
) -> EntrypointInvocation:
    return EntrypointInvocation(AbiSignature(tuple(params), tuple(results)), tuple(args))


def wanted(
    name: str = "nap",
    *,
    module: str = "m.wat",
    grants: Iterable[Capability] = (Capability.TIME_READ, Capability.CHANNEL_LIFECYCLE),
    entrypoint: EntrypointInvocation | None = None,
) -> ProcessStart:
    return ProcessStart(module, name, tuple(grants), entrypoint or invocation())


class Parent:
    """A guest that the test speaks for."""

    def __init__(self, harness: Harness, **limits: Any) -> None:
        self.harness = harness
        idle = Assembler("time::sleep")
        nap = idle.message(abi.TimeSleep, abi.TimeSleep(1_000_000))
        idle.function("start", f"(call $ok (call $time.sleep {nap}))")
        self.process: Process = harness.start(idle, grants=GRANTS, limits=Limits(**limits))
        self.caller = self.process.execution.caller
        table, _ = harness.kernel._table(GRANTS)
        self.operations = {operation.hostcall.name: operation for operation in table.operations}

    async def call(self, hostcall: Any, value: Any) -> Any:
        outcome = self.operations[hostcall.name].contract.run(self.caller, value)
        return await outcome if hasattr(outcome, "__await__") else outcome

    async def start(self, start: ProcessStart) -> Process:
        """The child, once it runs."""
        process = await self.call(c.PROCESS_START, start)
        child = self.process.children[-1]
        assert child.execution.caller.id == process
        return child

    async def refused(self, hostcall: Any, value: Any) -> str:
        with pytest.raises(HostcallError) as caught:
            await self.call(hostcall, value)
        return caught.value.text


async def test_start_and_stop(tmp_path: Path) -> None:
    """A child runs with its own id; stopping it frees the id, and works once."""
    async with open_harness(modules(tmp_path)) as harness:
        parent = Parent(harness)
        child = await parent.start(wanted())
        process = child.execution.caller.id
        assert process != parent.caller.id
        assert (parent.caller.children, child.execution.caller.parent) == (1, parent.caller.id)
        await parent.call(c.PROCESS_STOP, process)
        assert await child.wait() == Stopped()
        assert parent.caller.children == 0
        assert await parent.refused(c.PROCESS_STOP, process) == NOT_FOUND


async def test_abi_8_finished_process_can_be_stopped_once(tmp_path: Path) -> None:
    """The tombstone of a process that has ended answers one stop."""
    async with open_harness(modules(tmp_path)) as harness:
        parent = Parent(harness)
        child = await parent.start(wanted("done"))
        assert await child.wait() == Returned()
        await parent.call(c.PROCESS_STOP, child.execution.caller.id)
        assert await parent.refused(c.PROCESS_STOP, child.execution.caller.id) == NOT_FOUND


async def test_tombstones_are_bounded(tmp_path: Path) -> None:
    """The oldest of too many tombstones is forgotten."""
    async with open_harness(modules(tmp_path), policy=Policy(tombstones=2)) as harness:
        parent = Parent(harness)
        children = [await parent.start(wanted("done")) for _ in range(3)]
        for child in children:
            await child.wait()
        ids = [child.execution.caller.id for child in children]
        assert await parent.refused(c.PROCESS_STOP, ids[0]) == NOT_FOUND
        await parent.call(c.PROCESS_STOP, ids[1])


async def test_computing_child_is_stopped(tmp_path: Path) -> None:
    """A stop takes effect while the child computes."""
    async with open_harness(modules(tmp_path)) as harness:
        parent = Parent(harness)
        child = await parent.start(wanted("spin"))
        with trio.fail_after(60):
            while not child.execution.instance.offloaded:  # as soon as it is known to compute
                await trio.lowlevel.checkpoint()
        await parent.call(c.PROCESS_STOP, child.execution.caller.id)
        assert await child.wait() == Stopped()


async def test_children_do_not_outlive_their_parent(tmp_path: Path) -> None:
    """When the parent ends, so do its children."""
    async with open_harness(modules(tmp_path)) as harness:
        parent = Parent(harness)
        child = await parent.start(wanted())
        parent.process.stop()
        assert await child.wait() == Stopped()


@pytest.mark.parametrize(
    ("start", "why"),
    [
        pytest.param(
            wanted("missing"),
            "internal error: the module exports no function named 'missing'",
            id="no-such-entrypoint",
        ),
        pytest.param(
            wanted("slot_zero"),
            "internal error: 'slot_zero' takes (i32); the arguments are ()",
            id="arguments-do-not-fit",
        ),
        pytest.param(
            wanted("answer"),
            "internal error: 'answer' returns (i32); its signature says ()",
            id="results-do-not-fit",
        ),
        pytest.param(
            wanted(module="none.wasm"),
            "internal error: Module store error: cannot read module",
            id="module-missing",
        ),
        pytest.param(
            wanted(module="../m.wat"),
            "internal error: Module store error: invalid module path",
            id="module-outside-of-the-store",
        ),
        pytest.param(
            wanted(module="/etc/passwd"),
            "internal error: Module store error: invalid module path",
            id="module-path-absolute",
        ),
        pytest.param(wanted(module="bad.wasm"), "internal error: Wasmtime error:", id="module-invalid"),
        pytest.param(wanted(module="alien.wat"), "internal error: Wasmtime error:", id="import-unknown"),
        pytest.param(wanted("start", module="blind.wat"), "internal error: Wasmtime error:", id="no-memory"),
        pytest.param(wanted(grants=[Capability.CHANNEL_READER]), DENIED, id="capability-not-the-parents"),
        pytest.param(wanted(entrypoint=invocation([I32])), KERNEL, id="argument-missing"),
        pytest.param(wanted(entrypoint=invocation([], [BufferArg(b"")])), KERNEL, id="argument-too-many"),
        pytest.param(
            wanted(entrypoint=invocation([BufferParam()], [ResourceArg(0)])),
            KERNEL,
            id="resource-for-a-buffer",
        ),
        pytest.param(
            wanted(entrypoint=invocation([I32], [BufferArg(b"")])), KERNEL, id="buffer-for-a-number"
        ),
        pytest.param(
            wanted(entrypoint=invocation([ScalarParam(ScalarType.U32)], [ResourceArg(0)])),
            KERNEL,
            id="resource-for-another-kind",
        ),
        pytest.param(
            wanted(entrypoint=invocation([I32], [ScalarArg(ScalarValue(ScalarType.U8, 1))])),
            KERNEL,
            id="number-of-another-kind",
        ),
        pytest.param(
            wanted("slot_zero", entrypoint=invocation([I32], [ResourceArg(99)])), NOT_FOUND, id="slot-empty"
        ),
        pytest.param(
            wanted("handle_seven", entrypoint=invocation([U64], [ResourceArg(99)])),
            KERNEL,
            id="shared-handle-unknown",
        ),
        pytest.param(
            wanted("start", module="early.wat"), "internal error: Wasmtime error:", id="start-function-traps"
        ),
        pytest.param(
            wanted("slice", entrypoint=invocation([BufferParam()], [BufferArg(bytes(300_000))])),
            "internal error: invalid argument",
            id="arguments-too-long",
        ),
    ],
)
async def test_abi_7_refused_starts(tmp_path: Path, start: ProcessStart, why: str) -> None:
    """Each step that can fail tells the caller, and leaves no process, reservation or count behind."""
    async with open_harness(modules(tmp_path)) as harness:
        parent = Parent(harness)
        before = len(harness.registry)
        assert (await parent.refused(c.PROCESS_START, start)).startswith(why)
        assert len(harness.registry) == before
        assert parent.caller.children == 0


async def test_a_start_goes_on_without_its_future(tmp_path: Path) -> None:
    """Who gives up waiting for a start has still asked for the child."""
    async with open_harness(modules(tmp_path)) as harness:
        parent = Parent(harness)
        with trio.CancelScope() as scope:
            scope.cancel()
            await parent.call(c.PROCESS_START, wanted())
        assert [child.execution.ended for child in parent.process.children] == [False]
        assert parent.caller.children == 1


async def test_a_parent_that_ends_before_its_child_has_none(tmp_path: Path) -> None:
    """A parent that ends while the module is read leaves no child, no hold and no reservation."""
    async with open_harness(modules(tmp_path)) as harness:
        parent = Parent(harness)
        channel = harness.registry.add(Kind.CHANNEL, Channel(64))
        slot = parent.caller.slots.insert(channel)
        request = wanted("slot_zero", entrypoint=invocation([I32], [ResourceArg(slot)]))
        starting = parent.operations[c.PROCESS_START.name].contract.run(parent.caller, request)
        assert channel.holds == 2
        parent.process.stop()
        with pytest.raises(HostcallError, match="the parent has ended"):
            await starting
        assert parent.process.children == []
        assert not channel.alive
        assert [entry.payload for entry in harness.registry.of_kind(Kind.PROCESS)] == [parent.caller]


async def test_no_place_for_another_guest(tmp_path: Path) -> None:
    """When the engine has no place left, a start says so, and the next one after an end succeeds."""
    async with open_harness(modules(tmp_path), max_guests=2) as harness:
        parent = Parent(harness)
        child = await parent.start(wanted())
        assert "Wasmtime error: " in await parent.refused(c.PROCESS_START, wanted())
        child.stop()
        await child.wait()
        await parent.start(wanted())


async def test_a_runtime_without_modules() -> None:
    """Where there is no module store, guests start nothing."""
    async with open_harness() as harness:
        assert "this runtime has none" in await Parent(harness).refused(c.PROCESS_START, wanted())


async def test_more_resources_than_the_child_may_have(tmp_path: Path) -> None:
    """A child whose limits have no room for its arguments is not started, and nothing stays held."""
    async with open_harness(modules(tmp_path)) as harness:
        parent = Parent(harness, resources=1)
        channel = harness.registry.add(Kind.CHANNEL, Channel(64))
        slot = parent.caller.slots.insert(channel)
        twice = invocation([I32, I32], [ResourceArg(slot), ResourceArg(slot)])
        answer = await parent.refused(c.PROCESS_START, wanted("handle_seven", entrypoint=twice))
        assert answer.startswith("internal error: invalid argument: the limit resources=1 is reached")
        assert channel.holds == 1


async def test_resource_becomes_a_slot_of_the_child(tmp_path: Path) -> None:
    """An I32 resource is looked up in the caller's slots and inserted into the child's, from slot 0."""
    async with open_harness(modules(tmp_path)) as harness:
        parent = Parent(harness)
        channel = harness.registry.add(Kind.CHANNEL, Channel(64))
        parent.caller.slots.insert(harness.registry.add(Kind.OTHER, object()))
        slot = parent.caller.slots.insert(channel)
        child = await parent.start(wanted("slot_zero", entrypoint=invocation([I32], [ResourceArg(slot)])))
        assert await child.wait() == Returned()
        assert parent.caller.slots.get(slot) is channel  # the child has detached its own
        assert channel.holds == 1


async def test_shared_handle_is_passed_on(tmp_path: Path) -> None:
    """A U64 resource must be live and is passed as it is, low word first."""
    async with open_harness(modules(tmp_path), policy=Policy(upstream=True)) as harness:
        parent = Parent(harness)
        for _ in range(8):
            resource = harness.registry.add(Kind.CHANNEL, Channel(64))
            harness.registry.hold(resource)
            harness.registry.share(resource)
        child = await parent.start(wanted("handle_seven", entrypoint=invocation([U64], [ResourceArg(7)])))
        assert await child.wait() == Returned()


@pytest.mark.parametrize(
    ("name", "results", "outcome"),
    [
        ("answer", [ScalarParam(ScalarType.U16)], abi.ScalarResult(ScalarValue(ScalarType.U16, 300))),
        ("answer", [ScalarParam(ScalarType.I8)], "invalid argument"),
        (
            "words",
            [ScalarParam(ScalarType.U64)],
            abi.ScalarResult(ScalarValue(ScalarType.U64, (1 << 32) + 0xFFFF_FFFE)),
        ),
        ("slice", [BufferParam()], abi.BufferResult((1_000_000).to_bytes(8, "little")[:3])),
        ("far", [BufferParam()], "results do not fit"),
    ],
)
async def test_results_fit_their_declaration(
    tmp_path: Path, name: str, results: list[AbiParam], outcome: object
) -> None:
    """Declared results are decoded; those that do not fit their declaration are a trap."""
    async with open_harness(modules(tmp_path)) as harness:
        child = await Parent(harness).start(wanted(name, entrypoint=invocation(results=results)))
        ended = await child.wait()
        if isinstance(outcome, str):
            assert isinstance(ended, Trap)
            assert outcome in ended.message
        else:
            assert ended == Returned((outcome,))  # type: ignore[arg-type]


async def test_abi_7_guest_errors_are_not_start_errors(tmp_path: Path) -> None:
    """A guest that traps has been started all the same."""
    async with open_harness(modules(tmp_path)) as harness:
        child = await Parent(harness).start(wanted("crash"))
        assert isinstance(await child.wait(), Trap)


async def test_children_are_limited(tmp_path: Path) -> None:
    """A parent has so many children at one time."""
    async with open_harness(modules(tmp_path)) as harness:
        parent = Parent(harness, children=2)
        first = await parent.start(wanted())
        await parent.start(wanted())
        assert "the limit children=2 is reached" in await parent.refused(c.PROCESS_START, wanted())
        first.stop()
        await first.wait()
        await parent.start(wanted())


async def test_stop_of_others(tmp_path: Path) -> None:
    """A guest may stop its descendants; anybody else only under upstream's rules; ids of other kinds are
    refused.
    """
    async with open_harness(modules(tmp_path)) as harness:
        one, two = Parent(harness), Parent(harness)
        child = await one.start(wanted(grants=GRANTS))
        process = child.execution.caller.id
        assert await two.refused(c.PROCESS_STOP, process) == DENIED
        assert await two.refused(c.PROCESS_STOP, one.caller.id) == DENIED
        other = harness.registry.add(Kind.OTHER, object())
        assert await one.refused(c.PROCESS_STOP, other.id) == INVALID
        assert await one.refused(c.PROCESS_STOP, 1 << 60) == NOT_FOUND
        reserved = harness.registry.reserve(Kind.PROCESS)
        assert await one.refused(c.PROCESS_STOP, reserved.id) == NOT_FOUND
    async with open_harness(modules(tmp_path), policy=Policy(upstream=True)) as harness:
        one, two = Parent(harness), Parent(harness)
        child = await one.start(wanted(grants=[Capability.CHANNEL_READER, Capability.TIME_READ]))
        await two.call(c.PROCESS_STOP, child.execution.caller.id)
        assert await child.wait() == Stopped()


async def test_grandchildren_can_be_stopped(tmp_path: Path) -> None:
    """Descent is followed over several generations, also over one that has ended."""
    async with open_harness(modules(tmp_path)) as harness:
        parent = Parent(harness)
        child = await parent.start(wanted(grants=GRANTS))
        operation = parent.operations[c.PROCESS_START.name]
        grandchild_id = await operation.contract.run(child.execution.caller, wanted())
        grandchild = child.children[-1]
        assert grandchild.execution.caller.id == grandchild_id
        await parent.call(c.PROCESS_STOP, grandchild_id)
        assert await grandchild.wait() == Stopped()


async def test_abi_8_log_channels(tmp_path: Path) -> None:
    """One log channel a process, one process a log channel; readable after the process has ended. Here by
    upstream's rules, which let everybody look and register.
    """
    async with open_harness(modules(tmp_path), policy=Policy(upstream=True)) as harness:
        registry = harness.registry
        one, two = Parent(harness), Parent(harness)
        channel = registry.add(Kind.CHANNEL, Channel(64), owner=one.caller.id)
        one.caller.slots.insert(channel)
        handle = registry.share(channel)
        mine = ProcessLogLookup(one.caller.id)
        assert await two.refused(c.PROCESS_LOG_CHANNEL, mine) == NOT_FOUND
        assert await one.refused(c.PROCESS_REGISTER_LOG_CHANNEL, ProcessLogRegistration(99)) == NOT_FOUND
        await one.call(c.PROCESS_REGISTER_LOG_CHANNEL, ProcessLogRegistration(handle))
        assert await two.call(c.PROCESS_LOG_CHANNEL, mine) == handle
        # Another process takes it over, and the first has it back.
        await two.call(c.PROCESS_REGISTER_LOG_CHANNEL, ProcessLogRegistration(handle))
        assert await two.refused(c.PROCESS_LOG_CHANNEL, mine) == NOT_FOUND
        await one.call(c.PROCESS_REGISTER_LOG_CHANNEL, ProcessLogRegistration(handle))
        assert await one.refused(c.PROCESS_LOG_CHANNEL, ProcessLogLookup(two.caller.id)) == NOT_FOUND
        channel.payload.writer(strong=False).write(b"last words")
        one.process.stop()
        await one.process.wait()
        assert await two.call(c.PROCESS_LOG_CHANNEL, mine) == handle
        reader = registry.shared(handle).payload.reader(strong=False)
        assert reader.read(64).result().payload == b"last words"
        harness.kernel.family.forget(one.caller.process)
        assert await two.refused(c.PROCESS_LOG_CHANNEL, mine) == NOT_FOUND
        assert not channel.alive


async def test_logs_of_others(tmp_path: Path) -> None:
    """A process logs to its own channel alone, and reads the log of itself and its descendants."""
    async with open_harness(modules(tmp_path)) as harness:
        registry = harness.registry
        one, two = Parent(harness), Parent(harness)
        channel = registry.add(Kind.CHANNEL, Channel(64), owner=one.caller.id)
        handle = registry.share(channel)
        await one.call(c.PROCESS_REGISTER_LOG_CHANNEL, ProcessLogRegistration(handle))
        assert await two.refused(c.PROCESS_REGISTER_LOG_CHANNEL, ProcessLogRegistration(handle)) == DENIED
        assert await two.refused(c.PROCESS_LOG_CHANNEL, ProcessLogLookup(one.caller.id)) == DENIED
        assert await one.call(c.PROCESS_LOG_CHANNEL, ProcessLogLookup(one.caller.id)) == handle
        child = await two.start(wanted(grants=GRANTS))
        log = registry.add(Kind.CHANNEL, Channel(64), owner=child.execution.caller.id)
        registry.share(log)
        registry.register_log_channel(child.execution.caller.process, log)
        found = ProcessLogLookup(child.execution.caller.id)
        assert await two.call(c.PROCESS_LOG_CHANNEL, found) == log.shared
        assert await one.refused(c.PROCESS_LOG_CHANNEL, found) == DENIED


async def test_log_channels_are_forwarded_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Registered again, or by another process, a channel's records are not emitted again; the label is the
    latest process's. A process that registers another channel has that forwarded.
    """
    async with open_harness(modules(tmp_path), policy=Policy(upstream=True)) as harness:
        registry = harness.registry
        one, two = Parent(harness), Parent(harness)
        channels = [registry.add(Kind.CHANNEL, Channel(256), owner=one.caller.id) for _ in range(2)]
        handles = [registry.share(channel) for channel in channels]
        writers = [channel.payload.writer(strong=False) for channel in channels]
        writers[0].write(b"1 before")
        for parent in (one, one, two, one):
            await parent.call(c.PROCESS_REGISTER_LOG_CHANNEL, ProcessLogRegistration(handles[0]))
        writers[0].write(b"2 after")
        assert caplog.text.count("invalid log record") == 2
        await one.call(c.PROCESS_REGISTER_LOG_CHANNEL, ProcessLogRegistration(handles[1]))
        writers[0].write(b"3 nobody's")
        writers[1].write(b"4 its own")
        assert caplog.text.count("invalid log record") == 3


async def test_log_channel_arguments(tmp_path: Path) -> None:
    """A log channel is a channel, of a process that still has its entry; lookups want processes."""
    async with open_harness(modules(tmp_path)) as harness:
        registry = harness.registry
        parent = Parent(harness)
        other = registry.add(Kind.OTHER, object(), owner=parent.caller.id)
        registry.hold(other)
        not_a_channel = ProcessLogRegistration(registry.share(other))
        assert await parent.refused(c.PROCESS_REGISTER_LOG_CHANNEL, not_a_channel) == INVALID
        assert await parent.refused(c.PROCESS_LOG_CHANNEL, ProcessLogLookup(other.id)) == INVALID
        assert await parent.refused(c.PROCESS_LOG_CHANNEL, ProcessLogLookup(1 << 50)) == NOT_FOUND
        channel = registry.add(Kind.CHANNEL, Channel(64), owner=parent.caller.id)
        registry.hold(channel)
        handle = registry.share(channel)
        registry.register_log_channel(parent.caller.process, channel)
        unshared = registry.log_channel(parent.caller.id)
        registry._shared.remove(handle)
        unshared.shared = None
        assert await parent.refused(c.PROCESS_LOG_CHANNEL, ProcessLogLookup(parent.caller.id)) == NOT_FOUND
        again = registry.share(channel)
        harness.kernel.family.forget(parent.caller.process)
        assert (
            await parent.refused(c.PROCESS_REGISTER_LOG_CHANNEL, ProcessLogRegistration(again)) == NOT_FOUND
        )


async def test_capability_without_a_hostcall() -> None:
    """A capability that no hostcall of this kernel needs cannot be granted."""
    async with open_harness() as harness:
        guest = Assembler()
        guest.function("start", "nop")
        launch = harness.launch(guest)
        from attrs import evolve

        from enfilade.hostcalls.abi.errors import StartError

        odd = evolve(launch, grants=frozenset({Capability(222)}))
        with pytest.raises(StartError, match=r"capability \(Application222\) is not part of this kernel"):
            harness.kernel.begin(harness.kernel.prepare(odd), NoHost(), lambda: None)
