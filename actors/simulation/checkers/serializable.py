"""Serializability: whether transactions can have happened one after another, as their reads tell.

Transactions append values to lists and read lists, each value once to a key. So a read shows in which order
the values before it came, and the order of any two transactions that touched one key can be inferred: who
appended first (write to write), who read whose value (write to read), who read before a value was there (read
to write). A value that no read shows, of a transaction that was committed, came after all that are shown.
Transactions in a circle of such steps have no order. The method is that of Elle (Kingsbury and Alvaro, 2020).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Literal, TypeAlias

import attrs

__all__ = ["Append", "Read", "Transaction", "explain_transactions"]


@attrs.frozen
class Append:
    """`value` was appended to the list of `key`. No other transaction appends an equal value to it."""

    key: Hashable
    value: Hashable

    def __str__(self) -> str:
        return f"append({self.key!r}, {self.value!r})"


@attrs.frozen
class Read:
    """The list of `key` was read, and held `values`."""

    key: Hashable
    values: tuple[Hashable, ...] = attrs.field(converter=tuple)

    def __str__(self) -> str:
        return f"read({self.key!r}) -> {list(self.values)!r}"


@attrs.frozen
class Transaction:
    """A client's operations that were to happen in one go, or not at all.

    Attributes:
        number: names it; counted from 0.
        client: who.
        operations: in their order.
        outcome: "committed"; "aborted": nothing of it may ever be read; "unknown": no answer came, so it
            counts as committed when one of its values was read.
    """

    number: int
    client: str
    operations: tuple[Append | Read, ...]
    outcome: Literal["committed", "aborted", "unknown"]

    def __str__(self) -> str:
        return f"T{self.number} of {self.client}, {self.outcome}: " + ", ".join(map(str, self.operations))


Edges: TypeAlias = "dict[int, dict[int, str]]"
"""For each transaction those that came after it, and how that is known."""


def explain_transactions(transactions: Sequence[Transaction]) -> str | None:
    """Say why transactions are not serializable; None if they are."""
    known = {each.number: each for each in transactions}
    writers: dict[tuple[Hashable, Hashable], Transaction] = {}
    for each in transactions:
        for operation in each.operations:
            if isinstance(operation, Append):
                twin = writers.setdefault((operation.key, operation.value), each)
                if twin is not each:
                    return f"{operation} was done twice:\n  {twin}\n  {each}"
    orders: dict[Hashable, tuple[Hashable, ...]] = {}
    for reader, read in _reads(transactions):
        for value in read.values:
            writer = writers.get((read.key, value))
            if writer is None:
                return f"{read} holds {value!r}, which nobody appended:\n  {reader}"
            if writer.outcome == "aborted":
                return f"{read} holds {value!r} of a transaction that was aborted:\n  {writer}\n  {reader}"
        order = orders.get(read.key, ())
        longer, shorter = sorted((read.values, order), key=len, reverse=True)
        if longer[: len(shorter)] != shorter:
            return (
                f"two reads of {read.key!r} disagree: {list(order)!r} and {list(read.values)!r}:\n  {reader}"
            )
        orders[read.key] = longer
    circle = _circle(_edges(transactions, writers, orders))
    if circle is None:
        return None
    steps = "\n  ".join(f"T{number} before T{following}: {how}" for number, following, how in circle)
    involved = "\n  ".join(str(known[number]) for number, _, _ in circle)
    return f"these transactions have no order:\n  {involved}\nbecause\n  {steps}"


def _reads(transactions: Iterable[Transaction]) -> Iterator[tuple[Transaction, Read]]:
    """The reads that count: those of transactions that certainly happened."""
    for each in transactions:
        if each.outcome == "committed":
            yield from ((each, done) for done in each.operations if isinstance(done, Read))


def _edges(
    transactions: Sequence[Transaction],
    writers: dict[tuple[Hashable, Hashable], Transaction],
    orders: dict[Hashable, tuple[Hashable, ...]],
) -> Edges:
    edges: Edges = {each.number: {} for each in transactions}
    unread: dict[Hashable, list[Hashable]] = {}
    for (key, value), writer in writers.items():
        if writer.outcome == "committed" and value not in orders.get(key, ()):
            unread.setdefault(key, []).append(value)

    def enter(one: Transaction, other: Transaction, how: str) -> None:
        if one is not other:
            edges[one.number].setdefault(other.number, how)

    for key, order in orders.items():
        pairs = [
            *pairwise(order),
            *((order[-1], new) for new in unread.get(key, ()) if order),
        ]
        for before, after in pairs:
            how = f"it appended {before!r} to {key!r} before {after!r}"
            enter(writers[key, before], writers[key, after], how)
    for reader, read in _reads(transactions):
        if read.values:
            last = read.values[-1]
            enter(writers[read.key, last], reader, f"its {last!r} of {read.key!r} was read")
        order = orders[read.key]
        nexts = order[len(read.values) :][:1] or unread.get(read.key, ())
        for following in nexts:
            how = f"it read {read.key!r} before {following!r} was there"
            enter(reader, writers[read.key, following], how)
    return edges


def _circle(edges: Edges) -> list[tuple[int, int, str]] | None:
    """A shortest circle, as steps; None if there is none."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError:
        ways = (way for start in edges if (way := _way_back(edges, start)) is not None)
        best = min(ways, key=len)
        return [
            (number, following, edges[number][following])
            for number, following in zip(best, [*best[1:], best[0]], strict=True)
        ]
    return None


def _way_back(edges: Edges, start: int) -> list[int] | None:
    """A shortest way from a transaction back to itself, by breadth first; None if there is none."""
    before: dict[int, int | None] = {start: None}
    queue = [start]
    for number in queue:
        for following in edges[number]:
            if following == start:
                way = []
                place: int | None = number
                while place is not None:
                    way.append(place)
                    place = before[place]
                return way[::-1]
            if following not in before:
                before[following] = number
                queue.append(following)
    return None
