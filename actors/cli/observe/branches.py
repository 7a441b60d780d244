"""The branches of the supervision tree in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from enfilade.actors.cli.observe import words
from enfilade.actors.cli.observe.actions import Target

__all__ = [
    "Branch",
    "Sums",
    "about",
    "is_supervisor",
    "parent_of",
    "place_of",
    "state_of",
    "sums_of",
    "target_at",
]

Branch = Mapping[str, Any]
"""A branch, as the node tells it."""


@attrs.frozen
class Sums:
    """The numbers of a branch; those of all that is below it, where it is closed.

    Attributes:
        processes: below it; None for a branch that is open, or has nothing below.
        restarts: of itself and below.
        queued: messages; None if there is no process.
    """

    processes: int | None
    restarts: int
    queued: int | None


def sums_of(branch: Branch) -> Sums:
    """The numbers of a branch."""
    below = branch.get("below")
    restarts = branch.get("restarts") or 0
    if not below:
        return Sums(None, restarts, branch.get("queued"))
    return Sums(below["processes"], restarts + below["restarts"], below["queued"])


def is_supervisor(branch: Branch) -> bool:
    """Tell whether there may be others below it."""
    return "children" in branch


def place_of(branch: Branch) -> Any:
    """The key of a branch: its process, or its id where it has none."""
    return branch["process"] if branch.get("process") is not None else (branch["depth"], branch["id"])


def state_of(branch: Branch) -> str:
    """The state of a branch, where that is worth a word; else ""."""
    state: str = branch.get("process_state") or branch.get("state") or ""
    return "" if state in ("idle", "running") else state


def about(branch: Branch) -> str:
    """Describe a branch, but for its id."""
    parts = [words.one_line(branch["actor"])] if branch.get("actor") else []
    if branch.get("name") and branch["name"] != branch["id"]:
        parts.append(f"named {words.one_line(branch['name'])}")
    if branch.get("process") is not None:
        parts.append(f"({branch['process']})")
    if branch.get("elsewhere"):
        parts.append(f"elsewhere: {words.one_line(branch['elsewhere'])}")
    if branch.get("restart") not in (None, "permanent"):
        parts.append(branch["restart"])
    if branch.get("strategy") not in (None, "one_for_one"):
        parts.append(branch["strategy"])
    if branch.get("in_period"):
        allowed, period = branch["intensity"], words.age(branch["period"])
        parts.append(f"{branch['in_period']} of {allowed} restarts within {period}")
    return " ".join(parts)


def parent_of(branches: Sequence[Branch], number: int) -> int | None:
    """The number of the branch above the one of that number; None for the root."""
    depth = branches[number]["depth"]
    above = (at for at in range(number - 1, -1, -1) if branches[at]["depth"] < depth)
    return next(above, None)


def target_at(branches: Sequence[Branch], number: int, life: str) -> Target:
    """The process of the branch of that number, for actions: of branches of that start of the node."""
    branch, parent = branches[number], parent_of(branches, number)
    return Target(
        branch.get("process"),
        f"{about(branch) or 'child'} {words.one_line(branch['id'] or '-')!r}",
        life,
        is_supervisor=is_supervisor(branch),
        name=words.one_line(branch.get("name") or branch["id"] or branch.get("process")),
        supervisor=None if parent is None else branches[parent].get("process"),
        child_id=branch["id"] or f"#{branch.get('process')}",
    )
