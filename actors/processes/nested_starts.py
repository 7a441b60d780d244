"""Starts within starts, which would have no end where a process starts its own kind as it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from enfilade.actors.messages.errors import StartError
from enfilade.actors.messages.reasons import Custom
from enfilade.actors.messages.safe_text import shown_name
from enfilade.actors.processes.local_ref import process_of

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["DEEPEST", "check_depth"]

DEEPEST: Final = 500
"""Starts that may wait for one another, each for one that it has begun: more levels than a tree has."""

SHOWN: Final = 4
"""How many of them an error names: enough to see what repeats."""


def check_depth(process: Process) -> None:
    """Refuse the start of a process whose ancestors are all starting, `DEEPEST` of them.

    Raises:
        StartError: so many starts wait for this one.
    """
    starting = process.node.starting
    parent = process.parent
    kinds = [shown_name(process.target)]
    for _ in range(DEEPEST):
        ancestor = process_of(parent)
        if ancestor is None or ancestor not in starting:
            return
        parent = ancestor.parent
        if len(kinds) < SHOWN:
            kinds.append(shown_name(ancestor.target))
    chain = ", started by ".join(kinds)
    text = (
        f"{DEEPEST} starts wait for one another: {chain}; start children of the same kind after the start, "
        "not during it"
    )
    raise StartError(Custom(text), f"the process could not be started: {text}")
