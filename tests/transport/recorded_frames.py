"""What a release says on the wire, as bytes: made by that release, read by those that follow.

    .venv/bin/python tests/transport/recorded_frames.py > COMMIT.json

run by the Python of that release's tree, with the file of this one; what it writes lies in
`tests/transport/recorded`, named for the commit. This file needs nothing but that release.
"""

from __future__ import annotations

import enum
import fractions
import json
import sys
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import attrs
import msgspec

from enfilade.transport import register, wire
from enfilade.transport.payload import Codec

__all__ = ["VALUES", "Coin", "Side", "record", "samples"]


class Side(enum.Enum):
    """A value of a program."""

    HEAD = 1
    TAIL = 2


@attrs.frozen
class Coin:
    """A record of a program."""

    worth: int
    side: Side
    marks: tuple[str, ...] = ()


register(Side, name="recorded.Side")
register(Coin, name="recorded.Coin")

VALUES: dict[str, Any] = {
    "none": None,
    "true": True,
    "small": -1,
    "large": 2**64 - 1,
    "very large": -(2**200),
    "float": 1.5,
    "infinite": float("inf"),
    "text": "Grüße\n",
    "bytes": bytes(range(256)),
    "bytearray": bytearray(b"abc"),
    "list": [1, [2, "x"], None],
    "tuple": (1, (2, b"x")),
    "set": {1, 2, 3},
    "frozenset": frozenset({"a", "b"}),
    "dict": {"a": 1, "b": [2]},
    "dict of tuples": {(1, 2): "x", 3: "y"},
    "record": Coin(5, Side.TAIL, ("x",)),
    "records": [Coin(1, Side.HEAD), Coin(2, Side.TAIL)],
    "enum": Side.HEAD,
    "datetime": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    "date": date(2026, 1, 2),
    "time": time(1, 2, 3, 4),
    "timedelta": timedelta(days=-1, microseconds=5),
    "decimal": Decimal("1.50"),
    "uuid": uuid.UUID(int=7),
    "fraction": fractions.Fraction(1, 3),
    "path": PurePosixPath("a/b"),
    "complex": 1 + 2j,
    "rows": [{"a": 1, "b": "x"}, {"a": 2, "b": None}],
}
"""Values that travel, by what they are. One that a release does not take is left out of its recording."""


def sample(info: Any, number: int) -> Any:
    """A value of a type, by what msgspec knows of it; another one for each number."""
    kind = type(info).__name__
    if kind == "IntType":
        return number + 1
    if kind == "FloatType":
        return number + 0.5
    if kind == "BoolType":
        return True
    if kind == "StrType":
        return f"text {number}"
    if kind in ("BytesType", "MemoryViewType"):
        return bytes([number]) * 3
    if kind == "RawType":
        return msgspec.Raw(Codec().encode([number, "x"])[0])
    if kind in ("ListType", "VarTupleType", "CollectionType"):
        return [sample(info.item_type, number)]
    if kind == "TupleType":
        return [sample(each, number) for each in info.item_types]
    if kind == "UnionType":
        return sample(info.types[0], number)
    if kind == "StructType":
        return info.cls(*(sample(each.type, number) for each in info.fields))
    if kind == "DictType":
        return {sample(info.key_type, number): sample(info.value_type, number)}
    return None


def samples() -> dict[str, Any]:
    """A frame of each kind that travels, by the name of its class: all fields are given."""
    made: dict[str, Any] = {}
    for kind in (*wire.FRAMES, *wire.TRACED.values()):
        fields = msgspec.inspect.type_info(kind).fields
        made[kind.__name__] = kind(*(sample(each.type, number) for number, each in enumerate(fields)))
    return made


def record() -> dict[str, Any]:
    """What this release makes of frames, batches and values."""
    frames = {name: wire.encode_frame(frame) for name, frame in samples().items()}
    values = {}
    for name, value in VALUES.items():
        try:
            values[name] = bytes(Codec().encode(value)[0]).hex()
        except Exception:
            continue
    return {
        "frames": {name: data.hex() for name, data in frames.items()},
        "batch": wire.encode_batch(7, 300, list(frames.values())).hex(),
        "values": values,
    }


if __name__ == "__main__":
    json.dump(record(), sys.stdout, indent=0)
    sys.stdout.write("\n")
