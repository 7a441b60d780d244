"""The Wasmtime engine that runs guests: compile, link, instantiate, resume."""

from hostcalls.engine.call import Call, call_of
from hostcalls.engine.config import EngineConfig
from hostcalls.engine.engine import Engine
from hostcalls.engine.errors import (
    BadEntrypoint,
    BadMemoryAccess,
    EngineError,
    EngineUnavailable,
    Exhausted,
    GuestBusy,
    InstanceClosed,
    InvalidConfig,
    InvalidModule,
    LinkError,
    NoMemory,
    StartError,
    StartTrapped,
)
from hostcalls.engine.instance import Instance, Pause, Server, Step, Submission
from hostcalls.engine.limits import Limits
from hostcalls.engine.linked import Import, Linked
from hostcalls.engine.module import Extern, ExternKind, FunctionType, ImportedExtern, Module, ValueType
from hostcalls.engine.traps import Frame, Trap, TrapKind

__all__ = [
    "BadEntrypoint",
    "BadMemoryAccess",
    "Call",
    "Engine",
    "EngineConfig",
    "EngineError",
    "EngineUnavailable",
    "Exhausted",
    "Extern",
    "ExternKind",
    "Frame",
    "FunctionType",
    "GuestBusy",
    "Import",
    "ImportedExtern",
    "Instance",
    "InstanceClosed",
    "InvalidConfig",
    "InvalidModule",
    "Limits",
    "LinkError",
    "Linked",
    "Module",
    "NoMemory",
    "Pause",
    "Server",
    "StartError",
    "StartTrapped",
    "Step",
    "Submission",
    "Trap",
    "TrapKind",
    "ValueType",
    "call_of",
]
