"""Errors that do their worst: the process that raises one ends, and nothing else notices.

Each test sweeps a table: the error, the kind of process, and where in its life it raises it.
"""

import contextlib
import dataclasses
import gc
import logging
import weakref
from collections.abc import Callable
from itertools import product
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    Actor,
    Child,
    Crashed,
    Deferred,
    Down,
    EventHandler,
    EventManager,
    Machine,
    Node,
    NodeConfig,
    Pool,
    Process,
    ProcessDied,
    Ref,
    SenderDropped,
    Shutdown,
    StartError,
    Supervisor,
    TaskSupervisor,
    Worker,
    async_nolink,
    open_node,
)
from enfilade.actors.patterns.machine import enter
from enfilade.transport import Policy
from tests.actors.isolation.hostile import Frozen, hostile, hostile_error, nested, raisers, told_plainly

pytest_plugins = ["enfilade.actors.testing.plugin"]

Error = Callable[[], BaseException]


@dataclasses.dataclass(frozen=True)
class NotFound(Exception):
    """A frozen dataclass refuses notes, traceback, cause and context."""

    key: Any


@attrs.frozen
class NotHere(Exception):
    """As does a frozen attrs class."""

    key: Any


class NoNotes(Exception):
    """Its notes are no list."""

    def __init__(self, notes: Any) -> None:
        super().__init__("no notes")
        self.__notes__ = notes


class NoAttributes(Exception):
    """Nothing can be read from it, or written."""

    def __getattribute__(self, name: str) -> Any:
        raise LookupError(name)

    __setattr__ = __getattribute__  # type: ignore[assignment]


def deep_group() -> BaseException:
    error: Exception = NotFound("k")
    for _ in range(1_000):
        error = ExceptionGroup("group", [error])
    return error


def long_chain() -> BaseException:
    error: BaseException = ValueError("first")
    for _ in range(2_000):
        last, error = error, ValueError("next")
        error.__cause__ = last
    return error


def circle() -> BaseException:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    return one


ERRORS: dict[str, Error] = {
    "a frozen dataclass": lambda: NotFound("k"),
    "frozen attrs": lambda: NotHere("k"),
    "frozen": lambda: Frozen("x"),
    "a hostile field": lambda: NotFound(hostile("__repr__", raisers["a base exception"])()),
    "no notes": lambda: NoNotes(None),
    "notes of a text": lambda: NoNotes("text"),
    "no attributes": NoAttributes,
    "no text": hostile_error,
    "recursive text": lambda: hostile("__str__", raisers["recursion"], Exception)(),
    "text of another type": lambda: hostile("__repr__", raisers["a number"], Exception)(),
    "a deep value": lambda: ValueError("bad document", nested(5_000)),
    "a huge value": lambda: ValueError(bytes(10_000_000)),
    "hostile notes": lambda: hostile("__notes__", property(raisers["an error"]), Exception)(),
    "hostile add_note": lambda: hostile("add_note", raisers["SystemExit"], Exception)(),
    "hostile traceback": lambda: hostile("__traceback__", property(raisers["an error"]), Exception)(),
    "hostile cause": lambda: hostile("__cause__", property(raisers["an error"]), Exception)(),
    "hostile class": lambda: hostile("__class__", raisers["an error"], Exception)(),
    "hostile comparison": lambda: hostile("__eq__", raisers["an error"], Exception)(),
    "hostile hash": lambda: hostile("__hash__", raisers["an error"], Exception)(),
    "a deep group": deep_group,
    "a long chain": long_chain,
    "a circle of causes": circle,
    "a base exception": lambda: hostile("__repr__", raisers["an error"], BaseException)(),
}

every_error = pytest.mark.parametrize("error", ERRORS.values(), ids=list(ERRORS))


class Innocent(Actor):
    def ping(self) -> str:
        return "pong"


class Sync(Actor):
    def fail(self, error: Error) -> None:
        raise error()

    def on_message(self, error: Error) -> None:
        raise error()


class Async(Sync):
    async def fail_later(self, error: Error) -> None:
        await trio.lowlevel.checkpoint()
        raise error()


class AsyncHook(Sync):
    async def on_stop(self, reason: Any) -> None:
        """So it has a task."""


class Last(Sync):
    """Raises another one in its last hook."""

    def on_stop(self, reason: Any) -> None:
        raise reason.error

    def format_status(self) -> Any:
        raise NotFound(self)


class Door(Machine):
    initial = "shut"

    def fail(self, error: Error) -> None:
        raise error()


async def function(me: Process) -> None:
    raise (await me.receive())()


async def function_in_nursery(me: Process) -> None:
    async def fail() -> None:
        raise (await me.receive())()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)


WAYS: dict[str, tuple[Any, Callable[[Ref[Any], Error], Any]]] = {
    "sync, cast": (Sync, lambda ref, error: ref.cast(Sync.fail, error)),
    "sync, message": (Sync, lambda ref, error: ref.send(error)),
    "sync, call": (Sync, lambda ref, error: ref.call(Sync.fail, error)),
    "sync, last hook": (Last, lambda ref, error: ref.call(Sync.fail, error)),
    "async, cast": (Async, lambda ref, error: ref.cast(Async.fail_later, error)),
    "async, message": (Async, lambda ref, error: ref.send(error)),
    "async, call": (Async, lambda ref, error: ref.call(Async.fail_later, error)),
    "async hook, call": (AsyncHook, lambda ref, error: ref.call(Sync.fail, error)),
    "machine, call": (Door, lambda ref, error: ref.call(Door.fail, error)),
    "function": (function, lambda ref, error: ref.send(error)),
    "function with a nursery": (function_in_nursery, lambda ref, error: ref.send(error)),
}


def is_fit_for_trio(error: BaseException) -> bool:
    try:
        repr(error), error.with_traceback(error.__traceback__)
    except BaseException:
        return False
    return True


async def all_is_well(node: Node, bystander: Ref[Innocent]) -> None:
    """A bystander answers, a timer fires, a new process starts."""
    assert await bystander.call(Innocent.ping) == "pong"
    await trio.sleep(1)
    assert await (await node.spawn(Innocent)).call(Innocent.ping) == "pong"


@every_error
@pytest.mark.parametrize("way", WAYS)
@told_plainly
async def test_only_the_process_that_raises_ends(
    autojump_clock: MockClock, node: Node, error: Error, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """L1, C2, S11: caller and monitor are told at once, once; the log has one record; others go on."""
    if way == "function with a nursery" and not is_fit_for_trio(error()):
        pytest.skip("trio itself takes the `repr` and the traceback of what a task in a nursery raises")
    target, act = WAYS[way]
    bystander = await node.spawn(Innocent)
    began = trio.current_time()
    async with node.mailbox() as me:
        ref = await node.spawn(target)
        me.monitor(ref)
        done = act(ref, error)
        if done is not None:
            with pytest.raises(ProcessDied):
                await done
        down = await me.receive(Down)
        assert trio.current_time() == began
        assert isinstance(down.reason, Crashed)
        str(down.reason), repr(down.reason), hash(down.reason)
        assert down.reason == down.reason
        await wait_all_tasks_blocked()
        assert len([record for record in caplog.records if "ended" in record.getMessage()]) == 1
        assert all(record.getMessage().isprintable() for record in caplog.records)
        assert len(caplog.text) < 100_000
        await all_is_well(node, bystander)
        assert not me.queue


@every_error
@told_plainly
async def test_starts_that_raise(autojump_clock: MockClock, node: Node, error: Error) -> None:
    """S3: the starter gets a `StartError`, at once, and a supervisor gives up by its rules."""

    class Init(Actor):
        def __init__(self) -> None:
            raise error()

    class AsyncInit(Actor):
        async def on_start(self) -> None:
            raise error()

    class House(Machine):
        initial = "open"

        @enter("open")
        def opened(self) -> None:
            raise error()

    bystander = await node.spawn(Innocent)
    for target in (Init, AsyncInit, House):
        for arguments in ((target,), (Supervisor, [Child(target, id="k")])):
            began = trio.current_time()
            with pytest.raises(StartError) as refused:
                await node.spawn(*arguments)
            assert str(refused.value)
            assert trio.current_time() == began
    await all_is_well(node, bystander)


@every_error
@told_plainly
async def test_event_handlers_jobs_tasks_and_children(
    autojump_clock: MockClock, node: Node, error: Error
) -> None:
    """What a process runs on behalf of others ends alone: handler, worker, task, child."""

    class Handler(EventHandler):
        def on_event(self, event: Any) -> None:
            raise error()

        def on_call(self, request: Any) -> Any:
            raise error()

        def on_remove(self, reason: Any) -> Any:
            raise error()

    class Breaks(Worker):
        def work(self, job: Any) -> Any:
            raise job()

    async def fail() -> None:
        raise error()

    bystander = await node.spawn(Innocent)
    manager = await node.spawn(EventManager)
    for act in (
        lambda: manager.call(EventManager.notify, "event"),
        lambda: manager.call(EventManager.call_handler, "key", "request"),
        lambda: manager.call(EventManager.delete_handler, "key"),
    ):
        await manager.call(EventManager.add_handler, "key", Handler)
        with contextlib.suppress(Exception):
            await act()
        assert await manager.call(EventManager.which_handlers) == []
    pool = await node.spawn(Pool, Breaks, size=1)
    for _ in range(2):
        with pytest.raises(ProcessDied):
            await pool.call(Pool.submit, error)
    tasks = await node.spawn(TaskSupervisor)
    outcome = await (await async_nolink(tasks, fail)).outcome()
    assert isinstance(outcome.reason, Crashed)
    supervisor = await node.spawn(Supervisor, [Child(Sync, id="k")], intensity=5)
    for _ in range(2):
        (child,) = await supervisor.call(Supervisor.children)
        child.ref.send(error)
        await trio.sleep(0.1)
    (child,) = await supervisor.call(Supervisor.children)
    assert isinstance(child.ref, Ref)
    await all_is_well(node, bystander)


@every_error
@told_plainly
async def test_blocks_raise_the_programs_own_error(autojump_clock: MockClock, error: Error) -> None:
    """An error that leaves the block of a node or mailbox is the one that was raised, with its traceback."""
    raised = error()

    async def leave(inner: bool, policy: Policy | None) -> None:
        async with open_node("test", policy=policy) as node:
            if not inner:
                raise raised
            async with node.mailbox():
                raise raised

    for inner, policy in product((False, True), (None, Policy.same_user())):
        with pytest.raises(BaseException) as seen:  # noqa: PT011 (any at all)
            await leave(inner, policy)
        assert seen.value is raised


class Cache:
    """State that can be watched."""


class Keeper(Actor):
    def __init__(self, seen: list[Any]) -> None:
        self.cache = Cache()
        seen.append(weakref.ref(self.cache))

    def fail(self, how: str) -> None:
        local = self.cache
        if how == "attribute":
            local.missing  # type: ignore[attr-defined] # noqa: B018
        try:
            raise ValueError("first")
        except ValueError as error:
            if how == "context":
                raise LookupError("second")  # noqa: B904
            if how == "cause":
                raise LookupError("second") from error
            if how == "group":
                raise ExceptionGroup("group", [error]) from None
            raise


class AsyncKeeper(Keeper):
    async def on_stop(self, reason: Any) -> None:
        """So it has a task."""


@pytest.mark.parametrize("how", ["plain", "attribute", "context", "cause", "group"])
@pytest.mark.parametrize("kind", [Keeper, AsyncKeeper])
@pytest.mark.parametrize("logged", [True, False])
async def test_a_reason_keeps_no_state(
    autojump_clock: MockClock, kind: Any, how: str, logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """S11: a ref, a `Down`, the caller's error hold no variable of the process that has ended."""
    caplog.set_level(logging.ERROR if logged else logging.CRITICAL, "enfilade")
    seen: list[Any] = []
    kept: list[Any] = []
    async with open_node("test") as node, node.mailbox() as me:
        supervisor = await node.spawn(Supervisor, [Child(kind, seen, id="k")])
        for act in ("call", "cast"):
            ref: Any = await node.spawn(kind, seen)
            me.monitor(ref)
            if act == "call":
                try:
                    await ref.call(Keeper.fail, how)
                except ProcessDied as error:
                    kept.append(error)
            else:
                ref.cast(Keeper.fail, how)
            kept += [ref, await me.receive(Down)]
        (child,) = await supervisor.call(Supervisor.children)
        child.ref.cast(Keeper.fail, how)
        kept.append(child)
        await wait_all_tasks_blocked()
        del ref, child
        gc.collect()
        assert [each() is None for each in seen] == [True, True, True, False]  # the last one was restarted
        reason = kept[2].reason
        files = []
        trace = reason.error.__traceback__
        while trace is not None:
            files.append(trace.tb_frame.f_code.co_name)
            trace = trace.tb_next
        assert files[-1] == "fail"


async def test_tracebacks_are_kept_on_request(autojump_clock: MockClock) -> None:
    """S11: `keep_tracebacks` is for debuggers."""
    seen: list[Any] = []
    async with open_node("test", config=NodeConfig(keep_tracebacks=True)) as node:
        ref = await node.spawn(Keeper, seen)
        with pytest.raises(ProcessDied) as died:
            await ref.call(Keeper.fail, "plain")
        trace = died.value.__cause__.__traceback__  # type: ignore[union-attr]
        while trace.tb_next is not None:  # type: ignore[union-attr]
            trace = trace.tb_next  # type: ignore[union-attr]
        assert trace.tb_frame.f_locals["how"] == "plain"  # type: ignore[union-attr]
        assert seen[0]() is not None


async def hands_over(me: Process) -> None:
    deferred = await me.receive(Deferred)
    await trio.sleep(1)
    raise ValueError(str(type(deferred)))


class HandsOver(Actor):
    def on_message(self, deferred: Any) -> None:
        self.kept = deferred
        raise ValueError("dies with it")


class AsyncHandsOver(HandsOver):
    async def on_stop(self, reason: Any) -> None:
        """So it has a task."""


class Server(Actor):
    def __init__(self, helper: Ref[Any]) -> None:
        self.helper = helper

    def ask(self) -> Any:
        deferred: Any = self.process.defer()
        self.helper.send(deferred)
        return deferred


@pytest.mark.parametrize("helper", [hands_over, HandsOver, AsyncHandsOver])
async def test_a_crash_drops_deferred_replies_at_once(
    autojump_clock: MockClock, node: Node, helper: Any
) -> None:
    """C8: the traceback of the crash keeps none alive, though the server holds the helper's ref."""
    server = await node.spawn(Server, await node.spawn(helper))
    began = trio.current_time()
    with pytest.raises(SenderDropped):
        await server.within(60).call(Server.ask)
    assert trio.current_time() - began <= 1


class Ambiguous:
    """Has no truth value when compared, as an array."""

    def __eq__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise ValueError("the truth value is ambiguous")

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("kind", [Sync, AsyncHook, function])
@pytest.mark.parametrize(
    "detail",
    [Ambiguous, *(lambda what=what: hostile("__eq__", what)() for what in raisers.values())],
    ids=["ambiguous", *raisers],
)
async def test_reasons_are_compared_by_kind(
    autojump_clock: MockClock, node: Node, kind: Any, detail: Any
) -> None:
    """L1: a reason may hold what cannot be compared, hashed or shown."""
    reason = Shutdown(detail())
    async with node.mailbox() as me:
        ref = await node.spawn(kind)
        me.monitor(ref)
        if kind is function:
            ref.exit(reason)
        else:
            await ref.stop(reason)
        ended = (await me.receive(Down)).reason
        assert ended == reason
        assert ended.detail is reason.detail
    assert reason == reason
    hash(reason)
