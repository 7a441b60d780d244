"""Which implementation of doors runs, and what it does not do exactly as illumos does (column E of the list
of cases).
"""

import os
import sys
from pathlib import Path

import pytest

from enfilade.transport.doors import Capabilities

NATIVE = sys.platform.startswith("sunos")
HERE = Capabilities.here()


def native_only(reason: str) -> pytest.MarkDecorator:
    """A case marked `-`: written for illumos, skipped elsewhere."""
    return pytest.mark.skipif(not NATIVE, reason=f"on illumos alone: {reason}")


# Relaxations of the cases marked `~`.
COUNTS_DUP = Capabilities.COUNTED_DUP in HERE
FSTAT_SAYS_DOOR = Capabilities.FSTAT in HERE
REPORTS_FAULTS = Capabilities.FAULT in HERE
EMULATED = not NATIVE


def path_of(fd: int | str) -> str:
    """What a descriptor of this process refers to. Raises `OSError` where the system does not say."""
    return os.readlink(f"/proc/self/{'path' if NATIVE else 'fd'}/{fd}")


def figures() -> list[int]:
    """How many descriptors, threads and mappings this process has; 0 where the system does not say."""
    threads = Path("/proc/self/lwp" if NATIVE else "/proc/self/task")
    maps = Path("/proc/self/maps")
    return [
        len(os.listdir("/proc/self/fd")),
        len(os.listdir(threads)),
        maps.read_text().count("\n") if maps.exists() else 0,
    ]
