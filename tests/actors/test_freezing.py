"""`Node.freeze`: what the garbage collector passes over until the node closes."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from enfilade.actors import Actor, Node, open_node


class Text(str):
    """A label that tells when it is freed."""


class Knot:
    """An object that refers to itself."""

    def __init__(self) -> None:
        self.me = self


class Idle(Actor):
    """Waits."""


@pytest.fixture(autouse=True)
def nothing_is_frozen() -> Iterator[None]:
    """Not even the suite, which is frozen otherwise."""
    gc.unfreeze()
    yield
    gc.collect()
    gc.freeze()


async def test_spares_the_collector_until_the_node_closes() -> None:
    async with open_node("town") as node:
        assert gc.get_freeze_count() == 0
        knot = weakref.ref(Knot())
        kept, lost = Knot(), None
        frozen = node.freeze()
        assert knot() is None, "it collects first"
        assert 0 < frozen <= gc.get_freeze_count() + 100
        lost, kept = weakref.ref(kept), Knot()
        gc.collect()
        assert lost() is not None, "a frozen circle is not looked for"
        assert not any(thing is lost() for thing in gc.get_objects())
        young = weakref.ref(kept)
        del kept
        gc.collect()
        assert young() is None, "what is made later is collected"
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert lost() is None


async def test_frozen_processes_are_freed_when_they_end() -> None:
    async with open_node("town") as node:
        ref = await node.spawn(Idle, label=(label := Text("the frozen one")))
        freed = weakref.ref(label)
        del label
        node.freeze()
        gc.disable()
        try:
            await ref.stop()
            del ref
            assert freed() is None
        finally:
            gc.enable()


async def test_thaws_when_the_last_node_closes_that_has_frozen_something() -> None:
    async with open_node("one") as one:
        async with open_node("two") as two, open_node("three"):
            one.freeze()
            two.freeze()
            assert two.freeze() > 0
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0


async def fail(node: Node) -> None:
    node.freeze()
    raise LookupError


async def test_thaws_though_the_block_fails() -> None:
    with pytest.raises(LookupError):
        async with open_node("town") as node:
            await fail(node)
    assert gc.get_freeze_count() == 0
