"""Typical mistakes of somebody who is new: each gets an error that says what was wrong and what to do."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import io
import os
import re
import runpy
import warnings
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from wasmtime import wat2wasm

from enfilade.actors import (
    Actor,
    Guest,
    Machine,
    Node,
    NoProcess,
    Process,
    RuntimeFault,
    Supervisor,
    acknowledges_start,
    open_node,
)
from enfilade.actors.cli.demo.parts import mill_module
from enfilade.actors.cli.refusal import Refusal
from enfilade.actors.cli.zonefile import read_zone_file
from enfilade.actors.messages.errors import UnknownMethod
from enfilade.actors.messages.methods import HOOKS
from enfilade.actors.messages.nearest import OPTIONS, did_you_mean, slip_of
from enfilade.actors.peers.faults import error_in_words, lower_fault, revive_fault
from enfilade.hostcalls import sdk
from enfilade.transport import TypeRegistry, UnregisteredType
from enfilade.transport.payload import Codec

pytest_plugins = ["enfilade.actors.testing.plugin"]


class Counter(Actor):
    def __init__(self, start: int = 0) -> None:
        self.value = start

    def add(self, n: int) -> int:
        self.value += n
        return self.value

    def numbers(self) -> Iterator[int]:
        yield self.value


class Other(Actor):
    def added(self, n: int) -> int:
        return n


class Twin(Actor):
    def add(self, m: int, *, other: bool) -> int:
        return m


class NoActor:
    pass


def not_async(me: Process) -> None: ...


async def one_argument_too_few() -> None: ...


async def call_of(node: Node, method: Any, *arguments: Any) -> Any:
    counter: Any = await node.spawn(Counter)
    return await counter.call(method, *arguments)


async def call_in(node: Node, kind: Any, method: Any, *arguments: Any) -> Any:
    ref: Any = await node.spawn(kind)
    return await ref.call(method, *arguments)


async def guest_gets(node: Node, guest: Guest, message: Any) -> Any:
    ref: Any = await node.spawn(guest)
    return await ref.call(Guest.request, message)


async def misspelt_name(node: Node) -> Any:
    await node.spawn(Counter, name="order_counter")
    return await node.named("order-countr").call(Counter.add, 1)


async def spawn_with(node: Node, target: Any, **options: Any) -> Any:
    return await node.spawn(target, **options)


async def spawn_of(node: Node, target: Any, *arguments: Any) -> Any:
    return await node.spawn(target, *arguments)


Mistake = Callable[[Node], Awaitable[Any]]
FILTER = Path(sdk.__file__).parent / "examples" / "wat" / "filter.py"


def filter_module() -> bytes:
    module: bytes = runpy.run_path(str(FILTER))["module"]()
    return module


DEAF = bytes(wat2wasm('(module (memory (export "memory") 17) (func (export "start") (loop $l (br $l))))'))


class Asking(Actor):
    """Calls another actor from a sync method, which cannot wait."""

    def add(self, n: int) -> Any:
        return self.process.ref.call(Asking.add, n)


class Waiting(Actor):
    async def add(self, n: int) -> int:
        return await self.process.ref.call(Waiting.add, n)


class Renamed(Actor):
    def __init__(self, process: int) -> None:
        self.process: Any = process


class Late(Actor):
    @property
    def minutes(self) -> int: ...

    @staticmethod
    def zero() -> int:
        return 0

    async def gather(self) -> None:
        with contextlib.closing(asyncio.new_event_loop()) as loop:
            await loop.create_future()


class Door(Machine):
    states = ("open", "shut")
    initial = "shut"

    def kick(self) -> None:
        self.become("opne")

    def push(self) -> None:
        self.state = "open"  # type: ignore[assignment]


class Childless(Supervisor):
    def __init__(self) -> None:
        self.started = 0


async def port_in_use(node: Node) -> Any:
    @acknowledges_start
    async def serve(me: Process, port: int) -> None:
        await trio.open_tcp_listeners(port, host="127.0.0.1")
        me.started()

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        await node.spawn(serve, listener.socket.getsockname()[1])


async def forgotten_capability(node: Node) -> Any:
    ref: Any = await node.spawn(Guest(filter_module(), capabilities={"ActorMessage"}, arguments=[1, 1]))
    return await ref.call(Guest.request, b"key")


async def named_by_number(node: Node) -> Any:
    name: Any = 5
    node.named(name)


async def node_named_by_number(_node: Node) -> Any:
    name: Any = 5
    async with open_node(name):
        pass


async def spawn_after_shutdown(_node: Node) -> Any:
    async with open_node("brief") as node:
        pass
    await node.spawn(Counter)


async def call_with_timeout(node: Node) -> Any:
    counter: Any = await node.spawn(Counter)
    return await counter.call(Counter.add, 1, timeout=5)


async def receive_within(node: Node, timeout: Any) -> Any:
    async with node.mailbox() as me:
        return await me.receive(timeout=timeout)


async def sync_block(_node: Node) -> Any:
    opened: Any = open_node("n")
    with opened:
        pass


async def no_block(_node: Node) -> Any:
    opened: Any = open_node("n")
    await opened.spawn(Counter)


async def async_init(_node: Node) -> Any:
    class Slow(Actor):
        async def __init__(self) -> None: ...  # type: ignore[misc]


MISTAKES: dict[str, tuple[Mistake, str]] = {
    "a method by its name": (
        lambda node: call_of(node, "add", 1),
        "got 'add'; name the method by its class, as in `call(Counter.add, ...)`",
    ),
    "a method by its misspelt name": (
        lambda node: call_in(node, Other, "aded", 1),
        "got 'aded'; name the method by its class, as in `call(Other.added, ...)`",
    ),
    "a method of another class": (
        lambda node: call_of(node, Other.added, 1),
        "Counter has no public method 'Other.added'",
    ),
    "a method of another class, of the same name": (
        lambda node: call_of(node, Twin.add, 1),
        "Counter has no public method 'Twin.add'; did you mean 'Counter.add'?",
    ),
    "a method of an object": (
        lambda node: call_of(node, object.__new__(Counter).add, 1),
        "a method of an object; pass the method of its class, as in `call(Counter.add, 5)`",
    ),
    "the result of a method": (
        lambda node: call_of(node, 15, 1),
        "got 15, which is not a method; pass the method and its arguments",
    ),
    "a class in the place of a method": (
        lambda node: call_of(node, Counter),
        "which is a class; pass one of its methods",
    ),
    "a private method": (
        lambda node: call_of(node, Counter.__init__),
        "which is private, because its name begins with an underscore",
    ),
    "a hook": (lambda node: call_of(node, Counter.on_start), "which is a hook: only the runtime calls it"),
    "a name that is not a text": (named_by_number, "a name must be a string or a Global, got 5"),
    "a node's name that is not a text": (
        node_named_by_number,
        "names of nodes and zones must be strings, got 5",
    ),
    "a generator as a reply": (lambda node: call_of(node, Counter.numbers), "return a list instead"),
    "a missing argument": (lambda node: call_of(node, Counter.add), "missing a required argument: 'n'"),
    "a misspelt name": (misspelt_name, "'order-countr' is not registered; did you mean 'order_counter'?"),
    "a function that is not async": (
        lambda node: spawn_of(node, not_async),
        "`async def not_async(me, ...)`",
    ),
    "a function without `me`": (lambda node: spawn_of(node, one_argument_too_few), "its own Process"),
    "a class that is no actor": (lambda node: spawn_of(node, NoActor), "write `class NoActor(Actor)`"),
    "an object of the class": (
        lambda node: spawn_of(node, object.__new__(Counter)),
        "pass the class Counter",
    ),
    "too many arguments": (lambda node: spawn_of(node, Counter, 1, 2), "takes from 1 to 2 positional"),
    "a misspelt argument by name": (
        lambda node: spawn_with(node, Supervisor, children=[], intensty=3),
        "did you mean `intensity=`?",
    ),
    "a misspelt option of spawn": (
        lambda node: spawn_with(node, Counter, nmae="till"),
        "argument 'nmae'\"); did you mean `name=`, an option of `spawn`?",
    ),
    "text to a guest": (
        lambda node: guest_gets(node, Guest(mill_module(), capabilities={"ActorMessage"}), "hello"),
        "encode text: `text.encode()`",
    ),
    "a guest that takes no messages": (
        lambda node: guest_gets(node, Guest(DEAF, capabilities={"ActorMessage"}), b"hello"),
        "whose module does not import `enfilade::actor::receive`",
    ),
    "a guest that may not take messages": (
        lambda node: guest_gets(node, Guest(DEAF), b"hello"),
        "without the capability ActorMessage (grant it:",
    ),
    "a call from a sync method": (
        lambda node: call_in(node, Asking, Asking.add, 1),
        "Asking.add returned a coroutine, and a sync actor has no task to await it in; make it `async def`",
    ),
    "a call of oneself": (lambda node: call_in(node, Waiting, Waiting.add, 1), "called itself"),
    "a state that is not listed": (
        lambda node: call_in(node, Door, Door.kick),
        "expected a state of Door ('open', 'shut'), got 'opne'; did you mean 'open'?",
    ),
    "a state that is assigned": (
        lambda node: call_in(node, Door, Door.push),
        "Door.state cannot be set: call `self.become('open')`",
    ),
    "a supervisor's `__init__` without super": (
        lambda node: spawn_of(node, Childless),
        "Childless.__init__ must call super().__init__(children, ...)",
    ),
    "a method in the place of its class": (
        lambda node: spawn_of(node, Counter.add),
        "it is a method; spawn Counter, then `await ref.call(Counter.add, ...)`",
    ),
    "a property": (lambda node: call_in(node, Late, Late.minutes), "call a method that returns it"),
    "a static method": (lambda node: call_in(node, Late, Late.zero), "call it where you are"),
    "a timeout among the arguments": (call_with_timeout, "`ref.within(seconds).call(...)`"),
    "None for no timeout": (lambda node: receive_within(node, None), "`math.inf` is no limit"),
    "a node without async": (sync_block, "write `async with open_node(...) as ...:`"),
    "a node without a block": (no_block, "write `async with open_node(...) as ...:`"),
    "an async `__init__`": (async_init, "belongs in `async def on_start(self)`"),
    "an attribute of that name": (
        lambda node: spawn_of(node, Renamed, 1),
        "Renamed.__init__ has replaced `self.process`",
    ),
    "a future of asyncio": (lambda node: call_in(node, Late, Late.gather), "EventLoopThread"),
    "a port in use": (port_in_use, "Address already in use"),
    "a spawn after the shutdown": (spawn_after_shutdown, "'brief@local' is stopping or has stopped"),
    "a forgotten capability": (forgotten_capability, "TimeRead"),
    "a misspelt capability": (
        lambda node: spawn_of(node, Guest(mill_module(), capabilities={"time_raed"})),
        "did you mean 'TimeRead'?",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_a_mistake_is_explained(node: Node, mistake: str) -> None:
    make, explanation = MISTAKES[mistake]
    with pytest.raises(Exception) as raised:  # noqa: PT011 (the text is what is looked at)
        await make(node)
    assert explanation in str(raised.value)


def test_all_options_are_known_to_who_explains_them() -> None:
    internal = {"arena", "heir_of", "spawner"}
    spawn = {
        option.name
        for option in inspect.signature(vars(Node)["spawn"]).parameters.values()
        if option.kind is option.KEYWORD_ONLY
    }
    assert spawn - internal == set(OPTIONS)


async def test_a_refused_method_is_explained_by_its_neighbour(node: Node) -> None:
    """The nearest method of the class is named, where the function's own class names it otherwise."""

    class Renamed(Actor):
        def increase(self, n: int) -> int: ...

        def summ(self) -> int: ...

    class Sums(Actor):
        def sum(self) -> int:
            return 1

        def decrease(self, n: int) -> int:
            return n

    sums: Any = await node.spawn(Sums)
    for method, near in ((Renamed.summ, "'sum'"), (Renamed.increase, "'decrease'")):
        arguments = () if near == "'sum'" else (1,)
        with pytest.raises(UnknownMethod) as raised:
            await sums.call(method, *arguments)
        assert f"did you mean {near}?" in str(raised.value)


@pytest.mark.parametrize(
    "error",
    [NoProcess("valut", ["vault", "secret"]), UnknownMethod("Bank.valut", "Bank", ["vault", "secret"])],
    ids=["name", "method"],
)
def test_a_suggestion_stays_on_its_node(error: RuntimeFault) -> None:
    """A peer must not learn the names of this node, and must not have it look for the nearest."""
    assert "did you mean 'vault'?" in str(error)
    kind, text, values = lower_fault(error)
    assert not {"vault", "secret"} & set(re.findall(r"\w+", repr([text, values])))
    for told in (revive_fault([kind, text, values]), error_in_words(error, "east@z")):
        assert type(told) is type(error)
        assert str(told) == text == error.args[0]


@attrs.frozen
class Unregistered:
    x: int


def chosen() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (lambda: None, "code stays where it is"),
        (len, "code stays where it is"),
        (Counter, "code stays where it is"),
        (os, "code stays where it is"),
        (chosen(), "it has yet to run; send what it gives"),
        (io.BytesIO(), "send `FileDescriptor(file.fileno())`, or what the file holds"),
        (Unregistered(1), "register the type, on both nodes"),
    ],
    ids=["lambda", "builtin", "class", "module", "generator", "file", "unregistered"],
)
def test_what_cannot_travel_is_explained(value: Any, advice: str) -> None:
    with pytest.raises(UnregisteredType) as raised:
        Codec(TypeRegistry()).encode(value)
    assert advice in str(raised.value)


NODE = '[node]\nname = "n"\nzone = "z"\n'


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("[noed]\n", "did you mean 'node'?"),
        ('[node]\nnam = "n"\n', "did you mean 'name'?"),
        (NODE + '[supervisor]\nstratgy = "one_for_all"\n', "did you mean 'strategy'?"),
        (NODE + '[[child]]\nid = "c"\nrestat = "permanent"\n', "did you mean 'restart'?"),
        (NODE + "[[peer]]\nlimits = { bcklog = 3 }\n", "did you mean 'backlog'?"),
        (NODE + "[[peer]]\nlimits = { qqq = 3 }\n", "expected one of backlog, bulk, decoding, links"),
        (NODE + '[supervisor]\nstrategy = "one_for_al"\n', "expected one of 'one_for_one'"),
        (NODE + '[child]\nid = "c"\n', "write [[child]]"),
    ],
)
def test_an_unknown_key_of_a_zone_file_is_explained(text: str, advice: str, tmp_path: Path) -> None:
    path = tmp_path / "zone.toml"
    path.write_text(text)
    with pytest.raises(Refusal) as raised:
        read_zone_file(path)
    assert advice in str(raised.value)


@pytest.mark.parametrize(
    ("wanted", "known", "expected"),
    [
        ("countr", ["counter", "clerk"], "; did you mean 'counter'?"),
        ("order_Counter", ["order-counter"], "; did you mean 'order-counter'?"),
        ("mill", ["ledger"], ""),
        ("x" * 100_000, ["x" * 101], f"; did you mean '{'x' * 101}'?"),
        ("z999", (f"z{n:03}" for n in range(10**9)), "; did you mean 'z999'?"),
        ("", [], ""),
    ],
    ids=["near", "case and dashes", "far", "long", "many", "none"],
)
def test_the_nearest_name(wanted: str, known: Any, expected: str) -> None:
    """Bounded in time, whatever names there are."""
    assert did_you_mean(wanted, known) == expected


SLIPS = {
    "on_message": "on_mesage on_messgae on_massage on_messsage onMessage on_Message",
    "on_start": "on_strat on_satrt on_startt onstart",
    "on_stop": "on_sotp on_stopp",
    "on_exit": "on_exti",
    "on_down": "on_dwon",
    "on_failure": "on_failur",
    "on_child_event": "on_childevent on_chid_event",
    "format_status": "format_staus",
}
OWN_NAMES = (
    "on_step on_top on_own on_star on_stat on_edit on_exist on_event on_started on_stopped on_starts "
    "on_messages on_failures on_ on deposit processes"
)


def test_a_hook_that_is_misspelt_is_known() -> None:
    """By one slip, and by nothing that may be a name of its own."""
    known = sorted(HOOKS)
    found = {slip: slip_of(slip, known) for slips in SLIPS.values() for slip in slips.split()}
    assert found == {slip: hook for hook, slips in SLIPS.items() for slip in slips.split()}
    assert [name for name in (*OWN_NAMES.split(), *known) if slip_of(name, known)] == []


def test_a_misspelt_hook_is_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"no hook .*Slip\.on_mesage; did you mean 'on_message'") as caught:

        class Slip(Actor):
            def on_mesage(self, message: object) -> None: ...

    assert caught[0].filename == __file__
    with warnings.catch_warnings(action="error"):

        class Fine(Actor):
            def on_step(self) -> None: ...
            def on_start(self) -> None: ...
            def deposit(self) -> None: ...
