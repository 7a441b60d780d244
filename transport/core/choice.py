"""The one place that chooses between the compiled ways of a frame and their twins in Python.

What nearly every frame goes through is compiled: the functions in `TWINS` (`core.h` says how). Those of the
same names in Python are their twins: they say what is to be done, and do it where nothing was compiled, or
where the fields that the C reads are not found where it looks. Both work on the same objects, so choosing is
to put the one or the other into the class.

The environment variable `ENFILADE_CORE=python` chooses the twins here, as it does in the core of actors.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any, Final

import msgspec

from enfilade.transport import node_link, outward, turn, wire
from enfilade.transport.carrier import Arrival, CarrierError, Status
from enfilade.transport.inward import Inward
from enfilade.transport.node_link import NodeLink, Outgoing
from enfilade.transport.outward import Outward
from enfilade.transport.turn import Turn

compiled: Any
try:
    compiled = importlib.import_module("enfilade.transport.core.compiled")
except ImportError:  # installed where there is no compiler, say
    compiled = None

__all__ = ["IS_AVAILABLE", "choose", "in_use"]

SWITCH: Final = "ENFILADE_CORE"

TWINS: Final[dict[tuple[type, str], Callable[..., Any]]] = {
    (NodeLink, "send_at_once"): NodeLink.send_at_once,
    (NodeLink, "received"): NodeLink.received,
    (Outward, "send_encoded"): Outward.send_encoded,
    (Outward, "flush"): Outward.flush,
    (Inward, "_take_in_turn"): Inward._take_in_turn,
}
"""The functions in Python, by where they are."""

OF_CLASSES: Final[dict[str, Any]] = {
    "NodeLink": NodeLink,
    "Outward": Outward,
    "Inward": Inward,
    "Turn": Turn,
}
"""The classes whose fields are slots."""

OF_STRUCTS: Final[dict[str, Any]] = {
    "Gathered": node_link._Gathered,
    "Outgoing": Outgoing,
    "Arrival": Arrival,
}
"""The classes whose fields are those of a struct."""


decode_frames: Final = msgspec.msgpack.Decoder(list[wire.Received]).decode
"""Decode the frames of a batch: what follows its two numbers. Raises what msgspec does."""


def _places() -> dict[str, int]:
    """Find the places of the fields; -1 for one that is not found."""
    found = {}
    for name, kind in OF_STRUCTS.items():
        fields = kind.__struct_fields__
        values = [object() for _ in fields]
        holder = kind(*values)
        for field, value in zip(fields, values, strict=True):
            found[f"{name}.{field}"] = compiled.place(holder, value)
    for field in compiled.fields():
        name, _, attribute = field.partition(".")
        if name in OF_CLASSES:
            holder = OF_CLASSES[name].__new__(OF_CLASSES[name])
            value = object()
            setattr(holder, attribute, value)
            found[field] = compiled.place(holder, value)
    return found


def _compiled() -> dict[tuple[type, str], Callable[..., Any]]:
    """The functions in C, as methods; none if they are not to be had here."""
    if compiled is None:
        return {}
    try:
        compiled.bind(
            _places(),
            {
                **{name: twin for (_, name), twin in TWINS.items()},
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
        return {(owner, name): compiled.method(owner, name) for owner, name in TWINS}
    except (AttributeError, LookupError, TypeError):  # this interpreter keeps slots in another way
        return {}


COMPILED: Final = _compiled()

IS_AVAILABLE: Final = bool(COMPILED)
"""Whether the compiled ways can be used here."""


def choose(*, is_compiled: bool) -> None:
    """Use the compiled ways, or their twins, for node links that are made from now on. Not a checkpoint.

    Raises:
        LookupError: they are not available here.
    """
    if is_compiled and not IS_AVAILABLE:
        raise LookupError("the compiled ways of a frame are not available here; `pip install` compiles them")
    for (owner, name), function in (COMPILED if is_compiled else TWINS).items():
        setattr(owner, name, function)


def in_use() -> str:
    """Return what is in use: "compiled" or "python"."""
    is_compiled = IS_AVAILABLE and Outward.flush is COMPILED[Outward, "flush"]
    return "compiled" if is_compiled else "python"


choose(is_compiled=IS_AVAILABLE and os.environ.get(SWITCH) != "python")
