"""The wasmtime package as it is: stores, instances and callbacks made in Python."""

from __future__ import annotations

import threading
import time
from typing import Any

import wasmtime

from tests.benchmarks.kernel import kernel
from tests.benchmarks.peers.modules import PLAIN

GROWN_PAGES = 256


class Host:
    """An engine, and the module joined with its one import."""

    def __init__(self) -> None:
        config = wasmtime.Config()
        config.epoch_interruption = True
        self.engine = wasmtime.Engine(config)
        linker = wasmtime.Linker(self.engine)
        types = [wasmtime.ValType.i32(), wasmtime.ValType.i32()], [wasmtime.ValType.i64()]
        linker.define_func("bench", "host", wasmtime.FuncType(*types), _answer)
        self._ready = linker.instantiate_pre(wasmtime.Module(self.engine, PLAIN))

    def spawn(self) -> tuple[Any, Any]:
        """A new store and instance, limited, its memory grown to 16 MiB."""
        store = wasmtime.Store(self.engine)
        store.set_limits(memory_size=64 << 20)
        store.set_epoch_deadline(1_000_000)
        exports = self._ready.instantiate(store).exports(store)
        memory: Any = exports["memory"]
        memory.grow(store, GROWN_PAGES - memory.size(store))
        return store, exports


def _answer(_pointer: int, _size: int) -> int:
    return 12345678


@kernel("guest-spawn")
def spawn(guests: int) -> float:
    host = Host()
    begin = time.perf_counter()
    for _ in range(guests):
        store, exports = host.spawn()
        exports["park"](store)
    return (time.perf_counter() - begin) / guests


@kernel("hostcall")
def hostcall(calls: int) -> float:
    store, exports = Host().spawn()
    begin = time.perf_counter()
    exports["ask"](store, calls)
    return (time.perf_counter() - begin) / calls


@kernel("guest-call")
def guest_call(calls: int, size: int) -> float:
    store, exports = Host().spawn()
    memory, echo = exports["memory"], exports["echo"]
    payload = bytes(size)
    begin = time.perf_counter()
    for _ in range(calls):
        memory.write(store, payload, 65536)
        memory.read(store, 131072, 131072 + echo(store, 65536, size))
    return (time.perf_counter() - begin) / calls


@kernel("guest-send")
def guest_send(messages: int) -> float:
    """A write into the guest's memory, and a call that copies what was written."""
    store, exports = Host().spawn()
    memory, echo = exports["memory"], exports["echo"]
    payload = bytes(64)
    begin = time.perf_counter()
    for _ in range(messages):
        memory.write(store, payload, 65536)
        echo(store, 65536, 64)
    return (time.perf_counter() - begin) / messages


@kernel("guest-kill")
def guest_kill(guests: int, budget_ms: int) -> float:
    """A timer raises the epoch when the time is over."""
    host = Host()
    begin = time.perf_counter()
    for _ in range(guests):
        store, exports = host.spawn()
        store.set_epoch_deadline(1)
        timer = threading.Timer(budget_ms / 1000, host.engine.increment_epoch)
        timer.start()
        try:
            exports["compute"](store, -1)
        except wasmtime.Trap as trap:
            if trap.trap_code is not wasmtime.TrapCode.INTERRUPT:
                raise
        timer.join()
    return (time.perf_counter() - begin) / guests


@kernel("guest-compute")
def compute(loops: int) -> float:
    """One after the other: a call holds the thread that makes it."""
    store, exports = Host().spawn()
    begin = time.perf_counter()
    for _ in range(2):
        exports["compute"](store, loops)
    return time.perf_counter() - begin
