"""Which rows of a table are shown: `worker 9*`, `queued > 10`, `state = suspended and actor = Till`.

A match is made of terms that are joined by `and`. A term is a comparison of a column, by `=`, `!=`, `<`, `>`,
`<=` or `>=`; or a text, with `*` and `?` as in file names, that is looked for in the
columns that name things. The time that a test takes grows linearly with the texts.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from enfilade.actors.messages.safe_text import safe_repr, safe_str
from enfilade.actors.observing.columns import COLUMNS_OF

__all__ = ["LARGEST_MATCH", "Glob", "Match"]

LARGEST_MATCH: Final = 1_000
"""Characters of a match."""

TEXTS: Final = ("name", "label", "actor", "kind", "child_id", "scope", "module", "method", "type")
"""The columns in which a term that compares nothing is looked for."""

WORDS: Final = frozenset(
    {*TEXTS, "state", "process_state", "routing", "restart", "reason", "what", "outcome"}
)
NUMBERS: Final = frozenset().union(*COLUMNS_OF.values()) - WORDS

COMPARISON: Final = re.compile(r"^(\w+)\s*(<=|>=|!=|=|<|>)\s*(.*)$", re.DOTALL)
OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}

Test = Callable[[Mapping[str, Any]], bool]


class Match:
    """A test of rows.

    Raises:
        ValueError: the text is too long, or a term compares what cannot be compared.
    """

    def __init__(self, text: str) -> None:
        if len(text) > LARGEST_MATCH:
            raise ValueError(f"match must have at most {LARGEST_MATCH} characters, got {len(text)}")
        terms = [term.strip() for term in re.split(r"\s+and\s+", text.strip())]
        self._tests = [_test(term) for term in terms if term]

    @property
    def is_open(self) -> bool:
        """True if every row matches."""
        return not self._tests

    def __call__(self, row: Mapping[str, Any]) -> bool:
        """Tell whether a row is shown."""
        return all(test(row) for test in self._tests)


def _test(term: str) -> Test:
    found = COMPARISON.match(term)
    if found is not None and found[1] in NUMBERS:
        column, sign, value = found.groups()
        try:
            number = float(value)
        except ValueError:
            raise ValueError(
                f"{column} must be compared with a number, got {safe_repr(value, 100)}"
            ) from None
        compare = OPERATORS[sign]
        return lambda row: type(row.get(column)) in (int, float) and compare(row[column], number)
    if found is not None and found[1] in WORDS:
        column, sign, value = found.groups()
        if sign not in ("=", "!="):
            raise ValueError(f"{column} is a text: expected = or !=, got {sign}")
        pattern = Glob(value.strip())
        return lambda row: pattern.fits(_text(row.get(column))) == (sign == "=")
    pattern = Glob(term if set(term) & {"*", "?"} else f"*{term}*")
    return lambda row: any(pattern.fits(_text(row[column])) for column in TEXTS if row.get(column))


def _text(value: Any) -> str:
    return value if type(value) is str else "" if value is None else safe_str(value)


class Glob:
    """A pattern of a whole text: `*` stands for anything, `?` for one character.

    It looks for the parts between the stars one after the other, leftmost first, which needs no going back.
    """

    def __init__(self, pattern: str) -> None:
        self._parts = re.sub(r"\*+", "*", pattern).split("*")

    def fits(self, text: str) -> bool:
        """Tell whether the whole of a text is like that."""
        first, *rest = self._parts
        if not rest:
            return len(text) == len(first) and _is_at(first, text, 0)
        *middle, last = rest
        if len(text) < len(first) + len(last) or not _is_at(first, text, 0):
            return False
        end = len(text) - len(last)
        if not _is_at(last, text, end):
            return False
        place = len(first)
        for part in middle:
            place = _found(part, text, place, end)
            if place < 0:
                return False
            place += len(part)
        return True


def _is_at(part: str, text: str, place: int) -> bool:
    if "?" not in part:
        return text.startswith(part, place)
    return all(a in ("?", b) for a, b in zip(part, text[place : place + len(part)], strict=True))


def _found(part: str, text: str, start: int, end: int) -> int:
    """The first place of `part` in text[start:end], or -1."""
    if "?" not in part:
        return text.find(part, start, end)
    return next((at for at in range(start, end - len(part) + 1) if _is_at(part, text, at)), -1)
