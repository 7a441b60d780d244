"""A wheel made from the checkout holds all that the packages need, and works where nothing else lies."""

import importlib.metadata
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BUILD_SECONDS = 600

pytestmark = pytest.mark.timeout(2 * BUILD_SECONDS)

PROGRAM = """
import trio
from actors import Actor, open_node
import hostcalls.engine, transport.doors

class Echo(Actor):
    def echo(self, value: int) -> int:
        return value

async def main() -> None:
    async with open_node("n") as node:
        assert await (await node.spawn(Echo)).call(Echo.echo, 7) == 7

trio.run(main)
print(hostcalls.engine.__file__, transport.doors.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from what git tracks, without looking anything up."""
    directory = tmp_path_factory.mktemp("wheel")
    source = directory / "source"
    source.mkdir()
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False, text=True
    ).stdout.split("\0")
    if not any(files):
        pytest.skip("not in a git checkout")
    for name in filter(None, files):
        if (ROOT / name).is_file():
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    subprocess.run(
        [*command, "--wheel-dir", str(directory), str(source)],
        check=True,
        timeout=BUILD_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    (built,) = directory.glob("enfilade-*.whl")
    return built


def test_the_wheel_holds_code_data_and_types(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for package in ("actors", "hostcalls", "transport"):
        assert f"{package}/py.typed" in names
    assert any(name.startswith("transport/doors/_doors.") and name.endswith(".so") for name in names)
    assert any(name.startswith("hostcalls/engine/_engine.") and name.endswith(".so") for name in names)
    assert "transport/doors/_doors.pyi" in names
    assert not any(name.startswith(("tests/", "docs/")) for name in names)
    metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
    assert "License-Expression: MIT OR Apache-2.0" in zipfile.ZipFile(wheel).read(metadata).decode()


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
    assert {entry.name: entry.value for entry in entries}["enfilade"] == "actors.cli:main"
