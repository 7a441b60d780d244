"""The codec against the crates that guests are built with: random values and damaged encodings, by the
thousand. Both accept the same bytes, and make the same bytes of what they have accepted.
"""

from __future__ import annotations

import os
import random
import re
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings

from enfilade.hostcalls import abi
from enfilade.hostcalls.abi import (
    BufferArg,
    BufferParam,
    BufferResult,
    DependencyId,
    ResourceArg,
    ScalarArg,
    ScalarParam,
    ScalarResult,
    TlsClientBundle,
    TlsServerBundle,
)
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.codec.rkyv import U32, U64, DecodeError, codec
from tests.hostcalls import cargo
from tests.hostcalls.test_rkyv import ROOTS, UNIONS, values

pytestmark = pytest.mark.real

SOURCE = Path(__file__).with_name("reference")
VALUES, DAMAGED = 60, 20

TYPES: dict[str, Any] = {root.__name__: root for root in ROOTS if root.__module__ == abi.types.__name__}
# Variants and parts of other types, which the crates do not export for themselves.
for part in (ScalarParam, BufferParam, ScalarResult, BufferResult, ScalarArg, BufferArg, ResourceArg):
    del TYPES[part.__name__]
for part in (DependencyId, TlsServerBundle, TlsClientBundle):
    del TYPES[part.__name__]
TYPES |= dict(zip(("AbiParam", "AbiValue", "EntrypointArg", "AbiScalarValue"), UNIONS, strict=True))
TYPES |= {"AbiScalarType": abi.ScalarType, "String": str, "bool": bool, "u32": U32, "u64": U64}


VECTORS = [
    (
        abi.AbiSignature,
        abi.AbiSignature(
            (abi.BufferParam(), abi.ScalarParam(abi.ScalarType.I32)), (abi.ScalarParam(abi.ScalarType.F64),)
        ),
        ("0100000400090000f8ffffff02000000f4ffffff01000000"),
    ),
    (
        abi.AbiSignature,
        abi.AbiSignature(),
        ("0000000000000000f8ffffff00000000"),
    ),
    (
        abi.AbiParam,
        abi.BufferParam(),
        ("0100"),
    ),
    (
        abi.EntrypointInvocation,
        abi.EntrypointInvocation(),
        ("0000000000000000f8ffffff00000000f0ffffff00000000"),
    ),
    (
        abi.EntrypointInvocation,
        abi.EntrypointInvocation(abi.AbiSignature((abi.BufferParam(),)), ()),
        ("0100000000000000f8ffffff01000000f2ffffff00000000f0ffffff00000000"),
    ),
    (
        abi.ProcessLogRegistration,
        abi.ProcessLogRegistration(3),
        ("0300000000000000"),
    ),
    (
        abi.NetConnect,
        abi.NetConnect(abi.NetProtocol.QUIC, "a.example.org", 443, 9),
        ("612e6578616d706c652e6f7267000000000000008d000000ecffffffbb01000001000000000000000900000000000000"),
    ),
    (
        abi.NetCreateListener,
        abi.NetCreateListener(abi.NetProtocol.HTTPS, "", 1, None),
        ("02000000ffffffffffffffff0100000000000000000000000000000000000000"),
    ),
    (
        abi.NetTlsServerConfig,
        abi.NetTlsServerConfig(
            abi.TlsServerBundle(b"cert", b"key", b"ca", ("h2", "http/1.1 and more"), True)
        ),
        (
            "636572746b65796361687474702f312e3120616e64206d6f726500006832ffffffffffff91000000"
            "e5ffffffd4ffffff04000000d0ffffff0300000001000000c7ffffff0200000001000000d0ffffff"
            "0200000001000000"
        ),
    ),
    (
        abi.NetTlsClientConfig,
        abi.NetTlsClientConfig(abi.TlsClientBundle(None, b"c", b"k", ("h2",))),
        (
            "636b00006832ffffffffffff00000000000000000000000001000000e4ffffff0100000001000000"
            "d9ffffff0100000001000000d0ffffff01000000"
        ),
    ),
    (
        abi.SessionCreate,
        abi.SessionCreate(7, bytes(range(32))),
        ("07000000000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"),
    ),
    (
        abi.SessionEntitlement,
        abi.SessionEntitlement(1, 2, Capability.TIME_READ),
        ("010000000200000013000000"),
    ),
    (
        abi.TimeSleep,
        abi.TimeSleep((1 << 64) - 1),
        ("ffffffffffffffff"),
    ),
    (
        abi.IoWrite,
        abi.IoWrite(9, b""),
        ("09000000fcffffff00000000"),
    ),
    (
        abi.ProcessStart,
        abi.ProcessStart("", "", (), abi.EntrypointInvocation()),
        ("fffffffffffffffffffffffffffffffff0ffffff00000000e8ffffff00000000e0ffffff00000000d8ffffff00000000"),
    ),
]
"""Encodings that the crates have made, of what the other vectors leave out."""


@pytest.mark.parametrize(("annotation", "value", "encoded"), VECTORS)
def test_encodings_of_the_crates(annotation: Any, value: object, encoded: str) -> None:
    """Vectors without fields, options that are there, ends of ranges: the same bytes, both ways."""
    assert codec(annotation).encode(value).hex() == encoded
    assert codec(annotation).decode(bytes.fromhex(encoded)) == value


@pytest.fixture
def program(tmp_path: Path, pytestconfig: pytest.Config) -> Path:
    """The reference."""
    return cargo.build(SOURCE, tmp_path, pytestconfig) / "debug" / "reference"


def examples(annotation: Any, number: int) -> list[bytes]:
    """Encodings of random values."""
    found: list[bytes] = []

    @seed(number)
    @settings(max_examples=VALUES, database=None, suppress_health_check=list(HealthCheck))
    @given(values(annotation))
    def collect(value: Any) -> None:
        found.append(codec(annotation).encode(value))

    collect()
    return found


def damage(generator: random.Random, encoded: bytes) -> bytes:
    """Other bytes, other offsets and counts, a shorter or a longer message."""
    changed = bytearray(encoded)
    way = generator.randrange(5)
    for _ in range(generator.choice((1, 1, 1, 2, 3))):
        place = generator.randrange(len(changed))
        if way == 0:
            changed[place] = generator.randrange(256)
        elif way == 1:
            changed[place] = generator.choice((0, 1, 2, 3, 9, 10, 0x80, 0xFF, 0xFC, 0xF8))
        elif way == 2 and len(changed) >= 4:
            place = generator.randrange(len(changed) - 3) & ~3
            (value,) = struct.unpack_from("<i", changed, place)
            moved = value + generator.choice((-16, -8, -4, -2, -1, 1, 2, 4, 8, 16))
            struct.pack_into("<I", changed, place, moved & 0xFFFF_FFFF)
        elif way == 3:
            changed[:0] = bytes(generator.randrange(1, 17))
        elif len(changed) > 16:
            del changed[: generator.randrange(1, 17)]
    return bytes(changed)


def ours(annotation: Any, data: bytes) -> str:
    """What the codec makes of the bytes, as the reference answers."""
    try:
        value = codec(annotation).decode(data)
    except DecodeError:
        return "-"
    if re.search(r"<Capability\.(ACTOR|APPLICATION)_", repr(value)):
        return "-"  # capabilities that only this host has
    if "value=nan" in repr(value):
        return QUIETED
    return codec(annotation).encode(value).hex()


QUIETED = "a NaN"
"""A signalling NaN of 32 bits becomes a quiet one in a Python float."""


@pytest.mark.soak
def test_the_codec_agrees_with_the_crates(program: Path) -> None:
    """`ENFILADE_SEED` repeats a run."""
    number = int(os.environ.get("ENFILADE_SEED", random.randrange(1 << 32)))
    print(f"ENFILADE_SEED={number}")
    generator = random.Random(number)
    asked = []
    for name, annotation in TYPES.items():
        for encoded in examples(annotation, number):
            asked.append((name, encoded))
            asked += [(name, damage(generator, encoded)) for _ in range(DAMAGED)]
    lines = "".join(f"{name} {data.hex()}\n" for name, data in asked)
    answers = subprocess.run([program], input=lines, capture_output=True, text=True, timeout=600, check=True)
    for (name, data), answer in zip(asked, answers.stdout.splitlines(), strict=True):
        found = ours(TYPES[name], data)
        assert found == answer or (found == QUIETED and answer != "-"), (name, data.hex())
