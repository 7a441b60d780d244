"""Settings are checked where they are made: what is of the wrong kind is named, and never counts as true."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from enfilade.actors import (
    Actor,
    Backoff,
    Child,
    Guest,
    InvalidBackoff,
    InvalidChild,
    NodeConfig,
    RateLimit,
    Resume,
)
from enfilade.actors.peers.mesh.kind import Kind
from enfilade.actors.simulation.faults import kinds
from enfilade.fields import (
    a_bool,
    a_number,
    an_int,
    are_texts,
    as_texts,
    by_annotation,
    instance_of,
    is_int,
    is_number,
    tuple_of,
)
from enfilade.hostcalls import Limits, Network, NetworkSettings, Policy
from enfilade.hostcalls.contracts.authority import Authority
from enfilade.hostcalls.engine import EngineConfig
from enfilade.transport import Limits as PeerLimits
from enfilade.transport import Policy as PeerPolicy
from enfilade.transport import Rights, Rule, Settings
from enfilade.transport.mesh.settings import Mesh
from enfilade.transport.simulated.ways import Port, Way

LARGEST = int(sys.float_info.max)


class Keyed(Actor):
    """Started with its key."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key


class Unshown:
    """Raises when it is shown."""

    def __repr__(self) -> str:
        raise LookupError("no text")


NEEDED: dict[type, dict[str, Any]] = {
    Authority: {},
    EngineConfig: {},
    Guest: {"module": b""},
    Kind: {"actor": Keyed},
    Limits: {},
    Mesh: {"servers": "embedded"},
    Network: {},
    NetworkSettings: {},
    NodeConfig: {},
    PeerLimits: {},
    PeerPolicy: {"rules": [Rule()]},
    Policy: {},
    Rights: {},
    Rule: {},
    Settings: {},
    Way: {"origin": Port("a", "z"), "destination": Port("b", "z")},
}
"""The classes of settings, with what each needs besides the field that is wrong."""

OTHERWISE = {
    (Kind, "actor"),
    (Mesh, "servers"),
    (PeerPolicy, "secret"),
    *((Way, name) for name in ("origin", "destination", "is_silent", "is_cut")),
}
"""Fields that take what others refuse, or say more about it, each with tests of its own."""

FIELDS = [
    pytest.param(kind, field.alias, id=f"{kind.__module__[9:]}.{kind.__name__}.{field.name}")
    for kind in NEEDED
    for field in attrs.fields(kind)
    if field.init and (kind, field.name) not in OTHERWISE
]


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_a_field_refuses_what_is_no_value_of_any_setting(kind: type, name: str) -> None:
    """The error is the field's: it names it, shows the value, and is not one of a comparison."""
    for wrong in (Ellipsis, Unshown()):
        with pytest.raises((TypeError, ValueError), match=name) as caught:
            kind(**{**NEEDED[kind], name: wrong})
        assert "not supported between" not in str(caught.value)
        assert (
            "Ellipsis" in str(caught.value)
            or "Unshown" in str(caught.value)
            or "unprintable" in str(caught.value)
        )


TRUTHS = [
    (kind, field.alias)
    for kind in NEEDED
    for field in attrs.fields(kind)
    if field.type in (bool, "bool") and (kind, field.name) not in OTHERWISE
]


@pytest.mark.parametrize(("kind", "name"), TRUTHS)
@pytest.mark.parametrize("wrong", ["no", "", 0, 1, None])
def test_only_true_and_false_are_truth_values(kind: type, name: str, wrong: object) -> None:
    """The text "no" is no right to control a node, and 0 is not said to be False."""
    with pytest.raises(TypeError, match=re.escape(f"{name} must be True or False, got {wrong!r}")):
        kind(**{**NEEDED[kind], name: wrong})


def test_there_are_truth_values_among_them() -> None:
    assert (Rights, "control") in TRUTHS
    assert (NodeConfig, "debug") in TRUTHS
    assert (Policy, "upstream") in TRUTHS
    assert (EngineConfig, "deterministic") in TRUTHS
    assert (Mesh, "registry") in TRUTHS
    assert (Kind, "single") in TRUTHS


NUMBERS = [
    (kind, field.name, field.type)
    for kind in vars(kinds).values()
    if isinstance(kind, type) and kind.__module__ == kinds.__name__
    for field in attrs.fields(kind)
    if field.type in ("float", "int", "float | None", "int | None")
]


@pytest.mark.parametrize(("kind", "name", "annotation"), NUMBERS)
def test_the_numbers_of_a_fault_are_numbers(kind: type, name: str, annotation: str) -> None:
    """The message names the field; that of a comparison would not."""
    required = (field for field in attrs.fields(kind) if field.default is attrs.NOTHING)
    given = {field.name: 1 if field.type in ("float", "int") else "x" for field in required}
    wanted = "a number" if annotation.startswith("float") else "an integer"
    with pytest.raises(TypeError, match=f"^{name} must be {wanted}, got '1'$"):
        kind(**{**given, name: "1"})


@attrs.frozen(kw_only=True, field_transformer=by_annotation)
class Some:
    """One field of each kind."""

    flag: bool = False
    count: int = 1
    share: float = 0.5
    most: int | None = None
    secret: bytes = b""
    path: Path | None = attrs.field(default=None, validator=instance_of(lambda: (Path, type(None)), "a Path"))
    words: tuple[str, ...] = attrs.field(default=(), converter=as_texts, validator=are_texts)
    kinds: tuple[type, ...] = attrs.field(default=(), validator=tuple_of(type, "classes"))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"flag": 1}, "flag must be True or False, got 1"),
        ({"count": 1.0}, "count must be an integer, got 1.0"),
        ({"count": True}, "count must be an integer, got True"),
        ({"share": "0.5"}, "share must be a number, got '0.5'"),
        ({"share": None}, "share must be a number, got None"),
        ({"share": False}, "share must be a number, got False"),
        ({"most": "1"}, "most must be an integer, got '1'"),
        ({"secret": "text"}, "secret must be bytes, got 'text'"),
        ({"path": "text"}, "path must be a Path, got 'text'"),
        ({"words": 5}, "words must be a string or a sequence of strings, got 5"),
        ({"words": ["a", 5]}, "words must be a string or a sequence of strings, got 5"),
        ({"words": b"ab"}, "words must be a string or a sequence of strings, got 97"),
        ({"kinds": [int]}, "kinds must be classes, got [<class 'int'>]"),
        ({"kinds": (int, 5)}, "kinds must be classes, got 5"),
    ],
)
def test_what_is_told(given: dict[str, Any], told: str) -> None:
    """The message names the field, says what it must be, and shows what it got."""
    with pytest.raises(TypeError, match=f"^{re.escape(told)}$"):
        Some(**given)


def test_what_is_taken() -> None:
    """Values of the kind are kept as they are; one text is a sequence of one."""
    assert Some(share=2, most=3, words="one") == Some(share=2.0, most=3, words=["one"])


def test_a_long_value_is_cut() -> None:
    """What is shown of a value has a bound."""
    with pytest.raises(TypeError) as caught:
        Some(count="x" * 100_000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("check", [a_bool, a_number, an_int])
def test_the_name_that_is_told_is_that_of_the_argument(check: Any) -> None:
    """A private attribute is named as the constructor has it."""
    kind = attrs.make_class("Private", {"_inner": attrs.field(validator=check)})
    with pytest.raises(TypeError, match=r"^inner must be"):
        kind(inner="wrong")


@pytest.mark.parametrize(
    ("value", "whole", "number"),
    [
        (3, True, True),
        (-0.5, False, True),
        (True, False, False),
        ("3", False, False),
        (None, False, False),
        (LARGEST, True, True),
        (-LARGEST, True, True),
        (10 * LARGEST, True, False),
        (-10 * LARGEST, True, False),
    ],
    ids=lambda value: repr(value)[:10],
)
def test_a_bool_is_no_number(value: object, whole: bool, number: bool) -> None:
    """Python counts True as 1; where a number is asked for, it is a mistake."""
    assert (is_int(value), is_number(value)) == (whole, number)


@pytest.mark.parametrize(
    "make",
    [
        lambda number: NodeConfig(call_timeout=number),
        lambda number: NodeConfig(grace=number),
        lambda number: NodeConfig(watchdog=number),
        lambda number: Backoff(first=1, maximum=number),
        lambda number: Backoff(reset=number),
        lambda number: Child(Keyed, shutdown=number),
        lambda number: Child(Keyed, start_timeout=number),
        lambda number: Resume(period=number),
        lambda number: RateLimit(number),
        lambda number: Settings(period=number),
    ],
)
def test_a_number_that_no_float_can_hold(make: Callable[[int], object]) -> None:
    """It is refused where it is given: its sum with the time of the clock would fail, in whoever makes it."""
    with pytest.raises((ValueError, InvalidChild, InvalidBackoff)):
        make(10 * LARGEST)
    make(10**30)
