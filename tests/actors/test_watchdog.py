"""The watchdog: whoever holds the loop is named. Clause U13 of docs/semantics.md. In real time."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import re
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing

from enfilade.actors import (
    Actor,
    Child,
    ChildEvent,
    EventHandler,
    EventManager,
    Machine,
    Node,
    NodeConfig,
    Pool,
    Process,
    Resume,
    Supervisor,
    Worker,
    open_node,
    system,
)
from enfilade.actors.messages.hooks import Listener

HOLD = 0.3
LIMIT = 0.03
PATIENCE = 20.0
CONFIG = NodeConfig(watchdog=True, slow_handler=LIMIT)


class Naming(logging.Handler):
    """Sees that a function is named while it holds the loop, which it does until then."""

    present: Naming | None = None

    def __init__(self, function: str) -> None:
        super().__init__(logging.WARNING)
        self.function = function
        self.is_held = self.is_named = False

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if self.is_held and "has held" in text and names(self.function, text):
            self.is_named = True

    def holds(self, since: float) -> bool:
        """Tell whether to hold the loop still."""
        self.is_held = time.perf_counter() - since < (HOLD if self.is_named else PATIENCE)
        return self.is_held


def names(function: str, text: str) -> bool:
    return re.search(rf"\b{re.escape(function)},", text) is not None


def is_to_hold(since: float) -> bool:
    if Naming.present is not None:
        return Naming.present.holds(since)
    return time.perf_counter() - since < HOLD


def hold() -> None:
    """Hold the loop, far below."""
    began = time.perf_counter()
    while is_to_hold(began):
        time.sleep(LIMIT / 3)


def compute() -> None:
    began = time.perf_counter()
    while is_to_hold(began):
        pass


class Sync(Actor):
    def __init__(self, where: str = "") -> None:
        self.where = where
        if where == "init":
            hold()

    def on_start(self) -> None:
        if self.where == "start":
            hold()

    def nothing(self) -> None:
        pass

    def block(self) -> None:
        hold()

    def compute(self) -> None:
        compute()

    def borrow(self) -> None:
        """Run a loop of asyncio to its end, as who knows no better calls a library for it."""

        async def work() -> None:
            hold()

        asyncio.run(work())

    def in_the_interpreter(self) -> None:
        # After a call with keyword arguments CPython 3.14 lets no other thread look before the next function.
        list(map(str, range(3_000_000)))

    def on_message(self, message: Any) -> None:
        hold()

    def on_stop(self, reason: Any) -> None:
        if self.where == "stop":
            hold()


class Continuing(Sync):
    def begin(self) -> None:
        self.process.continue_with(self.block)


class Async(Sync):
    async def wait(self) -> None:
        await trio.lowlevel.checkpoint()
        hold()


class Door(Machine):
    initial = "closed"

    def block(self) -> None:
        hold()


async def function(me: Process) -> None:
    hold()


class Desk(Supervisor):
    def block(self) -> None:
        hold()


class Told(Supervisor):
    def on_child_event(self, event: ChildEvent) -> None:
        hold()


class Slow(Worker):
    def work(self, job: Any) -> None:
        hold()


class Handler(EventHandler):
    def on_event(self, event: Any) -> None:
        hold()

    def on_call(self, request: Any) -> None:
        hold()


def judged(error: Exception) -> bool:
    hold()
    return True


class Failing(Sync):
    on_failure = Resume(judged)

    def fail(self) -> None:
        raise LookupError


def matches(message: Any) -> bool:
    hold()
    return True


def replaced(state: Any) -> Any:
    hold()
    return state


async def waiting(me: Process) -> None:
    await me.receive(matches)


Program = Callable[[Node], Awaitable[Any]]


async def cast(node: Node, cls: Any) -> None:
    ref = await node.spawn(cls, name="it")
    ref.cast(cls.block)
    await trio.sleep(0.01)


async def call(node: Node, cls: Any, method: Any = None) -> None:
    await (await node.spawn(cls, name="it")).call(method or cls.block)


async def message(node: Node, cls: Any) -> None:
    (await node.spawn(cls, name="it")).send(1)
    await trio.sleep(0.01)


async def stop(node: Node, cls: Any) -> None:
    await (await node.spawn(cls, "stop", name="it")).stop()


async def timer(node: Node) -> None:
    ref = await node.spawn(Sync, name="it")
    node.send_after(0.01, ref, "message")
    await trio.sleep(0.03)


async def pool(node: Node) -> None:
    await (await node.spawn(Pool, Slow, size=1)).call(Pool.submit, "job")


async def event(node: Node, *, asked: bool = False) -> None:
    manager = await node.spawn(EventManager, name="it")
    await manager.call(EventManager.add_handler, "key", Handler)
    if asked:
        await manager.call(EventManager.call_handler, "key", "request")
    else:
        await manager.call(EventManager.notify, "event")


async def told(node: Node) -> None:
    await node.spawn(Told, [Child(Sync, "nothing")], name="it")


async def failure(node: Node) -> None:
    with suppress(LookupError):
        await (await node.spawn(Failing, name="it")).call(Failing.fail)


async def sent(node: Node) -> None:
    ref = await node.spawn(waiting)
    await trio.testing.wait_all_tasks_blocked()
    ref.send("message")


async def state(node: Node) -> None:
    await system.replace_state(await node.spawn(Sync, name="it"), replaced)


async def continuation(node: Node) -> None:
    await (await node.spawn(Continuing, name="it")).call(Continuing.begin)
    await trio.sleep(0.01)


async def child(node: Node) -> None:
    await node.spawn(Supervisor, [Child(Sync, "start", name="it")])


async def borrow(node: Node) -> None:
    ref = await node.spawn(Sync, name="it")
    await ref.call(Sync.borrow)


async def task(node: Node) -> None:
    hold()


SEEN: dict[str, tuple[Program, str, str]] = {
    "call": (lambda node: call(node, Sync), "it", "Sync.block"),
    "call of an async actor": (lambda node: call(node, Async), "it", "Sync.block"),
    "async handler": (lambda node: call(node, Async, Async.wait), "it", "Async.wait"),
    "computing": (lambda node: call(node, Sync, Sync.compute), "it", "Sync.compute"),
    "in C": (lambda node: call(node, Sync, Sync.in_the_interpreter), "it", "Sync.in_the_interpreter"),
    "cast": (lambda node: cast(node, Sync), "it", "Sync.block"),
    "cast to an async actor": (lambda node: cast(node, Async), "it", "Sync.block"),
    "machine": (lambda node: call(node, Door), "it", "Door.block"),
    "message": (lambda node: message(node, Sync), "it", "Sync.on_message"),
    "message to an async actor": (lambda node: message(node, Async), "it", "Sync.on_message"),
    "init": (lambda node: node.spawn(Sync, "init", name="it"), "it", "Sync.__init__"),
    "on_start": (lambda node: node.spawn(Sync, "start", name="it"), "it", "Sync.on_start"),
    "async on_start": (lambda node: node.spawn(Async, "start", name="it"), "it", "Sync.on_start"),
    "on_stop": (lambda node: stop(node, Sync), "it", "Sync.on_stop"),
    "async on_stop": (lambda node: stop(node, Async), "it", "Sync.on_stop"),
    "child": (child, "it", "Sync.on_start"),
    "timer": (timer, "it", "Sync.on_message"),
    "function": (lambda node: node.spawn(function, name="it"), "it", "function"),
    "supervisor": (lambda node: call(node, Desk), "it", "Desk.block"),
    "hook of a supervisor": (told, "it", "Told.on_child_event"),
    "worker": (pool, "Slow", "Slow.work"),
    "event": (event, "it", "Handler.on_event"),
    "call of a handler": (lambda node: event(node, asked=True), "it", "Handler.on_call"),
    "judge of a failure": (failure, "it", "judged"),
    "predicate": (sent, "the task", "matches"),
    "new state": (state, "it", "replaced"),
    "continuation": (continuation, "it", "Sync.block"),
    "task": (task, "the task", "main"),
    "loop of asyncio": (borrow, "it", "Sync.borrow"),
}


def watchdogs() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "enfilade watchdog"]


@pytest.mark.parametrize("kind", SEEN)
def test_whoever_holds_the_loop_is_named(
    kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """U13: the process, the function, the stack, while it lasts; and the time it took."""
    program, who, function = SEEN[kind]

    async def main() -> None:
        async with open_node("n", config=CONFIG) as node:
            await program(node)
            await trio.sleep(0.05)

    naming = Naming(function)
    if kind != "in C":  # where nobody else has a turn
        monkeypatch.setattr(Naming, "present", naming)
        logging.getLogger("enfilade").addHandler(naming)
    try:
        trio.run(main)
    finally:
        logging.getLogger("enfilade").removeHandler(naming)
    said = [record for record in caplog.records if "the loop for" in record.getMessage()]
    first, last = [record for record in said if names(function, record.getMessage())][:2]
    for record in (first, last):
        assert record.levelno == logging.WARNING
        assert who in record.getMessage()
    assert "has held" in first.getMessage()
    assert first.stack_info is not None
    assert ("what needs asyncio runs in" in first.stack_info) == (kind == "loop of asyncio")
    if kind != "in C":
        assert "hold()" in first.stack_info or "compute" in first.stack_info
        assert naming.is_named, "it was named only when it was over"
    seconds = float(last.getMessage().rpartition("for ")[2].removesuffix(" s"))
    assert seconds > HOLD / 2
    assert not watchdogs()


def test_who_holds_the_loop_is_named_while_messages_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    """U13: the function of the program, not what counts its calls."""

    async def main() -> None:
        async with open_node("n", config=CONFIG) as node, node.counting():
            await call(node, Sync)
            await trio.sleep(0.05)

    trio.run(main)
    first = next(record.getMessage() for record in caplog.records if "has held" in record.getMessage())
    assert "Sync.block," in first


async def quick(node: Node) -> None:
    """Much work, none of it long."""
    ref = await node.spawn(Sync)
    end = time.perf_counter() + 0.2
    while time.perf_counter() < end:
        for _ in range(20):
            await ref.call(Sync.nothing)
        await trio.sleep(0.0005)


def test_a_busy_loop_that_nobody_holds_is_none_of_its_business(caplog: pytest.LogCaptureFixture) -> None:
    """U13: many short steps are not one long one, and an idle loop is no held one."""

    async def main() -> None:
        async with open_node("n", config=NodeConfig(watchdog=1.0)) as node:
            await quick(node)
            await trio.sleep(0.1)

    trio.run(main)
    assert not [record for record in caplog.records if "the loop for" in record.getMessage()]


def test_without_one_there_is_no_thread_and_no_instrument() -> None:
    """U13: it is off by default; several nodes of a loop share one, which ends with the last."""
    seen: list[tuple[int, int]] = []

    def look() -> None:
        runner = trio.lowlevel.current_task()._runner  # type: ignore[attr-defined]
        seen.append((len(watchdogs()), len(runner.instruments["_all"])))

    async def main() -> None:
        async with open_node("plain"):
            look()
        async with open_node("a", config=CONFIG):
            async with open_node("b", config=CONFIG):
                look()
            look()
        look()

    trio.run(main)
    assert [threads for threads, _ in seen] == [0, 1, 1, 0]
    assert [instruments for _, instruments in seen] == [0, 1, 1, 0]


@pytest.mark.parametrize("limit", [math.inf, 1e300])
def test_a_limit_that_nobody_reaches_does_not_end_it(limit: float, caplog: pytest.LogCaptureFixture) -> None:
    """A thread can wait neither for ever nor that long: it looks now and then, also for other nodes."""

    async def main() -> None:
        async with open_node("lenient", config=NodeConfig(watchdog=limit)):
            await trio.sleep(0.05)
            assert len(watchdogs()) == 1
            async with open_node("strict", config=CONFIG) as strict:
                ref = await strict.spawn(Sync)
                await ref.call(Sync.block)
                await ref.call(Sync.nothing)
            assert len(watchdogs()) == 1

    with caplog.at_level(logging.WARNING, logger="enfilade"):
        trio.run(main)
    assert "Sync.block" in caplog.text or "in hold" in caplog.text
    assert not watchdogs()


def test_nothing_is_looked_at_when_logging_is_off(caplog: pytest.LogCaptureFixture) -> None:
    """U13: no stack is taken."""
    caplog.set_level(logging.ERROR, "enfilade.actors")

    async def main() -> None:
        async with open_node("n", config=CONFIG) as node:
            await call(node, Sync)

    trio.run(main)
    assert not caplog.records


def test_it_keeps_nothing_alive() -> None:
    """U13: neither what the handler held, nor the node."""

    class Held:
        pass

    held: list[weakref.ref[Any]] = []

    class Holding(Actor):
        def block(self) -> None:
            value = Held()
            held.append(weakref.ref(value))
            hold()

    async def main() -> None:
        async with open_node("n", config=CONFIG) as node:
            held.append(weakref.ref(node))
            await call(node, Holding)
            assert held[1]() is None

    trio.run(main)
    gc.collect()
    assert held[0]() is None


async def test_an_event_tells_who_has_held_the_loop_when_it_goes_on() -> None:
    """U13: `loop.held`, which the timeline keeps; listeners hear of it while it lasts."""
    held: list[str] = []

    class Ear(Listener):
        def loop_caught(self, words: str) -> None:
            held.append(words)

    async with open_node("n", config=CONFIG) as node, node.events("loop.held") as events:
        node.hooks.add(Ear())
        ref = await node.spawn(Sync, name="it")
        ref.cast(Sync.block)
        with trio.fail_after(60):
            event = await anext(events)
        assert event in node.timeline
    assert event.ref == ref
    assert re.fullmatch(r"Sync\.block \(test_watchdog\.py:\d+\)", event.place)
    assert event.seconds >= LIMIT
    assert held[0].startswith(f"{ref!r}, in Sync.block, has held the loop for")


FORKS = """
import os, threading, trio
from enfilade.actors import NodeConfig, open_node

async def main():
    async with open_node("n", config=NodeConfig(watchdog=60)):
        child = os.fork()
        if child == 0:
            os._exit(threading.active_count())
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
        assert threading.active_count() == 2
    assert threading.active_count() == 1

trio.run(main)
"""


def test_a_forked_child_does_without() -> None:
    """U13: it has no such thread, and its parent keeps the one it has."""
    program = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", FORKS]
    result = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("value", [-1, -0.5, float("nan")])
def test_a_bad_time_is_refused(value: float) -> None:
    """U13: True, False, or a number of seconds."""
    with pytest.raises(ValueError, match="watchdog"):
        NodeConfig(watchdog=value)
