"""The search of a mailbox for the oldest message that a match wants.

Python runs a predicate for each message, and nothing makes that cheaper than it is. A match that is data is
another matter: types, and a `Like`. `count_misfits` passes by the messages that certainly do not fit, without
running a line of Python for most of them. Whether a message is of a type depends on its class alone, but for
classes that say so themselves, so one message of each class is asked. The items of a tuple are compared as
they are. It has a twin in C (`actors/core/search.c`), and only ever rejects: where it stops, the test of the
match has the say, so that both find the same.

What a search costs: each of the n messages from `start` on is looked at once, up to the one that is wanted.
Those before `start` are stepped over in C, but only if they are fewer than n. So a search takes time in
proportion to the messages that are new to the match. The parts that are looked at grow until they are of
`PART` messages, so stepping over what comes before each of them does not add up to more. A deque fetches a
message by its position in one step for each 64 messages between it and the nearer end, so only the few first
messages are fetched so.
"""

from __future__ import annotations

from abc import ABCMeta
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import compress, count, islice, repeat
from operator import is_, length_hint
from types import FunctionType
from typing import Any, Final, get_origin

import msgspec

from enfilade.actors.messages.attempt import is_interrupt
from enfilade.actors.messages.kinds import found_in, is_a
from enfilade.actors.messages.likeness import Like
from enfilade.actors.messages.safe_text import safe_repr

__all__ = ["MailboxSearch"]

Test = Callable[[Any], Any]

FIRST_PART = 16
"""The number of messages that are looked at first: often what is wanted is one of them."""

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

_HAS_CLASS: Final = vars(object)["__class__"]


def _test_of(match: Any) -> Test:
    """The test of a message that `match`, which is not None, stands for.

    Raises:
        TypeError: it stands for none.
    """
    if type(match) is type or (is_a(match, type, tuple) and all(map(_has_instances, _kinds_in(match)))):
        return _is_instance(match)
    if callable(match) and not is_a(match, type) and get_origin(match) is None:
        return match  # type: ignore[no-any-return]
    raise TypeError(
        f"match must be a type, a tuple of types or a predicate, got {safe_repr(match)}; "
        f"for the message itself: `Like({safe_repr(match)})`"
    )


def _kinds_in(match: Any) -> Iterator[Any]:
    """What a class, or a tuple of what `isinstance` takes, consists of."""
    if is_a(match, tuple):
        for each in match:
            yield from _kinds_in(each)
    else:
        yield match


def _has_instances(kind: Any) -> bool:
    """Tell whether `isinstance` can be asked about a kind: it cannot be about a protocol of types alone."""
    try:
        isinstance(None, kind)
    except TypeError:
        return False
    except BaseException as error:  # a class of the program's, which is asked again for each message
        if is_interrupt(error):
            raise
    return True


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
        is_data: true if `count_misfits` can tell some of the messages that do not fit.
        kinds: the types of which a message that fits is; None if it may be of any.
        likeness: what a message must be like besides; None if its type is all.
    """

    __slots__ = ("is_data", "kinds", "likeness", "match", "position", "test")

    def __init__(self, match: Any) -> None:
        self.match = match
        self.test = _test_of(match)
        self.position = 0
        self.likeness: Like | None = match if type(match) is Like else None
        self.kinds = _kinds_of(match)
        self.is_data = self.kinds is not None or self.likeness is not None

    def find(self, queue: deque[Any], start: int) -> bool:
        """Tell whether a message in `queue`, from `start` on, is wanted; `position` is where. Raises what the
        test raises.

        What comes at the end of the queue meanwhile is seen.
        """
        size = FIRST_PART
        self.position = start
        while self.position < len(queue):
            try:
                if self.is_data and size > FIRST_PART:
                    self.position += self.count_misfits(_rest(queue, self.position))
                part = _part(queue, self.position, size)
            except (IndexError, RuntimeError):  # a finalizer has changed the queue
                continue
            if self._find_in(part):
                return True
            size = min(4 * size, PART)
        return False

    def _find_in(self, part: list[Any]) -> bool:
        """Look at one message after the other."""
        test = self.test
        rest = iter(part)
        stopped = True  # at a message that fits, or whose test raises
        try:
            if type(test) is FunctionType:
                for message in rest:
                    if test(message):
                        break
                else:
                    stopped = False
            else:
                stopped = any(map(test, rest))  # Python code may have no part in it
        finally:
            self.position += len(part) - length_hint(rest) - stopped
        return stopped

    def count_misfits(self, messages: Iterable[Any]) -> int:
        """Return how many of the messages certainly do not fit, from the first on up to one that may.

        Less is always right. Only for a match that `is_data`.
        """
        if self.kinds is None:
            return 0
        try:
            part = list(islice(messages, PART))
            kinds = list(map(type, part))
        except RuntimeError:  # a finalizer has changed the queue
            return 0
        samples = dict(zip(map(id, kinds), part, strict=True))  # a metaclass may have a hash of its own
        fitting = [type(sample) for sample in samples.values() if self.may_fit(sample)]
        places = [next(compress(count(), map(is_, kinds, repeat(kind)))) for kind in fitting]
        return min(places, default=len(part))

    def may_fit(self, sample: Any) -> bool:
        """Return false if no message of the class of `sample` fits, because of its class."""
        try:
            return not _is_told_by_its_class(type(sample)) or isinstance(sample, self.kinds or object)
        except BaseException as error:  # a class whose metaclass has its own mind
            if is_interrupt(error):
                raise
            return True


def _part(queue: deque[Any], start: int, size: int) -> list[Any]:
    """At most `size` messages from `start` on; more where the end is near.

    Raises:
        IndexError, RuntimeError: the queue has changed meanwhile.
    """
    length = len(queue)
    if size <= 4 * FIRST_PART:
        return [queue[position] for position in range(start, min(start + size, length))]
    if length - start > start:
        return list(islice(queue, start, start + size))
    part = list(islice(reversed(queue), length - start))
    part.reverse()
    return part


def _rest(queue: deque[Any], start: int) -> Iterable[Any]:
    """All messages from `start` on. Raises RuntimeError, now or later, if the queue has changed meanwhile."""
    if len(queue) - start <= start:
        return _part(queue, start, PART)
    rest = iter(queue)
    next(islice(rest, start, start), None)  # passes by those before
    return rest


def _kinds_of(match: Any) -> Any:
    """The types of which a message that `match` wants is, as `isinstance` takes them; None if there are none,
    or an object does not belong to them by its class.
    """
    if type(match) is Like:
        shape = match.shape
        match = shape if isinstance(shape, type) else tuple if type(shape) is tuple else None
    is_usual = is_a(match, type, tuple) and all(map(_goes_by_class, _flat(match)))
    return match if is_usual else None


def _flat(kinds: Any) -> list[Any]:
    """The types in a tuple of types and of such tuples."""
    return [kind for part in kinds for kind in _flat(part)] if type(kinds) is tuple else [kinds]


def _goes_by_class(kind: Any) -> bool:
    """Tell whether objects belong to `kind` by their class."""
    return issubclass(type(kind), type) and type(kind).__instancecheck__ in USUAL_CHECKS


def _is_told_by_its_class(kind: type) -> bool:
    """Tell whether objects of `kind` say that they are of it: a mock, or a weak proxy, does not."""
    return found_in(kind, "__getattribute__") in USUAL_ACCESS and found_in(kind, "__class__") is _HAS_CLASS
