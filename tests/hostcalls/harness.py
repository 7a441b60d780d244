"""The smallest embedder: each guest is a trio task. Lets tests run guests without the actor runtime."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from enfilade.hostcalls.abi import AbiParam
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.abi.errors import StartError
from enfilade.hostcalls.contracts.entrypoint import Argument
from enfilade.hostcalls.contracts.launch import Launch
from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.contracts.operation import Operation
from enfilade.hostcalls.contracts.policy import Policy
from enfilade.hostcalls.engine import Engine, EngineConfig
from enfilade.hostcalls.kernel.execution import Execution, Outcome
from enfilade.hostcalls.kernel.kernel import Kernel
from enfilade.hostcalls.kernel.modules import ModuleStore
from enfilade.hostcalls.net.policy import Network
from enfilade.hostcalls.sdk.wat import Assembler
from tests.hostcalls.trio_clock import TrioClock

EVERYTHING = frozenset(Capability) | {Capability(200)}


class Process:
    """One guest and the task that gives it turns."""

    actors = None

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.execution: Execution
        self.children: list[Process] = []
        self.over = trio.Event()
        self._woken = trio.Event()

    @property
    def outcome(self) -> Outcome:
        assert self.execution.outcome is not None
        return self.execution.outcome

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        while self.execution.outcome is None:
            self._woken = trio.Event()
            if self.execution.turn():
                await trio.lowlevel.checkpoint()
            elif self.execution.outcome is None:
                await self._woken.wait()
        for child in self.children:
            child.stop()
        self.over.set()

    async def wait(self) -> Outcome:
        with trio.fail_after(100):
            await self.over.wait()
        return self.outcome

    # The Host protocol.

    def start_soon(self, function: Callable[[], Awaitable[None]]) -> None:
        self.harness.nursery.start_soon(function)

    async def start_child(self, launch: Launch) -> int:
        if self.execution.ended:
            raise StartError("the parent has ended")
        child = self.harness.begin(launch)
        self.children.append(child)
        return child.execution.caller.id

    def stop(self) -> None:
        self.execution.stop()
        self.wake()


class Harness:
    """A kernel with an engine, on the running trio loop."""

    def __init__(self, engine: Engine, nursery: trio.Nursery, **options: Any) -> None:
        self.engine = engine
        self.nursery = nursery
        self.kernel = Kernel(engine, TrioClock(nursery), **options)
        self.kernel.network.open(nursery)

    @property
    def registry(self) -> Any:
        return self.kernel.registry

    def launch(
        self,
        guest: Assembler | bytes,
        arguments: Sequence[Argument] = (),
        *,
        entrypoint: str = "start",
        grants: Iterable[Capability] = EVERYTHING,
        limits: Limits | None = None,
        results: tuple[AbiParam, ...] = (),
        network: Network | None = None,
    ) -> Launch:
        source = guest.binary() if isinstance(guest, Assembler) else guest
        return Launch(
            module=self.engine.compile(source),
            entrypoint=entrypoint,
            grants=frozenset(grants) & self.kernel._known,
            arguments=tuple(arguments),
            results=results,
            limits=limits or Limits(),
            network=network or Network.loopback(),
            label="guest",
        )

    def begin(self, launch: Launch) -> Process:
        process = Process(self)
        process.execution = self.kernel.begin(self.kernel.prepare(launch), process, process.wake)
        self.nursery.start_soon(process.run)
        return process

    def start(self, guest: Assembler | bytes, arguments: Sequence[Argument] = (), **options: Any) -> Process:
        return self.begin(self.launch(guest, arguments, **options))

    async def run(
        self, guest: Assembler | bytes, arguments: Sequence[Argument] = (), **options: Any
    ) -> Outcome:
        return await self.start(guest, arguments, **options).wait()


@asynccontextmanager
async def open_harness(
    modules: Path | None = None,
    operations: Iterable[Operation[Any, Any]] = (),
    policy: Policy | None = None,
    **config: Any,
) -> AsyncIterator[Harness]:
    """A harness whose guests are all gone at the end of the block."""
    with Engine(config=EngineConfig(**{"max_guests": 256, **config})) as engine:
        async with trio.open_nursery() as nursery:

            async def dispatch() -> None:
                while True:
                    await trio.lowlevel.wait_readable(engine.fileno())
                    engine.dispatch()

            nursery.start_soon(dispatch)
            yield Harness(
                engine,
                nursery,
                modules=ModuleStore(modules) if modules else None,
                operations=operations,
                policy=policy,
            )
            nursery.cancel_scope.cancel()
