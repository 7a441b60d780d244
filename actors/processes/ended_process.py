"""The record of a process that has ended: it is freed as soon as nobody has a ref to it.

A process and its ref hold each other, so does a process and its data lane once that is closed. Such pairs
would wait for Python's garbage collector, which stops the loop, and has the more to do the more processes
live. So a record lets go of both at its end, and makes them anew whenever somebody asks.

The record changes its class for that. A test in the class of all processes would cost every message.
"""

from __future__ import annotations

from typing import Any

from enfilade.actors.messages.ref import Ref
from enfilade.actors.processes.mailbox import ClosedQueue
from enfilade.actors.processes.process import Process
from enfilade.actors.processes.record import Record

__all__ = ["EndedProcess", "let_go_of_itself"]


_lane: Any = vars(Record)["queue"]  # the slots themselves, which `EndedProcess` covers
_ref: Any = vars(Record)["ref"]


class EndedProcess(Process):
    """A process that has ended, and that nothing but its refs holds."""

    __slots__ = ()

    @property
    def ref(self) -> Ref[Any]:  # type: ignore[override]
        """Its handle: equal to every other one, but not the same object."""
        return self.node.ref_type(self)

    @property
    def queue(self) -> Any:
        """Its data lane: closed, but while its next incarnation is to have what comes."""
        kept = _lane.__get__(self)
        return ClosedQueue(self) if kept is None else kept

    @queue.setter
    def queue(self, lane: Any) -> None:
        _lane.__set__(self, None if type(lane) is ClosedQueue else lane)


def let_go_of_itself(process: Process) -> None:
    """Turn `process`, which has ended, and whose end is known to all, into an `EndedProcess`."""
    lane = process.queue
    process.__class__ = EndedProcess
    process.queue = lane
    _ref.__delete__(process)  # last, when the record can do without: what is freed may run a finalizer
