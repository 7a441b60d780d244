"""The extensions are built with the flags that make them harder to attack, as far as the compiler has them.

The files are read here, by a reader of ELF of our own, so that nothing needs to be installed for it.
"""

import importlib.util
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs
import hardening
import pytest

ROOT = Path(__file__).resolve().parents[1]

EXTENSIONS = (
    "enfilade.transport.doors._doors",
    "enfilade.hostcalls.engine._engine",
    "enfilade.actors.core.compiled",
    "enfilade.transport.core.compiled",
    "enfilade.actors.observing.sampling.words",
)

PT_DYNAMIC, PT_GNU_STACK, PT_GNU_RELRO, PT_GNU_PROPERTY = 2, 0x6474E551, 0x6474E552, 0x6474E553
PF_X = 1
DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_FLAGS, DT_FLAGS_1 = 5, 6, 10, 30, 0x6FFFFFFB
DF_BIND_NOW, DF_1_NOW = 8, 1
GNU_PROPERTY_X86_FEATURE_1_AND, SHSTK = 0xC0000002, 2
ENDBR64 = bytes.fromhex("f30f1efa")

pytestmark = pytest.mark.skipif(os.uname().sysname != "Linux", reason="looks for what GNU linkers write")


@attrs.frozen
class Segment:
    """An entry of the program header."""

    kind: int
    flags: int
    offset: int
    address: int
    size: int


class Elf:
    """A shared object of 64 bits, little-endian."""

    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        assert self.data[:6] == b"\x7fELF\x02\x01", "an ELF file of 64 bits"
        (start,) = struct.unpack_from("<Q", self.data, 32)
        size, count = struct.unpack_from("<HH", self.data, 54)
        self.segments = [self._segment(start + i * size) for i in range(count)]

    def _segment(self, at: int) -> Segment:
        kind, flags, offset, address, _, size = struct.unpack_from("<IIQQQQ", self.data, at)
        return Segment(kind, flags, offset, address, size)

    def segment(self, kind: int) -> Segment | None:
        return next((found for found in self.segments if found.kind == kind), None)

    def dynamic(self) -> dict[int, int]:
        place = self.segment(PT_DYNAMIC)
        assert place is not None
        return dict(struct.iter_unpack("<qQ", self.data[place.offset : place.offset + place.size]))

    def _offset(self, address: int) -> int:
        (found,) = (one for one in self.segments if one.kind == 1 and 0 <= address - one.address < one.size)
        return address - found.address + found.offset

    def symbols(self) -> set[str]:
        """The names that the loader knows: what is used from elsewhere is among them."""
        dynamic = self.dynamic()
        start = self._offset(dynamic[DT_STRTAB])
        return {name.decode() for name in self.data[start : start + dynamic[DT_STRSZ]].split(b"\0")}

    def properties(self) -> Iterator[tuple[int, bytes]]:
        place = self.segment(PT_GNU_PROPERTY)
        if place is None:
            return
        at, end = place.offset + 16, place.offset + place.size
        while at < end:
            kind, size = struct.unpack_from("<II", self.data, at)
            yield kind, self.data[at + 8 : at + 8 + size]
            at += 8 + (size + 7) // 8 * 8


def test_no_extension_is_left_out() -> None:
    """What is built beside the sources is in the list."""
    built = {path.name.partition(".")[0] for path in ROOT.glob("[a-z]*/**/*.abi3.so")}
    assert built <= {name.rpartition(".")[2] for name in EXTENSIONS}


@pytest.fixture(params=EXTENSIONS)
def extension(request: pytest.FixtureRequest) -> Elf:
    spec = importlib.util.find_spec(request.param)
    assert spec is not None
    assert spec.origin is not None
    return Elf(Path(spec.origin))


def needs(flags: str) -> None:
    """Skip, and say so, where the compiler has no such flag."""
    assert flags in (*hardening.COMPILE, *hardening.LINK)
    if not hardening.has(flags):
        pytest.skip(f"the compiler {hardening.compiler()[0]!r} does not take {flags}")


def test_stack_is_not_executable(extension: Elf) -> None:
    stack = extension.segment(PT_GNU_STACK)
    assert stack is not None
    assert not stack.flags & PF_X


def test_tables_are_read_only_after_loading(extension: Elf) -> None:
    needs("-Wl,-z,relro")
    assert extension.segment(PT_GNU_RELRO) is not None


def test_everything_is_bound_at_once(extension: Elf) -> None:
    needs("-Wl,-z,now")
    dynamic = extension.dynamic()
    assert dynamic.get(DT_FLAGS, 0) & DF_BIND_NOW or dynamic.get(DT_FLAGS_1, 0) & DF_1_NOW


def test_frames_have_canaries(extension: Elf) -> None:
    needs("-fstack-protector-strong")
    assert "__stack_chk_fail" in extension.symbols()


CHECKED = {"memcpy", "memmove", "memset", "strcpy", "snprintf", "vsnprintf", "read", "recv", "readlink"}
"""Functions of which the C library has a form that knows the size of the buffer."""


COUNTED = {"enfilade.transport.core.compiled": {"memcpy"}}
"""Functions that an extension uses for objects of Python alone: the compiler does not know their size, and
the code that copies has counted it.
"""


def test_sizes_of_buffers_are_checked(request: pytest.FixtureRequest, extension: Elf) -> None:
    """Whoever uses such functions uses some of the forms that check; the small extensions use none."""
    needs("-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3")
    symbols = extension.symbols()
    counted = COUNTED.get(request.node.callspec.params["extension"], set())
    assert {name for name in symbols if name.endswith("_chk")} or not symbols & (CHECKED - counted)


def test_returns_can_be_checked(extension: Elf) -> None:
    needs("-Wl,-z,shstk")
    features = dict(extension.properties()).get(GNU_PROPERTY_X86_FEATURE_1_AND, b"")
    assert int.from_bytes(features, "little") & SHSTK


def test_indirect_jumps_are_checked(extension: Elf) -> None:
    """Functions begin as a processor that tracks indirect jumps wants it. The note that all of them do is
    the linker's, who leaves it out where the C library's own start files do not.
    """
    needs("-fcf-protection=full")
    assert extension.data.count(ENDBR64) > 5


def test_compiler_without_a_flag_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build never fails for want of a flag, and says which one is missing."""
    monkeypatch.setattr(hardening, "has", lambda flags: "stack-clash" not in flags)
    flags = hardening.compile_flags()
    assert "-fstack-protector-strong" in flags
    assert "-fstack-clash-protection" not in flags
    assert "does not take -fstack-clash-protection: built without" in capsys.readouterr().err


def test_a_function_that_is_not_declared_is_an_error() -> None:
    """Its result would count as an int: a pointer would lose its upper half, and nobody would be told."""
    needs("-Werror=implicit-function-declaration")
    compile_it = [*hardening.compiler(), "-std=gnu11", "-O1", *hardening.compile_flags(), "-fsyntax-only"]
    done = subprocess.run(
        [*compile_it, "-x", "c", "-"],
        input=b"void *use(void) { return undeclared(); }",
        stderr=subprocess.PIPE,
    )
    assert done.returncode == 1
    assert b"undeclared" in done.stderr
