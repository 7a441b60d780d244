"""The descriptors that this process has open."""

import os
import time

from enfilade.transport import closing

__all__ = ["open_descriptors"]

SECONDS = 20.0


def open_descriptors() -> set[str]:
    """The numbers that are open, as soon as everything is closed that is to be: threads do that."""
    end = time.monotonic() + SECONDS
    while not closing.is_settled() and time.monotonic() < end:
        time.sleep(0.001)
    return set(os.listdir("/proc/self/fd"))
