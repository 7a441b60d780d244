"""7.18: zones."""

import errno
import json
import os
import subprocess
from pathlib import Path

import pytest

from enfilade.transport import namespaces, zones
from enfilade.transport.doors import Client, Door, Request
from enfilade.transport.doors.api import door_open, ffi
from enfilade.transport.zones import ZoneError, getzoneid, getzoneidbyname, getzonenamebyid
from tests.conformance.doors.backend import NATIVE, native_only
from tests.conformance.doors.peer import Link, Peer
from tests.conformance.doors.verbatim import call


def name_of(identity: int) -> str:
    buffer = ffi.new("char[]", 64)
    needed = getzonenamebyid(identity, buffer, 64)
    name = ffi.string(buffer).decode()
    assert needed == len(name) + 1
    return name


def test_door_z1_own_zone() -> None:
    """One's own id, its name, and the id by that name agree; without a name it is one's own."""
    own = getzoneid()
    assert getzoneidbyname(name_of(own)) == own
    assert getzoneidbyname(None) == own
    if own == 0:
        assert name_of(own) == "global"


def test_door_z2_unknown_zone() -> None:
    """An id that no zone has is EINVAL, as is such a name; one that is too long is ENAMETOOLONG."""
    with pytest.raises(ZoneError.EINVAL):
        name_of(9998)
    with pytest.raises(ZoneError.EINVAL):
        getzoneidbyname("no-such-zone")
    with pytest.raises(ZoneError.ENAMETOOLONG):
        getzoneidbyname("z" * 64)


def test_door_z5_short_buffer() -> None:
    """A short buffer gets the beginning; the length that is needed is returned."""
    buffer = ffi.new("char[]", b"????????")
    needed = getzonenamebyid(getzoneid(), buffer, 3)
    assert needed == len(name_of(getzoneid())) + 1
    assert ffi.buffer(buffer, 4)[3:] == b"?"


def ask(link: Link, path: str) -> None:
    door = door_open(path)
    link.say([json.loads(call(door, b"x")), zones.own().name])
    link.hear()


def guard(request: Request) -> bytes:
    """Serves the global zone alone, that is, the server's own."""
    zone = request.credentials().zone
    return json.dumps(["welcome" if zone == 0 else "denied", zones.by_id(zone).name]).encode()


@pytest.mark.zones
@pytest.mark.skipif(NATIVE or not namespaces.available(), reason="no namespaces can be made here")
def test_door_z4_server_for_one_zone(tmp_path: Path) -> None:
    """A server that admits its own zone alone denies a client in another, and both call that zone by one
    name.
    """
    path = str(tmp_path / "z4.door")
    with Door(guard) as door:
        door.install(path)
        with Peer(ask, path) as peer:
            (answer, seen), own = peer.hear()
            assert answer == "welcome"
            assert seen == own
        kinds = [kind for kind in ("user", "mount", "pid") if kind in namespaces.available()]
        with Peer(ask, path, command=namespaces.command(["env"], kinds)) as peer:
            (answer, seen), own = peer.hear()
            assert answer == "denied"
            assert seen == own != zones.own().name
        assert own in {zone.name for zone in zones.known()}
        assert zones.by_name(own).id > 0


@native_only("zone_enter is illumos' own")
def test_door_z6_zone_enter() -> None:
    """zone_enter of one's own zone, of the global one and of none is EINVAL, or EPERM without privilege."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    for identity in (getzoneid(), 0, 9998):
        assert libc.zone_enter(identity) == -1
        assert ctypes.get_errno() in (errno.EINVAL, errno.EPERM)


@native_only("needs a zone that can be booted")
def test_door_z7_zone_reboot(tmp_path: Path) -> None:
    """A door that the global zone attached below a zone's root is attached again after the zone was booted
    again.
    """
    zone = os.environ.get("DOORS_TEST_ZONE")
    if zone is None:
        pytest.skip("DOORS_TEST_ZONE names no zone that may be booted again")
    root = Path("/zones", zone, "root/var/tmp")
    with Door(lambda request: b"from the global zone") as door:
        for _ in range(2):
            door.force_install(root / ".enfilade-test")
            with Client.open(root / ".enfilade-test") as client:
                assert client.call_with_data(b"") == b"from the global zone"
            subprocess.run(["zoneadm", "-z", zone, "reboot"], check=True, timeout=300)
