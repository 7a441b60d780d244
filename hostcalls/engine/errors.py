"""Errors between a module's bytes and a running guest.

A guest that fails while it runs is not an error of the engine: that is a `Trap`, which `Instance.resume`
reports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from enfilade.hostcalls.engine.traps import Trap


class EngineError(Exception):
    """The base of every error that the engine raises."""


class EngineUnavailable(EngineError):
    """Wasmtime's shared library is missing, has another major version, or the engine is closed."""


class InvalidConfig(EngineError, ValueError):
    """The engine cannot be made with these sizes on this machine; the message says which one and why."""


class InvalidModule(EngineError, ValueError):
    """The bytes are not a WebAssembly module that the engine accepts; the message is Wasmtime's."""


class LinkError(EngineError):
    """The module imports something that no hostcall provides, or with another type."""


class StartError(EngineError):
    """No guest could be made from the linked module."""


class Exhausted(StartError):
    """Every place for a guest is taken (`EngineConfig.max_guests`), or there is no memory for one."""


class NoMemory(StartError):
    """The module exports no linear memory named `memory`."""


class StartTrapped(StartError):
    """The module's start function trapped, or exceeded its time.

    Attributes:
        trap: what happened, with the wasm backtrace.
    """

    def __init__(self, trap: Trap) -> None:
        super().__init__(f"the start function failed: {trap}")
        self.trap = trap


class BadEntrypoint(EngineError):
    """The export to call is missing, is not a function, or takes other values."""


class BadMemoryAccess(EngineError, IndexError):
    """The host tried to read or write outside the guest's linear memory."""


class GuestBusy(EngineError, RuntimeError):
    """The guest is not in a state that allows the operation: it computes on a worker, or it has ended."""


class InstanceClosed(EngineError, RuntimeError):
    """The instance was closed and everything it held is gone."""
