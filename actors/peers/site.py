"""A site: a node on which others can start processes, as far as this node knows it."""

from __future__ import annotations

import attrs

__all__ = ["Site"]


@attrs.frozen
class Site:
    """A node on which others can start processes.

    Attributes:
        name: its full name.
        entries: what it offers to spawn; None when it has not said.
        labels: the words by which placement finds it.
        load: how busy it is, by a figure that is compared and no more; None when that is not known.
        is_near: whether it is on the machine of this node.
        is_leaving: whether it takes on nothing new.
    """

    name: str
    entries: tuple[str, ...] | None = None
    labels: tuple[str, ...] = ()
    load: tuple[int, int] | None = None
    is_near: bool = False
    is_leaving: bool = False
