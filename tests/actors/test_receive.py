"""Selective receive against a model: a list that is searched from the front."""

from __future__ import annotations

from typing import Any, Protocol

import hypothesis
import hypothesis.strategies as st
import pytest
import trio

from enfilade.actors import Mailbox, MailboxFull, ReceiveTimeout, open_node


def even(message: int) -> bool:
    return message % 2 == 0


def large(message: int) -> bool:
    return message >= 10


MATCHES: list[Any] = [None, even, large, bool]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(0, 20)),
        st.tuples(st.just("receive"), st.integers(0, len(MATCHES) - 1)),
    ),
    max_size=60,
)


def accepts(match: Any, message: int) -> bool:
    if match is None:
        return True
    return isinstance(message, match) if isinstance(match, type) else match(message)


@hypothesis.given(STEPS, st.one_of(st.none(), st.integers(1, 8)))
@hypothesis.settings(max_examples=150)
def test_receive_takes_the_oldest_match(steps: list[tuple[str, int]], capacity: int | None) -> None:
    """M1, M4: whatever was waited for before, the oldest matching message comes, and the bound counts all."""

    async def run() -> None:
        model: list[int] = []
        async with open_node("test") as node, node.mailbox(Mailbox(capacity, "fail")) as me:
            for step, argument in steps:
                if step == "send":
                    if capacity is not None and len(model) >= capacity:
                        with pytest.raises(MailboxFull):
                            me.ref.send(argument)
                    else:
                        me.ref.send(argument)
                        model.append(argument)
                    continue
                match = MATCHES[argument]
                wanted = [message for message in model if accepts(match, message)]
                if wanted:
                    assert await me.receive(match, timeout=0) == wanted[0]
                    model.remove(wanted[0])
                else:
                    with pytest.raises(ReceiveTimeout):
                        await me.receive(match, timeout=0)
            assert [await me.receive(timeout=0) for _ in model] == model

    trio.run(run)


@pytest.mark.parametrize("timeout", [-1, float("nan")])
async def test_bad_timeouts(timeout: float) -> None:
    """T6: a timeout is at least 0."""
    async with open_node("test") as node, node.mailbox() as me:
        with pytest.raises(ValueError, match=str(timeout)):
            await me.receive(timeout=timeout)


async def test_receive_lets_others_run() -> None:
    """M5: a process that always finds a message passes a checkpoint every so often."""
    async with open_node("test") as node, node.mailbox() as me:
        for number in range(1000):
            me.ref.send(number)
        with trio.CancelScope() as scope:
            scope.cancel()
            received = []
            while True:
                received.append(await me.receive())
        assert len(received) < 200
        rest = [await me.receive() for _ in range(1000 - len(received))]
        assert received + rest == list(range(1000))


async def test_a_match_that_raises_loses_nothing() -> None:
    """M5: what a match raises comes out of receive, and the message stays."""

    def wrong(message: Any) -> bool:
        raise LookupError(message)

    async with open_node("test") as node, node.mailbox() as me:
        me.ref.send("kept")
        with pytest.raises(LookupError):
            await me.receive(wrong)
        assert await me.receive(timeout=0) == "kept"


class Shape(Protocol):
    """A protocol for type checkers alone: `isinstance` cannot be asked about it."""

    size: int


@pytest.mark.parametrize("waiting", [[], ["go"]], ids=["empty", "full"])
@pytest.mark.parametrize(
    "match", ["go", (int, "go"), (int, (float, [str])), list[str], int | str, Shape, (int, Shape)], ids=repr
)
async def test_a_match_that_is_no_match(waiting: list[str], match: Any) -> None:
    """M1: what stands for no test of a message is refused at once, whatever waits, and the message stays."""
    async with open_node("test") as node, node.mailbox() as me:
        for message in waiting:
            me.ref.send(message)
        with pytest.raises(TypeError, match=r"for the message itself: `Like\("):
            await me.receive(match, timeout=0)
        assert [await me.receive() for _ in waiting] == waiting
