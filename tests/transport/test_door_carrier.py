"""The carrier that is made of doors, apart from what its users show."""

import os
import socket
from pathlib import Path

import pytest
import trio

from enfilade.actors import open_node
from enfilade.transport import CarrierError, Policy, door_carrier
from enfilade.transport.carrier import Status, hand_over
from enfilade.transport.door_carrier import DoorCarrier
from enfilade.transport.wire import encode_batch
from tests.descriptors import open_descriptors


async def test_opening_what_is_no_door_says_so(tmp_path: Path) -> None:
    """A plain file is what lies at an address whose node is not up."""
    plain = tmp_path / "plain"
    plain.touch()
    for address in (plain, tmp_path):
        with pytest.raises(CarrierError, match="no door is attached"):
            await DoorCarrier().open(str(address))


@pytest.mark.parametrize(
    ("address", "meant"),
    [
        ("bank@east", "a node that is opened with `mesh` calls"),
        ("tcp://127.0.0.1:5000", "nodes on other machines meet in a `mesh`"),
        ("127.0.0.1:5000", "nodes on other machines meet in a `mesh`"),
        ("bank.door", ""),
    ],
)
async def test_an_address_that_is_no_path_of_a_door_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, meant: str
) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_node("shop", policy=Policy(rules=[])) as node:
        with pytest.raises(CarrierError, match="cannot be called: No such file") as raised:
            await node.connect(address)
    advice = str(raised.value).partition("directory")[2]
    assert meant in advice
    assert bool(meant) == bool(advice)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "is a directory"),
        ("nowhere/node.door", "No such file or directory"),
        ("plain/node.door", "Not a directory"),
    ],
)
async def test_an_address_that_cannot_be_attached_to_is_named_once(
    tmp_path: Path, name: str, why: str
) -> None:
    (tmp_path / "plain").touch()
    address = str(tmp_path / name).rstrip("/")
    inlet = DoorCarrier().inlet(capacity=1024, largest=1024)
    try:
        with pytest.raises(CarrierError, match=why) as caught:
            await inlet.attach(address)
    finally:
        inlet.close()
    assert str(caught.value).count(address) == 1


@pytest.mark.parametrize("meanwhile", ["nothing", "another", "renamed"])
async def test_a_relative_address_outlives_a_change_of_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """A name is taken back where it was made, and only while it is this inlet's own."""
    one, two = tmp_path / "one", tmp_path / "two"
    for place in (one, two):
        place.mkdir()
    carrier = DoorCarrier()
    inlets = [carrier.inlet(capacity=1024, largest=1024) for _ in range(3)]
    try:
        monkeypatch.chdir(one)
        await inlets[0].attach("node.door")
        assert carrier.resolve("node.door") == str(one / "node.door")
        monkeypatch.chdir(two)
        await inlets[1].attach("node.door")
        if meanwhile == "another":
            (one / "node.door").unlink()
            await inlets[2].attach(str(one / "node.door"))
        elif meanwhile == "renamed":
            one.rename(tmp_path / "three")
        inlets[0].close()
        assert (one / "node.door").exists() == (meanwhile == "another")
        for address in [two, one] if meanwhile == "another" else [two]:
            (await carrier.open(str(address / "node.door"))).close()
    finally:
        for inlet in inlets:
            inlet.close()
    assert not list(two.iterdir())


@pytest.mark.skipif(door_carrier.ZONES_HAVE_NAMES, reason="doors are no sockets there")
async def test_an_old_name_that_says_nothing_does_not_hold_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who made the file listens, and does not answer: others have their turns, and the attempt ends."""
    monkeypatch.setattr(door_carrier, "ANSWER_SECONDS", 0.3)
    address = str(tmp_path / "node.door")
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await trio.sleep(0.01)
            turns += 1

    inlet = DoorCarrier().inlet(capacity=1024, largest=1024)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as mute:
            mute.bind(address)
            mute.listen()
            (tmp_path / ".node.door.door-orig").touch()  # what a door's file leaves while it is attached
            with trio.fail_after(20):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(take_turns)
                    with pytest.raises(CarrierError, match=r"has not answered for 0.3 s: remove it"):
                        await inlet.attach(address)
                    nursery.cancel_scope.cancel()
        assert turns > 3
    finally:
        inlet.close()


@pytest.mark.skipif(door_carrier.ZONES_HAVE_NAMES, reason="doors are no sockets there")
async def test_a_way_that_is_closed_leaves_no_descriptor_of_its_calls() -> None:
    """A thread keeps a socket for each door that it calls, and the loop's own thread never ends."""
    carrier = DoorCarrier()
    inlets = [carrier.inlet(capacity=1024, largest=1024) for _ in range(10)]
    try:
        for place, inlet in enumerate(inlets):
            before = open_descriptors()
            outlet = carrier.outlet(os.dup(inlet.handle))
            assert await hand_over(outlet, encode_batch(0, 0, []), repeatable=True) is Status.ACCEPTED
            if place % 2:
                assert outlet.start(encode_batch(0, 0, []), repeatable=True) in (None, Status.ACCEPTED)
            outlet.close()
            with trio.fail_after(20):
                while len(open_descriptors()) > len(before):  # noqa: ASYNC110 - the other end is a thread's
                    await trio.sleep(0.01)
            inlet.close()
    finally:
        for inlet in inlets:
            inlet.close()
