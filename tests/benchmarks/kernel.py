"""Kernels: the functions that do a benchmark's work and time it.

This file and everything that a peer's kernels need besides the peer itself is standard library only, so that
a peer can be run by an interpreter of its own that has nothing of ours installed.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

Kernel = Callable[..., float]
AnyKernel = TypeVar("AnyKernel", bound=Callable[..., Any])

_kernels: dict[tuple[str, str, str], Kernel] = {}


class CannotRun(Exception):
    """The machine does not allow what the kernel needs; the message says what."""


class UnknownKernel(LookupError):
    """The module has no kernel of that name and variant."""


def kernel(
    name: str, *, variant: str = "", run: Callable[[Callable[[], Awaitable[float]]], float] | None = None
) -> Callable[[AnyKernel], AnyKernel]:
    """Declare the decorated function to be the kernel of benchmark `name` in its module.

    A kernel takes the benchmark's parameters by keyword, does the work once and returns the cost of one
    operation in the benchmark's unit (seconds or bytes); one with a parameter `variant` is also told
    that. An async kernel names the function that runs it: `run=trio.run`.
    """

    def declare(function: AnyKernel) -> AnyKernel:
        tells = "variant" in inspect.signature(function).parameters
        if inspect.iscoroutinefunction(function) != (run is not None):
            raise TypeError(f"kernel {name!r}: an async kernel, and no other, needs run=")

        def synchronous(**parameters: Any) -> float:
            if not tells:
                del parameters["variant"]
            if run is None:
                return float(function(**parameters))
            return run(functools.partial(function, **parameters))

        _kernels[function.__module__, name, variant] = synchronous
        return function

    return declare


def find(module: str, name: str, variant: str) -> Kernel:
    """The kernel that the imported module declares for the variant, or else for all variants."""
    for candidate in (variant, ""):
        found = _kernels.get((module, name, candidate))
        if found is not None:
            return functools.partial(found, variant=variant)
    raise UnknownKernel(f"{module} has no kernel {name!r} of variant {variant!r}")


def resident_bytes() -> int:
    """The resident set of this OS process in bytes (proc(5), /proc/self/statm)."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
