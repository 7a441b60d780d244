"""The work that takes a supervisor several steps: starts that it waits for, and events of them, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.request import Request
from enfilade.actors.messages.signals import undroppable
from enfilade.actors.supervision.children import ChildRecord
from enfilade.actors.supervision.remote_children import RemoteStart

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["Acknowledged", "NextStep", "StartDue", "begun"]

AnyRef = Ref[Any]


@undroppable
@attrs.frozen(eq=False)
class Acknowledged:
    """The start of a child that has a task has succeeded or failed."""

    child: ChildRecord[AnyRef]
    made: Process
    request: Request[Any]


@undroppable
@attrs.frozen(eq=False)
class StartDue:
    """The time of a child's start has passed."""

    child: ChildRecord[AnyRef]
    start: Process | RemoteStart


@undroppable
@attrs.frozen(eq=False)
class NextStep:
    """The next step of a request that takes several: `fn` asks for it once the strategy is free again."""

    fn: Callable[[], None]


def begun(
    starts: Mapping[ChildRecord[AnyRef], Process | RemoteStart], starting: Mapping[Process, Request[Any]]
) -> Iterator[tuple[Request[Any], float]]:
    """The starts on this node among those that a supervisor waits for, and their time limits."""
    for child, made in starts.items():
        start = None if isinstance(made, RemoteStart) else starting.get(made)
        if start is not None:
            yield start, child.spec.start_timeout
