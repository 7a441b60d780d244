"""Network conformance: cases that need guests of their own, and real sockets."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from enfilade.actors import Guest, open_node
from enfilade.hostcalls import abi
from enfilade.hostcalls.abi.capability import Capability
from enfilade.hostcalls.kernel.execution import Returned
from enfilade.hostcalls.net.policy import Network, Reach
from enfilade.hostcalls.sdk.wat import RESULT, Assembler
from tests.hostcalls.guests import ACTOR
from tests.hostcalls.harness import open_harness
from tests.hostcalls.net.offices import HTTP, get, receive_until
from tests.hostcalls.net.web_guests import CAPABILITIES, free_port, reach, web_server

NOBODY = 9
"""A port on which nobody listens."""


def connector() -> bytes:
    """A guest that is refused 192.0.2.1, and finds nobody on 127.0.0.1."""
    guest = Assembler("net::http::connect")
    for name, domain, text in (("far", "192.0.2.1", b"perm"), ("near", "127.0.0.1", b"inte")):
        arguments = guest.message(abi.NetConnect, abi.NetConnect(HTTP, domain, NOBODY, None))
        guest.text(f"""
        (func ${name}
          (if (i32.ne (i32.const 0x80000001) (call $net.http.connect {arguments})) (then unreachable))
          (if (i32.ne (i32.load offset=4 (i32.const {RESULT})) (i32.const {int.from_bytes(text, "little")}))
            (then unreachable)))""")
    guest.function("start", "(call $far) (call $near)")
    return guest.binary()


async def test_net_185_a_child_has_its_parents_policy(tmp_path: Path) -> None:
    (tmp_path / "child.wasm").write_bytes(connector())
    parent = Assembler("process::start")
    invocation = abi.EntrypointInvocation(abi.AbiSignature(()), ())
    wanted = abi.ProcessStart("child.wasm", "start", (Capability.NET_HTTP_CONNECT,), invocation)
    parent.function(
        "start", f"(drop (call $ok64 (call $process.start {parent.message(abi.ProcessStart, wanted)})))"
    )
    async with open_harness(modules=tmp_path) as harness:
        policy = Network(connect=[Reach("127.0.0.1")])
        started = harness.start(parent, network=policy)
        assert await started.wait() == Returned()
        (child,) = started.children
        assert child.execution.caller.network == policy


async def test_net_185_a_guest_meets_its_policy() -> None:
    async with open_harness() as harness:
        policy = Network(connect=[Reach("127.0.0.1")])
        assert await harness.run(connector(), network=policy) == Returned()


@pytest.mark.serial
async def test_net_191_a_guest_that_computes_holds_up_nobody() -> None:
    port = free_port()
    async with open_node("web") as node:
        await node.spawn(Guest(web_server(port, b"done"), capabilities=CAPABILITIES))
        spinning = await node.spawn(Guest(ACTOR, capabilities=("ActorMessage",), entrypoint="spin"))
        with trio.fail_after(60):
            stream = await reach(port)
            for _ in range(50):
                await stream.send_all(get())
                assert b"200 OK" in await receive_until(stream, b"done")
            await stream.aclose()
            await spinning.stop(timeout=10)
