"""Child specifications and flags: defaults, and an error for each bad field that names it and its value."""

from __future__ import annotations

import math
from typing import Any

import pytest

from enfilade.actors import Resume, Supervisor
from enfilade.actors.messages.global_name import Global
from enfilade.actors.processes.mailbox import UNBOUNDED
from enfilade.actors.supervision.backoff import Backoff
from enfilade.actors.supervision.child_spec import (
    BadCombination,
    Child,
    DuplicateChild,
    Flags,
    InvalidChild,
    InvalidFlag,
    check_child_specs,
)
from enfilade.actors.supervision.remote_entry import RemoteEntry
from tests.actors.supervision.world import target


class Overseer:
    child_type = "supervisor"


class Specified:
    @classmethod
    def child_spec(cls) -> Child:
        return Child(cls, 7, id="specified", restart="transient")


class BadlySpecified:
    @classmethod
    def child_spec(cls) -> Any:
        return {"id": "no"}


def test_what_a_specification_leaves_out() -> None:
    """Permanent, 5 seconds, worker, known by the target's name."""
    spec = Child(target, 1, 2)
    assert (spec.id, spec.args, spec.kwargs) == ("target", (1, 2), {})
    assert (spec.restart, spec.significant, spec.shutdown, spec.type) == ("permanent", False, 5.0, "worker")
    assert (spec.name, spec.label, spec.mailbox, spec.backoff) == (None, None, UNBOUNDED, None)


def test_defaults_of_a_supervisor() -> None:
    spec = Child(Overseer)
    assert (spec.type, spec.shutdown) == ("supervisor", math.inf)
    assert Child(target, type="supervisor").shutdown == math.inf
    assert Child(Overseer, type="worker").shutdown == 5.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", [1]),
        ("id", ("a", [1])),
        ("restart", "always"),
        ("restart", None),
        ("significant", "yes"),
        ("shutdown", -1),
        ("shutdown", "soon"),
        ("shutdown", math.nan),
        ("shutdown", True),
        ("type", "manager"),
        ("name", 7),
        ("label", 7),
        ("mailbox", 100),
        ("backoff", 0.5),
        ("kwargs", [("a", 1)]),
        ("kwargs", {1: 1}),
    ],
)
def test_bad_field(field: str, value: Any) -> None:
    with pytest.raises(InvalidChild) as caught:
        Child(target, **{field: value})
    assert (caught.value.field, caught.value.value) == (field, value)
    assert repr(field) in str(caught.value)
    assert repr(value) in str(caught.value)


def test_bad_target() -> None:
    with pytest.raises(InvalidChild, match="'target' is 5"):
        Child(5, id="five")


def test_missing_id() -> None:
    class Nameless:
        def __call__(self) -> None: ...

    with pytest.raises(InvalidChild, match="'id' is None"):
        Child(Nameless())


@pytest.mark.parametrize("shutdown", [0, 2.5, math.inf, "brutal_kill"])
def test_shutdown_values(shutdown: Any) -> None:
    assert Child(target, shutdown=shutdown).shutdown == shutdown


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("strategy", "one_for_some"),
        ("intensity", -1),
        ("intensity", 1.5),
        ("intensity", True),
        ("period", 0),
        ("period", math.inf),
        ("period", "5"),
        ("auto_shutdown", "sometimes"),
    ],
)
def test_bad_flag(field: str, value: Any) -> None:
    with pytest.raises(InvalidFlag) as caught:
        Flags(**{field: value})
    assert (caught.value.field, caught.value.value) == (field, value)


def test_flag_defaults() -> None:
    assert Flags() == Flags(strategy="one_for_one", intensity=1, period=5, auto_shutdown="never")


def test_significant_permanent() -> None:
    with pytest.raises(BadCombination) as caught:
        Child(target, significant=True)
    assert caught.value.settings == {"restart": "permanent", "significant": True}


def test_significant_under_never() -> None:
    spec = Child(target, significant=True, restart="transient")
    with pytest.raises(BadCombination) as caught:
        check_child_specs([spec])
    assert caught.value.settings == {"auto_shutdown": "never", "significant": True}
    assert check_child_specs([spec], "any_significant") == [spec]


def test_duplicate_ids() -> None:
    with pytest.raises(DuplicateChild) as caught:
        check_child_specs([Child(target, id=1), Child(target, id=2), Child(target, id=1)])
    assert caught.value.id == 1


@pytest.mark.parametrize("children", [None, 5, "abc", {"a": 1}, Child(target)])
def test_not_a_list(children: object) -> None:
    with pytest.raises(InvalidChild, match="'children'"):
        check_child_specs(children)  # type: ignore[arg-type]


def test_child_spec_convention() -> None:
    """A class says itself how it is supervised; anything else that can be spawned stands for itself."""
    specs = check_child_specs([Specified, target])
    assert [spec.id for spec in specs] == ["specified", "target"]
    assert (specs[0].args, specs[0].restart) == ((7,), "transient")
    with pytest.raises(InvalidChild, match="child_spec"):
        check_child_specs([BadlySpecified])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"n": 3}, r"no 'n', but kwargs, id, restart.*Child\(int, value\), or Child\(int, kwargs={'n': 3}\)"),
        ({"args": [1]}, r"no 'args': the arguments follow the target, as in Child\(int, value, \.\.\.\)"),
    ],
)
def test_misplaced_arguments(options: dict[str, Any], says: str) -> None:
    """An argument for the target among those of the specification: the error says where it goes."""
    with pytest.raises(TypeError, match=says):
        Child(int, **options)


def test_arguments_are_added_behind_and_override_by_name() -> None:
    spec = Child(target, 1, id="x", kwargs={"a": 1, "b": 2}, restart="temporary", backoff=Backoff())
    more = spec.with_arguments(2, b=3)
    assert (more.args, more.kwargs) == ((1, 2), {"a": 1, "b": 3})
    assert (more.id, more.restart, more.backoff) == ("x", "temporary", spec.backoff)
    assert (spec.args, spec.kwargs) == ((1,), {"a": 1, "b": 2})
    bare = more.without_arguments()
    assert (bare.args, bare.kwargs, bare.id) == ((), {}, "x")


def test_a_specification_says_for_whom_a_start_waits() -> None:
    """What is worked out of target and name follows them."""
    plain = Child(target, id="x", name="till")
    assert (plain.local_name, plain.is_awaited) == ("till", False)
    held = plain.renamed("x", Global("till"))
    assert (held.local_name, held.is_awaited) == (None, True)
    assert not held.renamed("x", None).is_awaited
    remote = Child(RemoteEntry("till", "till@shop"), id="x")
    assert (remote.local_name, remote.is_awaited) == (None, True)
    assert not remote.retargeted(target).is_awaited
    assert plain == Child(target, id="x", name="till")
    assert "awaited" not in repr(plain)


@pytest.mark.parametrize("unfit", [Supervisor, target])
def test_only_handlers_of_actors_are_resumed(unfit: Any) -> None:
    with pytest.raises(BadCombination, match="handlers of an actor"):
        Child(unfit, id="c", on_failure=Resume())
