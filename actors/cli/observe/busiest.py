"""The processes that hold the loop most, for the overview.

They are asked for only while an overview is shown: each view of very many processes costs the node a walk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from enfilade.actors.observing.protocol.views import TableView

__all__ = ["BUSIEST", "VIEW", "busiest_of", "nobody"]

Row = Mapping[str, Any]

BUSIEST: Final = 5
"""How many are shown."""

VIEW: Final = TableView(
    columns=("serial", "name", "label", "actor", "kind", "state", "rate", "busy"),
    sort="busy",
    count=2 * BUSIEST,  # some may have ended
)


def busiest_of(rows: Sequence[Row] | None) -> list[Row]:
    """Those of the rows of the view that are shown: of processes that run, and have held the loop lately."""
    return [row for row in rows or () if row.get("busy") and row.get("state") != "ended"][:BUSIEST]


def nobody(rows: Sequence[Row] | None) -> str:
    """The text where none is shown. Without rows the node has not answered yet."""
    if rows is None:
        return "asking the node"
    is_known = any(row.get("busy") is not None for row in rows if row.get("state") != "ended")
    return "nobody is busy" if is_known else "not known: nobody samples who runs"
