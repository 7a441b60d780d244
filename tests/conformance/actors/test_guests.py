"""Conformance group T: WebAssembly processes and capabilities."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from enfilade.actors import NORMAL, Down, Node, Reason, StartError, Trapped, open_node
from enfilade.actors.guests import Guest, open_guests
from enfilade.hostcalls.abi import (
    AbiSignature,
    BufferArg,
    BufferParam,
    EntrypointInvocation,
    IoWrite,
    ProcessStart,
)
from enfilade.hostcalls.abi import catalogue as c
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.abi.catalogue import CATALOGUE
from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.engine import Engine, EngineConfig, ExternKind, ValueType
from enfilade.hostcalls.kernel.modules import ModuleError, ModuleStore
from enfilade.hostcalls.sdk.wat import Assembler
from tests.hostcalls.guests import ACTOR, CAPABILITIES, PUPPET, GuestError, Puppet

GRANTS = [Capability.ACTOR_MESSAGE, Capability.PROCESS_LIFECYCLE, Capability.TIME_READ]
MEBIBYTE = 1 << 20


async def end(node: Node, guest: Guest) -> Reason:
    async with node.mailbox() as me:
        me.monitor(await node.spawn(guest))
        return (await me.receive(Down, timeout=60)).reason


def start(
    entrypoint: str, grants: list[Capability], invocation: EntrypointInvocation | None = None
) -> ProcessStart:
    return ProcessStart("child.wasm", entrypoint, tuple(grants), invocation or EntrypointInvocation())


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "child.wasm").write_bytes(ACTOR)
    return tmp_path


async def test_act_t1_default_guests_spawn_nothing(store: Path) -> None:
    """A guest that was granted no more than messaging can neither start a process nor spawn an actor."""
    async with open_node("test") as node:
        open_guests(node, modules=store)
        guest = Puppet(await node.spawn(Guest(PUPPET, capabilities=["ActorMessage"])))
        with pytest.raises(GuestError, match="permission denied"):
            await guest.do(c.PROCESS_START, start("done", []))
        assert node.statistics().processes == 1


async def test_act_t2_arguments_are_the_childs_alone(store: Path) -> None:
    """A child sees the arguments that it is given, at its own address; its parent's memory has none of
    them.
    """
    child = Assembler()
    secret = int.from_bytes(b"hush", "little")
    child.function(
        "start",
        f"""
        (if (i32.ne (local.get 0) (i32.const 1040)) (then unreachable))
        (if (i32.ne (local.get 1) (i32.const 4)) (then unreachable))
        (if (i32.ne (i32.load (local.get 0)) (i32.const {secret})) (then unreachable))
        """,
        "(param i32 i32)",
    )
    parent = Assembler("process::start")
    request = parent.message(
        ProcessStart,
        ProcessStart(
            "args.wasm",
            "start",
            (),
            EntrypointInvocation(AbiSignature((BufferParam(),)), (BufferArg(b"hush"),)),
        ),
    )
    parent.function(
        "start",
        f"""
        (call $ok (call $process.start {request}))
        (if (i32.load (i32.const 1040)) (then unreachable))
        """,
    )
    (store / "args.wasm").write_bytes(child.binary())
    async with open_node("test") as node:
        open_guests(node, modules=store)
        assert await end(node, Guest(child.binary(), arguments=["hush"])) == NORMAL
        assert isinstance(await end(node, Guest(child.binary(), arguments=["loud"])), Trapped)
        assert await end(node, Guest(parent.binary(), capabilities=GRANTS)) == NORMAL


@pytest.mark.parametrize("limit", [17, 64])
async def test_act_t3_memory_limit(limit: int) -> None:
    """Growing beyond the limit fails in the guest; what traps there ends the process abnormally, and the
    host lives.
    """
    guest = Assembler()
    guest.function(
        "start",
        """
        (loop $grow
          (br_if $grow (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
        (i32.store (i32.mul (memory.size) (i32.const 65536)) (i32.const 1))
        """,
    )
    async with open_node("test") as node:
        reason = await end(node, Guest(guest.binary(), limits=Limits(memory=limit * MEBIBYTE)))
        assert isinstance(reason, Trapped)
        assert reason.kind == "out of bounds memory access"
        assert await end(node, Guest(ACTOR, capabilities=CAPABILITIES, entrypoint="done")) == NORMAL


async def test_cpu_budget_is_told_apart_from_other_traps() -> None:
    """A guest that has used up its time ends with a reason of its own, distinct from a trap of its own
    making.
    """
    async with open_node("test") as node:
        kinds = []
        for entrypoint, seconds in (("spin", 0.02), ("crash", 60.0)):
            limits = Limits(cpu_time=seconds)
            guest = Guest(ACTOR, capabilities=CAPABILITIES, entrypoint=entrypoint, limits=limits)
            reason = await end(node, guest)
            assert isinstance(reason, Trapped)
            kinds.append(reason.kind)
        assert kinds == ["cpu time exhausted", "unreachable instruction"]


async def test_act_t5_looping_guest_is_killed_at_once() -> None:
    """An endless loop ends within a few ticks of being told to, or of its deadline."""
    async with open_node("test") as node:
        looping = await node.spawn(Guest(ACTOR, capabilities=CAPABILITIES, entrypoint="spin"))
        await trio.sleep(0.05)
        with trio.fail_after(60):
            await looping.stop()
        reason = await end(
            node, Guest(ACTOR, capabilities=CAPABILITIES, entrypoint="spin", limits=Limits(cpu_time=0.01))
        )
        assert isinstance(reason, Trapped)


async def test_modules_are_compiled_once(store: Path) -> None:
    """However many guests, and whoever starts them, a module is compiled once."""
    async with open_node("test") as node:
        runtime = open_guests(node, modules=store)
        module = runtime.compile("child.wasm")
        for _ in range(3):
            await node.spawn(Guest("child.wasm", capabilities=CAPABILITIES, entrypoint="idle"))
        assert runtime.compile("child.wasm") is module
        assert runtime.kernel.engine.compile(ACTOR) is module


async def test_act_t7_child_asks_for_more_than_its_parent_has(store: Path) -> None:
    """A child's capabilities are a subset of its parent's."""
    async with open_node("test") as node:
        open_guests(node, modules=store)
        guest = Puppet(await node.spawn(Guest(PUPPET, capabilities=GRANTS)))
        with pytest.raises(GuestError, match="permission denied"):
            await guest.do(c.PROCESS_START, start("done", [Capability.CHANNEL_READER]))
        assert await guest.do(c.PROCESS_START, start("done", [Capability.TIME_READ]))


async def test_act_t8_hostcalls_that_were_not_granted() -> None:
    """They are there and answer "permission denied"; instantiation succeeds, arguments are not looked at."""
    async with open_node("test") as node:
        guest = Puppet(await node.spawn(Guest(PUPPET, capabilities=["ActorMessage"])))
        for hostcall, value in (
            (c.TIME_NOW, None),
            (c.CHANNEL_WEAK_WRITE, IoWrite(9, b"x")),
            (c.ACTOR_TRAP, True),
        ):
            with pytest.raises(GuestError, match=r"^permission denied$"):
                await guest.do(hostcall, value)


@pytest.mark.parametrize(
    "name", ["../outside.wasm", "/etc/passwd", "link.wasm", "a/../../outside.wasm", "", "\0"]
)
def test_act_t9_paths_do_not_escape(tmp_path: Path, name: str) -> None:
    """A module's path leads out of the module directory neither by `..` nor by a symbolic link."""
    inside = tmp_path / "modules"
    inside.mkdir()
    (tmp_path / "outside.wasm").write_bytes(ACTOR)
    (inside / "link.wasm").symlink_to(tmp_path / "outside.wasm")
    (inside / "fine.wasm").write_bytes(ACTOR)
    store = ModuleStore(inside)
    assert store.read("fine.wasm") == ACTOR
    with pytest.raises(ModuleError, match="Module store error"):
        store.read(name)


async def test_act_t9_guests_have_no_files() -> None:
    """There is no other import than hostcalls: a guest that wants the file system is not instantiated."""
    import wasmtime

    source = '(module (import "wasi_snapshot_preview1" "path_open" (func)) (memory (export "memory") 1))'
    async with open_node("test") as node:
        with pytest.raises(StartError, match=r"wasi_snapshot_preview1"):
            await node.spawn(Guest(bytes(wasmtime.wat2wasm(source))))


async def test_limits_are_inherited(store: Path) -> None:
    """A child has its parent's limits: it cannot live longer on the processor, nor have more memory."""
    spinning = Assembler("process::start", "time::sleep")
    from enfilade.hostcalls.abi import TimeSleep

    request = spinning.message(ProcessStart, start("spin", [Capability.TIME_READ, Capability.ACTOR_MESSAGE]))
    nap = spinning.message(TimeSleep, TimeSleep(60_000))
    spinning.function(
        "start", f"(call $ok (call $process.start {request})) (call $ok (call $time.sleep {nap}))"
    )
    async with open_node("test") as node:
        open_guests(node, modules=store)
        await node.spawn(Guest(spinning.binary(), capabilities=GRANTS, limits=Limits(cpu_time=1.0)))
        with trio.fail_after(60):
            while node.statistics().processes != 1:  # noqa: ASYNC110 - both ends are not events
                await trio.sleep(0.01)
    outer = Limits(memory=20 * MEBIBYTE, resources=5, mailbox=7)
    inner = Limits(memory=30 * MEBIBYTE, resources=3).within(outer)
    assert (inner.memory, inner.resources, inner.mailbox) == (20 * MEBIBYTE, 3, 7)


def test_act_t12_import_list_and_catalogue_agree() -> None:
    """Every entry of the catalogue can be imported as create, poll and drop, with the ABI's types, and
    nothing else.
    """
    names = [hostcall.name for hostcall in CATALOGUE]
    assert len(names) == len(set(names)) == 41 + 18
    assert sum(name.startswith("selium::") for name in names) == 41
    with Engine(config=EngineConfig(max_guests=4)) as engine:
        module = engine.compile(PUPPET)
        wanted = {"create": (2, 1), "poll": (4, 1), "drop": (3, 1)}
        found: dict[str, set[str]] = {}
        for extern in module.imports:
            if extern.module_name == "selium::async":
                continue
            assert extern.kind is ExternKind.FUNCTION
            assert extern.function is not None
            parameters, results = wanted[extern.name]
            assert extern.function.parameters == (ValueType.I32,) * parameters
            assert extern.function.results == (ValueType.I32,) * results
            found.setdefault(extern.module_name, set()).add(extern.name)
        assert found == {name: {"create", "poll", "drop"} for name in names}
