"""The nodes that a node is connected to, by zone, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from enfilade.actors.cli.observe import words
from enfilade.actors.cli.observe.sight import Sight

__all__ = ["Neighbour", "zones_of"]


@attrs.frozen
class Neighbour:
    """A node of the map.

    Attributes:
        name: its full name.
        state: "this node" for the one that is observed, else that of the node link.
        is_up: whether there is a node link.
        round_trip: what an answer takes; "" if that is not known.
        rates: what goes over the link; "" if that is not known.
        used: the share of the credit that is used; None.
        credit: the same in words.
        reason: why there is no link; "".
    """

    name: str
    state: str
    is_up: bool = True
    round_trip: str = ""
    rates: str = ""
    used: float | None = None
    credit: str = ""
    reason: str = ""


def zones_of(sight: Sight) -> dict[str, list[Neighbour]]:
    """The nodes of each zone, that of the observed node first."""
    own = str(sight.fields.get("full_name", sight.observed.name))
    zones = {_zone(own): [Neighbour(words.one_line(own), "this node")]}
    for link in sorted(sight.links, key=lambda link: str(link["name"])):
        zones.setdefault(_zone(str(link["name"])), []).append(_neighbour(link))
    return zones


def _neighbour(link: Mapping[str, Any]) -> Neighbour:
    get = link.get
    state = str(get("state") or "up")
    rates = credit = ""
    used = None
    if get("frames_in") is not None:
        rates = (
            f"in {words.number(get('frames_in'))} frames/s, {words.size(get('bytes_in'))}/s"
            f"   out {words.number(get('frames_out'))} frames/s, {words.size(get('bytes_out'))}/s"
        )
    if get("window"):
        under_way, queued = get("under_way") or 0, get("queued") or 0
        used = min(1.0, under_way / link["window"])
        credit = f"{words.size(under_way)} of {words.size(link['window'])} under way"
        credit += f", {words.size(queued)} queued"
    return Neighbour(
        name=words.one_line(link["name"]),
        state=words.one_line(state),
        is_up=state == "up",
        round_trip="" if get("round_trip") is None else words.age(get("round_trip")),
        rates=rates,
        used=used,
        credit=credit,
        reason=words.one_line(get("reason") or "") if state != "up" else "",
    )


def _zone(name: str) -> str:
    return words.one_line(name.partition("@")[2]) or "?"
