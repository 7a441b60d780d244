"""Tell whose a file is, as far as this process can know.

In a user namespace the kernel gives every user without a number there the same one, the overflow id. That may
also be the number of this process, or of a user who has one. So it names nobody, unless the namespace has a
number for everybody, as there is outside of such namespaces.

This stands beside the packages, because each of them asks, and none imports another for it.
"""

import os
from typing import Final

__all__ = ["is_own", "owner", "owner_shown"]

_EVERYBODY: Final = 2**32 - 1
"""The numbers that a user namespace can map."""


def owner(status: os.stat_result) -> int | None:
    """Return the number of the user who owns a file; None when the owner has none here."""
    return status.st_uid if status.st_uid != _overflow_id() or _everybody_is_mapped() else None


def is_own(status: os.stat_result, *, or_root: bool = False) -> bool:
    """Tell whether a file is this process's own.

    Args:
        status: of the file.
        or_root: a file of uid 0 counts, too.
    """
    known = owner(status)
    return known is not None and (known == os.geteuid() or (or_root and known == 0))


def owner_shown(status: os.stat_result) -> str:
    """Describe the owner of a file for messages."""
    known = owner(status)
    return "a user without a number here" if known is None else f"uid {known}"


def _overflow_id() -> int:
    try:
        with open("/proc/sys/kernel/overflowuid", encoding="utf-8") as file:
            return int(file.read())
    except (OSError, ValueError):  # without such a file there are no user namespaces
        return -1 if not os.path.exists("/proc/self/uid_map") else 65534


def _everybody_is_mapped() -> bool:
    """Ask each time: a process can enter another namespace. What cannot be read maps nobody."""
    try:
        with open("/proc/self/uid_map", encoding="utf-8") as lines:
            return sum(int(line.split()[2]) for line in lines) >= _EVERYBODY
    except (OSError, ValueError, IndexError):
        return False
