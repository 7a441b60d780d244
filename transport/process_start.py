"""The moment at which an OS process started, which tells it from one that has its id later."""

from pathlib import Path

__all__ = ["started"]


def started(pid: int) -> int | None:
    """When a process started, in ticks since the boot; None when it has ended, or the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
