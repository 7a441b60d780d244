"""The machine and the software that a run was made on, in general terms."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sysconfig
from pathlib import Path


def describe() -> dict[str, str]:
    """What the figures depend on: processors, memory, system, interpreter; no names of hosts or users."""
    return {
        "processor": _first(r"model name\s*:\s*(.+)", "/proc/cpuinfo")
        or platform.processor()
        or platform.machine(),
        "cpus": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}, {platform.machine()}",
        "virtual": "yes" if _first(r"^flags\s*:.*\b(hypervisor)\b", "/proc/cpuinfo") else "not known to be",
        "python": f"{platform.python_implementation()} {platform.python_version()}, {_optimisation()}",
        **{name: importlib.metadata.version(name) for name in ("trio", "wasmtime", "msgspec", "cffi")},
    }


def _optimisation() -> str:
    """How the interpreter was built, as far as it tells, which its speed depends on."""
    guided = "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS"))
    return "with profile-guided optimisation" if guided else "by its configuration not profile-guided"


def in_words(description: dict[str, str]) -> str:
    """The hardware, the system and the interpreter of a description, in one line."""
    hardware = f"{description['processor']}, {description['cpus']} CPUs, {description['memory']}"
    return f"{hardware}; {description['system']}; {description['python']}"


def load() -> float:
    """The system's load average over one minute (getloadavg(3))."""
    return os.getloadavg()[0]


def _first(pattern: str, path: str) -> str | None:
    try:
        found = re.search(pattern, Path(path).read_text(), re.MULTILINE)
    except OSError:
        return None
    return found.group(1).strip() if found else None
