"""7.1: the layouts and the constants that a C program would see."""

import os

from enfilade.transport.doors import api
from enfilade.transport.doors._doors import ffi, lib
from enfilade.transport.doors.api import NULL, door_call, door_create, door_return, door_revoke
from tests.conformance.doors.verbatim import Arguments, CData


def offsets(structure: str, *members: tuple[str, ...]) -> list[int]:
    return [ffi.offsetof(structure, *member) for member in members]


def test_door_l1_layouts() -> None:
    """Sizes, alignments and offsets of the four structures, as on illumos amd64."""
    assert (ffi.sizeof("door_arg_t"), ffi.alignof("door_arg_t")) == (48, 8)
    members = ("data_ptr", "data_size", "desc_ptr", "desc_num", "rbuf", "rsize")
    assert offsets("door_arg_t", *((name,) for name in members)) == [0, 8, 16, 24, 32, 40]

    assert (ffi.sizeof("door_desc_t"), ffi.alignof("door_desc_t")) == (24, 4)
    assert offsets(
        "door_desc_t",
        ("d_attributes",),
        ("d_data", "d_desc", "d_descriptor"),
        ("d_data", "d_desc", "d_id"),
        ("d_data", "d_resv"),
    ) == [0, 4, 8, 4]

    assert (ffi.sizeof("door_info_t"), ffi.alignof("door_info_t")) == (48, 4)
    members = ("di_target", "di_proc", "di_data", "di_attributes", "di_uniquifier", "di_resv")
    assert offsets("door_info_t", *((name,) for name in members)) == [0, 4, 12, 20, 24, 32]

    assert (ffi.sizeof("door_cred_t"), ffi.alignof("door_cred_t")) == (36, 4)
    members = ("dc_euid", "dc_egid", "dc_ruid", "dc_rgid", "dc_pid", "dc_resv")
    assert offsets("door_cred_t", *((name,) for name in members)) == [0, 4, 8, 12, 16, 20]


def test_door_l2_constants() -> None:
    """The constants have the values that they have on illumos."""
    expected = {
        "DOOR_UNREF": 0x01,
        "DOOR_PRIVATE": 0x02,
        "DOOR_LOCAL": 0x04,
        "DOOR_REVOKED": 0x08,
        "DOOR_UNREF_MULTI": 0x10,
        "DOOR_IS_UNREF": 0x20,
        "DOOR_REFUSE_DESC": 0x40,
        "DOOR_NO_CANCEL": 0x80,
        "DOOR_NO_DEPLETION_CB": 0x100,
        "DOOR_PRIVCREATE": 0x200,
        "DOOR_DEPLETION_CB": 0x400,
        "DOOR_CREATE_MASK": 0x3D3,
        "DOOR_ATTR_MASK": 0x3FF,
        "DOOR_DESCRIPTOR": 0x10000,
        "DOOR_RELEASE": 0x40000,
        "DOOR_INVAL": -1,
        "DOOR_QUERY": -2,
        "DOOR_PARAM_DESC_MAX": 1,
        "DOOR_PARAM_DATA_MAX": 2,
        "DOOR_PARAM_DATA_MIN": 3,
    }
    assert {name: getattr(api, name) for name in expected} == expected
    assert {name: getattr(lib, name) for name in expected} == expected
    assert int(ffi.cast("uintptr_t", api.DOOR_UNREF_DATA)) == 1


def test_door_l3_descriptor_array_stride() -> None:
    """A procedure finds three descriptors 24 bytes apart, each number 4 bytes in, each an open file."""
    found: list[tuple[int, int]] = []

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        base = ffi.cast("char *", dp)
        for index in range(n_desc):
            number = ffi.cast("int *", base + 24 * index + 4)[0]
            found.append((number, os.fstat(number).st_ino))
            os.close(number)
        return door_return(NULL, 0, NULL, 0)

    pipes = [os.pipe() for _ in range(3)]
    door = door_create(procedure, None, 0)
    with Arguments(fds=[read for read, _ in pipes]) as arguments:
        door_call(door, arguments.params)
    assert [inode for _, inode in found] == [os.fstat(read).st_ino for read, _ in pipes]
    assert len({number for number, _ in found}) == 3
    for pair in pipes:
        for fd in pair:
            os.close(fd)
    door_revoke(door)
