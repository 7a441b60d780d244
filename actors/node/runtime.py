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
        processor_time: seconds for which the thread has used the processor.
        unix_time: seconds since the Unix epoch.
        entropy: makes so many bytes that nobody can guess: incarnations, tokens, nonces.
        random: draws a float from 0 to 1, 1 excluded: the jitter of pauses.
        spawn: starts a task that outlives the caller, as `trio.lowlevel.spawn_system_task` does.
        run_blocking: runs a function that blocks beside the loop, as `trio.to_thread.run_sync` does.
        dial: opens a connection to a server of a mesh, a `Stream` of `transport.mesh`; None: over TCP.
        charge: told for how many seconds guests have used the processor, if the clock stands still meanwhile.
        is_deterministic: whether the same things must happen each time: guests count what they do instead of
            time, and reports are logged in the step that makes them, so that nothing depends on who reads.
    """

    monotonic: Callable[[], float] = time.perf_counter
    processor_time: Callable[[], float] = time.thread_time
    unix_time: Callable[[], float] = time.time
    entropy: Callable[[int], bytes] = os.urandom
    random: Callable[[], float] = random.random
    spawn: Callable[..., object] = trio.lowlevel.spawn_system_task
    run_blocking: Callable[..., Awaitable[Any]] = trio.to_thread.run_sync
    dial: Callable[[Any], Awaitable[Any]] | None = None
    charge: Callable[[float], object] = lambda seconds: None
    is_deterministic: bool = False


REAL: Final = NodeRuntime()
"""The machine itself."""
