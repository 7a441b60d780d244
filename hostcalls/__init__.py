"""Hostcalls: what WebAssembly guests can ask of their host, and the engine that runs them.

The names here are what embedders, and applications with hostcalls of their own, work with; the types of the
guest ABI are in `enfilade.hostcalls.abi` and `enfilade.hostcalls.abi.actor_types`, the hostcalls themselves
in `enfilade.hostcalls.abi.catalogue`.
"""

if __name__ != "enfilade.hostcalls":
    raise ImportError(f"import enfilade.hostcalls (or `from enfilade import ...`), not {__name__}")


from enfilade.hostcalls.abi import ChannelBackpressure, ScalarType, ScalarValue
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.abi.errors import (
    AlreadyExists,
    HostcallError,
    InvalidArgument,
    KernelError,
    LimitReached,
    NotFound,
    PermissionDenied,
    RegistryError,
    StartError,
    SubsystemError,
)
from enfilade.hostcalls.abi.hostcall import Hostcall, hostcall
from enfilade.hostcalls.codec.rkyv import Codec, CodecError, DecodeError, EncodeError, codec
from enfilade.hostcalls.contracts.caller import Caller
from enfilade.hostcalls.contracts.contract import Contract
from enfilade.hostcalls.contracts.launch import Launch
from enfilade.hostcalls.contracts.limits import Limits, limits_of
from enfilade.hostcalls.contracts.offer import Offer
from enfilade.hostcalls.contracts.operation import Operation, operation
from enfilade.hostcalls.contracts.policy import Policy
from enfilade.hostcalls.contracts.table import DispatchTable
from enfilade.hostcalls.kernel.execution import Execution, Outcome, Returned, Stopped
from enfilade.hostcalls.kernel.kernel import Kernel
from enfilade.hostcalls.kernel.modules import ModuleError, ModuleStore
from enfilade.hostcalls.kernel.modulespec import ModuleSpec, ModuleSpecError
from enfilade.hostcalls.kernel.runtime import Runtime
from enfilade.hostcalls.net.policy import Bind, Network, Reach
from enfilade.hostcalls.net.settings import NetworkSettings
from enfilade.hostcalls.resources.channel import Channel, ChannelError, Frame, Reader, Writer
from enfilade.hostcalls.resources.endpoints import ChannelReceiver, ChannelSender
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.resources.message import Held, Message
from enfilade.hostcalls.resources.registry import Kind, Registry, Resource
from enfilade.hostcalls.resources.slots import Slots

__all__ = [
    "AlreadyExists",
    "Bind",
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
    "LimitReached",
    "Limits",
    "Message",
    "ModuleError",
    "ModuleSpec",
    "ModuleSpecError",
    "ModuleStore",
    "Network",
    "NetworkSettings",
    "NotFound",
    "Offer",
    "Operation",
    "Outcome",
    "PermissionDenied",
    "Policy",
    "Reach",
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
    "limits_of",
    "operation",
]
