"""The purse of a tree: linear memory and time of the processor, which its guests use together."""

from __future__ import annotations

import math

from enfilade.hostcalls.engine._engine import ffi, lib

_LONGEST = (1 << 64) - 1
_MOST = 1 << 62


def nanoseconds(seconds: float) -> int:
    """Convert a limit of time for the shim; no limit becomes the largest number."""
    return _LONGEST if math.isinf(seconds) else min(round(seconds * 1e9), _LONGEST)


class Purse:
    """A bound that guests share. Guests that were made with it keep it in use after it is gone here.

    Linear memory is exact: guests that run at the same time never have more than `memory` together. One of
    several guests may be refused memory while another runs, if less than four times as much is left.

    Args:
        memory: bytes of linear memory.
        cpu_time: seconds during which they may run at a stretch.
        cpu_renewal: seconds of it that are renewed each second.
    """

    __slots__ = ("_purse", "memory")

    def __init__(self, memory: int, cpu_time: float, cpu_renewal: float = 0.0) -> None:
        self.memory = memory
        purse = lib.purse_open(min(memory, _MOST), nanoseconds(cpu_time), cpu_renewal)
        if purse == ffi.NULL:
            raise MemoryError("no memory for the budget of a guest")
        self._purse = ffi.gc(purse, lib.purse_close)

    @property
    def memory_used(self) -> int:
        """Bytes of linear memory that the guests have, or may grow by while they run."""
        return int(lib.purse_memory(self._purse))

    @property
    def cpu_time(self) -> float:
        """Seconds during which the guests have run, those that have ended included."""
        return float(lib.purse_cpu_time(self._purse)) * 1e-9
