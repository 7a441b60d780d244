"""A wheel made from the checkout holds all that the packages need, and works where nothing else lies."""

import ast
import importlib.metadata
import io
import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

import enfilade

ROOT = Path(__file__).resolve().parent.parent
BUILD_SECONDS = 600

pytestmark = pytest.mark.timeout(2 * BUILD_SECONDS)

PROGRAM = """
import trio
from enfilade import Actor, open_node
import enfilade.hostcalls.engine as engine, enfilade.transport.doors as doors

class Echo(Actor):
    def echo(self, value: int) -> int:
        return value

async def main() -> None:
    async with open_node("n") as node:
        assert await (await node.spawn(Echo)).call(Echo.echo, 7) == 7

trio.run(main)
print(engine.__file__, doors.__file__)
"""


KINDS = {".py", ".pyi", ".typed", ".so", ".c", ".h", ".rs", ".toml", ".ts", ".wat", ".zig"}
KINDS |= {".css", ".html", ".js"}
C_FOLDERS = {
    "actors/core",
    "actors/observing/sampling",
    "hostcalls/engine/shim",
    "hostcalls/sdk/c",
    "hostcalls/sdk/c/enfilade",
    "hostcalls/sdk/examples/c",
    "transport/core",
    "transport/doors/c",
    "transport/doors/c/illumos",
    "transport/doors/c/include",
    "transport/doors/c/include/sys",
    "transport/doors/c/linux",
    "transport/queue",
}
"""The folders whose C is the product: compiled into an extension, or given to writers of guests."""

NOT_THE_PRODUCT = re.compile(r"(^|[/_])(tests?|conftest|fuzz|bench|mock)([/_.]|$)|/replica/")

BACKEND = """
import sys
sys.path.insert(0, ".packaging")
import backend
print(getattr(backend, sys.argv[1])(sys.argv[2]))
"""


def build(what: str, source: Path, target: Path) -> Path:
    """Have the build backend make a wheel or an sdist of `source`, with the compiler for its only program."""
    programs = target / "programs"
    programs.mkdir()
    own = [sysconfig.get_config_var(name).split()[0] for name in ("CC", "CXX", "LDSHARED")]
    for name in {"cc", "gcc", "g++", "ld", "as", os.environ.get("CC", "cc"), *own}:
        if found := shutil.which(name):
            (programs / Path(name).name).symlink_to(found)
    result = subprocess.run(
        [sys.executable, "-c", BACKEND, f"build_{what}", str(target)],
        cwd=source,
        env={"PATH": str(programs), "HOME": str(target)},
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return target / result.stdout.split()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive, built from what git tracks."""
    directory = tmp_path_factory.mktemp("sdist")
    source = directory / "source"
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False, text=True
    ).stdout.split("\0")
    if not any(files):
        pytest.skip("not in a git checkout")
    for name in filter(None, files):
        if (ROOT / name).exists():
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target, follow_symlinks=False)
    return build("sdist", source, directory)


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source archive alone."""
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(["tar", "-xf", sdist, "-C", directory], check=True, timeout=BUILD_SECONDS)
    (source,) = directory.glob("enfilade-*")
    return build("wheel", source, directory)


def strangers(names: list[str]) -> list[str]:
    """List the names in a wheel that are tests, fuzzers, benches, mocks, or C outside of `C_FOLDERS`."""
    return [
        name
        for name in names
        if NOT_THE_PRODUCT.search(name)
        or (
            name.endswith((".c", ".h"))
            and Path(name).parent.as_posix().removeprefix("enfilade/") not in C_FOLDERS
        )
    ]


@pytest.mark.parametrize(
    "name",
    [
        "enfilade/transport/doors/c/test/harness.c",
        "enfilade/transport/doors/c/linux/test_calls.c",
        "enfilade/transport/doors/c/fuzz/fuzz_wire.c",
        "enfilade/transport/doors/c/illumos/mock/kernel.c",
        "enfilade/transport/doors/c/illumos/replica/door.h",
        "enfilade/transport/doors/c/trials/latency.c",
        "enfilade/hostcalls/engine/shim/bench/raw.c",
        "enfilade/hostcalls/tests/test_x.py",
        "enfilade/actors/conftest.py",
    ],
)
def test_strangers_in_a_wheel_are_found(name: str) -> None:
    assert strangers([name]) == [name]


def test_the_source_archive_keeps_the_links(sdist: Path) -> None:
    """Its folders lie where they lie in the repository."""
    with tarfile.open(sdist) as archive:
        links = {Path(member.name).name: member.linkname for member in archive if member.issym()}
    assert links == {name: f"../../{name}" for name in ("actors", "hostcalls", "transport")}


def test_the_wheel_holds_one_package(wheel: Path) -> None:
    """Everything is below `enfilade`: code, types, what is compiled and its headers, the SDK of guests."""
    names = zipfile.ZipFile(wheel).namelist()
    metadata = [name for name in names if ".dist-info/" in name]
    product = [Path(name) for name in names if name not in metadata]
    assert {path.parts[0] for path in product} == {"enfilade"}
    assert {path.suffix or path.name for path in product} == KINDS
    assert not strangers([path.as_posix() for path in product])
    extensions = {path.parent.as_posix() for path in product if path.suffix == ".so"}
    assert extensions == {
        "enfilade/actors/core",
        "enfilade/actors/observing/sampling",
        "enfilade/hostcalls/engine",
        "enfilade/transport/core",
        "enfilade/transport/doors",
    }
    typed = {path.as_posix() for path in product if path.suffix in (".typed", ".pyi")}
    assert typed == {
        "enfilade/py.typed",
        "enfilade/actors/core/compiled.pyi",
        "enfilade/actors/observing/sampling/words.pyi",
        "enfilade/hostcalls/engine/_engine.pyi",
        "enfilade/transport/core/compiled.pyi",
        "enfilade/transport/doors/_doors.pyi",
    }
    (information,) = [name for name in metadata if name.endswith("/METADATA")]
    assert "License-Expression: MIT OR Apache-2.0" in zipfile.ZipFile(wheel).read(information).decode()


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


@pytest.mark.parametrize("package", ["actors", "hostcalls", "transport"])
def test_the_old_name_says_what_to_write(package: str) -> None:
    """In a checkout the folders can be found by their own names, which are not those of the packages."""
    result = run("-c", f"import {package}", cwd=ROOT)
    assert result.returncode == 1
    assert (
        f"ImportError: import enfilade.{package} (or `from enfilade import ...`), not {package}"
        in result.stderr
    )


def test_the_names_load_what_they_need_and_no_more() -> None:
    """A program of actors loads neither doors nor guests; every name of `enfilade` is there."""
    program = (
        "import sys, enfilade; heavy = {'enfilade.transport', 'enfilade.hostcalls', 'wasmtime'};"
        "[getattr(enfilade, name) for name in enfilade.__all__ if name != 'Policy'];"
        "assert not heavy & set(sys.modules);"
        "enfilade.Policy; assert 'enfilade.transport' in sys.modules;"
        "assert set(enfilade.__all__) <= set(dir(enfilade))"
    )
    result = run("-c", program)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("words", ["--help", "--version", "guest run --help", "guest sdk", "mesh ca --help"])
def test_commands_that_open_no_node_load_no_runtime(words: str) -> None:
    """They answer at once: neither the actors nor what these stand on is loaded."""
    program = (
        "import sys; from enfilade.actors.cli import main; sys.argv = ['enfilade', *sys.argv[1:]]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'trio', 'enfilade.actors.public', 'enfilade.hostcalls', 'enfilade.transport'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert 'rich' in sys.modules or 'attr' not in sys.modules"  # rich looks for it
    )
    result = run("-c", program, *words.split())
    assert result.returncode == 0, result.stderr


def test_the_names_and_their_imports_agree() -> None:
    """What type checkers see is what `__all__` says."""
    tree = ast.parse((ROOT / ".packaging/enfilade/__init__.py").read_text())
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    imported = [
        alias.name for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    assert sorted(imported) == sorted(enfilade.__all__)


def test_the_package_is_the_command() -> None:
    result = run("-m", "enfilade", "--help")
    assert result.returncode == 0, result.stderr
    assert "enfilade" in result.stdout


def test_the_wheel_works_on_its_own(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--target", str(place), str(wheel)],
        check=True,
        timeout=BUILD_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert str(place) in result.stdout, "the program used another copy"


def test_the_command_is_installed_with_the_distribution() -> None:
    try:
        entries = importlib.metadata.distribution("enfilade").entry_points
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the distribution is not installed here, only the checkout is on the path")
    assert {(entry.group, entry.name): entry.value for entry in entries} == {
        ("console_scripts", "enfilade"): "enfilade.actors.cli:main",
        ("pytest11", "enfilade"): "enfilade.pytest_plugin",
    }


def test_source_archives_do_not_tell_when_and_by_whom_they_were_made(tmp_path: Path) -> None:
    settle = runpy.run_path(str(ROOT / ".packaging" / "wheels.py"))["settle"]
    archives = [tmp_path / "a.tar.gz", tmp_path / "b.tar.gz"]
    for number, archive in enumerate(archives):
        with tarfile.open(archive, "w:gz") as made:
            for name in ("one", "two") if number else ("two", "one"):
                member = tarfile.TarInfo(f"enfilade/{name}")
                member.size, member.mtime, member.uid, member.uname = 3, number, number, str(number)
                made.addfile(member, io.BytesIO(name.encode()))
        settle(archive, 1_700_000_000)
    assert archives[0].read_bytes() == archives[1].read_bytes()
    with tarfile.open(archives[0]) as settled:
        assert [(each.name, each.mtime) for each in settled] == [
            ("enfilade/one", 1_700_000_000),
            ("enfilade/two", 1_700_000_000),
        ]
