"""Processes for guests: the contracts of `selium::process::*`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import trio

from enfilade.hostcalls.abi import ProcessLogLookup, ProcessLogRegistration, ProcessStart, catalogue
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.abi.errors import (
    InvalidArgument,
    NotFound,
    PermissionDenied,
    StartError,
    SubsystemError,
)
from enfilade.hostcalls.contracts.budget import Place, reached
from enfilade.hostcalls.contracts.caller import Caller
from enfilade.hostcalls.contracts.entrypoint import Argument, Passage, check, resolve
from enfilade.hostcalls.contracts.family import Family
from enfilade.hostcalls.contracts.launch import Launch
from enfilade.hostcalls.contracts.operation import Operation, operation
from enfilade.hostcalls.engine import Module
from enfilade.hostcalls.resources.registry import Kind

T = TypeVar("T")


class ProcessDriver:
    """Starts and stops guests on behalf of guests, and leads to their logs.

    Args:
        family: the guests of the runtime.
        load: reads and compiles the module of a name, or raises `StartError`.
    """

    def __init__(self, family: Family, load: Callable[[str], Awaitable[Module]]) -> None:
        self._family = family
        self._load = load

    def operations(self) -> Iterable[Operation[Any, Any]]:
        """The operations of processes."""
        yield operation(catalogue.PROCESS_START, self.start)
        yield operation(catalogue.PROCESS_STOP, self.stop)
        yield operation(catalogue.PROCESS_REGISTER_LOG_CHANNEL, self.register_log_channel)
        yield operation(catalogue.PROCESS_LOG_CHANNEL, self.log_channel)

    def start(self, caller: Caller, wanted: ProcessStart) -> Awaitable[int]:
        """Start a guest as a child of the caller; its process id, once it is ready to run."""
        return self.start_by(caller, wanted, caller.host.start_child)

    def start_by(
        self, caller: Caller, wanted: ProcessStart, start: Callable[[Launch], Awaitable[T]]
    ) -> Awaitable[T]:
        """Check what can be checked at once, and then start a child of the caller by `start`.

        The child counts from here on, and the resources among its arguments are held.
        """
        passage = self._admit(caller, wanted)
        place = Place(caller.budget, caller)

        async def started() -> T:
            # A guest that drops the future has still asked for the child.
            with trio.CancelScope(shield=True):
                try:
                    child = await start(await self._launch(caller, wanted, passage.arguments, place))
                except StartError as error:
                    place.leave()
                    raise SubsystemError(str(error)) from error
                except BaseException:
                    place.leave()
                    raise
                finally:
                    passage.release()
            return child

        return started()

    def _admit(self, caller: Caller, wanted: ProcessStart) -> Passage:
        check(wanted.entrypoint)
        beyond = set(wanted.capabilities) - caller.grants
        if beyond and not self._family.policy.upstream:
            raise PermissionDenied(
                why=f"a guest may grant its children only its own capabilities, not {_titles(beyond)}; "
                "grant it these, or keep upstream's rules: Policy(upstream=True), --upstream-grants"
            )
        if caller.children >= caller.limits.children:
            raise reached("children", caller.limits.children)
        caller.budget.check_room()
        arguments = resolve(wanted.entrypoint, caller.slots, caller.registry)
        return Passage(caller.registry, arguments)

    async def _launch(
        self, caller: Caller, wanted: ProcessStart, arguments: tuple[Argument, ...], place: Place
    ) -> Launch:
        """Read and compile the module; raises `StartError`. A checkpoint."""
        module = await self._load(wanted.module_id)
        return Launch(
            module=module,
            entrypoint=wanted.name,
            grants=frozenset(wanted.capabilities),
            arguments=arguments,
            results=wanted.entrypoint.signature.results,
            limits=caller.limits,
            authority=caller.authority,
            label=f"{wanted.module_id}:{wanted.name}",
            network=caller.network,
            parent=caller.id,
            place=place,
        )

    def stop(self, caller: Caller, process: int) -> None:
        """End a process, or bury one that has ended already."""
        entry = caller.registry.get(process, Kind.PROCESS)
        target: Caller | None = entry.payload
        if target is None:
            raise NotFound
        self._family.check_authority(caller, target, "stop")
        self._family.forget(entry)
        if not target.ended:
            target.host.stop()

    def register_log_channel(self, caller: Caller, wanted: ProcessLogRegistration) -> None:
        """Make a channel of the caller its log channel."""
        channel = caller.registry.shared(wanted.channel)
        if channel.kind is not Kind.CHANNEL:
            raise InvalidArgument
        caller.check_owner(channel, "log to")
        if not caller.process.alive:
            raise NotFound
        before = caller.registry.register_log_channel(caller.process, channel)
        self._family.forward_log(caller, channel.payload, before)

    def log_channel(self, caller: Caller, wanted: ProcessLogLookup) -> int:
        """The shared handle of the log channel of the caller or one of its descendants."""
        registry = caller.registry
        entry = registry.get(wanted.process_id, Kind.PROCESS)
        if entry.payload is None:
            raise NotFound
        self._family.check_authority(caller, entry.payload, "read the log of")
        channel = registry.log_channel(entry.id)
        if channel.shared is None:
            raise NotFound
        return channel.shared


def _titles(capabilities: Iterable[Capability]) -> str:
    return ", ".join(capability.title for capability in sorted(capabilities))
