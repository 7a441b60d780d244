"""Values and errors whose class cannot be looked up in a table: they are what any other value is. U2, D9.

A metaclass that compares its classes, and has no hash, makes such classes: a plugin's, compared by name, say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any, NoReturn

import pytest
import trio

from enfilade.actors import (
    Actor,
    Crashed,
    Down,
    EventHandler,
    EventManager,
    Like,
    Machine,
    Node,
    NodeConfig,
    Pool,
    ProcessDied,
    Ref,
    Shutdown,
    Worker,
    open_node,
    system,
)
from enfilade.actors.core import choice
from enfilade.actors.patterns.machine import when
from enfilade.transport import PayloadError, Policy
from enfilade.transport.memory_carrier import MemoryNetwork
from enfilade.transport.payload import RemoteError


class NoHash(type):
    def __eq__(cls, other: object) -> bool:
        return cls is other


class HashRaises(type):
    def __hash__(cls) -> NoReturn:
        raise LookupError("no hash")


class HashRaisesBadly(type):
    def __hash__(cls) -> NoReturn:
        raise BaseException("no hash")  # noqa: TRY002 (the worst there is)


class EqualityRaises(type):
    def __eq__(cls, other: object) -> NoReturn:
        raise LookupError("not comparable")

    __hash__ = type.__hash__


class AttributesRaise(type):
    def __getattribute__(cls, name: str) -> NoReturn:
        raise LookupError(name)


METACLASSES = [NoHash, HashRaises, HashRaisesBadly, EqualityRaises, AttributesRaise]
CORES = ["compiled", "python"] if choice.IS_AVAILABLE else ["python"]


@pytest.fixture(params=CORES, autouse=True)
def core(request: pytest.FixtureRequest) -> Iterator[str]:
    before = choice.in_use()
    choice.choose(is_compiled=request.param == "compiled")
    yield request.param
    choice.choose(is_compiled=before == "compiled")


@pytest.fixture(params=METACLASSES, ids=lambda kind: kind.__name__)
def metaclass(request: pytest.FixtureRequest) -> Any:
    return request.param


def made_of(metaclass: Any) -> Any:
    """A value. It is no fixture, because pytest's plugins ask each of theirs what it is."""
    return object.__new__(type.__call__(metaclass, "Value", (), {}))


def error_of(metaclass: Any) -> Any:
    return type.__call__(type.__call__(metaclass, "Error", (Exception,), {}), "as asked")


class Sync(Actor):
    def __init__(self, value: Any) -> None:
        self.value = value
        self.got: list[Any] = []

    def on_start(self) -> Any:
        return None

    def give(self) -> Any:
        return self.value

    def echo(self, value: Any) -> Any:
        return value

    def on_message(self, message: Any) -> Any:
        self.got.append(message)
        return message

    def on_stop(self, reason: Any) -> Any:
        return self.value

    def count(self) -> int:
        return len(self.got)

    def proceed(self) -> None:
        self.process.continue_with(lambda: self.value)

    def answer(self) -> Any:
        deferred = self.process.defer()
        deferred.reply(self.value)
        return deferred

    def fail(self) -> None:
        raise self.value

    def refuse(self) -> Any:
        return self.process.refuse(self.value)

    def remind(self) -> None:
        self.process.timers.start(self.value, 0.1, self.value)


class Mixed(Sync):
    """An actor with a task, because it has an async method; its other methods do not wait."""

    async def wait(self) -> None:
        await trio.lowlevel.checkpoint()


class Async(Mixed):
    """Its methods wait, too."""


def _waiting(name: str) -> Any:
    method = getattr(Sync, name)

    async def wait(self: Any, *args: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return method(self, *args)

    wait.__name__, wait.__qualname__ = name, f"Async.{name}"
    return wait


for _name in ("on_message", "on_stop", "give", "echo", "proceed", "answer", "fail", "refuse", "remind"):
    setattr(Async, _name, _waiting(_name))


@pytest.fixture(params=[Sync, Mixed, Async], ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("debug", [False, True])
async def test_a_value_is_passed_as_any_other(
    autojump_clock: object, kind: Any, metaclass: Any, debug: bool
) -> None:
    """As an argument, reply, message, key of a timer, result of each hook, and state."""
    value = made_of(metaclass)
    async with open_node("n", config=NodeConfig(debug=debug)) as node, node.mailbox() as me:
        ref: Ref[Any] = await node.spawn(kind, value)
        assert await ref.call(Sync.give) is value
        assert await ref.call(Sync.echo, value) is value
        assert await me.request(ref, Sync.give).receive(5) is value
        assert await me.request(ref, Sync.echo, value).receive(5) is value
        ref.cast(Sync.give)
        ref.cast(Sync.echo, value)
        assert await ref.call(Sync.answer) is value
        await ref.call(Sync.proceed)
        await ref.call(Sync.remind)
        await trio.sleep(1)
        ref.send(value)
        assert await me.request(ref, Sync.count).receive(5) == 2
        await system.get_status(ref)
        await ref.stop()


async def test_a_mailbox_that_is_full_of_them(autojump_clock: object, metaclass: Any) -> None:
    """Any match finds its message among them; their class is a match, too."""
    value = made_of(metaclass)
    async with open_node("n") as node, node.mailbox() as me:
        for _ in range(100):
            me.ref.send(value)
            me.ref.send((value, 1))
        me.ref.send("text")
        me.ref.send(("a", 1))
        assert await me.receive(str) == "text"
        assert await me.receive(Like(("a", int))) == ("a", 1)
        assert await me.receive(lambda message: message is value) is value
        assert await me.receive(type(value)) is value
        assert await me.receive() == (value, 1)


@pytest.mark.parametrize("method", [Sync.fail, Sync.refuse])
async def test_an_error_is_told_as_any_other(
    autojump_clock: object, kind: Any, metaclass: Any, method: Callable[..., Any]
) -> None:
    """It is the reason of who raises it, and what the caller gets of who refuses."""
    error = error_of(metaclass)
    async with open_node("n") as node, node.mailbox() as me:
        ref = await node.spawn(kind, error)
        me.monitor(ref)
        told: Any = None
        try:
            await ref.call(method)
        except ProcessDied as died:
            told = died.reason.error  # type: ignore[attr-defined]
        except Exception as refused:
            told = refused
        assert told is error
        if method is Sync.fail:
            reason = (await me.receive(Down, timeout=1)).reason
            assert isinstance(reason, Crashed)
            assert reason.error is error
        else:
            assert await ref.call(Sync.count) == 0


async def test_the_patterns_pass_it_on(autojump_clock: object, metaclass: Any) -> None:
    """Event managers, machines and pools."""
    value = made_of(metaclass)

    class Handler(EventHandler):
        def on_call(self, request: Any) -> Any:
            return request

    class Echo(Machine):
        initial = "idle"

        def echo(self, given: Any) -> None: ...

        @when("idle", echo)
        def back(self, given: Any) -> Any:
            return given

    class Doer(Worker):
        def work(self, job: Any) -> Any:
            return job

    async with open_node("n") as node:
        manager = await node.spawn(EventManager)
        await manager.call(EventManager.add_handler, value, Handler)
        await manager.call(EventManager.notify, value)
        assert await manager.call(EventManager.call_handler, value, value) is value
        machine = await node.spawn(Echo)
        machine.send(value)
        assert await machine.call(Echo.echo, value) is value
        pool = await node.spawn(Pool, Doer, size=2)
        assert await pool.call(Pool.submit, value, key=value) is value


async def _nodes(stack: AsyncExitStack) -> tuple[Node, Node]:
    network = MemoryNetwork()
    policy = Policy.same_user(exports="*", entries="*")
    near, home = [
        await stack.enter_async_context(
            open_node(name, zone=name, carrier=network.carrier(name), policy=policy, listen=f"/{name}")
        )
        for name in ("near", "home")
    ]
    await near.connect("/home")
    return near, home


async def test_it_cannot_travel_and_harms_nobody(autojump_clock: object, kind: Any, metaclass: Any) -> None:
    """D9: the sender gets a `PayloadError`, a caller the same in words, and the callee lives on."""
    value = made_of(metaclass)
    async with AsyncExitStack() as stack:
        near, home = await _nodes(stack)
        await home.spawn(kind, value, name="there")
        ref: Any = await near.whereis_on(home.full_name, "there")
        for send in (lambda: ref.send(value), lambda: ref.send([value]), lambda: ref.cast(Sync.echo, value)):
            with pytest.raises(PayloadError):
                send()
        with pytest.raises(PayloadError):
            await ref.call(Sync.echo, value)
        with pytest.raises(RemoteError, match="cannot"):
            await ref.call(Sync.give)
        assert await ref.call(Sync.count) == 0


async def test_an_error_and_a_reason_travel_in_words(
    autojump_clock: object, kind: Any, metaclass: Any
) -> None:
    """D9: an end is told in every case."""
    error = error_of(metaclass)
    async with AsyncExitStack() as stack:
        near, home = await _nodes(stack)
        me = await stack.enter_async_context(near.mailbox())
        await home.spawn(kind, error, name="there")
        ref: Any = await near.whereis_on(home.full_name, "there")
        with pytest.raises(RemoteError, match="as asked"):
            await ref.call(Sync.refuse)
        me.monitor(ref)
        with pytest.raises(ProcessDied, match="as asked"):
            await ref.call(Sync.fail)
        assert isinstance((await me.receive(Down, timeout=1)).reason, Crashed)
        other = await home.spawn(kind, error, name="other")
        as_seen: Any = await near.whereis_on(home.full_name, "other")
        me.monitor(as_seen)
        assert await as_seen.call(Sync.count) == 0
        other.exit(Shutdown(error))
        assert isinstance((await me.receive(Down, timeout=1)).reason, Shutdown)
