"""The authority of a guest over processes that it did not start: the names that it may find, take and end."""

from __future__ import annotations

import fnmatch
from typing import Final

import attrs

from enfilade.fields import are_texts, as_texts

ROOT: Final = "root"
"""The name of the root supervisor of a node that a zone file describes."""

_RESERVED: Final = "enfilade."
"""Names of the processes that control a node and look into it begin with this."""


@attrs.frozen(kw_only=True)
class Authority:
    """Shell patterns of registered names. None includes another, and by default all are empty.

    A guest may find, end and link to itself and its descendants whatever is said here. The root supervisor,
    and the processes by which operators control a node, are out of its reach whatever is said here.

    Attributes:
        finds: names under which the guest may look up actors.
        registers: names that the guest may register itself and its descendants under.
        ends: names whose holders the guest may send exit signals and link to. It must have a slot for them,
            too.
    """

    finds: tuple[str, ...] = attrs.field(default=(), converter=as_texts, validator=are_texts)
    registers: tuple[str, ...] = attrs.field(default=(), converter=as_texts, validator=are_texts)
    ends: tuple[str, ...] = attrs.field(default=(), converter=as_texts, validator=are_texts)

    def may_find(self, name: str) -> bool:
        """Tell whether the guest may look up this name."""
        return _matches(name, self.finds)

    def may_register(self, name: str) -> bool:
        """Tell whether the guest may take this name."""
        return _matches(name, self.registers)

    def may_end(self, name: str) -> bool:
        """Tell whether the guest may end the holder of this name."""
        return _matches(name, self.ends)


def _matches(name: str, wanted: tuple[str, ...]) -> bool:
    if name == ROOT or name.startswith(_RESERVED):
        return False
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in wanted)
