"""Linearizability: whether operations that overlapped can have happened one after another.

The search is Wing and Gong's, with Lowe's memory of what has been tried, for each key alone. An operation
without an answer may have happened at any time after its call, or not at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Final, TypeAlias

import attrs

__all__ = ["COUNTER", "LOCK", "QUEUE", "REGISTER", "SET", "Model", "Operation", "Undecided", "explain"]

BUDGET: Final = 100_000
"""States to look at for one key."""


class Undecided(AssertionError):
    """The search was given up: the history of a key is too long, or too much of it overlaps."""


@attrs.frozen
class Operation:
    """One operation of a client.

    Attributes:
        client: who asked.
        key: what it is about; each key is judged alone.
        name: which operation, with its arguments.
        arguments: what it was given.
        called: when it was asked for.
        answered: when its answer came; infinite when none did.
        answer: what came.
    """

    client: str
    key: Hashable
    name: str
    arguments: tuple[Any, ...]
    called: float
    answered: float = math.inf
    answer: Any = None

    def __str__(self) -> str:
        given = ", ".join(map(repr, self.arguments))
        outcome = "no answer" if self.answered == math.inf else f"{self.answer!r} at {self.answered:g} s"
        return f"{self.client}: {self.name}({given}) on {self.key!r} at {self.called:g} s -> {outcome}"


Step: TypeAlias = "Callable[[Any, Operation], Iterable[tuple[Any, Any]]]"
"""Gives, for a state and an operation, the answers that are possible, each with the state that follows."""


@attrs.frozen
class Model:
    """The rules of an object that is used by one client at a time.

    Attributes:
        initial: its state at first; states are hashable.
        step: a pure function.
    """

    initial: Hashable
    step: Step


def explain(operations: Sequence[Operation], model: Model, budget: int = BUDGET) -> str | None:
    """Say why a history is not linearizable; None if it is.

    Raises:
        Undecided: more than `budget` states of one key would have to be looked at.
    """
    keys: dict[Hashable, list[Operation]] = {}
    for operation in operations:
        keys.setdefault(operation.key, []).append(operation)
    for key, history in keys.items():
        history.sort(key=lambda operation: (operation.called, operation.answered))
        longest = _longest_order(history, model, budget)
        if longest is not None:
            listed = "\n  ".join(map(str, longest))
            rest = "\n  ".join(str(operation) for operation in history if operation not in longest)
            return (
                f"the operations on {key!r} have no order that explains their answers; the longest one:\n"
                f"  {listed}\nnone of these can follow:\n  {rest}"
            )
    return None


def _longest_order(history: Sequence[Operation], model: Model, budget: int) -> list[Operation] | None:
    """The longest order that explains the answers; None if there is one of all that were answered."""
    wanted = sum(1 << place for place, operation in enumerate(history) if operation.answered < math.inf)
    seen: set[tuple[int, Hashable]] = set()
    pending: list[tuple[int, Any, tuple[int, ...]]] = [(0, model.initial, ())]
    best: tuple[int, ...] = ()
    while pending:
        done, state, order = pending.pop()
        if done & wanted == wanted:
            return None
        if (done, state) in seen:
            continue
        seen.add((done, state))
        if len(seen) > budget:
            raise Undecided(
                f"more than {budget} states of the key {history[0].key!r} were looked at: use fewer "
                "operations on a key, or fewer clients at a time"
            )
        if len(order) > len(best):
            best = order
        # Whatever was called after the first outstanding answer cannot be next.
        left = [place for place in range(len(history)) if not done >> place & 1]
        limit = min(history[place].answered for place in left)
        for place in reversed(left):
            operation = history[place]
            if operation.called > limit:
                continue
            for answer, following in model.step(state, operation):
                if operation.answered == math.inf or answer == operation.answer:
                    pending.append((done | 1 << place, following, (*order, place)))
    return [history[place] for place in best]


def _check_name(operation: Operation, *known: str) -> None:
    """Refuse an operation that the object does not have."""
    if operation.name not in known:
        raise ValueError(f"expected an operation among {', '.join(known)}, got {operation}")


def _register(state: Any, operation: Operation) -> Iterable[tuple[Any, Any]]:
    _check_name(operation, "read", "write", "compare_and_set")
    if operation.name == "read":
        return [(state, state)]
    if operation.name == "write":
        return [(None, operation.arguments[0])]
    expected, new = operation.arguments  # compare and set
    return [(True, new)] if state == expected else [(False, state)]


def _counter(state: Any, operation: Operation) -> Iterable[tuple[Any, Any]]:
    _check_name(operation, "add", "read")
    total = state + (operation.arguments[0] if operation.arguments else 0)
    return [(total, total)]


def _set(state: Any, operation: Operation) -> Iterable[tuple[Any, Any]]:
    _check_name(operation, "add", "remove", "contains")
    (member,) = operation.arguments
    if operation.name == "contains":
        return [(member in state, state)]
    changed = state | {member} if operation.name == "add" else state - {member}
    return [(changed != state, changed)]


def _queue(state: Any, operation: Operation) -> Iterable[tuple[Any, Any]]:
    _check_name(operation, "put", "take")
    if operation.name == "put":
        return [(None, (*state, operation.arguments[0]))]
    return [(state[0], state[1:])] if state else [(None, state)]


def _lock(state: Any, operation: Operation) -> Iterable[tuple[Any, Any]]:
    _check_name(operation, "acquire", "release")
    if operation.name == "acquire":
        return [(True, operation.client)] if state is None else [(False, state)]
    return [(True, None)] if state == operation.client else [(False, state)]


REGISTER: Final = Model(None, _register)
"""Operations `read()`, `write(value)`, `compare_and_set(expected, new)`."""

COUNTER: Final = Model(0, _counter)
"""Operations `add(amount)` and `read()`, which answer the total."""

SET: Final = Model(frozenset(), _set)
"""Operations `add(member)`, `remove(member)`, which tell whether they changed it, and `contains(member)`."""

QUEUE: Final = Model((), _queue)
"""Operations `put(value)` and `take()`, which gives None when there is nothing."""

LOCK: Final = Model(None, _lock)
"""Operations `acquire()` and `release()`, which tell whether they succeeded."""
