"""What happens while the module of a guest is being compiled."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from enfilade.actors import (
    KILL,
    NORMAL,
    Actor,
    Custom,
    Down,
    ProcessDied,
    StartError,
    StartTimeout,
    open_node,
)
from enfilade.actors.guests import Guest, guests_of, open_guests
from enfilade.actors.supervision.child_spec import Child
from enfilade.actors.supervision.supervisor import Supervisor
from enfilade.hostcalls.abi import ScalarType, ScalarValue
from enfilade.hostcalls.engine import engine as engine_module
from tests.hostcalls.guests import ACTOR, CAPABILITIES


class Gate:
    """Holds compilations up until it is opened, and counts them."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        self.compiled = 0


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    compile_module = engine_module.compile_module

    def held_up(compiler: object, source: bytes) -> object:
        gate.entered.release()
        assert gate.open.wait(60)
        gate.compiled += 1
        return compile_module(compiler, source)

    monkeypatch.setattr(engine_module, "compile_module", held_up)
    yield gate
    gate.open.set()


async def entered(gate: Gate) -> None:
    """Wait until a compilation is under way."""
    await trio.to_thread.run_sync(gate.entered.acquire)


def echo(module: bytes | str | Path = ACTOR) -> Guest:
    return Guest(module, capabilities=CAPABILITIES, entrypoint="echo")


class Pulse(Actor):
    def beat(self, number: int) -> int:
        return number


async def test_the_loop_goes_on(gate: Gate) -> None:
    """Other processes are served while a module is compiled; messages for the guest wait."""
    async with open_node("test") as node, trio.open_nursery() as nursery:
        pulse = await node.spawn(Pulse)

        async def start() -> None:
            ref = await node.spawn(echo(), name="echo")
            assert await ref.call(Guest.request, b"after") == b"after"

        nursery.start_soon(start)
        await entered(gate)
        early = node.whereis("echo")
        assert early is not None
        answers: list[bytes] = []

        async def ask() -> None:
            answers.append(await early.call(Guest.request, b"before"))

        nursery.start_soon(ask)
        for number in range(100):
            assert await pulse.call(Pulse.beat, number) == number
        assert not answers
        gate.open.set()
    assert answers == [b"before"]


async def test_what_several_start_at_once_is_compiled_once(gate: Gate, tmp_path: Path) -> None:
    """Under one name or under several, by nodes' code and by guests."""
    (tmp_path / "module.wasm").write_bytes(ACTOR)
    async with open_node("test") as node:
        open_guests(node, modules=tmp_path)
        async with trio.open_nursery() as nursery:
            for module in [ACTOR, "module.wasm", tmp_path / "module.wasm"] * 3:
                nursery.start_soon(node.spawn, echo(module))
            await entered(gate)
            gate.open.set()
        assert node.statistics().processes == 9
    assert gate.compiled == 1


async def test_a_start_can_be_given_up(gate: Gate) -> None:
    """By a time limit, by cancellation, by a kill and by a request to stop; nothing is left behind."""
    async with open_node("test") as node, node.mailbox() as me:
        with pytest.raises(StartTimeout):
            await node.spawn(echo(), timeout=0.01)
        with trio.move_on_after(0.01) as scope:
            await node.spawn(echo())
        assert scope.cancelled_caught
        for end in ("kill", "stop"):
            ref = node.spawn_soon(echo())
            me.monitor(ref)
            await trio.sleep(0.01)
            if end == "kill":
                ref.exit(KILL)
            else:
                await ref.stop()
            reason = (await me.receive(Down, timeout=60)).reason
            assert str(reason) == {"kill": "killed", "stop": "normal"}[end]
        gate.open.set()
        await guests_of(node).load(ACTOR)
        assert node.statistics().processes == 1
        assert node.statistics().starting == 0


async def test_who_starts_a_guest_hears_how_it_ends(gate: Gate) -> None:
    """A guest that ends at once does so after its starter had the time to monitor it."""
    gate.open.set()
    async with open_node("test") as node, node.mailbox() as me:
        me.monitor(await node.spawn(Guest(ACTOR, capabilities=CAPABILITIES, entrypoint="done")))
        assert (await me.receive(Down, timeout=60)).reason == NORMAL


async def test_a_module_that_is_none() -> None:
    """What is wrong with it is the reason of each start, at once or later."""
    async with open_node("test") as node:
        for _ in range(2):
            with pytest.raises(StartError, match="Wasmtime error: failed to parse") as caught:
                await node.spawn(echo(b"\0asm\1\0\0\0junk"))
            assert isinstance(caught.value.reason, Custom)
        with pytest.raises(StartError, match="Module store error: cannot read module 'none'"):
            await node.spawn(echo("none"))
        assert node.statistics().processes == 0


async def test_a_supervisor_waits_for_the_module(gate: Gate) -> None:
    """A guest is a child like any other: the next child starts when it has."""
    async with open_node("test") as node, trio.open_nursery() as nursery:
        nursery.start_soon(
            node.spawn,
            Supervisor,
            [Child(echo(), id="echo", name="echo"), Child(Pulse, id="pulse", name="pulse")],
        )
        await entered(gate)
        assert node.whereis("pulse") is None
        gate.open.set()
        with trio.fail_after(60):
            while node.whereis("pulse") is None:  # noqa: ASYNC110 - a registration is no event
                await trio.sleep(0.01)
        ref = node.whereis("echo")
        assert ref is not None
        with pytest.raises(ProcessDied):
            await ref.call(Guest.request, b"trap")


async def test_act_t5_two_computing_guests_leave_the_loop_alone() -> None:
    """Two guests in endless loops run beside an actor that goes on answering."""
    async with open_node("test") as node:
        spinning = [
            await node.spawn(Guest(ACTOR, capabilities=CAPABILITIES, entrypoint="spin")) for _ in range(2)
        ]
        pulse = await node.spawn(Pulse)
        executions = [ref._process.body.execution for ref in spinning]  # type: ignore[attr-defined]
        with trio.fail_after(60):
            while not all(execution.instance.offloaded for execution in executions):
                await trio.lowlevel.checkpoint()
        before = [execution.instance.cpu_time for execution in executions]
        with trio.fail_after(60):
            number = 0
            while any(e.instance.cpu_time < b + 0.05 for e, b in zip(executions, before, strict=True)):
                assert await pulse.call(Pulse.beat, number) == number
                await trio.lowlevel.checkpoint()
                number += 1
        assert number > 0
        assert all(execution.instance.offloaded for execution in executions)
        for ref in spinning:
            await ref.stop()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (b"elf", "'module' is not a WebAssembly module$"),
        (b"\n(module)", "translate the text format with wat2wasm"),
        ("none.wasm", "cannot read module 'none.wasm' below 'modules'"),
    ],
)
async def test_what_is_wrong_with_a_module(source: bytes | str, says: str) -> None:
    """The starter is told what to do about it."""
    async with open_node("n") as node:
        with pytest.raises(StartError, match=says):
            await node.spawn(Guest(source))


def test_capabilities_are_no_text() -> None:
    """The letters of a name are not names."""
    with pytest.raises(TypeError, match="are a set of names"):
        Guest("any.wasm", capabilities="time_read")


@pytest.mark.parametrize(
    ("attribute", "value", "told"),
    [
        ("module", 5, "module must be the name of a module, its Path or its bytes, got 5"),
        ("module", None, "module must be the name"),
        ("capabilities", [9999], "expected a capability or its name, got 9999"),
        ("entrypoint", None, "entrypoint must be a string, got None"),
        ("label", 5, "label must be a string, got 5"),
        ("arguments", b"abc", "expected a sequence of arguments, such as"),
        ("arguments", "abc", "expected a sequence of arguments, such as"),
        ("results", [ScalarType.I32], "results must be ScalarParam or BufferParam objects, got"),
        ("limits", 5, "limits must be enfilade.hostcalls.Limits, such as Limits(memory=2**24), got 5"),
        ("network", "127.0.0.1", "network must be a Network, such as Network.loopback(), got '127.0.0.1'"),
        ("finds", [5], "finds must be a string or a sequence of strings, got 5"),
        ("ends", 5, "ends must be a string or a sequence of strings, got 5"),
        ("arguments", 5, "expected a sequence of arguments, such as [5], got 5"),
        ("capabilities", None, "capabilities are a set of names, such as"),
    ],
)
def test_descriptions_are_checked_when_they_are_made(attribute: str, value: Any, told: str) -> None:
    """A wrong attribute is an error where it is written, and not a failure of the runtime at the start."""
    with pytest.raises(TypeError, match=re.escape(told)):
        Guest(**{"module": b"", attribute: value})


async def test_numbers_outside_of_their_kind_are_named() -> None:
    """A start that fails for an argument says which it was."""
    async with open_node("numbers") as node:
        with pytest.raises(StartError, match="expected a number that fits U8, got 256"):
            await node.spawn(Guest(ACTOR, entrypoint="done", arguments=[ScalarValue(ScalarType.U8, 256)]))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (
            "helo.wat",
            "'helo.wat' below 'modules': No such file or directory; did you mean 'hello.wat'?",
        ),
        ("hello", "did you mean 'hello.wat'?"),
        (
            "modules/hello.wat",
            "names are looked up below 'modules': leave that away, or give the file as a Path",
        ),
        ("/elsewhere/hello.wat", "give a file elsewhere as a Path"),
        ("../hello.wat", "give a file elsewhere as a Path"),
        ("~/hello.wat", "give a file elsewhere as a Path"),
        (
            "(module)",
            "a module that is given itself must be bytes: keep its text in a file that ends in .wat",
        ),
        (
            "source.c",
            "'source.c' is not a WebAssembly module: it is source, to be compiled first",
        ),
        (Path("modules/helo.wat"), "cannot read module 'helo.wat'"),
        (Path("modules/helo.wat"), "did you mean 'hello.wat'?"),
        ("quite another.wasm", "No such file or directory"),
    ],
)
async def test_a_module_that_is_not_there(
    source: str | Path, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newcomer is told which name would be found."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "hello.wat").write_text("(module)")
    (tmp_path / "modules" / "source.c").write_text("int main(void);")
    monkeypatch.chdir(tmp_path)
    async with open_node("n") as node:
        with pytest.raises(StartError, match=re.escape(says)):
            await node.spawn(Guest(source))


async def test_a_directory_of_modules_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_node("n") as node:
        with pytest.raises(
            StartError, match="there is no directory 'modules': make it, or give the file as a Path"
        ):
            await node.spawn(Guest("hello.wat"))
