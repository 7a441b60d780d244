"""What only C can do in a test: a shared object made of a file beside the tests."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest


def compiled(name: str, directory: Path) -> str:
    """Compile `name`, a C file of this directory, into `directory`; return the path of the shared object."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    library = directory / Path(name).with_suffix(".so")
    source = Path(__file__).with_name(name)
    warnings = ["-Wall", "-Wextra", "-Werror"]
    command = [compiler, "-shared", "-fPIC", "-pthread", *warnings, str(source), "-o", str(library)]
    subprocess.run(command, check=True, timeout=60)
    return str(library)


def address(function: object) -> int:
    """The address of a function of a `ctypes.CDLL`."""
    found = ctypes.cast(function, ctypes.c_void_p).value  # type: ignore[arg-type]
    assert found is not None
    return found
