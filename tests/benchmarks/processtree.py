"""One cell's tree of OS processes: started on chosen CPUs, and gone without a trace at the end.

Peers start daemons that leave their process group and session. They are found by a variable that the whole
tree has in its environment, or, where a program overwrites its environment, as descendants: for those the
harness makes itself the reaper of what is orphaned below it (prctl(2), PR_SET_CHILD_SUBREAPER).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

import trio

MEMBERSHIP = "BENCH_CELL"
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans(adopt: bool = True) -> None:
    """Become, or stop being, the parent of all descendants whose own parent ends, where that can be had."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, int(adopt), 0, 0, 0)


def pinned(command: Sequence[str], cpus: Sequence[int] | None) -> list[str]:
    """The command, run on those CPUs alone where the system has taskset(1)."""
    taskset = shutil.which("taskset")
    if not cpus or taskset is None:
        return list(command)
    return [taskset, "-c", ",".join(map(str, cpus)), *command]


@contextlib.asynccontextmanager
async def process_tree(
    command: Sequence[str], *, environment: Mapping[str, str], directory: Path, errors: Path
) -> AsyncIterator[trio.Process]:
    """The started command, its standard input and output piped, its standard error in the file `errors`.

    `environment` must have `MEMBERSHIP`. When the block ends, the command and all that it started are
    killed and reaped.
    """
    stderr = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        process: trio.Process = await trio.lowlevel.open_process(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=directory,
            env=dict(environment),
            start_new_session=True,
        )
    finally:
        os.close(stderr)
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True):
            await _end(process, f"{MEMBERSHIP}={environment[MEMBERSHIP]}")


async def _end(process: trio.Process, mark: str) -> None:
    members = {process.pid}
    for _attempt in range(50):
        members.update(pid for member in list(members) for pid in _descendants(member))
        members.update(marked(mark))
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if process.returncode is None:
            await process.wait()
        _reap(members - {process.pid})
        members = {pid for pid in members if pid != process.pid and _alive(pid)}
        if not members:
            return
        await trio.sleep(0.02)


def marked(entry: str) -> Iterator[int]:
    """The processes that were started with this entry in their environment (proc(5), /proc/PID/environ)."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if entry.encode() in path.read_bytes().split(b"\0"):
                yield int(path.parent.name)


def _reap(pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _descendants(pid: int) -> Iterator[int]:
    """Every living descendant (proc(5), /proc/PID/task/TID/children); none where there is no such file."""
    for children in Path("/proc", str(pid), "task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, children.read_text().split()):
                yield child
                yield from _descendants(child)
