"""Schedules that hypothesis draws, and shrinks when they fail.

A run is a function of its seed and its schedule. `strikes` draws places and not times: "the 29th hand-over is
reset" goes on meaning the same while everything else changes, so it shrinks far better.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from hypothesis import strategies as st

from enfilade.actors.simulation.fault_schedule import Fault, Schedule
from enfilade.actors.simulation.faults.kinds import Block, Blow, Crash, Freeze, Partition, Skew, Strike
from enfilade.actors.simulation.faults.stranger_calls import Story
from enfilade.actors.simulation.faults.strangers import Stranger

__all__ = ["schedules", "strikes"]

KINDS = get_args(Blow)


def schedules(hosts: Sequence[str], within: float, *, most: int = 20) -> st.SearchStrategy[Schedule]:
    """Draw faults of these hosts, each at a time within so many seconds; at most `most` of them."""
    host = st.sampled_from(list(hosts))
    seconds = st.floats(0.01, 5.0, allow_nan=False).map(lambda drawn: round(drawn, 3))
    pairs = st.permutations(list(hosts)).map(lambda order: (order[0], order[-1]))
    faults: list[st.SearchStrategy[Fault]] = [
        st.builds(Crash, host, st.sampled_from(["process", "machine"]), seconds),
        st.builds(Freeze, host, seconds),
        st.builds(Block, host, seconds),
        st.builds(Skew, host, st.sampled_from([-3600.0, 3600.0])),
        st.builds(Stranger, host, st.sampled_from(get_args(Story)), seconds, st.integers(0, 1000)),
    ]
    if len(hosts) > 1:
        how = st.sampled_from(["silence", "reset"])
        faults.append(
            st.builds(
                lambda pair, span, how, one_way: Partition(pair[0], pair[1], span, how, one_way),
                pairs,
                seconds,
                how,
                st.booleans(),
            )
        )
    when = st.floats(0.0, within, allow_nan=False).map(lambda drawn: round(drawn, 3))
    return st.lists(st.tuples(when, st.one_of(faults)), max_size=most)


def strikes(places: int = 100, *, most: int = 6) -> st.SearchStrategy[Schedule]:
    """Draw strikes at the first so many hand-overs of a world; at most `most` of them."""
    one = st.builds(Strike, st.integers(1, places), st.sampled_from(KINDS))
    return st.lists(one, max_size=most, unique_by=lambda strike: strike.place).map(
        lambda drawn: [(0.0, strike) for strike in drawn]
    )
