"""A QUIC client that does what no client should, on a network in memory."""

from __future__ import annotations

import os

import trio
import trustme
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import QuicFrameType, QuicPacketType, QuicProtocolVersion
from aioquic.quic.packet_builder import QuicPacketBuilder

from enfilade.hostcalls.net.memory_sockets import MemorySockets
from enfilade.hostcalls.net.sockets import Address
from tests.hostcalls.net.quic_world import HOST, PORT

VERSION = QuicProtocolVersion.VERSION_1


class OddClient:
    """aioquic's own connection, sent and received by hand.

    Attributes:
        quic: the connection; a test may change its mind about limits.
        seen: the events so far.
    """

    def __init__(
        self,
        sockets: MemorySockets,
        authority: trustme.CA,
        host: str = "10.0.0.1",
        *,
        server_name: str = "localhost",
        alpn: list[str] | None = None,
        versions: list[int] | None = None,
    ) -> None:
        configuration = QuicConfiguration(server_name=server_name, alpn_protocols=alpn)
        configuration.load_verify_locations(cadata=authority.cert_pem.bytes())
        if versions is not None:
            configuration.supported_versions = versions
        self.quic = QuicConnection(configuration=configuration)
        self.socket = sockets.open_datagrams(host, 0)
        self.seen: list[events.QuicEvent] = []
        self.quic.connect((HOST, PORT), trio.current_time())

    async def exchange(self, quiet: float = 0.3) -> None:
        """Send what is there and receive, until nothing has come for `quiet` seconds."""
        while True:
            self.send()
            try:
                with trio.fail_after(quiet):
                    data, sender = await self.socket.receive()
            except trio.TooSlowError:
                break
            self.quic.receive_datagram(data, sender, trio.current_time())
        self.send()

    def send(self) -> None:
        """Send what is there."""
        for data, to in self.quic.datagrams_to_send(trio.current_time()):
            self.socket.send(data, to)
        while (event := self.quic.next_event()) is not None:
            self.seen.append(event)

    def frame(self, kind: int, content: bytes) -> None:
        """Send a packet with one frame of the test's own making."""
        crypto = self.quic._cryptos[next(epoch for epoch in self.quic._cryptos if epoch.name == "ONE_RTT")]
        builder = QuicPacketBuilder(
            host_cid=self.quic.host_cid,
            peer_cid=self.quic._peer_cid.cid,
            version=VERSION,
            is_client=True,
            packet_number=self.quic._packet_number,
            max_datagram_size=1200,
        )
        builder.start_packet(QuicPacketType.ONE_RTT, crypto)
        builder.start_frame(kind, capacity=len(content) + 1).push_bytes(content)
        datagrams, _ = builder.flush()
        self.quic._packet_number = builder.packet_number
        for data in datagrams:
            self.socket.send(data, (HOST, PORT))

    @property
    def end(self) -> events.ConnectionTerminated | None:
        """The end of the connection as this side knows it."""
        return self.quic._close_event

    def received(self, stream: int) -> bytes:
        """The bytes of a stream."""
        return b"".join(
            event.data
            for event in self.seen
            if isinstance(event, events.StreamDataReceived) and event.stream_id == stream
        )


def hello(authority: trustme.CA) -> bytes:
    """The ClientHello of a good client for `localhost`, whose connection id is `SOURCE`."""
    configuration = QuicConfiguration(server_name="localhost", connection_id_length=len(SOURCE))
    configuration.load_verify_locations(cadata=authority.cert_pem.bytes())
    quic = QuicConnection(configuration=configuration)
    quic._local_initial_source_connection_id = SOURCE
    quic.connect((HOST, PORT), 0.0)
    stream = next(iter(quic._crypto_streams.values()))
    return bytes(stream.sender._buffer)


SOURCE = b"attacker"


def initial(
    content: bytes,
    *,
    offset: int = 0,
    destination: bytes | None = None,
    token: bytes = b"",
    padding: bool = True,
) -> bytes:
    """An Initial that carries a piece of a handshake.

    Args:
        content: the piece.
        offset: where in the handshake it belongs.
        destination: the connection id that it is for; a new one by default.
        token: what a Retry gave.
        padding: whether it is as large as it must be.
    """
    destination = destination or os.urandom(8)
    crypto = CryptoPair()
    crypto.setup_initial(cid=destination, is_client=True, version=VERSION)
    builder = QuicPacketBuilder(
        host_cid=SOURCE,
        peer_cid=destination,
        version=VERSION,
        is_client=padding,
        peer_token=token,
        max_datagram_size=1200,
    )
    builder.start_packet(QuicPacketType.INITIAL, crypto)
    buffer = builder.start_frame(QuicFrameType.CRYPTO, capacity=len(content) + 16)
    buffer.push_uint_var(offset)
    buffer.push_uint_var(len(content))
    buffer.push_bytes(content)
    datagrams, _ = builder.flush()
    return datagrams[0]


def forged(number: int) -> Address:
    """One of many addresses."""
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 1024 + number % 60_000
