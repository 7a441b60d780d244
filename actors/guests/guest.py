"""WebAssembly guests as processes.

A `Guest` describes a module, an entrypoint and the guest's capabilities; spawned, it is a process like any
other. The guests of a node share a runtime, above all the engine; it is made when the first guest is spawned.
The engine is not even imported before a guest is described, because most nodes have no guests.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from enfilade.actors.messages.reasons import Exit, Reason
from enfilade.actors.messages.ref import Ref
from enfilade.actors.node.node import Node
from enfilade.actors.processes.body import Spawnable
from enfilade.actors.processes.links import Exited
from enfilade.actors.processes.process import Process
from enfilade.fields import are_texts, as_texts, as_tuple, instance_of, shown, tuple_of

if TYPE_CHECKING:
    from enfilade.actors.guests.guest_body import GuestBody, LoadingBody
    from enfilade.hostcalls.abi import AbiParam
    from enfilade.hostcalls.abi.capability import Capability
    from enfilade.hostcalls.abi.errors import StartError
    from enfilade.hostcalls.contracts.limits import Limits
    from enfilade.hostcalls.kernel.modulespec import ModuleSpec
    from enfilade.hostcalls.kernel.prepared import Prepared
    from enfilade.hostcalls.kernel.runtime import Runtime
    from enfilade.hostcalls.net.policy import Network
    from enfilade.hostcalls.resources.channel import Channel
    from enfilade.hostcalls.resources.message import Held, Message

__all__ = ["Guest", "abandon_guests", "guests_of", "hold", "open_guests", "run_guest"]


_RUNTIMES: dict[Node, Runtime] = {}

_SIMULATED_GUESTS: Final = 200
"""Guests at one time on a simulated host, unless it says otherwise: one process has room for many hosts."""


def open_guests(node: Node, **settings: Any) -> Runtime:
    """Prepare `node` for guests, with other settings than the default ones. Not a checkpoint.

    Without it a node is prepared when its first guest is spawned. What is made here ends with the node.

    Args:
        node: a running node.
        modules: the directory of the modules that are named by a text, by default `modules` in the current
            directory; or an `enfilade.hostcalls.ModuleStore`.
        engine: sizes of the engine, `enfilade.hostcalls.engine.EngineConfig`.
        operations: hostcalls of the application's own, `enfilade.hostcalls.Operation`.
        policy: rules between guests, `enfilade.hostcalls.Policy`.
        network: bounds of the network, and the certificate of its listeners,
            `enfilade.hostcalls.NetworkSettings`.
        sockets: the network that guests are on, instead of the system's; see
            `enfilade.hostcalls.net.memory_sockets`.

    What it returns can compile a module ahead of time: `await runtime.load(...)`.

    Raises:
        RuntimeError: the node is prepared already.
        TypeError: an argument, or one of `operations`, is of the wrong kind.
        ValueError: two operations serve one hostcall.
        enfilade.hostcalls.engine.EngineError: no engine can be made here, or not with these sizes.
    """
    from enfilade.hostcalls.kernel.runtime import Runtime

    if node in _RUNTIMES:
        raise RuntimeError(f"{node} is already prepared for guests; call open_guests before the first spawn")
    ground = node.runtime
    if ground.is_deterministic:
        from enfilade.hostcalls.engine import EngineConfig

        engine = settings.get("engine") or EngineConfig(max_guests=_SIMULATED_GUESTS)
        settings["engine"] = attrs.evolve(engine, deterministic=True, workers=0)
    runtime = _RUNTIMES[node] = Runtime(
        _NodeClock(node), measure=ground.monotonic, charge=ground.charge, **settings
    )

    async def run() -> None:
        try:
            await runtime.run()
        finally:
            _RUNTIMES.pop(node, None)

    node.start_service(run, "guests")
    return runtime


def guests_of(node: Node) -> Runtime:
    """Return the runtime that the guests of `node` share, made now on first use. Not a checkpoint.

    Raises: as `open_guests`.
    """
    return _RUNTIMES.get(node) or open_guests(node)


def abandon_guests(node: Node) -> None:
    """Release all guests of a node that is dead, as the kernel does after a process; nothing of them runs."""
    runtime = _RUNTIMES.pop(node, None)
    if runtime is not None:
        runtime.abandon()


def hold(node: Node, thing: Channel | Ref[Any]) -> Held:
    """Make `thing`, a channel or a ref, a resource of `node` that can be sent to guests in a `Message`.

    Not a checkpoint.
    """
    from enfilade.hostcalls.resources.message import Held
    from enfilade.hostcalls.resources.registry import Kind

    registry = guests_of(node).kernel.registry
    return Held(registry, registry.add(Kind.ACTOR if isinstance(thing, Ref) else Kind.CHANNEL, thing))


class _NodeClock:
    """Time as the node has it."""

    def __init__(self, node: Node) -> None:
        clock = trio.lowlevel.current_clock()
        self.real = type(clock).__module__.startswith("trio._core")  # its own clock, which has no public name
        self.unix_time = node.runtime.unix_time
        self.monotonic = node.timers.now
        self.call_later = node.timers.call_after


def _capabilities(names: Iterable[Capability | str]) -> frozenset[Capability]:
    from enfilade.hostcalls.abi.capability import capabilities

    return capabilities(names)


def _arguments(values: Iterable[Any]) -> tuple[Any, ...]:
    if isinstance(values, str | bytes | bytearray | memoryview) or not isinstance(values, Iterable):
        raise TypeError(f"expected a sequence of arguments, such as [{shown(values)}], got {shown(values)}")
    return tuple(values)


def _limits() -> Limits:
    from enfilade.hostcalls.contracts.limits import Limits

    return Limits()


def _network() -> Network:
    from enfilade.hostcalls.net.policy import Network

    return Network.loopback()


def _results(values: Iterable[AbiParam]) -> tuple[AbiParam, ...]:
    return as_tuple(values)


def _result_classes() -> tuple[type, ...]:
    from enfilade.hostcalls.abi import BufferParam, ScalarParam

    return ScalarParam, BufferParam


def _limits_class() -> type:
    from enfilade.hostcalls.contracts.limits import Limits

    return Limits


def _network_class() -> type:
    from enfilade.hostcalls.net.policy import Network

    return Network


_ARE_LIMITS: Final = instance_of(_limits_class, "enfilade.hostcalls.Limits, such as Limits(memory=2**24)")
_IS_NETWORK: Final = instance_of(_network_class, "a Network, such as Network.loopback()")
_IS_MODULE: Final = instance_of((str, Path, bytes), "the name of a module, its Path or its bytes")
_IS_TEXT: Final = instance_of(str, "a string")
_IS_LABEL: Final = instance_of((str, type(None)), "a string")
_ARE_RESULTS: Final = tuple_of(_result_classes, "ScalarParam or BufferParam objects")


@functools.cache  # an import statement takes as long as thirty calls, and every spawn would pass it
def _bodies() -> tuple[type[GuestBody], type[LoadingBody], type[StartError], Callable[[StartError], Exit]]:
    from enfilade.actors.guests.guest_body import GuestBody, LoadingBody, refusal
    from enfilade.hostcalls.abi.errors import StartError

    return GuestBody, LoadingBody, StartError, refusal


@attrs.frozen(eq=False)
class Guest(Spawnable["Guest"]):
    """A WebAssembly process, to be spawned.

    A module is compiled once, in a worker thread, before the first start of a guest with it is acknowledged;
    to have that done ahead of time: `await open_guests(node).load(module)`.

    Attributes:
        module: a name in the node's module directory (`open_guests`), a path, or the module itself; files
            that end in `.wat` may be in the text format.
        capabilities: what the guest may do, `enfilade.hostcalls.Capability` or their names in any case. A
            hostcall whose capability is missing fails with "permission denied".
        entrypoint: the exported function to call.
        arguments: what to call it with: `bytes` and `str` (a pointer and a length), `int` (an i32), `float`
            (an f64), `enfilade.hostcalls.ScalarValue` for the other kinds of number, and channels, which
            become slots. Further ones may be given to `spawn`.
        results: what the entrypoint is declared to return.
        limits: what the guest, and each of its children, may use.
        finds: shell patterns of registered names that the guest may look up, with `ActorRegistry`. Itself and
            its descendants it finds anyway; the root supervisor and the node's control processes never.
        registers: shell patterns of names that it may register itself and its descendants under.
        ends: shell patterns of registered names whose holders it may send exit signals and link to, with
            `ActorLink`; its descendants it may always.
        network: where the guest, and each of its children, may use the network,
            `enfilade.hostcalls.Network`; by default on this machine alone.
        label: for people; by default module and entrypoint.
    """

    module: str | Path | bytes = attrs.field(validator=_IS_MODULE)
    capabilities: frozenset[Capability] = attrs.field(
        default=frozenset(), converter=_capabilities, kw_only=True
    )
    entrypoint: str = attrs.field(default="start", validator=_IS_TEXT, kw_only=True)
    arguments: Sequence[Any] = attrs.field(default=(), converter=_arguments, kw_only=True)
    results: tuple[AbiParam, ...] = attrs.field(
        default=(), converter=_results, validator=_ARE_RESULTS, kw_only=True
    )
    limits: Limits = attrs.field(factory=_limits, validator=_ARE_LIMITS, kw_only=True)
    finds: tuple[str, ...] = attrs.field(default=(), converter=as_texts, validator=are_texts, kw_only=True)
    registers: tuple[str, ...] = attrs.field(
        default=(), converter=as_texts, validator=are_texts, kw_only=True
    )
    ends: tuple[str, ...] = attrs.field(default=(), converter=as_texts, validator=are_texts, kw_only=True)
    network: Network = attrs.field(factory=_network, validator=_IS_NETWORK, kw_only=True)
    label: str | None = attrs.field(default=None, validator=_IS_LABEL, kw_only=True)

    def body(
        self, process: Process, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> GuestBody | LoadingBody:
        """Make the guest of `process`, or have its module compiled first. `node.spawn` calls this.

        Args:
            process: the new process.
            args: further arguments of the entrypoint.
            kwargs: none.

        Raises:
            TypeError: there are keyword arguments.
            StartError: the guest cannot be started.
        """
        if kwargs:
            raise TypeError(f"expected no keyword arguments for a guest, got {', '.join(kwargs)}")
        guest_body, loading_body, start_error, refusal = _bodies()
        runtime = _RUNTIMES.get(process.node) or guests_of(process.node)
        prepared = None if args else runtime.prepared(self)
        if prepared is None and not runtime.is_ready(self.module, self.capabilities):
            return loading_body(runtime, process, self.module, self.capabilities, self, args)
        try:
            if prepared is None:  # what is kept has no resources among its arguments
                given = self.inputs(process.node, args)  # held until they are the guest's
                prepared = self.prepare(runtime, given, keep=not args)
            body = guest_body(runtime, process, prepared)
        except start_error as error:
            raise refusal(error) from error
        body.description = self
        body.args = args
        return body

    @property
    def shown_label(self) -> str:
        """The label, or what stands for one that was not given."""
        name = "module" if isinstance(self.module, bytes) else str(self.module)
        return self.label or f"{name}:{self.entrypoint}"

    def inputs(self, node: Node, args: tuple[Any, ...]) -> list[Any]:
        """Return the entrypoint's arguments, `args` last; refs and channels become resources of `node`."""
        values = (*self.arguments, *args)
        if not values:
            return []
        from enfilade.hostcalls.resources.channel import Channel

        return [hold(node, value) if isinstance(value, Ref | Channel) else value for value in values]

    def prepare(self, runtime: Runtime, values: Sequence[Any], *, keep: bool) -> Prepared:
        """Check the description against its module, which is compiled, and do what comes before a start.

        `runtime` is that of the node, `values` are the arguments, and `keep` tells whether they are those of
        the description alone. Raises `enfilade.hostcalls.StartError`.
        """
        from enfilade.hostcalls.contracts.arguments import argument
        from enfilade.hostcalls.contracts.authority import Authority
        from enfilade.hostcalls.contracts.launch import Launch

        launch = Launch(
            module=runtime.compile(self.module),
            entrypoint=self.entrypoint,
            grants=self.capabilities,
            arguments=tuple(argument(runtime.kernel.registry, value) for value in values),
            results=self.results,
            limits=self.limits,
            authority=Authority(finds=self.finds, registers=self.registers, ends=self.ends),
            network=self.network,
            label=self.shown_label,
        )
        return runtime.prepare(launch, self if keep else None)

    @classmethod
    def from_spec(cls, spec: ModuleSpec, **options: Any) -> Guest:
        """Return the guest that a module specification describes. Not a checkpoint.

        Args:
            spec: what `enfilade.hostcalls.kernel.modulespec.parse` returns.
            options: further attributes of the guest, such as `limits` and `label`.

        Raises:
            TypeError, ValueError: an attribute is not what it must be, as of `Guest`.
        """
        return cls(
            spec.path,
            capabilities=spec.capabilities,
            entrypoint=spec.entrypoint,
            arguments=spec.arguments,
            results=spec.invocation.signature.results,
            network=spec.network,
            **options,
        )

    def request(self, data: bytes) -> bytes:
        """Ask the guest: `await ref.call(Guest.request, data)`. The guest receives a request and replies.

        For the resources that a message can carry see `exchange`.

        Raises:
            BadArguments: raised by the call, if `data` is not bytes.
            UnknownMethod: raised by the call, if the guest takes no messages.
            TypeError: it is called here, and not through a ref.
        """
        raise TypeError("a Guest is a description: spawn it, and call Guest.request through the ref")

    def exchange(self, message: Message) -> Message:
        """As `request`, with messages: `await ref.call(Guest.exchange, Message(b"...", resources=...))`."""
        raise TypeError("a Guest is a description: spawn it, and call Guest.exchange through the ref")

    def work(self, job: bytes | Message) -> bytes | Message:
        """Do `job` of a `Pool` whose workers are guests: a request like any other, answered in its kind.

        Raises:
            TypeError: it was called on the description, and not through the pool.
        """
        raise TypeError("a Guest is a description: spawn it as the worker of a Pool")


async def run_guest(node: Node, guest: Guest) -> Reason:
    """Run `guest` on `node` to its end; return the exit reason.

    A checkpoint; cancelled, the guest is stopped.

    Raises:
        StartError: it could not be started.
    """
    async with node.mailbox(label="run") as me:
        me.trap_exits = True
        ref = await me.spawn(guest, link=True)
        exited = await me.receive(Exited)
        while exited.ref != ref:
            exited = await me.receive(Exited)
        return exited.reason
