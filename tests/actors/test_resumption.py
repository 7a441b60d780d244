"""Actors that go on after a failure. Clause S15 of docs/semantics.md."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    KILL,
    Actor,
    BadCombination,
    Child,
    Crashed,
    DeadLetter,
    Deferred,
    Down,
    Exit,
    Guest,
    InvalidChild,
    Node,
    Pool,
    Process,
    ProcessDied,
    Reason,
    Ref,
    RemoteEntry,
    Resume,
    Supervisor,
    UnknownMethod,
    system,
)
from tests.conformance.actors.subjects import BOOM

pytest_plugins = ["enfilade.actors.testing.plugin"]


class Fault(LookupError):
    """The error that is resumed."""


class Counter(Actor):
    """A sync actor that counts, and fails on request."""

    on_failure = Resume(LookupError, limit=3, period=10)

    def __init__(self) -> None:
        self.count = 0
        self.ends: list[Reason] = []
        self.owed: Deferred[Any] | None = None

    def _fail(self, error: BaseException) -> None:
        self.count += 1
        raise error

    def add(self) -> int:
        self.count += 1
        return self.count

    def fail(self, error: BaseException) -> None:
        self._fail(error)

    def fail_after_defer(self, error: BaseException) -> Any:
        self.owed = self.process.defer()
        self._fail(error)

    def wait(self) -> Deferred[Any]:
        self.owed = self.process.defer()
        return self.owed

    def answer(self) -> None:
        assert self.owed is not None
        self.owed.reply("answer")

    def stop_and_fail(self, error: BaseException) -> None:
        self.process.stop(BOOM)
        self._fail(error)

    def fail_later(self, error: BaseException) -> None:
        self.process.continue_with(self._fail, error)

    def watch(self, ref: Ref[Any]) -> None:
        self.process.monitor(ref)

    def tick(self, error: BaseException) -> None:
        self.process.timers.start("key", 1, error)

    def on_message(self, message: Any) -> None:
        if isinstance(message, BaseException):
            self._fail(message)

    def on_down(self, down: Down) -> None:
        self._fail(Fault("down"))


class AsyncCounter(Counter):
    """The same with a task."""

    async def add(self) -> int:
        await trio.lowlevel.checkpoint()
        return super().add()

    async def fail(self, error: BaseException) -> None:
        await trio.lowlevel.checkpoint()
        self._fail(error)

    async def on_message(self, message: Any) -> None:
        await trio.lowlevel.checkpoint()
        super().on_message(message)


KINDS = pytest.mark.parametrize("kind", [Counter, AsyncCounter])
Way = Callable[[Node, Process, Ref[Any]], Any]


async def _call(node: Node, me: Process, ref: Ref[Any]) -> None:
    with pytest.raises(Fault) as raised:
        await ref.call(Counter.fail, Fault("call"))
    assert raised.value.args == ("call",)


async def _request(node: Node, me: Process, ref: Ref[Any]) -> None:
    await system.suspend(ref)
    request = me.request(ref, Counter.fail, Fault("request"))
    await system.resume(ref)
    with pytest.raises(Fault):
        await request.receive(1)


async def _deferred(node: Node, me: Process, ref: Ref[Any]) -> None:
    for ask in (ref.call, lambda *args: me.request(ref, *args).receive(1)):
        with pytest.raises(Fault):
            await ask(Counter.fail_after_defer, Fault("deferred"))  # type: ignore[operator]
    assert not ref._process.extras().deferred  # type: ignore[attr-defined]


async def _cast(node: Node, me: Process, ref: Ref[Any]) -> None:
    ref.cast(Counter.fail, Fault("cast"))
    letter = await me.receive(DeadLetter, 1)
    assert letter.message.method == "fail"
    assert isinstance(letter.reason, Crashed)
    assert isinstance(letter.reason.error, Fault)


async def _message(node: Node, me: Process, ref: Ref[Any]) -> None:
    error = Fault("message")
    ref.send(error)
    assert (await me.receive(DeadLetter, 1)).message is error


async def _tick(node: Node, me: Process, ref: Ref[Any]) -> None:
    await ref.call(Counter.tick, Fault("tick"))
    await trio.sleep(2)


async def _down(node: Node, me: Process, ref: Ref[Any]) -> None:
    other = await node.spawn(Actor)
    await ref.call(Counter.watch, other)
    other.exit(KILL)
    await trio.sleep(1)


async def _continuation(node: Node, me: Process, ref: Ref[Any]) -> None:
    await ref.call(Counter.fail_later, Fault("later"))
    await trio.sleep(1)


WAYS: list[Way] = [_call, _request, _deferred, _cast, _message, _tick, _down, _continuation]


@KINDS
@pytest.mark.parametrize("way", WAYS)
async def test_failure_that_is_resumed(
    autojump_clock: MockClock, node: Node, kind: type[Counter], way: Way
) -> None:
    """S15: the actor keeps its state and its process, the message is lost, and whoever waits is told."""
    async with node.mailbox() as me:
        node.dead_letters.subscribe(me.ref)
        ref = await node.spawn(kind)
        me.monitor(ref)
        await ref.call(kind.add)
        await way(node, me, ref)
        count = await ref.call(kind.add)
        assert count == (4 if way is _deferred else 3)
        ref.cast(kind.add)
        assert await ref.call(kind.add) == count + 2
        assert not [message for message in me.queue if isinstance(message, Down)]


@KINDS
async def test_limit(autojump_clock: MockClock, node: Node, kind: type[Counter]) -> None:
    """S15: one failure more than the limit ends the actor; after the period they no longer count."""
    ref = await node.spawn(kind)
    for _ in range(3):
        for _ in range(3):
            with pytest.raises(Fault):
                await ref.call(kind.fail, Fault())
        await trio.sleep(10.5)
    for _ in range(3):
        with pytest.raises(Fault):
            await ref.call(kind.fail, Fault())
    with pytest.raises(ProcessDied) as died:
        await ref.call(kind.fail, Fault("last"))
    assert isinstance(died.value.reason, Crashed)


class Own(BaseException):
    """No `Exception`."""


@KINDS
@pytest.mark.parametrize("error", [ValueError("other"), Exit(BOOM), Own()])
@pytest.mark.parametrize("way", ["call", "cast", "send"])
async def test_failure_that_ends_the_actor(
    autojump_clock: MockClock, node: Node, kind: type[Counter], error: BaseException, way: str
) -> None:
    """S15: any other error, and what is no error, ends the actor as ever."""
    async with node.mailbox() as me:
        ref = await node.spawn(kind)
        me.monitor(ref)
        if way == "call":
            with pytest.raises(ProcessDied):
                await ref.call(kind.fail, error)
        elif way == "cast":
            ref.cast(kind.fail, error)
        else:
            ref.send(error)
        reason = (await me.receive(Down, 1)).reason
        assert reason == (BOOM if isinstance(error, Exit) else Crashed(error))


@KINDS
async def test_deferred_replies_of_others(autojump_clock: MockClock, node: Node, kind: type[Counter]) -> None:
    """S15: a failure costs nobody but the sender of its message a reply."""
    async with node.mailbox() as me:
        ref = await node.spawn(kind)
        waiting = me.request(ref, kind.wait)
        ref.cast(kind.fail, Fault())
        await wait_all_tasks_blocked()
        ref.cast(kind.answer)
        assert await waiting.receive(1) == "answer"


@KINDS
async def test_stop_goes_before(autojump_clock: MockClock, node: Node, kind: type[Counter]) -> None:
    """S15: an actor that has decided to stop stops, with its own reason."""
    async with node.mailbox() as me:
        for ask in ("call", "cast"):
            ref = await node.spawn(kind)
            me.monitor(ref)
            if ask == "call":
                with pytest.raises(Fault):
                    await ref.call(kind.stop_and_fail, Fault())
            else:
                ref.cast(kind.stop_and_fail, Fault())
            assert (await me.receive(Down, 1)).reason == BOOM


@KINDS
async def test_what_the_caller_got_wrong(autojump_clock: MockClock, node: Node, kind: type[Counter]) -> None:
    """S15, C1, C13: unknown methods and bad arguments are no failures, and do not count."""

    class Strict(kind, strict=True):  # type: ignore[misc, valid-type, call-arg]
        on_failure = Resume(Exception, limit=1)

    class Other(Actor):
        def missing(self) -> None: ...

    ref: Ref[Any] = await node.spawn(Strict)
    for _ in range(3):
        with pytest.raises(TypeError):
            await ref.call(kind.add, 1, 2)
    with pytest.raises((UnknownMethod, ProcessDied)):
        await me_request(node, ref, Other.missing)
    await wait_all_tasks_blocked()
    assert ref._process.ended is not None  # type: ignore[attr-defined]


async def me_request(node: Node, ref: Ref[Any], method: Any) -> Any:
    from enfilade.actors.messages.request import Request

    request: Request[Any] = Request(node, ref, method.__name__, (), {}, None)
    ref.deliver(request)
    return await request.receive(1)


@KINDS
@pytest.mark.parametrize("restart", [False, True])
async def test_decision_of_a_child(
    autojump_clock: MockClock, node: Node, kind: type[Counter], restart: bool
) -> None:
    """S15: the decision of a child goes before that of its class, in each incarnation."""
    child = Child(kind, name="it", on_failure=Resume((ValueError, KeyError), limit=2))
    await node.spawn(Supervisor, [child], intensity=10)
    it = node.named("it")
    if restart:
        it.exit(KILL)
        await wait_all_tasks_blocked()
    first = node.whereis("it")
    for error in (ValueError(), KeyError()):
        with pytest.raises(type(error)):
            await it.call(kind.fail, error)
    assert node.whereis("it") == first
    with pytest.raises(ProcessDied):
        await it.call(kind.fail, ValueError())
    await wait_all_tasks_blocked()
    assert node.whereis("it") not in (None, first)
    with pytest.raises(ProcessDied):
        await it.call(kind.fail, Fault())


@pytest.mark.parametrize("covers", [True, False, Fault("the predicate fails"), 1, "x"])
async def test_predicate(autojump_clock: MockClock, node: Node, covers: Any) -> None:
    """S15: a predicate decides; if it fails, the actor ends with its own error."""
    seen: list[Exception] = []

    def decide(error: Exception) -> bool:
        seen.append(error)
        if isinstance(covers, Exception):
            raise covers
        return covers  # type: ignore[no-any-return]

    class Deciding(Counter):
        on_failure = Resume(decide)

    ref = await node.spawn(Deciding)
    error = Fault()
    is_covered = not isinstance(covers, Exception) and bool(covers)
    with pytest.raises(Fault if is_covered else ProcessDied):
        await ref.call(Deciding.fail, error)
    assert seen == [error]


@pytest.mark.parametrize(
    "fields",
    [
        {"errors": BaseException},
        {"errors": "ValueError"},
        {"errors": (ValueError, 3)},
        {"errors": int},
        {"limit": 0},
        {"limit": True},
        {"period": 0},
        {"period": float("inf")},
        {"period": "1"},
    ],
)
def test_bad_decisions(fields: dict[str, Any]) -> None:
    """S15: a decision that makes no sense is refused where it is made, by the name of its field."""
    (name,) = fields
    with pytest.raises((TypeError, ValueError), match=name):
        Resume(**fields)


def test_where_a_decision_may_stand() -> None:
    """S15: only the handlers of an actor that is no supervisor can be resumed."""

    async def function(me: Process) -> None: ...

    for target in (function, Supervisor, Guest, RemoteEntry("x", "y@z")):
        with pytest.raises((BadCombination, InvalidChild)):
            Child(target, id="x", on_failure=Resume())
    with pytest.raises(InvalidChild, match="on_failure"):
        Child(Counter, on_failure="resume")  # type: ignore[arg-type]
    Child(Pool, Counter, id="pool", on_failure=Resume())
    with pytest.raises(TypeError, match="on_failure"):
        type("Wrong", (Actor,), {"on_failure": Resume})


async def test_error_keeps_nothing(node: Node) -> None:
    """S15: the error that a caller keeps holds on to nothing of the actor's."""

    class Large:
        pass

    class Holder(Counter):
        def hold(self) -> None:
            large = Large()
            refs.append(weakref.ref(large))
            raise Fault

    refs: list[weakref.ref[Large]] = []
    ref = await node.spawn(Holder)
    kept: list[BaseException] = []
    try:
        await ref.call(Holder.hold)
    except Fault as error:
        kept.append(error)
    await ref.call(Holder.add)
    gc.collect()
    assert refs[0]() is None
    assert kept
