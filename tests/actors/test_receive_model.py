"""Selective receive against a naive reference, with all that can happen to a mailbox meanwhile."""

from __future__ import annotations

import numbers
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from operator import eq
from typing import Any, SupportsIndex
from unittest.mock import Mock

import hypothesis
import hypothesis.strategies as st
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import Actor, IdleTimeout, Lagged, Like, Mailbox, Process, ReceiveTimeout, open_node
from enfilade.actors.core import choice
from enfilade.actors.processes import mailbox_search, reader


class Unruly(type):
    """A metaclass whose classes cannot be looked up."""

    def __eq__(cls, other: object) -> bool:
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]


class Strange(metaclass=Unruly):
    """A message whose class cannot be looked up."""


class Liar:
    """A message that says that it is of another class."""

    def __init__(self, claimed: type) -> None:
        self.claimed = claimed

    @property
    def __class__(self) -> type:  # type: ignore[override]
        return self.claimed


class Text(str):
    """A message of a subclass."""

    __slots__ = ()


class Calendar:
    """What a weak proxy stands for."""


STRANGE, LIAR, CALENDAR = Strange(), Liar(int), Calendar()
MESSAGES = st.one_of(
    st.integers(0, 5),
    st.booleans(),
    st.sampled_from(["a", Text("b"), ("pair", 1), ("pair", 2), 1.5, None, LIAR, STRANGE]),
)


def even(message: Any) -> bool:
    return type(message) is int and message % 2 == 0


MATCHES: list[Any] = [
    None,
    int,
    bool,
    str,
    Text,
    tuple,
    Strange,
    (str, float),
    (bool, (str,)),
    (),
    numbers.Number,
    SupportsIndex,
    even,
    partial(eq, ("pair", 2)),
    Like(("pair", int)),
    Like("b"),
    Like(complex, real=1),
    Like(int, real=1),
    lambda message: message is None,
]

POLICIES = st.one_of(
    st.just(Mailbox()),
    st.builds(Mailbox, st.integers(2, 9), st.sampled_from(["drop_oldest", "lag", "drop_newest"])),
)

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.lists(MESSAGES, min_size=1, max_size=30)),
        st.tuples(st.just("receive"), st.sampled_from(MATCHES)),
        st.tuples(st.just("drain"), st.sampled_from(MATCHES)),
        st.tuples(st.just("wait"), st.sampled_from(MATCHES), st.lists(MESSAGES, max_size=8)),
        st.tuples(st.just("timer"), st.integers(0, 2), MESSAGES),
        st.tuples(st.just("cancel"), st.integers(0, 2)),
        st.tuples(st.just("stash"), st.just(None)),
        st.tuples(st.just("unstash"), st.just(None)),
    ),
    max_size=40,
)


def accepts(match: Any, message: Any) -> bool:
    if match is None:
        return True
    if not isinstance(match, type | tuple):
        return bool(match(message))
    try:
        return isinstance(message, match)
    except TypeError:  # an abstract class that looks up a class that cannot be
        return False


class Model:
    """The reference: a list, which is searched from the front for each receive."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox
        self.messages: list[tuple[Any, int | None]] = []  # each with the key of its timer
        self.stashed: list[Any] = []

    def send(self, message: Any) -> None:
        capacity = self.mailbox.capacity
        if capacity is not None and len(self.messages) >= capacity:
            if self.mailbox.overflow == "drop_newest":
                return
            oldest = self.messages.pop(0)[0]
            if self.mailbox.overflow == "lag":
                self.messages.pop(0)
                missed = oldest.missed if type(oldest) is Lagged else 1
                self.messages.insert(0, (Lagged(missed + 1), None))
        self.messages.append((message, None))

    def timer(self, key: int, message: Any) -> None:
        self.cancel(key)
        self.messages.append((message, key))

    def cancel(self, key: int) -> None:
        self.messages = [entry for entry in self.messages if entry[1] != key]

    def receive(self, match: Any) -> list[Any]:
        for position, (message, _) in enumerate(self.messages):
            if accepts(match, message):
                del self.messages[position]
                return [message]
        return []

    def unstash(self) -> None:
        self.messages[:0] = [(message, None) for message in self.stashed]
        self.stashed = []


async def received(me: Process, match: Any) -> list[Any]:
    with suppress(ReceiveTimeout):
        return [await me.receive(match, timeout=0)]
    return []


async def play(mailbox: Mailbox, steps: list[tuple[Any, ...]]) -> None:
    model = Model(mailbox)
    async with open_node("test") as node, node.mailbox(mailbox) as me:
        for step, *arguments in steps:
            unbounded = mailbox.capacity is None
            if step == "send":
                for message in arguments[0]:
                    me.ref.send(message)
                    model.send(message)
            elif step == "receive":
                assert await received(me, arguments[0]) == model.receive(arguments[0])
            elif step == "drain":
                while expected := model.receive(arguments[0]):
                    assert await received(me, arguments[0]) == expected
                assert await received(me, arguments[0]) == []
            elif step == "wait" and unbounded:
                await _wait(me, model, *arguments)
            elif step == "timer" and unbounded:
                me.timers.start(arguments[0], 0, arguments[1])
                model.timer(*arguments)
                await wait_all_tasks_blocked()
            elif step == "cancel":
                me.timers.cancel(arguments[0])
                model.cancel(arguments[0])
            elif step == "stash":
                for message in model.receive(None):
                    assert await received(me, None) == [message]
                    me.stash(message)
                    model.stashed.append(message)
            elif step == "unstash" and unbounded:
                me.unstash()
                model.unstash()
        while expected := model.receive(None):
            assert await received(me, None) == expected
        assert await received(me, None) == []


async def _wait(me: Process, model: Model, match: Any, coming: list[Any]) -> None:
    """Wait while these messages come, one by one."""

    async def send() -> None:
        for message in coming:
            me.ref.send(message)
            await trio.lowlevel.checkpoint()

    taken: list[Any] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        with suppress(ReceiveTimeout):
            taken.append(await me.receive(match, timeout=1))
    for message in coming:
        model.send(message)
    assert taken == model.receive(match)


@contextmanager
def small_parts() -> Iterator[None]:
    """Have the ways for long mailboxes taken by short ones."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(mailbox_search, "FIRST_PART", 1)
        patched.setattr(mailbox_search, "PART", 8)
        patched.setattr(reader, "DEEP", 1)
        yield


@contextmanager
def on_core(core: str) -> Iterator[None]:
    """Use this core, if it can be used here."""
    before = choice.in_use()
    choice.choose(is_compiled=core == "compiled" and choice.IS_AVAILABLE)
    yield
    choice.choose(is_compiled=before == "compiled")


@pytest.mark.parametrize(
    ("parts", "core"), [("usual", "compiled"), ("small", "compiled"), ("small", "python")]
)
@hypothesis.given(mailbox=POLICIES, steps=STEPS)
@hypothesis.settings(max_examples=150)
def test_receives_as_a_list_that_is_searched_from_the_front(
    parts: str, core: str, mailbox: Mailbox, steps: list[tuple[Any, ...]]
) -> None:
    """M1, M4, M7, M12, T3: the oldest message that matches comes, whatever was waited for before."""
    with small_parts() if parts == "small" else nullcontext(), on_core(core):
        trio.run(play, mailbox, steps, clock=MockClock(autojump_threshold=0))


class Plain:
    """A message that is of no type that anybody asks for."""


PLAIN = Plain()
ODD = {
    "liar": (Liar(str), LIAR),
    "mock": (Mock(spec="no"), Mock(spec=3)),
    "proxy": (weakref.proxy(PLAIN), weakref.proxy(CALENDAR)),
    "strange": (PLAIN, STRANGE),
    "bool": (None, True),
}


@pytest.mark.parametrize("behind", [0, 5000])
@pytest.mark.parametrize("name", ODD)
async def test_finds_what_only_calls_itself_of_a_type_in_a_long_mailbox(name: str, behind: int) -> None:
    """M4: a message is of a type if `isinstance` says so, however many wait."""
    decoy, odd = ODD[name]
    async with open_node("test") as node, node.mailbox() as me:
        for _ in range(1000):
            me.ref.send(Plain())
        for message in (decoy, odd, decoy):
            me.ref.send(message)
        for _ in range(behind):
            me.ref.send(Plain())
        assert await me.receive((Strange, int, Calendar), timeout=0) is odd
        assert await received(me, (Strange, int, Calendar)) == []


async def test_drops_the_oldest_of_all_though_it_was_put_aside() -> None:
    """M4, M7: also what lies before a message that was taken out of the midst of a long mailbox."""
    async with open_node("test") as node, node.mailbox(Mailbox(6000, "drop_oldest")) as me:
        for number in range(6000):
            me.ref.send(number if number != 3000 else "wanted")
        assert await me.receive(str) == "wanted"
        for number in range(6000, 6003):
            me.ref.send(number)
        assert node.statistics().dropped == 2
        assert await received(me, str) == []
        left = [await me.receive(timeout=0) for _ in range(6000)]
        assert left == [number for number in range(2, 6003) if number != 3000]


async def test_goes_on_at_the_message_whose_test_failed() -> None:
    """M4: a predicate that raises raises in the receiver, and no message is lost or looked at twice."""
    looked_at: list[int] = []

    def picky(message: int) -> bool:
        looked_at.append(message)
        if message == 3 and looked_at.count(3) == 1:
            raise LookupError(message)
        return message == 5

    async with open_node("test") as node, node.mailbox() as me:
        for number in range(6):
            me.ref.send(number)
        with pytest.raises(LookupError):
            await me.receive(picky)
        assert await me.receive(picky) == 5
        assert looked_at == [0, 1, 2, 3, 3, 4, 5]
        assert [await me.receive(timeout=0) for _ in range(5)] == [0, 1, 2, 3, 4]


async def test_keeps_errors_of_predicates_as_they_are() -> None:
    """M4: the error comes out with its cause."""

    def broken(message: Any) -> bool:
        raise LookupError from ValueError("why")

    async with open_node("test") as node, node.mailbox() as me:
        for match in (broken, partial(broken)):
            me.ref.send(1)
            with pytest.raises(LookupError) as caught:
                await me.receive(match)
            assert isinstance(caught.value.__cause__, ValueError)
            assert await me.receive() == 1


@pytest.mark.parametrize("wrap", [lambda fn: fn, partial], ids=["function", "callable"])
async def test_survives_predicates_that_send(wrap: Callable[[Any], Any]) -> None:
    """M4, M7: what a predicate drops by sending is dropped, and nothing else is lost."""
    async with open_node("test") as node, node.mailbox(Mailbox(4, "drop_oldest")) as me:
        sent: list[int] = []

        def sends(message: int) -> bool:
            if message == 2 and not sent:
                sent.append(9)
                me.ref.send(9)
            return message == 3

        for number in range(4):
            me.ref.send(number)
        assert await me.receive(wrap(sends)) == 3
        assert [await me.receive(timeout=0) for _ in range(3)] == [1, 2, 9]


async def test_looks_at_new_messages_only() -> None:
    """M4: waiting again with the same match costs one test per new message, however many wait."""
    tests: list[int] = []

    def wanted(message: int) -> bool:
        tests.append(message)
        return message < 0

    async with open_node("test") as node, node.mailbox() as me:
        for number in range(5000):
            me.ref.send(number)
        assert await received(me, wanted) == []
        assert len(tests) == 5000
        for number in range(10):
            tests.clear()
            me.ref.send(5000 + number)
            me.ref.send(-1)
            assert await me.receive(wanted) == -1
            assert tests == [5000 + number, -1]


async def test_wakes_for_the_news_that_it_lags(autojump_clock: MockClock) -> None:
    """M7: a process that waits for `Lagged` alone hears of it."""
    async with (
        open_node("test") as node,
        node.mailbox(Mailbox(3, "lag")) as me,
        trio.open_nursery() as nursery,
    ):
        for number in range(3):
            me.ref.send(number)
        nursery.start_soon(_send_soon, me, 3)
        assert await me.receive(Lagged, timeout=1) == Lagged(2)
        assert [await me.receive(timeout=0) for _ in range(2)] == [2, 3]


async def _send_soon(me: Process, message: Any) -> None:
    await wait_all_tasks_blocked()
    me.ref.send(message)


class Patient(Actor):
    """Receives in a handler, out of order."""

    def __init__(self) -> None:
        self.log: list[Any] = []

    async def on_message(self, message: Any) -> None:
        self.log.append(message)
        if message == "wait":
            self.log.append(await self.process.receive(float))

    def said(self) -> list[Any]:
        return self.log


async def test_an_actor_that_receives_in_a_handler_handles_the_rest_in_order() -> None:
    """M4: what the handler has skipped is handled next, from the oldest on."""
    async with open_node("test") as node:
        ref = await node.spawn(Patient)
        for message in ("wait", 1, 2, 0.5, 3, "wait", 4, 1.5, 5):
            ref.send(message)
        assert await ref.call(Patient.said) == ["wait", 0.5, 1, 2, 3, "wait", 1.5, 4, 5]


async def test_an_idle_timeout_does_not_mind_what_was_skipped(autojump_clock: MockClock) -> None:
    """S7: messages that a receive has left do not count as news."""
    async with open_node("test") as node, node.mailbox() as me:
        me.ref.send("left")
        assert await received(me, int) == []
        me.timeout_after(1)
        assert await me.receive((int, IdleTimeout), timeout=5) == IdleTimeout(1)
        assert await me.receive(timeout=0) == "left"
