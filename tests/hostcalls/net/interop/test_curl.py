"""curl asks guests."""

from __future__ import annotations

import shutil

import pytest
import trio

from enfilade.actors import Guest, open_node
from tests.hostcalls.net.web_guests import CAPABILITIES, web_server
from tests.ports import free_port

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


async def curl(*arguments: str) -> str:
    """Run curl; what it prints."""
    command = [
        "curl",
        "--silent",
        "--show-error",
        "--max-time",
        "20",
        "--retry",
        "9",
        "--retry-connrefused",
        "--noproxy",
        "*",
        *arguments,
    ]
    result = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    assert result.returncode == 0, (result.returncode, result.stderr)
    return result.stdout.decode()


async def test_a_guest_answers_curl() -> None:
    port = free_port()
    async with open_node("web") as node:
        await node.spawn(Guest(web_server(port, b"good day\n"), capabilities=CAPABILITIES))
        output = await curl("--include", f"http://localhost:{port}/hello")
        assert output.startswith("HTTP/1.1 200 OK\r\n")
        assert "x-guest: yes" in output
        assert output.endswith("good day\n")
