"""Remarks about a node beside the diagnosis of its waits: the longest mailbox, and the last crashes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from enfilade.actors.messages.safe_text import safe_str
from enfilade.actors.observing.tables.diagnosis import doing, file_of, is_below
from enfilade.actors.observing.tables.rows import shown_ref

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node
    from enfilade.actors.observing.events.records import ProcessCrashed
    from enfilade.actors.processes.process import Process

__all__ = ["remarks"]

LONG: Final = 100
"""Messages of a mailbox that is worth a remark."""

RECENT: Final = 60.0
"""Seconds for which a crash is worth a remark."""


def remarks(node: Node, processes: Iterable[Process]) -> list[str]:
    """Find what else is worth a look: the longest mailbox if it is long, and crashes within the last minute.

    Args:
        node: the node.
        processes: its processes.
    """
    return [*_longest(processes), *_crashed(node)]


def _longest(processes: Iterable[Process]) -> Iterator[str]:
    longest = max(processes, key=lambda process: len(process.queue), default=None)
    if longest is not None and len(longest.queue) >= LONG:
        count = len(longest.queue)
        yield f"{count:,} messages wait for {shown_ref(longest.ref)}, which {doing(longest, None)}"


def _crashed(node: Node) -> Iterator[str]:
    now = node.timers.now()
    crashes = [crash for crash in node.crashes if now - crash.at <= RECENT]
    if not crashes:
        return
    last = crashes[-1]
    count = "1 crash" if len(crashes) == 1 else f"{len(crashes)} crashes"
    which = "" if len(crashes) == 1 else ", the last"
    why = last.reason.text if last.exception is None else f"{last.exception.type}: {last.exception.text}"
    yield f"{count} within a minute{which} of {safe_str(last.ref)} ({last.actor}){_place(last)}: {why}"


def _place(crash: ProcessCrashed) -> str:
    """The innermost place of the program's own code in the frames of a crash."""
    frames = () if crash.exception is None else crash.exception.frames
    own = [frame for frame in frames if not is_below(frame.file)]
    return f", in {own[-1].function} ({file_of(own[-1].file)}:{own[-1].line})" if own else ""
