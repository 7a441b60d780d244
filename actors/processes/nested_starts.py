"""Starts within starts, which would have no end where a process starts its own kind as it starts.

A tree is as deep as its specifications: the classes of the runtime start what they are given, and end with
it. A class of a program that starts itself decides by its own code when that is enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from enfilade.actors.messages.errors import StartError
from enfilade.actors.messages.kinds import is_a, module_of
from enfilade.actors.messages.reasons import Custom
from enfilade.actors.messages.safe_text import shown_name
from enfilade.actors.processes.local_ref import process_of

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["DEEPEST", "check_depth"]

DEEPEST: Final = 500
"""Starts of one kind that may wait for one another, each for one that it has begun."""

SHOWN: Final = 4
"""How many of them an error names: enough to see what repeats."""


def check_depth(process: Process) -> None:
    """Refuse the start of a process for which `DEEPEST` starts of its kind wait, each among its ancestors.

    Raises:
        StartError: so many starts wait for this one.
    """
    if _is_given_its_children(process.target):
        return
    starting = process.node.starting
    parent = process.parent
    kinds = [shown_name(process.target)]
    waiting = 0
    while waiting < DEEPEST:
        ancestor = process_of(parent)
        if ancestor is None or ancestor not in starting:
            return
        parent = ancestor.parent
        waiting += ancestor.target is process.target
        if len(kinds) < SHOWN:
            kinds.append(shown_name(ancestor.target))
    chain = ", started by ".join(kinds)
    text = (
        f"{DEEPEST} starts wait for one another: {chain}; start children of the same kind after the start, "
        "not during it"
    )
    raise StartError(Custom(text), f"the process could not be started: {text}")


def _is_given_its_children(target: Any) -> bool:
    module = module_of(target) if is_a(target, type) else None
    return module is not None and module.startswith("enfilade.")
