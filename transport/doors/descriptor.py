"""File descriptors that travel through doors, and who has to close them.

A descriptor is *owned* or *borrowed*. Closing an owned one closes the file; closing a borrowed one only
forgets its number. What is received is owned. To pass a descriptor is to give the receiver one of its own,
of the same open file; with `release=True` the sender's is closed once the receiver has it, and until then
the sender owns it.
"""

import errno
import os
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, Self

from enfilade.transport.doors._doors import ffi, lib
from enfilade.transport.doors.info import Attributes, DoorInfo

UNKNOWN = 0xFFFFFFFF
"""A user without a number in our user namespace, as C tells it: -1 without a sign."""


PATIENCE_MICROSECONDS = 10_000
"""For how long whoever closes received descriptors waits until they are closed; most are in a few dozen."""


class HasFileno(Protocol):
    """Anything with a file descriptor: a file, a socket, a door."""

    def fileno(self) -> int: ...


def number_of(file: int | HasFileno) -> int:
    """The number of a descriptor, given as itself or as an object that has one.

    Raises `TypeError` if it is neither.
    """
    if type(file) is int or (isinstance(file, int) and not isinstance(file, bool)):
        return file
    if isinstance(file, bool) or not hasattr(file, "fileno"):
        raise TypeError(
            f"expected the number of a descriptor or an object with fileno(), got {file!r}; "
            "Client.open() takes a path"
        )
    return file.fileno()


class Descriptor:
    """A file descriptor to pass, or one that was received.

    An owned descriptor that is neither closed, passed with `release` nor detached is closed, with a
    `ResourceWarning`, when its last reference goes.

    One that was received may lead to a file that keeps waiting whoever closes it: a socket that lingers, a
    file of a silent file system. So a thread closes it, and `close` waits for that no longer than 10 ms.

    Args:
        file: the number, or an object with `fileno()`, which then must outlive this.
        release: give it away: the sender's is closed when it has been passed. Makes it owned.
        owned: close the file with this object. By default only when it is to be released.
        attributes: what the receiver is told of it, which for a door includes the door's own.
        id: of a received door, its id; otherwise 0.

    Raises `TypeError` if `file` is neither, and `ValueError` if the number is negative.
    """

    __slots__ = ("_fd", "_payer", "attributes", "id", "owned", "release")

    def __init__(
        self,
        file: int | HasFileno,
        *,
        release: bool = False,
        owned: bool | None = None,
        attributes: Attributes = Attributes.DESCRIPTOR,
        id: int = 0,  # noqa: A002
    ) -> None:
        fd = number_of(file)
        if fd < 0:
            raise ValueError(f"expected the number of a descriptor, which is not negative, got {fd}")
        self._fd = fd
        self._payer: Any = None
        self.release = release
        self.owned = release if owned is None else owned
        self.attributes = attributes
        self.id = id

    def fileno(self) -> int:
        """The number. Raises `ValueError` when the descriptor has been closed, given away or detached."""
        if self._fd < 0:
            raise ValueError("the descriptor is closed, was given away, or was detached")
        return self._fd

    @property
    def closed(self) -> bool:
        """True once the descriptor was closed, given away or detached."""
        return self._fd < 0

    @property
    def is_door(self) -> bool:
        """True if it is a door."""
        return lib.is_door(self.fileno()) == 1

    def info(self) -> DoorInfo:
        """The result of `door_info`. Raises `DoorInfoError.EBADF` if the descriptor is not a door."""
        return DoorInfo.of(self.fileno())

    def detach(self) -> int:
        """Give the number to the caller, who has to close it; this object is closed then."""
        fd, self._fd = self.fileno(), -1
        return fd

    def close(self) -> None:
        """Close the file if it is owned; harmless when repeated."""
        close_all((self,))

    def charge(self, user: int, process: int) -> None:
        """Have a thread close the file, and `process` of `user` pay for it; -1 for one that is not known."""
        self._payer = ffi.new("struct closing_payer *", (user, 0, process))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0 and self.owned:
            warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)
            self.close()

    def __repr__(self) -> str:
        state = "closed" if self._fd < 0 else f"{self._fd}, {'owned' if self.owned else 'borrowed'}"
        return f"<Descriptor {state}{', release' if self.release else ''}>"


def received(array: Any, count: int, sender: tuple[int, int]) -> tuple[Descriptor, ...]:
    """The descriptors, owned, of the first `count` entries of a `door_desc_t` array that was filled in.

    Doors leave them open on exec; here they are closed, as everything that Python opens is (PEP 446).

    Args:
        array, count: the entries.
        sender: the user and the process that pay for closing them; -1 for one that is not known.
    """
    user, process = sender
    payer = ffi.new("struct closing_payer *", (user, 0, process))
    found = []
    for entry in array[0:count]:
        fd = entry.d_data.d_desc.d_descriptor
        os.set_inheritable(fd, False)
        one = Descriptor(
            fd, owned=True, attributes=Attributes(entry.d_attributes), id=entry.d_data.d_desc.d_id
        )
        one._payer = payer
        found.append(one)
    return tuple(found)


def close_all(descriptors: Iterable[Descriptor]) -> None:
    """Close those that are owned. What was received from a peer is waited for once, and for 10 ms at most."""
    payer = None
    for descriptor in descriptors:
        fd, descriptor._fd = descriptor._fd, -1
        if fd < 0 or not descriptor.owned:
            continue
        if descriptor._payer is None:
            os.close(fd)
        else:
            payer = descriptor._payer
            lib.closing_close(fd, payer)
    if payer is not None:
        lib.closing_settle(payer, PATIENCE_MICROSECONDS)


def sent_by_caller() -> tuple[int, int]:
    """The user and the process of whom the procedure on this thread serves; -1 when it has gone."""
    cred = ffi.new("door_cred_t *")
    if lib.door_cred(cred) < 0:
        return -1, -1
    return -1 if cred.dc_euid == UNKNOWN else cred.dc_euid, cred.dc_pid


def sent_by_server(fd: int) -> tuple[int, int]:
    """The process behind a door, whose user it does not tell; -1 when it has gone."""
    info = ffi.new("door_info_t *")
    return -1, info.di_target if lib.door_info(fd, info) == 0 else -1


def check_kind(descriptor: object) -> None:
    """Raises `TypeError` unless it is a `Descriptor`."""
    if not isinstance(descriptor, Descriptor):
        raise TypeError(f"expected a Descriptor, got {descriptor!r}; pass Descriptor({descriptor!r})")


def passed(descriptors: Sequence[Descriptor]) -> Any:
    """Make a `door_desc_t` array of `descriptors`. Raises `TypeError` unless each is a `Descriptor`."""
    array = ffi.new("door_desc_t[]", len(descriptors))
    for entry, descriptor in zip(array, descriptors, strict=True):
        check_kind(descriptor)
        entry.d_attributes = lib.DOOR_DESCRIPTOR | (lib.DOOR_RELEASE if descriptor.release else 0)
        entry.d_data.d_desc.d_descriptor = descriptor.fileno()
    return array


# After these the descriptors had been given away, or closed, before the call failed; after all others the
# sender still has them (see the table in docs/doors.md).
_GONE_AFTER = frozenset({errno.EINTR, errno.EINVAL, errno.EMFILE, errno.EOVERFLOW})


def settle(descriptors: Sequence[Descriptor], error: int) -> None:
    """After a call, which ended with the errno `error` or 0: forget the numbers that were released by it."""
    if error == 0 or error in _GONE_AFTER:
        for descriptor in descriptors:
            if descriptor.release:
                descriptor._fd = -1
