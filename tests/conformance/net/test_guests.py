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
from enfilade.hostcalls.sdk.wat import Assembler
from tests.hostcalls.guests import ACTOR
from tests.hostcalls.harness import open_harness
from tests.hostcalls.net.offices import get, receive_until
from tests.hostcalls.net.web_guests import CAPABILITIES, CONNECTOR, reach, web_server
from tests.ports import free_port


async def test_net_185_a_child_has_its_parents_policy(tmp_path: Path) -> None:
    (tmp_path / "child.wasm").write_bytes(CONNECTOR)
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
        assert await harness.run(CONNECTOR, network=policy) == Returned()


@pytest.mark.real
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
