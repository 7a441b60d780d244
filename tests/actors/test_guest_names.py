"""Guests and names that nobody holds: the guest gets an error that says so, and never one of the kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from enfilade.actors import Actor, Backoff, Child, Node, Ref, Supervisor, open_node
from enfilade.actors.guests import Guest
from enfilade.actors.guests.guest_host import NodeHost
from enfilade.actors.processes.local_ref import process_of
from enfilade.hostcalls.abi.actor_types import ActorReason, ReasonKind
from enfilade.hostcalls.abi.errors import HostcallError, InvalidArgument
from enfilade.hostcalls.resources.futures import Future
from enfilade.hostcalls.resources.message import Message
from tests.hostcalls.guests import ACTOR, CAPABILITIES

Use = Callable[[NodeHost, Ref[Any]], Any]
USES: dict[str, Use] = {
    "send": lambda host, to: host.send(to, Message(b"x")),
    "call": lambda host, to: host.call(to, Message(b"x"), 1.0),
    "link": lambda host, to: host.link(to),
    "unlink": lambda host, to: host.unlink(to),
    "monitor": lambda host, to: host.monitor(to),
    "exit": lambda host, to: host.exit(to, ActorReason(ReasonKind.SHUTDOWN)),
    "register": lambda host, to: host.register("other", to),
}


class Store(Actor):
    def request(self, data: bytes) -> bytes:
        return b"ok"

    def crash(self) -> None:
        raise RuntimeError("on purpose")


async def host_of_guest(node: Node) -> NodeHost:
    """What a guest that may do everything with these names sees of the node."""
    guest = Guest(
        ACTOR, entrypoint="idle", capabilities=CAPABILITIES, finds=["*"], registers=["*"], ends=["*"]
    )
    process = process_of(await node.spawn(guest))
    assert process is not None
    body: Any = process.body
    host: NodeHost = body.actors
    return host


async def outcome(use: Use, host: NodeHost, to: Ref[Any]) -> str:
    """The error text that the guest gets, or an empty one."""
    try:
        result = use(host, to)
        if isinstance(result, Future):
            await result.wait()
    except HostcallError as error:
        return error.text
    return ""


@pytest.mark.parametrize("use", USES)
async def test_a_name_that_nobody_holds(use: str) -> None:
    """Every hostcall that takes an actor gives an error of the guest's, or none."""
    async with open_node("test") as node:
        host = await host_of_guest(node)
        text = await outcome(USES[use], host, node.named("nobody"))
        assert "administrator" not in text
        if use == "call":
            assert text == "internal error: call failed: no process"
        if use == "link":
            assert text in ("resource not found", "permission denied")


@pytest.mark.parametrize("use", USES)
async def test_a_name_whose_holder_is_restarting(use: str, autojump_clock: trio.abc.Clock) -> None:
    """The error says that a supervisor is at work, so that the guest can try again."""
    async with open_node("test") as node:
        host = await host_of_guest(node)
        store = Child(Store, id="store", name="store", backoff=Backoff(first=5))
        await node.spawn(Supervisor, [store], intensity=10)
        named: Ref[Any] = node.named("store")
        assert await outcome(USES["call"], host, named) == ""
        named.cast(Store.crash)
        await trio.sleep(0.1)
        text = await outcome(USES[use], host, named)
        assert "administrator" not in text
        if use == "call":
            assert "is being restarted by its supervisor; call again later" in text


@pytest.mark.parametrize("name", ["", "a\nb", "\x1b[2J", "a\u202eb", "x" * 129, "x" * 10_000])
async def test_a_guest_takes_no_name_that_operators_cannot_read(name: str) -> None:
    """The node keeps a name, and shows it: it has a bound, and cannot act on a terminal."""
    async with open_node("n") as node:
        host = await host_of_guest(node)
        ref = host._process.ref
        with pytest.raises(InvalidArgument):
            host.register(name, ref)
        assert node.whereis(name) is None
        host.register("x" * 128, ref)
        assert node.whereis("x" * 128) == ref
