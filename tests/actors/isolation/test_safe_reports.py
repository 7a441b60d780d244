"""Reports to the log: they cost little, say one thing in one line, and survive whatever handlers do."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from enfilade.actors import (
    Actor,
    Custom,
    Down,
    EventHandler,
    EventManager,
    Node,
    NodeConfig,
    Process,
    Shutdown,
    open_node,
)
from tests.actors.isolation.hostile import hostile, nested, raisers

FORGED = "x\nERROR:root:forged\x1b[31m\r\u2028forged"


class Victim(Actor):
    """Does what it is told."""

    def fail(self, value: Any) -> None:
        raise ValueError(value)

    def keep(self, value: Any) -> None:
        """Take one value, as a cast may not know."""


class Named(EventHandler):
    def on_event(self, event: Any) -> None:
        raise ValueError(event)


async def fails(me: Process) -> None:
    raise ValueError(await me.receive())


async def act_crash(node: Node, value: Any) -> None:
    (await node.spawn(Victim)).cast(Victim.fail, value)


async def act_function(node: Node, value: Any) -> None:
    (await node.spawn(fails)).send(value)


async def act_refused(node: Node, value: Any) -> None:
    (await node.spawn(Victim)).cast(Victim.keep, value, "one too many")  # type: ignore[call-arg]


async def act_unhandled(node: Node, value: Any) -> None:
    (await node.spawn(Victim)).send(value)


async def act_exit(node: Node, value: Any) -> None:
    (await node.spawn(Victim)).exit(Custom(value))


async def act_dead_letter(node: Node, value: Any) -> None:
    ref = await node.spawn(Victim)
    await ref.stop(Shutdown(value))
    ref.send(value)


async def act_event(node: Node, value: Any) -> None:
    manager = await node.spawn(EventManager)
    manager.cast(EventManager.add_handler, FORGED, Named)
    manager.cast(EventManager.notify, value)


async def act_label(node: Node, value: Any) -> None:
    (await node.spawn(Victim, label=FORGED)).exit(Custom(value))


ACTS: dict[str, Callable[[Node, Any], Any]] = {
    name.removeprefix("act_"): act for name, act in list(globals().items()) if name.startswith("act_")
}
every_act = pytest.mark.parametrize("act", ACTS.values(), ids=list(ACTS))


class Lines(logging.Handler):
    """Formats what it is given, as a file would show it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(levelname)s:%(name)s:%(message)s"))
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


@contextmanager
def handled_by(*handlers: logging.Handler, level: int = logging.DEBUG) -> Iterator[None]:
    logger = logging.getLogger("enfilade")
    before = logger.level, logger.propagate
    logger.setLevel(level)
    logger.propagate = False
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
        logger.level, logger.propagate = before
        logger.setLevel(before[0])


@every_act
async def test_no_line_is_forged(autojump_clock: MockClock, act: Any) -> None:
    """S11: the runtime began each line, or it is part of a traceback; nothing in it steers a terminal."""
    lines = Lines()
    with handled_by(lines):
        async with open_node("test") as node:
            await act(node, FORGED)
            await wait_all_tasks_blocked()
    assert lines.texts
    for text in lines.texts:
        first, *rest = text.split("\n")
        assert first.startswith(("ERROR:enfilade", "WARNING:enfilade", "INFO:enfilade"))
        assert all(line.isprintable() for line in (first, *rest))
        assert all(line.startswith(("  ", "Traceback ", "ValueError: ")) for line in rest)


VALUES: dict[str, Callable[[], Any]] = {
    "20 MB": lambda: bytes(20_000_000),
    "3 million numbers": lambda: list(range(3_000_000)),
    "a huge number": lambda: 1 << 30_000_000,
    "a deep list": lambda: nested(100_000),
    "no text": lambda: hostile("__repr__", raisers["a base exception"])(),
}


@every_act
@pytest.mark.parametrize("make", VALUES.values(), ids=list(VALUES))
async def test_a_report_is_cheap_and_short(autojump_clock: MockClock, act: Any, make: Any) -> None:
    """S11: milliseconds and kilobytes, whatever it is about."""
    lines = Lines()
    value = make()
    with handled_by(lines):
        async with open_node("test") as node:
            began = time.process_time()
            await act(node, value)
            await wait_all_tasks_blocked()
            assert time.process_time() - began < 0.1
    assert lines.texts
    assert sum(map(len, lines.texts)) < 10_000


@every_act
async def test_nothing_is_shown_where_nothing_is_logged(autojump_clock: MockClock, act: Any) -> None:
    """S11: with logging off nobody asks an object for its text, but for the crash report that the node keeps:
    it asks once for the text of the reason, and once for that of the error.
    """
    asked: list[str] = []

    class Asked:
        def __repr__(self) -> str:
            asked.append("repr")
            return "x"

    with handled_by(level=logging.CRITICAL):
        async with open_node("test") as node:
            await act(node, Asked())
            await wait_all_tasks_blocked()
    if act is act_refused:  # whose error is made for a caller, too
        return
    assert len(asked) == (2 if act in (act_crash, act_function) else 0)


@every_act
async def test_reports_of_every_kind_are_limited(autojump_clock: MockClock, act: Any) -> None:
    """S11: so many in a second; the others are counted."""
    lines = Lines()
    with handled_by(lines):
        async with open_node("test", config=NodeConfig(reports_per_second=3)) as node:
            for _ in range(20):
                await act(node, "x")
            await wait_all_tasks_blocked()
            assert len(lines.texts) <= 6  # a refused cast is a dead letter, too
    assert any("more" in text and "not logged" in text for text in lines.texts)


@pytest.mark.parametrize("what", sorted(raisers))
@pytest.mark.parametrize("where", ["emit", "handle", "filter", "format", "handleError"])
async def test_handlers_that_fail_keep_reports_from_no_other(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, where: str, what: str
) -> None:
    """S11: nor do they end the program, or keep a process from being told of an end."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    broken, lines = logging.StreamHandler(), Lines()
    if where == "filter":
        broken.addFilter(raisers[what])
    else:
        setattr(broken, where, raisers[what])
    if where == "handleError":
        broken.emit = raisers["an error"]  # type: ignore[method-assign]
    with handled_by(broken, lines):
        async with open_node("test") as node, node.mailbox() as me:
            for _ in range(3):
                ref = await node.spawn(Victim)
                me.monitor(ref)
                ref.cast(Victim.fail, "x")
                await me.receive(Down, timeout=1)
            await trio.sleep(1)
    assert len(lines.texts) == 3


async def test_a_report_may_come_from_any_thread(autojump_clock: MockClock) -> None:
    """A finalizer may run in any; what it has to say waits for the next report."""
    lines = Lines()
    with handled_by(lines):
        async with open_node("test") as node:
            await wait_all_tasks_blocked()
            note = node.reports.note
            await trio.to_thread.run_sync(lambda: note("tests", logging.ERROR, "from a thread"))
            note("tests", logging.ERROR, "from the loop")
    assert [text.rpartition(":")[2] for text in lines.texts] == ["from a thread", "from the loop"]
