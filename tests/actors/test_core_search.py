"""The search of a mailbox, in the compiled core and in its twin."""

from __future__ import annotations

import gc
import sys
from collections import deque
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from enfilade.actors import Actor, Like
from enfilade.actors.processes.mailbox_search import MailboxSearch
from tests.actors.test_core import Odd, core, fails, needs_compiled

__all__ = ["core"]


class Touchy:
    """A message, and an item of one, that cannot be compared, and runs code when it is."""

    def __init__(self, compared: Any) -> None:
        self.compared = compared

    def __eq__(self, other: object) -> bool:
        return bool(self.compared())

    __hash__ = object.__hash__

    @property
    def size(self) -> Any:
        return self.compared()


class Pair(tuple[Any, ...]):
    """A tuple of a class of its own."""

    __slots__ = ()


SEARCHED: list[Any] = [
    *[("other", number) for number in range(70)],
    (),
    ("other",),
    ("".join(["wan", "ted"]), 7, "more"),
    ["wanted", 7],
    Pair(("wanted", 6)),
    *[("odd", number) for number in range(3)],
    SimpleNamespace(size=3, name="s"),
    SimpleNamespace(name="t"),
    "text",
    7.0,
    ("wanted", ("deep", 7)),
    ("wanted", 7),
    Pair(("wanted", 7)),
    ("wanted", Touchy(bool)),
    *range(8),
    Odd(),
    None,
]
SEARCHES: list[Any] = [
    Odd,
    (list, Pair),
    Like(float),
    Like(7),
    Like("text"),
    Like(None),
    Like(()),
    Like(("wanted", 7)),
    Like(("wanted", int)),
    Like(("wanted", 6)),
    Like(("wanted", ("deep", int))),
    Like((str, 2)),
    Like((object, object, object)),
    Like(Pair),
    Like(SimpleNamespace, size=int),
    Like(object, size=3, name="s"),
    Like(object, name=str, size=object),
    Like(("wanted", "nowhere")),
    Like(Actor),
]


@pytest.mark.parametrize("match", SEARCHES, ids=repr)
def test_a_search_finds_the_first_that_its_test_accepts(match: Any) -> None:
    search = MailboxSearch(match)
    accepted = [bool(search.test(message)) for message in SEARCHED]
    for start in (0, 1, 65, 80):
        expected = next((place for place in range(start, len(SEARCHED)) if accepted[place]), None)
        assert search.find(deque(SEARCHED), start) == (expected is not None)
        assert search.position == (len(SEARCHED) if expected is None else expected)
        passed = search.count_misfits(SEARCHED[start:])
        assert passed <= (len(SEARCHED) if expected is None else expected) - start
        assert not any(accepted[start : start + passed])


@pytest.mark.parametrize("place", [0, 40, 200])
def test_a_search_stops_where_a_comparison_raises_or_changes_the_queue(place: int) -> None:
    queue: deque[Any] = deque(("other", number) for number in range(300))
    queue[place] = ("wanted", Touchy(fails))
    search = MailboxSearch(Like(("wanted", 3)))
    with pytest.raises(LookupError):
        search.find(queue, 0)
    assert search.position == place
    queue[place] = ("wanted", Touchy(lambda: queue.append(("wanted", 3))))
    assert search.find(queue, 0)
    assert queue[search.position] == ("wanted", 3)
    assert search.position >= 300
    attribute = MailboxSearch(Like(Touchy, size=3))
    queue[place] = Touchy(fails)
    with pytest.raises(LookupError):
        attribute.find(queue, 0)
    assert attribute.position == place


@needs_compiled
@pytest.mark.parametrize("core", ["compiled"], indirect=True)
def test_what_is_data_is_passed_by_without_its_test() -> None:
    messages = [("other", 1), ["other"], ("another", 2)] * 100
    assert MailboxSearch(Like(("wanted", 7))).count_misfits(messages) == 300
    assert MailboxSearch((int, Pair)).count_misfits(messages) == 300
    with pytest.raises(TypeError):
        MailboxSearch(int).count_misfits(3)  # type: ignore[arg-type]


def test_a_search_loses_and_keeps_no_reference() -> None:
    message, argument = object(), object()
    counts = []
    for _ in range(3):
        queue = deque([*SEARCHED, (message, argument), ("wanted", Touchy(fails)), argument])
        for match in [*SEARCHES, Like((message, str)), Like(Pair, none=message), Like(("nowhere", argument))]:
            with suppress(LookupError):
                MailboxSearch(match).find(queue, 3)
        del queue, match
        gc.collect()
        counts.append([sys.getrefcount(each) for each in (message, argument, Pair, int)])
    assert counts[1] == counts[2]
