"""The children of one supervisor that have global names: each holds its name before it begins.

The registry is asked for the name first, on behalf of a process that has a number and nothing else. Only when
it is held is the process made, so there is none that has yet to begin and might have to be stopped. A child
whose name may be waited for counts as restarting meanwhile, as one whose node is away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import trio

from enfilade.actors.messages.errors import AlreadyStarted, CallError, Ignore, NameTaken
from enfilade.actors.messages.global_name import Global
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.signals import undroppable
from enfilade.actors.supervision.actions import Retry
from enfilade.actors.supervision.children import ChildRecord
from enfilade.actors.supervision.remote_children import RemoteStart

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["HeldChildren", "HeldStart"]

AnyRef = Ref[Any]


@undroppable
@attrs.define(eq=False)
class HeldStart(RemoteStart):
    """A question to the registry for a child's name. Sent to its supervisor when there is an answer.

    Attributes:
        serial: the number of the process that holds the name now; 0 when there is an error.
        retry: what the child waits for meanwhile; None if its supervisor waits for the start.
    """

    serial: int = 0
    retry: Retry[AnyRef] | None = None


class HeldChildren:
    """The children of a supervisor that have global names.

    Args:
        process: the supervisor.

    Raises:
        NotConnected: its node is in no mesh.
        NoQuorum: its node has nothing to do with a registry.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._names = process.node.mesh.names
        self._held: dict[Global, int] = {}

    def present(self, name: Global) -> bool:
        """Tell whether a name is held for a child that is about to start."""
        return name in self._held

    def serial(self, name: Global) -> int | None:
        """Return the number of the process that holds a name, for the child that is made now."""
        return self._held.get(name)

    def bind(self, name: Global, made: Process) -> None:
        """Have a child, which was made, end when its node no longer holds the name."""
        self._held.pop(name, None)
        self._names.bind(name.name, made, must_hold=True)

    def start(self, child: ChildRecord[AnyRef]) -> HeldStart:
        """Ask for the name of a child; the supervisor is sent what this returns. Not a checkpoint."""
        return self._ask(HeldStart(child, []))

    def wait(self, retry: Retry[AnyRef]) -> None:
        """Ask for the name of a child until it is free, as long as the child waits for it."""
        self._ask(HeldStart(retry.child, [], retry=retry))

    def _ask(self, start: HeldStart) -> HeldStart:
        scope = trio.CancelScope()
        start.abandon = scope.cancel
        self._process.node.distribution.start_soon(self._asked, start, scope)
        return start

    async def _asked(self, start: HeldStart, scope: trio.CancelScope) -> None:
        name = start.child.spec.name
        assert isinstance(name, Global)
        with scope:
            try:
                start.serial = await self._names.reserve(name, lambda: self._waits(start))
            except NameTaken as taken:
                is_ignored = name.taken == "ignore"
                start.error = Ignore() if is_ignored else AlreadyStarted(name.name, taken.holder)
            except CallError as error:
                start.error = error
            if self._process.ended is None:
                self._process.put(start)
                return
        if start.serial:
            self._names.cancel(name.name)

    def _waits(self, start: HeldStart) -> bool:
        """Tell whether a name that is taken is waited for."""
        return start.retry is not None and start.child.retry is start.retry and self._process.ended is None

    def answered(self, start: HeldStart, *, is_wanted: bool) -> bool:
        """Take note of an answer; return whether the name is held for the child."""
        name = start.child.spec.name
        if not start.serial or not isinstance(name, Global):
            return False
        if is_wanted:
            self._held[name] = start.serial
        else:
            self._names.cancel(name.name)
        return is_wanted

    def let_go(self) -> None:
        """Give back the names that are held for children which have not been made."""
        for name in self._held:
            self._names.cancel(name.name)
        self._held.clear()
