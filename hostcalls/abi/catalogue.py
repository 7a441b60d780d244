"""The catalogue: every hostcall that a guest can import, in one list.

The first 41 are the guest ABI's. Those named `enfilade::actor::` are our own and speak of actors: processes
of the runtime, written in Python or in WebAssembly, here or on another node.
"""

from __future__ import annotations

from typing import Any

from hostcalls.abi import actor_types, types
from hostcalls.abi.capability import Capability as C  # noqa: N817
from hostcalls.abi.hostcall import Hostcall, hostcall
from hostcalls.abi.received import ReceivedCodec
from hostcalls.codec.rkyv import U32, U64, codec

SESSION_CREATE: Hostcall[types.SessionCreate, int]
SESSION_CREATE = hostcall("selium::session::create", C.SESSION_LIFECYCLE, types.SessionCreate, U32)
SESSION_REMOVE: Hostcall[types.SessionRemove, None]
SESSION_REMOVE = hostcall("selium::session::remove", C.SESSION_LIFECYCLE, types.SessionRemove, None)
SESSION_ADD_ENTITLEMENT: Hostcall[types.SessionEntitlement, None]
SESSION_ADD_ENTITLEMENT = hostcall(
    "selium::session::add_entitlement", C.SESSION_LIFECYCLE, types.SessionEntitlement, None
)
SESSION_RM_ENTITLEMENT: Hostcall[types.SessionEntitlement, None]
SESSION_RM_ENTITLEMENT = hostcall(
    "selium::session::rm_entitlement", C.SESSION_LIFECYCLE, types.SessionEntitlement, None
)
SESSION_ADD_RESOURCE: Hostcall[types.SessionResource, int]
SESSION_ADD_RESOURCE = hostcall(
    "selium::session::add_resource", C.SESSION_LIFECYCLE, types.SessionResource, U32
)
SESSION_RM_RESOURCE: Hostcall[types.SessionResource, int]
SESSION_RM_RESOURCE = hostcall(
    "selium::session::rm_resource", C.SESSION_LIFECYCLE, types.SessionResource, U32
)
CHANNEL_CREATE: Hostcall[types.ChannelCreate, int]
CHANNEL_CREATE = hostcall("selium::channel::create", C.CHANNEL_LIFECYCLE, types.ChannelCreate, U32)
CHANNEL_DELETE: Hostcall[int, None]
CHANNEL_DELETE = hostcall("selium::channel::delete", C.CHANNEL_LIFECYCLE, U32, None)
CHANNEL_DRAIN: Hostcall[int, None]
CHANNEL_DRAIN = hostcall("selium::channel::drain", C.CHANNEL_LIFECYCLE, U32, None)
CHANNEL_SHARE: Hostcall[int, int]
CHANNEL_SHARE = hostcall("selium::channel::share", C.CHANNEL_LIFECYCLE, U32, U64)
CHANNEL_ATTACH: Hostcall[int, int]
CHANNEL_ATTACH = hostcall("selium::channel::attach", C.CHANNEL_LIFECYCLE, U64, U32)
CHANNEL_DETACH: Hostcall[int, None]
CHANNEL_DETACH = hostcall("selium::channel::detach", C.CHANNEL_LIFECYCLE, U32, None)
PROCESS_REGISTER_LOG_CHANNEL: Hostcall[types.ProcessLogRegistration, None]
PROCESS_REGISTER_LOG_CHANNEL = hostcall(
    "selium::process::register_log_channel", C.CHANNEL_LIFECYCLE, types.ProcessLogRegistration, None
)
SINGLETON_REGISTER: Hostcall[types.SingletonRegister, None]
SINGLETON_REGISTER = hostcall(
    "selium::singleton::register", C.SINGLETON_REGISTRY, types.SingletonRegister, None
)
SINGLETON_LOOKUP: Hostcall[types.SingletonLookup, int]
SINGLETON_LOOKUP = hostcall("selium::singleton::lookup", C.SINGLETON_LOOKUP, types.SingletonLookup, U64)
TIME_NOW: Hostcall[None, types.TimeNow]
TIME_NOW = hostcall("selium::time::now", C.TIME_READ, None, types.TimeNow)
TIME_SLEEP: Hostcall[types.TimeSleep, None]
TIME_SLEEP = hostcall("selium::time::sleep", C.TIME_READ, types.TimeSleep, None)
CHANNEL_STRONG_READER_CREATE: Hostcall[int, int]
CHANNEL_STRONG_READER_CREATE = hostcall("selium::channel::strong_reader_create", C.CHANNEL_READER, U32, U32)
CHANNEL_WEAK_READER_CREATE: Hostcall[int, int]
CHANNEL_WEAK_READER_CREATE = hostcall("selium::channel::weak_reader_create", C.CHANNEL_READER, U32, U32)
CHANNEL_STRONG_READ: Hostcall[types.IoRead, types.IoFrame]
CHANNEL_STRONG_READ = hostcall("selium::channel::strong_read", C.CHANNEL_READER, types.IoRead, types.IoFrame)
CHANNEL_WEAK_READ: Hostcall[types.IoRead, types.IoFrame]
CHANNEL_WEAK_READ = hostcall("selium::channel::weak_read", C.CHANNEL_READER, types.IoRead, types.IoFrame)
CHANNEL_STRONG_WRITER_CREATE: Hostcall[int, int]
CHANNEL_STRONG_WRITER_CREATE = hostcall("selium::channel::strong_writer_create", C.CHANNEL_WRITER, U32, U32)
CHANNEL_WEAK_WRITER_CREATE: Hostcall[int, int]
CHANNEL_WEAK_WRITER_CREATE = hostcall("selium::channel::weak_writer_create", C.CHANNEL_WRITER, U32, U32)
CHANNEL_WRITER_DOWNGRADE: Hostcall[int, int]
CHANNEL_WRITER_DOWNGRADE = hostcall("selium::channel::writer_downgrade", C.CHANNEL_WRITER, U32, U32)
CHANNEL_STRONG_WRITE: Hostcall[types.IoWrite, int]
CHANNEL_STRONG_WRITE = hostcall("selium::channel::strong_write", C.CHANNEL_WRITER, types.IoWrite, U32)
CHANNEL_WEAK_WRITE: Hostcall[types.IoWrite, int]
CHANNEL_WEAK_WRITE = hostcall("selium::channel::weak_write", C.CHANNEL_WRITER, types.IoWrite, U32)
PROCESS_LOG_CHANNEL: Hostcall[types.ProcessLogLookup, int]
PROCESS_LOG_CHANNEL = hostcall(
    "selium::process::log_channel", C.PROCESS_LIFECYCLE, types.ProcessLogLookup, U64
)
PROCESS_START: Hostcall[types.ProcessStart, int]
PROCESS_START = hostcall("selium::process::start", C.PROCESS_LIFECYCLE, types.ProcessStart, U64)
PROCESS_STOP: Hostcall[int, None]
PROCESS_STOP = hostcall("selium::process::stop", C.PROCESS_LIFECYCLE, U64, None)
NET_QUIC_BIND: Hostcall[types.NetCreateListener, types.NetCreateListenerReply]
NET_QUIC_BIND = hostcall(
    "selium::net::quic::bind", C.NET_QUIC_BIND, types.NetCreateListener, types.NetCreateListenerReply
)
NET_QUIC_ACCEPT: Hostcall[types.NetAccept, types.NetAcceptReply]
NET_QUIC_ACCEPT = hostcall(
    "selium::net::quic::accept", C.NET_QUIC_ACCEPT, types.NetAccept, types.NetAcceptReply
)
NET_QUIC_CONNECT: Hostcall[types.NetConnect, types.NetConnectReply]
NET_QUIC_CONNECT = hostcall(
    "selium::net::quic::connect", C.NET_QUIC_CONNECT, types.NetConnect, types.NetConnectReply
)
NET_QUIC_READ: Hostcall[types.IoRead, types.IoFrame]
NET_QUIC_READ = hostcall("selium::net::quic::read", C.NET_QUIC_READ, types.IoRead, types.IoFrame)
NET_QUIC_WRITE: Hostcall[types.IoWrite, int]
NET_QUIC_WRITE = hostcall("selium::net::quic::write", C.NET_QUIC_WRITE, types.IoWrite, U32)
NET_HTTP_BIND: Hostcall[types.NetCreateListener, types.NetCreateListenerReply]
NET_HTTP_BIND = hostcall(
    "selium::net::http::bind", C.NET_HTTP_BIND, types.NetCreateListener, types.NetCreateListenerReply
)
NET_HTTP_ACCEPT: Hostcall[types.NetAccept, types.NetAcceptReply]
NET_HTTP_ACCEPT = hostcall(
    "selium::net::http::accept", C.NET_HTTP_ACCEPT, types.NetAccept, types.NetAcceptReply
)
NET_HTTP_CONNECT: Hostcall[types.NetConnect, types.NetConnectReply]
NET_HTTP_CONNECT = hostcall(
    "selium::net::http::connect", C.NET_HTTP_CONNECT, types.NetConnect, types.NetConnectReply
)
NET_HTTP_READ: Hostcall[types.IoRead, types.IoFrame]
NET_HTTP_READ = hostcall("selium::net::http::read", C.NET_HTTP_READ, types.IoRead, types.IoFrame)
NET_HTTP_WRITE: Hostcall[types.IoWrite, int]
NET_HTTP_WRITE = hostcall("selium::net::http::write", C.NET_HTTP_WRITE, types.IoWrite, U32)
NET_TLS_SERVER_CONFIG_CREATE: Hostcall[types.NetTlsServerConfig, types.NetTlsConfigReply]
NET_TLS_SERVER_CONFIG_CREATE = hostcall(
    "selium::net::tls::server_config_create",
    C.NET_TLS_SERVER_CONFIG,
    types.NetTlsServerConfig,
    types.NetTlsConfigReply,
)
NET_TLS_CLIENT_CONFIG_CREATE: Hostcall[types.NetTlsClientConfig, types.NetTlsConfigReply]
NET_TLS_CLIENT_CONFIG_CREATE = hostcall(
    "selium::net::tls::client_config_create",
    C.NET_TLS_CLIENT_CONFIG,
    types.NetTlsClientConfig,
    types.NetTlsConfigReply,
)
ACTOR_SELF: Hostcall[None, int]
ACTOR_SELF = hostcall("enfilade::actor::self", C.ACTOR_MESSAGE, None, U32)
ACTOR_SEND: Hostcall[actor_types.ActorSend, None]
ACTOR_SEND = hostcall("enfilade::actor::send", C.ACTOR_MESSAGE, actor_types.ActorSend, None)
ACTOR_RECEIVE: Hostcall[actor_types.ActorReceive, actor_types.ActorReceived]
ACTOR_RECEIVE = Hostcall(
    "enfilade::actor::receive", C.ACTOR_MESSAGE, codec(actor_types.ActorReceive), ReceivedCodec()
)
ACTOR_CALL: Hostcall[actor_types.ActorCall, actor_types.ActorBody]
ACTOR_CALL = hostcall("enfilade::actor::call", C.ACTOR_MESSAGE, actor_types.ActorCall, actor_types.ActorBody)
ACTOR_REPLY: Hostcall[actor_types.ActorReply, None]
ACTOR_REPLY = hostcall("enfilade::actor::reply", C.ACTOR_MESSAGE, actor_types.ActorReply, None)
ACTOR_RELEASE: Hostcall[int, None]
ACTOR_RELEASE = hostcall("enfilade::actor::release", C.ACTOR_MESSAGE, U32, None)
ACTOR_SPAWN: Hostcall[actor_types.ActorSpawn, actor_types.ActorSpawned]
ACTOR_SPAWN = hostcall(
    "enfilade::actor::spawn", C.ACTOR_SPAWN, actor_types.ActorSpawn, actor_types.ActorSpawned
)
ACTOR_LINK: Hostcall[int, None]
ACTOR_LINK = hostcall("enfilade::actor::link", C.ACTOR_LINK, U32, None)
ACTOR_UNLINK: Hostcall[int, None]
ACTOR_UNLINK = hostcall("enfilade::actor::unlink", C.ACTOR_LINK, U32, None)
ACTOR_MONITOR: Hostcall[int, int]
ACTOR_MONITOR = hostcall("enfilade::actor::monitor", C.ACTOR_LINK, U32, U64)
ACTOR_DEMONITOR: Hostcall[actor_types.ActorDemonitor, None]
ACTOR_DEMONITOR = hostcall("enfilade::actor::demonitor", C.ACTOR_LINK, actor_types.ActorDemonitor, None)
ACTOR_EXIT: Hostcall[actor_types.ActorExit, None]
ACTOR_EXIT = hostcall("enfilade::actor::exit", C.ACTOR_LINK, actor_types.ActorExit, None)
ACTOR_TRAP: Hostcall[bool, bool]
ACTOR_TRAP = hostcall("enfilade::actor::trap", C.ACTOR_LINK, bool, bool)
ACTOR_REGISTER: Hostcall[actor_types.ActorRegister, None]
ACTOR_REGISTER = hostcall("enfilade::actor::register", C.ACTOR_REGISTRY, actor_types.ActorRegister, None)
ACTOR_WHEREIS: Hostcall[str, int]
ACTOR_WHEREIS = hostcall("enfilade::actor::whereis", C.ACTOR_REGISTRY, str, U32)

CATALOGUE: tuple[Hostcall[Any, Any], ...] = (
    SESSION_CREATE,
    SESSION_REMOVE,
    SESSION_ADD_ENTITLEMENT,
    SESSION_RM_ENTITLEMENT,
    SESSION_ADD_RESOURCE,
    SESSION_RM_RESOURCE,
    CHANNEL_CREATE,
    CHANNEL_DELETE,
    CHANNEL_DRAIN,
    CHANNEL_SHARE,
    CHANNEL_ATTACH,
    CHANNEL_DETACH,
    PROCESS_REGISTER_LOG_CHANNEL,
    SINGLETON_REGISTER,
    SINGLETON_LOOKUP,
    TIME_NOW,
    TIME_SLEEP,
    CHANNEL_STRONG_READER_CREATE,
    CHANNEL_WEAK_READER_CREATE,
    CHANNEL_STRONG_READ,
    CHANNEL_WEAK_READ,
    CHANNEL_STRONG_WRITER_CREATE,
    CHANNEL_WEAK_WRITER_CREATE,
    CHANNEL_WRITER_DOWNGRADE,
    CHANNEL_STRONG_WRITE,
    CHANNEL_WEAK_WRITE,
    PROCESS_LOG_CHANNEL,
    PROCESS_START,
    PROCESS_STOP,
    NET_QUIC_BIND,
    NET_QUIC_ACCEPT,
    NET_QUIC_CONNECT,
    NET_QUIC_READ,
    NET_QUIC_WRITE,
    NET_HTTP_BIND,
    NET_HTTP_ACCEPT,
    NET_HTTP_CONNECT,
    NET_HTTP_READ,
    NET_HTTP_WRITE,
    NET_TLS_SERVER_CONFIG_CREATE,
    NET_TLS_CLIENT_CONFIG_CREATE,
    ACTOR_SELF,
    ACTOR_SEND,
    ACTOR_RECEIVE,
    ACTOR_CALL,
    ACTOR_REPLY,
    ACTOR_RELEASE,
    ACTOR_SPAWN,
    ACTOR_LINK,
    ACTOR_UNLINK,
    ACTOR_MONITOR,
    ACTOR_DEMONITOR,
    ACTOR_EXIT,
    ACTOR_TRAP,
    ACTOR_REGISTER,
    ACTOR_WHEREIS,
)
"""A hostcall's index in submissions is its place in this list."""
