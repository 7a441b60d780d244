"""Group I: validation of specifications, and what an upgrade changes."""

from __future__ import annotations

import math
from typing import Any

import pytest
from trio.testing import MockClock

from enfilade.actors import NORMAL, SHUTDOWN, Crashed, StartError
from enfilade.actors.supervision.child_spec import (
    BadCombination,
    Child,
    DuplicateChild,
    InvalidChild,
    InvalidFlag,
    check_child_specs,
)
from enfilade.actors.supervision.supervisor import Supervisor
from tests.conformance.actors.family import BOOM, Family, Member, clean_node, supervise


@pytest.mark.parametrize(
    ("field", "values"),
    {
        "id": [[], {}],
        "restart": ["never", 1, None],
        "significant": [1, "yes", None],
        "shutdown": [-0.1, "later", math.nan, True],
        "type": ["boss", 1],
        "name": [1, ""],
        "label": [1],
        "mailbox": [10],
        "backoff": [1.0],
        "kwargs": [1],
    }.items(),
)
def test_act_i1_each_invalid_field(field: str, values: list[Any]) -> None:
    """The error names the field and the value."""
    for value in values:
        with pytest.raises(InvalidChild) as caught:
            Child(Member, **{field: value})
        assert caught.value.field == field
        assert repr(value) in str(caught.value)


@pytest.mark.parametrize("target", [None, 5, "Member", object()])
def test_act_i1_invalid_target(target: object) -> None:
    with pytest.raises(InvalidChild) as caught:
        check_child_specs([Child(target, id="a")])
    assert caught.value.field == "target"


def test_act_i1_not_a_list() -> None:
    for children in (None, 5, "abc", Child(Member)):
        with pytest.raises(InvalidChild) as caught:
            check_child_specs(children)  # type: ignore[arg-type]
        assert caught.value.field == "children"


def test_act_i1_valid() -> None:
    family = Family()
    assert [spec.id for spec in check_child_specs(family.children("abc"))] == ["a", "b", "c"]
    assert check_child_specs([]) == []


async def test_act_i2_duplicate_ids(autojump_clock: MockClock) -> None:
    """When checked, and when started."""
    family = Family()
    children = [*family.children("ab"), family.child("a")]
    with pytest.raises(DuplicateChild) as caught:
        check_child_specs(children)
    assert caught.value.id == "a"
    async with clean_node() as node:
        with pytest.raises(StartError) as failed:
            await supervise(node, children)
        assert isinstance(failed.value.reason, Crashed)
        assert isinstance(failed.value.reason.error, DuplicateChild)
    assert family.journal == []


def test_act_i_contradictions() -> None:
    """A significant child under a supervisor that never shuts itself down; a significant permanent child."""
    family = Family()
    with pytest.raises(BadCombination) as caught:
        check_child_specs([family.child("a", restart="temporary", significant=True)])
    assert caught.value.settings == {"auto_shutdown": "never", "significant": True}
    with pytest.raises(BadCombination) as caught:
        family.child("a", restart="permanent", significant=True)
    assert caught.value.settings == {"restart": "permanent", "significant": True}


async def test_act_i4_change(autojump_clock: MockClock) -> None:
    """SUP-56: running processes are kept, new children are not started, missing ones stay at the end, flags
    take
    effect.
    """
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, family.children("abc"))
        family.take()
        new = [family.child("n"), family.child("c", restart="transient"), family.child("a")]
        await supervisor.call(Supervisor.change, new, strategy="one_for_all", intensity=1, period=60.0)
        assert family.take() == []
        shown = await family.shown(supervisor)
        assert shown == {"n": None, "c": "c1", "a": "a1", "b": "b1"}
        assert list(shown) == ["n", "c", "a", "b"]
        await family.crash("c1", NORMAL)
        assert (await family.shown(supervisor))["c"] is None
        await family.crash("a1")
        assert await family.shown(supervisor) == {"n": "n1", "c": "c2", "a": "a2", "b": "b2"}
        async with node.mailbox() as me:
            me.monitor(supervisor)
            await family.crash("b2")
            assert (await me.receive()).reason == SHUTDOWN


async def test_act_i_bad_change(autojump_clock: MockClock) -> None:
    """SUP-56: it is refused whole, and the supervisor goes on as it was."""
    family = Family()
    async with clean_node() as node:
        supervisor = await supervise(node, family.children("ab"))
        with pytest.raises(DuplicateChild):
            await supervisor.call(Supervisor.change, [family.child("x"), family.child("x")], intensity=0)
        with pytest.raises(InvalidFlag):
            await supervisor.call(Supervisor.change, [], period=-1)
        await family.crash("a1", BOOM)
        assert await family.shown(supervisor) == {"a": "a2", "b": "b1"}
