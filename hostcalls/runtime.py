"""The runtime of guests: an engine, the process kernel above it, and the modules that are in use."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import trio

from .clock import Clock
from .engine import Engine, EngineConfig, Module
from .kernel import Kernel, Policy
from .modules import ModuleStore, binary
from .operation import Operation

#  Guests at one time, unless the embedder says otherwise: small enough for several runtimes in one program,
# each of
#: which reserves address space for all its guests.
_GUESTS = 4_000


class Runtime:
    """Everything that guests share.

    Args:
        clock: the time that guests see.
        modules: the directory of the modules that are named by a text, or a store.
        engine: sizes of the engine.
        operations: hostcalls of the application's own.
        policy: rules between guests.

    Raises `hostcalls.engine.EngineError` when no engine can be made here, or not with these sizes.

    Attributes:
        kernel: the process kernel; `kernel.registry` has the resources.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        modules: ModuleStore | Path | str = "modules",
        engine: EngineConfig | None = None,
        operations: Iterable[Operation[Any, Any]] = (),
        policy: Policy | None = None,
    ) -> None:
        self._store = modules if isinstance(modules, ModuleStore) else ModuleStore(modules)
        self._engine = Engine(config=engine or EngineConfig(max_guests=_GUESTS))
        self._compiled: dict[str | Path | bytes, Module] = {}
        self.kernel = Kernel(self._engine, clock, modules=self._store, operations=operations, policy=policy)

    def compile(self, source: str | Path | bytes) -> Module:
        """The compiled module: a name in the module directory, a path, or the module itself. Not a
        checkpoint.

        It is compiled once and kept; `load` does that without holding up the loop. Raises `StartError` when
        it cannot be read, `hostcalls.engine.InvalidModule` when it is not valid.
        """
        module = self._compiled.get(source)
        if module is None:
            module = self._compiled[source] = self._engine.compile(self._read(source))
        return module

    async def load(self, source: str | Path | bytes) -> Module:
        """As `compile`, in a worker thread. A checkpoint."""
        if source not in self._compiled:
            content = await trio.to_thread.run_sync(self._read, source)
            self._compiled[source] = await trio.to_thread.run_sync(self._engine.compile, content)
        return self._compiled[source]

    def _read(self, source: str | Path | bytes) -> bytes:
        if isinstance(source, str):
            return self._store.read(source)
        if isinstance(source, bytes):
            return binary(source)
        return ModuleStore(source.parent).read(source.name)

    async def run(self) -> None:
        """Serve the engine until cancelled, and close it then."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._engine.fileno())
                self._engine.dispatch()
        finally:
            self._engine.close()
            self.kernel.close()
            # What Wasmtime has reserved goes with the last module; let that be now.
            self._compiled.clear()
            del self._engine
