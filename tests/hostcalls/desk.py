"""Hostcalls without guests: callers that tests speak for, through the dispatch table and the codecs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.abi.catalogue import CATALOGUE, CHANNEL_STRONG_READ, CHANNEL_WEAK_READ
from enfilade.hostcalls.abi.errors import NotFound, StartError
from enfilade.hostcalls.abi.hostcall import Hostcall
from enfilade.hostcalls.contracts.budget import Budget, Place
from enfilade.hostcalls.contracts.caller import Caller
from enfilade.hostcalls.contracts.launch import Launch
from enfilade.hostcalls.contracts.limits import Limits
from enfilade.hostcalls.contracts.offer import Offer
from enfilade.hostcalls.contracts.policy import Policy
from enfilade.hostcalls.engine import Engine, Module
from enfilade.hostcalls.kernel.kernel import Kernel
from enfilade.hostcalls.net.policy import Network
from enfilade.hostcalls.net.settings import NetworkSettings
from enfilade.hostcalls.net.sockets import Sockets
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.resources.registry import Kind

EVERYTHING = frozenset(Capability)
_READS = (CHANNEL_STRONG_READ, CHANNEL_WEAK_READ)
INDEX = {hostcall.name: index for index, hostcall in enumerate(CATALOGUE)}


class ManualClock:
    """Time that passes when the test says so."""

    real = False

    def __init__(self) -> None:
        self.now = 100.0
        self._timers: list[ManualTimer] = []

    def unix_time(self) -> float:
        return 1_700_000_000.0 + self.now

    def monotonic(self) -> float:
        return self.now

    def call_later(self, delay: float, function: Callable[[], None]) -> ManualTimer:
        timer = ManualTimer(self.now + delay, function)
        self._timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self._timers if timer.due <= self.now]
        self._timers = [timer for timer in self._timers if timer.due > self.now]
        for timer in sorted(due, key=lambda timer: timer.due):
            if not timer.cancelled:
                timer.function()

    @property
    def waiting(self) -> int:
        return sum(not timer.cancelled for timer in self._timers)


class ManualTimer:
    def __init__(self, due: float, function: Callable[[], None]) -> None:
        self.due = due
        self.function = function
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class NoHost:
    """A host whose guest is the test."""

    actors: Any = None

    def __init__(self) -> None:
        self.stopped = 0

    def start_soon(self, function: Callable[[], Awaitable[None]]) -> None:
        raise AssertionError("nothing here needs a task")

    async def start_child(self, launch: Launch) -> int:
        raise StartError("there is nobody to start guests here")

    def stop(self) -> None:
        self.stopped += 1


class Desk:
    """A kernel without an engine, for everything that does not start guests."""

    def __init__(
        self, *, network: NetworkSettings | None = None, sockets: Sockets | None = None, **policy: Any
    ) -> None:
        self.clock = ManualClock()
        self.kernel = Kernel(
            cast(Engine, None), self.clock, policy=Policy(**policy), network=network, sockets=sockets
        )

    def caller(
        self,
        grants: Iterable[Capability] = EVERYTHING,
        *,
        parent: int | None = None,
        network: Network | None = None,
        **limits: Any,
    ) -> Caller:
        """A process that tests speak for."""
        registry = self.kernel.registry
        entry = registry.reserve(Kind.PROCESS)
        launch = Launch(
            module=cast(Module, None),
            grants=frozenset(grants),
            limits=Limits(**limits),
            network=network or Network.loopback(),
            parent=parent,
        )
        caller = Caller(entry, registry, launch, NoHost(), Place(Budget(launch.limits, self.clock)))
        registry.initialise(entry.id, caller)
        return caller

    def call(self, caller: Caller, hostcall: Hostcall[Any, Any], value: Any = None) -> Any:
        """Make a hostcall as a guest does, encoded both ways; what is not answered at once is a future.

        What is offered is taken. A channel's frame is always a future, as if it came later.
        """
        answer = self.begin(caller, hostcall, value)
        if not isinstance(answer, Future):
            return hostcall.output.decode(hostcall.output.encode(answer))
        taken = answer.then(lambda given: given.value if isinstance(given, Offer) else given)
        is_offer = answer.done and taken.result() is not answer.result()
        return taken.result() if is_offer and hostcall not in _READS else taken

    def begin(self, caller: Caller, hostcall: Hostcall[Any, Any], value: Any = None) -> Any:
        """Make a hostcall; the answer is as the contract gives it, with what is offered."""
        table, _ = self.kernel._table(caller.grants)
        operation = table[INDEX[hostcall.name]]
        wanted = hostcall.input.decode(hostcall.input.encode(value))
        return operation.contract.run(caller, wanted)


def fails(call: Callable[[], Any]) -> str:
    """The error text that a guest would read."""
    from enfilade.hostcalls.abi.errors import HostcallError

    try:
        answer = call()
        if isinstance(answer, Future):
            answer = answer.result()
    except HostcallError as error:
        return error.text
    raise AssertionError(f"no error, but {answer!r}")


NOT_FOUND = NotFound().text
INVALID = "invalid argument"
DENIED = "permission denied"
