"""Another module in a running process: messages wait, state is handed over, and failure changes nothing.

The process stays what it is to everybody else: its ref, its names, links, monitors and mailbox, the slots of
its resources and the requests that it has not answered. Only the module's instance is replaced:

1. The guest is asked at its next receive that takes the kind "upgrade", before any message.
2. It exports its state, and stands still; no message is given to it any more.
3. An instance of the new module is tried in its place. It imports the state, and has taken over when it asks
   for a message.

Until then the old instance is there. When the new one traps, returns or takes too long, it goes, with the
slots that it was given, the children that it has started, and the links, monitors and names that it has set
up; and the export returns in the old one. What the new one has done to others, messages that it has sent or
slots that it has freed, stays done.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import trio

from enfilade.actors.guests.guest import Guest, guests_of
from enfilade.actors.guests.guest_body import GuestBody
from enfilade.actors.guests.trial import Trial
from enfilade.actors.messages import signals
from enfilade.actors.messages.errors import UpgradeFailed
from enfilade.actors.messages.reasons import SHUTDOWN
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.messages.seconds import check_seconds
from enfilade.actors.processes.local_ref import process_of
from enfilade.actors.processes.process import Process
from enfilade.hostcalls.abi.errors import InvalidArgument, NotFound
from enfilade.hostcalls.abi.errors import StartError as GuestStartError
from enfilade.hostcalls.contracts import host
from enfilade.hostcalls.contracts.host import Incoming
from enfilade.hostcalls.engine import EngineError
from enfilade.hostcalls.resources.futures import Future

if TYPE_CHECKING:
    from enfilade.hostcalls.contracts.inbox import WaitingReceive
    from enfilade.hostcalls.kernel.execution import Execution
    from enfilade.hostcalls.kernel.prepared import Prepared
    from enfilade.hostcalls.resources.registry import Resource
    from enfilade.hostcalls.resources.slots import Mark

__all__ = ["Phase", "Upgrade", "upgrade_guest"]

T = TypeVar("T")

_UPGRADE = host.Upgrade()


async def upgrade_guest(ref: Ref[Any], module: Guest | str | Path | bytes, *, timeout: float = 5.0) -> None:
    """Move a running guest to another module, without a gap.

    The process goes on: its ref, names, links, monitors, mailbox and resources stay. The guest is asked to
    export its state, and an instance of the new module imports it; messages wait meanwhile. Until the new
    module asks for its first message, the old one can go on, and does so when anything fails. When the guest
    has a supervisor on its node, later restarts use the new module, too. A file is read now, also when a
    module was read from it before; restarts use what was read.

    A checkpoint. Cancelled, the guest goes on with the module that it has.

    Args:
        ref: the guest; a process of this node.
        module: the new module, with capabilities, limits and arguments as before; or a `Guest` that describes
            all of it anew. The arguments that were given to `spawn`, or to `Child`, follow its own.
        timeout: seconds for the whole of it, the compilation of the module left out.

    Raises:
        UpgradeFailed: the guest goes on as it was; the error says why.
        TypeError: `ref` is no guest of this node, a guest has started it and `module` is no `Guest`, or
            `module` is nothing of what is expected, or `timeout` is no number.
        ValueError: `timeout` is negative or NaN.
    """
    check_seconds(timeout, "timeout")
    if not isinstance(module, Guest | str | Path | bytes):
        raise TypeError(f"expected a module as bytes, a path, a name or a Guest, got {safe_repr(module)}")
    process = process_of(ref)
    if process is not None and process.ended is not None:
        raise UpgradeFailed(f"{ref} has ended")
    body = None if process is None else process.body
    if process is None or not isinstance(body, GuestBody):
        raise TypeError(f"expected the ref of a guest of this node, got {ref}; upgrade it where it runs")
    if not isinstance(module, Guest):
        if not isinstance(body.description, Guest):
            raise TypeError(f"{ref} was started by a guest: give a Guest that says what it may do")
        module = attrs.evolve(body.description, module=module)
    given = module.inputs(process.node, body.args)  # held until they are the guest's
    try:
        module, prepared = await _prepared(process, module, given)
    except UpgradeFailed:
        if process.ended is None:
            raise
        raise UpgradeFailed(f"{ref} has ended") from None  # perhaps with its node, and the engine
    if process.ended is not None:
        raise UpgradeFailed(f"{ref} has ended")
    if body.actors.upgrade is not None:
        raise UpgradeFailed(f"another upgrade of {ref} is under way")
    attempt = Upgrade(body, prepared)
    try:
        attempt.begin()
        with trio.move_on_after(timeout):
            await attempt.done.wait()
    finally:
        if not attempt.done.is_set():
            suspended = "; it is suspended: resume it first" if process.suspended else ""
            attempt.roll_back(f"{attempt.phase.value} within {timeout:g} s{suspended}")
    if attempt.failure is not None:
        end = process.ended or process.exit_signal  # its last turn may be still to come
        if end is None and body.execution.ended:
            end = body.outcome()
        if end is not None:
            raise UpgradeFailed(f"{ref} has ended while it was upgraded: {end}")
        raise UpgradeFailed(f"{ref} goes on as it was, because {attempt.failure}")
    body.description = module
    supervisor = process_of(process.parent)
    if supervisor is not None:
        supervisor.body.replace_target(ref, module)


async def _prepared(process: Process, guest: Guest, given: list[Any]) -> tuple[Guest, Prepared]:
    """Read, compile and check the new module, as a start does; the guest with the bytes that were read.

    A start takes a file for what it was when it was read first. Whoever upgrades has written another one.
    """
    runtime = guests_of(process.node)
    try:
        if not isinstance(guest.module, bytes):
            content = await process.node.runtime.run_blocking(
                runtime.read, guest.module, abandon_on_cancel=True
            )
            guest = attrs.evolve(guest, module=content, label=guest.shown_label)
        await runtime.load(guest.module, guest.capabilities)
        return guest, guest.prepare(runtime, given, keep=False)
    except (GuestStartError, EngineError) as error:
        problem = f"{process.ref} goes on as it was, because the new module cannot start: {error}"
        raise UpgradeFailed(problem) from error


class Phase(enum.Enum):
    """The stages of an upgrade; the value says what has not happened when the time is over."""

    ASKED = 'it did not receive with the kind "upgrade"'
    TOLD = "it did not export its state"
    EXPORTED = "its turn did not come"
    TRIED = "the new module did not ask for a message"


class Upgrade:
    """One upgrade of one guest, from the request to its outcome.

    Args:
        body: the guest.
        prepared: the new module.

    Attributes:
        phase: how far it is.
        done: set when there is an outcome.
        failure: why the guest goes on as it was; None if it does not.
    """

    __slots__ = (
        "_before",
        "_body",
        "_children",
        "_exported",
        "_imported",
        "_log",
        "_prepared",
        "_slots",
        "_state",
        "_trial",
        "_waiting",
        "done",
        "failure",
        "phase",
    )

    def __init__(self, body: GuestBody, prepared: Prepared) -> None:
        self.phase = Phase.ASKED
        self.done = trio.Event()
        self.failure: str | None = None
        self._body = body
        self._prepared = prepared
        self._before: Execution = body.execution
        self._state = b""
        self._imported = False
        self._exported: Future[None] = Future()
        self._waiting: WaitingReceive | None = None
        self._slots: Mark | None = None
        self._children: tuple[Process, ...] = ()
        self._log: Resource | None = None
        self._trial = Trial()

    def begin(self) -> None:
        """Ask the guest, now or when it receives next."""
        body = self._body
        body.actors.upgrade = self
        if body.inbox.offer(_UPGRADE):
            self._tell()

    def _tell(self) -> None:
        self.phase = Phase.TOLD
        self._body.actors.told = True

    # What the guest asks for meanwhile: `NodeHost` asks here first.

    def receive(
        self, select: Callable[[Incoming], bool], convert: Callable[[Incoming | None], T]
    ) -> T | None:
        """Answer a receive, or return None where it is to wait for messages as ever.

        Raises `InvalidArgument` from a guest that has exported its state, which another message would change.
        """
        if self.phase is Phase.ASKED and select(_UPGRADE):
            self._tell()
            return convert(_UPGRADE)
        if self.phase in (Phase.ASKED, Phase.TOLD):
            return None
        if self.phase is Phase.TRIED:
            if self._state and not self._imported:
                self.roll_back("the new module asked for messages before it had imported the state")
                raise InvalidArgument
            self._take_over()
            return None
        raise InvalidArgument(why="the guest has exported its state: it waits until the export returns")

    def export_state(self, state: bytes) -> Future[None] | None:
        """Keep the state; the future is resolved if the guest is to go on.

        None for the answer to an upgrade before this one, which was given up: the guest goes on at once.
        """
        if self.phase is not Phase.TOLD:
            return None
        self.phase = Phase.EXPORTED
        self._state = state
        return self._exported

    def import_state(self) -> bytes | None:
        """Return the state, to the new module."""
        if self.phase is not Phase.TRIED:
            return None
        self._imported = True
        return self._state

    # What becomes of it: `GuestBody` asks after each turn of the guest.

    def step(self) -> bool:
        """Go one step further, if the guest's turn has made that possible; return whether it did."""
        if self.phase is Phase.EXPORTED:
            if self._before.ended:  # in the turn in which it has exported
                return False
            self._try()
        elif self.phase is Phase.TRIED and self._body.execution.ended:
            self.roll_back(f"the new module ended before it asked for a message: {self._body.outcome()}")
        else:
            return False
        return True

    def _try(self) -> None:
        body, kernel = self._body, self._body.runtime.kernel
        caller = self._before.caller
        self._slots = caller.slots.mark()
        self._children = tuple(body.children)
        self._waiting = body.inbox.set_aside()
        try:
            self._log = kernel.registry.log_channel(caller.id)
        except NotFound:
            self._log = None
        caller.adopt(self._prepared.launch)
        body.actors.trial = self._trial
        self.phase = Phase.TRIED
        try:
            body.execution = body.actors.execution = kernel.succeed(self._prepared, caller, body.wake)
        except GuestStartError as error:
            self.roll_back(f"the new module cannot start: {error}")

    def _take_over(self) -> None:
        body = self._body
        body.execution.take_over(self._before)
        body.actors.receives = self._prepared.receives
        self._settle()
        body.actors.trial = None
        self._trial.keep(body.process)

    def roll_back(self, why: str) -> None:
        """Let the guest go on with the module that it has."""
        self.failure = why
        if self.phase is Phase.TRIED:
            self._undo()
        self._settle()
        self._exported.resolve(None)
        self._body.wake()

    def _undo(self) -> None:
        body, kernel, before = self._body, self._body.runtime.kernel, self._before
        caller, tried = before.caller, body.execution
        body.execution = body.actors.execution = before
        body.actors.reason = SHUTDOWN
        caller.adopt(before.launch)
        if tried is not before:
            tried.retire()
        body.actors.trial = None
        self._trial.take_back()
        if self._slots is not None:
            caller.slots.restore(self._slots)
        kernel.family.restore_log(caller, self._log)
        body.inbox.put_back(self._waiting)
        for child in [child for child in body.children if child not in self._children]:
            body.process.unlink(child.ref)  # its end must not be the guest's
            child.deliver(signals.Exit(body.process.ref, SHUTDOWN, linked=False))

    def _settle(self) -> None:
        self._body.actors.upgrade = None
        self.done.set()
