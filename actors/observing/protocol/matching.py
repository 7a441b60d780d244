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

import attrs

from enfilade.actors.messages.safe_text import safe_repr, safe_str
from enfilade.actors.observing.protocol.columns import COLUMNS_OF

__all__ = ["LARGEST_MATCH", "TEXTS", "Glob", "Match", "Term", "text_of"]

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


@attrs.frozen
class Term:
    """One term of a match.

    Attributes:
        column: the column that it compares; None for a text that is looked for in all that name things.
        fits: tells whether a value fits; a text that is looked for is given texts alone.
    """

    column: str | None
    fits: Callable[[Any], bool]


class Match:
    """A test of rows.

    Args:
        text: the terms.
        columns: those that the rows have, if it is known: no others are asked for.

    Attributes:
        terms: the terms, all of which must fit.

    Raises:
        ValueError: the text is too long, or a term compares what cannot be compared.
    """

    def __init__(self, text: str, columns: Container[str] | None = None) -> None:
        if len(text) > LARGEST_MATCH:
            raise ValueError(f"match must have at most {LARGEST_MATCH} characters, got {len(text)}")
        terms = [term.strip() for term in re.split(r"\s+and\s+", text.strip())]
        self._texts = [column for column in TEXTS if columns is None or column in columns]
        self.terms = tuple(_term(term) for term in terms if term)

    @property
    def is_open(self) -> bool:
        """True if every row matches."""
        return not self.terms

    def __call__(self, value: Value) -> bool:
        """Tell whether a row is shown of which `value` tells the columns."""
        return all(
            self._is_in_one(term, value) if term.column is None else term.fits(value(term.column))
            for term in self.terms
        )

    def _is_in_one(self, term: Term, value: Value) -> bool:
        for column in self._texts:
            found = value(column)
            if found and term.fits(text_of(found)):
                return True
        return False


def _term(term: str) -> Term:
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
        return Term(column, lambda value: type(value) in (int, float) and compare(value, number))
    if found is not None and found[1] in WORDS:
        column, sign, given = found.groups()
        if sign not in ("=", "!="):
            raise ValueError(f"{column} is a string: expected = or !=, got {sign}")
        pattern = Glob(given.strip())
        return Term(column, lambda value: pattern.fits(text_of(value)) == (sign == "="))
    return Term(None, Glob(term if set(term) & {"*", "?"} else f"*{term}*").fits)


def text_of(value: Any) -> str:
    """The text in which a pattern is looked for, of a value of any kind."""
    text = value if type(value) is str else "" if value is None else safe_str(value)
    return text[:LARGEST_MATCH]


class Glob:
    """A pattern of a whole text: `*` stands for anything, `?` for one character.

    It looks for the parts between the stars one after the other, leftmost first, which needs no going back.

    Attributes:
        fits: tells whether the whole of a text is like that.
    """

    def __init__(self, pattern: str) -> None:
        parts = re.sub(r"\*+", "*", pattern).split("*")
        self._parts = [_Part(part) for part in parts]
        self.fits: Callable[[str], bool] = _quick(parts) or self._fits_in_parts

    def _fits_in_parts(self, text: str) -> bool:
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


def _quick(parts: Sequence[str]) -> Callable[[str], bool] | None:
    """A quick test of the most frequent patterns, by their parts: `*text*`, `text*` and `*text`."""
    first, last, middle = parts[0], parts[-1], parts[1:-1]
    if len(parts) == 1 or any("?" in part for part in parts) or len(middle) > 1:
        return None
    if middle:
        inside = middle[0]
        return None if first or last else lambda text: inside in text
    if first and last:
        return None
    return (lambda text: text.endswith(last)) if last else lambda text: text.startswith(first)


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
