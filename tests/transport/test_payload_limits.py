"""The limits of one payload: bytes, memory files, descriptors. See docs/wire.md, "Payloads"."""

import os
from typing import Any

import msgspec
import pytest

from enfilade.transport import Codec, FileDescriptor, PayloadError, TypeRegistry
from enfilade.transport import payload as payload_module
from enfilade.transport.atoms import INLINE_LIMIT

types = TypeRegistry()
LONG = os.urandom(INLINE_LIMIT + 1)


def carry(value: Any) -> Any:
    """Encode and decode, as between two nodes."""
    return Codec(types).decode(*Codec(types).encode(value))


def test_each_payload_has_the_whole_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes in memory files count once, whether a payload is lowered twice or follows another."""
    monkeypatch.setattr(payload_module, "PAYLOAD_LIMIT", 2 * len(LONG) + 100)
    sender, receiver = Codec(types), Codec(types)
    for value in ([LONG, LONG], [LONG, LONG, 2**70], ([LONG, 2**70], (LONG,)), [LONG, LONG]):
        payload, descriptors = sender.encode(value)
        assert len(descriptors) == 2
        assert receiver.decode(payload, descriptors) == value
    for value in ([LONG, LONG, LONG], [LONG, 2**70, LONG, LONG]):
        with pytest.raises(PayloadError, match="this one has"):
            sender.encode(value)
    assert receiver.decode(*sender.encode([LONG, LONG])) == [LONG, LONG]


@pytest.mark.parametrize("excess", [0, 1])
def test_text_counts_towards_the_limit(monkeypatch: pytest.MonkeyPatch, excess: int) -> None:
    """What is no bytes has no memory file of its own; the whole payload is measured at its end."""
    monkeypatch.setattr(payload_module, "PAYLOAD_LIMIT", 2 * INLINE_LIMIT)
    value = ["x" * INLINE_LIMIT, "x" * (INLINE_LIMIT // 2)]
    value[1] += "x" * (2 * INLINE_LIMIT + excess - len(msgspec.msgpack.encode(value)))
    assert len(msgspec.msgpack.encode(value)) == 2 * INLINE_LIMIT + excess
    if excess:
        with pytest.raises(PayloadError, match=f"may have {2 * INLINE_LIMIT} bytes, this one has"):
            Codec(types).encode(value)
    else:
        assert carry(value) == value


def test_limits_of_a_payload() -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    assert len(carry([FileDescriptor(null)] * 128)) == 128
    with pytest.raises(PayloadError, match="128 descriptors, this one has 129"):
        Codec(types).encode([FileDescriptor(null)] * 129)
    os.close(null)
    memory = os.memfd_create("huge", os.MFD_ALLOW_SEALING)
    os.truncate(memory, 2**40)
    payload = msgspec.msgpack.encode(msgspec.msgpack.Ext(9, msgspec.msgpack.encode([0, 2**40])))
    with pytest.raises(PayloadError, match="claims"):
        Codec(types).decode(payload, [memory])
