"""Hostcalls: what WebAssembly guests can ask of their host, and the engine that runs them.

The names here are what embedders, and applications with hostcalls of their own, work with; the types of the
guest ABI are in `hostcalls.abi` and `hostcalls.actor_abi`, the hostcalls themselves in
`hostcalls.catalogue`.
"""

from hostcalls.abi import ChannelBackpressure, ScalarType, ScalarValue
from hostcalls.caller import Caller
from hostcalls.capability import Capability
from hostcalls.channel import Channel, ChannelError, Frame, Reader, Writer
from hostcalls.contract import Contract
from hostcalls.endpoints import ChannelReceiver, ChannelSender
from hostcalls.errors import (
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
from hostcalls.execution import Execution, Outcome, Returned, Stopped
from hostcalls.futures import Future
from hostcalls.hostcall import Hostcall, hostcall
from hostcalls.kernel import Kernel, Policy
from hostcalls.launch import Launch
from hostcalls.limits import Limits
from hostcalls.message import Held, Message
from hostcalls.modules import ModuleError, ModuleStore
from hostcalls.modulespec import ModuleSpec, ModuleSpecError
from hostcalls.operation import Operation, operation
from hostcalls.registry import Kind, Registry, Resource, Slots
from hostcalls.rkyv import Codec, CodecError, DecodeError, EncodeError, codec
from hostcalls.runtime import Runtime
from hostcalls.table import DispatchTable

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
