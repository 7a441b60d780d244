"""Public methods: which methods of an actor others may call."""

from __future__ import annotations

from typing import Any

from enfilade.actors.messages.errors import NotPublic

__all__ = ["HOOKS", "method_name"]


HOOKS = frozenset(
    {
        "on_start",
        "on_message",
        "on_exit",
        "on_down",
        "on_stop",
        "on_code_change",
        "format_status",
        "process",
    },
)


def method_name(method: Any) -> str:
    """Return the name of a public method.

    Raises:
        NotPublic: `method` is a hook, private, or not a function.
    """
    name = getattr(method, "__name__", "")
    if not name or name[0] == "_" or name in HOOKS or not callable(method):
        raise NotPublic(method)
    return name
