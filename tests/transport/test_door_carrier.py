"""The carrier that is made of doors, apart from what its users show."""

from pathlib import Path

import pytest

from enfilade.transport import CarrierError
from enfilade.transport.door_carrier import DoorCarrier


async def test_opening_what_is_no_door_says_so(tmp_path: Path) -> None:
    """A plain file is what lies at an address whose node is not up."""
    plain = tmp_path / "plain"
    plain.touch()
    for address in (plain, tmp_path):
        with pytest.raises(CarrierError, match="no door is attached"):
            await DoorCarrier().open(str(address))


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
            inlet.attach(address)
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
        inlets[0].attach("node.door")
        assert carrier.resolve("node.door") == str(one / "node.door")
        monkeypatch.chdir(two)
        inlets[1].attach("node.door")
        if meanwhile == "another":
            (one / "node.door").unlink()
            inlets[2].attach(str(one / "node.door"))
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
