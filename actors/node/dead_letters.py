"""Dead letters: messages that reached no process.

A message to a process that has ended, one that found a full mailbox whose policy is "dead_letter", what lay
in the mailbox of a process when it ended, and what was sent when no sender is there to be told of a refusal:
the message of a timer, an event. Everybody may subscribe; without subscribers a dead letter
costs a counter. A few per second are logged. During a planned shutdown they are expected, and neither
logged nor published.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import attrs

from enfilade.actors.messages.attempt import is_interrupt
from enfilade.actors.messages.errors import NoProcess, Restarting
from enfilade.actors.messages.guarded import log
from enfilade.actors.messages.reasons import NO_PROCESS, Crashed, Reason
from enfilade.actors.messages.ref import Ref, checked_ref
from enfilade.actors.messages.safe_text import safe_record
from enfilade.actors.messages.signals import Call, Exit, Notice
from enfilade.actors.messages.traced import bare
from enfilade.actors.processes.local_ref import process_of

if TYPE_CHECKING:
    from enfilade.actors.node.reports import Reports

__all__ = ["DeadLetter", "DeadLetters"]


@attrs.frozen
class DeadLetter:
    """A notice to subscribers: `message` did not reach `ref`, because of `reason`."""

    message: Any
    ref: Ref[Any]
    reason: Reason

    __repr__ = safe_record


class DeadLetters:
    """The dead letters of one node. Made by `open_node`.

    Attributes:
        count: how many there have been.
        muted: whether the node is in its planned shutdown.
    """

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self._subscribers: dict[Ref[Any], None] = {}
        self.count = 0
        self.muted = False

    def __len__(self) -> int:
        return len(self._subscribers)

    def subscribe(self, ref: Ref[Any]) -> None:
        """Have each dead letter from now on sent to `ref`, as a `DeadLetter`, until it ends. Not a
        checkpoint.

        Raises:
            TypeError: `ref` is not a ref.
        """
        self._subscribers[checked_ref(ref, "subscriber")] = None

    def unsubscribe(self, ref: Ref[Any]) -> None:
        """Cancel the subscription of `ref`, if there is one. Not a checkpoint."""
        self._subscribers.pop(ref, None)

    def deliver(self, ref: Ref[Any], signal: Notice | Exit) -> None:
        """Deliver `signal`, whose sender is not there to be told why it cannot be: a message becomes a dead
        letter.

        Its reason is `NO_PROCESS` when no process holds the name that `ref` is, else the error that a sender
        would have got. Not a checkpoint, never raises.
        """
        try:
            ref.deliver(signal)
        except (NoProcess, Restarting):
            if type(signal) is Notice:
                self.publish(signal.message, ref, NO_PROCESS)
        except BaseException as error:
            if is_interrupt(error):
                raise
            if type(signal) is Notice:
                self.publish(signal.message, ref, Crashed(error))
            else:
                log(logging.ERROR, "%s cannot be sent %s", ref, signal, error=error)

    def publish(self, message: Any, ref: Ref[Any], reason: Reason, *, level: int = logging.INFO) -> None:
        """Publish `message`, which did not reach `ref` because of `reason`, and log it at `level`.

        A call fails instead. Not a checkpoint.
        """
        message = bare(message)
        if issubclass(type(message), Call):
            message.abandon(reason)
            return
        self.count += 1
        if self.muted or type(message) is DeadLetter:
            return
        self._reports.dead_letter(message, ref, reason, level)
        for subscriber in list(self._subscribers):
            process = process_of(subscriber)
            if process is not None and process.ended is not None:
                self.unsubscribe(subscriber)
            elif subscriber != ref:
                try:
                    subscriber.send(DeadLetter(message, ref, reason))
                except BaseException:  # full, or on another node that cannot be sent this
                    self.unsubscribe(subscriber)
