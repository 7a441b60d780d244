"""The orders of a page, as JSON: what to show, and what to do.

What a view shows comes from those who look: they type filters, names and addresses. So a wish is read apart
from the order that it comes with, and one that cannot be shown is refused, without an end to the link.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

__all__ = [
    "ORDERS",
    "WISHES",
    "Ack",
    "Act",
    "Change",
    "Close",
    "Order",
    "ShowAll",
    "ShowEvent",
    "ShowHead",
    "ShowLog",
    "ShowNodes",
    "ShowOverview",
    "ShowProcess",
    "ShowTable",
    "ShowTimeline",
    "ShowTrace",
    "ShowTree",
    "Watch",
    "Wish",
]

Number = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Text = Annotated[str, msgspec.Meta(max_length=1_000)]
Texts = Annotated[list[Text], msgspec.Meta(max_length=64)]
Seconds = Annotated[float, msgspec.Meta(ge=0.1, le=60.0)]


class _Wish(msgspec.Struct, forbid_unknown_fields=True, tag_field="show"):
    """A view that a page wishes to see."""


class ShowHead(_Wish, tag="head"):
    """All nodes, each in a line."""


class ShowAll(_Wish, tag="all"):
    """The warnings, crashes and events of all nodes together."""


class ShowOverview(_Wish, tag="overview"):
    """Plots, warnings, the busiest processes, the longest mailboxes, the last crashes."""


class ShowTable(_Wish, tag="table"):
    """A window of a table. Without columns those that are shown at first; see `columns`."""

    of: Text = "processes"
    columns: Texts = []
    sort: Text | None = None
    descending: bool = True
    match: Text = ""
    first: Number = 0
    count: Annotated[int, msgspec.Meta(ge=1, le=500)] = 100


class ShowTree(_Wish, tag="tree"):
    """The supervision tree, with some supervisors open."""

    open: Annotated[list[Number], msgspec.Meta(max_length=1_000)] = []


class ShowProcess(_Wish, tag="process"):
    """One process in detail, by its serial, or by its name; with the contents of its messages, if they may be
    seen.
    """

    process: Number | Text
    contents: bool = False


class ShowNodes(_Wish, tag="nodes"):
    """The nodes that this one is connected to."""


class ShowTimeline(_Wish, tag="timeline"):
    """Restarts on an axis of so many seconds, and the last events."""

    span: Annotated[float, msgspec.Meta(ge=1.0, le=86_400.0)] = 600.0


class ShowEvent(_Wish, tag="event"):
    """One event in full."""

    event: Number


class ShowLog(_Wish, tag="log"):
    """The last lines of the log."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    prefix: Text = ""


class ShowTrace(_Wish, tag="trace"):
    """The messages of some processes, as a chart, until the trace ends by itself."""

    processes: Annotated[list[Number | Text], msgspec.Meta(min_length=1, max_length=64)]
    sends: bool = False
    contents: bool = False
    follow: bool = False
    count: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 100
    seconds: Annotated[float, msgspec.Meta(ge=1.0, le=600.0)] = 60.0


Wish = (
    ShowHead
    | ShowAll
    | ShowOverview
    | ShowTable
    | ShowTree
    | ShowProcess
    | ShowNodes
    | ShowTimeline
    | ShowEvent
    | ShowLog
    | ShowTrace
)


class _Order(msgspec.Struct, forbid_unknown_fields=True, tag_field="do"):
    """An order of a page. The numbers are the page's own."""


class Watch(_Order, tag="watch"):
    """Show a view of a node from now on."""

    watch: Number
    view: msgspec.Raw
    node: Number = 0
    interval: Seconds = 1.0


class Change(_Order, tag="change"):
    """Show another view of the same kind in a watch."""

    watch: Number
    view: msgspec.Raw


class Ack(_Order, tag="ack"):
    """The last update of a watch has been drawn."""

    watch: Number
    number: Number


class Close(_Order, tag="close"):
    """Show nothing more in a watch."""

    watch: Number


class Act(_Order, tag="act"):
    """Do something to a process; not confirmed, say what that would be."""

    act: Number
    key: Annotated[str, msgspec.Meta(max_length=1)]
    shown: Text
    life: Text
    serial: Number | None = None
    is_supervisor: bool = False
    name: Text = ""
    supervisor: Number | None = None
    child_id: Text | None = None
    given: Text = ""
    node: Number = 0
    is_confirmed: bool = False


Order = Watch | Change | Ack | Close | Act

ORDERS: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(Order)
"""Reads orders; raises `msgspec.MsgspecError`."""

WISHES: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(Wish)
"""Reads the view of an order; raises `msgspec.MsgspecError`."""
