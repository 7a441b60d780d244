"""A ref, a coroutine or None in the place of what was meant: the error that shows it says what to write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import trio

from enfilade.actors import Actor, Down, Node, Process, ProcessDied, Ref, open_node
from enfilade.actors.messages.misuse import OF_PROCESSES, OTHER_WORDS, STARTERS

pytest_plugins = ["enfilade.actors.testing.plugin"]


class Counter(Actor):
    def __init__(self, start: int = 0) -> None:
        self.value = start

    def add(self, n: int) -> int:
        self.value += n
        return self.value


class Late(Actor):
    async def sleep(self) -> None:
        await asyncio.sleep(1)


MEANT = "the last was 'order-countr'; did you mean 'order_counter'?"
INSTEAD = "write `await ref.call(Class.add, ...)`"


async def test_a_ref_as_an_object_is_explained_where_the_process_crashes(node: Node) -> None:
    async def misuses(me: Process) -> None:
        counter: Any = await node.spawn(Counter)
        counter.add(1)

    async with node.mailbox() as me:
        monitor = me.monitor(await node.spawn(misuses))
        down = await me.receive(lambda message: isinstance(message, Down) and message.monitor is monitor)
    assert INSTEAD in down.reason.error.__notes__[0]


@pytest.mark.parametrize(
    "misuse",
    [lambda ref: ref(1), lambda ref: ref["add"], list],
    ids=["called", "indexed", "iterated"],
)
async def test_a_ref_as_another_kind_of_object_is_explained(misuse: Callable[[Any], Any]) -> None:
    async def misuses() -> None:
        async with open_node("n") as node:
            misuse(await node.spawn(Counter))

    with pytest.raises(TypeError) as raised:
        await misuses()
    assert "write `await ref.call(Class.method, ...)`" in raised.value.__notes__[0]


async def test_an_awaited_ref_is_explained() -> None:
    async def misuses() -> None:
        async with open_node("n") as node:
            counter: Any = await node.spawn(Counter)
            await counter

    with pytest.raises(TypeError) as raised:
        await misuses()
    assert "write `await ref.call(Class.method, ...)`" in raised.value.__notes__[0]


@pytest.mark.parametrize(
    "misuse",
    [lambda made: made + 1, lambda made: made["key"], list, lambda made: made > 1],
    ids=["added", "indexed", "iterated", "compared"],
)
async def test_a_coroutine_in_the_place_of_a_result_is_explained(misuse: Callable[[Any], Any]) -> None:
    async def misuses() -> None:
        async with open_node("n") as node:
            counter = await node.spawn(Counter)
            asked = counter.call(Counter.add, 1)
            try:
                misuse(asked)
            finally:
                asked.close()

    with pytest.raises(TypeError) as raised:
        await misuses()
    assert "write `await` before the call that made it" in raised.value.__notes__[0]


async def test_an_awaited_cast_is_explained(node: Node) -> None:
    async def misuses(me: Process) -> None:
        counter: Any = await node.spawn(Counter)
        await counter.cast(Counter.add, 1)

    async with node.mailbox() as me:
        monitor = me.monitor(await node.spawn(misuses))
        down = await me.receive(lambda message: isinstance(message, Down) and message.monitor is monitor)
    assert "leave `await` out" in down.reason.error.__notes__[0]


async def test_a_ref_as_an_object_is_explained_where_the_node_ends() -> None:
    async def misuses(counter: Any) -> None:
        counter.add(1)

    async def directly() -> None:
        async with open_node("n") as node:
            await misuses(await node.spawn(Counter))

    async def in_a_group() -> None:
        async with open_node("n") as node, trio.open_nursery() as nursery:
            nursery.start_soon(misuses, await node.spawn(Counter))

    with pytest.raises(AttributeError, match="no attribute 'add'") as raised:
        await directly()
    assert INSTEAD in raised.value.__notes__[0]
    with pytest.raises(ExceptionGroup) as grouped:
        await in_a_group()
    assert INSTEAD in grouped.value.exceptions[0].__notes__[0]


async def test_a_forgotten_await_is_explained() -> None:
    async def forgets() -> None:
        async with open_node("n") as node:
            counter: Any = node.spawn(Counter)
            try:
                await counter.call(Counter.add, 1)
            finally:
                counter.close()

    with pytest.raises(AttributeError, match="no attribute 'call'") as raised:
        await forgets()
    assert "write `await` before the call" in raised.value.__notes__[0]


async def test_what_needs_the_loop_of_asyncio_is_explained(node: Node) -> None:
    late: Any = await node.spawn(Late)
    with pytest.raises(ProcessDied) as raised:
        await late.call(Late.sleep)
    assert "trio.sleep" in raised.value.reason.error.__notes__[0]


async def calls_a_misspelt_name(node: Node) -> None:
    found: Any = node.whereis("order-countr")
    await found.call(Counter.add, 1)


async def test_none_in_the_place_of_a_ref_is_explained_where_the_process_crashes(node: Node) -> None:
    """`whereis` answers None for a misspelt name: whoever calls that is told which name was meant."""

    async def misuses(me: Process) -> None:
        await calls_a_misspelt_name(me.node)

    await node.spawn(Counter, name="order_counter")
    async with node.mailbox() as me:
        monitor = me.monitor(await node.spawn(misuses))
        down = await me.receive(lambda message: isinstance(message, Down) and message.monitor is monitor)
    assert MEANT in down.reason.error.__notes__[0]


async def test_none_in_the_place_of_a_ref_is_explained_where_the_node_ends() -> None:
    async def misuses() -> None:
        async with open_node("n") as node:
            await node.spawn(Counter, name="order_counter")
            await calls_a_misspelt_name(node)

    with pytest.raises(AttributeError, match="no attribute 'call'") as raised:
        await misuses()
    assert MEANT in raised.value.__notes__[0]


async def test_a_none_of_the_program_is_no_misuse(node: Node) -> None:
    async def fails(me: Process) -> None:
        nothing: Any = me.node.whereis("nobody")
        nothing.surname()

    async with node.mailbox() as me:
        monitor = me.monitor(await node.spawn(fails))
        down = await me.receive(lambda message: isinstance(message, Down) and message.monitor is monitor)
    assert not any("whereis" in note for note in down.reason.error.__notes__)


async def note_in_main(misuse: Callable[[Any], Any]) -> str:
    """The note at the error that a program gets which misuses the ref of a counter."""
    with pytest.raises(Exception) as raised:  # noqa: PT011 (its note is what is looked at)
        async with open_node("n") as node:
            misuse(await node.spawn(Counter))
    return str(raised.value.__notes__[0])


@pytest.mark.parametrize(("name", "meant"), [("caal", "call"), ("witin", "within")])
async def test_a_misspelt_method_of_refs_is_explained(name: str, meant: str) -> None:
    assert await note_in_main(lambda ref: getattr(ref, name)) == f"did you mean `{meant}`?"


async def test_an_attribute_of_an_actor_that_is_set_is_explained() -> None:
    note = await note_in_main(lambda ref: setattr(ref, "value", 5))
    assert note == "a ref is a handle for a process, not the object; have one of its methods set `value`"


async def note_of_crash(node: Node, kind: type[Actor], method: Any, *arguments: Any) -> str:
    """The first note at the error that a method of an actor raises."""
    actor: Any = await node.spawn(kind)
    with pytest.raises(ProcessDied) as died:
        await actor.call(method, *arguments)
    return str(died.value.reason.error.__notes__[0])


class Unset(Counter):
    def __init__(self) -> None:
        self.other = 1


class Opened(Actor):
    def on_start(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        self.lines.append(line)


class Unopened(Opened):
    def on_start(self) -> None:
        self.others: list[str] = []


class Below(Unopened):
    def on_start(self) -> None:
        super().on_start()


class AsyncUnopened(Opened):
    async def on_start(self) -> None:
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize(
    ("kind", "method", "note"),
    [
        (Unset, Counter.add, "Counter.__init__ sets it, and has not run: Unset.__init__ must call"),
        (Unopened, Opened.write, "Opened.on_start sets it, and has not run: Unopened.on_start must call"),
        (Below, Opened.write, "Opened.on_start sets it, and has not run: Unopened.on_start must call"),
        (
            AsyncUnopened,
            Opened.write,
            "has not run: AsyncUnopened.on_start must call `super().on_start(...)`",
        ),
    ],
)
async def test_a_hook_without_super_is_explained(node: Node, kind: Any, method: Any, note: str) -> None:
    assert note in await note_of_crash(node, kind, method, 1)


async def test_an_attribute_that_nothing_sets_is_not_explained(node: Node) -> None:
    class Plain(Counter):
        def __init__(self) -> None:
            super().__init__()

        def show(self) -> Any:
            return self.valeu  # type: ignore[attr-defined]

    assert "was handling" in await note_of_crash(node, Plain, Plain.show)


class Nested(Actor):
    def run(self) -> None:
        trio.run(trio.sleep, 0)

    async def enter(self) -> None:
        trio.from_thread.run(trio.sleep, 0)


@pytest.mark.parametrize(
    ("method", "note"), [(Nested.run, "trio runs already"), (Nested.enter, "a handler runs in trio's own")]
)
async def test_trio_within_trio_is_explained(node: Node, method: Any, note: str) -> None:
    assert note in await note_of_crash(node, Nested, method)


class Newcomer(Actor):
    """Does what actors of other libraries do."""

    def tell_own_ref(self) -> Any:
        return self.ref  # type: ignore[attr-defined]

    def watch(self, ref: Any) -> None:
        self.monitor(ref)  # type: ignore[attr-defined]

    async def yield_to_asyncio(self) -> None:
        await asyncio.sleep(0)

    def wait_in_asyncio(self) -> None:
        raise RuntimeError("There is no current event loop in thread 'MainThread'.")  # before Python 3.12


@pytest.mark.parametrize(
    ("method", "note"),
    [
        (Newcomer.tell_own_ref, "processes have `ref`: an actor's own is `self.process`"),
        (Newcomer.watch, "processes have `monitor`: an actor's own is `self.process`"),
        (Newcomer.wait_in_asyncio, "what needs asyncio runs in"),
    ],
)
async def test_what_an_actor_has_elsewhere_is_explained(node: Node, method: Any, note: str) -> None:
    arguments = [node.ref] if method is Newcomer.watch else []
    assert note in await note_of_crash(node, Newcomer, method, *arguments)


async def test_a_turn_of_the_loop_of_asyncio_is_explained(node: Node) -> None:
    newcomer: Any = await node.spawn(Newcomer)
    with pytest.raises(ProcessDied, match=r"write `await trio.sleep\(0\)`"):
        await newcomer.call(Newcomer.yield_to_asyncio)


@pytest.mark.parametrize(
    ("misuse", "note"),
    [
        (lambda ref: ref.tell("x"), "write `ref.send(message)`"),
        (lambda ref: ref.ask("x"), "write `ref.send(message)`"),
        (lambda ref: ref.proxy().add(1), "there are no proxies"),
        (lambda ref: ref.monitor(), "in an actor `self.process.monitor(ref)`"),
        (lambda ref: ref.send(Counter.add, 1), "write `ref.cast(Class.method, ...)`"),
        (lambda _: Counter.start(0), "`await node.spawn(Class, ...)`"),  # type: ignore[attr-defined]
    ],
    ids=["tell", "ask", "proxy", "monitor", "send with a method", "start"],
)
async def test_the_words_of_other_libraries_are_explained(misuse: Callable[[Any], Any], note: str) -> None:
    assert note in await note_in_main(misuse)


async def test_what_processes_have_and_a_node_has_not_is_explained() -> None:
    async def misuses() -> None:
        async with open_node("n") as node:
            node.link(await node.spawn(Counter))  # type: ignore[attr-defined]

    with pytest.raises(AttributeError) as raised:
        await misuses()
    assert "processes have `link`" in raised.value.__notes__[0]


def test_the_words_that_are_explained_are_what_they_are_said_to_be() -> None:
    """Processes have the names that are said to be theirs, and refs have none of the words of others."""
    assert not [name for name in OF_PROCESSES if not hasattr(Process, name)]
    assert not OTHER_WORDS.keys() & {name for name in vars(Ref) if not name.startswith("_")}
    assert not [name for name in STARTERS if hasattr(Actor, name)]
