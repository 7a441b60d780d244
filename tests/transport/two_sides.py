"""Both sides of a node link in a random test: what one has sent, and what has come to the other."""

from typing import Generic, TypeVar

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from enfilade.transport.node_link import NodeLink
from enfilade.transport.wire import Send, encode_frame

__all__ = ["WINDOW", "TwoSides", "frame"]

WINDOW = 2000

L = TypeVar("L", bound=NodeLink)


def frame(number: int, size: int = 1) -> bytes:
    """A frame with a number in it, and about so many bytes."""
    return encode_frame(Send(number, msgspec.Raw(msgspec.msgpack.encode("x" * size))))


class TwoSides(RuleBasedStateMachine, Generic[L]):
    """Two node links that send numbers; how batches travel is for those who derive to say."""

    def __init__(self, one: L, other: L) -> None:
        super().__init__()
        self.sides = [one, other]
        self.sent: list[list[int]] = [[], []]
        self.arrived: list[list[int]] = [[], []]
        self.number = 0

    @rule(side=st.integers(0, 1), count=st.integers(1, 20), size=st.sampled_from([1, 100, 700, 5000]))
    def send(self, side: int, count: int, size: int) -> None:
        for _ in range(count):
            self.number += 1
            self.sides[side].send(frame(self.number, size))
            self.sent[side].append(self.number)

    def take(self, side: int, data: bytes) -> None:
        """Have a batch of one side arrive at the other."""
        frames = self.sides[1 - side].received(data)
        self.arrived[side] += [each.to for each in frames]  # type: ignore[union-attr, misc]

    @invariant()
    def once_and_in_order(self) -> None:
        for side in range(2):
            assert self.arrived[side] == self.sent[side][: len(self.arrived[side])]

    def missing(self) -> str:
        """How much has arrived, for the text of a failure."""
        return f"{[len(each) for each in self.arrived]} of {[len(each) for each in self.sent]}"
