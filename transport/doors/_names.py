"""Giving a door a name that another door has."""

import contextlib
import errno
import os
from collections.abc import Callable

from transport.doors import api
from transport.doors._doors import lib
from transport.doors.errors import DoorOpenError, FattachError, FdetachError, NotADoor

ATTEMPTS = 100


def replace(fd: int, path: api.Path, mode: int, *, create: Callable[[api.Path, int], bool]) -> None:
    """Attach `fd` to `path`, detaching the door that is there; another server may be doing the
    same just now.
    """
    for _ in range(ATTEMPTS):
        create(path, mode)
        try:
            api.fattach(fd, path)
        except FattachError.EBUSY:
            _detach(path)
        except FattachError.ENOENT:
            continue  # removed since it was created
        else:
            return
    raise FattachError.of(errno.EBUSY, os.fsdecode(path))


def _detach(path: api.Path) -> None:
    """Detach a door, and nothing but a door: on illumos `fdetach` would unmount any file system that is
    there.
    """
    try:
        fd = api.door_open(path)
    except DoorOpenError.ENOENT:
        return
    try:
        if lib.is_door(fd) != 1:
            raise NotADoor.at(os.fsdecode(path))
    finally:
        os.close(fd)
    with contextlib.suppress(FdetachError.EINVAL, FdetachError.ENOENT):
        api.fdetach(path)
