"""The Wasmtime engine that runs guests: compile, link, instantiate, resume."""

from enfilade.hostcalls.engine.call import Call, call_of
from enfilade.hostcalls.engine.config import EngineConfig
from enfilade.hostcalls.engine.engine import Engine
from enfilade.hostcalls.engine.errors import (
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
from enfilade.hostcalls.engine.instance import (
    DROPPED,
    RETURNED,
    TAKEN,
    Instance,
    Pause,
    Server,
    Step,
    Submission,
)
from enfilade.hostcalls.engine.limits import Limits
from enfilade.hostcalls.engine.linked import Import, Linked
from enfilade.hostcalls.engine.module import (
    Extern,
    ExternKind,
    FunctionType,
    ImportedExtern,
    Module,
    ValueType,
)
from enfilade.hostcalls.engine.purse import Purse
from enfilade.hostcalls.engine.traps import Frame, Trap, TrapKind

__all__ = [
    "DROPPED",
    "RETURNED",
    "TAKEN",
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
    "Purse",
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
