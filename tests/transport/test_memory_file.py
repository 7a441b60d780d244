"""Memory files, on systems with seals and on those without."""

import os
from pathlib import Path
from typing import Any

import pytest

from enfilade.transport import memory_file
from enfilade.transport.atoms import INLINE_LIMIT
from enfilade.transport.payload import Codec
from enfilade.transport.records import PayloadError
from tests.descriptors import open_descriptors

LONG = os.urandom(INLINE_LIMIT + 1)


@pytest.fixture(params=["sealed", "unnamed"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """What memory files are made of; all descriptors must be closed in the end, and no file must be left."""
    if request.param == "sealed" and not memory_file.SEALS:
        pytest.skip("there are no seals here")
    if request.param == "unnamed":
        monkeypatch.setattr(memory_file, "SEALS", 0)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return str(request.param)


def test_what_goes_in_comes_out(kind: str, tmp_path: Path) -> None:
    before = open_descriptors()
    for data in (b"", b"x", LONG, memoryview(LONG)[7:]):
        memory = memory_file.create(data)
        assert not os.get_inheritable(memory)
        assert memory_file.read(memory, len(data)) == data
        with memory_file.reading(memory, len(data)) as view:
            assert view[:] == data
        os.close(memory)
    assert open_descriptors() == before
    assert not list(tmp_path.iterdir())


def test_the_receiver_cannot_change_it(kind: str) -> None:
    memory = memory_file.create(b"data")
    with pytest.raises(OSError, match=r"Operation not permitted|Bad file descriptor"):
        os.pwrite(memory, b"D", 0)
    with pytest.raises(OSError, match=r"Operation not permitted|Invalid argument|Bad file descriptor"):
        os.ftruncate(memory, 0)
    os.close(memory)


def test_what_is_none_is_refused(kind: str) -> None:
    memory = memory_file.create(b"data")
    end, other = os.pipe()
    for descriptor, size in ((memory, 3), (memory, 5), (end, 4), (end, 0)):
        with pytest.raises(PayloadError, match="not sealed, or not of the announced size"):
            memory_file.read(descriptor, size)
        with (
            pytest.raises(PayloadError, match="not sealed, or not of the announced size"),
            memory_file.reading(descriptor, size),
        ):
            pass
    for descriptor in (memory, end, other):
        os.close(descriptor)


@pytest.mark.skipif(not memory_file.SEALS, reason="there are no seals here")
def test_with_seals_a_file_without_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"data")
    with file.open("rb") as opened_file, pytest.raises(PayloadError, match="not sealed"):
        memory_file.read(opened_file.fileno(), 4)


@pytest.mark.parametrize(
    ("value", "files"),
    [(LONG, 1), ([1, LONG, {"a": LONG}], 2), (["x" * INLINE_LIMIT], 1), ([LONG, "x" * INLINE_LIMIT], 2)],
    ids=["bytes", "several", "text", "both"],
)
def test_payloads_travel_by_either(kind: str, value: Any, files: int, tmp_path: Path) -> None:
    before = open_descriptors()
    payload, descriptors = Codec().encode(value)
    assert len(descriptors) == files
    assert Codec().decode(payload, descriptors) == value
    assert open_descriptors() == before
    assert not list(tmp_path.iterdir())


def test_want_of_room_leaves_nothing(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(_file: int, _data: Any) -> int:
        raise OSError(28, "No space left on device")

    before = open_descriptors()
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        Codec().encode([LONG, LONG])
    assert open_descriptors() == before
    assert not list(tmp_path.iterdir())
