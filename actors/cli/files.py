"""Files that the user names by path, and that decide what the command does.

A path can name anything: a pipe without a writer, whose opening would wait for ever; a device; a file that
somebody else may change. So a file is opened without waiting, looked at through its descriptor, which no
longer depends on the path, and only then read.
"""

import grp
import os
import pwd
import stat
from pathlib import Path
from typing import Final

from enfilade.actors.cli.refusal import Refusal
from enfilade.ownership import is_own, owner_shown

__all__ = ["LARGEST_FILE", "read_own", "read_private", "read_secret"]

LARGEST_FILE: Final = 1024 * 1024 * 1024
"""Bytes of a file that is read: a dump of millions of processes. What is longer was named by mistake."""


def read_own(path: Path, what: str) -> bytes:
    """Read a file that decides what this process does.

    Args:
        path: where it is.
        what: the kind of file, for the error.

    Raises:
        Refusal: it cannot be read, is no regular file, is longer than `LARGEST_FILE`, belongs to another user
            than ours and root, or may be written by others than its owner. The owner's private group, whose
            files are writable where the usual umask is 002, is nobody else.
    """
    return _read(path, what, 0o022, "may be written by others than its owner; run `chmod go-w` on it")


def read_private(path: Path, what: str) -> bytes:
    """Read a file that nobody else may see.

    Args:
        path: where it is.
        what: the kind of file, for the error.

    Raises:
        Refusal: it cannot be read, is no regular file, is longer than `LARGEST_FILE`, belongs to another user
            than ours and root, or is accessible to others than its owner.
    """
    return _read(path, what, 0o077, "must be accessible to its owner alone; run `chmod 600` on it")


def read_secret(path: Path) -> bytes:
    """Read a secret from a file, without white space around it.

    Raises:
        Refusal: as `read_private`, or the file is empty.
    """
    secret = read_private(path, "secret").strip()
    if not secret:
        raise Refusal(f"the secret {path} is empty")
    return secret


def _read(path: Path, what: str, forbidden: int, trouble: str) -> bytes:
    """Read a regular file of ours whose mode has none of the forbidden bits."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise Refusal(f"the {what} {path} is not a regular file")
            if not is_own(status, or_root=True):
                owner = f"belongs to {owner_shown(status)}, not to uid {os.geteuid()}, which runs the command"
                raise Refusal(f"the {what} {path} {owner}")
            if status.st_mode & (forbidden & ~stat.S_IWGRP if _is_private_group(status) else forbidden):
                raise Refusal(f"the {what} {path} {trouble}")
            if status.st_size > LARGEST_FILE:
                sizes = f"has {status.st_size:,} bytes; at most {LARGEST_FILE:,} are read"
                raise Refusal(f"the {what} {path} {sizes}")
            with open(file, "rb", closefd=False) as content:
                return content.read(LARGEST_FILE)
        finally:
            os.close(file)
    except OSError as error:
        raise Refusal(f"the {what} {path}: {error.strerror}") from error


def _is_private_group(status: os.stat_result) -> bool:
    """Tell whether the group of a file is its owner's own: of the same name, and without other members."""
    try:
        owner, group = pwd.getpwuid(status.st_uid), grp.getgrgid(status.st_gid)
    except KeyError:
        return False
    is_private = owner.pw_gid == status.st_gid and group.gr_name == owner.pw_name
    return is_private and set(group.gr_mem) <= {owner.pw_name}
