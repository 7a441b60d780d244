"""Copies of refs and of other handles. Clause N5 of docs/semantics.md."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from trio.testing import MockClock

from enfilade.actors import Actor, Deferred, Down, Exited, Node, open_node
from enfilade.transport import Policy
from enfilade.transport.memory_carrier import MemoryNetwork

pytest_plugins = ["enfilade.actors.testing.plugin"]


class Post(Actor):
    def __init__(self) -> None:
        self.kept: Any = None

    def later(self) -> Deferred[str]:
        self.kept = self.process.defer()
        return self.kept  # type: ignore[no-any-return]

    def answer(self) -> None:
        copy.deepcopy(self.kept)
        self.kept.reply("answer")


@dataclasses.dataclass
class Question:
    text: str
    handle: Any


@attrs.frozen
class Order:
    number: int
    handle: Any


COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "in a list": lambda handle: copy.deepcopy([handle])[0],
    "as a key": lambda handle: next(iter(copy.deepcopy({handle: 1}))),
    "dataclasses.asdict": lambda handle: dataclasses.asdict(Question("?", handle))["handle"],
    "dataclasses.astuple": lambda handle: dataclasses.astuple(Question("?", handle))[1],
    "dataclasses.replace": lambda handle: dataclasses.replace(Question("?", handle), text="!").handle,
    "attrs.asdict": lambda handle: attrs.asdict(Order(1, handle))["handle"],
    "attrs.astuple": lambda handle: attrs.astuple(Order(1, handle))[1],
    "attrs.evolve": lambda handle: attrs.evolve(Order(1, handle), number=2).handle,
}


@pytest.mark.parametrize("kind", COPIES)
async def test_a_copy_of_a_handle_is_the_handle(autojump_clock: MockClock, kind: str) -> None:
    """N5: whatever copies it, in whatever it lies; and nothing is pickled, which the error says by name."""
    network = MemoryNetwork()
    policy = Policy.same_user(exports="*")
    async with (
        open_node("b", carrier=network.carrier("b"), listen="/b", policy=policy) as b,
        open_node("a", carrier=network.carrier("a"), policy=policy) as node,
        node.mailbox() as me,
    ):
        await node.connect("/b")
        await b.spawn(Post, name="post")
        ref = await node.spawn(Post, name="near")
        remote = await node.whereis_on("b@local", "post")
        monitor = me.monitor(ref)
        handles = {
            "local": ref,
            "limited": ref.within(1),
            "remote": remote,
            "remote name": node.remote("post", "b@local"),
            "name": node.named("near"),
            "alias": me.alias(),
            "node": node.ref,
            "monitor": monitor,
            "timer": node.send_after(100, ref, "late"),
            "request": me.request(ref, Post.later),
            "process": me,
            "the node itself": node,
        }
        for name, handle in handles.items():
            if kind in ("attrs.asdict", "attrs.astuple") and attrs.has(type(handle)):
                continue  # into which attrs looks itself
            assert COPIES[kind](handle) is handle, name
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
                with pytest.raises(TypeError, match=f"cannot pickle the {type(handle).__name__} "):
                    pickle.dumps(handle, protocol)
        for message in (Exited(ref, None), Down(monitor, ref, None)):  # type: ignore[arg-type]
            copied = copy.deepcopy(message)
            assert copied.ref is ref


async def test_a_copy_of_a_deferred_reply_drops_nothing(autojump_clock: MockClock, node: Node) -> None:
    """N5: the copy that goes away is the handle, which is still there."""
    ref = await node.spawn(Post)
    async with node.mailbox() as me:
        request = me.request(ref, Post.later)
        ref.cast(Post.answer)
        assert await request.receive(1) == "answer"
