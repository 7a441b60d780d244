"""The carrier that is made of doors, apart from what its users show."""

from pathlib import Path

import pytest

from transport.carrier import CarrierError
from transport.doorway import DoorCarrier


async def test_opening_what_is_no_door_says_so(tmp_path: Path) -> None:
    """A plain file is what lies at an address whose node is not up."""
    plain = tmp_path / "plain"
    plain.touch()
    for address in (plain, tmp_path):
        with pytest.raises(CarrierError, match="no door is attached"):
            await DoorCarrier().open(str(address))
