"""Faults on purpose: kill, crash, stall, lose messages, at a chosen step of a chosen process.

All of them act on processes of this node, at once or between two of the process's messages, and none is a
checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from enfilade.actors.messages.reasons import KILLED, asked_by
from enfilade.actors.messages.ref import NameRef, Ref
from enfilade.actors.processes.local_ref import process_of
from enfilade.actors.processes.process import Process

__all__ = ["crash_at", "drop_queued", "kill_after", "stall"]


def _process(ref: Ref[Any]) -> Process:
    if isinstance(ref, NameRef):
        ref = ref.resolve_here()
    process = process_of(ref)
    if process is None:
        raise TypeError(f"{ref} lives on another node; faults are injected where the process lives")
    return process


def _watch(process: Process, observer: Any) -> None:
    process.extras().observers.append(observer)
    process.attention = True


class _CrashAt:
    def __init__(self, message: int, error: BaseException) -> None:
        self.left = message
        self.error = error

    def received(self, process: Process, message: Any) -> None:
        self.left -= 1
        if self.left == 0:
            raise self.error

    def handled(self, process: Process, message: Any) -> None:
        return


class _KillAfter:
    def __init__(self, messages: int) -> None:
        self.left = messages

    def received(self, process: Process, message: Any) -> None:
        return

    def handled(self, process: Process, message: Any) -> None:
        self.left -= 1
        if self.left == 0:
            process.interrupt(asked_by(KILLED, process.node.ref))


def crash_at(ref: Ref[Any], message: int, error: BaseException | None = None) -> None:
    """Have the process `ref` crash with `error` as it takes up a message. Not a checkpoint.

    Args:
        ref: a process of this node.
        message: which one: 1 is the next, 2 the one after that.
        error: what its handler raises; None for a `RuntimeError`.

    Raises:
        TypeError: the process lives on another node.
        NoProcess: `ref` is a name that is not registered.
    """
    _watch(_process(ref), _CrashAt(message, error or RuntimeError("injected fault")))


def kill_after(ref: Ref[Any], messages: int = 0) -> None:
    """Kill the process `ref` after it has handled so many more `messages`; 0 kills it at once.

    Not a checkpoint. Errors as of `crash_at`.
    """
    process = _process(ref)
    if messages == 0:
        process.interrupt(asked_by(KILLED, process.node.ref))
    else:
        _watch(process, _KillAfter(messages))


def stall(ref: Ref[Any], seconds: float) -> None:
    """Let the process `ref` handle nothing for `seconds`, as if its machine were slow; messages queue up.

    Not a checkpoint. Errors as of `crash_at`.
    """
    process = _process(ref)
    process.suspended = True
    process.attention = True

    def go_on() -> None:
        process.suspended = False
        process.continue_with(lambda: None)

    process.node.timers.call_after(seconds, go_on)


def drop_queued(ref: Ref[Any], unwanted: Callable[[Any], bool] = lambda _: True) -> int:
    """Lose the queued messages of `ref` for which `unwanted` returns true; return their number.

    Calls among them get no answer. Not a checkpoint. Errors as of `crash_at`.
    """
    process = _process(ref)
    before = len(process.queue)
    process.remove_message(unwanted)
    return before - len(process.queue)
