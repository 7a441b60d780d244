"""Hostcalls: what WebAssembly guests can ask of their host, and the engine that runs them.

The names here are what embedders, and applications with hostcalls of their own, work with; the types of the
guest ABI are in `hostcalls.abi` and `hostcalls.actor_abi`, the hostcalls themselves in
`hostcalls.catalogue`.
"""

from .abi import ChannelBackpressure, ScalarType, ScalarValue
from .caller import Caller
from .capability import Capability
from .channel import Channel, ChannelError, Frame, Reader, Writer
from .contract import Contract
from .endpoints import ChannelReceiver, ChannelSender
from .errors import (
    AlreadyExists,
    HostcallError,
    InvalidArgument,
    KernelError,
    NotFound,
    PermissionDenied,
    RegistryError,
    StartError,
    SubsystemError,
)
from .execution import Execution, Outcome, Returned, Stopped
from .futures import Future
from .hostcall import Hostcall, hostcall
from .kernel import Kernel, Policy
from .launch import Launch
from .limits import Limits
from .message import Held, Message
from .modules import ModuleError, ModuleStore
from .modulespec import ModuleSpec, ModuleSpecError
from .operation import Operation, operation
from .registry import Kind, Registry, Resource, Slots
from .rkyv import Codec, CodecError, DecodeError, EncodeError, codec
from .runtime import Runtime
from .table import DispatchTable

__all__ = [
    "AlreadyExists",
    "Caller",
    "Capability",
    "Channel",
    "ChannelBackpressure",
    "ChannelError",
    "ChannelReceiver",
    "ChannelSender",
    "Codec",
    "CodecError",
    "Contract",
    "DecodeError",
    "DispatchTable",
    "EncodeError",
    "Execution",
    "Frame",
    "Future",
    "Held",
    "Hostcall",
    "HostcallError",
    "InvalidArgument",
    "Kernel",
    "KernelError",
    "Kind",
    "Launch",
    "Limits",
    "Message",
    "ModuleError",
    "ModuleSpec",
    "ModuleSpecError",
    "ModuleStore",
    "NotFound",
    "Operation",
    "Outcome",
    "PermissionDenied",
    "Policy",
    "Reader",
    "Registry",
    "RegistryError",
    "Resource",
    "Returned",
    "Runtime",
    "ScalarType",
    "ScalarValue",
    "Slots",
    "StartError",
    "Stopped",
    "SubsystemError",
    "Writer",
    "codec",
    "hostcall",
    "operation",
]
