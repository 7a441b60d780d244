"""Events of a child whose start takes time, as its supervisor is sent them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.request import Request
from enfilade.actors.messages.signals import undroppable
from enfilade.actors.supervision.children import ChildRecord
from enfilade.actors.supervision.remote_children import RemoteStart

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["Acknowledged", "StartDue"]

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
