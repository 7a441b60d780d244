"""The process of a node that carries out the requests of operators.

It is an ordinary process with a reserved name, and peers reach it as they reach any other: by the policy. A
pattern such as `*` among a peer's exports does not include it; only `control = true` does. Every request but
those that only look is an event, "operator.acted", and a line of the log.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from enfilade.actors.messages.errors import NoProcess, NotConnected, Refused, RuntimeFault, UpgradeFailed
from enfilade.actors.messages.reasons import KILL, Custom, Reason
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_id import safe_id
from enfilade.actors.messages.safe_text import safe_repr, safe_str
from enfilade.actors.messages.seconds import check_seconds
from enfilade.actors.observing.tables.listing import Listing
from enfilade.actors.supervision.supervisor import Supervisor
from enfilade.actors.supervision.supervisor_body import SupervisorBody
from enfilade.actors.system import resume, suspend

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = ["Control"]

PATIENCE: Final = 2.0
"""Seconds that a process has to do what an operator asks of it."""

LARGEST_REASON: Final = 1_000
"""Characters of a reason that an operator gives."""


class Control(Listing):
    """The control process.

    The serials are those of processes of its node. Every action raises, in the caller,

    Raises:
        NoProcess: the process has ended meanwhile.
        Refused: there is no such process, it cannot be done, or was not done in time; the text says which.
    """

    async def suspend(self, serial: int) -> None:
        """Let a process serve only system messages until `resume`."""
        if serial == self.process.serial:
            text = f"{self.process.ref} carries out the orders of operators: nobody could resume it"
            self.process.refuse(Refused(text))
            return
        await self._act("suspend", serial, lambda process: suspend(process.ref.within(PATIENCE)))

    async def resume(self, serial: int) -> None:
        """Let a suspended process go on."""
        await self._act("resume", serial, lambda process: resume(process.ref.within(PATIENCE)))

    async def exit(self, serial: int, reason: str) -> None:
        """Send an exit signal to a process, with a reason of the operator's own words."""
        text = safe_str(reason, LARGEST_REASON)
        await self._act("exit", serial, lambda process: self._exit(process.ref, Custom(text)))

    async def kill(self, serial: int) -> None:
        """Kill a process, and what is below it."""
        await self._act("kill", serial, lambda process: self._exit(process.ref, KILL))

    async def send(self, serial: int, message: Any) -> None:
        """Send a message to a process."""
        await self._act("send", serial, lambda process: self._send(process.ref, message))

    async def restart_child(self, supervisor: int, child_id: str) -> None:
        """Start a child that is stopped; one that runs is stopped first."""
        await self._act("restart_child", supervisor, lambda process: self._restart(process, child_id))

    async def terminate_child(self, supervisor: int, child_id: str) -> None:
        """Stop a child by its shutdown rule, and do not restart it.

        Args:
            supervisor: the serial of its supervisor.
            child_id: its id as text; under a dynamic supervisor `#` and its serial.
        """
        await self._act("terminate_child", supervisor, lambda process: self._terminate(process, child_id))

    async def upgrade(self, name: str, module: str, timeout: float) -> str | None:
        """Move the guest of that name to another module; see `enfilade.actors.guests.upgrade.upgrade_guest`.

        Args:
            name: the guest's registered name.
            module: the path of the new module, as this node sees it.
            timeout: seconds for it.

        Returns:
            why the guest goes on as it was, or None if it has moved.
        """
        from enfilade.actors.guests.upgrade import upgrade_guest  # a node without guests does not load it

        ref = self.process.node.whereis(name) if isinstance(name, str) else None
        if ref is None:
            return f"no process of this node has the name {safe_repr(name)}"
        self._note("upgrade", ref)
        try:
            await upgrade_guest(ref, Path(module), timeout=timeout)
        except (UpgradeFailed, TypeError) as error:
            return safe_str(error)
        return None

    def drain(self, timeout: float) -> None:
        """Have other nodes of the mesh take over what they can, and then order the node's shutdown.

        The answer says that it has begun.

        Args:
            timeout: seconds for the handing over.

        Raises:
            NotConnected: the node is in no mesh.
            Refused: that is no time.
        """
        node = self.process.node
        try:
            check_seconds(timeout, "a time limit")
            mesh = node.mesh
        except NotConnected as error:
            self.process.refuse(error)
            return
        except (TypeError, ValueError) as error:
            self.process.refuse(Refused(safe_str(error)))
            return
        self._note("drain", None)

        async def drain() -> None:
            await mesh.drain(timeout)
            node.stop_for(SystemExit(0))

        node.distribution.start_soon(drain)

    def stop(self) -> None:
        """Order the node's shutdown. The answer says that it was ordered, not that it is done."""
        self._note("stop", None)
        self.process.node.stop_for(SystemExit(0))

    async def _act(self, action: str, serial: int, act: Callable[[Process], Awaitable[None]]) -> None:
        process = self.process.node.processes.get(serial) if type(serial) is int else None
        if process is None or process.ended is not None:
            self.process.refuse(Refused(f"there is no process {safe_repr(serial, 40)}"))
            return
        self._note(action, process.ref)
        try:
            await act(process)
        except NoProcess as error:
            self.process.refuse(error)
        except RuntimeFault as error:
            self.process.refuse(Refused(safe_str(error)))

    def _note(self, action: str, on: Ref[Any] | None) -> None:
        """Tell of what an operator does."""
        self.process.node.observation.acted(self.asker, action, on)

    async def _exit(self, ref: Ref[Any], reason: Reason) -> None:
        self.process.exit(ref, reason)

    async def _send(self, ref: Ref[Any], message: Any) -> None:
        ref.send(message)

    async def _restart(self, process: Process, child_id: str) -> None:
        supervisor, key, is_running = _child_of(process, child_id)
        if is_running:
            await supervisor.call(Supervisor.terminate_child, key)
        await supervisor.call(Supervisor.restart_child, key)

    async def _terminate(self, process: Process, child_id: str) -> None:
        supervisor, key, _ = _child_of(process, child_id)
        await supervisor.call(Supervisor.terminate_child, key)


def _child_of(process: Process, child_id: str) -> tuple[Ref[Supervisor], Any, bool]:
    """The supervisor, what it finds that child by, and whether the child runs.

    Raises:
        Refused: it is no supervisor, has no such child, or several that are shown as that.
    """
    if not isinstance(process.body, SupervisorBody):
        raise Refused(f"{process.ref} is not a supervisor")
    found = []
    for info in process.body.strategy.children.infos():
        ref = info.ref if isinstance(info.ref, Ref) else None
        shown = safe_id(info.id) if info.id is not None else f"#{'-' if ref is None else ref.serial}"
        if shown == child_id:
            found.append((ref if info.id is None else info.id, ref is not None))
    if not found:
        raise Refused(f"{process.ref} has no child {safe_repr(child_id, 100)}")
    if len(found) > 1:
        raise Refused(
            f"{process.ref} has {len(found)} children whose ids are shown as {safe_repr(child_id, 100)}"
        )
    ((key, is_running),) = found
    return process.ref.within(PATIENCE), key, is_running
