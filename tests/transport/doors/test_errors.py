"""The classes of error, function by function."""

import errno
import inspect
import pickle
from typing import get_type_hints

import pytest

from enfilade.transport.doors import errors
from enfilade.transport.doors.errors import DoorCallError, DoorError, DoorRevokeError, NotADoor

FUNCTIONS = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value)
    and issubclass(value, DoorError)
    and value.documented
    and "." not in value.__qualname__
]

# What the manual pages and the kernel say (docs/doors.md has the table).
DOCUMENTED = {
    "door_create": {"EINVAL", "EMFILE", "ENOTSUP"},
    "door_xcreate": {"EINVAL", "EPIPE", "EBADF", "E2BIG", "ENOMEM", "EMFILE", "ENOTSUP"},
    "door_call": {
        *("E2BIG", "EAGAIN", "EBADF", "EFAULT", "EINTR", "EINVAL"),
        *("EMFILE", "ENFILE", "ENOBUFS", "ENOTSUP", "EOVERFLOW"),
    },
    "door_return": {"E2BIG", "EFAULT", "EINVAL", "EMFILE", "EINTR"},
    "door_info": {"EBADF", "EFAULT"},
    "door_revoke": {"EBADF", "EPERM"},
    "door_bind": {"EBADF", "EINVAL"},
    "door_unbind": {"EBADF"},
    "door_cred": {"EINVAL", "EFAULT"},
    "door_ucred": {"EINVAL", "EFAULT", "EAGAIN", "ENOMEM"},
    "door_getparam": {"EBADF", "EINVAL", "EFAULT", "EOVERFLOW"},
    "door_setparam": {"EBADF", "EPERM", "ERANGE", "ENOTSUP", "EINVAL"},
    "fattach": {
        *("EBADF", "EINVAL", "ENOENT", "ENAMETOOLONG", "ELOOP", "ENOTDIR"),
        *("EACCES", "EBUSY", "ENOTSUP", "EPERM"),
    },
    "fdetach": {"EINVAL", "EPERM", "ENOENT", "ENOTDIR", "EACCES", "ELOOP", "ENAMETOOLONG"},
}


def test_every_documented_errno_has_a_class() -> None:
    found = {
        cls.function: {errno.errorcode[number] for number in cls.documented}
        for cls in FUNCTIONS
        if cls.function in DOCUMENTED
    }
    # Where two names have one number, as ENOTSUP and EOPNOTSUPP on Linux, either will do.
    same = {errno.errorcode[errno.ENOTSUP]: "ENOTSUP"}
    assert {name: {same.get(one, one) for one in known} for name, known in found.items()} == DOCUMENTED


@pytest.mark.parametrize("cls", FUNCTIONS, ids=lambda cls: cls.__name__)
def test_classes_are_declared_as_they_are_made(cls: type[DoorError]) -> None:
    """The annotations that a type checker sees are the classes that exist, and each explains itself."""
    declared = {name for name in get_type_hints(cls) if name.startswith("E")}
    assert declared == {specific.__name__ for specific in cls.documented.values()}
    for number, specific in cls.documented.items():
        assert getattr(errno, specific.__name__) == number
        error = cls.of(number, "descriptor 7")
        assert type(error) is specific
        assert isinstance(error, cls)
        assert isinstance(error, type(OSError(number, "")))
        assert error.errno == number
        text = str(error)
        assert cls.function in text
        assert specific.__name__ in text
        assert "descriptor 7" in text
        assert len(specific.advice) > 20


def test_classes_of_functions_are_separate() -> None:
    with pytest.raises(DoorCallError.EBADF):
        raise DoorCallError.of(errno.EBADF)
    assert not issubclass(DoorRevokeError.EBADF, DoorCallError)
    assert isinstance(DoorRevokeError.of(errno.EPERM), PermissionError)
    assert isinstance(DoorCallError.of(errno.EINTR), InterruptedError)


def test_undocumented_errno_is_kept() -> None:
    error = DoorCallError.of(errno.EXDEV)
    assert type(error) is DoorCallError
    assert error.errno == errno.EXDEV
    assert "EXDEV" in str(error)


@pytest.mark.parametrize(
    "error", [DoorCallError.of(errno.EINTR, "descriptor 3"), DoorCallError.of(errno.EXDEV)]
)
def test_errors_survive_pickling(error: DoorError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (again.errno, again.subject) == (error.errno, error.subject)


def test_not_a_door_names_what_it_is_about() -> None:
    assert "/etc/passwd" in str(NotADoor.at("/etc/passwd"))
