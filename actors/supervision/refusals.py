"""Errors with which a supervisor refuses a request, or reports a failed start."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

import attrs

from enfilade.actors.messages.crash import as_told
from enfilade.actors.messages.errors import RuntimeFault, StartError
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.reasons import Reason, Shutdown
from enfilade.actors.messages.safe_text import safe_record, safe_repr, safe_str
from enfilade.actors.messages.travelling import travels

__all__ = [
    "AlreadyPresent",
    "ChildNotFound",
    "ChildRestarting",
    "ChildRunning",
    "FailedToStart",
    "MaxChildren",
    "NoChildIds",
    "NoTemplate",
    "StartFailed",
    "refused_with",
]


LEVELS: Final = 8
"""How many levels of a tree the text of `FailedToStart` names, besides the innermost, which is the cause."""


@travels
@attrs.frozen
class FailedToStart:
    """The detail of a supervisor's `Shutdown` reason when a child's start failed: `id` and `reason`.

    It is not an error: a caller that asked a running supervisor for a child gets `StartFailed`.
    """

    id: Hashable
    reason: Reason

    __repr__ = safe_record

    def __str__(self) -> str:
        levels = [self]  # of supervisors that are each the child of the one before, and failed for it
        while is_a(reason := levels[-1].reason, Shutdown) and is_a(reason.detail, FailedToStart):
            levels.append(reason.detail)
        shown = [f"child {safe_repr(level.id)}" for level in (*levels[:LEVELS], levels[-1])]
        if len(levels) <= LEVELS:
            shown.pop()
        elif more := len(levels) - LEVELS - 1:
            shown[-1] = f"{more} more: {shown[-1]}"
        return ": shutdown: ".join(shown) + f": {levels[-1].reason}"


@travels
class ChildNotFound(RuntimeFault, LookupError):
    """The supervisor has no child with the id or ref `key`."""

    def __init__(self, key: object) -> None:
        super().__init__(f"this supervisor has no child {safe_repr(key)}")
        self.key = key


@travels
class AlreadyPresent(RuntimeFault):
    """A specification with the id `id` exists, and its child does not run: restart it, or delete it first."""

    def __init__(self, id: Hashable) -> None:  # noqa: A002 (the field's name)
        super().__init__(
            f"child {safe_repr(id)} is already specified; use restart_child, or delete_child first"
        )
        self.id = id


@travels
class ChildRunning(RuntimeFault):
    """The child `id` runs as `ref`, and the request is for children that do not: terminate it first."""

    def __init__(self, id: Hashable, ref: Hashable) -> None:  # noqa: A002 (the field's name)
        super().__init__(f"child {safe_repr(id)} is running as {safe_str(ref)}; use terminate_child first")
        self.id = id
        self.ref = ref


@travels
class ChildRestarting(RuntimeFault):
    """The child `id` is between two attempts to restart it: terminate it first, or wait."""

    def __init__(self, id: Hashable) -> None:  # noqa: A002 (the field's name)
        super().__init__(f"child {safe_repr(id)} is being restarted; use terminate_child first, or wait")
        self.id = id


@travels
class MaxChildren(RuntimeFault):
    """The dynamic supervisor has as many children as it may have, `limit`."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"this supervisor already has its maximum of {limit} children")
        self.limit = limit


@travels
class NoChildIds(RuntimeFault):
    """The children of a dynamic supervisor have no ids: they are known by their refs, and cannot be restarted
    by hand. `request` is the method that was called.
    """

    def __init__(self, request: str) -> None:
        super().__init__(f"{request} by id is not for a dynamic supervisor; use terminate_child with a ref")
        self.request = request


@travels
class NoTemplate(RuntimeFault):
    """The dynamic supervisor was made without a template, so a start must say what to start."""

    def __init__(self) -> None:
        super().__init__("this dynamic supervisor has no template; use start_child with a Child")


@travels
class StartFailed(StartError):
    """A child that a running supervisor was asked for did not start.

    `id` is its id, `reason` what its process ended with. When a supervisor itself does not start because of a
    child, its starter gets `StartError` with the reason `Shutdown(FailedToStart(...))`.
    """

    def __init__(self, id: Hashable, reason: Reason) -> None:  # noqa: A002 (the field's name)
        super().__init__(reason, f"child {safe_repr(id)} did not start: {reason}")
        self.id = id


def refused_with(error: BaseException) -> Exception:
    """Return what a caller is told of `error`, which its request has raised.

    A refusal comes without the frames that made it: they are the supervisor's own, and hold the call.
    """
    told = as_told(error, "the request")
    return told.with_traceback(None) if is_a(told, RuntimeFault) else told
