"""The work that takes a supervisor several steps: starts that it waits for, and events of them, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.request import Request
from enfilade.actors.messages.signals import undroppable
from enfilade.actors.processes.links import link_newborn
from enfilade.actors.processes.start import create
from enfilade.actors.supervision.children import ChildRecord
from enfilade.actors.supervision.remote_children import RemoteStart

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["Acknowledged", "NextStep", "StartDue", "begun", "made_for"]

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


def made_for(supervisor: Process, child: ChildRecord[AnyRef], serial: int | None) -> Process:
    """Make the process that is about to start as that child, linked to its supervisor.

    With `serial`, its number is one that has been given out before. Raises what `create` raises.
    """
    spec = child.spec
    mailbox = spec.mailbox
    if spec.local_name is None and spec.on_failure is None and serial is None and not mailbox.inherit:
        process = supervisor.node.new_process(supervisor, mailbox)
        process.label = spec.label
        link_newborn(supervisor, process)
        return process
    return create(
        supervisor.node,
        spawner=supervisor,
        name=spec.local_name,
        link=True,
        mailbox=mailbox,
        label=spec.label,
        heir_of=child.predecessor if mailbox.inherit else None,
        on_failure=spec.on_failure,
        serial=serial,
    )


def begun(
    starts: Mapping[ChildRecord[AnyRef], Process | RemoteStart], starting: Mapping[Process, Request[Any]]
) -> Iterator[tuple[Request[Any], float]]:
    """The starts on this node among those that a supervisor waits for, and their time limits."""
    for child, made in starts.items():
        start = None if isinstance(made, RemoteStart) else starting.get(made)
        if start is not None:
            yield start, child.spec.start_timeout
