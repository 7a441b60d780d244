"""Placement: the nodes that a child may be started on, the best one first.

`placed` is a function of what it is given, so every start can be predicted. `RemoteChildren` asks it; nobody
moves a child that lives.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Final

from enfilade.actors.messages.stable_hash import stable_hash
from enfilade.actors.peers.site import Site
from enfilade.actors.supervision.remote_entry import RemoteEntry

__all__ = ["placed"]

UNKNOWN: Final = (math.inf, math.inf)
"""Stands for a load that is not known, and is worse than any other."""


def placed(
    target: RemoteEntry,
    id: Hashable,  # noqa: A002 (the field's name)
    sites: Iterable[Site],
    *,
    children: Callable[[], Mapping[str, int]] = dict,
    draw: Callable[[], float] = lambda: 0.0,
) -> list[str]:
    """Name the nodes that a child may be started on, the best one first.

    Args:
        target: what it needs, and how to choose.
        id: of the child.
        sites: the nodes there are.
        children: counts the children of its supervisor on each node; asked for `place="spread"`.
        draw: draws a number from 0 to 1; used for `place="least_loaded"`.
    """
    orders = {site: _order(target, site) for site in sites}
    fitting = [site for site, order in orders.items() if order < math.inf]
    fitting.sort(key=lambda site: (orders[site], site.name))
    match target.place:
        case "spread":
            living = children()
            fitting.sort(key=lambda site: (living.get(site.name, 0), site.load or UNKNOWN))
        case "least_loaded":
            fitting = _least_loaded(fitting, draw)
        case "hash":
            fitting.sort(key=lambda site: stable_hash((site.name, id)), reverse=True)
        case "local":
            fitting.sort(key=lambda site: not site.is_near)
    return [site.name for site in fitting]


def _order(target: RemoteEntry, site: Site) -> float:
    """Return the place of the first pattern that a node matches; infinite for one that does not fit."""
    if not set(target.labels) <= set(site.labels):
        return math.inf
    if site.entries is not None and target.entry not in site.entries:
        return math.inf
    matching = (order for order, each in enumerate(target.nodes) if fnmatch.fnmatchcase(site.name, each))
    return next(matching, math.inf)


def _least_loaded(sites: Sequence[Site], draw: Callable[[], float]) -> list[Site]:
    """Put the less loaded one of two at random first, and the others after it by their load.

    Of two at random the better one is nearly as good as the best, and not the same for all who ask at once.
    """
    rest = list(sites)
    two = [rest.pop(min(int(draw() * len(rest)), len(rest) - 1)) for _ in range(min(2, len(rest)))]
    two.sort(key=_load)
    return [*two[:1], *sorted([*two[1:], *rest], key=_load)]


def _load(site: Site) -> tuple[float, float]:
    return site.load or UNKNOWN
