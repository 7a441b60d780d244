"""Hostcalls of an application: how they are declared and bound, and what their contracts may return."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.lowlevel

from enfilade.actors import NORMAL, Guest, Trapped, open_node
from enfilade.actors.guests import open_guests, run_guest
from enfilade.hostcalls import (
    Capability,
    Future,
    Hostcall,
    HostcallError,
    NetworkSettings,
    Offer,
    Policy,
    hostcall,
    operation,
)
from enfilade.hostcalls.abi import TimeSleep
from enfilade.hostcalls.codec.rkyv import U8, U32
from enfilade.hostcalls.sdk.wat import Assembler

pytest_plugins = ["enfilade.actors.testing.plugin"]

OURS = Capability(130)


def declared(output: Any = U32) -> Hostcall[Any, Any]:
    return hostcall("example::thing::ask", OURS, None, output)


def asking(body: str = "(call $ok {ask})") -> bytes:
    guest = Assembler("example::thing::ask", "time::sleep")
    nap = guest.message(TimeSleep, TimeSleep(50))
    ask = f"(call $thing.ask {guest.nothing})"
    create = f"(call $thing.ask.create {guest.nothing})"
    text = body.format(ask=ask, create=create, nap=f"(call $ok (call $time.sleep {nap}))")
    guest.function("start", text, "(local i32)")
    return guest.binary()


DROPS = """
    (local.set 0 {create}) {nap}
    (drop (call $thing.ask.drop (local.get 0) (i32.const 0) (i32.const 0))) {nap}
"""


@pytest.mark.parametrize(
    ("name", "capability", "error", "told"),
    [
        (
            5,
            OURS,
            TypeError,
            "name must be the name of a hostcall, such as 'example::weather::forecast', got 5",
        ),
        ("", OURS, ValueError, "must be words with '::' between them, got ''"),
        ("ask", OURS, ValueError, "must be words with '::' between them, got 'ask'"),
        ("a b::c", OURS, ValueError, "must be words with '::' between them, got 'a b::c'"),
        ("a::b::", OURS, ValueError, "must be words with '::' between them, got 'a::b::'"),
        ("a::b", 130, TypeError, "capability must be a Capability, such as Capability(130), got 130"),
        ("a::b", "TimeRead", TypeError, "capability must be a Capability"),
        ("a::b", None, TypeError, "capability must be a Capability"),
    ],
)
def test_a_hostcall_is_declared_with_a_name_and_a_capability(
    name: Any, capability: Any, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=re.escape(told)):
        hostcall(name, capability, None, U32)


@pytest.mark.parametrize("wrong", [5, None, "forecast", [1]])
def test_an_operation_binds_a_hostcall_to_a_function(wrong: Any) -> None:
    with pytest.raises(TypeError, match="function must be a function of the caller and the input, got"):
        operation(declared(), wrong)
    with pytest.raises(TypeError, match="hostcall must be a Hostcall, such as"):
        operation(wrong, lambda caller, value: 1)


WRONG: dict[str, tuple[Callable[[Hostcall[Any, Any]], dict[str, Any]], type[Exception], str]] = {
    "a number among them": (lambda ask: {"operations": [5]}, TypeError, "operations must be made by"),
    "a hostcall": (lambda ask: {"operations": [ask]}, TypeError, "operations must be made by"),
    "one alone": (
        lambda ask: {"operations": operation(ask, lambda caller, value: 1)},
        TypeError,
        "operations must be a sequence of operations, such as [operation(...)]",
    ),
    "two for one": (
        lambda ask: {"operations": [operation(ask, lambda caller, value: 1) for _ in range(2)]},
        ValueError,
        "one operation must serve example::thing::ask, got two",
    ),
    "modules": (lambda ask: {"modules": 5}, TypeError, "modules must be a directory or a ModuleStore, got 5"),
    "engine": (lambda ask: {"engine": Policy()}, TypeError, "engine must be an EngineConfig, such as"),
    "policy": (lambda ask: {"policy": NetworkSettings()}, TypeError, "policy must be a Policy, such as"),
    "network": (lambda ask: {"network": "none"}, TypeError, "network must be NetworkSettings"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_guests_are_opened_with_settings_of_their_kinds(case: str) -> None:
    """The mistake is seen where it is made; the node can be prepared afterwards."""
    settings, error, told = WRONG[case]
    async with open_node("n") as node:
        with pytest.raises(error, match=re.escape(told)):
            open_guests(node, **settings(declared()))
        open_guests(node, operations=[operation(declared(), lambda caller, value: 1)])
        assert await run_guest(node, Guest(asking(), capabilities=[OURS])) == NORMAL


def _now(caller: Any, value: None, offer: Offer[int]) -> Offer[int]:
    return offer


async def _later(caller: Any, value: None, offer: Offer[int]) -> Offer[int]:
    await trio.lowlevel.checkpoint()
    return offer


def _future(caller: Any, value: None, offer: Offer[int]) -> Future[Offer[int]]:
    future: Future[Offer[int]] = Future()
    future.resolve(offer)
    return future


@pytest.mark.parametrize("contract", [_now, _later, _future])
async def test_an_offer_is_taken_back_however_it_was_made(contract: Callable[..., Any]) -> None:
    """Returned at once it is an offer as well: once when the guest drops the future, never when it has it."""
    back: list[int] = []
    ask = operation(
        declared(), lambda caller, value: contract(caller, value, Offer(7, lambda: back.append(1)))
    )
    async with open_node("n") as node:
        open_guests(node, operations=[ask])
        guest = Guest(asking(DROPS), capabilities=[OURS, "TimeRead"])
        assert await run_guest(node, guest) == NORMAL
        assert back == [1]
        polls = asking("(if (i32.ne (call $ok32 {ask}) (i32.const 7)) (then unreachable)) {nap}")
        assert await run_guest(node, Guest(polls, capabilities=[OURS, "TimeRead"])) == NORMAL
        assert back == [1]


async def test_an_offer_that_does_not_fit_is_taken_back() -> None:
    """The guest gets an error in its place."""
    back: list[int] = []
    ask = operation(declared(U8), lambda caller, value: Offer(256, lambda: back.append(1)))
    async with open_node("n") as node:
        open_guests(node, operations=[ask])
        assert isinstance(await run_guest(node, Guest(asking(), capabilities=[OURS])), Trapped)
    assert back == [1]


@pytest.mark.parametrize("text", ["my own words", ""])
async def test_an_error_of_the_application_is_the_guests(text: str) -> None:
    def refuse(caller: Any, value: None) -> int:
        raise HostcallError(text, why="the shop is closed; come back later")

    async with open_node("n") as node:
        open_guests(node, operations=[operation(declared(), refuse)])
        reason = await run_guest(node, Guest(asking(), capabilities=[OURS]))
    assert isinstance(reason, Trapped)
    assert "example::thing::ask was refused: the shop is closed; come back later" in reason.message
