"""7.16: the parameters of a door."""

import os
import threading
from pathlib import Path

import pytest

from enfilade.transport.doors import DoorCallError, DoorGetparamError, DoorSetparamError
from enfilade.transport.doors.api import (
    DOOR_PARAM_DATA_MAX,
    DOOR_PARAM_DATA_MIN,
    DOOR_PARAM_DESC_MAX,
    DOOR_REFUSE_DESC,
    NULL,
    door_create,
    door_getparam,
    door_open,
    door_return,
    door_revoke,
    door_setparam,
    fattach,
    ffi,
)
from tests.conformance.doors.peer import Link, Peer
from tests.conformance.doors.verbatim import CData, InThread, call, echo, outcome, param

INT_MAX = 2**31 - 1
SIZE_MAX = 2 ** (8 * ffi.sizeof("size_t")) - 1


@pytest.fixture
def door():  # type: ignore[no-untyped-def]
    d = door_create(echo, None, 0)
    yield d
    door_revoke(d)


def test_door_m1_defaults(door: int) -> None:
    """No limit but those of the types; none at all for descriptors where they are refused."""
    assert param(door, DOOR_PARAM_DESC_MAX) == INT_MAX
    assert param(door, DOOR_PARAM_DATA_MAX) == SIZE_MAX
    assert param(door, DOOR_PARAM_DATA_MIN) == 0
    refusing = door_create(echo, None, DOOR_REFUSE_DESC)
    assert param(refusing, DOOR_PARAM_DESC_MAX) == 0
    door_revoke(refusing)


def test_door_m2_set_and_get(door: int) -> None:
    """What is set is what is got, by others too."""
    for number, value in ((DOOR_PARAM_DESC_MAX, 5), (DOOR_PARAM_DATA_MAX, 1000), (DOOR_PARAM_DATA_MIN, 10)):
        assert door_setparam(door, number, value) == 0
        assert param(door, number) == value


def test_desc_max_out_of_range(door: int) -> None:
    """DESC_MAX over INT_MAX is ERANGE; INT_MAX itself is accepted."""
    with pytest.raises(DoorSetparamError.ERANGE):
        door_setparam(door, DOOR_PARAM_DESC_MAX, INT_MAX + 1)
    assert door_setparam(door, DOOR_PARAM_DESC_MAX, INT_MAX) == 0


def test_door_m4_refusing_door() -> None:
    """A door that refuses descriptors cannot be told to take some; 0 is accepted."""
    refusing = door_create(echo, None, DOOR_REFUSE_DESC)
    with pytest.raises(DoorSetparamError.ENOTSUP):
        door_setparam(refusing, DOOR_PARAM_DESC_MAX, 1)
    assert door_setparam(refusing, DOOR_PARAM_DESC_MAX, 0) == 0
    door_revoke(refusing)


def test_door_m5_limits_that_cross(door: int) -> None:
    """The lower limit may not be above the upper one, nor the upper one below the lower."""
    door_setparam(door, DOOR_PARAM_DATA_MAX, 100)
    with pytest.raises(DoorSetparamError.EINVAL):
        door_setparam(door, DOOR_PARAM_DATA_MIN, 101)
    door_setparam(door, DOOR_PARAM_DATA_MIN, 50)
    with pytest.raises(DoorSetparamError.EINVAL):
        door_setparam(door, DOOR_PARAM_DATA_MAX, 49)
    assert (param(door, DOOR_PARAM_DATA_MIN), param(door, DOOR_PARAM_DATA_MAX)) == (50, 100)


@pytest.mark.parametrize("number", [0, 4, -1])
def test_door_m6_unknown_parameter(door: int, number: int) -> None:
    """There are three parameters; for others both functions are EINVAL."""
    with pytest.raises(DoorSetparamError.EINVAL):
        door_setparam(door, number, 0)
    with pytest.raises(DoorGetparamError.EINVAL):
        param(door, number)


def test_unknown_parameter_before_bad_pointer(door: int) -> None:
    """The parameter is looked at before the pointer."""
    with pytest.raises(DoorGetparamError.EINVAL):
        door_getparam(door, 7, ffi.cast("size_t *", 8))


def test_door_m8_no_door() -> None:
    """What is no door has no parameters."""
    file = os.open("/dev/null", os.O_RDONLY)
    for d in (-1, file):
        with pytest.raises(DoorGetparamError.EBADF):
            param(d, DOOR_PARAM_DATA_MAX)
        with pytest.raises(DoorSetparamError.EBADF):
            door_setparam(d, DOOR_PARAM_DATA_MAX, 1)
    os.close(file)


def serve(link: Link, path: str) -> None:
    door = door_create(echo, None, 0)
    door_setparam(door, DOOR_PARAM_DATA_MAX, 77)
    Path(path).touch()
    fattach(door, path)
    link.say("ready")
    link.hear()


def test_parameters_of_another_process(tmp_path: Path) -> None:
    """Others may look at the parameters and may not change them: EPERM."""
    path = str(tmp_path / "params.door")
    with Peer(serve, path) as peer:
        assert peer.hear() == "ready"
        door = door_open(path)
        assert param(door, DOOR_PARAM_DATA_MAX) == 77
        with pytest.raises(DoorSetparamError.EPERM):
            door_setparam(door, DOOR_PARAM_DATA_MAX, 1)
        with pytest.raises(DoorCallError.ENOBUFS):
            call(door, bytes(78))
        os.close(door)


def test_door_m9_change_during_a_call() -> None:
    """A change affects later calls, and not the one in progress."""
    entered, leave = threading.Event(), threading.Event()

    def procedure(cookie: object, argp: CData, arg_size: int, dp: CData, n_desc: int) -> None:
        entered.set()
        assert leave.wait(60)
        return door_return(argp, arg_size, NULL, 0)

    door = door_create(procedure, None, 0)
    caller = InThread(lambda: call(door, b"four"))
    assert entered.wait(60)
    door_setparam(door, DOOR_PARAM_DATA_MAX, 2)
    assert outcome(lambda: call(door, b"four")) == "ENOBUFS"
    leave.set()
    assert caller.result() == b"four"
    assert call(door, b"ok") == b"ok"
    door_revoke(door)


def test_door_m10_fixed_size(door: int) -> None:
    """With both limits at four only four bytes pass."""
    door_setparam(door, DOOR_PARAM_DATA_MAX, 4)
    door_setparam(door, DOOR_PARAM_DATA_MIN, 4)
    results = [outcome(lambda size=size: len(call(door, bytes(size)))) for size in (0, 3, 4, 5)]
    assert results == ["ENOBUFS", "ENOBUFS", 4, "ENOBUFS"]
