"""Which implementation of doors runs, and what it does not do exactly as illumos does (column E of the list
of cases).
"""

import sys

import pytest

from transport.doors import Capabilities

NATIVE = sys.platform.startswith("sunos")
HERE = Capabilities.here()


def native_only(reason: str) -> pytest.MarkDecorator:
    """A case marked `-`: written for illumos, skipped elsewhere."""
    return pytest.mark.skipif(not NATIVE, reason=f"on illumos alone: {reason}")


# Relaxations of the cases marked `~`.
COUNTS_DUP = Capabilities.COUNTED_DUP in HERE
FSTAT_SAYS_DOOR = Capabilities.FSTAT in HERE
OPENS_NAMES = Capabilities.OPEN in HERE
REPORTS_FAULTS = Capabilities.FAULT in HERE
EMULATED = not NATIVE
