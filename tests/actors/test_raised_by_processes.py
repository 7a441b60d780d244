"""What comes of everything that a process can raise, wherever it raises it. Clauses U3, U5 and U16.

`SystemExit` and `KeyboardInterrupt` end the program, as they do elsewhere in Python. Everything else ends the
process that has raised it: also what only looks like an order to end, such as `GeneratorExit`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio

from enfilade.actors import (
    KILL,
    Actor,
    Crashed,
    Down,
    EventHandler,
    EventManager,
    Machine,
    Node,
    NotConnected,
    Pool,
    Process,
    ProcessDied,
    StartError,
    StrayCancelled,
    Worker,
    open_node,
)
from enfilade.actors.guests import Guest, open_guests
from enfilade.actors.patterns.machine import when
from enfilade.hostcalls import Capability, Future, hostcall, operation
from enfilade.hostcalls.sdk.wat import Assembler
from enfilade.transport import Policy
from enfilade.transport.memory_carrier import MemoryNetwork


def stray() -> trio.Cancelled:
    return trio.Cancelled._create(source="unknown")


ENDS_PROCESS: dict[str, Callable[[], BaseException]] = {
    "GeneratorExit": GeneratorExit,
    "asyncio.CancelledError": asyncio.CancelledError,
    "trio.Cancelled": stray,
    "StopIteration": lambda: StopIteration(1),
    "StopAsyncIteration": StopAsyncIteration,
    "group of SystemExit": lambda: BaseExceptionGroup("group", [SystemExit(3), ValueError()]),
    "group of KeyboardInterrupt": lambda: BaseExceptionGroup("group", [KeyboardInterrupt()]),
    "group of trio.Cancelled": lambda: BaseExceptionGroup("group", [stray(), ValueError()]),
    "BaseException": BaseException,
}
ENDS_PROGRAM: dict[str, Callable[[], BaseException]] = {
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
}


@attrs.define(eq=False)
class Armed:
    """Raises at one place."""

    where: str
    make: Callable[[], BaseException]

    def meet(self, where: str) -> None:
        if where == self.where:
            raise self.make()


class Sync(Actor):
    def __init__(self, armed: Armed) -> None:
        self.armed = armed
        self.process.trap_exits = True

    def on_start(self) -> None:
        self.armed.meet("on_start")

    def go(self) -> None:
        self.armed.meet("handler")

    def proceed(self) -> None:
        self.process.continue_with(self.armed.meet, "continuation")

    def remind(self) -> None:
        self.process.timers.start("key", 0.1, "message")

    def on_message(self, _message: Any) -> None:
        self.armed.meet("on_message")

    def watch(self, ref: Any) -> None:
        self.process.monitor(ref)
        self.process.link(ref)

    def on_down(self, _down: Any) -> None:
        self.armed.meet("on_down")

    def on_exit(self, _exited: Any) -> None:
        self.armed.meet("on_exit")

    def on_stop(self, _reason: Any) -> None:
        self.armed.meet("on_stop")


class Async(Sync):
    """Each of its methods waits first."""


def _waiting(name: str) -> Any:
    method = getattr(Sync, name)

    async def wait(self: Any, *args: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return method(self, *args)

    wait.__name__, wait.__qualname__ = name, f"Async.{name}"
    return wait


for _name in ("on_start", "go", "proceed", "remind", "on_message", "on_down", "on_exit", "on_stop"):
    setattr(Async, _name, _waiting(_name))


async def function(me: Process, armed: Armed) -> None:
    armed.meet("on_start")
    await me.receive()
    armed.meet("on_message")


class Bystander(Actor):
    def ping(self) -> str:
        return "pong"


ACTIONS: dict[str, Callable[[Any], Any]] = {
    "on_start": lambda ref: None,
    "handler": lambda ref: ref.cast(Sync.go),
    "continuation": lambda ref: ref.cast(Sync.proceed),
    "on_message": lambda ref: ref.send("message"),
    "timer": lambda ref: ref.cast(Sync.remind),
}


async def provoke(node: Node, kind: Any, place: str, make: Callable[[], BaseException]) -> Any:
    """Have a process raise, and return the reason of its end. Others of the node go on meanwhile."""
    bystander = await node.spawn(Bystander)
    where = "on_message" if place == "timer" else place
    async with node.mailbox() as me:
        try:
            ref: Any = await node.spawn(kind, Armed(where, make))
        except StartError as failed:
            return failed.reason
        me.monitor(ref)
        if place in ("on_down", "on_exit"):
            other = await node.spawn(Bystander)
            await ref.call(Sync.watch, other)
            other.exit(KILL)
        elif place == "on_stop":
            with pytest.raises(ProcessDied):
                await ref.stop()
        elif place == "handler":
            with pytest.raises(ProcessDied):
                await ref.call(Sync.go)
        else:
            ACTIONS[place](ref)
        reason = (await me.receive(Down, timeout=5)).reason
        assert await bystander.call(Bystander.ping) == "pong"
        assert await (await node.spawn(Bystander)).call(Bystander.ping) == "pong"
        return reason


def check(reason: Any, raised: BaseException, *, by_coroutine: bool) -> None:
    """U3, U16: the error as it is, without what is somebody else's cancellation."""
    assert isinstance(reason, Crashed)
    expected: Any = type(raised)
    if type(raised) is trio.Cancelled:
        expected = StrayCancelled
    elif isinstance(raised, BaseExceptionGroup) and raised.subgroup(trio.Cancelled) is not None:
        expected = ExceptionGroup
    elif type(raised) is StopIteration and by_coroutine:
        expected = RuntimeError  # as Python has it
    assert type(reason.error) is expected


PLACES = ["on_start", "handler", "continuation", "on_message", "timer", "on_down", "on_exit", "on_stop"]
COMBINATIONS = [
    *((kind, place) for kind in (Sync, Async) for place in PLACES),
    (function, "on_start"),
    (function, "on_message"),
]
EACH = pytest.mark.parametrize(("kind", "place"), COMBINATIONS, ids=lambda it: getattr(it, "__name__", it))


@EACH
@pytest.mark.parametrize("make", ENDS_PROCESS.values(), ids=ENDS_PROCESS)
async def test_it_ends_the_process_alone(
    autojump_clock: object, kind: Any, place: str, make: Callable[[], BaseException]
) -> None:
    """U16: whatever it is, and wherever."""
    async with open_node("n") as node:
        reason = await provoke(node, kind, place, make)
        check(reason, make(), by_coroutine=kind is not Sync)


async def ending_with(make: Callable[[], BaseException], act: Callable[[Node], Any]) -> None:
    """Open a node, which `act` ends."""

    async def run() -> None:
        async with open_node("n") as node:
            await act(node)
            await trio.sleep(60)

    with pytest.raises(type(make())):
        await run()


@EACH
@pytest.mark.parametrize("make", ENDS_PROGRAM.values(), ids=ENDS_PROGRAM)
async def test_it_ends_the_program(
    autojump_clock: object, kind: Any, place: str, make: Callable[[], BaseException]
) -> None:
    """U5: the block of the node ends in order, and raises it."""
    await ending_with(make, lambda node: provoke(node, kind, place, make))
    assert trio.current_time() < 60


class Handler(EventHandler):
    def __init__(self, make: Any) -> None:
        self.make = make

    def on_event(self, _event: Any) -> None:
        raise self.make()

    def on_call(self, _request: Any) -> Any:
        raise self.make()


class Moves(Machine):
    initial = "idle"

    def __init__(self, make: Any) -> None:
        self.make = make

    def go(self) -> None: ...

    @when("idle", go)
    def begin(self) -> None:
        raise self.make()


class Works(Worker):
    def __init__(self, make: Any) -> None:
        self.make = make

    def work(self, _job: Any) -> Any:
        raise self.make()


async def event(node: Node, make: Any) -> None:
    manager = await node.spawn(EventManager)
    await manager.call(EventManager.add_handler, "key", Handler, make)
    with contextlib.suppress(ProcessDied):  # with the program
        await manager.call(EventManager.notify, "event")
    assert await manager.call(EventManager.which_handlers) == []


async def question(node: Node, make: Any) -> None:
    manager = await node.spawn(EventManager)
    await manager.call(EventManager.add_handler, "key", Handler, make)
    with contextlib.suppress(Exception):  # the error, or what stands for it
        await manager.call(EventManager.call_handler, "key", "question")
    assert await manager.call(EventManager.which_handlers) == []


async def clause(node: Node, make: Any) -> None:
    machine = await node.spawn(Moves, make)
    with pytest.raises(ProcessDied):
        await machine.call(Moves.go)


async def job(node: Node, make: Any) -> None:
    pool = await node.spawn(Pool, Works, make, size=1)
    with pytest.raises(ProcessDied):
        await pool.call(Pool.submit, "job")


PATTERNS = [event, question, clause, job]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize(
    "make", [*ENDS_PROCESS.values(), *ENDS_PROGRAM.values()], ids=[*ENDS_PROCESS, *ENDS_PROGRAM]
)
async def test_in_the_patterns(
    autojump_clock: object, pattern: Callable[..., Any], make: Callable[[], BaseException]
) -> None:
    """U16: an event handler is removed, a machine or worker ends, and two errors end the program."""
    if make in ENDS_PROGRAM.values():
        await ending_with(make, lambda node: pattern(node, make))
        return
    async with open_node("n") as node:
        bystander = await node.spawn(Bystander)
        await pattern(node, make)
        assert await bystander.call(Bystander.ping) == "pong"


@pytest.mark.parametrize("kind", [Sync, Async])
@pytest.mark.parametrize(
    "make", [*ENDS_PROCESS.values(), *ENDS_PROGRAM.values()], ids=[*ENDS_PROCESS, *ENDS_PROGRAM]
)
async def test_far_from_its_caller(
    autojump_clock: object, kind: Any, make: Callable[[], BaseException]
) -> None:
    """U16: the node of the process ends, or the process alone; that of the caller goes on."""
    network, policy = MemoryNetwork(), Policy.same_user(exports="*")
    left: list[BaseException] = []
    over = trio.Event()

    async def home(task_status: trio.TaskStatus[Any]) -> None:
        try:
            async with open_node(
                "home", zone="b", carrier=network.carrier("home"), policy=policy, listen="/home"
            ) as node:
                await node.spawn(kind, Armed("handler", make), name="there")
                task_status.started()
                await over.wait()
        except (SystemExit, KeyboardInterrupt) as error:
            left.append(error)

    async with trio.open_nursery() as nursery:
        await nursery.start(home)
        async with (
            open_node(
                "near", zone="a", carrier=network.carrier("near"), policy=policy, listen="/near"
            ) as near,
            near.mailbox() as me,
        ):
            await near.connect("/home")
            ref: Any = await near.whereis_on("home@b", "there")
            me.monitor(ref)
            with pytest.raises((ProcessDied, NotConnected)):
                await ref.call(Sync.go)
            assert (await me.receive(Down, timeout=5)).reason != ""
            await trio.sleep(1)
            assert await (await near.spawn(Bystander)).call(Bystander.ping) == "pong"
        over.set()
    assert [type(error) for error in left] == ([type(make())] if make in ENDS_PROGRAM.values() else [])


WEATHER = hostcall("example::weather::forecast", Capability(130), str, str)


def asks() -> bytes:
    """A guest that makes one hostcall, and ends; it traps if that fails."""
    guest = Assembler("example::weather::forecast")
    place = guest.message(str, "Lund")
    guest.function("start", f"(call $ok (call $weather.forecast {place}))")
    return guest.binary()


def direct(make: Any) -> Any:
    def contract(_caller: Any, _place: str) -> str:
        raise make()

    return contract


def coroutine(make: Any) -> Any:
    async def contract() -> str:
        await trio.lowlevel.checkpoint()
        raise make()

    return lambda _caller, _place: contract()


def future(make: Any) -> Any:
    """Another task answers, and may give the guest an error; it goes on."""

    def contract(_caller: Any, _place: str) -> Future[str]:
        made: Future[str] = Future()

        async def answer() -> None:
            await trio.lowlevel.checkpoint()
            made.fail(make())

        trio.lowlevel.spawn_system_task(answer)
        return made

    return contract


async def ask(contract: Any) -> Any:
    """Run a guest that asks; return why it ended."""
    async with open_node("n") as node, node.mailbox() as me:
        bystander = await node.spawn(Bystander)
        open_guests(node, operations=[operation(WEATHER, contract)])
        me.monitor(await node.spawn(Guest(asks(), capabilities=[Capability(130)])))
        reason = (await me.receive(Down)).reason
        await trio.lowlevel.checkpoint()
        assert await bystander.call(Bystander.ping) == "pong"
        return reason


@pytest.mark.parametrize("way", [direct, coroutine, future])
@pytest.mark.parametrize("make", ENDS_PROCESS.values(), ids=ENDS_PROCESS)
async def test_a_contract_ends_its_guest(way: Any, make: Callable[[], BaseException]) -> None:
    """U16: no fault of the runtime; an `Exception` fails the hostcall, as does any error of a future."""
    reason = await ask(way(make))
    if way is future or isinstance(make(), Exception):
        assert type(reason).__name__ == "Trapped"
    else:
        check(reason, make(), by_coroutine=way is coroutine)


@pytest.mark.parametrize("way", [direct, coroutine])
@pytest.mark.parametrize("make", ENDS_PROGRAM.values(), ids=ENDS_PROGRAM)
async def test_a_contract_ends_the_program(way: Any, make: Callable[[], BaseException]) -> None:
    """U16: its function and its coroutine alike."""
    with pytest.raises(type(make())):
        await ask(way(make))
