"""A call with two or three faults fails for the first of them, in the order of the kernel's checks; what that
says of the descriptors that the caller gives away is so (doors-kernel C1, C2).
"""

import itertools
import os
from typing import Final

import pytest

from enfilade.transport.doors import DoorError
from enfilade.transport.doors.api import (
    DOOR_DESCRIPTOR,
    DOOR_PARAM_DATA_MAX,
    DOOR_PARAM_DATA_MIN,
    DOOR_PARAM_DESC_MAX,
    DOOR_REFUSE_DESC,
    DOOR_RELEASE,
    door_call,
    door_create,
    door_return,
    door_revoke,
    door_setparam,
    ffi,
)
from tests.conformance.doors.backend import REPORTS_FAULTS
from tests.conformance.doors.verbatim import CData

FAULTS: Final = {
    "revoked": "EBADF",
    "too little data": "ENOBUFS",
    "too much data": "ENOBUFS",
    "descriptors refused": "ENOTSUP",
    "more than DESC_MAX": "ENFILE",
    "more than 1024": "E2BIG",
    "too large for the stack": "E2BIG",
    "bad data": "EFAULT",
    "bad array": "EFAULT",
    "bad entry": "EINVAL",
}
"""In the order of the checks, and the error of each."""

APART: Final = [
    {"too little data", "too much data"},
    {"too little data", "too large for the stack"},
    {"bad array", "bad entry"},
    {"descriptors refused", "more than DESC_MAX"},  # such a door takes none, and says so first
]
"""Faults that no call has together."""

LARGE, MANY = 4 << 20, 1025


def combinations() -> list[tuple[str, ...]]:
    """All pairs and triples of faults that a call may have."""
    found = [*itertools.combinations(FAULTS, 1), *itertools.combinations(FAULTS, 2)]
    found += itertools.combinations(FAULTS, 3)
    return [faults for faults in found if not any(apart <= set(faults) for apart in APART)]


def make_door(faults: tuple[str, ...], ran: list[bool]) -> int:
    """A door that refuses what the faults are against."""

    def procedure(cookie: object, argp: CData, size: int, dp: CData, count: int) -> None:
        ran.append(True)
        for place in range(count):
            os.close(dp[place].d_data.d_desc.d_descriptor)
        return door_return(ffi.NULL, 0, ffi.NULL, 0)

    door = door_create(procedure, None, DOOR_REFUSE_DESC if "descriptors refused" in faults else 0)
    if "too little data" in faults:
        door_setparam(door, DOOR_PARAM_DATA_MIN, 100)
    if "too much data" in faults:
        door_setparam(door, DOOR_PARAM_DATA_MAX, 5)
    if "more than DESC_MAX" in faults:
        door_setparam(door, DOOR_PARAM_DESC_MAX, 1)
    return door


@pytest.mark.skipif(not REPORTS_FAULTS, reason="bad pointers end the process before Linux 5.14")
@pytest.mark.parametrize("faults", combinations(), ids=", ".join)
def test_the_first_fault_is_told(faults: tuple[str, ...]) -> None:
    ran: list[bool] = []
    door = make_door(faults, ran)
    other = os.dup(door)
    if "revoked" in faults:
        door_revoke(door)
    given = os.open(os.devnull, os.O_RDONLY)
    count = MANY if "more than 1024" in faults else 2
    array = ffi.new("door_desc_t[]", count)
    for place in array:
        place.d_attributes = DOOR_DESCRIPTOR
        place.d_data.d_desc.d_descriptor = 0
    array[0].d_attributes = DOOR_DESCRIPTOR | DOOR_RELEASE
    array[0].d_data.d_desc.d_descriptor = given
    if "bad entry" in faults:
        array[count - 1].d_data.d_desc.d_descriptor = -1
    data = ffi.new("char[]", LARGE if "too large for the stack" in faults else 10)
    params = ffi.new("door_arg_t *")
    params.data_ptr = ffi.cast("char *", 8) if "bad data" in faults else data
    params.data_size = len(data)
    params.desc_ptr = ffi.cast("door_desc_t *", 8) if "bad array" in faults else array
    params.desc_num = count
    before = bytes(ffi.buffer(params))
    error = FAULTS[faults[0]]
    try:
        with pytest.raises(DoorError) as raised:
            door_call(other, params)
        assert type(raised.value).__name__ == error
        assert bytes(ffi.buffer(params)) == before
        assert not ran
        is_open = os.path.exists(f"/proc/self/fd/{given}") or os.path.exists(f"/dev/fd/{given}")
        assert is_open == (error != "EINVAL")
    finally:
        if error != "EINVAL":
            os.close(given)
        os.close(other)
        if "revoked" not in faults:
            os.close(door)
