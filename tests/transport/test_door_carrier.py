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
