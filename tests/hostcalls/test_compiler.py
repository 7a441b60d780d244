"""Modules whose authors want the host to compile for ever."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import trio

from enfilade.actors import NORMAL, StartError, open_node
from enfilade.actors.guests import Guest, open_guests, run_guest
from enfilade.hostcalls.engine import Engine, EngineConfig, InvalidModule, compile_main
from enfilade.hostcalls.engine.outline import check_outline
from enfilade.hostcalls.kernel import compiler
from enfilade.hostcalls.kernel.compiler import Compiler
from tests.hostcalls.bombs import bomb, number, section

pytestmark = pytest.mark.real

SIZES = EngineConfig(max_guests=4, max_functions=1000, max_function=1 << 16, max_source=1 << 20)
LARGE = bomb(300, 256)
"""An ordinary module that is not small."""


def children() -> list[str]:
    """The processes that compile now."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes()
            parent = re.search(r"^PPid:\s*(\d+)$", entry.with_name("status").read_text(), re.MULTILINE)
        except OSError:
            continue
        if str(compile_main.__file__).encode() in command and parent and int(parent[1]) == _own_process():
            found.append(entry.parent.name)
    return found


def _own_process() -> int:
    return int(Path("/proc/self").readlink().name)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (b"\0asm\1\0\0\0" + bytes(1 << 20), "expected a module of at most 1048576 bytes (max_source)"),
        (b"(module)", "a binary module begins with"),
        (bomb(1001, 1), "expected at most 1000 functions (max_functions), got 1001"),
        (b"\0asm\1\0\0\0" + section(3, number(1_000_000)), "functions (max_functions), got 1000000"),
        (bomb(1, 70_000), "expected functions of at most 65536 bytes (max_function)"),
        (b"\0asm\1\0\0\0" + section(2, number(10_001)), "imports and exports, got 10001"),
        (b"\0asm\1\0\0\0" + section(7, number(1 << 31)), "imports and exports, got 2147483648"),
    ],
    ids=["size", "no module", "functions", "a million", "long function", "imports", "exports"],
)
def test_sizes_are_checked_before_compiling(source: bytes, told: str) -> None:
    """Each refusal says which size, and what it may be."""
    with pytest.raises(InvalidModule, match=re.escape(told)):
        check_outline(source, SIZES)


@pytest.mark.parametrize("end", range(8, 60))
def test_an_outline_that_is_cut_off(end: int) -> None:
    """To read it is safe whatever it says; the compiler finds the fault."""
    check_outline(bomb(1, 20)[:end], SIZES)
    check_outline(bomb(1, 20)[:end] + b"\xff" * 20, SIZES)


async def test_large_modules_are_compiled_in_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child's machine code runs here, and each module is compiled once."""
    orders: list[bytes] = []
    original = compiler._compile_apart

    async def counted(source: bytes, config: EngineConfig) -> bytes:
        orders.append(source)
        return await original(source, config)

    monkeypatch.setattr(compiler, "_compile_apart", counted)
    async with open_node("test") as node:
        runtime = open_guests(node, engine=EngineConfig(max_guests=4))
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(runtime.kernel.compiler.compile, LARGE)
        assert await run_guest(node, Guest(LARGE)) == NORMAL
        assert await run_guest(node, Guest(bomb(1, 200))) == NORMAL
    assert orders == [LARGE]
    assert not children()


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"compile_memory": 200 << 20}, "more than 209715200 bytes of memory (compile_memory)"),
        ({"compile_time": 0.15}, "more than 0.15 seconds (compile_time)"),
    ],
    ids=["memory", "time"],
)
async def test_a_bomb_is_stopped(limits: dict[str, Any], told: str) -> None:
    """A function of a mebibyte takes ten seconds and 300 MiB; it gets what the host gives."""
    async with open_node("test") as node:
        open_guests(node, engine=EngineConfig(max_guests=4, **limits))
        with trio.fail_after(60), pytest.raises(StartError, match=re.escape(told)):
            await node.spawn(Guest(bomb(1, 1_000_000)))
    assert not children()


async def test_what_the_compiler_refuses() -> None:
    """The refusal of a child is worded as that of a thread."""
    wrong = bomb(300, 256)[:-1] + b"\xff"
    with Engine(config=EngineConfig(max_guests=2)) as engine:
        with pytest.raises(InvalidModule) as in_child:
            await Compiler(engine).compile(wrong)
        with pytest.raises(InvalidModule) as in_thread:
            engine.compile(wrong)
    assert str(in_child.value) == str(in_thread.value)


async def test_closing_does_not_wait_for_the_compiler() -> None:
    """A node that is left while a bomb compiles closes at once, and no process stays behind."""
    with trio.fail_after(30):
        async with open_node("test") as node:
            open_guests(node, engine=EngineConfig(max_guests=4))
            node.spawn_soon(Guest(bomb(1, 1_000_000)))
            while not children():  # noqa: ASYNC110 - the start of a process is no event
                await trio.sleep(0.01)
            began = trio.current_time()
        assert trio.current_time() - began < 5
    assert not children()


async def test_a_bomb_delays_neither_small_modules_nor_threads() -> None:
    """While as many bombs compile as may, small modules start, and the program's own threads run."""
    async with open_node("test") as node:
        open_guests(node, engine=EngineConfig(max_guests=8))
        for size in (900_000, 900_020, 900_040):
            node.spawn_soon(Guest(bomb(1, size)))
        with trio.fail_after(30):
            while len(children()) < 2:  # noqa: ASYNC110 - the start of a process is no event
                await trio.sleep(0.01)
            assert await run_guest(node, Guest(bomb(1, 300))) == NORMAL
            assert await trio.to_thread.run_sync(lambda: "ran") == "ran"
        assert len(children()) == 2
    assert not children()
