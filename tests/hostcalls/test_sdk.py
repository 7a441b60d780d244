"""The kits for writing guests: their examples are built and run."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hostcalls.sdk
from actors import NORMAL, Down, open_node
from actors.guest import Guest, run_guest
from hostcalls.modules import ModuleError
from hostcalls.sdk.wat import Assembler

SDK = Path(hostcalls.sdk.__file__).parent
BUILD_SECONDS = 300


def build(command: list[str | Path], directory: Path) -> None:
    subprocess.run(command, check=True, cwd=directory, timeout=BUILD_SECONDS)


@pytest.mark.skipif(
    not shutil.which("clang") or not shutil.which("wasm-ld"), reason="needs clang and wasm-ld"
)
async def test_c_example(tmp_path: Path) -> None:
    """The counter in C compiles without a warning, by the command of its header, and counts."""
    module = tmp_path / "counter.wasm"
    command = "clang --target=wasm32 -mbulk-memory -std=c11 -O2 -Wall -Wextra -Werror -nostdlib"
    link = "-Wl,--no-entry -Wl,--stack-first -Wl,-z,stack-size=65536"
    build([*command.split(), *link.split(), "-o", module, "counter.c"], SDK / "c")
    async with open_node("test") as node, node.mailbox() as me:
        counter = await node.spawn(Guest(module, capabilities=["ActorMessage"], arguments=[40]))
        me.monitor(counter)
        counter.send(b"plain messages are ignored")
        assert await counter.call(Guest.request, b"add") == b"41"
        assert await counter.call(Guest.request, b"add") == b"42"
        assert await counter.call(Guest.request, b"stop") == b"42"
        assert (await me.receive(Down, timeout=10)).reason == NORMAL


@pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="needs the ziglang package")
async def test_zig_example(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """The clock in Zig builds by the command of its library, and agrees with the host about the time."""
    module = tmp_path / "clock.wasm"
    assert pytestconfig.cache is not None
    cache = pytestconfig.cache.mkdir("zig")
    command = "build-exe clock.zig -target wasm32-freestanding -O ReleaseSmall -fno-entry -rdynamic"
    layout = "--stack 65536 --global-base=65536"
    build(
        [
            *(sys.executable, "-m", "ziglang", *command.split(), *layout.split()),
            *(f"-femit-bin={module}", "--cache-dir", str(cache), "--global-cache-dir", str(cache)),
        ],
        SDK / "zig",
    )
    async with open_node("test") as node:
        assert await run_guest(node, Guest(module, capabilities=["TimeRead"], arguments=[20])) == NORMAL


def test_mistakes_in_the_text_are_told() -> None:
    """The assembler's text goes through the text format's own checks."""
    guest = Assembler("time::now")
    guest.function("start", "(call $no.such.function)")
    with pytest.raises(ModuleError, match="no"):
        guest.binary()
