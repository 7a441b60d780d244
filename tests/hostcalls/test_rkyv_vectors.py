"""The codec against the reference implementation: sizes, alignments, field offsets and encodings of every
type.
"""

import struct
from typing import Any

import pytest

from enfilade.hostcalls import abi
from enfilade.hostcalls.abi import ScalarType, ScalarValue
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.codec.rkyv import F32, F64, I64, U8, U16, U32, U64, codec, layout

DEPENDENCY = abi.DependencyId(bytes(range(0xA0, 0xB0)))
MINIMAL_START = abi.ProcessStart(
    "m.wasm",
    "start",
    (Capability.CHANNEL_LIFECYCLE, Capability.CHANNEL_WRITER),
    abi.EntrypointInvocation(abi.AbiSignature((abi.BufferParam(),)), (abi.BufferArg(b""),)),
)
FULL_START = abi.ProcessStart(
    "selium_example.wasm",
    "echo_client",
    (Capability.CHANNEL_LIFECYCLE, Capability.CHANNEL_READER, Capability.TIME_READ),
    abi.EntrypointInvocation(
        abi.AbiSignature(
            (
                abi.BufferParam(),
                abi.ScalarParam(ScalarType.U64),
                abi.BufferParam(),
                abi.ScalarParam(ScalarType.U16),
            ),
            (abi.ScalarParam(ScalarType.I32),),
        ),
        (
            abi.BufferArg(b"sel://logs"),
            abi.ResourceArg(2),
            abi.BufferArg(b"localhost"),
            abi.ScalarArg(ScalarValue(ScalarType.U16, 7000)),
        ),
    ),
)

LAYOUTS = [
    pytest.param(U8, 1, 1, {}, id="u8"),
    pytest.param(U16, 2, 2, {}, id="u16"),
    pytest.param(U32, 4, 4, {}, id="u32"),
    pytest.param(U64, 8, 8, {}, id="u64"),
    pytest.param(I64, 8, 8, {}, id="i64"),
    pytest.param(F32, 4, 4, {}, id="f32"),
    pytest.param(F64, 8, 8, {}, id="f64"),
    pytest.param(bool, 1, 1, {}, id="bool"),
    pytest.param(None, 0, 1, {}, id="()"),
    pytest.param(str, 8, 4, {}, id="String"),
    pytest.param(bytes, 8, 4, {}, id="Vec<u8>"),
    pytest.param(tuple[U64, ...], 8, 4, {}, id="Vec<u64>"),
    pytest.param(tuple[str, ...], 8, 4, {}, id="Vec<String>"),
    pytest.param(U64 | None, 16, 8, {}, id="Option<u64>"),
    pytest.param(bytes | None, 12, 4, {}, id="Option<Vec<u8>>"),
    pytest.param(tuple[str, ...] | None, 12, 4, {}, id="Option<Vec<String>>"),
    pytest.param(U32 | None, 8, 4, {}, id="Option<u32>"),
    pytest.param(abi.ChannelBackpressure, 1, 1, {}, id="ChannelBackpressure"),
    pytest.param(Capability, 1, 1, {}, id="Capability"),
    pytest.param(ScalarType, 1, 1, {}, id="AbiScalarType"),
    pytest.param(abi.AbiScalarValue, 16, 8, {}, id="AbiScalarValue"),
    pytest.param(abi.AbiParam, 2, 1, {}, id="AbiParam"),
    pytest.param(abi.AbiSignature, 16, 4, {}, id="AbiSignature"),
    pytest.param(abi.AbiValue, 24, 8, {}, id="AbiValue"),
    pytest.param(abi.NetProtocol, 1, 1, {}, id="NetProtocol"),
    pytest.param(abi.DependencyId, 16, 1, {}, id="DependencyId"),
    pytest.param(abi.ChannelCreate, 8, 4, {"capacity": 0, "backpressure": 4}, id="ChannelCreate"),
    pytest.param(abi.IoRead, 8, 4, {"handle": 0, "len": 4}, id="IoRead"),
    pytest.param(abi.IoWrite, 12, 4, {"handle": 0, "payload": 4}, id="IoWrite"),
    pytest.param(abi.IoFrame, 12, 4, {"writer_id": 0, "payload": 4}, id="IoFrame"),
    pytest.param(
        abi.NetCreateListener,
        32,
        8,
        {"protocol": 0, "domain": 4, "port": 12, "tls": 16},
        id="NetCreateListener",
    ),
    pytest.param(abi.NetCreateListenerReply, 8, 8, {"handle": 0}, id="NetCreateListenerReply"),
    pytest.param(abi.NetAccept, 8, 8, {"handle": 0}, id="NetAccept"),
    pytest.param(
        abi.NetAcceptReply, 24, 8, {"reader": 0, "writer": 8, "remote_addr": 16}, id="NetAcceptReply"
    ),
    pytest.param(abi.NetConnect, 32, 8, {"protocol": 0, "domain": 4, "port": 12, "tls": 16}, id="NetConnect"),
    pytest.param(
        abi.NetConnectReply, 24, 8, {"reader": 0, "writer": 8, "remote_addr": 16}, id="NetConnectReply"
    ),
    pytest.param(abi.EntrypointArg, 24, 8, {}, id="EntrypointArg"),
    pytest.param(abi.EntrypointInvocation, 24, 4, {"signature": 0, "args": 16}, id="EntrypointInvocation"),
    pytest.param(abi.ProcessLogRegistration, 8, 8, {"channel": 0}, id="ProcessLogRegistration"),
    pytest.param(abi.ProcessLogLookup, 8, 8, {"process_id": 0}, id="ProcessLogLookup"),
    pytest.param(
        abi.ProcessStart,
        48,
        4,
        {"module_id": 0, "name": 8, "capabilities": 16, "entrypoint": 24},
        id="ProcessStart",
    ),
    pytest.param(abi.SessionCreate, 36, 4, {"session_id": 0, "pubkey": 4}, id="SessionCreate"),
    pytest.param(
        abi.SessionEntitlement,
        12,
        4,
        {"session_id": 0, "target_id": 4, "capability": 8},
        id="SessionEntitlement",
    ),
    pytest.param(
        abi.SessionResource,
        24,
        8,
        {"session_id": 0, "target_id": 4, "capability": 8, "resource_id": 16},
        id="SessionResource",
    ),
    pytest.param(abi.SessionRemove, 8, 4, {"session_id": 0, "target_id": 4}, id="SessionRemove"),
    pytest.param(abi.SingletonRegister, 24, 8, {"id": 0, "resource": 16}, id="SingletonRegister"),
    pytest.param(abi.SingletonLookup, 16, 1, {"id": 0}, id="SingletonLookup"),
    pytest.param(abi.TimeNow, 16, 8, {"unix_ms": 0, "monotonic_ms": 8}, id="TimeNow"),
    pytest.param(abi.TimeSleep, 8, 8, {"duration_ms": 0}, id="TimeSleep"),
    pytest.param(
        abi.TlsServerBundle,
        44,
        4,
        {
            "cert_chain_pem": 0,
            "private_key_pem": 8,
            "client_ca_pem": 16,
            "alpn": 28,
            "require_client_auth": 40,
        },
        id="TlsServerBundle",
    ),
    pytest.param(
        abi.TlsClientBundle,
        48,
        4,
        {"ca_bundle_pem": 0, "client_cert_pem": 12, "client_key_pem": 24, "alpn": 36},
        id="TlsClientBundle",
    ),
    pytest.param(abi.NetTlsServerConfig, 44, 4, {"bundle": 0}, id="NetTlsServerConfig"),
    pytest.param(abi.NetTlsClientConfig, 48, 4, {"bundle": 0}, id="NetTlsClientConfig"),
    pytest.param(abi.NetTlsConfigReply, 8, 8, {"handle": 0}, id="NetTlsConfigReply"),
]

VECTORS = [
    pytest.param(U32, 42, "2a000000", id="u32-42"),
    pytest.param(U32, 0, "00000000", id="u32-0"),
    pytest.param(U64, 0x0102030405060708, "0807060504030201", id="u64-0x0102030405060708"),
    pytest.param(str, "", "ffffffffffffffff", id="String"),
    pytest.param(str, "a", "61ffffffffffffff", id="String-a"),
    pytest.param(str, "abcdefg", "61626364656667ff", id="String-abcdefg"),
    pytest.param(str, "abcdefgh", "6162636465666768", id="String-abcdefgh"),
    pytest.param(str, "abcdefghi", "61626364656667686900000089000000f4ffffff", id="String-abcdefghi"),
    pytest.param(
        str,
        "h\u00e9llo w\u00f6rld",
        "68c3a96c6c6f2077c3b6726c640000008d000000f0ffffff",
        id="String-h-llo-w-rld",
    ),
    pytest.param(
        str,
        "x" * 62,
        (
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "787878787878787878787878787878787878787878780000be000000c0ffffff"
        ),
        id="String-x-62",
    ),
    pytest.param(
        str,
        "x" * 63,
        (
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "787878787878787878787878787878787878787878787800bf000000c0ffffff"
        ),
        id="String-x-63",
    ),
    pytest.param(
        str,
        "x" * 64,
        (
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "78787878787878787878787878787878787878787878787880010000c0ffffff"
        ),
        id="String-x-64",
    ),
    pytest.param(
        str,
        "x" * 127,
        (
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "7878787878787800bf01000080ffffff"
        ),
        id="String-x-127",
    ),
    pytest.param(
        str,
        "x" * 128,
        (
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "78787878787878788002000080ffffff"
        ),
        id="String-x-128",
    ),
    pytest.param(
        str,
        "x" * 255,
        (
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "78787878787878787878787878787800bf03000000ffffff"
        ),
        id="String-x-255",
    ),
    pytest.param(
        str,
        "x" * 256,
        (
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "787878787878787878787878787878788004000000ffffff"
        ),
        id="String-x-256",
    ),
    pytest.param(
        str,
        "x" * 300,
        (
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "78787878787878787878787878787878787878787878787878787878787878787878787878787878"
            "7878787878787878787878787878787878787878ac040000d4feffff"
        ),
        id="String-x-300",
    ),
    pytest.param(str, "\u00e9" * 4, "c3a9c3a9c3a9c3a9", id="String-8xff-ish-4"),
    pytest.param(
        abi.ChannelCreate,
        abi.ChannelCreate(524288, abi.ChannelBackpressure.DROP),
        "0000080001000000",
        id="ChannelCreate-524288-Drop",
    ),
    pytest.param(abi.IoRead, abi.IoRead(3, 65536), "0300000000000100", id="IoRead-3-65536"),
    pytest.param(
        abi.IoWrite,
        abi.IoWrite(5, b"hello"),
        "68656c6c6f00000005000000f4ffffff05000000",
        id="IoWrite-5-hello",
    ),
    pytest.param(
        abi.IoWrite, abi.IoWrite(5, b"abcd"), "6162636405000000f8ffffff04000000", id="IoWrite-5-abcd"
    ),
    pytest.param(
        abi.IoFrame,
        abi.IoFrame(1, b"hello"),
        "68656c6c6f00000001000000f4ffffff05000000",
        id="IoFrame-1-hello",
    ),
    pytest.param(abi.IoFrame, abi.IoFrame(0, b""), "00000000fcffffff00000000", id="IoFrame-0-empty"),
    pytest.param(
        abi.NetCreateListener,
        abi.NetCreateListener(abi.NetProtocol.HTTP, "localhost", 8080, None),
        ("6c6f63616c686f7374000000000000000100000089000000ecffffff901f000000000000000000000000000000000000"),
        id="NetCreateListener-Http-localhost-8080-None",
    ),
    pytest.param(
        abi.NetCreateListenerReply,
        abi.NetCreateListenerReply(4),
        "0400000000000000",
        id="NetCreateListenerReply-4",
    ),
    pytest.param(abi.NetAccept, abi.NetAccept(4), "0400000000000000", id="NetAccept-4"),
    pytest.param(
        abi.NetAcceptReply,
        abi.NetAcceptReply(5, 6, "127.0.0.1:9"),
        ("3132372e302e302e313a390000000000050000000000000006000000000000008b000000e0ffffff"),
        id="NetAcceptReply-5-6-127-0-0-1-9",
    ),
    pytest.param(
        abi.NetConnectReply,
        abi.NetConnectReply(5, 6, "a:1"),
        "05000000000000000600000000000000613a31ffffffffff",
        id="NetConnectReply-5-6-a-1",
    ),
    pytest.param(abi.ProcessLogLookup, abi.ProcessLogLookup(9), "0900000000000000", id="ProcessLogLookup-9"),
    pytest.param(
        abi.SessionResource,
        abi.SessionResource(1, 2, Capability.CHANNEL_READER, 0x1122334455667788),
        "010000000200000002000000000000008877665544332211",
        id="SessionResource-1-2-ChannelReader-0x1122334455667788",
    ),
    pytest.param(abi.SessionRemove, abi.SessionRemove(1, 2), "0100000002000000", id="SessionRemove-1-2"),
    pytest.param(
        abi.SingletonRegister,
        abi.SingletonRegister(DEPENDENCY, 3),
        "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf0300000000000000",
        id="SingletonRegister-A0-AF-3",
    ),
    pytest.param(
        abi.SingletonLookup,
        abi.SingletonLookup(DEPENDENCY),
        "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
        id="SingletonLookup-A0-AF",
    ),
    pytest.param(
        abi.TimeNow,
        abi.TimeNow(1700000000000, 1234),
        "0068e5cf8b010000d204000000000000",
        id="TimeNow-1700000000000-1234",
    ),
    pytest.param(
        abi.NetTlsConfigReply, abi.NetTlsConfigReply(8), "0800000000000000", id="NetTlsConfigReply-8"
    ),
    pytest.param(
        abi.NetTlsServerConfig,
        abi.NetTlsServerConfig(abi.TlsServerBundle(b"cert", b"key!", None, None, False)),
        (
            "636572746b657921f8ffffff04000000f4ffffff0400000000000000000000000000000000000000"
            "000000000000000000000000"
        ),
        id="NetTlsServerConfig-cert-key-None-None-false",
    ),
    pytest.param(
        abi.NetTlsClientConfig,
        abi.NetTlsClientConfig(abi.TlsClientBundle(b"ca", None, None, ())),
        (
            "6361000001000000f8ffffff02000000000000000000000000000000000000000000000000000000"
            "01000000d8ffffff00000000"
        ),
        id="NetTlsClientConfig-Some-ca-None-None-Some",
    ),
    pytest.param(
        abi.EntrypointArg,
        abi.ScalarArg(ScalarValue(ScalarType.I8, -1)),
        "000000000000000000ff0000000000000000000000000000",
        id="EntrypointArg-Scalar-I8-1",
    ),
    pytest.param(
        abi.AbiScalarValue,
        ScalarValue(ScalarType.U8, 7),
        "01070000000000000000000000000000",
        id="AbiScalarValue-U8-7",
    ),
    pytest.param(
        abi.AbiScalarValue,
        ScalarValue(ScalarType.U16, 7000),
        "0300581b000000000000000000000000",
        id="AbiScalarValue-U16-7000",
    ),
    pytest.param(
        abi.EntrypointArg,
        abi.ScalarArg(ScalarValue(ScalarType.U16, 7000)),
        "00000000000000000300581b000000000000000000000000",
        id="EntrypointArg-Scalar-U16-7000",
    ),
    pytest.param(
        abi.AbiScalarValue,
        ScalarValue(ScalarType.I32, -3),
        "04000000fdffffff0000000000000000",
        id="AbiScalarValue-I32-3",
    ),
    pytest.param(
        abi.EntrypointArg,
        abi.ScalarArg(ScalarValue(ScalarType.I32, -3)),
        "000000000000000004000000fdffffff0000000000000000",
        id="EntrypointArg-Scalar-I32-3",
    ),
    pytest.param(
        abi.AbiScalarValue,
        ScalarValue(ScalarType.U32, 5),
        "05000000050000000000000000000000",
        id="AbiScalarValue-U32-5",
    ),
    pytest.param(
        abi.EntrypointArg,
        abi.ScalarArg(ScalarValue(ScalarType.U32, 5)),
        "000000000000000005000000050000000000000000000000",
        id="EntrypointArg-Scalar-U32-5",
    ),
    pytest.param(
        abi.AbiScalarValue,
        ScalarValue(ScalarType.I64, -4),
        "0600000000000000fcffffffffffffff",
        id="AbiScalarValue-I64-4",
    ),
    pytest.param(
        abi.EntrypointArg,
        abi.ScalarArg(ScalarValue(ScalarType.I64, -4)),
        "00000000000000000600000000000000fcffffffffffffff",
        id="EntrypointArg-Scalar-I64-4",
    ),
    pytest.param(
        abi.AbiScalarValue,
        ScalarValue(ScalarType.U64, 6),
        "07000000000000000600000000000000",
        id="AbiScalarValue-U64-6",
    ),
    pytest.param(
        abi.EntrypointArg,
        abi.ScalarArg(ScalarValue(ScalarType.U64, 6)),
        "000000000000000007000000000000000600000000000000",
        id="EntrypointArg-Scalar-U64-6",
    ),
    pytest.param(
        abi.AbiScalarValue,
        ScalarValue(ScalarType.F32, 1.5),
        "080000000000c03f0000000000000000",
        id="AbiScalarValue-F32-1-5",
    ),
    pytest.param(
        abi.EntrypointArg,
        abi.ScalarArg(ScalarValue(ScalarType.F32, 1.5)),
        "0000000000000000080000000000c03f0000000000000000",
        id="EntrypointArg-Scalar-F32-1-5",
    ),
    pytest.param(
        abi.AbiScalarValue,
        ScalarValue(ScalarType.F64, -2.25),
        "090000000000000000000000000002c0",
        id="AbiScalarValue-F64-2-25",
    ),
    pytest.param(
        abi.EntrypointArg,
        abi.ScalarArg(ScalarValue(ScalarType.F64, -2.25)),
        "0000000000000000090000000000000000000000000002c0",
        id="EntrypointArg-Scalar-F64-2-25",
    ),
    pytest.param(abi.AbiParam, abi.ScalarParam(ScalarType.U64), "0007", id="AbiParam-Scalar-U64"),
    pytest.param(
        abi.EntrypointArg,
        abi.BufferArg(b"abc"),
        "616263000000000001000000f4ffffff03000000000000000000000000000000",
        id="EntrypointArg-Buffer-abc",
    ),
    pytest.param(
        abi.EntrypointArg,
        abi.ResourceArg(7),
        "020000000000000007000000000000000000000000000000",
        id="EntrypointArg-Resource-7",
    ),
    pytest.param(
        abi.AbiValue,
        abi.BufferResult(b"abc"),
        "616263000000000001000000f4ffffff03000000000000000000000000000000",
        id="AbiValue-Buffer-abc",
    ),
    pytest.param(
        abi.AbiValue,
        abi.ScalarResult(ScalarValue(ScalarType.I32, 1)),
        "000000000000000004000000010000000000000000000000",
        id="AbiValue-Scalar-I32-1",
    ),
    pytest.param(
        abi.EntrypointInvocation,
        abi.EntrypointInvocation(abi.AbiSignature((abi.BufferParam(),)), (abi.BufferArg(b""),)),
        (
            "010000000000000001000000f6ffffff00000000000000000000000000000000e0ffffff01000000"
            "daffffff00000000d8ffffff01000000"
        ),
        id="EntrypointInvocation-Buffer-Buffer",
    ),
    pytest.param(
        abi.ProcessStart,
        MINIMAL_START,
        (
            "010301000000000001000000f8ffffff000000000000000000000000000000006d2e7761736dffff"
            "7374617274ffffffd0ffffff02000000caffffff01000000c4ffffff00000000c0ffffff01000000"
        ),
        id="ProcessStart-minimal",
    ),
    pytest.param(
        abi.ProcessStart,
        FULL_START,
        (
            "73656c69756d5f6578616d706c652e7761736d6563686f5f636c69656e7401021301000007010000"
            "03000473656c3a2f2f6c6f67736c6f63616c686f7374000001000000e7ffffff0a00000000000000"
            "000000000000000002000000000000000200000000000000000000000000000001000000c1ffffff"
            "0900000000000000000000000000000000000000000000000300581b000000000000000000000000"
            "9300000060ffffff8b0000006bffffff6effffff0300000069ffffff0400000069ffffff01000000"
            "78ffffff04000000"
        ),
        id="ProcessStart-full",
    ),
]


@pytest.mark.parametrize(("annotation", "size", "align", "offsets"), LAYOUTS)
def test_a_type_lies_as_in_c(annotation: Any, size: int, align: int, offsets: dict[str, int]) -> None:
    """Size, alignment and field offsets are those of the C representation."""
    found = layout(annotation)
    assert (found.size, found.align) == (size, align)
    if offsets:
        fields = found.fields  # type: ignore[attr-defined]
        assert [offset for _, offset, _ in fields] == list(offsets.values())
        assert [field.name for field in annotation.__attrs_attrs__] == list(offsets)


@pytest.mark.parametrize(("annotation", "value", "encoded"), VECTORS)
def test_abi_2_a_value_has_the_bytes_of_the_reference(annotation: Any, value: object, encoded: str) -> None:
    """Encoding gives the reference bytes, decoding them gives the value back."""
    assert codec(annotation).encode(value).hex() == encoded
    assert codec(annotation).decode(bytes.fromhex(encoded)) == value


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ("permission denied", "1c0000007065726d697373696f6e2064656e69656400000091000000ecffffff"),
        ("boom", "08000000626f6f6dffffffff"),
        ("resource not found", "1c0000007265736f75726365206e6f7420666f756e64000092000000ecffffff"),
        (
            "internal error: broken pipe",
            "24000000696e7465726e616c206572726f723a2062726f6b656e2070697065009b000000e4ffffff",
        ),
    ],
)
def test_error_payload(text: str, payload: str) -> None:
    """An error text is written as a length and an encoded string."""
    encoded = codec(str).encode(text)
    assert (struct.pack("<I", len(encoded)) + encoded).hex() == payload
