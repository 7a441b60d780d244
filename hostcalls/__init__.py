"""Hostcalls: what WebAssembly guests can ask of their host, and the engine that runs them.

The names here are what embedders, and applications with hostcalls of their own, work with; the types of the
guest ABI are in `hostcalls.abi` and `hostcalls.abi.actor_types`, the hostcalls themselves in
`hostcalls.abi.catalogue`.
"""

if __name__ != "enfilade.hostcalls":
    raise ImportError(f"import enfilade.hostcalls (or `from enfilade import ...`), not {__name__}")


from hostcalls.abi import ChannelBackpressure, ScalarType, ScalarValue
from hostcalls.abi.capability import Capability
from hostcalls.abi.errors import (
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
from hostcalls.abi.hostcall import Hostcall, hostcall
from hostcalls.codec.rkyv import Codec, CodecError, DecodeError, EncodeError, codec
from hostcalls.contracts.caller import Caller
from hostcalls.contracts.contract import Contract
from hostcalls.contracts.launch import Launch
from hostcalls.contracts.limits import Limits
from hostcalls.contracts.operation import Operation, operation
from hostcalls.contracts.policy import Policy
from hostcalls.contracts.table import DispatchTable
from hostcalls.kernel.execution import Execution, Outcome, Returned, Stopped
from hostcalls.kernel.kernel import Kernel
from hostcalls.kernel.modules import ModuleError, ModuleStore
from hostcalls.kernel.modulespec import ModuleSpec, ModuleSpecError
from hostcalls.kernel.runtime import Runtime
from hostcalls.resources.channel import Channel, ChannelError, Frame, Reader, Writer
from hostcalls.resources.endpoints import ChannelReceiver, ChannelSender
from hostcalls.resources.futures import Future
from hostcalls.resources.message import Held, Message
from hostcalls.resources.registry import Kind, Registry, Resource, Slots

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
