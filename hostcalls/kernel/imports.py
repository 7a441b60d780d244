"""Help with modules that import what no hostcall provides."""

from __future__ import annotations

from collections.abc import Collection

from enfilade.hostcalls.abi.nearest import hint
from enfilade.hostcalls.engine import Module

_FIELDS = ("create", "poll", "drop")
_ASYNC, _YIELD = "selium::async", "yield_now"


def explain(module: Module, hostcalls: Collection[str]) -> str:
    """Say which import of `module` is none of `hostcalls`, and what may have been meant; empty if all are."""
    for extern in module.imports:
        wanted = f"{extern.module_name}/{extern.name}"
        if extern.module_name == "selium":
            return (
                f"{wanted} is of the guest ABI of Selium 1.0.0-alpha.7 and later; "
                "build the guest with 1.0.0-alpha.4 to 1.0.0-alpha.6"
            )
        if extern.module_name.startswith("wasi"):
            return (
                f"{wanted} is of WASI, and guests reach the host by hostcalls alone; "
                "build the module without it: for Rust, wasm32-unknown-unknown"
            )
        if extern.module_name == _ASYNC:
            if extern.name != _YIELD:
                return f"{wanted} does not exist: {_ASYNC} has {_YIELD} alone"
        elif extern.module_name not in hostcalls:
            return f"{wanted} is not a hostcall{hint(extern.module_name, [*hostcalls, _ASYNC])}"
        elif extern.name not in _FIELDS:
            return f"{wanted} does not exist: a hostcall has {', '.join(_FIELDS)}{hint(extern.name, _FIELDS)}"
    return ""
