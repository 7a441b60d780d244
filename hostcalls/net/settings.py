"""Bounds of a runtime's network, whoever the guests are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from enfilade.fields import by_annotation
from enfilade.hostcalls.abi.numbers import numbers

KIBIBYTE = 1024


@attrs.frozen(kw_only=True, field_transformer=by_annotation)
class NetworkSettings:
    """Settings of a runtime's network. Times are seconds of the runtime's clock.

    Attributes:
        certificate: PEM of the certificate chain of listeners whose guests bring no settings, with `key`.
        key: PEM of its private key. With neither, such a listener is refused.
        roots: PEM of the certificates that clients trust, unless a guest's settings say otherwise; None for
            the Mozilla set.
        accept_queue: connections that may wait at a listener.
        waiting_requests: HTTP requests that may wait behind them.
        connections: connections of all guests.
        connections_from_address: connections of all guests that come from one address.
        quic_handshakes: QUIC handshakes at one time of one port; beyond it, peers must prove their address.
        tls_handshakes: TLS handshakes at one time; beyond it, connections wait.
        tls_handshake_timeout: a TLS handshake, without the wait for its turn.
        quic_handshake_timeout: a QUIC handshake.
        connect_timeout: making a TCP connection, look-up included.
        head_timeout: the head of a request.
        body_pause: between two reads of a request's body.
        request_timeout: a whole request.
        idle_timeout: an HTTP connection without a request.
        response_timeout: from a complete request to the guest's complete response.
        quic_idle_timeout: a QUIC connection without a packet.
        quic_close_timeout: from the end of both halves until what they have written is acknowledged.
        quic_window: bytes of a QUIC stream that the guest has not read, or the peer not acknowledged.
        write_timeout: a peer takes nothing of what is there for it.
        head_bytes: bytes of the head of a request or response.
        headers: headers of it.
        http2_streams: requests of one HTTP/2 connection at one time.
        http2_resets: resets within `http2_period` without a completed request that end a connection.
        http2_settings: SETTINGS frames that do.
        http2_pings: PING frames that do.
        http2_period: seconds over which these are counted.
    """

    certificate: bytes | None = None
    key: bytes | None = None
    roots: bytes | None = None
    accept_queue: int = 64
    waiting_requests: int = 64
    connections: int = 1024
    connections_from_address: int = 128
    quic_handshakes: int = 32
    tls_handshakes: int = 64
    tls_handshake_timeout: float = 10.0
    quic_handshake_timeout: float = 30.0
    connect_timeout: float = 30.0
    head_timeout: float = 10.0
    body_pause: float = 10.0
    request_timeout: float = 60.0
    idle_timeout: float = 75.0
    response_timeout: float = 60.0
    quic_idle_timeout: float = 30.0
    quic_close_timeout: float = 5.0
    quic_window: int = 256 * KIBIBYTE
    write_timeout: float = 30.0
    head_bytes: int = 32 * KIBIBYTE
    headers: int = 100
    http2_streams: int = 32
    http2_resets: int = 100
    http2_settings: int = 20
    http2_pings: int = 20
    http2_period: float = 10.0

    def __attrs_post_init__(self) -> None:
        for name in _NUMBERS:
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"the network setting {name} must be more than 0, got {value}")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("a certificate needs its key, and a key its certificate: give both or neither")


_NUMBERS = {field.name: field.default for field in attrs.fields(NetworkSettings) if field.default is not None}


def settings_of(
    values: Mapping[str, Any],
    *,
    certificate: bytes | None = None,
    key: bytes | None = None,
    roots: bytes | None = None,
) -> NetworkSettings:
    """The settings that these numbers describe, as in a zone file, with the certificates.

    Raises:
        ValueError: a name or a number is wrong; the message says which.
    """
    changed: dict[str, Any] = numbers(values, _NUMBERS, "network setting")
    return NetworkSettings(certificate=certificate, key=key, roots=roots, **changed)
