"""The catalogue: every hostcall that a guest can import, in one list.

The first 41 are the guest ABI's. Those named `enfilade::` are our own. Most of them speak of actors:
processes of the runtime, written in Python or in WebAssembly, here or on another node.
"""

from __future__ import annotations

from typing import Any

from enfilade.hostcalls.abi import actor_types, types
from enfilade.hostcalls.abi.capability import Capability as C  # noqa: N817
from enfilade.hostcalls.abi.hostcall import Hostcall, hostcall
from enfilade.hostcalls.abi.received import ReceivedCodec
from enfilade.hostcalls.codec.rkyv import U32, U64, codec

SESSION_CREATE: Hostcall[types.SessionCreate, int] = hostcall(
    "selium::session::create", C.SESSION_LIFECYCLE, types.SessionCreate, U32
)
SESSION_REMOVE: Hostcall[types.SessionRemove, None] = hostcall(
    "selium::session::remove", C.SESSION_LIFECYCLE, types.SessionRemove, None
)
SESSION_ADD_ENTITLEMENT: Hostcall[types.SessionEntitlement, None] = hostcall(
    "selium::session::add_entitlement", C.SESSION_LIFECYCLE, types.SessionEntitlement, None
)
SESSION_RM_ENTITLEMENT: Hostcall[types.SessionEntitlement, None] = hostcall(
    "selium::session::rm_entitlement", C.SESSION_LIFECYCLE, types.SessionEntitlement, None
)
SESSION_ADD_RESOURCE: Hostcall[types.SessionResource, int] = hostcall(
    "selium::session::add_resource", C.SESSION_LIFECYCLE, types.SessionResource, U32
)
SESSION_RM_RESOURCE: Hostcall[types.SessionResource, int] = hostcall(
    "selium::session::rm_resource", C.SESSION_LIFECYCLE, types.SessionResource, U32
)
CHANNEL_CREATE: Hostcall[types.ChannelCreate, int] = hostcall(
    "selium::channel::create", C.CHANNEL_LIFECYCLE, types.ChannelCreate, U32
)
CHANNEL_DELETE: Hostcall[int, None] = hostcall("selium::channel::delete", C.CHANNEL_LIFECYCLE, U32, None)
CHANNEL_DRAIN: Hostcall[int, None] = hostcall("selium::channel::drain", C.CHANNEL_LIFECYCLE, U32, None)
CHANNEL_SHARE: Hostcall[int, int] = hostcall("selium::channel::share", C.CHANNEL_LIFECYCLE, U32, U64)
CHANNEL_ATTACH: Hostcall[int, int] = hostcall("selium::channel::attach", C.CHANNEL_LIFECYCLE, U64, U32)
CHANNEL_DETACH: Hostcall[int, None] = hostcall("selium::channel::detach", C.CHANNEL_LIFECYCLE, U32, None)
PROCESS_REGISTER_LOG_CHANNEL: Hostcall[types.ProcessLogRegistration, None] = hostcall(
    "selium::process::register_log_channel", C.CHANNEL_LIFECYCLE, types.ProcessLogRegistration, None
)
SINGLETON_REGISTER: Hostcall[types.SingletonRegister, None] = hostcall(
    "selium::singleton::register", C.SINGLETON_REGISTRY, types.SingletonRegister, None
)
SINGLETON_LOOKUP: Hostcall[types.SingletonLookup, int] = hostcall(
    "selium::singleton::lookup", C.SINGLETON_LOOKUP, types.SingletonLookup, U64
)
TIME_NOW: Hostcall[None, types.TimeNow] = hostcall("selium::time::now", C.TIME_READ, None, types.TimeNow)
TIME_SLEEP: Hostcall[types.TimeSleep, None] = hostcall(
    "selium::time::sleep", C.TIME_READ, types.TimeSleep, None
)
CHANNEL_STRONG_READER_CREATE: Hostcall[int, int] = hostcall(
    "selium::channel::strong_reader_create", C.CHANNEL_READER, U32, U32
)
CHANNEL_WEAK_READER_CREATE: Hostcall[int, int] = hostcall(
    "selium::channel::weak_reader_create", C.CHANNEL_READER, U32, U32
)
CHANNEL_STRONG_READ: Hostcall[types.IoRead, types.IoFrame] = hostcall(
    "selium::channel::strong_read", C.CHANNEL_READER, types.IoRead, types.IoFrame
)
CHANNEL_WEAK_READ: Hostcall[types.IoRead, types.IoFrame] = hostcall(
    "selium::channel::weak_read", C.CHANNEL_READER, types.IoRead, types.IoFrame
)
CHANNEL_STRONG_WRITER_CREATE: Hostcall[int, int] = hostcall(
    "selium::channel::strong_writer_create", C.CHANNEL_WRITER, U32, U32
)
CHANNEL_WEAK_WRITER_CREATE: Hostcall[int, int] = hostcall(
    "selium::channel::weak_writer_create", C.CHANNEL_WRITER, U32, U32
)
CHANNEL_WRITER_DOWNGRADE: Hostcall[int, int] = hostcall(
    "selium::channel::writer_downgrade", C.CHANNEL_WRITER, U32, U32
)
CHANNEL_STRONG_WRITE: Hostcall[types.IoWrite, int] = hostcall(
    "selium::channel::strong_write", C.CHANNEL_WRITER, types.IoWrite, U32
)
CHANNEL_WEAK_WRITE: Hostcall[types.IoWrite, int] = hostcall(
    "selium::channel::weak_write", C.CHANNEL_WRITER, types.IoWrite, U32
)
PROCESS_LOG_CHANNEL: Hostcall[types.ProcessLogLookup, int] = hostcall(
    "selium::process::log_channel", C.PROCESS_LIFECYCLE, types.ProcessLogLookup, U64
)
PROCESS_START: Hostcall[types.ProcessStart, int] = hostcall(
    "selium::process::start", C.PROCESS_LIFECYCLE, types.ProcessStart, U64
)
PROCESS_STOP: Hostcall[int, None] = hostcall("selium::process::stop", C.PROCESS_LIFECYCLE, U64, None)
NET_QUIC_BIND: Hostcall[types.NetCreateListener, types.NetCreateListenerReply] = hostcall(
    "selium::net::quic::bind", C.NET_QUIC_BIND, types.NetCreateListener, types.NetCreateListenerReply
)
NET_QUIC_ACCEPT: Hostcall[types.NetAccept, types.NetAcceptReply] = hostcall(
    "selium::net::quic::accept", C.NET_QUIC_ACCEPT, types.NetAccept, types.NetAcceptReply
)
NET_QUIC_CONNECT: Hostcall[types.NetConnect, types.NetConnectReply] = hostcall(
    "selium::net::quic::connect", C.NET_QUIC_CONNECT, types.NetConnect, types.NetConnectReply
)
NET_QUIC_READ: Hostcall[types.IoRead, types.IoFrame] = hostcall(
    "selium::net::quic::read", C.NET_QUIC_READ, types.IoRead, types.IoFrame
)
NET_QUIC_WRITE: Hostcall[types.IoWrite, int] = hostcall(
    "selium::net::quic::write", C.NET_QUIC_WRITE, types.IoWrite, U32
)
NET_HTTP_BIND: Hostcall[types.NetCreateListener, types.NetCreateListenerReply] = hostcall(
    "selium::net::http::bind", C.NET_HTTP_BIND, types.NetCreateListener, types.NetCreateListenerReply
)
NET_HTTP_ACCEPT: Hostcall[types.NetAccept, types.NetAcceptReply] = hostcall(
    "selium::net::http::accept", C.NET_HTTP_ACCEPT, types.NetAccept, types.NetAcceptReply
)
NET_HTTP_CONNECT: Hostcall[types.NetConnect, types.NetConnectReply] = hostcall(
    "selium::net::http::connect", C.NET_HTTP_CONNECT, types.NetConnect, types.NetConnectReply
)
NET_HTTP_READ: Hostcall[types.IoRead, types.IoFrame] = hostcall(
    "selium::net::http::read", C.NET_HTTP_READ, types.IoRead, types.IoFrame
)
NET_HTTP_WRITE: Hostcall[types.IoWrite, int] = hostcall(
    "selium::net::http::write", C.NET_HTTP_WRITE, types.IoWrite, U32
)
NET_TLS_SERVER_CONFIG_CREATE: Hostcall[types.NetTlsServerConfig, types.NetTlsConfigReply] = hostcall(
    "selium::net::tls::server_config_create",
    C.NET_TLS_SERVER_CONFIG,
    types.NetTlsServerConfig,
    types.NetTlsConfigReply,
)
NET_TLS_CLIENT_CONFIG_CREATE: Hostcall[types.NetTlsClientConfig, types.NetTlsConfigReply] = hostcall(
    "selium::net::tls::client_config_create",
    C.NET_TLS_CLIENT_CONFIG,
    types.NetTlsClientConfig,
    types.NetTlsConfigReply,
)
ACTOR_SELF: Hostcall[None, int] = hostcall("enfilade::actor::self", C.ACTOR_MESSAGE, None, U32)
ACTOR_SEND: Hostcall[actor_types.ActorSend, None] = hostcall(
    "enfilade::actor::send", C.ACTOR_MESSAGE, actor_types.ActorSend, None
)
ACTOR_RECEIVE: Hostcall[actor_types.ActorReceive, actor_types.ActorReceived] = Hostcall(
    "enfilade::actor::receive", C.ACTOR_MESSAGE, codec(actor_types.ActorReceive), ReceivedCodec()
)
ACTOR_CALL: Hostcall[actor_types.ActorCall, actor_types.ActorBody] = hostcall(
    "enfilade::actor::call", C.ACTOR_MESSAGE, actor_types.ActorCall, actor_types.ActorBody
)
ACTOR_REPLY: Hostcall[actor_types.ActorReply, None] = hostcall(
    "enfilade::actor::reply", C.ACTOR_MESSAGE, actor_types.ActorReply, None
)
ACTOR_RELEASE: Hostcall[int, None] = hostcall("enfilade::actor::release", C.ACTOR_MESSAGE, U32, None)
ACTOR_SPAWN: Hostcall[actor_types.ActorSpawn, actor_types.ActorSpawned] = hostcall(
    "enfilade::actor::spawn", C.ACTOR_SPAWN, actor_types.ActorSpawn, actor_types.ActorSpawned
)
ACTOR_LINK: Hostcall[int, None] = hostcall("enfilade::actor::link", C.ACTOR_LINK, U32, None)
ACTOR_UNLINK: Hostcall[int, None] = hostcall("enfilade::actor::unlink", C.ACTOR_LINK, U32, None)
ACTOR_MONITOR: Hostcall[int, int] = hostcall("enfilade::actor::monitor", C.ACTOR_LINK, U32, U64)
ACTOR_DEMONITOR: Hostcall[actor_types.ActorDemonitor, None] = hostcall(
    "enfilade::actor::demonitor", C.ACTOR_LINK, actor_types.ActorDemonitor, None
)
ACTOR_EXIT: Hostcall[actor_types.ActorExit, None] = hostcall(
    "enfilade::actor::exit", C.ACTOR_LINK, actor_types.ActorExit, None
)
ACTOR_TRAP: Hostcall[bool, bool] = hostcall("enfilade::actor::trap", C.ACTOR_LINK, bool, bool)
ACTOR_REGISTER: Hostcall[actor_types.ActorRegister, None] = hostcall(
    "enfilade::actor::register", C.ACTOR_REGISTRY, actor_types.ActorRegister, None
)
ACTOR_WHEREIS: Hostcall[str, int] = hostcall("enfilade::actor::whereis", C.ACTOR_REGISTRY, str, U32)
ACTOR_EXPORT_STATE: Hostcall[actor_types.ActorExport, None] = hostcall(
    "enfilade::actor::export_state", C.ACTOR_MESSAGE, actor_types.ActorExport, None
)
ACTOR_IMPORT_STATE: Hostcall[None, actor_types.ActorImport] = hostcall(
    "enfilade::actor::import_state", C.ACTOR_MESSAGE, None, actor_types.ActorImport
)
TRACE_CONTEXT: Hostcall[None, str] = hostcall("enfilade::trace::context", C.TRACE_READ, None, str)

CATALOGUE: tuple[Hostcall[Any, Any], ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Hostcall)
)
"""All of the above, in their order; a hostcall's index in submissions is its place here."""
