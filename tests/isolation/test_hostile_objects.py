"""A process hurts only itself, whatever objects it raises, gets, keeps and returns.

Every combination of an object, a place where it meets the runtime, a kind of process and a distance is tried
in a run of its own: `python -m tests.isolation` does so for those whose ids have some parts. Here each place
is tried with some of the objects, each object at some of the places; with all of them in the soak.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import pytest

from tests.isolation.places import combinations
from tests.isolation.stage import Combination, problems

SHARE = 8
"""One in so many combinations is tried outside of the soak."""

SHARE_OF_LARGE = 160
"""The same of those with objects that take long to make."""

LARGE = ("deep_", "wide_", "many_", "huge_", "long_", "repr_is_huge")

SUBJECTS = [
    (subject, list(group))
    for subject, group in groupby(combinations(), lambda combination: str(combination).rsplit("-", 1)[0])
]


def failures(tried: Iterable[Combination]) -> list[str]:
    """What is wrong, each with the id of its combination."""
    return [f"{combination}: {problem}" for combination in tried for problem in problems(combination)]


@pytest.mark.parametrize("number", range(len(SUBJECTS)), ids=[subject for subject, _ in SUBJECTS])
def test_a_process_hurts_only_itself(number: int) -> None:
    """Bystanders answer, timers fire, spawns work, monitors hear once, the node closes in time."""
    _, combinations_here = SUBJECTS[number]
    assert not failures(
        combination
        for index, combination in enumerate(combinations_here, number)
        if index % (SHARE_OF_LARGE if combination.hostile.startswith(LARGE) else SHARE) == 0
    )


@pytest.mark.soak
@pytest.mark.parametrize("number", range(len(SUBJECTS)), ids=[subject for subject, _ in SUBJECTS])
def test_with_every_object(number: int) -> None:
    """The same with all objects."""
    _, tried = SUBJECTS[number]
    assert not failures(tried)
