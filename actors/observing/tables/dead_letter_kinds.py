"""The kinds of dead letters of a node: to whom, for what reason, and what they were, with their numbers."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any, Final

from enfilade.actors.messages.hooks import Listener
from enfilade.actors.messages.reasons import Reason
from enfilade.actors.messages.ref import NameRef, Ref
from enfilade.actors.messages.safe_text import safe_str, shown_name, told
from enfilade.actors.observing.tables.in_words import message_in_words
from enfilade.actors.processes.identity import actor_name
from enfilade.actors.processes.local_ref import process_of

__all__ = ["DeadLetterKinds"]

SHOWN: Final = 256
"""How many kinds are shown, those of the most letters."""

KEPT: Final = 4 * SHOWN
"""How many kinds are told apart; of one more, only those are kept that are shown."""

Kind = tuple[str, str, str]
"""The addressee, the type of the reason, the method or type of the message."""


class DeadLetterKinds(Listener):
    """The kinds of dead letters of one node. It holds texts and numbers alone."""

    def __init__(self) -> None:
        self._counts: dict[Kind, int] = {}

    def message_dead(self, message: Any, ref: Ref[Any], reason: Reason) -> None:
        words = message_in_words(message)
        what = words["type"] if words["method"] is None else f"{words['kind']} {words['method']}"
        kind = _addressee(ref), shown_name(type(reason)), what
        counts = self._counts
        count = counts.get(kind, 0)
        if not count and len(counts) >= KEPT:
            self._counts = counts = dict(self._most_frequent())
        counts[kind] = count + 1

    def _most_frequent(self) -> list[tuple[Kind, int]]:
        return heapq.nlargest(SHOWN, self._counts.items(), key=lambda item: item[1])

    def rows(self) -> Iterator[dict[str, Any]]:
        """The kinds of the most letters, as rows of a table, the most frequent first."""
        for (addressee, reason, message), count in self._most_frequent():
            yield {
                "id": f"{addressee}/{reason}/{message}",
                "addressee": addressee,
                "reason": reason,
                "message": message,
                "count": count,
            }


def _addressee(ref: Ref[Any]) -> str:
    """The name of the process that a letter was for, else its class, else its node."""
    if isinstance(ref, NameRef):
        return safe_str(ref.name)
    process = process_of(ref)
    if process is None:
        return f"a process of {safe_str(ref.node_name)}"
    return told(process.name) or actor_name(process) or "a mailbox"
