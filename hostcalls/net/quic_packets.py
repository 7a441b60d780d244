"""QUIC packets that belong to no connection: their headers, and the answers that need no state."""

from __future__ import annotations

import os
from typing import Final, cast

import attrs
from aioquic._buffer import Buffer
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE
from aioquic.quic.connection import TRANSPORT_CLOSE_FRAME_CAPACITY
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import (
    QuicErrorCode,
    QuicFrameType,
    QuicPacketType,
    QuicProtocolVersion,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.retry import QuicRetryTokenHandler

from enfilade.hostcalls.net.sockets import Address

VERSIONS: Final = (QuicProtocolVersion.VERSION_1, QuicProtocolVersion.VERSION_2)
CONNECTION_ID_LENGTH: Final = 8
SMALLEST_INITIAL: Final = SMALLEST_MAX_DATAGRAM_SIZE
"""Bytes of the smallest datagram that may begin a connection."""
INVALID_TOKEN: Final = int(QuicErrorCode.INVALID_TOKEN)
OVERLOADED: Final = int(QuicErrorCode.CONNECTION_REFUSED)


@attrs.frozen
class Header:
    """The parts of a packet's header that routing needs.

    Attributes:
        is_initial: the packet may begin a connection.
        is_negotiation: it lists versions.
        version: the version; None for packets of established connections.
        destination_id: the connection id that it is for.
        source_id: the id that an answer is for.
        token: what a Retry gave the client.
    """

    is_initial: bool
    is_negotiation: bool
    version: int | None
    destination_id: bytes
    source_id: bytes
    token: bytes


def read_header(datagram: bytes) -> Header | None:
    """The header of a datagram's first packet; None if there is none."""
    try:
        header = pull_quic_header(Buffer(data=datagram), host_cid_length=CONNECTION_ID_LENGTH)
    except ValueError:
        return None
    return Header(
        is_initial=header.packet_type is QuicPacketType.INITIAL,
        is_negotiation=header.packet_type is QuicPacketType.VERSION_NEGOTIATION,
        version=header.version,
        destination_id=header.destination_cid,
        source_id=header.source_cid,
        token=header.token,
    )


def negotiate_version(header: Header) -> bytes:
    """The answer to a packet of an unknown version: those that are known."""
    return encode_quic_version_negotiation(
        source_cid=header.destination_id, destination_cid=header.source_id, supported_versions=list(VERSIONS)
    )


def refuse(header: Header, error_code: int) -> bytes:
    """The answer to an Initial that begins no connection: a packet that closes it."""
    crypto = CryptoPair()
    crypto.setup_initial(cid=header.destination_id, is_client=False, version=cast(int, header.version))
    builder = QuicPacketBuilder(
        host_cid=header.destination_id,
        is_client=False,
        max_datagram_size=SMALLEST_MAX_DATAGRAM_SIZE,
        peer_cid=header.source_id,
        version=cast(int, header.version),
    )
    builder.start_packet(QuicPacketType.INITIAL, crypto)
    frame = builder.start_frame(QuicFrameType.TRANSPORT_CLOSE, capacity=TRANSPORT_CLOSE_FRAME_CAPACITY)
    frame.push_uint_var(error_code)
    frame.push_uint_var(QuicFrameType.PADDING)
    frame.push_uint_var(0)
    datagrams, _ = builder.flush()
    return datagrams[0]


class AddressProof:
    """Retry packets: clients prove that they receive what is sent to their address, before state is kept."""

    def __init__(self) -> None:
        self._tokens = QuicRetryTokenHandler()

    def demand(self, header: Header, address: Address, now: float) -> bytes:
        """The answer to an Initial without a token: a Retry with one."""
        retry_id = os.urandom(CONNECTION_ID_LENGTH)
        token = self._tokens.create_token(
            address=address,
            original_destination_connection_id=header.destination_id,
            retry_source_connection_id=retry_id,
            now=now,
        )
        return encode_quic_retry(
            version=cast(int, header.version),
            source_cid=retry_id,
            destination_cid=header.source_id,
            original_destination_cid=header.destination_id,
            retry_token=token,
        )

    def check(self, header: Header, address: Address, now: float) -> bytes | None:
        """The connection id of the client's very first Initial; None if the token proves nothing."""
        try:
            return self._tokens.validate_token(
                address=address, destination_cid=header.destination_id, token=header.token, now=now
            )
        except ValueError:
            return None
