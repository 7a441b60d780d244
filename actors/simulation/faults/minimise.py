"""Minimising: the few faults of a schedule that a failure needs, and the shortest time it needs of them."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from enfilade.actors.simulation.fault_schedule import Fault, Schedule

__all__ = ["minimised"]


def minimised(schedule: Schedule, fails: Callable[[Schedule], bool], runs: int) -> Schedule:
    """Take faults out of a schedule for as long as it still fails: halves first, then smaller parts.

    Args:
        schedule: one that fails.
        fails: runs a schedule and tells whether it fails in the same way.
        runs: how many times that may be called.

    Returns:
        The smallest schedule that was found.
    """
    left = runs

    def try_out(candidate: Schedule) -> bool:
        nonlocal left
        left -= 1
        return left >= 0 and fails(candidate)

    kept = list(schedule)
    size = len(kept)
    while size and left > 0:
        place, before = 0, len(kept)
        while place < len(kept) and left > 0:
            candidate = kept[:place] + kept[place + size :]
            if try_out(candidate):
                kept = candidate
            else:
                place += size
        if size > 1:
            size //= 2
        elif len(kept) == before:
            size = 0  # otherwise one that was needed may not be needed any more
    for place in range(len(kept)):
        when, fault = kept[place]
        shorter = _shorter(fault)
        while shorter is not None and try_out([*kept[:place], (when, shorter), *kept[place + 1 :]]):
            kept[place] = when, shorter
            shorter = _shorter(shorter)
    return kept


def _shorter(fault: Fault) -> Fault | None:
    """The same fault for a tenth of the time; None if it has none."""
    seconds = getattr(fault, "seconds", None)
    if not isinstance(seconds, float) or seconds <= 0.1:
        return None
    return attrs.evolve(fault, seconds=round(seconds / 10, 3))  # type: ignore[misc]
