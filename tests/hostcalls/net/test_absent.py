"""Programs without the libraries of the dependency group `net`, and programs that do not need them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

BLOCK = """
import importlib.abc, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in GROUP:
            wanted.append(name)
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None

wanted = []
sys.meta_path.insert(0, Blocker())
"""

GROUP = 'GROUP = {"h11", "h2", "aioquic", "certifi", "cryptography"}\n'

WITHOUT_LIBRARIES = f"""{GROUP}{BLOCK}
from enfilade.hostcalls import abi
from enfilade.hostcalls.abi import catalogue as c
from tests.hostcalls.desk import INVALID, Desk, fails

desk = Desk()
guest = desk.caller()
quic, http = abi.NetProtocol.QUIC, abi.NetProtocol.HTTP
server = abi.TlsServerBundle(b"certificate", b"key", None, None, False)
client = abi.TlsClientBundle(None, None, None, None)
calls = [
    (c.NET_QUIC_BIND, abi.NetCreateListener(quic, "localhost", 4433, None)),
    (c.NET_QUIC_ACCEPT, abi.NetAccept(0)),
    (c.NET_QUIC_CONNECT, abi.NetConnect(quic, "localhost", 4433, None)),
    (c.NET_QUIC_READ, abi.IoRead(0, 1)),
    (c.NET_QUIC_WRITE, abi.IoWrite(0, b"x")),
    (c.NET_HTTP_BIND, abi.NetCreateListener(http, "localhost", 8080, None)),
    (c.NET_HTTP_ACCEPT, abi.NetAccept(0)),
    (c.NET_HTTP_CONNECT, abi.NetConnect(http, "localhost", 8080, None)),
    (c.NET_HTTP_READ, abi.IoRead(0, 1)),
    (c.NET_HTTP_WRITE, abi.IoWrite(0, b"x")),
    (c.NET_TLS_SERVER_CONFIG_CREATE, abi.NetTlsServerConfig(server)),
    (c.NET_TLS_CLIENT_CONFIG_CREATE, abi.NetTlsClientConfig(client)),
]
for hostcall, value in calls:
    text = fails(lambda: desk.call(guest, hostcall, value))
    assert text == f"internal error: {{hostcall.name}} is not part of this build", text
nameless = abi.TlsClientBundle(None, None, None, ("",))
assert fails(lambda: desk.call(guest, calls[-1][0], abi.NetTlsClientConfig(nameless))) == INVALID
assert len(guest.slots) == 0
print(len(calls), "calls")
"""

GUEST_WITHOUT_NETWORK = f"""{GROUP}{BLOCK}
import trio
import enfilade
from enfilade import Guest, open_node
from enfilade.actors.guests import run_guest

MODULE = b'(module (memory (export "memory") 1) (func (export "start")))'

async def main():
    async with open_node("test") as node:
        import wasmtime
        guest = Guest(bytes(wasmtime.wat2wasm(MODULE)), capabilities=("ChannelLifecycle", "TimeRead"))
        print(await run_guest(node, guest))

trio.run(main)
assert not wanted, wanted
assert "enfilade.hostcalls.net.network" not in sys.modules
"""


@pytest.mark.parametrize(
    ("program", "output"),
    [
        pytest.param(WITHOUT_LIBRARIES, "12 calls", id="every_call_says_so"),
        pytest.param(GUEST_WITHOUT_NETWORK, "normal", id="a_guest_without_the_capability_wants_none"),
    ],
)
def test_net_3_the_libraries_are_optional(program: str, output: str) -> None:
    """Guests are told that their calls are not part of this build, and nobody else notices."""
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100
    )
    assert result.returncode == 0, result.stderr
    assert output in result.stdout
