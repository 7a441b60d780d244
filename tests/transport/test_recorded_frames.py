"""Releases that came before: what they said is read, and what is said now begins with what they know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from enfilade.transport.payload import Codec
from enfilade.transport.wire import decode_batch, encode_batch
from tests.transport.recorded_frames import VALUES, record, samples

RECORDED = {
    path.stem: json.loads(path.read_text()) for path in (Path(__file__).parent / "recorded").glob("*.json")
}


def cases(of: str) -> list[Any]:
    """Each frame, or each value, of each release."""
    return [
        pytest.param(name, bytes.fromhex(data), id=f"{release}-{name}")
        for release, recorded in sorted(RECORDED.items())
        for name, data in recorded[of].items()
    ]


def comparable(value: Any) -> Any:
    """A field of a frame that can be compared: what refers to the bytes of a batch as bytes."""
    return bytes(value) if isinstance(value, msgspec.Raw | memoryview) else value


def test_there_is_a_recording() -> None:
    assert RECORDED


@pytest.mark.parametrize(("name", "data"), cases("frames"))
def test_a_frame_of_an_earlier_release_is_read(name: str, data: bytes) -> None:
    """Each field has the value that it had there; one that it did not have has its default."""
    sample = samples()[name]
    known = len(msgspec.msgpack.decode(data)) - 1
    (frame,) = decode_batch(encode_batch(0, 0, [data])).frames
    assert frame.__struct_config__.tag == sample.__struct_config__.tag
    for number, field in enumerate(sample.__struct_fields__):
        value = comparable(getattr(frame, field))
        if number < known:
            assert value == comparable(getattr(sample, field)), field
        else:
            defaults = dict(
                zip(reversed(sample.__struct_fields__), reversed(sample.__struct_defaults__), strict=False)
            )
            assert value == defaults[field], f"{field} has no default for a peer that does not know it"


@pytest.mark.parametrize(("name", "data"), cases("frames"))
def test_a_frame_of_this_release_begins_as_an_earlier_one(name: str, data: bytes) -> None:
    """Fields are added at the end, where those that do not know them pass over them."""
    before, now = (msgspec.msgpack.decode(each) for each in (data, bytes.fromhex(record()["frames"][name])))
    assert now[: len(before)] == before


@pytest.mark.parametrize(("name", "data"), cases("values"))
def test_a_value_travels_as_it_did(name: str, data: bytes) -> None:
    """In both directions: the bytes are the same."""
    value = VALUES[name]
    assert bytes(Codec().encode(value)[0]) == data
    decoded = Codec().decode(msgspec.Raw(data))
    assert decoded == value
    assert type(decoded) is type(value)


def test_a_batch_of_an_earlier_release_is_read() -> None:
    for recorded in RECORDED.values():
        batch = decode_batch(bytes.fromhex(recorded["batch"]))
        assert (batch.sequence, batch.consumed) == (7, 300)
        assert len(batch.frames) == len(recorded["frames"])
