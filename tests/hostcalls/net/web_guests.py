"""Guests on the network, in the text format."""

from __future__ import annotations

import trio

from enfilade.hostcalls import abi
from enfilade.hostcalls.abi import NetProtocol
from enfilade.hostcalls.sdk.wat import RESULT, Assembler

CAPABILITIES = ("NetHttpBind", "NetHttpAccept", "NetHttpRead", "NetHttpWrite", "ChannelLifecycle")


async def reach(port: int) -> trio.SocketStream:
    """Connect to a guest's port, once the guest has bound it."""
    with trio.fail_after(20):
        while True:
            try:
                return await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.01)


def web_server(
    port: int,
    body: bytes,
    *,
    domain: str = "localhost",
    protocol: NetProtocol = NetProtocol.HTTP,
    frees: bool = True,
) -> bytes:
    """A guest that answers every request with `body`; with `frees`, it frees the slots of each."""
    guest = Assembler(
        "net::http::bind", "net::http::accept", "net::http::read", "net::http::write", "channel::detach"
    )
    listen = guest.message(abi.NetCreateListener, abi.NetCreateListener(protocol, domain, port, None))
    accept = guest.data(bytes(8))
    read = guest.data(bytes(4) + (4096).to_bytes(4, "little"))
    response = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nx-guest: yes\r\n\r\n%s" % (len(body), body)
    written = abi_write(response)
    write = guest.data(written)
    free = guest.data(bytes(4))

    def detach(slot: str) -> str:
        if not frees:
            return ""
        return (
            f"(i32.store (i32.const {free}) (local.get {slot}))"
            f"(call $ok (call $channel.detach (i32.const {free}) (i32.const 4)))"
        )

    guest.function(
        "start",
        f"""
        (i64.store (i32.const {accept}) (call $ok64 (call $net.http.bind {listen})))
        (loop $again
          (local.set $reply (call $net.http.accept (i32.const {accept}) (i32.const 8)))
          (call $ok (local.get $reply))
          (local.set $reply (i32.add (global.get $result) (i32.sub (local.get $reply) (i32.const 24))))
          (local.set $reader (i32.load (local.get $reply)))
          (local.set $writer (i32.load offset=8 (local.get $reply)))
          (i32.store (i32.const {read}) (local.get $reader))
          (call $ok (call $net.http.read (i32.const {read}) (i32.const 8)))
          (call $ok (call $net.http.read (i32.const {read}) (i32.const 8)))
          (i32.store (i32.const {write + len(written) - 12}) (local.get $writer))
          (call $ok (call $net.http.write (i32.const {write}) (i32.const {len(written)})))
          {detach("$reader")} {detach("$writer")}
          (br $again))
        """,
        "(local $reply i32) (local $reader i32) (local $writer i32)",
    )
    return guest.binary()


def abi_write(payload: bytes) -> bytes:
    """The arguments of a write, whose last 12 bytes begin with the slot."""
    from enfilade.hostcalls.codec.rkyv import codec

    return codec(abi.IoWrite).encode(abi.IoWrite(0, payload))


NOBODY = 9
"""A port on which nobody listens."""


def connector() -> bytes:
    """A guest that is refused 192.0.2.1, and finds nobody on 127.0.0.1."""
    guest = Assembler("net::http::connect")
    for name, domain, text in (("far", "192.0.2.1", b"perm"), ("near", "127.0.0.1", b"inte")):
        arguments = guest.message(abi.NetConnect, abi.NetConnect(NetProtocol.HTTP, domain, NOBODY, None))
        guest.text(f"""
        (func ${name}
          (if (i32.ne (i32.const 0x80000001) (call $net.http.connect {arguments})) (then unreachable))
          (if (i32.ne (i32.load offset=4 (i32.const {RESULT})) (i32.const {int.from_bytes(text, "little")}))
            (then unreachable)))""")
    guest.function("start", "(call $far) (call $near)")
    guest.function("specified", "(call $far) (call $near)", "(param i32 i32)")
    return guest.binary()


CONNECTOR = connector()


def listener(port: int) -> bytes:
    """A guest that binds a port for HTTPS with the certificate of the host, and returns."""
    guest = Assembler("net::http::bind")
    wanted = abi.NetCreateListener(NetProtocol.HTTPS, "localhost", port, None)
    guest.function(
        "start", f"(call $ok (call $net.http.bind {guest.message(abi.NetCreateListener, wanted)}))"
    )
    return guest.binary()
