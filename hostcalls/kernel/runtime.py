"""The runtime of guests: an engine, the process kernel above it, and the modules that are in use."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

import trio

from enfilade.fields import check
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.contracts.launch import Launch
from enfilade.hostcalls.contracts.operation import Operation
from enfilade.hostcalls.contracts.policy import Policy
from enfilade.hostcalls.engine import Engine, EngineConfig, Module
from enfilade.hostcalls.kernel.kernel import Kernel
from enfilade.hostcalls.kernel.modules import ModuleMissing, ModuleStore, binary, nearest_file
from enfilade.hostcalls.kernel.prepared import Prepared
from enfilade.hostcalls.net.settings import NetworkSettings
from enfilade.hostcalls.net.sockets import Sockets
from enfilade.hostcalls.resources.clock import Clock

Source: TypeAlias = str | Path | bytes
"""Where a module is: a name in the module directory, a path, or the module itself."""

_GUESTS = 4_000
"""Guests at one time, unless the embedder says otherwise: small enough for several runtimes in one program,
each of which reserves address space for all its guests."""

_MODULES = 256
"""Sources whose modules are kept, the latest ones; of others the machine code goes when their guests do."""

_KEPT = 256
"""Prepared launches that are kept."""


class Runtime:
    """Everything that guests share.

    Args:
        clock: the time that guests see.
        modules: the directory of the modules that are named by a text, or a store.
        engine: sizes of the engine.
        operations: hostcalls of the application's own.
        policy: rules between guests.
        network: bounds of the network, and the certificate of the host.
        sockets: the network that guests are on; None for that of the system.
        measure: seconds, by which turns of guests are measured.
        charge: as of `enfilade.hostcalls.engine.Engine`.

    Raises `enfilade.hostcalls.engine.EngineError` when no engine can be made here, or not with these sizes,
    and `TypeError` when an argument is of the wrong kind.

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
        network: NetworkSettings | None = None,
        sockets: Sockets | None = None,
        measure: Callable[[], float] = perf_counter,
        charge: Callable[[float], object] = lambda seconds: None,
    ) -> None:
        check("modules", modules, (ModuleStore, Path, str), "a directory or a ModuleStore")
        check(
            "engine",
            engine,
            (EngineConfig, type(None)),
            "an EngineConfig, such as EngineConfig(max_guests=100)",
        )
        check("policy", policy, (Policy, type(None)), "a Policy, such as Policy(forward_logs=False)")
        check(
            "network", network, (NetworkSettings, type(None)), "NetworkSettings; a Network is the guest's own"
        )
        self._store = modules if isinstance(modules, ModuleStore) else ModuleStore(modules)
        self._engine = Engine(config=engine or EngineConfig(max_guests=_GUESTS), clock=measure, charge=charge)
        self._compiled: OrderedDict[Source, Module] = OrderedDict()
        self._loading: dict[Source, trio.Lock] = {}
        self._prepared: dict[Hashable, Prepared] = {}
        self.kernel = Kernel(
            self._engine,
            clock,
            modules=self._store,
            operations=operations,
            policy=policy,
            network=network,
            sockets=sockets,
        )

    def is_ready(self, source: Source, grants: frozenset[Capability] = frozenset()) -> bool:
        """Tell whether a guest of `source` with `grants` can be made at once, because of an earlier `load`.

        Not a checkpoint.
        """
        return source in self._compiled and self.kernel.network.is_ready(grants)

    def compiled(self, source: Source) -> Module | None:
        """Return the module of `source`, if it was loaded before. Not a checkpoint."""
        module = self._compiled.get(source)
        if module is not None:
            self._compiled.move_to_end(source)
        return module

    def compile(self, source: Source) -> Module:
        """As `load`, in this thread: it holds up the loop. Not a checkpoint."""
        return self.compiled(source) or self._keep(source, self._compile(source))

    async def load(self, source: Source, grants: frozenset[Capability] = frozenset()) -> Module:
        """Read the module and compile it, beside the loop, unless that was done before.

        So are the libraries of the network imported, in a worker thread, if guests with `grants` need them.

        A checkpoint, unless the module is there; what two ask for at the same time is compiled once.
        Cancelled, nobody waits for the compiler: `enfilade.hostcalls.kernel.compiler`.

        Args:
            source: a name in the module directory, a path, or the module itself.
            grants: capabilities of the guests that will be made of it.

        Raises:
            enfilade.hostcalls.StartError: it cannot be read.
            enfilade.hostcalls.engine.InvalidModule: it is not valid.
        """
        if not self.kernel.network.is_ready(grants):
            await trio.to_thread.run_sync(self.kernel.network.import_libraries)
        module = self.compiled(source)
        if module is not None:
            return module
        turn = self._loading.setdefault(source, trio.Lock())
        try:
            async with turn:
                module = self.compiled(source)
                if module is None:
                    content = await trio.to_thread.run_sync(self.read, source, abandon_on_cancel=True)
                    module = self._keep(source, await self.kernel.compiler.compile(content))
        finally:
            self._loading.pop(source, None)
        return module

    def prepare(self, launch: Launch, description: Hashable | None = None) -> Prepared:
        """Prepare `launch`, as `enfilade.hostcalls.Kernel.prepare` does, and keep it under `description`.

        What needs the resources among its arguments is not kept. Raises `StartError`.
        """
        prepared = self.kernel.prepare(launch)
        if description is not None and prepared.call is not None:
            if len(self._prepared) >= _KEPT:
                del self._prepared[next(iter(self._prepared))]
            self._prepared[description] = prepared
        return prepared

    def prepared(self, description: Hashable) -> Prepared | None:
        """Return the module that was recently prepared under `description`."""
        return self._prepared.get(description)

    def _keep(self, source: Source, module: Module) -> Module:
        self._compiled[source] = module
        if len(self._compiled) > _MODULES:
            self._compiled.popitem(last=False)
        return module

    def _compile(self, source: Source) -> Module:
        return self._engine.compile(self.read(source))

    def read(self, source: Source) -> bytes:
        """Read the module, as binary WebAssembly. Blocks; for any thread. Raises `StartError`."""
        if isinstance(source, bytes):
            return binary(source)
        try:
            if isinstance(source, str):
                return self._store.read(source)
            return ModuleStore(source.parent).read(source.name)
        except ModuleMissing as error:
            advice = self._store.advice(source) if isinstance(source, str) else nearest_file(source)
            raise ModuleMissing(f"{error.detail}{advice}") from None

    async def run(self) -> None:
        """Serve the engine and the network until cancelled, and close them then. A checkpoint."""
        try:
            async with trio.open_nursery() as nursery:
                self.kernel.network.open(nursery)
                if not self._engine.config.workers:
                    await trio.sleep_forever()
                while True:
                    await trio.lowlevel.wait_readable(self._engine.fileno())
                    self._engine.dispatch()
        finally:
            self.abandon()
            self.kernel.close()
            self._compiled.clear()
            self._prepared.clear()
            del self._engine

    def abandon(self) -> None:
        """Release the engine and all guests, at once. Neither of them runs any more; not a checkpoint."""
        self._engine.close()
