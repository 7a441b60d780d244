"""The process kernel: what all guests of one runtime share, and how a guest comes to be."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final

import trio

from enfilade.fields import check
from enfilade.hostcalls import engine
from enfilade.hostcalls.abi import BufferParam, ScalarParam, callplan
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.abi.catalogue import ACTOR_CALL, ACTOR_RECEIVE, ACTOR_REPLY, CATALOGUE
from enfilade.hostcalls.abi.errors import HostcallError, StartError
from enfilade.hostcalls.abi.hostcall import Hostcall
from enfilade.hostcalls.abi.nearest import hint
from enfilade.hostcalls.contracts.budget import Budget, Place
from enfilade.hostcalls.contracts.caller import Caller
from enfilade.hostcalls.contracts.entrypoint import Argument, Passage, materialise
from enfilade.hostcalls.contracts.family import Family
from enfilade.hostcalls.contracts.host import Host
from enfilade.hostcalls.contracts.launch import Launch
from enfilade.hostcalls.contracts.operation import Operation
from enfilade.hostcalls.contracts.policy import Policy
from enfilade.hostcalls.contracts.table import DispatchTable
from enfilade.hostcalls.drivers import channel, session, singleton, trace
from enfilade.hostcalls.drivers.mailbox import MailboxDriver
from enfilade.hostcalls.drivers.net import NetDriver
from enfilade.hostcalls.drivers.process import ProcessDriver
from enfilade.hostcalls.drivers.time import TimeDriver
from enfilade.hostcalls.engine import (
    Call,
    Engine,
    EngineError,
    ExternKind,
    Import,
    Instance,
    Linked,
    LinkError,
    Module,
    call_of,
)
from enfilade.hostcalls.engine.exchange import Exchange
from enfilade.hostcalls.kernel.compiler import Compiler
from enfilade.hostcalls.kernel.execution import Execution
from enfilade.hostcalls.kernel.imports import explain
from enfilade.hostcalls.kernel.modules import ModuleStore
from enfilade.hostcalls.kernel.prepared import Prepared
from enfilade.hostcalls.net.settings import NetworkSettings
from enfilade.hostcalls.net.sockets import Sockets
from enfilade.hostcalls.resources.clock import Clock
from enfilade.hostcalls.resources.registry import Kind, Registry, Resource

_LINKS = 256
"""Pairs of a module and a set of grants that are kept linked."""

_TABLES = 64
"""Dispatch tables that are kept. A guest may start children with any subset of its grants, and each subset
has a table of its own, of some 20 KiB."""

_LISTED = 20
"""Exports that an error lists."""


class Kernel:
    """The process kernel of one runtime.

    Args:
        engine: runs the guests. The kernel does not close it.
        clock: the time that guests see.
        modules: where guests find the modules that they start; None if they may start none.
        operations: operations beyond those of the kernel's own drivers: actor messaging, the application's
            own. Their hostcalls join the catalogue. One that serves a hostcall which a driver of the kernel
            serves takes its place.
        policy: see `Policy`.
        network: bounds of the network, and the certificate of the host.
        sockets: the network that guests are on; None for that of the system.

    Attributes:
        network: serves the network hostcalls; whoever runs the kernel gives it a nursery by `network.open`.

    Raises `ValueError` when two of `operations` serve the same hostcall, `TypeError` when one is none.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        *,
        modules: ModuleStore | None = None,
        operations: Iterable[Operation[Any, Any]] = (),
        policy: Policy | None = None,
        network: NetworkSettings | None = None,
        sockets: Sockets | None = None,
    ) -> None:
        self.engine = engine
        self.compiler = Compiler(engine)
        self.clock = clock
        self.modules = modules
        self.policy = policy or Policy()
        self.registry = Registry(upstream=self.policy.upstream)
        self.family = Family(self.registry, clock, self.policy)
        self.network = NetDriver(clock, network, sockets)
        added = _checked(operations)
        replaced = {operation.hostcall.name for operation in added}
        processes = ProcessDriver(self.family, self._load)
        time = TimeDriver(clock)
        self._engine_answers = time.engine_answers
        own = [
            *channel.operations(),
            *singleton.operations(),
            *session.operations(),
            *self.network.operations(),
            *time.operations(),
            *processes.operations(),
            *MailboxDriver(processes).operations(),
            *trace.operations(),
        ]
        self._operations = [operation for operation in own if operation.hostcall.name not in replaced] + added
        self.catalogue = _extended(added)
        self._known = frozenset(hostcall.capability for hostcall in self.catalogue)
        # Under a simulation each hostcall takes its turn.
        deterministic = engine is not None and engine.config.deterministic
        self._may_offload = engine is not None and engine.config.workers > 0
        self._exchange = None if deterministic else _exchange(self.catalogue, replaced)
        self._tables: OrderedDict[frozenset[Capability], tuple[DispatchTable, tuple[Import, ...]]] = (
            OrderedDict()
        )
        self._links: OrderedDict[tuple[str, frozenset[Capability]], tuple[DispatchTable, Linked]] = (
            OrderedDict()
        )

    def prepare(self, launch: Launch) -> Prepared:
        """Check what `launch` describes, and do what need not be done again for each guest.

        Raises `StartError`.
        """
        for capability in sorted(launch.grants - self._known):
            raise StartError(f"The requested capability ({capability.title}) is not part of this kernel")
        arguments = [argument for argument in launch.arguments if not isinstance(argument, Resource)]
        call: Call | None = None
        writes: tuple[tuple[int, bytes], ...] = ()
        try:
            table, linked = self._linked(launch.module, launch.grants)
            plan = callplan.plan(arguments, limit=launch.limits.argument_bytes)
            _check_exports(launch)
            if len(arguments) == len(launch.arguments):
                call, writes = call_of(launch.module, launch.entrypoint, plan.values), plan.writes
        except LinkError as error:
            cause = explain(launch.module, [hostcall.name for hostcall in self.catalogue])
            raise StartError(f"Wasmtime error: {error}" + (cause and f": {cause}")) from error
        except EngineError as error:
            raise StartError(f"Wasmtime error: {error}") from error
        except HostcallError as error:
            raise StartError(error.explained) from error
        self.network.prepare(launch.grants)
        receives = Capability.ACTOR_MESSAGE in launch.grants and any(
            extern.module_name == ACTOR_RECEIVE.name for extern in launch.module.imports
        )
        return Prepared(
            launch=launch,
            entries=table.entries,
            linked=linked,
            call=call,
            writes=writes,
            receives=receives,
            is_alone=_is_alone(launch),
        )

    def begin(self, prepared: Prepared, host: Host, wake: Callable[[], None]) -> Execution:
        """Make a guest, ready for its first turn.

        Args:
            prepared: what to start, from `prepare`.
            host: the embedder's side of it.
            wake: called whenever the guest can go on, in the loop's thread.

        Returns the execution; its process id is live. Raises `StartError`, and then nothing is left behind.
        """
        launch, registry = prepared.launch, self.registry
        entry = registry.reserve(Kind.PROCESS)
        place = launch.place or Place(Budget(launch.limits, self.clock))
        caller = Caller(entry, registry, launch, host, place)
        try:
            instance = self._instantiate(prepared, caller, wake)
        except StartError:
            place.leave()
            caller.end()
            registry.discard(entry.id)
            raise
        registry.initialise(entry.id, caller)
        return self._execution(prepared, caller, instance)

    def succeed(self, prepared: Prepared, caller: Caller, wake: Callable[[], None]) -> Execution:
        """Make the execution of `prepared` inside the process of `caller`, which goes on: it has its slots.

        It ends nothing but itself until it takes over (`Execution.take_over`). `wake` is called when it has
        something to do. Raises `StartError`.
        """
        instance = self._instantiate(prepared, caller, wake)
        execution = self._execution(prepared, caller, instance)
        execution.is_on_trial = True
        return execution

    def _execution(self, prepared: Prepared, caller: Caller, instance: Instance) -> Execution:
        return Execution(
            prepared,
            caller,
            instance,
            self.clock,
            self.family.ended,
            self._may_offload,
            self._exchange,
        )

    def _instantiate(self, prepared: Prepared, caller: Caller, wake: Callable[[], None]) -> Instance:
        """Make the engine's side of a guest, ready for its first turn; raises `StartError`."""
        launch = prepared.launch
        instance = passage = None
        call, writes = prepared.call, prepared.writes
        if call is None:
            passage = Passage(self.registry, launch.arguments)
        try:
            place = caller.place
            is_alone = prepared.is_alone and place.parent is None and not caller.children
            purse = None if is_alone else place.budget.purse
            instance = self.engine.instantiate(prepared.linked, launch.limits, wake, purse)
            if call is None:
                arguments = materialise(launch.arguments, caller.slots)
                plan = callplan.plan(arguments, limit=launch.limits.argument_bytes)
                call, writes = call_of(launch.module, launch.entrypoint, plan.values), plan.writes
            for offset, data in writes:
                instance.write(offset, data)
            instance.begin(call)
        except (EngineError, HostcallError) as error:
            if instance is not None:
                instance.close()
            detail = f"Wasmtime error: {error}" if isinstance(error, EngineError) else error.explained
            raise StartError(detail) from error
        finally:
            if passage is not None:
                passage.release()
        return instance

    async def _load(self, module_id: str) -> Module:
        """Read and compile a module of the store; raises `StartError`. A checkpoint."""
        store = self.modules
        if store is None:
            raise StartError("Module store error: this runtime has none")
        source = await trio.to_thread.run_sync(store.read, module_id, abandon_on_cancel=True)
        try:
            return await self.compiler.compile(source)
        except EngineError as error:
            raise StartError(f"Wasmtime error: {error}") from error

    def _linked(self, module: Module, grants: frozenset[Capability]) -> tuple[DispatchTable, Linked]:
        key = module.digest, grants
        found = self._links.get(key)
        if found is None:
            table, imports = self._table(grants)
            found = self._links[key] = table, self.engine.link(module, imports)
            if len(self._links) > _LINKS:
                self._links.popitem(last=False)
        else:
            self._links.move_to_end(key)
        return found

    def close(self) -> None:
        """Forget everything; the engine is closed and no guest is left."""
        self.network.close()
        self.family.close()
        self._links.clear()
        self._tables.clear()
        self.registry = Registry()
        del self.engine

    def _table(self, grants: frozenset[Capability]) -> tuple[DispatchTable, tuple[Import, ...]]:
        found = self._tables.get(grants)
        if found is None:
            table = DispatchTable(self.catalogue, self._operations, grants)
            imports = tuple(
                Import(
                    operation.hostcall.name,
                    index,
                    operation.denied,
                    clock=operation is self._engine_answers,
                    returns=operation.take_back is not None,
                )
                for index, operation in enumerate(table.operations)
            )
            found = self._tables[grants] = table, imports
            if len(self._tables) > _TABLES:
                self._tables.popitem(last=False)
        else:
            self._tables.move_to_end(grants)
        return found


_EXCHANGED = (ACTOR_RECEIVE, ACTOR_REPLY, ACTOR_CALL)


def _exchange(catalogue: Sequence[Hostcall[Any, Any]], replaced: Collection[str]) -> Exchange | None:
    """What makes exchanges; None where one of their hostcalls is served by the application."""
    if any(hostcall.name in replaced for hostcall in _EXCHANGED):
        return None
    names = [hostcall.name for hostcall in catalogue]
    return Exchange(*(names.index(hostcall.name) for hostcall in _EXCHANGED))


_STARTING = frozenset({Capability.PROCESS_LIFECYCLE, Capability.ACTOR_SPAWN})


def _is_alone(launch: Launch) -> bool:
    """Tell whether the guest starts no others, so that it needs no purse for a tree of its own."""
    return _STARTING.isdisjoint(launch.grants) and launch.limits.memory <= launch.limits.tree_memory


def _check_exports(launch: Launch) -> None:
    """Raise unless the module exports a memory, and the entrypoint with the types that the launch says."""
    memory = launch.module.exports.get("memory")
    if memory is None or memory.kind is not ExternKind.MEMORY:
        raise engine.NoMemory("the module exports no memory named 'memory'")
    name, export = launch.entrypoint, launch.module.exports.get(launch.entrypoint)
    if export is None or export.function is None:
        functions = [known for known, extern in launch.module.exports.items() if extern.function is not None]
        listed = ", ".join(functions[:_LISTED]) or "none"
        raise StartError(
            f"the module exports no function named {name!r}{hint(name, functions)}; its functions: {listed}"
        )
    given = tuple(kind for argument in launch.arguments for kind in _kinds(argument))
    wanted = tuple(kind.name.lower() for kind in export.function.parameters)
    if given != wanted:
        raise StartError(
            f"{name!r} takes ({', '.join(wanted)}); the arguments are ({', '.join(given)}); "
            f"give it {_wanted_arguments(wanted)}"
        )
    declared = callplan.flatten(launch.results)
    returned = tuple(kind.name.lower() for kind in export.function.results)
    if declared != returned:
        raise StartError(
            f"{name!r} returns ({', '.join(returned)}); its signature says ({', '.join(declared)}); "
            f"{_wanted_results(returned)}"
        )


def _wanted_arguments(kinds: Sequence[str]) -> str:
    """What to write for parameters of these kinds."""
    if not kinds:
        return "no arguments"
    foreign = [kind for kind in kinds if kind not in _EXAMPLES]
    if foreign:
        return f"a parameter of another type: no argument is {_a(foreign[0])}{_REMEDIES.get(foreign[0], '')}"
    numbers = ", ".join(_EXAMPLES[kind] for kind in kinds)
    return (
        f"arguments=[{numbers}], where bytes or a text stand for two i32, their address and length; "
        "to the command, --param KIND:VALUE for each"
    )


def _wanted_results(kinds: Sequence[str]) -> str:
    """What to write for results of these kinds."""
    foreign = [kind for kind in kinds if kind not in _EXAMPLES]
    if foreign:
        return f"no result can be {_a(foreign[0])}{_REMEDIES.get(foreign[0], '')}"
    declared = ", ".join(f"ScalarParam(ScalarType.{kind.upper()})" for kind in kinds)
    return f"give it results=[{declared}]"


_EXAMPLES: Final = {"i32": "1", "f64": "1.0", "f32": "ScalarValue(ScalarType.F32, 1.0)"}
"""An argument of each wasm type that arguments can have."""

_REMEDIES: Final = {"i64": "; 64 bits are two i32, the low word first"}


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aei" else f"a {kind}"


def _kinds(argument: Argument) -> tuple[str, ...]:
    """The wasm types of what an argument becomes; a resource becomes a slot."""
    if isinstance(argument, Resource):
        return ("i32",)
    return callplan.flatten([BufferParam() if isinstance(argument, bytes) else ScalarParam(argument.kind)])


def _checked(operations: Iterable[Operation[Any, Any]]) -> list[Operation[Any, Any]]:
    """The operations of the application; raises when one is none, or two serve one hostcall."""
    check("operations", operations, Iterable, "a sequence of operations, such as [operation(...)]")
    found: dict[str, Operation[Any, Any]] = {}
    for each in operations:
        check("operations", each, Operation, "made by `operation`, or by `Operation`")
        if found.setdefault(each.hostcall.name, each) is not each:
            raise ValueError(f"one operation must serve {each.hostcall.name}, got two")
    return list(found.values())


def _extended(operations: Iterable[Operation[Any, Any]]) -> tuple[Hostcall[Any, Any], ...]:
    known = {hostcall.name for hostcall in CATALOGUE}
    return CATALOGUE + tuple(
        operation.hostcall for operation in operations if operation.hostcall.name not in known
    )
