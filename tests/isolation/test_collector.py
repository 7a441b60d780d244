"""Whenever the garbage collector runs, whoever waits for a reply that was dropped is told so, at once.

`SenderDropped` comes at every moment and from every thread; nobody waits for a time limit instead, and no
other wake-up is lost.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from tests.isolation.collector import EXPECTED, collect_in_thread, eager, lazy, play
from tests.tracer import Tracer

SHARES = {"sync": 72, "async": 72, "far": 600}
"""The collector runs at one in so many lines outside of the soak."""

ACTS = {"here": gc.collect, "thread": collect_in_thread}

kinds = pytest.mark.parametrize("kind", EXPECTED)
acts = pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)


def failures(kind: str, act: Callable[[], object], share: int) -> list[str]:
    """The lines at which the collector did harm, of those that the scenario goes through."""
    harmful = []
    with lazy():
        with Tracer() as tracer:
            play(kind)
        first: dict[tuple[str, int], int] = {}
        for number, line in enumerate(tracer.lines):
            first.setdefault(line, number)
        for (file, line), number in list(first.items())[::share]:
            with Tracer(number, act):
                outcomes = play(kind)
            if outcomes != EXPECTED[kind]:
                wrong = {name: told for name, told in outcomes.items() if told != EXPECTED[kind].get(name)}
                harmful.append(f"{file.rpartition('/enfilade/')[2]}:{line}: {wrong}")
    return harmful


@kinds
def test_at_every_allocation(kind: str) -> None:
    with eager():
        assert play(kind) == EXPECTED[kind]


@kinds
@acts
def test_at_some_lines(kind: str, act: Callable[[], object]) -> None:
    assert not failures(kind, act, SHARES[kind])


@pytest.mark.soak
@kinds
@acts
def test_at_every_line(kind: str, act: Callable[[], object]) -> None:
    assert not failures(kind, act, 1)
