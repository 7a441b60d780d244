"""The kits for writing guests: every example is built, by the command of its kit, and run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import attrs
import pytest
import trio

from enfilade.actors import NORMAL, Child, Down, Node, Reason, Supervisor, Trapped, open_node
from enfilade.actors.guests import Guest, run_guest
from enfilade.hostcalls.abi.actor_types import ActorReceive
from enfilade.hostcalls.kernel.modules import ModuleError
from enfilade.hostcalls.sdk.wat import Assembler
from tests.docs.page import blocks
from tests.hostcalls.kits.builds import EXAMPLES, SDK, build, build_c, build_zig, needs_clang, needs_zig

pytestmark = pytest.mark.real


async def ended(node: Node, guest: Guest) -> Reason:
    async with node.mailbox() as me:
        me.monitor(await node.spawn(guest))
        return (await me.receive(Down, timeout=60)).reason


def test_every_example_has_its_test() -> None:
    """No example is left out below."""
    names = {path.name for path in EXAMPLES.rglob("*.*") if "__pycache__" not in path.parts}
    filters = {f"filter.{suffix}" for suffix in ("c", "py", "rs", "ts", "zig")}
    assert names == filters | {"client.c", "clock.zig", "counter.c", "echo.zig", "nap.c", "nap.wat"}


@needs_clang
async def test_c_counter(tmp_path: Path) -> None:
    """A server in C answers requests and ends."""
    module = build_c(EXAMPLES / "c" / "counter.c", tmp_path)
    async with open_node("test") as node, node.mailbox() as me:
        counter = await node.spawn(Guest(module, capabilities=["ActorMessage"], arguments=[40]))
        me.monitor(counter)
        counter.send(b"plain messages are ignored")
        assert await counter.call(Guest.request, b"add") == b"41"
        assert await counter.call(Guest.request, b"add") == b"42"
        assert await counter.call(Guest.request, b"stop") == b"42"
        assert (await me.receive(Down, timeout=60)).reason == NORMAL


@needs_clang
@pytest.mark.parametrize("name", ["counter", "a counter with a longer name"])
async def test_c_client(tmp_path: Path, name: str) -> None:
    """A client in C finds a server by its name and calls it; without the right to ask for names it traps."""
    counter = Guest(
        build_c(EXAMPLES / "c" / "counter.c", tmp_path), capabilities=["ActorMessage"], arguments=[0]
    )
    client = Guest(
        build_c(EXAMPLES / "c" / "client.c", tmp_path),
        capabilities=["ActorMessage", "ActorRegistry"],
        arguments=[name, 3, "3"],
        finds=[name],
    )
    async with open_node("test") as node:
        await node.spawn(counter, name=name)
        powerless = Guest(client.module, capabilities=["ActorMessage"], arguments=client.arguments)
        assert isinstance(await ended(node, powerless), Trapped)
        assert isinstance(await ended(node, attrs.evolve(client, finds=())), Trapped)
        assert await ended(node, client) == NORMAL
        assert isinstance(await ended(node, client), Trapped)  # the counter was stopped


@needs_clang
async def test_c_nap(tmp_path: Path) -> None:
    """Hostcalls that the header does not know are made by its macro."""
    module = build_c(EXAMPLES / "c" / "nap.c", tmp_path)
    async with open_node("test") as node:
        assert await run_guest(node, Guest(module, capabilities=["TimeRead"], arguments=[20])) == NORMAL
        assert isinstance(await run_guest(node, Guest(module, arguments=[20])), Trapped)


@needs_zig
async def test_zig_clock(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """The clock in Zig agrees with the host about the time."""
    module = build_zig(EXAMPLES / "zig" / "clock.zig", tmp_path, pytestconfig)
    async with open_node("test") as node:
        assert await run_guest(node, Guest(module, capabilities=["TimeRead"], arguments=[20])) == NORMAL


@needs_zig
async def test_zig_echo(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """A server in Zig answers requests and ends."""
    module = build_zig(EXAMPLES / "zig" / "echo.zig", tmp_path, pytestconfig)
    async with open_node("test") as node, node.mailbox() as me:
        echo = await node.spawn(Guest(module, capabilities=["ActorMessage"]))
        me.monitor(echo)
        echo.send(b"plain messages are ignored")
        for question in (b"", b"hello", bytes(range(256)) * 4):
            assert await echo.call(Guest.request, question) == question[::-1]
        assert await echo.call(Guest.request, b"stop") == b"pots"
        assert (await me.receive(Down, timeout=60)).reason == NORMAL


async def test_wat_nap() -> None:
    """The example in the text format sleeps by the host's clock; without the capability it traps."""
    nap = EXAMPLES / "wat" / "nap.wat"
    async with open_node("test") as node:
        assert await run_guest(node, Guest(nap, capabilities=["TimeRead"])) == NORMAL
        assert isinstance(await run_guest(node, Guest(nap)), Trapped)


NOTICES = """
#include "enfilade.h"
static union { uint64_t aligned; uint8_t bytes[ENFILADE_RESULT_MIN + 64]; } buffer;
static union { uint64_t aligned; uint8_t bytes[ENFILADE_RESULT_MIN]; } small;
ENFILADE_HOSTCALL(monitor, "enfilade::actor::monitor")
ENFILADE_HOSTCALL(trap, "enfilade::actor::trap")
ENFILADE_HOSTCALL(link, "enfilade::actor::link")
#define MUST(truth) do { if (!(truth)) __builtin_trap(); } while (0)
ENFILADE_EXPORT("start") void start(uint32_t victim)
{
    struct enfilade_message message;
    uint64_t number;
    const uint8_t yes = 1;
    const char poke[] = "end";
    MUST(enfilade_receive(&message, buffer.bytes, ENFILADE_RESULT_MIN - 1, 0) == -1);
    MUST(enfilade_receive(&message, buffer.bytes, sizeof buffer.bytes, 0) == 0);
    MUST(message.kind == ENFILADE_NOTHING);
    MUST(trap(&yes, 1, small.bytes, sizeof small) == 1);
    MUST(link(&victim, 4, small.bytes, sizeof small) == 0);
    MUST(monitor(&victim, 4, small.bytes, sizeof small) == 8);
    enfilade_copy(&number, small.bytes, 8);
    MUST(enfilade_send(victim, 7, poke, 3) == 0);
    int seen = 0;
    while (seen != 3) {
        MUST(enfilade_receive(&message, buffer.bytes, sizeof buffer.bytes, ENFILADE_FOREVER) == 0);
        MUST(message.actor == victim && message.reason == ENFILADE_TRAPPED);
        MUST(message.kind == ENFILADE_EXITED || message.kind == ENFILADE_DOWN);
        MUST(message.kind == ENFILADE_EXITED || message.monitor == number);
        seen |= message.kind == ENFILADE_EXITED ? 1 : 2;
    }
    const uint8_t *data;
    uint32_t size;
    MUST(enfilade_call(victim, poke, 3, buffer.bytes, sizeof buffer.bytes, 1000, &data, &size) == -1);
    const char *text = enfilade_error(buffer.bytes, &size);
    MUST(size > 12 && text[0] == 'i' && text[size - 1] == 's');
    MUST(enfilade_whereis("nobody", 6) == -1);
}
"""


@needs_clang
async def test_c_notices_and_errors(tmp_path: Path) -> None:
    """The C kit reads exits, downs and error texts."""
    source = tmp_path / "notices.c"
    source.write_text(NOTICES)
    flags = "--target=wasm32 -mbulk-memory -std=c11 -O2 -Wall -Wextra -Werror -nostdlib -Wl,--no-entry"
    stack = "-Wl,--stack-first -Wl,-z,stack-size=65536"
    target = tmp_path / "notices.wasm"
    build(
        ["clang", *flags.split(), *stack.split(), f"-I{SDK / 'c'}", "-o", str(target), str(source)], tmp_path
    )
    victim = Assembler("enfilade::actor::receive")
    anything = victim.message(ActorReceive, ActorReceive(None, 0, None, 64))
    victim.function("start", f"(call $received (call $actor.receive {anything})) unreachable")
    grants = ["ActorMessage", "ActorLink", "ActorRegistry"]
    async with open_node("test") as node:
        doomed = await node.spawn(Guest(victim.binary(), capabilities=grants), name="doomed")
        watcher = Guest(target, capabilities=grants, arguments=[doomed], finds="nobody", ends="doomed")
        assert await ended(node, watcher) == NORMAL


@needs_clang
def test_the_tutorial_in_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the tutorial says to type for a guest in C works as it stands. (Its other parts are run with all
    pages; this one needs a compiler.)
    """
    root = Path(__file__).parents[3]
    page = blocks((root / "docs" / "tutorials" / "guests.md").read_text())
    (source,) = [block for block in page if block.name == "counter.c"]
    (command,) = [block.body for block in page if block.language == "sh" and "clang" in block.body]
    (program,) = [block.body for block in page if block.language == "py"]
    (tmp_path / "modules").mkdir()
    (tmp_path / "counter.c").write_text(source.body)
    (tmp_path / "enfilade").write_text(f'#!/bin/sh\nexec {sys.executable} -m enfilade "$@"\n')
    (tmp_path / "enfilade").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(root))
    build(["bash", "-c", command], tmp_path)
    names = {"trio": trio, "open_node": open_node, "Guest": Guest, "Supervisor": Supervisor, "Child": Child}
    exec(program, names)
    assert capsys.readouterr().out == "b'1'\nb'2'\nb'3'\n"


def test_mistakes_in_the_text_are_told() -> None:
    """The assembler's text goes through the text format's own checks."""
    guest = Assembler("time::now")
    guest.function("start", "(call $no.such.function)")
    with pytest.raises(ModuleError, match=r"unknown func: failed to find name `\$no.such.function` in line"):
        guest.binary()
