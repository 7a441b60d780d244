"""A guest built with Selium's own Rust library runs as it is."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import trio

from actors import NORMAL, open_node
from actors.guest import Guest, open_guests, run_guest
from hostcalls.modulespec import parse

SOURCE = Path(__file__).with_name("selium")
BUILD_SECONDS = 3600
SPECIFICATION = """
path=probe.wasm; entrypoint=boss; log_uri=sel://probe/boss
capabilities=ChannelLifecycle,ChannelReader,ChannelWriter,ProcessLifecycle,TimeRead
params=utf8,u32; args=probe.wasm,5
"""


@pytest.fixture
def modules(tmp_path: Path, pytestconfig: pytest.Config) -> Path:
    """A directory with the guest, built from crates that are on this machine already; the first time takes
    long.
    """
    if not shutil.which("cargo"):
        pytest.skip("needs cargo")
    assert pytestconfig.cache is not None
    target = pytestconfig.cache.mkdir("selium")
    shutil.copytree(SOURCE, tmp_path / "probe")
    build = subprocess.run(
        ["cargo", "build", "--release", "--offline", "--target", "wasm32-unknown-unknown"],
        cwd=tmp_path / "probe",
        env={**os.environ, "CARGO_TARGET_DIR": str(target)},
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    if build.returncode:
        pytest.skip(f"needs selium-userland and its crates: {build.stderr.strip().splitlines()[-1]}")
    shutil.copy(target / "wasm32-unknown-unknown" / "release" / "probe.wasm", tmp_path)
    return tmp_path


@pytest.mark.soak
async def test_selium_guest(modules: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It starts a process, exchanges frames and a burst of log records with it, and stops it after it has
    ended.
    """
    with caplog.at_level(logging.INFO, logger="enfilade.guest"):
        async with open_node("test") as node:
            open_guests(node, modules=modules)
            with trio.fail_after(60):
                assert await run_guest(node, Guest.from_spec(parse(SPECIFICATION))) == NORMAL
            assert node.statistics().processes == 0
    messages = [record.getMessage() for record in caplog.records]
    assert [text for text in messages if "done by" in text] == [
        f"task {number} done by w1 writer=1" for number in range(5)
    ]
    assert sum(text.startswith("burst") for text in messages) == 300
