"""Compiled modules on disk, so that a module is compiled once and not once a run.

An entry is a file named after everything that decides the machine code: the source, Wasmtime's version and
the engine's sizes. It begins with a checksum of the rest. Entries are written under another name and moved
into place, so a reader sees a whole one or none; one that is damaged is ignored and written anew. Nothing
that goes wrong here is an error: the module is then compiled. Entries are never removed; the directory may
be emptied at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from pathlib import Path

from enfilade.ownership import is_own

_CHECKSUM = hashlib.sha256().digest_size
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class CompileCache:
    """The compiled modules in one directory.

    Args:
        directory: where they are; made, for this user alone, when the first one is written. One that is
            another user's, or that others can write to, is not used: whoever writes there could have this
            process run anything.
        fingerprint: what decides the machine code besides the source.
    """

    def __init__(self, directory: Path, fingerprint: str) -> None:
        self._directory = directory
        self._fingerprint = fingerprint

    def read(self, digest: str) -> bytes | None:
        """Return the machine code of the source with this digest, or None if it is missing or damaged."""
        try:
            content = self._path(digest).read_bytes() if self._is_ours() else b""
        except OSError:
            return None
        checksum, artifact = content[:_CHECKSUM], content[_CHECKSUM:]
        return artifact if hashlib.sha256(artifact).digest() == checksum else None

    def write(self, digest: str, artifact: bytes) -> None:
        """Keep the machine code of the source with this digest."""
        with contextlib.suppress(OSError):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._is_ours():
                self._replace(self._path(digest), hashlib.sha256(artifact).digest() + artifact)

    def _is_ours(self) -> bool:
        status = self._directory.stat()
        return is_own(status) and not status.st_mode & _WRITABLE_BY_OTHERS

    def _path(self, digest: str) -> Path:
        name = hashlib.sha256(f"{digest} {self._fingerprint}".encode()).hexdigest()
        return self._directory / f"{name}.cwasm"

    def _replace(self, path: Path, content: bytes) -> None:
        descriptor, name = tempfile.mkstemp(prefix=".writing-", dir=self._directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
