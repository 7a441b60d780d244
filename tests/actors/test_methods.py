"""Which methods can be called, and what becomes of those that cannot. Clause C1 of docs/semantics.md.

Each row is one way to go wrong, or one that looks wrong and is not. Whatever it is, the caller hears of it,
and the callee goes on.
"""

from __future__ import annotations

import abc
import functools
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Protocol

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    Actor,
    Crashed,
    Deferred,
    Down,
    EventManager,
    LiveResult,
    Machine,
    Node,
    NotPublic,
    Pool,
    Process,
    ProcessDied,
    Ref,
    Request,
    Supervisor,
    UnknownMethod,
    open_node,
)
from enfilade.transport import Policy
from enfilade.transport.memory_carrier import MemoryNetwork

pytest_plugins = ["enfilade.actors.testing.plugin"]


def bare(method: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that forgets what it decorates."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    return wrapper


def wrapped(method: Callable[..., Any]) -> Callable[..., Any]:
    return functools.wraps(method)(bare(method))


class Calls:
    """An object that can be called."""

    def __call__(self, *args: Any) -> str:
        return "called"


class Unhashable(Calls):
    __hash__ = None  # type: ignore[assignment]


class Awaitable:
    """An awaitable that is no coroutine, as Cython makes them."""

    def __await__(self) -> Iterator[Any]:
        yield from trio.lowlevel.checkpoint().__await__()  # noqa: ASYNC105
        return "awaited"


class Sync(Actor):
    LIMIT = 3

    def __init__(self) -> None:
        self.items = [1, 2]

    def get(self) -> int:
        return 1

    undecorated = bare(get)
    decorated = wrapped(get)
    short = lambda self: 4  # noqa: E731

    @functools.lru_cache  # noqa: B019
    def cached(self) -> int:
        return 2

    @staticmethod
    def static() -> None:
        pass

    @classmethod
    def of_class(cls) -> None:
        pass

    @property
    def own(self) -> int:
        return 1

    @functools.cached_property
    def kept(self) -> int:
        return 1

    class Nested:
        pass

    callable_ = Calls()
    unhashable = Unhashable()
    partial = functools.partial(get)

    @functools.singledispatchmethod
    def dispatched(self, value: Any) -> None:
        pass

    def generator(self) -> Iterator[int]:
        yield 1

    async def async_generator(self) -> AsyncIterator[int]:
        yield 1

    def _private(self) -> None:
        pass

    def reply(self, kind: str) -> Any:
        return {
            "generator": lambda: (item for item in self.items),
            "iterator": lambda: iter(self.items),
            "map": lambda: map(str, self.items),
            "list": lambda: list(self.items),
        }[kind]()


class Async(Sync):
    async def wait(self) -> None:
        pass

    def cythonic(self) -> Any:
        return Awaitable()


class Other(Actor):
    def get(self) -> int:
        return 99

    def has_not(self) -> None:
        pass


class Mixin:
    def mixed(self) -> str:
        return "mixed"


class Derived(Mixin, Sync):
    def get(self) -> int:
        return 10


class Interface(Protocol):
    def get(self) -> int: ...


class Abstract(abc.ABC):
    @abc.abstractmethod
    def get(self) -> int: ...


Abstract.register(Sync)


def no_method(self: Any) -> None:
    pass


def crashed(reason: Any, error: type[BaseException]) -> bool:
    return isinstance(reason, Crashed) and isinstance(reason.error, error)


TIERS = pytest.mark.parametrize("tier", [Sync, Async])

REFUSED = {
    "hook": Sync.on_message,
    "private": Sync._private,
    "static": Sync.static,
    "class method": Sync.of_class,
    "property": Sync.own,
    "cached property": Sync.kept,
    "class": Sync.Nested,
    "callable": Sync.callable_,
    "unhashable": Sync.unhashable,
    "singledispatch": Sync.dispatched,
    "generator": Sync.generator,
    "async generator": Sync.async_generator,
    "attribute": Sync.LIMIT,
    "name": "get",
    "lambda": lambda self: 1,
    "function": no_method,
    "builtin": len,
    "bound": Calls().__call__,
}
if sys.version_info < (3, 13):  # later a partial in a class counts as a method, as a function does
    REFUSED["partial"] = Sync.partial


async def asks(node: Node, ref: Ref[Any], method: Any, way: str) -> Any:
    """Use `method` in one of the ways there are, and return the answer."""
    match way:
        case "call":
            return await ref.call(method)
        case "within":
            return await ref.within(1).call(method)
        case "queued":  # the callee has something to do, so that the call waits its turn
            ref.send("before")
            return await ref.call(method)
    async with node.mailbox() as me:
        request: Request[Any] = me.request(ref, method)
        return await request.receive()


WAYS = pytest.mark.parametrize("way", ["call", "within", "queued", "request"])


@TIERS
@WAYS
@pytest.mark.parametrize("kind", REFUSED)
async def test_what_is_no_method_is_refused_in_the_caller(
    autojump_clock: MockClock, node: Node, tier: type[Sync], way: str, kind: str
) -> None:
    """C1: the caller gets `NotPublic`, a `TypeError`, and the callee lives."""
    ref: Ref[Any] = await node.spawn(tier)
    with pytest.raises(NotPublic) as caught:
        await asks(node, ref, REFUSED[kind], way)
    assert isinstance(caught.value, TypeError)
    with pytest.raises(NotPublic):
        ref.cast(REFUSED[kind])
    assert await ref.call(Sync.get) == 1


@TIERS
@WAYS
async def test_what_only_looks_odd_works(
    autojump_clock: MockClock, node: Node, tier: type[Sync], way: str
) -> None:
    """C1: a caller names a method by the function that the class has, whatever that calls itself."""
    ref: Ref[Any] = await node.spawn(tier)
    for method, answer in [
        (Sync.undecorated, 1),
        (Sync.decorated, 1),
        (Sync.short, 4),
        (Sync.cached, 2),
        (Interface.get, 1),
        (Abstract.get, 1),
    ]:
        assert await asks(node, ref, method, way) == answer


async def test_subclasses_and_mixins(autojump_clock: MockClock, node: Node) -> None:
    """C1: a method of a base means the subclass's own, and that of a mixin is found."""
    ref: Ref[Any] = await node.spawn(Derived)
    assert await ref.call(Sync.get) == 10
    assert await ref.call(Derived.get) == 10
    assert await ref.call(Mixin.mixed) == "mixed"
    assert await ref.call(Interface.get) == 10


async def test_an_actor_class_that_cannot_be_hashed_is_no_obstacle(
    autojump_clock: MockClock, node: Node
) -> None:
    """C1: a mixin's method is looked for among all classes, of whatever metaclass."""

    class NotHashed(type(Actor)):  # type: ignore[misc]
        __hash__ = None

    class Odd(Actor, metaclass=NotHashed):
        pass

    ref: Ref[Any] = await node.spawn(Derived)
    with pytest.raises(UnknownMethod):
        await ref.call(Other.get)
    assert Odd.__name__ == "Odd"  # it is still there


class Twin(Actor):
    """Has all that `Other` has."""

    async def get(self) -> int:
        return 2

    def has_not(self) -> None:
        pass


class Cousin(Actor):
    """Has all of `Other`'s names."""

    def get(self, which: int = 3) -> int:
        return which

    def has_not(self) -> None:
        pass


async def test_a_class_with_all_methods_of_another_stands_in_for_it(
    autojump_clock: MockClock, node: Node
) -> None:
    """C1: such a class need not say so; but names alone do not make it one."""
    twin: Ref[Any] = await node.spawn(Twin)
    assert await twin.call(Other.get) == 2
    cousin: Ref[Any] = await node.spawn(Cousin)
    with pytest.raises(UnknownMethod):
        await cousin.call(Other.get)
    assert await cousin.call(Cousin.get) == 3


class Strict(Sync, strict=True):
    pass


class StrictAsync(Async, strict=True):
    pass


class Lenient(Strict, strict=False):
    pass


class Tree(Supervisor):
    def get(self) -> int:
        return 1


class Door(Machine, Sync):
    initial = "closed"


CLASSES = {"sync": Sync, "async": Async, "supervisor": Tree, "machine": Door, "lenient": Lenient}


@pytest.mark.parametrize("method", [Other.has_not, Other.get, Derived.get, Mixin.mixed])
@pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES)
@WAYS
async def test_another_class_s_method_is_unknown(
    autojump_clock: MockClock, node: Node, cls: Any, way: str, method: Any
) -> None:
    """C1: also when the callee has one of the same name; the callee lives."""
    ref: Ref[Any] = await node.spawn(cls)
    with pytest.raises(UnknownMethod) as caught:
        await asks(node, ref, method, way)
    assert method.__qualname__ in str(caught.value)
    assert await ref.call(cls.get) == 1


@pytest.mark.parametrize("cls", [Pool, EventManager])
async def test_patterns_know_their_methods_only(autojump_clock: MockClock, node: Node, cls: Any) -> None:
    """C1: pools and event managers, too, outlive a call of a method that they do not have."""
    ref: Ref[Any] = await (node.spawn(Pool, Working, size=1) if cls is Pool else node.spawn(EventManager))
    with pytest.raises(UnknownMethod):
        await ref.call(Other.has_not)
    ref.cast(Other.has_not)
    await wait_all_tasks_blocked()
    if cls is Pool:
        assert await ref.call(Pool.submit, 3) == 6


class Working(Actor):
    """A worker that is no `Worker`."""

    def work(self, job: int) -> int:
        return 2 * job


@pytest.mark.parametrize("cls", [*CLASSES.values()], ids=[*CLASSES])
async def test_a_cast_of_an_unknown_method_becomes_a_dead_letter(
    autojump_clock: MockClock, node: Node, cls: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """C1: it is logged as a warning, with the method; the reason of the dead letter is the error."""
    ref: Ref[Any] = await node.spawn(cls)
    async with node.mailbox() as me:
        node.dead_letters.subscribe(me.ref)
        ref.cast(Other.has_not)
        letter = await me.receive(timeout=1)
    assert crashed(letter.reason, UnknownMethod)
    assert await ref.call(cls.get) == 1
    await wait_all_tasks_blocked()
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "Other.has_not" in record.getMessage()


@pytest.mark.parametrize("way", ["call", "cast"])
@pytest.mark.parametrize("cls", [Strict, StrictAsync])
@pytest.mark.parametrize("method", [Other.has_not, Other.get])
async def test_a_strict_class_ends(
    autojump_clock: MockClock, node: Node, cls: Any, way: str, method: Any
) -> None:
    """C1: as a `gen_server` does."""
    async with node.mailbox() as me:
        ref: Ref[Any] = await node.spawn(cls)
        me.monitor(ref)
        if way == "cast":
            ref.cast(method)
        else:
            with pytest.raises(ProcessDied):
                await ref.call(method)
        down = await me.receive(Down, timeout=1)
    assert crashed(down.reason, UnknownMethod)


class Front(Actor):
    """Has others answer."""

    def forward(self, ref: Ref[Any], method: Any) -> Deferred[Any]:
        deferred = self.process.defer()
        deferred.forward(ref, method)
        return deferred

    def then(self, ref: Ref[Any], method: Any) -> Deferred[Any]:
        deferred = self.process.defer()
        self.process.request(ref, method).then(self._told, deferred)
        return deferred

    def _told(self, request: Request[Any], deferred: Deferred[Any]) -> None:
        try:
            deferred.reply(request.result())
        except Exception as error:
            deferred.fail(error)


@pytest.mark.parametrize("method", [Front.forward, Front.then])
@TIERS
async def test_requests_on_behalf_of_others(
    autojump_clock: MockClock, node: Node, tier: type[Sync], method: Any
) -> None:
    """C1: who waits for a forwarded call, or uses a reply, hears of an unknown method, too."""
    front = await node.spawn(Front)
    callee = await node.spawn(tier, name="callee")
    for ref in (callee, node.named("callee")):
        assert await front.call(method, ref, tier.get) == 1
        with pytest.raises(UnknownMethod):
            await front.call(method, ref, Other.has_not)


async def test_far_and_near_are_alike(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    """C1: between nodes, the caller gets the same errors, and a cast the same fate."""
    network = MemoryNetwork()
    policy = Policy.same_user(exports="*")
    async with (
        open_node("b", carrier=network.carrier("b"), listen="/b", policy=policy) as b,
        open_node("a", carrier=network.carrier("a"), policy=policy) as a,
    ):
        await a.connect("/b")
        for tier in (Sync, Async):
            ref = await b.spawn(tier, name=tier.__name__)
            far = a.remote(tier.__name__, "b@local")
            with pytest.raises(UnknownMethod):
                await far.call(Other.has_not)
            before = b.dead_letters.count
            far.cast(Other.has_not)
            assert await far.call(Sync.undecorated) == 1
            assert await far.call(Sync.short) == 4
            assert b.dead_letters.count == before + 1
            for kind, method in REFUSED.items():
                if kind not in (
                    "function",
                    "builtin",
                    "singledispatch",
                ):  # which the name alone does not tell
                    with pytest.raises(NotPublic):
                        await far.call(method)
            assert await ref.call(Sync.get) == 1
        strict = await b.spawn(Strict, name="strict")
        with pytest.raises(ProcessDied):
            await a.remote("strict", "b@local").call(Other.has_not)
        assert b.whereis("strict") is None, strict
    assert sum("refused a cast" in record.getMessage() for record in caplog.records) == 2


# What has yet to run.


@TIERS
@WAYS
@pytest.mark.parametrize("kind", ["generator", "iterator", "map"])
async def test_a_reply_that_has_yet_to_run_is_refused(
    autojump_clock: MockClock, node: Node, tier: type[Sync], way: str, kind: str
) -> None:
    """C15: the caller gets a `TypeError`, and the callee lives."""

    class Live(tier):  # type: ignore[misc]
        def live(self) -> Any:
            return self.reply(kind)

    ref: Ref[Any] = await node.spawn(Live)
    with pytest.raises(LiveResult, match=r"live returned a .*list") as caught:
        await asks(node, ref, Live.live, way)
    assert isinstance(caught.value, TypeError)
    assert await ref.call(Sync.reply, "list") == [1, 2]


class Yielding(Sync):
    def on_message(self, message: Any) -> Iterator[None]:
        yield

    hidden = bare(Sync.generator)


class YieldingAsync(Async):
    async def on_message(self, message: Any) -> AsyncIterator[None]:
        yield

    hidden = bare(Sync.async_generator)


@pytest.mark.parametrize("cls", [Yielding, YieldingAsync])
@pytest.mark.parametrize("way", ["send", "cast"])
async def test_a_handler_that_yields_has_failed(
    autojump_clock: MockClock, node: Node, cls: Any, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """C15: nothing of it would ever run, and nobody would hear of that."""
    async with node.mailbox() as me:
        ref: Ref[Any] = await node.spawn(cls)
        me.monitor(ref)
        if way == "send":
            ref.send(1)
        else:
            ref.cast(cls.hidden)
        down = await me.receive(Down, timeout=1)
    assert crashed(down.reason, LiveResult)
    await wait_all_tasks_blocked()
    assert "generator" in caplog.text


async def test_other_awaitables_are_awaited(autojump_clock: MockClock, node: Node) -> None:
    """C15: an actor with a task awaits whatever can be awaited."""
    assert await (await node.spawn(Async)).call(Async.cythonic) == "awaited"


async def test_functions_and_their_calls(autojump_clock: MockClock, node: Node) -> None:
    """C1: what a function process is called for, it sees itself."""

    async def one(me: Process) -> None:
        call = await me.receive()
        call.reply(call.method)

    ref: Ref[Any] = await node.spawn(one)
    assert await ref.call(Other.has_not) == "has_not"
    with pytest.raises(NotPublic):
        await ref.call(Sync.static)
