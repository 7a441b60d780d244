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

SESSION_CREATE = hostcall("selium::session::create", C.SESSION_LIFECYCLE, types.SessionCreate, U32)
SESSION_REMOVE = hostcall("selium::session::remove", C.SESSION_LIFECYCLE, types.SessionRemove, None)
SESSION_ADD_ENTITLEMENT = hostcall(
    "selium::session::add_entitlement", C.SESSION_LIFECYCLE, types.SessionEntitlement, None
)
SESSION_RM_ENTITLEMENT = hostcall(
    "selium::session::rm_entitlement", C.SESSION_LIFECYCLE, types.SessionEntitlement, None
)
SESSION_ADD_RESOURCE = hostcall(
    "selium::session::add_resource", C.SESSION_LIFECYCLE, types.SessionResource, U32
)
SESSION_RM_RESOURCE = hostcall(
    "selium::session::rm_resource", C.SESSION_LIFECYCLE, types.SessionResource, U32
)
CHANNEL_CREATE = hostcall("selium::channel::create", C.CHANNEL_LIFECYCLE, types.ChannelCreate, U32)
CHANNEL_DELETE = hostcall("selium::channel::delete", C.CHANNEL_LIFECYCLE, U32, None)
CHANNEL_DRAIN = hostcall("selium::channel::drain", C.CHANNEL_LIFECYCLE, U32, None)
CHANNEL_SHARE = hostcall("selium::channel::share", C.CHANNEL_LIFECYCLE, U32, U64)
CHANNEL_ATTACH = hostcall("selium::channel::attach", C.CHANNEL_LIFECYCLE, U64, U32)
CHANNEL_DETACH = hostcall("selium::channel::detach", C.CHANNEL_LIFECYCLE, U32, None)
PROCESS_REGISTER_LOG_CHANNEL = hostcall(
    "selium::process::register_log_channel", C.CHANNEL_LIFECYCLE, types.ProcessLogRegistration, None
)
SINGLETON_REGISTER = hostcall(
    "selium::singleton::register", C.SINGLETON_REGISTRY, types.SingletonRegister, None
)
SINGLETON_LOOKUP = hostcall("selium::singleton::lookup", C.SINGLETON_LOOKUP, types.SingletonLookup, U64)
TIME_NOW = hostcall("selium::time::now", C.TIME_READ, None, types.TimeNow)
TIME_SLEEP = hostcall("selium::time::sleep", C.TIME_READ, types.TimeSleep, None)
CHANNEL_STRONG_READER_CREATE = hostcall("selium::channel::strong_reader_create", C.CHANNEL_READER, U32, U32)
CHANNEL_WEAK_READER_CREATE = hostcall("selium::channel::weak_reader_create", C.CHANNEL_READER, U32, U32)
CHANNEL_STRONG_READ = hostcall("selium::channel::strong_read", C.CHANNEL_READER, types.IoRead, types.IoFrame)
CHANNEL_WEAK_READ = hostcall("selium::channel::weak_read", C.CHANNEL_READER, types.IoRead, types.IoFrame)
CHANNEL_STRONG_WRITER_CREATE = hostcall("selium::channel::strong_writer_create", C.CHANNEL_WRITER, U32, U32)
CHANNEL_WEAK_WRITER_CREATE = hostcall("selium::channel::weak_writer_create", C.CHANNEL_WRITER, U32, U32)
CHANNEL_WRITER_DOWNGRADE = hostcall("selium::channel::writer_downgrade", C.CHANNEL_WRITER, U32, U32)
CHANNEL_STRONG_WRITE = hostcall("selium::channel::strong_write", C.CHANNEL_WRITER, types.IoWrite, U32)
CHANNEL_WEAK_WRITE = hostcall("selium::channel::weak_write", C.CHANNEL_WRITER, types.IoWrite, U32)
PROCESS_LOG_CHANNEL = hostcall(
    "selium::process::log_channel", C.PROCESS_LIFECYCLE, types.ProcessLogLookup, U64
)
PROCESS_START = hostcall("selium::process::start", C.PROCESS_LIFECYCLE, types.ProcessStart, U64)
PROCESS_STOP = hostcall("selium::process::stop", C.PROCESS_LIFECYCLE, U64, None)
NET_QUIC_BIND = hostcall(
    "selium::net::quic::bind", C.NET_QUIC_BIND, types.NetCreateListener, types.NetCreateListenerReply
)
NET_QUIC_ACCEPT = hostcall(
    "selium::net::quic::accept", C.NET_QUIC_ACCEPT, types.NetAccept, types.NetAcceptReply
)
NET_QUIC_CONNECT = hostcall(
    "selium::net::quic::connect", C.NET_QUIC_CONNECT, types.NetConnect, types.NetConnectReply
)
NET_QUIC_READ = hostcall("selium::net::quic::read", C.NET_QUIC_READ, types.IoRead, types.IoFrame)
NET_QUIC_WRITE = hostcall("selium::net::quic::write", C.NET_QUIC_WRITE, types.IoWrite, U32)
NET_HTTP_BIND = hostcall(
    "selium::net::http::bind", C.NET_HTTP_BIND, types.NetCreateListener, types.NetCreateListenerReply
)
NET_HTTP_ACCEPT = hostcall(
    "selium::net::http::accept", C.NET_HTTP_ACCEPT, types.NetAccept, types.NetAcceptReply
)
NET_HTTP_CONNECT = hostcall(
    "selium::net::http::connect", C.NET_HTTP_CONNECT, types.NetConnect, types.NetConnectReply
)
NET_HTTP_READ = hostcall("selium::net::http::read", C.NET_HTTP_READ, types.IoRead, types.IoFrame)
NET_HTTP_WRITE = hostcall("selium::net::http::write", C.NET_HTTP_WRITE, types.IoWrite, U32)
NET_TLS_SERVER_CONFIG_CREATE = hostcall(
    "selium::net::tls::server_config_create",
    C.NET_TLS_SERVER_CONFIG,
    types.NetTlsServerConfig,
    types.NetTlsConfigReply,
)
NET_TLS_CLIENT_CONFIG_CREATE = hostcall(
    "selium::net::tls::client_config_create",
    C.NET_TLS_CLIENT_CONFIG,
    types.NetTlsClientConfig,
    types.NetTlsConfigReply,
)
ACTOR_SELF = hostcall("enfilade::actor::self", C.ACTOR_MESSAGE, None, U32)
ACTOR_SEND = hostcall("enfilade::actor::send", C.ACTOR_MESSAGE, actor_types.ActorSend, None)
ACTOR_RECEIVE: Hostcall[actor_types.ActorReceive, actor_types.ActorReceived] = Hostcall(
    "enfilade::actor::receive", C.ACTOR_MESSAGE, codec(actor_types.ActorReceive), ReceivedCodec()
)
ACTOR_CALL = hostcall("enfilade::actor::call", C.ACTOR_MESSAGE, actor_types.ActorCall, actor_types.ActorBody)
ACTOR_REPLY = hostcall("enfilade::actor::reply", C.ACTOR_MESSAGE, actor_types.ActorReply, None)
ACTOR_RELEASE = hostcall("enfilade::actor::release", C.ACTOR_MESSAGE, U32, None)
ACTOR_SPAWN = hostcall(
    "enfilade::actor::spawn", C.ACTOR_SPAWN, actor_types.ActorSpawn, actor_types.ActorSpawned
)
ACTOR_LINK = hostcall("enfilade::actor::link", C.ACTOR_LINK, U32, None)
ACTOR_UNLINK = hostcall("enfilade::actor::unlink", C.ACTOR_LINK, U32, None)
ACTOR_MONITOR = hostcall("enfilade::actor::monitor", C.ACTOR_LINK, U32, U64)
ACTOR_DEMONITOR = hostcall("enfilade::actor::demonitor", C.ACTOR_LINK, actor_types.ActorDemonitor, None)
ACTOR_EXIT = hostcall("enfilade::actor::exit", C.ACTOR_LINK, actor_types.ActorExit, None)
ACTOR_TRAP = hostcall("enfilade::actor::trap", C.ACTOR_LINK, bool, bool)
ACTOR_REGISTER = hostcall("enfilade::actor::register", C.ACTOR_REGISTRY, actor_types.ActorRegister, None)
ACTOR_WHEREIS = hostcall("enfilade::actor::whereis", C.ACTOR_REGISTRY, str, U32)
ACTOR_EXPORT_STATE = hostcall("enfilade::actor::export_state", C.ACTOR_MESSAGE, actor_types.ActorExport, None)
ACTOR_IMPORT_STATE = hostcall("enfilade::actor::import_state", C.ACTOR_MESSAGE, None, actor_types.ActorImport)
TRACE_CONTEXT = hostcall("enfilade::trace::context", C.TRACE_READ, None, str)

CATALOGUE: tuple[Hostcall[Any, Any], ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Hostcall)
)
"""All of the above, in their order; a hostcall's index in submissions is its place here."""
