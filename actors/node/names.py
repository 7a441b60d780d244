"""Names: at most one process per name, at most one name per process, free again before anybody learns of its
end.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from enfilade.actors.messages.errors import NameTaken, NoProcess
from enfilade.actors.messages.safe_text import safe_repr

if TYPE_CHECKING:
    from enfilade.actors.messages.ref import Ref
    from enfilade.actors.processes.process import Process

__all__ = ["Names"]

LONGEST_MISSED = 200


class Names:
    """The names of one node.

    Attributes:
        missed: the name that was last looked up in vain, unless it is long, for errors that come of it.
    """

    def __init__(self) -> None:
        self._holders: dict[str, Process] = {}
        self.missed: str | None = None

    def __len__(self) -> int:
        return len(self._holders)

    def names(self) -> list[str]:
        """All names, in the order of registration."""
        return list(self._holders)

    def some(self, count: int) -> tuple[str, ...]:
        """The first names, at most so many."""
        return tuple(islice(self._holders, count))

    def whereis(self, name: str) -> Ref[Any] | None:
        """The holder of `name`."""
        process = self._holders.get(name)
        if process is None:
            self.missed = name if type(name) is str and len(name) <= LONGEST_MISSED else None
            return None
        return process.ref

    def register(self, name: str, process: Process) -> None:
        """Give `name` to `process`. Source: `erlang:register/2`.

        Raises:
            NameTaken: another process has the name, or the process has one already.
            NoProcess: the process has ended.
            ValueError: the name is empty or not a string.
        """
        if not isinstance(name, str) or not name:
            raise ValueError(f"a name must be a non-empty string, got {safe_repr(name)}")
        if process.ended is not None:
            raise NoProcess(process.ref)
        holder = self._holders.get(name)
        if holder is not None:
            raise NameTaken(name, holder.ref)
        if process.name is not None:
            raise NameTaken(
                name, process.ref, f"{process.ref} already has the name {safe_repr(process.name)}"
            )
        self._holders[name] = process
        process.name = name

    def unregister(self, name: str) -> Process:
        """Take `name` from its holder, and return that.

        Raises:
            NoProcess: the name is not registered.
            TypeError: it is not a string.
        """
        if not isinstance(name, str):
            raise TypeError(f"a name must be a string, got {safe_repr(name)}")
        process = self._holders.pop(name, None)
        if process is None:
            raise NoProcess(name)
        process.name = None
        return process

    def release(self, process: Process) -> None:
        """Free the name of `process`, which has ended."""
        if process.name is not None and self._holders.get(process.name) is process:
            del self._holders[process.name]
