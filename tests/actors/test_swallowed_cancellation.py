"""A function that catches every `Cancelled` and goes on. Clause U8: it is given up, and hurts nobody else.

These tests run in real time: in virtual time, which passes only while nothing runs, it is never given up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import trio

from enfilade.actors import KILL, KILLED, SHUTDOWN, Actor, Down, NodeConfig, Process, Reason, open_node

pytestmark = pytest.mark.real


class Bystander(Actor):
    def ping(self) -> str:
        return "pong"


def stubborn(wait: Callable[[Process], Any]) -> tuple[Any, trio.Event, list[bool]]:
    """A function that goes on until it may end; the event is set once its task has ended."""
    over, may_end = trio.Event(), [False]

    async def body(me: Process) -> None:
        try:
            while not may_end[0]:
                with contextlib.suppress(trio.Cancelled):
                    await wait(me)
        finally:
            over.set()

    return body, over, may_end


async def sleep(_: Process) -> None:
    await trio.sleep(1)


WAITS: dict[str, Callable[[Process], Any]] = {"receive": Process.receive, "sleep": sleep}


@pytest.mark.parametrize("reason", [KILL, SHUTDOWN], ids=["kill", "shutdown"])
@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
async def test_it_is_given_up(
    caplog: pytest.LogCaptureFixture, wait: Callable[[Process], Any], reason: Reason
) -> None:
    """U8: whoever watches it hears so, others answer meanwhile, and the log names it."""
    body, over, may_end = stubborn(wait)
    async with open_node("n", config=NodeConfig(kill_grace=0.05)) as node, node.mailbox() as me:
        bystander = await node.spawn(Bystander)
        ref = await node.spawn(body)
        me.monitor(ref)
        ref.exit(reason)
        if reason is SHUTDOWN:
            ref.exit(KILL)  # an order to stop alone may take its time
        try:
            with trio.fail_after(30):
                assert (await me.receive(Down)).reason == KILLED
            assert await bystander.call(Bystander.ping) == "pong"
            assert node.statistics().unkillable == 1
        finally:
            may_end[0] = True
        with trio.fail_after(30):
            await over.wait()
    assert any(
        "was killed but did not end; it was given up" in record.getMessage() for record in caplog.records
    )
