"""What a supervisor knows about each of its children, what it shows of that, and how it refuses a request.

`Record` is the supervisor's own, mutable entry; `ChildInfo` and `ChildCounts` are the immutable answers of
`Supervisor.children` and `Supervisor.count_children`.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable, Mapping
from typing import Any, Generic, Literal, TypeVar

import attrs

from enfilade.actors.messages.errors import RuntimeFault, StartError
from enfilade.actors.messages.reasons import Reason
from enfilade.actors.supervision.child_spec import Child, ChildType, RestartType

__all__ = [
    "AlreadyPresent",
    "ChildCounts",
    "ChildInfo",
    "ChildNotFound",
    "ChildRestarting",
    "ChildRunning",
    "FailedToStart",
    "MaxChildren",
    "NoChildIds",
    "NoTemplate",
    "Record",
    "StartFailed",
    "Status",
]

R = TypeVar("R", bound=Hashable)


class Status(enum.Enum):
    """What a child is doing, as its supervisor sees it."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"


@attrs.define(eq=False)
class Record(Generic[R]):
    """One child: its specification, its present incarnation, and what is due to happen to it.

    Attributes:
        key: what the supervisor finds it by: its id, or something unique for dynamic children.
        spec: its specification.
        args, kwargs: the arguments of its next start.
        ref: the running process, or None.
        status: see `Status`.
        predecessor: the incarnation before, while the next one is being started.
        exit: an exit that arrived while the supervisor was occupied, and is yet to be dealt with.
        retry: the pending `Retry` of a child that is restarting; any other one is out of date.
        failures: restarts since the last quiet time, for back-off.
        since: when the present incarnation of a child with back-off started.
    """

    key: Hashable
    spec: Child
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    ref: R | None = None
    status: Status = Status.STOPPED
    predecessor: R | None = None
    exit: Reason | None = None
    retry: object = None
    failures: int = 0
    since: float = 0.0


@attrs.frozen
class ChildInfo(Generic[R]):
    """One child as it is shown to others.

    Attributes:
        id: the id of its specification, None under a dynamic supervisor.
        ref: the running process, None when there is none, or "restarting" between two attempts to restart it.
        type: "worker" or "supervisor".
        restart: "permanent", "transient" or "temporary".
    """

    id: Hashable
    ref: R | Literal["restarting"] | None
    type: ChildType
    restart: RestartType


@attrs.frozen
class ChildCounts:
    """How many children there are.

    Attributes:
        specs: child specifications; 1 for a dynamic supervisor with a template.
        active: running processes; a child between two attempts to restart it is not one.
        supervisors: children of type "supervisor", running or not.
        workers: children of type "worker", running or not.
    """

    specs: int
    active: int
    supervisors: int
    workers: int


@attrs.frozen
class FailedToStart:
    """The detail of a supervisor's `Shutdown` reason when a child's start failed: which child, and why."""

    id: Hashable
    reason: Reason

    def __str__(self) -> str:
        return f"child {self.id!r}: {self.reason}"


class ChildNotFound(RuntimeFault, LookupError):
    """The supervisor has no child of that id or ref."""

    def __init__(self, key: object) -> None:
        super().__init__(f"this supervisor has no child {key!r}")
        self.key = key


class AlreadyPresent(RuntimeFault):
    """A specification with that id is there, and its child is not running: restart it, or delete it first."""

    def __init__(self, id: Hashable) -> None:  # noqa: A002 (the field's name)
        super().__init__(f"child {id!r} is already specified; use restart_child, or delete_child first")
        self.id = id


class ChildRunning(RuntimeFault):
    """A child with that id runs, as `ref`, and what was asked is for children that do not: terminate it
    first.
    """

    def __init__(self, id: Hashable, ref: Hashable) -> None:  # noqa: A002 (the field's name)
        super().__init__(f"child {id!r} is running as {ref}; use terminate_child first")
        self.id = id
        self.ref = ref


class ChildRestarting(RuntimeFault):
    """The child is between two attempts to restart it: terminate it first, or wait."""

    def __init__(self, id: Hashable) -> None:  # noqa: A002 (the field's name)
        super().__init__(f"child {id!r} is being restarted; use terminate_child first, or wait")
        self.id = id


class MaxChildren(RuntimeFault):
    """The dynamic supervisor has as many children as it may have."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"this supervisor already has its maximum of {limit} children")
        self.limit = limit


class NoChildIds(RuntimeFault):
    """The children of a dynamic supervisor have no ids: they are known by their refs, and cannot be restarted
    by hand.
    """

    def __init__(self, request: str) -> None:
        super().__init__(f"{request} by id is not for a dynamic supervisor; use terminate_child with a ref")
        self.request = request


class NoTemplate(RuntimeFault):
    """The dynamic supervisor was made without a template, so that it has to be told what to start."""

    def __init__(self) -> None:
        super().__init__("this dynamic supervisor has no template; use start_child with a Child")


class StartFailed(StartError):
    """A child did not start; `id` is its id, `reason` what its process ended with."""

    def __init__(self, id: Hashable, reason: Reason) -> None:  # noqa: A002 (the field's name)
        super().__init__(reason, f"child {id!r} did not start: {reason}")
        self.id = id
