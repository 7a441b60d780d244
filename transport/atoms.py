"""Atoms: values that travel as they are, because MessagePack carries them itself.

They are told by their types, of a collection in one go: to ask each value alone would take ten times as long.
"""

from collections.abc import Collection
from collections.abc import Set as AbstractSet
from itertools import chain
from typing import Any, Final

__all__ = [
    "ATOMS",
    "INLINE_LIMIT",
    "LONGEST_INLINE",
    "SHORT",
    "are_atoms",
    "are_rows",
    "is_atom",
    "is_plain",
    "types_of",
]

INLINE_LIMIT: Final = 160 * 1024
"""Bytes of a payload that travels inside its frame; a longer one goes into a memory file. Copying so much is
quicker than the memory file, its descriptor, and the thread that hands descriptors over."""

LONGEST_INLINE: Final = INLINE_LIMIT - 64
"""The longest bytes object in it without a memory file of its own. With what describes it, it still fits."""

SHORT: Final = LONGEST_INLINE // 4
"""Characters of a string that fit in a frame however they are encoded."""

_SIMPLE: Final = frozenset({type(None), bool, int, float, str})

ATOMS: Final = _SIMPLE | {bytes}
"""Types that MessagePack carries as they are; an int only while it fits in 64 bits, and bytes up to
`LONGEST_INLINE`."""


def types_of(values: Collection[Any]) -> AbstractSet[type]:
    """Return the types of values."""
    return set(map(type, values))


def is_atom(value: Any) -> bool:
    """Tell whether MessagePack carries a value as it is, and it is not long."""
    kind = type(value)
    return kind in ATOMS and (kind is not bytes or len(value) <= LONGEST_INLINE)


def is_plain(value: Any) -> bool:
    """Tell whether a value travels as it is, in its frame; some numbers and strings turn out not to."""
    kind = type(value)
    if kind is bytes:
        return len(value) <= LONGEST_INLINE
    if kind is str:
        return len(value) <= SHORT
    return type(kind) is type and kind in ATOMS  # another metaclass may have a hash of its own


def are_atoms(values: Collection[Any], types: AbstractSet[type]) -> bool:
    """Tell whether all values, which are of these types, are atoms."""
    return types <= ATOMS and (bytes not in types or all(map(is_atom, values)))


def are_rows(values: Collection[Any], types: AbstractSet[type]) -> bool:
    """Tell whether all values, which are of these types, are dicts of atoms other than bytes.

    Such are the rows of tables, which make most of what observers are sent.
    """
    if types != {dict}:
        return False
    parts = chain(chain.from_iterable(values), chain.from_iterable(map(dict.values, values)))
    return _SIMPLE.issuperset(map(type, parts))
