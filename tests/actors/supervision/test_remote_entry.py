"""Remote entries, and what the decision core makes of a child whose node is away."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from enfilade.actors import BadCombination, Child, InvalidChild, InvalidEntry, Mailbox, RemoteEntry
from enfilade.actors.messages.errors import RuntimeFault
from enfilade.actors.messages.reasons import NO_CONNECTION
from tests.actors.supervision.world import World, child

BAD_ENTRIES: list[tuple[str, Callable[[], Any]]] = [
    ("entry", lambda: RemoteEntry("", "a@b")),
    ("entry", lambda: RemoteEntry(5, "a@b")),  # type: ignore[arg-type]
    ("nodes", lambda: RemoteEntry("x")),
    ("nodes", lambda: RemoteEntry("x", "nowhere")),
    ("nodes", lambda: RemoteEntry("x", "@b")),
    ("nodes", lambda: RemoteEntry("x", ["a@b"])),  # type: ignore[arg-type]
    ("absent", lambda: RemoteEntry("x", "a@b", absent="ignore")),  # type: ignore[arg-type]
    ("place", lambda: RemoteEntry("x", "a@b", place="best")),  # type: ignore[arg-type]
    ("labels", lambda: RemoteEntry("x", "a@b", labels="gpu")),
    ("labels", lambda: RemoteEntry("x", "a@b", labels=[""])),
    ("labels", lambda: RemoteEntry("x", "a@b", labels=5)),  # type: ignore[arg-type]
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
    far = Child(RemoteEntry("x", "a@b"), id="b", **options)
    return World([child("a"), far, child("c")], present=away, strategy=strategy, intensity=2).boot()


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
        away.present = False
        tree.do(tree.strategy.start_failed(tree.record("b"), NO_CONNECTION))
        assert tree.shown()["b"] == "restarting"
    assert tree.ended is None


FAR = ("f", "g")
STRATEGIES = ["one_for_one", "one_for_all", "rest_for_one"]


class ComingsAndGoings(RuleBasedStateMachine):
    """A node comes and goes, and children with it: none lives on a node that is away, none is forgotten."""

    @initialize(
        strategy=st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"]), present=st.booleans()
    )
    def boot(self, strategy: Any, present: bool) -> None:
        self.away = Away()
        self.away.present = present
        far = [Child(RemoteEntry("x", "a@b"), id=letter) for letter in FAR]
        children = [child("a"), far[0], child("b"), far[1]]
        self.tree = World(children, present=self.away, strategy=strategy, intensity=4, period=1.0).boot()

    def lives(self) -> bool:
        return self.tree.ended is None

    def abroad(self) -> list[str]:
        return [ref for ref in self.tree.alive if ref[0] in FAR]

    @rule()
    def time_passes(self) -> None:
        self.tree.now += 0.5

    @rule()
    def node_goes(self) -> None:
        self.away.present = False
        for ref in self.abroad():
            if ref in self.tree.alive:
                self.tree.exit(ref, NO_CONNECTION)

    @rule()
    def node_comes(self) -> None:
        self.away.present = True
        due = [retry for retry in self.tree.retries if retry.delay == math.inf]
        self.tree.retries = [retry for retry in self.tree.retries if retry.delay < math.inf]
        for retry in due:
            self.tree.do(self.tree.strategy.retry(retry))

    @precondition(lambda self: any(retry.delay < math.inf for retry in self.tree.retries))
    @rule()
    def retry_comes(self) -> None:
        retry = next(retry for retry in self.tree.retries if retry.delay < math.inf)
        self.tree.retries.remove(retry)
        self.tree.do(self.tree.strategy.retry(retry))

    @precondition(lambda self: self.tree.alive)
    @rule(data=st.data())
    def a_child_ends(self, data: st.DataObject) -> None:
        self.tree.exit(data.draw(st.sampled_from(self.tree.alive)))

    @precondition(lives)
    @rule(letter=st.sampled_from(["a", *FAR]), fails=st.booleans())
    def start_fails(self, letter: str, fails: bool) -> None:
        self.tree.script[letter] = [NO_CONNECTION] if fails else []

    @precondition(lives)
    @rule(letter=st.sampled_from(["a", *FAR]), request=st.sampled_from(["terminate_child", "restart_child"]))
    def administer(self, letter: str, request: str) -> None:
        if request == "restart_child" and letter in FAR and not self.away.present:
            self.tree.script[letter] = [NO_CONNECTION]
        with suppress(RuntimeFault):
            self.tree.request(getattr(self.tree.strategy, request)(letter))

    @invariant()
    def nobody_lives_on_a_node_that_is_away(self) -> None:
        assert self.away.present or self.abroad() == []

    @invariant()
    def nobody_is_forgotten(self) -> None:
        waiting = {retry.child.key for retry in self.tree.retries if retry.child.retry is retry}
        if self.lives():
            assert waiting == {key for key, ref in self.tree.shown().items() if ref == "restarting"}

    @invariant()
    def nobody_is_left_when_it_has_ended(self) -> None:
        assert not self.tree.strategy.busy
        assert self.lives() or self.tree.alive == []


TestComingsAndGoings = ComingsAndGoings.TestCase
TestComingsAndGoings.settings = settings(max_examples=40)
