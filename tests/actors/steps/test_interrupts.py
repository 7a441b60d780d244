"""SIGINT while nodes begin and end, and handlers of the program's own. Clause U5 of docs/semantics.md."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack

import pytest
import trio

from enfilade.actors import open_node
from enfilade.actors.node import interrupts
from tests.tracer import Tracer


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    handler = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)
    assert handler is before
    assert not interrupts._listeners


def interrupted_at(number: int) -> Tracer:
    """Send SIGINT at that line of `interrupts.py`."""
    return Tracer(
        number,
        lambda: signal.raise_signal(signal.SIGINT),
        lambda frame: frame.f_code.co_filename == interrupts.__file__,
    )


async def _nodes(how_many: int) -> None:
    async with AsyncExitStack() as stack:
        for number in range(how_many):
            await stack.enter_async_context(open_node(f"n{number}"))


@pytest.mark.parametrize("how_many", [1, 2])
def test_at_every_line(how_many: int) -> None:
    """U5: wherever an interrupt comes, it ends the program as `KeyboardInterrupt`; the handler is back."""
    before = signal.getsignal(signal.SIGINT)
    with interrupted_at(-1) as tracer:
        trio.run(_nodes, how_many)
    assert len(tracer.lines) > 10
    for number in range(len(tracer.lines)):
        try:
            with interrupted_at(number):
                trio.run(_nodes, how_many)
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError(f"the interrupt at line {number} was lost")
        assert signal.getsignal(signal.SIGINT) is before
        assert not interrupts._listeners


def _mine(_number: int, _frame: object) -> None: ...


def _ignored() -> None: ...


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
@pytest.mark.parametrize("opened", [0, 1, 2])
def test_a_handler_of_the_program(order: list[int], opened: int) -> None:
    """U5: a handler that the program installs while nodes run stays, whichever of them ends first."""
    before = signal.getsignal(signal.SIGINT)
    blocks = [ExitStack(), ExitStack()]
    try:
        for number, stack in enumerate(blocks):
            if number == opened:
                signal.signal(signal.SIGINT, _mine)
            stack.enter_context(interrupts.interrupts_go_to(_ignored))
        if opened == 2:
            signal.signal(signal.SIGINT, _mine)
        for number in order:
            blocks[number].close()
        assert signal.getsignal(signal.SIGINT) is _mine
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_handler_installed_in_the_block() -> None:
    """U5: leaving the block of a node does not put another handler in the place of the program's."""
    before = signal.getsignal(signal.SIGINT)

    async def main() -> None:
        async with open_node("n"):
            signal.signal(signal.SIGINT, _mine)

    try:
        trio.run(main)
        assert signal.getsignal(signal.SIGINT) is _mine
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 0, 2], [0, 2, 1]])
def test_nodes_that_end_in_any_order(order: list[int]) -> None:
    """U5: the handler that was there before the first is back after the last."""
    before = signal.getsignal(signal.SIGINT)
    blocks = [ExitStack() for _ in order]
    for stack in blocks:
        stack.enter_context(interrupts.interrupts_go_to(_ignored))
    for place, number in enumerate(order):
        assert signal.getsignal(signal.SIGINT) is interrupts._hear, place
        blocks[number].close()
    assert signal.getsignal(signal.SIGINT) is before
