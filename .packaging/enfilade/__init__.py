"""Enfilade: supervised processes that share nothing and talk by messages, across zones, through doors.

Here are the names that a program begins with: what it writes, starts and supervises, how a process ends,
and who may reach a node. All else is in `enfilade.actors`, `enfilade.hostcalls` and `enfilade.transport`. A
name is imported when it is used first, so that a program of actors alone loads neither guests nor doors.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from enfilade.actors import (
        KILL,
        NORMAL,
        SHUTDOWN,
        Actor,
        CallError,
        Child,
        Crashed,
        Deferred,
        Down,
        DynamicSupervisor,
        Exited,
        Guest,
        Machine,
        Mailbox,
        Node,
        NodeConfig,
        Pool,
        Process,
        ProcessDied,
        Ref,
        RemoteEntry,
        Request,
        Shutdown,
        Supervisor,
        TaskSupervisor,
        Trapped,
        Worker,
        open_node,
    )
    from enfilade.transport import Policy

__all__ = [
    "KILL",
    "NORMAL",
    "SHUTDOWN",
    "Actor",
    "CallError",
    "Child",
    "Crashed",
    "Deferred",
    "Down",
    "DynamicSupervisor",
    "Exited",
    "Guest",
    "Machine",
    "Mailbox",
    "Node",
    "NodeConfig",
    "Policy",
    "Pool",
    "Process",
    "ProcessDied",
    "Ref",
    "RemoteEntry",
    "Request",
    "Shutdown",
    "Supervisor",
    "TaskSupervisor",
    "Trapped",
    "Worker",
    "open_node",
]

if not TYPE_CHECKING:  # a type checker that sees it takes every name for one of ours

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = import_module("enfilade.transport" if name == "Policy" else "enfilade.actors")
        value = globals()[name] = getattr(home, name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
