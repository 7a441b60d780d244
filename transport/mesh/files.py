"""Files that are nobody's but their owner's, each written whole or not at all."""

import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from enfilade.ownership import is_own, owner_shown
from enfilade.transport.mesh.settings import MeshError

__all__ = ["install", "make_private_directory", "write_private"]


def write_private(path: Path, data: bytes) -> None:
    """Write a file with mode 0600: it has its old contents, or all of the new."""
    file, new = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(new, path)
    except BaseException:
        os.unlink(new)
        raise


def install(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a directory; nothing is changed unless there is room for all of them."""
    written: dict[str, str] = {}
    try:
        for name, data in files.items():
            file, written[name] = tempfile.mkstemp(dir=directory)
            with os.fdopen(file, "wb") as stream:
                stream.write(data)
    except BaseException:
        for new in written.values():
            os.unlink(new)
        raise
    for name, new in written.items():
        os.replace(new, directory / name)


def make_private_directory(path: Path) -> None:
    """Make a directory that is its owner's alone, or check that it is.

    Raises:
        MeshError: it is there and somebody else's, or open to others.
    """
    try:
        path.mkdir(0o700, parents=True)
    except FileExistsError:
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode):
            raise MeshError(f"{path} must be a directory, or not be there yet") from None
        if not is_own(status):
            raise MeshError(
                f"{path} must be a directory of user {os.geteuid()}, it belongs to {owner_shown(status)}"
            ) from None
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise MeshError(f"{path} must be open to its owner alone: chmod 700 {path}") from None
