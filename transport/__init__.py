"""Transport between nodes: doors, zones, the wire format, and node links."""

if __name__ != "enfilade.transport":
    raise ImportError(f"import enfilade.transport (or `from enfilade import ...`), not {__name__}")


from enfilade.transport.carrier import CarrierError
from enfilade.transport.file_descriptor import FileDescriptor
from enfilade.transport.payload import Codec, RemoteError
from enfilade.transport.policy import Identity, Limits, NotAdmitted, Policy, Rights, Rule
from enfilade.transport.records import (
    FieldMismatch,
    PayloadError,
    TypeRegistry,
    UnknownType,
    UnregisteredType,
    VersionMismatch,
    register,
)
from enfilade.transport.rendezvous import HandshakeFailed, Rendezvous
from enfilade.transport.settings import Settings

__all__ = [
    "CarrierError",
    "Codec",
    "FieldMismatch",
    "FileDescriptor",
    "HandshakeFailed",
    "Identity",
    "Limits",
    "NotAdmitted",
    "PayloadError",
    "Policy",
    "RemoteError",
    "Rendezvous",
    "Rights",
    "Rule",
    "Settings",
    "TypeRegistry",
    "UnknownType",
    "UnregisteredType",
    "VersionMismatch",
    "register",
]
