"""Mutated batches and payloads: what comes out is a value or the error that the page promises, soon.

The targets have the form that coverage-guided fuzzers for Python want, a function of bytes; here a driver of
our own mutates what the encoders make. The C half of the transport has its own (transport/doors/c/fuzz).
"""

import datetime
import decimal
import fractions
import random
import re
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest

from enfilade.transport import Codec, PayloadError, TypeRegistry
from enfilade.transport.core import choice
from enfilade.transport.node_link import NodeLink
from enfilade.transport.policy import Limits
from enfilade.transport.settings import Settings
from enfilade.transport.wire import FRAMES, Frame, MalformedBatch, decode_batch, encode_batch, encode_frame
from tests import c_programs
from tests.descriptors import open_descriptors

C = Path(__file__).resolve().parents[2] / "transport/doors/c"
SHORT, LONG = 3_000, 1_000_000
SLOWEST = 1.0
"""Seconds that one input may take; it has at most some thousand bytes."""

types = TypeRegistry()


@types.register
@attrs.frozen
class Point:
    x: int
    y: float = 0.0
    tags: list[str] = attrs.field(factory=list)


CODEC = Codec(types)

VALUES: Sequence[Any] = [
    *(None, True, 0, -1, 2**63, -(2**64), 10**40, 1.5, float("inf"), "text", "\u00e9\U0001f600", b"bytes"),
    *([1, [2, [3]]], (1, "a"), {"a": 1, "b": [None]}, {1: 2}, {1, 2, 3}, frozenset({"a"}), bytearray(b"x")),
    *(Point(1), [Point(2, 3.0, ["t"])], ValueError("v"), KeyError("k", 1), {(1, 2): {"deep": (None,)}}),
    *(decimal.Decimal("1.50"), uuid.UUID(int=7), datetime.date(2024, 2, 29), datetime.timedelta(1, 2, 3)),
    *(datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC), complex(1, 2), range(3), fractions.Fraction(1, 3)),
]


def batches() -> Iterator[bytes]:
    """A batch for every kind of frame, made of nothing but the types of its fields."""
    plain: dict[str, Any] = {"int": 1, "float": 1.0, "str": "s", "bytes": b"b", "bool": True}
    frames = []
    for kind in FRAMES:
        for count in range(len(kind.__struct_fields__) + 1):
            items = [
                kind.__struct_config__.tag,
                *[plain[name] for name in ("int", "str", "bytes", "float")] * 3,
            ]
            frames.append(msgspec.msgpack.encode(items[: count + 1]))
    yield encode_batch(1, 2, [])
    for frame in frames:
        yield encode_batch(1, 2, [frame])
    yield encode_batch(2**64 - 1, 2**64 - 1, frames[:40])


def payloads() -> Iterator[bytes]:
    for value in VALUES:
        try:
            data, descriptors = CODEC.encode(value)
        except Exception:  # what this node does not send is no seed
            continue
        assert not descriptors
        yield bytes(data)


def frame_target(data: bytes) -> None:
    try:
        batch = decode_batch(data)
    except MalformedBatch:
        return
    frames = [encode_frame(frame) for frame in batch.frames]
    again = decode_batch(encode_batch(batch.sequence, batch.consumed, frames))
    assert [encode_frame(frame) for frame in again.frames] == frames


def taken_in(received: Callable[[NodeLink, bytes], Sequence[Frame]], data: bytes) -> Any:
    """What a node link makes of a batch, and how it stands then; the seeds have the number that is due."""
    link = NodeLink(settings=Settings(), peer_window=2**20, limits=Limits(), clock=lambda: 0.0)
    link._expected, link._sent = 1, 2
    try:
        made: Any = [encode_frame(frame) for frame in received(link, data)]
    except MalformedBatch as error:
        made = str(error)
    return made, link._expected, link._taken_in, link.bytes_in, link.frames_in


def ways_target(data: bytes) -> None:
    twin, compiled = (each[NodeLink, "received"] for each in (choice.CHOICE.twins, choice.CHOICE.compiled))
    assert taken_in(compiled, data) == taken_in(twin, data)


def payload_target(data: bytes) -> None:
    try:
        CODEC.decode(data)
    except PayloadError:
        return


NUMBERS = bytes(
    [0, 1, 0x7F, 0x80, 0x90, 0xC0, 0xC1, 0xC4, 0xC7, 0xC9, 0xCF, 0xD3, 0xD8, 0xDC, 0xDD, 0xDF, 0xFF]
)


def mutate(data: bytearray, kept: Sequence[bytes], dice: random.Random) -> bytes:
    for _ in range(dice.randint(1, 5)):
        at = dice.randrange(len(data) + 1)
        match dice.randrange(6):
            case 0 if at < len(data):
                data[at] ^= 1 << dice.randrange(8)
            case 1 if at < len(data):
                data[at] = dice.choice(NUMBERS)
            case 2:
                del data[at : at + dice.randint(1, 8)]
            case 3:
                data[at:at] = bytes(dice.choice(NUMBERS) for _ in range(dice.randint(1, 4)))
            case 4:
                other = dice.choice(kept)
                start = dice.randrange(len(other) + 1)
                data[at:at] = other[start : start + dice.randint(1, 64)]
            case _:
                data[at:at] = data[at : at + 16] * dice.randint(1, 40)
    return bytes(data[:4096])


def fuzz(target: Callable[[bytes], None], corpus: Sequence[bytes], runs: int, seed: int) -> float:
    """Run so many inputs; return how long the slowest took."""
    dice, slowest = random.Random(seed), 0.0
    for run in range(runs):
        data = corpus[run] if run < len(corpus) else mutate(bytearray(dice.choice(corpus)), corpus, dice)
        begun = time.process_time()
        try:
            target(data)
        except BaseException as error:
            error.add_note(f"input: {data!r}")
            raise
        slowest = max(slowest, time.process_time() - begun)
    return slowest


RUNS = [pytest.param(SHORT, id="short"), pytest.param(LONG, id="long", marks=pytest.mark.soak)]


def test_what_targets_replace_is_there() -> None:
    """`ld --wrap` is silent when a function has another name by now: a target would ask the real kernel."""
    makefile = (C / "Makefile").read_text().replace("\\\n", " ")
    sources = "".join(path.read_text() for path in [*C.glob("linux/*.c"), C / "closing.c"])
    fuzzers = "".join(path.read_text() for path in C.glob("fuzz/*.c"))
    replaced = re.findall(r"^REPLACED\w* = (.*)$", makefile, re.MULTILINE)
    names = " ".join(replaced).split()
    assert len(names) > 20
    for name in names:
        assert re.search(rf"\b__wrap_{name}\(", fuzzers), name
        assert re.search(rf"\b{name}\(", sources), name


PATIENCE = 7200
PATIENT = pytest.mark.timeout(PATIENCE)


@PATIENT
@pytest.mark.parametrize("runs", RUNS)
def test_frames(runs: int) -> None:
    assert fuzz(frame_target, list(batches()), runs, 1) < SLOWEST


@PATIENT
@pytest.mark.skipif(not choice.IS_AVAILABLE, reason="the ways of a frame are not compiled here")
@pytest.mark.parametrize("runs", RUNS)
def test_frames_taken_in_by_c(runs: int) -> None:
    """The compiled way in and its twin: the same frames, counts and refusals."""
    assert fuzz(ways_target, list(batches()), runs, 1) < SLOWEST


@PATIENT
@pytest.mark.parametrize("runs", RUNS)
def test_payloads(runs: int) -> None:
    before = len(open_descriptors())
    assert fuzz(payload_target, list(payloads()), runs, 1) < SLOWEST
    assert len(open_descriptors()) == before


WITHOUT_KERNEL = ("datagram", "request", "reply", "trunk", "payload")


@PATIENT
@pytest.mark.soak
@c_programs.needs_compiler
@pytest.mark.parametrize(
    ("target", "runs"),
    [("wire", 9_000_000), ("channel", 1_000_000), *((name, 10_000_000) for name in WITHOUT_KERNEL)],
)
def test_targets_in_c(target: str, runs: int, tmp_path: Path) -> None:
    """Under AddressSanitizer and UndefinedBehaviorSanitizer, guided by what the inputs reach."""
    build = C / "build/targets"
    c_programs.make(C, build, "target_programs")
    result = subprocess.run(
        [build / f"fuzz/target_{target}", str(runs), "1", C / "fuzz/corpus" / target],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert f"{runs} inputs" in result.stdout


GUIDED = {"wire": 1_000_000, "channel": 100_000, **dict.fromkeys(WITHOUT_KERNEL, 10_000_000)}


@PATIENT
@pytest.mark.soak
@c_programs.needs_compiler
@pytest.mark.parametrize("target", GUIDED)
def test_targets_in_libfuzzer(target: str) -> None:
    """The same, guided by clang's libFuzzer: ten million inputs for each that makes no system calls."""
    build = C / "build/targets"
    c_programs.make(C, build, "libfuzzer", f"TARGETS={target}", f"RUNS={GUIDED[target]}", patience=PATIENCE)


@PATIENT
@pytest.mark.soak
@c_programs.needs_compiler
def test_fuzzed_wire_for_long() -> None:
    """The fuzzer of both sides (transport/doors/c/fuzz/fuzz_wire.c), a hundred times as long as elsewhere."""
    build = C / "build/sanitized"
    c_programs.make(C, build, "sanitized")
    result = subprocess.run(
        [build / "fuzz/fuzz_wire", "50000", "7"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
