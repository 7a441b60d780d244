"""Places in a program where a simulation may let happen what seldom happens."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

__all__ = ["DRAW", "rare"]

DRAW: Final[ContextVar[Callable[[str, float], bool] | None]] = ContextVar("enfilade_rare", default=None)
"""Draws for the code of a simulated host; None everywhere else."""


def rare(name: str, share: float) -> bool:
    """Tell whether something rare is to happen here: only ever in a simulated world, where the seed draws it.

    A program asks where it could be slow, full or interrupted but hardly ever is: `if rare("miss", 0.05)`.
    Not a checkpoint. In production it costs the look at one context variable.

    Args:
        name: of the place; each has draws of its own on each host.
        share: how often it is to happen in a world, from 0 to 1.

    Returns:
        False, except in a world, in that share of all cases.
    """
    draw = DRAW.get()
    return draw is not None and draw(name, share)
