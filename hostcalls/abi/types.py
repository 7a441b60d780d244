"""The types that cross between guest and host, in the field order that the guest ABI fixes.

Everything here is plain data; `enfilade.hostcalls.codec.rkyv.codec` turns a type into its codec.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Annotated, Any

import attrs

from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.codec.rkyv import (
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    Array,
    Choice,
    layout,
)


class ScalarType(enum.IntEnum):
    """The kinds of number that an entrypoint can take."""

    I8 = 0
    U8 = 1
    I16 = 2
    U16 = 3
    I32 = 4
    U32 = 5
    I64 = 6
    U64 = 7
    F32 = 8
    F64 = 9


SCALARS = (I8, U8, I16, U16, I32, U32, I64, U64, F32, F64)


@attrs.frozen
class ScalarValue:
    """A number, `value`, of a given `kind`."""

    kind: ScalarType
    value: float


def _split_scalar(scalar: Any) -> tuple[int, Sequence[Any]]:
    return scalar.kind, (scalar.value,)


def _join_scalar(tag: int, values: Sequence[Any]) -> ScalarValue:
    return ScalarValue(ScalarType(tag), values[0])


AbiScalarValue = Annotated[
    ScalarValue, Choice([[layout(number)] for number in SCALARS], _split_scalar, _join_scalar)
]


# Parameters, arguments and results of an entrypoint.


@attrs.frozen
class ScalarParam:
    """A parameter that is a number."""

    kind: ScalarType


@attrs.frozen
class BufferParam:
    """A parameter that is a run of bytes; the guest sees a pointer and a length."""


AbiParam = ScalarParam | BufferParam


@attrs.frozen
class AbiSignature:
    """The types of an entrypoint's parameters and results."""

    params: tuple[AbiParam, ...] = ()
    results: tuple[AbiParam, ...] = ()


@attrs.frozen
class ScalarResult:
    """A number that an entrypoint returned."""

    value: AbiScalarValue


@attrs.frozen
class BufferResult:
    """Bytes that an entrypoint returned."""

    data: bytes


AbiValue = ScalarResult | BufferResult


@attrs.frozen
class ScalarArg:
    """A number for an entrypoint."""

    value: AbiScalarValue


@attrs.frozen
class BufferArg:
    """Bytes for an entrypoint."""

    data: bytes


@attrs.frozen
class ResourceArg:
    """A resource for an entrypoint: a slot of the caller for an `I32` parameter, a shared handle for a
    `U64` one.
    """

    handle: U64


EntrypointArg = ScalarArg | BufferArg | ResourceArg


@attrs.frozen
class EntrypointInvocation:
    """A signature and arguments that fit it."""

    signature: AbiSignature = AbiSignature()
    args: tuple[EntrypointArg, ...] = ()


# Processes.


@attrs.frozen
class ProcessStart:
    """Start the module `module_id`, a path in the module store, at its export `name`."""

    module_id: str
    name: str
    capabilities: tuple[Capability, ...]
    entrypoint: EntrypointInvocation


@attrs.frozen
class ProcessLogRegistration:
    """Make the channel with this shared handle the caller's log channel."""

    channel: U64


@attrs.frozen
class ProcessLogLookup:
    """Ask for the log channel of a process."""

    process_id: U64


# Channels.


class ChannelBackpressure(enum.IntEnum):
    """The behaviour of a write to a full channel: wait, or drop the frame."""

    PARK = 0
    DROP = 1


@attrs.frozen
class ChannelCreate:
    """Create a channel of `capacity` bytes."""

    capacity: U32
    backpressure: ChannelBackpressure


@attrs.frozen
class IoRead:
    """Read one frame of at most `len` bytes from the reader in slot `handle`."""

    handle: U32
    len: U32


@attrs.frozen
class IoWrite:
    """Write `payload` as one frame with the writer in slot `handle`."""

    handle: U32
    payload: bytes


@attrs.frozen
class IoFrame:
    """One frame and the number of the writer that it came from."""

    writer_id: U16
    payload: bytes


# Network.


class NetProtocol(enum.IntEnum):
    """The protocol of a listener or a connection."""

    QUIC = 0
    HTTP = 1
    HTTPS = 2


@attrs.frozen
class NetCreateListener:
    """Listen for connections to `domain`."""

    protocol: NetProtocol
    domain: str
    port: U16
    tls: U64 | None


@attrs.frozen
class NetCreateListenerReply:
    """The listener's handle."""

    handle: U64


@attrs.frozen
class NetAccept:
    """Wait for a connection at a listener."""

    handle: U64


@attrs.frozen
class NetAcceptReply:
    """A connection: its two halves and its peer."""

    reader: U64
    writer: U64
    remote_addr: str


@attrs.frozen
class NetConnect:
    """Connect to `domain`."""

    protocol: NetProtocol
    domain: str
    port: U16
    tls: U64 | None


@attrs.frozen
class NetConnectReply:
    """A connection: its two halves and its peer."""

    reader: U64
    writer: U64
    remote_addr: str


@attrs.frozen
class TlsServerBundle:
    """PEM texts and settings of a TLS server."""

    cert_chain_pem: bytes
    private_key_pem: bytes
    client_ca_pem: bytes | None
    alpn: tuple[str, ...] | None
    require_client_auth: bool


@attrs.frozen
class TlsClientBundle:
    """PEM texts and settings of a TLS client."""

    ca_bundle_pem: bytes | None
    client_cert_pem: bytes | None
    client_key_pem: bytes | None
    alpn: tuple[str, ...] | None


@attrs.frozen
class NetTlsServerConfig:
    """Keep a server's TLS settings under a handle."""

    bundle: TlsServerBundle


@attrs.frozen
class NetTlsClientConfig:
    """Keep a client's TLS settings under a handle."""

    bundle: TlsClientBundle


@attrs.frozen
class NetTlsConfigReply:
    """The handle of TLS settings."""

    handle: U64


# Sessions.


@attrs.frozen
class SessionCreate:
    """Create a session below the one in slot `session_id`."""

    session_id: U32
    pubkey: Annotated[bytes, Array(32)]


@attrs.frozen
class SessionEntitlement:
    """Give `capability` to, or take it from, the session in slot `target_id`."""

    session_id: U32
    target_id: U32
    capability: Capability


@attrs.frozen
class SessionResource:
    """Add a resource to, or take it from, the scope of a capability of a session."""

    session_id: U32
    target_id: U32
    capability: Capability
    resource_id: U64


@attrs.frozen
class SessionRemove:
    """Remove the session in slot `target_id`."""

    session_id: U32
    target_id: U32


# Singletons.


@attrs.frozen
class DependencyId:
    """The name of a singleton: 16 bytes, by convention the head of a BLAKE3 hash of a text."""

    value: Annotated[bytes, Array(16)]


@attrs.frozen
class SingletonRegister:
    """Register the resource with this shared handle as the singleton `id`."""

    id: DependencyId
    resource: U64


@attrs.frozen
class SingletonLookup:
    """Ask for the singleton `id`."""

    id: DependencyId


# Time.


@attrs.frozen
class TimeNow:
    """Milliseconds since the Unix epoch, and since the host first returned the time."""

    unix_ms: U64
    monotonic_ms: U64


@attrs.frozen
class TimeSleep:
    """Wait for so many milliseconds."""

    duration_ms: U64
