"""The ground that a node stands on: time, chance, and the tasks and threads of its own.

A node reads no clock and draws no random number by itself. It asks its runtime, which is bound once, when the
node is opened, so that no message pays for the question. The default is the real machine; a simulation gives
each node another one.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import attrs
import trio

__all__ = ["REAL", "NodeRuntime"]


@attrs.frozen(kw_only=True, eq=False)
class NodeRuntime:
    """The functions by which a node reaches the machine.

    Timers are no part of it: they follow the clock of the trio run.

    Attributes:
        monotonic: seconds that never go back, by which turns and handlers are measured.
        unix_time: seconds since the Unix epoch.
        entropy: makes so many bytes that nobody can guess: incarnations, tokens, nonces.
        random: draws a float from 0 to 1, 1 excluded: the jitter of pauses.
        spawn: starts a task that outlives the caller, as `trio.lowlevel.spawn_system_task` does.
        run_blocking: runs a function that blocks beside the loop, as `trio.to_thread.run_sync` does.
        logs_at_once: whether reports are logged in the step that makes them, not by a task of their own: in a
            simulation the same things happen whether or not somebody reads the log.
    """

    monotonic: Callable[[], float] = time.perf_counter
    unix_time: Callable[[], float] = time.time
    entropy: Callable[[int], bytes] = os.urandom
    random: Callable[[], float] = random.random
    spawn: Callable[..., object] = trio.lowlevel.spawn_system_task
    run_blocking: Callable[..., Awaitable[Any]] = trio.to_thread.run_sync
    logs_at_once: bool = False


REAL: Final = NodeRuntime()
"""The machine itself."""
