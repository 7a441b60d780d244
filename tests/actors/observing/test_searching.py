"""Searches for processes find what the match finds in their rows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from enfilade.actors import KILL, Actor, Child, DynamicSupervisor, Node, Supervisor, open_node, system
from enfilade.actors.observing.protocol.columns import PROCESS_COLUMNS
from enfilade.actors.observing.protocol.matching import Glob, Match
from enfilade.actors.observing.tables.rows import row_of
from enfilade.actors.observing.tables.searching import search
from enfilade.actors.observing.tables.walker import MOST, STEP, Pace
from enfilade.actors.processes.process import Process


class Till(Actor):
    def pay(self, amount: int) -> None:
        """Do nothing."""


class Ledger(Actor):
    async def post(self) -> None:
        await trio.sleep_forever()


class Unhashable(type):
    def __eq__(cls, other: object) -> bool:
        raise AssertionError("it is not asked")

    __hash__ = None  # type: ignore[assignment]


class Odd(Actor, metaclass=type("OddMeta", (Unhashable, type(Actor)), {})):  # type: ignore[misc]
    """An actor whose class cannot be a key."""


class Loud:
    async def __call__(self, me: Process) -> None:
        await trio.sleep_forever()


async def plain(me: Process, word: str = "") -> None:
    await trio.sleep_forever()


CHILDREN = [
    Child(Till, id="front till"),
    Child(Ledger, id=("back", 7)),
    Child(DynamicSupervisor, id="floor", name="floor"),
    Child(plain, id=5, name="runner"),
]


@asynccontextmanager
async def zoo() -> AsyncIterator[Node]:
    """A node with processes of all kinds, in several states."""
    async with open_node("bank") as node, node.mailbox():
        await node.spawn(Supervisor, CHILDREN, name="market", label="main hall")
        floor: Any = node.whereis("floor")
        for number in range(3):
            await floor.call(DynamicSupervisor.start_child, Child(Till, label=f"worker {number}"))
        await node.spawn(Till, name="t" * 3_000, label="x" * 500 + "deep")
        await node.spawn(Odd, label="two\nlines")
        await node.spawn(partial(plain, word="spare"))
        await node.spawn(Loud())
        busy = await node.spawn(Ledger)
        busy.cast(Ledger.post)
        busy.cast(Ledger.post)
        slow = await node.spawn(Till, label="suspended")
        await system.suspend(slow)
        slow.cast(Till.pay, 5)
        await wait_all_tasks_blocked()
        yield node


MATCHES = [
    "",
    "till",
    "Till",
    "*ill",
    "T*",
    "worker",
    "worker ?",
    "*k?r*",
    "market",
    "main*",
    "deep",
    "ttt",
    "front till",
    "back",
    "('back', 7)",
    "5",
    "runner",
    "plain",
    "post",
    "actor",
    "supervisor",
    "function",
    "lines",
    "queued > 0",
    "queued > 0 and Till",
    "state = suspended and sus*",
    "state != idle",
    "actor = Till and worker and restarts = 0",
    "method = post",
    "child_id = floor",
    "waits_for = ",
    "reason = x",
    "total > 1",
    "name = ",
    "busy >= 0",
    "spawned at",
    "**",
    "?",
]


async def test_a_search_finds_what_the_match_finds_in_rows() -> None:
    async with zoo() as node:
        counts = node.observation.counts
        processes = list(node.processes.values())
        rows = {process: {**row_of(process), **counts.of(process)} for process in processes}
        for text in MATCHES:
            found, match = search(text, counts), Match(text, PROCESS_COLUMNS)
            expected = [process.serial for process, row in rows.items() if match(row.get)]
            for _ in range(2):  # what is remembered of the first time tells the same
                shown = [each.serial for each in processes if found is None or found(each)]
                assert shown == expected, text
            assert (found is None) == (not text)


async def test_most_searches_of_the_list_find_some_and_not_all() -> None:
    """The test above would see nothing in a zoo of which each match finds nobody."""
    async with zoo() as node:
        processes = list(node.processes.values())
        found = [search(text, node.observation.counts) for text in MATCHES]
        numbers = [len([each for each in processes if test is None or test(each)]) for test in found]
        assert sum(0 < number < len(processes) for number in numbers) > 24


async def test_children_of_a_supervisor_that_has_ended_have_no_id() -> None:
    async with zoo() as node:
        found = search("front till", node.observation.counts)
        assert found is not None
        processes = list(node.processes.values())
        till = next(each for each in processes if found(each))
        market = node.whereis("market")
        assert market is not None
        market.exit(KILL)
        await wait_all_tasks_blocked()
        assert till.ended is not None
        assert not found(till)


def test_patterns_with_a_quick_test_mean_what_others_do() -> None:
    for pattern in ("*", "a*", "*a", "*a*", "a*a", "a", "", "*a*b*", "a?", "*?a", "?*"):
        glob = Glob(pattern)
        for text in ("", "a", "aa", "ab", "ba", "bab", "aab", "b"):
            assert glob.fits(text) == glob._fits_in_parts(text), (pattern, text)


def test_a_pace_follows_what_things_take() -> None:
    pace = Pace()
    for _ in range(20):
        pace.took(STEP / 100)
    assert pace.count == MOST
    pace.took(STEP / 5)
    assert pace.count == MOST
    pace.took(STEP)
    assert pace.count == MOST // 2
    for _ in range(20):
        pace.took(STEP)
    assert pace.count == 1
