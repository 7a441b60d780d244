"""The actions of an operator on processes, and what must be confirmed before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import attrs

from enfilade.actors.cli.observe.observed import Observed
from enfilade.actors.cli.observe.words import one_line
from enfilade.actors.observing.protocol.views import TreeView

__all__ = [
    "ACTIONS",
    "Action",
    "Question",
    "Target",
    "question",
    "shown_in",
    "target_of",
    "why_no_action",
]


@attrs.frozen
class Target:
    """A process that an action is about.

    Attributes:
        serial: its number; None for a child that does not run.
        shown: names it for people.
        life: the start of the node that it is of; see `Observed.life`.
        is_supervisor: whether it has others below it.
        name: what must be typed to confirm what is done to a supervisor.
        supervisor: the serial of its supervisor; None.
        child_id: its id there, as text; None.
    """

    serial: int | None
    shown: str
    life: str
    is_supervisor: bool = False
    name: str = ""
    supervisor: int | None = None
    child_id: str | None = None


def shown_in(row: Mapping[str, Any]) -> str:
    """The process of a row of a table, for people."""
    name = _name_in(row)
    actor = one_line(row.get("actor") or row.get("kind") or "process")
    return f"{f'{actor} {one_line(name)!r}' if name else actor} ({row['serial']})"


def _name_in(row: Mapping[str, Any]) -> Any:
    return row.get("name") or row.get("label") or row.get("child_id")


def target_of(row: Mapping[str, Any], life: str) -> Target:
    """The process of a row of a table that a start of the node has told."""
    name = _name_in(row)
    return Target(
        row["serial"],
        shown_in(row),
        life,
        is_supervisor=row.get("kind") == "supervisor",
        name=one_line(name) if name else str(row["serial"]),
        supervisor=row.get("supervisor"),
        child_id=row.get("child_id"),
    )


MESSAGE: Final = "a message as JSON"


@attrs.frozen
class Action:
    """An action.

    Attributes:
        key: the key that begins it.
        method: the method of the control process.
        title: what it does, as a verb.
        is_of_a_child: whether it is about a place under a supervisor, not about a process.
        asks: what must be given in words: a reason, or a message as JSON; nothing if it is empty.
        proposed: what is proposed for it.
        ends: whether it ends the process, and everything below a supervisor.
    """

    key: str
    method: str
    title: str
    is_of_a_child: bool = False
    asks: str = ""
    proposed: str = ""
    ends: bool = False

    def arguments(
        self, serial: int | None, supervisor: int | None, child_id: str | None, given: str
    ) -> list[Any]:
        """The arguments of the method; none when the action makes no sense for that process. What is `given`
        must have no `problem`; while it is empty, the message is None.
        """
        if self.is_of_a_child:
            return [] if supervisor is None or child_id is None else [supervisor, child_id]
        if serial is None:
            return []
        if self.asks == MESSAGE:
            return [serial, json.loads(given) if given else None]
        return [serial, given] if self.asks else [serial]

    def problem(self, given: str) -> str | None:
        """Why what was given will not do; None if it will."""
        if self.asks != MESSAGE:
            return None
        try:
            json.loads(given)
        except (ValueError, RecursionError) as error:
            got = one_line(given)[:100] or "nothing"
            return f'expected {MESSAGE}, such as "hello" or [1, 2], got {got}: {one_line(error)}'
        return None


ACTIONS: Final = (
    Action("S", "suspend", "suspend"),
    Action("R", "resume", "resume"),
    Action("K", "kill", "kill", ends=True),
    Action("X", "exit", "send an exit signal to", asks="reason", proposed="shutdown", ends=True),
    Action("M", "send", "send a message to", asks=MESSAGE),
    Action("B", "restart_child", "restart the child", is_of_a_child=True, ends=True),
    Action("T", "terminate_child", "terminate the child", is_of_a_child=True, ends=True),
)
"""The actions, by their keys: all of them need the right to control."""


@attrs.frozen
class Question:
    """The question that is asked before an action.

    Attributes:
        title: asks it.
        lines: what to know before the answer.
        typed: what must be typed to confirm; None where a yes is enough.
    """

    title: str
    lines: tuple[str, ...]
    typed: str | None


async def question(observed: Observed, action: Action, target: Target, given: str) -> Question:
    """Ask the node how much is below the process, and put the question. A checkpoint."""
    ends_others = target.is_supervisor and action.ends
    below = 0
    if ends_others and target.serial is not None:
        state = await observed.once(TreeView(root=target.serial))
        branches = [] if state is None else state.fields["branches"]
        below = branches[0].get("below", {}).get("processes", 0) if branches else 0
    lines = [f"node {one_line(observed.name)}"]
    if below:
        lines.append(f"{below:,} process{'' if below == 1 else 'es'} below it end with it")
    if given:
        lines.append(f"{'message' if action.asks == MESSAGE else action.asks} {one_line(given)}")
    return Question(f"{action.title} {target.shown}?", tuple(lines), target.name if ends_others else None)


def why_no_action(observed: Observed) -> str | None:
    """The reason for which nothing can be done to processes of a node; None if it can."""
    if not observed.is_up:
        return "the node is not connected"
    if "control" not in observed.allowed:
        return observed.withheld
    if "control" not in observed.given:
        return "the node does not let us control it; `[[peer]] control = true` does"
    return None
