"""A node that is started again gives its serials to other processes: nothing is done to these by mistake."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

pytest.importorskip("textual")

from enfilade.actors import Child, Node, Supervisor
from enfilade.actors.cli.observe.actions import ACTIONS
from enfilade.actors.cli.observe.observed import Observed
from enfilade.actors.cli.observe.sight import Sight
from enfilade.actors.cli.observe.terminal.detail import DetailPage
from enfilade.actors.cli.observe.terminal.table import ProcessesPage
from enfilade.actors.cli.observe.terminal.tree import TreePage
from enfilade.transport.policy import Rights
from tests.actors.cli.observe.shop import Door, Till, Viewer, hall, until, viewer

ALL = Rights(observe=True, inspect=True, trace=True, control=True)


def run(script: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(script())  # type: ignore[arg-type]


async def cellar(node: Node) -> None:
    """As the hall, but what has the serials of its tills is something else."""
    bins = [Child(Till, id=f"bin {number}", name=f"bin {number}") for number in range(6)]
    node.root = await node.spawn(Supervisor, bins, name="root")


async def started_again(seen: Viewer, door: Door) -> None:
    """Have the node started again, and wait until it is seen."""
    seen.app.soon_sync(door.lose)
    await seen.until(lambda _: not seen.app.sight.observed.is_up)
    door.is_open = True
    await seen.until(lambda _: seen.app.sight.observed.is_up)


async def test_an_action_on_a_process_of_a_former_start_is_not_done(autojump_clock: MockClock) -> None:
    door = Door(hall, cellar)
    observed = Observed("shop.door", door.connect, trio.current_time)
    sight = Sight(observed)
    async with trio.open_nursery() as nursery:
        sight.begin()
        nursery.start_soon(observed.run)
        await until(lambda: sight.timeline and sight.longest)
        former, serial = observed.life, door.node.whereis("till 00001").serial
        assert await observed.act(former, "suspend", serial) is None
        door.lose()
        await until(lambda: not observed.is_up)
        assert sight.longest, "what was seen last stays"
        door.is_open = True
        await until(lambda: observed.is_up)
        assert observed.life != former
        problem = await observed.act(former, "kill", serial)
        assert problem == "shop@east has been started again since: choose the process anew"
        await until(lambda: sight.longest and sight.timeline)
        names = {row["name"] for row in sight.longest}
        assert "bin 1" in names
        assert not any(each.startswith("till") for each in names if each)
        assert door.node.processes[serial].ended is None
        assert await observed.act(observed.life, "kill", serial) is None
        nursery.cancel_scope.cancel()


async def test_a_connection_that_was_lost_leaves_the_start_as_it_is(autojump_clock: MockClock) -> None:
    """The same start: what was chosen before can be acted on."""
    door = Door()
    observed = Observed("shop.door", door.connect, trio.current_time)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(observed.run)
        await until(lambda: observed.is_up)
        assert observed.life == f"{door.node.incarnation:016x}"
        assert observed.is_over(observed.life) is None
        nursery.cancel_scope.cancel()


def test_a_frozen_table_is_that_of_one_start() -> None:
    async def script() -> None:
        door = Door(hall, cellar)
        async with viewer(door.connect) as seen:
            await seen.press("2")
            await seen.until("till 00002")
            await seen.press("down", "space")
            await seen.until("frozen")
            page: Any = seen.app.page
            assert isinstance(page, ProcessesPage)
            before = page.target
            assert before is not None
            await seen.press("K")
            await seen.until("kill")
            await started_again(seen, door)
            await seen.press("y")
            await seen.until("started again since")
            text = await seen.until("bin 1")
            assert "frozen" not in text
            assert "till" not in text
            assert not page.is_frozen
            assert page.target.life == seen.app.sight.observed.life != before.life
            assert door.node.processes[before.serial].ended is None

    run(script)


def test_a_detail_by_serial_is_that_of_one_start_and_one_by_name_goes_on() -> None:
    async def both(node: Node) -> None:
        await cellar(node)
        await node.spawn(Till, name="till 00001")

    async def script() -> None:
        door = Door(hall, both)
        async with viewer(door.connect, size=(100, 30)) as seen:
            await seen.until("no warnings")
            seen.app.open_process(5)
            await seen.until("serial 5")
            await started_again(seen, door)
            await seen.until("the node has been started again since process 5 was chosen")
            page: Any = seen.app.page
            assert isinstance(page, DetailPage)
            assert page.target is None
            await seen.press("2")
            seen.app.open_process("till 00001")
            await seen.until("followed by its name")
            first = page.target.serial
            await started_again(seen, door)
            await seen.until(lambda _: page.life == seen.app.sight.observed.life)
            await seen.until("followed by its name")
            assert page.target is not None
            assert first != page.target.serial or door.opened == 3

    run(script)


def test_a_tree_of_another_start_has_only_its_root_open() -> None:
    async def script() -> None:
        door = Door(hall, cellar)
        async with viewer(door.connect) as seen:
            await seen.press("3")
            await seen.until("floor")
            await seen.press("+")
            await seen.until("till 2")
            await started_again(seen, door)
            await seen.until("bin 1")
            page: Any = seen.app.page
            assert isinstance(page, TreePage)
            assert page._open == {door.node.root.serial}

    run(script)


def test_a_trace_by_serial_ends_with_the_start() -> None:
    async def script() -> None:
        door = Door(hall, cellar, rights=ALL)
        async with viewer(door.connect) as seen:
            await seen.press("9", "/")
            await seen.type("5")
            await seen.until("tracing 5")
            await started_again(seen, door)
            await seen.until("ended (the node has been started again)")

    run(script)


def test_a_question_is_asked_of_the_node_that_was_shown() -> None:
    """Another node may be shown before the question comes."""

    async def script() -> None:
        doors = [Door(), Door(cellar)]
        nodes = [Observed("first", doors[0].connect), Observed("second", doors[1].connect)]
        async with viewer(*nodes) as seen:
            await seen.press("2")
            await seen.until("till 00002")
            await seen.press("/")
            await seen.type("actor = Till")
            await seen.until("of 3")
            target: Any = seen.app.page.target
            seen.app._begin(next(action for action in ACTIONS if action.key == "K"))
            seen.app.turn_to("2", 1)
            await seen.until("kill")
            await seen.press("y")
            await seen.until("bin 1")
            await seen.until(lambda _: target.serial not in doors[0].node.processes)
            assert target.serial in doors[1].node.processes

    run(script)
