"""Each call ends once, no later than its limit, with the answer that was given to its question.

A world follows every call of its hosts by itself: how long the caller waits, and, of a call to another node,
what was answered there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import attrs

from enfilade.fields import is_nan

__all__ = ["Calls", "Question"]

SOON: Final = 1e-6
"""Virtual seconds that rounding may add to a limit."""

PLAIN: Final = (str, bytes, int, float, bool, type(None))

OTHER: Final = object()
"""Stands for a value that is not plain: the two ends of a node link may have it in different forms."""

Key: TypeAlias = tuple[str, int, int]
"""Names a call to another node: the full name of the caller's node, its incarnation, the number there."""


@attrs.frozen(eq=False)
class Question:
    """A call whose caller waits.

    Attributes:
        at: virtual time at which it began to wait.
        host: where.
        life: in which of its lives.
        method: what it asks for.
        target: whom it asks: a ref, or its name.
        node: the full name of that one's node.
        limit: seconds that it has, by the clock of its host.
        due: when they are over, by that clock; infinite without a limit.
    """

    at: float
    host: str
    life: int
    method: str
    target: Any
    node: str
    limit: float = math.inf
    due: float = math.inf

    def __str__(self) -> str:
        return f"{self.host} has asked {self.target} for {self.method!r} at {self.at:g} s"


class Calls:
    """The calls of all hosts: those whose callers wait, and what was wrong with others."""

    def __init__(self) -> None:
        self._open: dict[Question, None] = {}
        self._answers: dict[Key, tuple[str, Any]] = {}
        self._wrong: list[str] = []

    def begin(self, question: Question) -> None:
        """Note that a caller begins to wait."""
        self._open[question] = None

    def answer(self, key: Key, node: str, value: Any) -> None:
        """Note that a node has answered a call of another one."""
        if key in self._answers:
            self._wrong.append(f"{node} answers call {key[2]} of {key[0]}, which was answered before")
        self._answers[key] = (node, _plain(value))

    def end(self, question: Question, now: float, since: float = math.inf) -> None:
        """Note that a caller waits no longer.

        Args:
            question: what it has waited for.
            now: the time by the clock of its host.
            since: seconds for which the host has been able to run its code.
        """
        del self._open[question]
        late = min(now - question.due, since)
        if late > SOON:
            self._wrong.append(
                f"{question}, and waits {late:g} s longer than its limit of {question.limit:g} s"
            )

    def receive(self, question: Question, key: Key, value: Any) -> None:
        """Note what a caller got for an answer from another node."""
        node, answer = self._answers.get(key, ("", None))
        value = _plain(value)
        if node != question.node:
            self._wrong.append(f"{question}, and gets an answer that was not given there: {value!r}")
        elif OTHER not in (value, answer) and value != answer:
            self._wrong.append(f"{question}, gets {value!r}, and the answer was {answer!r}")

    def check(self, times: Mapping[tuple[str, int], float]) -> None:
        """Check the calls of a world that has calmed down.

        Args:
            times: by host and life, the time by its clock; of those that can run their code at present.

        Raises:
            AssertionError: a call has got the answer to another question, or two, or has ended too late, or
                has not ended.
        """
        for wrong in self._wrong:
            raise AssertionError(f"calls: {wrong}")
        for question in self._open:
            now = times.get((question.host, question.life), -math.inf)
            if now - question.due > SOON:
                raise AssertionError(
                    f"calls: {question}, and still waits, {now - question.due:g} s after the limit of "
                    f"{question.limit:g} s"
                )


def _plain(value: Any) -> Any:
    """The value in a form that is equal at both ends of a node link, if it is plain; otherwise `OTHER`."""
    kind = type(value)
    if kind in PLAIN:
        return "NaN" if is_nan(value) else value
    if kind in (tuple, list):
        items = [_plain(item) for item in value]
        return OTHER if any(item is OTHER for item in items) else items
    return OTHER
