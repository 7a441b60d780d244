"""The module store: the directory that guests are started from by name."""

from __future__ import annotations

import os
import re
import stat
from itertools import islice
from pathlib import Path, PurePosixPath

from enfilade.fields import shown
from enfilade.hostcalls.abi.errors import StartError
from enfilade.hostcalls.abi.nearest import hint

_LARGEST = 64 * 1024 * 1024
_BINARY = b"\0asm"
_LONGEST_NAME = 4096  # characters of a name that advice looks at
_SOURCES = frozenset({".c", ".cc", ".cpp", ".go", ".rs", ".ts", ".zig"})
_MOST_FILES = 1000  # files of a directory that it does


class ModuleError(StartError):
    """A module could not be read from the store; `detail` says why."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"Module store error: {detail}")
        self.detail = detail


class ModuleMissing(ModuleError):
    """There is no module of that name."""


class ModuleStore:
    """Modules below one directory.

    Args:
        directory: where they are, by convention `modules` in the work directory. It need not exist until a
            module is read.
        largest: bytes that a module may have.
    """

    def __init__(self, directory: Path | str, *, largest: int = _LARGEST) -> None:
        self.directory = Path(directory)
        self.largest = largest

    def read(self, name: str) -> bytes:
        """The module called `name`, a path relative to the directory, as binary WebAssembly.

        A file that ends in `.wat` is translated from the text format. Raises `ModuleError` when the name is
        absolute, empty or leads out of the directory (by `..` or by a symbolic link), or the file is not a
        readable module.
        """
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
            raise ModuleMissing(f"invalid module path {shown(name)}: it must be relative and free of '..'")
        try:
            root = self.directory.resolve(strict=True)
            found = (root / path).resolve(strict=True)
            if not found.is_relative_to(root):
                raise ModuleError(f"invalid module path {name!r}: it leads out of the module directory")
            data = self._bytes_of(found, name)
            if len(data) > self.largest:
                raise ModuleError(f"module {name!r} has more than {self.largest} bytes")
        except OSError as error:
            below = f" below {self.directory.name!r}" if self.directory.name else ""
            raise ModuleMissing(f"cannot read module {shown(name)}{below}: {error.strerror}") from None
        return binary(data, name)

    def advice(self, name: str) -> str:
        """Return what to do about `name`, which could not be read, behind a semicolon, or an empty text.

        It is for the host's own people: it tells what is in the directory, which is no guest's business.
        """
        path = PurePosixPath(name[:_LONGEST_NAME])
        if name.lstrip().startswith("("):
            return "; a module that is given itself must be bytes: keep its text in a file that ends in .wat"
        if path.is_absolute() or ".." in path.parts or path.parts[:1] == ("~",):
            return f"; names are looked up below {str(self.directory)!r}: give a file elsewhere as a Path"
        if not self.directory.is_dir():
            return f"; there is no directory {str(self.directory)!r}: make it, or give the file as a Path"
        if len(path.parts) > 1 and path.parts[0] == self.directory.name:
            return (
                f"; names are looked up below {path.parts[0]!r}: leave that away, or give the file as a Path"
            )
        return nearest_file(self.directory / path)

    def _bytes_of(self, path: Path, name: str) -> bytes:
        """Read a file, and at most one byte more than a module may have."""
        # Opened without waiting: a pipe may be there that nobody writes to.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise ModuleError(f"module {name!r} is not a regular file")
            with open(file, "rb", closefd=False) as content:
                return content.read(self.largest + 1)
        finally:
            os.close(file)


def nearest_file(path: Path) -> str:
    """Return `; did you mean 'x'?` for the file nearest to a path that leads nowhere, or an empty text."""
    try:
        with os.scandir(path.parent) as entries:
            return hint(path.name, [entry.name for entry in islice(entries, _MOST_FILES)])
    except OSError:
        return ""


def binary(source: bytes | str, name: str = "module") -> bytes:
    """Binary WebAssembly from `source`, which may be in the text format. Raises `ModuleError`."""
    if isinstance(source, bytes) and source.startswith(_BINARY):
        return source
    if isinstance(source, bytes) and not name.endswith(".wat"):
        advice = ""
        if PurePosixPath(name).suffix in _SOURCES:
            advice = ": it is source, to be compiled first; `enfilade guest sdk` tells where the kits are"
        elif source.lstrip()[:1] in (b"(", b";"):
            advice = ": translate the text format with wat2wasm, or keep it in a file that ends in .wat"
        raise ModuleError(f"{name!r} is not a WebAssembly module{advice}")
    # Imported here: most programs have binary modules only, and the package takes a while to load.
    import wasmtime

    try:
        return bytes(wasmtime.wat2wasm(source))
    except (wasmtime.WasmtimeError, UnicodeDecodeError) as error:
        why, _, place = str(error).partition("\n")
        found = re.search(r"<anon>:(\d+):(\d+)", place)
        where = f" in line {found[1]}, column {found[2]}" if found else ""
        raise ModuleError(f"{name!r} is not valid in the text format: {why}{where}") from None
