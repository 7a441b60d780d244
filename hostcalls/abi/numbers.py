"""Numbers by name, as people write them: on the command line and in zone files."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from enfilade.fields import is_number
from enfilade.hostcalls.abi.nearest import hint

_UNITS = {"": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_VALUE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(KiB|MiB|GiB)?")


def numbers(values: Mapping[str, Any], known: Mapping[str, Any], noun: str) -> dict[str, int | float]:
    """The numbers that `values` gives.

    Args:
        values: by name: a number, for bytes also with KiB, MiB or GiB behind it; `none` for no bound, where a
            fraction of a number is allowed.
        known: the names that there are, each with its default: a whole number where only those are allowed.
        noun: the word for one of them, for errors.

    Raises:
        ValueError: there is no such name, or a value is not of this form; the message says which.
    """
    found = {}
    for name, value in values.items():
        if name not in known:
            choice = ", ".join(sorted(known))
            raise ValueError(f"expected a {noun} ({choice}), got {name!r}{hint(name, known)}")
        found[name] = _number(f"the {noun} {name}", value, whole=isinstance(known[name], int))
    return found


def pair(setting: str) -> tuple[str, str]:
    """Split NAME=VALUE. Raises `ValueError`."""
    name, equals, value = setting.partition("=")
    if not equals or not value.strip():
        raise ValueError(f"expected NAME=VALUE, got {setting!r}")
    return name.strip(), value.strip()


def _number(what: str, value: Any, *, whole: bool) -> int | float:
    number: int | float | None = None
    if isinstance(value, str):
        match = _VALUE.fullmatch(value)
        if match is not None:
            number = float(match[1]) * _UNITS[match[2] or ""]
        elif value == "none" and not whole:
            number = math.inf
    elif is_number(value):
        number = value
    if number is None or number != number or (whole and number != int(number)):
        kind = "an integer, also with KiB, MiB or GiB" if whole else "a number, or none"
        raise ValueError(f"expected {kind}, for {what}, got {value!r}")
    return int(number) if whole else float(number)
