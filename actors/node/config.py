"""A node's settings."""

from __future__ import annotations

from typing import Any, Final

import attrs

from enfilade.actors.messages.safe_text import safe_repr
from enfilade.actors.messages.seconds import check_seconds
from enfilade.actors.node.runtime import REAL, NodeRuntime
from enfilade.fields import by_annotation, instance_of

__all__ = ["NodeConfig"]


def _positive(_instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} must be more than 0 seconds, got {safe_repr(value)}")


def _not_negative(_instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if not value >= 0:
        raise ValueError(f"{attribute.name} must be at least 0, got {safe_repr(value)}")


def _is_seconds(_instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
    check_seconds(value, attribute.name)


def _at_least_one(_instance: object, attribute: attrs.Attribute[int], value: int) -> None:
    if not value >= 1:
        raise ValueError(f"{attribute.name} must be at least 1, got {safe_repr(value)}")


_IS_WATCHDOG: Final = instance_of((bool, int, float), "True, False or a number of seconds")
_IS_RUNTIME: Final = instance_of(NodeRuntime, "a NodeRuntime")


@attrs.frozen(kw_only=True, field_transformer=by_annotation)
class NodeConfig:
    """The settings of one node.

    Attributes:
        call_timeout: seconds a call waits for its reply, if its ref has no time limit; `math.inf`: forever.
        grace: seconds an ordered shutdown may take before the remaining processes are killed.
        kill_grace: seconds a killed process may take to end before it is reported as unkillable.
        slow_handler: seconds that a handler may hold the loop. A message to a sync actor that takes longer is
            logged as a warning. The watchdog alone sees calls to idle actors, actors with a task, starts and
            all else that runs in the loop.
        reports_per_second: maximum number of abnormal exits, and of dead letters, that are logged in a
            second; the others are counted.
        debug: check that processes share nothing: see `sharing.py`.
        watchdog: have a thread log who holds the loop for longer than `slow_handler`, while it does and when
            it is over: True, or other seconds than those; see `watchdog.py`.
        keep_tracebacks: keep the frames, and with them all variables, in the traceback of the error that an
            exit reason holds, for a debugger; otherwise only files, lines and functions are kept.
        turn: messages that a process may handle before the next one has its turn.
        slice: messages after which the other tasks of the loop run; they run after 2 ms at the latest.
        handle_interrupt: handle SIGINT, SIGTERM and SIGHUP while the node runs, if it was opened in the main
            thread: see `open_node`. The last two only where the program has no handler for them.
        runtime: clocks, random numbers, tasks and threads: by default those of the machine.
    """

    call_timeout: float = attrs.field(default=5.0, validator=_positive)
    grace: float = attrs.field(default=30.0, validator=_not_negative)
    kill_grace: float = attrs.field(default=5.0, validator=_positive)
    slow_handler: float = attrs.field(default=0.01, validator=_positive)
    reports_per_second: int = attrs.field(default=20, validator=_not_negative)
    debug: bool = False
    watchdog: bool | float = attrs.field(default=False, validator=[_IS_WATCHDOG, _is_seconds])
    keep_tracebacks: bool = False
    turn: int = attrs.field(default=64, validator=_at_least_one)
    slice: int = attrs.field(default=4096, validator=_at_least_one)
    handle_interrupt: bool = True
    runtime: NodeRuntime = attrs.field(default=REAL, validator=_IS_RUNTIME)
