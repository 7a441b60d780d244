"""Remote entries, and what the decision core makes of a child whose node is away."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from actors import BadCombination, Child, InvalidChild, InvalidEntry, Mailbox, RemoteEntry
from actors.reasons import NO_CONNECTION
from actors.spec import Flags
from actors.strategy import Strategy
from tests.actors.supervision.world import World, child

BAD_ENTRIES: list[tuple[str, Callable[[], Any]]] = [
    ("entry", lambda: RemoteEntry("", "a@b")),
    ("entry", lambda: RemoteEntry(5, "a@b")),  # type: ignore[arg-type]
    ("nodes", lambda: RemoteEntry("x")),
    ("nodes", lambda: RemoteEntry("x", "nowhere")),
    ("nodes", lambda: RemoteEntry("x", "@b")),
    ("nodes", lambda: RemoteEntry("x", ["a@b"])),  # type: ignore[arg-type]
    ("absent", lambda: RemoteEntry("x", "a@b", absent="ignore")),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("field", "make"), BAD_ENTRIES)
def test_bad_entries(field: str, make: Callable[[], Any]) -> None:
    """SUP-96: the field and the value are named."""
    with pytest.raises(InvalidEntry, match=field) as invalid:
        make()
    assert invalid.value.field == field


def test_what_another_node_decides() -> None:
    """SUP-96: name, label and mailbox cannot be given."""
    entry = RemoteEntry("x", "a@b")
    assert Child(entry).id == "x"
    for options in ({"name": "n"}, {"label": "l"}, {"mailbox": Mailbox(capacity=1)}):
        with pytest.raises(BadCombination, match="leave it out"):
            Child(entry, **options)
    with pytest.raises(InvalidChild):
        Child("x")


class Away:
    """Says whether children elsewhere can be started."""

    def __init__(self) -> None:
        self.present = True

    def __call__(self, _: Child) -> bool:
        return self.present


def world(strategy: Any, away: Away, **options: Any) -> World:
    tree = World()
    far = Child(RemoteEntry("x", "a@b"), id="b", **options)
    tree.strategy = Strategy(
        Flags(strategy=strategy, intensity=2),
        [child("a"), far, child("c")],
        clock=lambda: tree.now,
        present=away,
    )
    return tree.boot()


@pytest.mark.parametrize(
    ("strategy", "log"),
    [
        ("one_for_one", ["start b2"]),
        ("rest_for_one", ["stop c1", "start b2", "start c2"]),
        ("one_for_all", ["stop c1", "stop a1", "start a2", "start b2", "start c2"]),
    ],
)
def test_group_waits_for_the_node(strategy: Any, log: list[str]) -> None:
    """SUP-92: siblings run on until the node is back; then the attempt is made as usual, and counts."""
    away = Away()
    tree = world(strategy, away)
    mark = len(tree.log)
    away.present = False
    tree.exit("b1", NO_CONNECTION)
    assert tree.log_since(mark) == []
    assert tree.shown() == {"a": "a1", "b": "restarting", "c": "c1"}
    assert [retry.delay for retry in tree.retries] == [math.inf]
    away.present = True
    tree.retry()
    assert tree.log_since(mark) == log


def test_group_goes_on_without_the_absent() -> None:
    """SUP-94: where a sibling is restarted, an absent one is not waited for."""
    away = Away()
    tree = world("one_for_all", away)
    away.present = False
    tree.exit("a1")
    assert tree.shown() == {"a": "a2", "b": "restarting", "c": "c2"}
    away.present = True
    tree.retry()
    assert tree.shown() == {"a": "a3", "b": "b2", "c": "c3"}


def test_attempt_without_a_node_does_not_count() -> None:
    """SUP-92: when the node vanishes under an attempt, that was none."""
    away = Away()
    tree = world("one_for_one", away)
    for _ in range(5):
        tree.script["b"] = ["hang"]
        away.present = True
        if tree.retries:
            tree.retry()
        else:
            tree.exit("b1")
        (record,) = [record for key, record in tree.strategy._children.items() if key == "b"]
        away.present = False
        tree.do(tree.strategy.start_failed(record, NO_CONNECTION))
        assert tree.shown()["b"] == "restarting"
    assert tree.ended is None
