"""A guest built with Selium's own Rust library runs as it is."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
import trio

from enfilade.actors import NORMAL, open_node
from enfilade.actors.guests import Guest, open_guests, run_guest
from enfilade.hostcalls.kernel.modulespec import parse
from tests.hostcalls import cargo

pytestmark = pytest.mark.real

SOURCE = Path(__file__).with_name("selium")
SPECIFICATION = """
path=probe.wasm; entrypoint=boss; log_uri=sel://probe/boss
capabilities=ChannelLifecycle,ChannelReader,ChannelWriter,ProcessLifecycle,TimeRead
params=utf8,u32; args=probe.wasm,5
"""


@pytest.fixture
def modules(tmp_path: Path, pytestconfig: pytest.Config) -> Path:
    """A directory with the guest."""
    target = cargo.build(SOURCE, tmp_path, pytestconfig, "--release", "--target", "wasm32-unknown-unknown")
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
