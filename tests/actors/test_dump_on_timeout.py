"""`pytest --enfilade-dump-on-timeout`: a test that hangs says who waits for whom."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HANGS = """
import trio
from enfilade.actors import Actor

pytest_plugins = ["enfilade.actors.testing.plugin"]


class Ledger(Actor):
    async def post(self):
        await trio.sleep(2)


async def test_hangs(node):
    ledger = await node.spawn(Ledger, name="ledger")
    async with node.mailbox() as me:
        await ledger.call(Ledger.post)
"""


@pytest.mark.real
@pytest.mark.parametrize(
    ("option", "is_dumped"), [(("--enfilade-dump-on-timeout", "0.5"), True), ((), False)]
)
def test_a_test_that_takes_long_is_dumped(option: tuple[str, ...], is_dumped: bool, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(HANGS)
    plugins = ("-p", "enfilade.actors.testing.plugin", "-o", "trio_mode=true")
    command = [sys.executable, "-m", "pytest", "-q", "-s", *plugins, *option, "test_it.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("process waits for <test@local:1 ledger>" in done.stderr) == is_dumped
    assert ("test_hangs has taken 0.5 s" in done.stderr) == is_dumped
