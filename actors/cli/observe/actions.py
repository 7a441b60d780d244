"""The actions of an operator on processes, and what must be confirmed before."""

from __future__ import annotations

from typing import Any, Final

import attrs

__all__ = ["ACTIONS", "Action"]


@attrs.frozen
class Action:
    """An action.

    Attributes:
        key: the key that begins it.
        method: the method of the control process.
        title: what it does, as a verb.
        is_of_a_child: whether it is about a place under a supervisor, not about a process.
        reason: whether a reason must be given.
        ends: whether it ends the process, and everything below a supervisor.
    """

    key: str
    method: str
    title: str
    is_of_a_child: bool = False
    reason: bool = False
    ends: bool = False

    def arguments(
        self, serial: int | None, supervisor: int | None, child_id: str | None, reason: str
    ) -> list[Any]:
        """The arguments of the method; none when the action makes no sense for that process."""
        if self.is_of_a_child:
            return [] if supervisor is None or child_id is None else [supervisor, child_id]
        if serial is None:
            return []
        return [serial, reason] if self.reason else [serial]


ACTIONS: Final = (
    Action("S", "suspend", "suspend"),
    Action("R", "resume", "resume"),
    Action("K", "kill", "kill", ends=True),
    Action("X", "exit", "send an exit signal to", reason=True, ends=True),
    Action("B", "restart_child", "restart the child", is_of_a_child=True, ends=True),
    Action("T", "terminate_child", "terminate the child", is_of_a_child=True, ends=True),
)
"""The actions, by their keys: all of them need the right to control."""
