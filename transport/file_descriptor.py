"""File descriptors as values: what a message may carry besides bytes."""

import os
from collections.abc import Iterable
from typing import Final

from enfilade.transport import closing
from enfilade.transport.attachment import Attachment, handles_in

__all__ = ["FileDescriptor", "close_all"]


_STAYING: Final = "anon_inode:[io_uring]"


class FileDescriptor:
    """An open file as a part of a message. The receiver gets a descriptor of its own for the same open file.

    The sender's number stays open and stays the sender's own: it may be closed as soon as the message is
    sent. The receiver's belongs to the object that it received: `take` hands it on, and a number that nobody
    took is closed with its object, so that a message that nobody reads leaks nothing.

    Args:
        fileno: the number of an open file.
    """

    __slots__ = ("_fileno", "_owned")

    def __init__(self, fileno: int) -> None:
        self._fileno = fileno
        self._owned = False

    @classmethod
    def received(cls, fileno: int) -> "FileDescriptor":
        """Duplicate the descriptor `fileno`; the duplicate belongs to the new object."""
        descriptor = cls(fileno)
        descriptor._owned = True
        return descriptor

    @property
    def can_travel(self) -> bool:
        """False for the one kind of file that the kernel gives to no other process, an io_uring."""
        try:
            return os.readlink(f"/proc/self/fd/{self._fileno}") != _STAYING
        except OSError:  # it is not open, or this is not Linux
            return True

    def fileno(self) -> int:
        """The number; -1 once it has been taken or closed."""
        return self._fileno

    def take(self) -> int:
        """Return the number, which is the caller's to close from here on."""
        closing.disown(self._fileno)
        return self._let_go()

    def close(self) -> None:
        """Close a descriptor that was received and not taken; otherwise do nothing.

        It is closed soon, by a thread: what it leads to may keep waiting whoever closes it.
        """
        if self._owned:
            closing.close(self._let_go())

    def _let_go(self) -> int:
        fileno, self._fileno, self._owned = self._fileno, -1, False
        return fileno

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"FileDescriptor({self._fileno})"


def close_all(attachments: Iterable[Attachment]) -> None:
    """Close those file descriptors that are not used, without waiting for it."""
    for descriptor in handles_in(attachments):
        closing.close(descriptor)
