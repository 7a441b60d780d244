"""A process hurts only itself, whatever objects it raises, gets, keeps and returns.

Every combination of an object, a place where it meets the runtime, a kind of process and a distance is tried
in a run of its own: `python -m tests.isolation` does so for those whose ids have some parts. Here each place
is tried with some of the objects, each object at some of the places; with all of them in the soak.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import attrs
import pytest

from tests.isolation.places import combinations
from tests.isolation.stage import Combination, problems

SHARE = 40
"""One in so many combinations is tried outside of the soak."""

SHARE_OF_GUESTS = 60
"""The same of those with guests, which take longer to start."""

SHARE_OF_LARGE = 480
"""The same of those with objects that take long to make."""

SHARE_IN_DEBUG_MODE = 291
"""One in so many is tried with `NodeConfig(debug=True)`, too."""

ALWAYS = ("watches_itself_die",)
"""Objects that are tried at every place: they are quick, and depend on what frees them last."""

LARGE = ("deep_", "wide_", "many_", "huge_", "long_", "repr_is_huge")

PATIENT = pytest.mark.timeout(3600)
"""Each of the longest places is tried with 84 objects, most of them with guests and two nodes: 6 s of a
processor, and minutes where ten others want it."""

SUBJECTS = [
    (subject, list(group))
    for subject, group in groupby(combinations(), lambda combination: str(combination).rsplit("-", 1)[0])
]


def failures(tried: Iterable[Combination]) -> list[str]:
    """What is wrong, each with the id of its combination."""
    return [f"{combination}: {problem}" for combination in tried for problem in problems(combination)]


def share(combination: Combination) -> int:
    """One in how many of its like is tried outside of the soak."""
    if combination.hostile in ALWAYS:
        return 1
    if combination.hostile.startswith(LARGE):
        return SHARE_OF_LARGE
    return SHARE_OF_GUESTS if "guest" in combination.place else SHARE


@pytest.mark.parametrize("number", range(len(SUBJECTS)), ids=[subject for subject, _ in SUBJECTS])
def test_a_process_hurts_only_itself(number: int) -> None:
    """Bystanders answer, timers fire, spawns work, monitors hear once, the node closes in time."""
    _, combinations_here = SUBJECTS[number]
    assert not failures(
        combination
        for index, combination in enumerate(combinations_here, number)
        if index % share(combination) == 0
    )


def in_debug_mode(tried: Iterable[Combination]) -> Iterable[Combination]:
    """The same, with nodes that check that processes share nothing."""
    return (attrs.evolve(combination, debug=True) for combination in tried)


def test_in_debug_mode() -> None:
    """U14: the check of what processes share is no harm to others either."""
    small = [each for each in combinations() if not each.hostile.startswith(LARGE)]
    assert not failures(in_debug_mode(small[::SHARE_IN_DEBUG_MODE]))


@PATIENT
@pytest.mark.soak
@pytest.mark.parametrize("number", range(len(SUBJECTS)), ids=[subject for subject, _ in SUBJECTS])
def test_with_every_object_in_debug_mode(number: int) -> None:
    """The same with all objects."""
    _, tried = SUBJECTS[number]
    assert not failures(in_debug_mode(tried))


@PATIENT
@pytest.mark.soak
@pytest.mark.parametrize("number", range(len(SUBJECTS)), ids=[subject for subject, _ in SUBJECTS])
def test_with_every_object(number: int) -> None:
    """The same with all objects."""
    _, tried = SUBJECTS[number]
    assert not failures(tried)
