"""The one place that chooses between the compiled ways of a frame and their twins in Python.

What nearly every frame goes through is compiled: the functions in `TWINS` (`core.h` says how). Those of the
same names in Python are their twins: they say what is to be done, and do it where nothing was compiled, or
where the fields that the C reads are not found where it looks. Both work on the same objects, so choosing is
to put the one or the other into the class.

The environment variable `ENFILADE_CORE=python` chooses the twins here, as it does in the core of actors:
`twins.py`, beside the packages, serves both. A choice counts for node links that are made from then on.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from enfilade.transport import node_link, outward, turn, wire
from enfilade.transport.carrier import Arrival, CarrierError, Status
from enfilade.transport.inward import Inward
from enfilade.transport.node_link import NodeLink, Outgoing
from enfilade.transport.outward import Outward
from enfilade.transport.turn import Turn
from enfilade.twins import Function, Site, choice_of, name_in_c, places

__all__ = ["CHOICE", "IS_AVAILABLE", "choose", "in_use"]

TWINS: Final[dict[Site, Function]] = {
    (NodeLink, "send_at_once"): NodeLink.send_at_once,
    (NodeLink, "received"): NodeLink.received,
    (Outward, "send_encoded"): Outward.send_encoded,
    (Outward, "flush"): Outward.flush,
    (Inward, "_take_in_turn"): Inward._take_in_turn,
}
"""The functions in Python, by where they are."""

SLOTTED: Final[dict[str, Any]] = {
    "NodeLink": NodeLink,
    "Outward": Outward,
    "Inward": Inward,
    "Turn": Turn,
}
"""The classes whose fields are slots."""

STRUCTS: Final[dict[str, Any]] = {
    "Gathered": node_link._Gathered,
    "Outgoing": Outgoing,
    "Arrival": Arrival,
}
"""The classes whose fields are those of a struct."""


decode_frames: Final = msgspec.msgpack.Decoder(list[wire.Received]).decode
"""Decode the frames of a batch: what follows its two numbers. Raises what msgspec does."""


def _bind(compiled: Any) -> None:
    """Tell the compiled ways where the fields are, and the objects that they use."""
    compiled.bind(
        places(compiled, compiled.fields(), SLOTTED, STRUCTS),
        {
            **{name_in_c(site): twin for site, twin in TWINS.items()},
            "NodeLink": NodeLink,
            "Outward": Outward,
            "Gathered": node_link._Gathered,
            "Outgoing": Outgoing,
            "Arrival": Arrival,
            "CarrierError": CarrierError,
            "decode_frames": decode_frames,
            "prompt": outward.PROMPT,
            "spoken": outward.SPOKEN,
            "gathering": outward.GATHERING,
            "ready": outward.READY,
            "calling": outward.CALLING,
            "awaited": outward.AWAITED,
            "over": outward.OVER,
            "accepted": Status.ACCEPTED,
            "batch_limit": wire.BATCH_LIMIT,
            "first_pause": outward.FIRST_PAUSE,
            "most": turn.MOST,
            "seconds": turn.SECONDS,
        },
    )


CHOICE: Final = choice_of(
    "the compiled ways of a frame are", "enfilade.transport.core.compiled", TWINS, _bind
)

IS_AVAILABLE: Final = CHOICE.is_available
"""Whether the compiled ways can be used here."""

choose: Final = CHOICE.choose
in_use: Final = CHOICE.in_use

CHOICE.choose_by_environment()
