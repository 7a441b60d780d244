"""Processes for guests: the contracts of `selium::process::*`."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import TYPE_CHECKING, Any

import trio

from .. import catalogue
from ..abi import ProcessLogLookup, ProcessLogRegistration, ProcessStart
from ..caller import Caller
from ..engine import EngineError
from ..errors import InvalidArgument, NotFound, PermissionDenied, StartError, SubsystemError
from ..invocation import Passage, check, resolve
from ..launch import Launch
from ..operation import Operation, operation
from ..registry import Kind

if TYPE_CHECKING:
    from ..kernel import Kernel


class ProcessDriver:
    """Starts and stops guests on behalf of guests, and leads to their logs."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def operations(self) -> Iterable[Operation[Any, Any]]:
        """The operations of processes."""
        yield operation(catalogue.PROCESS_START, self.start)
        yield operation(catalogue.PROCESS_STOP, self.stop)
        yield operation(catalogue.PROCESS_REGISTER_LOG_CHANNEL, self.register_log_channel)
        yield operation(catalogue.PROCESS_LOG_CHANNEL, self.log_channel)

    def start(self, caller: Caller, wanted: ProcessStart) -> Awaitable[int]:
        """Start a guest as a child of the caller; its process id, once it is ready to run."""
        passage = self.admit(caller, wanted)

        async def start() -> int:
            # A guest that drops the future has still asked for the child.
            with trio.CancelScope(shield=True):
                try:
                    process = await caller.host.start_child(await self.launch(caller, wanted, passage))
                except StartError as error:
                    caller.children -= 1
                    raise SubsystemError(str(error)) from error
                finally:
                    passage.release()
            return process

        return start()

    def admit(self, caller: Caller, wanted: ProcessStart) -> Passage:
        """Check what can be checked at once, and take hold of the resources among the arguments.

        The child counts from here on; whoever fails to start it takes it off `caller.children` again.
        """
        check(wanted.entrypoint)
        if not self._kernel.policy.upstream and not caller.grants.issuperset(wanted.capabilities):
            raise PermissionDenied
        if caller.children >= caller.limits.children:
            raise SubsystemError(f"the process has its limit of {caller.limits.children} children")
        arguments = resolve(wanted.entrypoint, caller.slots, caller.registry)
        caller.children += 1
        return Passage(caller.registry, arguments)

    async def launch(self, caller: Caller, wanted: ProcessStart, passage: Passage) -> Launch:
        """Read and compile the module; raises `StartError`. A checkpoint."""
        engine, store = self._kernel.engine, self._kernel.modules  # the kernel may be closed meanwhile
        if store is None:
            raise StartError("Module store error: this runtime has none")
        source = await trio.to_thread.run_sync(store.read, wanted.module_id)
        try:
            module = await trio.to_thread.run_sync(engine.compile, source)
        except EngineError as error:
            raise StartError(f"Wasmtime error: {error}") from error
        return Launch(
            module=module,
            entrypoint=wanted.name,
            grants=frozenset(wanted.capabilities),
            arguments=passage.arguments,
            results=wanted.entrypoint.signature.results,
            limits=caller.limits,
            label=f"{wanted.module_id}:{wanted.name}",
            parent=caller.id,
        )

    def stop(self, caller: Caller, process: int) -> None:
        """End a process, or bury one that has ended already."""
        entry = caller.registry.get(process, Kind.PROCESS)
        target: Caller | None = entry.payload
        if target is None:
            raise NotFound
        if not self._kernel.may_stop(caller, target):
            raise PermissionDenied
        self._kernel.forget(entry)
        if not target.ended:
            target.host.stop()

    def register_log_channel(self, caller: Caller, wanted: ProcessLogRegistration) -> None:
        """Make a channel the caller's log channel."""
        channel = caller.registry.shared(wanted.channel)
        if channel.kind is not Kind.CHANNEL:
            raise InvalidArgument
        if not caller.process.alive:
            raise NotFound
        before = caller.registry.register_log_channel(caller.process, channel)
        self._kernel.forward_log(caller, channel.payload, before)

    def log_channel(self, caller: Caller, wanted: ProcessLogLookup) -> int:
        """The shared handle of a process's log channel."""
        registry = caller.registry
        entry = registry.get(wanted.process_id, Kind.PROCESS)
        channel = registry.log_channel(entry.id)
        if channel.shared is None:
            raise NotFound
        return channel.shared
