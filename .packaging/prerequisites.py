"""What must be on the machine before Enfilade can be built, asked before anything is made.

A line on standard error says what is missing and what to install; the status is 1 then::

    python prerequisites.py

It runs on any Python 3, also on one that is too old for Enfilade.
"""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig

OLDEST, TOO_NEW = (3, 11), (3, 15)

# By the name of the package manager: how it installs a C compiler, the headers of Python, and `venv`.
INSTALLERS = {
    "apt-get": "apt-get install gcc libc6-dev python3-dev python3-venv",
    "dnf": "dnf install gcc glibc-devel python3-devel",
    "apk": "apk add gcc musl-dev linux-headers python3-dev",
    "pacman": "pacman -S gcc python",
    "zypper": "zypper install gcc glibc-devel python3-devel",
    "pkg": "pkg install gcc python",
}


def compiler() -> str:
    """The program that would compile the extensions."""
    command = os.environ.get("CC") or str(sysconfig.get_config_var("CC") or "cc")
    return (shlex.split(command) or ["cc"])[0]


def compiles(header: str, *flags: str) -> bool:
    """Tell whether the compiler finds a header."""
    command = [compiler(), *flags, "-fsyntax-only", "-x", "c", "-"]
    source = f"#include <{header}>\n"
    return subprocess.run(command, input=source.encode(), capture_output=True, check=False).returncode == 0


def missing() -> list:
    """The things that are not there, as texts of plain words."""
    lacks = []
    if importlib.util.find_spec("ensurepip") is None:
        lacks.append("the module `venv` of Python with pip in it")
    if shutil.which(compiler()) is None:
        return [*lacks, f"a C compiler (no program {compiler()!r} was found)"]
    if not compiles("stdlib.h"):
        return [*lacks, "the headers of the C library"]
    if not compiles("Python.h", "-I", sysconfig.get_path("include")):
        lacks.append("the headers of Python {}.{} (Python.h)".format(*sys.version_info[:2]))
    return lacks


def unfit() -> str:
    """Why Enfilade cannot run with this system and this Python, whatever is installed; "" if it can."""
    if not sys.platform.startswith(("linux", "sunos")):
        return "Enfilade runs on Linux and illumos, and this is " + sys.platform
    if not OLDEST <= sys.version_info[:2] < TOO_NEW:
        ours = ".".join(map(str, sys.version_info[:2]))
        return f"Enfilade needs Python 3.11 to 3.14, and this is {ours}: type make PYTHON=python3.13 ..."
    return ""


def advice() -> str:
    """What to type, on a machine whose package manager is known."""
    for program, command in INSTALLERS.items():
        if shutil.which(program):
            return "install them: " + command
    return "install them with the tools of your system"


if __name__ == "__main__":
    if unfit():
        sys.exit(unfit())
    lacks = missing()
    if lacks:
        sys.exit("Enfilade cannot be built here: missing {}; {}".format(" and ".join(lacks), advice()))
