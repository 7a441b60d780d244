"""Flags that make compiled code harder to attack, for the extensions and for the Makefiles of their C.

A compiler gets only the flags that it has. What it lacks is named on standard error, once in each build::

    python hardening.py compile     # the compiler's flags, for a Makefile
    python hardening.py link        # the linker's
"""

import functools
import os
import shlex
import subprocess
import sys
import sysconfig

COMPILE = (
    "-fstack-protector-strong",
    "-fstack-clash-protection",
    "-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3",
    "-fcf-protection=full",  # CET: x86
    "-mbranch-protection=standard",  # PAC and BTI: ARM
    "-Werror=implicit-function-declaration",
)
"""What each adds: a canary, probes of large frames, checks of buffers' sizes, checks of indirect jumps, and
an error where a function is not declared, whose result would be cut to 32 bits otherwise."""

LINK = ("-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack", "-Wl,-z,shstk")
"""What each adds: tables that are read-only after loading, all of them, no code on the stack, and the note
that a shadow stack may be kept. The note about indirect jumps is left to the linker: it knows whether the
start files of the C library, which are not ours, begin as they have to."""

FOREIGN = {"x86_64": ("-mbranch-protection=standard",), "aarch64": ("-fcf-protection=full", "-Wl,-z,shstk")}
"""Flags that a machine cannot have."""

PROBE = """
#include <string.h>
int probe(char *text) { char copy[64]; strncpy(copy, text, 63); return copy[7]; }
"""


def compiler() -> list[str]:
    """The command that extensions are compiled with."""
    return shlex.split(os.environ.get("CC") or str(sysconfig.get_config_var("CC") or "cc"))[:1]


@functools.cache
def has(flags: str) -> bool:
    """Tell whether the compiler, or the linker that it runs, takes these flags."""
    command = [
        *compiler(),
        "-Werror",
        "-O2",
        "-fPIC",
        "-shared",
        *flags.split(),
        "-x",
        "c",
        "-",
        "-o",
        os.devnull,
    ]
    try:
        return subprocess.run(command, input=PROBE.encode(), capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def lacking() -> list[str]:
    """The flags that this machine could have and its compiler does not take."""
    foreign = FOREIGN.get(os.uname().machine, ())
    return [flags for flags in (*COMPILE, *LINK) if flags not in foreign and not has(flags)]


def _known(wanted: tuple[str, ...]) -> list[str]:
    return [flag for flags in wanted if has(flags) for flag in flags.split()]


def compile_flags() -> list[str]:
    """The flags for compiling; they want optimisation, -O1 at least."""
    for flags in lacking():
        print(f"the compiler {compiler()[0]!r} does not take {flags}: built without", file=sys.stderr)
    return _known(COMPILE)


def link_flags() -> list[str]:
    """The flags for linking."""
    return _known(LINK)


if __name__ == "__main__":
    print(*{"compile": compile_flags, "link": link_flags}[sys.argv[1]]())
