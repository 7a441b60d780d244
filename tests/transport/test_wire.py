"""The bytes of the wire are those that docs/wire.md gives."""

import re
from pathlib import Path

import msgspec
import pytest

from enfilade.transport.atoms import INLINE_LIMIT
from enfilade.transport.plain_frames import encode_call, encode_reply, encode_send
from enfilade.transport.wire import (
    FRAMES,
    NIL,
    OVERHEAD,
    PREFIX,
    Call,
    Cancel,
    Down,
    Keyed,
    MalformedBatch,
    Reply,
    Send,
    decode_batch,
    encode_batch,
    encode_frame,
)

PAGE = (Path(__file__).resolve().parents[2] / "docs/wire.md").read_text()
ROWS = {
    int(tag): (name, fields)
    for tag, name, fields in re.findall(r"^\| (\d+) \| ([A-Z]\w+) \|(.*)\|$", PAGE, re.M)
}


@pytest.mark.parametrize("kind", FRAMES, ids=lambda kind: kind.__name__)
def test_every_frame_is_documented(kind: type[msgspec.Struct]) -> None:
    """Its tag, its name, and its fields in their order."""
    name, text = ROWS[kind.__struct_config__.tag]  # type: ignore[index]
    assert name == kind.__name__
    assert kind.__struct_config__.array_like
    pattern = r"\b.*\b".join(kind.__struct_fields__)
    assert re.search(pattern, text), f"{kind.__struct_fields__} in {text}"


PLAIN = (None, True, 0, -(2**63), 2**64 - 1, 1.5, "", "text\u00e9", b"", bytes(70_000))


NO_ARGUMENTS = msgspec.Raw(msgspec.msgpack.encode([[], {}]))


@pytest.mark.parametrize("to", [7, "name", Keyed("kind", "key")], ids=["serial", "name", "key"])
def test_plain_messages_calls_and_replies_are_encoded_as_any(to: int | str | Keyed) -> None:
    """In one go with its frame, or not at all."""
    for message in PLAIN:
        payload = msgspec.Raw(msgspec.msgpack.encode(message))
        assert encode_send(to, message) == encode_frame(Send(to, payload)), message
        arguments = msgspec.Raw(msgspec.msgpack.encode([[message, 1], {}]))
        assert encode_call(3, to, "add", (message, 1), 5) == encode_frame(Call(3, to, "add", arguments, 0, 5))
        assert encode_reply(3, message) == encode_frame(Reply(3, True, payload)), message
    for message in (
        2**64,
        "\ud800",
        bytes(INLINE_LIMIT),
        "x" * INLINE_LIMIT,
        [1],
        (1,),
        Keyed("kind", "key"),
    ):
        assert encode_send(to, message) == b""
        assert encode_call(3, to, "add", (message,), 5) == b""
        assert encode_reply(3, message) == b""
    assert encode_call(3, to, "add", (), 5) == encode_frame(Call(3, to, "add", NO_ARGUMENTS, 0, 5))
    assert encode_call(3, to, "add", (bytes(INLINE_LIMIT // 2),) * 2, 5) == b""
    assert encode_send("x" * INLINE_LIMIT, 1) == b""


def test_nothing_else_is_documented() -> None:
    assert set(ROWS) == {kind.__struct_config__.tag for kind in FRAMES}


def test_a_batch_has_the_bytes_of_the_page() -> None:
    (example,) = re.findall(r"^((?:[0-9a-f]{2} ){20,}[0-9a-f]{2})$", PAGE, re.M)
    batch = encode_batch(5, 300, [encode_frame(Cancel(7))])
    assert batch == bytes.fromhex(example)
    decoded = decode_batch(batch)
    assert (decoded.sequence, decoded.consumed, decoded.frames) == (5, 300, [Cancel(7)])
    assert len(batch) - OVERHEAD == len(encode_frame(Cancel(7)))
    assert len(encode_batch(2**64 - 1, 2**64 - 1, [])) == OVERHEAD == 28


@pytest.mark.parametrize("fields", [[30, 7, None], [30, 7, None, None], [30, 7, None, None, "later"]])
def test_fields_are_added_at_the_end(fields: list[object]) -> None:
    """Neither a peer that does not know the last field, nor one that knows more, is malformed."""
    (frame,) = decode_batch(encode_batch(0, 0, [msgspec.msgpack.encode(fields)])).frames
    assert frame == Down(7, NIL, NIL)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"ENF\x02" + bytes(40),
        PREFIX,
        PREFIX + bytes(OVERHEAD),
        encode_batch(0, 0, [])[:-1] + b"\x01",
        encode_batch(0, 0, [b"\xc1"]),
        encode_batch(0, 0, [msgspec.msgpack.encode([99, 1])]),
        encode_batch(0, 0, [msgspec.msgpack.encode([20])]),
        encode_batch(0, 0, [msgspec.msgpack.encode([20, "seven"])]),
        encode_batch(0, 0, [b"\x91" * 100_000]),
    ],
    ids=range(10),
)
def test_what_is_no_batch_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedBatch):
        decode_batch(data)


def test_the_actor_of_a_key_is_told_as_its_kind_and_its_key() -> None:
    assert str(Keyed("account", "7")) == "account/7"
