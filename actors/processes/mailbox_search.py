"""The search of a mailbox for the oldest message that a match wants.

Python runs a predicate for each message, and nothing makes that cheaper than it is. Types are another matter:
whether a message is of a type depends on its class alone, but for classes that say so themselves. So a long
mailbox is searched by the classes of its messages, which are few, and found out in C.
"""

from __future__ import annotations

from abc import ABCMeta
from collections import deque
from collections.abc import Callable
from itertools import compress, count, islice, repeat
from operator import is_, length_hint
from types import FunctionType
from typing import Any, Final

import msgspec

from enfilade.actors.messages.attempt import is_interrupt
from enfilade.actors.messages.safe_text import safe_repr

__all__ = ["MailboxSearch"]

Test = Callable[[Any], Any]

FIRST_PART = 16
"""The number of messages that are looked at one by one: often what is wanted is one of the first."""

PART = 16_384

USUAL_CHECKS: Final[tuple[Any, ...]] = (type.__instancecheck__, ABCMeta.__instancecheck__)
"""The ways of `isinstance` that go by what an object says is its class."""

DATA: Final = (
    object,
    tuple,
    str,
    bytes,
    int,
    float,
    list,
    dict,
    set,
    frozenset,
    BaseException,
    msgspec.Struct,
)
USUAL_ACCESS: Final[frozenset[Any]] = frozenset(kind.__getattribute__ for kind in DATA)
"""The ways to read an attribute by which no object makes its class up."""

_bases_of = vars(type)["__mro__"].__get__


def _test_of(match: Any) -> Test:
    """The test of a message that `match`, which is not None, stands for.

    Raises:
        TypeError: it stands for none.
    """
    if isinstance(match, type | tuple):
        return _is_instance(match)
    if callable(match):
        return match  # type: ignore[no-any-return]
    raise TypeError(
        f"match must be a type, a tuple of types or a predicate, got {safe_repr(match)}; "
        f"for the message itself: `lambda message: message == {safe_repr(match)}`"
    )


def _is_instance(kinds: Any) -> Test:
    def fits(candidate: Any) -> bool:
        try:
            return isinstance(candidate, kinds)
        except BaseException as error:  # its `__class__` may raise
            if is_interrupt(error):
                raise
            return False

    return fits


class MailboxSearch:
    """The search for what one `match`, which is not None, wants.

    Attributes:
        match: a type, a tuple of types, or a predicate.
        test: what it asks of a message.
        position: how far the last search has got: the position of the message that it has found, or whose
            test has raised, or the end.
    """

    __slots__ = ("_by_class", "match", "position", "test")

    def __init__(self, match: Any) -> None:
        self.match = match
        self.test = _test_of(match)
        self.position = 0
        self._by_class: bool | None = None

    def find(self, queue: deque[Any], start: int) -> bool:
        """Tell whether a message in `queue`, from `start` on, is wanted; `position` is where. Raises what the
        test raises.

        What comes at the end of the queue meanwhile is seen.
        """
        size = FIRST_PART
        self.position = start
        while self.position < len(queue):
            try:
                part = _part(queue, self.position, size)
            except (IndexError, RuntimeError):  # a finalizer has changed the queue
                continue
            if self._find_by_class(part) if len(part) > 4 * FIRST_PART else self._find_in(part):
                return True
            size = min(4 * size, PART)
        return False

    def _find_in(self, part: list[Any]) -> bool:
        """Look at one message after the other."""
        test, start = self.test, self.position
        if type(test) is not FunctionType:
            return self._find_in_c(part)
        for self.position, message in enumerate(part, start):
            if test(message):
                return True
        self.position += 1
        return False

    def _find_in_c(self, part: list[Any]) -> bool:
        """Look at one message after the other, by a test that Python code may have no part in."""
        rest = iter(part)
        stopped = True  # at a message that fits, or whose test raises
        try:
            stopped = any(map(self.test, rest))
        finally:
            self.position += len(part) - length_hint(rest) - stopped
        return stopped

    def _find_by_class(self, part: list[Any]) -> bool:
        """Ask for one message of each class, and find the first that is of a class that fits."""
        if self._by_class is None:
            self._by_class = _goes_by_classes(self.match)
        if not self._by_class:
            return self._find_in(part)
        kinds = list(map(type, part))
        try:
            samples = dict(zip(kinds, part, strict=True))
            is_told = all(map(_is_told_by_its_class, samples))
        except Exception:  # a class whose metaclass has its own mind
            is_told = False
        if not is_told:
            return self._find_in(part)
        fitting = [kind for kind, sample in samples.items() if self.test(sample)]
        places = [next(compress(count(), map(is_, kinds, repeat(kind)))) for kind in fitting]
        self.position += min(places, default=len(part))
        return bool(places)


def _part(queue: deque[Any], start: int, size: int) -> list[Any]:
    """At most `size` messages from `start` on; more where the end is near.

    Raises:
        IndexError, RuntimeError: the queue has changed meanwhile.
    """
    length = len(queue)
    if size == FIRST_PART:
        return [queue[position] for position in range(start, min(start + size, length))]
    if length - start > start:
        return list(islice(queue, start, start + size))
    part = list(islice(reversed(queue), length - start))
    part.reverse()
    return part


def _goes_by_classes(match: Any) -> bool:
    """Tell whether `match` is of types to which objects belong by their class."""
    kinds = match if type(match) is tuple else (match,)
    return all(
        issubclass(type(kind), type) and type(kind).__instancecheck__ in USUAL_CHECKS for kind in kinds
    )


def _is_told_by_its_class(kind: type) -> bool:
    """Tell whether objects of `kind` say that they are of it: a mock, or a weak proxy, does not."""
    return kind.__getattribute__ in USUAL_ACCESS and not any(
        "__class__" in vars(base) for base in _bases_of(kind)[:-1]
    )
