"""The budget of a payload: what a peer may make this node spend on decoding it.

A few bytes can be made to cost a node much: an empty list is one byte on the wire and some sixty in memory,
keys whose hashes collide take time with the square of their number, a file with holes in it takes no room at
all at its maker. So each payload has a budget of bytes and of time, and what is about to be decoded is
charged first. The time is an estimate, from what is in the payload: it does not depend on what else the
machine does, and the same payload is always accepted or always refused.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import attrs

from enfilade.transport.records import PayloadError, shown

__all__ = ["SMALL", "Budget", "distinct"]

SMALL: Final = 4096
"""Bytes of a payload that may cost what they like, because they cannot cost much: some milliseconds."""

UNIT: Final = 1e-8
"""Seconds of one unit of work, as `transport/queue/measure.h` counts it."""

FEW: Final = 16
"""Keys that may collide, because comparing each of them with all others costs nothing to speak of."""

_KEYED: Final = frozenset({str, bytes})
"""Types whose hashes depend on a secret of this process: nobody can choose values that collide."""


@attrs.define
class Budget:
    """The allowance for one payload.

    Attributes:
        limit: bytes that the payload and its memory files may have.
        seconds: that decoding them may still take.
        in_memory: bytes of the memory files that have been read.
    """

    limit: int
    seconds: float
    in_memory: int = attrs.field(default=0, init=False)

    def charge(self, data: Any) -> None:
        """Charge for decoding bytes of MessagePack, before that is done.

        Raises:
            PayloadError: they cost more than is left, or are nested too deeply.
        """
        from enfilade.transport.doors._doors import ffi, lib  # small payloads get along without it

        most = math.ceil(min(self.seconds, 1e9) / UNIT)
        work = lib.measure_payload(ffi.from_buffer(data), len(data), most)
        if work == lib.MEASURE_TOO_DEEP:
            raise PayloadError("the payload is nested too deeply")
        if work > most:
            raise PayloadError(
                f"decoding a payload may take {self.seconds:g} s here, and this one would take longer: it "
                "holds too many values, or too many keys that are not strings"
            )
        self.seconds -= work * UNIT

    def charge_bytes(self, size: int) -> None:
        """Charge for bytes that are about to be read.

        Raises:
            PayloadError: they are more than is left.
        """
        if type(size) is not int or size <= 0 or self.in_memory + size > self.limit:
            raise PayloadError(
                f"a payload may have {self.limit} bytes here, and this one claims {shown(size)} more"
            )
        self.in_memory += size


def distinct(keys: Sequence[Any]) -> Sequence[Any]:
    """Return the keys of a set or a dict to be, if few of them have the same hash.

    Raises:
        PayloadError: many have; nothing but an attack looks like that.
        TypeError: one has no hash.
    """
    if len(keys) > FEW and not _KEYED.issuperset(map(type, keys)):
        hashes = set(map(hash, keys))
        if len(keys) - len(hashes) > FEW // 2:
            raise PayloadError(
                f"the hashes of the {len(keys)} keys of a set or a dict in the payload collide"
            )
    return keys
