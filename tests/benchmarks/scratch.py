"""The place of one run in the file system, and the end of what killed runs have left behind.

Everything that a cell starts has the path of the place in its environment, and makes its temporary files
below it. A run that ends removes it. One that is killed cannot; the next run finds the place, sees that
nobody holds its lock any more, ends the processes that have it in their environment, and removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.processtree import marked

VARIABLE = "BENCH_SCRATCH"
_PREFIX = "enfilade-bench-"
_AGE = 10.0  # seconds after which a run has locked its place


@contextlib.contextmanager
def scratch_directory() -> Iterator[Path]:
    """A directory for the length of a block; those of runs that were killed are removed before."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        _remove_if_abandoned(path)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name:
        descriptor = os.open(name, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield Path(name)
        finally:
            os.close(descriptor)


def _remove_if_abandoned(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or time.time() - status.st_mtime < _AGE:
            return
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for pid in marked(f"{VARIABLE}={path}"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(path, ignore_errors=True)
    except BlockingIOError:  # a run that is going on
        return
    finally:
        os.close(descriptor)
