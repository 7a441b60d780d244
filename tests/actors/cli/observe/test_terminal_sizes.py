"""`enfilade observe` on a terminal whose size changes, and of a node that goes, on every page."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

pytest.importorskip("textual")

from tests.actors.cli.observe.shop import Door, connecting, hall, viewer

pytestmark = pytest.mark.real

PAGES = "1234567890"

SIZES = [(40, 10), (1, 1), (200, 3), (80, 24)]


def run(script: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(script())  # type: ignore[arg-type]


@pytest.mark.parametrize("keys", ["12345", "67890"])
def test_every_page_fits_into_every_size(keys: str) -> None:
    """Down to one character; and is whole again afterwards."""

    async def script() -> None:
        async with viewer(connecting(hall)) as seen:
            for key in keys:
                await seen.press(key)
                await seen.until(lambda text: "asking the node" not in text)
                for width, height in SIZES:
                    await seen.pilot.resize_terminal(width, height)
                    await seen.press("end")
                    lines = seen.text.splitlines()
                    assert len(lines) <= height
                    assert max(map(len, lines), default=0) <= width
                assert "shop@east" in await seen.until("shop@east")

    run(script)


def test_a_question_stays_while_the_size_changes() -> None:
    async def script() -> None:
        async with viewer(connecting(hall)) as seen:
            await seen.press("2")
            await seen.until("till 00002")
            await seen.press("/")
            await seen.type("till 00001")
            await seen.until("of 1 ")
            await seen.press("K")
            await seen.until("y: yes")
            await seen.pilot.resize_terminal(30, 8)
            await seen.pilot.resize_terminal(80, 24)
            await seen.until("y: yes")
            await seen.press("n")
            await seen.until(lambda text: "y: yes" not in text)

    run(script)


def test_a_node_that_has_gone_is_said_on_every_page() -> None:
    door = Door()

    async def lose() -> None:
        door.lose()

    async def script() -> None:
        async with viewer(door.connect) as seen:
            await seen.press("2")
            await seen.until("till 00002")
            seen.app.soon(lose)
            assert "till 00002" in await seen.until("last seen")
            for key in PAGES:
                await seen.press(key)
                assert "last seen" in seen.text.splitlines()[0]
            await seen.press("2", "K")
            door.is_open = True
            await seen.until(lambda text: "last seen" not in text)

    run(script)
