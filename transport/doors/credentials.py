"""Credentials of callers."""

from typing import Any, Self

import attrs

from enfilade.transport.doors import api
from enfilade.transport.doors._doors import ffi, lib
from enfilade.transport.doors._ucred import given


@attrs.frozen
class Credentials:
    """The caller of a door, as the kernel vouches for it.

    On illumos they are those of the moment of the question; on Linux those of the caller's connection,
    which is made anew whenever the caller's ids change.

    Attributes:
        pid: its process; 0 for the notification that a door is unreferenced, and, on Linux, for a caller in a
            process namespace that cannot be seen from here.
        euid, egid: effective user and group, which permissions are checked against. On Linux -1 for one
            that has no number in our user namespace: the kernel tells all of those by the same number.
        ruid, rgid, suid, sgid: real and saved ones; -1 likewise, and where the system does not tell.
        groups: supplementary groups, as far as they have a number here.
        zone: id of its zone, 0 for the global one (see `enfilade.transport.zones`).
    """

    pid: int
    euid: int
    egid: int
    ruid: int
    rgid: int
    suid: int
    sgid: int
    groups: tuple[int, ...]
    zone: int

    @classmethod
    def of_caller(cls) -> Self:
        """Return the credentials of the caller of the server procedure that is running on this thread.

        Raises `DoorUcredError.EINVAL` when there is none: not in a server procedure, or the client has gone.
        """
        place = ffi.new("ucred_t **")
        api.door_ucred(place)
        try:
            return cls.from_ucred(place[0])
        finally:
            lib.ucred_free(place[0])

    @classmethod
    def from_ucred(cls, ucred: Any) -> Self:
        """Read the credentials out of `ucred`, a `ucred_t *`. Raises `ValueError` for `NULL`."""
        given(ucred)
        groups = ffi.new("gid_t **")
        count = lib.ucred_getgroups(ucred, groups)
        return cls(
            pid=lib.ucred_getpid(ucred),
            euid=_id(lib.ucred_geteuid(ucred)),
            egid=_id(lib.ucred_getegid(ucred)),
            ruid=_id(lib.ucred_getruid(ucred)),
            rgid=_id(lib.ucred_getrgid(ucred)),
            suid=_id(lib.ucred_getsuid(ucred)),
            sgid=_id(lib.ucred_getsgid(ucred)),
            groups=tuple(group for group in groups[0][0 : max(count, 0)] if _id(group) != -1),
            zone=lib.ucred_getzoneid(ucred),
        )


def _id(number: int) -> int:
    """A user or group id; where the type is unsigned, as on Linux, its -1 is a large number."""
    return -1 if number == 0xFFFFFFFF else number
