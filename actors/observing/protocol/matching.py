"""Which rows of a table are shown: `worker 9*`, `queued > 10`, `state = suspended and actor = Till`.

A match is made of terms that are joined by `and`. A term is a comparison of a column, by `=`, `!=`, `<`, `>`,
`<=` or `>=`; or a text, with `*` and `?` as in file names, that is looked for in the
columns that name things, in the first thousand characters of each.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Container, Sequence
from typing import Any, Final

from enfilade.actors.messages.safe_text import safe_repr, safe_str
from enfilade.actors.observing.protocol.columns import COLUMNS_OF

__all__ = ["LARGEST_MATCH", "Glob", "Match"]

LARGEST_MATCH: Final = 1_000
"""Characters of a match."""

TEXTS: Final = (
    "name",
    "label",
    "actor",
    "kind",
    "child_id",
    "scope",
    "module",
    "method",
    "type",
    "addressee",
    "message",
    "owner_text",
    "a_text",
    "b_text",
)
"""The columns in which a term that compares nothing is looked for."""

WORDS: Final = frozenset(
    {
        *TEXTS,
        "state",
        "process_state",
        "routing",
        "restart",
        "reason",
        "what",
        "outcome",
        "key",
        "waits_for",
        "node",
        "zone",
        "address",
        "context",
    }
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

Value = Callable[[str], Any]
"""Tells the value of a column; None for one that there is not."""

Test = Callable[[Value], bool]


class Match:
    """A test of rows.

    Args:
        text: the terms.
        columns: those that the rows have, if it is known: no others are asked for.

    Raises:
        ValueError: the text is too long, or a term compares what cannot be compared.
    """

    def __init__(self, text: str, columns: Container[str] | None = None) -> None:
        if len(text) > LARGEST_MATCH:
            raise ValueError(f"match must have at most {LARGEST_MATCH} characters, got {len(text)}")
        terms = [term.strip() for term in re.split(r"\s+and\s+", text.strip())]
        texts = [column for column in TEXTS if columns is None or column in columns]
        self._tests = [_test(term, texts) for term in terms if term]
        self._only = self._tests[0] if len(self._tests) == 1 else None

    @property
    def is_open(self) -> bool:
        """True if every row matches."""
        return not self._tests

    def __call__(self, value: Value) -> bool:
        """Tell whether a row is shown of which `value` tells the columns."""
        return all(test(value) for test in self._tests) if self._only is None else self._only(value)


def _test(term: str, texts: Sequence[str]) -> Test:
    found = COMPARISON.match(term)
    if found is not None and found[1] in NUMBERS:
        column, sign, given = found.groups()
        try:
            number = float(given)
        except ValueError:
            raise ValueError(
                f"{column} must be compared with a number, got {safe_repr(given, 100)}"
            ) from None
        compare = OPERATORS[sign]
        return lambda value: type(found := value(column)) in (int, float) and compare(found, number)
    if found is not None and found[1] in WORDS:
        column, sign, given = found.groups()
        if sign not in ("=", "!="):
            raise ValueError(f"{column} is a text: expected = or !=, got {sign}")
        pattern = Glob(given.strip())
        return lambda value: pattern.fits(_text(value(column))) == (sign == "=")
    fits = Glob(term if set(term) & {"*", "?"} else f"*{term}*").fits

    def is_in_one(value: Value) -> bool:
        for column in texts:
            found = value(column)
            if found and fits(found if type(found) is str and len(found) <= LARGEST_MATCH else _text(found)):
                return True
        return False

    return is_in_one


def _text(value: Any) -> str:
    text = value if type(value) is str else "" if value is None else safe_str(value)
    return text[:LARGEST_MATCH]


class Glob:
    """A pattern of a whole text: `*` stands for anything, `?` for one character.

    It looks for the parts between the stars one after the other, leftmost first, which needs no going back.
    """

    def __init__(self, pattern: str) -> None:
        parts = re.sub(r"\*+", "*", pattern).split("*")
        self._parts = [_Part(part) for part in parts]
        is_inside = len(parts) == 3 and not parts[0] and not parts[2] and "?" not in parts[1]
        self._inside = parts[1] if is_inside else None

    def fits(self, text: str) -> bool:
        """Tell whether the whole of a text is like that."""
        if self._inside is not None:
            return self._inside in text
        first, *rest = self._parts
        if not rest:
            return len(text) == first.length and first.is_at(text, 0)
        *middle, last = rest
        end = len(text) - last.length
        if end < first.length or not first.is_at(text, 0) or not last.is_at(text, end):
            return False
        place = first.length
        for part in middle:
            place = part.found(text, place, end)
            if place < 0:
                return False
            place += part.length
        return True


class _Part:
    """A part of a pattern: a text, in which `?` stands for one character.

    Attributes:
        length: how many characters it stands for.
    """

    def __init__(self, text: str) -> None:
        self.length = len(text)
        self._text = text
        self._pattern = None
        if "?" in text:
            self._pattern = re.compile(".".join(map(re.escape, text.split("?"))), re.DOTALL)

    def is_at(self, text: str, place: int) -> bool:
        """Tell whether it is at that place of a text."""
        if self._pattern is None:
            return text.startswith(self._text, place)
        return self._pattern.match(text, place) is not None

    def found(self, text: str, start: int, end: int) -> int:
        """The first place of it in text[start:end], or -1."""
        if self._pattern is None:
            return text.find(self._text, start, end)
        match = self._pattern.search(text, start, end)
        return -1 if match is None else match.start()
