"""aioquic's connection, changed where it does not do what guests were promised.

No other file overrides methods or reads attributes of aioquic whose names begin with an underscore. They are
those of the releases that pyproject.toml pins; `tests/hostcalls/net/test_quic_private.py` fails when one of
them is gone. As shipped, aioquic

* doubles its windows by itself, so that a slow guest would be flooded: here they open by what was read;
* has one certificate for a server: here the name that the client asks for chooses;
* goes on without a protocol if only one side has a list: here that is refused;
* requests clients' certificates for tests only, verifies none, and checks no usage;
* lets the peer open streams as it likes: here all but the first are refused;
* has room for 16 KiB of handshake, certificates included: here a larger chain gets more, while it is sent;
* looks through all pieces of a stream for each new one, so that a peer that sends every second byte would
  take minutes of the loop: here few pieces wait for those before them;
* knows no stateless reset, and may close with more bytes than it may send to an address not proven;
* would follow a server to another address, which nobody has allowed the guest to reach.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from typing import Any, Final, cast

import attrs
from aioquic import tls
from aioquic._buffer import Buffer
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import (
    CRYPTO_BUFFER_SIZE,
    QuicConnection,
    QuicConnectionAdapter,
    QuicConnectionError,
    QuicConnectionState,
    QuicReceiveContext,
)
from aioquic.quic.packet import (
    QuicErrorCode,
    QuicFrameType,
    QuicStreamFrame,
)
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream, QuicStreamReceiver
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from enfilade.hostcalls.net.quic_packets import CONNECTION_ID_LENGTH, VERSIONS
from enfilade.hostcalls.net.sockets import Address
from enfilade.hostcalls.net.tls import Identity, TlsConfigError
from enfilade.hostcalls.net.verifier import CertificateRefused, Verifier

IdIssued = events.ConnectionIdIssued
IdRetired = events.ConnectionIdRetired
SendingStopped = events.StopSendingReceived
StreamData = events.StreamDataReceived
StreamReset = events.StreamReset

REFUSED: Final = 1
"""Application error code for streams that are not taken."""

_STREAM: Final = 0
"""The number of the client's first bidirectional stream, which carries the guest's bytes."""
_OTHER_STREAMS: Final = 16
"""Streams of each kind that a peer may have open, to be told that they are refused."""
_MOST_PIECES: Final = 128
"""Pieces of a stream, or of a handshake, that wait for what comes before them; a window has 200 packets."""
_RESET_TOKEN: Final = 16
_LONGEST_REASON: Final = 100
_IDLE_TIMEOUT: Final = "Idle timeout"
_LARGEST_CHAIN: Final = 65_536
_FLIGHT: Final = 2048
"""Bytes of the handshake messages that are sent together with the certificates."""


class AccessDenied(tls.Alert):
    """No listener has the name that the client asks for."""

    description = tls.AlertDescription.access_denied


class CertificateRequired(tls.Alert):
    """The client sent no certificate though the listener demands one."""

    description = tls.AlertDescription.certificate_required


class PacketDropped(Exception):
    """There is no room for a packet's data: it is treated as lost, and the peer sends it again."""


def check_identity(identity: Identity) -> None:
    """Raise `TlsConfigError` if QUIC handshakes cannot be made with an identity, though TLS's can."""
    size = _size(identity)
    if size > _LARGEST_CHAIN:
        raise TlsConfigError(
            f"unexpected error: QUIC carries certificate chains of at most {_LARGEST_CHAIN} bytes, got {size}"
        )
    key = identity.key
    if isinstance(key, ec.EllipticCurvePrivateKey) and not isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
        raise TlsConfigError(f"unexpected error: QUIC does not sign with keys of the curve {key.curve.name}")


def _size(identity: Identity) -> int:
    return sum(len(certificate.public_bytes(Encoding.DER)) for certificate in identity.chain)


# TLS.


@attrs.frozen(eq=False)
class Site:
    """A server's side of handshakes for one name.

    Attributes:
        identity: the server's certificates and key.
        alpn: protocol names; empty if clients must offer none.
        verifier: decides on clients' certificates; None if they are not asked for any.
        require_client_auth: refuse clients without a certificate.
    """

    identity: Identity
    alpn: tuple[str, ...] = ()
    verifier: Verifier | None = None
    require_client_auth: bool = False


@attrs.frozen(eq=False)
class Visit:
    """A client's side of handshakes.

    Attributes:
        name: the name or address that the server's certificate must be for; a name is also sent as SNI.
        verifier: decides on the server's certificate.
        alpn: protocol names; empty for none.
        identity: the client's certificates and key, for servers that ask; None if it has none.
    """

    name: str
    verifier: Verifier
    alpn: tuple[str, ...] = ()
    identity: Identity | None = None


class _ServerTls(tls.Context):
    """The TLS of a server that has several names."""

    choose: Callable[[str | None], Site | None]
    make_room: Callable[[Identity], Buffer]
    site: Site

    def _server_handle_hello(self, input_buf: Buffer, initial_buf: Buffer, handshake_buf: Buffer) -> None:
        hello = tls.pull_client_hello(Buffer(data=input_buf.data_slice(0, input_buf.capacity)))
        site = self.choose(hello.server_name)
        if site is None:
            raise AccessDenied("no listener for this name")
        if hello.alpn_protocols is not None and not site.alpn:
            raise tls.AlertNoApplicationProtocol("No common ALPN protocols")
        self.site = site
        self.certificate, *self.certificate_chain = site.identity.chain
        self.certificate_private_key = site.identity.key
        self._alpn_protocols = list(site.alpn) or None
        self._request_client_certificate = site.verifier is not None
        super()._server_handle_hello(input_buf, initial_buf, self.make_room(site.identity))

    def _server_handle_certificate(self, input_buf: Buffer) -> None:
        super()._server_handle_certificate(input_buf)
        if self._peer_certificate is None and self.site.require_client_auth:
            raise CertificateRequired("client sent no certificate")

    def _server_handle_certificate_verify(self, input_buf: Buffer) -> None:
        super()._server_handle_certificate_verify(input_buf)
        _verify(self, self.site.verifier, None)


class _ClientTls(tls.Context):
    """The TLS of a client that knows whom it wants to reach."""

    visit: Visit

    def _client_handle_encrypted_extensions(self, input_buf: Buffer) -> None:
        super()._client_handle_encrypted_extensions(input_buf)
        if self._alpn_protocols is None and self.alpn_negotiated is not None:
            raise tls.AlertNoApplicationProtocol("server chose a protocol though none was offered")

    def _client_handle_certificate_verify(self, input_buf: Buffer) -> None:
        super()._client_handle_certificate_verify(input_buf)
        _verify(self, self.visit.verifier, self.visit.name)


def _verify(context: tls.Context, verifier: Verifier | None, name: str | None) -> None:
    certificate = context._peer_certificate
    if verifier is None or certificate is None:
        raise tls.AlertInternalError("nothing to verify a certificate with")
    try:
        verifier.verify([certificate, *context._peer_certificate_chain], name)
    except CertificateRefused as error:
        raise tls.AlertBadCertificate(str(error)) from None


# Streams.


class _Forgetful(QuicStreamReceiver):
    """The receiving part of a stream that nobody reads: counts what comes and keeps none of it."""

    def handle_frame(self, frame: QuicStreamFrame) -> None:
        self.highest_offset = max(self.highest_offset, frame.offset + len(frame.data))
        self.is_finished = self.is_finished or frame.fin


def _forget(stream: QuicStream, error_code: int) -> None:
    """Ask the peer to send no more on a stream, and keep nothing of what it sends all the same."""
    receiver = stream.receiver
    receiver.__class__ = _Forgetful
    receiver._buffer.clear()
    if receiver._final_size is not None:
        receiver.is_finished = True
    if not receiver.is_finished:
        receiver.stop(error_code)


# Connections.


_log = logging.getLogger("enfilade.hostcalls.net.quic")


class _Quiet(QuicConnectionAdapter):
    """The log of a connection: peers choose how much the library complains, so all of it is detail."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        super().log(logging.DEBUG, msg, *args, **kwargs)


class Core(QuicConnection):
    """A QUIC connection with one stream, without sockets and clock.

    Args:
        side: what it is: a client's visit, or the choice of a server's site by name.
        window: bytes that the peer may have sent and nobody has read.
        idle_timeout: seconds without a packet that end the connection.
        original_id: for servers: the connection id that the client's first packet was for.
        retry_id: for servers: the connection id of the Retry that the client has followed, if any.

    Attributes:
        stream: the stream, once it exists.
        has_room: false if data that comes in must be dropped.
    """

    def __init__(
        self,
        side: Visit | Callable[[str | None], Site | None],
        *,
        window: int,
        idle_timeout: float,
        original_id: bytes | None = None,
        retry_id: bytes | None = None,
    ) -> None:
        self.side = side
        self.stream: QuicStream | None = None
        self.has_room: Callable[[], bool] = lambda: True
        self._reads = True
        self._window = window
        self._read = 0
        visit = side if isinstance(side, Visit) else None
        configuration = QuicConfiguration(
            alpn_protocols=list(visit.alpn) or None if visit else None,
            connection_id_length=CONNECTION_ID_LENGTH,
            idle_timeout=idle_timeout,
            is_client=visit is not None,
            max_data=window,
            max_stream_data=window,
            server_name=visit.name if visit else None,
            supported_versions=list(VERSIONS),
            verify_mode=ssl.CERT_NONE,  # `_ClientTls` verifies
        )
        if visit is None:
            configuration.certificate = configuration.private_key = "chosen by name"
        elif visit.identity is not None:
            configuration.certificate, *configuration.certificate_chain = visit.identity.chain
            configuration.private_key = visit.identity.key
        super().__init__(
            configuration=configuration,
            original_destination_connection_id=original_id,
            retry_source_connection_id=retry_id,
        )
        self._logger = _Quiet(_log, self._logger.extra)
        self._local_max_streams_bidi.value = self._local_max_streams_bidi.sent = _OTHER_STREAMS
        self._local_max_streams_uni.value = self._local_max_streams_uni.sent = _OTHER_STREAMS

    # State.

    @property
    def is_client(self) -> bool:
        """True for the side that connects."""
        return self._is_client

    @property
    def is_ready(self) -> bool:
        """True once the handshake is complete."""
        return self._handshake_complete

    @property
    def site(self) -> Site:
        """The site that the client asked for."""
        return cast(_ServerTls, self.tls).site

    @property
    def ended(self) -> events.ConnectionTerminated | None:
        """The reason for which the connection ends or has ended, as soon as it is known."""
        return self._close_event

    @property
    def is_ended_by_peer(self) -> bool:
        """True while a connection that the peer has closed is still remembered."""
        return self._state is QuicConnectionState.DRAINING

    @property
    def is_begun(self) -> bool:
        """True once a packet of the peer could be read."""
        return self._state is not QuicConnectionState.FIRSTFLIGHT

    @property
    def is_over(self) -> bool:
        """True once nothing more is to be sent or received."""
        return self._state is QuicConnectionState.TERMINATED

    @property
    def is_open(self) -> bool:
        """True once the peer lets the stream be used."""
        return self.stream is not None and not self.stream.is_blocked

    @property
    def unacknowledged(self) -> int:
        """Bytes written that the peer has not acknowledged."""
        return 0 if self.stream is None else len(self.stream.sender._buffer)

    @property
    def is_delivered(self) -> bool:
        """True once the peer has acknowledged all of the stream and its end."""
        return self.stream is None or self.stream.sender.is_finished

    @property
    def is_proven(self) -> bool:
        """True once the peer has shown that it receives what is sent to its address."""
        return bool(self._network_paths) and self._network_paths[0].is_validated

    def forget(self) -> None:
        """End the connection without a word to the peer."""
        if self._close_event is None:
            self._close_event = events.ConnectionTerminated(
                error_code=QuicErrorCode.INTERNAL_ERROR,
                frame_type=QuicFrameType.PADDING,
                reason_phrase=_IDLE_TIMEOUT,
            )
        self._close_end()

    # The stream.

    def is_main(self, stream_id: int) -> bool:
        """Tell the stream that guests use from others."""
        return stream_id == _STREAM

    def write(self, data: bytes) -> None:
        """Send bytes on the stream."""
        self.send_stream_data(_STREAM, data)

    def finish(self) -> None:
        """Send the end of the stream after all that was written."""
        self.send_stream_data(_STREAM, b"", end_stream=True)

    def abandon(self, error_code: int) -> None:
        """Send nothing more of the stream, not even what was written."""
        self.reset_stream(_STREAM, error_code)

    def open(self) -> None:
        """Begin the client's stream; the peer learns of it by the first byte."""
        self.stream = self._get_or_create_stream_for_send(_STREAM)

    def consumed(self, size: int) -> bool:
        """Let the peer send as much as was read. Returns true if the peer should learn of it now."""
        self._read += size
        stream = self.stream
        if stream is None or stream.receiver.is_finished:
            return False
        opening = self._read + self._window - stream.max_stream_data_local
        if opening < self._window // 2:
            return False
        stream.max_stream_data_local += opening
        self._local_max_data.value += opening
        return True

    def stop_reading(self, error_code: int) -> None:
        """Take nothing more from the stream, and ask the peer to send nothing more."""
        self._reads = False
        if self.stream is not None:
            _forget(self.stream, error_code)

    def _get_or_create_stream(self, frame_type: int, stream_id: int) -> QuicStream:
        limit = self._stream_limit(stream_id)
        first = limit.used
        stream = super()._get_or_create_stream(frame_type, stream_id)
        for number in range(first, limit.used):
            created = self._streams[number * 4 + stream_id % 4]
            if created.stream_id == _STREAM:
                self.stream = created
                if not self._reads:
                    _forget(created, REFUSED)
            else:
                _forget(created, REFUSED)
                created.sender.reset(REFUSED)
        return stream

    def _handle_stream_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        start = buf.tell()
        is_read = buf.pull_uint_var() == _STREAM and self._reads
        offset = buf.pull_uint_var() if frame_type & 4 else 0
        buf.seek(start)
        if is_read and (not self.has_room() or self._has_enough_before(offset)):
            raise PacketDropped
        before = self._local_max_data.used
        super()._handle_stream_frame(context, frame_type, buf)
        if not is_read:
            self._local_max_data.value += self._local_max_data.used - before

    def _has_enough_before(self, offset: int) -> bool:
        """Tell whether the stream has so many pieces that only what comes next is taken."""
        if self.stream is None:
            return False
        receiver = self.stream.receiver
        return len(receiver._ranges) >= _MOST_PIECES and offset > receiver.starting_offset()

    def _handle_crypto_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        super()._handle_crypto_frame(context, frame_type, buf)
        if len(self._crypto_streams[context.epoch].receiver._ranges) > _MOST_PIECES:
            raise QuicConnectionError(
                error_code=QuicErrorCode.CRYPTO_BUFFER_EXCEEDED,
                frame_type=frame_type,
                reason_phrase="the handshake comes in too many pieces",
            )

    def _handle_reset_stream_frame(self, context: QuicReceiveContext, frame_type: int, buf: Buffer) -> None:
        before = self._local_max_data.used
        super()._handle_reset_stream_frame(context, frame_type, buf)
        self._local_max_data.value += self._local_max_data.used - before

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        limit = self._local_max_data
        used, limit.used = limit.used, 0  # what looks unused is not doubled
        try:
            super()._write_connection_limits(builder, space)
        finally:
            limit.used = used

    def _write_stream_limits(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream
    ) -> None:
        receiver = stream.receiver
        highest, receiver.highest_offset = receiver.highest_offset, 0
        try:
            super()._write_stream_limits(builder, space, stream)
        finally:
            receiver.highest_offset = highest

    # The handshake.

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        if isinstance(self.side, Visit):
            self.tls.__class__ = _ClientTls
            cast(_ClientTls, self.tls).visit = self.side
            if self.side.identity is not None:
                self._make_room(self.side.identity)
        else:
            self.tls.__class__ = _ServerTls
            cast(_ServerTls, self.tls).choose = self.side
            cast(_ServerTls, self.tls).make_room = self._make_room

    def _make_room(self, identity: Identity) -> Buffer:
        """Return a buffer that holds the handshake messages with these certificates."""
        needed = _size(identity) + _FLIGHT
        if needed > CRYPTO_BUFFER_SIZE:
            self._crypto_buffers[tls.Epoch.HANDSHAKE] = Buffer(capacity=needed)
        return self._crypto_buffers[tls.Epoch.HANDSHAKE]

    def _push_crypto_data(self) -> None:
        buffer = self._crypto_buffers[tls.Epoch.HANDSHAKE]
        is_over = buffer.capacity > CRYPTO_BUFFER_SIZE and buffer.tell() > 0
        super()._push_crypto_data()
        if is_over:  # the certificates are sent once; a connection may live for months
            self._crypto_buffers[tls.Epoch.HANDSHAKE] = Buffer(capacity=CRYPTO_BUFFER_SIZE)

    def _find_preferred_address(self) -> None:
        """Stay with the address that the guest may reach."""

    # Packets.

    def close(
        self,
        error_code: int = QuicErrorCode.NO_ERROR,
        frame_type: int | None = None,
        reason_phrase: str = "",
    ) -> None:
        """Close the connection; only the head of a long reason fits into the last packets."""
        super().close(error_code, frame_type, reason_phrase[:_LONGEST_REASON])

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, Address]]:
        if not self._network_paths:
            return []  # a server's connection that has not understood any packet yet
        path = self._network_paths[0]
        budget = 3 * path.bytes_received - path.bytes_sent
        is_bounded = self._close_pending and not path.is_validated
        datagrams = super().datagrams_to_send(now)
        if not is_bounded:
            return datagrams
        kept = []
        for datagram, address in datagrams:
            budget -= len(datagram)
            if budget >= 0:
                kept.append((datagram, address))
        return kept

    def is_reset_by(self, datagram: bytes) -> bool:
        """Tell whether a datagram is the peer's stateless reset: it has forgotten the connection."""
        if len(datagram) < _RESET_TOKEN + 5 or datagram[0] & 0x80:
            return False
        known = (self._peer_cid, *self._peer_cid_available)
        return any(
            each.stateless_reset_token == datagram[-_RESET_TOKEN:]
            for each in known
            if each.stateless_reset_token
        )


def describe_end(core: Core) -> str:
    """The reason for which a connection has ended, in words for the guest."""
    end = core.ended
    if end is None or (end.reason_phrase == _IDLE_TIMEOUT and not core.is_ended_by_peer):
        return "timed out"
    if end.frame_type is None:
        code = f"application error {end.error_code}"
    elif QuicErrorCode.CRYPTO_ERROR <= end.error_code < QuicErrorCode.CRYPTO_ERROR + 256:
        alert = end.error_code - QuicErrorCode.CRYPTO_ERROR
        known = alert in set(tls.AlertDescription)
        code = f"TLS alert {tls.AlertDescription(alert).name.replace('_', ' ') if known else alert}"
    else:
        code = f"error {end.error_code}"
    who = "closed by peer" if core.is_ended_by_peer else "refused"
    return f"{who}: {code}" + (f": {end.reason_phrase}" if end.reason_phrase else "")
