"""Witnesses: nodes that know by their kernel's word that a process of their machine is no more."""

import os
import sys
from pathlib import Path

from enfilade.transport.mesh.lease import Place
from enfilade.transport.process_start import started

__all__ = ["is_gone", "own_place", "started"]

BOOT: str = "/proc/sys/kernel/random/boot_id"


def own_place() -> Place:
    """Return where this process runs; without a kernel that tells, a place that nobody is a witness of."""
    if sys.platform != "linux":
        return Place("", os.getpid(), 0)
    try:
        machine = Path("/etc/machine-id").read_text().strip()
        boot = Path(BOOT).read_text().strip()
        namespace = os.stat("/proc/self/ns/pid").st_ino
        began = started(os.getpid())
    except OSError:
        return Place("", os.getpid(), 0)
    return Place(f"{machine}/{boot}/{namespace}", os.getpid(), began or 0)


def is_gone(place: Place, own: Place) -> bool:
    """Tell whether this process knows that the process at a place has ended.

    Args:
        place: of the other.
        own: of this process.
    """
    theirs, ours = place.host.split("/"), own.host.split("/")
    if len(theirs) != 3 or len(ours) != 3 or not ours[0] or theirs[0] != ours[0]:
        return False
    if theirs[1] != ours[1]:
        return True  # the machine has started anew since
    return theirs[2] == ours[2] and started(place.pid) != place.started
