"""The details of a process on the terminal: what waits in its mailbox, its timers, its arena."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

pytest.importorskip("textual")

from enfilade.actors import Node, Process, system
from enfilade.transport.policy import Rights
from tests.actors.cli.observe.shop import Till, connecting, viewer

pytestmark = pytest.mark.real  # about real time: two loops in one thread


def run(script: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(script())  # type: ignore[arg-type]


async def busy(node: Node) -> None:
    """A till that is suspended, with a cast in its mailbox, and a process with a timer."""
    till = await node.spawn(Till, name="till")
    await system.suspend(till)
    till.cast(Till.pay, 4711)

    async def clock(me: Process) -> None:
        me.timers.start("chime", 3_000.0, "cuckoo", every=True)
        await trio.sleep_forever()

    await node.spawn(clock, name="clock")


async def opened(seen: Any, name: str) -> None:
    await seen.press("2", "/")
    await seen.type(f"name = {name}")
    await seen.until(" of 1 ")
    await seen.press("home", "enter")


def test_the_contents_of_messages_are_shown_at_a_key_and_hidden_again() -> None:
    async def script() -> None:
        rights = Rights(observe=True, inspect=True, trace=True)
        async with viewer(connecting(busy, rights)) as seen:
            await opened(seen, "till")
            text = await seen.until("cast pay(…)")
            assert "4711" not in text
            assert " UTC" in text
            await seen.press("v")
            await seen.until("('pay', (4711,), {})")
            await seen.press("v")
            await seen.until("cast pay(…)")

    run(script)


def test_without_the_right_to_trace_the_key_says_what_is_missing() -> None:
    async def script() -> None:
        async with viewer(connecting(busy, Rights(observe=True, inspect=True))) as seen:
            await opened(seen, "till")
            await seen.until("cast pay(…)")
            await seen.press("v")
            text = await seen.until("the contents of messages need the right to trace")
            assert "4711" not in text

    run(script)


def test_timers_are_told_with_key_and_message() -> None:
    async def script() -> None:
        async with viewer(connecting(busy)) as seen:
            await opened(seen, "clock")
            await seen.until("keyed 'chime', in 4")
            await seen.until("again and again: str")

    run(script)
