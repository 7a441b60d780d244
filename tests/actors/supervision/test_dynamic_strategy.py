"""The decision core of dynamic supervisors, where it differs."""

from __future__ import annotations

from typing import Any

import pytest

from enfilade.actors.messages.reasons import NORMAL, SHUTDOWN
from enfilade.actors.supervision.child_spec import BadCombination, Child, Flags, InvalidFlag
from enfilade.actors.supervision.children import ChildCounts, DynamicChildren, NamedChildren
from enfilade.actors.supervision.refusals import (
    ChildNotFound,
    MaxChildren,
    NoChildIds,
    NoTemplate,
    StartFailed,
)
from tests.actors.supervision.world import BOOM, World, child, target

SIMPLE = Flags(strategy="simple_one_for_one")


def pool(template: Child | None = None, *, max_children: float = float("inf"), **flags: Any) -> World:
    flags = {"intensity": 10, **flags}
    return World(dynamic={"template": template, "max_children": max_children}, **flags).boot()


def start(tree: World, *args: Any) -> Any:
    children = tree.strategy.children
    assert isinstance(children, DynamicChildren)
    return tree.request(tree.strategy.start_added(children.add_from_template(args, {})))


def test_template_arguments() -> None:
    """Extra arguments follow the template's own, and a restart uses that child's own again."""
    tree = pool(Child(target, "fixed", id="w"))
    assert start(tree, 1) == "w1"
    assert start(tree, 2) == "w2"
    tree.exit("w1")
    assert tree.arguments == {"w1": ("fixed", 1), "w2": ("fixed", 2), "w3": ("fixed", 1)}
    assert tree.strategy.children.spec("w").args == ("fixed",)
    assert tree.strategy.children.spec("w2").id == "w"


def test_full_specifications() -> None:
    tree = pool()
    assert tree.request(tree.strategy.start_child(child("x"))) == "x1"
    assert tree.request(tree.strategy.start_child(child("x"))) == "x2"
    assert [info.id for info in tree.infos()] == [None, None]
    with pytest.raises(NoTemplate):
        start(tree)


@pytest.mark.parametrize("restart", ["transient", "temporary"])
def test_nothing_remains_of_a_child_that_is_down(restart: Any) -> None:
    tree = pool(child("w", restart=restart))
    start(tree)
    tree.exit("w1", NORMAL)
    assert tree.infos() == ()


def test_decline_and_failure() -> None:
    tree = pool(child("w"))
    tree.script["w"] = ["ignore", BOOM]
    assert start(tree) is None
    assert isinstance(start(tree), StartFailed)
    assert tree.infos() == ()
    assert start(tree) == "w3"
    tree.script["w"] = ["ignore"]
    tree.exit("w3")
    assert tree.infos() == ()


def test_terminate_by_ref() -> None:
    tree = pool(child("w"))
    start(tree)
    assert tree.request(tree.strategy.terminate_child("w1")) is None
    assert tree.infos() == ()
    with pytest.raises(ChildNotFound):
        tree.strategy.terminate_child("w1")
    for request in (tree.strategy.restart_child, tree.strategy.children.delete):
        with pytest.raises(NoChildIds):
            request("w")


def test_restarting_entry() -> None:
    """Between attempts a child is counted, not active, known by its last ref, and gone once terminated."""
    tree = pool(child("w"), max_children=2)
    start(tree)
    start(tree)
    tree.script["w"] = [BOOM, BOOM]
    tree.exit("w1")
    assert tree.strategy.children.counts() == ChildCounts(specs=1, active=1, supervisors=0, workers=2)
    with pytest.raises(MaxChildren):
        start(tree)
    tree.retry()
    assert tree.strategy.children.spec("w1").id == "w"
    tree.request(tree.strategy.terminate_child("w1"))
    assert tree.strategy.children.counts() == ChildCounts(specs=1, active=1, supervisors=0, workers=1)
    tree.retry()
    assert len(tree.infos()) == 1
    assert start(tree) == "w5"


def test_restarted_child_is_no_longer_known_by_its_old_ref() -> None:
    tree = pool(child("w"))
    start(tree)
    tree.script["w"] = [BOOM]
    tree.exit("w1")
    tree.retry()
    with pytest.raises(ChildNotFound):
        tree.strategy.children.spec("w1")
    assert tree.strategy.children.spec("w3").id == "w"


def test_concurrent_shutdown() -> None:
    tree = pool(child("w"))
    for _ in range(3):
        start(tree)
    tree.last_words["w2"] = "never"
    tree.do(tree.strategy.shut_down(SHUTDOWN))
    assert tree.log_since(3) == ["stop w1 w2 w3"]
    assert tree.ended is None
    tree.exit("w2", SHUTDOWN)
    assert tree.ended == SHUTDOWN


def test_too_many_restarts_end_the_supervisor() -> None:
    tree = pool(child("w"), intensity=1)
    for _ in range(3):
        start(tree)
    tree.exit("w1")
    tree.exit("w2")
    assert tree.ended == SHUTDOWN
    assert tree.alive == []


def test_all_significant() -> None:
    """The last dynamic child shuts its supervisor down."""
    tree = pool(child("w", restart="transient", significant=True), auto_shutdown="all_significant")
    start(tree)
    start(tree)
    tree.exit("w1", NORMAL)
    assert tree.ended is None
    tree.exit("w2", NORMAL)
    assert tree.ended == SHUTDOWN


def test_temporary_arguments_are_dropped() -> None:
    tree = pool(Child(target, "shared", id="w", restart="temporary"))
    start(tree, "large")
    (record,) = tree.strategy.children
    assert record.args == ()
    assert record.spec.args == ("shared",)


def test_bad_limits() -> None:
    for limit in (-1, 1.5, True):
        with pytest.raises(InvalidFlag, match="max_children"):
            DynamicChildren(SIMPLE, max_children=limit)
    for extra in (5, "text"):
        with pytest.raises(InvalidFlag, match="extra_arguments"):
            DynamicChildren(SIMPLE, extra_arguments=extra)  # type: ignore[arg-type]
    with pytest.raises(BadCombination):
        DynamicChildren(SIMPLE, child("w", restart="transient", significant=True))


def test_strategies_that_do_not_fit() -> None:
    with pytest.raises(InvalidFlag, match="strategy"):
        DynamicChildren(Flags())
    with pytest.raises(InvalidFlag, match="DynamicSupervisor"):
        NamedChildren(SIMPLE)
    with pytest.raises(InvalidFlag, match="strategy"):
        pool().strategy.change(Flags(), [])


def test_a_changed_template_is_for_children_to_come() -> None:
    tree = pool(child("old"))
    start(tree)
    tree.strategy.change(Flags(strategy="simple_one_for_one", intensity=3), [child("new")])
    assert start(tree) == "new1"
    assert tree.strategy.children.spec("old1").id == "old"
