"""The mistakes that newcomers make with a guest of each kit, and what they are told: what was expected, what
was got, and what to do.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from enfilade.actors import BadArguments, Down, ProcessDied, StartError, UnknownMethod, open_node
from enfilade.actors.guests import Guest

pytestmark = pytest.mark.real

CAPABILITIES = ("ActorMessage", "TimeRead", "ChannelLifecycle", "ChannelWriter")


def a_filter(module: Path, *, without: str = "", **changes: Any) -> Guest:
    described = {
        "capabilities": [name for name in CAPABILITIES if name != without],
        "arguments": [10, 3],
        "label": "filter",
    }
    return Guest(module, **{**described, **changes})


async def test_a_capability_that_was_forgotten(module: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The one who asks the guest is told, and so are the log and the exit reason."""
    told = "the capability TimeRead is not granted; grant it: capabilities=['TimeRead']"
    async with open_node("test") as node, node.mailbox() as me:
        ref = await node.spawn(a_filter(module, without="TimeRead"))
        me.monitor(ref)
        with pytest.raises(ProcessDied) as died:
            await ref.call(Guest.request, b"alice")
        assert told in str(died.value)
        assert told in str((await me.receive(Down)).reason)
    assert f"guest filter: selium::time::now was refused: {told}" in caplog.text


async def test_a_guest_that_may_not_receive(module: Path, caplog: pytest.LogCaptureFixture) -> None:
    told = "the capability ActorMessage is not granted; grant it: capabilities=['ActorMessage']"
    async with open_node("test") as node, node.mailbox() as me:
        ref = await node.spawn(a_filter(module, without="ActorMessage"))
        me.monitor(ref)
        with pytest.raises(UnknownMethod, match=r"a guest without the capability ActorMessage \(grant it: "):
            await ref.call(Guest.request, b"alice")
        assert told in str((await me.receive(Down)).reason)
    assert told in caplog.text


@pytest.mark.parametrize("name", ["ChannelLifecycle", "ChannelWriter"])
async def test_a_log_that_was_not_granted(module: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """The guest does its work without a log, and the host says why there is none."""
    caplog.set_level(logging.DEBUG)
    async with open_node("test") as node:
        ref = await node.spawn(a_filter(module, without=name))
        assert await ref.call(Guest.request, b"alice") == b"pass"
    assert f"the capability {name} is not granted; grant it: capabilities=['{name}']" in caplog.text
    assert "enfilade.guest.filter" not in {record.name for record in caplog.records}


async def test_a_text_in_place_of_bytes(module: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told = "guests receive only bytes and enfilade.hostcalls.Message; encode text: `text.encode()`"
    async with open_node("test") as node:
        ref = await node.spawn(a_filter(module))
        with pytest.raises(BadArguments) as refused:
            await ref.call(Guest.request, "alice")  # type: ignore[arg-type]
        assert f"got ('alice'): {told}" in str(refused.value)
        ref.send("alice")
        assert await ref.call(Guest.request, b"alice") == b"pass"
    [record] = [each for each in caplog.records if "dead letter" in each.message]
    assert record.levelno == logging.WARNING
    assert f"(Guest) ({told}): 'alice'" in record.message


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            [],
            "'start' takes (i32, i32); the arguments are (); give it arguments=[1, 1], where bytes or a text",
        ),
        ([1], "the arguments are (i32);"),
        ([1, 2, 3], "the arguments are (i32, i32, i32);"),
    ],
)
async def test_other_arguments_than_the_entrypoint_takes(
    module: Path, arguments: list[int], told: str
) -> None:
    async with open_node("test") as node:
        with pytest.raises(StartError) as refused:
            await node.spawn(a_filter(module, arguments=arguments))
    assert told in str(refused.value)


async def test_an_entrypoint_that_is_not_exported(module: Path) -> None:
    async with open_node("test") as node:
        for name, hint in (("main", "its functions: start"), ("strat", "did you mean 'start'?")):
            with pytest.raises(StartError) as refused:
                await node.spawn(a_filter(module, entrypoint=name))
            assert f"the module exports no function named {name!r}" in str(refused.value)
            assert hint in str(refused.value)


async def test_a_path_that_leads_nowhere(module: Path) -> None:
    wrong = module.with_suffix(".wsm")
    async with open_node("test") as node:
        with pytest.raises(StartError, match=r"cannot read module 'filter\.wsm' below .*: No such file"):
            await node.spawn(a_filter(wrong))
