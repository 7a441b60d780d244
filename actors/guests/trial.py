"""A module on trial: what it has done to a process that is not its own before it has taken over."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

from enfilade.actors.messages.errors import CallError, NoProcess
from enfilade.actors.messages.reasons import NO_PROCESS
from enfilade.actors.messages.ref import Ref
from enfilade.actors.processes.local_ref import process_of
from enfilade.hostcalls.abi.errors import HostcallError

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["Trial"]


class Trial:
    """The deeds of one module on trial.

    Its links are made when it has taken over: until then nothing that they lead to may end the process. The
    rest is done at once, and taken back if the module goes.
    """

    __slots__ = ("_links", "_steps")

    def __init__(self) -> None:
        self._links: dict[Ref[Any], None] = {}
        self._steps: dict[Hashable, Callable[[], object]] = {}

    def did(self, what: Hashable, undo: Callable[[], object]) -> None:
        """Note what the module has done, and what takes it back; the first time, if it does so again."""
        self._steps.setdefault(what, undo)

    def undid(self, what: Hashable) -> None:
        """Note that the module itself has taken it back."""
        self._steps.pop(what, None)

    def link(self, actor: Ref[Any]) -> None:
        """Link the process later."""
        self._links[actor] = None

    def unlink(self, actor: Ref[Any]) -> None:
        """Do not link the process later."""
        self._links.pop(actor, None)

    def keep(self, process: Process) -> None:
        """The module has taken over: let stay what it has done, and make its links."""
        for actor in self._links:
            try:
                process.link(actor)
            except NoProcess:
                ended = process_of(actor)
                reason = None if ended is None else ended.ended
                process.exit_arrived(actor, reason or NO_PROCESS, linked=True)

    def take_back(self) -> None:
        """The module goes: undo what it has done, the last first."""
        for step in reversed(self._steps.values()):
            with contextlib.suppress(CallError, HostcallError):  # it is undone already
                step()
