"""Starting a program in a zone of its own: on Linux, fresh namespaces made by util-linux's `unshare`.

A zone gets its own users, mounts, processes, network, host name and System V objects, as far as the machine
allows; `available()` finds out by trying. The file system stays shared, because the names of doors lie there.
"""

import functools
import shutil
import subprocess
import sys
from collections.abc import Sequence

# `user` comes first, because it lends an ordinary user the right to make the rest.
KINDS = ("user", "mount", "pid", "net", "uts", "ipc")

TRIAL_SECONDS = 10.0


def _arguments(kinds: Sequence[str]) -> list[str]:
    arguments = [f"--{kind}" for kind in kinds]
    if "user" in kinds:
        arguments.append("--map-root-user")
    if "pid" in kinds:
        # Only a child of `unshare` is in the new pid namespace; `kill-child` ends it together with `unshare`.
        arguments += ["--fork", "--kill-child=SIGKILL"]
        if "mount" in kinds:
            arguments.append("--mount-proc")
    return arguments


def _works(kinds: Sequence[str]) -> bool:
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    try:
        trial = subprocess.run(
            [unshare, *_arguments(kinds), "true"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TRIAL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return trial.returncode == 0


@functools.cache
def available() -> tuple[str, ...]:
    """The kinds of namespace that this machine lets us make, found out by making them.

    Returns: a subset of `KINDS` that works together; empty when there is no `unshare` or nothing is allowed.
    Blocks for some milliseconds on the first call, and remembers the answer.
    """
    if not sys.platform.startswith("linux"):
        return ()
    if _works(KINDS):
        return KINDS
    allowed: tuple[str, ...] = ()
    for kind in KINDS:
        if _works((*allowed, kind)):
            allowed = (*allowed, kind)
    return allowed


def command(program: Sequence[str], kinds: Sequence[str] | None = None) -> list[str]:
    """The command line that runs `program` in namespaces of its own.

    `kinds` are those to make, by default all that are `available()`. With none the program is run as it is: a
    process of its own, but in our zone. Killing the process that the command line starts ends the whole zone.
    """
    kinds = available() if kinds is None else kinds
    if not kinds:
        return list(program)
    unshare = shutil.which("unshare")
    if unshare is None:
        raise FileNotFoundError("no `unshare` on the PATH: install util-linux, or pass no kinds")
    return [unshare, *_arguments(kinds), "--", *program]
