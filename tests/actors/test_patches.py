"""Methods that are patched in their class, and classes that are changed. Clause C1 of docs/semantics.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from trio.testing import MockClock

from enfilade.actors import Actor, Node, Ref, UnknownMethod, system
from tests.actors.test_methods import TIERS, Async, Derived, Interface, Mixin, Other, Sync

pytest_plugins = ["enfilade.actors.testing.plugin"]


def fake(self: Any) -> int:
    return 7


PATCHES: dict[str, Callable[[], Any]] = {
    "function": lambda: fake,
    "lambda": lambda: lambda self: 7,
    "mock": lambda: mock.MagicMock(return_value=7),
    "autospec": lambda: mock.create_autospec(Sync.get, return_value=7),
}


@TIERS
@pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_patched_method_takes_effect_and_is_undone(
    autojump_clock: MockClock, node: Node, tier: Any, patch: Callable[[], Any], when: str
) -> None:
    """C1: the class counts as it is, for processes that run already, too."""
    assert await (await node.spawn(tier)).call(tier.get) == 1
    early = await node.spawn(tier)
    original = tier.get
    with mock.patch.object(tier, "get", patch()):
        ref = early if when == "after" else await node.spawn(tier)
        assert await ref.call(tier.get) == 7
        assert await ref.call(original) == 7
        assert await ref.call(Interface.get) == 7
    assert await ref.call(tier.get) == 1
    assert await early.call(tier.get) == 1
    with mock.patch.object(Sync, "get", patch()):
        assert await ref.call(tier.get) == 7
    assert await ref.call(tier.get) == 1


async def test_a_patched_method_of_a_base(autojump_clock: MockClock, node: Node) -> None:
    """C1: a patch of a base, and of a mixin, reaches the subclass."""
    ref: Ref[Any] = await node.spawn(Derived)
    with mock.patch.object(Mixin, "mixed", fake):
        assert await ref.call(Derived.mixed) == 7
    assert await ref.call(Derived.mixed) == "mixed"


@TIERS
async def test_a_patched_hook_takes_effect_at_the_next_start(
    autojump_clock: MockClock, node: Node, tier: Any
) -> None:
    """C1: hooks are read when a process starts."""
    seen = []
    await node.spawn(tier)
    with mock.patch.object(tier, "on_message", lambda self, message: seen.append(message)):
        ref = await node.spawn(tier)
        ref.send("patched")
        await ref.call(tier.get)
    ref = await node.spawn(tier)
    ref.send("no more")
    await ref.call(tier.get)
    assert seen == ["patched"]


async def test_a_method_that_becomes_async(autojump_clock: MockClock, node: Node) -> None:
    """C1: an actor that starts under such a patch has a task."""
    await node.spawn(Other)
    with mock.patch.object(Other, "get", mock.AsyncMock(return_value=7)):
        assert await (await node.spawn(Other)).call(Other.get) == 7
    assert await (await node.spawn(Other)).call(Other.get) == 99


class NewSync(Actor):
    def get(self) -> int:
        return 100


class NewAsync(NewSync):
    async def wait(self) -> None:
        pass


@pytest.mark.parametrize(("old", "new"), [(Sync, NewSync), (Async, NewAsync)])
async def test_callers_outlive_a_change_of_code(
    autojump_clock: MockClock, node: Node, old: type[Sync], new: type[NewSync]
) -> None:
    """C1: who knows the class that the actor was of can still call it."""
    ref: Ref[Any] = await node.spawn(old)
    await system.change_code(ref, new)
    assert await ref.call(old.get) == await ref.call(new.get) == 100
    with pytest.raises(UnknownMethod):
        await ref.call(Other.get)
