"""Compiling modules without being hurt by them.

A module is another's program, and to compile it is work that its author asks for: four mebibytes can take a
minute and gibibytes. So all but small modules are compiled in a child process, which the kernel ends when it
uses too much memory, processor or time, and which is killed when nobody waits for it any more. The outline of
a module (`enfilade.hostcalls.engine.outline`) is checked before.

Small ones, of up to `SMALL` bytes, are compiled in a thread. The worst of them takes a fifth of a second,
about what a child takes to start, and ordinary ones take a millisecond or two. A thread cannot be killed; it
is left behind when nobody waits for it.

What the child gives back is machine code that this process will run. It is trusted as what the compiler would
have made here: it came out of the same compiler, from the same source, through a pipe that nobody else has.
A flaw of the compiler that lets a module decide what is emitted is no worse for the child; one that lets a
module take over the compiler itself gets, there, a process that can do nothing but hand in such code.
"""

from __future__ import annotations

import hashlib
import json
import math
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import trio

from enfilade.hostcalls.engine import Engine, EngineUnavailable, InvalidModule, Module, compile_main
from enfilade.hostcalls.engine.config import EngineConfig
from enfilade.hostcalls.engine.library import library_path, plain_text

T = TypeVar("T")

SMALL = 64 * 1024
"""Bytes up to which a module is compiled in a thread of this process."""

_THREADS = 2
_CHILDREN = 2

_LARGEST = 8
"""Bytes of machine code for each byte of source, at most, beyond a mebibyte."""


class Compiler:
    """Compiles for one engine, a few modules at a time, beside everything else that runs in threads.

    Args:
        engine: loads what was compiled.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._threads = trio.CapacityLimiter(_THREADS)
        self._children = trio.CapacityLimiter(_CHILDREN)
        self._turns: dict[str, trio.Lock] = {}

    async def compile(self, source: bytes) -> Module:
        """Return the module compiled from the binary WebAssembly `source`; each is compiled once.

        A checkpoint. Cancelled, it kills the child or leaves the thread behind, and waits for neither.

        Raises:
            enfilade.hostcalls.engine.InvalidModule: the source is refused, or compiling it exceeds a limit of
                `EngineConfig`; the message says which.
            enfilade.hostcalls.engine.EngineUnavailable: the engine is closed, or no child can be started.
        """
        digest = _digest(source) if len(source) <= SMALL else await self._in_a_thread(_digest, source)
        turn = self._turns.setdefault(digest, trio.Lock())
        try:
            async with turn:
                if len(source) <= SMALL or self._engine.config.deterministic:  # which starts no process
                    return await self._in_a_thread(self._engine.compile, source)
                module = await self._in_a_thread(self._engine.find, source)
                if module is not None:
                    return module
                async with self._children:
                    artifact = await _compile_apart(source, self._engine.config)
                return await self._in_a_thread(self._engine.load, source, artifact)
        finally:
            if not turn.statistics().tasks_waiting:
                self._turns.pop(digest, None)

    async def _in_a_thread(self, function: Callable[..., T], *args: bytes) -> T:
        return await trio.to_thread.run_sync(function, *args, abandon_on_cancel=True, limiter=self._threads)


def _digest(source: bytes) -> str:
    return hashlib.sha256(source).hexdigest()


async def _compile_apart(source: bytes, config: EngineConfig) -> bytes:
    """Compile in a child process; return the machine code. Raises as `Compiler.compile`."""
    if not sys.executable:
        raise EngineUnavailable("expected sys.executable to name the interpreter, got nothing")
    order = json.dumps(
        {
            "memory": config.compile_memory,
            "cpu_time": math.ceil(config.compile_time),
            "time": config.compile_time * _PATIENCE,
            "packages": str(Path(_module_file("_cffi_backend")).parent),
            "extension": _module_file("enfilade.hostcalls.engine._engine"),
            "library": str(library_path()),
            "sizes": config.sizes,
            "largest": (1 << 20) + _LARGEST * len(source),
        }
    )
    command = [sys.executable, "-I", "-S", str(compile_main.__file__), order]
    try:
        done = await trio.run_process(
            command,
            stdin=source,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            deliver_cancel=_kill,
            env={},
            cwd="/",
            process_group=0,
        )
    except OSError as error:
        raise EngineUnavailable(f"no process to compile a module in: {error}") from error
    if done.returncode == 0:
        return bytes(done.stdout)
    raise _refusal(done, config)


_PATIENCE = 2.0
"""Seconds on the wall that a child has for each second of processor."""


def _refusal(
    done: subprocess.CompletedProcess[bytes], config: EngineConfig
) -> InvalidModule | EngineUnavailable:
    """The error for the way in which a child has ended."""
    match -done.returncode:
        case signal.SIGXCPU | signal.SIGKILL | signal.SIGALRM:
            return InvalidModule(
                f"compiling the module took more than {config.compile_time:g} seconds (compile_time)"
            )
        case signal.SIGABRT | signal.SIGSEGV | signal.SIGBUS:
            return _too_much_memory(config)
    if done.returncode == compile_main.REFUSED:
        return InvalidModule(plain_text(done.stdout.decode(errors="replace")))
    if done.returncode == compile_main.TOO_LARGE:
        return InvalidModule("the module becomes too much machine code for its size")
    if b"MemoryError" in done.stderr:
        return _too_much_memory(config)
    *_, last = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
    return EngineUnavailable(f"the process that compiles ended with status {done.returncode}: {last}")


def _too_much_memory(config: EngineConfig) -> InvalidModule:
    limit = config.compile_memory
    return InvalidModule(f"compiling the module took more than {limit} bytes of memory (compile_memory)")


async def _kill(process: trio.Process) -> None:
    process.kill()


def _module_file(name: str) -> str:
    return str(sys.modules[name].__file__)
