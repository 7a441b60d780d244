"""Errors that the door functions raise.

Every function has a class of its own, and every errno that the function is documented to fail with has a
class inside it: `except DoorCallError.EINTR` catches an interrupted call and nothing else, `except
DoorCallError` whatever `door_call` can report. All of them are `OSError`, with `errno`; where Python has a
class for an errno (`PermissionError`, `InterruptedError`, ...) they are that as well. An errno that is not
documented is raised as the function's own class, unchanged.

Numbers differ between illumos and Linux, names do not: compare with the constants of the `errno` module.
"""

import errno as numbers
from typing import ClassVar, Self


class DoorError(OSError):
    """A door function failed.

    Attributes: `errno`; `function`, the name of the C function; `subject`, what it was called with, as far as
    the caller said so; `advice`, what the errno means for this function and what to do about it.
    """

    function: ClassVar[str] = "a door function"
    advice: ClassVar[str] = "this errno is not documented for the function"
    documented: ClassVar[dict[int, type["DoorError"]]] = {}

    subject: str = ""

    def __init_subclass__(cls, function: str = "", errors: dict[str, str] | None = None) -> None:
        super().__init_subclass__()
        if errors is None:
            return
        cls.function = function
        cls.documented = {}
        for name, advice in errors.items():
            number = getattr(numbers, name)
            standard = type(OSError(number, ""))
            bases: tuple[type, ...] = (cls,) if standard is OSError else (cls, standard)
            body = {
                "__doc__": f"`{function}` failed with {name}: {advice}.",
                "__module__": cls.__module__,
                "__qualname__": f"{cls.__qualname__}.{name}",
                "advice": advice,
            }
            specific = type(name, bases, body)
            setattr(cls, name, specific)
            cls.documented[number] = specific

    @classmethod
    def of(cls, number: int, subject: str = "") -> "DoorError":
        """Return the error for errno `number`, about `subject`: of its own class, if there is one."""
        error = cls.documented.get(number, cls)(number, numbers.errorcode.get(number, str(number)))
        error.subject = subject
        return error

    def __reduce__(self) -> tuple[object, ...]:
        # The specific classes are found through the function's class, because pickle cannot see into it.
        general = next(base for base in type(self).__mro__ if "." not in base.__qualname__)
        return (_again, (general, self.errno, self.subject))

    def __str__(self) -> str:
        name = numbers.errorcode.get(self.errno or 0, str(self.errno))
        on = f" on {self.subject}" if self.subject else ""
        return f"{self.function}{on} failed with {name}: {self.advice}"


def _again(cls: type[DoorError], number: int, subject: str) -> DoorError:
    return cls.of(number, subject)


_NOT_A_DOOR = "the descriptor is not open, or is not a door"
_BAD_POINTER = "a pointer does not lead to memory of this process"
_LOOK_UP = {
    "EACCES": "a directory on the path may not be searched",
    "ELOOP": "too many symbolic links on the path",
    "ENAMETOOLONG": "the path, or a part of it, is too long",
    "ENOENT": "the path does not exist",
    "ENOTDIR": "a part of the path is not a directory",
}


class DoorCreateError(
    DoorError,
    function="door_create",
    errors={
        "EINVAL": "the attributes contain a bit that cannot be asked for, or both DOOR_UNREF and "
        "DOOR_UNREF_MULTI",
        "EMFILE": "the process has no free descriptor; close some or raise RLIMIT_NOFILE",
        "ENOTSUP": "a child of vfork() cannot create doors; use fork()",
    },
):
    """`door_create(3C)` failed."""

    EINVAL: ClassVar[type["DoorCreateError"]]
    EMFILE: ClassVar[type["DoorCreateError"]]
    ENOTSUP: ClassVar[type["DoorCreateError"]]


class DoorXcreateError(
    DoorError,
    function="door_xcreate",
    errors={
        "E2BIG": "the caller's stack has no room for the book-keeping of so many threads; ask for fewer",
        "EBADF": "a new server thread could not be bound to the door",
        "EINVAL": "the attributes are wrong, fewer than one thread was asked for, there is no thread "
        "creation function, or it returned 0",
        "EMFILE": "the process has no free descriptor; close some or raise RLIMIT_NOFILE",
        "ENOMEM": "the process is out of memory",
        "ENOTSUP": "a child of vfork() cannot create doors; use fork()",
        "EPIPE": "the thread creation function returned -1",
    },
):
    """`door_xcreate(3C)` failed. The door is gone; threads that were already started end by themselves."""

    E2BIG: ClassVar[type["DoorXcreateError"]]
    EBADF: ClassVar[type["DoorXcreateError"]]
    EINVAL: ClassVar[type["DoorXcreateError"]]
    EMFILE: ClassVar[type["DoorXcreateError"]]
    ENOMEM: ClassVar[type["DoorXcreateError"]]
    ENOTSUP: ClassVar[type["DoorXcreateError"]]
    EPIPE: ClassVar[type["DoorXcreateError"]]


class DoorCallError(
    DoorError,
    function="door_call",
    errors={
        "E2BIG": "the request does not fit the server thread's stack, or has more than 1024 descriptors; "
        "the procedure did not run",
        "EAGAIN": "a signal arrived while no server thread was free; the procedure did not run, so it is "
        "safe to call again",
        "EBADF": "the descriptor is not a door, or the door was revoked, or its server has exited; open it "
        "again",
        "EFAULT": "the parameters, the request, the descriptors or the result buffer are not memory of "
        "this process",
        "EINTR": "a signal arrived while the procedure ran, or the server ended before it returned; the "
        "procedure did start, so call again only if twice does no harm",
        "EINVAL": "an entry of the descriptor array lacks DOOR_DESCRIPTOR, or is not an open descriptor; "
        "every entry with DOOR_RELEASE has been closed",
        "EMFILE": "the client or the server has no room for the descriptors that were passed",
        "ENFILE": "more descriptors than the door's DOOR_PARAM_DESC_MAX",
        "ENOBUFS": "the request is smaller than the door's DOOR_PARAM_DATA_MIN or larger than its "
        "DOOR_PARAM_DATA_MAX",
        "ENOTSUP": "the door was created with DOOR_REFUSE_DESC and takes no descriptors",
        "EOVERFLOW": "the results are larger than the result buffer, and no memory could be mapped for them",
    },
):
    """`door_call(3C)` failed. The parameters are as they were before the call."""

    E2BIG: ClassVar[type["DoorCallError"]]
    EAGAIN: ClassVar[type["DoorCallError"]]
    EBADF: ClassVar[type["DoorCallError"]]
    EFAULT: ClassVar[type["DoorCallError"]]
    EINTR: ClassVar[type["DoorCallError"]]
    EINVAL: ClassVar[type["DoorCallError"]]
    EMFILE: ClassVar[type["DoorCallError"]]
    ENFILE: ClassVar[type["DoorCallError"]]
    ENOBUFS: ClassVar[type["DoorCallError"]]
    ENOTSUP: ClassVar[type["DoorCallError"]]
    EOVERFLOW: ClassVar[type["DoorCallError"]]


class DoorReturnError(
    DoorError,
    function="door_return",
    errors={
        "E2BIG": "the caller takes no results (it passed no parameters, or this is an unref notification), "
        "or there are more than 1024 descriptors; return nothing instead",
        "EFAULT": "the data or the descriptor array is not memory of this process",
        "EINTR": "this process is not the one that owns the door",
        "EINVAL": "an entry of the descriptor array is bad, or the thread is a fork child's copy of a "
        "bound one",
        "EMFILE": "the client has no room for the descriptors; none of them was taken",
    },
):
    """`door_return(3C)` failed. The client is still waiting: return something else, or nothing."""

    E2BIG: ClassVar[type["DoorReturnError"]]
    EFAULT: ClassVar[type["DoorReturnError"]]
    EINTR: ClassVar[type["DoorReturnError"]]
    EINVAL: ClassVar[type["DoorReturnError"]]
    EMFILE: ClassVar[type["DoorReturnError"]]


class DoorInfoError(
    DoorError,
    function="door_info",
    errors={
        "EBADF": f"{_NOT_A_DOOR}, or it is DOOR_QUERY and the thread is not bound to a door",
        "EFAULT": _BAD_POINTER,
    },
):
    """`door_info(3C)` failed."""

    EBADF: ClassVar[type["DoorInfoError"]]
    EFAULT: ClassVar[type["DoorInfoError"]]


class DoorRevokeError(
    DoorError,
    function="door_revoke",
    errors={
        "EBADF": _NOT_A_DOOR,
        "EPERM": "the door belongs to another process, or its server has exited; the descriptor is still "
        "open",
    },
):
    """`door_revoke(3C)` failed."""

    EBADF: ClassVar[type["DoorRevokeError"]]
    EPERM: ClassVar[type["DoorRevokeError"]]


class DoorBindError(
    DoorError,
    function="door_bind",
    errors={
        "EBADF": _NOT_A_DOOR,
        "EINVAL": "the door was not created with DOOR_PRIVATE, or not by this process",
    },
):
    """`door_bind(3C)` failed."""

    EBADF: ClassVar[type["DoorBindError"]]
    EINVAL: ClassVar[type["DoorBindError"]]


class DoorUnbindError(
    DoorError, function="door_unbind", errors={"EBADF": "the thread is not bound to a door"}
):
    """`door_unbind(3C)` failed."""

    EBADF: ClassVar[type["DoorUnbindError"]]


class DoorCredError(
    DoorError,
    function="door_cred",
    errors={
        "EFAULT": _BAD_POINTER,
        "EINVAL": "the thread serves no call, or the client has gone meanwhile",
    },
):
    """`door_cred(3C)` failed."""

    EFAULT: ClassVar[type["DoorCredError"]]
    EINVAL: ClassVar[type["DoorCredError"]]


class DoorUcredError(
    DoorError,
    function="door_ucred",
    errors={
        "EAGAIN": "the credential could not be allocated; try again",
        "EFAULT": _BAD_POINTER,
        "EINVAL": "the thread serves no call, or the client has gone meanwhile",
        "ENOMEM": "the process is out of memory",
    },
):
    """`door_ucred(3C)` failed."""

    EAGAIN: ClassVar[type["DoorUcredError"]]
    EFAULT: ClassVar[type["DoorUcredError"]]
    EINVAL: ClassVar[type["DoorUcredError"]]
    ENOMEM: ClassVar[type["DoorUcredError"]]


class DoorGetparamError(
    DoorError,
    function="door_getparam",
    errors={
        "EBADF": _NOT_A_DOOR,
        "EFAULT": _BAD_POINTER,
        "EINVAL": "no such parameter; there are DOOR_PARAM_DESC_MAX, DOOR_PARAM_DATA_MAX and "
        "DOOR_PARAM_DATA_MIN",
        "EOVERFLOW": "the value does not fit a size_t of this process",
    },
):
    """`door_getparam(3C)` failed."""

    EBADF: ClassVar[type["DoorGetparamError"]]
    EFAULT: ClassVar[type["DoorGetparamError"]]
    EINVAL: ClassVar[type["DoorGetparamError"]]
    EOVERFLOW: ClassVar[type["DoorGetparamError"]]


class DoorSetparamError(
    DoorError,
    function="door_setparam",
    errors={
        "EBADF": f"{_NOT_A_DOOR}, or it has been revoked",
        "EINVAL": "no such parameter, or DATA_MIN would be larger than DATA_MAX; change them in the other "
        "order",
        "ENOTSUP": "the door was created with DOOR_REFUSE_DESC: its DESC_MAX is 0 for ever",
        "EPERM": "the door belongs to another process",
        "ERANGE": "DESC_MAX is larger than INT_MAX",
    },
):
    """`door_setparam(3C)` failed."""

    EBADF: ClassVar[type["DoorSetparamError"]]
    EINVAL: ClassVar[type["DoorSetparamError"]]
    ENOTSUP: ClassVar[type["DoorSetparamError"]]
    EPERM: ClassVar[type["DoorSetparamError"]]
    ERANGE: ClassVar[type["DoorSetparamError"]]


class FattachError(
    DoorError,
    function="fattach",
    errors=_LOOK_UP
    | {
        "EACCES": "a directory on the path may not be searched, the owner of the file may not write to it, "
        "or others may write to its directory",
        "EBADF": "the descriptor is not open",
        "EBUSY": "something is attached there already; detach it first, or use Door.force_install",
        "EINVAL": "the descriptor is not a door, or the path is on a remote file system",
        "ENOTSUP": "nothing can be attached below /dev/pts and /dev/vt",
        "EPERM": "the caller does not own the file and is not privileged",
    },
):
    """`fattach(3C)` failed."""

    EACCES: ClassVar[type["FattachError"]]
    EBADF: ClassVar[type["FattachError"]]
    EBUSY: ClassVar[type["FattachError"]]
    EINVAL: ClassVar[type["FattachError"]]
    ELOOP: ClassVar[type["FattachError"]]
    ENAMETOOLONG: ClassVar[type["FattachError"]]
    ENOENT: ClassVar[type["FattachError"]]
    ENOTDIR: ClassVar[type["FattachError"]]
    ENOTSUP: ClassVar[type["FattachError"]]
    EPERM: ClassVar[type["FattachError"]]


class FdetachError(
    DoorError,
    function="fdetach",
    errors=_LOOK_UP
    | {
        "EINVAL": "nothing is attached there",
        "EPERM": "the caller does not own the attached name and is not privileged",
    },
):
    """`fdetach(3C)` failed."""

    EACCES: ClassVar[type["FdetachError"]]
    EINVAL: ClassVar[type["FdetachError"]]
    ELOOP: ClassVar[type["FdetachError"]]
    ENAMETOOLONG: ClassVar[type["FdetachError"]]
    ENOENT: ClassVar[type["FdetachError"]]
    ENOTDIR: ClassVar[type["FdetachError"]]
    EPERM: ClassVar[type["FdetachError"]]


class IsastreamError(DoorError, function="isastream", errors={"EBADF": "the descriptor is not open"}):
    """`isastream(3C)` failed."""

    EBADF: ClassVar[type["IsastreamError"]]


class DoorOpenError(
    DoorError,
    function="door_open",
    errors=_LOOK_UP
    | {
        "EACCES": "the mode of the attached name does not let this user open it",
        "EEXIST": "O_CREAT and O_EXCL were given and the name exists",
        "EINTR": "a signal arrived before the server had answered the connection; open it again",
        "EMFILE": "the process has no free descriptor; close some or raise RLIMIT_NOFILE",
        "ETIMEDOUT": "the server has not answered the connection: it is stopped, or hangs",
    },
):
    """`open(2)` of an attached name, which on Linux is `door_open`, failed."""

    EACCES: ClassVar[type["DoorOpenError"]]
    EEXIST: ClassVar[type["DoorOpenError"]]
    EINTR: ClassVar[type["DoorOpenError"]]
    ELOOP: ClassVar[type["DoorOpenError"]]
    EMFILE: ClassVar[type["DoorOpenError"]]
    ENAMETOOLONG: ClassVar[type["DoorOpenError"]]
    ENOENT: ClassVar[type["DoorOpenError"]]
    ENOTDIR: ClassVar[type["DoorOpenError"]]
    ETIMEDOUT: ClassVar[type["DoorOpenError"]]


class DoorDupError(
    DoorError,
    function="door_dup",
    errors={
        "EBADF": _NOT_A_DOOR,
        "EMFILE": "the process has no free descriptor; close some or raise RLIMIT_NOFILE",
    },
):
    """`dup(2)` of a door, which on Linux is `door_dup`, failed."""

    EBADF: ClassVar[type["DoorDupError"]]
    EMFILE: ClassVar[type["DoorDupError"]]


class DoorCountersError(
    DoorError,
    function="door_counters",
    errors={
        "EBADF": _NOT_A_DOOR,
        "EFAULT": _BAD_POINTER,
        "ENOTSUP": "this system does not count the calls of a door",
    },
):
    """`door_counters`, which only Linux has, failed."""

    EBADF: ClassVar[type["DoorCountersError"]]
    EFAULT: ClassVar[type["DoorCountersError"]]
    ENOTSUP: ClassVar[type["DoorCountersError"]]


class NotADoor(DoorError):
    """The file or descriptor is not a door. Nothing has been left open."""

    function = "door_info"

    @classmethod
    def at(cls, what: object) -> Self:
        """The error for `what`: a path, or the number of a descriptor."""
        error = cls(numbers.EBADF, "EBADF")
        error.subject = str(what)
        return error

    def __str__(self) -> str:
        return f"{self.subject} is not a door; a door is made by Door(...) and given a name by install()"


# What an interruptible call can end with when a signal arrives.
NotStarted = DoorCallError.EAGAIN
Interrupted = DoorCallError.EINTR
