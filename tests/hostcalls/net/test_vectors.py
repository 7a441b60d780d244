"""Golden encodings of the network's types, made by the reference implementation."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from enfilade.hostcalls import abi
from enfilade.hostcalls.codec.rkyv import codec

QUIC, HTTP, HTTPS = abi.NetProtocol.QUIC, abi.NetProtocol.HTTP, abi.NetProtocol.HTTPS

VECTORS: list[tuple[Any, str]] = [
    (
        abi.NetCreateListener(QUIC, "localhost", 7000, None),
        "6c6f63616c686f7374000000000000000000000089000000ecffffff581b000000000000000000000000000000000000",
    ),
    (
        abi.NetCreateListener(HTTP, "", 80, None),
        "01000000ffffffffffffffff5000000000000000000000000000000000000000",
    ),
    (
        abi.NetCreateListener(HTTPS, "localhost", 8443, 3),
        "6c6f63616c686f7374000000000000000200000089000000ecfffffffb20000001000000000000000300000000000000",
    ),
    (
        abi.NetCreateListener(HTTP, "x" * 253, 1, None),
        "78" * 253 + "00000001000000bd030000fcfeffff0100000000000000000000000000000000000000",
    ),
    (
        abi.NetConnect(QUIC, "localhost", 7000, 2),
        "6c6f63616c686f7374000000000000000000000089000000ecffffff581b000001000000000000000200000000000000",
    ),
    (
        abi.NetConnect(HTTP, "127.0.0.1", 8080, None),
        "3132372e302e302e31000000000000000100000089000000ecffffff901f000000000000000000000000000000000000",
    ),
    (
        abi.NetConnect(HTTPS, "[::1]", 443, 4294967296),
        "020000005b3a3a315dffffffbb01000001000000000000000000000001000000",
    ),
    (
        abi.NetCreateListenerReply(2),
        "0200000000000000",
    ),
    (
        abi.NetCreateListenerReply(4294967295),
        "ffffffff00000000",
    ),
    (
        abi.NetAccept(2),
        "0200000000000000",
    ),
    (
        abi.NetAcceptReply(3, 4, "127.0.0.1:54321"),
        "3132372e302e302e313a353433323100030000000000000004000000000000008f000000e0ffffff",
    ),
    (
        abi.NetAcceptReply(5, 6, "[::1]:65535"),
        "5b3a3a315d3a36353533350000000000050000000000000006000000000000008b000000e0ffffff",
    ),
    (
        abi.NetConnectReply(2, 3, "0.0.0.0:0"),
        "302e302e302e303a30000000000000000200000000000000030000000000000089000000e0ffffff",
    ),
    (
        abi.NetConnectReply(2, 3, "localhost:8080"),
        "6c6f63616c686f73743a383038300000020000000000000003000000000000008e000000e0ffffff",
    ),
    (
        abi.IoRead(3, 16384),
        "0300000000400000",
    ),
    (
        abi.IoRead(3, 0),
        "0300000000000000",
    ),
    (
        abi.IoWrite(4, b"ping"),
        "70696e6704000000f8ffffff04000000",
    ),
    (
        abi.IoWrite(4, b"HTTP/1.1 204 No Content\r\n\r\n"),
        "485454502f312e3120323034204e6f20436f6e74656e740d0a0d0a0004000000e0ffffff1b000000",
    ),
    (
        abi.IoFrame(0, b"ping"),
        "70696e6700000000f8ffffff04000000",
    ),
    (
        abi.IoFrame(0, b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"),
        (
            "474554202f20485454502f312e310d0a686f73743a20610d0a636f6e74656e742d6c656e6774683a20300d0a0d0a0000"
            "00000000ccffffff2e000000"
        ),
    ),
    (
        abi.NetTlsServerConfig(abi.TlsServerBundle(b"CERT", b"KEY", None, None, False)),
        (
            "434552544b455900f8ffffff04000000f4ffffff03000000000000000000000000000000000000000000000000000000"
            "00000000"
        ),
    ),
    (
        abi.NetTlsServerConfig(abi.TlsServerBundle(b"CERT", b"KEY", None, (), False)),
        (
            "434552544b455900f8ffffff04000000f4ffffff0300000000000000000000000000000001000000e0ffffff00000000"
            "00000000"
        ),
    ),
    (
        abi.NetTlsServerConfig(abi.TlsServerBundle(b"CERT", b"KEY", None, ("http/1.1",), False)),
        (
            "434552544b455900687474702f312e31f0ffffff04000000ecffffff0300000000000000000000000000000001000000"
            "d8ffffff0100000000000000"
        ),
    ),
    (
        abi.NetTlsServerConfig(abi.TlsServerBundle(b"CERT", b"KEY", b"CA", None, True)),
        (
            "434552544b45594341000000f4ffffff04000000f0ffffff0300000001000000e7ffffff020000000000000000000000"
            "0000000001000000"
        ),
    ),
    (
        abi.NetTlsClientConfig(abi.TlsClientBundle(None, None, None, None)),
        "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
    ),
    (
        abi.NetTlsClientConfig(abi.TlsClientBundle(b"CA", None, None, None)),
        (
            "4341000001000000f8ffffff020000000000000000000000000000000000000000000000000000000000000000000000"
            "00000000"
        ),
    ),
    (
        abi.NetTlsClientConfig(abi.TlsClientBundle(b"CA", b"CERT", b"KEY", None)),
        (
            "4341434552544b455900000001000000f0ffffff0200000001000000e6ffffff0400000001000000deffffff03000000"
            "000000000000000000000000"
        ),
    ),
    (
        abi.NetTlsConfigReply(2),
        "0200000000000000",
    ),
]

ERRORS = [
    (
        "invalid argument",
        "18000000696e76616c696420617267756d656e7490000000f0ffffff",
    ),
    (
        "internal error: read failed: connection lost",
        (
            "34000000696e7465726e616c206572726f723a2072656164206661696c65643a20636f6e6e656374696f6e206c6f7374"
            "ac000000d4ffffff"
        ),
    ),
    (
        "internal error: write failed: connection lost",
        (
            "38000000696e7465726e616c206572726f723a207772697465206661696c65643a20636f6e6e656374696f6e206c6f73"
            "74000000ad000000d0ffffff"
        ),
    ),
    (
        "internal error: read failed: stream reset by peer: error 7",
        (
            "44000000696e7465726e616c206572726f723a2072656164206661696c65643a2073747265616d207265736574206279"
            "20706565723a206572726f7220370000ba000000c4ffffff"
        ),
    ),
    (
        "internal error: failed to bind listener: Address already in use (os error 98)",
        (
            "58000000696e7465726e616c206572726f723a206661696c656420746f2062696e64206c697374656e65723a20416464"
            "7265737320616c726561647920696e2075736520286f73206572726f72203938290000008d010000b0ffffff"
        ),
    ),
    (
        "internal error: failed to connect: Connection refused (os error 111)",
        (
            "4c000000696e7465726e616c206572726f723a206661696c656420746f20636f6e6e6563743a20436f6e6e656374696f"
            "6e207265667573656420286f73206572726f72203131312984010000bcffffff"
        ),
    ),
    (
        "internal error: HTTP connection failed: connection closed before message completed",
        (
            "5c000000696e7465726e616c206572726f723a204854545020636f6e6e656374696f6e206661696c65643a20636f6e6e"
            "656374696f6e20636c6f736564206265666f7265206d65737361676520636f6d706c65746564000092010000acffffff"
        ),
    ),
    (
        "internal error: listener closed before any request arrived",
        (
            "44000000696e7465726e616c206572726f723a206c697374656e657220636c6f736564206265666f726520616e792072"
            "65717565737420617272697665640000ba000000c4ffffff"
        ),
    ),
    (
        "internal error: listener closed before any connection arrived",
        (
            "48000000696e7465726e616c206572726f723a206c697374656e657220636c6f736564206265666f726520616e792063"
            "6f6e6e656374696f6e2061727269766564000000bd000000c0ffffff"
        ),
    ),
    (
        "internal error: failed to build TLS config: keys may not be consistent: KeyMismatch",
        (
            "5c000000696e7465726e616c206572726f723a206661696c656420746f206275696c6420544c5320636f6e6669673a20"
            "6b657973206d6179206e6f7420626520636f6e73697374656e743a204b65794d69736d617463680093010000acffffff"
        ),
    ),
    (
        "internal error: connect failed: invalid server name: [::1]",
        (
            "44000000696e7465726e616c206572726f723a20636f6e6e656374206661696c65643a20696e76616c69642073657276"
            "6572206e616d653a205b3a3a315d0000ba000000c4ffffff"
        ),
    ),
]


@pytest.mark.parametrize(("value", "encoded"), VECTORS, ids=lambda given: type(given).__name__)
def test_encodings_are_those_of_the_reference(value: Any, encoded: str) -> None:
    assert codec(type(value)).encode(value).hex() == encoded
    assert codec(type(value)).decode(bytes.fromhex(encoded)) == value


@pytest.mark.parametrize(("text", "payload"), ERRORS)
def test_error_payloads_are_those_of_the_reference(text: str, payload: str) -> None:
    encoded = codec(str).encode(text)
    assert (struct.pack("<I", len(encoded)) + encoded).hex() == payload
