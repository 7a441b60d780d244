"""Placement is a function: which node each policy picks, of which nodes."""

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from enfilade.actors import RemoteEntry
from enfilade.actors.peers.site import Site
from enfilade.actors.supervision.placement import placed

SITES = (
    Site("a@east", ("Work",), ("gpu",), (0, 9), is_near=False),
    Site("b@east", ("Work",), ("gpu", "big"), (0, 3), is_near=True),
    Site("c@west", ("Work", "Rest"), (), (4, 1)),
)

CASES: list[tuple[Any, tuple[str, ...], dict[str, Any], list[str]]] = [
    ("first", ("c@west", "*@east"), {}, ["c@west", "a@east", "b@east"]),
    ("first", ("*@*",), {}, ["a@east", "b@east", "c@west"]),
    ("first", ("*@*",), {"labels": ["gpu"]}, ["a@east", "b@east"]),
    ("first", ("*@*",), {"labels": ["gpu", "big"]}, ["b@east"]),
    ("first", ("d@*",), {}, []),
    ("spread", ("*@*",), {}, ["b@east", "a@east", "c@west"]),
    ("local", ("*@*",), {}, ["b@east", "a@east", "c@west"]),
]


@pytest.mark.parametrize(("place", "patterns", "options", "names"), CASES)
def test_mesh_105_each_policy_picks_its_node(
    place: Any, patterns: tuple[str, ...], options: dict[str, Any], names: list[str]
) -> None:
    assert placed(RemoteEntry("Work", *patterns, place=place, **options), "id", SITES) == names


def test_mesh_105_who_does_not_offer_the_entry_is_passed_over() -> None:
    assert placed(RemoteEntry("Rest", "*@*"), "id", SITES) == ["c@west"]
    silent = Site("d@west")
    assert placed(RemoteEntry("Rest", "d@*"), "id", [silent]) == ["d@west"], "it may offer it"


def test_mesh_105_spread_counts_children_before_load() -> None:
    target = RemoteEntry("Work", "*@*", place="spread")
    counts = {"b@east": 1, "a@east": 2}
    assert placed(target, "id", SITES, children=lambda: counts) == ["c@west", "b@east", "a@east"]


@pytest.mark.parametrize(
    ("draws", "best"), [((0.0, 0.0), "b@east"), ((0.0, 0.9), "a@east"), ((0.9, 0.9), "b@east")]
)
def test_mesh_105_the_less_loaded_of_two_at_random(draws: tuple[float, ...], best: str) -> None:
    """And the others after it, by their load; a load that is not known is the worst."""
    left = iter(draws)
    target = RemoteEntry("Work", "*@*", place="least_loaded")
    names = placed(target, "id", SITES, draw=lambda: next(left))
    assert names[0] == best
    assert names[1:] == [each for each in ("b@east", "a@east", "c@west") if each != best]
    unknown = Site("d@west", ("Work",))
    names = placed(target, "id", [unknown, *SITES], draw=lambda: 0.0)
    assert names[-1] == "d@west"


NAMES = st.lists(st.from_regex(r"[a-e]@[xyz]", fullmatch=True), unique=True, min_size=1)


@given(names=NAMES, id=st.one_of(st.text(), st.integers()), data=st.data())
def test_mesh_105_hash_stays_when_others_come(names: list[str], id: Any, data: Any) -> None:  # noqa: A002
    """Nobody moves but to the node that comes, or from the one that goes."""
    target = RemoteEntry("Work", "*@*", place="hash")
    (best, *rest) = placed(target, id, map(Site, names))
    assert sorted([best, *rest]) == sorted(names)
    gone = data.draw(st.sampled_from(names))
    left = placed(target, id, [Site(name) for name in names if name != gone])
    assert left == [name for name in [best, *rest] if name != gone]
