"""The memory that a part of a test makes this process use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_RESET_THE_PEAK = "5"  # of proc_pid_clear_refs(5)


class Growth:
    """What this process has come to use, at its peak, since this object was made.

    The peak that the kernel keeps is that of the whole process: it is reset, since after a test that needed
    more nothing could be seen of one that needs less. Skips the test where it cannot be reset.
    """

    def __init__(self) -> None:
        try:
            Path("/proc/self/clear_refs").write_text(_RESET_THE_PEAK)
        except OSError as error:
            pytest.skip(f"the peak of the memory in use cannot be reset: {error}")
        self._before = _peak()

    def kibibytes(self) -> int:
        return _peak() - self._before


def _peak() -> int:
    found = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None, "the kernel does not tell the peak of the memory in use"
    return int(found[1])
