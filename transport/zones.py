"""Zones: the isolation containers that nodes live in.

On illumos a zone is a zone. On Linux it is a set of namespaces (user, mount, process); the doors library
numbers the sets that it meets, and 0 is always its own. An id means something to this process only, and only
as long as the zone is up; what to write down is a name.

The name of one's own zone can be configured: by an argument, or by the environment variable `ENFILADE_ZONE`.
Otherwise it is, on illumos, the zone's name, and on Linux "global", or, in namespaces of one's own, a name
derived from them.
"""

import contextlib
import errno
import os
import re
import sys

import attrs

from enfilade.transport.doors._doors import ffi, lib
from enfilade.transport.doors.errors import DoorError

GLOBAL_ZONE_ID = 0
GLOBAL_ZONE_NAME = "global"
MAX_ZONE_ID = 9999
ENVIRONMENT = "ENFILADE_ZONE"

_NAME = re.compile(r"[a-zA-Z0-9][-_.a-zA-Z0-9]{0,62}")
_NAME_BYTES = 64
_ATTRIBUTE_UNIQUE_ID = 5
_UNKNOWN = "the zone does not exist, or cannot be seen from here"

# Inode numbers that the kernel gives the namespaces that it starts with. That of the mounts was the first of
# those that are given out, until it became fixed as well.
_INITIAL_USER = 0xEFFFFFFD
_INITIAL_PROCESS = 0xEFFFFFFC
_INITIAL_MOUNT = (0xEFFFFFF8, 0xF0000000, 0xF0000001)

_NAMESPACES = re.compile(r"ns-([0-9a-f]+)-([0-9a-f]+)-([0-9a-f]+)")


class ZoneError(
    DoorError,
    function="the look-up of a zone",
    errors={
        "EINVAL": _UNKNOWN,
        "ENAMETOOLONG": f"the name of a zone has at most {_NAME_BYTES - 1} characters",
    },
):
    """A zone that cannot be looked up."""


def getzoneid() -> int:
    """The id of one's own zone. Source: getzoneid(3C)."""
    return lib.getzoneid()


def getzoneidbyname(name: str | None) -> int:
    """The id of the zone of this name; with `None`, of one's own.

    On Linux the names are those that the library gave the zones that it has met.

    Raises `ZoneError`: EINVAL, ENAMETOOLONG. Source: getzoneid(3C).
    """
    found = lib.getzoneidbyname(ffi.NULL if name is None else name.encode())
    if found < 0:
        raise ZoneError.of(ffi.errno, repr(name))
    return found


def getzonenamebyid(id: int, buf: object, buflen: int) -> int:  # noqa: A002
    """Write the name of a zone into `buf`, a `char *`, as far as `buflen` bytes go; return how many it needs.

    The count includes the final NUL; 64 bytes are always enough. Raises `ZoneError.EINVAL`. Source:
    getzoneid(3C).
    """
    needed = lib.getzonenamebyid(id, buf, buflen)
    if needed < 0:
        raise ZoneError.of(ffi.errno, f"id {id}")
    return needed


@attrs.frozen
class Zone:
    """A zone: its id in this process, and its name.

    Attributes:
        id: as `getzoneid` gives it; it means something to this process only.
        name: what to write down.
        unique: on illumos, a number that tells a zone that was booted again from the one before; 0 on Linux.
    """

    id: int
    name: str
    unique: int = 0

    @property
    def is_global(self) -> bool:
        """Tell whether it is the global zone of the machine, which contains the others."""
        return self.name == GLOBAL_ZONE_NAME


def is_name(name: str) -> bool:
    """Tell whether a zone name is valid: at most 63 letters, digits, `-`, `_`, `.`; no mark at first."""
    return _NAME.fullmatch(name) is not None


def own(name: str | None = None) -> Zone:
    """One's own zone.

    Args:
        name: what to call it; by default the environment variable `ENFILADE_ZONE`, or else what the system
            says.

    Raises `ValueError` if that is not a valid name.
    """
    chosen = name if name is not None else os.environ.get(ENVIRONMENT)
    if chosen is not None and not is_name(chosen):
        source = "the argument" if name is not None else f"the environment variable {ENVIRONMENT}"
        raise ValueError(
            f"{chosen!r} ({source}) is not a valid name of a zone: "
            "use at most 63 letters, digits, '-', '_' and '.', and begin with a letter or a digit"
        )
    identity = getzoneid()
    return Zone(identity, chosen if chosen is not None else _name(identity), _unique(identity))


def by_id(id: int) -> Zone:  # noqa: A002
    """The zone with this id, for instance that of a caller (`Credentials.zone`).

    Raises `ZoneError.EINVAL`.
    """
    return Zone(id, _name(id), _unique(id))


def by_name(name: str) -> Zone:
    """The zone of this name, as far as it can be seen from here. Raises `ZoneError`: EINVAL, ENAMETOOLONG."""
    if len(name) >= _NAME_BYTES:
        raise ZoneError.of(errno.ENAMETOOLONG, repr(name))
    for zone in known():
        if zone.name == name:
            return zone
    raise ZoneError.of(errno.EINVAL, repr(name))


def known() -> tuple[Zone, ...]:
    """The zones that can be seen from here: on illumos those of the system, on Linux one's own and those met
    so far.
    """
    zones = []
    for identity in _ids():
        with contextlib.suppress(ZoneError):  # it went down while we looked
            zones.append(by_id(identity))
    return tuple(zones)


def _ids() -> list[int]:
    if not hasattr(lib, "zone_list"):
        # The library numbers zones without gaps.
        ids = [GLOBAL_ZONE_ID]
        while ids[-1] < MAX_ZONE_ID and lib.getzonenamebyid(ids[-1] + 1, ffi.NULL, 0) > 0:
            ids.append(ids[-1] + 1)
        return ids
    room = 16
    while True:
        found = ffi.new("zoneid_t[]", room)
        count = ffi.new("uint_t *", room)
        if lib.zone_list(found, count) < 0:
            raise ZoneError.of(ffi.errno)
        if count[0] <= room:
            return list(found[0 : count[0]])
        room = count[0]


def _name(identity: int) -> str:
    if identity == GLOBAL_ZONE_ID and sys.platform.startswith("linux") and not hasattr(lib, "zone_list"):
        return _name_of_namespaces(
            *(os.stat(f"/proc/self/ns/{kind}").st_ino for kind in ("user", "mnt", "pid"))
        )
    buffer = ffi.new("char[]", _NAME_BYTES)
    getzonenamebyid(identity, buffer, _NAME_BYTES)
    name = ffi.string(buffer).decode()
    namespaces = _NAMESPACES.fullmatch(name)
    if namespaces is None:
        return name
    user, mount, process = (int(number, 16) for number in namespaces.groups())
    return _name_of_namespaces(user, mount, process)


def _name_of_namespaces(user: int, mount: int, process: int) -> str:
    """The name of a set of namespaces: the same whoever asks, because their numbers are those
    of the machine.
    """
    if user == _INITIAL_USER and process == _INITIAL_PROCESS and mount in _INITIAL_MOUNT:
        return GLOBAL_ZONE_NAME
    return f"ns-{user:x}-{mount:x}-{process:x}"


def _unique(identity: int) -> int:
    if not hasattr(lib, "zone_getattr"):
        return 0
    number = ffi.new("unsigned long long *")
    if lib.zone_getattr(identity, _ATTRIBUTE_UNIQUE_ID, number, 8) < 0:
        raise ZoneError.of(ffi.errno, f"id {identity}")
    return int(number[0])
