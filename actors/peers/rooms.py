"""Room in mailboxes of this node, as another node asks for it.

A sender of another node that waits for room (`Ref.send_wait`) asks with a call, `signals.ROOM`. When there is
room, a place is kept for its message and the call is answered; then the sender sends the message, with the
number of the call, and it takes the place, `signals.FILL`. So the sender waits where it can be cancelled, the
message waits with it, and no bound is exceeded. A place that nobody fills goes to others after a while.

A call that finds a full mailbox whose policy is "block" waits here, too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import attrs
import trio

from enfilade.actors.messages import signals
from enfilade.actors.messages.guarded import log
from enfilade.actors.messages.ref import Ref
from enfilade.actors.processes.local_ref import process_of
from enfilade.actors.processes.mailbox import LIMITLESS, Place, make_room, wait_for_room
from enfilade.actors.processes.process import Process
from enfilade.actors.processes.timers import Timer

__all__ = ["KEPT", "Rooms"]


KEPT: Final = 5.0
"""Seconds for which a place is kept: much more than an honest node needs to send what it has at hand."""


@attrs.define(eq=False)
class _Claim:
    """What one call of the other node waits for.

    Attributes:
        call: the call.
        ref: what it addresses.
        process: the process that this leads to.
        scope: around the wait for room.
        place: what is kept for the message that is to follow.
        timer: gives the place back.
    """

    call: signals.Call
    ref: Ref[Any]
    process: Process
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    place: Place | None = None
    timer: Timer | None = None


class Rooms:
    """The waits of one other node for room in mailboxes of this one.

    Args:
        start_soon: runs a task until the node stops.
    """

    def __init__(self, start_soon: Callable[..., None]) -> None:
        self._start_soon = start_soon
        self._claims: dict[int, _Claim] = {}

    def __len__(self) -> int:
        return len(self._claims)

    def deliver(self, number: int, call: signals.Call, ref: Ref[Any]) -> None:
        """Deliver a call, when there is room for it, or answer it, when it asks for room."""
        process = process_of(ref)
        if process is None or process.ended is not None:
            ref.deliver(call)
        elif call.method == signals.ROOM:
            self._ask(number, call, ref, process)
        elif (
            len(process.queue) >= process.limit
            and process.mailbox.overflow == "block"
            and call.method[:1] != "!"  # the control lane has room
        ):
            self._wait(number, _Claim(call, ref, process), self._let_in)
        else:
            ref.deliver(call)

    def _ask(self, number: int, call: signals.Call, ref: Ref[Any], process: Process) -> None:
        """Answer the question for room in the mailbox of `process`, when there is some.

        The answer is true when a place is kept, false when none has to be, None when there always is room.
        """
        if process.limit == LIMITLESS:
            call.reply(None)
        else:
            self._wait(number, _Claim(call, ref, process), self._keep_place)

    def _wait(self, number: int, claim: _Claim, then: Callable[[int, _Claim], None]) -> None:
        self.withdraw(number)  # no honest node uses a number twice
        self._claims[number] = claim
        process = claim.process
        if len(process.queue) < process.limit:
            then(number, claim)
        else:
            self._start_soon(self._wait_for_room, number, claim, then)

    async def _wait_for_room(self, number: int, claim: _Claim, then: Callable[[int, _Claim], None]) -> None:
        with claim.scope:
            try:
                await wait_for_room(claim.process)
                if self._claims.get(number) is claim:  # it was not withdrawn in the moment of the wake-up
                    then(number, claim)
            except trio.Cancelled:
                raise
            except Exception as error:
                log(logging.ERROR, "failed to wait for room in the mailbox of %s", claim.ref, error=error)
                self.withdraw(number)
                claim.call.fail(error)

    def _let_in(self, number: int, claim: _Claim) -> None:
        del self._claims[number]
        claim.ref.deliver(claim.call)

    def _keep_place(self, number: int, claim: _Claim) -> None:
        process = claim.process
        if process.ended is not None:
            del self._claims[number]
            claim.call.reply(False)
            return
        claim.place = Place(process)
        claim.timer = process.node.timers.call_after(KEPT, self.withdraw, number)
        claim.call.reply(True)

    def fill(self, number: int, message: Any) -> bool:
        """Put a message in the place that is kept under that number; return false when there is none."""
        claim = self._claims.get(number)
        if claim is None or claim.place is None:
            return False
        if claim.process.ended is None:
            make_room(claim.process)
        claim.ref.deliver(signals.Notice(message))
        self.withdraw(number)
        return True

    def withdraw(self, number: int) -> None:
        """Let others have what was waited for under that number, if anything was."""
        claim = self._claims.pop(number, None)
        if claim is None:
            return
        claim.scope.cancel()
        if claim.timer is not None:
            claim.timer.cancel()
        if claim.place is not None:
            claim.place.give_back()

    def forget(self) -> None:
        """Let others have everything: the node link is over."""
        for number in list(self._claims):
            self.withdraw(number)
