"""Names of zones, configured and derived."""

import pytest

from enfilade.transport import zones
from enfilade.transport.doors._doors import lib


def test_own_zone_has_a_good_name() -> None:
    own = zones.own()
    assert zones.is_name(own.name)
    assert own.id == lib.getzoneid()
    assert own in zones.known()
    assert own.is_global == (own.name == "global")


def test_argument_before_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(zones.ENVIRONMENT, "from-the-environment")
    assert zones.own().name == "from-the-environment"
    assert zones.own("given").name == "given"


@pytest.mark.parametrize("name", ["", "-x", ".x", "with space", "x" * 64, "a/b"])
def test_names_that_no_zone_has(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not zones.is_name(name)
    with pytest.raises(ValueError, match="the argument"):
        zones.own(name)
    monkeypatch.setenv(zones.ENVIRONMENT, name)
    with pytest.raises(ValueError, match=zones.ENVIRONMENT):
        zones.own()


@pytest.mark.parametrize("name", ["global", "web-1", "a", "9.x_y", "x" * 63])
def test_names_that_a_zone_may_have(name: str) -> None:
    assert zones.is_name(name)
    assert zones.own(name).name == name


def test_look_ups() -> None:
    own = zones.own()
    assert zones.by_id(own.id).id == own.id
    with pytest.raises(zones.ZoneError.EINVAL):
        zones.by_id(9998)
    with pytest.raises(zones.ZoneError.EINVAL):
        zones.by_name("no-such-zone")
    with pytest.raises(zones.ZoneError.ENAMETOOLONG):
        zones.by_name("z" * 64)
